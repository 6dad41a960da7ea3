"""Count the requests and connections that failed, and find the cause of most of these failures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Literal, NamedTuple

from wiredoctor.findings import Finding, LeftOutBy, Report

FAILURES: Mapping[str, tuple[str | None, ...] | None] = {
    "auth-connection-closed": None,
    "client-abort": ("timeout", "gave-up", "repeated"),
    "connect-failed": None,
    "foreign-reset": None,
    "gateway-error": None,
    "invalid-chunk": None,
    "keep-alive-race": None,
    "malformed-head": ("no-status-line", "speaks-first"),
    "no-response": None,
    "truncated-response": None,
    "unanswered": None,
}
"""The rules whose errors mean that a request or a connection failed for the client, with the kinds that count (None: all)."""

_CHUNKS = "invalid-chunk"
"""The rule whose findings count as failures only if they are about responses, because a request with invalid chunks still gets a
response.
"""

_GAVE_UP = "client-abort"
"""The rule whose warnings count as failures, too, because the client did not get its response although nothing violated the
protocol.
"""

_IDLE = "idle-close"
_NO_CONNECTION = "connect-failed"

Place = tuple[str, int, int]
"""The key of an exchange: capture, connection, exchange."""


class FailedRequests(NamedTuple):
    """The number of failed requests as clients saw them, and of connections that failed without a request.

    `of_requests`, `of_connections`: the number of all requests and of all connections. `noun`: "request", or "connection" if no
    finding of the report is about a failed request. `left_out`: the number of failures whose findings were left out of the
    report, by reason. `cause`: a finding with the most frequent cause of the failures that are not left out, and the number of
    failures with this cause; None if all are left out. `at_least`: whether the true number may be higher, because a limit left
    out findings or some rules did not run. `idle_timeouts`: the known idle timeouts in seconds, by capture and server.
    """

    requests: int
    of_requests: int
    connections: int
    of_connections: int
    noun: Literal["request", "connection"]
    left_out: Mapping[LeftOutBy, int]
    cause: tuple[Finding, int] | None
    at_least: bool
    idle_timeouts: Mapping[tuple[str, str | None], float]


def knows_failures(report: Report) -> bool:
    """Return whether every rule that reports failures ran. If not, a report without failures does not mean that none occurred."""
    return not any(rule.ends for rule in report.unasked.values())


def find_failed(report: Report, seen: tuple[int, int]) -> FailedRequests:
    """Count the failures of a report. A request that a gateway forwarded counts once, as the gateway's client experienced it.

    `seen`: the number of requests that clients made, and of connections, according to the report's coverage.
    """
    failed = failed_exchanges(report)
    backs = _backs(report, failed.values())
    requests = [(f, 1) for place, f in failed.items() if place not in backs]
    connections = [(f, f.count) for f in _failed_connections(report)]
    left_out: dict[int, LeftOutBy] = {id(f): by for by, f in _left_out(report)}
    of_report = [(f, number) for f, number in requests if id(f) not in left_out]
    noun: Literal["request", "connection"] = "request" if of_report else "connection"
    counted = requests if of_report else connections
    of_report = of_report or [(f, number) for f, number in connections if id(f) not in left_out]
    excluded = Counter[LeftOutBy]()
    for f, number in counted:
        if by := left_out.get(id(f)):
            excluded[by] += number
    failed_connections = sum(number for _, number in connections)
    return FailedRequests(
        len(requests),
        max(seen[0], len(requests)),
        failed_connections,
        max(seen[1], failed_connections),
        noun,
        excluded,
        _Causes(report.findings).most_frequent(of_report),
        at_least=_has_hidden_failures(report) or not knows_failures(report),
        idle_timeouts=_idle_timeouts(report.findings),
    )


def _has_hidden_failures(report: Report) -> bool:
    """Return whether findings about failures are missing from the report because a limit was reached."""
    number = Counter(f.rule for f in findings_with_failures(report))
    return any(report.totals[rule].findings > number[rule] for rule in FAILURES if rule in report.totals)


def _left_out(report: Report) -> Iterator[tuple[LeftOutBy, Finding]]:
    """Yield the findings about failures that were left out of the report, as pairs (reason, finding)."""
    files = {capture.file for capture in report.captures}
    for left in report.left_out:
        for f in left.failures:
            if f.capture in files:
                yield left.by, f


def findings_with_failures(report: Report) -> list[Finding]:
    """Return the findings of the report, then the findings about failures that were left out of the report.

    A request failed even if the finding about it was left out, for example because it is in a baseline.
    """
    return [*report.findings, *(f for _, f in _left_out(report))]


def failed_exchanges(report: Report) -> dict[Place, Finding]:
    """Return the failed exchanges, each with the first finding about its failure. Findings left out of the report come last.

    A failed request that a gateway forwarded appears twice: once for the exchange on each side of the gateway.
    """
    failed: dict[Place, Finding] = {}
    for f in findings_with_failures(report):
        if _is_failure(f) and (place := _place(f)) is not None:
            failed.setdefault(place, f)
    return failed


def failed_connections_by_server(report: Report, *, established: bool = False) -> Counter[str]:
    """Return, for each server, the number of connections that failed without a request.

    `established`: count only connections that failed after a SYN-ACK.
    """
    failed: Counter[str] = Counter()
    for f in _failed_connections(report):
        if not established or f.rule != _NO_CONNECTION or f.kind == "closed-at-once":
            failed[f.server or ""] += f.count
    return failed


def _failed_connections(report: Report) -> list[Finding]:
    return [f for f in findings_with_failures(report) if _is_failure(f) and _place(f) is None and f.family != "gateways"]


def _place(f: Finding) -> Place | None:
    return None if f.connection is None or f.exchange is None else (f.capture, f.connection, f.exchange)


def _is_failure(f: Finding) -> bool:
    if f.rule not in FAILURES or (f.rule == _CHUNKS and f.side != "server"):
        return False
    kinds = FAILURES[f.rule]
    failed = f.severity == "error" or (f.rule == _GAVE_UP and f.severity == "warning")
    return failed and (kinds is None or f.kind in kinds)


def _backs(report: Report, failures: Iterable[Finding]) -> set[Place]:
    """Return the exchanges that a gateway certainly had with upstream servers on the connections of `failures`."""
    from wiredoctor.report.by_status import find_backs

    wanted = {f.connection for f in failures if f.connection is not None}
    if not wanted or (backs := find_backs(report)) is None:
        return set()
    mine = backs.filter(backs["connection"].is_in(sorted(wanted)))
    return {*mine.select("capture", "connection", "exchange").iter_rows()}


def _idle_timeouts(findings: Iterable[Finding]) -> dict[tuple[str, str | None], float]:
    """Return the idle timeouts (s) from the findings of the rule `idle-close`, by capture and server."""
    return {
        (f.capture, f.server): float(f.measures["limit"])
        for f in findings
        if f.rule == _IDLE and f.kind != "stop" and "limit" in f.measures
    }


class _Causes:
    """Follows `caused_by` from a finding back to its first cause."""

    def __init__(self, findings: Iterable[Finding]) -> None:
        self._at = {f.place: f for f in findings}

    def most_frequent(self, failures: Iterable[tuple[Finding, int]]) -> tuple[Finding, int] | None:
        """Return a finding with the most frequent first cause of these failures, and the number of failures with this cause.

        `failures`: each finding with the number of failures that it represents. Causes with the same rule, kind and server are
        counted together, and represented by the finding with the longest delay. If causes are equally frequent, the cause
        that comes first in `failures` is returned. Return None if there are no failures.
        """
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
            return None
        key, times = max(number.items(), key=lambda one: one[1])
        return example[key], times

    def _first(self, f: Finding) -> Finding:
        seen = {f.place}
        while True:
            causes = (self._at.get((f.capture, cause)) for cause in f.caused_by)
            known = [one for one in causes if one is not None and one.place not in seen]
            if not known:
                return f
            # the last attempt of a gateway decided its response
            before = next((one for one in known if one.connection == f.connection), known[-1])
            seen.add(before.place)
            f = before
