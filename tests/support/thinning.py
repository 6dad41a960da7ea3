"""Of the cases of each test, a quick run tries every third: they are much alike, and the slow run tries all of them."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.support.sweeps import SLOW

TURN = 3
WHOLE = {
    "test_ladders_together": "a case for each rule",
    "test_arrows": "a case for each module",
    "test_no_function_or_class_has_a_vague_name": "a case for each module",
    "test_a_script_can_be_imported": "a case for each script",
    "test_formats_of_one_capture": "a case for each format",
    "test_tables": "a case for each format",
    "test_first_lines_are_the_same_in_all_formats": "a case for each format",
}
"""Test -> why a quick run tries all of its cases."""


def thin_out(items: list[pytest.Item]) -> None:
    """Mark the cases slow that a quick run leaves out; cases that are marked already do not count."""
    seen: Counter[str] = Counter()
    for item in items:
        test, bracket, _ = item.nodeid.partition("[")
        if not bracket or test.rpartition("::")[2] in WHOLE or item.get_closest_marker("slow"):
            continue
        if seen[test] % TURN:
            item.add_marker(SLOW)
        seen[test] += 1
