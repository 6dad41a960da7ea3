"""Build the page from a template. The page consists of fixed content and of data that its script reads."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Iterable
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from wiredoctor.findings import CaptureSummary, Report
from wiredoctor.report.coverage import Coverage, find_coverage
from wiredoctor.report.failed_requests import find_failed
from wiredoctor.report.groups import Group, group_findings
from wiredoctor.report.headline import counts, headline
from wiredoctor.report.html import data, graphs, problem_table, proof_pictures, row_limits, tiles
from wiredoctor.report.ladder.draw_svg import RULES
from wiredoctor.report.overview import other_problems
from wiredoctor.report.server_statistics import server_statistics
from wiredoctor.report.terminal import capture_sentences, sentences
from wiredoctor.report.words import clean, count, duration
from wiredoctor.text.time_of_day import DAY, SECOND, is_utc, nanoseconds, time_text, zone_text

if TYPE_CHECKING:
    from wiredoctor.report.formats import Options
    from wiredoctor.report.row_order import Sink

SCRIPTS = ("base", "axis", "grid", "exchanges", "connections", "sequence", "theme", "findings", "main")
"""The files that make up the page's script, in order: each may depend on earlier ones."""


class Capture(NamedTuple):
    """A capture on the page: its name, contents, first packet (time in RFC 3339, or ""), duration, and further lines about it."""

    file: str
    contents: str
    first_time: str
    length: str
    lines: list[str]


class Block(NamedTuple):
    """A block of data in a page: the id of the HTML element, and the encoded text (data.pack)."""

    name: str
    text: str


def write_as(report: Report, out: Sink, options: Options) -> None:
    """Write the report as a page of HTML."""
    write(report, out, quiet=options.quiet, shown=options.shown)


def write(report: Report, out: Sink, *, quiet: bool = False, shown: str = "") -> None:
    """Write the page in UTF-8. If `quiet` is true, omit inputs and coverage. `shown` describes the filter."""
    groups = group_findings(report.findings)
    names = [*dict.fromkeys(c.file for c in report.captures)]
    exchanges, connections = row_limits.exchanges(report), row_limits.connections(report)
    sections = proof_pictures.sections(report, groups)
    packets = graphs.read(report, graphs.chosen(groups, connections, names), exchanges, names)
    _link(sections, packets)
    blocks = [
        Block("data-report", data.pack(_tables(report, groups, exchanges, connections, packets))),
        *(
            Block(f"data-graph-{number}", data.pack(graphs.graph_json(graph, report, connections, names)))
            for number, graph in enumerate(packets.graphs)
        ),
    ]
    page = environment().get_template("page.html")
    said = _page_texts(report, groups, shown, quiet=quiet)
    cut = _omissions(report, exchanges, connections, packets)
    for piece in page.generate(sections=sections, blocks=blocks, cut=cut, **said, **assets(SCRIPTS)):
        out.write(piece.encode("utf-8", "backslashreplace"))


@cache
def environment() -> Environment:
    """Return the template environment, which escapes texts for HTML, and also escapes characters that could mislead a reader."""
    made = Environment(
        loader=PackageLoader("wiredoctor.report.html", "page"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True, finalize=_final,
    )  # fmt: skip
    made.filters.update(time_of_day=_time_of_day)
    return made


def _time_of_day(time: str) -> str:
    """Format a time (RFC 3339) in the time zone of the report; return "" if it is invalid (see `_moment`)."""
    moment = _moment(time)
    return "" if moment is None else time_text(moment, date=True)


def _moment(time: str | None) -> int | None:
    """Convert an RFC 3339 time to ns since 1970.

    Return None if `time` is before January 2, 1970, or is invalid, as it may be in a forged report.
    """
    try:
        moment = nanoseconds(time or None)
    except ValueError:
        return None
    return None if moment is None or moment < DAY else moment


def _final(value: Any) -> Any:
    """Escape invisible characters, and characters that change the text direction. Return markup and other types unchanged."""
    return clean(value) if isinstance(value, str) and not isinstance(value, Markup) else value


@cache
def assets(scripts: tuple[str, ...]) -> dict[str, Any]:
    """Return the style, the script, and a content security policy (CSP level 3) that permits only this style and this script.

    The script consists of all files in `scripts`.
    """
    folder = files("wiredoctor.report.html") / "page"
    style = (folder / "style.css").read_text("utf-8") + RULES
    script = "\n".join((folder / f"{name}.js").read_text("utf-8") for name in scripts)
    script = f'"use strict";\n(() => {{\n{script}\n}})();\n'
    policy = (
        f"default-src 'none'; script-src {_hash(script)}; style-src {_hash(style)}; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    return {"style": Markup(style), "script": Markup(script), "policy": Markup(policy)}


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _link(sections: list[proof_pictures.Section], packets: graphs.Packets) -> None:
    """Store in each finding the number of the graph that shows its connection, if there is one."""
    places = {(graph.capture, graph.connection): number for number, graph in enumerate(packets.graphs)}
    for section in sections:
        for told in (section.worst, *section.others):
            if told.finding.connection is not None:
                told.graph = places.get((told.finding.capture, told.finding.connection))


def _tables(
    report: Report,
    groups: list[Group],
    exchanges: row_limits.LimitedRows,
    connections: row_limits.LimitedRows,
    packets: graphs.Packets,
) -> dict[str, Any]:
    names = [*dict.fromkeys(c.file for c in report.captures)]
    places = {name: place for place, name in enumerate(names)}
    numbers = {
        id(f): number for number, group in enumerate(groups, 1) for f in group.findings if number <= proof_pictures.MAX_SECTIONS
    }
    return {
        "captures": data.capture_names(report),
        "begun": [_milliseconds(next(c.first_time for c in report.captures if c.file == name)) for name in names],
        "over_time": row_limits.exchanges_over_time(report) if exchanges.rows.height < exchanges.of else None,
        "fronts": data.front_rows(report, exchanges.rows, names),
        "failed": data.failed_rows(report, exchanges.rows, names),
        "findings": data.finding_columns(report.findings, places, numbers),
        "exchanges": data.exchange_columns(exchanges, connections.rows),
        "connections": data.connection_columns(connections),
        "bursts": [[places[body[0]], *body[1:], *sum(parts, ())] for body, parts in packets.bursts.items()],
        "graphs": [[places[graph.capture], graph.connection] for graph in packets.graphs],
        "of": {"exchanges": exchanges.of, "connections": connections.of, "findings": len(report.findings)},
        "delay": report.delay,
    }


def _milliseconds(time: str | None) -> float | None:
    """Convert an RFC 3339 time to milliseconds since 1970, as used by JavaScript; None if `_moment` returns None."""
    since = _moment(time)
    return None if since is None else since / 1e6


def _page_texts(report: Report, groups: list[Group], shown: str, *, quiet: bool) -> dict[str, Any]:
    far = find_coverage(report)
    statistics = server_statistics(report)
    servers = tiles.find_servers(report, statistics)
    return {
        "title": ", ".join(os.path.basename(c.file) for c in report.captures[:3]) + (" ..." if len(report.captures) > 3 else "")
        or "No capture",
        "headline": headline(report, groups, far, shown),
        "counts": str(counts(report, groups)),
        "cause": _cause(report, groups, far),
        "tiles": tiles.find_tiles(report, statistics),
        "servers": servers,
        "not_usable": tiles.NOT_USABLE,
        "more_servers": f"The worst {tiles.MAX_ROWS:,} servers ({count(servers.left_out, 'other is', 'others are')} left out)"
        if servers and servers.left_out
        else "",
        "incomplete": capture_sentences.opening(report),
        "secrets": sentences.SECRETS if report.secrets else "",
        "left": other_problems(groups[proof_pictures.MAX_SECTIONS :]) if len(groups) > proof_pictures.MAX_SECTIONS else "",
        "captures": [_capture(c) for c in report.captures],
        "problems": problem_table.problem_table(report, groups),
        "zone": zone_of(c.first_time for c in report.captures),
        "first_time": min((c.first_time for c in report.captures if c.first_time), default=""),
        "last_time": max((c.last_time for c in report.captures if c.last_time), default=""),
        "totals": sentences.totals(report, shown),
        "packets": count(sum(c.packets for c in report.captures), "packet"),
        "failing": sentences.failing(far),
        "limits": report.limits,
        "checked_heading": sentences.checked_heading(report, far),
        "checked": sentences.checked_lines(far),
        "without_findings": sentences.count_of_rules_without_findings(report, far),
        "well": [] if groups else sentences.rules_without_findings(report, far),
        "not_judged": sentences.reasons(report, far),
        "left_out": sentences.left_out_lines(report),
        "several": len(report.captures) > 1,
        "version": report.version,
        "quiet": quiet,
        "utc": is_utc(),
    }


def _cause(report: Report, groups: list[Group], far: Coverage) -> int:
    """Return the number of the card that shows the cause named in the headline.

    Return 0 if there is no cause or no card, or if the card is the first one, which needs no link.
    """
    cause = find_failed(report, (far.answers.requests, far.connections)).cause
    if cause is None:
        return 0
    number = next((number for number, group in enumerate(groups, 1) if cause[0] in group.findings), 0)
    return number if 1 < number <= proof_pictures.MAX_SECTIONS else 0


def zone_of(times: Iterable[str | None]) -> str:
    """Return a text for the time zone of the report; "" if none of the `times` (RFC 3339) is valid (see `_moment`).

    A zone's offset may change with daylight saving time, so the offset at the earliest time is used.
    """
    first = min((moment for moment in map(_moment, times) if moment is not None), default=None)
    return "" if first is None else zone_text(first)


def _capture(capture: CaptureSummary) -> Capture:
    first, last = nanoseconds(capture.first_time), nanoseconds(capture.last_time)
    length = "" if first is None or last is None or last <= first else duration((last - first) / SECOND)
    return Capture(
        capture.file,
        capture_sentences.capture_contents(capture),
        capture.first_time or "",
        length,
        capture_sentences.contents_lines(capture),
    )  # fmt: skip


def _omissions(
    report: Report, exchanges: row_limits.LimitedRows, connections: row_limits.LimitedRows, packets: graphs.Packets
) -> dict[str, str]:
    """Return, for each part of the page, a text that says what the part omits; "" if it omits nothing."""
    findings = len(report.findings)
    of_exchanges = (
        f"{exchanges.rows.height:,} of {count(exchanges.of, 'exchange')}: those with findings, of status 5xx or without "
        "a response, and the slowest; the chart counts all"
        if exchanges.rows.height < exchanges.of else ""
    )  # fmt: skip
    of_connections = (
        f"{connections.rows.height:,} of {count(connections.of, 'connection')}: those with findings, and the largest"
        if connections.rows.height < connections.of else ""
    )  # fmt: skip
    unread = f"The packets of {', '.join(packets.unread)} were not kept for a second pass" if packets.unread else ""
    bursts = f"Bursts of {count(packets.bursts_left_out, 'body', 'bodies')} are not shown" if packets.bursts_left_out else ""
    some = len(packets.graphs) < connections.of
    long = any(capture.packets > graphs.FAR for capture in report.captures)
    early = f" of those that end within the first {graphs.FAR:,} packets" if long else ""
    of_graphs = (
        f"{count(len(packets.graphs), 'connection')} of {connections.of:,}: those of the worst findings, and the largest{early}"
        if some and packets.graphs else ""
    )  # fmt: skip
    return {
        "exchanges": of_exchanges, "connections": of_connections, "graphs": of_graphs, "bursts": bursts, "unread": unread,
        "findings": f"{data.MAX_FINDINGS:,} of {findings:,} findings are in the chart" if findings > data.MAX_FINDINGS else "",
    }  # fmt: skip
