"""Write long tables line by line. Lines are stored as encoded text until all of them are sorted."""

from __future__ import annotations

import codecs
import os
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, TextIO

import numpy as np
import polars as pl

from wiredoctor.findings import SEVERITIES, Report, Severity
from wiredoctor.report.capture_clocks import zone_line
from wiredoctor.report.fields import Field, footer, heading, paint
from wiredoctor.report.row_choice import Order, TableName
from wiredoctor.report.row_order import Ordered
from wiredoctor.report.terminal.capture_sentences import unordered
from wiredoctor.report.terminal.time_axis import TimeAxis
from wiredoctor.report.words import SECOND, clean, shorten
from wiredoctor.tables import NEVER

if TYPE_CHECKING:
    from wiredoctor.report.terminal.terminal import Terminal

SEVERITY_SIGNS: Mapping[str, str] = {"error": "E", "warning": "W", "note": "N"}
"""The characters that mark lines with findings, by the worst severity of a line's findings."""

_SEVERITY_STYLES = {"error": "bold red", "warning": "bold yellow", "note": "bold cyan"}
MAX_NAME = 24
"""The maximum width in characters of the name of a capture in a column."""

NARROWEST = 80
"""The minimum width of a table in characters, even if the terminal is narrower."""

LONG = 120 * SECOND
"""The minimum duration in ns that may be written with two units, as in "23 h 59 min"."""

MAX_ENDPOINT = 21
"""The width in characters of the longest IPv4 address with a port."""

_FINE_BELOW = 100 * SECOND
"""If the latest time is less than this (ns), times are shown to the microsecond, otherwise to the millisecond."""


class Encoded:
    """Decodes pieces of UTF-8 for a text output. A piece may end within a line, and even within a character."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._decoder = codecs.getincrementaldecoder("utf-8")()

    def write(self, piece: bytes) -> None:
        """Decode a piece and write all characters that are complete."""
        self._out.write(self._decoder.decode(piece))


def names_of_captures(report: Report, order: Order) -> dict[str, str]:
    """Return the text that names each capture in a column: its file name without the folders that all captures share.

    The result is empty if the column is not needed. This is the case if there is only one capture, or if `order` is time, because
    each capture then has its own title.
    """
    files = [*dict.fromkeys(one.file for one in report.captures)]
    if order is Order.time or len(files) < 2:
        return {}
    try:
        common = os.path.commonpath([os.path.dirname(file) for file in files])
    except ValueError:  # some paths are absolute, others relative
        common = ""
    return {file: clean(os.path.relpath(file, common) if common else file) for file in files}


def add_titles(
    lines: Ordered, report: Report, titles: Mapping[str, str], paper: Terminal, *, together: bool
) -> dict[str, int]:  # fmt: skip
    """Add a title above the lines of each capture or, with `together`, one title above the lines of all captures.

    Return the position of each capture among the sorted lines. `titles`: the title of each capture. The name of the capture
    precedes the title if there are several captures. A capture that is not in `titles` gets no title. Every line must have four
    sort keys: the position of its capture and three more.
    """
    if together:
        title = f"{next(iter(titles.values()))}\n"
        lines.add((np.zeros(1, np.int64), *[np.full(1, NEVER)] * 3), title.encode("utf-8", "backslashreplace"))
        return dict.fromkeys((one.file for one in report.captures), 0)
    places = {name: place for place, name in enumerate(dict.fromkeys(c.file for c in report.captures))}
    for name, place in places.items():
        if name not in titles:
            continue
        above = f"{shorten(clean(name), paper.width, paper.gap)}\n" if len(places) > 1 else ""
        title = f"{above}{titles[name]}\n"
        first = np.full(title.count("\n"), NEVER)
        lines.add((np.full(len(first), place), first, first, first), title.encode("utf-8", "backslashreplace"))
    return places


def headings(fields: Mapping[str, Field], axis: TimeAxis, *, color: bool) -> str:
    """Return the line of headings; the heading of the column `bar` is the time axis."""
    shown = {**fields, "bar": Field(axis.heading(), axis.width, right=False)}
    return paint(heading([*shown.values()]), "bold", color=color)


def write_opening(report: Report, out: TextIO, common: Mapping[str, str], legend: str, room: int) -> None:
    """Write the lines above the headings: time zone, captures out of order, what all lines have in common, and the legend."""
    if zone := zone_line(report):
        out.write(f"{zone}\n")
    out.write(footer([*unordered(report.captures), *_common_texts(common)], room))
    out.write(legend)


def _common_texts(common: Mapping[str, str]) -> list[str]:
    """Return a list with one sentence that names the texts common to all lines; an empty list if there are none.

    `common`: the texts by column. The columns themselves are not shown.
    """
    texts = {name: clean(text) for name, text in common.items() if text}
    if texts.get("host") == texts.get("server"):
        texts.pop("host", None)
    parts = [f"{'Host' if name == 'host' else name} {text}" for name, text in texts.items()]
    return [f"The same in all lines: {', '.join(parts)}."] if parts else []


def worst_severities(report: Report, table: TableName) -> dict[tuple[str, int, int], Severity]:
    """Return the worst severity of the findings about each row, by (capture, connection, exchange).

    `exchange` is -1 in the table of connections. Rows without findings are not in the result.
    """
    of_exchanges = table == "exchanges"
    worst: dict[tuple[str, int, int], Severity] = {}
    for one in sorted(report.findings, key=lambda one: SEVERITIES.index(one.severity), reverse=True):  # the worst comes last
        exchange = one.exchange if of_exchanges else -1
        if one.connection is not None and exchange is not None:
            worst[one.capture, one.connection, exchange] = one.severity
    if not worst:
        return {}
    keys = {"capture": pl.String(), "connection": pl.Int64(), "exchange": pl.Int64()}
    scan = report.scan_exchanges() if of_exchanges else report.scan_connections().with_columns(exchange=pl.lit(-1))
    shown = scan.select(pl.col(name).cast(dtype) for name, dtype in keys.items())
    there = pl.LazyFrame([*worst], keys, orient="row").join(shown, on=[*keys], how="semi").collect().iter_rows()
    return {place: worst[place] for place in there}


def severity_sign(severity: str | None, *, color: bool) -> str:
    """Return the character for the worst severity among a line's findings; a space if there are none."""
    return paint(SEVERITY_SIGNS[severity], _SEVERITY_STYLES[severity], color=color) if severity else " "


def signs_explained(severities: Iterable[str]) -> list[str]:
    """Return a list with a sentence that explains the characters for `severities`; an empty list if there are no severities."""
    there = set(severities)
    shown = [name for name in SEVERITY_SIGNS if name in there]
    if not shown:
        return []
    signs, article = ", ".join(SEVERITY_SIGNS[name] for name in shown), "an" if shown[0] == "error" else "a"
    return [f"{signs} = part of {article} {_or(shown)} (wiredoctor analyze explains it)"]


def _or(names: list[str]) -> str:
    return " or ".join(names) if len(names) < 3 else f"{', '.join(names[:-1])} or {names[-1]}"


def clock(nanoseconds: int, longest: int) -> str:
    """Format ns since the first packet as seconds. `longest`: the latest time in the table, which determines the precision."""
    digits = 6 if longest < _FINE_BELOW else 3
    return f"{nanoseconds / SECOND:.{digits}f}"
