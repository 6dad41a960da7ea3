"""One capture on its way through the stages, epoch by epoch: all of it, or a share of its connections."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl

from wiredoctor import decode, http, rules, tcp
from wiredoctor.capture import Capture, ClockSteps, Records, longest_cut
from wiredoctor.findings import CaptureSummary, rfc3339
from wiredoctor.rules import RuleModule
from wiredoctor.spill import Folder, Spill
from wiredoctor.tables import CAPTURES, CONNECTIONS, EXCHANGES, NEVER, ODDITIES, SCRATCH, SEGMENTS, SMALL, Columns

FINISHED_AT_ONCE = 16_384
"""Connections that are open at the end of the capture, of which a flood leaves hundreds of thousands: their rows are made
in Python, at 2 kB each."""

TOGETHER = 2
"""Epochs whose exchanges, messages, bursts and connections are shown to the rules at once: planning a query takes longer
than running it over those of one epoch."""

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
    steps: ClockSteps = field(default_factory=ClockSteps)
    found: list[Found] = field(default_factory=list[Found])
    duplicates: int = 0
    last_time: int | None = None
    clock: int = -(1 << 62)
    snap_length: int = NEVER

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
        waiting: list[Tables] = []
        for number, records in enumerate(self.capture.epochs(epoch_packets), start=1):
            tables = self._epoch(records)
            found = rules.find_candidates(self._of_segments, tables)
            waiting.append({name: rows for name, rows in tables.items() if name != "segments"})
            if number % TOGETHER == 0:
                found |= rules.find_candidates(self._others, _joined(waiting))
                waiting.clear()
            self.found.append(judge(found))
            progress(self.capture.position / max(self.capture.size, 1))
        self.found.append(judge(self._last(waiting)))

    @cached_property
    def _of_segments(self) -> dict[str, RuleModule]:
        return {name: module for name, module in self.modules.items() if "segments" in module.tables}

    @cached_property
    def _others(self) -> dict[str, RuleModule]:
        return {name: module for name, module in self.modules.items() if name not in self._of_segments}

    def _epoch(self, records: Records) -> Tables:
        packets, odd = decode.decode(self.capture.data, records.first_frame, records.columns, self.decoding)
        self.steps.watch(records)
        self.snap_length = max(self.snap_length, longest_cut(records))
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
        if odd:
            tables["oddities"] = ODDITIES.frame(dict(zip(ODDITIES.schema, zip(*odd, strict=True), strict=True)))
        http.forget(retired, self.reading)
        tcp.release(retired, self.connecting)
        return tables

    def _last(self, waiting: list[Tables]) -> Found:
        """Candidates of what waits for its rules, and of the end of the capture."""
        facts, slots = self.connecting.facts(), tcp.open_slots(self.connecting)
        found: dict[str, list[pl.DataFrame]] = {}
        for first in range(0, max(len(slots), 1), FINISHED_AT_ONCE):
            some = slots[first : first + FINISHED_AT_ONCE]
            heard = http.finish(some, self.payload, facts, self.clock, self.reading)
            waiting.append(self._tables(heard, self._connection_rows(some), None))
            for name, rows in rules.find_candidates(self._others, _joined(waiting)).items():
                found.setdefault(name, []).append(rows)
            waiting.clear()
            http.forget(some, self.reading)
        return {name: pl.concat(rows) for name, rows in found.items()}

    def _tables(self, heard: http.Heard, connections: pl.DataFrame, segments: pl.DataFrame | pl.LazyFrame | None) -> Tables:
        self.exchanges.add(heard.exchanges)
        self.connections.add(connections)
        tables: Tables = {
            "bursts": heard.bursts, "messages": heard.messages, "exchanges": heard.exchanges, "connections": connections,
            "faults": heard.faults, "oddities": ODDITIES.empty(),
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
            "snap_length": [self.snap_length],
            "clock_steps": [self.steps.count], "clock_step_worst": [self.steps.worst],
            **{f"clock_step_{name}": [[getattr(step, name) for step in self.steps.first]] for name in _OF_STEPS},
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
            duplicates=self.duplicates, damage=c.damage, files=c.files,
        )  # fmt: skip


_OF_STEPS = ("frame", "time", "frame_before", "time_before")


def _segments(columns: Columns) -> pl.DataFrame | pl.LazyFrame:
    """Of many rows a column is made when a rule asks for it; with few there is nothing to save by that."""
    return SEGMENTS.frame(columns) if len(columns["frame"]) <= SMALL else SEGMENTS.lazy(columns)


def _joined(parts: list[Tables]) -> Tables:
    """The rows of all parts."""
    joined: Tables = {}
    for name in parts[0]:
        frames = [rows for part in parts if isinstance(rows := part[name], pl.DataFrame)]
        joined[name] = pl.concat([rows for rows in frames if rows.height] or frames[:1], rechunk=True)
    return joined
