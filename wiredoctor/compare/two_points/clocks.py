"""The clock of one recording against that of another, from packets that passed both.

A packet that is sent on at one point and seen at the other says by how much at most the clocks can differ, whichever way it
took: delays are not negative. The smallest delays of either direction are envelopes, and the truth lies between them: in the
middle, if the shortest way takes equally long in both directions, which two recordings cannot tell (Paxson, On Calibrating
Measurements of Packet Transit Times, SIGMETRICS 1998). The line that follows both envelopes most closely is that of Moon,
Skelly and Towsley (Estimation and Removal of Clock Skew from Network Delay Measurements, INFOCOM 1999), a linear program; here
for both directions at once, where it has one unknown left, the drift, and is convex in it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from wiredoctor.tables import Array

MOST_DRIFT = 1e-3
"""Clocks that are set step by step (adjtime) are off by 500 ppm at most while that lasts, and quartz by a tenth of it."""

BINS = 4096
"""Parts of a recording, of each of which the smallest delay is kept."""

WINDOWS = 16
"""Parts of a recording whose offsets are compared, to say how sure the drift is."""

QUANTUM = 2_000
"""Nanoseconds by which time stamps can contradict each other: two of them are rounded to microseconds."""

MOST_STEPS = 16
_TURNS = 60

_STUDENT = (0.0, 636.6, 31.6, 12.92, 8.61, 6.87, 5.96, 5.41, 5.04, 4.78, 4.59, 4.44, 4.32, 4.22, 4.14)
"""Student's t, which is exceeded either way in one case of 1,000, by degrees of freedom."""


@dataclass(frozen=True)
class Line:
    """From `start` on (ns of the first clock): the second clock is ahead by offset + drift * time (ns).

    gap: the shortest round trip between the points, as far as it was seen. drift_error: how wrong that can be (99.9 %); None:
    drift is taken to be 0, because it cannot be told from that.
    """

    start: int
    offset: float
    drift: float
    gap: float
    drift_error: float | None


@dataclass(frozen=True)
class Points:
    """Packets in order of the first clock: time (ns of it), ahead (ns: time stamp of the second clock - that of the first),
    forward: it passed the first point first."""

    time: Array
    ahead: Array
    forward: Array

    def part(self, begin: int, end: int) -> Points:
        return Points(self.time[begin:end], self.ahead[begin:end], self.forward[begin:end])


class _Envelopes:
    """What of the points can touch a line that has all forward points above it and all others below."""

    def __init__(self, points: Points, origin: float, slope: float = 0.0) -> None:
        self.sides: list[tuple[Array, Array, float, float]] = []
        for forward in (True, False):
            of = points.forward == forward
            time, ahead = points.time[of].astype(np.float64), points.ahead[of].astype(np.float64) - origin
            sign = 1.0 if forward else -1.0
            kept = _lowest(time, sign * (ahead - slope * time))
            self.sides.append((time[kept], ahead[kept], float(time.mean()), float(ahead.mean())))

    def offsets(self, drift: float) -> tuple[float, float]:
        """The lowest forward point above the line through 0 with this slope, and the highest of the others."""
        (t, a, _, _), (u, b, _, _) = self.sides
        return float((a - drift * t).min()), float((b - drift * u).max())

    def gap(self, drift: float) -> float:
        """How far the envelopes are apart; negative where no line of this slope lies between them."""
        low, high = self.offsets(drift)
        return low - high

    def slack(self, drift: float) -> float:
        """How far the points are from the envelopes, in the mean."""
        low, high = self.offsets(drift)
        (_, _, t, a), (_, _, u, b) = self.sides
        return (a - drift * t - low) + (high - b + drift * u)


def _lowest(time: Array, height: Array) -> Array:
    """The lowest point of each of BINS parts of the time."""
    if len(time) <= BINS:
        return np.arange(len(time))
    span = float(time[-1] - time[0]) or 1.0
    bins = np.minimum((time - time[0]) / span * BINS, BINS - 1).astype(np.int64)
    order = np.lexsort((height, bins))
    first = np.concatenate([[True], bins[order][1:] != bins[order][:-1]])
    return np.sort(order[first])


def _minimum(function: Callable[[float], float]) -> float:
    """Where a convex function of the drift is least."""
    low, high = -MOST_DRIFT, MOST_DRIFT
    for _ in range(_TURNS):
        one, two = low + (high - low) / 3, high - (high - low) / 3
        if function(one) <= function(two):
            high = two
        else:
            low = one
    return (low + high) / 2


def fit(points: Points) -> list[Line]:
    """The lines that the second clock follows, one after the other; more than one where it was set. None where packets of only
    one direction, or none, passed both points, or where no few lines fit."""
    lines: list[Line] = []
    begin, total = 0, len(points.time)
    while begin < total and len(lines) < MOST_STEPS:
        end = _reach(points, begin)
        line = _line(points.part(begin, end))
        if line is None:
            # what is left has one direction only: the line before goes on
            break
        lines.append(line)
        begin = end
    return lines if begin >= total or len(lines) < MOST_STEPS else []


def _reach(points: Points, begin: int) -> int:
    """How far one line fits: to the end, or to the first point that no line fits with those before it."""
    total = len(points.time)
    if _fits(points.part(begin, total)):
        return total
    good, bad = begin + 1, total
    while bad - good > 1:
        middle = (good + bad) // 2
        if _fits(points.part(begin, middle)):
            good = middle
        else:
            bad = middle
    return good


def _fits(points: Points) -> bool:
    if points.forward.all() or not points.forward.any():
        return True
    envelopes = _Envelopes(points, float(points.ahead[0]))
    best = _minimum(lambda drift: -envelopes.gap(drift))
    return envelopes.gap(best) >= -QUANTUM


def _line(points: Points) -> Line | None:
    if not len(points.time) or points.forward.all() or not points.forward.any():
        return None
    origin = float(points.ahead[0])
    rough = _minimum(_Envelopes(points, origin).slack)
    envelopes = _Envelopes(points, origin, rough)
    drift = _minimum(envelopes.slack)
    error = _drift_error(points, origin, drift)
    if error is None or abs(drift) <= error or envelopes.gap(drift) < -QUANTUM:
        flat = 0.0 if envelopes.gap(0.0) >= -QUANTUM else _minimum(lambda d: -envelopes.gap(d))
        drift, error = flat, None if flat == 0.0 else error
    low, high = envelopes.offsets(drift)
    return Line(int(points.time[0]), origin + (low + high) / 2, drift, low - high, error)


def _drift_error(points: Points, origin: float, drift: float) -> float | None:
    """How wrong the drift can be (99.9 %), from how far the middles of WINDOWS parts are off the line; None with fewer than
    four."""
    begin, end = float(points.time[0]), float(points.time[-1])
    if end <= begin:
        return None
    window = np.minimum((points.time - begin) / (end - begin) * WINDOWS, WINDOWS - 1).astype(np.int64)
    rest = points.ahead.astype(np.float64) - origin - drift * points.time
    low, high = np.full(WINDOWS, np.inf), np.full(WINDOWS, -np.inf)
    np.minimum.at(low, window[points.forward], rest[points.forward])
    np.maximum.at(high, window[~points.forward], rest[~points.forward])
    whole = np.isfinite(low) & np.isfinite(high)
    if int(whole.sum()) < 4:
        return None
    middles = (low[whole] + high[whole]) / 2
    times = (begin + (np.flatnonzero(whole) + 0.5) / WINDOWS * (end - begin)).astype(np.float64)
    scatter = float(np.sqrt(((middles - middles.mean()) ** 2).sum() / (len(middles) - 2)))
    return _STUDENT[len(middles) - 2] * max(scatter, QUANTUM / 4) / float(np.sqrt(((times - times.mean()) ** 2).sum()))


def ahead_at(lines: list[Line], time: Array) -> Array:
    """How far the second clock is ahead (ns) at these times of the first."""
    made = np.zeros(len(time))
    starts = np.array([line.start for line in lines], np.float64)
    which = np.maximum(np.searchsorted(starts, time, side="right") - 1, 0)
    for number, line in enumerate(lines):
        of = which == number
        made[of] = line.offset + line.drift * time[of]
    return made
