"""Test the tests of samples against counting every case, and count how often they claim a difference that does not exist."""

from __future__ import annotations

from itertools import combinations
from math import comb
from random import Random

import numpy as np
import pytest

from wiredoctor.compare.statistics import LEAST, all_on_one_side, interval, mann_whitney, rates_differ, shift

MS = 1_000_000


def every_case(before: list[int], after: list[int]) -> float:
    """The part of all ways to deal the values out in which the ranks are at least as uneven."""
    values = sorted(before + after)
    rank = {v: (2 * values.index(v) + values.count(v) + 1) / 2 for v in values}
    middle = len(after) * (len(values) + 1) / 2
    seen = abs(sum(rank[v] for v in after) - middle)
    sums = [abs(sum(rank[v] for v in some) - middle) for some in combinations(before + after, len(after))]
    return sum(s >= seen - 1e-9 for s in sums) / len(sums)


def test_ranks_are_those_of_every_case() -> None:
    random = Random(1)
    for width in (6, 40, 10**6):
        for _ in range(5):
            before, after = ([random.randrange(width) + 3 * n for _ in range(8)] for n in (0, 1))
            p = mann_whitney(np.sort(np.array(before)), np.sort(np.array(after)))
            assert p == pytest.approx(every_case(before, after), abs=0.025)


def test_values_that_are_all_the_same_do_not_differ() -> None:
    assert mann_whitney(np.full(20, 5), np.full(30, 5)) == 1.0


def test_rates_are_those_of_every_case() -> None:
    for one, two in ((5, 7), (10, 10), (3, 30)):
        for a in range(one + 1):
            for b in range(two + 1):
                hits = a + b
                cases = {k: comb(one, k) * comb(two, hits - k) for k in range(max(0, hits - two), min(hits, one) + 1)}
                total = sum(cases.values())
                expected = sum(n for n in cases.values() if n <= cases[a] * (1 + 1e-9)) / total
                assert rates_differ(a, one, b, two) == pytest.approx(expected)
                if b == 0:
                    assert all_on_one_side(a, one, two) == pytest.approx(cases[a] / total)


def test_an_interval_has_the_median_in_it_as_often_as_it_says() -> None:
    random = np.random.RandomState(3)
    for size in (8, 30, 200):
        misses = 0
        for _ in range(2000):
            low, high = interval(np.sort(random.exponential(1.0, size)), 0.5, 0.01)
            misses += not low <= np.log(2) <= high
        assert misses / 2000 <= 0.015


def test_nothing_is_claimed_of_noise() -> None:
    random = np.random.RandomState(4)
    claimed = 0
    for _ in range(1000):
        before, after = (np.sort(random.lognormal(np.log(50 * MS), 0.8, 60).astype(np.int64)) for _ in range(2))
        claimed += shift(before, after, 0.0).verdict != "same"
    # one case of a hundred is allowed; the interval makes it fewer
    assert claimed <= 10


def test_a_shift_is_seen_and_measured() -> None:
    random = np.random.RandomState(5)
    before = np.sort(random.lognormal(np.log(50 * MS), 0.2, 60).astype(np.int64))
    told = shift(before, before + 40 * MS, 0.1)
    assert told.verdict == "slower"
    assert told.difference == pytest.approx(0.040)
    assert told.low is not None
    assert told.high is not None
    assert 0 < told.low < 0.040 < told.high
    assert shift(before + 40 * MS, before, 0.1).verdict == "faster"
    # as sure, and of no weight
    assert shift(before, before + 40 * MS, 2.0).verdict == "same"
    assert shift(before // 1000, before // 500, 0.1).verdict == "same"


def test_a_tail_is_told_apart_from_the_middle() -> None:
    before = np.sort(np.arange(1000) * 1000 + 10 * MS)
    after = before.copy()
    after[-100:] += 200 * MS
    told = shift(before, np.sort(after), 0.1)
    assert (told.verdict, told.tail) == ("same", "slower")


def test_too_few_are_too_few() -> None:
    before, after = np.arange(LEAST - 1) + MS, np.arange(100) + 100 * MS
    told = shift(before, after, 0.1)
    assert (told.verdict, told.tail, told.probability) == ("too-few", "too-few", None)
    nothing = shift(np.empty(0, np.int64), after, 0.1)
    assert (nothing.verdict, nothing.before) == ("unknown", None)
