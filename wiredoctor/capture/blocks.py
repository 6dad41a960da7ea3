"""The blocks of pcapng other than packets: section headers and interface descriptions, and which blocks are frames."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from wiredoctor.capture.model import Interface

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wiredoctor.tables import Array

SECTION, INTERFACE, PACKET, SIMPLE, ENHANCED, JOURNAL = 0x0A0D0D0A, 1, 2, 3, 6, 9
_CUSTOM = (0xBAD, 0x40000BAD)

SECTION_FIXED, ENHANCED_FIXED = 28, 32
"""Bytes of the block without its options or packet."""

_SYSDIG = (0x204, 0x208, 0x216, 0x221)
"""System calls: version 1, with flags, version 2, version 2 with flags."""

PACKET_KINDS = {PACKET: 32, SIMPLE: 16, JOURNAL: 12} | dict.fromkeys(_SYSDIG, 12) | dict.fromkeys(_CUSTOM, 16)
FRAME_BLOCKS = frozenset(PACKET_KINDS)
"""Blocks that Wireshark counts as frames (besides ENHANCED), and how many bytes they have at least."""

_END, _NAME, _RESOLUTION, _OFFSET = 0, 2, 9, 14


def section_order(data: Array, position: int) -> str | None:
    """"<" or ">" by the byte-order magic of a Section Header Block; None where it has none."""
    magic = data[position + 8 : position + 12].tobytes()
    return {b"\x4d\x3c\x2b\x1a": "<", b"\x1a\x2b\x3c\x4d": ">"}.get(magic)


def describe_interface(block: bytes, order: str) -> Interface | None:
    """An Interface Description Block; None when its time stamps have more ticks per second than 64 bits can count."""
    link_type, snaplen = struct.unpack_from(order + "H2xI", block, 8)
    name, ticks, seconds = "", 1_000_000, 0
    for code, value in _options(block[16:-4], order):
        if code == _NAME:
            name = value.split(b"\0", 1)[0].decode("utf-8", "replace")
        elif code == _RESOLUTION and len(value) == 1:
            exponent = value[0] & 0x7F
            if exponent > (63 if value[0] & 0x80 else 19):
                return None
            ticks = 2**exponent if value[0] & 0x80 else 10**exponent
        elif code == _OFFSET and len(value) == 8:
            (seconds,) = struct.unpack(order + "q", value)
    return Interface(link_type, name, snaplen, ticks, seconds)


def _options(options: bytes, order: str) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + 4 <= len(options):
        code, length = struct.unpack_from(order + "HH", options, at)
        if code == _END:
            return
        yield code, options[at + 4 : at + 4 + length]
        at += 4 + (length + 3 & ~3)
