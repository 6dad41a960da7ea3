"""List connections, one per line: endpoints, bytes, times, how each ended, and a bar that shows when it had exchanges."""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import TextIO

import polars as pl

from wiredoctor.findings import Report
from wiredoctor.report import exchange_times
from wiredoctor.report.capture_clocks import WITHOUT_YEAR
from wiredoctor.report.fields import paint
from wiredoctor.report.row_choice import Order
from wiredoctor.report.row_order import Spool, in_memory
from wiredoctor.report.terminal.lines import LONG
from wiredoctor.report.terminal.lists import CAPTURE, CLOCK, SIGN, TIME, Layout, ListColumn, Row, TextList, bar, endpoint
from wiredoctor.report.terminal.terminal import Terminal
from wiredoctor.report.words import SECOND, duration, size

c = pl.col

HISTORY = (
    "history: one letter for the first packet of each kind, upper case from the client: S SYN, H SYN-ACK, A ACK, D data, F FIN, "
    "R RST, G gap, T retransmission, W zero window"
)
_ENDS = {"fin": "|", "rst": "x", "": ">"}
"""The character at the end of a bar, by the way in which the connection ended."""


def write(
    report: Report, out: TextIO, paper: Terminal, *, spool: Spool = in_memory, relative: bool = False,
    order: Order = Order.time,
) -> None:  # fmt: skip
    """Write one line per connection, in order of ids if `order` is time (see `TextList.write`)."""
    CONNECTIONS.write(report, out, paper, spool, order, relative=relative)


def _round_trip(row: Row, _: Layout) -> str:
    trips = [row[side] for side in ("rtt_client", "rtt_server") if row[side] is not None]
    return duration(sum(trips) / SECOND) if len(trips) == 2 else "-"


def _legend(layout: Layout) -> str:
    color, (lane, busy) = layout.paper.color, _signs(layout)
    ends = f"ends: {_ENDS['fin']} FIN, {paint(_ENDS['rst'], 'bold red', color=color)} RST, {_ENDS['']} open"
    scale = f"  ({layout.scale})" if layout.scale else ""
    return f"{lane} open  {paint(busy, 'green', color=color)} exchanges  {ends}{scale}\n"


def _signs(layout: Layout) -> str:
    """Return the characters of a bar without and with an exchange."""
    return "─█" if layout.paper.unicode else "-#"


def _bars(report: Report, layout: Layout) -> Callable[[Row], str]:
    busy = _busy(report, layout)
    return lambda row: _bar(row, layout, busy.get((row["capture"], row["connection"]), []))


def _busy(report: Report, layout: Layout) -> dict[tuple[str, int], list[tuple[int, int]]]:
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


def _bar(row: Row, layout: Layout, exchanges: list[tuple[int, int]]) -> str:
    """Return a bar that shows when a connection had exchanges; its last character shows how the connection ended."""
    axis, color, (lane, busy) = layout.axes[row["capture"]], layout.paper.color, _signs(layout)
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
        sign, style = (busy, "green") if marked[at] else (lane, "")
        pieces.append(paint(sign * (run - at), style, color=color))
        at = run
    how = row["close"] if row["close"] in _ENDS else ""
    return "".join(pieces) + paint(_ENDS[how], "bold red" if how == "rst" else "", color=color)


CONNECTIONS = TextList(
    "connections",
    "TCP connection",
    lambda report: report.scan_connections,
    lambda report: report.connection_count,
    (
        SIGN,
        CAPTURE,
        ListColumn("id", lambda row, _: str(row["connection"]), 2, is_sized=True),
        CLOCK,
        TIME,
        endpoint("client", rank=2),
        endpoint("server", common="server"),
        ListColumn(
            "exchanges", lambda row, _: f"{row['exchanges']:,}" if row["exchanges"] else "-", 4, ("exchanges",), "exch",
            rank=3, legend="exch: HTTP exchanges", is_sized=True,
        ),
        ListColumn("packets", lambda row, _: f"{row['packets']:,}", 7, ("packets",), rank=10, is_sized=True),
        ListColumn(
            "sent", lambda row, _: size(row["client_bytes"]), 7, ("client_bytes",), rank=4, order=Order.size,
            legend="sent, received: payload bytes of client and server",
        ),
        ListColumn("received", lambda row, _: size(row["server_bytes"]), 8, ("server_bytes",), rank=5, order=Order.size),
        ListColumn("rtt", _round_trip, 7, ("rtt_client", "rtt_server"), rank=8, legend="rtt: round-trip time"),
        ListColumn(
            "duration", lambda row, _: duration((row["end"] - row["start"]) / SECOND),
            lambda at: 11 if at.most["longest"] >= LONG else 7, ("start", "end"), "lasted",
        ),
        ListColumn("protocol", lambda row, _: row["protocol"], 8, ("protocol",), right=False, rank=11, common="protocol"),
        ListColumn(
            "history", lambda row, _: row["history"], lambda at: max(7, at.most["history"]), ("history",), right=False, rank=9,
            legend=HISTORY,
        ),
        ListColumn(
            "close", lambda row, _: f"{row['closed_by']} {row['close']}".strip() or "-", 10, ("closed_by", "close"), "closed by",
            right=False, style=lambda row: "bold red" if row["close"] == "rst" else "",
        ),
        bar(18, "start", "end", "close"),
    ),
    bars=_bars,
    legend=_legend,
    measures=lambda _: {
        "begin": c("start").min(),
        "end": c("end").max(),
        "longest": (c("end") - c("start")).max(),
        **{name: c(name).max() for name in ("connection", "packets", "exchanges")},
        **{name: c(name).str.len_chars().max() for name in ("client", "server", "history")},
    },
    derived=lambda _: {"exchange": pl.lit(-1)},
    keys=("connection", "exchange"),
    squeezed={"clock": WITHOUT_YEAR, "bar": 12, "server": 15, "capture": 10},
    given_up="close",  # the character after the bar shows almost the same
)  # fmt: skip
"""The list of connections."""
