"""Write a copy of the capture with the diagnosis as packet comments. Wireshark shows them with each packet (`frame.comment`).

Packets are copied unchanged, so the file contains the same secrets as the capture. Comments are redacted like all reports.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import BinaryIO, NamedTuple

from wiredoctor.findings import CaptureSummary, Finding, PacketAccess, Report
from wiredoctor.report.coverage import find_coverage
from wiredoctor.report.formats import NotWritable, Options
from wiredoctor.report.groups import group_findings
from wiredoctor.report.headline import counts, headline
from wiredoctor.report.terminal.sentences import failing
from wiredoctor.report.words import clean, count, duration

MAX_ON_A_FRAME = 50
"""The maximum number of findings described in the comments of one packet. Further findings are only counted."""

MAX_LISTED = 200
"""The maximum number of findings listed in the comment on the file."""

_RECORD = {"records": ["frame", "connection"]}

_LONGEST = 4_000
"""The maximum length of a comment in characters. Longer comments are cut."""

_SHORTEST_WAIT = 1e-6
"""The minimum time, in seconds, that a comment mentions as the wait between two frames of a finding."""


class _Note(NamedTuple):
    """A frame that is evidence of a finding, and for which a comment is written.

    `finding`: the index of the finding in the report. `place`: the index of the frame in the finding's evidence.
    """

    frame: int
    finding: int
    place: int


def write_as(report: Report, out: BinaryIO, options: Options) -> None:
    """Write the report as a pcapng file with comments."""
    write(report, out, only_findings=options.only_findings, shown=options.shown)


def write(report: Report, out: BinaryIO, *, only_findings: bool = False, shown: str = "") -> None:
    """Write the capture of the report as pcapng.

    If `only_findings` is true, write only packets of connections with findings and packets that are evidence; comments then
    contain the original frame numbers. `shown`: as in formats.Options. Raise NotWritable unless the report has exactly one
    capture, and its packets were kept.
    """
    if len(report.captures) != 1 or report.captures[0].file not in report.packets:
        raise NotWritable("packets can be copied from exactly one capture, and only if its packets were kept")
    [capture] = report.captures
    access = report.packets[capture.file]
    only = _frames_of_findings(report, access) if only_findings else None
    about = _about(report, capture, only, shown)
    access.copy(out, capture.packets, about, _comments(report, only is not None), only)


def _comments(report: Report, numbers: bool) -> Iterator[tuple[int, list[str]]]:
    notes = sorted(
        _Note(evidence.frame, number, place)
        for number, finding in enumerate(report.findings)
        for place, evidence in enumerate(finding.evidence)
    )
    for frame, some in groupby(notes, key=lambda note: note.frame):
        here = [*some]
        texts = [f"wiredoctor: frame {frame} of the whole capture"] if numbers else []
        for note in here[:MAX_ON_A_FRAME]:
            texts += _comment_lines(report.findings[note.finding], note)
        if more := len(here) - MAX_ON_A_FRAME:
            texts += [f"wiredoctor: {count(more, 'more finding')} on this packet"] if more > 0 else []
        yield frame, [clean(text)[:_LONGEST] for text in texts]


def _comment_lines(finding: Finding, note: _Note) -> list[str]:
    """Return the comments on one frame of a finding. The first frame gets all texts, the others only their notes.

    Wireshark truncates lines in its tree at 240 characters, so the message and the remedy are separate comments.
    """
    evidence = finding.evidence[note.place]
    name = f"finding {finding.number or note.finding + 1}"
    text = f"wiredoctor {name}, {finding.severity}: {finding.rule_and_kind}: {evidence.note}"
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


def _about(report: Report, capture: CaptureSummary, only: list[int] | None, shown: str) -> str:
    """Return the comment on the file: headline, contents, and a line per finding. `only`: the copied frames, or None for all."""
    groups, far = group_findings(report.findings), find_coverage(report)
    numbers = str(counts(report, groups))
    lines = [
        headline(report, groups, far, shown),
        *([numbers] if numbers else []),
        f"wiredoctor {report.version} on {capture.file}: {count(capture.packets, 'packet')}, "
        f"{count(report.connection_count, 'connection')}, {count(report.exchange_count, 'exchange')}",
        *failing(far),
    ]
    if only is not None:
        lines.append(f"only the connections with findings: {count(len(only), 'packet')}")
    if capture.damage:
        lines.append(f"the capture is damaged, so later packets are missing: {capture.damage}")
    for number, finding in enumerate(report.findings[:MAX_LISTED], start=1):
        frames = ", ".join(str(e.frame) for e in finding.evidence[:8]) + (", ..." if len(finding.evidence) > 8 else "")
        place = f" (frame{'s' if len(finding.evidence) > 1 else ''} {frames})" if frames else ""
        lines.append(f"{finding.number or number}. {finding.severity}: {finding.rule_and_kind}: {finding.title}{place}")
    if (more := len(report.findings) - MAX_LISTED) > 0:
        lines.append(f"and {count(more, 'more finding')}")
    return "\n".join(clean(line)[:_LONGEST] for line in lines)


def _frames_of_findings(report: Report, access: PacketAccess) -> list[int]:
    """Return the sorted frame numbers of all evidence, and of all packets on connections with findings or evidence."""
    frames = {e.frame for f in report.findings for e in f.evidence}
    connections = {f.connection for f in report.findings if f.connection is not None}
    elsewhere = {e.frame for f in report.findings if f.connection is None for e in f.evidence}
    if elsewhere:
        for portion in access.portions(_RECORD, frames=elsewhere):
            connections.update(portion.tables["records"]["connection"].drop_nulls().to_list())
    if connections:
        for portion in access.portions(_RECORD, connections):
            frames.update(portion.tables["records"]["frame"].to_list())
    return sorted(frames)
