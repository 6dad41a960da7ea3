"""Time stamps of pcapng: 64 bits of ticks, whose length each interface chooses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from wiredoctor.capture.model import MAX_TIME
from wiredoctor.tables import SECOND

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from wiredoctor.capture.model import Interface
    from wiredoctor.tables import Array

_FAR = 9_000_000_000
"""Seconds; more than MAX_TIME, and few enough to be multiplied by a second's nanoseconds."""


def nanoseconds(ticks: int, interface: Interface) -> int:
    """A time stamp as nanoseconds since 1970, exactly, rounded down."""
    return ticks * SECOND // interface.ticks + interface.seconds * SECOND


def distinct(numbers: Array) -> list[int]:
    """The numbers without repetition; quick where there is only one, as nearly always."""
    if not len(numbers) or (numbers == numbers[0]).all():
        return [int(n) for n in numbers[:1]]
    return [int(n) for n in np.unique(numbers)]


def of_each(numbers: Array, of: Callable[[int], int], dtype: type[np.integer[Any]] = np.int64) -> Array:
    """What `of` says of each number, asked once of each: a hostile file has as many interfaces as packets."""
    if not len(numbers) or (numbers == numbers[0]).all():
        return np.full(len(numbers), of(int(numbers[0])) if len(numbers) else 0, dtype)
    unique, which = np.unique(numbers, return_inverse=True)
    return np.array([of(n) for n in unique.tolist()], dtype)[which]


class Clock:
    """Turns ticks into nanoseconds since the first packet that has a time stamp."""

    def __init__(self) -> None:
        self.first_time: int | None = None
        self._last = 0

    def times(self, ticks: Array, interface: Array, stamped: Array, interfaces: Sequence[Interface]) -> Array:
        """int64 ns of each packet. One without a time stamp (`stamped` false) has the time of the packet before it."""
        times = np.zeros(len(ticks), np.int64)
        rows = np.flatnonzero(stamped)
        if len(rows):
            if self.first_time is None:
                self.first_time = nanoseconds(int(ticks[rows[0]]), interfaces[int(interface[rows[0]])])
            whose = interface[rows]
            per_second = of_each(whose, lambda index: interfaces[index].ticks, np.uint64)
            base = of_each(whose, lambda index: self._base(interfaces[index]))
            for resolution in distinct(per_second):  # powers of two and ten that fit 64 bits: 83 at most
                some = per_second == resolution
                times[rows[some]] = self._since_first(ticks[rows[some]], resolution, base[some])
        if len(rows) < len(times):
            before = np.maximum.accumulate(np.where(stamped, np.arange(len(times)), -1))
            times = np.where(before >= 0, times[np.maximum(before, 0)], self._last)
        if len(times):
            self._last = int(times[-1])
        return times

    def _base(self, interface: Interface) -> int:
        """The second of the first packet, in the seconds that this interface counts."""
        return min(max((self.first_time or 0) // SECOND - interface.seconds, -_FAR), MAX_TIME)

    def _since_first(self, ticks: Array, resolution: int, base: Array) -> Array:
        first, per_second = self.first_time or 0, np.uint64(resolution)
        seconds, fraction = ticks // per_second, ticks % per_second
        fraction = _scaled(fraction, resolution)
        relative = np.minimum(seconds, np.uint64(MAX_TIME)).astype(np.int64) - base
        times = np.clip(relative, -_FAR, _FAR) * SECOND + fraction.astype(np.int64) - first % SECOND
        return np.clip(times, -MAX_TIME, MAX_TIME)


def _scaled(fraction: Array, ticks: int) -> Array:
    """Nanoseconds of a fraction of a second that is counted in so many ticks."""
    if ticks <= SECOND:
        return fraction * np.uint64(SECOND) // np.uint64(ticks)
    if ticks % SECOND == 0:
        return fraction // np.uint64(ticks // SECOND)
    shift = max(ticks.bit_length() - 1 - 34, 0)  # 34 bits times 10**9 still fit 64
    return ((fraction >> np.uint64(shift)) * np.uint64(SECOND)) >> np.uint64(ticks.bit_length() - 1 - shift)
