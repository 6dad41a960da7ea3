"""Draw a ladder as SVG: packets as arrows between client and server, with time running downward and waits drawn to scale."""

from __future__ import annotations

import textwrap
from html import escape
from typing import NamedTuple

from wiredoctor.report.ladder.build import Ladder, Step, Wait
from wiredoctor.report.ladder.draw_text import NO_CLOCK, not_shown
from wiredoctor.report.words import SECOND, clean, duration, shorten
from wiredoctor.text.time_of_day import Clock

WIDTH = 880
"""The minimum width of the picture in pixels. It is wider if frame numbers or times are long."""
_FRAME, _TIME, _CLIENT, _SERVER, _NOTES = 58, 132, 160, 560, 582
_DIGIT = 8.4
"""The width in pixels of a digit at 12 px in DejaVu Sans Bold, the widest common font."""
_APART = 10
_HEAD, _ROW, _LINE, _FOOT = 46, 30, 15, 16
_LABEL_SIGNS, _NOTE_SIGNS, _END_SIGNS = 58, 46, 45
"""The number of characters that fit on an arrow, in a line of notes, and above a side."""

_NARROW_CLIENT, _NARROW_BETWEEN, _NARROW_HEAD = 84, 244, 59
_NARROW_LABEL_SIGNS, _NARROW_NOTE_SIGNS, _NARROW_END_SIGNS = 34, 34, 30
"""For the narrow picture: the number of characters that fit on an arrow, in a line of notes, and above a side."""

_MAX_NOTE_LINES = 6
TALLEST = 150
"""The height in pixels of the longest wait that the finding counts as lost."""
_TALL = 84
"""The height in pixels of the longest wait if the finding counts no time as lost."""
_LEAST = 7
"""A wait is drawn if its height to scale is at least this many pixels. It is then made at least as high as a line of text."""

_CLOCK_SIGNS = 12
"""The number of characters in a time of day without its date."""

_REST = 0.01
"""The minimum idle time, in seconds, that is drawn."""

_SHORTEST = 1e-3
"""The minimum time, in seconds, that the full height represents, so a wait of microseconds does not look long."""

COLOURS = {
    "light": {
        "ink": "#1c2024", "dim": "#5c636b", "line": "#868e97", "wait": "#a4161a", "shade": "#fbe3e0", "idle": "#eef0f2",
        "mark": "#7a4100", "back": "#ffffff",
    },
    "dark": {
        "ink": "#e7eaed", "dim": "#a6aeb6", "line": "#79838d", "wait": "#ff9a91", "shade": "#4a1f1c", "idle": "#262b31",
        "mark": "#f3bd6d", "back": "#14171a",
    },
}  # fmt: skip
"""The colors of a standalone picture; a page sets the variables --ladder-ink and so on."""

RULES = (
    ".ladder text{font:12px/1 system-ui,'Segoe UI',Roboto,'Helvetica Neue',Arial,sans-serif;fill:var(--ladder-ink)}"
    ".ladder .dim{fill:var(--ladder-dim)}.ladder .mark{fill:var(--ladder-mark)}.ladder .end{font-weight:600}"
    ".ladder .number{font-variant-numeric:tabular-nums}.ladder .label{font-size:11.5px}"
    ".ladder .life{stroke:var(--ladder-line);stroke-width:1.5}.ladder .cut{stroke-dasharray:2 4}"
    ".ladder .arrow{stroke:var(--ladder-line);stroke-width:1.25;fill:none}.ladder .head{fill:var(--ladder-line)}"
    ".ladder .proof .arrow{stroke:var(--ladder-ink);stroke-width:2}.ladder .proof .head{fill:var(--ladder-ink)}"
    ".ladder .proof .number,.ladder .proof .label{font-weight:600}"
    ".ladder .again .arrow{stroke:var(--ladder-mark);stroke-dasharray:5 3}.ladder .again .head{fill:var(--ladder-mark)}"
    ".ladder .shade{fill:var(--ladder-shade)}.ladder .bar{fill:var(--ladder-wait)}.ladder .idle{fill:var(--ladder-idle)}"
    ".ladder .lost{fill:var(--ladder-wait);font-weight:600;font-size:12.5px}"
)
"""The style rules for the picture's classes; colors are variables."""


class _Columns(NamedTuple):
    """Positions in pixels.

    `frame`, `time`: the right edges of frame numbers and times. `client`, `server`: the vertical lines of client and server.
    `notes`: the left edge of notes. `width`: the picture's width. `top`: the position of the first step.

    In a narrow picture, which fits a phone, times are below frame numbers, and notes are below arrows.
    """

    frame: int
    time: int
    client: int
    server: int
    notes: int
    width: int
    top: int
    is_narrow: bool = False

    @classmethod
    def of(cls, ladder: Ladder) -> _Columns:
        """Return the columns, wide enough for the longest frame number and time."""
        number, elapsed = _widest(ladder)
        frame = max(_FRAME, number + 4)
        time = max(_TIME, frame + _APART + elapsed)
        more = time - _TIME
        return cls(frame, time, _CLIENT + more, _SERVER + more, _NOTES + more, WIDTH + more, _HEAD)

    @classmethod
    def for_phone(cls, ladder: Ladder) -> _Columns:
        """Return the columns of the narrow picture."""
        client = max(_NARROW_CLIENT, _APART + max(_widest(ladder)))
        server = client + _NARROW_BETWEEN
        lead = client - _APART + 2
        return cls(lead, lead, client, server, client + _APART, server + 8, _NARROW_HEAD, is_narrow=True)

    @property
    def middle(self) -> int:
        return (self.client + self.server) // 2


def _widest(ladder: Ladder) -> tuple[int, int]:
    """Return the widths in pixels of the longest frame number and of the longest time."""
    numbers = max(len(str(step.frame)) for step in ladder.steps)
    times = max(len(f"{step.elapsed:.6f}") for step in ladder.steps)
    return round(_DIGIT * numbers), round(_DIGIT * times)


class _Place(NamedTuple):
    """The vertical position of a step, in pixels: its preceding wait begins at `top` and is `wait` high; its arrow is at `y`.

    `compressed`: whether the wait is drawn shorter than to scale. `time`: the time of day, in RFC 3339 and as text. `shows_time`:
    whether the picture shows the time of day.
    """

    step: Step
    top: int
    wait: int
    y: int
    notes: list[str]
    compressed: bool
    time: tuple[str, str]
    shows_time: bool


def style() -> str:
    """Return the style of a standalone picture, which follows the reader's preference for light or dark."""
    light, dark = (
        "".join(f"--ladder-{name}:{colour};" for name, colour in COLOURS[theme].items()) for theme in ("light", "dark")
    )
    paper = ".ladder .paper{fill:var(--ladder-back)}"
    return f".ladder{{{light}}}{RULES}{paper}@media(prefers-color-scheme:dark){{.ladder{{{dark}}}}}"


def svg(
    ladder: Ladder, title: str, *, name: str = "ladder", alone: bool = True, narrow: bool = False, clock: Clock = NO_CLOCK
) -> str:
    """Return the picture, or "" if there are no steps; `title` describes the picture to readers who cannot see it.

    `name`: the prefix of all ids in the picture, which must be unique on a page. `alone`: include style and background, for a
    separate file or a page without that style. `narrow`: draw the picture for a phone, without a description of its own; the
    narrow picture refers to the description of the wide picture with the same name. `clock`: gives each step its time of day, in
    the attribute `data-time`. Only the first step and steps that are evidence also show the time of day.
    """
    if not ladder.steps:
        return ""
    columns, several = _Columns.for_phone(ladder) if narrow else _Columns.of(ladder), len(ladder.connections) > 1
    places, height = _places(ladder, columns, clock)
    width = columns.width
    body = [_sides(ladder, height, columns)]
    for place in places:
        body += [_gap(place, columns), _arrow(place, columns, several=several)]
    if ladder.left_out:
        body.append(_text(columns.middle, height - _FOOT, not_shown(ladder.left_out), "dim", "middle"))
    kind = "ladder narrow" if narrow else "ladder" if alone else "ladder wide"
    head = (
        f'<svg class="{kind}" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" role="img" aria-labelledby="{name}-title {name}-desc">'
    )
    if not narrow:
        head += f'<title id="{name}-title">{_safe(title)}</title><desc id="{name}-desc">{_safe(describe(ladder))}</desc>'
    own = f'<style>{style()}</style><rect class="paper" width="{width}" height="{height}"/>' if alone else ""
    return head + own + "".join(body) + "</svg>\n"


def describe(ladder: Ladder) -> str:
    """Describe the picture in words: one sentence per packet, and the waits that the finding counts as lost."""
    said: list[str] = []
    for step in ladder.steps:
        if step.before.of_finding and step.before.seconds:
            said.append(f"Then {_wait_text(step.before)}.")
        side = "client" if step.from_client else "server"
        said.append(f"Frame {step.frame}, {step.elapsed:.6f} s, {side}: {'; '.join([step.text or step.flags, *step.notes])}.")
    return " ".join(said)


def _places(ladder: Ladder, columns: _Columns, clock: Clock) -> tuple[list[_Place], int]:
    lost = [s.before.seconds for s in ladder.steps if s.before.of_finding and s.before.seconds]
    others = [s.before.seconds for s in ladder.steps if s.before.waited_for and s.before.seconds]
    unknown = [s.before.seconds for s in ladder.steps if s.before.seconds and not s.before.idle]
    rests = [s.before.seconds for s in ladder.steps if s.before.seconds]
    longest = max(max(lost or others or unknown or rests, default=0.0), _SHORTEST)
    y, places, tallest = columns.top, list[_Place](), TALLEST if lost else _TALL
    for step in ladder.steps:
        wait, compressed = _height(step.before, longest, tallest)
        missing = _LINE + 4 if step.before.left_out else 0
        notes = _notes(step, _NARROW_NOTE_SIGNS if columns.is_narrow else _NOTE_SIGNS)
        arrow = y + wait + missing + _ROW - 8
        time = (clock.rfc3339(step.elapsed * SECOND), clock.at(step.elapsed * SECOND)[-_CLOCK_SIGNS:])
        shows_time = bool(time[0]) and (step.evidence or not places)
        places.append(_Place(step, y, wait, arrow, notes, compressed, time, shows_time))
        if columns.is_narrow:
            y += wait + missing + max(_ROW + _LINE * (1 + shows_time) - 6, _ROW + _LINE * len(notes) + (4 if notes else 0))
        else:
            y += wait + missing + max(_ROW + (4 if shows_time else 0), _LINE * (len(notes) + 1) - 2)
    return places, y + _FOOT + (_LINE if ladder.left_out else 0)


def _height(wait: Wait, longest: float, tallest: int) -> tuple[int, bool]:
    """Return the height of a wait in pixels (0: not drawn), and whether the height was reduced.

    A wait of `longest` seconds is `tallest` pixels high. The height of a longer wait is reduced, so it is not to scale.
    """
    if not wait.seconds or not (wait.of_finding or wait.waited_for or wait.seconds >= max(longest / 8, _REST)):
        return 0, False
    share = wait.seconds / longest * tallest
    if share > tallest:
        return tallest // 2 if not wait.of_finding else tallest, True
    return (max(round(share), _LINE - 1), False) if share >= _LEAST else (0, False)


def _notes(step: Step, width: int) -> list[str]:
    said = [*(mark for mark in step.marks if mark not in step.text and mark != "window update"), *step.notes]
    lines = [line for text in said for line in textwrap.wrap(clean(text), width)]
    return lines if len(lines) <= _MAX_NOTE_LINES else [*lines[: _MAX_NOTE_LINES - 1], "..."]


def _sides(ladder: Ladder, height: int, columns: _Columns) -> str:
    made: list[str] = []
    bottom = height - _FOOT - (_LINE if ladder.left_out else 0)
    sides = ((columns.client, "client", ladder.client), (columns.server, "server", ladder.server))
    for x, side, end in sides:
        if columns.is_narrow:
            first, anchor = side == "client", "start" if side == "client" else "end"
            at = columns.client - 4 if first else columns.width
            made.append(_text(at, 16, side.capitalize(), "end", anchor))
            made.append(_text(at, 31 if first else 46, shorten(clean(end), _NARROW_END_SIGNS), "dim number", anchor))
        else:
            made.append(_text(x, 16, side.capitalize(), "end", "middle"))
            made.append(_text(x, 31, shorten(clean(end), _END_SIGNS), "dim number", "middle"))
        made.append(f'<line class="life" x1="{x}" y1="{columns.top - 6}" x2="{x}" y2="{bottom}"/>')
    time_y = 31 if columns.is_narrow else 16
    made += [_text(columns.frame, 16, "frame", "dim", "end"), _text(columns.time, time_y, "time (s)", "dim", "end")]
    return "".join(made)


def _gap(place: _Place, columns: _Columns) -> str:
    """Draw the wait before a step, and write how many packets are omitted there."""
    wait, made = place.step.before, list[str]()
    if place.wait:
        kind = "shade" if wait.of_finding else "idle"
        size = f'width="{columns.server - columns.client - 2}" height="{place.wait}"'
        made.append(f'<rect class="{kind}" x="{columns.client + 1}" y="{place.top}" {size}/>')
        if wait.of_finding:
            x = columns.server - 5 if wait.waited_for == "server" else columns.client + 1
            made.append(f'<rect class="bar" x="{x}" y="{place.top}" width="4" height="{place.wait}"/>')
        text = _wait_text(wait) + (" (drawn shorter)" if place.compressed else "")
        made.append(_text(columns.middle, place.top + place.wait // 2 + 4, text, "lost" if wait.of_finding else "dim", "middle"))
    if wait.left_out:
        made.append(_text(columns.middle, place.top + place.wait + _LINE - 2, not_shown(wait.left_out), "dim", "middle"))
    return "".join(made)


def _wait_text(wait: Wait) -> str:
    length = duration(wait.seconds or 0.0)
    if wait.waited_for:
        return f"{length} until the {wait.waited_for} sends"
    return f"{length} idle" if wait.idle else length


def _arrow(place: _Place, columns: _Columns, *, several: bool) -> str:
    step, y = place.step, place.y
    begin, end, turn = (columns.client, columns.server, -1) if step.from_client else (columns.server, columns.client, 1)
    again = any(mark.startswith(("retransmission", "keep-alive")) for mark in step.marks)
    classes = " ".join(name for name, set_ in (("proof", step.evidence), ("again", again)) if set_)
    lead = f"{step.connection}: " if several else ""
    label = shorten(lead + clean(step.text or step.flags), _NARROW_LABEL_SIGNS if columns.is_narrow else _LABEL_SIGNS)
    moment, clock = place.time
    time_y = y + 4 + (_LINE if columns.is_narrow else 0)
    attributes = "".join(f' {name}="{value}"' for name, value in (("class", classes), ("data-time", moment)) if value)
    made = [
        f"<g{attributes}>",
        _text(columns.frame, y + 4, f"{step.frame}", "number", "end"),
        _text(columns.time, time_y, f"{step.elapsed:.6f}", "dim number", "end"),
        _text(columns.time, time_y + _LINE - 1, clock, "clock", "end") if place.shows_time else "",
        f'<path class="arrow" d="M{begin - 2 * turn} {y}H{end + 3 * turn}"/>',
        f'<path class="head" d="M{end + turn} {y}l{9 * turn} -4.5v9z"/>',
        _text(columns.middle, y - 5, label, "label", "middle"),
    ]
    marks = len([line for line in place.notes if line in step.marks])
    below = _LINE + 1 if columns.is_narrow else 4
    for number, line in enumerate(place.notes):
        made.append(_text(columns.notes, y + below + number * _LINE, line, "mark" if number < marks else "note", "start"))
    return "".join([*made, "</g>"])


def _text(x: int, y: int, text: str, kind: str, anchor: str) -> str:
    where = "" if anchor == "start" else f' text-anchor="{anchor}"'
    return f'<text x="{x}" y="{y}" class="{kind}"{where}>{_safe(text)}</text>'


def _safe(text: str) -> str:
    return escape(clean(text))
