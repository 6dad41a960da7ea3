"""Count the requests and connections that failed, and find the cause of most of these failures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from wiredoctor.findings import Finding

if TYPE_CHECKING:
    from wiredoctor.findings import Report
    from wiredoctor.report.coverage import Coverage

FAILURES: Mapping[str, tuple[str | None, ...] | None] = {
    "auth-connection-closed": None,
    "client-abort": ("timeout", "gave-up"),
    "connect-failed": None,
    "foreign-reset": None,
    "gateway-error": None,
    "invalid-chunk": None,
    "keep-alive-race": None,
    "malformed-head": ("no-status-line",),
    "no-response": None,
    "truncated-response": None,
    "unanswered": None,
}
"""Rules whose errors mean that a request, or a connection, failed for the client, with the kinds that count (None: all)."""

_CHUNKS = "invalid-chunk"
"""Counts only in a response, which its client cannot read; a server answers such a request."""

_GAVE_UP = "client-abort"
"""A rule whose warnings count, too: the client did not get its response, although nothing violated the protocol."""

_IDLE = "idle-close"
_NO_CONNECTION = "connect-failed"

Place = tuple[str, int, int]
"""The key of an exchange: capture, connection, exchange."""


class FailedRequests(NamedTuple):
    """The number of failed requests as clients saw them, and of connections that failed without a request.

    `cause`: the finding that explains most of them, and how many it explains. `at_least`: the true number may be higher, because
    a limit left out findings or some rules did not run. `idle_timeouts`: seconds by capture and server, if known.
    """

    requests: int
    of_requests: int
    connections: int
    of_connections: int
    cause: tuple[Finding, int]
    at_least: bool
    idle_timeouts: Mapping[tuple[str, str | None], float]


_NO_CAUSE: tuple[Finding, int] = (None, 0)  # type: ignore[assignment]


def knows_failures(report: Report) -> bool:
    """Return whether every rule that reports failed requests ran; otherwise a report without them proves nothing."""
    return not any(rule.ends for rule in report.unasked.values())


def find_failed(report: Report, reach: Coverage) -> FailedRequests:
    """Return what failed; a request that a gateway forwarded counts once, as the gateway's client saw it."""
    failed = failed_exchanges(report)
    backs = _backs(report, failed.values())
    causes = _Causes(report.findings)
    by_request = {place: f for place, f in failed.items() if place not in backs}
    lost = [(f, f.count) for f in _failed_connections(report)]
    shown = [(f, 1) for f in by_request.values()] if by_request else lost
    number = Counter(f.rule for f in report.findings)
    hidden = any(report.totals[rule].findings > number[rule] for rule in FAILURES if rule in report.totals)
    failed_connections = sum(times for _, times in lost)
    return FailedRequests(
        len(by_request),
        max(reach.answers.requests, len(by_request)),
        failed_connections,
        max(reach.connections, failed_connections),
        causes.most_frequent(shown),
        at_least=(hidden and not report.left_out) or not knows_failures(report),
        idle_timeouts=_idle_timeouts(report.findings),
    )


def failed_exchanges(report: Report) -> dict[Place, Finding]:
    """Return the failed exchanges on both sides of a gateway, each with its first finding."""
    failed: dict[Place, Finding] = {}
    for f in report.findings:
        if _is_failure(f) and (place := _place(f)) is not None:
            failed.setdefault(place, f)
    return failed


def failed_connections_by_server(report: Report, *, established: bool = False) -> Counter[str]:
    """Return the number of connections to each server that failed without a request; `established`: only after a SYN-ACK."""
    failed: Counter[str] = Counter()
    for f in _failed_connections(report):
        if not established or f.rule != _NO_CONNECTION or f.kind == "closed-at-once":
            failed[f.server or ""] += f.count
    return failed


def _failed_connections(report: Report) -> list[Finding]:
    return [f for f in report.findings if _is_failure(f) and _place(f) is None and f.family != "gateways"]


def _place(f: Finding) -> Place | None:
    return None if f.connection is None or f.exchange is None else (f.capture, f.connection, f.exchange)


def _is_failure(f: Finding) -> bool:
    if f.rule not in FAILURES or (f.rule == _CHUNKS and f.side != "server"):
        return False
    kinds = FAILURES[f.rule]
    return (f.severity == "error" or f.rule == _GAVE_UP) and (kinds is None or f.kind in kinds)


def _backs(report: Report, failures: Iterable[Finding]) -> set[Place]:
    """Return the exchanges with findings that a gateway certainly sent for a request of its client."""
    import polars as pl

    backs: set[Place] = set()
    wanted = {f.connection for f in failures if f.connection is not None}
    for capture, known in report.gateways.items():
        if wanted and known.tries.height:
            rows = known.tries.filter(
                pl.col("certain") & pl.col("exchange").is_not_null() & pl.col("connection").is_in(sorted(wanted))
            )
            backs |= {(capture, *row) for row in rows.select("connection", "exchange").iter_rows()}
    return backs


def _idle_timeouts(findings: Iterable[Finding]) -> dict[tuple[str, str | None], float]:
    """Return the idle timeout of each server for which a finding of idle-close measured it."""
    return {
        (f.capture, f.server): float(f.measures["limit"])
        for f in findings
        if f.rule == _IDLE and f.kind != "stop" and "limit" in f.measures
    }


class _Causes:
    """Finds the first cause of a finding."""

    def __init__(self, findings: Iterable[Finding]) -> None:
        self._at = {f.place: f for f in findings}

    def most_frequent(self, failures: Iterable[tuple[Finding, int]]) -> tuple[Finding, int]:
        """Return the cause of most failures (on a tie, the first), as its longest occurrence, and the number of failures."""
        number: Counter[tuple[str | None, ...]] = Counter()
        example: dict[tuple[str | None, ...], Finding] = {}
        for f, times in failures:
            first = self._first(f)
            key = (first.rule, first.kind, first.server)
            number[key] += times
            longest = example.setdefault(key, first)
            if (first.delay or 0.0) > (longest.delay or 0.0):
                example[key] = first
        if not number:
            return _NO_CAUSE
        key, times = max(number.items(), key=lambda one: one[1])
        return example[key], times

    def _first(self, f: Finding) -> Finding:
        seen = {f.place}
        while True:
            known = (self._at.get((f.capture, cause)) for cause in f.caused_by)
            before = next((one for one in known if one is not None and one.place not in seen), None)
            if before is None:
                return f
            seen.add(before.place)
            f = before
