"""The table of contents: captures are read, analysed and settled, and a report is made of them.

`analysis.py` calls the stages in their order: capture, decode, tcp, http, rules.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import polars as pl

import wiredoctor
from wiredoctor import rules
from wiredoctor.analysis import Analysis, Found, Progress
from wiredoctor.capture import EPOCH, Capture, CaptureError, Input, inputs, open_capture, open_merged
from wiredoctor.findings import SEVERITIES, CaptureSummary, Checked, Finding, Report, causes_first, configured, total_delay
from wiredoctor.rules import RuleModule, catalogue, set_thresholds
from wiredoctor.spill import Folder, Joined, Spill
from wiredoctor.tables import SMALL

Rows = Spill | Joined
Catalogue = Mapping[str, RuleModule]

SHARED_FROM = 32 << 20
"""Bytes of a capture from which on a second process repays its start."""

__all__ = ["CaptureError", "Catalogue", "analyze", "catalogue", "configured", "set_thresholds"]


def analyze(
    *paths: str | os.PathLike[str],
    select: Sequence[str] = (),
    ignore: Sequence[str] = (),
    thresholds: Mapping[str, Mapping[str, str | int]] | None = None,
    epoch_packets: int = EPOCH,
    jobs: int = 1,
    merge: bool = False,
    progress: Progress | None = None,
    on_error: Callable[[str], None] | None = None,
) -> Report:
    """Reads captures and says what is wrong in them; each is a capture of its own, with ids and frames from its start.

    A folder stands for the captures in it. The files of a rotation (tcpdump -C and -W, dumpcap -b) are one capture, whose
    connections may run from file to file; with `merge` all files are one, their packets in order of time: frames and ids
    are those that mergecap(1) gives.
    `select` and `ignore` name rules or families; `thresholds` has limits that are not to be the default, by rule and
    name: {"nagle-delayed-ack": {"min-ack-delay": "20 ms"}}. A name that does not exist and a limit that is none raise
    ValueError. An input that cannot be read raises CaptureError, or, with `on_error`, is told to it in one line and left
    out. `progress` is called with the part that is done, 0 to 1. `epoch_packets` bounds the memory and changes nothing else.
    `jobs`: processes for a first capture that is large; more than 1 only in a program that has not run Polars yet.
    """
    everything = catalogue()
    chosen = rules.select(everything, select, ignore)
    modules = rules.with_causes(chosen, everything)
    rules.begin(modules)
    done: list[_Done] = []
    with _without_collector(), configured(set_thresholds(everything, thresholds or {})):
        failed = on_error or _raise
        captures = inputs(paths, failed, merge=merge)
        for number, capture in enumerate(captures):
            try:
                tell = _part(progress, number, len(captures))
                done.append(_one(capture, modules, list(chosen), epoch_packets, 1 if done else jobs, tell, failed))
            except CaptureError as error:
                if on_error is None:
                    raise
                on_error(str(error))
    failed = rules.failures(modules)
    every = {name: Checked(module.family, module.tables[0]) for name, module in everything.items() if name not in failed}
    checked, unasked = ({n: c for n, c in every.items() if (n in chosen) == asked} for asked in (True, False))
    report = _report(done, checked, unasked)
    report.limits.extend(f"rule {name} of {modules[name].source} is left out: {why}" for name, why in failed.items())
    return report


def _raise(line: str) -> None:
    raise CaptureError(line)


@dataclass
class _Done:
    """A capture that has been analysed."""

    summary: CaptureSummary
    findings: list[Finding]
    connections: Rows
    exchanges: Rows
    limits: list[str]
    folder: Folder


@contextmanager
def _without_collector() -> Generator[None]:
    """The cyclic garbage collector would walk the open connections again and again; nothing here is in a cycle for long."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _part(progress: Progress | None, number: int, count: int) -> Progress:
    def tell(done: float) -> None:
        if progress is not None:
            progress((number + done) / count)

    return tell


def _nowhere(_: str) -> None:
    """What is wrong was said when the capture was opened first."""


def _open(what: Input, on_error: Callable[[str], None]) -> Capture:
    return open_capture(what.name) if len(what.files) == 1 else open_merged(what.files, what.name, on_error)


def _one(
    what: Input,
    modules: Mapping[str, RuleModule],
    chosen: list[str],
    epoch_packets: int,
    jobs: int,
    tell: Progress,
    on_error: Callable[[str], None],
) -> _Done:
    with _open(what, on_error) as capture:
        folder = Folder()
        memory: dict[str, Any] = {}

        def judge(found: Found) -> Found:
            return rules.judge(modules, found, memory)

        if jobs > 1 and sys.platform == "linux" and capture.size >= SHARED_FROM and capture.reopens:
            from wiredoctor import shares

            analysis, epochs, connections, exchanges = shares.analyse(
                capture, lambda: _open(what, _nowhere), modules, folder, jobs, epoch_packets, tell
            )
            found = [judge(epoch) for epoch in epochs]
        else:
            analysis = Analysis(capture, modules, folder)
            analysis.run(epoch_packets, tell, judge)
            found, connections, exchanges = analysis.found, analysis.connections, analysis.exchanges
        findings = _settle(capture, analysis, modules, chosen, found, connections, exchanges, judge)
        limits = list(analysis.decoding.limits.values())
        return _Done(analysis.summary(), findings, connections, exchanges, limits, folder)


def _settle(
    capture: Capture, analysis: Analysis, modules: Mapping[str, RuleModule], chosen: list[str], found: list[Found],
    connections: Rows, exchanges: Rows, judge: Callable[[Found], Found],
) -> list[Finding]:  # fmt: skip
    """One cause, one finding; summaries are found now, over the whole capture."""
    scans = {
        "connections": connections.scan(), "exchanges": exchanges.scan(), "captures": analysis.capture_table().lazy(),
    }  # fmt: skip
    candidates: dict[str, list[pl.DataFrame]] = {}
    few = connections.rows + exchanges.rows <= SMALL
    steps = sorted(analysis.steps.frames)
    parts = rules.unstepped(scans, modules, steps) if steps else [(dict(modules), scans)]
    for epoch in [*found, *(judge(rules.find_summaries(some, tables, few=few)) for some, tables in parts)]:
        known = rules.without_times_across(epoch, modules, steps) if steps else epoch
        for name, rows in known.items():
            candidates.setdefault(name, []).append(rows)
    first = capture.first_time or 0
    while True:
        failed = rules.failures(modules)
        whole = rules.joined(modules, candidates)
        findings = rules.settle(
            modules, whole, scans["connections"], scans["exchanges"], file=capture.file, first_time=first, only=chosen
        )
        if rules.failures(modules) == failed:
            return findings
        # what cannot be told explains nothing either


def _report(done: list[_Done], checked: dict[str, Checked], unasked: dict[str, Checked]) -> Report:
    rank = {severity: i for i, severity in enumerate(SEVERITIES)}
    report = Report(version=wiredoctor.__version__, checked=checked, unasked=unasked)
    for one in done:
        report.captures.append(one.summary)
        report.findings.extend(one.findings)
        report.connection_count += one.connections.rows
        report.exchange_count += one.exchanges.rows
        report.limits.extend(one.limits)
        report.resources.append(one.folder)
    report.findings.sort(key=lambda finding: rank[finding.severity])
    report.findings = causes_first(report.findings, lambda finding: (finding,))
    report.delay = total_delay(report.findings)
    if done:
        report.scan_connections = lambda: pl.concat([_named(one.summary.file, one.connections) for one in done])
        report.scan_exchanges = lambda: pl.concat([_named(one.summary.file, one.exchanges) for one in done])
    return report


def _named(file: str, rows: Rows) -> pl.LazyFrame:
    return rows.scan().select(pl.lit(file).alias("capture"), pl.all())
