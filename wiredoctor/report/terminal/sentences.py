"""The sentences that every format for people has: how much was found, by whom, what of, and how far the report reaches."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from wiredoctor.findings import SEVERITIES, UNJUDGED, host
from wiredoctor.report.by_status import Failures, ServerAnswers
from wiredoctor.report.coverage import Looked, NotJudged, Reach
from wiredoctor.report.groups import Group
from wiredoctor.report.words import count, duration, shorten, size

if TYPE_CHECKING:
    from wiredoctor.findings import CaptureSummary, LeftOut, Report, Unjudged

MOST_REASONS = 5
MOST_KINDS = 3
MOST_SERVERS = 10
MOST_EXAMPLES = 3
MOST_EXAMPLE = 40
WORTH_TELLING = 0.001
"""Seconds of waiting from which on the first line adds them up: handshakes on a cable take microseconds."""
MOST_REQUEST = 100
MOST_SOFTWARE = 40

_BROWSERS = tuple(
    rf"\b{name}[/ ][\d.]+" for name in ("Edge?", "OPR", "FxiOS", "Firefox", "CriOS", "Chrome", "MSIE", "Trident", "Safari")
)
"""What tells browsers apart that all say to be Mozilla, the rarer first (each also names those that it wants to be like)."""


SECRETS = "This report holds secrets: nothing in it is masked (--show-secrets)."
"""What a report that masks nothing begins with."""


MOST_INCOMPLETE = 3


def incomplete(report: Report) -> list[str]:
    """Return sentences that say why the report does not cover all that was requested; a count replaces the rest."""
    shown, rest = report.incomplete[:MOST_INCOMPLETE], report.incomplete[MOST_INCOMPLETE:]
    return [*shown, *([f"{count(len(rest), 'more input')} could not be read completely."] if rest else [])]


def opening(report: Report) -> list[str]:
    """Return the sentences that a report begins with: what it does not cover, and what the captures lack."""
    return [*incomplete(report), *lacking(report)]


def lacking(report: Report) -> list[str]:
    """Return a sentence for each capture that counted dropped packets."""
    return [
        f"{capture.dropped:,} of {count(capture.dropped_of, 'packet')} were dropped while {capture.file} was captured. "
        "What seems to be absent may only be missing here."
        for capture in report.captures
        if capture.dropped
    ]


def headline(report: Report, groups: Sequence[Group]) -> str:
    """ "3 warnings and 1 note, found 14 times in all. Time lost by waiting: 388 ms."."""
    head, number = _severities(groups), sum(group.count for group in groups)
    if number > len(groups):
        head += f", found {number:,} times" + (" in all" if len(groups) > 1 else "")
    return f"{head}. Time lost by waiting: {duration(report.delay)}." if report.delay >= WORTH_TELLING else f"{head}."


def _severities(groups: Sequence[Group]) -> str:
    each = {s: sum(g.worst.severity == s for g in groups) for s in SEVERITIES}
    *most, last = [count(n, s) for s, n in each.items() if n]
    return f"{', '.join(most)} and {last}" if most else last


def more(left: Sequence[Group]) -> str:
    """What is not shown: "3 more (2 warnings and 1 note): idle-close, slow-response."."""
    rules = ", ".join(sorted({group.worst.rule for group in left}))
    return f"{len(left)} more ({_severities(left)}): {rules}."


def nothing(report: Report, reach: Reach, shown: str = "") -> str:
    """A report without findings, in a sentence. Only where all was answered, to its end and without an error of the server, is
    nothing wrong."""
    scope = f" ({shown})" if shown else ""
    if not report.connection_count:
        empty = report.captures and not any(capture.packets for capture in report.captures)
        seen = "" if shown or empty else _instead(report)
        return f"Nothing to diagnose: {'there are no packets' if empty else 'no TCP connection was seen'}{scope or seen}."
    left = sum(one.findings for one in report.left_out)
    doubts = [*unexplained(reach), *([] if report.exchange_count else ["no HTTP exchange was seen"])]
    if left:
        said = f"Nothing was found but {count(left, 'finding')} left out below"
    elif lacking(report):
        said = "No known fault was found in what was captured"
    else:
        said = "No known fault" if unexplained(reach) else "Nothing wrong was found"
    link = "and" if left else "but"
    return f"{said}{f', {link} {_and(doubts)}' if doubts else ''}{scope}."


def _and(parts: Sequence[str]) -> str:
    return " and ".join(part for part in (", ".join(parts[:-1]), *parts[-1:]) if part)


_LOST = ("closed", "after-close-announced")
_BROKEN_OFF = ("request-cut-short", "head-unfinished")
_WAITING = ("no-answer", "request-unfinished")


def unexplained(reach: Reach) -> list[str]:
    """What speaks against health beside the findings, a clause each: "2 of 5 requests were never answered", "6 of 40 responses
    have status 503"."""
    answers, endings = reach.answers, reach.endings
    broken = sum(number for reason, number in endings.items() if UNJUDGED[reason].what == "connections")
    lost, waiting, off = (sum(endings.get(reason, 0) for reason in some) for some in (_LOST, _WAITING, _BROKEN_OFF))
    partly = endings.get("gap", 0) + endings.get("one-sided", 0)
    clauses = [
        (lost + waiting if lost else 0, answers.requests, "request", "was never answered", "were never answered"),
        (0 if lost else waiting, answers.requests, "request", *(["had no answer yet when the capture ended"] * 2)),
        (off, answers.requests, "request", *(["broke off"] * 2)),
        (endings.get("cut-short", 0), answers.responses, "response", *(["broke off"] * 2)),
        (endings.get("response-unfinished", 0), answers.responses, "response", *(["went on when the capture ended"] * 2)),
        (partly, reach.exchanges, "exchange", "is in the capture in part only", "are in the capture in part only"),
        (endings.get("unreadable", 0), answers.requests, "request", *(["got something that is no HTTP response"] * 2)),
        (endings.get("request-unreadable", 0), answers.requests, "request", *(["cannot be read"] * 2)),
        (broken, reach.connections, "connection", *(["failed for an unknown reason"] * 2)),
    ]
    failures = answers.failures
    said = [
        f"{number:,} of {count(whole, noun)} {one if number == 1 else many}"
        for number, whole, noun, one, many in clauses
        if number
    ]
    if failures:
        failed = sum(failures.values())
        which = f"status {next(iter(failures))}" if len(failures) == 1 else f"a status of 500 or above ({_each(failures)})"
        said.append(f"{failed:,} of {count(answers.responses, 'response')} {'has' if failed == 1 else 'have'} {which}")
    return said


def failing(reach: Reach) -> list[str]:
    """Which servers answered with a status of 500 or above, a line each, and what is known of the reasons."""
    failed = [one for one in reach.servers if one.failed]
    lines = [_failing(one) for one in failed[:MOST_SERVERS]]
    if rest := failed[MOST_SERVERS:]:
        lines.append(f"and {count(len(rest), 'other server')}: {count(sum(one.failed for one in rest), 'response')}")
    return lines


def _failing(one: ServerAnswers) -> str:
    """ "10.0.0.2:80: 4 of 60 responses failed: 3 x 502 (2 of the gateway itself: closed 2; 1 not explained), 1 x 503 (...)"."""
    most = sorted(one.failures, key=lambda failed: (-failed.count, failed.status))
    shown = [f"{failed.count:,} x {failed.status} ({_whose(failed)})" for failed in most[:MOST_KINDS]]
    if rest := most[MOST_KINDS:]:
        shown.append(f"{sum(failed.count for failed in rest):,} with another status")
    where = one.server or "other servers"
    return f"{where}: {one.failed:,} of {count(one.responses, 'response')} failed: {', '.join(shown)}"


def _whose(failed: Failures) -> str:
    parts: list[str] = []
    if failed.own:
        kinds = ", ".join(f"{kind} {number:,}" for kind, number in failed.own.items())
        parts.append(f"{sum(failed.own.values()):,} from the gateway itself: {kinds}")
    parts += [f"{number:,} passed on from {server}" for server, number in failed.passed_on.items()]
    if failed.repeated:
        parts.append(f"{failed.repeated:,} repeated on another server")
    if failed.unexplained:
        parts.append(f"{failed.unexplained:,} not explained" if parts else "not explained")
    return "; ".join(parts)


def _each(failures: Mapping[int, int]) -> str:
    most = sorted(failures.items(), key=lambda one: (-one[1], one[0]))
    shown = [f"{status}: {number:,}" for status, number in most[:MOST_KINDS]]
    rest = sum(number for _, number in most[MOST_KINDS:])
    return ", ".join([*shown, *([f"others: {rest:,}"] if rest else [])])


def _instead(report: Report) -> str:
    """What packets there are where none is TCP: " in 3 packets: ARP", " in 9 packets: UDP (6), ICMP (2), ARP (1)"."""
    reasons: dict[str, int] = {}
    for capture in report.captures:
        for reason, packets in capture.not_analysed.items():
            reasons[reason] = reasons.get(reason, 0) + packets
    among = f" in {count(sum(capture.packets for capture in report.captures), 'packet')}"
    if len(reasons) < 2:
        return "".join(f"{among}: {reason}" for reason in reasons)
    most = sorted(reasons.items(), key=lambda r: (-r[1], r[0]))
    shown, rest = most[:MOST_KINDS], most[MOST_KINDS:]
    others = [f"{count(len(rest), 'other kind')} ({sum(packets for _, packets in rest):,})"] if rest else []
    return f"{among}: {', '.join([*(f'{reason} ({packets:,})' for reason, packets in shown), *others])}"


def times(group: Group) -> str:
    """ "x 38, 7.9 s in all"."""
    return f"x {group.count:,}, {duration(group.delay)} in all" if group.delay else f"x {group.count:,}"


def standing(group: Group) -> str:
    """Which rule says it, how surely, and behind what: "a-rule (kind), high confidence, after another-rule (frame 4)"."""
    worst = group.worst
    rule = f"{worst.rule} ({worst.kind})" if worst.kind else worst.rule
    after = ", ".join(f"{cause.rule}{f' (frame {cause.frame})' if cause.frame else ''}" for cause in worst.caused_by)
    return f"{rule}, {worst.confidence} confidence" + (f", after {after}" if after else "")


def ends(group: Group) -> str:
    """Client and server, with the software that each says to be: "10.0.0.1 (curl/8.5.0) -> 10.0.0.2:80 (nginx)"."""
    worst = group.worst
    clients = {f.client for f in group.findings}
    client = worst.client if len(clients) == 1 else host(worst.client)
    sides = ((client, worst.client_software), (worst.server, worst.server_software))
    return " -> ".join(f"{end} ({product(software)})" if software else end for end, software in sides if end)


def product(software: str) -> str:
    """The program in a User-Agent or Server field: "curl/8.5.0", "Apache/2.4.7", "Firefox/115.0" (RFC 9110 section 10.1.5)."""
    if software.startswith("Mozilla/") and (named := re.search(r"compatible; ([\w.-]+/[\w.]+)", software)):
        return named[1]
    if software.startswith("Mozilla/"):
        browser = next((m[0] for sign in _BROWSERS if (m := re.search(sign, software))), "")
        return browser or shorten(software, MOST_SOFTWARE)
    first = re.split(r" (?=\()", software)[0]
    return shorten(first.partition(" ")[0] if "/" in first.partition(" ")[0] else first, MOST_SOFTWARE)


def example(group: Group) -> str:
    """Which finding of the group is shown: "worst of 38: finding 7, connection 3, exchange 2, GET /items, status 200"."""
    worst = group.worst
    places = [
        "" if worst.number is None else f"finding {worst.number}",
        "" if worst.connection is None else f"connection {worst.connection}",
        "" if worst.exchange is None else f"exchange {worst.exchange}",
        shorten(worst.request or "", MOST_REQUEST),
        "" if worst.status is None else f"status {worst.status}",
    ]
    place = ", ".join(p for p in places if p)
    if len(group.findings) == 1:
        return place
    which = f"{'worst' if group.delay else 'first'} of {len(group.findings):,}"
    return f"{which}: {place}" if place else which


def change(group: Group) -> str:
    """Above the remedy: who has to change something."""
    return f"What to do on the {group.worst.side}" if group.worst.side else "What to do"


def totals(report: Report, shown: str = "") -> str:
    """ "3 TCP connections, 7 HTTP exchanges"."""
    text = f"{count(report.connection_count, 'TCP connection')}, {count(report.exchange_count, 'HTTP exchange')}"
    return f"{text} shown (only {shown}; all was read)" if shown else text


def facts(capture: CaptureSummary) -> str:
    """What a capture is: format, link types, packets, size, when and how long."""
    links = ", ".join(f"link type {name}" if name.isdecimal() else name for name in capture.link_types)
    parts = [capture.format, links, count(capture.packets, "packet"), size(capture.bytes), _span(capture)]
    return ", ".join(p for p in parts if p)


def encapsulated(capture: CaptureSummary) -> list[str]:
    """What TCP was in: a line, or none."""
    inside = sorted(capture.encapsulations.items(), key=lambda e: (-e[1], e[0]))
    parts = [f"{name} ({count(packets, 'packet')})" for name, packets in inside]
    return [f"TCP inside {', '.join(parts)}"] if parts else []


def not_analysed(capture: CaptureSummary) -> list[str]:
    """Which packets were not analysed: a line for each of the most frequent reasons, one for the rest, one for second copies, and
    one for those that are not in the capture."""
    reasons = sorted(capture.not_analysed.items(), key=lambda r: (-r[1], r[0]))
    lines = [f"not analysed: {reason}, {count(packets, 'packet')}" for reason, packets in reasons[:MOST_REASONS]]
    if rest := reasons[MOST_REASONS:]:
        lines.append(f"not analysed: {count(len(rest), 'other reason')}, {count(sum(n for _, n in rest), 'packet')}")
    if capture.duplicates:
        lines.append(f"captured twice and left out: {count(capture.duplicates, 'packet')}")
    if capture.dropped:
        lines.append(f"dropped while it was captured: {count(capture.dropped, 'packet')}")
    return lines


def checked(reach: Reach) -> list[str]:
    """What was looked at and for what, a line each: "12 exchanges on 3 connections: stalls, connects, closes"."""
    return [_looked(one) for one in reach.checked]


_WORDS = {
    "stalls": "stalls, connects",
    "lifetime": "closes",
    "streaming": "streaming",
    "framing": "framing",
    "round-trips": "round trips",
    "gateways": "gateways",
}
"""What a family is about, for people, in the order in which they ask."""

_SUBJECTS = {
    "tls": ("TLS connection", ""),
    "http2": ("HTTP/2 connection", ""),
    "unknown": ("connection", " (neither HTTP/1.x nor TLS)"),
    "none": ("connection", " without data"),
}


def _looked(one: Looked) -> str:
    families = sorted(one.families, key=lambda family: [*_WORDS, family].index(family))
    what = ", ".join([*(_WORDS.get(family, family) for family in families), *one.rules])
    if one.what == "capture":
        return "the capture itself" + (f": {', '.join(one.rules)}" if one.rules else "")
    if one.what == "http":
        return f"{count(one.exchanges, 'exchange')} on {count(one.connections, 'connection')}: {what}"
    noun, more = _SUBJECTS[one.what]
    return f"{count(one.connections, noun)}{more}: {what}"


def well(report: Report, reach: Reach) -> list[str]:
    """The rules that found nothing, a line for each family: "lifetime: idle-close, premature-close"."""
    families: dict[str, list[str]] = {}
    for rule in reach.healthy:
        families.setdefault(report.checked[rule].family, []).append(rule)
    return [f"{family}: {', '.join(rules)}" for family, rules in families.items()]


def rest(report: Report, reach: Reach) -> str:
    """How many rules found nothing: "41 of 44 rules found nothing"; empty where what was checked names each rule."""
    if not any(one.families for one in reach.checked):
        return ""
    return f"{len(reach.healthy):,} of {count(len(report.checked), 'rule')} found nothing"


def reasons(report: Report, reach: Reach) -> list[str]:
    """What could not be judged, a line each: "2 of 5 connections: TLS, not decrypted ..."."""
    whole = {"connections": reach.connections, "exchanges": reach.exchanges, "rules": len(report.checked)}
    return [
        f"{one.count:,} of {count(whole[one.what], one.what.removesuffix('s'))}: {one.reason}{_examples(report, one)}"
        for one in reach.not_judged
    ]


def _examples(report: Report, of: NotJudged) -> str:
    """ ": GET /a (frame 12, 3.2 s before the end), GET /b (frame 31, 7 ms before the end) and 38 more": the first of them."""
    those = [one for one in report.not_judged if one.reason == of.ending][:MOST_EXAMPLES] if of.ending else []
    if not those:
        return ""
    rest = of.count - len(those)
    return f": {_and([*(_place(one, several=len(report.captures) > 1) for one in those), *([f'{rest:,} more'] if rest else [])])}"


def _place(one: Unjudged, *, several: bool) -> str:
    which = shorten(one.request, MOST_EXAMPLE) if one.request else f"to {one.server}"
    file = f" of {one.capture}" if several else ""
    waited = "" if one.waited is None else f", {duration(one.waited)} before the end"
    return f"{which} (frame {one.frame}{file}{waited})"


def known(report: Report) -> list[str]:
    """What was left out, a line each."""
    return [_known(one) for one in report.left_out]


def _known(one: LeftOut) -> str:
    number, rules = count(one.findings, "finding"), ", ".join(one.rules)
    why = {
        "ignore": f"ignored by the configuration: {one.reason}",
        "baseline": f"in the baseline {one.reason} already",
        "confidence": f"of less than {one.reason} confidence",
    }
    return f"{number} ({rules}) {why[one.by]}"


def _span(capture: CaptureSummary) -> str:
    """ "from 2026-01-31 12:00:00 UTC for 12.5 s"."""
    if capture.first_time is None or capture.last_time is None:
        return ""
    (first, first_fraction), (last, last_fraction) = map(_moment, (capture.first_time, capture.last_time))
    try:
        whole = (datetime.fromisoformat(last) - datetime.fromisoformat(first)).total_seconds()
    except ValueError:
        return f"from {first}"
    lasted = whole + last_fraction - first_fraction
    return f"from {first.replace('T', ' ')} UTC" + (f" for {duration(lasted)}" if lasted else "")


def _moment(time: str) -> tuple[str, float]:
    whole, _, fraction = time.removesuffix("Z").partition(".")
    return whole, float(f"0.{fraction or 0}")
