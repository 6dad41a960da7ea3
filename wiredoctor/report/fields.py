"""Tables of a line per row for people: as many columns as fit, colour by hand because there may be a million lines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

_STYLES = {
    "": "",
    "bold": "1",
    "dim": "2",
    "red": "31",
    "green": "32",
    "yellow": "33",
    "blue": "34",
    "magenta": "35",
    "cyan": "36",
}


def paint(text: str, style: str, *, color: bool) -> str:
    """Text in a style of the terminal's own palette (ECMA-48 SGR)."""
    return f"\x1b[{_STYLES[style]}m{text}\x1b[0m" if color and style and text else text


@dataclass(frozen=True)
class Field:
    """A column: its heading, its width, and whether numbers stand at its right edge."""

    heading: str
    width: int
    right: bool = True

    def fit(self, text: str) -> str:
        """The text at the width of the column; what is longer sticks out rather than lie."""
        return text.rjust(self.width) if self.right else text.ljust(self.width)


def heading(fields: Sequence[Field]) -> str:
    """The line of headings."""
    return " ".join(f.fit(f.heading) for f in fields).rstrip()


def width(fields: Sequence[Field]) -> int:
    """Of all columns with one space between them."""
    return sum(f.width for f in fields) + len(fields) - 1
