"""Write the report for machines: JSON, schema_version 1 (described by `schema` and docs/pages/json.md)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from wiredoctor.findings import Finding, Report
from wiredoctor.findings.keys import KEYS, reader
from wiredoctor.report.data.json_keys import BODY, HEAD, SERVER, Facts
from wiredoctor.report.row_order import Sink, Spool, in_memory

if TYPE_CHECKING:
    from wiredoctor.report.formats import Options
    from wiredoctor.report.row_choice import Grouping
    from wiredoctor.report.server_statistics import ServerStatistics


def write_as(report: Report, out: Sink, options: Options) -> None:
    """Write the report as JSON."""
    write(report, out, full=options.full, spool=options.spool or in_memory, shown=options.shown)


def write_lines_as(report: Report, out: Sink, options: Options) -> None:
    """Write the report as JSON Lines."""
    write_lines(report, out, options.shown)


def write(report: Report, out: Sink, *, full: bool = False, spool: Spool = in_memory, shown: str = "") -> None:
    """Write one JSON object; each list element is one line. `full` adds connections and exchanges. `shown`: as in
    formats.Options.
    """
    out.write(report_head(report))
    facts = Facts(report, shown)
    for key in BODY:
        if key.kind == "objects":
            write_list(out, key.name, map(reader(key.keys), key.read(facts)))
        else:
            out.write(f' "{key.name}": {ascii_text(reader((key,))(facts)[key.name])},\n'.encode())
    write_list(out, "findings", map(finding, report.findings), last=not full)
    if full:
        write_table(report, out, "connections", spool)
        out.write(b",\n")
        write_table(report, out, "exchanges", spool)
        out.write(b"\n")
    out.write(b"}\n")


def write_lines(report: Report, out: Sink, shown: str = "") -> None:
    """Write JSON Lines: one finding per line, then a line with the key `summary`, which contains everything else.

    `shown`: as in formats.Options.
    """
    for one in report.findings:
        out.write(line(one))
    out.write(summary_line(report, shown))


def line(one: Finding) -> bytes:
    """Return a finding as a line of JSON Lines."""
    return ascii_text(finding(one)).encode() + b"\n"


def behind_line(seconds: float) -> bytes:
    """Return a line of JSON Lines for a live capture: the time by which its analysis is behind; 0 if it has caught up."""
    return ascii_text({"behind": round(seconds, 3)}).encode() + b"\n"


def summary_line(report: Report, shown: str = "") -> bytes:
    """Return the last line of JSON Lines, which contains everything except the findings."""
    return ascii_text(_without_findings(report, shown)).encode() + b"\n"


def _without_findings(report: Report, shown: str) -> dict[str, Any]:
    """Return a report as a JSON object without the findings and tables."""
    made = reader(BODY)(Facts(report, shown))
    return {"summary": made.pop("summary"), **head(report), **made}


def write_one_table(report: Report, out: Sink, table: str, spool: Spool = in_memory) -> None:
    """Write a JSON report with only one table ("connections" or "exchanges").

    The rows have the same keys as in the complete report.
    """
    out.write(report_head(report))
    write_table(report, out, table, spool)
    out.write(b"\n}\n")


def write_table(report: Report, out: Sink, table: str, spool: Spool = in_memory) -> None:
    """Write the list of rows under the key "connections" or "exchanges" (`table`)."""
    comma = Comma(out)
    out.write(f' "{table}": ['.encode())
    write_table_lines(report, comma, table, spool)
    out.write(b"\n ]" if comma.written else b"]")


def write_table_lines(report: Report, out: Sink, table: str, spool: Spool = in_memory) -> None:
    """Write the table "connections" or "exchanges" as JSON Lines."""
    from wiredoctor.report.data import json_rows

    json_rows.write_as(report, out, table, json_rows.ndjson, spool)


class Comma:
    """Turns lines into the elements of a JSON array: writes a comma between lines."""

    def __init__(self, out: Sink) -> None:
        self._out = out
        self._open = False
        self.written = False

    def write(self, piece: bytes) -> None:
        """Write lines as elements of the array. The last line may be incomplete: the next call continues it."""
        if not piece:
            return
        body = piece[:-1] if (ends := piece.endswith(b"\n")) else piece
        lead = b"" if self._open else b",\n " if self.written else b"\n "
        self._out.write(lead + body.replace(b"\n", b",\n "))
        self.written, self._open = True, not ends


def report_head(report: Report) -> bytes:
    """Return the encoded beginning of a JSON object: schema version, tool, and whether secrets are shown."""
    return ("{" + "".join(f'"{key}": {ascii_text(value)},\n ' for key, value in head(report).items())[:-1]).encode()


def write_list(out: Sink, name: str, elements: Iterable[dict[str, Any]], *, last: bool = False) -> None:
    """Write a key and its list, one element per line, and a comma unless the key is the `last` one."""
    out.write(f' "{name}": ['.encode())
    for piece in separate(elements):
        out.write(piece)
    out.write(b"]\n" if last else b"],\n")


def separate(elements: Iterable[dict[str, Any]]) -> Iterator[bytes]:
    """Yield the elements of a JSON list, one per line, without the brackets."""
    lead = "\n  "
    for element in elements:
        yield (lead + ascii_text(element)).encode()
        lead = ",\n  "
    if lead != "\n  ":
        yield b"\n "


def ascii_text(value: Any) -> str:
    """Encode JSON in ASCII, so the text cannot control a terminal."""
    return _ENCODER.encode(value).replace("\x7f", "\\u007f")


_ENCODER = json.JSONEncoder(ensure_ascii=True, allow_nan=False)


def server(one: ServerStatistics, by: Grouping) -> dict[str, Any]:
    """Return the statistics of one group of exchanges, such as those of a server, as a JSON object. Times are in seconds."""
    return _server(one) | {"by": by.value}


head = reader(HEAD)
"""Return the keys of a report with which every JSON object about it begins."""

finding = reader(KEYS)
"""Return a finding as a self-contained JSON object."""

_server = reader(SERVER)
