"""Collect the data of one side of a comparison from a Report. from_json.py collects the data from a report in JSON."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import polars as pl

from wiredoctor.compare.before_after.result import Source
from wiredoctor.findings import Finding, Report

TIMES = {
    **{"server": pl.String, "method": pl.String, "target": pl.String},
    **{"total": pl.Int64, "server_time": pl.Int64, "upgraded": pl.Boolean},
}
"""The columns of `ComparedSide.exchanges`, which has one row per request. Times are in ns, null for an incomplete exchange.

`upgraded`: True for a response with status 101.
"""


@dataclass
class ComparedSide:
    """One side of a comparison: the state before or after a change.

    `exchanges`: the columns of TIMES; None if the input does not list its exchanges. `connections`: the number of connections by
    server; None if unknown. `checked`: the rules that ran. `judged`: the rules among them that had something to check. `notes`:
    limitations of this side.
    """

    source: Source
    findings: list[Finding]
    exchanges: pl.DataFrame | None
    connections: dict[str, int] | None
    judged: frozenset[str]
    checked: frozenset[str]
    notes: list[str] = field(default_factory=list[str])


def from_report(report: Report, name: str, healthy: Iterable[str]) -> ComparedSide:
    """Return one side of a comparison. `healthy`: the rules that checked something and found nothing wrong."""
    rows, servers = _tables(report)
    found = {one.rule for one in report.findings}
    notes = left_out_notes(one.findings for one in report.left_out)
    return ComparedSide(
        _source(name, report),
        report.findings,
        rows,
        dict(servers.iter_rows()),
        frozenset(found.union(healthy, *(one.rules for one in report.left_out))),
        frozenset(report.checked),
        [*notes, *report.limits],
    )


def left_out_notes(numbers: Iterable[int]) -> list[str]:
    """Return a list with one sentence that says how many findings were left out in total; an empty list if there are none."""
    total = sum(numbers)
    return [f"{total:,} {'occurrence was' if total == 1 else 'occurrences were'} left out"] if total else []


def _source(name: str, report: Report) -> Source:
    files = [c.file for c in report.captures]
    first = min((c.first_time for c in report.captures if c.first_time), default=None)
    last = max((c.last_time for c in report.captures if c.last_time), default=None)
    return Source(
        name, "captures", files, report.connection_count, report.exchange_count, len(report.findings), report.delay, first, last,
        times=True,
    )  # fmt: skip


def _tables(report: Report) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the exchanges with the columns of TIMES, and the number of connections by server."""
    c = pl.col
    connections = report.scan_connections().select("capture", "connection", "server")
    whole = c("response_end_reason") == "complete"
    rows = (
        report.scan_exchanges()
        .filter("has_request")
        .select(
            *("capture", "connection"),
            c("request_method").alias("method"),
            c("request_target").alias("target"),
            pl.when(whole & c("has_response")).then(c("response_end") - c("request_start")).alias("total"),
            "server_time",
            (c("response_status") == 101).fill_null(value=False).alias("upgraded"),
        )
        .join(connections, on=["capture", "connection"], how="left", maintain_order="left")
        .select(*TIMES)
    )
    return rows.collect(), connections.group_by("server").len().collect()
