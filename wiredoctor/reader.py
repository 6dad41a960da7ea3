"""One more reading of a capture, in which only the rows are made that somebody asked for."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from wiredoctor import tcp
from wiredoctor.analysis import Analysis, Tables
from wiredoctor.capture import EPOCH, Capture, Records
from wiredoctor.cutoffs import Cutoffs
from wiredoctor.spill import Folder, Unkept
from wiredoctor.tables import CONNECTIONS, EXCHANGES, HEARD, NEVER, RECORDS, SECOND, Array, Columns, Table

COPIES = SECOND
"""ns. Behind the last packet of a connection, copies of it may come for so long."""

_BY_PACKET = frozenset({"records", "packets", "segments", "pieces"})
"""Tables whose rows have a frame that a row can be asked for by."""

_BY_TCP = _BY_PACKET | {"oddities", "captures"}
"""Tables in which nothing, but for the columns HEARD, needs to know what was said."""


class End(NamedTuple):
    """The last packet that is asked for: its frame, and its time (ns since the first packet; NEVER: copies do not matter)."""

    frame: int
    time: int


class Wanted(NamedTuple):
    """What is asked for: tables, each with its columns; connections and frames, both ascending (None: all)."""

    tables: dict[str, Table]
    connections: Array | None
    frames: Array | None

    @classmethod
    def of(
        cls, tables: Mapping[str, Table], connections: Collection[int] | None, frames: Collection[int] | None
    ) -> Wanted:  # fmt: skip
        """Raises ValueError where of frames something is asked for that there is only of whole connections."""
        if frames is None:
            return cls(dict(tables), None if connections is None else _sorted(connections), None)
        if any(name in tables and _is_heard(tables[name]) for name in _BY_PACKET):
            raise ValueError("of frames there is only what TCP tells alone: name the columns")
        return cls(dict(tables), _sorted(connections or ()), _sorted(frames))

    @property
    def some(self) -> bool:
        """Whether not all is asked for."""
        return self.connections is not None or self.frames is not None

    @property
    def heard(self) -> Array | None:
        """The connections of which it must be read what they say; None: all."""
        if any(name not in _BY_TCP or _is_heard(table) for name, table in self.tables.items()):
            return self.connections
        return np.empty(0, np.int64)

    def rows(self, columns: Columns, connections: Array) -> Array | slice:
        """Which rows of a table of packets are asked for, by frame and connection of each."""
        if self.connections is None:
            return slice(None)
        keep = np.isin(connections, self.connections)
        if self.frames is not None:
            keep |= np.isin(columns["frame"], self.frames)
        return np.flatnonzero(keep)


def _sorted(numbers: Collection[int]) -> Array:
    return np.unique(np.fromiter(numbers, np.int64, len(numbers)))


def _is_heard(table: Table) -> bool:
    return table.name in ("segments", "pieces") and any(c.name in HEARD for c in table.columns)


class Reader:
    """One reading. `analysis` gives the bytes of packets. `cutoffs`: those of the rules, where they ran."""

    def __init__(self, capture: Capture, wanted: Wanted, cutoffs: Cutoffs) -> None:
        self.wanted, self.capture = wanted, capture
        folder = Folder()
        self.analysis = Analysis(capture, {}, folder, cutoffs.of_all_segments())
        self.analysis.reading.keep_messages = "messages" in wanted.tables
        self.analysis.reading.keep_bursts = "bursts" in wanted.tables
        self.analysis.connections, self.analysis.exchanges = Unkept(CONNECTIONS, folder), Unkept(EXCHANGES, folder)
        self.analysis.listener, self.analysis.watcher = self._finished, self._watch
        self.analysis.heard = wanted.heard
        self.rows: dict[str, list[pl.DataFrame]] = {}
        self.records = Records(1, {})
        self.told = 0

    def steps(self, end: End | None) -> Iterator[dict[str, pl.DataFrame]]:
        """The rows, a part of an epoch at a time; none of epochs that begin behind the end."""
        for records in self.analysis.records(EPOCH):
            if end and records.first_frame > end.frame and int(records.columns["time"][0]) > end.time + COPIES:
                break
            self.records = records
            for tables in self.analysis.tables(self.analysis.decode(records)):
                yield self._taken(tables)
            self._rest_of_records()
            self.capture.release(records.ends)
        for tables in self.analysis.last_tables():
            yield self._taken(tables)

    def _taken(self, tables: Tables) -> dict[str, pl.DataFrame]:
        for name in self.wanted.tables.keys() & tables.keys() - {"exchanges", "connections"}:
            self._add_rows(name, rows.collect() if isinstance(rows := tables[name], pl.LazyFrame) else rows)
        taken = {name: pl.concat(rows) for name, rows in self.rows.items()}
        self.rows.clear()
        return taken

    def _finished(self, exchanges: pl.DataFrame, connections: pl.DataFrame) -> None:
        for name, rows in (("exchanges", exchanges), ("connections", connections)):
            if name in self.wanted.tables:
                self._add_rows(name, rows)

    def _add_rows(self, name: str, rows: pl.DataFrame) -> None:
        wanted = self.wanted.connections
        if wanted is not None and name != "oddities":
            rows = rows.filter(pl.col("connection").is_in(pl.Series(wanted).implode()))
        self.rows.setdefault(name, []).append(rows)

    def _watch(self, part: tcp.Part, analysed: tcp.Analysed, heard: tcp.Analysed) -> None:
        tables = self.wanted.tables
        if "packets" in tables:
            belonging = analysed.belonging
            self._add("packets", {**part.packets, "connection": belonging}, self.wanted.rows(part.packets, belonging))
        if "records" in tables:
            self._records(part.packets["frame"], analysed.belonging, part.last)
        for name in ("segments", "pieces"):
            if name not in tables:
                continue
            source = heard if _is_heard(tables[name]) else analysed
            if source.segments:
                columns = source.segments if name == "segments" else _pieces(source, tables[name])
                self._add(name, columns, self.wanted.rows(columns, columns["connection"]))

    def _records(self, frames: Array, belonging: Array, last: int) -> None:
        """The records up to the frame `last`, with the connection of their first TCP header."""
        columns, first = self.records.columns, self.records.first_frame
        begin, end = max(self.told + 1 - first, 0), last + 1 - first
        own = np.full(end - begin, NEVER)
        # of several headers in a frame the first counts
        own[frames[::-1] - first - begin] = belonging[::-1]
        made = {"frame": np.arange(first + begin, first + end), "connection": own}
        made |= {name: columns[name][begin:end] for name in RECORDS.schema}
        self._add("records", made, self.wanted.rows(made, own))
        self.told = last

    def _rest_of_records(self) -> None:
        """Of an epoch in which there was nothing for TCP."""
        last = self.records.first_frame + len(self.records.columns["time"]) - 1
        if "records" in self.wanted.tables and self.told < last:
            nothing = np.empty(0, np.int64)
            self._records(nothing, nothing, last)

    def _add(self, name: str, columns: Mapping[str, Any], rows: Array | slice) -> None:
        table = self.wanted.tables[name]
        if isinstance(rows, slice) or len(rows):
            self.rows.setdefault(name, []).append(table.frame({c.name: columns[c.name][rows] for c in table.columns}))


def _pieces(analysed: tcp.Analysed, table: Table) -> Columns:
    """What each segment brings first (tables.PIECES); one that fills several holes brings a piece for each."""
    s = analysed.segments
    several = np.array(analysed.pieces, np.int64).reshape(-1, 3)
    one = s["new_bytes"] > 0
    one[several[:, 0]] = False
    rows = np.flatnonzero(one)
    starts, lengths = s["new_start"][rows], s["new_bytes"][rows].astype(np.int64)
    rows = np.concatenate((rows, several[:, 0]))
    starts = np.concatenate((starts, several[:, 1]))
    lengths = np.concatenate((lengths, several[:, 2] - several[:, 1]))
    order = np.lexsort((starts, rows))
    rows, starts, lengths = rows[order], starts[order], lengths[order]
    into = starts - s["offset"][rows]
    names = {"connection", "frame"} | {c.name for c in table.columns if c.name in s}
    captured = np.clip(s["captured"][rows] - into, 0, lengths)
    made = {"offset": starts, "length": lengths, "captured": captured, "payload": s["payload"][rows] + into}
    return {name: s[name][rows] for name in names} | made
