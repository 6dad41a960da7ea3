"""Find the connected parts of a graph."""

from __future__ import annotations

import numpy as np

from wiredoctor.tables import Array


def components(one: Array, other: Array) -> tuple[Array, Array]:
    """Return the nodes of a graph in ascending order, and for each node a number that all nodes connected to it share.

    `one`, `other`: the two nodes of each edge, as integers. Each round makes the root of each part point to the lowest root
    beside it, and halves the paths to the roots (Shiloach and Vishkin, An O(log n) parallel connectivity algorithm, 1982).
    """
    nodes, places = np.unique(np.concatenate([one, other]), return_inverse=True)
    ends = places[: len(one)], places[len(one) :]
    part = np.arange(len(nodes))
    while True:
        lowest = np.minimum(*(part[some] for some in ends))
        joined = part.copy()
        for some in ends:
            np.minimum.at(joined, part[some], lowest)
        joined = joined[joined]
        if (joined == part).all():
            return nodes, part
        part = joined
