"""The table of contents: captures are read, analysed and settled, and a report is made of them.

`analysis.py` calls the stages in their order: capture, decode, tcp, http, rules.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import polars as pl

import wiredoctor
from wiredoctor import limits, rules
from wiredoctor.analysis import Analysis, Progress
from wiredoctor.capture import EPOCH, Capture, CaptureError, Input, inputs, open_capture, open_merged
from wiredoctor.findings import SEVERITIES, CaptureSummary, Checked, Finding, Report, causes_first, configured, total_delay
from wiredoctor.masked import masked
from wiredoctor.masking import showing
from wiredoctor.rules import RuleModule, catalogue, set_thresholds
from wiredoctor.spill import Folder, Joined, Spill
from wiredoctor.tables import SMALL
from wiredoctor.waiting import Found, Waiting, together

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
    show_secrets: bool = False,
    max_spool: int | None = None,
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
    `max_spool`: bytes that a compressed capture or standard input may take in the temporary folder; the rest is left out, and
    the report says so. None: nine tenths of what is free there.
    With `show_secrets` nothing is masked in what comes of it: request targets, names, and payload in the proof.
    `jobs`: processes for a first capture that is large; more than 1 only in a program that has not run Polars yet.
    """
    everything = catalogue()
    chosen = rules.select(everything, select, ignore)
    modules = rules.with_causes(chosen, everything)
    rules.begin(modules)
    done: list[_Done] = []
    with _without_collector(), configured(set_thresholds(everything, thresholds or {})), showing(show_secrets):
        failed = on_error or _raise
        captures = inputs(paths, failed, merge=merge)
        for number, capture in enumerate(captures):
            try:
                tell = _part(progress, number, len(captures))
                done.append(_one(capture, modules, list(chosen), epoch_packets, 1 if done else jobs, tell, max_spool, failed))
            except CaptureError as error:
                if on_error is None:
                    raise
                on_error(str(error))
    failed = rules.failures(modules)
    every = {name: Checked(module.family, module.tables[0]) for name, module in everything.items() if name not in failed}
    checked, unasked = ({n: c for n, c in every.items() if (n in chosen) == asked} for asked in (True, False))
    report = _report(done, checked, unasked, secrets=show_secrets)
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


def _open(what: Input, max_spool: int | None, on_error: Callable[[str], None]) -> Capture:
    if len(what.files) == 1:
        return open_capture(what.name, max_spool=max_spool)
    return open_merged(what.files, what.name, on_error, max_spool=max_spool)


def _one(
    what: Input,
    modules: Mapping[str, RuleModule],
    chosen: list[str],
    epoch_packets: int,
    jobs: int,
    tell: Progress,
    max_spool: int | None,
    on_error: Callable[[str], None],
) -> _Done:
    with _open(what, max_spool, on_error) as capture:
        folder = Folder()
        memory: dict[str, Any] = {}

        def judge(found: Found) -> Found:
            return rules.judge(modules, found, memory)

        if jobs > 1 and sys.platform == "linux" and capture.data.size >= SHARED_FROM:
            from wiredoctor import shares

            analysis, epochs, connections, exchanges = shares.analyse(capture, modules, folder, jobs, epoch_packets, tell)
            found = _waiting(folder, map(judge, epochs))
        else:
            analysis = Analysis(capture, modules, folder)
            analysis.run(epoch_packets, tell, judge)
            found, connections, exchanges = analysis.found, analysis.connections, analysis.exchanges
        findings = _settle(capture, analysis, modules, chosen, found, connections, exchanges, judge)
        said = [*analysis.decoding.limits.values(), *analysis.met.sentences()]
        return _Done(analysis.summary(), findings, connections, exchanges, said, folder)


def _waiting(folder: Folder, epochs: Iterable[Found]) -> Waiting:
    waiting = Waiting(folder)
    for epoch in epochs:
        waiting.append(epoch)
    return waiting


def _settle(
    capture: Capture, analysis: Analysis, modules: Mapping[str, RuleModule], chosen: list[str], found: Waiting,
    connections: Rows, exchanges: Rows, judge: Callable[[Found], Found],
) -> list[Finding]:  # fmt: skip
    """One cause, one finding; summaries are found now, over the whole capture, of a long one over its end."""
    scans = {
        "connections": connections.scan(), "exchanges": exchanges.scan(), "captures": analysis.capture_table().lazy(),
    }  # fmt: skip
    rows = connections.rows + exchanges.rows
    many = rows > limits.SUMMARIES_TOGETHER.value
    steps = sorted(analysis.steps.frames)
    if steps:
        found = _waiting(analysis.folder, (rules.without_times_across(epoch, modules, steps) for epoch in found))
    parts = [(dict(modules), scans)]
    if window := rules.window(scans["exchanges"], exchanges.rows, analysis.earliest, analysis.latest):
        parts = rules.seen(scans, modules, window, analysis.met)
    if steps:
        parts = [part for some, tables in parts for part in rules.unstepped(tables, some, steps)]
    for some, tables in parts:
        for asked in _one_by_one(some) if many else [some]:
            epoch = judge(rules.find_summaries(asked, tables, few=rows <= SMALL, many=many))
            found.append(rules.without_times_across(epoch, modules, steps) if steps else epoch)
    candidates = {name: partial(together, parts) for name, parts in found.of_rules().items()}
    first = capture.first_time or 0
    while True:
        failed = rules.failures(modules)
        whole = rules.joined(modules, candidates)
        findings = rules.settle(
            modules, whole, scans["connections"], scans["exchanges"],
            file=capture.file, first_time=first, only=chosen, met=analysis.met,
        )  # fmt: skip
        if rules.failures(modules) == failed:
            return findings
        # what cannot be told explains nothing either


def _one_by_one(modules: Mapping[str, RuleModule]) -> list[dict[str, RuleModule]]:
    return [{name: module} for name, module in modules.items() if module.rule.summary]


def _report(done: list[_Done], checked: dict[str, Checked], unasked: dict[str, Checked], *, secrets: bool) -> Report:
    rank = {severity: i for i, severity in enumerate(SEVERITIES)}
    report = Report(version=wiredoctor.__version__, checked=checked, unasked=unasked, secrets=secrets)
    for one in done:
        report.captures.append(one.summary)
        report.findings.extend(one.findings)
        report.connection_count += one.connections.rows
        report.exchange_count += one.exchanges.rows
        where = f"{one.summary.file}: " if len(done) > 1 else ""
        report.limits.extend(where + limit for limit in one.limits)
        report.resources.append(one.folder)
    report.findings.sort(key=lambda finding: rank[finding.severity])
    report.findings = causes_first(report.findings, lambda finding: (finding,))
    report.delay = total_delay(report.findings)
    if done:
        report.scan_connections = lambda: pl.concat([_named(one.summary.file, one.connections) for one in done])

        def scan_exchanges() -> pl.LazyFrame:
            rows = pl.concat([_named(one.summary.file, one.exchanges) for one in done])
            return rows if secrets else masked("exchanges", rows)

        report.scan_exchanges = scan_exchanges
    return report


def _named(file: str, rows: Rows) -> pl.LazyFrame:
    return rows.scan().select(pl.lit(file).alias("capture"), pl.all())
