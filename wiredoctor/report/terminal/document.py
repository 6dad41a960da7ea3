"""Write a page of headings, lines and tables as text or as Markdown. All texts are escaped in this module."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import NamedTuple, TextIO

from wiredoctor.findings import Severity
from wiredoctor.report.row_order import Sink
from wiredoctor.report.terminal.markdown import MAX_BYTES, escape_markdown
from wiredoctor.report.terminal.terminal import MAX_PROSE, SEVERITY_STYLE, Terminal, TerminalWriter
from wiredoctor.report.words import clean, shorten

MAX_ROWS = 20
"""The maximum number of rows of a table in a page for people, unless all rows are requested."""

_LEAST_COLUMN = 16
_FULL = "\n(The rest does not fit and was omitted.)\n"


class Title(NamedTuple):
    """The summary of the page, in one sentence."""

    text: str


class Heading(NamedTuple):
    """The heading of a part of the page."""

    text: str


class Line(NamedTuple):
    """One or more sentences. `severity`: a word written before them. `below`: further lines about the same subject."""

    text: str
    severity: Severity | None = None
    below: tuple[str, ...] = ()


class Grid(NamedTuple):
    """A table. The first column is text, aligned left and shortened if necessary; the other columns are numbers."""

    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


Part = Title | Heading | Line | Grid


def limited_lines(lines: Iterable[Line], number: int, most: int, *, everything: bool) -> Iterator[Line]:
    """Yield the first `most` of `number` lines, and a line that counts the others; with `everything`, yield all lines."""
    shown = number if everything else min(number, most)
    yield from islice(lines, shown)
    yield from line_about_others(number - shown)


def line_about_others(number: int) -> Iterator[Line]:
    """Yield a line that counts the lines or rows that the page leaves out, if there are any."""
    if number:
        yield Line(f"{number:,} more; --all shows them.")


def write_text(parts: Iterable[Part], out: TextIO, paper: Terminal) -> None:
    """Write the page for a terminal."""
    writer = TerminalWriter(out, paper)
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
            for row, line in enumerate(_table_lines(part, writer.width - 2, paper)):
                writer.unbroken((line, "" if row else "dim"), indent=2)


def _line(writer: TerminalWriter, line: Line) -> None:
    if line.severity is None:
        writer.paragraph(line.text, indent=2, hang=2)
    else:
        label = line.severity.upper().ljust(9)
        writer.paragraph((label, SEVERITY_STYLE[line.severity]), line.text, indent=2, hang=len(label))
    for text in line.below:
        writer.paragraph(text, indent=11 if line.severity else 4, hang=2)


def _table_lines(grid: Grid, room: int, paper: Terminal) -> Iterator[str]:
    """Yield the lines of a table, headings first. If the table is too wide, each row becomes several lines."""
    rows = [tuple(clean(cell) for cell in row) for row in (grid.headings, *grid.rows)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(grid.headings))]
    least = min(widths[0], _LEAST_COLUMN)
    between = next((gap for gap in (2, 1) if least + sum(widths[1:]) + gap * (len(widths) - 1) <= room), None)
    if between is None:
        yield from _stacked_rows(rows, room, paper)
        return
    rest = sum(widths[1:]) + between * (len(widths) - 1)
    widths[0] = min(widths[0], max(_LEAST_COLUMN, room - rest), MAX_PROSE)
    for first, *others in rows:
        cells = [shorten(first, widths[0], paper.gap).ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)]
        yield (" " * between).join(cells).rstrip()


def _stacked_rows(rows: list[tuple[str, ...]], room: int, paper: Terminal) -> Iterator[str]:
    """Yield each row as several lines: its first cell, then one line for each other cell, with heading and text."""
    headings, *others = rows
    yield shorten(headings[0], room, paper.gap)
    widest = max(map(len, headings[1:]), default=0)
    for first, *cells in others:
        yield shorten(first, room, paper.gap)
        for heading, cell in zip(headings[1:], cells, strict=True):
            yield shorten(f"  {heading.ljust(widest)}  {cell}", room, paper.gap)


def write_markdown(parts: Iterable[Part], out: Sink) -> None:
    """Write the page as GitHub Flavored Markdown in UTF-8. Omit everything beyond the maximum size of a comment."""
    room = MAX_BYTES - len(_FULL)
    before: type[Part] | None = None
    for part in parts:
        gap = "\n" if before not in (None, Line) or not isinstance(part, Line) else ""
        text = (gap if before else "") + "\n".join(_markdown_lines(part)) + "\n"
        data = text.encode("utf-8", "backslashreplace")
        room -= len(data)
        if room < 0:
            out.write(_FULL.encode())
            return
        out.write(data)
        before = type(part)


def _markdown_lines(part: Part) -> Iterator[str]:
    if isinstance(part, Title):
        yield f"## wiredoctor: {escape_markdown(part.text)}"
    elif isinstance(part, Heading):
        yield f"### {escape_markdown(part.text)}"
    elif isinstance(part, Line):
        yield f"- {f'**{part.severity.upper()}** ' if part.severity else ''}{_list_item(part.text)}"
        yield from (f"  - {_list_item(text)}" for text in part.below)
    else:
        yield _row(part.headings)
        yield _row(("---", *["--:"] * (len(part.headings) - 1)), plain=True)
        yield from map(_row, part.rows)


def _list_item(text: str) -> str:
    """Escape the text of a list item.

    Return an invisible placeholder for "", because an empty item would turn the line above into a heading.
    """
    return escape_markdown(text) or "&#8203;"


def _row(cells: tuple[str, ...], *, plain: bool = False) -> str:
    return f"| {' | '.join(cells if plain else map(escape_markdown, cells))} |"
