"""Write findings as SARIF 2.1.0 (OASIS, Static Analysis Results Interchange Format), for code-scanning pages.

Code-scanning pages require a line number. A capture has no lines, so the frame number is used (region.startLine, SARIF section
3.30.5). The `properties` of the run explain this.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from wiredoctor.findings import CaptureSummary, Evidence, Finding, Report
from wiredoctor.report.capture_points import shared_sentence
from wiredoctor.report.coverage import find_coverage
from wiredoctor.report.data.json import ascii_text, finding, separate
from wiredoctor.report.data.sarif_rules import Descriptors
from wiredoctor.report.groups import group_findings
from wiredoctor.report.headline import count_problems, counts, headline
from wiredoctor.report.row_order import Sink
from wiredoctor.report.terminal.capture_sentences import not_analysed
from wiredoctor.report.terminal.evidence import in_file
from wiredoctor.report.terminal.manual import Entry
from wiredoctor.report.terminal.markdown import escape_markdown as markdown_escaped
from wiredoctor.report.terminal.sentences import failing, left_out_lines, reasons
from wiredoctor.report.words import clean

if TYPE_CHECKING:
    from wiredoctor.report.formats import Options

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"

_BASE = "%SRCROOT%"
"""The SARIF name of the folder to which relative paths refer."""

_FRAMES_AS_LINES = "A capture has no lines: startLine is a frame number (frame.number in Wireshark)."

_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~/")
"""The characters that stay unescaped in a path: unreserved ones (RFC 3986 section 2.3) and the separator."""

_MEDIA_TYPES = {"pcap": "application/vnd.tcpdump.pcap"}

_NOTIFICATIONS = {
    "not-read": "An input could not be read.",
    "incomplete": "The report does not cover everything that was requested.",
    "damaged": "The capture could not be read to its end.",
    "limit": "A limit of wiredoctor was reached: parts of the capture were left out of the analysis.",
    "not-analysed": "Packets were not analyzed.",
    "not-judged": "Something could not be judged, or could be judged only in part.",
    "left-out": "Findings were excluded from this report.",
    "captured-again": "Conversations were captured at several points; their findings count once per point.",
}

_IN_PROPERTIES_NOT = ("rule", "severity", "title", "message", "evidence", "capture", "fingerprint")
"""Keys of a JSON finding that are left out of the SARIF properties, because other parts of a SARIF result contain their values.
"""

Json = dict[str, Any]


def write_as(report: Report, out: Sink, options: Options) -> None:
    """Write the report as SARIF."""
    write(report, out, options.rules, unread=options.unread, code=options.code, shown=options.shown)


def write(
    report: Report, out: Sink, rules: Mapping[str, Entry],
    *, unread: Iterable[str] = (), code: int | None = None, shown: str = "",
) -> None:  # fmt: skip
    """Write a SARIF log file with one run; each result is on a line of its own.

    `rules`: all existing rules by name. `unread`: one line for each input that could not be read. `code`: the exit code of the
    command. `shown`: as in formats.Options.
    """
    descriptors = Descriptors(rules, [*report.checked, *(one.rule for one in report.findings)])
    places = {name: index for index, name in enumerate(dict.fromkeys(c.file for c in report.captures))}
    lines = [*unread]
    out.write(f'{{"$schema": {ascii_text(SCHEMA)}, "version": "2.1.0", "runs": [{{\n'.encode())
    head: Json = {
        "tool": {"driver": _driver(report, descriptors)},
        "columnKind": "unicodeCodePoints",
        "originalUriBaseIds": {_BASE: {"description": {"text": "the folder in which wiredoctor was started"}}},
        "artifacts": [_artifact(c) for c in {c.file: c for c in report.captures}.values()],
        "invocations": [_invocation(report, lines, places, code)],
        "properties": _summary(report, shown),
    }
    out.write("".join(f' "{key}": {ascii_text(value)},\n' for key, value in head.items()).encode())
    out.write(b' "results": [')
    for piece in separate(_result(one, descriptors.index(one.rule), places) for one in report.findings):
        out.write(piece)
    out.write(b"]\n}]}\n")


def _driver(report: Report, descriptors: Descriptors) -> Json:
    return {
        "name": "wiredoctor",
        "version": report.version,
        "rules": [*descriptors.rules(report.findings)],
        "notifications": [{"id": name, "shortDescription": {"text": text}} for name, text in _NOTIFICATIONS.items()],
    }


def _summary(report: Report, shown: str) -> Json:
    groups, far = group_findings(report.findings), find_coverage(report)
    return {
        "headline": headline(report, groups, far, shown),
        "counts": str(counts(report, groups)),
        "problems": count_problems(groups),
        "connections": report.connection_count,
        "exchanges": report.exchange_count,
        "delay": report.delay,
        "failed_responses": failing(far),
        "secrets": report.secrets,
        "comment": _FRAMES_AS_LINES,
    }


def uri(name: str) -> str:
    """Return the name of a capture as a URI reference (RFC 3986); an absolute path becomes a file:// URI."""
    path = PurePath(name).as_posix()
    try:
        raw = path.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raw = path.encode("utf-8", "replace")
    quoted = "".join(chr(byte) if byte in _UNRESERVED else f"%{byte:02X}" for byte in raw)
    if not PurePath(name).is_absolute():
        return quoted
    return f"file://{quoted}" if path.startswith("/") else f"file:///{quoted.replace('%3A', ':', 1)}"  # a drive of Windows


def _artifact_location(name: str) -> Json:
    text = uri(name)
    return {"uri": text} if text.startswith("file:") else {"uri": text, "uriBaseId": _BASE}


def _artifact(capture: CaptureSummary) -> Json:
    return {
        "location": _artifact_location(capture.file),
        "length": capture.bytes,
        "roles": ["analysisTarget"],
        "mimeType": _MEDIA_TYPES.get(capture.format, "application/octet-stream"),
        "properties": {
            "format": clean(capture.format), "packets": capture.packets,
            "first_time": capture.first_time, "last_time": capture.last_time,
        },
    }  # fmt: skip


def _place(capture: str, places: Mapping[str, int], frame: int, text: str = "") -> Json:
    where: Json = {"artifactLocation": {**_artifact_location(capture)}, "region": {"startLine": max(frame, 1)}}
    if capture in places:
        where["artifactLocation"]["index"] = places[capture]
    return {"physicalLocation": where, **({"message": {"text": _plain(text)}} if text else {})}


def _result(one: Finding, index: int, places: Mapping[str, int]) -> Json:
    first = one.evidence[0].frame if one.evidence else 0
    properties = {name: value for name, value in finding(one).items() if name not in _IN_PROPERTIES_NOT}
    result: Json = {
        "ruleId": clean(one.rule),
        "ruleIndex": index,
        "level": one.severity,
        "message": {
            "text": _plain(f"{one.title}. {one.message}"),
            "markdown": f"**{markdown_escaped(one.title)}** {markdown_escaped(one.message)} {markdown_escaped(one.remedy)}",
        },
        "locations": [_place(one.capture, places, first)],
        "partialFingerprints": {"wiredoctorFinding/v1": one.fingerprint, "primaryLocationLineHash": one.fingerprint},
        "occurrenceCount": max(one.count, 1),
        "properties": properties,
    }
    if one.evidence:
        steps = [_step(e, one.capture, places) for e in one.evidence]
        result["codeFlows"] = [{"message": {"text": "Evidence, in frame order"}, "threadFlows": [{"locations": steps}]}]
    return result


def _step(e: Evidence, capture: str, places: Mapping[str, int]) -> Json:
    text = f"frame {e.frame}, {e.elapsed:.6f} s{in_file(e)}: {e.note}"
    return {"location": _place(capture, places, e.frame, text), "importance": "essential", "properties": {"elapsed": e.elapsed}}


def _plain(text: str) -> str:
    """Return the text with brackets escaped if they would form a link: in SARIF messages, `[x](y)` is a link (section 3.11)."""
    return clean(text).replace("](", "]\\(")


def _invocation(report: Report, unread: list[str], places: Mapping[str, int], code: int | None) -> Json:
    made: Json = {"executionSuccessful": not (unread or report.incomplete)}
    if code is not None:
        made["exitCode"] = code
    return {**made, "toolExecutionNotifications": [*_notifications(report, unread, places)]}


def _notifications(report: Report, unread: list[str], places: Mapping[str, int]) -> Iterator[Json]:
    for line in unread:
        yield _notification("not-read", "error", line)
    for line in report.incomplete:
        yield _notification("incomplete", "error", line)
    for capture in report.captures:
        said = [
            *(("damaged", "warning", f"damaged: {capture.damage}") for _ in range(bool(capture.damage))),
            *(("not-analysed", "note", line) for line in not_analysed(capture)),
        ]
        for name, level, text in said:
            yield {**_notification(name, level, text), "locations": [_place(capture.file, places, 1)]}
    for limit in report.limits:
        yield _notification("limit", "warning", limit)
    for line in reasons(report, find_coverage(report)):
        yield _notification("not-judged", "note", line)
    for line in left_out_lines(report):
        yield _notification("left-out", "note", line)
    for line in shared_sentence(report):
        yield _notification("captured-again", "note", line)


def _notification(name: str, level: str, text: str) -> Json:
    index = [*_NOTIFICATIONS].index(name)
    return {"descriptor": {"id": name, "index": index}, "level": level, "message": {"text": _plain(text)}}
