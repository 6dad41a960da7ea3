"""Determine whether the sender of an event stream had to wait for its receiver: for ACKs, or for room in the window.

An ACK is captured before it reaches the sender, and data sent in response is captured after it was sent. The two delays together
are one round trip between capture point and sender. This round trip is added to the capture times of ACKs, as in known_window.py.
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64, mypyc_attr

from wiredoctor.core.capture.packet import Packet
from wiredoctor.core.tcp.connection import Previous, Side
from wiredoctor.core.tcp.known_window import Ack
from wiredoctor.core.tcp.segment import MILLISECOND, NEVER, Segment

SHORTEST_GAP: Final = MILLISECOND // 2
"""If the time (ns) between two segments is shorter than this, the second segment did not wait for an ACK."""
AT_ONCE: Final = 5 * MILLISECOND
"""The maximum time in ns from the arrival of an ACK to the data that could not be sent before this ACK."""
MAX_ACKS: Final = 1024
"""The maximum number of ACKs that are stored while they are in transit to the sender."""

DID_NOT_WAIT: Final = 0
WAITED: Final = 1
MAY_HAVE_WAITED: Final = 2
"""The result for a segment that may have waited. The caller assumes that it waited if the previous packets came quickly.

This result has two possible reasons. Either no ACK came, so only pacing can have delayed the segment. Or little data was in
flight, so a congestion window delayed the segment only if that data consisted of small segments.
"""


@mypyc_attr(acyclic=True)
class Releases:
    """The receiver's recent ACKs, used to decide whether the sender waited for one of them.

    `ack` and `edge` describe the ACK before the stored ACKs: its acknowledged offset, and the end of its window.
    """

    def __init__(self, ack: i64, edge: i64) -> None:
        self.ack: i64 = ack
        self.edge: i64 = edge
        self.acks: list[Ack] = []

    def passes(self, own: Side, packet: Packet) -> None:
        """Record the acknowledgment and the window of a packet that the receiver sent; `own` is the receiver's side."""
        last = self.acks[len(self.acks) - 1] if self.acks else None
        if last is not None and last.ack == own.acknowledged and last.edge == own.window_edge:
            return
        if last is not None and len(self.acks) >= MAX_ACKS:
            last.ack, last.edge, last.time = own.acknowledged, own.window_edge, packet.time
            return
        self.acks.append(Ack(packet.frame, packet.time, own.acknowledged, own.window_edge))

    def has_waited(self, previous: Previous, packet: Packet, segment: Segment) -> i64:
        """Return whether a segment with new data waited for a recent ACK: WAITED, MAY_HAVE_WAITED or DID_NOT_WAIT.

        If the previous segment was full, the sender had more data, but this alone does not prove a wait for an ACK. For example,
        a proxy that sends with MSG_MORE fills its segments only as fast as the program writes.
        """
        gap = packet.time - previous.time
        if gap < SHORTEST_GAP or segment.rtt_own == NEVER:
            return DID_NOT_WAIT
        way = max(segment.rtt_own, 0)
        since = packet.time - min(AT_ONCE, gap // 2) - way
        old: i64 = 0
        count = i64(len(self.acks))
        while old < count and self.acks[old].time < since:
            self.ack, self.edge = self.acks[old].ack, self.acks[old].edge
            old += 1
        if old > 0:
            self.acks = self.acks[old:]
        if not self.acks or self.acks[0].time + way > packet.time + max(MILLISECOND, way // 10):
            return DID_NOT_WAIT if previous.small else i64(MAY_HAVE_WAITED)
        if self.edge != NEVER and self.edge - previous.end < segment.mss:
            return WAITED
        flying = previous.end - self.ack
        if flying >= 2 * segment.mss and not previous.small:
            return WAITED
        return MAY_HAVE_WAITED if flying > 0 or not previous.small else DID_NOT_WAIT
