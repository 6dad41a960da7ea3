"""One capture on its way through the core, batch after batch, and what the rules find in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields
from functools import partial
from typing import Any

import polars as pl

from wiredoctor import limits, rule_engine
from wiredoctor.batches import Batch
from wiredoctor.capture import ClockSteps
from wiredoctor.capture.drops import spans
from wiredoctor.capture.link_types import link_type_name
from wiredoctor.capture.model import Captured, readable
from wiredoctor.core.connection import Connection
from wiredoctor.core.cutoffs import Cutoffs as CoreCutoffs
from wiredoctor.core.flows import Share
from wiredoctor.core.icmp import UNKNOWN
from wiredoctor.core.loop import Core
from wiredoctor.core.reasons import count_encapsulations, in_words
from wiredoctor.core.records import LATEST, Records
from wiredoctor.core.segment_rows import SegmentRecorder
from wiredoctor.core.wifi import AGGREGATES
from wiredoctor.cutoffs import Cutoffs
from wiredoctor.engine.packet_tables import SEGMENTS_AT_ONCE, take_segment_tables
from wiredoctor.engine.tables import take_tables
from wiredoctor.findings import CaptureSummary, rfc3339
from wiredoctor.limits import Met
from wiredoctor.rule_engine import RuleModule
from wiredoctor.rule_engine.candidates import Found, Waiting
from wiredoctor.spill import BatchSpill, Folder, Spill
from wiredoctor.tables import CAPTURES, CONNECTIONS, NEVER, ODDITIES, SEGMENTS, STORED_EXCHANGES

Progress = Callable[[float], None]

STEP = 1_000
"""Packets between two checks of how many rows wait for the rules."""

ROWS_AT_ONCE = 1 << 15
"""Exchanges whose rows are handed to the rules before the batch ends."""


class OutOfOrder(Exception):
    """The records of a capture are out of order: it has to be read again from its beginning."""


class Analysis:
    """A capture, and what the rules have found in it; of a share of its connections, if several processes analyze it."""

    def __init__(
        self,
        capture: Captured,
        modules: Mapping[str, RuleModule],
        folder: Folder,
        cutoffs: Cutoffs,
        records: Records,
        share: Share | None = None,
    ) -> None:
        self.capture = capture
        self.modules = modules
        self.folder = folder
        self.met = Met()
        self.found = Waiting(folder)
        self.connections = BatchSpill(CONNECTIONS, folder)
        self.exchanges = BatchSpill(STORED_EXCHANGES, folder)
        wanted = {name for module in modules.values() for name in module.tables}
        self.records = records
        self.core = Core(self.records, core_cutoffs(cutoffs), self.met, "messages" in wanted, "bursts" in wanted, share)
        if capture.is_shuffled:
            self.core.put_in_order(capture.is_growing)
        self.is_first = share is None or share.number == 0
        """Whether this process reports what belongs to no connection: one of them does."""
        if "segments" in wanted:
            self.core.story.recorder = SegmentRecorder(None, SEGMENTS.schema.names(), False)

    def run(self, batch_packets: int, progress: Progress, judge: Callable[[Found], Found]) -> None:
        """Analyze the whole capture, this many packets at a time. `judge` is called with the candidates of each batch. Raise
        OutOfOrder if its records have to be put in order."""
        size = max(self.capture.size, 1)
        if self.core.story.recorder is not None:
            batch_packets = min(batch_packets, SEGMENTS_AT_ONCE)
        while True:
            count, parts = self._read(batch_packets)
            if count < batch_packets:
                break
            self.found.append(judge(join_found(self.modules, [*parts, self._find()])))
            progress(min(self.records.position / size, 1.0))
        progress(1.0)
        # the rest is judged with what the end decides
        self.finish(judge, parts)

    def _read(self, most: int) -> tuple[int, list[Found]]:
        """Read at most this many packets; return how many there were, and candidates in rows that were too many to wait for the
        others: a packet may end dozens of exchanges."""
        parts: list[Found] = []
        read, count = 0, 1
        while read < most and count:
            count = self.core.run(min(STEP, most - read))
            if self.records.times.is_shuffled and self.is_first:
                raise OutOfOrder
            read += count
            if self.core.http.closes.rows.count > ROWS_AT_ONCE:
                parts.append(self._find())
        return read, parts

    def finish(self, judge: Callable[[Found], Found], parts: Sequence[Found] = ()) -> None:
        """Analyze what only the end of the capture decides. `parts`: candidates that are judged with these."""
        self.release(LATEST)
        self.records.end()
        last = [*parts]
        for connections in open_at_end(self.core, self.capture):
            self.core.finish(connections, self.records.times.latest)
            last.append(self._find())
        self.found.append(judge(join_found(self.modules, last)))

    def release(self, clock: int) -> None:
        """Analyze what is held until packets of this time have come (ns since the first packet), and has come."""
        if self.core.ordering is not None:
            self.core.ordering.silent_until = clock
            while self.core.run(STEP):
                pass

    def _find(self) -> Found:
        """Return the candidates of all rules in what the core has written."""
        tables, exchanges, connections = take_tables(self.core)
        self._keep(exchanges, connections)
        if not self.is_first:
            tables["oddities"] = ODDITIES.empty()
        if self.core.story.recorder is not None:
            tables |= take_segment_tables(self.core.story.recorder, {"segments": SEGMENTS})
        return rule_engine.find_candidates(self.modules, tables)

    def _keep(self, exchanges: Batch, connections: Batch) -> None:
        """Keep the finished rows of exchanges and connections."""
        self.exchanges.add(exchanges)
        self.connections.add(connections)

    def suspects(self, exchanges: Spill, connections: Spill) -> tuple[pl.LazyFrame, pl.LazyFrame]:
        """Return the rows of exchanges and of connections that may have ended badly, among others."""
        return exchanges.scan(), connections.scan()

    @property
    def earliest(self) -> int:
        """Time of the earliest packet."""
        return self.records.times.earliest

    @property
    def latest(self) -> int:
        """Time of the latest packet."""
        return self.records.times.latest

    @property
    def steps(self) -> ClockSteps:
        """Where the clock was set back."""
        return self.records.times.steps

    @property
    def shuffled(self) -> ClockSteps:
        """Which packets were put in order."""
        return self.records.times.shuffled

    def limits_reached(self) -> list[str]:
        """Return a sentence for each limit that was reached."""
        said = [AGGREGATES] if self.core.headers.layers.has_aggregates else []
        met = Met()
        met.join((self.met.counts, self.core.datagrams.met.counts))  # each process reads all fragments: theirs are not added up
        return [*said, *met.sentences()]

    def capture_table(self) -> pl.DataFrame:
        """Return the row of the capture in tables.CAPTURES."""
        records, steps, shuffled = self.records, self.steps, self.shuffled
        cut = max(records.snap_length, mirrored if (mirrored := self.core.headers.layers.longest_cut) >= 0 else NEVER)
        return CAPTURES.frame({
            "capture": [self.capture.file], "format": [records.format], "packets": [records.frame], "bytes": [self.capture.size],
            "last_frame": [records.frame], "first_time": [_in_64_bits(records.times.first)], "last_time": [records.times.last],
            "damage": [self._damage() or ""], "snap_length": [cut],
            "clock_steps": [steps.count], "clock_step_worst": [steps.worst],
            **{f"clock_step_{name}": [[getattr(step, name) for step in steps.first]] for name in _OF_STEPS},
            "shuffled": [shuffled.count], "shuffled_worst": [shuffled.worst],
            **{f"shuffled_{name}": [[getattr(step, name) for step in shuffled.first]] for name in _OF_STEPS},
            **self._drops(),
        })  # fmt: skip

    def _drops(self) -> dict[str, list[Any]]:
        """Return the columns of tables.CAPTURES that say which packets were dropped."""
        drops = self.records.drops
        dropped, total = drops.dropped() or [], drops.total()
        times = spans(dropped)
        start = times[0][0] if times else None
        numbers = dict.fromkeys(one.interface for one in dropped)
        names = dict.fromkeys(self.records.interfaces[number].name or f"interface {number}" for number in numbers)
        return {
            "dropped": [NEVER if total is None else total],
            "dropped_of": [drops.whole(int(self.records.frame))],
            "dropped_on": [_listed([readable(name) for name in names])],
            "dropped_start": [NEVER if start is None else start],
            "dropped_end": [max(times[-1][1], 0) if times else NEVER],
        }

    def losses(self) -> list[tuple[int | None, int]]:
        """Return the times in which packets were dropped, as capture.drops.spans."""
        return spans(self.records.drops.dropped() or [])

    def _damage(self) -> str | None:
        return self.capture.lost or self.records.damage

    def summary(self) -> CaptureSummary:
        """Return what was read."""
        records, headers = self.records, self.core.headers
        first = records.times.first if records.frame else None
        types = dict.fromkeys(link_type_name(interface.link_type) for interface in records.interfaces)
        return CaptureSummary(
            file=self.capture.file, format=records.format, link_types=list(types), packets=records.frame, bytes=self.capture.size,
            first_time=None if first is None else rfc3339(first),
            last_time=None if first is None else rfc3339(first + records.times.latest),
            not_analysed=_by_count(self._not_analyzed()), encapsulations=_by_count(count_encapsulations(headers.names)),
            duplicates=self.core.duplicates, damage=self._damage(), files=self.capture.files,
            dropped=records.drops.total(), dropped_of=records.drops.whole(int(records.frame)),
        )  # fmt: skip

    def _not_analyzed(self) -> dict[str, int]:
        """Return how many packets are not analyzed, by the reason."""
        unknown = int(self.core.icmp.unknown)
        return in_words(self.core.headers.not_analyzed) | ({UNKNOWN: unknown} if unknown else {})


def join_found(modules: Mapping[str, RuleModule], parts: Sequence[Found]) -> Found:
    """Return candidates of several parts as those of one."""
    frames: dict[str, list[pl.DataFrame]] = {}
    for part in parts:
        for name, rows in part.items():
            frames.setdefault(name, []).append(rows)
    found = rule_engine.joined(modules, {name: partial(pl.concat, rows) for name, rows in frames.items()})
    return {name: rows for name, rows in found.items() if isinstance(rows, pl.DataFrame)}


_NAMED = 2
"""Interfaces that dropped packets: so many are named."""
_OF_STEPS = ("frame", "time", "frame_before", "time_before")


def open_at_end(core: Core, capture: Captured) -> Iterator[list[Connection]]:
    """Yield the connections that are still open at the end of a capture, as many as are finished at once."""
    records = core.records
    if (ending := capture.ending) is not None and records.times.first is not None:
        until = ending.time - records.times.first
        if ending.packets == records.frame and until > records.times.latest:
            core.http.pass_time(until)
    connections = core.flows.open_connections()
    together = limits.FINISHED_AT_ONCE.value
    for first in range(0, max(len(connections), 1), together):
        yield connections[first : first + together]


def core_cutoffs(cutoffs: Cutoffs) -> CoreCutoffs:
    """Return the cutoffs as the core takes them."""
    made = CoreCutoffs()
    for one in fields(cutoffs):
        setattr(made, one.name, getattr(cutoffs, one.name))
    return made


def _by_count(counts: Mapping[str, int]) -> dict[str, int]:
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _listed(names: Sequence[str]) -> str:
    """Return "eth0", "eth0 and eth1", "eth0, eth1 and 3 more"."""
    shown = [*names[:_NAMED], *([f"{len(names) - _NAMED} more"] if len(names) > _NAMED else [])]
    return " and ".join(part for part in (", ".join(shown[:-1]), *shown[-1:]) if part)


def _in_64_bits(time: int | None) -> int:
    return time if time is not None and -(1 << 63) < time < 1 << 63 else NEVER
