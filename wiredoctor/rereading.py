"""A capture once more: the rows that a report does not keep, made again for what draws, exports or copies packets.

The stages run without the rules. They say the same as the first time: ids, frames and rows are those of the report.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import polars as pl

from wiredoctor import __version__, tcp
from wiredoctor.analysis import Analysis, Tables
from wiredoctor.capture import EPOCH, Capture, Records
from wiredoctor.decode.sack import sack_blocks
from wiredoctor.findings import Portion
from wiredoctor.masked import masked
from wiredoctor.masking import showing
from wiredoctor.spill import Folder, Unkept
from wiredoctor.tables import CONNECTIONS, EXCHANGES, NEVER, PIECES, READ_AGAIN, RECORDS, SECOND, Array, Columns

COPIES = SECOND
"""ns. Behind the last packet of a connection, copies of it may come for so long."""


class End(NamedTuple):
    """The last packet that is asked for: its frame, and its time (ns since the first packet)."""

    frame: int
    time: int


class Rereading:
    """A capture that stays open (findings.Again).

    `connections` gives the rows of tables.CONNECTIONS: nothing is read behind the last packet of those asked for.
    `secrets`: as in the report, nothing is masked.
    """

    def __init__(self, capture: Capture, connections: Callable[[], pl.LazyFrame], *, secrets: bool) -> None:
        self._capture, self._connections, self._secrets = capture, connections, secrets

    def tables(self, names: Collection[str], connections: Collection[int] | None = None) -> dict[str, pl.DataFrame]:
        """The rows of these tables, as a whole."""
        parts: dict[str, list[pl.DataFrame]] = {name: [READ_AGAIN[name].empty()] for name in names}
        for portion in self.portions(names, connections):
            for name, rows in portion.tables.items():
                if rows.height:
                    parts[name].append(rows)
        return {name: pl.concat(frames, rechunk=True) for name, frames in parts.items()}

    def portions(self, names: Collection[str], connections: Collection[int] | None = None) -> Iterator[Portion]:
        """The rows of these tables, epoch by epoch; of some connections, or of all.

        What belongs to no connection (oddities) comes with any of them. Raises KeyError where there is no such table.
        """
        if unknown := set(names) - READ_AGAIN.keys():
            raise KeyError(f"no such table: {', '.join(sorted(unknown))}")
        reader = _Reader(self._capture.again(), frozenset(names), connections)
        steps = reader.steps(None if connections is None else self._end(connections))
        while True:
            # no context may be left open while somebody else works with the portion
            with showing(self._secrets):
                tables = next(steps, None)
                if tables is None:
                    return
                said = {name: self._told(name, tables[name]) if name in tables else READ_AGAIN[name].empty() for name in names}
            read = reader.analysis.payload
            yield Portion(said, read, partial(sack_blocks, read))

    def copy(
        self,
        out: BinaryIO,
        packets: int,
        about: str,
        comments: Iterable[tuple[int, Sequence[str]]],
        only: Sequence[int] | None = None,
    ) -> None:
        """Writes the capture as pcapng, with comments on some of its frames; all packets, or those of the frames `only`."""
        from wiredoctor.capture.copying import copy

        frames = None if only is None else np.asarray(only, np.int64)
        copy(self._capture.again(), packets, out, about, comments, frames, f"wiredoctor {__version__}")

    def _end(self, connections: Collection[int]) -> End | None:
        """Where the last of these connections ends; None where one of them has no row."""
        chosen = pl.col("connection").is_in([*connections])
        row = self._connections().filter(chosen).select(pl.len(), pl.max("last_frame"), pl.max("end")).collect().row(0)
        return End(row[1], row[2]) if row[0] == len(set(connections)) and row[0] else None

    def _told(self, name: str, rows: pl.DataFrame) -> pl.DataFrame:
        return rows if self._secrets or name not in ("messages", "exchanges") else masked(name, rows.lazy()).collect()


class _Reader:
    """One reading."""

    def __init__(self, capture: Capture, names: frozenset[str], connections: Collection[int] | None) -> None:
        self.names, self.capture = names, capture
        self.wanted = None if connections is None else np.unique(np.fromiter(connections, np.int64, len(connections)))
        folder = Folder()
        self.analysis = Analysis(capture, {}, folder)
        self.analysis.reading.keep_messages, self.analysis.reading.keep_bursts = "messages" in names, "bursts" in names
        self.analysis.connections, self.analysis.exchanges = Unkept(CONNECTIONS, folder), Unkept(EXCHANGES, folder)
        self.analysis.listener, self.analysis.watcher = self._finished, self._watch
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
        for name in self.names & tables.keys() - {"exchanges", "connections"}:
            rows = tables[name]
            rows = rows if name == "oddities" or self.wanted is None else rows.filter(_is_in(self.wanted))
            self.rows.setdefault(name, []).append(rows.collect() if isinstance(rows, pl.LazyFrame) else rows)
        taken = {name: pl.concat(rows) for name, rows in self.rows.items()}
        self.rows.clear()
        return taken

    def _finished(self, exchanges: pl.DataFrame, connections: pl.DataFrame) -> None:
        for name, rows in (("exchanges", exchanges), ("connections", connections)):
            if name in self.names:
                self.rows.setdefault(name, []).append(rows if self.wanted is None else rows.filter(_is_in(self.wanted)))

    def _watch(self, part: tcp.Part, analysed: tcp.Analysed) -> None:
        belonging = analysed.belonging
        keep = np.ones(len(belonging), bool) if self.wanted is None else np.isin(belonging, self.wanted)
        if "packets" in self.names:
            chosen = {name: column[keep] for name, column in part.packets.items() if name != "clock"}
            self._add("packets", {"connection": belonging[keep], **chosen})
        if "records" in self.names:
            self._records(part.packets["frame"], belonging, part.last)
        if "pieces" in self.names and analysed.segments:
            pieces = _pieces(analysed)
            keep = slice(None) if self.wanted is None else np.isin(pieces["connection"], self.wanted)
            self._add("pieces", {name: column[keep] for name, column in pieces.items()})

    def _records(self, frames: Array, belonging: Array, last: int) -> None:
        """The records up to the frame `last`, with the connection of their first TCP header."""
        columns, first = self.records.columns, self.records.first_frame
        begin, end = max(self.told + 1 - first, 0), last + 1 - first
        own = np.full(end - begin, NEVER)
        # of several headers in a frame the first counts
        own[frames[::-1] - first - begin] = belonging[::-1]
        keep = np.flatnonzero(np.isin(own, self.wanted)) if self.wanted is not None else np.arange(end - begin)
        chosen: Columns = {name: columns[name][begin:end][keep] for name in RECORDS.schema}
        self._add("records", {"frame": first + begin + keep, "connection": own[keep], **chosen})
        self.told = last

    def _rest_of_records(self) -> None:
        """Of an epoch in which there was nothing for TCP."""
        last = self.records.first_frame + len(self.records.columns["time"]) - 1
        if "records" in self.names and self.told < last:
            nothing = np.empty(0, np.int64)
            self._records(nothing, nothing, last)

    def _add(self, name: str, columns: dict[str, Any]) -> None:
        self.rows.setdefault(name, []).append(READ_AGAIN[name].frame(columns))


def _pieces(analysed: tcp.Analysed) -> Columns:
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
    chosen = {name: s[name][rows] for name in ("connection", "direction", "role", "frame", "time")}
    captured = np.clip(s["captured"][rows] - into, 0, lengths)
    made = {**chosen, "offset": starts, "length": lengths, "captured": captured, "payload": s["payload"][rows] + into}
    return {column.name: made[column.name] for column in PIECES.columns}


def _is_in(wanted: Array) -> pl.Expr:
    return pl.col("connection").is_in(pl.Series(wanted).implode())
