"""A command line whose analysis is made up: what is tested here is everything around it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from tests.report.examples import capture_loss, connection, exchange, finding, hostile_finding, report
from wiredoctor.findings import Report


def typical() -> Report:
    """Three findings, four connections, four exchanges."""
    return report(
        [finding(), hostile_finding(), capture_loss()], [connection(i) for i in range(4)], [exchange(i) for i in range(4)]
    )


@dataclass
class FakeAnalysis:
    """Stands in for wiredoctor.pipeline.analyze."""

    report: Report = field(default_factory=typical)
    unreadable: list[str] = field(default_factory=list[str])
    raises: BaseException | None = None
    calls: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])

    def __call__(self, *paths: str, **options: Any) -> Report:
        self.calls.append({"paths": paths, **options})
        if self.raises:
            raise self.raises
        options["progress"](0.5)
        for line in self.unreadable:
            options["on_error"](line)
        return self.report


Run = Callable[..., Result]


@pytest.fixture
def analysis(monkeypatch: pytest.MonkeyPatch) -> FakeAnalysis:
    """The made-up analysis, in the place of the real one, with the real rules."""
    from wiredoctor.findings import configured
    from wiredoctor.rules import catalogue, set_thresholds

    fake, module = FakeAnalysis(), ModuleType("wiredoctor.pipeline")
    module.__dict__.update(analyze=fake, catalogue=catalogue, configured=configured, set_thresholds=set_thresholds)
    monkeypatch.setitem(sys.modules, "wiredoctor.pipeline", module)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.delenv("NO_COLOR", raising=False)
    return fake


@pytest.fixture
def run(analysis: FakeAnalysis) -> Run:
    """Runs a command line and gives its exit code, standard output and standard error."""
    from wiredoctor.cli.app import application

    app = application()
    return lambda *words: CliRunner().invoke(app, [str(w) for w in words])
