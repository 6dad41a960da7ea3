"""Determine by how many ns the clock of a log is ahead of the clock of a capture.

This offset is the most frequent difference between the time of a line and the time of a matching exchange.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from wiredoctor.text.time_of_day import SECOND

IntArray = npt.NDArray[np.int64]

LOOSE = SECOND // 4
"""The maximum difference in ns between two offsets that count as the same: lines may be written late, and clocks may drift."""

SAME_CLOCK = 5 * SECOND
"""The maximum offset in ns that fewer than ENOUGH lines can prove.

A few lines may agree on a larger offset by chance, because requests repeat. Therefore, a larger offset that so few lines
show is accepted only if all lines agree on it, and if it is the offset of a time zone.
"""

ENOUGH = 3

_HALF_HOUR = 1800 * SECOND
_FARTHEST_ZONE = 14 * 3600 * SECOND

NEGLIGIBLE = SECOND // 20
"""The maximum offset in ns that counts as 0, because late logging on a busy server may cause it."""


class Offset(NamedTuple):
    """The time by which a log's clock is ahead of the capture's clock: between `least` and `most` ns.

    `lines`: the number of lines that agree with this offset.
    """

    least: int
    most: int
    lines: int

    @property
    def middle(self) -> int:
        """The best estimate of the offset in ns: 0 if 0 is in the range or at most NEGLIGIBLE away from it."""
        return 0 if self.least - NEGLIGIBLE <= 0 <= self.most + NEGLIGIBLE else (self.least + self.most) // 2


def find_offset(lines: Sequence[int], differences: Sequence[int], unit: int) -> Offset | None:
    """Return the offset of a log's clock that most lines support; None if no line supports an offset.

    If several offsets have equal support, return the one nearest to 0.

    `lines` and `differences` have one element for each possible match of a line with an exchange: the number of the line, and
    the time of the line minus the time of the exchange (ns). `unit`: the precision of the log's times in ns; the log cuts off
    smaller digits.
    """
    if not len(lines):
        return None
    order = np.argsort(np.asarray(differences, dtype=np.int64), kind="stable")
    sorted_differences, numbers = np.asarray(differences, dtype=np.int64)[order], np.asarray(lines, dtype=np.int64)[order]
    last = np.searchsorted(sorted_differences, sorted_differences + unit + LOOSE, side="right")
    pairs = last - np.arange(len(last))
    best: Offset | None = None
    # a window with more lines has at least as many pairs, so examine only windows with the most pairs, and the window of offset 0
    same_clock = np.searchsorted(sorted_differences, [-unit])
    for first in np.unique([*np.flatnonzero(pairs >= pairs.max() * 0.9)[:1000], *same_clock[same_clock < len(pairs)]]):
        within = slice(int(first), int(last[first]))
        low, high = int(sorted_differences[within][0]), int(sorted_differences[within][-1])
        least, most = sorted((high, low + unit))
        if unit >= LOOSE:
            least, most = _most_agreed(sorted_differences[within], numbers[within], unit)
        found = Offset(least, most, len(np.unique(numbers[within])))
        if best is None or (-found.lines, abs(found.middle)) < (-best.lines, abs(best.middle)):
            best = found
    near = np.abs(sorted_differences) <= SAME_CLOCK
    if best is not None and best.lines < ENOUGH and abs(best.middle) > SAME_CLOCK:
        close = sorted_differences[near]
        nearest = int(close[np.argmin(np.abs(close))]) if len(close) else None
        return _zone_offset(sorted_differences, numbers, unit) if nearest is None else Offset(nearest, nearest + unit, 1)
    return best


def _zone_offset(differences: IntArray, numbers: IntArray, unit: int) -> Offset | None:
    """Return the offset on which all lines agree, if that is the offset of a time zone; otherwise, return None.

    Call this function if only a few lines match: a few lines may agree on any other offset by chance, because requests repeat.
    The result is also None if a line matches several exchanges. `differences` are sorted in ascending order.
    """
    low, high, lines = int(differences[0]), int(differences[-1]), len(np.unique(numbers))
    if lines != len(numbers) or high - low > unit + LOOSE:
        return None
    least, most = sorted((high, low + unit))
    zone = round((least + most) / 2 / _HALF_HOUR) * _HALF_HOUR
    if not 0 < abs(zone) <= _FARTHEST_ZONE or not least - SECOND <= zone <= most + SECOND:
        return None
    return Offset(least, most, lines)


def _most_agreed(differences: IntArray, numbers: IntArray, unit: int) -> tuple[int, int]:
    """Return the bounds (ns) of the range of offsets that most lines support.

    If several ranges have equal support, return the one nearest to 0.

    `differences` and `numbers`: for each possible match, the time difference and the number of its line. A line supports the
    offsets from its difference to `unit` ns above it. If the same request was sent several times, a line has several
    differences; at most one of them is right.
    """
    order = np.lexsort((differences, numbers))
    starts, lines = differences[order], numbers[order]
    goes_on = (lines[1:] == lines[:-1]) & (starts[1:] <= starts[:-1] + unit)
    ends = starts[np.append(~goes_on, True)] + unit
    starts = starts[np.insert(~goes_on, 0, True)]
    at = np.concatenate((ends, starts))
    step = np.concatenate((np.full(len(ends), -1), np.full(len(starts), 1)))
    sweep = np.argsort(at, kind="stable")
    at, support = at[sweep], np.cumsum(step[sweep])[:-1]
    support[at[1:] == at[:-1]] = 0
    best = np.flatnonzero(support == support.max())
    chosen = int(best[np.argmin(np.maximum(np.maximum(at[best], -at[best + 1]), 0))])
    return int(at[chosen]), int(at[chosen + 1])
