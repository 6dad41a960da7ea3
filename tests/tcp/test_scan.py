"""Segmented scans against plain loops."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wiredoctor.scan import before, fill, group_rows, last_where, running_max, running_min
from wiredoctor.tables import NEVER

KEYS = st.lists(st.integers(0, 4), max_size=25).map(sorted)
SMALL = st.integers(-50, 50)
HUGE = st.integers(-(2**61), 2**61)


@settings(deadline=None)
@given(KEYS)
def test_groups(keys: list[int]) -> None:
    groups = group_rows(np.array(keys, dtype=np.int64))
    distinct = sorted(set(keys))
    assert groups.count == len(distinct)
    assert groups.number.tolist() == [distinct.index(k) for k in keys]
    assert groups.first.tolist() == [keys.index(k) for k in distinct]
    assert groups.start.tolist() == [keys.index(k) for k in keys]
    if keys:
        assert groups.last.tolist() == [len(keys) - 1 - keys[::-1].index(k) for k in distinct]


@settings(deadline=None)
@given(KEYS, st.data())
def test_last_where_and_before(keys: list[int], data: st.DataObject) -> None:
    mask = data.draw(st.lists(st.booleans(), min_size=len(keys), max_size=len(keys)))
    groups = group_rows(np.array(keys, dtype=np.int64))
    newest = [max((j for j in range(i + 1) if mask[j] and keys[j] == keys[i]), default=-1) for i in range(len(keys))]
    index = last_where(np.array(mask, dtype=bool), groups)
    assert index.tolist() == newest
    shifted = [newest[i - 1] if i and keys[i - 1] == keys[i] else -7 for i in range(len(keys))]
    assert before(index, groups, -7).tolist() == shifted


@settings(deadline=None)
@given(st.lists(SMALL, max_size=10), st.data())
def test_fill(values: list[int], data: st.DataObject) -> None:
    index = data.draw(st.lists(st.integers(-1, len(values) - 1), min_size=len(values), max_size=len(values)))
    initial = np.arange(1000, 1000 + len(values))
    expected = [values[i] if i >= 0 else 1000 + row for row, i in enumerate(index)]
    assert fill(np.array(values, dtype=np.int64), np.array(index, dtype=np.int64), initial).tolist() == expected


@pytest.mark.parametrize(("scan", "best"), [(running_max, max), (running_min, min)])
@settings(deadline=None)
@given(keys=KEYS, data=st.data(), numbers=st.sampled_from([SMALL, HUGE, st.one_of(SMALL, HUGE)]))
def test_running_extremes(
    scan: Callable[..., np.ndarray],
    best: Callable[..., int],
    keys: list[int],
    data: st.DataObject,
    numbers: st.SearchStrategy[int],
) -> None:
    n, distinct = len(keys), sorted(set(keys))
    values = data.draw(st.lists(numbers, min_size=n, max_size=n))
    mask = data.draw(st.lists(st.booleans(), min_size=n, max_size=n))
    initial = data.draw(st.lists(st.one_of(st.just(NEVER), numbers), min_size=len(distinct), max_size=len(distinct)))
    groups = group_rows(np.array(keys, dtype=np.int64))
    expected: list[int] = []
    for i, key in enumerate(keys):
        start = initial[distinct.index(key)]
        candidates = [values[j] for j in range(i + 1) if mask[j] and keys[j] == key] + ([start] if start != NEVER else [])
        expected.append(best(candidates, default=NEVER))
    as_array = [np.array(values, dtype=np.int64), np.array(mask, dtype=bool)]
    assert scan(*as_array, groups, np.array(initial, dtype=np.int64)).tolist() == expected


def test_more_groups_than_fit_the_packed_scan() -> None:
    keys = np.repeat(np.arange(1 << 17), 2)
    values = np.tile(np.array([5, 3]), 1 << 17)
    found = running_max(values, np.ones(len(keys), dtype=bool), group_rows(keys), np.full(1 << 17, NEVER))
    assert set(found.tolist()) == {5}
