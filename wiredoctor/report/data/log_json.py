"""Write the explanation of an access log as JSON, in its own format."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wiredoctor.findings import Finding, Report, printable, rfc3339
from wiredoctor.report.data.json import ascii_text, report_head, write_list
from wiredoctor.report.row_order import Sink
from wiredoctor.text import redact
from wiredoctor.text.time_of_day import SECOND

if TYPE_CHECKING:
    from wiredoctor.access_log.matching import CapturedExchange
    from wiredoctor.report.explained_log import ExplainedLine, ExplainedLog


def write(result: ExplainedLog, report: Report, out: Sink) -> None:
    """Write one JSON object with the list `lines`, one element per line. Times are RFC 3339 in UTC; durations are in seconds."""
    offset = result.matches.offset
    log = {
        "name": printable(result.name),
        "formats": result.formats,
        "lines": result.log.total,
        "unknown_lines": result.log.unknown,
        "first_unknown_line": result.log.first_unknown,
        "time_without_known_meaning_is": result.matches.moment,
    }
    clock = None
    if offset is not None:
        clock = {"seconds": offset.middle / SECOND, "least": offset.least / SECOND, "most": offset.most / SECOND,
                 "matching_lines": offset.lines}  # fmt: skip
    out.write(report_head(report))
    out.write(f' "log": {ascii_text(log)},\n "clock_offset": {ascii_text(clock)},\n'.encode())
    write_list(out, "lines", map(element, result.lines), last=True)
    out.write(b"}\n")


def element(one: ExplainedLine) -> dict[str, Any]:
    """Return a log line as a JSON object."""
    line, exchange = one.match.line, one.match.exchange
    return {
        "line": line.number,
        "format": line.format,
        "time": rfc3339(line.time),
        "time_is": line.moment or None,
        "method": printable(redact.method(line.method)) if line.method else None,
        "target": printable(redact.target(line.target)) if line.method else None,
        "status": line.status or None,
        "duration": None if line.duration is None else line.duration / SECOND,
        "outside_capture": one.match.outside and exchange is None,
        "exchange": None if exchange is None else _exchange(exchange),
        "findings": [_finding(finding) for finding in one.findings],
    }


def _exchange(one: CapturedExchange) -> dict[str, Any]:
    return {
        "capture": printable(one.capture), "connection": one.connection, "exchange": one.exchange, "frame": one.frame,
        "client": one.client, "server": one.server, "start": rfc3339(one.start), "status": one.status,
        "duration": (one.end - one.start) / SECOND if one.has_end else None,
    }  # fmt: skip


def _finding(one: Finding) -> dict[str, Any]:
    return {"number": one.number, "rule": one.rule, "kind": one.kind, "severity": one.severity, "title": one.title,
            "fingerprint": one.fingerprint}  # fmt: skip
