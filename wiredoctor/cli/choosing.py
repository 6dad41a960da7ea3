"""Look up the findings and connections that the command line names by number or fingerprint."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from wiredoctor import Finding, Report
from wiredoctor.cli.exit_codes import UsageError

if TYPE_CHECKING:
    from wiredoctor.report.filter import Filter


_LEAST_DIGITS = 4
"""The minimum number of digits of a fingerprint that --finding accepts; reports show eight digits."""

Findings = Annotated[
    str | None,
    typer.Option(
        "--finding", metavar="N", help="The finding with this number or fingerprint in the report of analyze.", show_default=False
    ),
]


def chosen_finding(report: Report, name: str) -> Finding:
    """Return the finding that --finding names, by its number or by the first digits of its fingerprint.

    If several findings have the same fingerprint, return the first one in the report. Raise UsageError if no finding matches, or
    if the digits are the beginning of several fingerprints.
    """
    if found := next((f for f in report.findings if str(f.number) == name.lstrip("0")), None):
        return found
    digits = name.lower()
    if len(digits) < _LEAST_DIGITS or not re.fullmatch("[0-9a-f]{1,16}", digits):
        raise UsageError(f"--finding {name}: {_findings(len(report.findings))}")
    fitting = [f for f in report.findings if f.fingerprint.startswith(digits)]
    if not fitting:
        raise UsageError(f"--finding {name}: {_findings(len(report.findings))}, and no fingerprint begins with {digits}")
    if len({f.fingerprint for f in fitting}) > 1:
        raise UsageError(f"--finding {name}: several fingerprints begin with {digits}; give more of its 16 digits")
    return fitting[0]


def _findings(last: int) -> str:
    if last > 1:
        return f"the findings are numbered 1 to {last}"
    return "there is one finding" if last else "there are no findings"


def check_connection(report: Report, capture: str, connection: int) -> None:
    """Raise UsageError if the capture has no connection with this id."""
    from wiredoctor.report.terminal.show import has_connection

    if not has_connection(report, capture, connection):
        raise UsageError(f"--connection {connection}: {_connections(report.connection_count)}")


def check_connections(report: Report, connections: Sequence[int]) -> None:
    """Raise UsageError if a connection id in `connections` does not occur in any capture."""
    from wiredoctor.report.terminal.show import has_connection

    for connection in connections:
        if not any(has_connection(report, capture.file, connection) for capture in report.captures):
            raise UsageError(f"--connection {connection}: {_connections(report.connection_count)}")


def _connections(number: int) -> str:
    if not number:
        return "no TCP connection was seen"
    there = "the only connection has number 0" if number == 1 else f"there are {number:,} (wiredoctor connections lists them)"
    return f"there is no such connection; {there}"


MAX_CHOICES = 5


def connection_at(report: Report, span: Filter, option: str) -> int:
    """Return the id of the only connection that has an exchange in the time span `span`.

    If the span has no exchange, return the id of the only connection that was active in it. Raise UsageError if there is no such
    connection, or more than one. `option`: the name of the option, for the message.
    """
    from wiredoctor.report.filtered_report import filter_report

    active = filter_report(report, span)
    names = ["connection", "exchange", "request_method", "request_target", "response_status"]
    rows = active.exchanges.sort("connection", "exchange").select(names).rows()
    connections = {row[0] for row in rows} or {*active.connections["connection"].to_list()}
    if not connections:
        raise UsageError(f"{option}: no connection was active at that time")
    if len(connections) == 1:
        return connections.pop()
    shown = [
        f"--connection {number} --exchange {exchange} ({method} {target}, {status or 'no response'})"
        for number, exchange, method, target, status in rows[:MAX_CHOICES]
    ] or [f"--connection {number}" for number in sorted(connections)[:MAX_CHOICES]]
    total = len(rows) or len(connections)
    more = f"; and {total - len(shown):,} more" if total > len(shown) else ""
    raise UsageError(f"{option}: several connections were active at that time; choose one: {'; '.join(shown)}{more}")
