"""Whether a report is bad enough to fail for."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Literal

from wiredoctor.findings import SEVERITIES
from wiredoctor.report.coverage import reach
from wiredoctor.report.terminal.sentences import unexplained

if TYPE_CHECKING:
    from wiredoctor.findings import Finding, Report, Severity

Least = Literal["error", "warning", "note", "any"]
"""From which severity on a report fails; any: from a note on, or for what no finding explains."""


def reached(report: Report, least: Least, selected: Collection[str] = ()) -> bool:
    """Whether there is a finding to fail for; with `any` also whether something else keeps the report from saying that nothing
    is wrong: an end that no finding explains, a status of 500 or above, packets that the capture dropped."""
    if any(fails(one, least, selected) for one in report.findings):
        return True
    return least == "any" and (any(one.dropped for one in report.captures) or bool(unexplained(reach(report))))


def fails(one: Finding, least: Least, selected: Collection[str] = ()) -> bool:
    """A finding of this severity or worse. What is wrong with the capture itself is nobody's fault, unless it was selected."""
    severity: Severity = "note" if least == "any" else least
    bad = SEVERITIES[: SEVERITIES.index(severity) + 1]
    return one.severity in bad and (one.family != "capture" or one.rule in selected or one.family in selected)
