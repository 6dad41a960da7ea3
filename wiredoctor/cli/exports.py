"""Reports for other programs: SARIF, JUnit XML, CSV, HAR. What writes them is loaded when it is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from wiredoctor import Report
    from wiredoctor.cli.writing import How
    from wiredoctor.report.terminal.terminal import Paper


def write_sarif(report: Report, out: BinaryIO, _paper: Paper, how: How) -> None:
    """SARIF 2.1.0."""
    from wiredoctor.cli.rulebook import every_rule
    from wiredoctor.report.data import sarif

    sarif.write(report, out, every_rule(), unread=how.unread, code=how.code)


def write_junit(report: Report, out: BinaryIO, _paper: Paper, how: How) -> None:
    """JUnit XML."""
    from wiredoctor.report.data import junit

    junit.write(report, out, fail_on=how.fail_on.value if how.fail_on else "warning", selected=how.selected, unread=how.unread)


def write_csv(report: Report, out: BinaryIO, _paper: Paper, _how: How) -> None:
    """The findings as CSV."""
    from wiredoctor.report.data import csv

    csv.write(report, out)


def write_har(report: Report, out: BinaryIO, _paper: Paper, how: How) -> None:
    """HAR 1.2."""
    from wiredoctor.cli.exit_codes import say
    from wiredoctor.cli.outputs import spool
    from wiredoctor.report.data import har

    if how.bodies and not how.quiet:
        say(f"HAR: {har.BODIES}")
    har.write(report, out, bodies=how.bodies, spool=spool)
