"""One capture fed in every way: what comes out is every table of the analysis, or the JSON report."""

from __future__ import annotations

import io
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from wiredoctor import pipeline, rules
from wiredoctor.analysis import Analysis, Tables
from wiredoctor.capture import open_capture
from wiredoctor.capture.model import Records
from wiredoctor.report import json as report_json
from wiredoctor.spill import Folder
from wiredoctor.tables import EVENT_TABLES, SEGMENTS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import pytest

    from wiredoctor import http
    from wiredoctor.capture import Capture
    from wiredoctor.tables import Columns

WHOLE = 128_000
"""Packets of an epoch that holds all of a test's capture."""

ORDER = {
    "segments": ["frame"],
    "messages": ["message"],
    "bursts": ["message", "index"],
    "faults": ["connection", "frame", "role", "fault"],
    "exchanges": ["connection", "exchange"],
    "finished": ["connection", "exchange"],
    "connections": ["connection"],
    **{name: ["frame"] for name in EVENT_TABLES},
}
"""What the rows of each table are sorted by. `exchanges` are rows of tables.STORED_EXCHANGES, `finished` those that came when
the response had ended."""


class Watched(Analysis):
    """The pipeline without rules, with the cutoffs of all rules, that keeps every table whole (`messages` only when wanted: they
    take another path)."""

    def __init__(self, capture: Capture, messages: bool) -> None:
        super().__init__(capture, {}, Folder(), rules.cutoffs(rules.catalogue()))
        self.connecting.cutoffs = self.cutoffs.of_all_segments()
        self.reading.keep_messages, self.reading.keep_bursts = messages, True
        self.seen: dict[str, list[pl.DataFrame]] = {name: [] for name in ORDER}

    def _tables(self, heard: http.Heard, connections: pl.DataFrame, segments: Columns | None = None) -> Tables:
        for name in ("messages", "bursts", "faults"):
            self.seen[name].append(getattr(heard, name))
        self.seen["exchanges"].append(heard.exchanges.followed)
        self.seen["finished"].append(heard.exchanges.finished)
        self.seen["connections"].append(connections)
        made = super()._tables(heard, connections, segments)
        if segments:
            self.seen["segments"].append(SEGMENTS.frame(segments))
        for name in EVENT_TABLES:
            self.seen[name].append(made[name].lazy().collect())
        return made


def tables(path: Path, epochs: int | Sequence[int] = WHOLE, messages: bool = True) -> dict[str, pl.DataFrame]:
    """All tables of a capture, fed in epochs of so many packets, or cut behind the frames in `epochs`; sorted by their keys."""
    with open_capture(path) as capture:
        analysis = Watched(capture, messages)
        if not isinstance(epochs, int):
            cut(capture, epochs)
            epochs = WHOLE
        analysis.run(epochs, lambda done: None, lambda found: found)
    return {name: _joined(name, frames) for name, frames in analysis.seen.items()}


def _joined(name: str, frames: list[pl.DataFrame]) -> pl.DataFrame:
    if not frames:
        from wiredoctor.tables import RULE_TABLES

        return RULE_TABLES[name].empty()
    return pl.concat(frames).sort(ORDER[name], maintain_order=True)


def cut(capture: Capture, behind: Sequence[int]) -> None:
    """Makes the capture hand out epochs that end behind these frames."""
    whole = list(capture.epochs(WHOLE))

    def epochs(_: int = WHOLE) -> Iterator[Records]:
        for records in whole:
            count = len(records.columns["time"])
            first = records.first_frame
            edges = [0, *sorted({e - first + 1 for e in behind if 0 < e - first + 1 < count}), count]
            for a, b in pairwise(edges):
                yield Records(first + a, {name: column[a:b] for name, column in records.columns.items()})

    capture.epochs = epochs  # type: ignore[method-assign]


def random_cuts(packets: int, seed: int) -> list[int]:
    """Where the epochs of this seed end: a few cuts or many, anywhere."""
    random = np.random.default_rng(seed)
    count = int(random.integers(1, max(2, min(15, packets))))
    return sorted(int(n) for n in random.integers(1, packets + 1, count))


def report(path: Path, epochs: int = WHOLE, **how: Any) -> str:
    """The whole JSON report."""
    import wiredoctor

    out = io.BytesIO()
    report_json.write(wiredoctor.analyze(path, epoch_packets=epochs, **how), out, full=True)
    return out.getvalue().decode()


def cut_everything(monkeypatch: pytest.MonkeyPatch, behind: Sequence[int]) -> None:
    """Every capture opened from here on is cut behind these frames."""
    real = pipeline.open_capture

    def opened(path: Path, **how: Any) -> Capture:
        capture = real(path, **how)
        cut(capture, behind)
        return capture

    monkeypatch.setattr(pipeline, "open_capture", opened)
