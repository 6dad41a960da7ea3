"""Captures read by the core alone: every table that it writes, read so many packets at a time."""

from __future__ import annotations

import os
from hashlib import sha256
from pathlib import Path

import polars as pl

from wiredoctor import rule_engine
from wiredoctor.core.capture.file_formats import open_records
from wiredoctor.core.capture.records import Source
from wiredoctor.core.loop import Core
from wiredoctor.core.rows.segment_rows import SegmentRecorder
from wiredoctor.core.tcp.flows import Share
from wiredoctor.engine.packet_tables import take_segment_tables
from wiredoctor.engine.row_tables import take_tables
from wiredoctor.engine.run import core_cutoffs
from wiredoctor.limits import LimitsReached
from wiredoctor.storage.batches import View
from wiredoctor.tables import SEGMENTS, STORED_EXCHANGES

ROOT = Path(__file__).parents[2]
CORPUS = sorted(path for path in (ROOT.parent / "shared" / "corpus" / "files").rglob("*") if path.is_file())
"""Captures of others, where they are."""

WHOLE = 1 << 40
"""Packets: more than any capture has."""


class Memory(Source):
    """A file of which at first only some bytes are written."""

    def __init__(self, content: bytes, written: int) -> None:
        super().__init__(-1, 0)
        self.content = content
        self.written = written

    def read(self, offset: int, size: int) -> bytes:
        return self.content[: self.written][offset : offset + size]


class Run:
    """The core on its way through a capture, or through a share of its connections."""

    def __init__(self, path: Path, share: Share | None = None, with_segments: bool = False) -> None:
        self.met = LimitsReached()
        cutoffs = core_cutoffs(rule_engine.cutoffs(rule_engine.catalogue()).of_all_segments())
        self.source = Source(os.open(path, os.O_RDONLY), 0)
        self.core = Core(open_records(self.source, path.name), cutoffs, self.met, True, True, share)
        if with_segments:
            self.core.tcp.recorder = SegmentRecorder(None, SEGMENTS.schema.names(), False)

    def read(self, most: int = WHOLE) -> Run:
        """Read the whole capture, this many packets at a time."""
        while self.core.run(most):
            pass
        return self

    def tables(self) -> dict[str, pl.DataFrame]:
        """End the capture, and return all tables: `exchanges` as they are when a response ends, `stored` when they are over."""
        core = self.core
        core.records.end()
        os.close(self.source.descriptor)
        core.finish(core.flows.open_connections(), core.records.times.latest)
        written, stored, _ = take_tables(core)
        tables = {name: rows if isinstance(rows, pl.DataFrame) else rows.all_columns() for name, rows in written.items()}
        tables["stored"] = View([stored], STORED_EXCHANGES).all_columns()
        if core.tcp.recorder is not None:
            tables |= take_segment_tables(core.tcp.recorder, {"segments": SEGMENTS})
        return tables


def tables(path: Path, most: int = WHOLE) -> dict[str, pl.DataFrame]:
    """Return all tables of a capture that is read this many packets at a time."""
    return Run(path, with_segments=True).read(most).tables()


def digest(path: Path) -> str:
    """Return a digest of all rows of all tables, in the order in which they are written."""
    written = tables(path)
    assert written["segments"].height
    return sha256("".join(f"{name}{rows.write_ndjson()}" for name, rows in written.items()).encode()).hexdigest()
