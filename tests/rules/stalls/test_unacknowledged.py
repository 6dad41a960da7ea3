"""unanswered decides once per connection, by the newest row about the same data."""

from __future__ import annotations

from typing import Any

import polars as pl

from tests.rules.frames import MS, S, connection, rows
from wiredoctor.rule_engine import catalogue, decide
from wiredoctor.rule_engine.summary_columns import as_frame
from wiredoctor.tables import RULE_TABLES
from wiredoctor.world import CaptureTables


def told(*given: dict[str, Any], connections: tuple[dict[str, Any], ...] = ()) -> list[dict[str, Any]]:
    """Return the findings about a request of 300 bytes that a client sent five times in 3 s, to a server that was heard."""
    request = {
        "role": 0, "http": True, "handshake": True, "exchange": 0, "length": 300, "copies": 5, "first_frame": 4,
        "first_time": 1 * S, "second_frame": 5, "second_time": 1200 * MS, "last_frame": 9, "last_time": 4 * S, "frame": 9,
        "time": 20 * S, "heard_frame": 2, "heard_time": 900 * MS, "smallest_unacknowledged": 300,
    }  # fmt: skip
    module = catalogue()["unanswered"]
    found = pl.concat([module.find(rows("unacknowledged", request | changes).lazy()).collect() for changes in given])
    exchanges = RULE_TABLES["exchanges"].empty().lazy()
    tables = CaptureTables(RULE_TABLES["closes"].empty().lazy(), rows("connections", *connections).lazy(), lambda: exchanges)
    decided, _ = decide({"unanswered": module}, {"unanswered": found}, tables)
    return as_frame(decided["unanswered"]).to_dicts() if decided else []


def test_the_newest_row_about_the_data_counts() -> None:
    later = {"copies": 6, "last_frame": 12, "last_time": 8 * S, "time": 30 * S}
    assert [one["copies"] for one in told({}, later)] == [6]
    assert told({}, {"acknowledged_frame": 12}) == []
    assert [one["copies"] for one in told({"acknowledged_frame": 12}, later)] == [6]


FIN = {"fin": True, "length": 0, "message_owed": True, "first_frame": 3, "first_time": 500 * MS, "exchange": None}


def test_data_comes_before_a_fin_of_the_same_connection() -> None:
    assert [one["fin"] for one in told({}, FIN)] == [one["fin"] for one in told(FIN, {})] == [False]
    assert [one["fin"] for one in told(FIN | {"connection": 1}, {})] == [True, False]


LARGE = {"length": 1460, "smallest_unacknowledged": 1460, "peer_frame": 8, "peer_time": 3 * S}


def test_large_segments_that_are_lost_on_two_connections_are_no_chance() -> None:
    two = [LARGE | {"connection": number, "first_frame": 4 + number} for number in (0, 1)]
    known = (connection(), connection(connection=1, client="10.0.0.1:1235"))
    assert [(one["kind"], one["confidence"]) for one in told(LARGE, connections=known)] == [("large-only", "medium")]
    assert [(one["kind"], one["confidence"]) for one in told(*two, connections=known)] == [("large-only", "high")] * 2
    other = (connection(), connection(connection=1, client="10.0.0.3:1235", client_host="10.0.0.3"))
    assert [one["confidence"] for one in told(*two, connections=other)] == ["medium"] * 2
