"""Decide whether a report makes the command fail (exit code 1)."""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal

from wiredoctor.findings import SEVERITIES, Finding, Report, Severity
from wiredoctor.report.coverage import find_coverage
from wiredoctor.report.unexplained import unexplained

Least = Literal["error", "warning", "note", "any"]
"""The lowest severity that makes the command fail. With "any", notes and unexplained failures count, too (see `reaches_level`).
"""


def reaches_level(report: Report, least: Least, selected: Collection[str] = ()) -> bool:
    """Return whether the report makes the command fail.

    The command fails if `fails` is true for one of the findings. If `least` is "any", the command also fails if packets were
    dropped, or if `unexplained` returns anything: exchanges without a complete response, failed connections, or statuses of 500
    or above that no finding explains.
    """
    if any(fails(one, least, selected) for one in report.findings):
        return True
    return least == "any" and (any(one.dropped for one in report.captures) or bool(unexplained(find_coverage(report))))


def fails(one: Finding, least: Least, selected: Collection[str] = ()) -> bool:
    """Return whether a finding is at least as severe as `least`.

    Findings about the capture itself count only if their rule or family is in `selected`.
    """
    severity: Severity = "note" if least == "any" else least
    bad = SEVERITIES[: SEVERITIES.index(severity) + 1]
    return one.severity in bad and (one.family != "capture" or one.rule in selected or one.family in selected)
