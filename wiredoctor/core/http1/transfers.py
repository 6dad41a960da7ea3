"""Find the long message bodies whose throughput is examined (transfer.py), and write their rows of `transfers`."""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64

from wiredoctor.core.capture.packet import NOT_CAPTURED, Packet
from wiredoctor.core.http1.message import Message
from wiredoctor.core.rows.cells import Rows
from wiredoctor.core.tcp.connection import Connection, Side, Syn
from wiredoctor.core.tcp.segment import NEVER, Segment
from wiredoctor.core.tcp.transfer import SHORTEST_PAUSE, Transfer

BEGINS: Final = 10
"""Tracking begins after this many segments of a body, and after 1/BEGINS of the minimum duration of a long body.

A sender may send ten segments before the first ACK (RFC 6928). Shorter bodies need no state. The time before tracking counts as a
part of the first round trip.
"""
LEAST: Final = 40
"""The minimum number of segments of a long body; a shorter body ends while its sender is still in slow start."""

TRANSFERS: Final = (
    *("connection", "direction", "role", "exchange", "frame", "time", "length", "first_frame", "start"),
    *("handshake", "has_gap", "uncertain_way", "receive_window", "send_buffer", "loss", "application", "path"),
    *("rtt", "ceiling", "in_flight", "in_flight_frame", "in_flight_time"),
    *("largest_window", "window", "window_frame", "window_time", "filled_frame", "filled_time"),
    *("scaling_own", "scaling_peer", "syn_own_frame", "syn_own_time", "syn_peer_frame", "syn_peer_time"),
)
"""The names of the columns that a row of `transfers` contains."""

NO_SYN: Final = Syn()


def watch(message: Message, own: Side, peer: Side, packet: Packet, segment: Segment, least: i64) -> None:
    """Begin to track a body if it is long enough so far, and the round trips are known.

    The body must have the size of at least BEGINS full segments, and must have taken at least 1/BEGINS of `least` ns.
    """
    if message.body_bytes < BEGINS * segment.mss:
        return
    if peer.acknowledged == NEVER or packet.time - message.body_time < least // BEGINS:
        return
    if segment.rtt_own == NEVER or segment.rtt_peer == NEVER:
        return
    transfer = message.transfer = Transfer()
    transfer.measure(segment)
    transfer.mss = segment.mss
    if own.previous is not None and own.previous.path_mss:
        transfer.mss = own.previous.path_mss
    transfer.known.passes(NEVER, message.body_time, peer.acknowledged, peer.window_edge, 0)
    now = transfer.round
    now.begin(message.body_time, segment.highest_before)
    if own.previous is not None:
        transfer.wait(own.previous, own, peer, packet, segment)
    # the application paused if it sent less than one segment per round trip although the window had room for more
    trips = (packet.time - message.body_time) // max(transfer.rtt, SHORTEST_PAUSE)
    had_room = peer.window_edge == NEVER or peer.window_edge - peer.acknowledged >= 2 * transfer.mss
    now.has_pause = had_room and (now.has_pause or message.body_bytes < trips * transfer.mss)


def write(rows: Rows, connection: Connection, message: Message, direction: i64, least: i64) -> None:
    """Write a row of `transfers` for a body that has ended. Drop its state instead if it lasted less than `least` ns.

    The state is also dropped if the body is smaller than LEAST full segments, or if it is uncertain what limited the transfer
    rate.
    """
    transfer = message.transfer
    if transfer is None:
        return
    whole = message.last_body_time - message.body_time
    if whole < least or message.body_bytes < LEAST * transfer.mss or not transfer.close(message.last_body_time, whole):
        message.transfer = None
        return
    own, peer = connection.sides(direction)
    own_syn, peer_syn = own.syn or NO_SYN, peer.syn or NO_SYN
    rows.add(
        [
            connection.id,
            direction,
            message.head.status >= 0,
            message.exchange,
            message.last_frame,
            message.last_body_time,
            message.body_bytes,
            message.body_frame,
            message.body_time,
            connection.has_both_syns,
            message.has_gap,
            transfer.has_doubt,
            transfer.receive_window,
            transfer.send_buffer,
            transfer.loss,
            transfer.application,
            transfer.path,
            transfer.rtt,
            transfer.ceiling if transfer.send_buffer > 0 else NEVER,
            transfer.flight,
            transfer.flight_frame,
            transfer.flight_time,
            transfer.largest if transfer.largest > 0 else NEVER,
            transfer.window,
            transfer.window_frame,
            transfer.window_time,
            transfer.filled_frame,
            transfer.filled_time,
            offers_scaling(own.syn),
            offers_scaling(peer.syn),
            own_syn.frame,
            own_syn.time,
            peer_syn.frame,
            peer_syn.time,
        ]
    )


def offers_scaling(syn: Syn | None) -> i64:
    """Return 1 if a SYN offered window scaling (RFC 7323), 0 if it did not, or -1 if that is unknown."""
    if syn is None or syn.window_shift == NOT_CAPTURED:
        return -1
    return 1 if syn.window_shift >= 0 else 0
