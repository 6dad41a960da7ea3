"""Analyze a capture in every way; return all tables that the core writes, or the JSON report."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from wiredoctor import rule_engine
from wiredoctor.capture import Budget, CaptureError, Input
from wiredoctor.capture.files import OpenFiles
from wiredoctor.core.loop import Core
from wiredoctor.core.rows.segment_rows import SegmentRecorder
from wiredoctor.engine import run
from wiredoctor.engine.opening import open_capture_files, open_capture_records
from wiredoctor.engine.packet_tables import take_segment_tables
from wiredoctor.engine.row_tables import take_tables
from wiredoctor.engine.run import core_cutoffs, open_at_end
from wiredoctor.engine.time_order import examine
from wiredoctor.limits import LimitsReached
from wiredoctor.report.data import json as report_json
from wiredoctor.storage.batches import View
from wiredoctor.tables import EVENT_TABLES, SEGMENTS, STORED_EXCHANGES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import pytest

    from wiredoctor.engine.opening import CaptureFiles

WHOLE = 128_000
"""Packets of a step that holds all of a test's capture."""

ORDER = {
    "segments": ["frame"],
    "messages": ["message"],
    "bursts": ["message", "index"],
    "faults": ["connection", "frame", "role", "fault"],
    "icmp_errors": ["frame"],
    "exchanges": ["connection", "exchange"],
    "finished": ["connection", "exchange"],
    "connections": ["connection"],
    **{name: ["frame"] for name in EVENT_TABLES},
}
"""The sort keys of each table. `exchanges` are rows of tables.STORED_EXCHANGES, `finished` those that came when the response had
ended."""


def open_capture(path: Path) -> CaptureFiles:
    """Open a capture of one file."""
    return open_capture_files(Input(str(path), (str(path),)), OpenFiles(Budget()), _fail)


def _fail(line: str) -> None:
    raise CaptureError(line)


def tables(
    path: Path, steps: int | Sequence[int] = WHOLE, messages: bool = True, *, all_segments: bool = True, in_order: bool = False
) -> dict[str, pl.DataFrame]:
    """Return all tables of a capture, sorted by their keys.

    It is read in steps of this many packets, or in steps that end after these frames, and the tables are taken after each. The
    cutoffs are those of all rules; with `all_segments` they are widened to what columns of `segments` describe without any rule.
    `in_order`: packets that are out of time order are sorted, as an analysis does.
    """
    cutoffs = rule_engine.cutoffs(rule_engine.catalogue())
    cells = core_cutoffs(cutoffs.of_all_segments() if all_segments else cutoffs)
    seen: dict[str, list[pl.DataFrame]] = {name: [] for name in ORDER}
    with open_capture(path) as capture:
        if in_order:
            examine(capture, lambda: False)
        core = Core(open_capture_records(capture), cells, LimitsReached(), messages, True)
        if capture.is_shuffled:
            core.put_in_order(is_growing=False, is_proved=capture.is_disorder_proved)
        core.tcp.recorder = SegmentRecorder(None, SEGMENTS.schema.names(), False)
        for _ in read_in_steps(core, capture, steps):
            _take(core, seen)
    return {name: pl.concat(frames).sort(ORDER[name], maintain_order=True) for name, frames in seen.items()}


def read_in_steps(core: Core, capture: CaptureFiles, steps: int | Sequence[int]) -> Iterator[None]:
    """Read a capture in steps as `tables` does; yield after each, and after what only the end of the capture decides."""
    size, ends = (steps, ()) if isinstance(steps, int) else (WHOLE, steps)
    while step(core, size, ends):
        yield
    core.records.end()
    for connections in open_at_end(core, capture):
        core.finish(connections, core.records.times.latest)
        yield


def _take(core: Core, seen: dict[str, list[pl.DataFrame]]) -> None:
    taken, exchanges, _ = take_tables(core)
    assert core.tcp.recorder is not None
    taken |= take_segment_tables(core.tcp.recorder, {"segments": SEGMENTS})
    taken["finished"], taken["exchanges"] = taken["exchanges"], View([exchanges], STORED_EXCHANGES)
    for name, frames in seen.items():
        rows = taken[name]
        frames.append(rows if isinstance(rows, pl.DataFrame) else rows.all_columns())


def step(core: Core, size: int, ends: Sequence[int]) -> int:
    """Read at most this many packets, and none after the next of these frames; return how many there were."""
    frame = core.records.frame
    return core.run(min([size, *(end - frame for end in ends if end > frame)]))


class CutCore:
    """A core that ends a step after each of these frames."""

    def __init__(self, ends: Sequence[int], *parts: Any) -> None:
        self.core, self.ends = Core(*parts), ends

    def run(self, most: int) -> int:
        """Read at most this many packets, up to the next end of a step."""
        return step(self.core, most, self.ends)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.core, name)


def random_cuts(packets: int, seed: int) -> list[int]:
    """Return where the steps of this seed end: a few or many, anywhere."""
    random = np.random.default_rng(seed)
    count = int(random.integers(1, max(2, min(15, packets))))
    return sorted(int(n) for n in random.integers(1, packets + 1, count))


def report(path: Path, steps: int = WHOLE, **how: Any) -> str:
    """Return the whole JSON report."""
    import wiredoctor

    out = io.BytesIO()
    report_json.write(wiredoctor.analyze(path, epoch_packets=steps, **how), out, full=True)
    return out.getvalue().decode()


def cut_everything(monkeypatch: pytest.MonkeyPatch, ends: Sequence[int]) -> None:
    """Make every analysis from here on end a step after these frames."""

    def make_core(*parts: Any) -> CutCore:
        return CutCore(ends, *parts)

    monkeypatch.setattr(run, "Core", make_core)
