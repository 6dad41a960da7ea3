"""Write the statistics of servers for machines: JSON, JSON Lines and CSV."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from wiredoctor.findings import Report
from wiredoctor.report.data import csv
from wiredoctor.report.data.json import ascii_text, report_head, server, write_list
from wiredoctor.report.row_order import Sink

if TYPE_CHECKING:
    from wiredoctor.report.row_choice import Grouping
    from wiredoctor.report.server_statistics import ServerStatistics


def write(report: Report, statistics: Sequence[ServerStatistics], out: Sink, by: Grouping) -> None:
    """Write one JSON object with the list `servers`, each element on a line of its own."""
    out.write(report_head(report))
    write_list(out, "servers", (server(one, by) for one in statistics), last=True)
    out.write(b"}\n")


def write_lines(statistics: Sequence[ServerStatistics], out: Sink, by: Grouping) -> None:
    """Write the statistics of each server as a JSON object on a line of its own."""
    for one in statistics:
        out.write(ascii_text(server(one, by)).encode() + b"\n")


def write_csv(statistics: Sequence[ServerStatistics], out: Sink, by: Grouping) -> None:
    """Write the column names, then one line per group. The lists `names` and `time_lost_by_rule` are one cell each."""
    rows = [_flat(server(one, by)) for one in statistics]
    if rows:
        csv.lines(out, [rows[0].keys()], safe=False)
        csv.lines(out, (row.values() for row in rows))


def _flat(values: dict[str, Any]) -> dict[str, Any]:
    times = {f"server_time_{name}": value for name, value in values["server_time"].items()}
    lost = "; ".join(f"{rule}={seconds}" for rule, seconds in values["time_lost_by_rule"].items())
    streams = {name if name == "streams" else f"stream_{name}": value for name, value in values["streams"].items()}
    flat = {name: value for name, value in values.items() if name != "server_time"}
    return flat | {"names": "; ".join(values["names"]), "time_lost_by_rule": lost} | times | streams
