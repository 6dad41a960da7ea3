"""Whether a report is bad enough to fail for."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from wiredoctor.findings import SEVERITIES

if TYPE_CHECKING:
    from wiredoctor.findings import Finding, Report, Severity


def reached(report: Report, least: Severity, selected: Collection[str] = ()) -> bool:
    """Whether there is a finding to fail for."""
    return any(fails(one, least, selected) for one in report.findings)


def fails(one: Finding, least: Severity, selected: Collection[str] = ()) -> bool:
    """A finding of this severity or worse. What is wrong with the capture itself is nobody's fault, unless it was selected."""
    bad = SEVERITIES[: SEVERITIES.index(least) + 1]
    return one.severity in bad and (one.family != "capture" or one.rule in selected or one.family in selected)
