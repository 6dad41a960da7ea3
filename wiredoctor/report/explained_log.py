"""Explain the lines of an access log: the exchange of each line, and the findings about it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple

from wiredoctor.access_log.lines import ReadLog
from wiredoctor.access_log.log_line import LogLine
from wiredoctor.access_log.matching import CapturedExchange, ExchangeIndex, Match, Matches, match_lines
from wiredoctor.report.capture_clocks import clocks
from wiredoctor.text.time_of_day import SECOND

if TYPE_CHECKING:
    from wiredoctor.findings import Finding, Report

_TIMES = ("request_start", "request_end", "response_start", "response_end")
_COLUMNS = (
    *("capture", "connection", "exchange", "request_method", "request_target", "response_status", "has_request", "has_response"),
    *(*_TIMES, "request_frame"),
)


class ExplainedLine(NamedTuple):
    """A log line with its exchange, and the findings about the exchange, followed by findings about its connection."""

    match: Match
    findings: list[Finding]


class ExplainedLog(NamedTuple):
    """The explanation of an access log.

    `name`: the name of the log. `formats`: the formats of its lines, as in LogLine. `lines`: the explained lines.
    """

    name: str
    log: ReadLog
    formats: list[str]
    matches: Matches
    lines: list[ExplainedLine]


def explain_log(report: Report, name: str, raw: Iterable[bytes], slow: float, keys: Mapping[str, str]) -> ExplainedLog:
    """Explain the lines of a log that have a status of 500 or above, or took at least `slow` seconds.

    `name`: the name of the log. `raw`: its lines. `keys`: the names of keys in JSON lines, as in ReadLog.
    """
    log, formats = ReadLog(keys), dict[str, None]()

    def lines() -> Iterator[LogLine]:
        for line in log.read(raw):
            formats[line.format] = None
            yield line

    matches = match_lines(lines(), ExchangeIndex(_exchanges(report)), round(slow * SECOND))
    findings = _Findings(report)
    explained = [ExplainedLine(one, findings.of(one.exchange) if one.exchange else []) for one in matches.matches]
    return ExplainedLog(name, log, [*formats], matches, explained)


def _exchanges(report: Report) -> Iterator[CapturedExchange]:
    places = report.scan_connections().select("capture", "connection", "client", "server").collect()
    ends = {(capture, connection): (client, server) for capture, connection, client, server in places.iter_rows()}
    starts = {name: clock.first for name, clock in clocks(report).items()}
    for row in report.scan_exchanges().select(_COLUMNS).collect().iter_rows(named=True):
        first = starts.get(row["capture"])
        if first is None or not row["has_request"]:
            continue
        start, last = first + row["request_start"], row["response_end"]
        end = max(row[time] for time in _TIMES if row[time] is not None)
        client, server = ends.get((row["capture"], row["connection"]), ("", ""))
        yield CapturedExchange(
            row["capture"], row["connection"], row["exchange"], row["request_method"], row["request_target"],
            row["response_status"] if row["has_response"] else None, start, first + end, last is not None,
            row["request_frame"], client, server, None if row["response_start"] is None else first + row["response_start"],
        )  # fmt: skip


class _Findings:
    """The findings of a report, by connection."""

    def __init__(self, report: Report) -> None:
        self._starts = {name: clock.first or 0 for name, clock in clocks(report).items()}
        self._by_connection: dict[tuple[str, int], list[Finding]] = {}
        for finding in report.findings:
            for connection in {finding.connection, finding.front}:
                if connection is not None:
                    self._by_connection.setdefault((finding.capture, connection), []).append(finding)

    def of(self, one: CapturedExchange) -> list[Finding]:
        """Return the findings about an exchange, then the findings about its connection that overlap the exchange in time.

        If the connection leads to a gateway, the result includes findings about exchanges that the gateway had with upstream
        servers to serve requests on this connection.
        """
        first = self._starts[one.capture]
        begin, end = (one.start - first) / SECOND, (one.end - first) / SECOND
        own: list[Finding] = []
        beside: list[Finding] = []
        for finding in self._by_connection.get((one.capture, one.connection), []):
            if finding.connection == one.connection and finding.exchange is not None:
                if finding.exchange == one.exchange:
                    own.append(finding)
            elif finding.elapsed <= end and max([finding.elapsed, *(e.elapsed for e in finding.evidence)]) >= begin:
                beside.append(finding)
        return own + beside
