"""The report for machines: JSON, schema_version 1 (`schema` describes it, docs/pages/json.md explains it)."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from wiredoctor.findings import SEVERITIES, printable
from wiredoctor.report.by_status import ServerAnswers
from wiredoctor.report.coverage import Reach, reach
from wiredoctor.report.ordered import Sink, Spool, in_memory

if TYPE_CHECKING:
    from wiredoctor.findings import CaptureSummary, Finding, Report

SCHEMA_VERSION = 1


def write(report: Report, out: Sink, *, full: bool = False, spool: Spool = in_memory) -> None:
    """One JSON object; an element of a list per line. `full` adds connections and exchanges."""
    out.write(_head(report))
    _write_list(out, "captures", map(_capture, report.captures))
    far = reach(report)
    out.write(f' "summary": {ascii_text(_summary(report, far))},\n "limits": {ascii_text(report.limits)},\n'.encode())
    _write_list(out, "answers", map(_answers, far.servers))
    _write_list(out, "not_judged", map(asdict, report.not_judged))
    _write_list(out, "findings", map(finding, report.findings), last=not full)
    if full:
        write_table(report, out, "connections", spool)
        out.write(b",\n")
        write_table(report, out, "exchanges", spool)
        out.write(b"\n")
    out.write(b"}\n")


def write_lines(report: Report, out: Sink) -> None:
    """JSON Lines: one finding a line, and last a line with the key `summary` and everything else."""
    for one in report.findings:
        out.write(line(one))
    out.write(summary_line(report))


def line(one: Finding) -> bytes:
    """A finding as a line of JSON Lines."""
    return ascii_text(finding(one)).encode() + b"\n"


def summary_line(report: Report) -> bytes:
    """The last of the JSON Lines: all but the findings."""
    return ascii_text(_rest(report)).encode() + b"\n"


def _rest(report: Report) -> dict[str, Any]:
    """All but the findings."""
    far = reach(report)
    return {
        "summary": _summary(report, far),
        "schema_version": SCHEMA_VERSION,
        "tool": _tool(report),
        "secrets": report.secrets,
        "captures": [_capture(c) for c in report.captures],
        "limits": report.limits,
        "answers": [_answers(one) for one in far.servers],
        "not_judged": [asdict(one) for one in report.not_judged],
    }


def write_one_table(report: Report, out: Sink, table: str, spool: Spool = in_memory) -> None:
    """Only "connections" or "exchanges", with the same keys as in the whole report."""
    out.write(_head(report))
    write_table(report, out, table, spool)
    out.write(b"\n}\n")


def write_table(report: Report, out: Sink, table: str, spool: Spool = in_memory) -> None:
    """ "connections": [...] or "exchanges": [...], without what follows it."""
    comma = Comma(out)
    out.write(f' "{table}": ['.encode())
    write_table_lines(report, comma, table, spool)
    out.write(b"\n ]" if comma.written else b"]")


def write_table_lines(report: Report, out: Sink, table: str, spool: Spool = in_memory) -> None:
    """JSON Lines of "connections" or "exchanges"."""
    from wiredoctor.report.data import rows

    (rows.write_connections if table == "connections" else rows.write_exchanges)(report, out, spool)


class Comma:
    """Makes list elements out of whole lines: a comma and an end of line before each but the first."""

    def __init__(self, out: Sink) -> None:
        self._out = out
        self._open = False
        self.written = False

    def write(self, piece: bytes) -> None:
        """Lines, perhaps not ending with this piece."""
        if not piece:
            return
        body = piece[:-1] if (ends := piece.endswith(b"\n")) else piece
        lead = b"" if self._open else b",\n " if self.written else b"\n "
        self._out.write(lead + body.replace(b"\n", b",\n "))
        self.written, self._open = True, not ends


def _head(report: Report) -> bytes:
    head = {"schema_version": SCHEMA_VERSION, "tool": _tool(report), "secrets": report.secrets}
    return ("{" + "".join(f'"{key}": {ascii_text(value)},\n ' for key, value in head.items())[:-1]).encode()


def _tool(report: Report) -> dict[str, Any]:
    return {"name": "wiredoctor", "version": report.version}


def _write_list(out: Sink, name: str, elements: Iterable[dict[str, Any]], *, last: bool = False) -> None:
    out.write(f' "{name}": ['.encode())
    for piece in separated(elements):
        out.write(piece)
    out.write(b"]\n" if last else b"],\n")


def separated(elements: Iterable[dict[str, Any]]) -> Iterator[bytes]:
    """Pieces of a list in JSON, between its brackets: an element per line."""
    lead = "\n  "
    for element in elements:
        yield (lead + ascii_text(element)).encode()
        lead = ",\n  "
    if lead != "\n  ":
        yield b"\n "


def ascii_text(value: Any) -> str:
    """ASCII: whatever shows it, no sign in it can be taken for a command to a terminal."""
    return json.dumps(value, ensure_ascii=True, allow_nan=False).replace("\x7f", "\\u007f")


def _capture(capture: CaptureSummary) -> dict[str, Any]:
    return {
        "file": capture.file,
        "format": capture.format,
        "link_types": list(capture.link_types),
        "packets": capture.packets,
        "bytes": capture.bytes,
        "first_time": capture.first_time,
        "last_time": capture.last_time,
        "encapsulations": [{"name": e, "packets": n} for e, n in sorted(capture.encapsulations.items())],
        "not_analysed": [{"reason": r, "packets": n} for r, n in sorted(capture.not_analysed.items())],
        "files": list(capture.files),
        "duplicates": capture.duplicates,
        "dropped": capture.dropped,
        "damage": capture.damage,
    }


def _summary(report: Report, far: Reach) -> dict[str, Any]:
    counts = dict.fromkeys(SEVERITIES, 0)
    for one in report.findings:
        counts[one.severity] += 1
    return {
        "connections": report.connection_count,
        "exchanges": report.exchange_count,
        "findings": counts,
        "delay": report.delay,
        "checked": [asdict(one) for one in far.checked],
        "healthy": far.healthy,
        "not_judged": [{"what": one.what, "count": one.count, "reason": one.reason} for one in far.not_judged],
        "requests": {"count": far.answers.requests, "answered": far.answers.answered},
        "responses": [{"status_class": name, "count": number} for name, number in far.answers.classes.items()],
        "server_errors": [{"status": status, "count": number} for status, number in far.answers.failures.items()],
        "left_out": [
            {"by": one.by, "reason": one.reason, "findings": one.findings, "rules": [*one.rules]} for one in report.left_out
        ],
        "rules": [
            {"rule": rule, "findings": total.findings, "delay": round(total.delay, 9)}
            for rule, total in sorted(report.totals.items())
        ],
        "incomplete": report.incomplete,
    }


def _answers(one: ServerAnswers) -> dict[str, Any]:
    return {
        "server": one.server,
        "classes": one.classes,
        "failures": [asdict(failed) | {"unexplained": failed.unexplained} for failed in one.failures],
    }


def finding(one: Finding) -> dict[str, Any]:
    """A finding as a JSON object; it stands on its own."""
    return {
        "rule": one.rule,
        "family": one.family,
        "kind": one.kind,
        "side": one.side,
        "severity": one.severity,
        "confidence": one.confidence,
        "title": one.title,
        "message": one.message,
        "client": one.client,
        "server": one.server,
        "capture": one.capture,
        "connection": one.connection,
        "exchange": one.exchange,
        "request": None if one.request is None else printable(one.request),
        "status": one.status,
        "time": one.time,
        "elapsed": one.elapsed,
        "delay": one.delay,
        "count": one.count,
        "measures": {name: number for name, number in one.measures.items() if math.isfinite(number)},
        "evidence": [step._asdict() for step in one.evidence],
        "remedy": one.remedy,
        "references": [{"title": r.title, "url": r.url} for r in one.references],
        "display_filter": one.display_filter,
        "fingerprint": one.fingerprint,
        "client_software": one.client_software,
        "server_software": one.server_software,
        "caused_by": [cause._asdict() for cause in one.caused_by],
        "origin": one.origin,
        "number": one.number,
    }
