"""Write long tables line by line; lines are kept encoded until they are sorted."""

from __future__ import annotations

import codecs
import os
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, TextIO

import numpy as np

from wiredoctor.report.fields import Field, paint
from wiredoctor.report.row_choice import Order
from wiredoctor.report.row_order import Ordered
from wiredoctor.report.words import SECOND, clean, shorten
from wiredoctor.tables import NEVER

if TYPE_CHECKING:
    from wiredoctor.findings import Report, Severity
    from wiredoctor.report.row_choice import TableName
    from wiredoctor.report.terminal.terminal import Terminal

SEVERITY_SIGNS: Mapping[str, str] = {"error": "E", "warning": "W", "note": "N"}
"""The sign of the worst finding that a line is part of."""

_SEVERITY_STYLES = {"error": "bold red", "warning": "bold yellow", "note": "bold cyan"}
_MAX_NAME = 24

_FINE_BELOW = 100 * SECOND
"""Times are shown in microseconds if all are shorter, otherwise in milliseconds."""


class Encoded:
    """Decodes sorted lines for a text output; they come in pieces that may end anywhere."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._decoder = codecs.getincrementaldecoder("utf-8")()

    def write(self, piece: bytes) -> None:
        """Write the characters that are complete so far."""
        self._out.write(self._decoder.decode(piece))


def names_of_captures(report: Report, order: Order) -> dict[str, str]:
    """Return the names of captures for a column, without the folders that all have in common.

    It is empty unless rows of several captures are sorted together, which is the case in any order but that of time.
    """
    files = [*dict.fromkeys(one.file for one in report.captures)]
    if order is Order.time or len(files) < 2:
        return {}
    try:
        common = os.path.commonpath([os.path.dirname(file) for file in files])
    except ValueError:  # absolute and relative paths
        common = ""
    return {file: clean(os.path.relpath(file, common) if common else file) for file in files}


def capture_field(names: Mapping[str, str]) -> dict[str, Field]:
    """Return the column for the names of captures; empty without names."""
    return {"capture": Field("capture", min(max(7, *map(len, names.values())), _MAX_NAME), right=False)} if names else {}


def add_titles(
    lines: Ordered, report: Report, headings: Mapping[str, str], keys: int, paper: Terminal, *, together: bool
) -> dict[str, int]:  # fmt: skip
    """Add a title above the lines of each capture, with its name if there are several, or one title above all lines if they are
    sorted `together`; return the position of each capture, which is the most significant key of its lines.

    A capture without headings gets no title. `keys` is the number of keys of a line, including the position of its capture.
    """
    if together:
        title = f"{next(iter(headings.values()))}\n"
        lines.add((np.zeros(1, np.int64), *[np.full(1, NEVER)] * (keys - 1)), title.encode("utf-8", "backslashreplace"))
        return dict.fromkeys((one.file for one in report.captures), 0)
    places = {name: place for place, name in enumerate(dict.fromkeys(c.file for c in report.captures))}
    for name, place in places.items():
        if name not in headings:
            continue
        above = f"{shorten(clean(name), paper.width, paper.gap)}\n" if len(places) > 1 else ""
        title = f"{above}{headings[name]}\n"
        first = np.full(title.count("\n"), NEVER)
        lines.add((np.full(len(first), place), *[first] * (keys - 1)), title.encode("utf-8", "backslashreplace"))
    return places


def common_texts(common: Mapping[str, str]) -> list[str]:
    """Return the line above a table about columns that are left out because all lines have the same text in them."""
    texts = {name: clean(text) for name, text in common.items() if text}
    if texts.get("host") == texts.get("server"):
        texts.pop("host", None)
    parts = [f"{'Host' if name == 'host' else name} {text}" for name, text in texts.items()]
    return [f"The same in all lines: {', '.join(parts)}."] if parts else []


def worst_severities(report: Report, table: TableName) -> dict[tuple[str, int, int], Severity]:
    """Return the worst severity of the findings about each row, by (capture, connection, exchange); -1 for connections."""
    of_exchanges = table == "exchanges"
    worst: dict[tuple[str, int, int], Severity] = {}
    ranks = [*SEVERITY_SIGNS]
    for one in report.findings:
        if one.connection is None or (of_exchanges and one.exchange is None):
            continue
        place = (one.capture, one.connection, one.exchange if of_exchanges and one.exchange is not None else -1)
        if place not in worst or ranks.index(one.severity) < ranks.index(worst[place]):
            worst[place] = one.severity
    scan = report.scan_exchanges if of_exchanges else report.scan_connections
    if scan is None or not worst:
        return {}
    import polars as pl

    keys = {"capture": pl.String(), "connection": pl.Int64(), **({"exchange": pl.Int64()} if of_exchanges else {})}
    places = pl.LazyFrame([place[: len(keys)] for place in worst], keys, orient="row")
    shown = scan().select(pl.col(name).cast(dtype) for name, dtype in keys.items())
    there = places.join(shown, on=[*keys], how="semi").collect().iter_rows()
    return {place: worst[place] for row in there for place in [(row[0], row[1], row[2] if of_exchanges else -1)]}


def severity_sign(severity: str | None, *, color: bool) -> str:
    """Return the character in the first column."""
    return paint(SEVERITY_SIGNS[severity], _SEVERITY_STYLES[severity], color=color) if severity else " "


def signs_explained(severities: Iterable[str]) -> list[str]:
    """Return the sentence that explains the signs of findings, or ""."""
    there = set(severities)
    shown = [name for name in SEVERITY_SIGNS if name in there]
    if not shown:
        return []
    signs, article = ", ".join(SEVERITY_SIGNS[name] for name in shown), "an" if shown[0] == "error" else "a"
    return [f"{signs} = part of {article} {_or(shown)} (wiredoctor analyze explains it)"]


def _or(names: list[str]) -> str:
    return " or ".join(names) if len(names) < 3 else f"{', '.join(names[:-1])} or {names[-1]}"


def clock(nanoseconds: int, longest: int) -> str:
    """Format a time in seconds since the first packet; `longest` is the latest time of the table."""
    digits = 6 if longest < _FINE_BELOW else 3
    return f"{nanoseconds / SECOND:.{digits}f}"
