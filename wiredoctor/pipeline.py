"""The table of contents: capture, decode, tcp, http, rules, in this order, epoch by epoch."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

import wiredoctor
from wiredoctor import decode, http, rules, tcp
from wiredoctor.capture import EPOCH, Capture, CaptureError, Records, open_capture
from wiredoctor.findings import SEVERITIES, CaptureSummary, Finding, Report, rfc3339
from wiredoctor.rules import RuleModule, catalogue
from wiredoctor.spill import Folder, Spill
from wiredoctor.tables import CAPTURES, CONNECTIONS, EXCHANGES, SCRATCH, SEGMENTS

__all__ = ["CaptureError", "analyze", "catalogue"]

Progress = Callable[[float], None]


def analyze(
    *paths: str | os.PathLike[str],
    select: Sequence[str] = (),
    ignore: Sequence[str] = (),
    epoch_packets: int = EPOCH,
    progress: Progress | None = None,
    on_error: Callable[[str], None] | None = None,
) -> Report:
    """Reads captures and says what is wrong in them; each is a capture of its own, with ids and frames from its start.

    `select` and `ignore` name rules or families; a name that does not exist raises ValueError. An input that cannot be
    read raises CaptureError, or, with `on_error`, is told to it in one line and left out. `progress` is called with the
    part that is done, 0 to 1. `epoch_packets` bounds the memory and changes nothing else.
    """
    everything = catalogue()
    chosen = rules.select(everything, select, ignore)
    modules = rules.with_causes(chosen, everything)
    report = Report(version=wiredoctor.__version__)
    parts: list[_Analysis] = []
    for number, path in enumerate(paths):
        try:
            with open_capture(path) as capture:
                parts.append(_Analysis(capture, modules, list(chosen)))
                parts[-1].run(epoch_packets, _share(progress, number, len(paths)))
        except CaptureError as error:
            if on_error is None:
                raise
            on_error(str(error))
    _assemble(report, parts)
    return report


def _share(progress: Progress | None, number: int, count: int) -> Progress:
    return (lambda done: None) if progress is None else lambda done: progress((number + done) / count)


@dataclass
class _Analysis:
    """One capture on its way through the stages, and what has come of it."""

    capture: Capture
    modules: Mapping[str, RuleModule]
    chosen: list[str]
    decoding: decode.DecodeState = field(default_factory=decode.DecodeState)
    connecting: tcp.TcpState = field(default_factory=tcp.TcpState)
    reading: http.HttpState = field(default_factory=http.HttpState)
    remembered: dict[str, Any] = field(default_factory=dict[str, Any])
    folder: Folder = field(default_factory=Folder)
    candidates: dict[str, list[pl.DataFrame]] = field(default_factory=dict[str, "list[pl.DataFrame]"])
    findings: list[Finding] = field(default_factory=list[Finding])
    duplicates: int = 0
    last_time: int | None = None

    def __post_init__(self) -> None:
        self.connections = Spill(CONNECTIONS, self.folder)
        self.exchanges = Spill(EXCHANGES, self.folder)
        wanted = {name for module in self.modules.values() for name in module.tables}
        self.reading.keep_messages, self.reading.keep_bursts = "messages" in wanted, "bursts" in wanted
        self._bytes = memoryview(self.capture.data)

    def run(self, epoch_packets: int, progress: Progress) -> None:
        """All epochs, then what only the end can tell."""
        for records in self.capture.epochs(epoch_packets):
            self._epoch(records)
            progress(self.capture.position / max(self.capture.size, 1))
        self._end()

    def _epoch(self, records: Records) -> None:
        packets, _ = decode.decode(self.capture.data, records.first_frame, records.columns, self.decoding)
        analysed = tcp.analyse(packets, self._payload, self.connecting)
        retired = analysed.replaced + tcp.expired(self.connecting)
        facts, clock = self.connecting.facts(), max(self.connecting.clock, int(records.columns["time"].max()))
        heard = http.read(
            analysed.segments, analysed.groups, analysed.pieces, analysed.acknowledged, self.capture.data,
            self._payload, facts, clock, retired, self.reading,
        )  # fmt: skip
        self.duplicates += analysed.duplicates
        self.last_time = int(records.columns["time"][-1])
        segments = SEGMENTS.lazy(analysed.segments) if analysed.segments else None
        self._judge(heard, self._connection_rows(retired), segments)
        http.forget(retired, self.reading)
        tcp.release(retired, self.connecting)

    def _end(self) -> None:
        heard = http.finish(self._payload, self.connecting.facts(), self.connecting.clock, self.reading)
        self._judge(heard, self._connection_rows(tcp.open_slots(self.connecting)), None)
        scans = {
            "connections": self.connections.scan(),
            "exchanges": self.exchanges.scan(),
            "captures": CAPTURES.frame(self._capture_row()).lazy(),
        }
        self._keep(rules.find_summaries(self.modules, scans, self.remembered))
        self.findings = rules.settle(
            self.modules, {name: pl.concat(frames) for name, frames in self.candidates.items()},
            scans["connections"], scans["exchanges"],
            file=self.capture.file, first_time=self.capture.first_time or 0, only=self.chosen,
        )  # fmt: skip

    def _judge(self, heard: http.Heard, connections: pl.DataFrame, segments: pl.LazyFrame | None) -> None:
        tables: dict[str, pl.DataFrame | pl.LazyFrame] = {
            "bursts": heard.bursts, "messages": heard.messages, "exchanges": heard.exchanges, "connections": connections,
        }  # fmt: skip
        if segments is not None:
            tables["segments"] = segments
        self._keep(rules.find_candidates(self.modules, tables, self.remembered))
        self.exchanges.add(heard.exchanges)
        self.connections.add(connections)

    def _keep(self, found: Mapping[str, pl.DataFrame]) -> None:
        for name, rows in found.items():
            self.candidates.setdefault(name, []).append(rows)

    def _connection_rows(self, slots: list[int]) -> pl.DataFrame:
        rows = tcp.connection_rows(slots, http.heard(slots, self.reading), self.connecting)
        return CONNECTIONS.frame(rows) if rows else CONNECTIONS.empty()

    def _payload(self, at: int, length: int) -> bytes:
        if at >= SCRATCH:
            return bytes(self.decoding.scratch[at - SCRATCH : at - SCRATCH + length])
        return bytes(self._bytes[at : at + length])

    def _capture_row(self) -> dict[str, list[Any]]:
        c = self.capture
        return {
            "capture": [c.file], "format": [c.format], "packets": [c.packets], "bytes": [c.size],
            "last_frame": [c.packets], "last_time": [self.last_time or 0], "damage": [c.damage or ""],
        }  # fmt: skip

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


def _assemble(report: Report, parts: list[_Analysis]) -> None:
    rank = {severity: i for i, severity in enumerate(SEVERITIES)}
    for part in parts:
        report.captures.append(part.summary())
        report.findings.extend(part.findings)
        report.connection_count += part.connections.rows
        report.exchange_count += part.exchanges.rows
        report.limits.extend(part.decoding.limits.values())
        report.resources.append(part.folder)
    report.findings.sort(key=lambda f: rank[f.severity])
    report.delay = sum(f.delay or 0.0 for f in report.findings)
    sources = [(part.capture.file, part.connections, part.exchanges) for part in parts]
    if sources:
        report.scan_connections = lambda: pl.concat([_named(file, c) for file, c, _ in sources])
        report.scan_exchanges = lambda: pl.concat([_named(file, e) for file, _, e in sources])


def _named(file: str, spill: Spill) -> pl.LazyFrame:
    return spill.scan().select(pl.lit(file).alias("capture"), pl.all())
