"""Whether a report is bad enough to fail for."""

from __future__ import annotations

import pytest

from tests.report.examples import capture_loss, finding, report
from wiredoctor.findings import Severity
from wiredoctor.report.fail_on import reaches_level


@pytest.mark.parametrize(
    ("worst", "least", "fails"),
    [
        ("error", "error", True),
        ("error", "note", True),
        ("warning", "error", False),
        ("warning", "warning", True),
        ("note", "warning", False),
        ("note", "note", True),
    ],
)
def test_severities(worst: Severity, least: Severity, fails: bool) -> None:
    assert reaches_level(report([finding(severity=worst)]), least) == fails


def test_the_capture_is_nobodys_fault() -> None:
    loss = report([capture_loss(severity="error")])
    assert not reaches_level(loss, "note")
    assert reaches_level(loss, "error", ["capture"])
    assert reaches_level(loss, "error", ["capture-loss"])
    assert not reaches_level(loss, "error", ["stalls"])


def test_nothing_found() -> None:
    assert not reaches_level(report(), "note")
