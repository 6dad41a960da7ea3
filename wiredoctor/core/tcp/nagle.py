"""Prove that a side does not use Nagle's algorithm (RFC 9293 section 3.7.4), and find its tail loss probes.

A side is one end of a connection. If it sends a small segment while an earlier small one is unacknowledged, it has disabled the
algorithm: when it sent the segment, no ACK had passed the capture point, so none had reached the side. But a capture may swap
packets that are close together. Therefore the proof only counts in two cases: no ACK follows within a millisecond, or the next
ACK also covers the later segment, so this ACK cannot have been sent before that segment.
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64

from wiredoctor.core.capture.packet import Packet
from wiredoctor.core.tcp.acks import whole_round_trip
from wiredoctor.core.tcp.connection import Side, waits_of
from wiredoctor.core.tcp.segment import FIN, MILLISECOND, NEVER, Segment
from wiredoctor.core.tcp.waits import Claim, Nagle

SWAPPED: Final = MILLISECOND
CLOSE: Final = 2 * MILLISECOND
"""If two small segments are at most this many ns and at most one round trip apart, no timer sent the second one."""
ALONE: Final = 150 * MILLISECOND
"""If a segment comes less than this many ns after a segment that is alone in flight, no timer sent the later one.

Linux has two timers that may send a segment then. Both take longer: the cork timer (200 ms), and the timer of the tail loss
probe.
"""
MAX_CLAIMS: Final = 1_024
"""The maximum number of undecided claims that Nagle's algorithm is off (`settle_claims`), not counting the first.

The maximum is only reached if timestamps do not advance.
"""


def nagle_of(own: Side) -> Nagle:
    """Return the `Nagle` state of a side; create it if there is none."""
    waits = waits_of(own)
    nagle = waits.nagle
    if nagle is None:
        waits.nagle = nagle = Nagle()
    return nagle


def settle_claims(nagle: Nagle, acknowledged: i64, clock: i64) -> None:
    """Decide the oldest claim, if possible, and drop the claims that an ACK refutes.

    A claim says that Nagle's algorithm is off, because a small segment was sent while an earlier small one was unacknowledged.
    One ACK of both segments proves the claim, and so does a millisecond without an ACK of the earlier segment. An ACK of only the
    earlier segment within that time refutes the claim. `acknowledged`: the offset up to which the peer has acknowledged data.
    `clock`: the watermark (Packet.clock).
    """
    if nagle.claim_time == NEVER:
        return
    if clock - nagle.claim_time > SWAPPED or nagle.claim_next_end <= acknowledged:
        nagle.off_since = min(nagle.claim_time + SWAPPED, clock)
        nagle.claim_time = NEVER
        nagle.later_claims = None
    elif nagle.claim_end <= acknowledged:
        drop_claims(nagle, acknowledged)


def drop_claims(nagle: Nagle, acknowledged: i64) -> None:
    """Drop the first claim, and all others that an ACK up to `acknowledged` refutes. The next claim becomes the first.

    `acknowledged`: the offset up to which the peer has acknowledged data. For claims, see `settle_claims`.
    """
    nagle.claim_time = NEVER
    later = nagle.later_claims
    if later is None:
        return
    count: i64 = 0
    while count < len(later) and later[count].end <= acknowledged:
        count += 1
    if count < len(later):
        nagle.claim_time = later[count].time
        nagle.claim_end = later[count].end
        nagle.claim_next_end = later[count].next_end
        count += 1
    del later[:count]
    if not later:
        nagle.later_claims = None


def claim_nagle_off(own: Side, peer: Side, packet: Packet, segment: Segment, clock: i64) -> None:
    """Claim that Nagle's algorithm is off if a small segment follows an unacknowledged small one, and no timer can have sent it.

    For claims, see `settle_claims`. `clock`: the watermark (Packet.clock).
    """
    data = own.previous
    if data is None or not data.small or segment.fills_gap or segment.opens_gap or packet.flags & FIN:
        return
    # if no packets of the receiver were captured, its ACKs are missing too
    if peer.acknowledged == NEVER or data.end <= peer.acknowledged:
        return
    gap = packet.time - data.time
    is_close = gap <= min(CLOSE, whole_round_trip(segment))
    is_alone = gap < ALONE and segment.in_flight_before <= data.length
    if not is_close and not is_alone:
        return
    nagle = nagle_of(own)
    if nagle.off_since != NEVER:
        return
    next_end = segment.offset + packet.length
    if nagle.claim_time == NEVER:
        nagle.claim_time = clock
        nagle.claim_end = data.end
        nagle.claim_next_end = next_end
        return
    later = nagle.later_claims
    if later is None:
        nagle.later_claims = later = []
    # if the unacknowledged data ends no later than that of an earlier claim, the same ACK decides both claims
    last = later[len(later) - 1].end if later else nagle.claim_end
    if data.end > last and len(later) < MAX_CLAIMS:
        later.append(Claim(clock, data.end, next_end))


def is_off(nagle: Nagle, clock: i64) -> bool:
    """Return whether it was proved before the watermark `clock` that Nagle's algorithm is off."""
    return nagle.off_since != NEVER and clock > nagle.off_since


def watch_probe(own: Side, peer: Side, packet: Packet, segment: Segment, least: i64, longest: i64) -> None:
    """Store a small segment if it may be a tail loss probe of its sender.

    A probe follows a small segment that is alone in flight. The time between them is one round trip plus a delay of `least` to
    `longest` ns (RFC 8985 section 7.2; tcp_send_loss_probe in net/ipv4/tcp_output.c of Linux).
    """
    data = own.previous
    if data is None or not data.small or data.end <= peer.acknowledged or segment.retransmission:
        return
    gap = packet.time - data.time
    if gap < least or segment.rtt_own == NEVER or segment.rtt_peer == NEVER or segment.in_flight_before > data.length:
        return
    if not least <= gap - whole_round_trip(segment) <= longest:
        return
    nagle = nagle_of(own)
    nagle.probe_frame = packet.frame
    nagle.probe_data_end = data.end
    nagle.probe_end = segment.offset + packet.length


def answer_probe(nagle: Nagle, acknowledged: i64, segment: Segment) -> i64:
    """Return the frame number of a possible tail loss probe if one packet acknowledges both the probe and the data before it.

    Otherwise return 0. If the packet only acknowledges that data, or if `segment` is a retransmission, forget the segment that
    may have been a probe. `acknowledged`: the offset up to which data is acknowledged.
    """
    if nagle.probe_frame == NEVER:
        return 0
    if segment.retransmission:
        nagle.probe_frame = NEVER
    elif acknowledged >= nagle.probe_data_end:
        frame = nagle.probe_frame
        nagle.probe_frame = NEVER
        if acknowledged >= nagle.probe_end:
            return frame
    return 0
