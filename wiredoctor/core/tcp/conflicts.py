"""Detect bytes of a stream that were sent twice with different content.

Causes are evasion of inspection, a faulty middlebox, or two networks in one capture. Retransmitted data is compared with its
first copy, if that copy was captured within the last limits.FIRST_COPIES frames. A difference only counts if the checksums of
both packets are correct, because damage in transit is harmless. Packets captured before the network card filled in the checksum
do not count either.
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64

from wiredoctor import limits
from wiredoctor.core.capture.packet import Packet, place_of_payload, reverse
from wiredoctor.core.capture.places import Places
from wiredoctor.core.tcp.connection import Connection, FirstCopy, Flight, oddities_of
from wiredoctor.core.tcp.flight import find_sent
from wiredoctor.core.tcp.segment import NEVER, RST, SYN, Segment

LEAST: Final = 2
"""The minimum number of bytes compared; a keep-alive or window probe may have one byte of garbage (RFC 9293 section 3.8.4)."""
LONGEST_HEADER: Final = 60
"""The maximum size in bytes of a TCP header with options (RFC 9293 section 3.1)."""


def compare_copies(connection: Connection, flight: Flight, packet: Packet, segment: Segment, places: Places) -> None:
    """Count a segment as abnormal if its bytes differ from those captured earlier at the same offsets of the stream."""
    if packet.length < LEAST or segment.new_bytes >= packet.length or segment.keep_alive_probe or packet.flags & (SYN | RST):
        return
    key = connection.key if segment.direction == 0 else reverse(connection.key)
    first = find_conflict(flight.segments, key, packet, segment, places)
    late = find_conflict(flight.late, key, packet, segment, places) if flight.late is not None else None
    if first is None or (late is not None and late.start < first.start):
        first = late
    if first is None:
        return
    oddities = oddities_of(connection)
    oddities.conflicts += 1
    if oddities.conflicts == 1:
        oddities.conflict_frame = packet.frame
        oddities.conflict_time = packet.time
        oddities.conflict_first_frame = first.frame


def find_conflict(sent: list[FirstCopy], key: bytes, packet: Packet, segment: Segment, places: Places) -> FirstCopy | None:
    """Return the first segment in `sent` whose bytes differ from the packet's bytes at the same stream offsets, or None.

    `sent`: segments as first captured. `key`: the addresses and ports in the direction of the packet.
    """
    end = segment.offset + packet.captured
    i = max(find_sent(sent, segment.offset) - 1, 0)
    last = min(i + limits.COMPARED.value, len(sent))
    while i < last and sent[i].start < end:
        if is_conflict(sent[i], key, packet, segment, places):
            return sent[i]
        i += 1
    return None


def is_conflict(first: FirstCopy, key: bytes, packet: Packet, segment: Segment, places: Places) -> bool:
    """Return whether a packet and the earlier segment `first` have different bytes at the same offsets of the stream.

    Return False unless the checksums of both are correct.
    """
    start = max(segment.offset, first.start)
    end = min(segment.offset + packet.captured, first.end, first.offset + first.captured)
    is_recent = packet.frame - first.frame < limits.FIRST_COPIES.value and first.place != NEVER
    if not is_recent or end - start < LEAST:
        return False
    at = packet.payload + start - segment.offset
    if packet.block[at : at + end - start] == places.read(first.place + start - first.offset, end - start):
        return False
    if packet.captured != packet.length or first.captured != first.length:
        return False
    return is_sound(key, place_of_payload(packet), packet.length, places) and is_sound(key, first.place, first.length, places)


def is_sound(key: bytes, place: i64, length: i64, places: Places) -> bool:
    """Return whether the TCP checksum of a packet is correct (RFC 9293 section 3.1).

    `place` and `length`: the position and the length of the TCP payload in the capture. Search backward from the payload for the
    TCP header, which must have the ports of `key` and a data offset that equals its distance from the payload. Return False if no
    header is found.
    """
    size: i64 = (len(key) - 4) // 2
    ports = key[2 * size : 2 * size + 4]
    before = places.read(place - LONGEST_HEADER, LONGEST_HEADER) if place >= LONGEST_HEADER else b""
    header: i64 = 20
    while header <= len(before):
        at: i64 = len(before) - header
        if before[at : at + 4] == ports and (before[at + 12] >> 4) * 4 == header:
            data = before[at:] + places.read(place, length)
            width: i64 = 4 if size == 4 else 8
            pseudo = key[: 2 * size] + (len(data)).to_bytes(width - 2, "big") + b"\0\x06"
            # the order of 16-bit words does not affect their ones' complement sum (RFC 1071)
            return int.from_bytes(pseudo + data + b"\0" * (len(data) % 2), "big") % 0xFFFF == 0
        header += 4
    return False
