"""Which data an ACK answers, the round trips and delays that this shows, and the windows that it announces."""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64

from wiredoctor.core.connection import Connection, Flight, Side
from wiredoctor.core.packet import Packet
from wiredoctor.core.segment import ACK, NEVER, RST, Segment

LONGEST: Final = 1 << 60
"""Nanoseconds. Time stamps may lie decades apart; sums and differences of three of them must fit 64 bits."""


def acknowledge(connection: Connection, own: Side, peer: Side, packet: Packet, segment: Segment, most: i64) -> None:
    """Set what a packet newly acknowledges. An ACK of what the peer cannot have sent counts for nothing."""
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
    """Find the newest segment that an ACK newly acknowledges, after an ACK of `before`. Its sender delayed the ACK by the time
    since that segment was captured, less the round trip to it."""
    segments = flight.segments
    end: i64 = len(segments)
    i = max(flight.unacknowledged, end - most)
    while i < end and segments[i].reached <= segment.ack:
        # a segment up to `before` was captured after the ACK of it: this ACK does not answer it
        if segments[i].reached > before:
            segment.answered_time = segments[i].time
        i += 1
    flight.unacknowledged = i
    if segment.answered_time != NEVER and segment.rtt_own != NEVER:
        segment.ack_delay = packet.time - segment.answered_time - segment.rtt_own


def measure_round_trip(connection: Connection, own: Side, peer: Side, packet: Packet, segment: Segment, is_first: bool) -> None:
    """Keep the smallest round trip to a side, from what it acknowledges; its first ACK answers the peer's SYN."""
    sent = segment.answered_time
    syn = peer.syn
    if is_first and syn is not None and segment.ack >= 0:
        # nobody can tell which of several SYNs was answered (RFC 6298 section 3): the newest, until data shows better
        if packet.time >= syn.time:
            keep_round_trip(own, packet.time - syn.time, syn.repeated)
    elif sent != NEVER and packet.time >= sent:
        keep_round_trip(own, packet.time - sent, False)
    handshake = connection.handshake
    if sent != NEVER and packet.time >= sent and handshake is not None and handshake.repeated is not None:
        repeated = handshake.repeated
        sample = packet.time - sent
        if segment.direction == 0:
            if repeated.data_rtt_first == NEVER or sample < repeated.data_rtt_first:
                repeated.data_rtt_first = sample
        elif repeated.data_rtt_second == NEVER or sample < repeated.data_rtt_second:
            repeated.data_rtt_second = sample


def keep_round_trip(own: Side, sample: i64, is_guess: bool) -> None:
    """Keep a round trip if it is smaller; a guess gives way to whatever comes later."""
    if is_guess:
        if own.rtt == NEVER or own.rtt_is_guess:
            own.rtt = sample
            own.rtt_is_guess = True
    elif own.rtt == NEVER or own.rtt_is_guess or sample < own.rtt:
        own.rtt = sample
        own.rtt_is_guess = False


def whole_round_trip(segment: Segment) -> i64:
    """Return the round trip from one end of the connection to the other; 0 while a part of it is unknown."""
    if segment.rtt_own == NEVER or segment.rtt_peer == NEVER:
        return 0
    return add_round_trips(segment.rtt_own, segment.rtt_peer)


def add_round_trips(first: i64, second: i64) -> i64:
    """Return the sum of two round trips, of which none is known if it is negative."""
    return min(max(first, 0), LONGEST) + min(max(second, 0), LONGEST)


def announce_window(own: Side, peer: Side, packet: Packet, segment: Segment) -> None:
    """Set what a packet says of its sender's window: updates, duplicate ACKs (RFC 5681 section 2), no room for a full
    segment."""
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
    own.window_edge = edge
    own.window = packet.window
