"""The smallest capture that still shows a finding: packets are taken away while an analysis of the rest says the same.

What is tried is what people would try: its connection alone, then fewer connections, then without what came before and behind.
Each attempt is read as any capture is; the number of attempts is bounded (delta debugging: Zeller, Hildebrandt, "Simplifying and
Isolating Failure-Inducing Input", 2002).
"""

from __future__ import annotations

import tempfile
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import BinaryIO, NamedTuple

import polars as pl

from wiredoctor.findings import Finding, Report
from wiredoctor.replacement import room_needed

Analyse = Callable[[Path], Report]
"""Reads a capture with the rules and thresholds of the first reading, and keeps it to be read again."""

_RECORD = {"records": ["frame", "connection"]}

MOST_ATTEMPTS = 60
"""Analyses that are made of ever smaller captures."""

CLOCK = 1e-8
"""Seconds by which two delays may differ that are the same: they are written with nine decimals."""


class NotShown(Exception):
    """Nothing could be cut out; the text is one line that says why."""


@dataclass
class Extract:
    """Packets that were cut out: a capture of its own, and for each of its frames the number in the capture it comes from."""

    report: Report
    frames: list[int]
    found: Finding | None = None

    def original(self, frame: int) -> int:
        """The number that a frame of the extract has in the whole capture."""
        return self.frames[frame - 1]


class Difference(NamedTuple):
    """A number of a finding that is another in an extract: seconds if it is a float."""

    name: str
    whole: float
    cut: float


def differences(whole: Finding, cut: Finding) -> list[Difference]:
    """The numbers that a finding of the whole capture does not share with that of an extract, which counts what was kept."""
    here, there = _numbers(cut), _numbers(whole)
    return [Difference(name, there[name], here[name]) for name in there if name in here and there[name] != here[name]]


def causes_not_shown(whole: Finding, cut: Finding) -> list[str]:
    """The rules that say why a finding came about in the whole capture, and not in an extract."""
    there = {cause.rule for cause in cut.caused_by}
    return sorted({cause.rule for cause in whole.caused_by} - there)


def not_shown(report: Report, extract: Extract) -> list[Finding]:
    """Findings of the whole capture that have packets in the extract, which does not show them: it takes others, too."""
    kept, shown = set(extract.frames), {_about(finding) for finding in extract.report.findings}
    touched = [finding for finding in report.findings if not kept.isdisjoint(e.frame for e in finding.evidence)]
    return [finding for finding in touched if _about(finding) not in shown]


class Cutter:
    """Cuts a capture that was analysed and kept, in a temporary folder that it is given.

    `summaries` are the rules that look at several connections: of those a smaller capture may count less.
    """

    def __init__(self, report: Report, analyse: Analyse, folder: Path, summaries: Collection[str]) -> None:
        self._analyse, self._folder, self._summaries = analyse, folder, summaries
        self._attempts = 0
        self._whole = Extract(report, [])

    def of_connections(self, connections: Collection[int]) -> Extract:
        """All packets of these connections, with copies of them and ICMP errors about them."""
        return self._cut(self._whole, _frames(self._whole.report, connections))

    def of_finding(self, finding: Finding) -> Extract:
        """The smallest capture that was found to show it. Raises NotShown where none does."""
        for connections in self._circles(finding):
            extract = self.of_connections(connections)
            if self._shows(extract, finding):
                break
        else:
            raise NotShown("no part of the capture shows this finding: it is about the file as a whole")
        for smaller in (self._fewer_connections, self._without_the_end, self._without_the_begin):
            extract = smaller(extract, finding)
        return extract

    def _circles(self, finding: Finding) -> Iterator[set[int]]:
        """Connections that may show it: those of its proof, those of the same two hosts, those of the same server, all."""
        report = self._whole.report
        own = _connections_of(report, {e.frame for e in finding.evidence})
        own |= set() if finding.connection is None else {finding.connection}
        if own:
            yield own
        rows = report.connections
        of_server = pl.col("server") == finding.server
        of_both = of_server & (pl.col("client_host") == _host(finding.client or ""))
        tried = own
        for chosen in (of_both, of_server, pl.lit(value=True)):
            wider = own | set(rows.filter(chosen)["connection"].to_list())
            if wider and wider != tried:
                tried = wider
                yield wider

    def _fewer_connections(self, extract: Extract, finding: Finding) -> Extract:
        """Leaves out connections, half of them at a time, then a quarter, and so on."""
        step = max(extract.report.connection_count // 2, 1)
        while extract.report.connection_count > 1 and self._may_go_on():
            there = extract.report.connections["connection"].sort().to_list()
            for first in range(0, len(there), step):
                rest = [*there[:first], *there[first + step :]]
                if not rest or not self._may_go_on():
                    continue
                smaller = self._cut(extract, _frames(extract.report, rest))
                if self._shows(smaller, finding):
                    extract = smaller
                    break
            else:
                if step == 1:
                    break
                step = max(step // 2, 1)
        return extract

    def _without_the_end(self, extract: Extract, finding: Finding) -> Extract:
        """Cuts off what comes behind, as much of it as can go."""
        last = max((bisect_left(extract.frames, e.frame) + 1 for e in finding.evidence), default=1)
        kept, there = last, len(extract.frames)
        while kept < there and self._may_go_on():
            smaller = self._cut(extract, range(1, kept + 1))
            if self._shows(smaller, finding):
                return smaller
            kept += max(1, (there - kept) // 2)
        return extract

    def _without_the_begin(self, extract: Extract, finding: Finding) -> Extract:
        """Cuts off what comes before: the capture then begins with an exchange, or with a handshake."""
        first = min((bisect_left(extract.frames, e.frame) + 1 for e in finding.evidence), default=1)
        rows = extract.report.exchanges
        begins = {
            int(f) for f in chain(rows["request_frame"].drop_nulls(), extract.report.connections["first_frame"]) if f <= first
        }
        for begin in sorted(begins - {1}, reverse=True)[:8]:
            if not self._may_go_on():
                break
            smaller = self._cut(extract, range(begin, len(extract.frames) + 1))
            if self._shows(smaller, finding):
                return smaller
        return extract

    def _may_go_on(self) -> bool:
        return self._attempts < MOST_ATTEMPTS

    def _cut(self, source: Extract, frames: Sequence[int]) -> Extract:
        """These frames of an extract, as a capture of their own."""
        self._attempts += 1
        path = self._folder / f"{self._attempts}.pcapng"
        with room_needed(self._folder.parent), path.open("wb") as out:
            write(source.report, out, frames, "")
        originals = [*frames] if source is self._whole else [source.original(frame) for frame in frames]
        extract = Extract(self._analyse(path), originals)
        path.unlink()  # it stays open
        return extract

    def _shows(self, extract: Extract, finding: Finding) -> bool:
        lenient = finding.rule in self._summaries
        extract.found = next((f for f in extract.report.findings if _same(f, finding, extract, lenient=lenient)), None)
        return extract.found is not None


def write(report: Report, out: BinaryIO, frames: Sequence[int], about: str) -> None:
    """These frames of the only capture of a report as pcapng; `about` is a comment on the file."""
    [capture] = report.captures
    report.again[capture.file].copy(out, capture.packets, about, (), frames)


def temporary() -> tempfile.TemporaryDirectory[str]:
    """A folder for attempts."""
    return tempfile.TemporaryDirectory(prefix="wiredoctor-", ignore_cleanup_errors=True)


def _same(one: Finding, other: Finding, extract: Extract, *, lenient: bool) -> bool:
    """Whether a finding of the extract is that of the whole capture: by what is wrong, how sure, how long, and in which packets.

    lenient: one that sums up several connections may have fewer of them.
    """
    alike = (one.rule, one.kind, one.side, one.severity, one.confidence) == (
        other.rule, other.kind, other.side, other.severity, other.confidence,
    )  # fmt: skip
    if not alike or (one.client, one.server) != (other.client, other.server):
        return False
    if lenient:
        return True
    frames = [extract.original(e.frame) for e in one.evidence] == [e.frame for e in other.evidence]
    return frames and abs((one.delay or 0.0) - (other.delay or 0.0)) < CLOCK and one.count == other.count


def _about(finding: Finding) -> tuple[str | None, ...]:
    return finding.rule, finding.kind, finding.client, finding.server


def _numbers(finding: Finding) -> dict[str, float]:
    delay = {} if finding.delay is None or finding.delay in finding.measures.values() else {"delay": finding.delay}
    return {"occurrences": finding.count, **delay, **finding.measures}


def _frames(report: Report, connections: Collection[int]) -> list[int]:
    """The frames of some connections, ascending."""
    [capture] = report.captures
    parts = report.again[capture.file].portions(_RECORD, connections)
    return sorted(chain.from_iterable(part.tables["records"]["frame"].to_list() for part in parts))


def _connections_of(report: Report, frames: set[int]) -> set[int]:
    """The connections that some frames belong to."""
    found: set[int] = set()
    if not frames:
        return found
    [capture] = report.captures
    for part in report.again[capture.file].portions(_RECORD, frames=frames):
        found.update(part.tables["records"]["connection"].drop_nulls().to_list())
    return found


def _host(endpoint: str) -> str:
    return endpoint.rpartition(":")[0].strip("[]") if endpoint.startswith("[") or endpoint.count(":") == 1 else endpoint
