"""Write the explanation of an access log for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wiredoctor.access_log.lines import FORMATS
from wiredoctor.access_log.log_line import LogLine
from wiredoctor.findings import Report
from wiredoctor.report.capture_clocks import zone_line
from wiredoctor.report.commands import show_command, show_place_command
from wiredoctor.report.terminal.capture_sentences import unordered
from wiredoctor.report.terminal.sentences import SECRETS
from wiredoctor.report.terminal.terminal import SEVERITY_STYLE, TerminalWriter
from wiredoctor.report.words import SECOND, count, duration, shorten
from wiredoctor.text import redact
from wiredoctor.text.escape import REQUEST_LENGTH
from wiredoctor.text.time_of_day import time_text, zone_name

if TYPE_CHECKING:
    from wiredoctor.access_log.clock_offset import Offset
    from wiredoctor.report.explained_log import ExplainedLine, ExplainedLog

MAX_LINES = 50
"""The maximum number of explained lines that are written unless all are requested."""

MAX_FINDINGS = 3
_MOMENTS = {"start": "the start of a request", "response": "the start of a response", "end": "the end of a request"}
_OF_A_ZONE = 900 * SECOND
"""The smallest difference between offsets of time zones, in ns: 15 minutes."""


def write(result: ExplainedLog, report: Report, writer: TerminalWriter, *, slow: float, everything: bool) -> None:
    """Write the summary, then each explained log line with its exchange and findings, then a summary of all other lines."""
    if report.secrets:
        writer.paragraph((SECRETS, "bold"))
        writer.blank()
    inside = [one for one in result.lines if not one.match.outside or one.match.exchange]
    writer.paragraph((_headline(result, inside, slow), "bold"))
    writer.paragraph(_log_facts(result))
    if line := zone_line(report):
        writer.paragraph((line, "dim"))
    for line in unordered(report.captures):
        writer.paragraph((line, "bold"))
    shown = inside if everything else inside[:MAX_LINES]
    for one in shown:
        writer.blank()
        _write_line(writer, report, one)
    if len(shown) < len(inside):
        writer.blank()
        writer.paragraph(f"{len(inside) - len(shown):,} more: --all shows them.")
    rest = _not_explained(result, len(result.lines) - len(inside))
    if rest:
        writer.blank()
    for text in rest:
        writer.paragraph(text)


def _headline(result: ExplainedLog, inside: list[ExplainedLine], slow: float) -> str:
    if not inside:
        return (
            f"No line of {result.name} from the time of the capture has a status of 5xx "
            f"or a duration of at least {duration(slow)}."
        )
    found = sum(bool(one.findings) for one in inside)
    matched = sum(one.match.exchange is not None for one in inside)
    return (
        f"{count(len(inside), 'line')} of {result.name} {'has' if len(inside) == 1 else 'have'} a status of 5xx or a "
        f"duration of at least {duration(slow)}: {found:,} with a finding, {matched - found:,} with an exchange but no finding, "
        f"{len(inside) - matched:,} without an exchange."
    )


def _log_facts(result: ExplainedLog) -> str:
    """Return sentences about a log: its number of lines, its format, the meaning of its times, and the offset of its clock."""
    forms = " and ".join(FORMATS[form] for form in result.formats)
    moments = {one.match.line.moment or result.matches.moment for one in result.lines}
    facts = [f"{count(result.log.total, 'line')}{f' ({forms})' if forms else ''}."]
    if len(moments) == 1:
        facts.append(f"Their times are {_MOMENTS[moments.pop()]}.")
    return " ".join([*facts, offset_text(result.matches.offset)])


def offset_text(offset: Offset | None) -> str:
    """Describe by how much the clocks of log and capture differ, and how many lines support this offset."""
    if offset is None:
        return "No line has the request and status of an exchange, so the offset of the log's clock is unknown; 0 is assumed."
    middle, half = offset.middle, max((offset.most - offset.least) // 2, 0)
    support = f"({count(offset.lines, 'matching line')})"
    if not middle:
        return f"The clocks of log and capture agree {support}."
    give = f", give or take {duration(half / SECOND)}" if half else ""
    where = "ahead of" if middle > 0 else "behind"
    text = f"The log's clock is {duration(abs(middle) / SECOND)} {where} the capture's{give} {support}."
    beside = abs(middle) % _OF_A_ZONE
    is_zone = abs(middle) >= _OF_A_ZONE - half and min(beside, _OF_A_ZONE - beside) <= max(half, SECOND)
    return f"{text} Such an offset usually means a different time zone." if is_zone else text


def _write_line(writer: TerminalWriter, report: Report, one: ExplainedLine) -> None:
    line, exchange = one.match.line, one.match.exchange
    writer.paragraph((f"Line {line.number}", "bold"), f"  {line_text(line)}", hang=2)
    if exchange is None:
        writer.paragraph("No exchange in the capture matches this line.", indent=2)
        return
    status = "no response" if exchange.status is None else f"status {exchange.status}"
    took = f" after {duration((exchange.end - exchange.start) / SECOND)}" if exchange.has_end else ""
    place = f"connection {exchange.connection}, exchange {exchange.exchange}, frame {exchange.frame}, {exchange.client} -> "
    when = f"{time_text(exchange.start)}, {status}{took}"
    writer.paragraph((f"{place}{exchange.server}, {when}", "dim"), indent=2, hang=2)
    for finding in one.findings[:MAX_FINDINGS]:
        label = f"{finding.severity.upper()} "
        number = "" if finding.number is None else f" (finding {finding.number})"
        writer.paragraph((label, SEVERITY_STYLE[finding.severity]), f"{finding.rule}: {finding.title}{number}", indent=2, hang=2)
    if len(one.findings) > MAX_FINDINGS:
        writer.paragraph(f"and {count(len(one.findings) - MAX_FINDINGS, 'more finding')}", indent=2)
    if not one.findings:
        writer.paragraph("No finding explains this line.", indent=2)
    where = f"--connection {exchange.connection} --exchange {exchange.exchange}"
    place_command = show_place_command(report, exchange.capture, where)
    if command := show_command(report, one.findings[0]) if one.findings else place_command:
        writer.unbroken((command, "cyan"), indent=2)


def line_text(line: LogLine) -> str:
    """Format a log line as "2026-01-31 10:42:16.000 CET, GET /items, 502, 1.2 s"."""
    time = time_text(line.time, date=True)
    parts = [
        f"{time if line.unit < SECOND else time.partition('.')[0]} {zone_name(line.time)}",
        shorten(_request(line), REQUEST_LENGTH) if line.method else "no request",
        str(line.status) if line.status else "no status",
        "" if line.duration is None else duration(line.duration / SECOND),
    ]
    return ", ".join(part for part in parts if part)


def _request(line: LogLine) -> str:
    return f"{redact.method(line.method)} {redact.target(line.target)}"


def _not_explained(result: ExplainedLog, outside: int) -> list[str]:
    lines: list[str] = []
    if outside:
        lines.append(
            f"{count(outside, 'line')} with such a status or duration {'is' if outside == 1 else 'are'} "
            "from before or after the capture."
        )
    if result.log.unknown:
        first = f"line {result.log.first_unknown}" + (" is the first" if result.log.unknown > 1 else "")
        lines.append(f"{count(result.log.unknown, 'line')} could not be read as an access log: {first}.")
    return lines
