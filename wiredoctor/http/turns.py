"""Bounds what a connection says at once: a packet may hold eighty messages, and an epoch ten million.

Many bytes are read in turns, as if they had come in several epochs, which changes nothing but the memory.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from itertools import accumulate
from typing import TYPE_CHECKING

import numpy as np

from wiredoctor import limits
from wiredoctor.http.items import Items
from wiredoctor.http.spoken import NUMBERS
from wiredoctor.tables import NEVER, Array

if TYPE_CHECKING:
    from wiredoctor.http.conversation import Conversation


def turns(ranges: list[tuple[Items, int, int]]) -> list[tuple[int, int]]:
    """Positions in the items of both sides up to which each turn reads: those of packets that came before the next turn's."""
    end = ranges[0][2], ranges[1][2]
    cuts = sorted({frame for items, first, stop in ranges for frame in _cuts(items, first, stop)})
    if not cuts:
        return [end]
    came = [_came(items) for items, _, _ in ranges]
    found: list[tuple[int, int]] = []
    for frame in cuts:
        a, b = (
            max(first, bisect_right(frames, frame, first, stop)) for frames, (_, first, stop) in zip(came, ranges, strict=True)
        )
        found.append((a, b))
    return [*found, end]


def _came(items: Items) -> list[int]:
    """Per item the frame in which it and all before it had come."""
    return list(accumulate(items.frame, max)) if items.shuffled else items.frame


def _cuts(items: Items, first: int, stop: int) -> Iterator[int]:
    """The frames with which a turn is full."""
    most = limits.TURN.value
    if stop - first < 2 or items.end[stop - 1] - items.start[first] <= most:
        return
    if items.shuffled:
        yield from _shuffled_cuts(items, first, stop, most)
        return
    while (first := bisect_left(items.end, items.start[first] + most, first, stop)) < stop - 1:
        yield items.frame[first]
        first += 1


def _shuffled_cuts(items: Items, first: int, stop: int, most: int) -> Iterator[int]:
    size = newest = 0
    for i in range(first, stop - 1):
        newest = max(newest, items.frame[i])
        # what the capture lacks holds no message
        size += items.end[i] - items.start[i] if items.at[i] >= 0 else 0
        if size >= most:
            yield newest
            size = 0


def thin(
    conversation: Conversation, mark: int, both: tuple[Items, Items], begun: tuple[int, ...], stops: tuple[int, int]
) -> None:
    """Forgets the intervals behind `mark` of messages that hold neither the first nor the last byte of any packet."""
    spoken = conversation.spoken
    rows = np.array(spoken.intervals[mark:], dtype=np.int64).reshape(-1, NUMBERS)
    needed = np.zeros(len(rows), dtype=bool)
    for direction, items in enumerate(both):
        mine = np.flatnonzero(rows[:, 0] & 1 == direction)
        some = slice(begun[direction], stops[direction])
        needed[mine] = _hold_ends(rows[mine, 1], rows[mine, 3], np.array(items.start[some]), np.array(items.end[some]))
    del spoken.intervals[mark:]
    spoken.intervals.extend(rows[needed].ravel().tolist())
    ended = rows[~needed & (rows[:, 6] != NEVER)]
    if len(ended):
        places, counts = np.unique(ended[:, [0, 6]], axis=0, return_counts=True)
        spoken.ended.extend(np.column_stack((places, counts)).ravel().tolist())


def _hold_ends(begin: Array, end: Array, first: Array, behind: Array) -> Array:
    """Which intervals hold the first or the last byte of one of these items, or reach beyond them all."""
    if not len(first):
        return np.ones(len(begin), dtype=bool)
    starts = np.searchsorted(first, begin) < np.searchsorted(first, end)
    ends = np.searchsorted(behind, begin, side="right") < np.searchsorted(behind, end, side="right")
    return starts | ends | (begin < first[0]) | (end > behind[-1])
