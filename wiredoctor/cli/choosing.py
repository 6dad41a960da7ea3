"""Findings and connections that a command line names by their numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wiredoctor.cli.exit_codes import UsageError

if TYPE_CHECKING:
    from wiredoctor import Finding, Report


def chosen_finding(report: Report, number: int) -> Finding:
    """The finding of --finding; raises UsageError where none has this number."""
    found = next((f for f in report.findings if f.number == number), None)
    if found is None:
        raise UsageError(f"--finding {number}: {_findings(len(report.findings))}")
    return found


def _findings(last: int) -> str:
    if last > 1:
        return f"the findings are numbered 1 to {last}"
    return "there is one finding" if last else "there are no findings"


def check_connection(report: Report, capture: str, connection: int) -> None:
    """Raises UsageError where the capture has no connection of this id, which --connection names."""
    from wiredoctor.report.terminal.show import has_connection

    if not has_connection(report, capture, connection):
        raise UsageError(f"--connection {connection}: {_connections(report.connection_count)}")


def _connections(number: int) -> str:
    if not number:
        return "no TCP connection was seen"
    there = "the only one has number 0" if number == 1 else f"there are {number:,} (wiredoctor connections lists them)"
    return f"there is no such connection; {there}"
