"""The capture itself, with the diagnosis as comments on its packets: Wireshark shows it in place (`frame.comment`).

Packets are copied as they are: the file holds whatever secrets the capture holds. Comments are masked as all reports are.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from wiredoctor.findings import SEVERITIES, Finding
from wiredoctor.report.coverage import reach
from wiredoctor.report.terminal.sentences import failing
from wiredoctor.report.words import clean, count, duration

if TYPE_CHECKING:
    from wiredoctor.findings import Again, CaptureSummary, Report

MOST_ON_A_FRAME = 50
"""Findings that a packet tells of; of more it says how many."""

MOST_LISTED = 200
"""Findings that the comment on the file lists."""

_RECORD = {"records": ["frame", "connection"]}

_LONGEST = 4_000
"""Characters of a comment."""

_SHORTEST_WAIT = 1e-6
"""Seconds between two frames of a finding that are said."""


class _Note(NamedTuple):
    """A frame of the proof of a finding: which finding, which of its frames."""

    frame: int
    finding: int
    place: int


def write(report: Report, out: BinaryIO, *, only_findings: bool = False) -> None:
    """The capture of the report as pcapng.

    only_findings: only the packets of the connections that findings are about, and those of their proof; the comments then say
    which number a packet has in the capture. Raises ValueError where the report is not of one capture that was kept.
    """
    if len(report.captures) != 1 or report.captures[0].file not in report.again:
        raise ValueError("packets are copied of one capture, which has to be kept")
    [capture] = report.captures
    again = report.again[capture.file]
    only = _concerned(report, again) if only_findings else None
    about = _about(report, capture, only)
    again.copy(out, capture.packets, about, _comments(report, only is not None), only)


def _comments(report: Report, numbers: bool) -> Iterator[tuple[int, list[str]]]:
    notes = sorted(
        _Note(evidence.frame, number, place)
        for number, finding in enumerate(report.findings)
        for place, evidence in enumerate(finding.evidence)
    )
    for frame, some in groupby(notes, key=lambda note: note.frame):
        here = [*some]
        texts = [f"wiredoctor: frame {frame} of the whole capture"] if numbers else []
        for note in here[:MOST_ON_A_FRAME]:
            texts += _told(report.findings[note.finding], note)
        if more := len(here) - MOST_ON_A_FRAME:
            texts += [f"wiredoctor: {count(more, 'more finding')} on this packet"] if more > 0 else []
        yield frame, [clean(text)[:_LONGEST] for text in texts]


def _told(finding: Finding, note: _Note) -> list[str]:
    """What a finding says of one of its frames; on the first of them, all that it says. Wireshark cuts lines in its tree off at
    240 characters: what happened, and what to do, are comments of their own."""
    evidence = finding.evidence[note.place]
    name = f"finding {finding.number or note.finding + 1}"
    text = f"wiredoctor {name}, {finding.severity}: {_name(finding)}: {evidence.note}"
    if note.place:
        waited = evidence.elapsed - finding.evidence[note.place - 1].elapsed
        if finding.connection is not None and waited >= _SHORTEST_WAIT:
            text += f" ({duration(waited)} after frame {finding.evidence[note.place - 1].frame})"
        return [text]
    cost = f"costs up to {duration(finding.delay)}, " if finding.delay else ""
    return [
        text,
        f"{name}: {finding.title} ({cost}confidence {finding.confidence})",
        f"{name}: {finding.message}",
        f"{name}, remedy: {finding.remedy}",
    ]


def _name(finding: Finding) -> str:
    """The rule, and its kind."""
    return f"{finding.rule} ({finding.kind})" if finding.kind else finding.rule


def _about(report: Report, capture: CaptureSummary, only: list[int] | None) -> str:
    """The comment on the file: what is in it, and the findings in a line each."""
    by_severity = [(name, sum(f.severity == name for f in report.findings)) for name in SEVERITIES]
    found = ", ".join(count(number, name) for name, number in by_severity if number) or "no findings"
    lines = [
        f"wiredoctor {report.version} on {capture.file}: {count(capture.packets, 'packet')}, "
        f"{count(report.connection_count, 'connection')}, {count(report.exchange_count, 'exchange')}; {found}",
    ]
    if report.delay:
        lines.append(f"time lost: {duration(report.delay)}")
    lines += failing(reach(report))
    if only is not None:
        lines.append(f"only the connections with findings: {count(len(only), 'packet')}")
    if capture.damage:
        lines.append(f"the capture is damaged, what follows is missing here: {capture.damage}")
    for number, finding in enumerate(report.findings[:MOST_LISTED], start=1):
        frames = ", ".join(str(e.frame) for e in finding.evidence[:8]) + (", ..." if len(finding.evidence) > 8 else "")
        place = f" (frame{'s' if len(finding.evidence) > 1 else ''} {frames})" if frames else ""
        lines.append(f"{finding.number or number}. {finding.severity}: {_name(finding)}: {finding.title}{place}")
    if (more := len(report.findings) - MOST_LISTED) > 0:
        lines.append(f"and {count(more, 'more finding')}")
    return "\n".join(clean(line)[:_LONGEST] for line in lines)


def _concerned(report: Report, again: Again) -> list[int]:
    """The frames of all connections that findings are about, and of their proof."""
    frames = {e.frame for f in report.findings for e in f.evidence}
    connections = {f.connection for f in report.findings if f.connection is not None}
    elsewhere = {e.frame for f in report.findings if f.connection is None for e in f.evidence}
    if elsewhere:
        for portion in again.portions(_RECORD, frames=elsewhere):
            connections.update(portion.tables["records"]["connection"].drop_nulls().to_list())
    if connections:
        for portion in again.portions(_RECORD, connections):
            frames.update(portion.tables["records"]["frame"].to_list())
    return sorted(frames)
