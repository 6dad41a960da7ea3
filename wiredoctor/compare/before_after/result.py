"""The result of comparing two reports: data types that reports can import.

Times are seconds. "Before" and "after" are the two things compared, in the order in which they were named.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from wiredoctor.findings import Severity

Verdict = Literal["slower", "faster", "same", "too-few", "unknown"]
"""same: no difference that is more than chance and worth telling was shown, which does not mean that there is none. too-few: not
enough exchanges on a side to say anything. unknown: a side has no times."""

Status = Literal["fixed", "not-seen-again", "new", "stayed"]
"""not-seen-again: it is not in "after", but that would be no wonder if nothing had changed."""

Frequency = Literal["more-often", "less-often", "same"]


@dataclass(frozen=True)
class Spread:
    """How long something took: how many, the one in the middle, and what 95 % of them stay below (None: fewer than 20)."""

    count: int
    median: float
    p95: float | None


@dataclass(frozen=True)
class Shift:
    """The times of before against those of after.

    difference: of the medians, after - before, and low..high: where it lies with 99 % confidence. probability: of a difference
    like this by chance alone (Mann-Whitney, two-sided). tail: the verdict on the 95th percentiles.
    """

    before: Spread | None
    after: Spread | None
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    probability: float | None = None
    verdict: Verdict = "unknown"
    tail: Verdict = "unknown"


@dataclass(frozen=True)
class FindingChange:
    """Findings of one fingerprint on both sides. `chances`: exchanges with its endpoint, or connections with its server (`of`
    says which), or None where the side does not tell."""

    status: Status
    rule: str
    kind: str | None
    family: str
    severity: Severity
    title: str
    server: str | None
    request: str | None
    fingerprint: str
    of: Literal["exchanges", "connections", "captures"]
    before: int
    after: int
    chances_before: int | None
    chances_after: int | None
    frequency: Frequency
    delay: Shift
    delay_before: float
    delay_after: float
    why: str


@dataclass(frozen=True)
class EndpointChange:
    """Exchanges with one endpoint: server, method, and path without digits (`#` stands for them).

    total: from the first byte of the request to the last of the response. server_time: from the last byte of the request to the
    first of the response.
    """

    server: str | None
    method: str
    path: str
    exchanges_before: int
    exchanges_after: int
    total: Shift
    server_time: Shift


@dataclass(frozen=True)
class RuleChange:
    """All findings of one rule. judged: whether the side could be judged by it. delay: what its findings cost in all."""

    rule: str
    family: str
    judged_before: bool
    judged_after: bool
    before: int
    after: int
    delay_before: float
    delay_after: float


@dataclass(frozen=True)
class Source:
    """One of the two sides: what it was named, and what is in it."""

    name: str
    kind: Literal["captures", "report"]
    captures: list[str]
    connections: int
    exchanges: int
    findings: int
    delay: float
    first_time: str | None
    last_time: str | None
    times: bool
    """Whether it has the times of its exchanges: a JSON report has them with --full only."""


@dataclass(frozen=True)
class Changes:
    """What became of before. `findings`: those that matter most first. `notes`: what limits the comparison, in sentences."""

    version: str
    before: Source
    after: Source
    any_server: bool
    tolerance: float
    findings: list[FindingChange] = field(default_factory=list[FindingChange])
    endpoints: list[EndpointChange] = field(default_factory=list[EndpointChange])
    rules: list[RuleChange] = field(default_factory=list[RuleChange])
    notes: list[str] = field(default_factory=list[str])
    endpoints_left_out: int = 0

    def of(self, status: Status) -> list[FindingChange]:
        """The findings of this status."""
        return [one for one in self.findings if one.status == status]
