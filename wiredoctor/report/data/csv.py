"""Findings, exchanges and connections as CSV (RFC 4180), for spreadsheets: a line each, and the names of the columns above.

A spreadsheet takes a cell that begins with =, +, -, @, a tab or a carriage return for a formula, which may do anything. Such
a text has an apostrophe in front, which spreadsheets hide. Numbers are left alone, and so is a "-" by itself, the name of
standard input.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from wiredoctor.findings import printable
from wiredoctor.report.data.json import finding
from wiredoctor.report.ordered import Sink, Spool, in_memory
from wiredoctor.report.terminal.evidence import in_file
from wiredoctor.report.words import clean

if TYPE_CHECKING:
    from wiredoctor.findings import Finding, Report

FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What makes a formula of a cell (OWASP, CSV Injection)."""

COLUMNS = (
    *("number", "capture", "severity", "confidence", "rule", "family", "kind", "side", "title", "message", "client", "server"),
    *("connection", "exchange", "request", "status", "time", "elapsed", "delay", "count", "frames", "evidence", "measures"),
    *("remedy", "references", "display_filter", "fingerprint", "client_software", "server_software", "caused_by"),
    "origin",
)
"""Columns of findings: the keys of JSON. `frames`: the numbers of the evidence. Lists are in one cell, by "; "."""


def write(report: Report, out: Sink) -> None:
    """The findings, in the order of the report."""
    lines(out, [COLUMNS], safe=False)
    lines(out, (_cells(one) for one in report.findings))


def write_table(report: Report, out: Sink, table: str, spool: Spool = in_memory) -> None:
    """ "exchanges" or "connections": the values of JSON, in an order of capture and id."""
    from wiredoctor.report.data import csv_rows

    csv_rows.write(report, out, table, spool)


def lines(out: Sink, rows: Iterable[Iterable[Any]], *, safe: bool = True) -> None:
    """Rows of cells as lines; `safe`: texts are made harmless."""
    for row in rows:
        line = io.StringIO()
        csv.writer(line).writerow([harmless(cell) if safe and isinstance(cell, str) else cell for cell in row])
        out.write(line.getvalue().encode("utf-8", "backslashreplace"))


def harmless(text: str) -> str:
    """A text that is no formula and holds nothing that a terminal obeys."""
    shown = clean(text)
    if shown == "-":
        return shown
    return f"'{shown}" if text.startswith(FORMULA) or shown.startswith(FORMULA) else shown


def _cells(one: Finding) -> list[Any]:
    """A cell for each of COLUMNS; None is an empty one."""
    values = finding(one)
    made = {
        "request": None if one.request is None else printable(one.request),
        "frames": " ".join(str(e.frame) for e in one.evidence),
        "evidence": "; ".join(f"frame {e.frame} ({e.elapsed:.6f} s){in_file(e)}: {e.note}" for e in one.evidence),
        "measures": "; ".join(f"{name}={value}" for name, value in values["measures"].items()),
        "references": "; ".join(f"{r.title} <{r.url}>" if r.url else r.title for r in one.references),
        "caused_by": "; ".join(f"{cause.rule} (frame {cause.frame})" for cause in one.caused_by),
    }
    return [made.get(name, values.get(name)) for name in COLUMNS]
