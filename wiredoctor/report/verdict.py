"""Whether a report is bad enough to fail for."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from wiredoctor.findings import SEVERITIES

if TYPE_CHECKING:
    from wiredoctor.findings import Report, Severity


def reached(report: Report, least: Severity, selected: Collection[str] = ()) -> bool:
    """A finding of this severity or worse. What is wrong with the capture itself is nobody's fault, unless it was selected."""
    bad = SEVERITIES[: SEVERITIES.index(least) + 1]
    return any(
        f.severity in bad and (f.family != "capture" or f.rule in selected or f.family in selected) for f in report.findings
    )
