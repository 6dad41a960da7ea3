"""Test that what looks for absurd figures finds them, and nothing else."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from tests.support.figures import absurd_figures


def of_note(note: str) -> list[Any]:
    """A finding that says this in its evidence."""
    return [SimpleNamespace(rule="r", title="", message="", remedy="", evidence=[SimpleNamespace(note=note)])]


@pytest.mark.parametrize("figure", ["-1.7 ms", "-12 bytes", "0 kB/s", "0 bytes/s", "nan", "-3 %"])
def test_absurd_figures_are_found(figure: str) -> None:
    assert len(absurd_figures(of_note(f"it came {figure} after that"))) == 1


@pytest.mark.parametrize("words", ["10 kB/s", "a window of 0 bytes", "2026-12-01 ms", "1.7-2 ms", "0.5 kB/s", "16 us"])
def test_other_figures_are_not(words: str) -> None:
    assert absurd_figures(of_note(words)) == []


def test_a_clock_in_milliseconds_shows_no_microseconds() -> None:
    assert absurd_figures(of_note("16 us after the request"), in_milliseconds=True)
    assert not absurd_figures(of_note("16 ms after the request"), in_milliseconds=True)
