"""The findings of a page: in groups as in every report for people, each with the picture of its proof."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import polars as pl
from markupsafe import Markup

from wiredoctor.report.groups import Group
from wiredoctor.report.ladder.build import of_findings
from wiredoctor.report.ladder.draw_svg import svg
from wiredoctor.report.ladder.load import CONNECTION, EXCHANGE
from wiredoctor.report.terminal.sentences import change, ends, example, standing, times
from wiredoctor.report.words import clean, duration

if TYPE_CHECKING:
    from wiredoctor.findings import Finding, Report

MOST_SECTIONS = 200
"""Groups that a page tells at length; more are named."""

MOST_LISTED = 200
_ALL_LISTED = 5_000
"""Findings of a group, and of a page, that are listed below the worst."""

MOST_PICTURES = 120
MOST_IN_GROUP = 12
"""Pictures of a page, and of a group: the worst of each group first."""

MOST_HELD = 50_000
"""Exchanges that are held in memory for pictures."""


@dataclass
class Told:
    """A finding and its picture; `missing`: why there is none. `place`: in the list of the report, from 0 on."""

    finding: Finding
    place: int
    picture: Markup = field(default_factory=Markup)
    missing: str = ""
    graph: int | None = None

    @property
    def number(self) -> int:
        """By what it is named."""
        return self.finding.number or self.place + 1

    @property
    def elapsed(self) -> str:
        """When, in seconds since the first packet."""
        return f"{self.finding.elapsed:.6f}"

    @property
    def delay(self) -> str:
        """The time that it cost."""
        return duration(self.finding.delay) if self.finding.delay else ""


@dataclass
class Section:
    """A group: its worst finding, and the others in the order of the report."""

    number: int
    group: Group
    worst: Told
    others: list[Told] = field(default_factory=list[Told])
    not_listed: int = 0

    @property
    def severity(self) -> str:
        """Of all of them."""
        return self.group.worst.severity

    @property
    def extent(self) -> str:
        """How often and how long, where the title does not say it."""
        if self.group.count > 1:
            return times(self.group)
        delay = duration(self.group.delay) if self.group.delay else ""
        return delay if delay not in self.group.worst.title else ""

    @property
    def standing(self) -> str:
        """Which rule says it, and how surely."""
        return standing(self.group)

    @property
    def ends(self) -> str:
        """Client and server."""
        return ends(self.group)

    @property
    def example(self) -> str:
        """Which of them is shown."""
        return example(self.group)

    @property
    def change(self) -> str:
        """Who has to change something."""
        return change(self.group)

    @property
    def references(self) -> list[tuple[str, str]]:
        """Titles and addresses; an address that is none of the web is left out."""
        return [(r.title, r.url if _is_link(r.url) else "") for r in self.group.worst.references]


def _is_link(url: str) -> bool:
    return re.fullmatch(r"https?://[^\s<>\"']+", url) is not None and url == clean(url)


def sections(report: Report, groups: Sequence[Group]) -> list[Section]:
    """All groups that a page tells, with pictures as far as there is room."""
    places = {id(f): place for place, f in enumerate(report.findings)}
    made: list[Section] = []
    room = _ALL_LISTED
    for number, group in enumerate(groups[:MOST_SECTIONS], 1):
        others = [f for f in group.findings if f is not group.worst]
        listed = [Told(f, places[id(f)]) for f in others[: min(MOST_LISTED, room)]]
        room -= len(listed)
        made.append(Section(number, group, Told(group.worst, places[id(group.worst)]), listed, len(others) - len(listed)))
    _draw(report, _drawn(made))
    return made


def _drawn(made: list[Section]) -> list[Told]:
    """Those that get a picture: the worst of every group, then the second of each, and so on."""
    turns = [[section.worst, *section.others[: MOST_IN_GROUP - 1]] for section in made]
    order = [turn[rank] for rank in range(MOST_IN_GROUP) for turn in turns if rank < len(turn)]
    return order[: max(MOST_PICTURES, len(made))]


def _draw(report: Report, told: list[Told]) -> None:
    on_connections = [one for one in told if one.finding.connection is not None]
    others = [one for one in told if one.finding.connection is None]
    if report.exchange_count + report.connection_count <= MOST_HELD:
        report = _held(report)
    ladders = of_findings(_about(report, on_connections), [one.finding for one in on_connections])
    ladders += of_findings(report, [one.finding for one in others])
    for one, ladder in zip([*on_connections, *others], ladders, strict=True):
        title = f"Ladder diagram of finding {one.number}: {clean(one.finding.title)}"
        one.picture = Markup(svg(ladder, title, name=f"ladder-{one.place}", alone=False))
        one.missing = ladder.missing


def _held(report: Report) -> Report:
    """The report with what ladders ask for in memory: of many small captures, each table is in many files."""
    if report.scan_connections is None or report.scan_exchanges is None:
        return report
    connections = report.scan_connections().select("capture", "exchanges", *CONNECTION).collect()
    exchanges = report.scan_exchanges().select("capture", *EXCHANGE).collect()
    return replace(report, scan_connections=connections.lazy, scan_exchanges=exchanges.lazy)


def _about(report: Report, told: list[Told]) -> Report:
    """The report with the rows of these findings' connections in memory, where they are few: a ladder asks for them several
    times, and each time all of a large capture would be looked through."""
    scan_connections, scan_exchanges = report.scan_connections, report.scan_exchanges
    if scan_connections is None or scan_exchanges is None or not told:
        return report
    places = {(one.finding.capture, one.finding.connection) for one in told}
    wanted = pl.DataFrame(sorted(places), {"capture": pl.String, "connection": pl.Int64}, orient="row").lazy()
    keys = ["capture", "connection"]
    connections = scan_connections().join(wanted, on=keys, how="semi").select("capture", "exchanges", *CONNECTION).collect()
    if connections.get_column("exchanges").sum() > MOST_HELD:
        return report
    exchanges = scan_exchanges().join(wanted, on=keys, how="semi").select("capture", *EXCHANGE).collect()
    return replace(report, scan_connections=connections.lazy, scan_exchanges=exchanges.lazy)
