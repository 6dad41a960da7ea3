"""One capture on its way through the stages, epoch by epoch: all of it, or a share of its connections."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl

from wiredoctor import decode, http, rules, tcp
from wiredoctor.capture import Capture, Records
from wiredoctor.findings import CaptureSummary, rfc3339
from wiredoctor.rules import RuleModule
from wiredoctor.spill import Folder, Spill
from wiredoctor.tables import CAPTURES, CONNECTIONS, EXCHANGES, SCRATCH, SEGMENTS, SMALL, Columns

FINISHED_AT_ONCE = 16_384
"""Connections that are open at the end of the capture, of which a flood leaves hundreds of thousands: their rows are made
in Python, at 2 kB each."""

Progress = Callable[[float], None]
Found = dict[str, pl.DataFrame]
"""Candidates of an epoch: rule name -> rows."""

Tables = dict[str, pl.DataFrame | pl.LazyFrame]
"""What the rules see of an epoch: name of a table -> rows."""


@dataclass
class Payload:
    """Payload bytes by their place. `file` is the capture as a buffer whose slices are bytes or bytes-like."""

    file: Any
    decoding: decode.DecodeState

    def __call__(self, at: int, length: int) -> bytes:
        """`length` bytes from `at` on, a place as in packets.payload."""
        if at >= SCRATCH:
            return bytes(self.decoding.scratch[at - SCRATCH : at - SCRATCH + length])
        return bytes(self.file[at : at + length])


@dataclass
class Analysis:
    """A capture, or the connections of share `share[0]` of `share[1]` in it, and what has come of them.

    Ids of connections count within the share; `opened` has the frame in which each began.
    """

    capture: Capture
    modules: Mapping[str, RuleModule]
    folder: Folder
    share: tuple[int, int] = (0, 1)
    decoding: decode.DecodeState = field(default_factory=decode.DecodeState)
    connecting: tcp.TcpState = field(default_factory=tcp.TcpState)
    reading: http.HttpState = field(default_factory=http.HttpState)
    found: list[Found] = field(default_factory=list[Found])
    duplicates: int = 0
    last_time: int | None = None
    clock: int = -(1 << 62)

    def __post_init__(self) -> None:
        self.decoding.share = self.share
        self.connections = Spill(CONNECTIONS, self.folder)
        self.exchanges = Spill(EXCHANGES, self.folder)
        wanted = {name for module in self.modules.values() for name in module.tables}
        self.reading.keep_messages, self.reading.keep_bursts = "messages" in wanted, "bursts" in wanted
        self.payload = Payload(self.capture.buffer, self.decoding)

    @property
    def opened(self) -> array[int]:
        """First frames of the connections, by id."""
        return self.connecting.opened

    def run(self, epoch_packets: int, progress: Progress, judge: Callable[[Found], Found]) -> None:
        """All epochs, and what only the end of the capture can tell. `judge` is handed the candidates of each epoch."""
        waiting: Tables = {}
        for records in self.capture.epochs(epoch_packets):
            if waiting:
                self.found[-1] |= rules.find_candidates(self._others, waiting)
            tables = self._epoch(records)
            waiting = tables if rules.are_few(tables) else {}
            self.found.append(judge(rules.find_candidates(self._remembering if waiting else self.modules, tables)))
            progress(self.capture.position / max(self.capture.size, 1))
        self.found.append(judge(self._last(waiting)))

    @property
    def _remembering(self) -> dict[str, RuleModule]:
        """The rules that judge a row by those before it, and must see them in the order in which they were told."""
        return {name: module for name, module in self.modules.items() if module.judge is not None}

    @property
    def _others(self) -> dict[str, RuleModule]:
        return {name: module for name, module in self.modules.items() if module.judge is None}

    def _epoch(self, records: Records) -> Tables:
        packets, _ = decode.decode(self.capture.data, records.first_frame, records.columns, self.decoding)
        time = records.columns["time"]
        self.clock, self.last_time = max(self.clock, int(time.max())), int(time[-1])
        packets["clock"] = np.maximum.accumulate(time)[packets["frame"] - records.first_frame]
        analysed = tcp.analyse(packets, self.payload, self.connecting)
        self.connecting.clock = self.clock
        self.connecting.frame = records.first_frame + len(time) - 1
        retired = analysed.replaced + tcp.expired(self.connecting)
        heard = http.read(
            analysed.segments, analysed.groups, analysed.pieces, analysed.acknowledged, self.capture.data,
            self.payload, self.connecting.facts(), self.clock, retired, self.reading,
        )  # fmt: skip
        self.duplicates += analysed.duplicates
        segments = _segments(analysed.segments) if analysed.segments else None
        tables = self._tables(heard, self._connection_rows(retired), segments)
        http.forget(retired, self.reading)
        tcp.release(retired, self.connecting)
        return tables

    def _last(self, waiting: Tables) -> Found:
        """Candidates of the end of the capture, and those of a small epoch before it that wait: it is running the rules that
        a small capture takes longest for."""
        facts, slots = self.connecting.facts(), tcp.open_slots(self.connecting)
        found: dict[str, list[pl.DataFrame]] = {}
        for first in range(0, max(len(slots), 1), FINISHED_AT_ONCE):
            some = slots[first : first + FINISHED_AT_ONCE]
            heard = http.finish(some, self.payload, facts, self.clock, self.reading)
            tables = self._tables(heard, self._connection_rows(some), None)
            own = rules.find_candidates(self._remembering, tables)
            own |= rules.find_candidates(self._others, _joined(waiting, tables))
            for name, rows in own.items():
                found.setdefault(name, []).append(rows)
            waiting = {}
            http.forget(some, self.reading)
        return {name: pl.concat(rows) for name, rows in found.items()}

    def _tables(self, heard: http.Heard, connections: pl.DataFrame, segments: pl.DataFrame | pl.LazyFrame | None) -> Tables:
        self.exchanges.add(heard.exchanges)
        self.connections.add(connections)
        tables: Tables = {
            "bursts": heard.bursts, "messages": heard.messages, "exchanges": heard.exchanges, "connections": connections,
        }  # fmt: skip
        return tables if segments is None else tables | {"segments": segments}

    def _connection_rows(self, slots: list[int]) -> pl.DataFrame:
        rows = tcp.connection_rows(slots, http.heard(slots, self.reading), self.connecting)
        return CONNECTIONS.frame(rows) if rows else CONNECTIONS.empty()

    def capture_table(self) -> pl.DataFrame:
        """The capture as a row of tables.CAPTURES."""
        c = self.capture
        return CAPTURES.frame({
            "capture": [c.file], "format": [c.format], "packets": [c.packets], "bytes": [c.size],
            "last_frame": [c.packets], "last_time": [self.last_time or 0], "damage": [c.damage or ""],
        })  # fmt: skip

    def summary(self) -> CaptureSummary:
        """What was read."""
        c = self.capture
        first = None if c.first_time is None or self.last_time is None else c.first_time
        return CaptureSummary(
            file=c.file, format=c.format, link_types=c.link_types, packets=c.packets, bytes=c.size,
            first_time=None if first is None else rfc3339(first),
            last_time=None if first is None else rfc3339(first + (self.last_time or 0)),
            not_analysed=dict(sorted(self.decoding.not_analysed.items(), key=lambda item: (-item[1], item[0]))),
            duplicates=self.duplicates, damage=c.damage,
        )  # fmt: skip


def _segments(columns: Columns) -> pl.DataFrame | pl.LazyFrame:
    """Of many rows a column is made when a rule asks for it; with few there is nothing to save by that."""
    return SEGMENTS.frame(columns) if len(columns["frame"]) <= SMALL else SEGMENTS.lazy(columns)


def _joined(first: Tables, second: Tables) -> Tables:
    """The rows of both."""
    joined: Tables = {**first, **second}
    for name, rows in second.items():
        before = first.get(name)
        if isinstance(before, pl.DataFrame) and isinstance(rows, pl.DataFrame) and before.height:
            joined[name] = pl.concat([before, rows]) if rows.height else before
    return joined
