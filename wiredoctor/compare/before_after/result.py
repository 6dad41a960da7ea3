"""Data types for the result of comparing a first input ("before") with a second one ("after").

Times are in seconds.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from wiredoctor.findings import Severity

Verdict = Literal["slower", "faster", "same", "too-few", "unknown"]
"""The result of comparing times.

`same`: no significant difference was found, although one may exist. `too-few`: a side has too few exchanges. `unknown`: a side
has no times.
"""

Status = Literal["fixed", "not-seen-again", "new", "stayed"]
"""The result of comparing findings. `not-seen-again`: "after" does not have the finding, but chance alone may explain that."""

Frequency = Literal["more-often", "less-often", "same"]


FAILURES = {"gateway-error": "responses", "websocket-failed": "requests"}
"""For each rule whose findings stand for all failures of a server, the name of the measure that counts these failures."""


@dataclass(frozen=True)
class Spread:
    """A summary of durations: their number, median and 95th percentile (None if there are fewer than 20)."""

    count: int
    median: float
    p95: float | None


@dataclass(frozen=True)
class Shift:
    """How times changed from before to after.

    `difference`: the median after minus the median before. `low`, `high`: the bounds of the 99 % confidence interval of
    `difference`. `probability`: the probability that chance alone causes a difference at least this large (Mann-Whitney test,
    two-sided). `verdict`: the result for the medians. `tail`: the result for the 95th percentiles.
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
    """The findings with one fingerprint, before and after.

    `before`, `after`: the number of occurrences; for the rules in FAILURES, the number of failures. `chances_before`,
    `chances_after`: how often the finding could have occurred; None if unknown. `of`: the unit of `chances_before` and
    `chances_after`. `delay_before`, `delay_after`: the total time lost. `why`: the reason if the status is uncertain, otherwise
    empty.

    "exchanges" in `of` are the exchanges with the endpoint, or with the server if the finding has no request. If a report does
    not list its exchanges, all exchanges count. "connections" are the connections to the server.
    """

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
    """How the exchanges with one endpoint changed. An endpoint is a server, a method, and a path with `#` in place of numbers.

    `total`: the time from the first byte of the request to the last byte of the response. `server_time`: the time from the last
    byte of the request to the first byte of the response.
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
    """The findings of one rule, before and after.

    `judged_before`, `judged_after`: True if the capture contained something that the rule could judge. `before`, `after`: the
    number of occurrences; for the rules in FAILURES, the number of failures. `delay_before`, `delay_after`: the total time lost.
    """

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
    """One of the two inputs: its name, its captures, and the number of its connections, exchanges and findings.

    `delay`: the total time lost in seconds. `first_time`, `last_time`: the times of the first and the last packet (RFC 3339).
    """

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
    """True if the side has the times of its exchanges. A JSON report has them only if it was written with --full."""


@dataclass(frozen=True)
class Changes:
    """The result of the comparison.

    `any_server`, `tolerance`: the options of `compare`. `findings`: the most important first. `endpoints`: those with the
    greatest change first. `endpoints_left_out`: the number of endpoints that were not compared. `rules`: the rules with findings
    on either side. `notes`: sentences about limitations.
    """

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
    mismatch: str = field(default="", metadata={"private": True})
    """The first note if it explains why no requests can be compared, otherwise empty."""

    def of(self, status: Status) -> list[FindingChange]:
        """Return the findings with this status."""
        return [one for one in self.findings if one.status == status]
