"""Sentences shared by all human-readable formats: about problems, failures, software, coverage and what was left out."""

from __future__ import annotations

import re

from wiredoctor.findings import Finding, LeftOut, Report, Unjudged, host
from wiredoctor.report.by_status import Failures, ServerAnswers
from wiredoctor.report.capture_clocks import began
from wiredoctor.report.commands import short_fingerprint
from wiredoctor.report.coverage import CheckedCount, Coverage, NotJudged
from wiredoctor.report.failed_requests import knows_failures
from wiredoctor.report.groups import Group
from wiredoctor.report.unexplained import unexplained
from wiredoctor.report.words import count, duration, join_words, part_of, shorten
from wiredoctor.text.escape import REQUEST_LENGTH
from wiredoctor.text.regex import Regex

MAX_KINDS = 3
MAX_SERVERS = 10
MAX_EXAMPLES = 3
MAX_EXAMPLE = 40
SOFTWARE_LENGTH = 40
SHORTEST_IDLE = 1.0
"""The minimum idle time in seconds for which a report says that streams were cut after equal idle times.

Shorter idle times may be equal by chance.
"""
SAME_IDLE_SHARE, SAME_IDLE, EARLY = 0.01, 0.02, 0.3
"""The tolerance for equal idle times, as in the rule idle-cut: the share SAME_IDLE_SHARE of the time, plus SAME_IDLE seconds.

For three or more idle times, the tolerance is at least EARLY seconds, because nginx and HAProxy may close this much earlier.
"""

_BROWSERS = tuple(
    rf"\b{name}[/ ][\d.]+" for name in ("Edge?", "OPR", "FxiOS", "Firefox", "CriOS", "Chrome", "MSIE", "Trident", "Safari")
)

"""Patterns for browsers whose User-Agent begins with Mozilla. Rarer browsers come first, because each User-Agent also names the
browsers that this browser imitates.
"""

SECRETS = "This report contains secrets: nothing in it is masked (--show-secrets)."
"""The first line of a report without redaction."""


def failing(reach: Coverage) -> list[str]:
    """Return a line for each server that sent statuses of 500 or above, with the known reasons; a last line counts the others."""
    failed = [one for one in reach.servers if one.failed]
    lines = [_failing(one, "not explained" if reach.knows_failures else "not checked") for one in failed[:MAX_SERVERS]]
    if rest := failed[MAX_SERVERS:]:
        lines.append(f"and {count(len(rest), 'other server')}: {count(sum(one.failed for one in rest), 'response')}")
    return lines


def _failing(one: ServerAnswers, unknown: str) -> str:
    """Describe the responses of a server with status 500 or above. `unknown`: the words for responses without a known reason.

    For example "10.0.0.2:80: 4 of 60 responses have status 500 or above: 3 x 502 (2 from the gateway itself, gateway-error of
    kind closed; 1 not explained), 1 x 503 (...)".
    """
    most = sorted(one.failures, key=lambda failed: (-failed.count, failed.status))
    shown = [f"{failed.count:,} x {failed.status} ({_failure_counts(failed, unknown)})" for failed in most[:MAX_KINDS]]
    if rest := most[MAX_KINDS:]:
        shown.append(f"{sum(failed.count for failed in rest):,} with another status")
    where = one.server or "other servers"
    verb = "has" if one.failed == 1 else "have"
    return f"{where}: {part_of(one.failed, one.responses, 'response')} {verb} status 500 or above: {', '.join(shown)}"


def _failure_counts(failed: Failures, unknown: str) -> str:
    parts: list[str] = []
    if failed.own:
        several = len(failed.own) > 1
        kinds = " and ".join(f"{kind} ({number:,})" if several else str(kind) for kind, number in failed.own.items())
        parts.append(f"{sum(failed.own.values()):,} from the gateway itself, gateway-error of kind {kinds}")
    parts += [f"{number:,} passed on from {server}" for server, number in failed.passed_on.items()]
    if failed.repeated:
        parts.append(f"{failed.repeated:,} not passed on, because the gateway repeated the request")
    if failed.unexplained:
        parts.append(f"{failed.unexplained:,} {unknown}" if parts else unknown)
    return "; ".join(parts)


def times(group: Group) -> str:
    """Return the number of occurrences of a problem, and the time lost: "38 times, 7.9 s lost"."""
    return f"{count(group.count, 'time')}, {duration(group.delay)} lost" if group.delay else count(group.count, "time")


def extent(group: Group) -> str:
    """Return the number of occurrences and the time lost; for a single finding, only the time lost, or "" if its title contains
    the time.
    """
    if group.count > 1:
        return times(group)
    delay = duration(group.delay) if group.delay and group.delay > 0 else ""
    return "" if delay in group.worst.title else delay


def rule_and_confidence(group: Group) -> str:
    """Return rule, confidence and cause: "a-rule (kind), high confidence, after another-rule (frame 4)"."""
    worst = group.worst
    causes = dict.fromkeys(f"{cause.rule}{f' (frame {cause.frame})' if cause.frame else ''}" for cause in worst.caused_by)
    after = ", ".join(causes)
    return f"{worst.rule_and_kind}, {worst.confidence} confidence" + (f", after {after}" if after else "")


def client_and_server(group: Group) -> str:
    """Return client and server with their software: "10.0.0.1 (curl/8.5.0) -> 10.0.0.2:80 (nginx)"."""
    worst = group.worst
    clients = {f.client for f in group.findings}
    client = worst.client if len(clients) == 1 else host(worst.client)
    sides = ((client, worst.client_software), (worst.server, worst.server_software))
    return " -> ".join(f"{end} ({product(software)})" if software else end for end, software in sides if end)


def product(software: str) -> str:
    """Return the program in a User-Agent or Server field.

    For example "curl/8.5.0", "Apache/2.4.7" or "Firefox/115.0" (RFC 9110 section 10.1.5).
    """
    if software.startswith("Mozilla/") and (named := re.search(r"compatible; ([\w.-]+/[\w.]+)", software)):
        return named[1]
    if software.startswith("Mozilla/"):
        browser = next((m[0] for sign in _BROWSERS if (m := re.search(sign, software))), "")
        return browser or shorten(software, SOFTWARE_LENGTH)
    first = re.split(r" (?=\()", software)[0]
    return shorten(first.partition(" ")[0] if "/" in first.partition(" ")[0] else first, SOFTWARE_LENGTH)


def example(group: Group, *, when: bool = True) -> str:
    """Describe which finding of a problem is shown, and the connection, exchange and so on that it is about. `when`: also say
    when the finding began.

    For example "worst of 38: finding 7 (3f2a91c0), connection 3, exchange 2, GET /items, status 200, TIME".
    """
    worst = group.worst
    places = [
        f"finding {short_fingerprint(worst)}" if worst.number is None else f"finding {worst.number} ({short_fingerprint(worst)})",
        "" if worst.connection is None else f"connection {worst.connection}",
        "" if worst.exchange is None else f"exchange {worst.exchange}",
        shorten(worst.request or "", REQUEST_LENGTH),
        "" if worst.status is None else f"status {worst.status}",
        began(worst) if when else "",
    ]
    place = ", ".join(p for p in places if p)
    if len(group.findings) == 1:
        return place
    which = f"{'worst' if group.delay else 'first'} of {len(group.findings):,}"
    return f"{which}: {place}" if place else which


_ELSEWHERE = {
    "client": Regex(
        r"\b(?:[Hh]ave|[Ll]et) (?:both|one side|the (?:server|proxy|gateway|balancer))\b|\bor the server's\b|^Before a server "
    ),
    "server": Regex(r"\b(?:[Hh]ave|[Ll]et) (?:both|one side|the (?:client|proxy|gateway|balancer))\b|\bof the gateway\b"),
}
"""Patterns by side ("client" or "server"). Each matches remedies that also require a change on the other side or a gateway."""


def change(finding: Finding) -> str:
    """Return the heading of a remedy: "What to do on the server" (or client) if only that side has to change, otherwise "What to
    do".
    """
    side, remedy = finding.side, finding.remedy
    is_alone = side and not _ELSEWHERE[side].search(remedy) and not remedy.startswith("Nothing has to change")
    return f"What to do on the {side}" if is_alone else "What to do"


def totals(report: Report, shown: str = "") -> str:
    """Return the numbers of connections and exchanges: "3 TCP connections, 7 HTTP exchanges"; `shown` describes the filter."""
    text = f"{count(report.connection_count, 'TCP connection')}, {count(report.exchange_count, 'HTTP exchange')}"
    return f"{text} shown (only {shown}; all was read)" if shown else text


def checked_lines(reach: Coverage) -> list[str]:
    """Return lines on what was checked, one per protocol.

    For example "12 exchanges on 3 connections: stalls, connection attempts, closes".
    """
    lines = [_checked_line(one) for one in reach.checked]
    if reach.snap_length is None and not 0 < reach.begun_before == reach.carried.get("unknown"):
        return lines
    seen = " (protocol not recognized)" if reach.shows_payload else " (protocol not captured)"
    return [line.replace(_OTHER, seen) for line in lines]


_WORDS = {
    "stalls": "stalls, connection attempts",
    "handshake": "handshakes",
    "lifetime": "closes",
    "streaming": "streaming",
    "framing": "framing",
    "round-trips": "round trips",
    "gateways": "gateways",
}
"""Names of families in texts for people, the most interesting first."""

_OTHER = " (neither HTTP/1.x nor TLS)"

_SUBJECTS = {
    "tls": ("TLS connection", ""),
    "http2": ("HTTP/2 connection", ""),
    "unknown": ("connection", _OTHER),
    "none": ("connection", " without data"),
}


def _checked_line(one: CheckedCount) -> str:
    families = sorted(one.families, key=lambda family: [*_WORDS, family].index(family))
    what = ", ".join([*(_WORDS.get(family, family) for family in families), *one.rules])
    if one.what == "capture":
        return "the capture itself" + (f": {', '.join(one.rules)}" if one.rules else "")
    if one.what == "http":
        return f"{count(one.exchanges, 'exchange')} on {count(one.connections, 'connection')}: {what}"
    noun, more = _SUBJECTS[one.what]
    return f"{count(one.connections, noun)}{more}: {what}"


def checked_heading(report: Report, reach: Coverage) -> str:
    """Return the heading of `checked_lines`: "Checked and healthy", or "Checked" if it is not certain that all is healthy.

    It is certain only under these conditions: there was a connection; nothing was found, left out or unexplained; no response had
    a status of 500 or above; the snap length hid no protocol; and all rules that report failures ran.
    """
    known = report.left_out or reach.answers.failures
    doubts = report.findings or known or not report.connection_count or unexplained(reach) or reach.snap_length is not None
    return "Checked and healthy" if not doubts and knows_failures(report) else "Checked"


def rules_without_findings(report: Report, reach: Coverage) -> list[str]:
    """Return the rules that found nothing, one line per family: "lifetime: idle-close, premature-close"."""
    families: dict[str, list[str]] = {}
    for rule in reach.healthy:
        families.setdefault(report.checked[rule].family, []).append(rule)
    return [f"{family}: {', '.join(rules)}" for family, rules in families.items()]


def count_of_rules_without_findings(report: Report, reach: Coverage) -> str:
    """Return a text such as "41 of 44 rules found nothing"; "" if other lines already name each of these rules."""
    if not any(one.families for one in reach.checked):
        return ""
    return f"{len(reach.healthy):,} of {count(len(report.checked), 'rule')} found nothing"


def reasons(report: Report, reach: Coverage) -> list[str]:
    """Return a line for each reason why something could not be judged: "2 of 5 connections: TLS, not decrypted ..."."""
    whole = {"connections": reach.connections, "exchanges": reach.exchanges, "rules": len(report.checked)}
    return [
        f"{part_of(one.count, whole[one.what], one.what.removesuffix('s'))}: {one.reason}{_equal_idle_times(report, one)}"
        f"{_examples(report, one)}"
        for one in reach.not_judged
    ]


def _equal_idle_times(report: Report, of: NotJudged) -> str:
    """Return " (each after 3 s without data)" if all streams that were cut had been idle for the same time; otherwise ""."""
    idle = sorted(one.idle for one in report.not_judged if one.reason == of.ending and one.idle is not None) if of.ending else []
    if len(idle) < max(2, of.count) or idle[0] < SHORTEST_IDLE:
        return ""
    tolerance = max(SAME_IDLE_SHARE * idle[-1] + SAME_IDLE, EARLY if len(idle) > 2 else 0)
    if idle[-1] - idle[0] > tolerance:
        return ""
    shortest, longest = duration(idle[0]), duration(idle[-1])
    return f" (each after {longest if shortest == longest else f'{shortest} to {longest}'} without data)"


def _examples(report: Report, of: NotJudged) -> str:
    """Return a text that lists the first exchanges or connections that were not judged for the reason `of`; "" if none is known.

    For example ": GET /a (frame 12, 3.2 s before the end), GET /b (frame 31, 7 ms before the end) and 38 more".
    """
    those = [one for one in report.not_judged if one.reason == of.ending][:MAX_EXAMPLES] if of.ending else []
    if not those:
        return ""
    rest = of.count - len(those)
    places = [_place(one, several=len(report.captures) > 1) for one in those]
    return f": {join_words([*places, *([f'{rest:,} more'] if rest else [])])}"


def _place(one: Unjudged, *, several: bool) -> str:
    which = shorten(one.request, MAX_EXAMPLE) if one.request else f"to {one.server}"
    file = f" of {one.capture}" if several else ""
    waited = "" if one.waited is None else f", {duration(one.waited)} before the end"
    return f"{which} (frame {one.frame}{file}{waited})"


def left_out_lines(report: Report) -> list[str]:
    """Return a line for each reason why findings were excluded."""
    return [_left_out_line(one) for one in report.left_out]


def _left_out_line(one: LeftOut) -> str:
    number, rules = count(one.findings, "occurrence"), ", ".join(one.rules)
    why = {
        "ignore": f"ignored by the configuration: {one.reason}",
        "baseline": f"already in the baseline {one.reason}",
        "confidence": f"with less than {one.reason} confidence",
    }
    return f"{number} ({rules}) {why[one.by]}"
