"""Finished rows come back in the order in which they were added, from memory or from files."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wiredoctor import limits
from wiredoctor.storage import spill
from wiredoctor.storage.spill import Folder, Spill
from wiredoctor.tables import ODDITIES


def rows(start: int, count: int) -> pl.DataFrame:
    return ODDITIES.frame(
        {"frame": [*range(start, start + count)], "layer": ["tcp"] * count, "what": [f"odd {i}" for i in range(count)]}
    )


@given(st.lists(st.integers(0, 12), max_size=30), st.integers(1, 20), st.integers(1, 10), st.integers(1, 5))
def test_rows_come_back_in_their_order(heights: list[int], held: int, together: int, loose: int) -> None:
    whole = rows(0, sum(heights))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits.ROWS_HELD, "value", held)
        patch.setattr(spill, "MIN_WRITTEN", together)
        patch.setattr(spill, "LOOSE", loose)
        kept = Spill(ODDITIES, Folder())
        start = 0
        for height in heights:
            kept.add(whole.slice(start, height))
            start += height
        assert kept.rows == whole.height
        assert kept.scan().collect().equals(whole)
        assert bool(kept.files) == (kept.rows >= held)


def test_nothing_is_written_while_rows_are_few_and_each_row_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits.ROWS_HELD, "value", 100)
    monkeypatch.setattr(spill, "MIN_WRITTEN", 10)
    kept = Spill(ODDITIES, Folder())
    kept.add(rows(0, 60))
    assert kept.files == []
    kept.add(rows(60, 60))
    kept.add(rows(120, 5))
    assert [pl.read_ipc(path).height for path in kept.files] == [60, 60]
    kept.add(rows(125, 5))
    kept.add(rows(130, 3))
    assert [pl.read_ipc(path).height for path in kept.files] == [60, 60, 10]
    kept.write()
    assert kept.scan().collect().equals(pl.concat([rows(0, 60), rows(60, 60), rows(120, 5), rows(125, 5), rows(130, 3)]))


def test_the_files_go_with_the_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits.ROWS_HELD, "value", 1)
    folder = Folder()
    kept = Spill(ODDITIES, folder)
    kept.add(rows(0, 1))
    [path] = kept.files
    assert path.exists()
    folder.remove()
    assert not Path(path).parent.exists()


def test_a_few_rows_at_a_time_are_soon_joined() -> None:
    """A frame of one row takes as much as one of a hundred."""
    kept, whole = Spill(ODDITIES, Folder()), rows(0, 1000)
    for start in range(1000):
        kept.add(whole.slice(start, 1))
    assert len(kept._held) < 100
    assert kept.scan().collect().equals(whole)
