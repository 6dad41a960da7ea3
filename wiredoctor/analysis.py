"""One capture on its way through the stages, epoch by epoch: all of it, or a share of its connections."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Collection, Generator, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from wiredoctor import decode, http, limits, rules, tcp
from wiredoctor.capture import Capture, ClockSteps, Records, longest_cut
from wiredoctor.cutoffs import ALL_SEGMENTS, Cutoffs
from wiredoctor.events import event_tables
from wiredoctor.findings import CaptureSummary, rfc3339
from wiredoctor.limits import Met
from wiredoctor.rules import RuleModule
from wiredoctor.spill import Folder, Spill, Window
from wiredoctor.tables import (
    CAPTURES,
    CONNECTIONS,
    NEVER,
    ODDITIES,
    SCRATCH,
    SEGMENTS,
    SMALL,
    STORED_EXCHANGES,
    Array,
    Columns,
    closes,
)
from wiredoctor.waiting import Found, Waiting

TOGETHER = 2
"""Epochs whose exchanges, messages, bursts and connections are shown to the rules at once: planning a query takes longer
than running it over those of one epoch."""

_ALL = 1 << 62

Progress = Callable[[float], None]
Tables = dict[str, pl.DataFrame | pl.LazyFrame]
"""What the rules see of an epoch: name of a table -> rows."""


@dataclass
class Payload:
    """Payload bytes by their place. `file` is the capture as a buffer whose slices are bytes or bytes-like."""

    file: Any
    decoding: decode.DecodeState
    capture: Capture

    def __call__(self, at: int, length: int) -> bytes:
        """`length` bytes from `at` on, a place as in packets.payload."""
        if at >= SCRATCH:
            return bytes(self.decoding.scratch[at - SCRATCH : at - SCRATCH + length])
        if at < self.capture.left_behind:
            return self.capture.reread(at, length)
        return bytes(self.file[at : at + length])


class Epoch(NamedTuple):
    """What the stages behind decode need of an epoch: tables.PACKETS columns, and `clock`, the latest time up to each.

    clock: the same of every packet record from first_frame on, also of those that gave no row.
    """

    packets: Columns
    oddities: list[decode.Oddity]
    first_frame: int
    clock: Array


@dataclass
class Analysis:
    """A capture, or some of the connections in it, and what has come of them.

    Ids of connections count among these; `opened` has the frame in which each began.
    """

    capture: Capture
    modules: Mapping[str, RuleModule]
    folder: Folder
    cutoffs: Cutoffs = ALL_SEGMENTS
    decoding: decode.DecodeState = field(default_factory=decode.DecodeState)
    connecting: tcp.TcpState = field(default_factory=tcp.TcpState)
    reading: http.HttpState = field(default_factory=http.HttpState)
    met: Met = field(default_factory=Met)
    steps: ClockSteps = field(default_factory=ClockSteps)
    early: dict[str, list[pl.DataFrame]] = field(default_factory=dict[str, list[pl.DataFrame]])
    duplicates: int = 0
    frames: int = 0
    last_time: int | None = None
    earliest: int = 1 << 62
    latest: int = -(1 << 62)
    clock: int = -(1 << 62)
    snap_length: int = NEVER
    endless: bool = False
    """Nobody knows when it ends: what is old is forgotten, as far as `forget` is called."""
    listener: Callable[[pl.DataFrame, pl.DataFrame], None] | None = None
    """Is handed finished rows of exchanges and connections, as they are finished."""
    watcher: Callable[[tcp.Part, tcp.Analysed, tcp.Analysed], None] | None = None
    """Is handed packets, what TCP made of them, and what HTTP saw of that, with the columns that only the stages themselves use.
    Nobody else is handed segments then."""
    heard: Array | None = None
    """Ids of the connections of which is read what they say; None: of all. TCP follows all of them: ids depend on each other."""

    def __post_init__(self) -> None:
        self.decoding.met = self.decoding.fragments.met = self.connecting.met = self.reading.met = self.met
        self.connecting.cutoffs = self.reading.bursts.cutoffs = self.cutoffs
        self.found = Waiting(self.folder, apart=not self.endless)
        if self.endless:
            begun = pl.coalesce("request_start", "response_start")
            self.connections = Window(CONNECTIONS, self.folder, time=pl.col("end"), kinds=_OF_CONNECTIONS)
            self.exchanges = Window(STORED_EXCHANGES, self.folder, time=begun, kinds=_OF_EXCHANGES)
        else:
            self.connections = Spill(CONNECTIONS, self.folder)
            self.exchanges = Spill(STORED_EXCHANGES, self.folder)
        wanted = {name for module in self.modules.values() for name in module.tables}
        self.reading.keep_messages, self.reading.keep_bursts = "messages" in wanted, "bursts" in wanted
        self.keep_segments = "segments" in wanted
        self.payload = Payload(self.capture.buffer, self.decoding, self.capture)

    @property
    def opened(self) -> array[int]:
        """First frames of the connections, by id."""
        return self.connecting.opened

    def run(self, epoch_packets: int, progress: Progress, judge: Callable[[Found], Found]) -> None:
        """The whole capture in epochs of so many packets. `judge` is handed the candidates of each epoch."""
        self.follow(self._decoded(epoch_packets), progress, judge)

    def _decoded(self, epoch_packets: int) -> Generator[Epoch]:
        for records in self.records(epoch_packets):
            yield self.decode(records)
            self.capture.release(records.ends)

    def records(self, epoch_packets: int) -> Iterator[Records]:
        """The packet records of the capture, and an eye on their clock and their length."""
        for records in self.capture.epochs(epoch_packets):
            self.steps.watch(records)
            self.snap_length = max(self.snap_length, longest_cut(records))
            self.last_time = int(records.columns["time"][-1])
            self.earliest = min(self.earliest, int(records.columns["time"].min()))
            self.latest = max(self.latest, int(records.columns["time"].max()))
            yield records

    def decode(self, records: Records) -> Epoch:
        """The next packet records, decoded."""
        packets, odd = decode.decode(self.capture.data, records.first_frame, records.columns, self.decoding)
        latest = np.maximum.accumulate(records.columns["time"])
        packets["clock"] = latest[packets["frame"] - records.first_frame]
        return Epoch(packets, odd, records.first_frame, latest)

    def follow(self, epochs: Iterator[Epoch], progress: Progress, judge: Callable[[Found], Found]) -> None:
        """All these epochs, and what only the end of the capture can tell."""
        waiting: list[Tables] = []
        for number, epoch in enumerate(epochs, start=1):
            parts: list[Found] = []
            for tables in self.tables(epoch):
                parts += self._of_all_segments(tables)
                waiting.append(tables)
                del tables
                if _many(waiting):
                    parts.append(self._of_others(waiting))
                    waiting.clear()
            del epoch
            if waiting and number % TOGETHER == 0:
                parts.append(self._of_others(waiting))
                waiting.clear()
            self.found.append(judge(_together(parts)))
            progress(self.capture.position / max(self.capture.data.size, 1))
        self.found.append(judge(self._last(waiting + self._went_on())))

    def step(self, epoch: Epoch) -> Found:
        """An epoch for which nobody waits with others: the candidates of all rules."""
        parts: list[Found] = []
        waiting: list[Tables] = []
        for tables in self.tables(epoch):
            parts += self._of_all_segments(tables)
            waiting.append(tables)
            del tables
        if waiting:
            parts.append(self._of_others(waiting))
        return _together(parts) if parts else {}

    def pass_time(self, clock: int) -> Found:
        """The time since the last packet, in which nothing came: what closes decide then, as of the deadlines up to `clock`.

        What counts packets, or compares their times, sees nothing of this.
        """
        return self._of_others([self._silence(clock)])

    def _silence(self, clock: int) -> Tables:
        nothing = tcp.analyse({"frame": np.empty(0, np.int64)}, self.payload, self.connecting)
        heard = http.read(
            {}, nothing.groups, [], nothing.acknowledged, self.capture.data,
            self.payload, self.connecting.facts(), clock, [], self.reading, self._early,
        )  # fmt: skip
        return self._tables(heard, CONNECTIONS.empty())

    def _went_on(self) -> list[Tables]:
        """The silence behind the last packet, where the capture says how long that was."""
        ending, first = self.capture.ending, self.capture.first_time
        if ending is None or first is None or ending.packets != self.frames or ending.time - first <= self.clock:
            return []
        return [self._silence(ending.time - first)]

    @property
    def deadline(self) -> int | None:
        """When the time decides something that waits, without any packet (ns since the first); None where nothing waits."""
        return min(self.reading.deadlines.values(), default=None)

    def needed_from(self) -> int:
        """The first place of the capture that may be read again."""
        return http.oldest_place(self.reading)

    def forget(self, needed: Collection[int]) -> None:
        """Forgets rows that no rule will look at, but for the connections that are `needed`, and the oldest of candidates.

        Twice as many exchanges stay as are compared: which of them begin last is not told by when they end.
        """
        before, most = self.latest - limits.COMPARED_TIME.value, 2 * limits.COMPARED_EXCHANGES.value
        for rows in (self.connections, self.exchanges):
            if isinstance(rows, Window):
                rows.forget(before, most if rows is self.exchanges else _ALL, needed)
        self.found.forget(limits.CANDIDATES.value)
        del self.connecting.opened[:]

    def end(self) -> Found:
        """The capture is over: what only its end can tell."""
        return self._last(self._went_on())

    @cached_property
    def _of_segments(self) -> dict[str, RuleModule]:
        return {name: module for name, module in self.modules.items() if "segments" in module.tables}

    @cached_property
    def _others(self) -> dict[str, RuleModule]:
        return {name: module for name, module in self.modules.items() if name not in self._of_segments}

    def tables(self, epoch: Epoch) -> Iterator[Tables]:
        """What an epoch brings: at once, or in parts where many connections are open."""
        odd, first = epoch.oddities, epoch.first_frame
        self.frames = first + len(epoch.clock) - 1
        for part in tcp.parts(epoch.packets, first, first + len(epoch.clock) - 1, self.connecting):
            yield self._part(part, int(epoch.clock[part.last - first]), odd)
            odd = []

    def _part(self, part: tcp.Part, clock: int, odd: list[decode.Oddity]) -> Tables:
        analysed = tcp.analyse(part.packets, self.payload, self.connecting, part.flows)
        self.clock = max(self.clock, clock)
        self.connecting.clock, self.connecting.frame = self.clock, part.last
        retired = analysed.replaced + tcp.expired(self.connecting)
        retired += tcp.crowded_out(part.last, retired, self.connecting)
        # how long something has waited is told by all packets, not by those of a share, or of the connections that are wanted
        self.reading.frame = part.last
        said = analysed if self.heard is None else tcp.only(analysed, self.heard)
        heard = http.read(
            said.segments, said.groups, said.pieces, said.acknowledged, self.capture.data,
            self.payload, self.connecting.facts(), self.clock, retired, self.reading, self._early,
        )  # fmt: skip
        self.duplicates += analysed.duplicates
        if self.watcher is not None:
            self.watcher(part, analysed, said)
        tables = self._tables(heard, self._connection_rows(retired), said.segments if self.watcher is None else {})
        if odd:
            tables["oddities"] = ODDITIES.frame(dict(zip(ODDITIES.schema, zip(*odd, strict=True), strict=True)))
        http.forget(retired, self.reading)
        tcp.release(retired, self.connecting)
        return tables

    def _early(self, exchanges: http.Exchanges) -> None:
        """Rows of an epoch that has more of them than memory should hold."""
        self._finished(exchanges.followed, CONNECTIONS.empty())
        for name, rows in rules.find_candidates(self._others, _of_exchanges(exchanges)).items():
            self.early.setdefault(name, []).append(rows)

    def _of_all_segments(self, tables: Tables) -> list[Found]:
        """Return the candidates of rules that read `segments`, and remove that table: it is too large to wait."""
        segments = tables.pop("segments", None)
        return [] if segments is None else [rules.find_candidates(self._of_segments, {**tables, "segments": segments})]

    def _of_others(self, waiting: list[Tables]) -> Found:
        """Return the candidates of all other rules."""
        found = rules.find_candidates(self._others, _joined(waiting))
        for name, rows in found.items():
            self.early.setdefault(name, []).append(rows)
        found = {name: pl.concat(rows) for name, rows in self.early.items()}
        self.early.clear()
        return found

    def _last(self, waiting: list[Tables]) -> Found:
        """Candidates of what waits for its rules, and of the end of the capture."""
        found: dict[str, list[pl.DataFrame]] = {}
        for tables in self._open_tables():
            waiting.append(tables)
            del tables
            for name, rows in self._of_others(waiting).items():
                found.setdefault(name, []).append(rows)
            waiting.clear()
        return {name: pl.concat(rows) for name, rows in found.items()}

    def last_tables(self) -> Iterator[Tables]:
        """What only the end of the capture tells: the silence behind the last packet, and what is open still."""
        yield from self._went_on()
        yield from self._open_tables()

    def _open_tables(self) -> Iterator[Tables]:
        facts, slots = self.connecting.facts(), tcp.open_slots(self.connecting)
        for some in _portions(slots) or [[]]:
            heard = http.finish(some, self.payload, facts, self.clock, self.reading)
            yield self._tables(heard, self._connection_rows(some))
            http.forget(some, self.reading)
        # what is told of the whole capture needs memory of its own
        self.connecting = tcp.TcpState(opened=self.connecting.opened)

    def _tables(self, heard: http.Heard, connections: pl.DataFrame, segments: Columns | None = None) -> Tables:
        segments = segments or {}
        self._finished(heard.exchanges.followed, connections)
        tables: Tables = {
            "bursts": heard.bursts, "messages": heard.messages, "connections": connections,
            "faults": heard.faults, "oddities": ODDITIES.empty(), **_of_exchanges(heard.exchanges),
            **event_tables(segments, self.cutoffs),
        }  # fmt: skip
        if segments and self.keep_segments:
            tables["segments"] = _segments(segments)
        return tables

    def _finished(self, exchanges: pl.DataFrame, connections: pl.DataFrame) -> None:
        self.exchanges.add(exchanges)
        self.connections.add(connections)
        if self.listener is not None:
            self.listener(exchanges, connections)

    def _connection_rows(self, slots: list[int]) -> pl.DataFrame:
        slots = tcp.with_packets(slots, self.connecting)
        if self.heard is not None:
            slots = tcp.of_ids(slots, self.heard, self.connecting)
        frames: list[pl.DataFrame] = []
        for some in _portions(slots):
            frames.append(CONNECTIONS.frame(tcp.connection_rows(some, http.heard(some, self.reading), self.connecting)))
        return pl.concat(frames) if frames else CONNECTIONS.empty()

    def limits_reached(self) -> list[str]:
        """Return a sentence for each limit that was reached."""
        return [*self.decoding.limits.values(), *self.met.sentences()]

    def capture_table(self) -> pl.DataFrame:
        """The capture as a row of tables.CAPTURES."""
        c = self.capture
        return CAPTURES.frame({
            "capture": [c.file], "format": [c.format], "packets": [c.packets], "bytes": [c.size],
            "last_frame": [c.packets], "first_time": [_in_64_bits(c.first_time)], "last_time": [self.last_time or 0],
            "damage": [c.damage or ""],
            "snap_length": [max(self.snap_length, mirrored if (mirrored := self.decoding.longest_cut) >= 0 else NEVER)],
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
            last_time=None if first is None else rfc3339(first + self.latest),
            not_analysed=dict(sorted(self.decoding.not_analysed.items(), key=lambda item: (-item[1], item[0]))),
            encapsulations=dict(sorted(self.decoding.encapsulations.items(), key=lambda item: (-item[1], item[0]))),
            duplicates=self.duplicates, damage=c.damage, files=c.files,
        )  # fmt: skip


def _of_exchanges(made: http.Exchanges) -> Tables:
    """Return the tables in which rules look for exchanges."""
    return {"exchanges": made.finished, "closes": closes(made.followed)}


def _in_64_bits(time: int | None) -> int:
    return time if time is not None and -(1 << 63) < time < 1 << 63 else NEVER


def _many(waiting: list[Tables]) -> bool:
    """Whether more waits for its rules than memory should hold: a flood ends tens of thousands of connections in an epoch, and
    targets can be long, of which a second epoch and both joined would be held as well."""
    ended, *said = (
        [rows for t in waiting if isinstance(rows := t[name], pl.DataFrame)] for name in ("connections", "exchanges", "closes")
    )
    many = sum(rows.height for rows in ended) >= limits.FINISHED_AT_ONCE.value
    return many or any(sum(rows.estimated_size() for rows in some) >= limits.BYTES_HELD.value for some in said)


def _portions(slots: list[int]) -> list[list[int]]:
    """So many connections as are finished at once."""
    together = limits.FINISHED_AT_ONCE.value
    return [slots[first : first + together] for first in range(0, len(slots), together)]


def _together(parts: list[Found]) -> Found:
    """The candidates of all parts of an epoch."""
    if len(parts) == 1:
        return parts[0]
    found: dict[str, list[pl.DataFrame]] = {}
    for part in parts:
        for name, rows in part.items():
            found.setdefault(name, []).append(rows)
    return {name: pl.concat(rows) for name, rows in found.items()}


_OF_CONNECTIONS = (
    *(pl.col(f"{side}_{what}").clip(0, 1) for side in ("client", "server") for what in ("packets", "unseen_bytes")),
    *(pl.col(name) for name in ("protocol", "handshake", "closed_by")),
)
_OF_EXCHANGES = tuple(pl.col(name) for name in ("both_directions", "has_request", "has_response", "response_end_reason"))
"""What a report counts of all rows, also of those that are not kept."""

_OF_STEPS = ("frame", "time", "frame_before", "time_before")


def _segments(columns: Columns) -> pl.DataFrame | pl.LazyFrame:
    """Of many rows a column is made when a rule asks for it; with few there is nothing to save by that."""
    return SEGMENTS.frame(columns) if len(columns["frame"]) <= SMALL else SEGMENTS.lazy(columns)


def _joined(parts: list[Tables]) -> Tables:
    """The rows of all parts."""
    joined: Tables = {}
    for name in parts[0]:
        frames = [rows for part in parts if isinstance(rows := part[name], pl.DataFrame)]
        # some queries of Polars 2.1 panic where text is in several chunks
        joined[name] = pl.concat([rows for rows in frames if rows.height] or frames[:1], rechunk=True)
    return joined
