"""Describe the output terminal (its width, colors and characters), and write wrapped text to it."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, BinaryIO, NamedTuple, TextIO

from wiredoctor.report.words import clean
from wiredoctor.text.regex import Regex

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

SEVERITY_STYLE = {"error": "bold red", "warning": "bold yellow", "note": "bold cyan"}

LEAST_WIDTH = 40
"""The minimum width of a terminal for which this module wraps lines. Narrower terminals wrap them by themselves."""

MAX_PROSE = 110
"""The maximum width of text in characters, because longer lines are hard to read; drawings and tables may be wider."""

_QUANTITY = Regex(
    r"(?<= x) (?=[0-9])|(?<= status) (?=[0-9])|(?<=-[0-9]{2}) (?=[0-9]{2}:)|(?<=[a-z]) (?=[0-9][0-9,]*(?:, [a-z]|\.$))|"
    r"(?<=[0-9]) (?=(?:ns|us|ms|s|min|h|d|B|[kMGTPE]B|bytes?|packets?|times|UTC|%)(?![\w/]))|(?<= -[A-Za-z]) (?=[0-9])"
)

_TIED = "\ue000"
"""A placeholder for a space at which a line must not break. `clean` escapes this character in all texts."""


class Terminal(NamedTuple):
    """The properties of the output: its width in characters, and whether it shows color, non-ASCII characters and hyperlinks."""

    width: int = 100
    color: bool = False
    unicode: bool = False
    links: bool = False

    @property
    def bar(self) -> str:
        """The character that fills a bar."""
        return "━" if self.unicode else "="

    @property
    def gap(self) -> str:
        """The characters that replace omitted text."""
        return "…" if self.unicode else "..."

    @property
    def line(self) -> str:
        """The character for the vertical line between two frames of evidence."""
        return "│" if self.unicode else "|"


class TextOutput:
    """A context manager that makes a binary stream accept text.

    The text has the encoding of the terminal. Characters that the encoding lacks are escaped.
    """

    def __init__(self, out: BinaryIO, paper: Terminal) -> None:
        encoding = "utf-8" if paper.unicode else "ascii"
        self.stream = io.TextIOWrapper(out, encoding=encoding, errors="backslashreplace", newline="", write_through=False)

    def __enter__(self) -> TextIO:
        return self.stream

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self.stream.flush()
        self.stream.detach()


def _raise_broken_pipe() -> None:
    """Raise BrokenPipeError for a closed pipe. Rich's own handler would exit with 1, which is the exit code of --fail-on."""
    raise BrokenPipeError


class TerminalWriter:
    """Writes paragraphs. All text is `rich.text.Text`, never markup, so text from packets cannot control the output."""

    def __init__(self, out: TextIO, paper: Terminal) -> None:
        from rich.console import Console

        self.paper = paper
        self.width = max(paper.width, LEAST_WIDTH)
        self.lines = 0
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
        """Write an empty line."""
        self._console.file.write("\n")
        self.lines += 1

    def paragraph(self, *parts: str | tuple[str, str], indent: int = 0, hang: int = 0) -> None:
        """Write wrapped text from strings and (text, style) pairs. Lines after the first are indented by `hang` more characters.

        A line never breaks between a number and its unit, a date and its time, an option and its number, or a rule and its count.
        """
        text = _assemble(parts)
        text.plain = _QUANTITY.sub(_TIED, text.plain)
        for number, line in enumerate(self._wrap(text, min(self.width, MAX_PROSE) - indent, hang)):
            line.plain = line.plain.replace(_TIED, " ")
            line.rstrip()
            line.pad_left(indent + (hang if number else 0))
            self._print(line)

    def unbroken(self, *parts: str | tuple[str, str], indent: int = 0) -> None:
        """Write one line without wrapping it, for text that users copy and for drawings."""
        line = _assemble(parts)
        line.pad_left(indent)
        self._print(line)

    def _print(self, line: Text) -> None:
        self._console.print(line, soft_wrap=True)
        self.lines += 1

    def linked(self, style: str, address: str) -> str:
        """Return the style with a hyperlink to `address`.

        The style is unchanged if `address` is empty or the output has no hyperlinks.
        """
        return f"{style} link {address}" if self.paper.links and address else style

    def _wrap(self, text: Text, width: int, hang: int) -> list[Text]:
        """Return the lines of a text: the first is at most `width` wide, the others at most `width - hang`."""
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
