"""Build the table of problems at the beginning of every report for people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wiredoctor.report.commands import short_fingerprint
from wiredoctor.report.groups import Group
from wiredoctor.report.headline import count_problems, severities
from wiredoctor.report.words import count, duration

if TYPE_CHECKING:
    from wiredoctor.findings import Finding

MOST_ROWS = 20
"""The number of problems in the table."""

FEW_ROWS = 5
"""The number of rules in the table if there are more than MOST_ROWS problems; the others follow as a list."""

HEADINGS = ("severity", "rule", "where", "count", "time lost", "first seen", "finding")


@dataclass(frozen=True)
class Row:
    """A problem in the table. `place`: server and path. `first_seen`: seconds since the first packet of the capture."""

    group: Group
    place: str
    first_seen: float

    @property
    def severity(self) -> str:
        """The severity of the problem."""
        return self.group.worst.severity

    @property
    def cells(self) -> tuple[str, ...]:
        """The cells in the order of HEADINGS."""
        group = self.group
        return (
            group.worst.severity, group.worst.rule, self.place, f"{group.count:,}",
            duration(group.delay) if group.delay else "", duration(self.first_seen), short_fingerprint(group.worst),
        )  # fmt: skip


def split_rows(groups: Sequence[Group]) -> tuple[list[Row], Sequence[Group]]:
    """Return the rows of the table, and the problems that do not fit; a single problem needs no table.

    If not all problems fit, the table has the worst problem of each of the worst rules.
    """
    if len(groups) < 2:
        return [], ()
    shown = groups if len(groups) <= MOST_ROWS else _worst_of_each_rule(groups)[:FEW_ROWS]
    rows = [Row(group, _server_and_paths(group), group.first_seen) for group in shown]
    listed = {id(group) for group in shown}
    return rows, [group for group in groups if id(group) not in listed]


def _worst_of_each_rule(groups: Sequence[Group]) -> list[Group]:
    first: dict[str, Group] = {}
    for group in groups:
        first.setdefault(group.worst.rule, group)
    return [*first.values()]


def other_problems(left: Sequence[Group]) -> str:
    """Describe problems that are not listed: "3 more problems (2 warnings and 1 note): idle-close 12, slow-response 3"."""
    number: dict[str, int] = {}
    for group in left:
        number[group.worst.rule] = number.get(group.worst.rule, 0) + group.count
    rules = ", ".join(f"{rule} {occurrences:,}" for rule, occurrences in sorted(number.items()))
    return f"{count(len(left), 'more problem')} ({severities(count_problems(left))}), by rule with occurrences: {rules}"


def _server_and_paths(group: Group) -> str:
    """Return the server and the path, with the number of other paths, such as "10.0.0.2:80 /items +3 paths"."""
    worst = group.worst
    paths = dict.fromkeys(path for path in map(_path, group.findings) if path)
    path = _path(worst) or next(iter(paths), "")
    more = f"+{count(len(paths) - 1, 'path')}" if len(paths) > 1 else ""
    return " ".join(part for part in (worst.server or _without_server(group), path, more) if part)


def _without_server(group: Group) -> str:
    return group.worst.client or group.worst.capture


def _path(finding: Finding) -> str:
    """Return the path of the request: /items for "GET /items?id=*"."""
    return (finding.request or "").partition(" ")[2].partition("?")[0]
