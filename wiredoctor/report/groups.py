"""Group findings into problems: findings with the same rule, kind, side, severity and server are one problem."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from wiredoctor.findings import SEVERITIES, Finding, causes_first, host
from wiredoctor.text.durations import LONG_UNITS, SECOND, UNITS
from wiredoctor.text.regex import Regex

MAX_GROUPS = 10
"""The maximum number of problems described in one part of a report, such as a JUnit test case."""

ProblemKey = tuple[str | None, ...]

_UNITS = {unit: seconds * SECOND for seconds, unit in LONG_UNITS} | {unit: size for size, unit in UNITS}
_TIME = rf"\d[\d.]* (?:{'|'.join(_UNITS)})\b(?: \d+ (?:{'|'.join(_UNITS)})\b)*"

_LASTED = Regex(rf"(?P<lead>^After| for| took| waited| complete, after| was closed after) (?P<time>{_TIME})")
"""A pattern for the part of a title that says how long one occurrence lasted."""

_OMITTED = Regex(
    rf",? {_TIME} after (?:the|its) request(?:,(?= before))?| after {_TIME}(?=$|[;,])|: it takes {_TIME}, the others {_TIME}$"
    rf"|: a timeout of about {_TIME}$| \((?:400|414|431)\)$|(?<= longer) because .+$"
)
"""A pattern for the part of a title that differs between occurrences: the time of the end, a timeout, the times of a slow server
and of the other servers, the status that rejects a head, or the reason why connecting took longer.

The title is complete without this part.
"""

_REQUESTS = (
    (Regex(r" to start answering (?P<request>.+)$"), r" to start answering requests such as \g<request>"),
    (Regex(r" came together: (?P<request>.+)$"), r" came together, for requests such as \g<request>"),
    (Regex(r"^The response to (?P<request>.+) came in tiny"), r"Responses to requests such as \g<request> came in tiny"),
    (
        Regex(r"^The page (?P<request>.+) was (?P<sent>.+): its style sheets"),
        r"Pages such as \g<request> were \g<sent>: their style sheets",
    ),
)

"""Patterns for titles that name the request of one occurrence, each with its replacement if the requests differ."""


@dataclass(frozen=True, eq=False, repr=False)
class Group:
    """A problem: findings that one change would fix, in report order. Each of them is an occurrence of the problem."""

    findings: tuple[Finding, ...]

    @cached_property
    def worst(self) -> Finding:
        """The finding with the longest delay; among findings with equal delays, the one that was seen first."""
        longest = max(f.delay or 0.0 for f in self.findings)
        worst = [f for f in self.findings if (f.delay or 0.0) == longest]
        return worst[0] if len(worst) == 1 else min(worst, key=lambda f: (f.first_seen_time, f.first_seen))

    @cached_property
    def title(self) -> str:
        """The title of the worst finding, generalized to all findings, as in "took up to 9 s" and "requests such as GET /a"."""
        title, titles = self.worst.title, {f.title for f in self.findings}
        if len(titles) == 1:
            return title
        for pattern, several in _REQUESTS:
            if len(_matches(pattern, "request", titles)) > 1:
                title = pattern.sub(several, title)
        if len(_matches(_OMITTED, 0, titles)) > 1:
            title = _OMITTED.sub("", title)
        if len(times := _matches(_LASTED, "time", titles)) > 1:
            title = _LASTED.sub(rf"\g<lead> up to {max(times, key=_nanoseconds)}", title, count=1)
        return title

    @cached_property
    def count(self) -> int:
        """The number of occurrences."""
        return len(self.findings)

    @cached_property
    def first_seen(self) -> float:
        """The time of the first occurrence, in seconds since the first packet of its capture."""
        return min(f.first_seen for f in self.findings)

    @cached_property
    def delay(self) -> float | None:
        """The total time lost (s), or None if no finding cost time."""
        delays = [f.delay for f in self.findings if f.delay is not None]
        return sum(delays) if delays else None

    def badness(self) -> tuple[int, float, int, float]:
        """Return a sort key that puts the worst group first."""
        worst = self.worst
        return SEVERITIES.index(worst.severity), -(self.delay or 0.0), -self.count, worst.first_seen


def _matches(pattern: Regex[str], part: str | int, texts: Iterable[str]) -> set[str]:
    return {match[part] for text in texts if (match := pattern.search(text))}


def _nanoseconds(time: str) -> float:
    """Parse a duration such as "1.5 s" or "3 min 20 s"; return ns."""
    words = time.split()
    return sum(float(number) * _UNITS[unit] for number, unit in zip(words[::2], words[1::2], strict=True))


def problem_key(f: Finding) -> ProblemKey:
    """Return a key that all occurrences of a problem have in common.

    Occurrences may differ in client, path and capture. If a problem has no server, its occurrences have the same capture and
    client.
    """
    place = (f.server, None) if f.server is not None else (f.capture, host(f.client))
    return f.rule, f.kind, f.side, f.severity, *place


def group_findings(findings: Iterable[Finding]) -> list[Group]:
    """Group findings into problems; return the problems sorted by severity, time lost and number of occurrences, worst first.

    Among problems of the same severity, a cause precedes its effects.
    """
    groups: dict[ProblemKey, list[Finding]] = {}
    for f in findings:
        groups.setdefault(problem_key(f), []).append(f)
    worst_first = sorted((Group(tuple(g)) for g in groups.values()), key=Group.badness)
    by_severity = ([group for group in worst_first if group.worst.severity == severity] for severity in SEVERITIES)
    return [group for alike in by_severity for group in causes_first(alike, lambda group: group.findings)]
