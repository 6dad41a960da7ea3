"""Analyze one capture in several processes, each with a share of the connections, and join the results.

Each process reads all records and headers, so no packets pass between processes. For its connections, each process gets the same
results as a single process would. Processes are forked before Polars is used, because the threads of Polars do not survive a
fork. The processes write their rows to a shared temporary folder.
"""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
import pickle
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from wiredoctor import system
from wiredoctor.core.tcp.flows import BUCKETS, Share
from wiredoctor.engine.opening import CaptureFiles, open_capture_records
from wiredoctor.engine.run import Analysis, Progress, Stopping, merge_candidates, never
from wiredoctor.rule_engine import RuleModule, RuleSet, disable, failures
from wiredoctor.rule_engine.candidates import Candidates, CandidateStore
from wiredoctor.rule_engine.cutoffs import Cutoffs
from wiredoctor.settings import Settings
from wiredoctor.storage.batches import Part, Renumbered
from wiredoctor.storage.replacement import FULL, no_room
from wiredoctor.storage.spill import BatchSpill, Folder, renumber
from wiredoctor.text.redact import safe_traceback

FAILED = 1
"""The exit status of a process that failed and wrote the reason to its outcome file."""


@dataclass
class Result:
    """The results of one process for its share of the connections.

    `opened`: the number of each connection's first frame, as 64-bit integers. `found`: the candidates, batch by batch.
    `connections`, `exchanges`: the files with the finished rows. `duplicates`: the number of duplicate packets. `translated`: see
    Translation.servers. `unknown_quotes`: the number of ICMP errors that quote a packet of an unknown connection. `limits`: how
    often each limit was reached. `failed_rules`: the rules that were disabled, and why.
    """

    opened: bytes
    found: CandidateStore
    connections: list[Part]
    exchanges: list[Part]
    duplicates: int
    translated: dict[tuple[bytes, bytes], int]
    unknown_quotes: int
    limits: dict[str, int]
    failed_rules: dict[str, str]


@dataclass
class Worker:
    """A process that analyzes a share of the connections, and the file to which it writes its Result or a traceback."""

    process: int
    outcome: Path
    status: int | None = None

    def poll(self, *, wait: bool = False) -> None:
        """Check the process, by default without waiting for its end.

        Raise OSError if the disk was full, and RuntimeError after any other failure. The RuntimeError contains the process's
        traceback if there is one.
        """
        if self.status is None:
            self.status = system.exit_status(self.process, wait=wait)
        if self.status == errno.ENOSPC:
            raise no_room(self.outcome.parent.parent)
        if self.status:
            traceback = pickle.loads(self.outcome.read_bytes()) if self.outcome.exists() else ""
            reason = traceback or "a worker process ended before its result was written"
            error = RuntimeError(reason)
            error.add_note(reason)  # tracebacks show this note, which contains no bytes of the capture
            raise error

    def result(self) -> Result:
        """Wait for the process and return its result. Raise the same errors as `poll`."""
        self.poll(wait=True)
        found: Any = pickle.loads(self.outcome.read_bytes())  # safe: the process wrote the file into a private folder
        return found

    def stop(self) -> None:
        """Kill the process if it is still running."""
        if self.status is None:
            with contextlib.suppress(ProcessLookupError, ChildProcessError):
                system.kill(self.process)


class CommonEnd:
    """Makes all processes stop reading before the same batch, by means of shared memory. Batches are numbered from 1."""

    def __init__(self, processes: int) -> None:
        self._batches = memoryview(mmap.mmap(-1, 8 * processes)).cast("q")
        self._end = memoryview(mmap.mmap(-1, 8)).cast("q")

    def is_before(self, process: int, batch: int) -> bool:
        """Record that a process has reached a batch; return whether the process must stop before this batch."""
        self._batches[process] = batch
        return 0 < self._end[0] <= batch

    def set(self) -> None:
        """Make all processes stop before the same batch, which none of them can have begun yet."""
        if not self._end[0]:
            self._end[0] = max(self._batches) + 2


def analyze(
    capture: CaptureFiles, rules: RuleSet, cutoffs: Cutoffs, settings: Settings, folder: Folder, progress: Progress,
    is_stopped: Stopping = never,
) -> tuple[Analysis, Iterator[Candidates]]:  # fmt: skip
    """Analyze a capture in `settings.jobs` processes, including this one.

    Return two results: the analysis of this process, to which the rows of connections and exchanges of the other processes were
    added; and the candidates of all processes, batch by batch, before the rules judge them. Connection ids are those of the
    complete capture. Raise RuntimeError if another process fails.
    """
    parent, count = os.getpid(), min(settings.jobs, BUCKETS)
    end = CommonEnd(count)

    def stop_without_parent(_: float = 0) -> None:
        if os.getppid() != parent:
            folder.remove()  # the parent was killed and cannot remove the folder
            os._exit(FAILED)

    def work(number: int) -> Analysis:
        share = Share(number, count)
        analysis = Analysis(capture, rules.modules, folder, cutoffs, open_capture_records(capture), share)
        batch = 1

        def count_batch(done: float) -> None:
            nonlocal batch
            batch += 1
            (stop_without_parent if number else watch)(done)

        def is_over() -> bool:
            if not number and is_stopped():
                end.set()
            return end.is_before(number, batch)

        with rules.configured():
            analysis.run(settings.batch_packets, count_batch, lambda found: found, is_over)
        return analysis

    def watch(done: float) -> None:
        for worker in workers:
            worker.poll()
        progress(done)

    def leave_result(number: int) -> Result:
        result = _result(work(number))
        stop_without_parent()
        return result

    workers: list[Worker] = []
    try:
        for number in range(1, count):
            workers.append(start(folder, number, leave_result))
        analysis = work(0)
        results = [worker.result() for worker in workers]
    except BaseException:
        for worker in workers:
            worker.stop()
        raise
    return _join(analysis, rules.modules, results)


def start(folder: Folder, number: int, work: Callable[[int], Result]) -> Worker:
    """Fork a process that calls `work` and writes the result, or a traceback, to a file. Return the process as a Worker."""
    folder.make()
    outcome = folder.new_file(f"share-{number}")
    process = system.fork()
    if process:
        return Worker(process, outcome)
    status = FAILED
    try:
        _write(outcome, work(number))
        status = 0
    except BaseException as error:  # noqa: BLE001 - no exception may escape into the parent's code
        if isinstance(error, OSError) and error.errno in FULL:
            status = errno.ENOSPC
        else:
            with contextlib.suppress(OSError):
                _write(outcome, safe_traceback(error))
    finally:
        os._exit(status)


def _result(analysis: Analysis) -> Result:
    share = analysis.core.share
    assert share is not None
    analysis.connections.write()
    analysis.exchanges.write()
    return Result(
        share.opened.getvalue(), analysis.found, analysis.connections.stored, analysis.exchanges.stored,
        analysis.core.duplicates, analysis.core.translation.servers, analysis.core.icmp.unknown, analysis.met.counts,
        failures(analysis.modules),
    )  # fmt: skip


def _write(path: Path, outcome: Result | str) -> None:
    part = path.with_suffix(".part")
    part.write_bytes(pickle.dumps(outcome))
    part.rename(path)


def _join(analysis: Analysis, modules: Mapping[str, RuleModule], results: list[Result]) -> tuple[Analysis, Iterator[Candidates]]:
    """Join the results of the other processes with this process's `analysis`. Return the same values as `analyze`."""
    assert analysis.core.share is not None
    ids = number_connections([analysis.core.share.opened.getvalue(), *(result.opened for result in results)])
    for result in results:
        disable(modules, result.failed_rules)
        analysis.core.duplicates += result.duplicates
        analysis.core.translation.add(result.translated)
        analysis.core.icmp.unknown += result.unknown_quotes
    analysis.met.join(result.limits for result in results)
    analysis.connections = _join_rows(analysis.connections, [result.connections for result in results], ids)
    analysis.exchanges = _join_rows(analysis.exchanges, [result.exchanges for result in results], ids)
    return analysis, _join_batches(modules, [analysis.found, *(result.found for result in results)], ids)


def number_connections(opened: Sequence[bytes]) -> list[pl.Series]:
    """Return for each process the ids that its connections have in the complete capture.

    Ids follow the order of the connections' first frames. `opened`: for each process, the number of the frame at which
    each of its connections began, as 64-bit integers.
    """
    shares = [np.frombuffer(frames, dtype="<i8") for frames in opened]
    order = np.argsort(np.concatenate(shares), kind="stable")
    ids = np.empty(len(order), dtype=np.int64)
    ids[order] = np.arange(len(order))
    return [pl.Series(part) for part in np.split(ids, np.cumsum([len(frames) for frames in shares])[:-1])]


def _join_batches(
    modules: Mapping[str, RuleModule], shares: Sequence[Iterable[Candidates]], ids: Sequence[pl.Series]
) -> Iterator[Candidates]:
    """Yield the candidates of all processes, batch by batch.

    This is possible because all processes end their batches at the same packets.
    """
    for batches in zip(*shares, strict=True):
        parts = zip(batches, ids, strict=True)
        yield merge_candidates(modules, [{name: renumber(rows, own) for name, rows in found.items()} for found, own in parts])


def _join_rows(own: BatchSpill, others: Sequence[Sequence[Part]], ids: Sequence[pl.Series]) -> BatchSpill:
    """Return the rows of all processes with the connection ids of the complete capture; this process's rows come first."""
    shares = [own.batches, *others]
    parts = [Renumbered(batch, numbers, batch.height) for share, numbers in zip(shares, ids, strict=True) for batch in share]
    return BatchSpill(own.table, own.folder, rows=sum(part.height for part in parts), renumbered=parts)
