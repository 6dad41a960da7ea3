"""Several processes for one capture: each follows a share of the connections, and the results are joined.

Each process reads all records and headers, so that nothing is handed from one to another, and finds what one process alone
would have found of its connections. Processes are forked before anything runs in Polars, whose threads do not survive a fork, and
leave their rows in the temporary folder that they share.
"""

from __future__ import annotations

import contextlib
import errno
import os
import pickle
import signal
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from wiredoctor.batches import Renumbered, StoredBatch
from wiredoctor.core.flows import BUCKETS, Share
from wiredoctor.cutoffs import Cutoffs
from wiredoctor.engine.opening import CaptureFiles, open_capture_records
from wiredoctor.engine.run import Analysis, Progress, join_found
from wiredoctor.replacement import FULL, no_room
from wiredoctor.rule_engine import RuleModule, failures, give_up
from wiredoctor.rule_engine.candidates import Found, Waiting
from wiredoctor.spill import BatchSpill, Folder, renumbered
from wiredoctor.text.redact import trace

FAILED = 1
"""The exit status of a process that has failed and says why in its outcome."""


@dataclass
class Result:
    """What a process has found in its share: rows as files and their number, candidates by batch."""

    opened: bytes
    found: Waiting
    connections: list[StoredBatch]
    exchanges: list[StoredBatch]
    duplicates: int
    unknown_quotes: int
    limits: dict[str, int]
    failed_rules: dict[str, str]


@dataclass
class Worker:
    """A process that analyzes a share, and the file that it leaves its Result in, or a traceback."""

    process: int
    outcome: Path
    status: int | None = None

    def poll(self, options: int = os.WNOHANG) -> None:
        """Raise RuntimeError if the process has failed, with its traceback if it left one, or OSError if the disk is full."""
        if self.status is None:
            process, status = os.waitpid(self.process, options)
            if process:
                self.status = os.waitstatus_to_exitcode(status)
        if self.status == errno.ENOSPC:
            raise no_room(self.outcome.parent.parent)
        if self.status:
            traceback = pickle.loads(self.outcome.read_bytes()) if self.outcome.exists() else ""
            raise _with_note(traceback or "a worker process ended before its result was written")

    def result(self) -> Result:
        """Wait for the process, and return what it has found. Raise what `poll` raises."""
        self.poll(0)
        found: Any = pickle.loads(self.outcome.read_bytes())  # our own file in our own folder
        return found

    def stop(self) -> None:
        """End the process, whatever it is doing."""
        if self.status is None:
            with contextlib.suppress(ProcessLookupError, ChildProcessError):
                os.kill(self.process, signal.SIGKILL)
                os.waitpid(self.process, 0)


def _with_note(reason: str) -> RuntimeError:
    """Return an error whose traceback shows the reason, which has no bytes of the capture in it."""
    error = RuntimeError(reason)
    error.add_note(reason)
    return error


def analyze(
    capture: CaptureFiles, modules: Mapping[str, RuleModule], cutoffs: Cutoffs, folder: Folder, jobs: int, batch_packets: int,
    progress: Progress,
) -> tuple[Analysis, Iterator[Found], BatchSpill, BatchSpill]:  # fmt: skip
    """Analyze a capture in `jobs` processes, of which this is one.

    Return the analysis of this process, the candidates of all by batch, not judged yet, and the rows of all of connections and
    exchanges, with the ids of the whole capture. Raise RuntimeError if another process fails.
    """
    parent, count = os.getpid(), min(jobs, BUCKETS)

    def stop_without_parent(_: float = 0) -> None:
        if os.getppid() != parent:
            folder.remove()  # the parent was killed: nobody else removes it
            os._exit(FAILED)

    def work(number: int) -> Analysis:
        share = Share(number, count)
        analysis = Analysis(capture, modules, folder, cutoffs, open_capture_records(capture), share)
        analysis.run(batch_packets, stop_without_parent if number else watch, _unjudged)
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
    return _join(analysis, modules, results)


def _unjudged(found: Found) -> Found:
    return found


def start(folder: Folder, number: int, work: Callable[[int], Result]) -> Worker:
    """Fork a process that does `work` and writes its outcome."""
    folder.make()
    outcome = folder.new_file(f"share-{number}")
    # a signal waits meanwhile: an exception in what Python runs around a fork is printed and ignored
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    process = os.fork()
    if process:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return Worker(process, outcome)
    status = FAILED
    try:
        # Ctrl-C reaches all processes of a terminal; the parent alone reports it, and ends its workers
        for one in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(one, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        _write(outcome, work(number))
        status = 0
    except BaseException as error:  # noqa: BLE001 - nothing may escape into the parent's code
        if isinstance(error, OSError) and error.errno in FULL:
            status = errno.ENOSPC
        else:
            with contextlib.suppress(OSError):
                _write(outcome, trace(error))
    finally:
        os._exit(status)


def _result(analysis: Analysis) -> Result:
    share = analysis.core.share
    assert share is not None
    analysis.connections.write()
    analysis.exchanges.write()
    return Result(
        share.opened.getvalue(), analysis.found, analysis.connections.stored, analysis.exchanges.stored,
        analysis.core.duplicates, analysis.core.icmp.unknown, analysis.met.counts, failures(analysis.modules),
    )  # fmt: skip


def _write(path: Path, outcome: Result | str) -> None:
    part = path.with_suffix(".part")
    part.write_bytes(pickle.dumps(outcome))
    part.rename(path)


def _join(
    analysis: Analysis, modules: Mapping[str, RuleModule], results: list[Result]
) -> tuple[Analysis, Iterator[Found], BatchSpill, BatchSpill]:
    """Join the results of the other processes to the analysis of this one."""
    assert analysis.core.share is not None
    ids = number_connections([analysis.core.share.opened.getvalue(), *(result.opened for result in results)])
    for result in results:
        give_up(modules, result.failed_rules)
        analysis.core.duplicates += result.duplicates
        analysis.core.icmp.unknown += result.unknown_quotes
    analysis.met.join(result.limits for result in results)
    return (
        analysis,
        _join_batches(modules, [analysis.found, *(result.found for result in results)], ids),
        _join_rows(analysis.connections, [result.connections for result in results], ids),
        _join_rows(analysis.exchanges, [result.exchanges for result in results], ids),
    )


def number_connections(opened: Sequence[bytes]) -> list[pl.Series]:
    """Return for each share the ids of its connections in the whole capture: they count in the order of their first frames."""
    shares = [np.frombuffer(frames, dtype="<i8") for frames in opened]
    order = np.argsort(np.concatenate(shares), kind="stable")
    ids = np.empty(len(order), dtype=np.int64)
    ids[order] = np.arange(len(order))
    return [pl.Series(part) for part in np.split(ids, np.cumsum([len(frames) for frames in shares])[:-1])]


def _join_batches(
    modules: Mapping[str, RuleModule], shares: Sequence[Iterable[Found]], ids: Sequence[pl.Series]
) -> Iterator[Found]:
    """Yield the candidates of all shares, batch by batch: all processes read the same records as one."""
    for batches in zip(*shares, strict=True):
        parts = zip(batches, ids, strict=True)
        yield join_found(modules, [{name: _with_ids(rows, own) for name, rows in found.items()} for found, own in parts])


def _with_ids(rows: pl.DataFrame, ids: pl.Series) -> pl.DataFrame:
    return renumbered(rows.lazy(), ids, rows.columns).collect()


def _join_rows(own: BatchSpill, others: Sequence[Sequence[StoredBatch]], ids: Sequence[pl.Series]) -> BatchSpill:
    """Return the rows of all shares with the ids of the whole capture, those of this process first."""
    shares = [own.batches, *others]
    parts = [Renumbered(batch, numbers, batch.height) for share, numbers in zip(shares, ids, strict=True) for batch in share]
    return BatchSpill(own.table, own.folder, rows=sum(part.height for part in parts), renumbered=parts)
