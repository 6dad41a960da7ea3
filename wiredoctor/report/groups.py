"""Like findings together: one rule, kind, side and endpoint pair is one paragraph for people."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from wiredoctor.findings import SEVERITIES, Finding, causes_first, group_key

MOST_GROUPS = 10
"""Paragraphs that a report for people has unless it is asked for all: the worst, as many as somebody reads."""


@dataclass(frozen=True)
class Group:
    """Findings that one change would cure, in the order of the report."""

    findings: tuple[Finding, ...]

    @cached_property
    def worst(self) -> Finding:
        """The one that cost most; of equals the first."""
        return max(self.findings, key=lambda f: (f.delay or 0.0, -f.elapsed))

    @cached_property
    def count(self) -> int:
        """How many events."""
        return sum(f.count for f in self.findings)

    @cached_property
    def delay(self) -> float | None:
        """Return the total time (s); None if no finding cost time."""
        delays = [f.delay for f in self.findings if f.delay is not None]
        return sum(delays) if delays else None

    def badness(self) -> tuple[int, float, int, float]:
        """Sorts the worst first."""
        worst = self.worst
        return SEVERITIES.index(worst.severity), -(self.delay or 0.0), -self.count, worst.elapsed


def grouped(findings: Iterable[Finding]) -> list[Group]:
    """The groups, worst first: by severity, then by time lost, then by number; but a cause before what it causes."""
    groups: dict[tuple[str | None, ...], list[Finding]] = {}
    for f in findings:
        groups.setdefault(group_key(f), []).append(f)
    return causes_first(sorted((Group(tuple(g)) for g in groups.values()), key=Group.badness), lambda group: group.findings)
