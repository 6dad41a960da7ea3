"""Find when a byte of a stream first passed a point, and when it was first acknowledged there."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from wiredoctor.tables import FIN, NEVER, SYN, Array

if TYPE_CHECKING:
    from wiredoctor.compare.two_points.matching import Rows
    from wiredoctor.compare.two_points.packet_columns import Point
    from wiredoctor.compare.two_points.wire import Wire

MAX_LOOKED_AT = 4096
"""The maximum number of segments that are examined to find the first one that contains a given byte."""


class _Segments(NamedTuple):
    """The segments of one direction of a connection at one point.

    `starts`, `ends`: the distinct ranges of the stream that segments cover, sorted by start. `times`: when each range first
    passed the point (ns). `longest`: the length of the longest range. `acks`: the highest offset that the peer had acknowledged
    after each of its ACKs. `ack_times`: the times of these ACKs.
    """

    starts: Array
    ends: Array
    times: Array
    longest: int
    acks: Array
    ack_times: Array


class Streams:
    """The packets at one point, by group. A group is one direction of a connection that both captures have; its number is pair *
    2 + forward (see Rows).

    All offsets are converted to those of the first capture. `start`, `end`: the range of the stream that each packet covers,
    including SYN and FIN (RFC 9293 section 3.4). `ack`: the offset in the other direction that each packet acknowledges, or NEVER
    if it has no ACK.
    """

    def __init__(self, wire: Wire, second: bool) -> None:
        rows: Rows = wire.b if second else wire.a
        point: Point = wire.two if second else wire.one
        self.rows = rows
        self.group = rows.pair * 2 + rows.forward
        other = rows.pair * 2 + ~rows.forward
        p = point.packets
        flags = p["flags"][rows.row]
        offset, ack = p["offset"][rows.row], p["ack_offset"][rows.row]
        if second:
            offset = offset + wire.shift[self.group]
            ack = np.where(ack == NEVER, NEVER, ack + wire.shift[other])
        self.start = offset - ((flags & SYN) != 0)
        self.end = offset + p["length"][rows.row] + ((flags & FIN) != 0)
        self.ack = ack
        self._order = np.argsort(self.group, kind="stable")
        self._bounds = np.searchsorted(self.group[self._order], np.arange(2 * len(wire.pairs) + 1))
        self._made: dict[int, _Segments] = {}

    def rows_in(self, group: int) -> Array:
        """Return the rows of the packets of a group, in capture order."""
        return self._order[self._bounds[group] : self._bounds[group + 1]]

    def first_with(self, group: int, place: int) -> int | None:
        """Return when the byte at offset `place` first passed this point (ns of the point's clock); None if it never did."""
        s = self._segments(group)
        low = int(np.searchsorted(s.starts, place - s.longest + 1))
        high = min(int(np.searchsorted(s.starts, place, side="right")), low + MAX_LOOKED_AT)
        times = s.times[low:high][s.ends[low:high] > place]
        return int(times.min()) if len(times) else None

    def first_acknowledging(self, group: int, place: int) -> int | None:
        """Return when an ACK of all bytes before `place` first passed this point (ns of its clock); None if no such ACK did."""
        s = self._segments(group)
        at = int(np.searchsorted(s.acks, place))
        return int(s.ack_times[at]) if at < len(s.acks) else None

    def _segments(self, group: int) -> _Segments:
        if group not in self._made:
            self._made[group] = self._make(group)
        return self._made[group]

    def _make(self, group: int) -> _Segments:
        mine = self.rows_in(group)
        mine = mine[self.end[mine] > self.start[mine]]
        order = np.lexsort((self.rows.time[mine], self.end[mine], self.start[mine]))
        mine = mine[order]
        starts, ends = self.start[mine], self.end[mine]
        new = np.ones(len(mine), bool)
        new[1:] = (starts[1:] != starts[:-1]) | (ends[1:] != ends[:-1])
        theirs = self.rows_in(group ^ 1)
        theirs = theirs[self.ack[theirs] != NEVER]
        theirs = theirs[np.argsort(self.rows.time[theirs], kind="stable")]
        longest = int((ends - starts).max(initial=0))
        return _Segments(
            starts[new], ends[new], self.rows.time[mine][new], longest,
            np.maximum.accumulate(self.ack[theirs]), self.rows.time[theirs],
        )  # fmt: skip
