"""Check conditions that every report and every set of tables must meet, whatever the capture contains."""

from __future__ import annotations

import io
import json
import math
import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.compare.comparisons import all_forms
from tests.fuzzing.guard import must
from tests.report.agreeing import check_formats
from tests.report.pages import Page, page_of
from wiredoctor.report.data import json as report_json
from wiredoctor.report.packets.follow import Window
from wiredoctor.report.packets.follow import text as text_of
from wiredoctor.report.packets.streams import Run, follow
from wiredoctor.report.terminal import connections as connection_table
from wiredoctor.report.terminal import exchanges as exchange_table
from wiredoctor.report.terminal import markdown, show, show_text, text
from wiredoctor.report.terminal.terminal import Terminal, TerminalWriter
from wiredoctor.tables import CONNECTIONS, EXCHANGES, NEVER

if TYPE_CHECKING:
    import polars as pl

    from wiredoctor import Report

CONTROLS = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ue000\ufeff\ud800-\udfff]")
"""What no text may hold: everything that a terminal or a reader could take for a command."""

HUGE = 300 * 366 * 86_400.0
"""Seconds: captures are clipped to 73 years either side of their first packet."""

Parsed = dict[str, Any]


def check_report(report: Report, *, schema: bool = False) -> Parsed:
    """Every form of the report, and what must be so in it. Returns the whole JSON."""
    parsed = as_json(report)
    if schema:
        errors = [e.message[:200] for e in _validator().iter_errors(parsed)]
        must(not errors, "the JSON keeps to its schema", errors[:3])
    _check_texts(report)
    _check_lines(report, parsed)
    check_formats(report, parsed)
    for finding in parsed["findings"]:
        _check_finding(finding, parsed)
    _check_counts(parsed)
    by_id = {(c["capture"], c["id"]): c for c in parsed["connections"]}
    must(len(by_id) == len(parsed["connections"]), "connections have ids of their own")
    for exchange in parsed["exchanges"]:
        connection = by_id.get((exchange["capture"], exchange["connection"]))
        must(connection is not None, "an exchange is of a connection", exchange)
        _check_exchange(exchange, connection or {})
    return parsed


def as_json(report: Report) -> Parsed:
    """The whole JSON report, read by another parser."""
    out = io.BytesIO()
    report_json.write(report, out, full=True)
    written = out.getvalue()
    must(written.isascii(), "JSON is ASCII")
    return json.loads(written, parse_constant=_no_number)


def as_text(report: Report) -> bytes:
    """The whole JSON report as written, to hold it against another."""
    out = io.BytesIO()
    report_json.write(report, out, full=True)
    return out.getvalue()


def _no_number(name: str) -> None:
    must(False, "JSON has no NaN and no infinity", name)


@cache
def _validator() -> Any:
    from jsonschema import Draft202012Validator

    from wiredoctor.report.data.json_schema import schema

    return Draft202012Validator(schema())


def _check_texts(report: Report) -> None:
    for paper in (Terminal(80, unicode=True), Terminal(200)):
        page = io.StringIO()
        text.write(report, page, paper, everything=paper.width == 200)
        _clean(page.getvalue(), "text")
        for table in (connection_table, exchange_table):
            page = io.StringIO()
            table.write(report, page, paper)
            _clean(page.getvalue(), "a table")
    out = io.BytesIO()
    markdown.write(report, out)
    _clean(out.getvalue().decode(), "Markdown")
    # what stands between fences is shown as it is
    prose = re.sub(r"^(`{3,})[^`\n]*\n.*?^\1$", "", out.getvalue().decode(), flags=re.MULTILINE | re.DOTALL)
    must("<script" not in prose.lower(), "Markdown holds no markup of packets")
    _check_html(report)
    for form, said in all_forms(report).items():
        _clean(said, form)


def _check_html(report: Report) -> None:
    page = page_of(report)
    read = Page(page)
    must(not read.unbalanced and not read.open, "elements of HTML end in order", read.unbalanced[:3])
    _clean("".join(read.said), "HTML")
    attributes = {name for _, some in read.elements for name in some}
    must(not [name for name in attributes if name.startswith("on")], "HTML has no script of packets")


MAX_SHOWN = 2
"""Findings and connections of a report of which the packets are shown, too."""


def check_shown(report: Report) -> None:
    """What `show` says of some findings and connections."""
    first = report.connections.select("capture", "connection", "packets").head(MAX_SHOWN).rows()
    asked = [show.ShowRequest(f, f.capture, f.connection) for f in report.findings[:MAX_SHOWN]]
    asked += [show.ShowRequest(None, capture, connection, everything=True) for capture, connection, _ in first]
    for one in asked:
        shown = show.look(report, one)
        page = io.StringIO()
        show_text.write(shown, TerminalWriter(page, Terminal(80, unicode=True)), secrets=False)
        _clean(page.getvalue(), "show")
        json.loads(json.dumps(show.as_json(shown, report), allow_nan=False), parse_constant=_no_number)
    for capture, connection, packets in first:
        shown = show.look(report, show.ShowRequest(None, capture, connection, everything=True))
        must(len(shown.ladder.steps) == min(packets, show.EVERY_STEP), "a ladder has every packet", capture, connection)
        events = [*follow(report.packets[capture], connection)]
        # a packet from before the start of what is known comes late, and may itself be cut short
        must(all(e.offset >= 0 or isinstance(e, Run) or e.cut for e in events), "holes have a place")
        for line, _ in text_of(events, {0: ("client", ""), 1: ("server", "")}, Window()):
            must(line.isascii() and line.isprintable(), "no control characters in --follow", line)


def _clean(page: str, where: str) -> None:
    found = CONTROLS.search(page)
    if found:
        must(False, f"no control characters in {where}", page[max(found.start() - 60, 0) : found.end() + 20])


def _check_lines(report: Report, parsed: Parsed) -> None:
    out = io.BytesIO()
    report_json.write_lines(report, out)
    *findings, rest = [json.loads(line, parse_constant=_no_number) for line in out.getvalue().splitlines()]
    must(findings == parsed["findings"], "JSON Lines and JSON have the same findings")
    must(rest["summary"] == parsed["summary"], "JSON Lines and JSON have the same summary")


def _check_finding(finding: Parsed, parsed: Parsed) -> None:
    rule = finding["rule"]
    capture = next(c for c in parsed["captures"] if c["file"] == finding["capture"])
    frames = [e["frame"] for e in finding["evidence"]]
    must(all(1 <= f <= capture["packets"] for f in frames), f"evidence of {rule} lies in the capture", frames)
    must(frames == sorted(frames), f"evidence of {rule} is in the order of frames", frames)
    times = [finding["elapsed"], *(e["elapsed"] for e in finding["evidence"])]
    must(all(abs(t) < HUGE for t in times), f"times of {rule} are finite", times)
    delay = finding["delay"]
    must(delay is None or 0 <= delay < HUGE, f"the delay of {rule} is a length of time", delay)
    must(finding["count"] >= 1, f"{rule} stands for something", finding["count"])
    must(all(math.isfinite(v) for v in finding["measures"].values()), f"measures of {rule} are finite", finding["measures"])
    for name in ("message", "title", "remedy"):
        must(not re.search(r"\{\w*\}|\bNone\b|\bnan\b", finding[name]), f"the {name} of {rule} is filled in", finding[name])


def _check_counts(parsed: Parsed) -> None:
    summary = parsed["summary"]
    by_severity = dict.fromkeys(("error", "warning", "note"), 0)
    for finding in parsed["findings"]:
        by_severity[finding["severity"]] += 1
    must(by_severity == summary["findings"], "findings are counted", by_severity, summary["findings"])
    must(summary["connections"] == len(parsed["connections"]), "connections are counted", summary, len(parsed["connections"]))
    must(summary["exchanges"] == len(parsed["exchanges"]), "exchanges are counted", summary, len(parsed["exchanges"]))
    delays = sum(f["delay"] or 0 for f in parsed["findings"])
    must(0 <= summary["delay"] <= delays + 1e-6, "the summary's delay is no more than all delays", summary["delay"], delays)
    for capture in parsed["captures"]:
        left_out = sum(n["packets"] for n in capture["not_analysed"])
        own = [c for c in parsed["connections"] if c["capture"] == capture["file"]]
        packets = sum(c["packets"] for c in own) + left_out + capture["duplicates"]
        must(packets <= capture["packets"], "no packet is counted twice", packets, capture["packets"])
        for c in own:
            inside = 1 <= c["first_frame"] <= c["last_frame"] <= capture["packets"]
            must(inside, "a connection lies in the capture", c)
            must(min(c["packets"], c["client_bytes"], c["server_bytes"]) >= 0, "counts of a connection", c)


def _check_exchange(exchange: Parsed, connection: Parsed) -> None:
    must(exchange["request"] or exchange["response"], "an exchange has a message", exchange)
    # a SYN says who the client is, whoever sends the requests
    sent = max(connection["client_bytes"], connection["server_bytes"])
    for name in ("request", "response"):
        message = exchange[name]
        if message is None:
            continue
        must(message["frame"] <= message["last_frame"], f"a {name} ends behind its beginning", message)
        inside = connection["first_frame"] <= message["frame"] and message["last_frame"] <= connection["last_frame"]
        must(inside, f"a {name} lies in its connection", message, connection)
        must(min(message["head_bytes"], message["body_bytes"]) >= 0, f"counts of a {name}", message)
        must(message["body_bytes"] <= sent, f"a {name} is no longer than what was sent", message, connection)
    for name, seconds in exchange["timing"].items():
        if name not in ("stalled", "limited"):
            # the wait is at least 0 by its definition; the others are what the clock said, which may have been set back
            least = 0 if name == "server" else -HUGE
            must(seconds is None or least <= seconds < HUGE, f"timing.{name} is a length of time", exchange)


def check_tables(tables: dict[str, pl.DataFrame], packets: int) -> None:
    """What holds of segments, connections and exchanges, as the rules see them."""
    import polars as pl

    segments, connections = tables["segments"], tables["connections"]
    must(segments["frame"].is_unique().all(), "a frame is one segment")
    if segments.height:
        must(segments["frame"].min() >= 1 and segments["frame"].max() <= packets, "segments lie in the capture")
        bad = segments.filter(
            (pl.col("new_bytes") < 0) | (pl.col("new_bytes") > pl.col("length")) | (pl.col("captured") > pl.col("length"))
        )
        must(not bad.height, "new bytes are some of the bytes", bad.select("frame", "length", "new_bytes").rows()[:3])
        sums = segments.group_by("connection").agg(pl.len().alias("seen"), pl.col("new_bytes").sum())
        joined = connections.join(sums, on="connection", how="left").with_columns(pl.col("seen", "new_bytes").fill_null(0))
        wrong = joined.filter(pl.col("seen") != pl.col("packets"))
        must(
            not wrong.height,
            "packets of connections are their segments",
            wrong.select("connection", "packets", "seen").rows()[:3],
        )
        wrong = joined.filter(pl.col("new_bytes") != pl.col("client_bytes") + pl.col("server_bytes"))
        must(
            not wrong.height,
            "bytes of connections are the new bytes of their segments",
            wrong.select("connection", "client_bytes", "server_bytes", "new_bytes").rows()[:3],
        )
    ids = connections["connection"].to_list()
    must(len(set(ids)) == len(ids), "connections have ids of their own")
    for table, name in ((connections, CONNECTIONS), (tables["exchanges"], EXCHANGES)):
        for column in name.columns:
            if column.name in table.columns and column.sentinel == NEVER:
                must(not (table[column.name] == NEVER).any(), f"no sentinel in {name.name}.{column.name}")


def same_tables(expected: dict[str, pl.DataFrame], seen: dict[str, pl.DataFrame], how: str) -> None:
    """Check that every table has the same rows."""
    for name, frame in expected.items():
        other = seen[name]
        must(other.height == frame.height, f"{name} has the same rows {how}", frame.height, other.height)
        differ = [c for c in frame.columns if not frame[c].equals(other[c], null_equal=True)]
        if differ:
            rows = [i for i, (a, b) in enumerate(zip(frame[differ[0]], other[differ[0]], strict=True)) if a is not b and a != b]
            what = [(c, frame[c].gather(rows[:4]).to_list(), other[c].gather(rows[:4]).to_list()) for c in differ[:4]]
            must(False, f"{name}.{differ[0]} is the same {how}", rows[:6], what, differ)


def frames_of(segments: pl.DataFrame, quoted: Path | None = None) -> dict[int, int]:
    """Frame -> connection."""
    return dict(zip(segments["frame"].to_list(), segments["connection"].to_list(), strict=True))
