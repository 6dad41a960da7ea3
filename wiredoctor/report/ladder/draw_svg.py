"""A ladder as SVG: who sent what to whom, downwards in time, and the waits between as high as they are long."""

from __future__ import annotations

import textwrap
from html import escape
from typing import TYPE_CHECKING, NamedTuple

from wiredoctor.report.words import clean, count, duration, shorten

if TYPE_CHECKING:
    from wiredoctor.report.ladder.build import Ladder, Step, Wait

WIDTH = 880
_FRAME = 58
_TIME, _CLIENT, _SERVER, _NOTES = 132, 160, 560, 582
_HEAD, _ROW, _LINE, _FOOT = 46, 30, 15, 16
_MIDDLE = (_CLIENT + _SERVER) // 2
_LABEL_SIGNS, _NOTE_SIGNS, _END_SIGNS = 58, 46, 45
"""Characters that fit on an arrow, in a line of notes, above a side."""

_MOST_NOTE_LINES = 6
TALLEST = 150
_TALL = 84
"""Pixels of the longest wait that the finding counts; of the longest at all where it counts none."""
_LEAST = 7
"""Pixels from which on a wait is drawn."""

_REST = 0.01
"""Seconds from which on a time in which nobody waited is drawn."""

_SHORTEST = 1e-3
"""Seconds that fill the height at least: microseconds are no waits, and do not look like them."""

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
"""Of a picture that stands by itself; a page sets the variables --ladder-ink and so on."""

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
"""How the classes of a picture look, in terms of the variables."""


class _Place(NamedTuple):
    """A step and where it stands: `top` is where the wait before it begins, `wait` how high that is, `y` the arrow's height."""

    step: Step
    top: int
    wait: int
    y: int
    notes: list[str]
    compressed: bool


def style() -> str:
    """What a picture that stands by itself needs: it follows the reader's preference for light or dark."""
    light, dark = (
        "".join(f"--ladder-{name}:{colour};" for name, colour in COLOURS[theme].items()) for theme in ("light", "dark")
    )
    paper = ".ladder .paper{fill:var(--ladder-back)}"
    return f".ladder{{{light}}}{RULES}{paper}@media(prefers-color-scheme:dark){{.ladder{{{dark}}}}}"


def svg(ladder: Ladder, title: str, *, name: str = "ladder", alone: bool = True) -> str:
    """The picture; `title` says for those who do not see it what it is of. Empty where there are no steps.

    `name`: what its ids begin with, to be different from those of other pictures of a page. `alone`: with its own style and
    background, for a file of its own or a page that has no style for it.
    """
    if not ladder.steps:
        return ""
    places, height = _places(ladder)
    several = len(ladder.connections) > 1
    body = [_sides(ladder, height)]
    for place in places:
        body += [_gap(place), _arrow(place, several=several)]
    if ladder.left_out:
        body.append(_text(_MIDDLE, height - _FOOT, _more(ladder.left_out), "dim", "middle"))
    head = (
        f'<svg class="ladder" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" '
        f'height="{height}" role="img" aria-labelledby="{name}-title {name}-desc">'
        f'<title id="{name}-title">{_safe(title)}</title><desc id="{name}-desc">{_safe(described(ladder))}</desc>'
    )
    own = f'<style>{style()}</style><rect class="paper" width="{WIDTH}" height="{height}"/>' if alone else ""
    return head + own + "".join(body) + "</svg>\n"


def described(ladder: Ladder) -> str:
    """The picture in words: a sentence for each packet, with the waits that the finding counts."""
    said: list[str] = []
    for step in ladder.steps:
        if step.before.of_finding and step.before.seconds:
            said.append(f"Then {_waited(step.before)}.")
        side = "client" if step.from_client else "server"
        said.append(f"Frame {step.frame}, {step.elapsed:.6f} s, {side}: {'; '.join([step.text or step.flags, *step.notes])}.")
    return " ".join(said)


def _places(ladder: Ladder) -> tuple[list[_Place], int]:
    lost = [s.before.seconds for s in ladder.steps if s.before.of_finding and s.before.seconds]
    others = [s.before.seconds for s in ladder.steps if s.before.waited_for and s.before.seconds]
    unknown = [s.before.seconds for s in ladder.steps if s.before.seconds and not s.before.idle]
    rests = [s.before.seconds for s in ladder.steps if s.before.seconds]
    longest = max(max(lost or others or unknown or rests, default=0.0), _SHORTEST)
    y, places, tallest = _HEAD, list[_Place](), TALLEST if lost else _TALL
    for step in ladder.steps:
        wait, compressed = _height(step.before, longest, tallest)
        missing = _LINE + 4 if step.before.left_out else 0
        notes = _notes(step)
        arrow = y + wait + missing + _ROW - 8
        places.append(_Place(step, y, wait, arrow, notes, compressed))
        y += wait + missing + max(_ROW, _LINE * (len(notes) + 1) - 2)
    return places, y + _FOOT + (_LINE if ladder.left_out else 0)


def _height(wait: Wait, longest: float, tallest: int) -> tuple[int, bool]:
    """Pixels of a wait, and whether that is less than its share."""
    if not wait.seconds or not (wait.of_finding or wait.waited_for or wait.seconds >= max(longest / 8, _REST)):
        return 0, False
    share = wait.seconds / longest * tallest
    if share > tallest:
        return tallest // 2 if not wait.of_finding else tallest, True
    return (round(share), False) if share >= _LEAST else (0, False)


def _notes(step: Step) -> list[str]:
    said = [*(mark for mark in step.marks if mark not in step.text and mark != "window update"), *step.notes]
    lines = [line for text in said for line in textwrap.wrap(clean(text), _NOTE_SIGNS)]
    return lines if len(lines) <= _MOST_NOTE_LINES else [*lines[: _MOST_NOTE_LINES - 1], "..."]


def _sides(ladder: Ladder, height: int) -> str:
    made: list[str] = []
    for x, side, end in ((_CLIENT, "client", ladder.client), (_SERVER, "server", ladder.server)):
        made.append(_text(x, 16, side.capitalize(), "end", "middle"))
        made.append(_text(x, 31, shorten(clean(end), _END_SIGNS), "dim number", "middle"))
        bottom = height - _FOOT - (_LINE if ladder.left_out else 0)
        made.append(f'<line class="life" x1="{x}" y1="{_HEAD - 6}" x2="{x}" y2="{bottom}"/>')
    made += [_text(_FRAME, 16, "frame", "dim", "end"), _text(_TIME, 16, "time (s)", "dim", "end")]
    return "".join(made)


def _gap(place: _Place) -> str:
    """The wait before a step, and the packets that are not shown."""
    wait, made = place.step.before, list[str]()
    if place.wait:
        kind = "shade" if wait.of_finding else "idle"
        made.append(
            f'<rect class="{kind}" x="{_CLIENT + 1}" y="{place.top}" width="{_SERVER - _CLIENT - 2}" height="{place.wait}"/>'
        )
        if wait.of_finding:
            x = _SERVER - 5 if wait.waited_for == "server" else _CLIENT + 1
            made.append(f'<rect class="bar" x="{x}" y="{place.top}" width="4" height="{place.wait}"/>')
        text = _waited(wait) + (" (drawn shorter)" if place.compressed else "")
        if place.wait >= _LINE - 2:
            made.append(_text(_MIDDLE, place.top + place.wait // 2 + 4, text, "lost" if wait.of_finding else "dim", "middle"))
        else:
            made.append(_text(_NOTES, place.top + place.wait // 2 + 4, text, "lost" if wait.of_finding else "dim", "start"))
    if wait.left_out:
        made.append(_text(_MIDDLE, place.top + place.wait + _LINE - 2, _more(wait.left_out), "dim", "middle"))
    return "".join(made)


def _waited(wait: Wait) -> str:
    length = duration(wait.seconds or 0.0)
    if wait.waited_for:
        return f"{length} until the {wait.waited_for} sends"
    return f"{length} in which nobody waited" if wait.idle else length


def _more(left_out: int) -> str:
    return f"{count(left_out, 'packet')} not shown"


def _arrow(place: _Place, *, several: bool) -> str:
    step, y = place.step, place.y
    begin, end, turn = (_CLIENT, _SERVER, -1) if step.from_client else (_SERVER, _CLIENT, 1)
    again = any(mark.startswith(("retransmission", "keep-alive")) for mark in step.marks)
    classes = " ".join(name for name, set_ in (("proof", step.evidence), ("again", again)) if set_)
    lead = f"{step.connection}: " if several else ""
    label = shorten(lead + clean(step.text or step.flags), _LABEL_SIGNS)
    made = [
        f"<g{f' class={chr(34)}{classes}{chr(34)}' if classes else ''}>",
        _text(_FRAME, y + 4, f"{step.frame}", "number", "end"),
        _text(_TIME, y + 4, f"{step.elapsed:.6f}", "dim number", "end"),
        f'<path class="arrow" d="M{begin - 2 * turn} {y}H{end + 3 * turn}"/>',
        f'<path class="head" d="M{end + turn} {y}l{9 * turn} -4.5v9z"/>',
        _text(_MIDDLE, y - 5, label, "label", "middle"),
    ]
    marks = len([line for line in place.notes if line in step.marks])
    for number, line in enumerate(place.notes):
        made.append(_text(_NOTES, y + 4 + number * _LINE, line, "mark" if number < marks else "note", "start"))
    return "".join([*made, "</g>"])


def _text(x: int, y: int, text: str, kind: str, anchor: str) -> str:
    where = "" if anchor == "start" else f' text-anchor="{anchor}"'
    return f'<text x="{x}" y="{y}" class="{kind}"{where}>{_safe(text)}</text>'


def _safe(text: str) -> str:
    return escape(clean(text))
