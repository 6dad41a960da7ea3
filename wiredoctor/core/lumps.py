"""Whether the sender of an event stream had to wait for its receiver: for ACKs, or for room in the window.

As in transfers.py everything is seen as the sender saw it: an ACK counts from when it had passed the way from the capture point
to the sender and back.
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64, mypyc_attr

from wiredoctor.core.connection import Previous, Side
from wiredoctor.core.packet import Packet
from wiredoctor.core.segment import MILLISECOND, NEVER, Segment
from wiredoctor.core.transfers import Ack

SHORTEST_GAP: Final = MILLISECOND // 2
"""What comes sooner after the data before it waited for nothing."""
AT_ONCE: Final = 5 * MILLISECOND
"""A sender that has more to send sends it within this time when an ACK allows it."""
MOST_ACKS: Final = 1024
"""ACKs on their way to the sender that are kept apart: the first and the last of them count."""

DID_NOT_WAIT: Final = 0
WAITED: Final = 1
MAY_HAVE_WAITED: Final = 2
"""All that was there was sent, but by a sender of crumbs, whose congestion window counts them."""


@mypyc_attr(acyclic=True)
class Releases:
    """The ACKs of the receiver that the sender may have waited for; `ack` and `edge`: what it knew before the first of them."""

    def __init__(self, ack: i64, edge: i64) -> None:
        self.ack: i64 = ack
        self.edge: i64 = edge
        self.acks: list[Ack] = []

    def passes(self, own: Side, packet: Packet) -> None:
        """Note a packet of the receiver, whose side is `own`."""
        last = self.acks[len(self.acks) - 1] if self.acks else None
        if last is not None and last.ack == own.acknowledged and last.edge == own.window_edge:
            return
        if last is not None and len(self.acks) >= MOST_ACKS:
            last.ack, last.edge, last.time = own.acknowledged, own.window_edge, packet.time
            return
        self.acks.append(Ack(packet.frame, packet.time, own.acknowledged, own.window_edge))

    def waited(self, previous: Previous, packet: Packet, segment: Segment) -> i64:
        """Return whether a segment with new data, some time after the one before it, was there before: that was full, so that
        there was more (which congestion control held back, or pacing); or an ACK has just come that allowed it."""
        gap = packet.time - previous.time
        if gap < SHORTEST_GAP or segment.rtt_own == NEVER:
            return DID_NOT_WAIT
        if not previous.small:
            return WAITED
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
            return DID_NOT_WAIT
        if self.edge != NEVER and self.edge - previous.end < segment.mss:
            return WAITED
        return MAY_HAVE_WAITED if previous.end > self.ack else DID_NOT_WAIT
