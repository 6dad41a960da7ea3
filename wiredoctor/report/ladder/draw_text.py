"""Draw a ladder as text: one line per packet with an arrow, and the waits between packets drawn to scale."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, NamedTuple

from wiredoctor.report.capture_clocks import WIDE
from wiredoctor.report.words import SECOND, count, duration, scale
from wiredoctor.text.time_of_day import Clock

if TYPE_CHECKING:
    from wiredoctor.report.ladder.build import Ladder, Step, Wait
    from wiredoctor.report.terminal.terminal import TerminalWriter

_NARROW, _USUAL, _WIDE = 10, 18, 40
"""The number of characters between the two sides on a narrow terminal, on a terminal with 80 columns, and on a very wide one."""

_READABLE = 35
"""The minimum number of characters for packet descriptions. If there is less space, the two sides are drawn closer together."""

_DRAWN = 0.02
"""The minimum length of a wait that is drawn, as a fraction of the longest wait. Waits counted as lost are always drawn."""

_SHORTEST = 1e-6
_SHORTEST_SCALE = 1e-3
"""The minimum time, in seconds, that the full width represents, so a wait of a microsecond does not look long."""

_LEAST_TEXT = 20

NO_CLOCK = Clock(None)


class Characters(NamedTuple):
    """The characters with which a ladder is drawn.

    `side`: the vertical line of a side. `line`, `right`, `left`: the line and the heads of arrows. `cut`: the mark in a line that
    is not to scale. `note`: the beginning of a note.
    """

    side: str
    line: str
    right: str
    left: str
    cut: str
    note: str


_UNICODE = Characters("│", "─", "▶", "◀", "╱╱", "└ ")
_ASCII = Characters("|", "-", ">", "<", "//", "^ ")


class Lanes(NamedTuple):
    """The widths of the columns in characters: frame, time, space between the two sides, text, and time of day (0: not shown)."""

    frame: int
    time: int
    between: int
    text: int
    clock: int = 0

    @property
    def lead(self) -> int:
        """The number of characters to the left of the client's side."""
        return self.frame + self.time + 6 + (self.clock + 2 if self.clock else 0)


def write_ladder(writer: TerminalWriter, ladder: Ladder, clock: Clock = NO_CLOCK) -> None:
    """Write the ladder, or the reason why there is none. On a wide terminal, the ladder has times of day from `clock`.

    Waits are drawn to scale: the longest wait of one side for the other fills the width. A longer idle time between two exchanges
    is cut to that width.
    """
    if not ladder.steps:
        writer.paragraph(f"No packets to show: {ladder.missing}.")
        return
    characters = _UNICODE if writer.paper.unicode else _ASCII
    clock = clock if writer.width >= WIDE else NO_CLOCK
    lanes = _lanes(ladder, writer.width, clock.width)
    several = len(ladder.connections) > 1
    heads = f"client{'server':>{lanes.between + 2 - len('client')}}"
    times = "time".rjust(lanes.time + 2) + "    " + ("time of day".ljust(lanes.clock + 2) if lanes.clock else "")
    writer.unbroken(("frame".rjust(lanes.frame) + times + heads, "dim"))
    longest = _longest(ladder.steps)
    connection = None
    for step in ladder.steps:
        if several and step.connection != connection:
            writer.unbroken((" " * lanes.lead + f"connection {step.connection}", "bold"))
        connection = step.connection
        _write_wait(writer, step.before, lanes, characters, longest)
        _write_step(writer, step, lanes, characters, clock)
    if ladder.left_out:
        writer.unbroken((" " * lanes.lead + not_shown(ladder.left_out), "dim"))


def _lanes(ladder: Ladder, width: int, clock: int) -> Lanes:
    frame = max(5, *(len(str(step.frame)) for step in ladder.steps))
    time = max(len(f"{step.elapsed:.6f}") for step in ladder.steps)
    lead = Lanes(frame, time, 0, 0, clock).lead
    usual = max(_USUAL, min(_WIDE, (width - lead) // 3))
    between = max(_NARROW, min(usual, width - lead - 4 - _READABLE))
    return Lanes(frame, time, between, max(_LEAST_TEXT, width - lead - between - 4), clock)


def _longest(steps: tuple[Step, ...]) -> float:
    """Return the length in seconds of the wait that is drawn in full width.

    Three kinds of waits count: waits that a finding counts as lost, waits for one of the two sides, and waits in which an
    exchange was open and no packet is omitted. If there are no such waits, all waits count. The result is at least
    _SHORTEST_SCALE.
    """
    waits = [step.before for step in steps if step.before.seconds is not None]
    meant = [w.seconds or 0.0 for w in waits if w.of_finding or w.waited_for or (not w.idle and not w.left_out)]
    return max([_SHORTEST_SCALE, *(meant or [w.seconds or 0.0 for w in waits])])


def _write_wait(writer: TerminalWriter, wait: Wait, lanes: Lanes, characters: Characters, longest: float) -> None:
    seconds = wait.seconds or 0.0
    drawn = seconds >= _SHORTEST and (wait.of_finding or seconds >= longest * _DRAWN)
    hidden = not_shown(wait.left_out) if wait.left_out else ""
    if not drawn:
        if hidden:
            writer.unbroken((" " * lanes.lead + _sides("", lanes, characters) + f"  {hidden}", "dim"))
        return
    said = f"until the {wait.waited_for} sends" if wait.waited_for else "idle" if wait.idle else ""
    if hidden and not wait.of_finding:
        writer.unbroken((" " * lanes.lead + _sides(duration(seconds), lanes, characters) + f"  {hidden}", "dim"))
        return
    words = said or hidden
    room = max(4, lanes.text - len(words) - 1)
    bar = writer.paper.bar * min(scale(seconds, longest, room), room)
    if seconds > longest:
        half = (room - len(characters.cut)) // 2
        bar = writer.paper.bar * half + characters.cut + writer.paper.bar * (room - half - len(characters.cut))
    style = "magenta" if wait.of_finding else "dim"
    lead = " " * lanes.lead + _sides(duration(seconds), lanes, characters) + "  "
    writer.unbroken((lead, "dim"), (bar, style), (f" {words}" if bar and words else words, style))


def _sides(label: str, lanes: Lanes, characters: Characters) -> str:
    return characters.side + label.center(lanes.between) + characters.side


def not_shown(packets: int) -> str:
    """Return a note about packets that a ladder leaves out."""
    return f"{count(packets, 'packet')} not shown"


def _write_step(writer: TerminalWriter, step: Step, lanes: Lanes, characters: Characters, clock: Clock) -> None:
    style = "bold" if step.evidence else ""
    lead = f"{step.frame:>{lanes.frame}}{step.elapsed:>{lanes.time + 2}.6f} s  "
    if lanes.clock:
        lead += f"{clock.at(step.elapsed * SECOND)}  "
    marks = [mark for mark in step.marks if mark not in step.text]
    first, *more = textwrap.wrap("; ".join([step.text or step.flags, *marks]), lanes.text) or [""]
    writer.unbroken((lead, style), (_arrow(step, lanes, characters), "cyan" if step.evidence else ""), (f"  {first}", style))
    blank = " " * lanes.lead + _sides("", lanes, characters) + "  "
    for line in more:
        writer.unbroken(blank, (line, style))
    for note in step.notes:
        for number, line in enumerate(textwrap.wrap(note, lanes.text - len(characters.note)) or [""]):
            sign = characters.note if not number else " " * len(characters.note)
            writer.unbroken(blank, (sign + line, "yellow"))


def _arrow(step: Step, lanes: Lanes, characters: Characters) -> str:
    label = f" {step.flags} " if len(step.flags) <= lanes.between - 6 else ""
    room = lanes.between - 1 - len(label)
    before, after = room // 2, room - room // 2
    shaft = characters.line * before + label + characters.line * after
    arrow = shaft + characters.right if step.from_client else characters.left + shaft
    return characters.side + arrow + characters.side
