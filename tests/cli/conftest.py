"""Run the command line with an invented analysis, to test everything around it."""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from tests.report.examples import capture_loss, connection, exchange, finding, hostile_finding, report
from wiredoctor.findings import Report
from wiredoctor.settings import Settings


def typical() -> Report:
    """Three findings, four connections, four exchanges."""
    return report(
        [finding(), hostile_finding(), capture_loss()], [connection(i) for i in range(4)], [exchange(i) for i in range(4)]
    )


@dataclass
class FakeAnalysis:
    """Stands in for wiredoctor.pipeline.run."""

    report: Report = field(default_factory=typical)
    unreadable: list[str] = field(default_factory=list[str])
    raises: BaseException | None = None
    calls: list[tuple[Sequence[str], Settings]] = field(default_factory=list[tuple[Sequence[str], Settings]])

    def __call__(self, paths: Sequence[str], settings: Settings, **options: Any) -> Report:
        self.calls.append((paths, settings))
        if self.raises:
            raise self.raises
        options["progress"](0.5)
        for line in self.unreadable:
            options["on_error"](line)
        return self.report


Run = Callable[..., Result]

_LISTENING = (
    "import os, signal, sys\n"
    "for name in ('SIGINT', 'SIGTERM', 'SIGHUP'): signal.signal(getattr(signal, name), signal.SIG_DFL)\n"
    "os.execv(sys.argv[1], sys.argv[1:])"
)
INTERRUPTIBLE = [sys.executable, "-c", _LISTENING]
"""Starts a program that does not ignore signals: a shell lets its background jobs, and so all that they start, ignore SIGINT."""


@pytest.fixture
def analysis(monkeypatch: pytest.MonkeyPatch) -> FakeAnalysis:
    """The made-up analysis, in the place of the real one, with the real rules."""
    from wiredoctor.findings import configured
    from wiredoctor.rule_engine import catalogue, set_thresholds

    fake, module = FakeAnalysis(), ModuleType("wiredoctor.pipeline")
    module.__dict__.update(run=fake, catalogue=catalogue, configured=configured, set_thresholds=set_thresholds)
    monkeypatch.setitem(sys.modules, "wiredoctor.pipeline", module)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.delenv("NO_COLOR", raising=False)
    return fake


@pytest.fixture
def run(analysis: FakeAnalysis) -> Run:
    """Runs a command line and gives its exit code, standard output and standard error."""
    from wiredoctor.cli.app import application

    def run_line(*words: object) -> Result:
        line = [str(w) for w in words]
        return CliRunner().invoke(application(line), line)

    return run_line


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A capture that takes a while."""
    path = tmp_path_factory.mktemp("large") / "large.pcap"
    record = struct.pack("<IIII", 1, 0, 1500, 1500) + bytes(1500)
    path.write_bytes(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1) + record * 400_000)
    yield path
    path.unlink()
