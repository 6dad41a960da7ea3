"""Read unsigned numbers of 16 and 32 bits at an index of a block."""

from __future__ import annotations

from mypy_extensions import i64

from wiredoctor.core.octets import read_i16_be, read_i32_be, read_i32_le


def u16(block: bytes, at: i64) -> i64:
    """Return the 16-bit number in network byte order at `at`."""
    return i64(read_i16_be(block, at)) & 0xFFFF


def u32(block: bytes, at: i64) -> i64:
    """Return the 32-bit number in network byte order at `at`."""
    return i64(read_i32_be(block, at)) & 0xFFFFFFFF


def u16_little(block: bytes, at: i64) -> i64:
    """Return the little-endian 16-bit number at `at`."""
    return i64(block[at + 1]) << 8 | i64(block[at])


def u32_little(block: bytes, at: i64) -> i64:
    """Return the little-endian 32-bit number at `at`."""
    return i64(read_i32_le(block, at)) & 0xFFFFFFFF
