"""Record who closed a connection and how: the first FIN and the first RST of each side."""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64

from wiredoctor.core.capture.packet import Packet
from wiredoctor.core.tcp import origins
from wiredoctor.core.tcp.acks import add_round_trips
from wiredoctor.core.tcp.connection import Close, Connection, Side
from wiredoctor.core.tcp.segment import ACK, FIN, NEVER, RST, Segment

NOBODY: Final = 0
CLIENT: Final = 1
SERVER: Final = 2
BOTH: Final = 3
CLOSED_BY: Final = ("", "client", "server", "both")
"""The texts for who closed a connection, indexed by the numbers NOBODY, CLIENT, SERVER and BOTH."""

BY_FIN: Final = 1
BY_RST: Final = 2
CLOSES: Final = ("", "fin", "rst")
"""The texts for how a connection was closed, indexed by the numbers BY_FIN and BY_RST; empty if it was not closed."""

SHORTEST_GRACE_PERIOD: Final = 1_000_000_000


def close(connection: Connection, own: Side, packet: Packet, segment: Segment) -> None:
    """Record a FIN or RST if it is the first FIN or the first RST of its side.

    Two FINs, or one RST, close the connection. An RST neither delivers data nor advances sequence and acknowledgment numbers
    (delivery.py, acks.py, numbers.py). If an RST refused a SYN and a later SYN is answered, handshake.py drops the RST.
    endings.py decides which open messages an RST ends.
    """
    closing = own.close
    is_first = closing is None
    if closing is None:
        own.close = closing = Close()
    ip = origins.pack_ip(packet)
    if packet.flags & FIN and closing.fin_frame == NEVER:
        if packet.flags & RST == 0:
            closing.fin_ip = ip
            closing.fin_signs = origins.add_signs(connection, own, packet, segment, None)
        closing.fin_frame = packet.frame
        closing.fin_time = packet.time
        closing.fin_ack = segment.ack
        closing.fin_offset = segment.offset + packet.length
    if packet.flags & RST and is_of_first_rst(closing, packet, ip):
        closing.rst_signs = origins.add_signs(connection, own, packet, segment, closing.rst_signs)
    if packet.flags & RST and closing.rst_frame == NEVER:
        closing.rst_ip = ip
        if packet.flags & ACK == 0:
            closing.rst_mac = origins.other_mac(connection, own, packet)
        closing.reached = own.reached
        closing.rst_frame = packet.frame
        closing.rst_time = packet.time
        closing.rst_ack = segment.ack
        closing.rst_offset = segment.offset + packet.length
    if is_first:
        find_rest(closing, own, connection.second if own is connection.first else connection.first, segment)
    if packet.flags & RST or (has_fin(connection.first) and has_fin(connection.second)):
        connection.closed = True


def is_of_first_rst(closing: Close, packet: Packet, ip: i64) -> bool:
    """Return True if an RST is a side's first RST, or came shortly after the first RST with the same time to live.

    Any other RST is no evidence about the first RST, because kernels and firewalls may send RSTs with the address of either host.
    `ip`: the RST's time to live and IP identification, as in Side.ip.
    """
    if closing.rst_frame == NEVER:
        return True
    is_alike = closing.rst_ip >> origins.ID_BITS == ip >> origins.ID_BITS
    return is_alike and packet.time - closing.rst_time <= origins.BURST


def find_rest(closing: Close, own: Side, peer: Side, segment: Segment) -> None:
    """Record the newest payload of either side if the connection is idle when the side `own` closes it.

    A connection is not idle while data is unacknowledged or does not fit in the receive window.
    """
    if segment.new_bytes > 0 or not is_delivered(own, peer) or not is_delivered(peer, own):
        return
    mine, theirs = last_payload(own), last_payload(peer)
    closing.rest_is_own = mine >= theirs
    closing.rest_time = max(mine, theirs)
    newest = own if mine >= theirs else peer
    if newest.previous is not None:
        closing.rest_frame = max(newest.previous.frame, newest.retransmission_frame)


def is_delivered(sender: Side, receiver: Side) -> bool:
    """Return True if the receiver acknowledged everything that `sender` sent, including a FIN, and its window has room for more.

    The newest segment of `sender` is not enough to decide this, because it may have filled a gap below other data.
    """
    sent = sender.previous
    if sent is None or sent.frame == NEVER:
        return True
    closing = sender.close
    end = closing.fin_offset if closing is not None and closing.fin_offset != NEVER else sender.highest
    return receiver.acknowledged >= end and (receiver.window_edge == NEVER or receiver.window_edge > end)


def last_payload(side: Side) -> i64:
    """Return the time of the newest payload of a side, or NEVER if it has sent none."""
    sent = side.previous
    return i64(NEVER) if sent is None else max(sent.time, sent.repeated_time)


def grace_period(first_rtt: i64, second_rtt: i64) -> i64:
    """Return the time in ns for which packets may still arrive after a close: two round trips, but at least one second."""
    return max(SHORTEST_GRACE_PERIOD, 2 * add_round_trips(first_rtt, second_rtt))


def has_fin(side: Side) -> bool:
    """Return whether a side has sent a FIN."""
    return side.close is not None and side.close.fin_frame != NEVER


def who_closed(client: Close | None, server: Close | None) -> tuple[i64, i64]:
    """Return who closed first (NOBODY, CLIENT, SERVER or BOTH), and how (BY_FIN, BY_RST, or NOBODY if neither side closed).

    A side that acknowledges the peer's FIN closed later, even if its own FIN was captured earlier. If two FINs cross, both sides
    closed. An RST counts as a close if its side sent no FIN. If ACK numbers do not show the order, frame numbers decide.
    """
    if client is None or not is_over(client):
        return (NOBODY, NOBODY) if server is None or not is_over(server) else (SERVER, fin_or_rst(server))
    if server is None or not is_over(server):
        return CLIENT, fin_or_rst(client)
    client_knew, server_knew = had_received_close(client, server), had_received_close(server, client)
    if client_knew and not server_knew:
        return SERVER, fin_or_rst(server)
    if server_knew and not client_knew:
        return CLIENT, fin_or_rst(client)
    if fin_or_rst(client) == BY_FIN and fin_or_rst(server) == BY_FIN:
        return BOTH, BY_FIN
    # an RST without an ACK number responds to an earlier packet, so the close that was captured first decides
    is_client = closing_frame(client) < closing_frame(server)
    return (CLIENT, fin_or_rst(client)) if is_client else (SERVER, fin_or_rst(server))


def is_over(closing: Close) -> bool:
    """Return whether a side has sent a FIN, or an RST that still counts.

    An RST that refused a SYN no longer counts if a later SYN was answered.
    """
    return closing.fin_frame != NEVER or closing.rst_frame != NEVER


def fin_or_rst(closing: Close) -> i64:
    """Return how a side closed: BY_FIN, or BY_RST if it sent no FIN."""
    return BY_FIN if closing.fin_frame != NEVER else BY_RST


def closing_frame(closing: Close) -> i64:
    """Return the frame number of a side's FIN, or of its RST if it sent no FIN."""
    return closing.fin_frame if closing.fin_frame != NEVER else closing.rst_frame


def had_received_close(own: Close, peer: Close) -> bool:
    """Return whether a side had received the FIN or RST of its peer before it sent its own."""
    if peer.fin_frame != NEVER:
        ack = own.fin_ack if own.fin_frame != NEVER else own.rst_ack
        return ack != NEVER and ack > peer.fin_offset
    return own.fin_frame == NEVER and own.rst_frame > peer.rst_frame
