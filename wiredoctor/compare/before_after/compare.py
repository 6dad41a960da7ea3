"""Compare two captures, or two reports: match findings by fingerprint and times by endpoint, and determine what changed."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Literal, NamedTuple

import numpy as np

from wiredoctor.compare.before_after.endpoints import Times, endpoints, place_of, replace_numbers, times_of
from wiredoctor.compare.before_after.from_report import ComparedSide
from wiredoctor.compare.before_after.result import FAILURES, Changes, FindingChange, Frequency, RuleChange, Status
from wiredoctor.compare.statistics import ERROR, all_on_one_side, rates_differ, shift
from wiredoctor.findings import SEVERITIES, Finding, Severity, fingerprint
from wiredoctor.tables import SECOND, Array
from wiredoctor.text.redact import masked_target

CHANCE = 0.05
"""The maximum probability that a side lacks a finding by chance alone. If the probability is higher, the status is uncertain."""

ENOUGH = 20
"""The number of exchanges with an endpoint that a side must have before a missing finding means that the problem is absent.

This number applies to rules that report one finding for all exchanges with an endpoint. If the side with the finding has fewer
exchanges than this, the other side needs only as many as that side.
"""

COUNTED = frozenset(("connect-failed", *FAILURES))
"""Rules that report one finding for all exchanges or connections, and whose findings count failures.

Their findings may disappear by chance: a request that failed once may succeed the next time.
"""


class _Sides(NamedTuple):
    """The data of both sides, and the options of the comparison. `one`, `two`: the times of exchanges before and after."""

    before: ComparedSide
    after: ComparedSide
    one: Times
    two: Times
    any_server: bool
    tolerance: float
    summaries: Collection[str]


def compare(
    before: ComparedSide,
    after: ComparedSide,
    version: str,
    *,
    any_server: bool = False,
    tolerance: float = 0.1,
    summaries: Collection[str] = (),
) -> Changes:
    """Compare the state before a change with the state after it.

    `any_server`: ignore the addresses and ports of servers. `tolerance`: the smallest relative difference in time that is
    reported. `summaries`: the rules that report one finding for all exchanges with an endpoint.
    """
    one, two = times_of(before, any_server=any_server), times_of(after, any_server=any_server)
    findings = _findings(_Sides(before, after, one, two, any_server, tolerance, summaries))
    places, left = endpoints(one, two, tolerance)
    mismatch = _mismatch(before, after, one, two, any_server=any_server)
    notes = _notes(before, after, mismatch)
    if left:
        notes.append(f"of {left + len(places):,} endpoints, only the {len(places):,} with the most requests are compared")
    return Changes(
        version, before.source, after.source, any_server, tolerance,
        findings, places, _rules(before, after), notes, left, mismatch,
    )  # fmt: skip


_ORDER: list[Status] = ["new", "stayed", "not-seen-again", "fixed"]


def _findings(both: _Sides) -> list[FindingChange]:
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


def _change(mark: str, a: list[Finding], b: list[Finding], both: _Sides) -> FindingChange:
    """Return how the findings with fingerprint `mark` changed. `a`: the findings before the change. `b`: those after it."""
    first = (a or b)[0]
    counts = _hits(a), _hits(b)
    of, place, opportunities = _opportunities(first, counts, both)
    summary = first.rule in both.summaries and first.rule not in COUNTED
    status, why = _status(first.rule, counts, opportunities, place, both.before, both.after, summary=summary)
    delays = _delays(a), _delays(b)
    return FindingChange(
        status, first.rule, first.kind, first.family, _worst(b or a), first.title, None if both.any_server else first.server,
        _generalize((b or a)[0].request), mark, of, counts[0], counts[1], opportunities[0], opportunities[1],
        "same" if summary else _frequency(status, counts, opportunities), shift(delays[0], delays[1], both.tolerance),
        float(delays[0].sum()) / SECOND, float(delays[1].sum()) / SECOND, why,
    )  # fmt: skip


def _fingerprint(finding: Finding, *, any_server: bool) -> str:
    if not any_server or finding.server is None:
        return finding.fingerprint
    method, _, target = (finding.request or "").partition(" ")
    # a report of an older version may show more of the target
    return fingerprint(finding.rule, finding.kind, finding.side, None, method or None, masked_target(target) or None)


def _worst(findings: Iterable[Finding]) -> Severity:
    return SEVERITIES[min(SEVERITIES.index(f.severity) for f in findings)]


def _generalize(request: str | None) -> str | None:
    """Remove the query of a request and replace numbers in its path: "GET /items/12?a=1" becomes "GET /items/#"."""
    if not request:
        return None
    method, _, target = request.partition(" ")
    return f"{method} {replace_numbers(masked_target(target).partition('?')[0])}"


def _delays(findings: list[Finding]) -> Array:
    return np.sort(np.array([round((f.delay or 0.0) * SECOND) for f in findings if f.delay is not None], np.int64))


Of = Literal["exchanges", "connections", "captures"]


def _hits(findings: Iterable[Finding]) -> int:
    """Return how often the findings occurred; for the rules in FAILURES, the number of failures."""
    return sum(int(f.measures.get(FAILURES.get(f.rule, ""), f.count)) for f in findings)


class _Place(NamedTuple):
    """The unit of a count in words: a noun, such as "exchange", and a phrase that limits it, such as "with that endpoint"."""

    noun: str
    where: str


def _opportunities(finding: Finding, hits: tuple[int, int], both: _Sides) -> tuple[Of, _Place, tuple[int, int]]:
    """Return how often a finding could have occurred: the unit, the unit in words, and the numbers (before, after).

    `hits`: how often the finding occurred before and after.
    """
    if finding.server is None and finding.connection is None:
        return "captures", _Place("capture", ""), (len(both.before.source.captures), len(both.after.source.captures))
    sides = ((both.before, both.one), (both.after, both.two))
    if finding.request and all(seen.exchanges is not None for seen, _ in sides):
        method, _, target = finding.request.partition(" ")
        verb, path, _ = place_of(method, target)
        place = (None if both.any_server else finding.server, verb, path)
        one, two = (times.endpoints[place].requests if place in times.endpoints else 0 for _, times in sides)
        return "exchanges", _Place("exchange", "with that endpoint"), (one, two)
    if finding.rule in FAILURES and all(seen.exchanges is not None for seen, _ in sides):
        server = None if both.any_server else finding.server
        if finding.rule == "websocket-failed":
            one, two = (times.upgrades.get(server, 0) + failed for (_, times), failed in zip(sides, hits, strict=True))
            return "exchanges", _Place("WebSocket request", "to that server"), (one, two)
        one, two = (times.servers.get(server, 0) for _, times in sides)
        return "exchanges", _Place("exchange", "with that server"), (one, two)
    if not finding.request and all(seen.connections is not None for seen, _ in sides):
        one, two = (_connections(seen.connections or {}, finding.server, any_server=both.any_server) for seen, _ in sides)
        return "connections", _Place("connection", "with that server"), (one, two)
    # if a side does not list its exchanges or connections, only the total numbers of exchanges are known
    return "exchanges", _Place("exchange", "with that endpoint"), (both.before.source.exchanges, both.after.source.exchanges)


def _connections(counts: dict[str, int], server: str | None, *, any_server: bool) -> int:
    return sum(counts.values()) if any_server else counts.get(server or "", 0)


def _status(
    rule: str,
    counts: tuple[int, int],
    opportunities: tuple[int, int],
    place: _Place,
    before: ComparedSide,
    after: ComparedSide,
    *,
    summary: bool,
) -> tuple[Status, str]:
    """Return the status of a finding, and the reason why that status is uncertain; the reason is empty if the status is certain.

    `counts`: the occurrences before and after. `opportunities`: how often the finding could have occurred before and after.
    `place`: the unit of `opportunities` in words. `summary`: the rule reports one finding for all exchanges with an endpoint.
    """
    if all(counts):
        return "stayed", ""
    gone = counts[0] > 0
    other, hits = (after, counts[0]) if gone else (before, counts[1])
    there, elsewhere = opportunities if gone else (opportunities[1], opportunities[0])
    why = _excuse(rule, hits, there, elsewhere, place, other, "after" if gone else "before", summary=summary)
    if gone:
        return ("not-seen-again", why) if why else ("fixed", "")
    return "new", why


def _excuse(
    rule: str, hits: int, there: int, elsewhere: int, place: _Place, other: ComparedSide, name: str, *, summary: bool
) -> str:  # fmt: skip
    """Return why a finding may be missing on one side although nothing changed; empty if there is no reason.

    `hits`: how often the finding occurred on the side that has it. `there`, `elsewhere`: how often it could have occurred on that
    side and on the side without it. `place`: the unit of `there` and `elsewhere` in words. `other`: the side without the finding.
    `name`: "before" or "after", the name of `other`. `summary`: the rule reports one finding for all exchanges with an endpoint.
    """
    if rule not in other.checked:
        return f"{name} was not checked by this rule, or had nothing to check"
    if rule not in other.judged:
        return f"{name} has nothing that this rule could judge"
    if not place.where:
        return ""
    if not elsewhere:
        return f"{name} has no {place.noun} {place.where}"
    enough = elsewhere >= min(there, ENOUGH) if summary else all_on_one_side(hits, there, elsewhere) <= CHANCE
    if enough:
        return ""
    by_chance = "the finding may be missing by chance"
    return f"{name} has only {elsewhere:,} {place.noun}{'s' if elsewhere != 1 else ''} {place.where}, so {by_chance}"


def _frequency(status: Status, counts: tuple[int, int], opportunities: tuple[int, int]) -> Frequency:
    one, two = opportunities
    if status != "stayed" or not one or not two or rates_differ(counts[0], one, counts[1], two) > ERROR:
        return "same"
    return "more-often" if counts[1] / two > counts[0] / one else "less-often"


def _rules(before: ComparedSide, after: ComparedSide) -> list[RuleChange]:
    """Return the rules with findings on either side, those with the longest delay first."""
    families: dict[str, str] = {}
    counts: dict[str, list[float]] = {}
    for side, findings in enumerate((before.findings, after.findings)):
        for finding in findings:
            families[finding.rule] = finding.family
            row = counts.setdefault(finding.rule, [0, 0, 0.0, 0.0])
            row[side] += _hits((finding,))
            row[2 + side] += finding.delay or 0.0
    made = [
        RuleChange(rule, families[rule], rule in before.judged, rule in after.judged, int(a), int(b), d1, d2)
        for rule, (a, b, d1, d2) in counts.items()
    ]
    return sorted(made, key=lambda r: (-max(r.delay_before, r.delay_after), -max(r.before, r.after), r.rule))


def _mismatch(before: ComparedSide, after: ComparedSide, one: Times, two: Times, *, any_server: bool) -> str:
    """Return a sentence that explains why no requests of the two sides can be compared; "" if some can be compared.

    The sentence also says how many endpoints and problems the option --any-server would match. The result is also "" if not all
    requests of a side are known.
    """
    sides = (("before", before), ("after", after))
    if any(seen.exchanges is None for _, seen in sides) or one.left_out or two.left_out or one.endpoints.keys() & two.endpoints:
        return ""
    lacking = [name for name, seen in sides if not seen.source.exchanges]
    common = {place[1:] for place in one.endpoints} & {place[1:] for place in two.endpoints}
    if lacking:
        why = f"{' and '.join(lacking)} {'have' if len(lacking) > 1 else 'has'} no HTTP exchange"
    elif common and not one.servers.keys() & two.servers.keys():
        why = "before and after have no server in common"
    else:
        place = "to the same server with" if common else "with"
        why = f"before and after have no requests {place} the same method and path"
    problems = 0 if any_server else len(_stayed(before, after, any_server=True)) - len(_stayed(before, after, any_server=False))
    numbers = ((0 if any_server else len(common), "endpoint"), (problems, "problem"))
    gains = [f"{n:,} {noun}{'s' if n > 1 else ''}" for n, noun in numbers if n > 0]
    offer = f"; --any-server would match {' and '.join(gains)}" if gains else ""
    return f"{why}, so requests cannot be compared{offer}"


def _stayed(before: ComparedSide, after: ComparedSide, *, any_server: bool) -> set[str]:
    """Return the fingerprints of the findings that both sides have."""
    one, two = ({_fingerprint(each, any_server=any_server) for each in side.findings} for side in (before, after))
    return one & two


def _notes(before: ComparedSide, after: ComparedSide, mismatch: str) -> list[str]:
    notes = [mismatch] if mismatch else []
    for name, seen in (("before", before), ("after", after)):
        if seen.exchanges is None:
            notes.append(
                f"{name} is a report that does not list its exchanges: times cannot be compared, and the occurrences of a "
                "problem are compared with all exchanges, not with those of its endpoint; write the report with --full"
            )
        elif not seen.source.exchanges and not mismatch:
            notes.append(f"{name} has no HTTP exchange")
        notes += [f"{name}: {note}" for note in seen.notes]
    only = sorted(before.checked ^ after.checked)
    if only and "report" not in (before.source.kind, after.source.kind):
        notes.append(f"checked on one side only: {', '.join(only)}")
    return notes
