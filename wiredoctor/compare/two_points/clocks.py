"""Align the clocks of two captures by the packets that passed both points.

Delays are not negative, so each packet that is sent at one point and received at the other limits the difference of the clocks.
The packets with the smallest delays in each direction set the tightest limits, and the true difference lies between them. It lies
in the middle if the shortest delay is equal in both directions. Two captures cannot show whether these delays are equal (Paxson,
On Calibrating Measurements of Packet Transit Times, SIGMETRICS 1998).

For one direction, a linear program finds the line that is closest to the limits (Moon, Skelly and Towsley, Estimation and Removal
of Clock Skew from Network Delay Measurements, INFOCOM 1999). For both directions together, the only unknown is the drift, and the
distance from the limits is a convex function of the drift.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from wiredoctor.tables import Array

MAX_DRIFT = 1e-3
"""The largest drift as a fraction: adjtime slews a clock by up to 500 ppm, and quartz drifts by a tenth of that."""

BINS = 4096
"""The number of intervals into which a capture is divided; the smallest delay in each interval is used."""

WINDOWS = 16
"""The number of intervals whose offsets are compared to estimate the error of the drift."""

QUANTUM = 2_000
"""The tolerance in ns for timestamps that contradict each other, for example because two of them are rounded to microseconds."""

MAX_STEPS = 16
_TURNS = 60

_STUDENT = (0.0, 636.6, 31.6, 12.92, 8.61, 6.87, 5.96, 5.41, 5.04, 4.78, 4.59, 4.44, 4.32, 4.22, 4.14)
"""The two-sided critical values of Student's t for a probability of 0.001, by degrees of freedom."""


@dataclass(frozen=True)
class Line:
    """The relation of two clocks: at `time` (ns of the first clock), the second clock is ahead by offset + drift * time (ns).

    `start`: the time at which the line becomes valid. `gap`: the shortest observed round trip between the points (ns).
    `drift_error`: the drift is known to within plus or minus this value (99.9 % confidence); None if the drift cannot be
    distinguished from 0 and is set to 0.
    """

    start: int
    offset: float
    drift: float
    gap: float
    drift_error: float | None


@dataclass(frozen=True)
class Points:
    """The times of packets that passed both points, sorted by the first clock.

    `time`: ns of the first clock. `ahead`: the timestamp of the second clock minus that of the first (ns). `forward`: True if the
    packet passed the first point first.
    """

    time: Array
    ahead: Array
    forward: Array

    def part(self, begin: int, end: int) -> Points:
        return Points(self.time[begin:end], self.ahead[begin:end], self.forward[begin:end])


class _Envelopes:
    """The points that limit the line of the clocks (see Line): the line lies below all forward packets and above all others."""

    def __init__(self, points: Points, origin: float, slope: float = 0.0) -> None:
        self.sides: list[tuple[Array, Array, float, float]] = []
        for forward in (True, False):
            of = points.forward == forward
            time, ahead = points.time[of].astype(np.float64), points.ahead[of].astype(np.float64) - origin
            sign = 1.0 if forward else -1.0
            kept = _lowest(time, sign * (ahead - slope * time))
            self.sides.append((time[kept], ahead[kept], float(time.mean()), float(ahead.mean())))

    def offsets(self, drift: float) -> tuple[float, float]:
        """Return the highest and the lowest offset (ns) that a line with this drift may have.

        The highest is limited by the forward packets, the lowest by the others.
        """
        (t, a, _, _), (u, b, _, _) = self.sides
        return float((a - drift * t).min()), float((b - drift * u).max())

    def gap(self, drift: float) -> float:
        """Return by how much (ns) the offset of a line with this drift may vary; negative if no such line is possible."""
        low, high = self.offsets(drift)
        return low - high

    def slack(self, drift: float) -> float:
        """Return the mean distance (ns) of the points from the limits of a line with this drift, summed over both directions."""
        low, high = self.offsets(drift)
        (_, _, t, a), (_, _, u, b) = self.sides
        return (a - drift * t - low) + (high - b + drift * u)


def _lowest(time: Array, height: Array) -> Array:
    """Return the index of the lowest point in each of BINS equal intervals of time.

    Return all indexes if there are at most BINS points.
    """
    if len(time) <= BINS:
        return np.arange(len(time))
    span = float(time[-1] - time[0]) or 1.0
    bins = np.minimum((time - time[0]) / span * BINS, BINS - 1).astype(np.int64)
    order = np.lexsort((height, bins))
    first = np.concatenate([[True], bins[order][1:] != bins[order][:-1]])
    return np.sort(order[first])


def _minimum(function: Callable[[float], float]) -> float:
    """Return the drift at which a convex function of the drift has its minimum."""
    low, high = -MAX_DRIFT, MAX_DRIFT
    for _ in range(_TURNS):
        one, two = low + (high - low) / 3, high - (high - low) / 3
        if function(one) <= function(two):
            high = two
        else:
            low = one
    return (low + high) / 2


def fit_lines(points: Points) -> list[Line]:
    """Return the lines that relate the second clock to the first, in order of time; more than one if a clock was set.

    The list is empty if all packets that passed both points went in one direction, or if more than MAX_STEPS lines are needed.
    """
    lines: list[Line] = []
    begin, total = 0, len(points.time)
    while begin < total and len(lines) < MAX_STEPS:
        end = _reach(points, begin)
        line = _line(points.part(begin, end))
        if line is None:
            # the remaining points have only one direction, so the previous line continues
            break
        lines.append(line)
        begin = end
    return lines if begin >= total or len(lines) < MAX_STEPS else []


def _reach(points: Points, begin: int) -> int:
    """Return the end (index) of the longest run of points that begins at `begin` and that fits a single line."""
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
    """Return the error of the drift at 99.9 % confidence, or None if it cannot be estimated.

    The capture time is divided into WINDOWS intervals. In each interval with packets in both directions, the offset is taken as
    the middle between the two limits of the interval. The error follows from the scatter of these offsets around the line. At
    least four such intervals are needed.
    """
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
    """Return by how much (ns) the second clock is ahead at each of these times of the first clock."""
    made = np.zeros(len(time))
    starts = np.array([line.start for line in lines], np.float64)
    which = np.maximum(np.searchsorted(starts, time, side="right") - 1, 0)
    for number, line in enumerate(lines):
        of = which == number
        made[of] = line.offset + line.drift * time[of]
    return made
