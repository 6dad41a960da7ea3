"""Rows of tables by hand: what is not named has the value that says nothing."""

from __future__ import annotations

from typing import Any

import polars as pl

from wiredoctor.events import event_tables
from wiredoctor.rules import catalogue, cutoffs
from wiredoctor.tables import CLOSES, NEVER, NONE, RULE_TABLES, SEGMENTS

MS = 1_000_000
S = 1_000_000_000


def rows(table: str, *given: dict[str, Any]) -> pl.DataFrame:
    """A frame of this table with a row for each dict; other columns are null, False, 0, "" or an empty list."""
    columns = RULE_TABLES[table].columns
    names = {c.name for c in columns}
    assert not [n for g in given for n in g if n not in names], "no such column"
    blank = {c.name: None if c.nullable else _nothing(c.dtype) for c in columns}
    return pl.DataFrame([blank | g for g in given], schema=RULE_TABLES[table].schema)


def events(table: str, *segments: dict[str, Any]) -> pl.DataFrame:
    """Return the rows of an event table that are filtered from these rows of `segments`, with the thresholds of all rules."""
    given = rows("segments", *segments)
    none = {c.name: NEVER if c.dtype == pl.Int64 else NONE for c in SEGMENTS.columns if c.nullable}
    columns = {name: column.fill_null(none[name]) if name in none else column for name, column in given.to_dict().items()}
    arrays = {name: column.to_numpy() for name, column in columns.items()}
    return event_tables(arrays if len(given) else {}, cutoffs(catalogue()))[table]


def _nothing(dtype: pl.DataType) -> Any:
    if dtype.is_nested():
        return []
    return {pl.String: "", pl.Boolean: False}.get(dtype.base_type(), 0)


def held(frame: int = 7, at: int = 232 * MS, **changes: Any) -> dict[str, Any]:
    """S of a head-body-split at the client's side of the wire: 10 ms to the server, a 200 ms timer in the client.

    D is frame - 2 at 22 ms, K frame - 1 at 222 ms.
    """
    row = {
        "frame": frame,
        "time": at,
        "connection": 0,
        "direction": 1,
        "role": 1,
        "endpoint": 77,
        "exchange": 0,
        "message": 1,
        "offset": 38,
        "length": 5,
        "new_bytes": 5,
        "mss": 1460,
        "mss_announced": True,
        "small": True,
        "small_start": True,
        "rtt_own": 10 * MS,
        "rtt_other": 0,
        "handshake": True,
        "data_before_frame": frame - 2,
        "data_before_time": at - 210 * MS,
        "data_before_end": 38,
        "data_before_length": 38,
        "data_before_small": True,
        "data_before_last_in_flight": True,
        "data_before_room": 60_000,
        "data_before_message": 1,
        "data_before_ends_head": True,
        "ack_before_frame": frame - 1,
        "ack_before_time": at - 10 * MS,
        "ack_before_ack": 38,
        "ack_before_delay": 200 * MS,
        "ack_before_bytes": 38,
        "quiet_since_ack": True,
        "http": True,
        "owes": True,
    }
    return row | changes


def answered(**changes: Any) -> dict[str, Any]:
    """An exchange of 20 ms."""
    side = {"last_frame": 1, "end_reason": "complete", "version": "HTTP/1.1", "framing": "none"}
    row: dict[str, Any] = {f"request_{n}": v for n, v in side.items()} | {f"response_{n}": v for n, v in side.items()}
    row |= {
        "connection": 0,
        "has_request": True,
        "has_response": True,
        "request_frame": 4,
        "request_start": 10 * MS,
        "request_end": 10 * MS,
        "request_method": "GET",
        "request_target": "/a?token=secret",
        "response_frame": 5,
        "response_start": 20 * MS,
        "response_end": 30 * MS,
        "response_framing": "content-length",
        "response_status": 200,
        "response_body_bytes": 5,
        "response_last_body_time": 30 * MS,
        "persistent": True,
        "handshake": True,
        "both_directions": True,
        "rtt_client": 0,
        "rtt_server": 10 * MS,
        "final_at": 30 * MS,
    }
    return row | changes


def followed(**changes: Any) -> dict[str, Any]:
    """The same exchange as a row of `closes`: the connection stayed open until the capture ended 5 s later."""
    row = {name: value for name, value in answered().items() if name in CLOSES.schema}
    return row | {"last_on_connection": True, "final_at": 5 * S} | changes


def connection(**changes: Any) -> dict[str, Any]:
    """A connection from 10.0.0.1 to 10.0.0.2, whose client sent its first packet."""
    row = {
        "connection": 0,
        "client": "10.0.0.1:1234",
        "server": "10.0.0.2:80",
        "client_host": "10.0.0.1",
        "client_direction": 0,
        "client_packets": 5,
        "server_packets": 5,
        "protocol": "http",
    }
    return row | changes


def in_order(candidates: pl.DataFrame) -> pl.DataFrame:
    """As `judge` gets them; a rule without either of these columns does not mind."""
    order = next((name for name in ("last_frame", "frame") if name in candidates.columns), None)
    return candidates if order is None else candidates.sort(order)


def found(rule: str, *frames: pl.DataFrame, state: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    """What `find` and `judge` of this rule make of the tables that it asks for, in their order: a dict per candidate."""
    module = catalogue()[rule]
    lazy = [frame.lazy() for frame in frames]
    candidates = module.find(*lazy).collect()
    if module.judge is not None:
        memory = {} if state is None else state
        candidates, memory[rule] = module.judge(in_order(candidates), memory.get(rule))
    return candidates.to_dicts()
