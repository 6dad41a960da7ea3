"""Build the sections of a page: the findings grouped into problems, with pictures of their evidence."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import polars as pl
from markupsafe import Markup

from wiredoctor.findings import Finding, Report
from wiredoctor.report.capture_clocks import capture_start
from wiredoctor.report.commands import next_commands
from wiredoctor.report.groups import Group
from wiredoctor.report.ladder.build import of_findings
from wiredoctor.report.ladder.draw_svg import svg
from wiredoctor.report.ladder.load import CONNECTION, EXCHANGE
from wiredoctor.report.terminal.sentences import change, client_and_server, example, extent, rule_and_confidence
from wiredoctor.report.words import SECOND, clean, duration
from wiredoctor.text.time_of_day import Clock

MAX_SECTIONS = 200
"""The maximum number of problems that have a section of their own. Further problems are only named."""

MAX_LISTED = 200
"""The maximum number of findings listed for a problem in addition to the worst one."""
_ALL_LISTED = 5_000
"""The maximum number of findings listed on a page, in all problems together, in addition to the worst finding of each."""

MAX_PICTURES = 120
"""The maximum number of pictures on a page. If there are more problems, each problem has one picture, of its worst finding."""
MAX_IN_GROUP = 12
"""The maximum number of pictures for one problem."""

MAX_HELD = 50_000
"""The maximum number of exchanges that are held in memory for pictures."""


@dataclass
class RenderedFinding:
    """A finding and the picture of its evidence, in a wide and a narrow version.

    `place`: the index of the finding in the report, from 0. `missing`: the reason why there is no picture. `graph`: the number of
    the graph of the finding's connection, or None.
    """

    finding: Finding
    place: int
    picture: Markup = field(default_factory=Markup)
    missing: str = ""
    graph: int | None = None

    @property
    def number(self) -> int:
        """The number of the finding or, if it has none, its position in the report, from 1."""
        return self.finding.number or self.place + 1

    @property
    def elapsed(self) -> str:
        """The time at which the finding was first seen, in seconds since the first packet of its capture."""
        return f"{self.finding.first_seen:.6f}"

    def time_at(self, elapsed: float) -> str:
        """Convert seconds since the first packet of the finding's capture to a time in RFC 3339."""
        return self.clock.rfc3339(elapsed * SECOND)

    @property
    def clock(self) -> Clock:
        """The clock of the finding's capture."""
        return Clock(capture_start(self.finding))

    @property
    def delay(self) -> str:
        """The time lost, as text; "" if none."""
        return duration(self.finding.delay) if self.finding.delay else ""


@dataclass
class Section:
    """A problem on the page: its worst finding, and the others in report order.

    `commands`: commands that show more about the worst finding. `not_listed`: the number of findings that are neither the worst
    nor in `others`.
    """

    number: int
    group: Group
    worst: RenderedFinding
    commands: list[str]
    others: list[RenderedFinding] = field(default_factory=list[RenderedFinding])
    not_listed: int = 0

    @property
    def severity(self) -> str:
        """The severity of the problem."""
        return self.group.worst.severity

    @property
    def extent(self) -> str:
        """The number of occurrences and the time lost (see `sentences.extent`)."""
        return extent(self.group)

    @property
    def rule_and_confidence(self) -> str:
        """The rule and confidence of the worst finding, and its cause, if known."""
        return rule_and_confidence(self.group)

    @property
    def ends(self) -> str:
        """Client and server of the problem, with their software."""
        return client_and_server(self.group)

    @property
    def example(self) -> str:
        """The text that identifies the worst finding by its number, connection, request and so on."""
        return example(self.group, when=False)

    @property
    def other_occurrences(self) -> str:
        """The heading above the list of all occurrences except the worst."""
        number = len(self.others) + self.not_listed
        return "The other occurrence" if number == 1 else f"The other {number:,} occurrences"

    @property
    def change(self) -> str:
        """The heading of the remedy, such as "What to do on the server"."""
        return change(self.group.worst)

    @property
    def references(self) -> list[tuple[str, str]]:
        """The titles and URLs of references; a URL that is not a web address is replaced by ""."""
        return [(r.title, r.url if _is_link(r.url) else "") for r in self.group.worst.references]


def _is_link(url: str) -> bool:
    return re.fullmatch(r"https?://[^\s<>\"']+", url) is not None and url == clean(url)


def sections(report: Report, groups: Sequence[Group]) -> list[Section]:
    """Return the sections of a page, one per problem, with as many pictures as the limits permit."""
    places = {id(f): place for place, f in enumerate(report.findings)}
    made: list[Section] = []
    room = _ALL_LISTED
    for number, group in enumerate(groups[:MAX_SECTIONS], 1):
        others = [f for f in group.findings if f is not group.worst]
        listed = [RenderedFinding(f, places[id(f)]) for f in others[: min(MAX_LISTED, room)]]
        room -= len(listed)
        made.append(
            Section(
                number, group, RenderedFinding(group.worst, places[id(group.worst)]), next_commands(report, group.worst), listed,
                len(others) - len(listed),
            )
        )  # fmt: skip
    _draw(report, _choose_pictures(made))
    return made


def _choose_pictures(made: list[Section]) -> list[RenderedFinding]:
    """Return the findings that get a picture: the worst of every problem, then the second of every problem, and so on.

    There are at most MAX_PICTURES pictures, or one for each problem if there are more problems.
    """
    turns = [[section.worst, *section.others[: MAX_IN_GROUP - 1]] for section in made]
    order = [turn[rank] for rank in range(MAX_IN_GROUP) for turn in turns if rank < len(turn)]
    return order[: max(MAX_PICTURES, len(made))]


def _draw(report: Report, told: list[RenderedFinding]) -> None:
    on_connections = [one for one in told if one.finding.connection is not None]
    others = [one for one in told if one.finding.connection is None]
    if report.exchange_count + report.connection_count <= MAX_HELD:
        report = _in_memory(report)
    ladders = of_findings(_about(report, on_connections), [one.finding for one in on_connections])
    ladders += of_findings(report, [one.finding for one in others])
    for one, ladder in zip([*on_connections, *others], ladders, strict=True):
        title = f"Ladder diagram of finding {one.number}: {clean(one.finding.title)}"
        name = f"ladder-{one.place}"
        versions = (svg(ladder, title, name=name, alone=False, narrow=narrow, clock=one.clock) for narrow in (False, True))
        one.picture = Markup("".join(versions))
        one.missing = ladder.missing


def _in_memory(report: Report) -> Report:
    """Return the report with all connections and exchanges in memory, with the columns that ladders need.

    For many small captures, this is faster than reading the tables from their files for each ladder.
    """
    connections = report.scan_connections().select("capture", "exchanges", *CONNECTION).collect()
    exchanges = report.scan_exchanges().select("capture", *EXCHANGE).collect()
    return replace(report, scan_connections=connections.lazy, scan_exchanges=exchanges.lazy)


def _about(report: Report, told: list[RenderedFinding]) -> Report:
    """Return the report with only the connections of these findings, and their exchanges, in memory.

    Building ladders requires these rows several times, and searching the tables of a large capture each time would be slow. If
    there are too many exchanges, the report is returned unchanged.
    """
    if not told:
        return report
    places = {(one.finding.capture, one.finding.connection) for one in told}
    wanted = pl.DataFrame(sorted(places), {"capture": pl.String, "connection": pl.Int64}, orient="row").lazy()
    keys = ["capture", "connection"]
    connections = (
        report.scan_connections().select("capture", "exchanges", *CONNECTION).join(wanted, on=keys, how="semi").collect()
    )
    if connections.get_column("exchanges").sum() > MAX_HELD:
        return report
    exchanges = report.scan_exchanges().join(wanted, on=keys, how="semi").select("capture", *EXCHANGE).collect()
    return replace(report, scan_connections=connections.lazy, scan_exchanges=exchanges.lazy)
