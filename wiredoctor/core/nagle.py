"""Proof that a side does not use Nagle's algorithm (RFC 9293 section 3.7.4), and segments that its tail loss probe carried.

A side that sends a small segment while an earlier small one is unacknowledged has turned the algorithm off. No ACK had
passed the capture point by then, so none had reached the side. But a capture may swap packets that are close together: the proof
counts only if the ACK does not follow within a millisecond.
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64

from wiredoctor.core.acks import whole_round_trip
from wiredoctor.core.connection import Claim, Nagle, Side, waits_of
from wiredoctor.core.packet import Packet
from wiredoctor.core.segment import FIN, MILLISECOND, NEVER, Segment

SWAPPED: Final = MILLISECOND
CLOSE: Final = 2 * MILLISECOND
"""No timer of the sender lies between two small segments that are this close, and closer than the round trip."""
ALONE: Final = 150 * MILLISECOND
"""With one segment in flight, Linux' tail loss probe and its cork timer fire after 200 ms: what leaves earlier is not theirs."""
MOST_CLAIMS: Final = 1_024
"""So many claims wait for their millisecond to pass; more are left out, which time stamps that stand still would pile up."""


def nagle_of(own: Side) -> Nagle:
    """Return what is known of Nagle's algorithm at a side; make it at first."""
    waits = waits_of(own)
    nagle = waits.nagle
    if nagle is None:
        waits.nagle = nagle = Nagle()
    return nagle


def settle_claims(nagle: Nagle, acknowledged: i64, clock: i64) -> None:
    """Accept the first claim whose millisecond is over, and drop those whose ACK came within it.

    The clock is the watermark, which no packet can set back.
    """
    if nagle.claim_time == NEVER:
        return
    if clock - nagle.claim_time > SWAPPED:
        nagle.off_since = nagle.claim_time + SWAPPED
        nagle.claim_time = NEVER
        nagle.later_claims = None
    elif nagle.claim_end <= acknowledged:
        drop_claims(nagle, acknowledged)


def drop_claims(nagle: Nagle, acknowledged: i64) -> None:
    """Drop the claims whose data is acknowledged; the first of the others comes to the front."""
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
        count += 1
    del later[:count]
    if not later:
        nagle.later_claims = None


def claim_nagle_off(own: Side, peer: Side, packet: Packet, segment: Segment, clock: i64) -> None:
    """Claim that Nagle is off if a small segment follows an unacknowledged small one and no timer can have sent it."""
    data = own.previous
    if data is None or not data.small or segment.fills_gap or segment.opens_gap or packet.flags & FIN:
        return
    # where nothing of the receiver was captured, its ACKs were not either
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
    if nagle.claim_time == NEVER:
        nagle.claim_time = clock
        nagle.claim_end = data.end
        return
    later = nagle.later_claims
    if later is None:
        nagle.later_claims = later = []
    # a claim that ends no later than an earlier one is settled with it
    last = later[len(later) - 1].end if later else nagle.claim_end
    if data.end > last and len(later) < MOST_CLAIMS:
        later.append(Claim(clock, data.end))


def is_off(nagle: Nagle, clock: i64) -> bool:
    """Return whether Nagle is proved off for packets of this moment."""
    return nagle.off_since != NEVER and clock > nagle.off_since


def watch_probe(own: Side, peer: Side, packet: Packet, segment: Segment, least: i64, longest: i64) -> None:
    """Keep a small segment that the sender's tail loss probe may carry: it comes `least` to `longest` and two round trips after
    a small one that is alone in flight (RFC 8985 section 7.2; tcp_send_loss_probe in net/ipv4/tcp_output.c of Linux)."""
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
    """Return the probe that a packet of the receiver acknowledges together with the data before it; 0 without one.

    A retransmission of either side, or an ACK of the data alone, shows that it was no probe.
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
