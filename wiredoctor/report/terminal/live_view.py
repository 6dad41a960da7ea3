"""What a live capture shows while it runs: findings as they become certain, like ones together, and how it stands."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from wiredoctor.findings import SEVERITIES, Finding, group_key, host
from wiredoctor.report.terminal.terminal import SEVERITY_STYLE, Paper
from wiredoctor.report.words import clean, count, duration, shorten, size

if TYPE_CHECKING:
    from rich.text import Text

MOST = 1_000
"""Groups that are kept; of more, those that are the least bad go."""


class Standing(Protocol):
    """How a live capture stands; as live.Status."""

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
    def behind(self) -> int: ...
    @property
    def waiting(self) -> int: ...


@dataclass
class Running:
    """Findings that one change would cure, so far: the one that cost most, how many, and seconds in all (None: no time)."""

    worst: Finding
    count: int = 0
    delay: float | None = None

    def add(self, finding: Finding) -> None:
        """One more."""
        if (finding.delay or 0.0) > (self.worst.delay or 0.0):
            self.worst = finding
        self.count += finding.count
        if finding.delay is not None:
            self.delay = (self.delay or 0.0) + finding.delay

    @property
    def badness(self) -> tuple[int, float, int, float]:
        """Sorts the worst first."""
        return SEVERITIES.index(self.worst.severity), -(self.delay or 0.0), -self.count, self.worst.elapsed


@dataclass
class Tally:
    """All findings so far, however many: a few numbers of each group."""

    groups: dict[tuple[str | None, ...], Running] = field(default_factory=dict[tuple[str | None, ...], Running])

    def add(self, finding: Finding) -> None:
        """One more."""
        key = group_key(finding)
        if key not in self.groups:
            if len(self.groups) >= MOST:
                del self.groups[max(self.groups, key=lambda k: self.groups[k].badness)]
            self.groups[key] = Running(finding)
        self.groups[key].add(finding)

    def worst_first(self) -> list[Running]:
        """The groups in the order of a report."""
        return sorted(self.groups.values(), key=lambda group: group.badness)


@dataclass
class Rates:
    """Packets and exchanges per second, over the time between two looks that are at least a second apart."""

    packets: float = 0.0
    exchanges: float = 0.0
    _at: float = 0.0
    _packets: int = 0
    _exchanges: int = 0

    def look(self, now: float, status: Standing) -> None:
        """How it stands at this time (seconds of any clock that goes evenly)."""
        if not self._at:
            self._at = now
        elif now - self._at >= 1.0:
            passed = now - self._at
            self.packets = (status.captured - self._packets) / passed
            self.exchanges = (status.exchanges - self._exchanges) / passed
            self._at, self._packets, self._exchanges = now, status.captured, status.exchanges


def lines(title: str, running: float, status: Standing, rates: Rates, tally: Tally, paper: Paper, height: int) -> list[Text]:
    """What the screen shows, in so many lines at most. `title`: what is captured; `running`: for how many seconds."""
    from rich.text import Text

    head = [
        Text.assemble((clean(title), "bold"), f"  {_clock(running)}", ("  Ctrl-C ends it with the whole diagnosis", "dim")),
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
        shown = [Text("Nothing wrong so far." if status.exchanges else "Nothing so far.", "dim")]
    whole = [*head, Text(), *shown]
    for line in whole:
        line.truncate(paper.width, overflow="ellipsis" if paper.unicode else "crop")
    return whole


def _state(status: Standing) -> Text:
    from rich.text import Text

    drops = "told at the end" if status.dropped is None else f"{status.dropped:,}"
    lag = behind(status) if status.behind else "up to date"
    waits = f"  {status.waiting:,} not certain yet" if status.waiting > 0 else ""
    style = "bold red" if status.dropped else ""
    return Text.assemble("kernel drops: ", (drops, style), f"  analysis: {lag}{waits}")


def behind(status: Standing) -> str:
    """How far the analysis has fallen back."""
    return f"{duration(status.lag)} behind ({size(status.behind)})"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"


def _group(group: Running, paper: Paper) -> list[Text]:
    """What, and where."""
    from rich.console import Console
    from rich.text import Text

    worst = group.worst
    label = worst.severity.upper().ljust(9)
    text = Text.assemble((clean(worst.title), "bold"), extent_of(group))
    what = text.wrap(Console(width=paper.width), max(paper.width - len(label), 20))
    place = shorten(where(worst), paper.width - len(label), paper.gap)
    lead = [Text(label, SEVERITY_STYLE[worst.severity]), *(Text(" " * len(label)) for _ in what[1:])]
    return [*(a + b for a, b in zip(lead, what, strict=True)), Text(" " * len(label) + place, "dim")]


def extent_of(group: Running) -> str:
    """Format count and total time: "  x 38, 7.9 s in all"."""
    times = f"  x {group.count:,}" if group.count > 1 else ""
    if not group.delay:
        return times
    return f"{times}, {duration(group.delay)} in all" if times else f"  {duration(group.delay)}"


def where(finding: Finding) -> str:
    """Rule, both ends, connection and request, on a line."""
    name = finding.rule + (f" ({finding.kind})" if finding.kind else "")
    ends = " -> ".join(end for end in (host(finding.client), finding.server) if end)
    place = "" if finding.connection is None else f"connection {finding.connection}"
    return clean(", ".join(part for part in (name, ends, place, finding.request or "") if part))


def plain(finding: Finding) -> str:
    """A finding on a line, where there is no terminal: time of day (UTC), severity, what, and where."""
    lost = f" ({duration(finding.delay)})" if finding.delay and duration(finding.delay) not in finding.title else ""
    return clean(f"{finding.time[11:23]}Z {finding.severity.upper():7} {finding.title}{lost}; {where(finding)}")
