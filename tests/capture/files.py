"""Writes capture files with known content."""

from __future__ import annotations

import struct
from dataclasses import dataclass

MICRO, NANO, MODIFIED = 0xA1B2C3D4, 0xA1B23C4D, 0xA1B2CD34


@dataclass(frozen=True)
class Packet:
    """ticks: time stamp in the unit of the file; length: on the wire."""

    ticks: int
    data: bytes
    length: int
    interface: int = 0


def pcap(
    packets: list[Packet], order: str = "<", magic: int = MICRO, link_type: int = 1, version: tuple[int, int] = (2, 4)
) -> bytes:
    """A classic pcap file; packets have ticks of a microsecond, or of a nanosecond where the magic number says so."""
    per_second = 1_000_000_000 if magic == NANO else 1_000_000
    more = struct.pack(order + "IHBB", 2, 0x0800, 0, 0) if magic == MODIFIED else b""
    out = [struct.pack(order + "IHHiIII", magic, *version, 0, 0, 262_144, link_type)]
    for p in packets:
        seconds, fraction = divmod(p.ticks, per_second)
        lengths = (p.length, len(p.data)) if version < (2, 3) else (len(p.data), p.length)
        out += [struct.pack(order + "IIII", seconds, fraction, *lengths), more, p.data]
    return b"".join(out)


def block(order: str, kind: int, body: bytes) -> bytes:
    """A pcapng block, padded."""
    body += bytes(-len(body) % 4)
    return struct.pack(order + "II", kind, len(body) + 12) + body + struct.pack(order + "I", len(body) + 12)


def option(order: str, code: int, value: bytes) -> bytes:
    return struct.pack(order + "HH", code, len(value)) + value + bytes(-len(value) % 4)


def section(order: str, version: tuple[int, int] = (1, 0)) -> bytes:
    return block(order, 0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, *version, -1))


def interface(
    order: str, link_type: int = 1, snaplen: int = 0, resolution: int | None = None, offset: int | None = None, name: str = ""
) -> bytes:
    options = option(order, 2, name.encode()) if name else b""
    if resolution is not None:
        options += option(order, 9, bytes((resolution,)))
    if offset is not None:
        options += option(order, 14, struct.pack(order + "q", offset))
    return block(order, 1, struct.pack(order + "HHI", link_type, 0, snaplen) + options + (bytes(4) if options else b""))


def enhanced(order: str, p: Packet) -> bytes:
    ticks = p.ticks % (1 << 64)
    fixed = struct.pack(order + "IIIII", p.interface, ticks >> 32, ticks & 0xFFFFFFFF, len(p.data), p.length)
    return block(order, 6, fixed + p.data)


def obsolete(order: str, p: Packet) -> bytes:
    fixed = struct.pack(order + "HHIIII", p.interface, 0xFFFF, p.ticks >> 32, p.ticks & 0xFFFFFFFF, len(p.data), p.length)
    return block(order, 2, fixed + p.data)


def simple(order: str, p: Packet) -> bytes:
    return block(order, 3, struct.pack(order + "I", p.length) + p.data)
