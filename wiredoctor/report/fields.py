"""Format tables with one line per row for people. There may be a million rows, so colors are added as plain escape sequences."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

_STYLES = {
    "": "",
    "bold": "1",
    "bold red": "1;31",
    "bold yellow": "1;33",
    "bold cyan": "1;36",
    "dim": "2",
    "red": "31",
    "green": "32",
    "yellow": "33",
    "blue": "34",
    "magenta": "35",
    "cyan": "36",
}


def paint(text: str, style: str, *, color: bool) -> str:
    """Return text in a style of the terminal's palette (ECMA-48 SGR)."""
    return f"\x1b[{_STYLES[style]}m{text}\x1b[0m" if color and style and text else text


@dataclass(frozen=True)
class Field:
    """A column: its heading, its width, and whether it is aligned right."""

    heading: str
    width: int
    right: bool = True

    def pad(self, text: str) -> str:
        """Pad text to the width of the column. Longer text is not cut."""
        return text.rjust(self.width) if self.right else text.ljust(self.width)


def heading(fields: Sequence[Field]) -> str:
    """Return the headings of the columns as one line, each as wide as its column."""
    return " ".join(f.pad(f.heading) for f in fields).rstrip()


def width(fields: Sequence[Field]) -> int:
    """Return the total width of the columns in characters, with one space between neighbors."""
    return sum(f.width for f in fields) + len(fields) - 1


def fitting(fixed: Sequence[Field], optional: Sequence[Field], room: int) -> list[Field]:
    """Return as many of the optional columns, in order, as fit beside the fixed columns in `room` characters."""
    shown: list[Field] = []
    for one in optional:
        if width([*fixed, *shown, one]) > room:
            break
        shown.append(one)
    return shown


def squeeze(fields: dict[str, Field], least: Mapping[str, int], room: int) -> None:
    """Make the columns in `least` narrower, one after the other, until all columns fit in `room` characters.

    `least`: the minimum width by column. `fields` is changed in place.
    """
    for name, size in least.items():
        if name in fields and (excess := width([*fields.values()]) - room) > 0:
            fields[name] = replace(fields[name], width=min(fields[name].width, max(size, fields[name].width - excess)))


def footer(sentences: Sequence[str], room: int) -> str:
    """Return sentences as lines below a table. Each sentence begins a new line and is wrapped at `room` characters."""
    return "".join(line + "\n" for one in sentences for line in textwrap.wrap(one, room, break_on_hyphens=False))


def no_room(columns: Sequence[str]) -> str:
    """Return a sentence that says that a table has no room for `columns`."""
    return f"No room for the column{'s' * (len(columns) > 1)} {', '.join(columns)}: set COLUMNS or use --format json."
