"""The bytes of one direction in stream order, as ranges of the capture: what a reader walks over.

An item is a run of bytes that one packet brought, or a hole that will not be filled. Payload is never copied; `at` says
where it lies. HOLE: nowhere, no packet brought it. CUT: a packet brought it, but the snap length kept it out of the file.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import accumulate

import numpy as np

from wiredoctor import limits
from wiredoctor.limits import Limit
from wiredoctor.tables import NEVER, SECOND, Array

HOLE, CUT = -1, -2

PATIENCE = SECOND
"""A hole that the receiver has acknowledged is given up after so long: the packet may have been captured late, not later."""

_NONE: Array = np.empty(0, dtype=np.int64)

Moment = tuple[int, int]
"""When something was known, in the order of time: with a packet (its frame, NEVER), or behind it and before the next one of
its connection, because a time was over (the frame, that time)."""

FAR: Moment = (1 << 62, 1 << 62)
"""Later than any."""

Item = tuple[int, int, int, int, int, int]
"""start, end (stream offsets), at, time, frame, ack number of the packet."""


@dataclass
class Items:
    """Items as columns, in stream order without gaps. `holes` are the positions of holes, in order; `shuffled` items may
    not be in order of frames.

    `lost`: positions of holes that were taken for lost, the moment, and the limit that was the reason, if one was;
    `unread`: the first item that nobody reads any more; `moments`: what `known` says, made when it is asked.

    `heads` are positions whose bytes look like the beginning of a head, in order; None: any may. `look_for_heads` finds
    them, when they are asked for."""

    start: list[int] = field(default_factory=list[int])
    end: list[int] = field(default_factory=list[int])
    at: list[int] = field(default_factory=list[int])
    time: list[int] = field(default_factory=list[int])
    frame: list[int] = field(default_factory=list[int])
    ack: list[int] = field(default_factory=list[int])
    holes: list[int] = field(default_factory=list[int])
    lost: list[tuple[int, Moment, Limit | None]] = field(default_factory=list[tuple[int, Moment, "Limit | None"]])
    unread: int = 1 << 62
    shuffled: bool = False
    heads: list[int] | None = None
    moments: list[Moment] = field(default_factory=list[Moment])
    look_for_heads: Callable[[], list[int]] | None = None

    def append(self, item: Item) -> None:
        """Adds an item behind the others."""
        if item[2] == HOLE:
            self.holes.append(len(self.start))
        for column, value in zip((self.start, self.end, self.at, self.time, self.frame, self.ack), item, strict=True):
            column.append(value)

    def behind(self, first: int, stop: int) -> Items:
        """The items first .. stop - 1, for later."""
        rest = Items(shuffled=True)
        for i in range(first, stop):
            rest.append(self.item(i))
        rest.lost = [(i - first, moment, limit) for i, moment, limit in self.lost if first <= i < stop]
        return rest

    def known(self, i: int) -> Moment:
        """When the i-th item and all before it could be read."""
        if not self.shuffled:
            return self.frame[i], NEVER
        if len(self.moments) != len(self.frame):
            moments = [(frame, NEVER) for frame in self.frame]
            for place, moment, _ in self.lost:
                moments[place] = max(moments[place], moment)
            self.moments = list(accumulate(moments, max))
        return self.moments[i]

    def item(self, i: int) -> Item:
        """The i-th item."""
        return self.start[i], self.end[i], self.at[i], self.time[i], self.frame[i], self.ack[i]


@dataclass
class Assembler:
    """Puts the packets of one direction in order. `reached`: everything before it has been handed on; None before the first.
    `begun`: that was known before the bytes of this epoch.

    `acks`: offsets that the receiver acknowledged while there was a hole, ascending, and when (times).
    """

    reached: int | None = None
    waiting: list[Item] = field(default_factory=list[Item])
    acks: tuple[Array, Array] = (_NONE, _NONE)
    acknowledged_at: int = NEVER
    begun: bool = False
    _hole_end: int = NEVER

    def add(self, item: Item, out: Items) -> bool:
        """Takes new bytes; hands on what is in order. Whether they came in order themselves."""
        if self.reached is None:
            self.reached = item[0]
        in_order = item[0] == self.reached
        insort(self.waiting, item)
        self._drain(out)
        if self.waiting and (far := self._too_far()) is not None:
            self.give_up(out, (item[4], NEVER), far)
        return in_order

    def _too_far(self) -> Limit | None:
        """The limit that what waits behind a hole goes beyond."""
        if self.waiting[-1][1] - (self.reached or 0) > limits.AHEAD.value:
            return limits.AHEAD
        return limits.BEHIND if len(self.waiting) > limits.BEHIND.value else None

    def _drain(self, out: Items) -> None:
        taken = 0
        for start, end, at, time, frame, ack in self.waiting:
            reached = self.reached or 0
            if start > reached and taken == 0:
                return
            if start > reached:
                break
            taken += 1
            if end > reached:
                out.append((reached, end, at if at < 0 else at + reached - start, time, frame, ack))
                self.reached = end
        if taken:
            del self.waiting[:taken]

    def give_up(self, out: Items, moment: Moment = (NEVER, NEVER), limit: Limit | None = None) -> None:
        """Hands on the hole in front, and what lies behind it."""
        out.lost.append((len(out.start), moment, limit))
        start, _, _, time, frame, ack = self.waiting[0]
        out.append((self.reached or 0, start, HOLE, time, frame, ack))
        self.reached = start
        self._drain(out)

    def heard(self, offsets: Array, times: Array) -> None:
        """Acknowledgements (offsets ascending) that are newer than those heard before."""
        known = self.acks[0]
        fresh = offsets > known[-1] if len(known) else np.ones(len(offsets), dtype=bool)
        if not fresh.any():
            return
        self.acks = np.concatenate((known, offsets[fresh])), np.concatenate((self.acks[1], times[fresh]))

    def look(self, now: int, out: Items, when: Callable[[int], Moment]) -> None:
        """Gives up holes that were acknowledged PATIENCE ago, and behind which bytes have been as long."""
        while self.waiting:
            end = self.waiting[0][0]
            if self.acknowledged_at == NEVER or end != self._hole_end:
                self._hole_end = end
                offsets, times = self.acks
                i = int(np.searchsorted(offsets, end))
                self.acknowledged_at = max(int(times[i]), self.waiting[0][3]) if i < len(offsets) else NEVER
            if self.acknowledged_at == NEVER or now - self.acknowledged_at < PATIENCE:
                return
            self.give_up(out, when(self.acknowledged_at + PATIENCE))

    def rest(self) -> None:
        """Nothing more comes in this epoch: without a hole, acknowledgements need not be remembered."""
        if not self.waiting:
            self.acks = _NONE, _NONE
