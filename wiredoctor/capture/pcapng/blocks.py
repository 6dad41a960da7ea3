"""Parse section headers and interface descriptions of pcapng, and list the blocks that count as frames."""

from __future__ import annotations

import struct

from wiredoctor.capture.model import Interface
from wiredoctor.tables import SECOND

SECTION, INTERFACE, PACKET, SIMPLE, STATISTICS, ENHANCED, JOURNAL = 0x0A0D0D0A, 1, 2, 3, 5, 6, 9
_CUSTOM = (0xBAD, 0x40000BAD)

SECTION_FIXED, ENHANCED_FIXED, _INTERFACE_FIXED = 28, 32, 20
"""The sizes in bytes of a section header, an Enhanced Packet Block and an interface block, without packet data and options."""

_EVENT, _EVENT_2, _EVENT_2_LARGE = 0x204, 0x216, 0x221
"""The types of blocks with system calls in the format of sysdig."""

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
"""The types of blocks, besides ENHANCED, that Wireshark counts as frames."""

_END, _NAME, _RESOLUTION, _OFFSET = 0, 2, 9, 14


def describe_interface(block: bytes, order: str) -> Interface | None:
    """Parse an Interface Description Block. Return None if it is too short, or if an option extends beyond its end."""
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
            ticks = 2 ** min(exponent, 63) if value[0] & 0x80 else 10 ** min(exponent, 19)  # no finer resolution fits in 64 bits
        elif code == _OFFSET and len(value) == 8:
            (seconds,) = struct.unpack(order + "q", value)
    return Interface(link_type, name, snaplen, ticks, seconds)


def nanoseconds(ticks: int, interface: Interface) -> int:
    """Return a timestamp of an interface (in its ticks) as nanoseconds since 1970, rounded down."""
    return ticks * SECOND // interface.ticks + interface.seconds * SECOND


def read_options(options: bytes, order: str) -> list[tuple[int, bytes]] | None:
    """Return the options of a block as (code, value) pairs; None if one of them extends beyond the end."""
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
