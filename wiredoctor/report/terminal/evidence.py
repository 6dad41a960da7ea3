"""Write the evidence of a finding: its frames with their times, and the waits between them, drawn to scale."""

from __future__ import annotations

import os
from io import StringIO

from wiredoctor.findings import Evidence, Finding
from wiredoctor.report.capture_clocks import WIDE, capture_start
from wiredoctor.report.terminal.terminal import Terminal, TerminalWriter
from wiredoctor.report.words import SECOND, clean, duration, scale
from wiredoctor.text.time_of_day import Clock

MAX_FRAMES = 12

_SHORTEST_DRAWN = 1e-6

_SHORTEST_SCALE = 1e-3
"""The minimum time, in seconds, that the longest bar represents, so a wait of a microsecond does not look long."""


def write_proof(writer: TerminalWriter, finding: Finding, *, everything: bool = False, indent: int = 2) -> None:
    """Write one line per frame of the evidence, and between two lines a bar whose length is proportional to the wait.

    A finding without a connection has no bars, because its frames belong to different connections.
    """
    evidence = finding.evidence
    shown = evidence if everything or len(evidence) <= MAX_FRAMES else evidence[: MAX_FRAMES - 1]
    if not shown:
        return
    frames = max(len(str(e.frame)) for e in shown)
    times = max(len(f"{e.elapsed:.6f}") for e in shown)
    clock = Clock(capture_start(finding) if writer.width >= WIDE else None)
    column = len("frame ") + frames + 2 + times + len(" s  ") + (clock.width + 2 if clock.width else 0)
    longest = max((gap for gap in map(_gap, shown, shown[1:])), default=0.0)
    longest = max(longest, _SHORTEST_SCALE)
    width = max(8, min(40, writer.width - indent - column - 14))
    before: Evidence | None = None
    for e in shown:
        if before is not None and finding.connection is not None and (gap := _gap(before, e)) >= _SHORTEST_DRAWN:
            bar = writer.paper.bar * scale(gap, longest, width)
            writer.unbroken((writer.paper.line + bar, "magenta"), f" {duration(gap)}", indent=indent + column)
        lead = f"frame {e.frame:>{frames}}  {e.elapsed:>{times}.6f} s  "
        if clock.width:
            lead += f"{clock.at(e.elapsed * SECOND)}  "
        writer.paragraph((lead, "bold"), e.note + in_file(e), indent=indent, hang=column)
        before = e
    if len(shown) < len(evidence):
        writer.paragraph(f"and {len(evidence) - len(shown)} more frames (--all shows them)", indent=indent)


def proof_lines(finding: Finding, paper: Terminal) -> list[str]:
    """Return the evidence as lines without indentation."""
    out = StringIO()
    write_proof(TerminalWriter(out, paper), finding, indent=0)
    return out.getvalue().splitlines()


def in_file(step: Evidence) -> str:
    """Return the file of a packet and its frame number in that file, such as " (trace.pcap3 #118)".

    Return "" unless the capture consists of several files.
    """
    return "" if step.file is None else f" ({clean(os.path.basename(step.file))} #{step.file_frame:,})"


def _gap(before: Evidence, after: Evidence) -> float:
    return after.elapsed - before.elapsed
