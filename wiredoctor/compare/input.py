"""A report on one capture -> what of it two sides are compared by."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import polars as pl

from wiredoctor.compare.proxy.nesting import COLUMNS as AT_A_PROXY
from wiredoctor.compare.two_points.packet_columns import Point, gather
from wiredoctor.tables import EXCHANGES, SECOND

if TYPE_CHECKING:
    from wiredoctor.findings import Again, CaptureSummary, Finding, Report
    from wiredoctor.gateways import Gateways

COLUMNS = ["connection", "exchange", "request_offset", "server_time"]
"""What of the exchanges is compared."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass
class Material:
    """A recording: what was found in it, and its packets. `exchanges`: COLUMNS of tables.EXCHANGES. `again`: to read it once
    more."""

    summary: CaptureSummary
    point: Point
    findings: list[Finding]
    exchanges: pl.DataFrame
    again: Again


@dataclass
class Recorded:
    """A recording at a proxy: its exchanges (columns of comparing.exchanges) and connections, and what was found. first_time:
    ns since 1970 of its first packet."""

    name: str
    first_time: int
    connections: pl.DataFrame
    exchanges: pl.DataFrame
    findings: list[Finding]
    again: Again
    gateways: Gateways


def recorded(report: Report) -> Recorded:
    """Of a report on one capture that was kept to be read again."""
    summary = report.captures[0]
    rows = EXCHANGES.empty().lazy() if report.scan_exchanges is None else report.scan_exchanges()
    return Recorded(
        summary.file, _nanoseconds(summary.first_time), report.connections, rows.select(AT_A_PROXY).collect(), report.findings,
        report.again[summary.file], report.gateways[summary.file],
    )  # fmt: skip


def material(report: Report) -> Material:
    """Of a report on one capture that was kept to be read again."""
    summary = report.captures[0]
    again = report.again[summary.file]
    first = _nanoseconds(summary.first_time)
    point = gather(again, report.connections, first, _nanoseconds(summary.last_time) - first)
    return Material(summary, point, report.findings, _exchanges(report), again)


def _exchanges(report: Report) -> pl.DataFrame:
    """Not all the columns: there may be a million rows."""
    if report.scan_exchanges is None:
        return EXCHANGES.empty().select(COLUMNS)
    return report.scan_exchanges().select(COLUMNS).collect()


def _nanoseconds(moment: str | None) -> int:
    """RFC 3339 -> nanoseconds since 1970; 0 without a time."""
    if moment is None:
        return 0
    whole, _, fraction = moment.rstrip("Z").partition(".")
    since = datetime.fromisoformat(whole).replace(tzinfo=UTC) - _EPOCH
    return (since.days * 86_400 + since.seconds) * SECOND + int(fraction.ljust(9, "0")[:9] or 0)
