"""Write findings, exchanges and connections as CSV (RFC 4180) for spreadsheets, with column names in the first line.

A spreadsheet executes a cell that begins with =, +, -, @, a tab or a carriage return as a formula. Such text therefore gets a
leading apostrophe, which spreadsheets hide. Numbers stay unchanged. A single "-", the name of standard input, also stays
unchanged.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from wiredoctor.findings import Finding, Report, printable
from wiredoctor.findings.keys import in_order
from wiredoctor.report.data.json import finding
from wiredoctor.report.row_order import Sink
from wiredoctor.report.terminal.evidence import in_file
from wiredoctor.report.words import clean

if TYPE_CHECKING:
    from wiredoctor.report.formats import Options

FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""The first characters that make a cell a formula (OWASP, CSV Injection)."""

COLUMNS = [key.name for key in in_order("number", "capture", "severity", "confidence") if key.name != "measures"]
COLUMNS[COLUMNS.index("evidence") : COLUMNS.index("evidence") + 1] = ["frames", "evidence", "measures"]
"""The columns of findings: the keys of a finding in JSON, and `frames`, the frame numbers of the evidence.

A list is written as one cell, with its elements joined by "; ".
"""


def write_as(report: Report, out: Sink, _options: Options) -> None:
    """Write the report as CSV."""
    write(report, out)


def write(report: Report, out: Sink) -> None:
    """Write the findings in report order."""
    lines(out, [COLUMNS], safe=False)
    lines(out, (_cells(one) for one in report.findings))


def lines(out: Sink, rows: Iterable[Iterable[Any]], *, safe: bool = True) -> None:
    """Write each row as one line of CSV. With `safe`, texts are escaped by `harmless`."""
    for row in rows:
        line = io.StringIO()
        csv.writer(line).writerow([harmless(cell) if safe and isinstance(cell, str) else cell for cell in row])
        out.write(line.getvalue().encode("utf-8", "backslashreplace"))


def harmless(text: str) -> str:
    """Return the text with control characters escaped, and with a leading apostrophe if it begins like a formula."""
    shown = clean(text)
    if shown == "-":
        return shown
    return f"'{shown}" if text.startswith(FORMULA) or shown.startswith(FORMULA) else shown


def _cells(one: Finding) -> list[Any]:
    """Return the cells of a finding in the order of COLUMNS; None is an empty cell."""
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
