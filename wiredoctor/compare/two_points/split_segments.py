"""Match segments that were split or joined between the points, by the bytes that they carry.

With segmentation offload, a large segment that is captured at the sender is several segments on the network. At the receiver,
several segments of the network may be captured as one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from wiredoctor.compare.two_points.matching import NOBODY
from wiredoctor.compare.two_points.pairing import hash_rows
from wiredoctor.tables import Array

if TYPE_CHECKING:
    from wiredoctor.compare.two_points.wire import Wire

MAX_PIECES = 4_000_000
"""The maximum number of pieces per capture. Segments are cut into pieces where segments of the other capture begin or end.

When the maximum is reached, the remaining segments stay unmatched.
"""


def match_ranges(wire: Wire, expected: Array) -> None:
    """Set part_a and part_b of `wire` for segments without a partner: how many of their bytes arrived in other segments.

    `expected`: when each packet of the first capture should pass the other point, in ns of the clock there.
    """
    left = np.flatnonzero((wire.partner == NOBODY) & (wire.one.packets["length"][wire.a.row] > 0))
    right = np.flatnonzero((wire.back == NOBODY) & (wire.two.packets["length"][wire.b.row] > 0))
    if not len(left) or not len(right):
        return
    group_left = wire.a.pair[left] * 2 + wire.a.forward[left]
    group_right = wire.b.pair[right] * 2 + wire.b.forward[right]
    starts_left = wire.one.packets["offset"][wire.a.row[left]]
    starts_right = wire.two.packets["offset"][wire.b.row[right]] + wire.shift[group_right]
    ends_left = starts_left + wire.one.packets["length"][wire.a.row[left]]
    ends_right = starts_right + wire.two.packets["length"][wire.b.row[right]]
    groups, places = [group_left, group_left, group_right, group_right], [starts_left, ends_left, starts_right, ends_right]
    edges, at = _edges(np.concatenate(groups), np.concatenate(places))
    cuts = np.split(at, np.cumsum([len(group) for group in groups])[:-1])
    a, b = _pieces(group_left, cuts[0], cuts[1], edges), _pieces(group_right, cuts[2], cuts[3], edges)
    found_a, found_b = _pair_pieces(a, b, expected[left], wire.b.time[right].astype(np.float64))
    wire.part_a[left] = _parts(a[0], found_a, len(left))
    wire.part_b[right] = _parts(b[0], found_b, len(right))


def _edges(groups: Array, places: Array) -> tuple[Array, Array]:
    """Return the distinct places of each group, sorted by group and place; and, for each input place, its index in this result.

    `groups`: the group of each place, which is one direction of a connection. `places`: the stream offsets at which segments
    begin or end.
    """
    order = np.lexsort((places, groups))
    new = np.ones(len(groups), bool)
    new[1:] = (groups[order][1:] != groups[order][:-1]) | (places[order][1:] != places[order][:-1])
    at = np.empty(len(groups), np.int64)
    at[order] = np.cumsum(new) - 1
    return places[order][new], at


def _pieces(groups: Array, first: Array, last: Array, edges: Array) -> tuple[Array, Array]:
    """Cut segments at all edges inside them. Return each piece's segment, and one hash of the piece's group and byte range.

    `groups`: the group of each segment, which is one direction of a connection. `first`, `last`: for each segment, the indexes in
    `edges` of its beginning and end.
    """
    counts = np.maximum(last - first, 0)
    counts = np.where(np.cumsum(counts) <= MAX_PIECES, counts, 0)
    segment = np.repeat(np.arange(len(groups)), counts)
    within = np.arange(len(segment)) - np.repeat(np.cumsum(counts) - counts, counts)
    at = first[segment] + within
    return segment, hash_rows(groups[segment], edges[at], edges[at + 1])


def _pair_pieces(a: tuple[Array, Array], b: tuple[Array, Array], expected: Array, seen: Array) -> tuple[Array, Array]:
    """Return two Boolean arrays: for each piece in `a` and in `b`, whether it has a match on the other side.

    `a`, `b`: the segment and the hash of each piece, from `_pieces`. `expected`, `seen`: the times of the
    segments of `a` and of `b`, by the same clock.
    If one side has more copies of a piece than the other, its last copies are matched.
    """
    order_a = np.lexsort((expected[a[0]], a[1]))
    order_b = np.lexsort((seen[b[0]], b[1]))
    keys_a, keys_b = a[1][order_a], b[1][order_b]
    found_a, found_b = np.zeros(len(keys_a), bool), np.zeros(len(keys_b), bool)
    rank_a, rank_b = _ranks(keys_a), _ranks(keys_b)
    number_a = np.searchsorted(keys_b, keys_a, side="right") - np.searchsorted(keys_b, keys_a, side="left")
    number_b = np.searchsorted(keys_a, keys_b, side="right") - np.searchsorted(keys_a, keys_b, side="left")
    size_a = np.searchsorted(keys_a, keys_a, side="right") - np.searchsorted(keys_a, keys_a, side="left")
    size_b = np.searchsorted(keys_b, keys_b, side="right") - np.searchsorted(keys_b, keys_b, side="left")
    # a piece was retransmitted because it was lost before, so the last copies arrived
    found_a[order_a] = rank_a >= size_a - number_a
    found_b[order_b] = rank_b >= size_b - number_b
    return found_a, found_b


def _ranks(keys: Array) -> Array:
    return np.arange(len(keys)) - np.searchsorted(keys, keys, side="left")


def _parts(segment: Array, found: Array, segments: int) -> Array:
    """Return for each segment 0 if none of its pieces has a match, 1 if some have one, and 2 if all have one."""
    every, there = np.bincount(segment, minlength=segments), np.bincount(segment, found, minlength=segments)
    return np.where((there > 0) & (there == every), 2, np.where(there > 0, 1, 0)).astype(np.int8)
