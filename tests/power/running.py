"""Plugin of pytest that runs the chosen cases kind by kind, and ends a kind at the first failure: `-p tests.power.running`.

The environment variable TASK names a JSON file that says what to run; see `Task`.
"""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from _pytest.runner import runtestprotocol

from tests.power.kinds import kinds_of
from tests.power.listing import is_thinned
from tests.support.budget import cpu_time

TASK = "WIREDOCTOR_POWER_TASK"
WHOLE = "tests/captures/"
"""Tests of whole recordings, which come after those of parts: they take longer."""
IDLE = 4
"""A kind ends after this many times its seconds of CPU if it waits, or if the machine is busy."""
LONGEST = 60
"""After this many seconds of CPU a case counts as failed: it hangs."""


class Task(NamedTuple):
    """What to run.

    `kinds`: kind -> seconds of CPU that it may take. `near`: a pattern for the cases of the changed part, which come first.
    `share`: of the other cases, each of this number; 0 for none. `skip`: cases that fail without the fault, too. `only`: run
    these cases instead, all of them. `results`: a line of JSON is appended to this file for each kind.
    """

    kinds: dict[str, float]
    near: str
    share: int
    skip: list[str]
    only: list[str]
    results: str


class Cases:
    """The cases of each kind, in the order in which they run."""

    def __init__(self) -> None:
        self.task = Task(**json.loads(Path(os.environ[TASK]).read_text("utf-8")))
        self.by_kind: dict[str, list[pytest.Item]] = {}
        self.broken: list[str] = []

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> Iterator[None]:
        yield
        for item in items:
            slow, generates = item.get_closest_marker("slow"), _generates_input(item)
            for kind in kinds_of(item.nodeid, slow=slow is not None, thinned=is_thinned(slow), hypothesis=generates):
                self.by_kind.setdefault(kind, []).append(item)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.broken.append(report.nodeid)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        if self.task.only:
            self.run_all(session)
            return True
        for kind, seconds in self.task.kinds.items():
            if self.broken:
                write(self.task, result_of(kind, "noticed", self.broken[0]))
            else:
                self.run_kind(session, kind, seconds)
        return True

    def run_kind(self, session: pytest.Session, kind: str, seconds: float) -> None:
        """Run the cases of a kind until one fails or the time is over, and write the result."""
        chosen = self.choose(kind)
        start, cpu, done, result, failed = time.monotonic(), cpu_time(), 0, "not", ""
        for item, following in zip_longest(chosen, chosen[1:]):
            if cpu_time() - cpu > seconds or time.monotonic() - start > IDLE * seconds:
                result = "timed out"
                break
            write_state(self.task, kind, item.nodeid)
            done += 1
            if fails(item, following):
                result, failed = "noticed", item.nodeid
                break
        session._setupstate.teardown_exact(None)  # pyright: ignore[reportPrivateUsage]
        used = {"cpu": round(cpu_time() - cpu, 2), "wall": round(time.monotonic() - start, 2)}
        write(self.task, result_of(kind, result, failed, cases=done, of=len(chosen), **used))

    def run_all(self, session: pytest.Session) -> None:
        """Run the cases that the task names, and write which of them pass."""
        everything = {item.nodeid: item for items in self.by_kind.values() for item in items}
        for case in self.task.only:
            write_state(self.task, "", case)
            passes = case in everything and not fails(everything[case], None)
            write(self.task, {"case": case, "passes": passes})

    def choose(self, kind: str) -> list[pytest.Item]:
        """Return the cases of the changed part, then a share of the others, which does not depend on what was changed."""
        cases, near, skip = self.by_kind.get(kind, []), re.compile(self.task.near), {*self.task.skip}
        own = [item for item in cases if near.search(item.nodeid)]
        own.sort(key=lambda item: _distance(near, item.nodeid))
        others = cases[self.task.share // 2 :: self.task.share] if self.task.share else []
        return [item for item in dict.fromkeys([*own, *others]) if item.nodeid not in skip]


def _distance(near: re.Pattern[str], case: str) -> tuple[bool, bool, bool]:
    """Return a sort key: first what is near by the name of its file, then by its parameters, and whole recordings last."""
    file, parameters = case.partition("::")[0], case.partition("[")[2]
    return near.search(file) is None, WHOLE in case, near.search(parameters) is None


def fails(item: pytest.Item, following: pytest.Item | None) -> bool:
    """Run a case and return whether it failed."""
    signal.signal(signal.SIGPROF, _hang)
    signal.setitimer(signal.ITIMER_PROF, LONGEST)
    try:
        return any(report.failed for report in runtestprotocol(item, log=False, nextitem=following))
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def result_of(kind: str, result: str, case: str, **more: float) -> dict[str, Any]:
    """Return the result of a kind: "noticed" by a `case`, "not", or "timed out"; the numbers of cases, and the seconds."""
    return {"kind": kind, "result": result, "case": case, **{"cases": 0, "of": 0, "cpu": 0.0, "wall": 0.0, **more}}


def write(task: Task, result: dict[str, Any]) -> None:
    """Append a result."""
    with open(task.results, "a", encoding="utf-8") as file:
        file.write(json.dumps(result) + "\n")


def write_state(task: Task, kind: str, case: str) -> None:
    """Write which case is running, in case the process does not survive it."""
    Path(task.results + ".state").write_text(json.dumps({"kind": kind, "case": case}), "utf-8")


def _hang(*_: object) -> None:
    pytest.fail(f"not finished after {LONGEST} s of CPU")


def _generates_input(item: pytest.Item) -> bool:
    return bool(getattr(getattr(item, "obj", None), "is_hypothesis_test", False))


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Cases())
