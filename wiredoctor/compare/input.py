"""Collect the data for comparisons from the report on one capture."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from wiredoctor.compare.proxy.nesting import COLUMNS as AT_A_PROXY
from wiredoctor.compare.two_points.packet_columns import Point, gather
from wiredoctor.findings import CaptureSummary, Finding, PacketAccess, Report
from wiredoctor.gateways import Gateways
from wiredoctor.text.time_of_day import nanoseconds

COLUMNS = ["connection", "exchange", "request_offset", "server_time"]
"""The columns of tables.EXCHANGES that a comparison of two points uses."""


@dataclass
class ComparedCapture:
    """One of the two captures of a comparison: its findings and its packets.

    `exchanges`: the columns COLUMNS of tables.EXCHANGES. `packets`: gives access to the packets for a second reading.
    """

    summary: CaptureSummary
    point: Point
    findings: list[Finding]
    exchanges: pl.DataFrame
    packets: PacketAccess


@dataclass
class ProxySide:
    """A capture made on one side of a proxy: its exchanges, connections and findings.

    `exchanges`: the columns COLUMNS of compare.proxy.nesting. `first_time`: the time of the first packet, ns since 1970.
    """

    name: str
    first_time: int
    connections: pl.DataFrame
    exchanges: pl.DataFrame
    findings: list[Finding]
    packets: PacketAccess
    gateways: Gateways


def collect_proxy_side(report: Report) -> ProxySide:
    """Return the data for a comparison across a proxy; `report` covers one capture and can read its packets again."""
    summary = report.captures[0]
    exchanges = report.scan_exchanges().select(AT_A_PROXY).collect()
    return ProxySide(
        summary.file, _nanoseconds(summary.first_time), report.connections, exchanges, report.findings,
        report.packets[summary.file], report.gateways[summary.file],
    )  # fmt: skip


def collect_capture(report: Report) -> ComparedCapture:
    """Return the data for a comparison; `report` covers one capture and can read its packets again."""
    summary = report.captures[0]
    access = report.packets[summary.file]
    first = _nanoseconds(summary.first_time)
    point = gather(access, report.connections, first, _nanoseconds(summary.last_time) - first)
    return ComparedCapture(summary, point, report.findings, report.scan_exchanges().select(COLUMNS).collect(), access)


def _nanoseconds(moment: str | None) -> int:
    """Convert an RFC 3339 time to nanoseconds since 1970; None becomes 0."""
    return nanoseconds(moment) or 0
