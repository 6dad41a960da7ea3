"""Collect the rows of a ladder: read the packets again, choose some of them (select.py), and add known facts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from wiredoctor.findings import PacketAccess, Portion, Report, host
from wiredoctor.report.ladder.select import Choice, Plan
from wiredoctor.report.ladder.tls_records import Part, RecordNames

SEGMENT = [
    *("frame", "time", "connection", "direction", "flags", "offset", "length", "ack", "window", "new_bytes", "acked_bytes"),
    *("retransmission", "fills_gap", "opens_gap", "overlap", "keep_alive_probe", "pure_ack", "window_update"),
    *("duplicate_ack", "zero_window", "acked_unseen", "sack", "dsack"),
]
"""The columns of a segment that a ladder needs."""

_MESSAGE = ["offset", "end_offset", "head_bytes", "body_bytes", "framing", "end_reason"]
EXCHANGE = [
    *("connection", "exchange", "interim", "interim_times", "request_method", "request_target", "response_status"),
    *("response_reason", "request_frame", "request_last_frame", "response_frame", "response_last_frame"),
    *(f"{side}_{name}" for side in ("request", "response") for name in _MESSAGE),
]
"""The columns of an exchange that a ladder needs."""

CONNECTION = ["connection", "client", "server", "client_direction", "packets", "protocol", "tls_version"]
PIECE = ["connection", "direction", "offset", "length", "captured", "payload"]

NOT_KEPT = "the packets were not kept for a second pass"
NO_CONNECTION = "the connection does not exist"

Records = Mapping[tuple[int, int], list[Part]]
"""The TLS records of connections, by connection id and direction."""


class Rows(NamedTuple):
    """The rows read for one ladder, as its Plan (select.py) specifies.

    `segments`: the columns SEGMENT and `position` (the index in the connection), in frame order. `exchanges`: the columns
    EXCHANGE of the exchanges to which segments may belong. Three dictionaries are keyed by connection: `clients` (the direction
    in which the client sends), `packets` (the number of packets) and `protocols`. `records`: the TLS records by connection and
    direction. `client`, `server`, `missing`: as in Ladder.
    """

    plan: Plan
    segments: list[dict[str, Any]]
    exchanges: list[dict[str, Any]]
    clients: dict[int, int]
    packets: dict[int, int]
    protocols: dict[int, str]
    records: Records
    client: str = ""
    server: str = ""
    missing: str = ""

    def from_client(self, row: dict[str, Any]) -> bool:
        """Return whether the client sent the segment in this row."""
        return row["direction"] == self.clients.get(row["connection"], 0)


def read(report: Report, plans: Sequence[Plan]) -> list[Rows]:
    """Return the rows for each plan, in the order of `plans`. Each capture is read only once."""
    found: dict[int, Rows] = {}
    for capture in dict.fromkeys(plan.capture for plan in plans):
        own = [(number, plan) for number, plan in enumerate(plans) if plan.capture == capture]
        access = report.packets.get(capture)
        names = _find_tls(report, capture, [plan for _, plan in own])
        chosen = _choose(access, [plan for _, plan in own], names) if access else None
        records = {place: one.parts() for place, one in names.items()}
        for place, (number, plan) in enumerate(own):
            found[number] = _rows(report, plan, chosen[place] if chosen else None, records)
    return [found[number] for number in range(len(plans))]


def _find_tls(report: Report, capture: str, plans: list[Plan]) -> dict[tuple[int, int], RecordNames]:
    """Return an object that names TLS records for each direction of the connections with TLS."""
    ids = [plan.connection for plan in plans if plan.connection is not None]
    here = (pl.col("capture") == capture) & (pl.col("protocol") == "tls") & pl.col("connection").is_in(ids)
    known = report.scan_connections().filter(here).select("connection", "tls_version").collect()
    return {(c, direction): RecordNames(is_1_3=version == "TLS 1.3") for c, version in known.iter_rows() for direction in (0, 1)}


def _rows(report: Report, plan: Plan, segments: list[dict[str, Any]] | None, records: Records) -> Rows:
    ids = sorted({row["connection"] for row in segments or ()} | ({plan.connection} if plan.connection is not None else set()))
    here = pl.col("capture") == plan.capture
    scan = report.scan_connections().filter(here, pl.col("connection").is_in(ids))
    known = scan.select(CONNECTION).collect().sort("connection").to_dicts()
    rows = Rows(
        plan, segments or [], [],
        {c["connection"]: c["client_direction"] for c in known}, {c["connection"]: c["packets"] for c in known},
        {c["connection"]: c["protocol"] for c in known}, records, _end(known, "client"), _end(known, "server"),
    )  # fmt: skip
    if segments is None:
        return rows._replace(missing=NOT_KEPT)
    if plan.connection is not None and not known and not segments:
        return rows._replace(missing=NO_CONNECTION)
    return rows._replace(exchanges=[*_exchanges(report, here, rows)])


def _end(connections: list[dict[str, Any]], side: str) -> str:
    """Return the endpoint of the connections on `side`, or its host if there are several ports; "" if there are several hosts."""
    ends = {c[side] for c in connections}
    hosts = {host(end) or "" for end in ends}
    return ends.pop() if len(ends) == 1 else hosts.pop() if len(hosts) == 1 else ""


def _exchanges(report: Report, here: pl.Expr, rows: Rows) -> Iterator[dict[str, Any]]:
    """Yield the exchanges that at least one packet of the ladder may belong to, according to their first and last frames."""
    if not rows.segments:
        return
    scan = report.scan_exchanges()
    for connection in sorted({row["connection"] for row in rows.segments}):
        frames = np.array([row["frame"] for row in rows.segments if row["connection"] == connection])
        own = scan.filter(here, pl.col("connection") == connection)
        first = pl.min_horizontal("request_frame", "response_frame").fill_null(0)
        last = pl.max_horizontal("request_last_frame", "response_last_frame", first)
        spans = own.select("exchange", first.alias("first"), last.alias("last")).collect()
        place = np.minimum(np.searchsorted(frames, spans["first"].to_numpy()), len(frames) - 1)
        met = (frames[place] >= spans["first"].to_numpy()) & (frames[place] <= spans["last"].to_numpy())
        chosen = spans["exchange"].to_numpy()[met]
        yield from own.filter(pl.col("exchange").is_in(pl.Series(chosen).implode())).select(EXCHANGE).collect().to_dicts()


def _choose(access: PacketAccess, plans: list[Plan], tls: dict[tuple[int, int], RecordNames]) -> list[list[dict[str, Any]]]:
    """Read a capture once and return the chosen segments of each plan, in frame order. Add the TLS records to `tls`."""
    connections = sorted({plan.connection for plan in plans if plan.connection is not None})
    frames = {frame for plan in plans if plan.connection is None for frame in plan.wanted}
    choices = [Choice(plan) for plan in plans]
    tables = {"segments": SEGMENT} | ({"pieces": PIECE} if tls else {})
    for portion in access.portions(tables, connections, frames):
        if tls:
            _name_records(portion, tls)
        rows = portion.tables["segments"]
        if not rows.height:
            continue
        parts = {key[0]: part for key, part in rows.partition_by("connection", as_dict=True).items()} if connections else {}
        for choice in choices:
            own = rows if choice.plan.connection is None else parts.get(choice.plan.connection)
            if own is not None and own.height:
                choice.add(own.sort("frame"))
        if all(choice.over for choice in choices):
            break
    return [choice.chosen() for choice in choices]


def _name_records(portion: Portion, tls: dict[tuple[int, int], RecordNames]) -> None:
    pieces = portion.tables["pieces"].filter(pl.col("connection").is_in([connection for connection, _ in tls]))
    for connection, direction, offset, length, captured, place in pieces.select(PIECE).sort("offset").iter_rows():
        tls[connection, direction].add(offset, length, captured, place, portion.read)
