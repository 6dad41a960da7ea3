"""Recognize a later connection on the same ports whose SYN was not captured, by its sequence and acknowledgment numbers.

TCP chooses the initial sequence numbers for the same ports from a clock (RFC 9293 section 3.4.1). Therefore the numbers of the
first captured packet of the later connection seem to jump in both directions. The bytes in between are not a gap: they were never
sent.
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64

from wiredoctor.core.capture.packet import Packet
from wiredoctor.core.tcp.connection import NO_BASE, Close, Connection, Former, Side, oddities_of
from wiredoctor.core.tcp.numbers import wrap
from wiredoctor.core.tcp.segment import ACK, MILLISECOND, NEVER, RST, SYN

NEAR: Final = 65_538
"""The distance in bytes within which numbers belong to the same connection.

If a new connection replaces one in TIME_WAIT, Linux chooses an initial sequence number that is 65,537 above that of the old FIN.
The first byte of the new connection is then 65,538 above the FIN, or one more if the FIN was not captured.
"""
FAR: Final = 1 << 20
"""The minimum jump in bytes between the sequence numbers of two connections.

Linux's clock for initial sequence numbers advances this far in 67 ms.
"""
LEAST: Final = MILLISECOND
"""The minimum time in ns between two connections. It must suffice for a handshake, and usually for a close."""
PART: Final = 8
"""If the bytes that each side had sent are at least 1/PART of its jump in sequence numbers, lost packets may explain the jump."""


def is_near(connection: Connection, packet: Packet) -> bool:
    """Return whether a packet's sequence number is near the highest one of its side.

    The acknowledgment number is not compared.
    """
    own = connection.first if packet.is_turned == connection.is_turned else connection.second
    return (packet.sequence - 1 - own.base - own.highest + NEAR) & 0xFFFFFFFF < 2 * NEAR


def is_another(connection: Connection, packet: Packet) -> bool:
    """Return whether a packet other than a client's SYN belongs to a later connection on the same ports.

    Both its sequence and its acknowledgment number must have jumped, and the time since the previous packet must suffice for a
    handshake. An RST does not count, because its numbers may be arbitrary. Nor does a packet captured out of order, because it
    has old numbers.
    """
    if packet.flags & (ACK | RST) != ACK or packet.time - connection.end < LEAST:
        if packet.flags & (ACK | RST) == ACK:
            note_changed_copy(connection, packet)
        return False
    own, peer = connection.sides(0 if packet.is_turned == connection.is_turned else 1)
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
    """Return how far a packet's sequence and acknowledgment numbers are from the ends of the sender's and the peer's data.

    Both distances are in bytes: positive if the number is ahead of the end of the data, negative if it is behind. Both are 0 if
    one of them is unknown. A damaged packet may have moved the end of the data, so distances from the newest sequence and
    acknowledgment numbers are used if they are shorter.
    """
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
    """Return the signed distance of a number from the nearest of three: `highest`, `sequence` and `acknowledgment`."""
    first, second, third = wrap(number - highest), wrap(number - sequence), wrap(number - acknowledgment)
    if max(second, -second) < max(first, -first):
        first = second
    return third if max(third, -third) < max(first, -first) else first


def newest(side: Side, other: Side) -> i64:
    """Return the offset up to which a side has sent.

    If no packet of the side was captured, it is the offset up to which `other` has acknowledged.
    """
    return other.acknowledged if side.highest == NEVER else side.highest


def window_of(receiver: Side, sender: Side) -> i64:
    """Return the maximum number of bytes by which a valid packet's sequence number may be behind the newest data of `sender`.

    The result is the largest of three numbers: the receiver's window, the unacknowledged data of `sender`, and FAR.
    """
    if receiver.window_edge == NEVER or receiver.acknowledged == NEVER:
        return FAR
    return max(FAR, receiver.window_edge - receiver.acknowledged, sender.highest - receiver.acknowledged)


def open_to(own: Close | None, peer: Close | None, window: i64) -> i64:
    """Return how many bytes a side of a closed connection may still send after its newest byte.

    The result is 0 if both sides have sent a FIN. After an RST, bytes in transit may still arrive. `window`: the result of
    `window_of`.
    """
    if own is not None and own.fin_frame != NEVER and peer is not None and peer.fin_frame != NEVER:
        return 0
    return min(window, NEAR) - 1


def follows_time_wait(distance: i64) -> bool:
    """Return whether sequence numbers this far apart fit the connection that Linux opens after TIME_WAIT."""
    return distance == NEAR or distance == NEAR + 1


def is_of_former(connection: Connection, packet: Packet) -> bool:
    """Return whether a packet continues the previous connection on the same ports. If so, store its numbers for later packets.

    The packet may be late, or the connection may have been captured on both sides of a firewall that changes its numbers.
    """
    former = connection.former
    if former is None:
        return False
    sent, heard = former.first, former.second
    if packet.is_turned != former.is_turned:
        sent, heard = heard, sent
    ahead, acked = wrap(packet.sequence - sent), wrap(packet.acknowledgment - heard)
    if ahead <= -FAR or ahead >= FAR or acked <= -FAR or acked >= FAR:
        return False
    if packet.is_turned == former.is_turned:
        former.first, former.second = packet.sequence, packet.acknowledgment
    else:
        former.first, former.second = packet.acknowledgment, packet.sequence
    return True


def note_changed_copy(connection: Connection, packet: Packet) -> bool:
    """Return whether a packet seems to be a copy of the previous packet, with other sequence and acknowledgment numbers.

    Both packets have the same direction and IP identification. This happens if a connection was captured on both sides of a
    firewall that changes the numbers. Packets with the old numbers and with the new ones will follow, so store the old numbers of
    both sides.
    """
    direction: i64 = 0 if packet.is_turned == connection.is_turned else 1
    if packet.ip_id <= 0 or connection.last_packet != packet.ip_id << 1 | direction:
        return False
    own, peer = connection.sides(direction)
    if own.base == NO_BASE or peer.base == NO_BASE or own.base + 1 + own.sequence == packet.sequence:
        return False
    sent, heard = own.base + 1 + own.sequence, peer.base + 1 + own.acknowledgment
    connection.former = Former(sent, heard, packet.is_turned)
    return True


def note_former(connection: Connection, former: Connection, packet: Packet) -> None:
    """Store the numbers of the previous connection on the ports.

    If `packet`, which shows the reuse, is not a SYN of the client, record that the handshake is missing.
    """
    first, second = former.first, former.second
    sent, heard = newest(first, second), newest(second, first)
    if sent != NEVER and heard != NEVER and first.base != NO_BASE and second.base != NO_BASE:
        connection.former = Former(first.base + 1 + sent, second.base + 1 + heard, former.is_turned)
    if packet.flags & (SYN | ACK) != SYN:
        oddities = oddities_of(connection)
        oddities.reuse_frame = packet.frame
        oddities.reuse_time = packet.time
