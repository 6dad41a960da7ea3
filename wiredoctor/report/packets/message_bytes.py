"""Collect the bytes of messages from packets: requested ranges of streams, which are stored in a spool.

The capture is read again in batches. Memory only holds a few numbers per range.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterator
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from wiredoctor.report.row_order import Spool, in_memory

if TYPE_CHECKING:
    from wiredoctor.findings import PacketAccess

Array = np.ndarray[Any, Any]

_WINDOW, _WINDOWS = 1 << 16, 4
"""The size in bytes of a window, which is the part of the spool that is read at once, and the number of windows kept in memory.

Several windows are kept, because header sections and bodies of both directions are read alternately.
"""

_BYTES_AT_ONCE = 4 << 20
"""The number of bytes that are sorted by position before they are written."""

_PIECE = ["connection", "direction", "offset", "captured", "payload"]


class Ranges:
    """The ranges of stream bytes to read, in the order in which they were added."""

    def __init__(self) -> None:
        self._parts: list[tuple[Array, Array, Array, Array]] = []

    def add(self, capture: int, stream: Array, start: Array, length: Array) -> None:
        """Add ranges, given as arrays of equal length.

        `capture`: the number of the capture. `stream`: connection << 1 | direction. `start`: the offset in the stream. `length`:
        the length in bytes; 0 if nothing has to be read.
        """
        self._parts.append((np.full(len(stream), capture), stream, start, length))

    def columns(self) -> tuple[Array, Array, Array, Array]:
        """Return the captures, streams, starts and lengths of all ranges."""
        empty = (np.empty(0, np.int64),) * 4
        capture, stream, start, length = (np.concatenate(c) for c in zip(empty, *self._parts, strict=True))
        return capture, stream, start, length


class ByteStore:
    """The bytes of the requested ranges, kept in a spool."""

    def __init__(self, ranges: Ranges, spool: Spool = in_memory) -> None:
        self._capture, self._stream, self._start, self._length = ranges.columns()
        self._place = np.cumsum(self._length) - self._length
        self._missing = self._length.copy()
        # ranges of a stream do not overlap, so sorting by start also sorts by end, except for empty ones
        order = np.lexsort((self._start, self._stream))
        self._order = order[self._length[order] > 0]
        self._file = spool()
        self._windows: deque[tuple[int, bytes]] = deque(maxlen=_WINDOWS)

    def fill(self, capture: int, access: PacketAccess, connections: Collection[int] | None) -> None:
        """Read the requested ranges of the capture with the index `capture`.

        `connections`: the connections that have requested ranges. With None, all connections are read.
        """
        order = self._order[self._capture[self._order] == capture]
        if len(order):
            for portion in access.portions({"pieces": _PIECE}, connections):
                self._take(order, portion.tables["pieces"], portion.read)

    def get(self, number: int) -> bytes | None:
        """Return the bytes of the range with the index `number`, or None if the range was not captured completely."""
        if self._missing[number]:
            return None
        at, length = int(self._place[number]), int(self._length[number])
        for begin, data in self._windows:
            if begin <= at and at + length <= begin + len(data):
                return data[at - begin : at - begin + length]
        self._file.seek(at)
        if length > _WINDOW:
            return self._file.read(length)
        data = self._file.read(_WINDOW)
        self._windows.append((at, data))
        return data[:length]

    def close(self) -> None:
        """Close and remove the spool."""
        self._file.close()

    def _take(self, order: Array, pieces: pl.DataFrame, read: Callable[[int, int], bytes]) -> None:
        self._windows.clear()
        waiting: list[tuple[int, bytes]] = []
        size = 0
        for one, at, place, length in self._wanted_pieces(order, pieces):
            data = read(place, length)
            self._missing[one] -= len(data)
            waiting.append((at, data))
            size += len(data)
            if size >= _BYTES_AT_ONCE:
                self._store(waiting)
                waiting, size = [], 0
        self._store(waiting)

    def _store(self, waiting: list[tuple[int, bytes]]) -> None:
        """Write (position, data) pairs to the spool, in order of position, so adjacent data needs no seek."""
        end = -1
        for at, data in sorted(waiting, key=itemgetter(0)):
            if at != end:
                self._file.seek(at)
            self._file.write(data)
            end = at + len(data)

    def _wanted_pieces(self, order: Array, pieces: pl.DataFrame) -> Iterator[tuple[int, int, int, int]]:
        """Yield the overlaps between captured bytes and requested ranges.

        An overlap is a tuple of four numbers: the index of the range, the position in the spool, the position in the data read
        from the capture, and the length in bytes.
        """
        stream = pieces.get_column("connection").to_numpy() << 1 | pieces.get_column("direction").to_numpy().astype(np.int64)
        begin, length = pieces.get_column("offset").to_numpy(), pieces.get_column("captured").to_numpy()
        payload = pieces.get_column("payload").to_numpy()
        order = order[np.isin(self._stream[order], stream)]
        keys, starts = self._stream[order], self._start[order]
        first = _count_below(keys, starts + self._length[order], stream, begin, equal=True)
        last = _count_below(keys, starts, stream, begin + length, equal=False)
        for piece in np.flatnonzero(last > first):
            for one in order[first[piece] : last[piece]]:
                low = max(begin[piece], self._start[one])
                high = min(begin[piece] + length[piece], self._start[one] + self._length[one])
                if high > low:
                    at, place = self._place[one] + low - self._start[one], payload[piece] + low - begin[piece]
                    yield int(one), int(at), int(place), int(high - low)


def _count_below(keys: Array, values: Array, of_keys: Array, of_values: Array, *, equal: bool) -> Array:
    """Return, for each pair (of_key, of_value), how many of the pairs (key, value) are smaller.

    If `equal` is true, equal pairs count as well. The pairs (key, value) must already be sorted.
    """
    # sort both together: packing two numbers into one would fail for large offsets
    side = np.concatenate((np.zeros(len(keys), np.int8), np.full(len(of_keys), 1 if equal else -1, np.int8)))
    order = np.lexsort((side, np.concatenate((values, of_values)), np.concatenate((keys, of_keys))))
    ours = order < len(keys)
    before = np.cumsum(ours)
    found = np.empty(len(of_keys), np.int64)
    found[order[~ours] - len(keys)] = before[~ours]
    return found
