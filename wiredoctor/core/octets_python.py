"""Python versions of the functions of librt.strings that the core uses.

The interpreted core uses them if librt is not installed. A test compares them with those of librt.
"""

from __future__ import annotations

from typing import Literal


class BytesWriter:
    """A byte buffer that grows as bytes are appended."""

    def __init__(self) -> None:
        self.content = bytearray()

    def append(self, value: int) -> None:
        """Append one byte."""
        self.content.append(value)

    def write(self, content: bytes) -> None:
        """Append bytes."""
        self.content += content

    def getvalue(self) -> bytes:
        """Return all bytes as a copy."""
        return bytes(self.content)

    def truncate(self, size: int) -> None:
        """Keep only the first `size` bytes."""
        if not 0 <= size <= len(self.content):
            raise ValueError("size out of range")
        del self.content[size:]

    def __len__(self) -> int:
        return len(self.content)


def _read(content: bytes, index: int, size: int, order: Literal["big", "little"]) -> int:
    if index < 0:
        raise ValueError("index must be non-negative")
    if index > len(content) - size:
        raise IndexError("index out of range")
    return int.from_bytes(content[index : index + size], order, signed=True)


def read_i16_be(content: bytes, index: int) -> int:
    """Read a signed 16-bit number, most significant byte first."""
    return _read(content, index, 2, "big")


def read_i32_be(content: bytes, index: int) -> int:
    """Read a signed 32-bit number, most significant byte first."""
    return _read(content, index, 4, "big")


def read_i32_le(content: bytes, index: int) -> int:
    """Read a signed 32-bit number, least significant byte first."""
    return _read(content, index, 4, "little")


def read_i64_be(content: bytes, index: int) -> int:
    """Read a signed 64-bit number, most significant byte first."""
    return _read(content, index, 8, "big")


def read_i64_le(content: bytes, index: int) -> int:
    """Read a signed 64-bit number, least significant byte first."""
    return _read(content, index, 8, "little")


def write_i64_le(writer: BytesWriter, value: int) -> None:
    """Append a signed 64-bit number, least significant byte first."""
    writer.content += value.to_bytes(8, "little", signed=True)
