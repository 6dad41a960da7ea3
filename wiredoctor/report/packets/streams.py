"""Reassemble what both sides of a connection sent, in order of time and in bounded memory.

The bytes come from findings.Portion, whose `pieces` are the new bytes of each packet, so nothing is repeated. Data after a gap
waits until the gap is filled or given up. A gap is given up if it is not filled soon after the peer acknowledged the missing
bytes, or if too many bytes wait.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any, NamedTuple

import polars as pl

from wiredoctor.tables import SECOND

if TYPE_CHECKING:
    from wiredoctor.findings import PacketAccess, Portion

MAX_WAITING = 16 << 20
"""The maximum number of bytes of one side that wait for a gap to be filled; a receiver's window is rarely larger."""

LATE = SECOND
"""The time in ns after an ACK within which the acknowledged packet may still appear, as packets may be captured out of order."""

PIECE = ["connection", "direction", "frame", "time", "offset", "length", "captured", "payload"]
_ACK = ["direction", "frame", "time", "ack"]


class Run(NamedTuple):
    """Bytes that one side sent, starting at `offset` in its stream. `late`: whether bytes that follow in the stream were yielded
    earlier.
    """

    direction: int
    frame: int
    time: int
    offset: int
    data: bytes
    late: bool = False


class Hole(NamedTuple):
    """Bytes that one side sent and that were not captured. `cut`: whether the snap length cut off these bytes.

    `frame` and `time` are those of the packet that reveals the gap.
    """

    direction: int
    frame: int
    time: int
    offset: int
    length: int
    cut: bool


class _Side:
    """One direction of a connection during reassembly. `next`: the stream offset up to which everything was yielded."""

    def __init__(self, direction: int) -> None:
        self.direction = direction
        self.next = 0
        self._waiting: dict[int, tuple[int, int, int, bytes]] = {}
        self._order: list[int] = []
        self._bytes = 0
        self._given_up: deque[tuple[int, int]] = deque()

    def add(self, frame: int, time: int, offset: int, length: int, data: bytes) -> Iterator[Run | Hole]:
        """Add captured bytes at `offset` of the stream; yield the data that is now in order.

        If too many bytes wait for an earlier gap to be filled, the first gap is yielded as a Hole, and then the bytes after it.
        """
        if offset < self.next:
            yield Run(self.direction, frame, time, offset, data, late=True)
            yield from self._cut_off(frame, time, offset, length, data)
            return
        if offset > self.next:
            self._waiting[offset] = (frame, time, length, data)
            heappush(self._order, offset)
            self._bytes += len(data) + 200
            if self._bytes > MAX_WAITING:
                yield from self._release(self._first(), frame, time)
            return
        yield from self._emit(frame, time, offset, length, data)
        yield from self._take_ready()

    def acknowledged(self, offset: int, time: int) -> None:
        """Record that the peer acknowledged all bytes before `offset`.

        If some of these bytes are still missing after LATE ns, they are yielded as a gap.
        """
        if offset > self.next:
            self._given_up.append((time + LATE, offset))

    def pass_time(self, frame: int, time: int) -> Iterator[Run | Hole]:
        """Yield the gaps that are no longer expected to be filled at this time (ns), each followed by the data after it."""
        while self._given_up and self._given_up[0][0] <= time:
            _, offset = self._given_up.popleft()
            while self.next < offset and self._waiting and self._first() < offset:
                yield from self._release(self._first(), frame, time)
            if self.next < offset:
                yield from self._release(offset, frame, time)

    def end(self) -> Iterator[Run | Hole]:
        """Yield all data that still waits, and the gaps before it, at the end of the connection."""
        while self._waiting:
            offset = self._first()
            yield from self._release(offset, *self._waiting[offset][:2])

    def _first(self) -> int:
        """Return the lowest stream offset among the data that waits after a gap."""
        while self._order[0] not in self._waiting:
            heappop(self._order)
        return self._order[0]

    def _release(self, offset: int, frame: int, time: int) -> Iterator[Run | Hole]:
        """Yield a gap up to `offset`, and the data after it."""
        yield Hole(self.direction, frame, time, self.next, offset - self.next, cut=False)
        self.next = offset
        yield from self._take_ready()

    def _take_ready(self) -> Iterator[Run | Hole]:
        while self.next in self._waiting:
            offset = self.next
            frame, time, length, data = self._waiting.pop(offset)
            self._bytes -= len(data) + 200
            yield from self._emit(frame, time, offset, length, data)

    def _emit(self, frame: int, time: int, offset: int, length: int, data: bytes) -> Iterator[Run | Hole]:
        if data:
            yield Run(self.direction, frame, time, offset, data)
        yield from self._cut_off(frame, time, offset, length, data)
        self.next = offset + length

    def _cut_off(self, frame: int, time: int, offset: int, length: int, data: bytes) -> Iterator[Hole]:
        if len(data) < length:
            yield Hole(self.direction, frame, time, offset + len(data), length - len(data), cut=True)


def follow(access: PacketAccess, connection: int) -> Iterator[Run | Hole]:
    """Yield the bytes that both sides of a connection sent, and the gaps in them, in order of time."""
    sides: list[_Side] = [_Side(0), _Side(1)]
    frame = time = 0
    for portion in access.portions({"pieces": PIECE, "segments": [*_ACK, "acked_unseen"]}, [connection]):
        for row, data in _events(portion):
            frame, time = row["frame"], row["time"]
            for side in sides:
                yield from side.pass_time(frame, time)
            if data is None:
                sides[1 - int(row["direction"])].acknowledged(row["ack"], time)
            else:
                yield from sides[int(row["direction"])].add(frame, time, row["offset"], row["length"], data)
    for side in sides:
        yield from side.end()


def _events(portion: Portion) -> Iterator[tuple[dict[str, Any], bytes | None]]:
    """Yield pairs in frame order: (stream piece, its bytes), or (ACK of data that was not captured, None)."""
    pieces = portion.tables["pieces"].select(PIECE).sort("frame", "offset", maintain_order=True)
    acks = portion.tables["segments"].filter(pl.col("acked_unseen") > 0).select(_ACK).sort("frame")
    waiting = acks.to_dicts()[::-1]
    for row in pieces.iter_rows(named=True):
        while waiting and waiting[-1]["frame"] <= row["frame"]:
            yield waiting.pop(), None
        yield row, portion.read(row["payload"], row["captured"])
    for row in waiting[::-1]:
        yield row, None


def spans(
    access: PacketAccess, connection: int, wanted: Collection[tuple[int, int, int]]
) -> dict[tuple[int, int, int], bytes | None]:
    """Return the bytes of each `wanted` part, given as (direction, offset, end offset).

    The bytes are None if the part was not captured completely.
    """
    parts: dict[tuple[int, int, int], dict[int, bytes]] = {span: {} for span in wanted}
    for portion in access.portions({"pieces": PIECE}, [connection]) if wanted else ():
        pieces = portion.tables["pieces"]
        for span, found in parts.items():
            direction, begin, end = span
            inside = (pl.col("offset") < end) & (pl.col("offset") + pl.col("captured") > begin)
            for row in pieces.filter(pl.col("direction") == direction, inside).select(PIECE).iter_rows(named=True):
                skipped = max(begin - row["offset"], 0)
                length = min(row["captured"], end - row["offset"]) - skipped
                found[row["offset"] + skipped] = portion.read(row["payload"] + skipped, length)
        if all(sum(map(len, found.values())) >= end - begin for (_, begin, end), found in parts.items()):
            break
    return {span: _join_parts(found, span[1], span[2]) for span, found in parts.items()}


def _join_parts(parts: dict[int, bytes], begin: int, end: int) -> bytes | None:
    said = b"".join(parts[offset] for offset in sorted(parts))
    at = begin
    for offset in sorted(parts):
        if offset != at:
            return None
        at += len(parts[offset])
    return said if at == end else None
