"""The table of contents: captures are analyzed, what the rules find is settled, and a report is made of it.

`engine` reads a capture through the core and hands its tables to the rules; `diagnosis.py` makes the report.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

from wiredoctor import diagnosis, rule_engine
from wiredoctor.capture import Budget, CaptureError, Input, NoRoom, TooManyFiles, inputs
from wiredoctor.capture.files import OpenFiles
from wiredoctor.cutoffs import Cutoffs
from wiredoctor.engine.opening import CaptureFiles, open_capture_files, open_capture_records
from wiredoctor.engine.run import Analysis, OutOfOrder, Progress
from wiredoctor.engine.second_pass import SecondPass
from wiredoctor.findings import Report, configured
from wiredoctor.rule_engine import RuleModule, catalogue, set_thresholds
from wiredoctor.rule_engine.candidates import Found
from wiredoctor.spill import Folder
from wiredoctor.text.redact import showing

Catalogue = Mapping[str, RuleModule]

BATCH = 100_000
"""Packets after which the rules see what the core has written."""

SHARED_FROM = 32 << 20
"""Bytes of a capture from which on a second process repays its start."""

__all__ = ["Budget", "CaptureError", "Catalogue", "NoRoom", "analyze", "catalogue", "configured", "set_thresholds"]


def analyze(
    *paths: str | os.PathLike[str],
    select: Sequence[str] = (),
    ignore: Sequence[str] = (),
    thresholds: Mapping[str, Mapping[str, str | int]] | None = None,
    epoch_packets: int = BATCH,
    jobs: int = 1,
    merge: bool = False,
    keep: bool = False,
    show_secrets: bool = False,
    max_spool: int | Budget | None = None,
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
    `max_spool`: bytes that compressed captures and standard input may take in the temporary folder at the same time; the rest is
    left out, and the report says so (`Report.incomplete`). None: 2 GB or half of what is free there, whichever is less; for
    standard input that is not compressed, nine tenths of it. A Budget is shared with other calls.
    With `keep` the captures stay open as long as the report lives, and can be read again: `report.again`.
    With `show_secrets` nothing is masked in what comes of it: request targets, names, and payload in the proof.
    `jobs`: processes for a first capture that is large; more than 1 only in a program that has not run Polars yet.
    """
    everything = catalogue()
    chosen = rule_engine.select(everything, select, ignore)
    modules = rule_engine.with_causes(chosen, everything)
    rule_engine.begin(modules)
    done: list[diagnosis.Done] = []
    incomplete: list[str] = []
    budget = Budget.of(max_spool)
    files = OpenFiles(budget)
    with diagnosis.without_collector(), configured(set_thresholds(everything, thresholds or {})), showing(show_secrets):
        failed = on_error or _raise
        cutoffs = rule_engine.cutoffs(modules)

        def read(what: Input, tell: Progress) -> None:
            # nothing refers to a capture after its turn, unless it is kept: what was unpacked takes disk space
            with ExitStack() as opened:
                file = opened.enter_context(open_capture_files(what, files, failed))
                one = _one(file, modules, cutoffs, list(chosen), epoch_packets, 1 if done else jobs, tell)
                incomplete.extend(file.incomplete)
                if keep:
                    opened.pop_all()
                    one.again = SecondPass(file, one.connections.scan, cutoffs, secrets=show_secrets)
                done.append(one)

        captures = inputs(paths, failed, merge=merge)
        for number, capture in enumerate(captures):
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
    made = diagnosis.report(done, modules, everything, chosen, secrets=show_secrets)
    made.incomplete = incomplete
    return made


def _raise(line: str) -> None:
    raise CaptureError(line)


def _part(progress: Progress | None, number: int, count: int) -> Progress:
    def tell(done: float) -> None:
        if progress is not None:
            progress((number + done) / count)

    return tell


def _shareable_bytes(capture: CaptureFiles) -> int:
    """Return the bytes that every process would read; 0 if each would have to unpack several files by itself."""
    if len(capture.members) == 1:
        return capture.members[0].open().size
    return 0 if any(one.compression for one in capture.members) else capture.size


def _one(
    capture: CaptureFiles, modules: Mapping[str, RuleModule], cutoffs: Cutoffs, chosen: list[str], epoch_packets: int,
    jobs: int, tell: Progress,
) -> diagnosis.Done:  # fmt: skip
    try:
        return _read_once(capture, modules, cutoffs, chosen, epoch_packets, jobs, tell)
    except OutOfOrder:
        capture.is_shuffled, capture.first_pass = True, None
    return _read_once(capture, modules, cutoffs, chosen, epoch_packets, jobs, tell)


def _read_once(
    capture: CaptureFiles, modules: Mapping[str, RuleModule], cutoffs: Cutoffs, chosen: list[str], epoch_packets: int,
    jobs: int, tell: Progress,
) -> diagnosis.Done:  # fmt: skip
    folder = Folder()
    memory: dict[str, Any] = {}

    def judge(found: Found) -> Found:
        return rule_engine.judge(modules, found, memory)

    if jobs > 1 and sys.platform == "linux" and _shareable_bytes(capture) >= SHARED_FROM:
        from wiredoctor.engine import processes

        analysis, batches, connections, exchanges = processes.analyze(
            capture, modules, cutoffs, folder, jobs, epoch_packets, tell
        )  # fmt: skip
        found = diagnosis.waiting(folder, map(judge, batches))
    else:
        analysis = Analysis(capture, modules, folder, cutoffs, open_capture_records(capture))
        analysis.run(epoch_packets, tell, judge)
        found, connections, exchanges = analysis.found, analysis.connections, analysis.exchanges
    return diagnosis.diagnose(capture, analysis, modules, chosen, found, connections, exchanges, judge)
