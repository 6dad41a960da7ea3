"""Collect the rows of a ladder: read the packets again, choose some (select.py), and add the known facts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from wiredoctor.findings import host
from wiredoctor.report.ladder.select import Choice, Plan

if TYPE_CHECKING:
    import polars as pl

    from wiredoctor.findings import Again, Report

SEGMENT = [
    *("frame", "time", "connection", "direction", "flags", "offset", "length", "ack", "window", "new_bytes", "acked_bytes"),
    *("retransmission", "fills_hole", "opens_hole", "overlap", "keep_alive_probe", "pure_ack", "window_update"),
    *("duplicate_ack", "zero_window", "acks_unseen", "sack", "dsack"),
]
"""What of a segment a ladder tells."""

_MESSAGE = ["offset", "end_offset", "head_bytes", "body_bytes", "framing", "end_reason"]
EXCHANGE = [
    *("connection", "exchange", "interim", "interim_times", "request_method", "request_target", "response_status"),
    *("response_reason", "request_frame", "request_last_frame", "response_frame", "response_last_frame"),
    *(f"{side}_{name}" for side in ("request", "response") for name in _MESSAGE),
]
"""And of an exchange."""

CONNECTION = ["connection", "client", "server", "client_direction", "packets", "protocol"]

NOT_KEPT = "the packets were not kept to be read again"
NO_CONNECTION = "there is no such connection"


class Rows(NamedTuple):
    """What was read for a plan: segments (SEGMENT, and `position`, the place in the connection) in order of frames, exchanges
    (EXCHANGE) that they belong to; by connection the direction of the client, packets in all, and protocol."""

    plan: Plan
    segments: list[dict[str, Any]]
    exchanges: list[dict[str, Any]]
    clients: dict[int, int]
    packets: dict[int, int]
    protocols: dict[int, str]
    client: str = ""
    server: str = ""
    missing: str = ""

    def from_client(self, row: dict[str, Any]) -> bool:
        """Whether the client of its connection sent a segment."""
        return row["direction"] == self.clients.get(row["connection"], 0)


def read(report: Report, plans: Sequence[Plan]) -> list[Rows]:
    """The rows of each plan; every capture is read once."""
    found: dict[int, Rows] = {}
    for capture in dict.fromkeys(plan.capture for plan in plans):
        own = [(number, plan) for number, plan in enumerate(plans) if plan.capture == capture]
        again = report.again.get(capture)
        chosen = _choose(again, [plan for _, plan in own]) if again else None
        for place, (number, plan) in enumerate(own):
            found[number] = _rows(report, plan, chosen[place] if chosen else None)
    return [found[number] for number in range(len(plans))]


def _rows(report: Report, plan: Plan, segments: list[dict[str, Any]] | None) -> Rows:
    import polars as pl

    ids = sorted({row["connection"] for row in segments or ()} | ({plan.connection} if plan.connection is not None else set()))
    here = pl.col("capture") == plan.capture
    known: list[dict[str, Any]] = []
    if report.scan_connections is not None:
        scan = report.scan_connections().filter(here, pl.col("connection").is_in(ids))
        known = scan.select(CONNECTION).collect().sort("connection").to_dicts()
    rows = Rows(
        plan, segments or [], [],
        {c["connection"]: c["client_direction"] for c in known}, {c["connection"]: c["packets"] for c in known},
        {c["connection"]: c["protocol"] for c in known}, _end(known, "client"), _end(known, "server"),
    )  # fmt: skip
    if segments is None:
        return rows._replace(missing=NOT_KEPT)
    if plan.connection is not None and not known and not segments:
        return rows._replace(missing=NO_CONNECTION)
    return rows._replace(exchanges=[*_exchanges(report, here, rows)])


def _end(connections: list[dict[str, Any]], side: str) -> str:
    """The endpoint of all connections, or its host."""
    ends = {c[side] for c in connections}
    hosts = {host(end) or "" for end in ends}
    return ends.pop() if len(ends) == 1 else hosts.pop() if len(hosts) == 1 else ""


def _exchanges(report: Report, here: pl.Expr, rows: Rows) -> Iterator[dict[str, Any]]:
    """Those that one of the segments may belong to: begun at or before it, and not over before it."""
    import numpy as np
    import polars as pl

    if report.scan_exchanges is None or not rows.segments:
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
        # what was open between two of them counts, too
        yield from own.filter(pl.col("exchange").is_in(pl.Series(chosen).implode())).select(EXCHANGE).collect().to_dicts()


def _choose(again: Again, plans: list[Plan]) -> list[list[dict[str, Any]]]:
    """The segments of each plan."""
    connections = sorted({plan.connection for plan in plans if plan.connection is not None})
    frames = {frame for plan in plans if plan.connection is None for frame in plan.wanted}
    choices = [Choice(plan) for plan in plans]
    for portion in again.portions({"segments": SEGMENT}, connections, frames):
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
