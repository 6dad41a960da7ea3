"""Test whether two samples differ by more than chance, with few assumptions and without random numbers.

No test assumes the shape of a distribution. All tests assume that the values of a sample are independent, which is only
approximately true for the exchanges of one capture; docs/pages/compare.md explains the consequences.
"""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np

from wiredoctor.compare.before_after.result import Shift, Spread, Verdict
from wiredoctor.tables import SECOND, Array

LEAST = 8
"""The minimum number of values per sample.

With 8 values, the 99 % confidence interval of the median is the complete sample. With fewer, the sample is too small for 99 %.
"""

LEAST_OF_TAIL = 100
"""The minimum number of values for a statement about the 95th percentile; five of 100 values lie above it."""

LEAST_P95 = 20

ERROR = 0.01
"""The maximum probability that a comparison reports a difference that does not exist, for all endpoints together."""

WORTH = 1_000_000
"""The smallest difference in ns that is reported. Changes in the machine's load can cause smaller differences."""

_EXACT = 4_000
"""The maximum number of hits for which `rates_differ` computes an exact probability; above it, an approximation is used."""


def spread(values: Array) -> Spread | None:
    """Summarize sorted times in ns; return None for an empty sample."""
    if not len(values):
        return None
    p95 = float(np.quantile(values, 0.95)) / SECOND if len(values) >= LEAST_P95 else None
    return Spread(len(values), float(np.median(values)) / SECOND, p95)


def mann_whitney(before: Array, after: Array) -> float:
    """Return the two-sided p-value of the Mann-Whitney U test (1947).

    The normal approximation is used, with corrections for ties and for continuity. With at least 8 values per sample, the result
    is accurate to a few thousandths.
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
    """Return bounds that contain a quantile of the distribution, except with probability `error`.

    The bounds are order statistics with binomial ranks (David and Nagaraja, Order Statistics, section 7.1), so they never lie
    outside of the sample. `values` must be sorted.
    """
    n = len(values)
    reach = NormalDist().inv_cdf(1 - error / 2) * math.sqrt(n * quantile * (1 - quantile))
    low = max(0, math.floor(n * quantile - reach) - 1)
    high = min(n - 1, math.ceil(n * quantile + reach))
    return float(values[low]), float(values[high])


def difference(before: Array, after: Array, quantile: float, error: float) -> tuple[float, float]:
    """Return bounds for the quantile of `after` minus the quantile of `before`, which hold except with probability `error`.

    The bounds are the extreme differences between the intervals of the two quantiles, so they are wider than necessary. Both
    samples must be sorted.
    """
    low_before, high_before = interval(before, quantile, error / 2)
    low_after, high_after = interval(after, quantile, error / 2)
    return low_after - high_before, high_after - low_before


def shift(before: Array, after: Array, tolerance: float, tests: int = 1) -> Shift:
    """Compare two sorted samples of times in ns. `tests`: the number of comparisons that share the error probability.

    The verdict is "slower" or "faster" if both the U test and the confidence interval show that the medians differ. The medians
    must also differ by at least 1 ms, and by at least the fraction `tolerance` of the median of `before`.
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
    """Return the probability that chance alone puts all `hits` on the same side.

    `there`: the number of chances for a hit on that side. `elsewhere`: the number of chances on the other side. The test is
    Fisher's one-sided test (1922) for equal rates. If `hits` exceeds `there`, only `there` hits count.
    """
    hits = min(hits, there)
    if hits <= 0 or there <= 0:
        return 1.0
    return math.exp(_choose(there, hits) - _choose(there + elsewhere, hits))


def rates_differ(hits_one: int, one: int, hits_two: int, two: int) -> float:
    """Return the probability that chance alone makes two rates differ at least this much.

    Each rate is a number of hits out of a number of chances (`one`, `two`). The test is Fisher's exact test, two-sided. If there
    are more than 4,000 hits in total, the normal approximation of the test is used.
    """
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
    """Return the natural logarithm of the binomial coefficient "n choose k"."""
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
