"""Format the screen of a live capture: final findings in groups, and the current state."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from wiredoctor.findings import SEVERITIES, Finding, host
from wiredoctor.report.capture_clocks import began_now
from wiredoctor.report.groups import ProblemKey, problem_key
from wiredoctor.report.terminal.terminal import SEVERITY_STYLE, Terminal
from wiredoctor.report.words import clean, count, duration, shorten, size

if TYPE_CHECKING:
    from rich.text import Text

MAX_GROUPS = 1_000
"""The maximum number of problems that are kept. If there are more, the least severe one is dropped."""


class LiveStatus(Protocol):
    """The part of live.Status that the screen shows: the state of a live capture."""

    @property
    def backend(self) -> str: ...
    @property
    def captured(self) -> int: ...
    @property
    def dropped(self) -> int | None: ...
    @property
    def connections(self) -> int: ...
    @property
    def open(self) -> int: ...
    @property
    def exchanges(self) -> int: ...
    @property
    def lag(self) -> float: ...
    @property
    def unread_bytes(self) -> int: ...
    @property
    def overwritten(self) -> int: ...
    @property
    def waiting(self) -> int: ...


LAGS = 1.0
"""The minimum lag of the analysis in seconds for which the screen shows it: packets wait for a while before they are analyzed."""


@dataclass
class Running:
    """A problem during a live capture.

    `worst`: the finding with the longest delay. `count`: the number of findings. `delay`: the seconds lost; None if no finding
    has a delay.
    """

    worst: Finding
    count: int = 0
    delay: float | None = None

    def add(self, finding: Finding) -> None:
        """Count a finding of this problem, and add its delay. The finding with the longest delay so far becomes `worst`."""
        if (finding.delay or 0.0) > (self.worst.delay or 0.0):
            self.worst = finding
        self.count += 1
        if finding.delay is not None:
            self.delay = (self.delay or 0.0) + finding.delay

    @property
    def badness(self) -> tuple[int, float, int, float]:
        """A sort key that puts the worst problem first."""
        return SEVERITIES.index(self.worst.severity), -(self.delay or 0.0), -self.count, self.worst.first_seen


@dataclass
class Tally:
    """The problems of a live capture so far. If there are more than MAX_GROUPS, the least severe ones are dropped."""

    groups: dict[ProblemKey, Running] = field(default_factory=dict[ProblemKey, Running])

    def add(self, finding: Finding) -> None:
        """Count a finding."""
        key = problem_key(finding)
        if key not in self.groups:
            if len(self.groups) >= MAX_GROUPS:
                del self.groups[max(self.groups, key=lambda k: self.groups[k].badness)]
            self.groups[key] = Running(finding)
        self.groups[key].add(finding)

    def worst_first(self) -> list[Running]:
        """Return the problems, the worst first, as in reports."""
        return sorted(self.groups.values(), key=lambda group: group.badness)


@dataclass
class Rates:
    """Computes packets and exchanges per second, over intervals of at least one second."""

    packets: float = 0.0
    exchanges: float = 0.0
    _at: float = 0.0
    _packets: int = 0
    _exchanges: int = 0

    def look(self, now: float, status: LiveStatus) -> None:
        """Update the rates. `now`: seconds of any monotonic clock."""
        if not self._at:
            self._at = now
        elif now - self._at >= 1.0:
            passed = now - self._at
            self.packets = (status.captured - self._packets) / passed
            self.exchanges = (status.exchanges - self._exchanges) / passed
            self._at, self._packets, self._exchanges = now, status.captured, status.exchanges


def lines(title: str, running: float, status: LiveStatus, rates: Rates, tally: Tally, paper: Terminal, height: int) -> list[Text]:
    """Return at most `height` lines for the screen. At least one problem is shown, even if there is no room for it.

    `title`: what is captured. `running`: seconds since the start.
    """
    from rich.text import Text

    head = [
        Text.assemble((clean(title), "bold"), f"  {_clock(running)}", ("  Ctrl-C stops and shows the full report", "dim")),
        Text(
            f"{count(status.captured, 'packet')} ({rates.packets:,.0f}/s)  {count(status.connections, 'connection')}, "
            f"{status.open:,} open  {count(status.exchanges, 'exchange')} ({rates.exchanges:,.0f}/s)"
        ),
        _state(status),
    ]
    groups, shown = tally.worst_first(), list[Text]()
    for number, group in enumerate(groups):
        drawn = _group(group, paper)
        more = number + 1 < len(groups)
        if number and len(head) + 2 + len(shown) + len(drawn) + more > height:
            shown.append(Text(f"{len(groups) - number} more", "dim"))
            break
        shown += drawn
    if not groups:
        shown = [Text("Nothing wrong so far." if status.exchanges else "No HTTP so far.", "dim")]
    whole = [*head, Text(), *shown]
    for line in whole:
        line.truncate(paper.width, overflow="ellipsis" if paper.unicode else "crop")
    return whole


def _state(status: LiveStatus) -> Text:
    from rich.text import Text

    drops = "known at the end" if status.dropped is None else f"{status.dropped:,}"
    lag = lag_text(status) if status.lag >= LAGS else "up to date"
    waits = f"  {status.waiting:,} not final yet" if status.waiting > 0 else ""
    style = "bold red" if status.dropped else ""
    return Text.assemble("kernel drops: ", (drops, style), f"  analysis: {lag}{waits}")


def lag_text(status: LiveStatus) -> str:
    """Describe how far the analysis lags behind the capture."""
    return f"{duration(status.lag)} behind ({size(status.unread_bytes)})"


def lag_note(status: LiveStatus, *, is_behind: bool) -> str:
    """Return a line about the lag of the analysis; if not `is_behind`, the line says that there is none any more."""
    if not is_behind:
        return "the analysis has caught up"
    lost = f"the ring overwrote {count(status.overwritten, 'packet')} before" if status.overwritten else "no packets are lost"
    return f"the analysis is {lag_text(status)}; {lost}"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"


def _group(group: Running, paper: Terminal) -> list[Text]:
    """Return the lines about a problem: the title of its worst finding, then when and where that finding began."""
    from rich.console import Console
    from rich.text import Text

    worst = group.worst
    label = worst.severity.upper().ljust(9)
    text = Text.assemble((clean(worst.title), "bold"), extent_of(group))
    what = text.wrap(Console(width=paper.width), max(paper.width - len(label), 20))
    place = shorten(f"{began_now(worst)} {place_line(worst)}", paper.width - len(label), paper.gap)
    lead = [Text(label, SEVERITY_STYLE[worst.severity]), *(Text(" " * len(label)) for _ in what[1:])]
    return [*(a + b for a, b in zip(lead, what, strict=True)), Text(" " * len(label) + place, "dim")]


def extent_of(group: Running) -> str:
    """Format the number of occurrences and the time lost: "  38 times, 7.9 s lost"."""
    times = f"  {count(group.count, 'time')}" if group.count > 1 else ""
    if not group.delay:
        return times
    return f"{times}, {duration(group.delay)} lost" if times else f"  {duration(group.delay)}"


def place_line(finding: Finding) -> str:
    """Format the rule, the client's host, the server, the connection and the request of a finding on one line."""
    ends = " -> ".join(end for end in (host(finding.client), finding.server) if end)
    place = "" if finding.connection is None else f"connection {finding.connection}"
    return clean(", ".join(part for part in (finding.rule_and_kind, ends, place, finding.request or "") if part))


def plain(finding: Finding, *, date: bool = False) -> str:
    """Format a finding on one line: the time of day at which it began (with `date`, also the date), severity, title and place."""
    lost = f" ({duration(finding.delay)})" if finding.delay and duration(finding.delay) not in finding.title else ""
    return clean(f"{began_now(finding, date=date)} {finding.severity.upper():7} {finding.title}{lost}; {place_line(finding)}")


def recurrence(finding: Finding, group: Running, *, date: bool = False) -> str:
    """Format a line that reports another occurrence of a problem.

    The line contains the time, the severity, the rule, the server, and the number of occurrences and the time lost so far.
    """
    place = ", ".join(part for part in (finding.rule_and_kind, finding.server or host(finding.client) or "") if part)
    lost = f", {duration(group.delay)} lost" if group.delay else ""
    number = f"{count(group.count, 'time')} so far{lost}"
    return clean(f"{began_now(finding, date=date)} {finding.severity.upper():7} again: {place}; {number}")
