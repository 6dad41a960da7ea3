"""Tables of a line per row that are too long to be kept: lines are encoded while they wait to be sorted."""

from __future__ import annotations

import codecs
from typing import TYPE_CHECKING, TextIO

import numpy as np

from wiredoctor.report.ordered import Ordered
from wiredoctor.report.words import clean
from wiredoctor.tables import NEVER

if TYPE_CHECKING:
    from wiredoctor.findings import Report


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
