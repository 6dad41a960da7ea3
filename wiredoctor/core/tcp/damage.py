"""Decide from checksums which packets arrived damaged, and whether the capture changed packets.

Only packets on which a decision rests are verified: SYNs, the first packets of each side until one of them is sound, and data
that is sent again, with its first copy. For each side, bits of Side.letters record what its packets have shown:

- TRUSTED: a packet without payload is sound. So this side's checksums were computed, and no device rewrote them since.
- DISTRUSTED: a packet without payload, other than a SYN, has a wrong checksum, or none. So a wrong checksum of this side shows
  nothing, for example because the packets were rewritten or anonymized.
- HAS_WRONG: payload has a wrong checksum.
- HAS_OTHER: payload is sound, or has no checksum.
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64

from wiredoctor.core.capture.checksums import SOUND, UNKNOWN, WRONG_IP, WRONG_UDP, Checksums
from wiredoctor.core.capture.packet import Packet
from wiredoctor.core.tcp.connection import Altered, Connection, Side, oddities_of, waits_of
from wiredoctor.core.tcp.flight import find_first
from wiredoctor.core.tcp.segment import ACK, NEVER, RST, SYN, Segment
from wiredoctor.core.tcp.waits import Damage

TRUSTED: Final = 1 << 16
DISTRUSTED: Final = 1 << 17
HAS_WRONG: Final = 1 << 18
HAS_OTHER: Final = 1 << 19
SETTLED: Final = DISTRUSTED | HAS_OTHER
"""If one of these bits is set, further payload of a side need not be verified."""


def note_checksum(connection: Connection, own: Side, packet: Packet, checksums: Checksums) -> None:
    """Record what the checksum of a packet shows of its sender, if that is still unknown, and count damaged SYNs."""
    letters, flags = own.letters, packet.flags
    if flags & SYN:
        note_syn(connection, own, packet, checksums)
    elif packet.length > 0:
        if letters & SETTLED == 0 and flags & RST == 0:
            if checksums.verify(packet, own.mss) < WRONG_IP:
                own.letters = letters | HAS_OTHER
                return
            own.letters = letters | HAS_WRONG
            oddities = oddities_of(connection)
            if oddities.altered is None:
                oddities.altered = Altered(packet.frame, packet.time)
            else:
                oddities.altered.count += 1
    elif letters & (TRUSTED | SETTLED) == 0 and flags & RST == 0:
        own.letters = letters | (TRUSTED if checksums.verify(packet, own.mss) == SOUND else DISTRUSTED)


def note_syn(connection: Connection, own: Side, packet: Packet, checksums: Checksums) -> None:
    """Record what the checksum of a SYN or SYN-ACK shows."""
    verdict = checksums.verify(packet, own.mss)
    if verdict == SOUND:
        own.letters |= TRUSTED
    elif verdict == UNKNOWN:
        own.letters |= DISTRUSTED
    else:
        oddities = oddities_of(connection)
        oddities.damage = verdict
        if packet.flags & ACK:
            oddities.damaged_syn_acks += 1
        else:
            oddities.damaged_syns += 1


def has_checksums(own: Side) -> bool:
    """Return whether a side's packets without payload have correct checksums."""
    return own.letters & (TRUSTED | DISTRUSTED) == TRUSTED


def is_altered(connection: Connection) -> bool:
    """Return whether all payload of both sides so far has wrong checksums, although others of the same hosts are correct.

    Then the capture does not have the bytes that were sent, so nothing is concluded from them.
    """
    first, second = connection.first.letters, connection.second.letters
    return first & second & HAS_WRONG != 0 and (first | second) & SETTLED == 0 and (first | second) & TRUSTED != 0


def count_altered(connection: Connection) -> i64:
    """Return how many packets the capture changed: all payload of both sides, although the receivers have acknowledged it."""
    first, second, oddities = connection.first, connection.second, connection.oddities
    if oddities is None or oddities.altered is None or not is_altered(connection):
        return 0
    return oddities.altered.count if first.acknowledged > 0 and second.acknowledged > 0 else i64(0)


def note_copy(checksums: Checksums, own: Side, peer: Side, packet: Packet, segment: Segment) -> None:
    """Record what the checksum of a packet shows if it repeats its side's lowest unacknowledged data."""
    start = peer.acknowledged
    if start == NEVER or not segment.offset <= start < segment.offset + packet.length or packet.flags & (SYN | RST):
        return
    waits = waits_of(own)
    damage = waits.damage
    if damage is None or damage.start != start:
        waits.damage = damage = Damage(start)
        first = None if own.flight is None else find_first(own.flight, start)
        if first is not None and first.captured == first.length and first.place >= 0:
            add_copy(damage, checksums.verify_earlier(packet, own.mss, first.place, first.length))
    add_copy(damage, checksums.verify(packet, own.mss))
    damage.frame = packet.frame


def add_copy(damage: Damage, verdict: i64) -> None:
    """Record the result of `verify` for the newest copy of repeated data."""
    damage.newest = verdict
    if verdict >= WRONG_IP:
        damage.copies += 1
        damage.checksum = verdict


def count_damaged(own: Side, frame: i64) -> i64:
    """Return how many copies of acknowledged data arrived damaged before its newest copy, which has frame number `frame`.

    Return 0 unless the newest copy is sound. If the others have wrong UDP checksums, it may also have none.
    """
    damage = None if own.waits is None else own.waits.damage
    if damage is None or damage.frame != frame:
        return 0
    is_sound = damage.newest == SOUND or (damage.newest == UNKNOWN and damage.checksum == WRONG_UDP)
    return damage.copies if is_sound else i64(0)


def count_all_damaged(own: Side, start: i64, copies: i64) -> i64:
    """Return how many copies of the data at offset `start`, which was not acknowledged, arrived damaged; 0 unless all did.

    `copies`: the number of captured copies.
    """
    damage = None if own.waits is None else own.waits.damage
    if damage is None or damage.start != start or damage.copies < copies or not has_checksums(own):
        return 0
    return damage.copies


def wrong_checksum(own: Side) -> i64:
    """Return which checksum of a side's repeated data was wrong, as a result of Checksums.verify; 0 if none was."""
    return i64(0) if own.waits is None or own.waits.damage is None else own.waits.damage.checksum
