"""The blocks of pcapng other than packets: section headers and interface descriptions, and which blocks are frames."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from wiredoctor import limits
from wiredoctor.capture import damage as words
from wiredoctor.capture.model import Interface

if TYPE_CHECKING:
    from wiredoctor.tables import Array

SECTION, INTERFACE, PACKET, SIMPLE, ENHANCED, JOURNAL = 0x0A0D0D0A, 1, 2, 3, 6, 9
_CUSTOM = (0xBAD, 0x40000BAD)

SECTION_FIXED, ENHANCED_FIXED, _INTERFACE_FIXED = 28, 32, 20
"""Bytes of the block without its options or packet."""

_EVENT, _EVENT_2, _EVENT_2_LARGE = 0x204, 0x216, 0x221
"""System calls as sysdig writes them."""

PACKET_KINDS = {
    PACKET: 32,
    SIMPLE: 16,
    JOURNAL: 36,
    _EVENT: 36,
    _EVENT_2: 40,
    _EVENT_2_LARGE: 40,
    **dict.fromkeys(_CUSTOM, 16),
}
FRAME_BLOCKS = frozenset(PACKET_KINDS)
"""Blocks that Wireshark counts as frames (besides ENHANCED), and how many bytes they have at least."""

_END, _NAME, _RESOLUTION, _OFFSET = 0, 2, 9, 14


def block_damage(data: Array, position: int, length: int, order: str) -> str | None:
    """What is wrong with the frame of the block at `position` that announces `length` bytes; None if nothing is."""
    end = position + (length + 3 & ~3)
    if not 12 <= length <= limits.BLOCK.value:
        return words.impossible_block(position, length)
    if end > data.size:
        return words.cut_block(position, length, data.size - position)
    (again,) = struct.unpack_from(order + "I", data.data, end - 4)
    if again + 3 & ~3 != length + 3 & ~3:  # as Wireshark compares them
        return words.unequal_lengths(position, length, again)
    return None


def section_order(data: Array, position: int) -> str | None:
    """ "<" or ">" by the byte-order magic of a Section Header Block; None where it has none."""
    magic = data[position + 8 : position + 12].tobytes()
    return {b"\x4d\x3c\x2b\x1a": "<", b"\x1a\x2b\x3c\x4d": ">"}.get(magic)


def describe_interface(block: bytes, order: str) -> Interface | None:
    """An Interface Description Block; None when it is too short, or an option reaches beyond its end."""
    options = read_options(block[16:-4], order) if len(block) >= _INTERFACE_FIXED else None
    if options is None:
        return None
    link_type, snaplen = struct.unpack_from(order + "H2xI", block, 8)
    name, ticks, seconds = "", 1_000_000, 0
    for code, value in options:
        if code == _NAME:
            name = value.split(b"\0", 1)[0].decode("utf-8", "replace")
        elif code == _RESOLUTION and len(value) == 1:
            exponent = value[0] & 0x7F
            ticks = 2 ** min(exponent, 63) if value[0] & 0x80 else 10 ** min(exponent, 19)  # no finer fits 64 bits
        elif code == _OFFSET and len(value) == 8:
            (seconds,) = struct.unpack(order + "q", value)
    return Interface(link_type, name, snaplen, ticks, seconds)


def read_options(options: bytes, order: str) -> list[tuple[int, bytes]] | None:
    """(code, value) pairs; None when one reaches beyond the end."""
    found: list[tuple[int, bytes]] = []
    at = 0
    while at < len(options):
        if at + 4 > len(options):
            return None
        code, length = struct.unpack_from(order + "HH", options, at)
        if at + 4 + (length + 3 & ~3) > len(options):
            return None
        if code == _END:
            break
        found.append((code, options[at + 4 : at + 4 + length]))
        at += 4 + (length + 3 & ~3)
    return found
