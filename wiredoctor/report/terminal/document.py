"""A page of headings, lines and tables, told once and written as text or as Markdown. Every text is made safe here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple, TextIO

from wiredoctor.report.ordered import Sink
from wiredoctor.report.terminal.markdown import MOST_BYTES, escaped
from wiredoctor.report.terminal.terminal import MOST_PROSE, SEVERITY_STYLE, Paper, Writer
from wiredoctor.report.words import clean, shorten

if TYPE_CHECKING:
    from wiredoctor.findings import Severity

MOST_ROWS = 20
"""Rows of a table that a page for people has unless it is asked for all."""

_LEAST_COLUMN = 16
_FULL = "\n(The rest has no room here.)\n"


class Title(NamedTuple):
    """What the whole page says, in a sentence."""

    text: str


class Heading(NamedTuple):
    """Above a part of the page."""

    text: str


class Line(NamedTuple):
    """A sentence, or a few. `severity` stands before it, `below` are lines that belong to it."""

    text: str
    severity: Severity | None = None
    below: tuple[str, ...] = ()


class Grid(NamedTuple):
    """A table. The first column is text on the left, and gives way where there is no room; the others are numbers."""

    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


Part = Title | Heading | Line | Grid


def write_text(parts: Iterable[Part], out: TextIO, paper: Paper) -> None:
    """The page for a terminal."""
    writer = Writer(out, paper)
    for number, part in enumerate(parts):
        if isinstance(part, Title):
            writer.paragraph((part.text, "bold"))
        elif isinstance(part, Heading):
            if number:
                writer.blank()
            writer.paragraph((part.text, "bold"))
        elif isinstance(part, Line):
            _line(writer, part)
        else:
            for row, line in enumerate(_aligned(part, writer.width - 2, paper)):
                writer.unbroken((line, "" if row else "dim"), indent=2)


def _line(writer: Writer, line: Line) -> None:
    if line.severity is None:
        writer.paragraph(line.text, indent=2, hang=2)
    else:
        label = line.severity.upper().ljust(9)
        writer.paragraph((label, SEVERITY_STYLE[line.severity]), line.text, indent=2, hang=len(label))
    for text in line.below:
        writer.paragraph(text, indent=11 if line.severity else 4, hang=2)


def _aligned(grid: Grid, room: int, paper: Paper) -> Iterator[str]:
    """The lines of a table; the first has the headings. Where it has no room as a table, its rows stand below each other."""
    rows = [tuple(clean(cell) for cell in row) for row in (grid.headings, *grid.rows)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(grid.headings))]
    least = min(widths[0], _LEAST_COLUMN)
    between = next((gap for gap in (2, 1) if least + sum(widths[1:]) + gap * (len(widths) - 1) <= room), None)
    if between is None:
        yield from _stacked(rows, room, paper)
        return
    rest = sum(widths[1:]) + between * (len(widths) - 1)
    widths[0] = min(widths[0], max(_LEAST_COLUMN, room - rest), MOST_PROSE)
    for first, *others in rows:
        cells = [shorten(first, widths[0], paper.gap).ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)]
        yield (" " * between).join(cells).rstrip()


def _stacked(rows: list[tuple[str, ...]], room: int, paper: Paper) -> Iterator[str]:
    """Each row as lines of their own, a heading and what is below it in the table."""
    headings, *others = rows
    yield shorten(headings[0], room, paper.gap)
    widest = max(map(len, headings[1:]), default=0)
    for first, *cells in others:
        yield shorten(first, room, paper.gap)
        for heading, cell in zip(headings[1:], cells, strict=True):
            yield shorten(f"  {heading.ljust(widest)}  {cell}", room, paper.gap)


def write_markdown(parts: Iterable[Part], out: Sink) -> None:
    """The page as GitHub Flavored Markdown, in UTF-8; what a comment has no room for is left out."""
    room = MOST_BYTES - len(_FULL)
    before: type[Part] | None = None
    for part in parts:
        gap = "\n" if before not in (None, Line) or not isinstance(part, Line) else ""
        text = (gap if before else "") + "\n".join(_marked(part)) + "\n"
        data = text.encode("utf-8", "backslashreplace")
        room -= len(data)
        if room < 0:
            out.write(_FULL.encode())
            return
        out.write(data)
        before = type(part)


def _marked(part: Part) -> Iterator[str]:
    if isinstance(part, Title):
        yield f"## wiredoctor: {escaped(part.text)}"
    elif isinstance(part, Heading):
        yield f"### {escaped(part.text)}"
    elif isinstance(part, Line):
        yield f"- {f'**{part.severity.upper()}** ' if part.severity else ''}{_said(part.text)}"
        yield from (f"  - {_said(text)}" for text in part.below)
    else:
        yield _row(part.headings)
        yield _row(("---", *["--:"] * (len(part.headings) - 1)), plain=True)
        yield from map(_row, part.rows)


def _said(text: str) -> str:
    """A sign of a list with nothing behind it would underline what is above, which makes a heading of that."""
    return escaped(text) or "&#8203;"


def _row(cells: tuple[str, ...], *, plain: bool = False) -> str:
    return f"| {' | '.join(cells if plain else map(escaped, cells))} |"
