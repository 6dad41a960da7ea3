"""Record when the first parts of an event stream were sent, so both sides of a gateway can be compared.

A moment is the first packet of a body's content, or one that comes APART or more after the packet of the previous moment.
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64, mypyc_attr

from wiredoctor.core.capture.packet import Packet
from wiredoctor.core.rows.cells import pack_cells
from wiredoctor.core.tcp.connection import Previous, Side
from wiredoctor.core.tcp.lumps import Releases
from wiredoctor.core.tcp.segment import MILLISECOND, NEVER, Segment

APART: Final = 5 * MILLISECOND
"""The minimum time in ns between two moments."""
MOST: Final = 64
"""The maximum number of moments of a body, which bounds the memory for an open stream."""


@mypyc_attr(acyclic=True)
class Moments:
    """The first moments of a body. `cells`: four numbers for each of them (see the column `response_moments` of exchanges)."""

    def __init__(self) -> None:
        self.cells: bytes = b""
        self.count: i64 = 0
        self.time: i64 = NEVER
        self.content: i64 = 0
        """The number of content bytes up to the newest packet."""
        self.releases: Releases | None = None
        """The ACKs that the sender may have waited for."""

    def note(self, own: Side, peer: Side, previous: Previous | None, packet: Packet, segment: Segment, content: i64) -> None:
        """Record a packet with content. `previous`: the sender's previous data. `content`: the content bytes so far."""
        before = self.content
        self.content = content
        if self.count == MOST or content == before or (self.time != NEVER and packet.time - self.time < APART):
            return
        if segment.opens_gap or segment.fills_gap:
            self.count = MOST  # how much content came earlier is unknown
            return
        self.time = packet.time
        self.count += 1
        self.cells += pack_cells([packet.frame, packet.time, before, idle_time(own, peer, previous, packet, segment)])


def idle_time(own: Side, peer: Side, previous: Previous | None, packet: Packet, segment: Segment) -> i64:
    """Return for how long (ns) TCP could have sent a packet at once: all earlier data was acknowledged, and the window was open.

    The result is 0 if data was in flight or retransmitted.
    """
    if previous is None or previous.frame == NEVER:
        return packet.time
    disturbed = max(own.retransmission_frame, peer.retransmission_frame) > previous.frame
    if segment.in_flight_before > 0 or disturbed or peer.short_window_frame > previous.frame:
        return 0
    since = previous.time
    if peer.previous is not None:
        since = max(since, peer.previous.advance_time + segment.rtt_own)
    return max(packet.time - since, 0)
