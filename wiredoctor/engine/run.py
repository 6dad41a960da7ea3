"""Read one capture batch by batch, and collect the candidates of the rules."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import polars as pl

from wiredoctor import limits, rule_engine
from wiredoctor.capture import ClockSteps
from wiredoctor.capture.drops import RING, spans
from wiredoctor.capture.link_types import link_type_name
from wiredoctor.capture.model import Captured, readable
from wiredoctor.core.capture.reasons import count_encapsulations, describe_reasons
from wiredoctor.core.capture.records import LATEST, Records
from wiredoctor.core.capture.wifi import AGGREGATES
from wiredoctor.core.cutoffs import Cutoffs as CoreCutoffs
from wiredoctor.core.loop import Core
from wiredoctor.core.rows.segment_rows import SegmentRecorder
from wiredoctor.core.tcp.connection import Connection
from wiredoctor.core.tcp.flows import Share
from wiredoctor.core.tcp.icmp import UNKNOWN
from wiredoctor.engine.packet_tables import SEGMENTS_AT_ONCE, take_segment_tables
from wiredoctor.engine.row_tables import count_rows, endpoint_text, take_tables
from wiredoctor.findings import CaptureSummary, rfc3339
from wiredoctor.limits import LimitsReached
from wiredoctor.rule_engine import RuleModule
from wiredoctor.rule_engine.candidates import Candidates, CandidateStore
from wiredoctor.rule_engine.cutoffs import Cutoffs
from wiredoctor.rule_engine.told_findings import ToldFindings
from wiredoctor.storage.batches import Batch, View
from wiredoctor.storage.spill import BatchSpill, Folder
from wiredoctor.tables import CAPTURES, CONNECTIONS, NEVER, ODDITIES, SEGMENTS, STORED_EXCHANGES

Progress = Callable[[float], None]

Stopping = Callable[[], bool]
"""A function that is called from time to time, and returns True if no more packets may be read."""


def never() -> bool:
    """Return False, so the capture is read to its end."""
    return False


STEP = 1_000
"""The number of packets between two checks of how many rows wait for the rules."""

ROW_PACKETS = 100
"""If a batch has fewer than one new row per ROW_PACKETS packets, the next batch is read before the rules run.

Running all rules takes as long as reading thousands of packets.
"""

ROWS_AT_ONCE = 1 << 15
"""If the rows of more than this many exchanges or connections wait for the rules, the rules run before the end of the batch."""


IPCOMP = 108
"""The number of the IP protocol IPComp (RFC 3173)."""


class OutOfOrder(Exception):
    """Raised if the timestamps of a capture go backward. The capture must then be examined, and read again from its beginning."""


class ClocksApart(Exception):
    """Raised if captures of hosts with different clocks were merged. The clocks must then be compared, and the capture be read
    again from its beginning.
    """


class Analysis:
    """Analyzes a capture, or a share of its connections, and returns the candidates of the rules."""

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
        self.met = LimitsReached()
        self.found = CandidateStore(folder)
        self.reported_tries: pl.DataFrame | None = None
        """In a live capture: rows of tables.TRIES (forwarded requests) on which reported findings depend; otherwise None."""
        self.told: ToldFindings | None = None
        """In a live capture, the findings that were reported; otherwise None."""
        self.connections = BatchSpill(CONNECTIONS, folder)
        self.exchanges = BatchSpill(STORED_EXCHANGES, folder)
        wanted = {name for module in modules.values() for name in module.tables}
        self.records = records
        self.core = Core(self.records, core_cutoffs(cutoffs), self.met, "messages" in wanted, "bursts" in wanted, share)
        if capture.is_shuffled:
            self.core.put_in_order(capture.is_growing, capture.is_disorder_proved)
        self.is_first = share is None or share.number == 0
        """True in the one process that also reports the facts about the capture that belong to no single connection."""
        self.is_stopped = False
        """True if reading was stopped before the end."""
        self.times_are_judged = False
        """True if `found` lacks the candidates across steps of the clock, and trusts none across packets out of order."""
        if "segments" in wanted:
            self.core.tcp.recorder = SegmentRecorder(None, SEGMENTS.schema.names(), False)

    def run(
        self, batch_packets: int, progress: Progress, judge: Callable[[Candidates], Candidates], is_stopped: Stopping = never
    ) -> None:
        """Analyze the capture in batches of `batch_packets` packets.

        `progress` is called with the fraction of the capture that was read. `judge` is called with the candidates of each batch
        and returns the candidates to keep. If `is_stopped` returns True, the analysis ends as if the capture ended there. Raise
        OutOfOrder if the order of the records must be examined, and ClocksApart if clocks must be compared.
        """
        size = max(self.capture.size, 1)
        if self.core.tcp.recorder is not None:
            batch_packets = min(batch_packets, SEGMENTS_AT_ONCE)
        # a share must not wait for more rows: all shares of a capture end their batches at the same packets
        waits = self.core.share is None and self.core.tcp.recorder is None
        while True:
            count, parts = self._read(batch_packets, is_stopped)
            if count < batch_packets:
                break
            progress(min(self.records.position / size, 1.0))
            if waits and not parts and count_rows(self.core) * ROW_PACKETS < batch_packets:
                continue
            self.found.append(judge(merge_candidates(self.modules, [*parts, self._find()])))
        progress(1.0)
        # judge the remaining candidates together with those of the end
        self.finish(judge, parts)

    def _read(self, most: int, is_stopped: Stopping) -> tuple[int, list[Candidates]]:
        """Read at most `most` packets. Return the number of packets read, and the candidates found before the end of the batch.

        Rules run before the end of the batch if many rows wait for them: one packet may end dozens of exchanges, and in a flood
        nearly every packet ends a connection.
        """
        parts: list[Candidates] = []
        read, count = 0, 1
        while read < most and count:
            if is_stopped():
                self.is_stopped = True
                break
            count = self.core.run(min(STEP, most - read))
            if self.records.times.is_shuffled and self.is_first and not self.capture.is_order_known:
                raise OutOfOrder
            if self.core.copies.clocks.count and self.is_first and not self.capture.are_clocks_known:
                raise ClocksApart
            read += count
            if max(self.core.http.closes.rows.count, self.core.connections.rows.count) > ROWS_AT_ONCE:
                parts.append(self._find())
        return read, parts

    def finish(self, judge: Callable[[Candidates], Candidates], parts: Sequence[Candidates] = ()) -> None:
        """Analyze the connections that are open when the capture ends, and store the last candidates.

        `judge` is called once, with the new candidates and the candidates in `parts`, and returns the candidates to keep.
        """
        if not self.is_stopped:  # if reading was stopped, there is more to read, and the file may be complete
            self.release(LATEST)
            self.records.end()
        last = [*parts]
        for connections in open_at_end(self.core, self.capture):
            self.core.finish(connections, self.records.times.latest)
            last.append(self._find())
        self.core.flows.clear()  # the memory is needed by the rules that compare connections
        self.found.append(judge(merge_candidates(self.modules, last)))

    def release(self, clock: int) -> None:
        """Analyze the packets before `clock` (ns since the first packet) that were held back for sorting."""
        if self.core.ordering is not None:
            self.core.ordering.silent_until = clock
            while self.core.run(STEP):
                pass

    def _find(self) -> Candidates:
        """Take the core's new rows, and return the candidates that the rules find in them.

        The rows of finished exchanges and connections are also stored.
        """
        tables, exchanges, connections = take_tables(self.core, self.records.times.first)
        self._keep(exchanges, connections)
        self._see(tables["exchanges"])
        if not self.is_first:
            tables["oddities"] = ODDITIES.empty()
        if self.core.tcp.recorder is not None:
            tables |= take_segment_tables(self.core.tcp.recorder, {"segments": SEGMENTS})
        return rule_engine.find_candidates(self.modules, tables)

    def _keep(self, exchanges: Batch, connections: Batch) -> None:
        """Store the finished rows of exchanges and connections."""
        self.exchanges.add(exchanges)
        self.connections.add(connections)

    def _see(self, exchanges: pl.DataFrame | View) -> None:
        """Do nothing. A live analysis overrides this method to record the exchanges that failed."""

    def suspects(self) -> tuple[pl.LazyFrame, pl.LazyFrame]:
        """Return the rows of the exchanges that may have failed, and of their connections. Here, all rows are returned."""
        return self.exchanges.scan(), self.connections.scan()

    @property
    def latest(self) -> int:
        """The time of the latest packet, in ns since the first packet."""
        return max(self.records.times.latest, self.core.latest)

    @property
    def steps(self) -> ClockSteps:
        """The steps at which the clock was set back."""
        return self.records.times.steps

    @property
    def shuffled(self) -> ClockSteps:
        """The packets that were out of order and were sorted. Each is described like a packet at which the clock was set back."""
        return self.records.times.shuffled

    @property
    def doubtful_frames(self) -> list[int]:
        """The numbers, in ascending order, of the packets that were sorted, and of those before which the ring overwrote others.

        Times across them are uncertain.
        """
        return sorted((*self.shuffled.frames, *(one.frame for one in self.records.drops.overwritten)))

    @property
    def gaps(self) -> list[tuple[int, int]]:
        """The times (since, until, in ns) between two packets, between which the ring of a live capture overwrote packets."""
        return [(one.since, one.until) for one in self.records.drops.overwritten if one.since is not None]

    @property
    def clock_corrections(self) -> Sequence[int]:
        """The times (ns) by which the clocks of hosts were corrected. Connections on loopback addresses may need each of them."""
        return self.capture.clock_corrections

    def limits_reached(self) -> list[str]:
        """Return one sentence for each limit that was reached."""
        said = [AGGREGATES] if self.core.headers.layers.has_aggregates else []
        met = LimitsReached()
        # not summed over processes, because each process reads all fragments
        met.join((self.met.counts, self.core.datagrams.met.counts))
        return [*said, *met.messages()]

    def capture_table(self) -> pl.DataFrame:
        """Return a data frame with this capture's row of tables.CAPTURES."""
        records, steps, shuffled = self.records, self.steps, self.shuffled
        cut = max(records.snap_length, mirrored if (mirrored := self.core.headers.layers.longest_cut) >= 0 else NEVER)
        return CAPTURES.frame({
            "capture": [self.capture.file], "format": [records.format], "packets": [records.frame], "bytes": [self.capture.size],
            "last_frame": [records.frame], "first_time": [_in_64_bits(records.times.first)], "last_time": [records.times.last],
            "damage": [self._damage() or ""], "snap_length": [cut],
            "clock_steps": [steps.count], "clock_step_worst": [steps.worst],
            **{f"clock_step_{name}": [[getattr(step, name) for step in steps.first]] for name in _OF_STEPS},
            "sorted": [self.capture.is_sorted], "shuffled": [shuffled.count], "shuffled_worst": [shuffled.worst],
            **{f"shuffled_{name}": [[getattr(step, name) for step in shuffled.first]] for name in _OF_STEPS},
            "compressed": [self.core.headers.not_analyzed.flush().get(IPCOMP, 0)], **self._drops(),
        })  # fmt: skip

    def _drops(self) -> dict[str, list[Any]]:
        """Return the values of the columns of tables.CAPTURES that describe dropped packets."""
        drops = self.records.drops
        dropped, total = drops.dropped() or [], drops.total()
        times = spans(dropped)
        start = times[0][0] if times else None
        numbers = dict.fromkeys(one.interface for one in dropped if one.interface != RING)
        names = dict.fromkeys(self.records.interfaces[number].name or f"interface {number}" for number in numbers)
        return {
            "dropped": [NEVER if total is None else total],
            "dropped_of": [drops.packets_with_drops(int(self.records.frame))],
            "dropped_on": [_list_names([readable(name) for name in names])],
            "dropped_start": [NEVER if start is None else start],
            "dropped_end": [max(times[-1][1], 0) if times else NEVER],
            **self._overwritten(),
        }

    def _overwritten(self) -> dict[str, list[int]]:
        """Return the values of the columns of tables.CAPTURES that describe packets overwritten by the ring."""
        some = self.records.drops.overwritten
        first, last = (some[0].since, some[-1].until) if some else (None, NEVER)
        return {
            "overwritten": [sum(one.packets for one in some)],
            "overwritten_bytes": [sum(one.bytes for one in some)],
            "overwritten_start": [NEVER if first is None else first],
            "overwritten_end": [last],
        }

    def losses(self) -> list[tuple[int | None, int]]:
        """Return the time spans (ns) in which packets were dropped, as returned by capture.drops.spans."""
        return spans(self.records.drops.dropped() or [])

    def _damage(self) -> str | None:
        return self.capture.lost or self.records.damage

    def summary(self) -> CaptureSummary:
        """Return the summary of the capture."""
        records, headers = self.records, self.core.headers
        first = records.times.first if records.frame else None
        types = dict.fromkeys(link_type_name(interface.link_type) for interface in records.interfaces)
        return CaptureSummary(
            file=self.capture.file, format=records.format, link_types=list(types), packets=records.frame, bytes=self.capture.size,
            first_time=None if first is None else rfc3339(first),
            last_time=None if first is None else rfc3339(first + records.times.latest),
            not_analysed=_by_count(self._not_analyzed()), encapsulations=_by_count(count_encapsulations(headers.names)),
            duplicates=self.core.duplicates, translations=_name_servers(self.core.translation.servers),
            damage=self._damage(), files=self.capture.files,
            dropped=records.drops.total(), dropped_of=records.drops.packets_with_drops(int(records.frame)),
            sorted=self.capture.is_sorted, clock_steps=self.steps.count,
        )  # fmt: skip

    def _not_analyzed(self) -> dict[str, int]:
        """Return the number of packets that were not analyzed, by reason."""
        unknown = int(self.core.icmp.unknown)
        return describe_reasons(self.core.headers.not_analyzed) | ({UNKNOWN: unknown} if unknown else {})


def merge_candidates(modules: Mapping[str, RuleModule], parts: Sequence[Candidates]) -> Candidates:
    """Return the candidates of several parts of a capture together, by rule name."""
    frames: dict[str, list[pl.DataFrame]] = {}
    for part in parts:
        for name, rows in part.items():
            frames.setdefault(name, []).append(rows)
    found = rule_engine.join_batches(modules, {name: partial(pl.concat, rows) for name, rows in frames.items()})
    return {name: rows for name, rows in found.items() if isinstance(rows, pl.DataFrame)}


_NAMED = 2
"""The maximum number of interfaces that are named because they dropped packets."""
_OF_STEPS = ("frame", "time", "frame_before", "time_before")


def open_at_end(core: Core, capture: Captured) -> Iterator[list[Connection]]:
    """Yield the connections that are open at the end of a capture, in groups of limited size."""
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
    """Return the rule engine's cutoffs in the form that the core reads."""
    made = CoreCutoffs()
    for name, value in cutoffs._asdict().items():
        setattr(made, name, value)
    return made


def _name_servers(counts: Mapping[tuple[bytes, bytes], int]) -> dict[tuple[str, str], int]:
    return {(endpoint_text(one) if one else "", endpoint_text(other) if other else ""): n for (one, other), n in counts.items()}


def _by_count(counts: Mapping[str, int]) -> dict[str, int]:
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _list_names(names: Sequence[str]) -> str:
    """Return names as a list in a sentence, such as "eth0", "eth0 and eth1", or "eth0, eth1 and 3 more"."""
    shown = [*names[:_NAMED], *([f"{len(names) - _NAMED} more"] if len(names) > _NAMED else [])]
    return " and ".join(part for part in (", ".join(shown[:-1]), *shown[-1:]) if part)


def _in_64_bits(time: int | None) -> int:
    return time if time is not None and -(1 << 63) < time < 1 << 63 else NEVER
