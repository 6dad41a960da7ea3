"""Write the first two lines of every report: the most important fact in a sentence, and the number of problems."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from wiredoctor.findings import SEVERITIES, Finding, LeftOutBy, Report
from wiredoctor.report.coverage import Coverage
from wiredoctor.report.failed_requests import FailedRequests, find_failed, knows_failures
from wiredoctor.report.groups import Group
from wiredoctor.report.terminal.capture_sentences import incomplete, lacking
from wiredoctor.report.unexplained import rejections, unexplained
from wiredoctor.report.words import count, duration, join_words, part_of
from wiredoctor.text.regex import Regex

WORTH_TELLING = 0.001
"""The minimum lost time in seconds that the headline reports. It excludes, for example, handshakes within one host."""

NOTICED = 0.1
"""The minimum lost time in seconds that the headline reports if only notes report it. Users notice no shorter time."""

LEAST_IDLE_TIMEOUT = 1.0
"""The minimum idle timeout of common servers in seconds. If a server closes a connection earlier, the reason is not an idle
timeout.
"""

_NO_HTTP = {
    "tls": (
        "the only connection is encrypted (TLS, not decrypted)",
        "each of the {} connections is encrypted (TLS, not decrypted)",
    ),
    "http2": (
        "the only connection uses HTTP/2, which is not parsed",
        "each of the {} connections uses HTTP/2, which is not parsed",
    ),
    "none": ("the only connection carried no data", "none of the {} connections carried data"),
}
"""Reasons why no HTTP could be read if all connections have the same protocol, by protocol: for one connection, and for several.
"""

_UNREADABLE = ("tls", "http2")
"""Protocols whose connections may carry HTTP that cannot be read. Only their stalls and connection attempts are judged."""

_OTHER = ("the only connection carries neither HTTP/1.x nor TLS", "each of the {} connections carries neither HTTP/1.x nor TLS")
"""Clauses for captures with neither HTTP nor TLS, in which all connections carry other data: for one connection, and for several.

Stalls and connection attempts of these connections are judged.
"""

_BEGUN_BEFORE = (
    "the only connection began before the capture, so its protocol is unknown",
    "each of the {} connections began before the capture, so its protocol is unknown",
)
"""Clauses for captures whose connections all began earlier and have an unknown protocol: for one connection, and for several."""

_CLAUSES: Mapping[tuple[str, str | None], str] = {
    ("connect-failed", "refused"): "{server} refused the connection",
    ("connect-failed", "prohibited"): "a firewall rejected the connection to {server}",
    ("connect-failed", "unreachable"): "{server} was not reachable",
    ("connect-failed", "timed-out"): "{server} did not answer the SYN",
    ("connect-failed", "closed-at-once"): "{server} accepted the connection and reset it at once",
    ("keep-alive-race", "at-limit"): "{server} was closing the connection, which had been idle",
    ("keep-alive-race", "stale-pool"): "the client used a connection that {server} had closed",
    ("keep-alive-race", "early-answer"): "{server} had answered an incomplete request and closed",
    ("malformed-head", "no-status-line"): "what {server} sent is not HTTP",
    ("malformed-head", "speaks-first"): "{server} does not speak HTTP/1.1",
    ("gateway-error", "rejected-response"): "the gateway {server} did not pass on the response of the server behind it",
}
"""Clauses that follow "because", by rule and kind. For other findings, the clause is made from the title."""

_LEFT_OUT: Mapping[LeftOutBy, str] = {"baseline": "known", "ignore": "ignored", "confidence": "of lower confidence"}
"""The word for findings that were left out, by reason."""

_LOSS = "capture-loss"
_NO_CONNECTION = "connect-failed"
_NOT_BY_KIND = ("Port ", "Connections with ECN ")
"""The beginnings of titles of `connect-failed` that say more than the clause of their kind."""

_FIRST_WORDS = (
    "A",
    "After",
    "All",
    "An",
    "Chunks",
    "Connecting",
    "Events",
    "Neither",
    "No",
    "One",
    "Only",
    "Pages",
    "Requests",
    "Responses",
    "Segments",
    "The",
)
"""The first words of titles that are written in lower case within a sentence. Other first words may be names."""

_SUBJECTS = ("A", "An", "Connecting", "Neither", "Segments", "The")
"""The first words of titles that can follow "because"."""

_THE_SERVER = Regex(r"(?:^|: )[Tt]he server (?!behind)(?P<did>.*)$")
_BEHIND = Regex(r": the server behind it (?P<did>.*)$")


class Counts(NamedTuple):
    """The numbers in a headline: problems by severity, occurrences (findings), and seconds lost."""

    problems: dict[str, int]
    occurrences: int
    delay: float

    def __str__(self) -> str:
        """Format as "2 errors and 1 warning, 9 occurrences. Time lost: 5 s."; empty if there are no problems."""
        each = severities(self.problems)
        if not each:
            return ""
        if self.occurrences != sum(self.problems.values()):
            each += f"{';' if ',' in each else ','} {count(self.occurrences, 'occurrence')}"
        return f"{each}. Time lost: {duration(self.delay)}." if self.delay >= WORTH_TELLING else f"{each}."


def severities(problems: Mapping[str, int]) -> str:
    """Format the number of problems by severity: "2 errors and 1 warning", "3 errors, 1 warning, 3 notes"."""
    each = [count(problems[name], name) for name in SEVERITIES if problems.get(name)]
    return (" and " if len(each) == 2 else ", ").join(each)


def count_problems(groups: Iterable[Group]) -> dict[str, int]:
    """Return the number of problems by severity."""
    number = Counter(group.worst.severity for group in groups)
    return {severity: number[severity] for severity in SEVERITIES}


def counts(report: Report, groups: Sequence[Group]) -> Counts:
    """Return the numbers of problems and occurrences, and the time lost, as all formats show them."""
    return Counts(count_problems(groups), len(report.findings), report.delay)


def headline(report: Report, groups: Sequence[Group], reach: Coverage, shown: str = "") -> str:
    """Return the most important fact of a report.

    The first sentences say what is missing from the report or its captures. Then comes the first of the following facts that
    applies: nothing could be judged, requests failed, another error, time lost, a warning, or the text that `health` returns. The
    text also counts rejected requests, connection attempts that failed in addition to requests, and two things that no finding
    explains: unanswered requests, and statuses of 500 and above.

    `groups`: the problems, worst first. `reach`: the coverage of the report. `shown`: a description of the report's filter.
    """
    return " ".join([*missing(report), _finding_or_health(report, groups, reach, shown)])


def missing(report: Report) -> list[str]:
    """Return sentences about inputs that could not be read completely, and about packets that are missing from captures."""
    loss = _loss(report)
    return [*incomplete(report, 1), *([loss] if loss else [])]


def doubts(report: Report, reach: Coverage, shown: str = "") -> list[str]:
    """Return sentences about missing data and unexplained failures, for a quiet report without findings.

    The list is empty if there are none. `reach`: the coverage of the report. `shown`: a description of the report's filter.
    """
    lines = [*incomplete(report), *lacking(report)]
    if not unexplained(reach) and reach.exchanges:
        return lines
    said = missing(report)
    return [headline(report, (), reach, shown), *(line for line in lines if line not in said)]


def _loss(report: Report) -> str:
    dropped = [capture for capture in report.captures if capture.dropped]
    lossy = {f.capture: f.title for f in report.findings if f.rule == _LOSS}
    files = {capture.file for capture in dropped} | lossy.keys()
    if len(report.captures) > 1 and files:
        return f"Packets are missing from {len(files):,} of {count(len(report.captures), 'capture')}."
    if dropped:
        return f"{dropped[0].dropped or 0:,} of {count(dropped[0].dropped_of, 'packet')} were dropped while capturing."
    return "".join(f"{title}." for title in lossy.values())


def _finding_or_health(report: Report, groups: Sequence[Group], reach: Coverage, shown: str) -> str:
    scope = f" ({shown})" if shown else ""
    judged = [group for group in groups if group.worst.family != "capture"]
    if not report.connection_count and not judged:
        return nothing_to_diagnose(report, shown)
    if not judged and (unread := _not_http(report, groups, reach)):
        return f"{unread}{scope}."
    dropped = any(capture.dropped for capture in report.captures)
    well_so_far = not (groups or report.left_out or unexplained(reach) or dropped) and knows_failures(report)
    if well_so_far and (why := _cut(reach) or _other_protocol(reach)):
        return f"Nothing wrong was found, but only stalls and connection attempts could be judged: {why}{scope}."
    if not judged and (why := _cut(reach)):
        return f"Only stalls and connection attempts could be judged: {why}{_and(unexplained(reach), '; ')}{scope}."
    failed = find_failed(report, (reach.answers.requests, reach.connections))
    doubts = _and(unexplained(reach), "; ")
    if failed.cause is not None:
        # the cause is not about a request, so it does not mention errors in responses
        errors = doubts if failed.noun == "connection" and (reach.answers.unexplained or reach.hidden) else ""
        attempts = _failed_attempts(report, failed.cause[0])
        return f"{_failed(failed, failed.cause, groups)}{attempts}{errors}{scope}."
    if judged and judged[0].worst.severity == "error":
        return f"{_title_and_place(judged[0])}{doubts}{scope}."
    if sum(reach.answers.rejections.values()) > sum(one.rule == "oversized-head" for one in report.findings):
        doubts = _and(unexplained(reach) + rejections(reach), "; ")
    if _costs(report, judged or groups):
        lost = _time_lost(report, judged or groups, reach)
        if doubts and all(group.worst.severity == "note" for group in groups):
            # failures come first, because the time lost may be intended if only notes report it
            errors = join_words(unexplained(reach) + rejections(reach))
            return f"{errors[:1].upper()}{errors[1:]}; {lost}{scope}."
        return f"{lost}{doubts}{scope}."
    if warnings := [group for group in judged if group.worst.severity == "warning"]:
        return f"{_title_and_place(warnings[0])}{doubts}{scope}."
    if faulty := [group for group in groups if group.worst.severity != "note"]:
        lead = "".join(f"{group.worst.title}. " for group in faulty[:1] if group.worst.rule != _LOSS)
        return lead + health(report, reach, shown, lossy=True)
    return health(report, reach, shown, notes=len(groups))


def _costs(report: Report, groups: Sequence[Group]) -> bool:
    """Return whether the lost time is the most important fact: if only notes report it, it must be noticeable."""
    noted = all(group.worst.severity == "note" for group in groups if group.delay)
    return report.delay >= (NOTICED if noted else WORTH_TELLING)


def nothing_to_diagnose(report: Report, shown: str) -> str:
    """Return the sentence for a report without connections to diagnose. `shown`: a description of the report's filter."""
    from wiredoctor.report.filter import TIME_SPAN
    from wiredoctor.report.no_rows import packet_times
    from wiredoctor.report.terminal.capture_sentences import other_packets

    scope = f" ({shown})" if shown else ""
    empty = report.captures and not any(capture.packets for capture in report.captures)
    seen = "" if shown or empty else other_packets(report)
    times = f" {packet_times(report)}" if TIME_SPAN in shown else ""
    return f"Nothing to diagnose: {'there are no packets' if empty else 'no TCP connection was seen'}{scope or seen}.{times}"


def health(report: Report, reach: Coverage, shown: str = "", *, notes: int = 0, lossy: bool = False) -> str:
    """Return the sentence for a report without lost time, and without errors and warnings except about the capture itself.

    The sentence says that nothing is wrong only under two conditions: every request was answered completely and without a server
    error, and every rule that reports failures ran. `reach`: the coverage of the report. `shown`: a description of the report's
    filter. `notes`: the number of notes. `lossy`: whether a finding reports that packets are missing from the capture.
    """
    scope = f" ({shown})" if shown else ""
    doubts = unexplained(reach) + ([] if report.exchange_count else ["no HTTP exchange was seen"])
    doubts += rejections(reach) + _unread(reach)
    if report.left_out and not notes and not lossy:
        said = _left_out(report, "findings")
    elif notes:
        lead = "No" if knows_failures(report) else f"{_selected(report)} found no"
        nothing = _left_out(report, "errors or warnings") if report.left_out else f"{lead} errors or warnings"
        said = f"{nothing}, only {count(notes, 'note')}"
    elif not knows_failures(report):
        said = f"{_selected(report)} found {'no fault in what was captured' if lossy else 'nothing'}"
    elif lossy or any(capture.dropped for capture in report.captures):
        said = "No known fault was found in what was captured"
    else:
        said = "No known fault" if unexplained(reach) else "Nothing wrong was found"
    return f"{said}{_and(doubts, ', but ')}{scope}."


def _selected(report: Report) -> str:
    number = len(report.checked)
    return "The selected rule" if number == 1 else f"The {number:,} selected rules"


def _left_out(report: Report, what: str) -> str:
    """Return a sentence that counts excluded findings: "No new findings (6 known)", "No findings (2 ignored, 1 of lower
    confidence)".
    """
    number = Counter[LeftOutBy]()
    for one in report.left_out:
        number[one.by] += one.findings
    return f"No {'new ' if number['baseline'] else ''}{what} ({_by_reason(number)})"


def _by_reason(number: Mapping[LeftOutBy, int]) -> str:
    """Format the numbers of excluded findings by reason: "6 known, 2 ignored"."""
    return ", ".join(f"{number[by]:,} {word}" for by, word in _LEFT_OUT.items() if number.get(by))


def _not_http(report: Report, groups: Sequence[Group], reach: Coverage) -> str:
    """Return a sentence that says why no HTTP could be read on any connection, and what could be judged instead.

    Return "" if there are exchanges, or if the connections have different reasons.
    """
    protocol = next((name for name in _NO_HTTP if reach.connections and reach.carried.get(name) == reach.connections), "")
    if reach.exchanges or not protocol:
        return ""
    why = _NO_HTTP[protocol][reach.connections > 1].format(f"{reach.connections:,}")
    doubts = unexplained(reach)
    if not any(one.what == protocol for one in reach.checked):
        return f"Nothing could be judged: {why}{_and(doubts, '; ')}"
    lead = f"No HTTP could be read: {why}" if protocol in _UNREADABLE else f"No HTTP was seen: {why}"
    if not knows_failures(report):
        return f"{lead}; {_lower(_selected(report))} found nothing{_and(doubts, ', but ')}"
    if doubts:
        return f"{lead}; {join_words(doubts)}"
    lead += f"; {'connection attempts and stalls' if protocol in _UNREADABLE else 'connection attempts'} were judged"
    if report.left_out:
        return f"{lead}: {_left_out(report, 'findings').replace('No', 'no', 1)}"
    lossy = any(capture.dropped for capture in report.captures) or any(group.worst.severity != "note" for group in groups)
    return f"{lead}, and {'no known fault was found in what was captured' if lossy else 'nothing wrong was found'}"


def _cut(reach: Coverage) -> str:
    """Return a clause with the snap length if it may hide the protocols of all connections, otherwise ""."""
    with_data = reach.connections - reach.carried.get("none", 0)
    if reach.exchanges or reach.snap_length is None or not with_data or reach.carried.get("unknown") != with_data:
        return ""
    seen = "in which neither HTTP/1.x nor TLS was recognized" if reach.shows_payload else "too few to see a protocol"
    return f"packets were cut after {reach.snap_length:,} bytes, {seen}"


def _unread(reach: Coverage) -> list[str]:
    """Return a list with a clause about encrypted connections, such as "3 of 6 connections are encrypted (TLS, not decrypted)".

    The list is empty if there are none.
    """
    tls = reach.carried.get("tls", 0)
    verb = "is" if tls == 1 else "are"
    return [f"{part_of(tls, reach.connections, 'connection')} {verb} encrypted (TLS, not decrypted)"] if tls else []


def _other_protocol(reach: Coverage) -> str:
    """Return a clause if data was captured on every connection, but no protocol was recognized in it; otherwise ""."""
    if not reach.connections or reach.carried.get("unknown") != reach.connections:
        return ""
    clauses = _BEGUN_BEFORE if reach.begun_before == reach.connections else _OTHER
    return clauses[reach.connections > 1].format(f"{reach.connections:,}")


def _and(parts: Sequence[str], lead: str) -> str:
    return f"{lead}{join_words(parts)}" if parts else ""


def _failed(failed: FailedRequests, cause: tuple[Finding, int], groups: Sequence[Group]) -> str:
    finding, caused = cause
    number, whole = (
        (failed.connections, failed.of_connections) if failed.noun == "connection" else (failed.requests, failed.of_requests)
    )
    at_least = "At least " if failed.at_least and number < whole else ""
    head = f"The only {failed.noun} failed" if whole == 1 else f"{at_least}{number:,} of {count(whole, failed.noun)} failed"
    head += f" ({_by_reason(failed.left_out)})" if failed.left_out else ""
    group = next((group for group in groups if finding in group.findings), None) if caused > 1 else None
    because = _because(finding, group.title if group else finding.title, failed.idle_timeouts)
    return head + (f", {caused:,} of them" if caused < number else "") + because


def _failed_attempts(report: Report, cause: Finding) -> str:
    """Return a clause that counts the failed connection attempts: "; 26 connection attempts failed".

    Return "" if there are none. Attempts that are the cause of other findings do not count.
    """
    if cause.rule == _NO_CONNECTION:
        return ""
    causes = {(finding.capture, one) for finding in report.findings for one in finding.caused_by}
    apart = [finding for finding in _unconnected(report) if finding.severity != "note" and finding.place not in causes]
    number = sum(finding.count for finding in apart)
    return f"; {count(number, 'connection attempt')} failed" if number else ""


def _unconnected(report: Report) -> list[Finding]:
    return [finding for finding in report.findings if finding.rule == _NO_CONNECTION and finding.kind != "tried-next"]


def _because(finding: Finding, title: str, idle_timeouts: Mapping[tuple[str, str | None], float]) -> str:
    """Return the cause of failures like `finding` as a clause: " because 10.0.0.2:80 closes idle connections after 2 s"."""
    server = finding.server or "the server"
    if finding.rule == "keep-alive-race" and finding.kind != "stale-pool" and (limit := _idle_timeout(finding, idle_timeouts)):
        return f" because {server} closes idle connections after {duration(limit)}"
    clause = _CLAUSES.get((finding.rule, finding.kind))
    if clause and not title.startswith(_NOT_BY_KIND):
        return f" because {clause.format(server=server)}"
    if behind := _BEHIND.search(title):
        return f" because the server behind {server} {behind['did']}"
    if match := _THE_SERVER.search(title):
        return f" because {server} {match['did']}"
    lead = " because" if title.partition(" ")[0] in _SUBJECTS else ":"
    return f"{lead} {_lower(title)} ({server})"


def _idle_timeout(finding: Finding, idle_timeouts: Mapping[tuple[str, str | None], float]) -> float:
    """Return the known idle timeout (s) of a finding's server, otherwise the timeout that the finding shows, otherwise 0."""
    known = idle_timeouts.get((finding.capture, finding.server))
    shown = float(finding.measures.get("limit", 0.0)) if finding.kind != "forgotten" else 0.0
    return known if known is not None else shown if shown >= LEAST_IDLE_TIMEOUT else 0.0


def _lower(title: str) -> str:
    first = title.partition(" ")[0]
    return title[:1].lower() + title[1:] if first in _FIRST_WORDS else title


def _title_and_place(group: Group) -> str:
    """Return the title of a problem, with its server and number of occurrences: "... (10.0.0.2:80, 12 times)"."""
    number = f"{group.count:,} times" if group.count > 1 else ""
    place = group.worst.server if group.worst.server and group.worst.server not in group.title else ""
    where = ", ".join(part for part in (place, number) if part)
    return group.title + (f" ({where})" if where else "")


def _time_lost(report: Report, groups: Sequence[Group], reach: Coverage) -> str:
    costly = [group for group in groups if (group.delay or 0.0) > 0]
    answers = reach.answers
    answered = answers.requests and answers.answered == answers.requests
    fine = (
        answered
        and not unexplained(reach)
        and not rejections(reach)
        and knows_failures(report)
        and not report.left_out
        and not missing(report)
    )
    unconnected = _unconnected(report)
    if any(finding.severity != "note" for finding in unconnected):
        lead = "Connection attempts failed, and "
    else:
        lead = "No request failed, but " if fine and not unconnected else ""
    lost = f"{lead}{duration(report.delay)} was lost to waiting"
    if not costly:
        return lost
    most = max(costly, key=lambda group: group.delay or 0.0)
    whole, part = duration(report.delay), duration(min(most.delay or 0.0, report.delay))
    share = "" if len(costly) == 1 else f", {'almost all' if part == whole else part} of it to one problem"
    title = _title_and_place(most)
    return f"{lost}{share}. {title}" if ": " in title else f"{lost}{share}: {_lower(title)}"
