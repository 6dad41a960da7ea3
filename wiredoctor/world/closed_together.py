"""Find connections on which both sides had closed their windows at the same time, so each waited for the other to read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar, NamedTuple

import polars as pl

from wiredoctor.findings import Threshold
from wiredoctor.world.world import CaptureTables, Index

TOGETHER = Threshold(
    "500 ms",
    "the minimum time for which both windows are closed at once; two programs that are only slow read again within this time",
)


class Closed(NamedTuple):
    """A closed window: from its announcement until it opened, or until the connection ended (ns). `frame`: the announcement."""

    start: int
    end: int
    frame: int


class BothClosed(NamedTuple):
    """Two windows that were closed at once. `first`, `second`: the windows, the one that closed first before the other."""

    first: Closed
    second: Closed

    @property
    def time(self) -> int:
        """The time (ns) for which both were closed."""
        return min(self.first.end, self.second.end) - self.second.start


class ClosedTogether(Index):
    """The closed windows whose peer had closed its own window at the same time, although it, too, had something to read."""

    NEEDS: ClassVar[tuple[str, ...]] = ("connection", "direction", "window_time", "until", "frame", "held_up")

    def __init__(self, pairs: Iterable[tuple[int, BothClosed]]) -> None:
        self._of: dict[tuple[int, int], BothClosed] = {}
        for connection, both in pairs:
            self._of.setdefault((connection, both.first.frame), both)
            self._of.setdefault((connection, both.second.frame), both)

    @classmethod
    def build(cls, wanted: Sequence[pl.DataFrame], tables: CaptureTables) -> ClosedTogether:  # noqa: ARG003
        """Return the pairs of closed windows among the candidates (see world.Index)."""
        windows: dict[int, tuple[list[Closed], list[Closed]]] = {}
        for rows in wanted:
            held = rows.filter(pl.col("held_up") >= TOGETHER.value)
            for connection, direction, start, end, frame in held.select(cls.NEEDS[:-1]).iter_rows():
                sides = windows.setdefault(connection, ([], []))
                sides[1 if direction else 0].append(Closed(start, end, frame))
        return cls((connection, both) for connection, sides in windows.items() for both in _pairs(*map(sorted, sides)))

    def of(self, connection: int | None, frame: int) -> BothClosed | None:
        """Return the two windows that were closed at once if the packet `frame` announced one of them."""
        return None if connection is None else self._of.get((connection, frame))


def _pairs(one: list[Closed], other: list[Closed]) -> Iterable[BothClosed]:
    """Yield the pairs of windows of the two sides that were closed at once for at least TOGETHER."""
    here = there = 0
    while here < len(one) and there < len(other):
        both = BothClosed(*sorted((one[here], other[there])))
        if both.time >= TOGETHER.value:
            yield both
        if one[here].end <= other[there].end:
            here += 1
        else:
            there += 1
