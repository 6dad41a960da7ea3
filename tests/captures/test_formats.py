"""Every format, written from captures and read by another reader: findings, counts and delays are the same in all.

What tells findings alone is written from every capture in test_papers.py, which has their reports. What reads packets again is
written from one point of each conversation, of the points in turn; from all with WIREDOCTOR_SWEEPS=full.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

import pytest

import wiredoctor
from tests.captures.papers import PATHS
from tests.report.agreeing import check_har, check_tables, whole_json
from tests.sweeps import some

TOGETHER = 40
"""Captures in a report: each process gets some of the reports."""


def _one_of_each() -> Iterator[Path]:
    """A capture of each conversation: of its points the first, the second or the third."""
    conversations = groupby(PATHS, key=lambda path: re.sub("-(?:client|middle|server)$", "", path.stem))
    for number, (_, points) in enumerate(conversations):
        several = [*points]
        yield several[number % len(several)]


READ_AGAIN = some([*_one_of_each()], PATHS)


@pytest.mark.parametrize("first", range(0, len(READ_AGAIN), TOGETHER))
def test_what_reads_packets_again(tmp_path: Path, first: int) -> None:
    paths = READ_AGAIN[first : first + TOGETHER]
    report = wiredoctor.analyze(*paths, keep=True)
    whole = whole_json(report)
    assert len(whole["captures"]) == len(paths)
    check_har(report, whole, bodies=True)
    check_tables(report, whole, tmp_path / "tables")
