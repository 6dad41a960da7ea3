"""Write event tables, in which a row is a series of 64-bit integers."""

from __future__ import annotations

import struct
from typing import Final

from mypy_extensions import i64

from wiredoctor.core.octets import BytesWriter

TOGETHER: Final = 256
"""The number of rows per buffer.

A buffer of this size fits in the processor's cache, and rows are not copied when the table grows.
"""


class Rows:
    """A table that is being written. Each row has `width` cells, which are written in order."""

    def __init__(self, width: i64) -> None:
        self.width: i64 = width
        self.count: i64 = 0
        self.cells: BytesWriter = BytesWriter()
        """The newest rows."""
        self.parts: list[bytes] = []
        """The earlier rows, with TOGETHER rows per item."""

    def begin(self) -> BytesWriter:
        """Begin a row, and return the buffer to which its cells are written."""
        if self.count & (TOGETHER - 1) == 0 and self.count > 0:
            self.parts.append(self.cells.getvalue())
            self.cells.truncate(0)  # keeps the memory, which a new buffer would have to allocate again
        self.count += 1
        return self.cells

    def add(self, cells: list[int]) -> None:
        """Write a complete row. Use this for rare rows only, because it is slower than `begin`."""
        self.begin().write(pack_cells(cells))

    def take(self) -> list[bytes]:
        """Return the cells of all rows as little-endian 64-bit integers, in one or more parts. Begin a new table."""
        parts = [*self.parts, self.cells.getvalue()]
        self.cells.truncate(0)
        self.parts = []
        self.count = 0
        return parts


def pack_cells(cells: list[int]) -> bytes:
    """Return cells as little-endian 64-bit integers, as they are stored in a table."""
    return struct.pack(f"<{len(cells)}q", *cells)
