"""Test learning the clock of a sender from its timestamps, with any tick length and first value, and only from timestamps."""

from __future__ import annotations

import random
from itertools import accumulate

from hypothesis import given
from hypothesis import strategies as st

from wiredoctor.core.tcp import clocks
from wiredoctor.core.tcp.connection import Previous, Side, Syn
from wiredoctor.core.tcp.segment import MILLISECOND, NEVER

WORD = 1 << 32
UNITS = st.sampled_from(clocks.UNITS)
OFFSETS = st.integers(0, WORD - 1)
GAPS = st.lists(st.integers(1, 400), min_size=60, max_size=90)
"""Milliseconds between segments: long enough for the coarsest clock."""


def side_of(seen: list[tuple[int, int]]) -> Side:
    """A side that has sent segments with new data: (time in ns, TSval) of each."""
    side = Side()
    side.previous = data = Previous()
    for time, stamp in seen:
        if time >= data.clock_due:
            clocks.learn(side, time, stamp)
        data.time, data.stamp = time, stamp
    return side


def stamp(left: int, unit: int, offset: int) -> int:
    return (offset + left // unit) % WORD


def sent_times(gaps: list[int]) -> list[int]:
    return [ms * MILLISECOND for ms in accumulate(gaps)]


@given(UNITS, OFFSETS, GAPS, st.integers())
def test_any_unit_from_any_number_with_jitter_loss_and_reordering(unit: int, offset: int, gaps: list[int], seed: int) -> None:
    chance = random.Random(seed)
    left = sent_times([*gaps, *[400] * 30])
    seen = [(time + chance.randrange(3 * MILLISECOND), stamp(time, unit, offset)) for time in left if chance.random() > 0.1]
    side = side_of(sorted(seen))
    assert clocks.unit_of(side) == unit
    told = clocks.elapsed(side, stamp(left[3], unit, offset), stamp(left[-1], unit, offset))
    assert abs(told - (left[-1] - left[3])) <= unit


@given(UNITS, OFFSETS, GAPS, st.integers(10, 50), st.integers(50, 3_000))
def test_a_path_that_stands_still(unit: int, offset: int, gaps: list[int], at: int, still: int) -> None:
    """What was sent meanwhile comes at once when it goes on; the clock stays what it was."""
    left = sent_times([*gaps, *[400] * 30])
    end = left[at] + still * MILLISECOND
    seen = [(max(time, end) if time >= left[at] else time, stamp(time, unit, offset)) for time in left]
    assert clocks.unit_of(side_of(seen)) == unit


@given(GAPS, st.integers())
def test_numbers_that_are_no_clock(gaps: list[int], seed: int) -> None:
    """A middlebox that writes what it likes, or always the same."""
    chance = random.Random(seed)
    assert clocks.unit_of(side_of([(time, chance.randrange(WORD)) for time in sent_times(gaps)])) == 0
    assert clocks.unit_of(side_of([(time, 4711) for time in sent_times(gaps)])) == 0
    assert clocks.unit_of(side_of([(time, NEVER) for time in sent_times(gaps)])) == 0


def test_one_close_pair_is_enough_and_one_rough_pair_is_not() -> None:
    side = Side()
    side.syn = Syn(1)
    side.syn.time, side.syn.stamp = 0, WORD - 5
    clocks.learn(side, 500 * MILLISECOND, 495)
    assert clocks.unit_of(side) == MILLISECOND
    rough = Side()
    rough.syn = side.syn
    clocks.learn(rough, 500 * MILLISECOND, 425)
    assert clocks.unit_of(rough) == 0


def test_without_time_stamps_there_is_no_clock() -> None:
    side = side_of([(0, NEVER), (10**9, NEVER)])
    assert side.previous is not None
    assert side.previous.clock is None
    assert clocks.elapsed(side, 1, 2) == NEVER
    assert clocks.elapsed(Side(), 1, 2) == NEVER
