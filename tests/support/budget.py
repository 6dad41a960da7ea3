"""CPU time of the quick tests against the budget of their folder: `python -m pytest -n auto -p tests.support.budget`.

It lists each folder that needs more than its budget, and each test above `LONGEST`. No run fails for that: machines are noisy.
`.ci/run` runs the quick tests this way.
"""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import PurePath
from typing import Any

import pytest

BUDGETS = {
    "tests": 14,
    "tests/access_log": 2,
    "tests/capture": 3,
    "tests/captures": 55,
    "tests/cli": 31,
    "tests/compare": 8,
    "tests/core": 10,
    "tests/decode": 3,
    "tests/engine": 1,
    "tests/extract": 3,
    "tests/fuzzing": 1,
    "tests/gateways": 2,
    "tests/http": 8,
    "tests/interfaces": 2,
    "tests/ladders": 1,
    "tests/live": 16,
    "tests/pipeline": 22,
    "tests/power": 1,
    "tests/recording": 10,
    "tests/report": 26,
    "tests/rules": 66,
    "tests/tcp": 7,
    "tests/text": 1,
}
"""Folder -> seconds of CPU that its quick tests should take at most, with the processes that they start and wait for.

They are those of a machine without tshark, tcpdump, Chromium and libpcap, on which `.ci/run` runs README's commands. All may take
300: two cores do 360 in three minutes, and some tests wait. Collecting the tests takes 12 to 16 of them.
"""

LONGEST = 10
"""Seconds of CPU that a quick test should take at most."""


def cpu_time() -> float:
    """Return the seconds of CPU of this process and of all processes that it has waited for."""
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


class Budget:
    """The CPU time of all tests; each worker of xdist measures its own and sends them with its reports."""

    def __init__(self) -> None:
        self.last = cpu_time()
        self.tests: Counter[str] = Counter()

    @pytest.hookimpl
    def pytest_collection_finish(self) -> None:
        self.last = cpu_time()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self) -> Iterator[Any]:
        report = yield
        now = cpu_time()
        report.user_properties.append(("cpu", now - self.last))
        self.last = now
        return report

    @pytest.hookimpl
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.tests[report.nodeid] += dict(report.user_properties).get("cpu", 0)

    def folders(self) -> dict[str, float]:
        """Return the seconds of each folder."""
        used: dict[str, float] = defaultdict(float)
        for test, seconds in self.tests.items():
            used[folder_of(test)] += seconds
        return used

    def excesses(self) -> list[str]:
        """Return a line for each folder and each test that took too long."""
        folders = [(name, seconds, BUDGETS.get(name, 0)) for name, seconds in self.folders().items()]
        tests = [(name, seconds, LONGEST) for name, seconds in self.tests.items()]
        return [
            f"{name}: {seconds:.0f} s of CPU, allowed are {most}" for name, seconds, most in (*folders, *tests) if seconds > most
        ]

    @pytest.hookimpl
    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        terminalreporter.section("seconds of CPU")
        for name, seconds in sorted(self.folders().items(), key=lambda one: -one[1]):
            terminalreporter.write_line(f"{seconds:6.1f} of {BUDGETS.get(name, 0):3} {name}")
        terminalreporter.write_line(f"{sum(self.tests.values()):6.1f} of {sum(BUDGETS.values())} in all")
        for line in self.excesses():
            terminalreporter.write_line(f"too much: {line}", red=True)


def folder_of(test: str) -> str:
    """Return the folder below tests/ of a node id."""
    path = PurePath(test.partition("::")[0])
    return "/".join(path.parts[: min(2, len(path.parts) - 1)])


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Budget())
