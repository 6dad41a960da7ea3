"""Builds packets from the drawings in the standards, and records for them as capture would hand them over."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np

from wiredoctor.tables import Columns

MAC = bytes(range(1, 13))
SOURCE4, DESTINATION4 = bytes((192, 0, 2, 1)), bytes((198, 51, 100, 2))
SOURCE6, DESTINATION6 = bytes.fromhex("20010db8000000010000000000000001"), bytes.fromhex("20010db8000000020000000000000002")


def tcp(
    payload: bytes = b"",
    options: bytes = b"",
    sport: int = 40_000,
    dport: int = 80,
    seq: int = 1,
    ack: int = 2,
    flags: int = 0x18,
    window: int = 500,
    offset: int | None = None,
) -> bytes:
    options += bytes(-len(options) % 4)
    words = 5 + len(options) // 4 if offset is None else offset
    return struct.pack(">HHIIBBHHH", sport, dport, seq, ack, words << 4, flags, window, 0, 0) + options + payload


def ipv4(
    payload: bytes,
    protocol: int = 6,
    options: bytes = b"",
    total: int | None = None,
    ident: int = 7,
    fragment: int = 0,
    ttl: int = 64,
) -> bytes:
    options += bytes(-len(options) % 4)
    size = 20 + len(options)
    total = size + len(payload) if total is None else total
    fixed = struct.pack(">BBHHHBBH", 0x40 | size // 4, 0, total, ident, fragment, ttl, protocol, 0)
    return fixed + SOURCE4 + DESTINATION4 + options + payload


def ipv6(payload: bytes, next_header: int = 6, size: int | None = None, hops: int = 64) -> bytes:
    fixed = struct.pack(">IHBB", 6 << 28, len(payload) if size is None else size, next_header, hops)
    return fixed + SOURCE6 + DESTINATION6 + payload


def ethernet(payload: bytes, type_: int = 0x0800) -> bytes:
    return MAC + struct.pack(">H", type_) + payload


def vlan(payload: bytes, tag: int, type_: int = 0x0800) -> bytes:
    return struct.pack(">HH", tag, type_) + payload


@dataclass(frozen=True)
class Record:
    """length: on the wire, None for as captured."""

    data: bytes
    link_type: int = 1
    length: int | None = None


def capture(records: list[Record]) -> tuple[np.ndarray, Columns]:
    """The file (without a format: packets one behind the other, 3 bytes between them) and tables.RECORDS columns."""
    data, offsets = b"\xee" * 5, []
    for r in records:
        offsets.append(len(data))
        data += r.data + b"\xee" * 3
    rows = len(records)
    columns: Columns = {
        "time": np.arange(rows, dtype=np.int64) * 1_000,
        "interface": np.zeros(rows, np.int32),
        "link_type": np.array([r.link_type for r in records], np.int32),
        "offset": np.array(offsets, np.int64),
        "captured": np.array([len(r.data) for r in records], np.int64),
        "length": np.array([len(r.data) if r.length is None else r.length for r in records], np.int64),
    }
    array = np.frombuffer(data, np.uint8)
    return array, columns
