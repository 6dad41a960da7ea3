"""Event tables being written: a row is a line of 64-bit integers in one growing buffer."""

from __future__ import annotations

import struct

from mypy_extensions import i64

from wiredoctor.core.octets import BytesWriter, write_i64_le


class Rows:
    """A table being written. Each row has `width` cells, which `put` fills in their order."""

    def __init__(self, width: i64) -> None:
        self.width: i64 = width
        self.count: i64 = 0
        self.cells: BytesWriter = BytesWriter()

    def begin(self) -> None:
        """Begin a row."""
        self.count += 1

    def put(self, value: i64) -> None:
        """Fill the next cell."""
        write_i64_le(self.cells, value)

    def take(self) -> bytes:
        """Return the cells of all rows as little-endian 64-bit integers, and begin a new table."""
        cells = self.cells.getvalue()
        self.cells = BytesWriter()
        self.count = 0
        return cells


def pack_cells(cells: list[int]) -> bytes:
    """Return cells as they are written."""
    return struct.pack(f"<{len(cells)}q", *cells)
