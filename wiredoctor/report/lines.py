"""Tables of a line per row for people: as many columns as fit, colour by hand because there may be a million lines."""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TextIO

import numpy as np

from wiredoctor.report.ordered import Ordered
from wiredoctor.report.words import clean
from wiredoctor.tables import NEVER

if TYPE_CHECKING:
    from wiredoctor.findings import Report

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


class Encoded:
    """Bytes -> text: lines are kept encoded while they wait to be sorted. A piece may end anywhere."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._decoder = codecs.getincrementaldecoder("utf-8")()

    def write(self, piece: bytes) -> None:
        """Writes what is complete of it."""
        self._out.write(self._decoder.decode(piece))


def add_titles(lines: Ordered, report: Report, headings: str) -> dict[str, int]:
    """The line of headings above each capture, with the capture's name where there are several; says the captures' places."""
    places = {name: place for place, name in enumerate(dict.fromkeys(c.file for c in report.captures))}
    for name, place in places.items():
        title = f"{clean(name)}\n{headings}\n" if len(places) > 1 else f"{headings}\n"
        above = np.full(title.count("\n"), NEVER)
        lines.add((np.full(len(above), place), above, above), title.encode("utf-8", "backslashreplace"))
    return places
