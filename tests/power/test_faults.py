"""Test that each planted fault still fits the sources, and that the package does not become unreadable by it."""

import ast
from pathlib import Path

import pytest

from tests.power.faults import FAULTS, Fault

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("file", sorted({fault.file for fault in FAULTS}))
def test_each_fault_changes_one_place(file: str) -> None:
    text = (ROOT / file).read_text("utf-8")
    for fault in FAULTS:
        if fault.file == file:
            assert ast.dump(ast.parse(fault.apply(text))) != ast.dump(ast.parse(text)), fault


def test_a_fault_without_a_place_is_an_error() -> None:
    fault = Fault("a.py", "a < b", "a <= b", "an equal one counts")
    assert fault.apply("x = a < b") == "x = a <= b"
    with pytest.raises(ValueError, match="0 places"):
        fault.apply("x = a > b")
    with pytest.raises(ValueError, match="2 places"):
        fault.apply("x = a < b or a < b")


def test_names_are_unique() -> None:
    assert len({fault.key for fault in FAULTS}) == len(FAULTS) == 60
