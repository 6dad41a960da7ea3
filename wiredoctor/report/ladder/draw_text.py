"""A ladder on paper: a line per packet with its arrow, and the waits between them drawn to scale."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, NamedTuple

from wiredoctor.report.words import count, duration, scale

if TYPE_CHECKING:
    from wiredoctor.report.ladder.build import Ladder, Step, Wait
    from wiredoctor.report.terminal.terminal import Writer

_NARROW, _USUAL, _WIDE = 10, 18, 40
"""Characters between the two sides: on a narrow terminal, on one of 80 columns, at most."""

_READABLE = 35
"""Characters of text for which the sides move together."""

_DRAWN = 0.02
"""Part of the longest wait from which on a wait is drawn. What the finding counts as lost is drawn anyway."""

_SHORTEST = 1e-6
_SHORTEST_SCALE = 1e-3
"""Seconds that fill the width at least: a microsecond is no wait, and does not look like one."""

_LEAST_TEXT = 20


class Signs(NamedTuple):
    """What the drawing is made of."""

    side: str
    line: str
    right: str
    left: str
    cut: str
    note: str


_UNICODE = Signs("│", "─", "▶", "◀", "╱╱", "└ ")
_ASCII = Signs("|", "-", ">", "<", "//", "^ ")


class Lanes(NamedTuple):
    """Columns: of the frame, of the time, between the sides, of the text."""

    frame: int
    time: int
    between: int
    text: int

    @property
    def lead(self) -> int:
        """Columns in front of the client's side."""
        return self.frame + self.time + 6


def write_ladder(writer: Writer, ladder: Ladder, *, indent: int = 0) -> None:
    """The ladder, or the reason why there is none.

    The longest wait in which somebody waited fills the width; a longer rest between two exchanges is cut.
    """
    if not ladder.steps:
        writer.paragraph(f"No packets to show: {ladder.missing}.", indent=indent)
        return
    signs = _UNICODE if writer.paper.unicode else _ASCII
    lanes = _lanes(ladder, writer.width - indent)
    several = len(ladder.connections) > 1
    heads = f"client{'server':>{lanes.between + 2 - len('client')}}"
    writer.unbroken(("frame".rjust(lanes.frame) + "time".rjust(lanes.time + 2) + "    " + heads, "dim"), indent=indent)
    longest = _longest(ladder.steps)
    connection = None
    for step in ladder.steps:
        if several and step.connection != connection:
            writer.unbroken((" " * lanes.lead + f"connection {step.connection}", "bold"), indent=indent)
        connection = step.connection
        _write_wait(writer, step.before, lanes, signs, longest, indent)
        _write_step(writer, step, lanes, signs, indent)
    if ladder.left_out:
        writer.unbroken((" " * lanes.lead + _not_shown(ladder.left_out), "dim"), indent=indent)


def _lanes(ladder: Ladder, width: int) -> Lanes:
    frame = max(5, *(len(str(step.frame)) for step in ladder.steps))
    time = max(len(f"{step.elapsed:.6f}") for step in ladder.steps)
    lead = frame + time + 6
    usual = max(_USUAL, min(_WIDE, (width - lead) // 3))
    between = max(_NARROW, min(usual, width - lead - 4 - _READABLE))
    return Lanes(frame, time, between, max(_LEAST_TEXT, width - lead - between - 4))


def _longest(steps: tuple[Step, ...]) -> float:
    """The wait that fills the width: of those in which somebody waited, else of all."""
    waits = [step.before for step in steps if step.before.seconds is not None]
    meant = [w.seconds or 0.0 for w in waits if w.of_finding or w.waited_for or (not w.idle and not w.left_out)]
    return max([_SHORTEST_SCALE, *(meant or [w.seconds or 0.0 for w in waits])])


def _write_wait(writer: Writer, wait: Wait, lanes: Lanes, signs: Signs, longest: float, indent: int) -> None:
    seconds = wait.seconds or 0.0
    drawn = seconds >= _SHORTEST and (wait.of_finding or seconds >= longest * _DRAWN)
    hidden = _not_shown(wait.left_out) if wait.left_out else ""
    if not drawn:
        if hidden:
            writer.unbroken((" " * lanes.lead + _sides("", lanes, signs) + f"  {hidden}", "dim"), indent=indent)
        return
    said = f"until the {wait.waited_for} sends" if wait.waited_for else "no exchange is open" if wait.idle else ""
    if hidden and not wait.of_finding:
        writer.unbroken((" " * lanes.lead + _sides(duration(seconds), lanes, signs) + f"  {hidden}", "dim"), indent=indent)
        return
    words = said or hidden
    room = max(4, lanes.text - len(words) - 1)
    bar = writer.paper.bar * min(scale(seconds, longest, room), room)
    if seconds > longest:
        half = (room - len(signs.cut)) // 2
        bar = writer.paper.bar * half + signs.cut + writer.paper.bar * (room - half - len(signs.cut))
    style = "magenta" if wait.of_finding else "dim"
    lead = " " * lanes.lead + _sides(duration(seconds), lanes, signs) + "  "
    writer.unbroken((lead, "dim"), (bar, style), (f" {words}" if bar and words else words, style), indent=indent)


def _sides(label: str, lanes: Lanes, signs: Signs) -> str:
    return signs.side + label.center(lanes.between) + signs.side


def _not_shown(packets: int) -> str:
    return f"{count(packets, 'packet')} not shown"


def _write_step(writer: Writer, step: Step, lanes: Lanes, signs: Signs, indent: int) -> None:
    style = "bold" if step.evidence else ""
    lead = f"{step.frame:>{lanes.frame}}{step.elapsed:>{lanes.time + 2}.6f} s  "
    marks = [mark for mark in step.marks if mark not in step.text]
    first, *more = textwrap.wrap("; ".join([step.text or step.flags, *marks]), lanes.text) or [""]
    writer.unbroken(
        (lead, style), (_arrow(step, lanes, signs), "cyan" if step.evidence else ""), (f"  {first}", style), indent=indent
    )
    blank = " " * lanes.lead + _sides("", lanes, signs) + "  "
    for line in more:
        writer.unbroken(blank, (line, style), indent=indent)
    for note in step.notes:
        for number, line in enumerate(textwrap.wrap(note, lanes.text - len(signs.note)) or [""]):
            sign = signs.note if not number else " " * len(signs.note)
            writer.unbroken(blank, (sign + line, "yellow"), indent=indent)


def _arrow(step: Step, lanes: Lanes, signs: Signs) -> str:
    label = f" {step.flags} " if len(step.flags) <= lanes.between - 6 else ""
    room = lanes.between - 1 - len(label)
    before, after = room // 2, room - room // 2
    shaft = signs.line * before + label + signs.line * after
    arrow = shaft + signs.right if step.from_client else signs.left + shaft
    return signs.side + arrow + signs.side
