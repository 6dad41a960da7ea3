"""Analyze captures and build the report: the entry point of the analysis.

`engine` reads a capture through the core and passes its tables to the rules; `diagnosis.py` builds the report. From the whole to
the packet, these functions call the stages in order:

- all captures, from files to the report: `run` below, through `diagnosis.py`
- a capture, batch by batch: `Analysis.run` (engine/run.py); with several processes, `analyze` (engine/processes.py)
- a packet: `Core.step` (core/loop.py), and within its connection `TcpAnalysis.follow` (core/tcp/tcp_analysis.py)
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import polars as pl

from wiredoctor import diagnosis, rule_engine, system
from wiredoctor.capture import Budget, CaptureError, Input, NoRoom, TooManyFiles, find_inputs
from wiredoctor.capture.files import OpenFiles
from wiredoctor.engine.opening import CaptureFiles, open_capture_files, open_capture_records
from wiredoctor.engine.run import Analysis, ClocksApart, OutOfOrder, Progress, Stopping, never
from wiredoctor.findings import Report, ThresholdKey, configured
from wiredoctor.rule_engine import RuleModule, RuleSet, catalogue, set_thresholds
from wiredoctor.rule_engine.candidates import Candidates
from wiredoctor.rule_engine.cutoffs import Cutoffs
from wiredoctor.settings import BATCH_PACKETS, Settings
from wiredoctor.storage.spill import Folder
from wiredoctor.text.redact import showing_secrets

Catalogue = Mapping[str, RuleModule]

MAX_JOBS = 8
"""The maximum number of processes. Each process reads all packet headers, so more processes save little time and take memory."""

SHARED_FROM = 32 << 20
"""The minimum size of a capture in bytes for a second process; for smaller captures, starting the process takes more time than
it saves.
"""

__all__ = ["Budget", "CaptureError", "Catalogue", "NoRoom", "Settings", "ThresholdKey", "analyze", "catalogue", "configured"]
__all__ += ["find_inputs", "run", "set_thresholds"]


def analyze(
    *paths: str | os.PathLike[str],
    select: Sequence[str] = (),
    ignore: Sequence[str] = (),
    thresholds: Mapping[str, Mapping[str, str | int]] | None = None,
    epoch_packets: int = BATCH_PACKETS,
    jobs: int = 1,
    merge: bool = False,
    keep: bool = False,
    show_secrets: bool = False,
    max_spool: int | Budget | None = None,
    progress: Progress | None = None,
    on_error: Callable[[str], None] | None = None,
) -> Report:
    """Analyze captures and return a report. Each capture has its own ids and frame numbers.

    A folder stands for the captures in it and its subfolders. The files of a rotation (tcpdump -C and -W, dumpcap -b) are one
    capture, and a connection may continue in the next file. With `merge`, all files are one capture with packets in time order;
    frame numbers and ids are those of mergecap(1).

    `select` and `ignore` name rules or families. `thresholds` overrides defaults by rule and name:
    {"nagle-delayed-ack": {"min-ack-delay": "20 ms"}}. Unknown names and invalid thresholds raise ValueError.

    An input that cannot be read raises CaptureError. If `on_error` is given, the input is skipped instead, and `on_error` is
    called with one line about it. `progress` is called with the completed fraction, 0 to 1. `epoch_packets`: the number of
    packets after which rules judge the new rows; it limits the memory and changes no result.

    `max_spool`: the number of bytes that compressed captures and standard input may use in the temporary folder at the same
    time. Data beyond this limit is not read, and the report says so (`Report.incomplete`). None: 2 GB or half of the free space,
    whichever is less; for uncompressed standard input, nine tenths of the free space. Several calls can share a Budget.

    With `keep`, the captures stay open while the report exists, and can be read again: `report.packets`. With `show_secrets`,
    nothing is masked in the report: request targets, names, and payload in the evidence are shown as sent. `jobs`: the number
    of processes for the first capture, if it is large. Use more than 1 only in a program that has not used Polars yet.
    """
    budget, most = (max_spool, None) if isinstance(max_spool, Budget) else (None, max_spool)
    settings = Settings(
        select=select, ignore=ignore, thresholds=thresholds or {}, merge=merge, keep=keep, show_secrets=show_secrets,
        max_spool=most, jobs=max(jobs, 1), batch_packets=epoch_packets,
    )  # fmt: skip
    return run(paths, settings, budget=budget, progress=progress, on_error=on_error)


def run(
    paths: Sequence[str | os.PathLike[str]],
    settings: Settings,
    *,
    budget: Budget | None = None,
    progress: Progress | None = None,
    on_error: Callable[[str], None] | None = None,
    on_note: Callable[[str], None] = lambda _: None,
    is_stopped: Stopping = never,
) -> Report:
    """Analyze captures like `analyze`. `budget`: disk space shared with other runs; if given, `settings.max_spool` is not used.

    `on_note` is called with one line for each folder that contains files other than captures. `is_stopped` is called often while
    packets are read. When `is_stopped` returns True, reading ends, and the report covers the packets read until then.
    """
    rules = rule_engine.load(settings)
    if not settings.jobs:
        settings = settings._replace(jobs=min(os.cpu_count() or 1, MAX_JOBS))
    done: list[diagnosis.Done] = []
    rows = diagnosis.RowsOfCaptures()
    incomplete: list[str] = []
    files = OpenFiles(budget or Budget(settings.max_spool))
    # the streaming engine, the default since Polars 2, takes more time to start than most queries take
    in_memory = pl.Config(engine_affinity="in-memory")
    with in_memory, diagnosis.without_collector(), rules.configured(), showing_secrets(settings.show_secrets):
        failed = on_error or _raise
        cutoffs = rules.cutoffs()

        def read(what: Input, tell: Progress) -> None:
            # close a capture at once unless `settings.keep` is set, because unpacked files take disk space
            with ExitStack() as opened:
                file = opened.enter_context(open_capture_files(what, files, failed))
                alone = settings._replace(jobs=1) if done else settings
                one = _one(file, rules, cutoffs, alone, tell, is_stopped, incomplete)
                incomplete.extend(file.incomplete)
                if settings.keep:
                    from wiredoctor.engine.second_pass import SecondPass

                    opened.pop_all()
                    one.packets = SecondPass(file, one.connections.scan, cutoffs, secrets=settings.show_secrets)
                rows.take(one)
                done.append(one)

        captures = find_inputs(paths, failed, merge=settings.merge, on_note=on_note)
        for number, capture in enumerate(captures):
            if number and is_stopped():
                left = len(captures) - number
                incomplete.append(f"{left:,} more {'captures were' if left > 1 else 'capture was'} not read.")
                break
            try:
                read(capture, _part(progress, number, len(captures)))
            except CaptureError as error:
                if on_error is None:
                    raise
                if isinstance(error, NoRoom):
                    incomplete += error.sentences
                else:
                    on_error(str(error))
                if isinstance(error, TooManyFiles):
                    break
    made = diagnosis.report(done, rules, secrets=settings.show_secrets)
    made.incomplete = incomplete
    return made


def _raise(line: str) -> None:
    raise CaptureError(line)


def _part(progress: Progress | None, number: int, count: int) -> Progress:
    def report(done: float) -> None:
        if progress is not None:
            progress((number + done) / count)

    return report


def _shareable_bytes(capture: CaptureFiles) -> int:
    """Return how many bytes each process would have to read if several processes analyzed the capture.

    Return 0 if each process would have to decompress several files, because a single process is faster then.
    """
    if len(capture.members) == 1:
        return capture.members[0].open().size
    return 0 if any(one.compression for one in capture.members) else capture.size


def _one(
    capture: CaptureFiles, rules: RuleSet, cutoffs: Cutoffs, settings: Settings, tell: Progress, is_stopped: Stopping,
    incomplete: list[str],
) -> diagnosis.Done:  # fmt: skip
    limits: list[str] = []
    while True:  # at most once for each reason
        try:
            done = _read_once(capture, rules, cutoffs, settings, tell, is_stopped, incomplete)
        except OutOfOrder:
            from wiredoctor.engine.time_order import examine

            limits += examine(capture, is_stopped)
        except ClocksApart:
            from wiredoctor.engine.time_order import compare_clocks

            limits += compare_clocks(capture, cutoffs, is_stopped)
        else:
            done.limits += limits
            return done


def _read_once(
    capture: CaptureFiles, rules: RuleSet, cutoffs: Cutoffs, settings: Settings, tell: Progress, is_stopped: Stopping,
    incomplete: list[str],
) -> diagnosis.Done:  # fmt: skip
    folder = Folder()
    memory: dict[str, Any] = {}

    def judge(found: Candidates) -> Candidates:
        return rule_engine.decide_batch(rules.modules, found, memory)

    if settings.jobs > 1 and system.FORKS and _shareable_bytes(capture) >= SHARED_FROM:
        from wiredoctor.engine import processes

        analysis, batches = processes.analyze(capture, rules, cutoffs, settings, folder, tell, is_stopped)
        analysis.found = diagnosis.waiting(folder, map(judge, batches))
    else:
        analysis = Analysis(capture, rules.modules, folder, cutoffs, open_capture_records(capture))
        analysis.run(settings.batch_packets, tell, judge, is_stopped)
    if analysis.is_stopped:
        share = int(100 * min(analysis.records.position / max(capture.size, 1), 1.0))
        incomplete.append(
            f"Reading was stopped: only the first {analysis.records.frame:,} packets of {capture.file} were analyzed ({share}%)."
        )
    return diagnosis.diagnose(analysis, rules, judge)
