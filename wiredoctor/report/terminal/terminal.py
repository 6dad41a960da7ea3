"""What text is written on: a width, colour or none, and the signs that the reader's encoding has."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple, TextIO

from wiredoctor.report.words import clean

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

SEVERITY_STYLE = {"error": "bold red", "warning": "bold yellow", "note": "bold cyan"}

LEAST_WIDTH = 40
"""Below this many columns lines are left to the terminal to break."""

MOST_PROSE = 110
"""Columns of text: longer lines are hard to read on. Drawings and tables may be wider."""

_QUANTITY = re.compile(
    r"(?<= x) (?=[0-9])|"
    r"(?<=[0-9]) (?=(?:ns|us|ms|s|min|h|d|B|[kMGTPE]B|bytes?|packets?|UTC|%)(?![\w/]))|(?<= -[A-Za-z]) (?=[0-9])"
)

_TIED = "\ue000"
"""Stands for a space at which no line may end. Not a character of any text here: `clean` escapes it."""


class Paper(NamedTuple):
    """How to write: columns, whether with colour, whether beyond ASCII."""

    width: int = 100
    color: bool = False
    unicode: bool = False

    @property
    def bar(self) -> str:
        """Fills a bar."""
        return "━" if self.unicode else "="

    @property
    def gap(self) -> str:
        """Stands for what was cut out."""
        return "…" if self.unicode else "..."

    @property
    def line(self) -> str:
        """Joins two frames of a proof."""
        return "│" if self.unicode else "|"


def _raise_broken_pipe() -> None:
    """Replace Rich's answer to a closed pipe: it exits with 1, the code of --fail-on."""
    raise BrokenPipeError


class Writer:
    """Paragraphs on paper. Everything is `rich.text.Text`, never markup, so that text from packets cannot give orders."""

    def __init__(self, out: TextIO, paper: Paper) -> None:
        from rich.console import Console

        self.paper = paper
        self.width = max(paper.width, LEAST_WIDTH)
        self._console: Console = Console(
            file=out,
            width=self.width,
            color_system="standard" if paper.color else None,
            force_terminal=paper.color,
            no_color=not paper.color,
            markup=False,
            highlight=False,
            emoji=False,
            legacy_windows=False,
        )
        self._console.on_broken_pipe = _raise_broken_pipe

    def blank(self) -> None:
        """An empty line."""
        self._console.file.write("\n")

    def paragraph(self, *parts: str | tuple[str, str], indent: int = 0, hang: int = 0) -> None:
        """Text, or (text, style), one after the other, wrapped; lines after the first are indented by `hang` more.

        No line ends between a number and its unit, or between an option and its number.
        """
        text = _assemble(parts)
        text.plain = _QUANTITY.sub(_TIED, text.plain)
        for number, line in enumerate(self._wrapped(text, min(self.width, MOST_PROSE) - indent, hang)):
            line.plain = line.plain.replace(_TIED, " ")
            line.rstrip()
            line.pad_left(indent + (hang if number else 0))
            self._console.print(line, soft_wrap=True)

    def unbroken(self, *parts: str | tuple[str, str], indent: int = 0) -> None:
        """One line that is not wrapped, because somebody will copy it: an address, a filter, a drawing."""
        line = _assemble(parts)
        line.pad_left(indent)
        self._console.print(line, soft_wrap=True)

    def _wrapped(self, text: Text, width: int, hang: int) -> list[Text]:
        """The first line over the full width, the rest over what the hanging indent leaves."""
        lines = list(text.wrap(self._console, width))
        if not hang or len(lines) < 2:
            return lines
        first = lines[0]
        first.rstrip()
        start = len(first) + len(text.plain[len(first) :]) - len(text.plain[len(first) :].lstrip())
        return [first, *text[start:].wrap(self._console, width - hang)]


def _assemble(parts: tuple[str | tuple[str, str], ...]) -> Text:
    from rich.text import Text

    return Text.assemble(*(_line(p) if isinstance(p, str) else (_line(p[0]), p[1]) for p in parts))


def _line(text: str) -> str:
    return clean(text.replace("\n", " "))
