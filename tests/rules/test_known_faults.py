"""Faults of rules that are proved but not mended yet.

Each ladder says what is true, so its test fails until the rule is right. Then the ladder moves to the file of the rule.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.ladders import check, ladders_in

KNOWN = [pytest.param(text, id=title) for title, text in ladders_in(Path(__file__).with_name("known_faults.txt"))]


@pytest.mark.xfail(raises=AssertionError, strict=True, reason="proved, and not mended yet")
@pytest.mark.parametrize("text", KNOWN)
def test_known_fault(text: str) -> None:
    check(text, None)
