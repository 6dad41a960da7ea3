"""For each ACK, determine the data that it acknowledges, its round-trip time, its delay, and the window that it announces.

releases.py decides whether a segment waited for a delayed ACK.
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64

from wiredoctor.core.capture.packet import Packet
from wiredoctor.core.tcp.connection import SHRANK, Connection, Flight, Side, Syn
from wiredoctor.core.tcp.segment import ACK, NEVER, RST, SYN, Segment

ROUNDING: Final = 8
"""If a window shrinks by at most 1/ROUNDING of its largest size, window scaling may have rounded it (RFC 7323 section 2.4)."""
LONGEST: Final = 1 << 60
"""In a sum, a longer round trip counts as this many ns, so the sum of three round trips fits in 64 bits."""


def acknowledge(connection: Connection, own: Side, peer: Side, packet: Packet, segment: Segment, most: i64) -> None:
    """Set the number of bytes that a packet newly acknowledges. Ignore an ACK of data that the peer cannot have sent.

    If the ACK acknowledges captured segments, also set the capture time of the newest of these segments and the delay of the ACK.
    Only the last `most` segments of the peer are examined.
    """
    segment.rtt_own = own.rtt
    segment.rtt_peer = peer.rtt
    segment.acked_bytes = 0
    segment.answered_time = NEVER
    segment.ack_delay = NEVER
    ack = segment.ack
    if ack == NEVER or packet.flags & RST:
        return
    before = own.acknowledged
    if ack > before and (ack <= peer.highest or peer.highest == NEVER):
        if before == NEVER:
            segment.acked_bytes = ack - min(ack, 0)
        else:
            segment.acked_bytes = ack - before
        own.acknowledged = ack
        if peer.flight is not None:
            answer_flight(peer.flight, before, packet, segment, most)
    if before == NEVER or segment.answered_time != NEVER:
        measure_round_trip(connection, own, peer, packet, segment, before == NEVER)


def answer_flight(flight: Flight, before: i64, packet: Packet, segment: Segment, most: i64) -> None:
    """Set the capture time of the newest segment that an ACK newly acknowledges, and the delay of the ACK (ns).

    `before`: the offset up to which the previous ACK acknowledged data. The delay is the time from the capture of that segment to
    the capture of the ACK, minus the round trip between the capture point and the receiver. At most the last `most` segments are
    examined.
    """
    segments = flight.segments
    end: i64 = len(segments)
    i = max(flight.unacknowledged, end - most)
    while i < end and segments[i].reached <= segment.ack:
        # a segment that ends at or below `before` was captured after its own ACK, so this ACK does not belong to it
        if segments[i].reached > before:
            segment.answered_time = segments[i].time
        i += 1
    flight.unacknowledged = i
    if segment.answered_time != NEVER and segment.rtt_own != NEVER:
        segment.ack_delay = packet.time - segment.answered_time - segment.rtt_own


def measure_round_trip(connection: Connection, own: Side, peer: Side, packet: Packet, segment: Segment, is_first: bool) -> None:
    """Update the smallest round trip between the capture point and the sender of an ACK.

    For the first ACK of a side, the round trip is measured from the peer's SYN; for later ACKs, from the newest segment that
    they acknowledge.
    """
    sent = segment.answered_time
    syn = peer.syn
    if syn is not None and sent < syn.time:
        sent = NEVER  # the segment belongs to an earlier SYN (TCP Fast Open), and the SYN was retransmitted later
    if is_first and syn is not None and segment.ack >= 0:
        # it is unknown which of several SYNs was acknowledged (RFC 6298 section 3): assume the newest until data is acknowledged
        if packet.time >= syn.time:
            keep_round_trip(own, syn, packet.time - syn.time, syn.repeated)
    elif sent != NEVER and packet.time >= sent:
        keep_round_trip(own, syn, packet.time - sent, False)
    handshake = connection.handshake
    if sent != NEVER and packet.time >= sent and handshake is not None and handshake.repeated is not None:
        repeated = handshake.repeated
        sample = packet.time - sent
        if segment.direction == 0:
            if repeated.data_rtt_first == NEVER or sample < repeated.data_rtt_first:
                repeated.data_rtt_first = sample
        elif repeated.data_rtt_second == NEVER or sample < repeated.data_rtt_second:
            repeated.data_rtt_second = sample


def keep_round_trip(own: Side, syn: Syn | None, sample: i64, is_guess: bool) -> None:
    """Store a round-trip sample (ns) if it is smaller than the stored round trip, or if the stored round trip is only a guess.

    `syn`: the newest SYN of the peer. `is_guess`: true if the sample assumes that the newest of several SYNs was answered. A
    guess never replaces a measured round trip.
    """
    was_guess = syn is not None and syn.rtt_is_guess
    if own.rtt != NEVER and not was_guess and (is_guess or sample >= own.rtt):
        return
    own.rtt = sample
    if syn is not None:
        syn.rtt_is_guess = is_guess


def whole_round_trip(segment: Segment) -> i64:
    """Return the round trip between both ends of the connection in ns.

    Return 0 until the round trips from the capture point to both ends are known.
    """
    if segment.rtt_own == NEVER or segment.rtt_peer == NEVER:
        return 0
    return add_round_trips(segment.rtt_own, segment.rtt_peer)


def add_round_trips(first: i64, second: i64) -> i64:
    """Return the sum of two round trips in ns. A negative argument is an unknown round trip, and counts as 0."""
    return min(max(first, 0), LONGEST) + min(max(second, 0), LONGEST)


def announce_window(own: Side, peer: Side, packet: Packet, segment: Segment) -> None:
    """Set whether a packet is a window update or a duplicate ACK (RFC 5681 section 2), judged by the window that it announces.

    Also record whether this window has less room than a full segment needs, and whether it is smaller than an earlier window.
    """
    segment.window_update = segment.duplicate_ack = segment.widens_window = False
    if packet.flags & ACK == 0 or packet.flags & RST:
        return
    edge: i64 = NEVER
    if segment.window != NEVER:
        edge = segment.ack + segment.window
    sent = peer.highest
    if sent == NEVER:
        sent = own.acknowledged
    raised = own.window_edge != NEVER and edge > own.window_edge and own.window_edge - sent < segment.peer_mss
    segment.widens_window = raised and packet.window > own.window
    if segment.pure_ack:
        segment.window_update = raised or segment.acked_bytes <= 0
        in_flight = peer.highest > own.acknowledged
        segment.duplicate_ack = segment.acked_bytes <= 0 and packet.window == own.window and in_flight
    if edge != NEVER and edge - sent < segment.peer_mss:
        own.short_window_frame = packet.frame
        if own.widest_window == -1 and own.syn is not None and packet.flags & SYN == 0:
            own.syn.first_window = packet.window
    own.window_edge = edge
    own.window = packet.window
    if own.widest_window - packet.window > own.widest_window // ROUNDING:
        own.widest_window = SHRANK
    elif packet.flags & SYN == 0:
        own.widest_window = max(own.widest_window, packet.window)
