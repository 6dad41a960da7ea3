"""Test that a live capture reads and keeps the rows that it needs, and counts the others when it drops them."""

from __future__ import annotations

from collections.abc import Collection

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wiredoctor import limits
from wiredoctor.storage import spill
from wiredoctor.storage.spill import Folder, SpillWindow
from wiredoctor.tables import CONNECTIONS

TABLE = CONNECTIONS.only(["connection", "final_at", "server"])


def window(ends: list[int], written: int, patch: pytest.MonkeyPatch) -> SpillWindow:
    """Return a window with a connection for each of these ends; the id of the connection is its place."""
    patch.setattr(spill, "MIN_WRITTEN", written)
    made = SpillWindow(TABLE, Folder(), ended="final_at", soon=1, kinds=(pl.col("server").alias("endpoint"),))
    for number, end in enumerate(ends):
        made.add(TABLE.frame({"connection": [number], "final_at": [end], "server": [f"10.0.0.{number}:80"]}))
    return made


def ids(rows: pl.DataFrame) -> list[int]:
    return rows["connection"].to_list()


@given(st.lists(st.integers(0, 50), min_size=1, max_size=40), st.integers(1, 7), st.integers(0, 60), st.sets(st.integers(0, 40)))
def test_rows_since_a_time_are_all_there(ends: list[int], written: int, time: int, own: Collection[int]) -> None:
    """If ends come in their order, as roughly in a capture. Older rows of connections that are asked for may be there, too."""
    ends.sort()
    with pytest.MonkeyPatch.context() as patch:
        found = window(ends, written, patch).since(time, 100, own, ["connection", "final_at"])
    late = [number for number, end in enumerate(ends) if end >= time]
    assert [number for number in ids(found.rows) if ends[number] >= time] == late
    assert {number for number in ids(found.rows) if ends[number] < time} <= {*own}
    assert found.rows.columns == ["connection", "final_at"]
    assert found.begun == time


def test_only_the_newest_parts_are_read_and_it_says_since_when(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = window([*range(100, 120)], 4, monkeypatch)
    found = rows.since(0, 8)
    assert ids(found.rows) == [*range(12, 20)]
    assert found.begun == 112
    assert ids(rows.newest_of([1, 13, 19], 8)) == [13, 19]


def test_rows_of_findings_are_kept_and_dropped_ones_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = window([*range(40)], 4, monkeypatch)
    rows.forget(8, [2, 3, 17])
    assert ids(rows.scan().collect()) == [2, 3, 17, *range(32, 40)]
    assert rows.forgotten == 29
    assert rows.tally is not None
    assert {*rows.tally["endpoint"]} == {f"10.0.0.{number}:80" for number in range(32) if number not in {2, 3, 17}}


def test_what_is_kept_because_of_findings_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits.FOUND_ROWS, "value", 8)
    rows = window([*range(40)], 4, monkeypatch)
    for most in (28, 20, 12, 4):
        rows.forget(most, range(40))
    left = rows.scan().collect().height
    assert left <= 4 + 4 + 8
    assert rows.tally is not None
    assert rows.tally["rows"].sum() == rows.forgotten == 40 - left


def test_the_rarest_servers_are_counted_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits.TALLIED, "value", 6)
    rows = window([*range(40)], 4, monkeypatch)
    for most in (28, 20, 12, 4):
        rows.forget(most, ())
    assert rows.tally is not None
    assert rows.tally.height <= 6
    assert rows.tally["rows"].sum() == rows.forgotten == 36
    assert rows.tally.filter(pl.col("endpoint").is_null())["rows"].sum() >= 30
