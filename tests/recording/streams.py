"""Streams of pcapng and pcap, made byte by byte."""

from __future__ import annotations

import struct

SECTION, INTERFACE, STATISTICS, ENHANCED, CUSTOM = 0x0A0D0D0A, 1, 5, 6, 0xBAD


def block(kind: int, body: bytes, order: str = "=") -> bytes:
    body += bytes(-len(body) % 4)
    length = len(body) + 12
    return struct.pack(order + "II", kind, length) + body + struct.pack(order + "I", length)


def section(order: str = "=") -> bytes:
    return block(SECTION, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1), order)


def interface(link_type: int = 1, order: str = "=") -> bytes:
    return block(INTERFACE, struct.pack(order + "HHI", link_type, 0, 262144), order)


BEGIN = section() + interface()


def enhanced(data: bytes, number: int = 0, order: str = "=") -> bytes:
    return block(ENHANCED, struct.pack(order + "IIIII", number, 1, 2, len(data), len(data)) + data, order)


def statistics(dropped: int, number: int = 0, order: str = "=") -> bytes:
    options = struct.pack(order + "HHQHHQI", 4, 8, 99, 5, 8, dropped, 0)
    return block(STATISTICS, struct.pack(order + "III", number, 1, 2) + options, order)


def pcap(packets: list[tuple[int, bytes]], order: str = "<", *, nano: bool = True, link_type: int = 1) -> bytes:
    """Of (nanoseconds since 1970, data)."""
    head = struct.pack(order + "IHHiIII", 0xA1B23C4D if nano else 0xA1B2C3D4, 2, 4, 0, 0, 262144, link_type)
    ticks = 1 if nano else 1000
    record = struct.Struct(order + "IIII").pack
    return head + b"".join(record(t // 10**9, t % 10**9 // ticks, len(data), len(data) + 7) + data for t, data in packets)
