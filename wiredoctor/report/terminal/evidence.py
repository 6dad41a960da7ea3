"""The proof of a finding: its frames with their times, and the waits between them drawn to scale."""

from __future__ import annotations

import os
from io import StringIO
from typing import TYPE_CHECKING

from wiredoctor.report.terminal.terminal import Writer
from wiredoctor.report.words import clean, duration, scale

if TYPE_CHECKING:
    from wiredoctor.findings import Evidence, Finding
    from wiredoctor.report.terminal.terminal import Paper

MOST_FRAMES = 12

_SHORTEST_DRAWN = 1e-6

_SHORTEST_SCALE = 1e-3
"""Seconds that fill the width at least: a microsecond is no wait, and does not look like one."""


def write_proof(writer: Writer, finding: Finding, *, everything: bool = False, indent: int = 2) -> None:
    """A line per frame, a bar per wait; the longest wait of the proof is the longest bar.

    What is about no connection has no bars: its frames are of different ones, and between them nobody waited.
    """
    evidence = finding.evidence
    shown = evidence if everything or len(evidence) <= MOST_FRAMES else evidence[: MOST_FRAMES - 1]
    if not shown:
        return
    frames = max(len(str(e.frame)) for e in shown)
    times = max(len(f"{e.elapsed:.6f}") for e in shown)
    column = len("frame ") + frames + 2 + times + len(" s  ")
    longest = max((gap for gap in map(_gap, shown, shown[1:])), default=0.0)
    longest = max(longest, _SHORTEST_SCALE)
    width = max(8, min(40, writer.width - indent - column - 14))
    before: Evidence | None = None
    for e in shown:
        if before is not None and finding.connection is not None and (gap := _gap(before, e)) >= _SHORTEST_DRAWN:
            bar = writer.paper.bar * scale(gap, longest, width)
            writer.unbroken((writer.paper.line + bar, "magenta"), f" {duration(gap)}", indent=indent + column)
        lead = f"frame {e.frame:>{frames}}  {e.elapsed:>{times}.6f} s  "
        writer.paragraph((lead, "bold"), e.note + in_file(e), indent=indent, hang=column)
        before = e
    if len(shown) < len(evidence):
        writer.paragraph(f"and {len(evidence) - len(shown)} more frames (--all shows them)", indent=indent)


def proof_lines(finding: Finding, paper: Paper) -> list[str]:
    """The same as lines, at the left edge."""
    out = StringIO()
    write_proof(Writer(out, paper), finding, indent=0)
    return out.getvalue().splitlines()


def in_file(step: Evidence) -> str:
    """Return the file of a rotation that a packet of the proof lies in, with its number there: " (trace.pcap3 #118)"."""
    return "" if step.file is None else f" ({clean(os.path.basename(step.file))} #{step.file_frame:,})"


def _gap(before: Evidence, after: Evidence) -> float:
    return after.elapsed - before.elapsed
