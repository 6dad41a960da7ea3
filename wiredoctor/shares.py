"""Work per connection is independent: another process takes a share of the connections, and this joins what it found.

The other process is forked before anything has run in Polars (its threads do not survive a fork), reads the same file,
and leaves its tables in the shared temporary folder.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import traceback
from array import array
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from wiredoctor.analysis import Analysis, Found, Progress
from wiredoctor.capture import Capture
from wiredoctor.rules import RuleModule, failures, give_up
from wiredoctor.spill import Folder, Joined, Spill, renumbered


@dataclass
class Result:
    """What a share came to: its connections' first frames by id, candidates by epoch, files of rows, and counts."""

    opened: array[int]
    found: list[Found]
    connections: tuple[list[Path], int]
    exchanges: tuple[list[Path], int]
    duplicates: int
    limits: list[str]
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
        """Waits for the process. Raises RuntimeError with its traceback when it failed."""
        os.waitpid(self.process, 0)
        if not self.outcome.exists():
            raise RuntimeError("a worker process ended before its result was written")
        answer: Any = pickle.loads(self.outcome.read_bytes())  # our own file in our own folder
        if isinstance(answer, str):
            raise RuntimeError(answer)
        return answer


def analyse(
    capture: Capture, again: Callable[[], Capture], modules: Mapping[str, RuleModule], folder: Folder, jobs: int,
    epoch_packets: int, tell: Progress,
) -> tuple[Analysis, list[Found], Joined, Joined]:  # fmt: skip
    """Analyses a capture in `jobs` processes, of which this is one. `again` opens the capture once more.

    Returns this process's analysis, the candidates of all by epoch, and the rows of all of connections and exchanges,
    with the ids of the whole capture. Raises RuntimeError when another process failed.
    """

    parent = os.getpid()

    def unless_alone(_: float) -> None:
        if os.getppid() != parent:
            folder.remove()  # nobody waits for a result any more: the parent was killed
            os._exit(1)

    def work(number: int) -> Callable[[], Analysis]:
        def do() -> Analysis:
            with again() as own:
                analysis = Analysis(own, modules, folder, (number, jobs))
                analysis.run(epoch_packets, unless_alone, lambda found: found)
                return analysis

        return do

    workers = [start(folder, number, work(number)) for number in range(1, jobs)]
    analysis = Analysis(capture, modules, folder, (0, jobs))
    try:
        analysis.run(epoch_packets, tell, lambda found: found)
        results = [worker.result() for worker in workers]
    except BaseException:
        for worker in workers:
            worker.stop()
        raise
    for result in results:
        give_up(modules, result.failed)
    numbers = ids([analysis.opened, *(r.opened for r in results)])
    analysis.duplicates += sum(r.duplicates for r in results)
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
    process = os.fork()
    if process:
        return Worker(process, outcome)
    try:
        _write(outcome, _result(work()))
    except BaseException:  # noqa: BLE001 - nothing may escape into the parent's code
        with contextlib.suppress(OSError):
            _write(outcome, traceback.format_exc())
    finally:
        os._exit(0)


def _result(analysis: Analysis) -> Result:
    analysis.connections.write()
    analysis.exchanges.write()
    return Result(
        analysis.opened, analysis.found, (analysis.connections.files, analysis.connections.rows),
        (analysis.exchanges.files, analysis.exchanges.rows), analysis.duplicates, list(analysis.decoding.limits.values()),
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


def join_found(shares: list[list[Found]], numbers: list[pl.Series]) -> list[Found]:
    """Candidates of all shares, epoch by epoch."""
    joined: list[Found] = []
    for epochs in zip(*shares, strict=True):
        parts: dict[str, list[pl.DataFrame]] = {}
        for found, number in zip(epochs, numbers, strict=True):
            for name, rows in found.items():
                fresh = renumbered(rows.lazy(), number, rows.columns).collect()
                parts.setdefault(name, []).append(fresh)
        joined.append({name: pl.concat(rows) for name, rows in parts.items()})
    return joined


def join_rows(own: Spill, others: list[tuple[list[Path], int]], numbers: list[pl.Series]) -> Joined:
    """The rows of all shares with the ids of the whole capture; `numbers` are those of `own` and of the others."""
    names = own.table.schema.names()
    parts = [renumbered(own.scan(), numbers[0], names)]
    for (files, _), number in zip(others, numbers[1:], strict=True):
        parts += [renumbered(pl.scan_ipc(path), number, names) for path in files]
    return Joined(parts, own.rows + sum(rows for _, rows in others))
