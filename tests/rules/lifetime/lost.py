"""Exchanges by hand that end badly: rows of `closes` for the rules about the end of connections."""

from __future__ import annotations

from typing import Any

import polars as pl

from tests.rules.frames import MS, S, followed, rows, words
from wiredoctor.rule_engine import catalogue, decide
from wiredoctor.rule_engine.summary_columns import as_frame
from wiredoctor.tables import RULE_TABLES
from wiredoctor.world import CaptureTables

LOST = {
    "has_response": False,
    "response_frame": None,
    "response_start": None,
    "response_end": None,
    "response_status": None,
    "response_framing": "none",
    "persistent": False,
    "exchange": 1,
    "request_frame": 9,
    "request_start": 8 * S,
    "request_end": 8 * S,
    "request_offset": 100,
    "request_end_offset": 200,
    "request_ack": 500,
    "previous_end": 2 * S,
}
"""The second request of a connection, 6 s after the end of the first exchange; nothing came back. Offsets: the request is
100 to 200 of the client's stream, and the server's ends at 500."""

FIN = {
    "server_close_frame": 8,
    "server_close_time": 7 * S,
    "server_close_ack": 100,
    "server_close_offset": 500,
    "server_close_rst": 0,
}
"""The server's FIN, 5 s after the first exchange, a second before the request."""

TRUNCATED = {
    "response_end_reason": "fin",
    "response_offset": 0,
    "response_end_offset": 42,
    "response_head_bytes": 40,
    "response_body_due": 20,
    "response_body_bytes": 2,
    "request_offset": 0,
    "request_end_offset": 100,
    "request_ack": 0,
    "server_close_frame": 6,
    "server_close_time": 40 * MS,
    "server_close_ack": 100,
    "server_close_offset": 42,
    "server_close_rst": 0,
}
"""2 of 20 bytes of a body; the head is 40 bytes long."""


def candidates(rule: str, *exchanges: dict[str, Any], connections: list[dict[str, Any]] | None = None) -> list[dict[str, Any]]:
    """What the rule makes of these rows, and of these of the table connections where it asks for that: a dict each."""
    module = catalogue()[rule]
    tables = {"closes": rows("closes", *exchanges), "connections": rows("connections", *(connections or []))}
    tables["foreign_closes"] = rows("foreign_closes")
    found: pl.DataFrame = module.find(*(tables[t].lazy() for t in module.tables)).collect()
    if module.asks:
        known = RULE_TABLES["exchanges"].schema
        same = rows("exchanges", *({name: row[name] for name in row if name in known} for row in exchanges))
        world = CaptureTables(tables["closes"].lazy(), tables["connections"].lazy(), same.lazy)
        decided, _ = decide({rule: module}, {rule: found}, world)
        found = as_frame(decided.get(rule, found.clear()))
    return [row | words(module, row) for row in found.to_dicts()]


def request(**changes: Any) -> dict[str, Any]:
    """The row of the request that got no answer."""
    return followed(**LOST | changes)
