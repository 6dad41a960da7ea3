"""What must hold between the findings of any report: they do not contradict each other, and no second is counted twice."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from itertools import combinations
from typing import TYPE_CHECKING

from wiredoctor.findings import Cause
from wiredoctor.report.groups import group_findings
from wiredoctor.rule_engine import catalogue
from wiredoctor.tables import SECOND

if TYPE_CHECKING:
    from wiredoctor.findings import Finding, Report

ROUNDING = 1e-6
"""Seconds by which sums of floating-point seconds may differ."""

FRAMING_ERRORS = frozenset(
    {
        *("missing-framing", "excess-body", "conflicting-framing", "invalid-chunk", "body-not-allowed"),
        *("chunked-to-http10", "unframed-request-body", "unfinished-transfer-coding"),
    }
)

NEVER_OF_ONE_EXCHANGE = (
    # how it ended: one word for it
    {"premature-close", "truncated-response", "no-response", "keep-alive-race", "auth-connection-closed"},
    {"client-abort", "truncated-response", "no-response", "keep-alive-race"},
    {"client-abort", "premature-close"},
    {"lingering-close", "premature-close"},
    {"lingering-close", "truncated-response"},
    # how its end is found
    {"missing-framing", "close-delimited", "unchunked-streaming"},
    # how it was sent
    {"unchunked-streaming", "buffered-stream"},
)
"""Rules of which at most one speaks of an exchange: they say different things about the same."""

NEVER_OF_ONE_PAIR = (
    {"keep-alive-disabled", "no-connection-reuse"},
    {"keep-alive-disabled", "http10-downgrade"},
    {"idle-close", "idle-timeout-broken-promise"},
)
"""Rules of which at most one speaks of a client host and a server, or of a server."""


def disagreements(report: Report) -> list[str]:
    """Every contradiction in a report, a line each."""
    return [
        *_contradictions(report.findings),
        *_explained(report.findings),
        *_delays_of_exchanges(report),
        *_delays_of_connections(report),
        *_disordered(report.findings),
    ]


def _contradictions(findings: list[Finding]) -> Iterator[str]:
    of_exchange: dict[tuple[object, ...], list[Finding]] = defaultdict(list)
    of_pair: dict[tuple[object, ...], list[Finding]] = defaultdict(list)
    for one in findings:
        if one.connection is not None and one.exchange is not None:
            of_exchange[one.capture, one.connection, one.exchange].append(one)
        if one.server is not None:
            of_pair[one.capture, one.server].append(one)
    for place, told in of_exchange.items():
        rules = {f.rule for f in told}
        for group in NEVER_OF_ONE_EXCHANGE:
            if len(rules & group) > 1:
                yield f"{place}: {sorted(rules & group)}"
        for side in ("client", "server"):
            errors = {f.rule for f in told if f.rule in FRAMING_ERRORS and f.side == side}
            if len(errors) > 1:
                yield f"{place}: {sorted(errors)}"
        if errors and rules & {"truncated-response", "client-abort", "premature-close"}:
            yield f"{place}: {sorted(rules)}"
    for place, told in of_pair.items():
        for first, second in combinations(told, 2):
            hosts = {(f.client or "").rpartition(":")[0] or f.client for f in (first, second)} - {None}
            if len(hosts) < 2 and any({first.rule, second.rule} == group for group in NEVER_OF_ONE_PAIR):
                yield f"{place}: {first.rule} and {second.rule}"


def _explained(findings: list[Finding]) -> Iterator[str]:
    """Symptoms that are reported beside their cause, as the rules themselves say what explains them."""
    rules = catalogue()
    for effect in findings:
        if effect.rule not in rules or effect.kind in rules[effect.rule].rule.unexplained:
            continue
        for name, scope in rules[effect.rule].rule.explained_by:
            for cause in findings:
                if cause.rule != effect.rule and name in (cause.rule, cause.family) and _share(scope, effect, cause):
                    yield f"{_place(effect)} beside {_place(cause)}, which explains it ({scope})"


def _share(scope: str, effect: Finding, cause: Finding) -> bool:
    if effect.capture != cause.capture:
        return False
    if scope == "endpoint":
        return effect.server is not None and effect.server == cause.server
    if effect.connection is None or effect.connection != cause.connection:
        return False
    if scope == "exchange":
        return effect.exchange is not None and effect.exchange == cause.exchange
    if scope == "time":
        return _inside(effect, cause)
    return True


def _inside(effect: Finding, cause: Finding) -> bool:
    """What the cause cost lies within what proves the effect, in one exchange."""
    if not effect.delay or not cause.delay or effect.exchange is None or effect.exchange != cause.exchange:
        return False
    return effect.elapsed <= cause.elapsed and cause.elapsed + cause.delay <= effect.evidence[-1].elapsed


def _delays_of_exchanges(report: Report) -> Iterator[str]:
    lost: dict[tuple[str, int, int], list[Finding]] = defaultdict(list)
    for one in report.findings:
        if one.connection is not None and one.exchange is not None and one.delay:
            lost[one.capture, one.connection, one.exchange].append(one)
    if not lost:
        return
    ends = _ends(report)
    for row in report.exchanges.iter_rows(named=True):
        place = (row["capture"], row["connection"], row["exchange"])
        told = lost.get(place)
        if told is None:
            continue
        # what was lost before or behind the capture point is waited for until it has come, and so is an end that does not come
        proved = [e.elapsed for f in told for e in f.evidence]
        start = min([t / SECOND for t in (row["request_start"], row["response_start"]) if t is not None] + proved)
        whole = row["response_end_reason"] == "complete" and row["response_end"] is not None
        end = row["response_end"] if whole else ends[place[:2]]
        took, delays = max([end / SECOND, *proved]) - start, sum(f.delay or 0 for f in told)
        if delays > took + ROUNDING:
            yield f"{place} took {took} s, and lost {delays} s of them: {[(f.rule, f.delay) for f in told]}"


def _ends(report: Report) -> dict[tuple[str, int], int]:
    """When each connection ended, in ns. One that nobody closed is waited for until the last packet of its capture."""
    rows = report.connections.to_dicts()
    last: dict[str, int] = {}
    for row in rows:
        last[row["capture"]] = max(last.get(row["capture"], 0), row["end"])
    unanswered = {(one.capture, one.connection) for one in report.findings if one.rule == "unanswered"}
    return {
        place: last[row["capture"]] if place in unanswered and not row["closed_by"] else row["end"]
        for row in rows
        if (place := (row["capture"], row["connection"]))
    }


def _delays_of_connections(report: Report) -> Iterator[str]:
    lost: dict[tuple[str, int], float] = defaultdict(float)
    for one in report.findings:
        if one.delay is not None and one.delay < 0:
            yield f"{_place(one)}: delay {one.delay}"
        if one.connection is not None:
            lost[one.capture, one.connection] += one.delay or 0
    # of a clock that was set back a finding may know more than the connection
    proved: dict[tuple[object, ...], float] = defaultdict(float)
    for one in report.findings:
        proved[one.capture, one.connection] = max([proved[one.capture, one.connection], *(e.elapsed for e in one.evidence)])
    ends = _ends(report)
    for row in report.connections.iter_rows(named=True):
        place = (row["capture"], row["connection"])
        lasted = max(0, max(ends[place] / SECOND, proved.get(place, 0)) - row["start"] / SECOND)
        if lost.get(place, 0) > lasted + ROUNDING:
            yield f"{place} lasted {lasted} s, and lost {lost[place]} s of them"
    every = sum(f.delay or 0 for f in report.findings)
    if report.delay > every + ROUNDING:
        yield f"{report.delay} s in all are more than the {every} s of the findings"


def _disordered(findings: list[Finding]) -> Iterator[str]:
    """Symptoms that are told before their cause, to machines, or among problems of the same severity to people."""
    told: set[tuple[str, Cause]] = set()
    every = {f.place for f in findings}
    for one in findings:
        told.add(one.place)
        for cause in one.caused_by:
            if (one.capture, cause) not in every:
                yield f"{_place(one)} names {cause}, which is not reported"
            elif (one.capture, cause) not in told:
                yield f"{_place(one)} before {cause}"
    groups = group_findings(findings)
    places = {finding.place: number for number, group in reversed([*enumerate(groups)]) for finding in group.findings}
    for number, group in enumerate(groups):
        for cause in (cause for finding in group.findings for cause in finding.caused_by):
            place = places.get((group.worst.capture, cause), 0)
            if place > number and groups[place].worst.severity == group.worst.severity:
                yield f"a group of {group.worst.rule} before {cause}"


def _place(one: Finding) -> str:
    return f"{one.rule} ({one.kind}, {one.capture}, connection {one.connection}, exchange {one.exchange}, {one.elapsed} s)"
