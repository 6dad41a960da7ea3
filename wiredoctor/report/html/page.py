"""The page: what is known before it is opened, in a template; what a script draws, as data at its end."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from wiredoctor.report.coverage import reach
from wiredoctor.report.groups import Group, grouped
from wiredoctor.report.html import data, graphs, proof_pictures, row_limits
from wiredoctor.report.ladder.draw_svg import RULES
from wiredoctor.report.terminal import sentences
from wiredoctor.report.words import clean, count

if TYPE_CHECKING:
    from wiredoctor.findings import CaptureSummary, Report
    from wiredoctor.report.ordered import Sink

SCRIPTS = ("base", "axis", "grid", "exchanges", "connections", "sequence", "main")
"""Files of the page's script, in order: each stands on those before it."""


class Block(NamedTuple):
    """Data of a page: the id of its element, and its text (data.packed)."""

    name: str
    text: str


def write(report: Report, out: Sink, *, quiet: bool = False, shown: str = "") -> None:
    """The page, in UTF-8. quiet: without what was read and how far it reaches. shown: in words, what it was narrowed to."""
    groups = grouped(report.findings)
    names = [*dict.fromkeys(c.file for c in report.captures)]
    exchanges, connections = row_limits.exchanges(report), row_limits.connections(report)
    sections = proof_pictures.sections(report, groups)
    packets = graphs.read(report, graphs.chosen(groups, connections, names), exchanges, names)
    _link(sections, packets)
    blocks = [
        Block("data-report", data.packed(_tables(report, groups, exchanges, connections, packets))),
        *(
            Block(f"data-graph-{number}", data.packed(graphs.told(graph, report, connections, names)))
            for number, graph in enumerate(packets.graphs)
        ),
    ]
    page = environment().get_template("page.html")
    said = _said(report, groups, shown, quiet=quiet)
    cut = _cut(report, exchanges, connections, packets)
    for piece in page.generate(sections=sections, blocks=blocks, cut=cut, **said, **_parts()):
        out.write(piece.encode("utf-8", "backslashreplace"))


@cache
def environment() -> Environment:
    """Templates in which every text is escaped, for HTML and for whoever reads it."""
    return Environment(
        loader=PackageLoader("wiredoctor.report.html", "page"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True, finalize=_final,
    )  # fmt: skip


def _final(value: Any) -> Any:
    """No sign that a browser shows as nothing, or that turns the direction of what stands beside it."""
    return clean(value) if isinstance(value, str) and not isinstance(value, Markup) else value


@cache
def _parts() -> dict[str, Any]:
    """Style and script, and a policy that lets nothing else do anything (CSP level 3)."""
    folder = files("wiredoctor.report.html") / "page"
    style = (folder / "style.css").read_text("utf-8") + RULES
    script = "\n".join((folder / f"{name}.js").read_text("utf-8") for name in SCRIPTS)
    script = f'"use strict";\n(() => {{\n{script}\n}})();\n'
    policy = (
        f"default-src 'none'; script-src {_hash(script)}; style-src {_hash(style)}; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    return {"style": Markup(style), "script": Markup(script), "policy": Markup(policy)}


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _link(sections: list[proof_pictures.Section], packets: graphs.Packets) -> None:
    """Which graph shows a finding."""
    places = {(graph.capture, graph.connection): number for number, graph in enumerate(packets.graphs)}
    for section in sections:
        for told in (section.worst, *section.others):
            if told.finding.connection is not None:
                told.graph = places.get((told.finding.capture, told.finding.connection))


def _tables(
    report: Report, groups: list[Group], exchanges: row_limits.Kept, connections: row_limits.Kept, packets: graphs.Packets
) -> dict[str, Any]:
    names = [*dict.fromkeys(c.file for c in report.captures)]
    places = {name: place for place, name in enumerate(names)}
    numbers = {
        id(f): number for number, group in enumerate(groups, 1) for f in group.findings if number <= proof_pictures.MOST_SECTIONS
    }
    return {
        "captures": data.capture_names(report),
        "findings": data.finding_columns(report.findings, places, numbers),
        "exchanges": data.exchange_columns(exchanges, connections.rows),
        "connections": data.connection_columns(connections),
        "bursts": [[places[body[0]], *body[1:], *sum(parts, ())] for body, parts in packets.bursts.items()],
        "graphs": [[places[graph.capture], graph.connection] for graph in packets.graphs],
        "of": {"exchanges": exchanges.of, "connections": connections.of, "findings": len(report.findings)},
        "delay": report.delay,
    }


def _said(report: Report, groups: list[Group], shown: str, *, quiet: bool) -> dict[str, Any]:
    far = reach(report)
    named = [] if report.findings else sentences.well(report, far)
    rest = sentences.rest(report, far)
    return {
        "title": ", ".join(c.file.rpartition("/")[2] for c in report.captures[:3]) + (" ..." if len(report.captures) > 3 else ""),
        "headline": sentences.headline(report, groups) if groups else sentences.nothing(report, far, shown),
        "incomplete": sentences.opening(report),
        "secrets": sentences.SECRETS if report.secrets else "",
        "left": sentences.more(groups[proof_pictures.MOST_SECTIONS :]) if len(groups) > proof_pictures.MOST_SECTIONS else "",
        "captures": [(c.file, sentences.facts(c), _of_capture(c)) for c in report.captures],
        "totals": sentences.totals(report, shown),
        "failing": sentences.failing(far),
        "limits": report.limits,
        "checked": [*sentences.checked(far), *([f"{rest}{':' if named else ''}"] if rest else [])],
        "well": named,
        "not_judged": sentences.reasons(report, far),
        "left_out": sentences.known(report),
        "several": len(report.captures) > 1,
        "version": report.version,
        "quiet": quiet,
    }


def _of_capture(capture: CaptureSummary) -> list[str]:
    lines = sentences.encapsulated(capture) + sentences.not_analysed(capture)
    return [*lines, f"damaged: {capture.damage}"] if capture.damage else lines


def _cut(report: Report, exchanges: row_limits.Kept, connections: row_limits.Kept, packets: graphs.Packets) -> dict[str, str]:
    """What the page has not, a sentence for each of its parts; empty where it has all."""
    findings = len(report.findings)
    of_exchanges = (
        f"{exchanges.rows.height:,} of {count(exchanges.of, 'exchange')}: those that findings speak of, and the slowest"
        if exchanges.rows.height < exchanges.of else ""
    )  # fmt: skip
    of_connections = (
        f"{connections.rows.height:,} of {count(connections.of, 'connection')}: those that findings speak of, and the largest"
        if connections.rows.height < connections.of else ""
    )  # fmt: skip
    unread = f"The packets of {', '.join(packets.unread)} were not kept to be read again" if packets.unread else ""
    bursts = f"Bursts are not shown of {count(packets.bursts_left_out, 'body', 'bodies')}" if packets.bursts_left_out else ""
    some = len(packets.graphs) < connections.of
    long = any(capture.packets > graphs.FAR for capture in report.captures)
    early = f" of those that end within the first {graphs.FAR:,} packets" if long else ""
    of_graphs = (
        f"{count(len(packets.graphs), 'connection')} of {connections.of:,}: of the worst findings, and the largest{early}"
        if some and packets.graphs else ""
    )  # fmt: skip
    return {
        "exchanges": of_exchanges, "connections": of_connections, "graphs": of_graphs, "bursts": bursts, "unread": unread,
        "findings": f"{data.MOST_FINDINGS:,} of {findings:,} findings are marked in it" if findings > data.MOST_FINDINGS else "",
    }  # fmt: skip
