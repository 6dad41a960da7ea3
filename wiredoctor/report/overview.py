"""Build the table of problems at the beginning of every report for people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from wiredoctor.findings import SEVERITIES, Finding, Report
from wiredoctor.report.capture_clocks import overall
from wiredoctor.report.commands import short_fingerprint
from wiredoctor.report.groups import Group
from wiredoctor.report.headline import count_problems, severities
from wiredoctor.report.words import clean, count, duration, shorten
from wiredoctor.text.time_of_day import DAY, nanoseconds, time_text

MAX_ROWS = 20
"""The maximum number of problems in the table (but see MAX_ERRORS). Further problems follow as a list of their rules."""

MAX_ERRORS = 25
"""The maximum number of rows if all of them are errors. It exceeds MAX_ROWS, so the table never omits just a few errors."""

LEAST_PATH = 6
"""The minimum length of a shortened path in characters. If there is less room, the path is omitted."""

OVERLAP = "Some of these times overlap; the total counts them once."
CAUSES_FIRST = "A cause is listed before its effects, even if they cost more time."
LEAST_OVERLAP = 0.001
"""The number of seconds by which the sum of all times must exceed the total time lost before a note says that times overlap.

The sum must also exceed the total by more than 1 %. Smaller differences may come from rounding, because times are shown with
three digits.
"""

HEADINGS = ("severity", "rule", "where", "count", "time lost", "first seen", "finding")


@dataclass(frozen=True)
class Row:
    """A problem in the table.

    `host`: the server, or the client or capture of a problem without a server. `other_paths`: the number of paths besides `path`.
    `first_seen`: the time of day or, in a capture without times of day, the time since the first packet. `first_seen_to_seconds`:
    that time without the year and without fractional seconds. `mark`: a word that distinguishes the problem from others with the
    same severity, rule, host and path, such as "(mid-message)".
    """

    group: Group
    host: str
    path: str
    other_paths: int
    first_seen: str
    first_seen_to_seconds: str
    mark: str = ""

    @property
    def severity(self) -> str:
        """The severity of the problem."""
        return self.group.worst.severity

    @property
    def place(self) -> str:
        """Host, path, number of other paths, and `mark`, such as "10.0.0.2:80 /items +3 paths (too-large)"."""
        more = f"+{count(self.other_paths, 'path')}" if self.other_paths else ""
        return " ".join(part for part in (self.host, self.path, more, self.mark) if part)

    @property
    def cells(self) -> tuple[str, ...]:
        """The texts of the row, in the order of HEADINGS."""
        group = self.group
        return (
            group.worst.severity, group.worst.rule, self.place, f"{group.count:,}",
            duration(group.delay) if group.delay else "", self.first_seen, finding_name(group.worst),
        )  # fmt: skip

    @property
    def least_place(self) -> int:
        """The width of host and mark in characters; 0 if there is no mark. The mark must stay visible, as it distinguishes
        similar rows.
        """
        return len(self.host) + 1 + len(self.mark) if self.mark else 0

    def shortened_place(self, width: int, gap: str) -> str:
        """Return the place in at most `width` characters: host, end of the path, number of other paths as "+3", and mark."""
        if len(self.place) <= width:
            return self.place
        mark = f" {self.mark}" if 0 < self.least_place <= width else ""
        more = (f" +{self.other_paths:,}" if self.other_paths else "") + mark
        room = width - len(self.host) - len(more) - 1
        if len(self.path) > room >= LEAST_PATH + len(gap):
            end = self.path[len(gap) - room :]
            return f"{self.host} {gap}{end[max(end.find('/', 0, -1), 0) :]}{more}"
        if self.path and len(self.path) <= room:
            return f"{self.host} {self.path}{more}"
        return shorten(self.host, width - len(mark), gap) + mark


def finding_name(finding: Finding) -> str:
    """Return the value by which --finding selects a finding: its number, or its short fingerprint if it has no number."""
    return short_fingerprint(finding) if finding.number is None else str(finding.number)


def split_rows(report: Report, groups: Sequence[Group]) -> tuple[list[Row], Sequence[Group]]:
    """Return the rows of the table, and the problems that do not fit in it; both are empty for fewer than two problems."""
    if len(groups) < 2:
        return [], ()
    dates = overall(report).dates
    errors = sum(group.worst.severity == "error" for group in groups)
    room = errors if MAX_ROWS < errors <= MAX_ERRORS else MAX_ROWS
    rows = [_row(group, dates=dates) for group in groups[:room]]
    for tell_apart in (_with_kind, _with_side):
        marks: dict[tuple[str, ...], set[str]] = {}
        for row in rows:
            marks.setdefault(_look(row), set()).add(tell_apart(row).mark)
        rows = [tell_apart(row) if len(marks[_look(row)]) > 1 else row for row in rows]
    return rows, groups[room:]


def notes_on_times(report: Report, groups: Sequence[Group]) -> str:
    """Return one or two sentences that explain the times lost; "" if nothing has to be explained.

    The first sentence says that a cause precedes its effects, even if the effects cost more time. This sentence is omitted if
    there are more than MAX_ROWS problems. The second sentence says that times overlap, so they add up to more than the total.
    """
    costs = [(SEVERITIES.index(group.worst.severity), -(group.delay or 0.0)) for group in groups]
    notes = [] if costs == sorted(costs) or len(groups) > MAX_ROWS else [CAUSES_FIRST]
    if -sum(cost for _, cost in costs) - report.delay > max(LEAST_OVERLAP, report.delay / 100):
        notes.append(OVERLAP)
    return " ".join(notes)


def other_problems(left: Sequence[Group]) -> str:
    """Describe problems that are not listed: "3 more problems (2 warnings and 1 note): idle-close 12, slow-response 3"."""
    rules = ", ".join(f"{rule} {occurrences:,}" for rule, occurrences in occurrences_by_rule(left))
    return f"{number_of_others(left)}, by rule with occurrences: {rules}"


def number_of_others(left: Sequence[Group]) -> str:
    """Count problems that are not listed: "3 more problems (2 warnings and 1 note)"."""
    return f"{count(len(left), 'more problem')} ({severities(count_problems(left))})"


def occurrences_by_rule(left: Sequence[Group]) -> list[tuple[str, int]]:
    """Return the rules of the problems in `left`, in alphabetical order, each with the number of its occurrences."""
    number: dict[str, int] = {}
    for group in left:
        number[group.worst.rule] = number.get(group.worst.rule, 0) + group.count
    return sorted(number.items())


def _row(group: Group, *, dates: bool) -> Row:
    worst = group.worst
    paths = dict.fromkeys(path for path in map(_path, group.findings) if path)
    path = _path(worst) or next(iter(paths), "")
    host = worst.server or worst.client or worst.capture
    return Row(group, clean(host), clean(path), max(len(paths) - 1, 0), *_first_seen(group, dates=dates))


def _look(row: Row) -> tuple[str, ...]:
    return row.severity, row.group.worst.rule, row.host, row.path, row.mark


def _with_kind(row: Row) -> Row:
    kind = row.group.worst.kind
    return replace(row, mark=f"({kind})") if kind else row


def _with_side(row: Row) -> Row:
    """Return the row with a mark that distinguishes it from rows with the same rule and place.

    The mark is the kind and side of the problem or, for a problem without a server, the capture.
    """
    worst = row.group.worst
    if worst.server is None:
        return replace(row, mark=f"({clean(worst.capture)})") if worst.client else row
    words = [word for word in (worst.kind, worst.side) if word]
    return replace(row, mark=f"({', '.join(words)})") if words else row


def _first_seen(group: Group, *, dates: bool) -> tuple[str, str]:
    """Return when a problem was first seen, as two texts: "2026-01-31 10:42:16.123" and the shorter "01-31 10:42:16".

    If `dates` is false, both texts have only the time of day. If no capture of the problem has times of day, both texts are the
    time since the first packet.
    """
    moments = [moment for f in group.findings if (moment := nanoseconds(f.first_seen_time)) is not None and moment >= DAY]
    if not moments:
        since_first_packet = duration(group.first_seen)
        return since_first_packet, since_first_packet
    text = time_text(min(moments), date=dates)
    return text, text.partition("-")[2].partition(".")[0] if dates else text.partition(".")[0]


def _path(finding: Finding) -> str:
    """Return the path of the request: /items for "GET /items?id=(masked)"."""
    return (finding.request or "").partition(" ")[2].partition("?")[0]
