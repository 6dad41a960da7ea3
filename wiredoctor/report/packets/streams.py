"""What both sides of a connection sent, put together again, in order of time and in memory that does not follow its length.

Bytes come from findings.Portion: `pieces` are the new bytes of each packet, so nothing is said twice. What was captured behind a
hole waits until the hole is filled, or is known to stay: the other side acknowledged it, or too much waits.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any, NamedTuple

from wiredoctor.tables import SECOND

if TYPE_CHECKING:
    from wiredoctor.findings import Again, Portion

MOST_WAITING = 16 << 20
"""Bytes of a side that wait for a hole to be filled: a receiver's window is rarely larger."""

LATE = SECOND
"""ns. A packet that was acknowledged may still come for so long, where packets were captured out of order."""

PIECE = ["connection", "direction", "frame", "time", "offset", "length", "captured", "payload"]
_ACK = ["direction", "frame", "time", "ack"]


class Run(NamedTuple):
    """Bytes of a side: `offset` in its stream. `late`: what stands behind them was told before, as nobody knew of them."""

    direction: int
    frame: int
    time: int
    offset: int
    data: bytes
    late: bool = False


class Hole(NamedTuple):
    """Bytes of a side that are not in the capture; `cut`: their packet is, and was captured in part (a snap length). Frame and
    time are of the packet at which it is known."""

    direction: int
    frame: int
    time: int
    offset: int
    length: int
    cut: bool


class _Side:
    """A direction: what comes next, and what waits behind a hole."""

    def __init__(self, direction: int) -> None:
        self.direction = direction
        self.next = 0
        self._waiting: dict[int, tuple[int, int, int, bytes]] = {}
        self._order: list[int] = []
        self._bytes = 0
        self._given_up: deque[tuple[int, int]] = deque()

    def add(self, frame: int, time: int, offset: int, length: int, data: bytes) -> Iterator[Run | Hole]:
        """A piece; what can be said now."""
        if offset < self.next:
            yield Run(self.direction, frame, time, offset, data, late=True)
            yield from self._cut(frame, time, offset, length, data)
            return
        if offset > self.next:
            self._waiting[offset] = (frame, time, length, data)
            heappush(self._order, offset)
            self._bytes += len(data) + 200
            if self._bytes > MOST_WAITING:
                yield from self._release(self._first(), frame, time)
            return
        yield from self._said(frame, time, offset, length, data)
        yield from self._ready()

    def acknowledged(self, offset: int, time: int) -> None:
        """The other side has everything before this offset."""
        if offset > self.next:
            self._given_up.append((time + LATE, offset))

    def pass_time(self, frame: int, time: int) -> Iterator[Run | Hole]:
        """What will not come any more."""
        while self._given_up and self._given_up[0][0] <= time:
            _, offset = self._given_up.popleft()
            while self.next < offset and self._waiting and self._first() < offset:
                yield from self._release(self._first(), frame, time)
            if self.next < offset:
                yield from self._hole(offset, frame, time)
                yield from self._ready()

    def end(self) -> Iterator[Run | Hole]:
        """The rest."""
        while self._waiting:
            offset = self._first()
            yield from self._release(offset, *self._waiting[offset][:2])

    def _first(self) -> int:
        """The first offset that waits."""
        while self._order[0] not in self._waiting:
            heappop(self._order)
        return self._order[0]

    def _release(self, offset: int, frame: int, time: int) -> Iterator[Run | Hole]:
        yield from self._hole(offset, frame, time)
        yield from self._ready()

    def _hole(self, offset: int, frame: int, time: int) -> Iterator[Hole]:
        yield Hole(self.direction, frame, time, self.next, offset - self.next, cut=False)
        self.next = offset

    def _ready(self) -> Iterator[Run | Hole]:
        while self.next in self._waiting:
            offset = self.next
            frame, time, length, data = self._waiting.pop(offset)
            self._bytes -= len(data) + 200
            yield from self._said(frame, time, offset, length, data)

    def _said(self, frame: int, time: int, offset: int, length: int, data: bytes) -> Iterator[Run | Hole]:
        if data:
            yield Run(self.direction, frame, time, offset, data)
        yield from self._cut(frame, time, offset, length, data)
        self.next = offset + length

    def _cut(self, frame: int, time: int, offset: int, length: int, data: bytes) -> Iterator[Hole]:
        if len(data) < length:
            yield Hole(self.direction, frame, time, offset + len(data), length - len(data), cut=True)


def follow(again: Again, connection: int) -> Iterator[Run | Hole]:
    """What both sides of a connection sent, and what of it is missing."""
    sides: list[_Side] = [_Side(0), _Side(1)]
    frame = time = 0
    for portion in again.portions({"pieces": PIECE, "segments": [*_ACK, "acks_unseen"]}, [connection]):
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
    """Pieces with their bytes, and ACKs of what was not seen (None), in order of frames."""
    import polars as pl

    pieces = portion.tables["pieces"].select(PIECE).sort("frame", "offset", maintain_order=True)
    acks = portion.tables["segments"].filter(pl.col("acks_unseen") > 0).select(_ACK).sort("frame")
    waiting = acks.to_dicts()[::-1]
    for row in pieces.iter_rows(named=True):
        while waiting and waiting[-1]["frame"] <= row["frame"]:
            yield waiting.pop(), None
        yield row, portion.read(row["payload"], row["captured"])
    for row in waiting[::-1]:
        yield row, None


def spans(again: Again, connection: int, wanted: Collection[tuple[int, int, int]]) -> dict[tuple[int, int, int], bytes | None]:
    """Parts of both streams, (direction, offset, offset behind it): None where not all of it is in the capture."""
    import polars as pl

    parts: dict[tuple[int, int, int], dict[int, bytes]] = {span: {} for span in wanted}
    for portion in again.portions({"pieces": PIECE}, [connection]) if wanted else ():
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
    return {span: _whole(found, span[1], span[2]) for span, found in parts.items()}


def _whole(parts: dict[int, bytes], begin: int, end: int) -> bytes | None:
    said = b"".join(parts[offset] for offset in sorted(parts))
    at = begin
    for offset in sorted(parts):
        if offset != at:
            return None
        at += len(parts[offset])
    return said if at == end else None
