"""TCP, one packet at a time."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING

from wiredoctor.decode.protocol_numbers import (
    END,
    LEAST,
    MAX_SHIFT,
    MSS,
    NOP,
    SACK,
    STAMPED,
    TCP_HEADER,
    TIMESTAMPS,
    WINDOW_SCALE,
)
from wiredoctor.decode.reasons import CUT_TCP
from wiredoctor.decode.rows import Row
from wiredoctor.tables import NONE, NOT_CAPTURED

if TYPE_CHECKING:
    from wiredoctor.decode.packet import Packet, Step

_TCP = struct.Struct(">HHIIBBH")


def tcp(packet: Packet) -> Step | Row | str:
    """RFC 9293 section 3.1."""
    if not packet.has(LEAST):
        return "ICMP error that quotes too little of TCP" if packet.quoted else CUT_TCP
    start = packet.at
    source_port, destination_port, seq, ack, offset, flags, window = _TCP.unpack(packet.peek(LEAST))
    size = (offset >> 4) * 4
    segment = packet.limit - start
    impossible = size < 20 or size > segment
    payload = start + max(size, 20)
    length = 0 if impossible else packet.limit - payload
    captured = max(min(min(packet.end, packet.limit) - payload, length), 0)
    options = b"" if impossible else bytes(packet.buffer[start + 20 : min(payload, packet.end)])
    row = Row(
        packet.ip_version, packet.source, packet.destination, source_port, destination_port,
        packet.ip_id, packet.ttl, packet.link_hash, packet.encapsulation, seq, ack, flags, window,
        length, captured, packet.base + payload, packet.quoted, options,
    )  # fmt: skip
    if impossible and not packet.quoted:
        row.oddity = impossible_offset(size, segment)
    for kind, value in each_option(options):
        _read_option(row, kind, value)
    if not impossible and payload > packet.end:
        row.mss, row.window_shift = (NOT_CAPTURED if n == NONE else n for n in (row.mss, row.window_shift))
        row.has_timestamps |= size >= STAMPED and length > 0
    return row


def each_option(options: bytes) -> Iterator[tuple[int, bytes]]:
    """Kind and value of the options of a header, up to the first that cannot be one."""
    at = 0
    while at < len(options) and options[at] != END:
        if options[at] == NOP:
            at += 1
            continue
        length = options[at + 1] if at + 1 < len(options) else 0
        if length < 2 or at + length > len(options):
            return
        yield options[at], options[at + 2 : at + length]
        at += length


def _read_option(row: Row, kind: int, value: bytes) -> None:
    if kind == MSS and len(value) == 2:
        row.mss = int.from_bytes(value)
    elif kind == WINDOW_SCALE and len(value) == 1:
        row.window_shift = min(value[0], MAX_SHIFT)
    elif kind == TIMESTAMPS and len(value) == 8:
        row.has_timestamps = True
    elif kind == SACK and len(value) >= 8:
        row.sack = True
        row.dsack = _is_duplicate(value, row.ack)


def _is_duplicate(blocks: bytes, ack: int) -> bool:
    """RFC 2883 section 4."""
    left, right = struct.unpack_from(">II", blocks)
    if _not_after(right, ack):
        return True
    if len(blocks) < 16:
        return False
    outer_left, outer_right = struct.unpack_from(">II", blocks, 8)
    return _not_after(outer_left, left) and _not_after(right, outer_right)


def _not_after(a: int, b: int) -> bool:
    """a <= b in sequence space (RFC 9293 section 3.4)."""
    return (b - a) & 0xFFFFFFFF < 1 << 31


def impossible_offset(size: int, segment: int) -> str:
    """Return the words for a data offset that cannot be."""
    return f"data offset of {size} bytes: at least {TCP_HEADER} expected, at most the segment's {segment} (by the IP length)"
