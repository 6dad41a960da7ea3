"""Where epochs end must not matter: the tables that rules see, and the report, are the same."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.captures.papers import PATHS
from tests.ladders import to_pcap
from tests.pipeline import feeding
from tests.pipeline.feeding import random_cuts, report, tables
from tests.pipeline.ladders import FILES, together

if TYPE_CHECKING:
    import polars as pl

SHORT = 200
"""Packets up to which a capture is fed packet by packet."""

EACH = pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)


@cache
def whole(path: Path, messages: bool) -> dict[str, pl.DataFrame]:
    return tables(path, messages=messages)


@cache
def whole_report(path: Path) -> str:
    return report(path)


def packets(path: Path) -> int:
    """How many frames the capture has, as far as they carry TCP."""
    return int(whole(path, False)["segments"]["frame"].max() or 1)  # type: ignore[arg-type]


def assert_same(expected: dict[str, pl.DataFrame], seen: dict[str, pl.DataFrame]) -> None:
    """Every table has the same rows, but for when they were said: at the end of an epoch."""
    for name, frame in expected.items():
        other = seen[name]
        assert other.height == frame.height, name
        differ = [c for c in frame.columns if c != "said_at" and not frame[c].equals(other[c], null_equal=True)]
        assert differ == [], [(c, frame[c].to_list(), other[c].to_list()) for c in differ[:2]]


@EACH
def test_tables_packet_by_packet(path: Path) -> None:
    if packets(path) <= SHORT:
        assert_same(whole(path, False), tables(path, 1, messages=False))


@EACH
def test_tables_with_messages_in_epochs_of_seven(path: Path) -> None:
    assert_same(whole(path, True), tables(path, 7))


@EACH
def test_the_quick_path_reads_what_the_general_one_reads(path: Path) -> None:
    """With the table of messages there is only the general reader."""
    general = whole(path, True)
    assert_same({name: frame for name, frame in whole(path, False).items() if name != "messages"}, general)


@EACH
def test_reports_of_captures(path: Path) -> None:
    assert report(path, 7) == whole_report(path)
    assert report(path, 1000) == whole_report(path)


@pytest.mark.parametrize("path", [p for p in PATHS if packets(p) > SHORT], ids=lambda path: path.stem)
def test_random_cuts(path: Path) -> None:
    for seed in range(20):
        assert_same(whole(path, False), tables(path, random_cuts(packets(path), seed), messages=False))


@pytest.mark.parametrize("path", [p for p in PATHS if packets(p) > SHORT], ids=lambda path: path.stem)
def test_random_cuts_of_the_report(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = whole_report(path)
    for seed in range(3):
        with monkeypatch.context() as patch:
            feeding.cut_everything(patch, random_cuts(packets(path), seed))
            assert report(path) == expected


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_ladders(file: Path, tmp_path: Path) -> None:
    """In epochs of one packet the rules' own tests feed them."""
    path = tmp_path / "ladders.pcap"
    path.write_bytes(to_pcap(together(file)))
    expected = tables(path, messages=False)
    assert_same(expected, tables(path, 2, messages=False))
    assert_same(expected, tables(path, 9, messages=False))
