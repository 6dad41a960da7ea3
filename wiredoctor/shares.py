"""Work per connection is independent: another process takes a share of the connections, and this joins what it found.

The other process is forked before anything has run in Polars (its threads do not survive a fork), and leaves its tables in
the shared temporary folder. Who reads and decodes the packets for all: handover.py.
"""

from __future__ import annotations

import contextlib
import errno
import os
import pickle
import signal
import time
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from wiredoctor.analysis import Analysis, Progress
from wiredoctor.capture import Capture
from wiredoctor.cutoffs import Cutoffs
from wiredoctor.handover import Handover, Lost
from wiredoctor.masking import trace
from wiredoctor.replacement import FULL, no_room
from wiredoctor.rules import RuleModule, failures, give_up
from wiredoctor.spill import Folder, Joined, Spill, renumbered, scan_files
from wiredoctor.waiting import Found, Waiting


@dataclass
class Result:
    """What a share came to: its connections' first frames by id, candidates by epoch, files of rows, and counts."""

    opened: array[int]
    found: Waiting
    connections: tuple[list[Path], int]
    exchanges: tuple[list[Path], int]
    duplicates: int
    not_analysed: Counter[str]
    encapsulations: Counter[str]
    said: dict[str, str]
    longest_cut: int
    met: dict[str, int]
    failed: dict[str, str]


@dataclass
class Worker:
    """A process that analyses a share, and the file in which it leaves its Result."""

    process: int
    outcome: Path

    def stop(self) -> None:
        """Ends the process, whatever it is doing."""
        with contextlib.suppress(ProcessLookupError, ChildProcessError):
            os.kill(self.process, signal.SIGKILL)
            os.waitpid(self.process, 0)

    def result(self) -> Result:
        """Waits for the process. Raises RuntimeError with its traceback when it failed, OSError on a full disk."""
        _, status = os.waitpid(self.process, 0)
        if not self.outcome.exists():
            if os.waitstatus_to_exitcode(status) == errno.ENOSPC:
                raise no_room(self.outcome.parent.parent)
            raise _failed("a worker process ended before its result was written")
        answer: Any = pickle.loads(self.outcome.read_bytes())  # our own file in our own folder
        if isinstance(answer, str):
            raise _failed(answer)
        return answer


def _failed(why: str) -> RuntimeError:
    """What happened elsewhere is a note, too, which tracebacks show: it is free of bytes of the capture."""
    error = RuntimeError(why)
    error.add_note(why)
    return error


def analyse(
    capture: Capture, modules: Mapping[str, RuleModule], cutoffs: Cutoffs, folder: Folder, jobs: int, epoch_packets: int,
    tell: Progress,
) -> tuple[Analysis, Iterator[Found], Joined, Joined]:  # fmt: skip
    """Analyses a capture in `jobs` processes, of which this is one.

    Returns this process's analysis, the candidates of all by epoch, and the rows of all of connections and exchanges,
    with the ids of the whole capture. Raises RuntimeError when another process failed.
    """
    parent = os.getpid()
    handover = Handover(jobs, epoch_packets)

    def unless_alone(_: float = 0) -> None:
        if os.getppid() != parent:
            folder.remove()  # nobody waits for a result any more: the parent was killed
            os._exit(1)

    def work(number: int) -> Callable[[], Analysis]:
        def do() -> Analysis:
            handover.become(number)
            analysis = Analysis(capture, modules, folder, cutoffs)
            try:
                analysis.follow(handover.epochs(number, analysis, epoch_packets), unless_alone, lambda found: found)
            except Lost:
                for _ in range(100):  # its pipes are closed before it is known to be gone
                    unless_alone()
                    time.sleep(0.01)
                raise
            return analysis

        return do

    workers = [start(folder, number, work(number)) for number in range(1, jobs)]
    handover.become(0)
    analysis = Analysis(capture, modules, folder, cutoffs)
    try:
        with contextlib.suppress(Lost):  # told by the result of the process that is gone
            analysis.follow(handover.epochs(0, analysis, epoch_packets), tell, lambda found: found)
        # where one is gone the others are, too: the last one, on which all depend, may know best why
        results = [worker.result() for worker in reversed(workers)][::-1]
    except BaseException:
        for worker in workers:
            worker.stop()
        raise
    for result in results:
        give_up(modules, result.failed)
    numbers = ids([analysis.opened, *(r.opened for r in results)])
    analysis.met.join(r.met for r in results)
    for result in results:
        analysis.duplicates += result.duplicates
        analysis.decoding.not_analysed.update(result.not_analysed)
        analysis.decoding.encapsulations.update(result.encapsulations)
        analysis.decoding.limits |= result.said
        analysis.decoding.longest_cut = max(analysis.decoding.longest_cut, result.longest_cut)
    return (
        analysis,
        join_found([analysis.found, *(r.found for r in results)], numbers),
        join_rows(analysis.connections, [r.connections for r in results], numbers),
        join_rows(analysis.exchanges, [r.exchanges for r in results], numbers),
    )


def start(folder: Folder, number: int, work: Callable[[], Analysis]) -> Worker:
    """Forks a process that does `work` and writes down what came of it."""
    folder.make()
    outcome = folder.new_file(f"share-{number}")
    # a signal waits meanwhile: an exception in what Python runs around a fork is printed and ignored
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    process = os.fork()
    if process:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return Worker(process, outcome)
    code = 0
    try:
        # Ctrl-C reaches all processes of a terminal; the parent alone reports it, and ends its workers
        for one in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(one, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        _write(outcome, _result(work()))
    except Lost:
        pass  # another process is gone, and this one has nothing to tell of it
    except BaseException as error:  # noqa: BLE001 - nothing may escape into the parent's code
        if isinstance(error, OSError) and error.errno in FULL:
            code = errno.ENOSPC
        else:
            with contextlib.suppress(OSError):
                _write(outcome, trace(error))
    finally:
        os._exit(code)


def _result(analysis: Analysis) -> Result:
    analysis.connections.write()
    analysis.exchanges.write()
    return Result(
        analysis.opened, analysis.found, (analysis.connections.files, analysis.connections.rows),
        (analysis.exchanges.files, analysis.exchanges.rows), analysis.duplicates, analysis.decoding.not_analysed,
        analysis.decoding.encapsulations, analysis.decoding.limits, analysis.decoding.longest_cut, analysis.met.counts,
        failures(analysis.modules),
    )  # fmt: skip


def _write(path: Path, answer: Result | str) -> None:
    part = path.with_suffix(".part")
    part.write_bytes(pickle.dumps(answer))
    part.rename(path)


def ids(opened: list[array[int]]) -> list[pl.Series]:
    """For each share the ids of its connections in the whole capture: they count in the order of their first frames."""
    shares = [np.frombuffer(frames, dtype=np.int64) for frames in opened]
    order = np.argsort(np.concatenate(shares), kind="stable")
    number = np.empty(len(order), dtype=np.int64)
    number[order] = np.arange(len(order))
    return [pl.Series(part) for part in np.split(number, np.cumsum([len(s) for s in shares])[:-1])]


def join_found(shares: Sequence[Iterable[Found]], numbers: list[pl.Series]) -> Iterator[Found]:
    """Candidates of all shares, epoch by epoch."""
    for epochs in zip(*shares, strict=True):
        parts: dict[str, list[pl.DataFrame]] = {}
        for found, number in zip(epochs, numbers, strict=True):
            for name, rows in found.items():
                fresh = renumbered(rows.lazy(), number, rows.columns).collect()
                parts.setdefault(name, []).append(fresh)
        yield {name: pl.concat(rows) for name, rows in parts.items()}


def join_rows(own: Spill, others: list[tuple[list[Path], int]], numbers: list[pl.Series]) -> Joined:
    """The rows of all shares with the ids of the whole capture; `numbers` are those of `own` and of the others."""
    names = own.table.schema.names()
    parts = [renumbered(own.scan(), numbers[0], names)]
    for (files, _), number in zip(others, numbers[1:], strict=True):
        parts += [renumbered(scan_files(files), number, names)] if files else []
    return Joined(parts, own.rows + sum(rows for _, rows in others))
