"""What became of the findings and of the times of before: matched by fingerprint, and by endpoint."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Literal, NamedTuple

import numpy as np

from wiredoctor.compare.before_after.endpoints import DIGITS, Times, endpoints, place_of, times_of
from wiredoctor.compare.before_after.from_report import Seen
from wiredoctor.compare.before_after.result import Changes, FindingChange, Frequency, RuleChange, Status
from wiredoctor.compare.statistics import ERROR, all_on_one_side, rates_differ, shift
from wiredoctor.findings import SEVERITIES, Finding, Severity, fingerprint
from wiredoctor.tables import SECOND, Array
from wiredoctor.text.redact import masked_target

CHANCE = 0.05
"""What is seen on one side only is no news where chance alone would do that so often."""

ENOUGH = 20
"""Exchanges of an endpoint after which a rule that speaks of all of them at once would have spoken again."""


class _Both(NamedTuple):
    """The two sides, and how they are held against each other."""

    before: Seen
    after: Seen
    one: Times
    two: Times
    any_server: bool
    tolerance: float
    summaries: Collection[str]


def compare(
    before: Seen, after: Seen, version: str, *, any_server: bool = False, tolerance: float = 0.1, summaries: Collection[str] = ()
) -> Changes:
    """`any_server`: addresses and ports of servers are not looked at. `tolerance`: the part of a time below which no difference
    is told. `summaries`: rules that say one thing of all exchanges of an endpoint."""
    one, two = times_of(before, any_server=any_server), times_of(after, any_server=any_server)
    findings = _findings(_Both(before, after, one, two, any_server, tolerance, summaries))
    places, left = endpoints(one, two, tolerance)
    notes = _notes(before, after, one, two, any_server=any_server)
    if left:
        notes.append(f"of {left + len(places):,} endpoints {len(places):,} are compared: those with most requests")
    return Changes(
        version, before.source, after.source, any_server, tolerance,
        findings, places, _rules(before, after), notes, left,
    )  # fmt: skip


# findings


_ORDER: list[Status] = ["new", "stayed", "not-seen-again", "fixed"]


def _findings(both: _Both) -> list[FindingChange]:
    groups: dict[str, tuple[list[Finding], list[Finding]]] = {}
    for side, findings in enumerate((both.before.findings, both.after.findings)):
        for finding in findings:
            groups.setdefault(_fingerprint(finding, any_server=both.any_server), ([], []))[side].append(finding)
    return sorted((_change(mark, a, b, both) for mark, (a, b) in groups.items()), key=_importance)


def _importance(one: FindingChange) -> tuple[int, int, float, str, str, str]:
    cost = -max(one.delay_before, one.delay_after)
    return (
        _ORDER.index(one.status), SEVERITIES.index(one.severity), cost, one.rule, one.request or "", one.fingerprint,
    )  # fmt: skip


def _change(mark: str, a: list[Finding], b: list[Finding], both: _Both) -> FindingChange:
    """What became of findings that are alike: those of before and those of after."""
    first = (a or b)[0]
    of, chances = _chances(first, both)
    counts = sum(f.count for f in a), sum(f.count for f in b)
    summary = first.rule in both.summaries
    status, why = _status(first.rule, counts, chances, of, both.before, both.after, summary=summary)
    delays = _delays(a), _delays(b)
    return FindingChange(
        status, first.rule, first.kind, first.family, _worst(b or a), first.title, None if both.any_server else first.server,
        _shown(first.request), mark, of, counts[0], counts[1], chances[0], chances[1],
        "same" if summary else _frequency(status, counts, chances), shift(delays[0], delays[1], both.tolerance),
        float(delays[0].sum()) / SECOND, float(delays[1].sum()) / SECOND, why,
    )  # fmt: skip


def _fingerprint(finding: Finding, *, any_server: bool) -> str:
    if not any_server or finding.server is None:
        return finding.fingerprint
    method, _, target = (finding.request or "").partition(" ")
    # a report of an older version shows more of a target
    return fingerprint(finding.rule, finding.kind, finding.side, None, method or None, masked_target(target) or None)


def _worst(findings: Iterable[Finding]) -> Severity:
    return SEVERITIES[min(SEVERITIES.index(f.severity) for f in findings)]


def _shown(request: str | None) -> str | None:
    """ "GET /items/12?a=1" -> "GET /items/#"."""
    if not request:
        return None
    method, _, target = request.partition(" ")
    return f"{method} {DIGITS.sub('#', masked_target(target).partition('?')[0])}"


def _delays(findings: list[Finding]) -> Array:
    return np.sort(np.array([round((f.delay or 0.0) * SECOND) for f in findings if f.delay is not None], np.int64))


Of = Literal["exchanges", "connections", "captures"]


def _chances(finding: Finding, both: _Both) -> tuple[Of, tuple[int, int]]:
    """How often it could have been found on either side, and what is counted."""
    if finding.server is None and finding.connection is None:
        return "captures", (len(both.before.source.captures), len(both.after.source.captures))
    sides = ((both.before, both.one), (both.after, both.two))
    if finding.request and all(seen.exchanges is not None for seen, _ in sides):
        method, _, target = finding.request.partition(" ")
        verb, path, _ = place_of(method, target)
        place = (None if both.any_server else finding.server, verb, path)
        one, two = (times.endpoints[place].requests if place in times.endpoints else 0 for _, times in sides)
        return "exchanges", (one, two)
    if not finding.request and all(seen.connections is not None for seen, _ in sides):
        one, two = (_connections(seen.connections or {}, finding.server, any_server=both.any_server) for seen, _ in sides)
        return "connections", (one, two)
    # one of them was written without its exchanges: what is known of both is how many there were
    return "exchanges", (both.before.source.exchanges, both.after.source.exchanges)


def _connections(counts: dict[str, int], server: str | None, *, any_server: bool) -> int:
    return sum(counts.values()) if any_server else counts.get(server or "", 0)


def _status(
    rule: str,
    counts: tuple[int, int],
    chances: tuple[int, int],
    of: str,
    before: Seen,
    after: Seen,
    *,
    summary: bool,
) -> tuple[Status, str]:
    """What became of it, and why nothing surer is said."""
    if all(counts):
        return "stayed", ""
    gone = counts[0] > 0
    other, hits = (after, counts[0]) if gone else (before, counts[1])
    there, elsewhere = chances if gone else (chances[1], chances[0])
    why = _excuse(rule, hits, there, elsewhere, of, other, "after" if gone else "before", summary=summary)
    if gone:
        return ("not-seen-again", why) if why else ("fixed", "")
    return "new", why


def _excuse(rule: str, hits: int, there: int, elsewhere: int, of: str, other: Seen, name: str, *, summary: bool) -> str:
    """Why it would be no wonder that the other side does not have it; empty where it would be one."""
    if rule not in other.checked:
        return f"{name} was not checked for it, or had nothing to check"
    if rule not in other.judged:
        return f"{name} has nothing that could be judged by this rule"
    if of == "captures":
        return ""
    if not elsewhere:
        return f"{name} has no {of[:-1]} with that {'endpoint' if of == 'exchanges' else 'server'}"
    enough = elsewhere >= min(there, ENOUGH) if summary else all_on_one_side(hits, there, elsewhere) <= CHANCE
    if enough:
        return ""
    captured = f"only {elsewhere:,} {of if elsewhere != 1 else of[:-1]} with that {'endpoint' if of == 'exchanges' else 'server'}"
    return f"{name} has {captured}, where the other side has {there:,}"


def _frequency(status: Status, counts: tuple[int, int], chances: tuple[int, int]) -> Frequency:
    one, two = chances
    if status != "stayed" or not one or not two or rates_differ(counts[0], one, counts[1], two) > ERROR:
        return "same"
    return "more-often" if counts[1] / two > counts[0] / one else "less-often"


# rules


def _rules(before: Seen, after: Seen) -> list[RuleChange]:
    """Those that found something on either side, and that cost most first."""
    families: dict[str, str] = {}
    counts: dict[str, list[float]] = {}
    for side, findings in enumerate((before.findings, after.findings)):
        for finding in findings:
            families[finding.rule] = finding.family
            row = counts.setdefault(finding.rule, [0, 0, 0.0, 0.0])
            row[side] += finding.count
            row[2 + side] += finding.delay or 0.0
    made = [
        RuleChange(rule, families[rule], rule in before.judged, rule in after.judged, int(a), int(b), d1, d2)
        for rule, (a, b, d1, d2) in counts.items()
    ]
    return sorted(made, key=lambda r: (-max(r.delay_before, r.delay_after), -max(r.before, r.after), r.rule))


def _notes(before: Seen, after: Seen, one: Times, two: Times, *, any_server: bool) -> list[str]:
    notes: list[str] = []
    for name, seen in (("before", before), ("after", after)):
        if seen.exchanges is None:
            notes.append(
                f"{name} is a report without its exchanges, so that no times are compared, and findings are counted against all "
                "exchanges: write it with --full"
            )
        elif not seen.source.exchanges:
            notes.append(f"{name} has no HTTP exchange")
        notes += [f"{name}: {note}" for note in seen.notes]
    if not any_server and one.servers and two.servers and not one.servers.keys() & two.servers.keys():
        notes.append("no server of before is in after, so that nothing matches: --any-server compares by method and path alone")
    only = sorted(before.checked ^ after.checked)
    if only and "report" not in (before.source.kind, after.source.kind):
        notes.append(f"checked on one side only: {', '.join(only)}")
    return notes
