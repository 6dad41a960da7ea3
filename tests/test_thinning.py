"""Test which cases a run tries: no case is in no run, and those that were named are in each."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from tests.support.sweeps import WHOLE
from tests.support.thinning import EIGHTH, PARTS, PARTS_OF_ALIKE, Extent

NUMBER = 22


class Case:
    """A case of a parametrized test, as far as it is looked at."""

    def __init__(self, number: int, *marks: str) -> None:
        self.nodeid = f"tests/test_it.py::test_it[{number}]"
        self.marks = [*marks]
        self.callspec = SimpleNamespace()

    def get_closest_marker(self, name: str) -> str | None:
        return name if name in self.marks else None

    def add_marker(self, mark: pytest.MarkDecorator) -> None:
        self.marks.append(mark.name)


def cases(*marks: str) -> list[Any]:
    return [Case(number, *marks) for number in range(NUMBER)]


def names(chosen: list[Any]) -> list[str]:
    return [case.nodeid for case in chosen]


def test_a_quick_run_tries_every_eighth_case_and_a_slow_run_the_others() -> None:
    quick = names(Extent(quick=True).choose(cases()))
    assert quick == names(cases()[::EIGHTH])
    chosen = Extent(quick=False).choose(cases())
    assert names([case for case in chosen if "slow" not in case.marks]) == quick
    assert names(chosen) == names(cases())


def test_marks_decide_what_a_quick_run_tries() -> None:
    assert len(Extent(quick=True).choose(cases("whole"))) == NUMBER
    assert Extent(quick=True).choose(cases("slow")) == []
    assert Extent(quick=True).choose(cases("slow", "whole")) == []


@WHOLE
@pytest.mark.parametrize("first", [0, 1_743])
def test_consecutive_runs_try_each_form_once(first: int) -> None:
    parts = [names(Extent(quick=False, turn=first + number).choose(cases("slow", "forms"))) for number in range(PARTS)]
    assert sorted(name for part in parts for name in part) == sorted(names(cases()))
    assert {len(part) for part in parts} == {NUMBER // PARTS, -(-NUMBER // PARTS)}


@WHOLE
@pytest.mark.parametrize("marks", [(), ("forms",)])
def test_what_a_quick_run_leaves_out_as_too_much_alike_is_tried_in_three_turns(marks: tuple[str, ...]) -> None:
    """Not in as many turns as forms: each such case is another input."""
    quick = names(Extent(quick=True).choose(cases(*marks)))
    parts = [names(Extent(quick=False, turn=turn).choose(cases(*marks))) for turn in range(7, 7 + PARTS_OF_ALIKE)]
    assert all({*quick} <= {*part} for part in parts)
    assert sorted(name for part in parts for name in part if name not in quick) == sorted({*names(cases())} - {*quick})


def test_only_the_nightly_run_tries_what_is_nightly() -> None:
    assert len(Extent(quick=False).choose(cases("slow", "nightly"))) == NUMBER
    assert Extent(quick=False, turn=0).choose(cases("slow", "nightly")) == []


def test_a_case_that_was_named_runs_in_any_case() -> None:
    marks = ("slow", "forms", "nightly")
    third = cases()[2].nodeid
    for quick in (True, False):
        one = Extent(quick, turn=0, named=frozenset({third}))
        assert third in names(one.choose(cases(*marks)))
        whole = Extent(quick, turn=0, named=frozenset({third.partition("[")[0]}))
        assert names(whole.choose(cases(*marks))) == names(cases())


def test_a_run_says_which_part_it_was() -> None:
    assert "part 8 of 16" in Extent(quick=False, turn=1_751).describe()
    assert Extent(quick=False).describe() == ""
