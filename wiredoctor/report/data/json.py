"""Write the report for machines: JSON, schema_version 1 (described by `schema` and docs/pages/json.md)."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from wiredoctor.findings import SEVERITIES, CaptureSummary, Finding, Report, Unjudged, printable
from wiredoctor.findings.keys import KEYS
from wiredoctor.report.by_status import ServerAnswers
from wiredoctor.report.capture_points import shared_conversations
from wiredoctor.report.coverage import Coverage, find_coverage
from wiredoctor.report.groups import group_findings
from wiredoctor.report.headline import count_problems, headline
from wiredoctor.report.row_order import Sink, Spool, in_memory

if TYPE_CHECKING:
    from wiredoctor.report.formats import Options
    from wiredoctor.report.row_choice import Grouping
    from wiredoctor.report.server_statistics import ServerStatistics

SCHEMA_VERSION = 1

MAX_SERVERS = 1000
"""The maximum number of servers in a report, which contains the worst ones. `servers --format json` lists all servers."""


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
    write_list(out, "captures", map(_capture, report.captures))
    far = find_coverage(report)
    out.write(f' "summary": {ascii_text(_summary(report, far, shown))},\n "limits": {ascii_text(report.limits)},\n'.encode())
    write_list(out, "answers", map(_answers, far.servers))
    write_list(out, "servers", worst_servers(report, MAX_SERVERS))
    write_list(out, "not_judged", map(Unjudged._asdict, report.not_judged))
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
    far = find_coverage(report)
    return {
        "summary": _summary(report, far, shown),
        "schema_version": SCHEMA_VERSION,
        "tool": tool(report),
        "secrets": report.secrets,
        "captures": [_capture(c) for c in report.captures],
        "limits": report.limits,
        "answers": [_answers(one) for one in far.servers],
        "servers": worst_servers(report, MAX_SERVERS),
        "not_judged": [one._asdict() for one in report.not_judged],
    }


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
    head = {"schema_version": SCHEMA_VERSION, "tool": tool(report), "secrets": report.secrets}
    return ("{" + "".join(f'"{key}": {ascii_text(value)},\n ' for key, value in head.items())[:-1]).encode()


def tool(report: Report) -> dict[str, Any]:
    """Return the program that wrote the report, by name and version."""
    return {"name": "wiredoctor", "version": report.version}


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
        "translations": [
            {"server": server, "translated_server": other, "connections": n}
            for (server, other), n in sorted(capture.translations.items())
        ],
        "dropped": capture.dropped,
        "sorted": capture.sorted,
        "clock_steps": capture.clock_steps,
        "damage": capture.damage,
    }


def _summary(report: Report, far: Coverage, shown: str) -> dict[str, Any]:
    found = Counter(one.severity for one in report.findings)
    groups = group_findings(report.findings)
    return {
        "headline": headline(report, groups, far, shown),
        "connections": report.connection_count,
        "exchanges": report.exchange_count,
        "problems": count_problems(groups),
        "findings": {severity: found[severity] for severity in SEVERITIES},
        "delay": report.delay,
        "checked": [one._asdict() for one in far.checked],
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
        "shared_conversations": shared_conversations(report).conversations,
    }


def _answers(one: ServerAnswers) -> dict[str, Any]:
    return {
        "server": one.server,
        "classes": one.classes,
        "failures": [asdict(failed) | {"unexplained": failed.unexplained} for failed in one.failures],
    }


def worst_servers(report: Report, most: int) -> list[dict[str, Any]]:
    """Return the statistics of the `most` worst servers as JSON objects, the worst first."""
    from wiredoctor.report.row_choice import Grouping
    from wiredoctor.report.server_statistics import server_statistics

    return [server(one, Grouping.server) for one in server_statistics(report)[:most]]


def server(one: ServerStatistics, by: Grouping) -> dict[str, Any]:
    """Return the statistics of one group of exchanges, such as those of a server, as a JSON object. Times are in seconds."""
    return {
        "by": by.value,
        "name": printable(one.key),
        "names": [printable(name) for name in one.names],
        "requests": one.requests,
        "failed": one.failed,
        "unanswered": one.unanswered,
        "incomplete": one.incomplete,
        "status_4xx": one.client_errors,
        "status_5xx": one.server_errors,
        "server_time": {"p50": one.p50, "p95": one.p95, "p99": one.p99, "max": one.longest},
        "time_lost": one.time_lost,
        "time_lost_by_rule": dict(one.lost),
        "connections": one.connections,
        "requests_per_connection": one.requests_per_connection,
        "failed_connections": one.failed_connections,
        "unusable_connections": one.unusable_connections,
    }


def finding(one: Finding) -> dict[str, Any]:
    """Return a finding as a self-contained JSON object."""
    made: dict[str, Any] = dict(zip(_KEYS, _values_of(one), strict=True))
    made["request"] = None if one.request is None else printable(one.request)
    made["measures"] = {name: number for name, number in one.measures.items() if math.isfinite(number)}
    made["evidence"] = [step._asdict() for step in one.evidence]
    made["references"] = [reference._asdict() for reference in one.references]
    made["caused_by"] = [cause._asdict() for cause in one.caused_by]
    return made


_KEYS = [key.name for key in KEYS]
_values_of = attrgetter(*_KEYS)
