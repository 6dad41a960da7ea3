"""Whether a report is bad enough to fail for."""

from __future__ import annotations

import pytest

from tests.report.examples import capture_loss, finding, report
from wiredoctor.findings import Severity
from wiredoctor.report.fail_on import reached


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
    assert reached(report([finding(severity=worst)]), least) == fails


def test_the_capture_is_nobodys_fault() -> None:
    loss = report([capture_loss(severity="error")])
    assert not reached(loss, "note")
    assert reached(loss, "error", ["capture"])
    assert reached(loss, "error", ["capture-loss"])
    assert not reached(loss, "error", ["stalls"])


def test_nothing_found() -> None:
    assert not reached(report(), "note")
