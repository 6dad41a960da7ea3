"""Find the smallest capture that still shows a finding. Packets are removed as long as an analysis gives the same finding.

The attempts follow the order in which people would try: first the finding's connection alone, then fewer connections, then no
packets before or after the finding. Each attempt is analyzed like any capture, and the number of attempts is limited (delta
debugging: Zeller, Hildebrandt, "Simplifying and Isolating Failure-Inducing Input", 2002).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import BinaryIO, NamedTuple

import polars as pl

from wiredoctor.findings import Finding, Report, host
from wiredoctor.storage.replacement import room_needed

Analyse = Callable[[Path], Report]
"""A function that analyzes a capture with the rules and thresholds of the first analysis, and keeps the file open."""

_RECORD = {"records": ["frame", "connection"]}

MAX_ATTEMPTS = 60
"""The maximum number of attempts to remove packets. Each attempt analyzes a smaller capture."""

CLOCK = 1e-8
"""The maximum difference in seconds between two delays that count as equal, because delays are written with nine decimals."""


class NotShown(Exception):
    """Raised if nothing could be extracted. The text is the reason, on one line."""


@dataclass
class Extract:
    """An extracted capture, and the original frame number of each of its frames.

    `found`: the finding for which the extract was made. `invented`: errors and warnings in the extract that are absent from the
    complete capture.
    """

    report: Report
    frames: list[int]
    found: Finding | None = None
    invented: tuple[Finding, ...] = ()

    def original(self, frame: int) -> int:
        """Return the original number of a frame."""
        return self.frames[frame - 1]


class Difference(NamedTuple):
    """A number in a finding that differs between the complete capture (`whole`) and the extract (`cut`)."""

    name: str
    whole: float
    cut: float


def differences(whole: Finding, cut: Finding) -> list[Difference]:
    """Return the numbers in which a finding differs between the complete capture (`whole`) and the extract (`cut`)."""
    here, there = _numbers(cut), _numbers(whole)
    return [Difference(name, there[name], here[name]) for name in there if name in here and there[name] != here[name]]


def causes_not_shown(whole: Finding, cut: Finding) -> list[str]:
    """Return the rules that are causes of a finding in the complete capture (`whole`), but not in the extract (`cut`)."""
    there = {cause.rule for cause in cut.caused_by}
    return sorted({cause.rule for cause in whole.caused_by} - there)


def not_shown(report: Report, extract: Extract) -> list[Finding]:
    """Return the findings that the report on the extract lacks although part of their evidence is in the extract."""
    kept, shown = set(extract.frames), {_about(finding) for finding in extract.report.findings}
    touched = [finding for finding in report.findings if not kept.isdisjoint(e.frame for e in finding.evidence)]
    return [finding for finding in touched if _about(finding) not in shown]


class Cutter:
    """Extracts parts of an analyzed capture, in a temporary folder.

    `summaries`: the rules whose findings summarize several connections. In an extract, a finding of these rules may cover fewer
    connections.
    """

    def __init__(self, report: Report, analyse: Analyse, folder: Path, summaries: Collection[str]) -> None:
        self._analyse, self._folder, self._summaries = analyse, folder, summaries
        self._attempts = 0
        self._whole = Extract(report, [])

    def of_connections(self, connections: Collection[int]) -> Extract:
        """Extract all packets of these connections, including duplicates and ICMP errors about the connections."""
        return self._extract_frames(self._whole, _frames(self._whole.report, connections))

    def of_finding(self, finding: Finding) -> Extract:
        """Return the smallest extract that was found to show the finding.

        If possible, the extract shows no error or warning that the complete capture does not show. Raise NotShown if no extract
        shows the finding.
        """
        own = _connections_of(self._whole.report, {e.frame for e in finding.evidence})
        own |= set() if finding.connection is None else {finding.connection}
        extract: Extract | None = None
        for frames in chain(self._around_gateways(own), self._circles(finding, own)):
            attempt = self._extract_frames(self._whole, frames)
            if self._shows(attempt, finding) and (extract is None or not attempt.invented):
                extract = attempt
                if not extract.invented:
                    break
        if extract is None:
            raise NotShown("no part of the capture shows this finding: it concerns the complete file")
        for smaller in (self._fewer_connections, self._without_the_end, self._without_the_begin):
            extract = smaller(extract, finding)
        return extract

    def _around_gateways(self, own: set[int]) -> Iterator[list[int]]:
        """Yield the frame numbers of up to three parts of the capture, each larger than the previous part.

        The first part is the connections `own`. The others also have packets that gateways sent for `own`, because otherwise a
        gateway would seem to have forwarded nothing. The second part only adds packets near the evidence of findings about `own`;
        the third adds all packets of the connections on which gateways forwarded requests of `own`.
        """
        if not own:
            return
        report = self._whole.report
        yield _frames(report, own)
        if not any(known.tries.height for known in report.gateways.values()):
            return
        about = {e.frame for f in report.findings if f.connection in own for e in f.evidence}
        mine = _frames(report, own)
        yield sorted(
            {*mine, *(f for one in _connections_of(report, about) - own for f in _between(_frames(report, [one]), about))}
        )
        tries = pl.concat([known.tries for known in report.gateways.values()])
        sent = tries.filter(pl.col("front_connection").is_in([*own]))["connection"].drop_nulls()
        yield _frames(report, own | {*sent})

    def _circles(self, finding: Finding, own: set[int]) -> Iterator[list[int]]:
        """Yield lists of frame numbers, each of more connections than the previous list.

        A finding may depend on connections besides `own`. The first list has the connections between the same client and server,
        the second all connections of the server, and the third all connections. All lists include `own`, and a list that adds no
        connection is left out.
        """
        report = self._whole.report
        rows = report.connections
        of_server = pl.col("server").eq_missing(finding.server)
        of_both = of_server & (pl.col("client_host") == (host(finding.client) or ""))
        tried = own
        for chosen in (of_both, of_server, pl.lit(value=True)):
            wider = own | set(rows.filter(chosen)["connection"].to_list())
            if wider and wider != tried:
                tried = wider
                yield _frames(report, wider)

    def _fewer_connections(self, extract: Extract, finding: Finding) -> Extract:
        """Remove connections as long as the extract shows the finding: half of them at a time, then a quarter, and so on."""
        step = max(extract.report.connection_count // 2, 1)
        while extract.report.connection_count > 1 and self._may_go_on():
            there = extract.report.connections["connection"].sort().to_list()
            for first in range(0, len(there), step):
                rest = [*there[:first], *there[first + step :]]
                if not rest or not self._may_go_on():
                    continue
                smaller = self._extract_frames(extract, _frames(extract.report, rest))
                if self._shows_no_more(smaller, finding, extract):
                    extract = smaller
                    break
            else:
                if step == 1:
                    break
                step = max(step // 2, 1)
        return extract

    def _without_the_end(self, extract: Extract, finding: Finding) -> Extract:
        """Remove as many packets after the finding as possible."""
        last = max((bisect_left(extract.frames, e.frame) + 1 for e in finding.evidence), default=1)
        kept, there = last, len(extract.frames)
        while kept < there and self._may_go_on():
            smaller = self._extract_frames(extract, range(1, kept + 1))
            if self._shows_no_more(smaller, finding, extract):
                return smaller
            kept += max(1, (there - kept) // 2)
        return extract

    def _without_the_begin(self, extract: Extract, finding: Finding) -> Extract:
        """Remove packets before the finding, so the capture begins with an exchange or a handshake."""
        first = min((bisect_left(extract.frames, e.frame) + 1 for e in finding.evidence), default=1)
        rows = extract.report.exchanges
        begins = {
            int(f) for f in chain(rows["request_frame"].drop_nulls(), extract.report.connections["first_frame"]) if f <= first
        }
        for begin in sorted(begins - {1}, reverse=True)[:8]:
            if not self._may_go_on():
                break
            smaller = self._extract_frames(extract, range(begin, len(extract.frames) + 1))
            if self._shows_no_more(smaller, finding, extract):
                return smaller
        return extract

    def _may_go_on(self) -> bool:
        return self._attempts < MAX_ATTEMPTS

    def _extract_frames(self, source: Extract, frames: Sequence[int]) -> Extract:
        """Write some frames of an extract (or of the complete capture) to another capture, and analyze it."""
        self._attempts += 1
        path = self._folder / f"{self._attempts}.pcapng"
        with room_needed(self._folder.parent), path.open("wb") as out:
            write(source.report, out, frames, "")
        originals = [*frames] if source is self._whole else [source.original(frame) for frame in frames]
        extract = Extract(self._analyse(path), originals)
        extract.invented = tuple(self._invented(extract))
        with suppress(PermissionError):  # Windows removes no open file; this one goes with its folder
            path.unlink()  # the report keeps the file open
        return extract

    def _invented(self, extract: Extract) -> Iterator[Finding]:
        """Yield the errors and warnings in an extract that the complete capture lacks, or for which it has other evidence."""
        there: dict[tuple[str | None, ...], set[int]] = {}
        for finding in self._whole.report.findings:
            there.setdefault(_about(finding), set()).update(e.frame for e in finding.evidence)
        for finding in extract.report.findings:
            here = {extract.original(e.frame) for e in finding.evidence}
            known = there.get(_about(finding))
            anywhere = finding.rule in self._summaries or not here
            if finding.severity != "note" and (known is None or not (anywhere or here & known)):
                yield finding

    def _shows_no_more(self, smaller: Extract, finding: Finding, extract: Extract) -> bool:
        """Return whether a smaller extract shows the finding, and no new error or warning.

        An error or warning is new if both the complete capture and `extract` lack it.
        """
        return self._shows(smaller, finding) and {*map(_about, smaller.invented)} <= {*map(_about, extract.invented)}

    def _shows(self, extract: Extract, finding: Finding) -> bool:
        lenient = finding.rule in self._summaries
        extract.found = next((f for f in extract.report.findings if _same(f, finding, extract, lenient=lenient)), None)
        return extract.found is not None


def write(report: Report, out: BinaryIO, frames: Sequence[int], about: str) -> None:
    """Write frames of a report's only capture as pcapng; `about` becomes a comment on the file."""
    [capture] = report.captures
    report.packets[capture.file].copy(out, capture.packets, about, (), frames)


def _same(one: Finding, other: Finding, extract: Extract, *, lenient: bool) -> bool:
    """Return whether a finding of the extract equals the original one in problem, confidence, delay and packets.

    `lenient`: a finding that summarizes several connections may have fewer connections in the extract.
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
    """Return the frame numbers of these connections, ascending."""
    [capture] = report.captures
    parts = report.packets[capture.file].portions(_RECORD, connections)
    return sorted(chain.from_iterable(part.tables["records"]["frame"].to_list() for part in parts))


def _between(frames: Sequence[int], about: Collection[int]) -> list[int]:
    """Return the frames from the first to the last frame that is in `about`."""
    marked = [frame for frame in frames if frame in about]
    return [frame for frame in frames if marked[0] <= frame <= marked[-1]]


def _connections_of(report: Report, frames: set[int]) -> set[int]:
    """Return the connections to which the given frames belong."""
    found: set[int] = set()
    if not frames:
        return found
    [capture] = report.captures
    for part in report.packets[capture.file].portions(_RECORD, frames=frames):
        found.update(part.tables["records"]["connection"].drop_nulls().to_list())
    return found
