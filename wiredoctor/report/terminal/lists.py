"""Declare a list by its columns, and write it: one line per row, with as many columns as fit and a bar on a time axis."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TextIO

import polars as pl

from wiredoctor.findings import Report, Severity
from wiredoctor.report import chosen_rows
from wiredoctor.report.capture_clocks import clocks, has_times_of_day
from wiredoctor.report.columns import Scan, batches
from wiredoctor.report.exchange_times import CaptureEnds, capture_ends
from wiredoctor.report.fields import Field, fitting, footer, no_room, paint, squeeze, width
from wiredoctor.report.row_choice import Order, TableName
from wiredoctor.report.row_order import Ordered, Spool
from wiredoctor.report.terminal.lines import (
    MAX_ENDPOINT,
    MAX_NAME,
    NARROWEST,
    Encoded,
    add_titles,
    clock,
    headings,
    names_of_captures,
    severity_sign,
    signs_explained,
    worst_severities,
    write_opening,
)
from wiredoctor.report.terminal.terminal import Terminal
from wiredoctor.report.terminal.time_axis import TimeAxis
from wiredoctor.report.words import SECOND, count, duration, shorten
from wiredoctor.text.time_of_day import Clock

_MAX_BAR = 80
_KEY = ("capture", "connection", "exchange")

Row = Mapping[str, Any]
Expressions = Callable[[CaptureEnds], Mapping[str, pl.Expr]]


@dataclass(frozen=True)
class Layout:
    """The facts about all rows of a list, and the layout that follows from them.

    `names`: the text that names each capture. `clocks`, `spans`, `axes`: the clock, the first and last time (ns) and the time
    axis of each capture. `ends`: the time of each capture's last packet. `most`: the maximum of each measure and the length
    of the longest text. `lookups`: tables that are joined with the rows. `common`: texts that all lines share, by column.
    `worst`: the worst severity of the findings about each row. `relative`: whether all captures have the same axis, and each bar
    begins at the left end of the axis. `fields`: the columns that are shown, in order. `draw`: draws the bar of a row.
    """

    paper: Terminal
    order: Order
    names: Mapping[str, str]
    clocks: Mapping[str, Clock]
    has_times_of_day: bool
    ends: CaptureEnds
    spans: Mapping[str, tuple[int, int]]
    most: Mapping[str, Any]
    lookups: Sequence[pl.LazyFrame]
    common: Mapping[str, str]
    worst: Mapping[tuple[str, int, int], Severity]
    relative: bool
    fields: Mapping[str, Field] = field(default_factory=dict[str, Field])
    axes: Mapping[str, TimeAxis] = field(default_factory=dict[str, TimeAxis])
    draw: Callable[[Row], str] = lambda _: ""

    @property
    def room(self) -> int:
        """The maximum width of a line in characters."""
        return max(self.paper.width, NARROWEST)

    @property
    def scale(self) -> str:
        """The text "1 character = 3.9 ms"; empty if captures have different scales."""
        steps = {axis.step for axis in self.axes.values()}
        return f"1 character = {duration(steps.pop() / SECOND)}" if len(steps) == 1 else ""


Cell = Callable[[Row, Layout], str]
"""A function that returns the text of a row in one column."""


@dataclass(frozen=True)
class ListColumn:
    """A column of a list.

    `of`: the columns of the table that `cell` reads, or expressions of the list. `width`: the width in characters, or a function
    of the layout's facts; a column of width 0 does not exist. `is_sized`: the column is wider if the maxima of the columns that
    `cell` reads need more room. `rank`: columns with higher ranks are left out first; columns of rank 0 are always shown.
    `order`: the order of lines in which the column is always shown. `common`: the column of the table whose text is written once
    above the list if all lines share it. `legend`: a sentence below the list. `style`: the style of a row's text. `painted`:
    `cell` returns styled text of the right width.
    """

    name: str
    cell: Cell
    width: int | Callable[[Layout], int]
    of: tuple[str, ...] = ()
    heading: str | None = None
    right: bool = True
    rank: int = 0
    order: Order | None = None
    common: str = ""
    legend: str = ""
    style: Callable[[Row], str] | None = None
    painted: bool = False
    is_sized: bool = False

    def field(self, layout: Layout) -> Field:
        """Return heading, width and alignment."""
        size = self.width if isinstance(self.width, int) else self.width(layout)
        size = max(size, len(self.cell(layout.most, layout))) if self.is_sized else size
        return Field(self.name if self.heading is None else self.heading, size, self.right)

    def text(self, row: Row, layout: Layout) -> str:
        """Return the text of a row, shortened, padded and painted."""
        text, shape = self.cell(row, layout), layout.fields[self.name]
        if self.painted:
            return text
        text = shape.pad(shorten(text, shape.width, layout.paper.gap))
        return paint(text, self.style(row), color=layout.paper.color) if self.style else text


def _sign(row: Row, at: Layout) -> str:
    return severity_sign(at.worst.get((row["capture"], row["connection"], row["exchange"])), color=at.paper.color)


def _name_width(at: Layout) -> int:
    return min(max(7, *map(len, at.names.values())), MAX_NAME) if at.names else 0


def _clock_width(at: Layout) -> int:
    return max([11, *(one.width for one in at.clocks.values())]) if at.has_times_of_day else 0


def endpoint(name: str, *, rank: int = 0, common: str = "") -> ListColumn:
    """Return a column of clients or servers."""

    def size(at: Layout) -> int:
        return min(max(6, at.most[name]), MAX_ENDPOINT)

    return ListColumn(name, lambda row, _: row[name] or "", size, (name,), right=False, rank=rank, common=common)


SIGN = ListColumn("sign", _sign, 1, heading="", painted=True)
CAPTURE = ListColumn("capture", lambda row, at: at.names[row["capture"]], _name_width, right=False)
CLOCK = ListColumn(
    "clock", lambda row, at: at.clocks[row["capture"]].at(row["start"])[-at.fields["clock"].width :], _clock_width, ("start",),
    "time of day",
)  # fmt: skip
TIME = ListColumn(
    "time", lambda row, at: clock(row["start"], at.most["end"]), lambda at: max(8, len(clock(at.most["end"], at.most["end"]))),
    ("start",), "time (s)", rank=7,
)  # fmt: skip
"""The seconds since the first packet, which are always shown if the captures have no times of day."""


def bar(least: int, *of: str) -> ListColumn:
    """Return the column of bars, which every list has as its last column. `least`: its minimum width in characters."""
    return ListColumn("bar", lambda row, at: at.draw(row), least, of, right=False, painted=True)


@dataclass(frozen=True)
class TextList:
    """A list with one line per row of a table.

    `scan`, `count`: return the rows and their number. `bars`: returns the function that draws the bars. `measures`: expressions
    of which the layout knows the maximum. Among them are `longest` and, for the span of each capture's axis, `begin` and `end`.
    `derived`: expressions for columns that the table does not have. `keys`: two columns by which lines are sorted. `lookups`:
    returns tables with keys and texts, which are joined with the rows. `squeezed`: the minimum widths of columns that become
    narrower if there is not enough room. `given_up`: a column of rank 0 that is left out if this does not help. `longer_bar`: the
    number of characters that optional columns leave the bar beyond its minimum width. `preferred`: an optional column that takes
    these characters, too. `together`: columns that are shown all or not at all. `growing`: a column that shares spare room with
    the bar. `axis`: returns the length (ns) of the axis of relative bars. `closing`: returns the sentences below the list after
    the number of rows.
    """

    table: TableName
    noun: str
    scan: Callable[[Report], Scan]
    count: Callable[[Report], int]
    columns: Sequence[ListColumn]
    bars: Callable[[Report, Layout], Callable[[Row], str]]
    legend: Callable[[Layout], str]
    measures: Expressions
    derived: Expressions
    keys: tuple[str, str]
    squeezed: Mapping[str, int]
    given_up: str
    lookups: Callable[[Report], Sequence[pl.LazyFrame]] = lambda _: ()
    longer_bar: int = 0
    preferred: str = ""
    together: frozenset[str] = frozenset()
    growing: str = ""
    axis: Callable[[Mapping[str, Any]], int] = lambda most: most["longest"]
    closing: Callable[[Layout, list[str]], list[str]] = lambda _, sentences: sentences

    def write(
        self, report: Report, out: TextIO, paper: Terminal, spool: Spool, order: Order, *, relative: bool,
        notes: Sequence[str] = (),
    ) -> None:  # fmt: skip
        """Write one line per row.

        If `order` is time, captures follow one another. Otherwise, the rows of all captures are sorted together. `relative`: draw
        each bar from the start of its row. Bars are also drawn like this if the rows of several captures are sorted together.
        `notes`: sentences below the number of rows.
        """
        facts = self._facts(report, paper, order, relative=relative)
        if facts is None:
            out.write(f"No {self.noun} was seen.\n")
            return
        layout, missing = self._lay_out(facts)
        layout = replace(layout, draw=self.bars(report, layout))
        write_opening(report, out, layout.common, self.legend(layout), layout.room)
        lines = Ordered(spool)
        titles = {name: headings(layout.fields, axis, color=paper.color) for name, axis in layout.axes.items()}
        self._add(lines, report, layout, add_titles(lines, report, titles, paper, together=bool(layout.names)))
        lines.write(Encoded(out))
        legends = [column.legend for column in self.columns if column.legend and column.name in layout.fields]
        closing = self.closing(layout, [*signs_explained(layout.worst.values()), *legends])
        out.write(footer([count(self.count(report), self.noun), *notes, *closing, *missing], layout.room))

    def _facts(self, report: Report, paper: Terminal, order: Order, *, relative: bool) -> Layout | None:
        """Return a layout with all facts, but without columns and axes; None if the table has no rows."""
        ends, names, lookups = capture_ends(report), names_of_captures(report, order), self.lookups(report)
        rows = self.scan(report)().group_by("capture").agg(**self.measures(ends)).collect()
        if not rows.height:
            return None
        most = {name: value or 0 for name, value in rows.select(pl.exclude("capture").max()).row(0, named=True).items()}
        for lookup in lookups:
            lengths = lookup.select(pl.exclude(_KEY).str.len_chars().max()).collect().row(0, named=True)
            most |= {name: length or 0 for name, length in lengths.items()}
        return Layout(
            paper, order, names, clocks(report), has_times_of_day(report), ends,
            {name: (begin, end) for name, begin, end in rows.select("capture", "begin", "end").iter_rows()},
            most, lookups, self._common_texts(report, lookups), worst_severities(report, self.table), relative or bool(names),
        )  # fmt: skip

    def _common_texts(self, report: Report, lookups: Sequence[pl.LazyFrame]) -> dict[str, str]:
        """Return the texts that all lines have in common, by column; empty if there is only one line."""
        if self.count(report) < 2:
            return {}
        shared = {column.name: column.common for column in self.columns if column.common}
        rows = _joined(self.scan(report)(), _read_lookups(lookups, [*shared.values()]))
        texts = rows.select(pl.col(of).alias(name) for name, of in shared.items())
        counted = texts.select(pl.all().n_unique().name.suffix("_count"), pl.all().first()).collect().row(0, named=True)
        return {name: counted[name] or "" for name in shared if counted[f"{name}_count"] == 1}

    def _lay_out(self, facts: Layout) -> tuple[Layout, list[str]]:
        """Return the layout with columns and axes, and sentences about columns that do not fit."""
        base: dict[str, Field] = {}
        optional: dict[str, Field] = {}
        every = {column.name: column for column in self.columns if column.name not in facts.common and column.field(facts).width}
        for column in sorted(every.values(), key=lambda column: column.rank):
            needed = column.order is facts.order or (column is TIME and not facts.has_times_of_day)
            (base if needed or not column.rank else optional)[column.name] = column.field(facts)
        squeeze(base, self.squeezed, facts.room)
        if self.given_up in base and width([*base.values()]) > facts.room:
            optional[self.given_up] = base.pop(self.given_up)
        shown = self._fitting(base, optional, facts.room)
        fields, most = base | {name: optional[name] for name in shown}, facts.most
        spare = max(0, facts.room - width([*fields.values()]))
        if grown := fields.get(self.growing):
            more = min(max(0, most[self.growing] - grown.width), spare // 2)
            fields[self.growing], spare = replace(grown, width=grown.width + more), spare - more
        bar = min(base["bar"].width + spare, _MAX_BAR)
        fields["bar"] = replace(base["bar"], width=bar)  # keep space for the character after a bar
        spans = dict.fromkeys(facts.spans, (0, self.axis(most))) if facts.relative else facts.spans
        axes = {name: TimeAxis.spanning(begin, end, bar - 1) for name, (begin, end) in spans.items()}
        left = [optional[name].heading for name in optional if name not in shown]
        ordered = {name: fields[name] for name in every if name in fields}
        return replace(facts, fields=ordered, axes=axes), [no_room(left)] if left else []

    def _fitting(self, base: Mapping[str, Field], optional: Mapping[str, Field], room: int) -> list[str]:
        """Return the names of the optional columns to show: as many as fit beside a readable bar, in the order of `optional`."""
        first = [name for name in optional if name == self.preferred]
        if len(fitting([*base.values()], [optional[name] for name in first], room)) < len(first):
            return []
        bar = Field("", self.longer_bar - 1)
        rest = [name for name in optional if name not in first]
        beside = [*base.values(), *(optional[name] for name in first), bar]
        shown = first + rest[: len(fitting(beside, [optional[name] for name in rest], room))]
        return shown if self.together <= {*shown} else [name for name in shown if name not in self.together]

    def _add(self, lines: Ordered, report: Report, layout: Layout, places: Mapping[str, int]) -> None:
        """Add the lines batch by batch. Only what the columns that are shown read becomes Python objects."""
        shown, derived = [column for column in self.columns if column.name in layout.fields], self.derived(layout.ends)
        needed = [*dict.fromkeys([*_KEY, *self.keys, *(name for column in shown for name in column.of)])]
        place = pl.col("capture").replace_strict(places, default=len(places), return_dtype=pl.Int64)
        rank = pl.lit(0, pl.Int64)
        if layout.order is not Order.time:
            rank = chosen_rows.rank(self.table, layout.order, layout.ends, chosen_rows.is_faulty(report))
        values = [place.alias("_place"), rank.alias("_rank"), *(derived.get(name, pl.col(name)).alias(name) for name in needed)]
        scan, keys = self.scan(report), ["_place", "_rank", *self.keys]
        read = {name for value in values for name in value.meta.root_names()} & {*scan().collect_schema()}
        lookups = [one.collect().lazy() for one in _read_lookups(layout.lookups, needed)]
        for batch in batches(scan, sorted(read)):
            rows = _joined(batch.lazy(), lookups).select(values).collect().sort(keys)
            texts = (" ".join([column.text(row, layout) for column in shown]) for row in rows.iter_rows(named=True))
            text = "".join([f"{line.rstrip()}\n" for line in texts])
            lines.add(tuple(rows.get_column(key).to_numpy() for key in keys), text.encode("utf-8", "backslashreplace"))


def _read_lookups(lookups: Sequence[pl.LazyFrame], names: Sequence[str]) -> list[pl.LazyFrame]:
    """Return the lookups that have one of the columns `names`, apart from keys."""
    return [one for one in lookups if ({*one.collect_schema()} - {*_KEY}) & {*names}]


def _joined(rows: pl.LazyFrame, lookups: Sequence[pl.LazyFrame]) -> pl.LazyFrame:
    """Return the rows in their order with the columns of the lookups, which are null in rows without a match."""
    for lookup in lookups:
        keys = [name for name in _KEY if name in lookup.collect_schema()]
        rows = rows.join(lookup, on=keys, how="left", maintain_order="left")
    return rows
