"""Ports that are used again by a connection whose SYN the capture lacks: what its numbers show.

A TCP takes initial sequence numbers for the same ports from a clock (RFC 9293 section 3.4.1). So the first packet that is
captured of the later connection seems to jump in both directions, and what lies between is no hole: nobody sent it.
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64

from wiredoctor.core.connection import NO_BASE, Close, Connection, Former, Oddities, Side
from wiredoctor.core.numbers import wrapped
from wiredoctor.core.packet import Packet
from wiredoctor.core.segment import ACK, MILLISECOND, NEVER, RST, SYN

NEAR: Final = 65_538
"""Bytes. Linux begins 65,537 behind the FIN of a connection in TIME_WAIT, so that the first byte is 65,538 behind it (one more
where the FIN was not captured); what is nearer is of the same connection."""
FAR: Final = 1 << 20
"""Bytes. Linux' clock counts them in 67 ms."""
LEAST: Final = MILLISECOND
"""Between the last packet of a connection and one of its successor there are a handshake and, mostly, a close."""
PART: Final = 8
"""Where each direction carried so much of a jump before (an eighth), both may have gone on while packets were lost."""


def is_near(connection: Connection, packet: Packet) -> bool:
    """Return whether the sequence number of a packet goes on where its side was; of an acknowledgment number nothing is said."""
    own = connection.first if packet.is_turned == connection.is_turned else connection.second
    return (packet.sequence - 1 - own.base - own.highest + NEAR) & 0xFFFFFFFF < 2 * NEAR


def is_another(connection: Connection, packet: Packet) -> bool:
    """Return whether a packet that is no SYN of a client belongs to a later connection on the same ports.

    Both its numbers must tell. Those of an RST may be anybody's, and packets that were captured in disorder bring old ones back.
    A handshake takes time.
    """
    if packet.flags & (ACK | RST) != ACK or packet.time - connection.end < LEAST:
        if packet.flags & (ACK | RST) == ACK:
            note_changed_copy(connection, packet)
        return False
    own, peer = connection.first, connection.second
    if packet.is_turned != connection.is_turned:
        own, peer = connection.second, connection.first
    ahead, acked = distances(own, peer, packet)
    if ahead == 0 or acked == 0 or is_of_former(connection, packet):
        return False
    if note_changed_copy(connection, packet):
        return False
    back_own, back_peer = window_of(peer, own), window_of(own, peer)
    is_back_own, is_back_peer = ahead < -back_own, acked < -back_peer
    if connection.closed:
        open_own, open_peer = open_to(own.close, peer.close, back_own), open_to(peer.close, own.close, back_peer)
        return (ahead > open_own or is_back_own) and (acked > open_peer or is_back_peer)
    if is_back_own or is_back_peer:
        return (ahead >= FAR or is_back_own) and (acked >= FAR or is_back_peer)
    if own.bytes >= ahead // PART and peer.bytes >= acked // PART:
        return False
    return (ahead >= FAR and (acked >= FAR or follows_time_wait(acked))) or (acked >= FAR and follows_time_wait(ahead))


def distances(own: Side, peer: Side, packet: Packet) -> tuple[i64, i64]:
    """Return how far the two numbers of a packet lie behind the newest byte of the side that they count, or behind the newest
    numbers, which a damaged packet may have moved; 0 where these are unknown."""
    if own.base == NO_BASE or peer.base == NO_BASE:
        return 0, 0
    sent, heard = newest(own, peer), newest(peer, own)
    if sent == NEVER or heard == NEVER:
        return 0, 0
    syn: i64 = 1 if packet.flags & SYN else 0
    sequence, acknowledgment = packet.sequence + syn - 1 - own.base, packet.acknowledgment - 1 - peer.base
    ahead = nearest(sequence, sent, own.sequence, peer.acknowledgment)
    return ahead, nearest(acknowledgment, heard, peer.sequence, own.acknowledgment)


def nearest(number: i64, highest: i64, sequence: i64, acknowledgment: i64) -> i64:
    """Return the distance of a number from the one of three that is nearest to it."""
    first, second, third = wrapped(number - highest), wrapped(number - sequence), wrapped(number - acknowledgment)
    if max(second, -second) < max(first, -first):
        first = second
    return third if max(third, -third) < max(first, -first) else first


def newest(side: Side, other: Side) -> i64:
    """Return the offset up to which a side has sent, by what the other one acknowledges if nothing of it was captured."""
    return other.acknowledged if side.highest == NEVER else side.highest


def window_of(receiver: Side, sender: Side) -> i64:
    """Return a number of bytes that no honest sender goes back by: what its receiver's window held, or more."""
    if receiver.window_edge == NEVER or receiver.acknowledged == NEVER:
        return FAR
    return max(FAR, receiver.window_edge - receiver.acknowledged, sender.highest - receiver.acknowledged)


def open_to(own: Close | None, peer: Close | None, window: i64) -> i64:
    """Return how far behind its newest byte a side of a closed connection may still send: not at all behind its FIN; where an RST
    has closed it, what was on its way then."""
    if own is not None and own.fin_frame != NEVER and peer is not None and peer.fin_frame != NEVER:
        return 0
    return min(window, NEAR) - 1


def follows_time_wait(distance: i64) -> bool:
    """Return whether numbers jump as those that Linux gives to the successor of a connection in TIME_WAIT."""
    return distance == NEAR or distance == NEAR + 1


def is_of_former(connection: Connection, packet: Packet) -> bool:
    """Return whether a packet goes on where the connection was that had the ports before, and keep where that goes: late packets,
    or the same connection captured on both sides of a firewall that changes its numbers."""
    oddities = connection.oddities
    former = None if oddities is None else oddities.former
    if former is None:
        return False
    sent, heard = former.first, former.second
    if packet.is_turned != former.is_turned:
        sent, heard = heard, sent
    ahead, acked = wrapped(packet.sequence - sent), wrapped(packet.acknowledgment - heard)
    if ahead <= -FAR or ahead >= FAR or acked <= -FAR or acked >= FAR:
        return False
    if packet.is_turned == former.is_turned:
        former.first, former.second = packet.sequence, packet.acknowledgment
    else:
        former.first, former.second = packet.acknowledgment, packet.sequence
    return True


def note_changed_copy(connection: Connection, packet: Packet) -> bool:
    """Return whether a packet is the newest one of its side once more, with other numbers: it was captured on both sides of a
    firewall that changes them. Keep the numbers of the first copy: packets go on from both."""
    is_first = packet.is_turned == connection.is_turned
    if packet.ip_id <= 0 or connection.last_packet != packet.ip_id << 1 | (0 if is_first else 1):
        return False
    own, peer = connection.first, connection.second
    if not is_first:
        own, peer = peer, own
    if own.base == NO_BASE or peer.base == NO_BASE or own.base + 1 + own.sequence == packet.sequence:
        return False
    if connection.oddities is None:
        connection.oddities = Oddities()
    sent, heard = own.base + 1 + own.sequence, peer.base + 1 + own.acknowledgment
    connection.oddities.former = Former(sent, heard, packet.is_turned)
    return True


def note_former(connection: Connection, former: Connection, packet: Packet) -> None:
    """Keep where the connection was that had the ports before; note that the handshake is missing if a packet without SYN shows
    it."""
    oddities = Oddities()
    connection.oddities = oddities
    first, second = former.first, former.second
    sent, heard = newest(first, second), newest(second, first)
    if sent != NEVER and heard != NEVER and first.base != NO_BASE and second.base != NO_BASE:
        oddities.former = Former(first.base + 1 + sent, second.base + 1 + heard, former.is_turned)
    if packet.flags & (SYN | ACK) != SYN:
        oddities.reuse_frame = packet.frame
        oddities.reuse_time = packet.time
