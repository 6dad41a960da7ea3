"""Contradictions between findings are seen."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.pipeline.agreement import disagreements
from tests.report.examples import connection, exchange, finding, report
from wiredoctor.findings import Cause, Evidence, Finding


def told(*findings: Finding, **changes: Any) -> list[str]:
    return disagreements(report([*findings], [connection(3)], [exchange(3, index) for index in range(4)], **changes))


def at(rule: str, first: float, last: float, delay: float | None = None, **changes: Any) -> Finding:
    """A finding on exchange 2, which takes from 0.42 to 0.464 s, by these two packets."""
    packets = (Evidence(31, first, ""), Evidence(38, last, ""))
    return finding(**{"rule": rule, "elapsed": first, "evidence": packets, "delay": delay} | changes)


def test_a_stall_that_fits_its_exchange() -> None:
    assert told(at("nagle-delayed-ack", 0.42, 0.46, 0.04)) == []


@pytest.mark.parametrize(
    ("findings", "word"),
    [
        ([at("nagle-delayed-ack", 0.42, 0.46, 0.2)], "took"),
        ([at("nagle-delayed-ack", 0.42, 0.46, 0.03), at("tinygrams", 0.42, 0.46, 0.03)], "took"),
        ([at("nagle-delayed-ack", 0.42, 0.46, -0.1)], "delay"),
        ([at("zero-window-stall", 0.3, 0.344, 0.2, exchange=None)], "lasted"),
        ([at("slow-response", 0.421, 0.46, 0.03), at("zero-window-stall", 0.425, 0.46, 0.01)], "explains"),
        ([at("premature-close", 0.42, 0.46), at("client-abort", 0.42, 0.46)], "premature-close"),
        ([at("missing-framing", 0.42, 0.46), at("close-delimited", 0.42, 0.46)], "missing-framing"),
        ([at("missing-framing", 0.42, 0.46), at("excess-body", 0.42, 0.46)], "excess-body"),
        ([at("idle-close", 0.42, 0.46), at("keep-alive-race", 0.42, 0.46, exchange=3)], "explains"),
        ([at("keep-alive-disabled", 0, 0), at("no-connection-reuse", 0, 0)], "no-connection-reuse"),
        ([at("keep-alive-race", 0.42, 0.46, caused_by=(Cause("premature-close", 9),))], "not reported"),
    ],
)
def test_a_contradiction_is_seen(findings: list[Finding], word: str) -> None:
    assert any(word in line for line in told(*findings))


def test_a_symptom_before_its_cause_is_seen() -> None:
    cause = at("premature-close", 0.42, 0.46)
    effect = at("keep-alive-race", 0.5, 0.6, exchange=3, severity="error", caused_by=(cause.place[1],))
    assert told(cause, effect) == []
    assert len(told(effect, cause)) == 1
    alike = replace(effect, severity=cause.severity)
    assert told(cause, alike) == []


def test_more_time_in_all_than_in_each_is_seen() -> None:
    assert told(at("nagle-delayed-ack", 0.42, 0.46, 0.04), delay=0.05) != []
