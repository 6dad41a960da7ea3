"""List connections, one per line: endpoints, bytes, times, how each ended, and a bar that shows when it had exchanges."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, TextIO

import polars as pl

from wiredoctor.findings import Report
from wiredoctor.report import chosen_rows, exchange_times
from wiredoctor.report.capture_clocks import WITHOUT_YEAR, clocks, has_times_of_day
from wiredoctor.report.columns import batches
from wiredoctor.report.fields import Field, fitting, footer, no_room, paint, squeeze, width
from wiredoctor.report.row_choice import Order
from wiredoctor.report.row_order import Ordered, Spool, in_memory
from wiredoctor.report.terminal.lines import (
    LONG,
    MAX_ENDPOINT,
    NARROWEST,
    Encoded,
    add_titles,
    capture_field,
    clock,
    headings,
    names_of_captures,
    severity_sign,
    signs_explained,
    time_of_day_field,
    worst_severities,
    write_opening,
)
from wiredoctor.report.terminal.terminal import Terminal
from wiredoctor.report.terminal.time_axis import TimeAxis
from wiredoctor.report.words import SECOND, count, duration, shorten, size
from wiredoctor.text.time_of_day import Clock

_LEAST_BAR, _MAX_BAR = 18, 80
_SQUEEZED = {"clock": WITHOUT_YEAR, "bar": 12, "server": 15, "capture": 10}
"""The minimum widths of the columns that become narrower if there is not enough room."""

_COLUMNS = [
    *("capture", "connection", "client", "server", "packets", "client_bytes", "server_bytes", "start", "end"),
    *("rtt_client", "rtt_server", "protocol", "history", "closed_by", "close", "exchanges"),
]
HISTORY = (
    "history: one letter for the first packet of each kind, upper case from the client: S SYN, H SYN-ACK, A ACK, D data, F FIN, "
    "R RST, G gap, T retransmission, W zero window"
)
_ENDS = {"fin": "|", "rst": "x", "": ">"}
"""The character at the end of a bar, by the way in which the connection ended."""


@dataclass(frozen=True)
class _Layout:
    """The layout of the list.

    `fields`: the columns in order. `axes`, `clocks`: the time axis and the clock of each capture. `common`: the texts that all
    lines have in common, by column. `relative`: whether all captures have the same axis, and each bar begins at the left end of
    the axis. `latest`: the latest time (ns). `lane`, `busy`: the characters of a bar without and with an exchange. `names`: the
    text that names each capture.
    """

    fields: dict[str, Field]
    axes: Mapping[str, TimeAxis]
    clocks: Mapping[str, Clock]
    common: Mapping[str, str]
    relative: bool
    latest: int
    paper: Terminal
    lane: str
    busy: str
    names: Mapping[str, str]


def write(
    report: Report, out: TextIO, paper: Terminal, *, spool: Spool = in_memory, relative: bool = False,
    order: Order = Order.time,
) -> None:  # fmt: skip
    """Write one line per connection.

    If `order` is time, captures follow one another, each with its connections in order of ids. Otherwise, the connections of all
    captures are sorted together. `relative`: draw each bar from the start of its connection. Bars are also drawn like this if the
    connections of several captures are sorted together.
    """
    names = names_of_captures(report, order)
    made = _layout(report, paper, names, order, relative=relative or bool(names))
    if made is None:
        out.write("No TCP connection was seen.\n")
        return
    layout, missing = made
    room = max(paper.width, NARROWEST)
    worst = worst_severities(report, "connections")
    write_opening(report, out, layout.common, _legend(layout), room)
    lines = Ordered(spool)
    titles = {name: headings(layout.fields, axis, color=paper.color) for name, axis in layout.axes.items()}
    places = add_titles(lines, report, titles, paper, together=bool(names))
    busy = _busy(report, layout)
    for batch in batches(report.scan_connections, _COLUMNS):
        _add(lines, batch, places, layout, order, busy, worst)
    lines.write(Encoded(out))
    closing = [count(report.connection_count, "TCP connection"), *signs_explained(worst.values())]
    closing += [text for name, text in _LEGENDS.items() if name in layout.fields]
    out.write(footer([*closing, *missing], room))


_LEGENDS = {
    "exchanges": "exch: HTTP exchanges",
    "sent": "sent, received: payload bytes of client and server",
    "rtt": "rtt: round-trip time",
    "history": HISTORY,
}


def _layout(
    report: Report, paper: Terminal, names: Mapping[str, str], order: Order, *, relative: bool
) -> tuple[_Layout, list[str]] | None:  # fmt: skip
    """Return the layout, and sentences about columns that do not fit; None if there are no connections.

    The columns with the values by which the list is sorted are always shown.
    """
    facts = _extremes(report.scan_connections())
    if not facts.height:
        return None
    room, (most,) = max(paper.width, NARROWEST), facts.select(pl.exclude("capture").max()).to_dicts()
    known, common = clocks(report), _common_texts(report)
    base, optional = _columns(most, known, names, has_times=has_times_of_day(report))
    for name in common:
        base.pop(name, None)
        optional.pop(name, None)
    if order is Order.size:
        base |= {name: optional.pop(name) for name in ("sent", "received")}
    squeeze(base, _SQUEEZED, room)
    if width([*base.values()]) > room:
        optional["close"] = base.pop("close")  # the character after the bar shows almost the same
    shown = [*optional][: len(fitting([*base.values()], [*optional.values()], room))]
    fields = base | {name: optional[name] for name in shown}
    bar = min(base["bar"].width + max(0, room - width([*fields.values()])), _MAX_BAR)
    fields["bar"] = Field("bar", bar, right=False)  # keep space for the character after a bar
    if relative:
        axes = dict.fromkeys(facts["capture"], TimeAxis.spanning(0, most["longest"], bar - 1))
    else:
        spans = facts.select("capture", "begin", "end").iter_rows()
        axes = {name: TimeAxis.spanning(begin, end, bar - 1) for name, begin, end in spans}
    left = [optional[name].heading for name in optional if name not in shown]
    missing = [no_room(left)] if left else []
    lane, busy = ("─", "█") if paper.unicode else ("-", "#")
    ordered = {name: fields[name] for name in _IN_ORDER if name in fields}
    return _Layout(ordered, axes, known, common, relative, most["end"], paper, lane, busy, names), missing


def _extremes(connections: pl.LazyFrame) -> pl.DataFrame:
    """Return a row for each capture with its first and last time, its largest numbers, and the lengths of its longest texts."""
    return (
        connections.group_by("capture")
        .agg(
            pl.col("start").min().alias("begin"),
            pl.col("end").max(),
            (pl.col("end") - pl.col("start")).max().alias("longest"),
            pl.col("connection", "packets", "exchanges").max(),
            pl.col("client", "server", "history").str.len_chars().max(),
        )
        .collect()
    )


def _columns(
    most: Mapping[str, Any], known: Mapping[str, Clock], names: Mapping[str, str], *, has_times: bool
) -> tuple[dict[str, Field], dict[str, Field]]:  # fmt: skip
    """Return two dictionaries of columns by name: those that are always shown, and those that are shown if there is room.

    `most`: the largest numbers and text lengths in the list. `known`: the clock of each capture. `names`: the text that names
    each capture.
    """
    time = Field("time (s)", max(8, len(clock(most["end"], most["end"]))))
    base = {
        "sign": Field("", 1),
        **capture_field(names),
        "id": Field("id", max(2, len(str(most["connection"])))),
        **({"clock": time_of_day_field(known)} if has_times else {"time": time}),
        "server": Field("server", min(max(6, most["server"] or 0), MAX_ENDPOINT), right=False),
        "duration": Field("lasted", 11 if most["longest"] >= LONG else 7),
        "close": Field("closed by", 10, right=False),
        "bar": Field("bar", _LEAST_BAR, right=False),
    }
    optional = {
        "client": Field("client", min(max(6, most["client"] or 0), MAX_ENDPOINT), right=False),
        "exchanges": Field("exch", max(4, len(f"{most['exchanges']:,}"))),
        "sent": Field("sent", 7),
        "received": Field("received", 8),
        **({"time": time} if has_times else {}),
        "rtt": Field("rtt", 7),
        "history": Field("history", max(7, most["history"] or 0), right=False),
        "packets": Field("packets", max(7, len(f"{most['packets']:,}"))),
        "protocol": Field("protocol", 8, right=False),
    }
    return base, optional


def _common_texts(report: Report) -> dict[str, str]:
    """Return the server and protocol that all lines have in common, by column; empty if there is only one line."""
    if report.connection_count < 2:
        return {}
    columns = pl.col("server", "protocol")
    rows = report.scan_connections().select(columns.n_unique().name.suffix("_count"), columns.first()).collect().to_dicts()[0]
    return {name: rows[name] for name in ("server", "protocol") if rows[f"{name}_count"] == 1}


_IN_ORDER = (
    *(
        "sign",
        "capture",
        "id",
        "clock",
        "time",
        "client",
        "server",
        "exchanges",
        "packets",
        "sent",
        "received",
        "rtt",
        "duration",
    ),
    *("protocol", "history", "close", "bar"),
)


def _legend(layout: _Layout) -> str:
    color, steps = layout.paper.color, {axis.step for axis in layout.axes.values()}
    scale = f"  (1 character = {duration(steps.pop() / SECOND)})" if len(steps) == 1 else ""
    ends = f"ends: {_ENDS['fin']} FIN, {paint(_ENDS['rst'], 'bold red', color=color)} RST, {_ENDS['']} open"
    return f"{layout.lane} open  {paint(layout.busy, 'green', color=color)} exchanges  {ends}{scale}\n"


def _busy(report: Report, layout: _Layout) -> dict[tuple[str, int], list[tuple[int, int]]]:
    """Return the start and end (ns) of exchanges by (capture, connection).

    If several exchanges would be drawn with the same characters, only one of them is returned.
    """
    begin, end = exchange_times.exchange_start(), exchange_times.drawn_until(exchange_times.capture_ends(report))
    steps, origins = (
        pl.col("capture").replace_strict({name: value(axis) for name, axis in layout.axes.items()}, default=default)
        for value, default in ((attrgetter("step"), 1.0), (attrgetter("begin"), 0))
    )
    exchanges = report.scan_exchanges().select("capture", "connection", begin.alias("begin"), end.alias("finish"))
    if layout.relative:
        exchanges = exchanges.join(report.scan_connections().select("capture", "connection", "start"), ["capture", "connection"])
        origins = origins + pl.col("start")
    rows = (
        exchanges.with_columns(
            ((pl.col("begin") - origins) / steps).floor().alias("first"),
            ((pl.col("finish") - origins) / steps).floor().alias("last"),
        )
        .unique(["capture", "connection", "first", "last"])
        .sort("begin")
        .group_by("capture", "connection", maintain_order=True)
        .agg("begin", "finish")
        .collect()
    )
    return {(name, number): [*zip(begins, ends, strict=True)] for name, number, begins, ends in rows.iter_rows()}


def _add(
    lines: Ordered, batch: pl.DataFrame, places: dict[str, int], layout: _Layout, order: Order,
    busy: Mapping[tuple[str, int], list[tuple[int, int]]], worst: Mapping[tuple[str, int, int], Any],
) -> None:  # fmt: skip
    ordered = batch.with_columns(
        _place=pl.col("capture").replace_strict(places, default=len(places), return_dtype=pl.Int64),
        _rank=pl.lit(0, pl.Int64) if order is Order.time else chosen_rows.rank("connections", order, {}),
    ).sort("_place", "_rank", "connection")
    text = "".join(_line(row, layout, busy, worst) for row in ordered.iter_rows(named=True))
    place, rank, ids = (ordered.get_column(c).to_numpy() for c in ("_place", "_rank", "connection"))
    lines.add((place, rank, ids, ids), text.encode("utf-8", "backslashreplace"))


def _line(
    row: dict[str, Any], layout: _Layout, busy: Mapping[tuple[str, int], list[tuple[int, int]]],
    worst: Mapping[tuple[str, int, int], Any],
) -> str:  # fmt: skip
    trips = [row[side] for side in ("rtt_client", "rtt_server") if row[side] is not None]
    place = row["capture"], row["connection"]
    cells = {
        "capture": layout.names.get(row["capture"], ""),
        "sign": severity_sign(worst.get((*place, -1)), color=layout.paper.color),
        "id": str(row["connection"]),
        "time": clock(row["start"], layout.latest),
        "clock": layout.clocks[row["capture"]].at(row["start"]),
        "client": row["client"],
        "server": row["server"],
        "exchanges": f"{row['exchanges']:,}" if row["exchanges"] else "-",
        "packets": f"{row['packets']:,}",
        "sent": size(row["client_bytes"]),
        "received": size(row["server_bytes"]),
        "rtt": duration(sum(trips) / SECOND) if len(trips) == 2 else "-",
        "duration": duration((row["end"] - row["start"]) / SECOND),
        "protocol": row["protocol"],
        "history": row["history"],
        "close": f"{row['closed_by']} {row['close']}".strip() or "-",
    }
    parts: list[str] = []
    for name, field in layout.fields.items():
        if name in ("sign", "bar"):
            parts.append(cells["sign"] if name == "sign" else _bar(row, layout, busy.get(place, [])))
        else:
            style = "bold red" if name == "close" and row["close"] == "rst" else ""
            text = cells[name][-field.width :] if name == "clock" else shorten(cells[name], field.width, layout.paper.gap)
            text = field.pad(text)
            parts.append(paint(text, style, color=layout.paper.color))
    return " ".join(parts).rstrip() + "\n"


def _bar(row: Mapping[str, Any], layout: _Layout, exchanges: list[tuple[int, int]]) -> str:
    """Return a bar that shows when a connection had exchanges; its last character shows how the connection ended."""
    axis, color = layout.axes[row["capture"]], layout.paper.color
    offset = row["start"] if layout.relative else 0
    first, last = axis.cell(row["start"] - offset), axis.cell(row["end"] - offset)
    last = max(first, last)  # the clock of the capture may have been set back in between
    marked = bytearray(last - first + 1)
    for begin, end in exchanges:
        low, high = max(axis.cell(begin - offset), first), min(axis.cell(end - offset), last)
        if low <= high:
            marked[low - first : high - first + 1] = b"\1" * (high - low + 1)
    pieces = [" " * first]
    at = 0
    while at < len(marked):
        run = at
        while run < len(marked) and marked[run] == marked[at]:
            run += 1
        sign, style = (layout.busy, "green") if marked[at] else (layout.lane, "")
        pieces.append(paint(sign * (run - at), style, color=color))
        at = run
    how = row["close"] if row["close"] in _ENDS else ""
    return "".join(pieces) + paint(_ENDS[how], "bold red" if how == "rst" else "", color=color)
