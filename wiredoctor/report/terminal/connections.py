"""Every connection on a line: who spoke to whom, how much, how fast, and how it ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TextIO

import polars as pl

from wiredoctor.report.columns import batches
from wiredoctor.report.fields import Field, heading, paint, width
from wiredoctor.report.ordered import Ordered, Spool, in_memory
from wiredoctor.report.terminal.lines import Encoded, add_titles
from wiredoctor.report.terminal.terminal import Paper
from wiredoctor.report.words import count, duration, shorten, size

if TYPE_CHECKING:
    from wiredoctor.findings import Report

_SECOND = 1e9
_LEAST_ENDPOINT = 21
"""An IPv4 address with its port always fits."""

_LEFT_OUT_FIRST = ("packets", "history", "rtt")
_COLUMNS = [
    *("capture", "connection", "client", "server", "packets", "client_bytes", "server_bytes", "start", "end"),
    *("rtt_client", "rtt_server", "protocol", "history", "closed_by", "close"),
]


def write(report: Report, out: TextIO, paper: Paper, *, spool: Spool = in_memory) -> None:
    """A line per connection in the order of their ids."""
    fields = _fields(report, paper)
    if not fields:
        out.write("No TCP connection was seen.\n")
        return
    lines = Ordered(spool)
    places = add_titles(lines, report, paint(heading(list(fields.values())), "bold", color=paper.color))
    for batch in batches(report.scan_connections, _COLUMNS):
        _add(lines, batch, places, fields, paper)
    lines.write(Encoded(out))
    left_out = [name for name in _LEFT_OUT_FIRST if name not in fields]
    out.write(f"{count(report.connection_count, 'TCP connection')}; sent and recvd: payload bytes of client and server\n")
    if left_out:
        out.write(f"No room for {', '.join(left_out)} (COLUMNS or --format json shows them).\n")


def _fields(report: Report, paper: Paper) -> dict[str, Field]:
    """The columns that fit: first long addresses lose their middle, then columns are left out, then all addresses shrink."""
    if report.scan_connections is None:
        return {}
    lengths = report.scan_connections().select(
        pl.col("connection").max(),
        pl.col("packets").max(),
        pl.col("client", "server", "history").str.len_chars().max(),
    )
    last, packets, client, server, history = lengths.collect().row(0)
    if last is None:
        return {}
    fields = {
        "id": Field("id", max(2, len(str(last)))),
        "client": Field("client", client, right=False),
        "server": Field("server", server, right=False),
        "packets": Field("packets", max(7, len(str(packets)))),
        "sent": Field("sent", 6),
        "received": Field("recvd", 6),
        "rtt": Field("rtt", 7),
        "duration": Field("lasted", 7),
        "protocol": Field("proto", 7, right=False),
        "history": Field("history", max(7, history), right=False),
        "close": Field("closed by", 10, right=False),
    }
    room = max(paper.width, 80)
    _shrink(fields, room, _LEAST_ENDPOINT)
    for column in _LEFT_OUT_FIRST:
        if width(list(fields.values())) > room:
            del fields[column]
    _shrink(fields, room, _LEAST_ENDPOINT // 2)
    return fields


def _shrink(fields: dict[str, Field], room: int, least: int) -> None:
    """Takes from the longer of the two endpoints until all fits, or both are down to `least`."""
    while width(list(fields.values())) > room:
        longer = max("client", "server", key=lambda side: fields[side].width)
        if fields[longer].width <= least:
            return
        fields[longer] = Field(longer, fields[longer].width - 1, right=False)


def _add(lines: Ordered, batch: pl.DataFrame, places: dict[str, int], fields: dict[str, Field], paper: Paper) -> None:
    ordered = batch.with_columns(
        _place=pl.col("capture").replace_strict(places, default=len(places), return_dtype=pl.Int64)
    ).sort("_place", "connection")
    text = "".join(_line(row, fields, paper) for row in ordered.iter_rows(named=True))
    place, ids = (ordered.get_column(c).to_numpy() for c in ("_place", "connection"))
    lines.add((place, ids, ids), text.encode("utf-8", "backslashreplace"))


def _line(row: dict[str, Any], fields: dict[str, Field], paper: Paper) -> str:
    trips = [row[side] for side in ("rtt_client", "rtt_server") if row[side] is not None]
    cells = {
        "id": str(row["connection"]),
        "client": shorten(row["client"], fields["client"].width, paper.gap),
        "server": shorten(row["server"], fields["server"].width, paper.gap),
        "packets": str(row["packets"]),
        "sent": size(row["client_bytes"], ""),
        "received": size(row["server_bytes"], ""),
        "rtt": duration(sum(trips) / _SECOND, "") if len(trips) == 2 else "-",
        "duration": duration((row["end"] - row["start"]) / _SECOND, ""),
        "protocol": row["protocol"],
        "history": row["history"],
        "close": f"{row['closed_by']} {row['close']}".strip() or "-",
    }
    return " ".join(field.fit(cells[name]) for name, field in fields.items()).rstrip() + "\n"
