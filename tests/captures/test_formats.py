"""The tables, written from captures as Parquet and read by DuckDB: findings, counts and times are those of JSON.

The formats that tell findings and exchanges are written from every capture in test_papers.py, which has their reports. Tables are
written from one point of every other conversation, of the points in turn; from all captures with WIREDOCTOR_SWEEPS=full.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

import pytest

import wiredoctor
from tests.captures.papers import PATHS
from tests.report.agreeing import check_tables, whole_json
from tests.sweeps import some

TOGETHER = 40
"""Captures in a report: each process gets some of the reports."""


def _one_of_every_other() -> Iterator[Path]:
    """A capture of every other conversation: of its points the first, the second or the third."""
    conversations = groupby(PATHS, key=lambda path: re.sub("-(?:client|middle|server)$", "", path.stem))
    for number, (_, points) in enumerate(conversations):
        several = [*points]
        if number % 2:
            yield several[number // 2 % len(several)]


READ_AGAIN = some([*_one_of_every_other()], PATHS)


@pytest.mark.parametrize("first", range(0, len(READ_AGAIN), TOGETHER))
def test_tables_say_the_same(tmp_path: Path, first: int) -> None:
    paths = READ_AGAIN[first : first + TOGETHER]
    report = wiredoctor.analyze(*paths, keep=True)
    whole = whole_json(report)
    assert len(whole["captures"]) == len(paths)
    check_tables(report, whole, tmp_path / "tables")
