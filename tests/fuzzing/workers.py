"""Long-lived processes that try inputs: spawned, watched, replaced when they hang or die, and measured."""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Generic, TypeVar

from tests.fuzzing.guard import SECONDS, Trouble, cpu_seconds, peak_megabytes

Task, Answer = TypeVar("Task"), TypeVar("Answer")

GRACE = 2.5
"""Times SECONDS of CPU after which a process is ended that does not even answer its own alarm, and times ten of wall time."""


@dataclass
class Worker(Generic[Task]):
    """A process, what it is at work on, and since when (CPU and wall clock)."""

    process: BaseProcess
    pipe: Connection
    task: Task | None = None
    cpu: float = 0.0
    since: float = 0.0

    def give(self, task: Task) -> None:
        """Hands out the next task."""
        self.task, self.cpu, self.since = task, cpu_of(self.process.pid), time.monotonic()
        self.pipe.send((task,))

    @property
    def hangs(self) -> bool:
        """Whether its task takes too long."""
        if self.task is None:
            return False
        used, waited = cpu_of(self.process.pid) - self.cpu, time.monotonic() - self.since
        return used > GRACE * SECONDS or waited > 100 * SECONDS


@dataclass
class Measured:
    """Of the processes that have ended: how many, their largest peak of resident memory (MB), their CPU (s)."""

    processes: int = 0
    megabytes: list[float] = field(default_factory=list[float])
    cpu: float = 0.0
    replaced: int = 0


def work(
    function: Callable[[Task], Answer], tasks: Iterable[Task], jobs: int, measured: Measured
) -> Iterator[tuple[Task, Answer | Trouble]]:
    """(task, answer) as they come, from `jobs` processes; a Trouble for a task that its process did not survive."""
    waiting = iter(tasks)
    workers: list[Worker[Task]] = []
    for _ in range(jobs):
        worker = _start(function)
        workers.append(worker)
        _next(worker, waiting)
    while any(w.task is not None for w in workers):
        ready = wait([w.pipe for w in workers if w.task is not None], timeout=2)
        for i, worker in enumerate(workers):
            if worker.task is None:
                continue
            task = worker.task
            try:
                answer = worker.pipe.recv() if worker.pipe in ready else _overdue(worker)
            except EOFError:
                worker.process.join()
                answer = Trouble("crash", f"the process ended with {worker.process.exitcode}", "")
            if answer is None:
                continue
            if isinstance(answer, Trouble):
                _end(worker)
                measured.replaced += 1
                workers[i] = _start(function)
            _next(workers[i], waiting)
            yield task, answer
    for worker in workers:
        _finish(worker, measured)


def _next(worker: Worker[Task], waiting: Iterator[Task]) -> None:
    for task in waiting:
        worker.give(task)
        return
    worker.task = None


def _start(function: Callable[[Task], Any]) -> Worker[Task]:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, function), daemon=True)
    process.start()
    theirs.close()
    return Worker(process, ours)


def _serve(pipe: Connection, function: Callable[[Any], Any]) -> None:
    """What the other process does until it is told to stop."""
    os.nice(5)
    sys.stdout = sys.stderr
    while (given := pipe.recv()) is not None:
        pipe.send(function(given[0]))
    pipe.send((peak_megabytes(), cpu_seconds()))


def _overdue(worker: Worker[Task]) -> Trouble | None:
    if not worker.hangs:
        return None
    return Trouble("hang", "a process did not come back", f"{cpu_of(worker.process.pid) - worker.cpu:.0f} s of CPU")


def _end(worker: Worker[Task]) -> None:
    worker.pipe.close()
    worker.process.kill()
    worker.process.join()


def _finish(worker: Worker[Task], measured: Measured) -> None:
    worker.pipe.send(None)
    megabytes, cpu = worker.pipe.recv()
    measured.processes += 1
    measured.megabytes.append(megabytes)
    measured.cpu += cpu
    _end(worker)


def cpu_of(process: int | None) -> float:
    """Seconds of CPU that another process has taken so far."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
