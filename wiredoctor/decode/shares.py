"""Which packets belong to which share of the connections: told by a hash that both directions have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from wiredoctor.scan import BUCKETS, bucket

if TYPE_CHECKING:
    from wiredoctor.tables import Array, Columns


WALKING, DECODING = 0.05, 0.05
"""What the first share's process does besides, walking through the records and printing the report, and the last one's, which
decodes for all: as parts of what the analysis of all packets takes, measured on ordinary HTTP."""


class Shares:
    """Shares of about the same work: whole buckets, each given to the share with the fewest packets when it is first seen.

    The busiest one comes first (R. L. Graham, Bounds on Multiprocessing Timing Anomalies, 1969): of a few busy connections
    a fixed division would often leave one process with most.
    """

    def __init__(self, count: int) -> None:
        self._share = np.full(BUCKETS, -1)
        self._packets = np.zeros(count)
        self._besides = np.zeros(count)
        self._besides[0] += WALKING
        self._besides[-1] += DECODING

    def rows(self, packets: Columns) -> list[Array]:
        """The rows of these packets (tables.PACKETS) that each share has."""
        addresses = (packets["source_high"], packets["source_low"], packets["destination_high"], packets["destination_low"])
        place = bucket(addresses, (packets["source_port"], packets["destination_port"])).astype(np.intp)
        counts = np.bincount(place, minlength=BUCKETS)
        known = self._share >= 0
        np.add.at(self._packets, self._share[known], counts[known])
        total = self._packets.sum() + counts[~known].sum()
        for new in sorted(np.flatnonzero(~known & (counts > 0)), key=lambda each: -counts[each]):
            least = np.argmin(self._packets + self._besides * total)
            self._share[new] = least
            self._packets[least] += counts[new]
        share = self._share[place]
        return [np.flatnonzero(share == number) for number in range(len(self._packets))]
