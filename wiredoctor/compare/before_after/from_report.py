"""Take from a Report what two reports are compared by. from_json.py does the same for a report that was written as JSON."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import polars as pl

from wiredoctor.compare.before_after.result import Source
from wiredoctor.findings import Finding

if TYPE_CHECKING:
    from wiredoctor.findings import Report

TIMES = {"server": pl.String, "method": pl.String, "target": pl.String, "total": pl.Int64, "server_time": pl.Int64}
"""Columns of `Seen.exchanges`: a row per request; times in ns, null where they are not known to their end."""


@dataclass
class Seen:
    """One side of a comparison. `exchanges` has the columns of TIMES, or is None where the side does not have them.

    connections: how many there were with each server, or None. judged: the rules that had something to look at. checked: those
    that ran. notes: what else limits what it says.
    """

    source: Source
    findings: list[Finding]
    exchanges: pl.DataFrame | None
    connections: dict[str, int] | None
    judged: frozenset[str]
    checked: frozenset[str]
    notes: list[str] = field(default_factory=list[str])


def of_report(report: Report, name: str, healthy: Iterable[str]) -> Seen:
    """Of an analysis. `healthy`: the rules that had something to look at and found nothing."""
    rows, servers = _tables(report)
    found = {one.rule for one in report.findings}
    notes = [f"{sum(one.findings for one in report.left_out)} findings were left out"] if report.left_out else []
    return Seen(
        _source(name, report),
        report.findings,
        rows,
        dict(servers.iter_rows()),
        frozenset(found.union(healthy, *(one.rules for one in report.left_out))),
        frozenset(report.checked),
        [*notes, *report.limits],
    )


def _source(name: str, report: Report) -> Source:
    files = [c.file for c in report.captures]
    first = min((c.first_time for c in report.captures if c.first_time), default=None)
    last = max((c.last_time for c in report.captures if c.last_time), default=None)
    return Source(
        name, "captures", files, report.connection_count, report.exchange_count, len(report.findings), report.delay, first, last,
        times=True,
    )  # fmt: skip


def _tables(report: Report) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The times of all exchanges, and how many connections each server had."""
    if report.scan_exchanges is None or report.scan_connections is None:
        return pl.DataFrame(schema=TIMES), pl.DataFrame(schema={"server": pl.String, "len": pl.UInt32})
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
        )
        .join(connections, on=["capture", "connection"], how="left", maintain_order="left")
        .select(*TIMES)
    )
    return rows.collect(), connections.group_by("server").len().collect()
