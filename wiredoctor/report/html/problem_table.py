"""Build the table of problems at the beginning of a page; each row leads to the card of its problem."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from wiredoctor.findings import Report
from wiredoctor.report.groups import Group
from wiredoctor.report.html.proof_pictures import MAX_SECTIONS
from wiredoctor.report.overview import Row, notes_on_times, number_of_others, occurrences_by_rule, split_rows
from wiredoctor.report.words import clean, duration


class ProblemRow(NamedTuple):
    """A problem in the table.

    `number`: the number of the problem's card. `first_time`: when the problem was first seen (RFC 3339). `first_seen`: that
    time in seconds since the first packet. `delay`: the seconds lost. `lost`: the time lost, as text.
    """

    number: int
    severity: str
    rule: str
    title: str
    place: str
    occurrences: int
    delay: float
    lost: str
    first_time: str
    first_seen: float


class RuleLink(NamedTuple):
    """A rule of problems that are not in the table. `has_card`: whether the page has a card for a problem of this rule."""

    rule: str
    occurrences: int
    has_card: bool


class ProblemTable(NamedTuple):
    """The rows of the table, and the problems that do not fit.

    `overlap`: a note if the lost times of problems overlap. The other fields describe the problems that do not fit:
    `number_of_others` is their number, `others` describes them in words, and `rules` are their rules.
    """

    rows: tuple[ProblemRow, ...]
    overlap: str
    number_of_others: int
    others: str
    rules: tuple[RuleLink, ...]


def problem_table(report: Report, groups: Sequence[Group]) -> ProblemTable | None:
    """Return the table of problems; None if there are fewer than two, because the card of one problem shows everything."""
    rows, left = split_rows(report, groups)
    if not rows:
        return None
    with_card = {group.worst.rule for group in groups[:MAX_SECTIONS]}
    return ProblemTable(
        tuple(_row(number, row) for number, row in enumerate(rows, 1)),
        notes_on_times(report, groups),
        len(left),
        number_of_others(left) if left else "",
        tuple(RuleLink(clean(rule), number, rule in with_card) for rule, number in occurrences_by_rule(left)),
    )


def _row(number: int, row: Row) -> ProblemRow:
    group, worst, delay = row.group, row.group.worst, row.group.delay or 0.0
    first = min(group.findings, key=lambda f: (f.first_seen_time, f.first_seen))
    return ProblemRow(
        number, worst.severity, worst.rule, group.title, row.place, group.count, delay, duration(delay) if delay else "",
        first.first_seen_time, first.first_seen,
    )  # fmt: skip
