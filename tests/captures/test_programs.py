"""The programs of captures/lab/programs.py: what may be said of them is what there is to say."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.captures.papers import CAPTURES
from wiredoctor.rules import catalogue

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def lab(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The module programs.py, which imports others of the lab by their bare names."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(CAPTURES / "lab"))
    import programs  # type: ignore[import-not-found]

    yield programs
    for name in set(sys.modules) - before:
        if str(CAPTURES / "lab") in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def test_what_programs_expect_are_rules(lab: Any) -> None:
    rules = catalogue().keys()
    for program in lab.PROGRAMS.values():
        for way in lab.WAYS:
            truth = lab.truth(program, way, 40)
            assert truth.may.keys() <= rules, program.name
            assert set(truth.must) <= rules, program.name


def test_programs_go_wrong_in_ways_that_exist(lab: Any) -> None:
    assert len(lab.PROGRAMS) >= 40
    for program in lab.PROGRAMS.values():
        assert program.must.keys() <= lab.WAYS.keys()
        assert program.use
        assert program.needs
