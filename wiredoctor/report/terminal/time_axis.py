"""Draw bars on a time axis in characters, and the axis itself."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from wiredoctor.report.fields import paint

_LEAST_APART = 8
"""The minimum number of characters between two ticks of the axis."""

_UNITS = ((100_000_000, 1_000_000_000, "s"), (100_000, 1_000_000, "ms"), (100, 1_000, "us"), (0, 1, "ns"))
"""The units of an axis by the distance between its ticks: the minimum distance in ns, the length of the unit in ns, and its name.
"""

_MAX_UNITS = 10
"""An axis that begins at this many seconds or later is labeled in seconds, even if its ticks are close together.

The same number applies to milliseconds and microseconds.
"""

_SHORTEST = 1_000_000
"""The minimum length of an axis in ns, because all events may be at the same time."""

Stretch = tuple[float, str, str]
"""A part of a bar: the time at which it ends (ns), its character, and its style."""


@dataclass(frozen=True)
class TimeAxis:
    """A time axis of `width` characters, which begins at the time `begin` (ns); each character stands for `step` ns."""

    begin: int
    step: float
    width: int

    @classmethod
    def spanning(cls, begin: int, end: int, width: int) -> TimeAxis:
        """Return the axis from `begin` to `end`. The axis begins at 0 instead of `begin` if this makes it at most 10 % longer."""
        begin = 0 if 0 < begin <= (end - begin) / 10 else begin
        return cls(begin, max(end - begin, _SHORTEST) / max(width, 1), width)

    @property
    def end(self) -> float:
        """The time in ns at which the last character ends."""
        return self.begin + self.step * self.width

    def at(self, time: float) -> float:
        """Return the position, in characters, of a time (ns), without rounding."""
        return (time - self.begin) / self.step

    def cell(self, time: float) -> int:
        """Return the index of the character that shows this time; times outside the axis get the first or the last one."""
        return min(max(math.floor(self.at(time)), 0), self.width - 1)

    def heading(self) -> str:
        """Return the axis as text: ticks at round times, each followed by its time. Ticks whose times do not fit are omitted."""
        shown = [" "] * self.width
        for tick in self._ticks():
            place = self.cell(tick)
            label = f"|{_label(tick, self._apart, self.begin)}"
            if place + len(label) <= self.width and all(sign == " " for sign in shown[place : place + len(label) + 1]):
                shown[place : place + len(label)] = label
        return "".join(shown).rstrip()

    @property
    def _apart(self) -> float:
        least = self.step * min(_LEAST_APART, self.width)
        for _ in range(4):  # closer ticks need longer labels
            step = _round_up(least)
            longest = max(len(_label(round(time), step, self.begin)) for time in (self.begin, self.end))
            if longest + 2 <= step / self.step:
                return step
            least = (longest + 2) * self.step
        return _round_up(least)

    def _ticks(self) -> Sequence[int]:
        apart = self._apart
        first, last = math.ceil(self.begin / apart), math.floor(self.end / apart)
        return [round(number * apart) for number in range(first, min(last, first + self.width) + 1)]

    def bar(self, begin: float, parts: Sequence[Stretch], thin: str, *, color: bool) -> str:
        """Draw a bar that begins at the time `begin`.

        The end of each part is rounded independently, so rounding errors do not add up. A bar that is shorter than half a
        character is drawn as `thin`, in the style of its longest part.
        """
        edges = [round(min(max(self.at(time), 0), self.width)) for time in (begin, *(end for end, _, _ in parts))]
        if edges[-1] <= edges[0]:
            place = min(edges[0], self.cell(begin))
            return " " * place + paint(thin, self._longest(begin, parts), color=color)
        pieces = [" " * edges[0]]
        for (_, sign, style), start, end in zip(parts, edges, edges[1:], strict=False):
            pieces.append(paint(sign * (end - start), style, color=color))
        return "".join(pieces)

    @staticmethod
    def _longest(begin: float, parts: Sequence[Stretch]) -> str:
        longest, style = -1.0, ""
        for end, _, this in parts:
            if end - begin > longest:
                longest, style = end - begin, this
            begin = end
        return style


def _round_up(least: float) -> float:
    """Return the smallest of the numbers 1, 2, 5, 10, 20, 50, ... that is at least `least`."""
    power = 10.0 ** math.floor(math.log10(max(least, 1)))
    return next(times * power for times in (1, 2, 5, 10, 20) if times * power >= least)


def _label(time: int, apart: float, begin: int) -> str:
    """Format the time (ns) of a tick.

    `apart` (ns between ticks) and `begin` (the start of the axis in ns) determine the unit and the precision.
    """
    size, unit = next((size, unit) for least, size, unit in _UNITS if apart >= least or begin >= _MAX_UNITS * size)
    digits = 0 if not time else max(0, -math.floor(math.log10(apart / size) + 1e-9))
    return f"{time / size:,.{digits}f} {unit}"
