"""Sort lines on disk. Lines may be added in any order, and may need more space than there is in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from io import BytesIO
from typing import Any, BinaryIO, Protocol

import numpy as np

Array = np.ndarray[Any, Any]
Spool = Callable[[], BinaryIO]
"""A function that opens a temporary file for writing and reading. For little data, the file may be in memory.

The file disappears when it is closed.
"""


class Sink(Protocol):
    """A destination for bytes."""

    def write(self, piece: bytes, /) -> Any: ...


_PIECE = 1 << 18
"""The maximum number of bytes that are copied at once: less than LARGE_BLOCK (cli/running.py), so their memory is reused."""
_LINE_FEED = 10
_LINES_AT_ONCE = 1 << 14
"""The number of line positions that are converted to Python integers at once; a million of these would take 100 MB."""


def in_memory() -> BinaryIO:
    """Return a spool that is kept in memory, for small reports."""
    return BytesIO()


class Ordered:
    """Lines that will be sorted by their keys. The text of the lines is in a spool; each key takes 8 bytes of memory."""

    def __init__(self, spool: Spool = in_memory) -> None:
        self._file = spool()
        self._end = 0
        self._keys: list[tuple[Array, ...]] = []
        self._starts: list[Array] = []

    def add(self, keys: tuple[Array, ...], lines: bytes | memoryview) -> None:
        """Add lines and their sort keys; every line ends with a line feed.

        `keys`: arrays of integers with a value per line; the first array is the most significant key.
        """
        if not len(lines):
            return
        ends = np.flatnonzero(np.frombuffer(lines, np.uint8) == _LINE_FEED) + 1
        self._keys.append(keys)
        self._starts.append(np.concatenate((np.zeros(1, np.int64), ends[:-1])) + self._end)
        self._file.write(lines)
        self._end += len(lines)

    def __len__(self) -> int:
        return sum(len(s) for s in self._starts)

    def write(self, out: Sink) -> None:
        """Write all lines in the order of their keys, and close the spool."""
        with self._file:
            if self._starts:
                for start, end in _runs(*self._sorted()):
                    _copy(self._file, out, start, end)

    def _sorted(self) -> tuple[Array, Array]:
        columns = [np.concatenate(column) for column in zip(*self._keys, strict=True)]
        self._keys.clear()
        order = np.lexsort(columns[::-1])
        del columns
        starts = np.concatenate(self._starts)
        self._starts.clear()
        ends = np.concatenate((starts[1:], np.array([self._end], np.int64)))
        return starts[order], ends[order]


def _runs(starts: Array, ends: Array) -> Iterator[tuple[int, int]]:
    """Yield the ranges of the spool to copy, in sorted order.

    Lines that are adjacent both in the spool and in the sorted order are one range.
    """
    breaks = np.flatnonzero(starts[1:] != ends[:-1])
    first = np.concatenate((starts[:1], starts[1:][breaks]))
    last = np.concatenate((ends[:-1][breaks], ends[-1:]))
    for i in range(0, len(first), _LINES_AT_ONCE):
        yield from zip(first[i : i + _LINES_AT_ONCE].tolist(), last[i : i + _LINES_AT_ONCE].tolist(), strict=True)


def _copy(spool: BinaryIO, out: Sink, start: int, end: int) -> None:
    spool.seek(start)
    while start < end:
        piece = spool.read(min(_PIECE, end - start))
        out.write(piece)
        start += len(piece)
