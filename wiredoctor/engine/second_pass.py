"""A second pass over a capture: rows that a report does not keep, for outputs that draw, export or copy packets.

No rule runs. Ids, frames and rows are those of the first pass.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import BinaryIO, NamedTuple, cast

import numpy as np
import polars as pl

from wiredoctor import __version__
from wiredoctor.batches import View
from wiredoctor.core.loop import Core
from wiredoctor.core.recorder import PacketRecorder, Selection
from wiredoctor.core.segment_rows import SegmentRecorder
from wiredoctor.cutoffs import Cutoffs
from wiredoctor.engine.opening import CaptureFiles, open_capture_records
from wiredoctor.engine.packet_tables import SEGMENTS_AT_ONCE, take_packet_tables, take_segment_tables
from wiredoctor.engine.run import core_cutoffs, open_at_end
from wiredoctor.engine.tables import take_tables
from wiredoctor.findings import Names, Portion
from wiredoctor.limits import Met
from wiredoctor.protocols.tcp.sack import sack_blocks
from wiredoctor.tables import HEARD, NEVER, READ_AGAIN, SECOND, STORED_EXCHANGES, Table
from wiredoctor.text.redact import showing
from wiredoctor.text.redact_tables import masked

STEP = SEGMENTS_AT_ONCE
"""Packets."""

COPIES = SECOND
"""ns. Copies of the last packet of a connection may be captured up to this much later."""

_OF_PACKETS = frozenset({"records", "packets", "segments", "pieces"})
"""Tables whose rows can be requested by frame."""

_OF_TCP = _OF_PACKETS | {"oddities", "icmp_errors", "captures"}
"""Tables that need no HTTP, except for the columns of HEARD."""


class End(NamedTuple):
    """The last packet that is requested: its frame, and its time (ns since the first packet; NEVER: copies do not matter)."""

    frame: int
    time: int


class Request(NamedTuple):
    """Tables, each with the requested columns; connections and frames (None: all)."""

    tables: dict[str, Table]
    connections: frozenset[int] | None
    frames: frozenset[int] | None

    @classmethod
    def of(
        cls, tables: Mapping[str, Table], connections: Collection[int] | None, frames: Collection[int] | None
    ) -> Request:  # fmt: skip
        """Return the request. Raise ValueError if something is requested by frame that only whole connections have."""
        if frames is None:
            return cls(dict(tables), None if connections is None else frozenset(connections), None)
        if any(name in tables and _needs_http(tables[name]) for name in _OF_PACKETS):
            raise ValueError("rows by frame can only have columns of TCP: name the columns")
        return cls(dict(tables), frozenset(connections or ()), frozenset(frames))

    @property
    def is_partial(self) -> bool:
        """Whether not all rows are requested."""
        return self.connections is not None

    @property
    def http_of(self) -> set[int] | None:
        """The connections of which HTTP must be read; None: all."""
        if any(name not in _OF_TCP or _needs_http(table) for name, table in self.tables.items()):
            return None if self.connections is None else {*self.connections}
        return set()

    @property
    def selection(self) -> Selection | None:
        """The packets whose rows are recorded; None: all."""
        return None if self.connections is None else Selection({*self.connections}, {*(self.frames or ())})


def _needs_http(table: Table) -> bool:
    return table.name in ("segments", "pieces") and any(c.name in HEARD for c in table.columns)


class SecondPass:
    """Reads a capture that stays open (findings.Again).

    `connections` returns the rows of tables.CONNECTIONS: reading ends after the last packet of those that are requested.
    `cutoffs` are those of the first pass. With `secrets` nothing is redacted.
    """

    def __init__(
        self, capture: CaptureFiles, connections: Callable[[], pl.LazyFrame], cutoffs: Cutoffs, *, secrets: bool
    ) -> None:
        self._capture, self._connections, self._cutoffs, self._secrets = capture, connections, cutoffs, secrets

    def tables(
        self, names: Names, connections: Collection[int] | None = None, frames: Collection[int] | None = None
    ) -> dict[str, pl.DataFrame]:
        """Return all rows of these tables."""
        parts: dict[str, list[pl.DataFrame]] = {name: [table.empty()] for name, table in _tables(names).items()}
        for portion in self.portions(names, connections, frames):
            for name, rows in portion.tables.items():
                if rows.height:
                    parts[name].append(rows)
        return {name: pl.concat(frames, rechunk=True) for name, frames in parts.items()}

    def portions(
        self, names: Names, connections: Collection[int] | None = None, frames: Collection[int] | None = None
    ) -> Iterator[Portion]:
        """Yield the rows of these tables, step by step; of some connections and frames, or of all.

        Rows that belong to no connection (oddities) come with any of them. Raise KeyError if there is no such table or column,
        ValueError if columns that need HTTP are requested by frame.
        """
        request = Request.of(_tables(names), connections, frames)
        reading = Reading(self._capture, request, self._cutoffs)
        steps = reading.steps(self._end(connections or (), frames) if request.is_partial else None)
        while True:
            # no context may be left open while the caller works with the portion
            with showing(self._secrets):
                rows = next(steps, None)
                if rows is None:
                    return
                made = {
                    name: self._redacted(table, rows[name]) if name in rows else table.empty()
                    for name, table in request.tables.items()
                }
            yield Portion(made, reading.read, partial(sack_blocks, reading.read))

    def copy(
        self,
        out: BinaryIO,
        packets: int,
        about: str,
        comments: Iterable[tuple[int, Sequence[str]]],
        only: Sequence[int] | None = None,
    ) -> None:
        """Write the capture as pcapng, with comments on some of its frames; all packets, or those of the frames `only`."""
        from wiredoctor.engine.copying import copy

        frames = None if only is None else np.asarray(only, np.int64)
        copy(self._capture, packets, out, about, comments, frames, f"wiredoctor {__version__}")

    def _end(self, connections: Collection[int], frames: Collection[int] | None) -> End | None:
        """Return the end of the last of these connections and frames; None if a connection has no row."""
        last = max(frames or (), default=0)
        if not connections:
            return End(last, NEVER)
        chosen = pl.col("connection").is_in([*connections])
        row = self._connections().filter(chosen).select(pl.len(), pl.max("last_frame"), pl.max("end")).collect().row(0)
        return End(max(row[1], last), row[2]) if row[0] == len(set(connections)) else None

    def _redacted(self, table: Table, rows: pl.DataFrame) -> pl.DataFrame:
        """Return the requested columns, redacted as in the report."""
        if not self._secrets and table.name in ("messages", "exchanges"):
            rows = masked(table.name, rows.lazy()).collect()
        return rows.select(table.schema.names())


class Reading:
    """One pass over a capture, for a request."""

    def __init__(self, capture: CaptureFiles, request: Request, cutoffs: Cutoffs) -> None:
        tables, selection = request.tables, request.selection
        self._capture, self._request = capture, request
        records = open_capture_records(capture)
        cells = core_cutoffs(cutoffs.of_all_segments())
        self.core = core = Core(records, cells, Met(), "messages" in tables, "bursts" in tables)
        core.http_of = request.http_of
        if capture.is_shuffled:
            core.put_in_order(is_growing=False)
        if "records" in tables or "packets" in tables:
            core.recorder = PacketRecorder(selection, "records" in tables, _columns(tables, "packets"))
        if "segments" in tables or "pieces" in tables:
            core.story.recorder = SegmentRecorder(selection, _columns(tables, "segments"), "pieces" in tables)

    def steps(self, end: End | None) -> Iterator[dict[str, pl.DataFrame]]:
        """Yield the rows, step by step; none of steps that begin after the end."""
        core, times = self.core, self.core.records.times
        while core.run(STEP):
            yield self.take()
            done = core.records.frame if core.ordering is None else core.ordering.first_frame() - 1
            if end is not None and done >= end.frame and times.latest > end.time + COPIES:
                break
        for connections in open_at_end(core, self._capture):
            core.finish(connections, times.latest)
            yield self.take()

    def read(self, place: int, length: int) -> bytes:
        """Return bytes of the capture by their place, as in Portion."""
        places = self.core.story.places
        return b"" if places is None or place < 0 else places.read(place, length)

    def take(self) -> dict[str, pl.DataFrame]:
        """Take what the core has written of the requested tables."""
        made, exchanges, _ = take_tables(self.core)
        made["exchanges"] = View([exchanges], STORED_EXCHANGES)
        requested, connections = self._request.tables, self._request.connections
        taken = {
            name: rows if isinstance(rows, pl.DataFrame) else rows.whole() for name, rows in made.items() if name in requested
        }
        if connections is not None:
            own = pl.col("connection").is_in([*connections])
            taken = {name: rows if name == "oddities" else rows.filter(own) for name, rows in taken.items()}
        if self.core.recorder is not None:
            taken |= take_packet_tables(self.core.recorder, requested)
        if self.core.story.recorder is not None:
            taken |= take_segment_tables(self.core.story.recorder, requested)
        return taken


def _columns(tables: Mapping[str, Table], name: str) -> list[str]:
    """Return the requested columns of a table; none if it is not requested."""
    return [column.name for column in tables[name].columns] if name in tables else []


def _tables(names: Names) -> dict[str, Table]:
    """Return the tables of these names, with the columns that are named. Raise KeyError if one does not exist."""
    if unknown := set(names) - READ_AGAIN.keys():
        raise KeyError(f"no such table: {', '.join(sorted(unknown))}")
    if isinstance(names, Mapping):
        columns = cast(Mapping[str, Collection[str]], names)
        return {name: READ_AGAIN[name].only(columns[name]) for name in columns}
    return {name: READ_AGAIN[name] for name in names}
