"""Load one finding or one connection: its ladder, its header sections, and other findings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import polars as pl

from wiredoctor.findings import Finding, Report, printable
from wiredoctor.report.capture_clocks import clocks
from wiredoctor.report.data.json import finding as finding_json
from wiredoctor.report.data.json import head as head_json
from wiredoctor.report.ladder.build import MAX_STEPS, Ladder, of_connection, of_finding, places_behind
from wiredoctor.report.packets.heads import Head, head_lines
from wiredoctor.report.packets.streams import spans
from wiredoctor.report.terminal.capture_sentences import unordered
from wiredoctor.text.time_of_day import Clock

EVERY_STEP = 20_000
"""The maximum number of packets that are shown if all are requested."""

MAX_HEADS = 6
"""The maximum number of header sections that are shown with a ladder, unless all are requested."""

EVERY_HEAD = 1_000
LONGEST = 1 << 16
"""The maximum number of bytes of a header section that are shown."""

_MESSAGE = ("offset", "head_bytes", "frame")


class ShowRequest(NamedTuple):
    """A request to show a finding, a connection, or a part of a connection.

    A part is an exchange, a range of frames, or a span in seconds since the first packet of the capture. Ranges and spans include
    both ends. `everything`: show all packets and header sections.
    """

    finding: Finding | None
    capture: str
    connection: int | None
    exchange: int | None = None
    frames: tuple[int, int] | None = None
    span: tuple[float, float] | None = None
    everything: bool = False


class Related(NamedTuple):
    """Another connection that a finding involves: the row and the ladder of the connection, and a description of its role."""

    row: dict[str, Any] | None
    ladder: Ladder
    role: str


class ShownPackets(NamedTuple):
    """The packets to show, and facts about them.

    `connection`: the row of the connection; None if several connections or none are shown. `heads_left`: the number of omitted
    header sections. `findings`: other findings about the connection. `causes`: the findings that caused the shown finding.
    `related`: other connections that the finding involves, with their ladders: a gateway's connections to upstream servers, and
    the connections of the findings in `causes`.
    """

    asked: ShowRequest
    ladder: Ladder
    connection: dict[str, Any] | None
    heads: list[Head]
    heads_left: int
    findings: list[Finding]
    causes: list[Finding]
    clock: Clock
    request_id: str
    """The request id of the exchange that is shown, or ""."""
    related: list[Related]
    unordered: Sequence[str] = ()
    """A sentence about the time order, in a list; the list is empty if the capture is in time order."""


def look(report: Report, asked: ShowRequest) -> ShownPackets:
    """Load the packets and header sections that `asked` requests. The ladder has no steps if the capture cannot be read again."""
    here = [f for f in report.findings if f.capture == asked.capture]
    beside = [f for f in here if f.connection is not None and f.connection == asked.connection]
    most = EVERY_STEP if asked.everything else MAX_STEPS
    causes = [f for f in here if asked.finding is not None and f.place[1] in asked.finding.caused_by]
    others: list[Ladder] = []
    if asked.finding is not None:
        ladder, *others = of_finding(report, asked.finding, causes, most)
    else:
        assert asked.connection is not None
        ladder = of_connection(
            report, asked.capture, asked.connection, frames=asked.frames, span=asked.span, most=most, findings=beside
        )  # fmt: skip
    heads, left = _heads(report, asked, ladder)
    whose = asked._replace(connection=ladder.connections[0]) if len(ladder.connections) == 1 else asked
    clock = clocks(report).get(asked.capture, Clock(None))
    also = [f for f in beside if asked.finding is None or f.number != asked.finding.number]
    row, request_id = connection_row(report, whose), _request_id(report, asked)
    related = [_related(report, asked, one, causes) for one in others]
    said = unordered(one for one in report.captures if one.file == asked.capture)
    return ShownPackets(asked, ladder, row, heads, left, also, causes, clock, request_id, related, said)


def _related(report: Report, asked: ShowRequest, ladder: Ladder, causes: Sequence[Finding]) -> Related:
    connection = ladder.connections[0]
    row = connection_row(report, asked._replace(connection=connection))
    behind = dict(places_behind(report, asked.finding)) if asked.finding else {}
    if connection in behind:
        exchange = behind[connection]
        return Related(row, ladder, f"behind the gateway{'' if exchange is None else f' (exchange {exchange})'}")
    numbers = ", ".join(str(one.number) for one in causes if one.connection == connection)
    return Related(row, ladder, f"of finding {numbers}")


def _request_id(report: Report, asked: ShowRequest) -> str:
    """Return the request id of the exchange that the requested finding is about or, without a finding, of the requested exchange.

    Return "" if there is no request id.
    """
    exchange = asked.finding.exchange if asked.finding else asked.exchange
    if exchange is None or asked.connection is None:
        return ""
    rows = report.scan_exchanges().filter(capture=asked.capture, connection=asked.connection, exchange=exchange)
    found = rows.select("request_id").collect().to_series().to_list()
    return found[0] if found else ""


def connection_row(report: Report, asked: ShowRequest) -> dict[str, Any] | None:
    """Return the row of the requested connection, without the column `capture`; None if there is none."""
    if asked.connection is None:
        return None
    chosen = report.scan_connections().filter(capture=asked.capture, connection=asked.connection)
    rows = chosen.select(pl.exclude("capture")).collect().to_dicts()
    return rows[0] if rows else None


def has_connection(report: Report, capture: str, connection: int) -> bool:
    """Return whether the report has this connection."""
    chosen = report.scan_connections().filter(capture=capture, connection=connection)
    return chosen.select("connection").head(1).collect().height > 0


def exchange_frames(report: Report, capture: str, connection: int, exchange: int) -> tuple[int, int] | None:
    """Return the first and last frame of an exchange, or None if the exchange does not exist."""
    columns = [f"{side}_{name}" for side in ("request", "response") for name in ("frame", "last_frame")]
    row = report.scan_exchanges().filter(capture=capture, connection=connection, exchange=exchange)
    found = row.select(pl.min_horizontal(columns).alias("first"), pl.max_horizontal(columns).alias("last")).collect().rows()
    return found[0] if found else None


def _heads(report: Report, asked: ShowRequest, ladder: Ladder) -> tuple[list[Head], int]:
    """Return header sections, and the number of those that are omitted.

    For a finding, these are the header sections of its exchange. For a connection, these are the header sections of the requested
    exchange or, without one, of all exchanges with a message that begins within the ladder.
    """
    access = report.packets.get(asked.capture)
    if access is None or asked.connection is None or not ladder.steps:
        return [], 0
    exchange = asked.finding.exchange if asked.finding else asked.exchange
    if asked.finding and exchange is None:
        return [], 0
    rows = report.scan_exchanges().filter(capture=asked.capture, connection=asked.connection)
    first, last = ladder.steps[0].frame, ladder.steps[-1].frame
    within = pl.any_horizontal(pl.col(f"{side}_frame").is_between(first, last) for side in ("request", "response"))
    rows = rows.filter(pl.col("exchange") == exchange if exchange is not None else within)
    columns = [f"{side}_{name}" for side in ("request", "response") for name in _MESSAGE]
    titles = ["request_method", "request_target", "request_version", "response_version", "response_status", "response_reason"]
    chosen = rows.select("exchange", *columns, *titles).sort("exchange").head(EVERY_HEAD + 1).collect().to_dicts()
    known = [(row, side) for row in chosen for side in ("request", "response") if row[f"{side}_offset"] is not None]
    known = [(row, side) for row, side in known if row[f"{side}_head_bytes"]]
    most = EVERY_HEAD if asked.everything else MAX_HEADS
    return _read(report, asked, known[:most]), max(len(known) - most, 0)


def _read(report: Report, asked: ShowRequest, known: Sequence[tuple[dict[str, Any], str]]) -> list[Head]:
    assert asked.connection is not None
    row = report.scan_connections().filter(capture=asked.capture, connection=asked.connection)
    client = row.select(pl.col("client_direction")).collect().item()
    places = [_place(row, side, client) for row, side in known]
    found = spans(report.packets[asked.capture], asked.connection, set(places))
    heads: list[Head] = []
    for (row, side), place in zip(known, places, strict=True):
        data, size = found[place], row[f"{side}_head_bytes"]
        lines, more = head_lines(data, _start_line(row, side)) if data is not None else (None, 0)
        heads.append(Head(side, row["exchange"], row[f"{side}_frame"], size, None if lines is None else tuple(lines), more))
    return heads


def _place(row: dict[str, Any], side: str, client: int) -> tuple[int, int, int]:
    begin, length = row[f"{side}_offset"], min(row[f"{side}_head_bytes"], LONGEST)
    return client if side == "request" else 1 - client, begin, begin + length


def _start_line(row: dict[str, Any], side: str) -> str:
    if side == "request":
        return printable(f"{row['request_method']} {row['request_target']} {row['request_version']}")
    return printable(f"{row['response_version']} {row['response_status']} {row['response_reason']}".rstrip())


def as_json(shown: ShownPackets, report: Report) -> dict[str, Any]:
    """Return the shown packets as a JSON object, in the format of `show`."""
    return {
        **head_json(report),
        "capture": shown.asked.capture,
        "connection": _connection(shown.connection),
        "request_id": shown.request_id or None,
        "finding": None if shown.asked.finding is None else finding_json(shown.asked.finding),
        "ladder": _ladder(shown.ladder),
        "related": [
            {"connection": _connection(one.row), "role": one.role, "ladder": _ladder(one.ladder)} for one in shown.related
        ],
        "heads": [{**head._asdict(), "lines": None if head.lines is None else [*head.lines]} for head in shown.heads],
        "more_heads": shown.heads_left,
        "also": [{"number": f.number, "rule": f.rule, "severity": f.severity, "title": f.title} for f in shown.findings],
    }  # fmt: skip


_OF_CONNECTION = (
    *("client", "server", "packets", "client_bytes", "server_bytes", "first_frame", "last_frame", "protocol", "exchanges"),
)


def _connection(row: dict[str, Any] | None) -> dict[str, Any] | None:
    if row is None:
        return None
    ends = {name: row[name] or None for name in ("closed_by", "close")}
    return {"id": row["connection"], **{name: row[name] for name in _OF_CONNECTION}, **ends}


def _ladder(ladder: Ladder) -> dict[str, Any]:
    return {
        "client": ladder.client or None, "server": ladder.server or None, "connections": [*ladder.connections],
        "steps": [_step(step) for step in ladder.steps], "packets_after": ladder.left_out, "missing": ladder.missing or None,
    }  # fmt: skip


def _step(step: Any) -> dict[str, Any]:
    before = step.before
    wait = {"seconds": before.seconds, "packets_not_shown": before.left_out, "of_finding": before.of_finding,
            "waited_for": before.waited_for, "idle": before.idle}  # fmt: skip
    return {**step._asdict(), "notes": [*step.notes], "marks": [*step.marks], "before": wait}
