"""Two captures of one network path, with the matches of their packets and the difference of their clocks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wiredoctor.compare.two_points import clocks
from wiredoctor.compare.two_points.matching import NOBODY, Rows
from wiredoctor.compare.two_points.packet_columns import Point, apart
from wiredoctor.compare.two_points.pairing import Pairs
from wiredoctor.tables import Array


@dataclass
class Wire:
    """Two captures, the first nearer to the client, and the matches of their packets.

    `a`, `b`: the packets of their paired connections. `partner`: for each row of `a`, the matching row of `b`, or NOBODY. `back`:
    for each row of `b`, the matching row of `a`, or NOBODY. `part_a`, `part_b`: for each row without a partner, how many of its
    bytes arrived in other segments: 0 none, 1 some, 2 all. `lines`: the clock of the second capture relative to the first; empty
    if unknown. `typical`: the median delay (ns) of packets that pass the first point first, and of those that pass the second
    point first.

    `shift`: for each group, the number to add to stream offsets of the second capture to get those of the first. A group is one
    direction of a connection that both captures have. `turned`: for each pair, whether its client is nearer to the second point.
    """

    one: Point
    two: Point
    pairs: Pairs
    a: Rows
    b: Rows
    partner: Array
    back: Array
    part_a: Array
    part_b: Array
    lines: list[clocks.Line]
    typical: tuple[float, float]
    shift: Array
    turned: Array

    def ahead(self, times: Array) -> Array:
        """Return by how much (ns) the second clock is ahead at each of these times of the first clock."""
        return clocks.ahead_at(self.lines, times)

    @property
    def apart(self) -> int:
        """The time (ns) of the second capture's first packet minus that of the first capture's, each by its own clock."""
        return apart(self.one.first_time, self.two.first_time)

    def on_first(self, times: Array) -> Array:
        """Convert times of the second capture to the clock of the first.

        The times are in ns since the first packet of the second capture, and in the result since that of the first.
        """
        rough = times + self.apart
        return rough - self.ahead(rough - self.ahead(rough))

    def on_second(self, times: Array) -> Array:
        """Convert times of the first capture to the clock of the second.

        The times are in ns since the first packet of the first capture, and in the result since that of the second.
        """
        return times + self.ahead(times) - self.apart

    def delays(self, forward: bool) -> Array:
        """Return the transit times (ns) of the packets that both captures have, for one direction.

        `forward`: True for packets that pass the first point first.
        """
        rows = np.flatnonzero((self.partner != NOBODY) & (self.a.forward == forward))
        took = self.b.time[self.partner[rows]] - self.on_second(self.a.time[rows])
        return took if forward else -took
