"""Whether two samples differ by more than chance: with few assumptions, and without random numbers.

None of it assumes a shape of the distributions. All of it assumes that the values of a sample are independent, which exchanges
of one capture are only more or less; docs/pages/compare.md says what follows from that.
"""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np

from wiredoctor.compare.before_after.result import Shift, Spread, Verdict
from wiredoctor.tables import SECOND, Array

LEAST = 8
"""Values of either sample below which nothing is said: of 8 the interval of the median is all that was seen, and of fewer it
would not reach 99 %."""

LEAST_OF_TAIL = 100
"""Values below which nothing is said of the 95th percentile: five lie above it."""

LEAST_P95 = 20

ERROR = 0.01
"""How often a difference may be claimed where there is none, over all endpoints of a comparison together."""

WORTH = 1_000_000
"""Nanoseconds below which no difference is worth telling: so much comes of another load of the machine."""

_EXACT = 4_000
"""Sum of counts up to which hypergeometric terms are added up one by one."""


def spread(values: Array) -> Spread | None:
    """Of sorted times in ns; None without any."""
    if not len(values):
        return None
    p95 = float(np.quantile(values, 0.95)) / SECOND if len(values) >= LEAST_P95 else None
    return Spread(len(values), float(np.median(values)) / SECOND, p95)


def mann_whitney(before: Array, after: Array) -> float:
    """Two-sided p of the U test (Mann and Whitney 1947), by its normal approximation with correction for ties and continuity.

    Both are sorted. From 8 values a side on the approximation is good to a few thousandths.
    """
    n, m = len(before), len(after)
    both = np.concatenate([before, after])
    order = np.argsort(both, kind="stable")
    ordered = both[order]
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    ties = np.diff(np.append(starts, n + m)).astype(np.float64)
    ranks = np.empty(n + m)
    ranks[order] = np.repeat(starts + (ties + 1) / 2, ties.astype(np.int64))
    u = float(ranks[n:].sum()) - m * (m + 1) / 2
    variance = n * m / 12 * (n + m + 1 - float((ties**3 - ties).sum()) / ((n + m) * (n + m - 1)))
    if variance <= 0:
        return 1.0
    z = max(0.0, abs(u - n * m / 2) - 0.5) / math.sqrt(variance)
    return math.erfc(z / math.sqrt(2))


def interval(values: Array, quantile: float, error: float) -> tuple[float, float]:
    """Where a quantile of the distribution lies, but for `error`: order statistics, whose ranks are binomial (David and Nagaraja,
    Order Statistics, section 7.1). Of sorted values; as many as there are bound it at most."""
    n = len(values)
    reach = NormalDist().inv_cdf(1 - error / 2) * math.sqrt(n * quantile * (1 - quantile))
    low = max(0, math.floor(n * quantile - reach) - 1)
    high = min(n - 1, math.ceil(n * quantile + reach))
    return float(values[low]), float(values[high])


def difference(before: Array, after: Array, quantile: float, error: float) -> tuple[float, float]:
    """Where the difference of a quantile lies, after - before: both intervals together, which is wider than need be."""
    low_before, high_before = interval(before, quantile, error / 2)
    low_after, high_after = interval(after, quantile, error / 2)
    return low_after - high_before, high_after - low_before


def shift(before: Array, after: Array, tolerance: float, tests: int = 1) -> Shift:
    """Two samples of times in ns, which are sorted. `tests`: how many such comparisons share the error.

    slower or faster: the U test and the interval agree that the medians differ, by at least `tolerance` of that of before and
    1 ms.
    """
    one, two = spread(before), spread(after)
    if one is None or two is None:
        return Shift(one, two)
    middle = float(np.median(after)) - float(np.median(before))
    if min(one.count, two.count) < LEAST:
        return Shift(one, two, middle / SECOND, verdict="too-few", tail="too-few")
    low, high = difference(before, after, 0.5, ERROR)
    p = mann_whitney(before, after)
    sure = p * tests <= ERROR and (low > 0 or high < 0)
    verdict = _verdict(middle, float(np.median(before)), tolerance, sure=sure)
    tail: Verdict = "too-few"
    if min(one.count, two.count) >= LEAST_OF_TAIL:
        ends = difference(before, after, 0.95, ERROR / tests)
        p95 = float(np.quantile(before, 0.95))
        tail = _verdict(float(np.quantile(after, 0.95)) - p95, p95, tolerance, sure=ends[0] > 0 or ends[1] < 0)
    return Shift(one, two, middle / SECOND, low / SECOND, high / SECOND, p, verdict, tail)


def _verdict(difference: float, before: float, tolerance: float, *, sure: bool) -> Verdict:
    if not sure or abs(difference) < max(WORTH, tolerance * before):
        return "same"
    return "slower" if difference > 0 else "faster"


def all_on_one_side(hits: int, there: int, elsewhere: int) -> float:
    """How likely it is that all `hits` fall on one side, with `there` chances, and none on the other, with `elsewhere`, if both
    are equal: the one-sided test of Fisher (1922). Several hits of one chance count once."""
    hits = min(hits, there)
    if hits <= 0 or there <= 0:
        return 1.0
    return math.exp(_choose(there, hits) - _choose(there + elsewhere, hits))


def rates_differ(hits_one: int, one: int, hits_two: int, two: int) -> float:
    """How likely two rates differ like this by chance alone: two-sided, Fisher's exact test, of large counts the normal one."""
    hits_one, hits_two = min(hits_one, one), min(hits_two, two)
    hits, chances = hits_one + hits_two, one + two
    if not one or not two or not hits or hits == chances:
        return 1.0
    if hits > _EXACT:
        shared = hits / chances
        deviation = math.sqrt(shared * (1 - shared) * (1 / one + 1 / two))
        return math.erfc(abs(hits_one / one - hits_two / two) / deviation / math.sqrt(2))
    every = _choose(chances, hits)
    terms = [_choose(one, k) + _choose(two, hits - k) - every for k in range(max(0, hits - two), min(hits, one) + 1)]
    seen = terms[hits_one - max(0, hits - two)]
    return min(1.0, math.fsum(math.exp(term) for term in terms if term <= seen + 1e-9))


def _choose(n: int, k: int) -> float:
    """The logarithm of the binomial coefficient."""
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
