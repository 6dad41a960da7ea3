"""Read a capture a second time for outputs that draw, export or copy packets, because the report keeps no rows of packets.

No rules run. Ids, frame numbers and rows equal those of the first pass.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import BinaryIO, NamedTuple, cast

import numpy as np
import polars as pl

from wiredoctor.core.capture.packet import Packet
from wiredoctor.core.loop import Core
from wiredoctor.core.rows.recorder import PacketRecorder, Selection
from wiredoctor.core.rows.segment_rows import SegmentRecorder
from wiredoctor.engine.opening import CaptureFiles, open_capture_records
from wiredoctor.engine.packet_tables import SEGMENTS_AT_ONCE, take_packet_tables, take_segment_tables
from wiredoctor.engine.row_tables import take_tables
from wiredoctor.engine.run import core_cutoffs, open_at_end
from wiredoctor.findings import Names, Portion
from wiredoctor.limits import LimitsReached
from wiredoctor.protocols.tcp.sack import sack_blocks
from wiredoctor.rule_engine.cutoffs import Cutoffs
from wiredoctor.storage.batches import View
from wiredoctor.tables import HTTP_COLUMNS, NEVER, READ_AGAIN, SECOND, STORED_EXCHANGES, Table
from wiredoctor.text.redact import showing_secrets
from wiredoctor.text.redact_tables import redact_table
from wiredoctor.version import __version__

STEP = SEGMENTS_AT_ONCE
"""The number of packets read at a time."""

COPIES = SECOND
"""The maximum time in ns after a connection's last packet for which duplicates of its packets are still expected."""

_OF_PACKETS = frozenset({"records", "packets", "segments", "pieces"})
"""The tables whose rows can be requested by frame number."""

_OF_TCP = _OF_PACKETS | {"oddities", "icmp_errors", "captures"}
"""The tables that are computed without HTTP, except for the columns HTTP_COLUMNS."""


class End(NamedTuple):
    """The last requested packet: its frame number, and its time in ns since the first packet.

    The time is the constant NEVER if reading can stop at this packet. Otherwise reading continues for a while, because duplicates
    of the packet may follow.
    """

    frame: int
    time: int


class Request(NamedTuple):
    """The requested tables with their columns, and the connections and frames whose rows are requested (None: all)."""

    tables: dict[str, Table]
    connections: frozenset[int] | None
    frames: frozenset[int] | None

    @classmethod
    def of(
        cls, tables: Mapping[str, Table], connections: Collection[int] | None, frames: Collection[int] | None
    ) -> Request:  # fmt: skip
        """Return a request for rows of these tables, connections and frames.

        Raise ValueError if rows are requested by frame although some of their columns need HTTP, which can only be parsed in
        complete connections.
        """
        if frames is None:
            return cls(dict(tables), None if connections is None else frozenset(connections), None)
        if any(name in tables and _needs_http(tables[name]) for name in _OF_PACKETS):
            raise ValueError("rows requested by frame number can only have columns that do not need HTTP: name them")
        return cls(dict(tables), frozenset(connections or ()), frozenset(frames))

    @property
    def is_partial(self) -> bool:
        """True if only some rows are requested."""
        return self.connections is not None

    @property
    def http_of(self) -> set[int] | None:
        """The ids of the connections whose HTTP must be parsed; None means all connections."""
        if any(name not in _OF_TCP or _needs_http(table) for name, table in self.tables.items()):
            return None if self.connections is None else {*self.connections}
        return set()

    @property
    def selection(self) -> Selection | None:
        """The connections and frames whose rows the core records; None means all."""
        return None if self.connections is None else Selection({*self.connections}, {*(self.frames or ())})


def _needs_http(table: Table) -> bool:
    return table.name in ("segments", "pieces") and any(c.name in HTTP_COLUMNS for c in table.columns)


class SecondPass:
    """Reads an open capture again; implements findings.PacketAccess.

    `connections`: a function that returns the rows of tables.CONNECTIONS, which show where the requested connections end.
    `cutoffs`: the cutoffs of the first pass. With `secrets`, nothing is redacted.
    """

    def __init__(
        self, capture: CaptureFiles, connections: Callable[[], pl.LazyFrame], cutoffs: Cutoffs, *, secrets: bool
    ) -> None:
        self._capture, self._connections, self._cutoffs = capture, connections, cutoffs
        self._secrets = secrets

    def tables(
        self, names: Names, connections: Collection[int] | None = None, frames: Collection[int] | None = None
    ) -> dict[str, pl.DataFrame]:
        """Return the requested tables by name, with all their rows for these connections and frames (None: all)."""
        parts: dict[str, list[pl.DataFrame]] = {name: [table.empty()] for name, table in _tables(names).items()}
        for portion in self.portions(names, connections, frames):
            for name, rows in portion.tables.items():
                if rows.height:
                    parts[name].append(rows)
        return {name: pl.concat(frames, rechunk=True) for name, frames in parts.items()}

    def portions(
        self, names: Names, connections: Collection[int] | None = None, frames: Collection[int] | None = None
    ) -> Iterator[Portion]:
        """Yield rows of the requested tables portion by portion, for these connections and frames (None: all).

        Rows without a connection (oddities) are always included. Raise KeyError for an unknown table or column, and ValueError if
        columns that need HTTP are requested by frame.
        """
        request = Request.of(_tables(names), connections, frames)
        reading = Reading(self._capture, request, self._cutoffs)
        steps = reading.steps(self._end(connections or (), frames) if request.is_partial else None)
        while True:
            # no context may stay active while the caller works with the portion
            with showing_secrets(self._secrets):
                rows = next(steps, None)
                if rows is None:
                    return
                made = {
                    name: self._redact(table, rows[name]) if name in rows else table.empty()
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
        """Write the first `packets` packets to `out` as pcapng, with `comments` on frames.

        `about` is a comment on the file. `only`: the ascending numbers of the frames to write; None writes all of them.
        """
        from wiredoctor.engine.copying import copy

        frames = None if only is None else np.asarray(only, np.int64)
        copy(self._capture, packets, out, about, comments, frames, f"wiredoctor {__version__}")

    def drops(self) -> Sequence[tuple[int | None, int, int]] | None:
        """Return (start, end, count) for each time span in which packets were dropped; None if drops were not counted.

        The times are in ns since the first packet; a start is None if it is unknown.
        """
        records, packet = open_capture_records(self._capture), Packet()
        while records.next(packet):
            pass
        found = records.drops.dropped()
        return None if found is None else [(one.since, one.until, one.packets) for one in found]

    def close(self) -> None:
        """Close the files of the capture until they are read again."""
        self._capture.close()

    def _end(self, connections: Collection[int], frames: Collection[int] | None) -> End | None:
        """Return the last packet that must be read for these connections and frames.

        Return None if a connection has no row in tables.CONNECTIONS, because its last packet is unknown then.
        """
        last = max(frames or (), default=0)
        if not connections:
            return End(last, NEVER)
        chosen = pl.col("connection").is_in([*connections])
        row = self._connections().filter(chosen).select(pl.len(), pl.max("last_frame"), pl.max("end")).collect().row(0)
        return End(max(row[1], last), row[2]) if row[0] == len(set(connections)) else None

    def _redact(self, table: Table, rows: pl.DataFrame) -> pl.DataFrame:
        """Return the requested columns of the rows, redacted as in the report."""
        if not self._secrets and table.name in ("messages", "exchanges"):
            rows = redact_table(table.name, rows.lazy()).collect()
        return rows.select(table.schema.names())


class Reading:
    """One pass over a capture, which yields the rows that a Request contains."""

    def __init__(self, capture: CaptureFiles, request: Request, cutoffs: Cutoffs) -> None:
        tables, selection = request.tables, request.selection
        self._capture, self._request = capture, request
        records = open_capture_records(capture)
        cells = core_cutoffs(cutoffs.of_all_segments())
        self.core = core = Core(records, cells, LimitsReached(), "messages" in tables, "bursts" in tables)
        core.http_of = request.http_of
        if capture.is_shuffled:
            core.put_in_order(is_growing=False, is_proved=capture.is_disorder_proved)
        if "records" in tables or "packets" in tables:
            core.recorder = PacketRecorder(selection, "records" in tables, _columns(tables, "packets"))
        if "segments" in tables or "pieces" in tables:
            core.tcp.recorder = SegmentRecorder(selection, _columns(tables, "segments"), "pieces" in tables)

    def steps(self, end: End | None) -> Iterator[dict[str, pl.DataFrame]]:
        """Yield new rows by table name until the packet `end` and its possible duplicates were read (see COPIES).

        If `end` is None, read to the end of the capture.
        """
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
        """Return `length` bytes of the capture at a position (see Portion)."""
        places = self.core.tcp.places
        return b"" if places is None or place < 0 else places.read(place, length)

    def take(self) -> dict[str, pl.DataFrame]:
        """Return the new rows of the requested tables."""
        made, exchanges, _ = take_tables(self.core)
        made["exchanges"] = View([exchanges], STORED_EXCHANGES)
        requested, connections = self._request.tables, self._request.connections
        taken = {
            name: rows if isinstance(rows, pl.DataFrame) else rows.all_columns()
            for name, rows in made.items()
            if name in requested
        }
        if connections is not None:
            own = pl.col("connection").is_in([*connections])
            taken = {name: rows if name == "oddities" else rows.filter(own) for name, rows in taken.items()}
        if self.core.recorder is not None:
            taken |= take_packet_tables(self.core.recorder, requested)
        if self.core.tcp.recorder is not None:
            taken |= take_segment_tables(self.core.tcp.recorder, requested)
        return taken


def _columns(tables: Mapping[str, Table], name: str) -> list[str]:
    """Return the requested columns of a table; an empty list if the table is not requested."""
    return [*tables[name].schema] if name in tables else []


def _tables(names: Names) -> dict[str, Table]:
    """Return the tables with these names and columns. Raise KeyError if a table or column does not exist."""
    if unknown := set(names) - READ_AGAIN.keys():
        raise KeyError(f"no such table: {', '.join(sorted(unknown))}")
    if isinstance(names, Mapping):
        columns = cast(Mapping[str, Collection[str]], names)
        return {name: READ_AGAIN[name].only(columns[name]) for name in columns}
    return {name: READ_AGAIN[name] for name in names}
