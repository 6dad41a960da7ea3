"""Test that what indexes remember of rows that come bit by bit gives the same answers as all rows together."""

from __future__ import annotations

import gc
import os
import weakref
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.live.playing import pcapng
from tests.rules.frames import rows
from tests.support.recordings import find_recording
from wiredoctor import limits, rule_engine
from wiredoctor.engine.growing import GrowingCapture
from wiredoctor.engine.live import LiveAnalysis
from wiredoctor.rule_engine import catalogue
from wiredoctor.storage.spill import Folder
from wiredoctor.tables import AT_THE_CLOSE, CLIENT_COLUMNS, CONNECTIONS, EXCHANGES, SECOND
from wiredoctor.world import CaptureTables
from wiredoctor.world.client_rows import LongestWaits
from wiredoctor.world.clients import Clients
from wiredoctor.world.server import Servers
from wiredoctor.world.server_history import ServerHistory, add_to_history

MODULES = rule_engine.with_causes(catalogue(), catalogue())


def rows_of(name: str, folder: Path) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return all rows of exchanges and connections of a recording, in the order in which a live capture stores them."""
    stops = pcapng(find_recording(f"{name}.pcap"), folder / "trace.pcapng")
    with GrowingCapture(name) as capture:
        analysis = LiveAnalysis(capture, MODULES, Folder(), rule_engine.cutoffs(MODULES))
        capture.add(os.open(folder / "trace.pcapng", os.O_RDONLY), 0)
        capture.extend(stops[-1].end)
        analysis.step(len(stops))
        analysis.finish(lambda found: found)
        return analysis.exchanges.scan().collect(), analysis.connections.scan().collect()


def answers(servers: Servers, wanted: pl.DataFrame) -> list[Any]:
    found: list[Any] = []
    for endpoint, connection, until in wanted.iter_rows():
        for known in (servers.at(endpoint, until), servers.at(endpoint)):
            found += [
                known.limits(connection), known.learned_timeout, known.doubt(connection), known.answers_again,
                known.closed_together(connection, until), known.is_refused(until - SECOND), known.software(connection),
                known.announced_timeout(connection),
            ]  # fmt: skip
        found.append(servers.at(endpoint, until).stops)
    return found


@pytest.mark.parametrize(
    "name", ["apache-idle-close", "idle-close-inverted", "deployment", "gunicorn-sync-closes", "race-client"]
)
def test_servers_are_those_of_all_rows(name: str, tmp_path: Path) -> None:
    exchanges, connections = rows_of(name, tmp_path)
    whole = CaptureTables(AT_THE_CLOSE.of(exchanges).lazy(), connections.lazy(), exchanges.lazy)
    wanted = (
        AT_THE_CLOSE.of(exchanges)
        .select("endpoint", "connection", "final_at")
        .unique(["endpoint", "connection"], maintain_order=True)
    )
    kept = None
    for first in range(0, exchanges.height, 3):
        some = exchanges.slice(first, 3)
        theirs = connections.filter(pl.col("connection").is_in(some["connection"].implode()))
        kept = Servers.remember(kept, CaptureTables(AT_THE_CLOSE.of(some).lazy(), theirs.lazy(), some.lazy))
    kept = Servers.remember(kept, CaptureTables(AT_THE_CLOSE.table.empty().lazy(), connections.lazy(), EXCHANGES.empty().lazy))
    live = Servers.build([wanted], whole._replace(remembered={Servers: kept}))
    expected = answers(Servers.build([wanted], whole), wanted)
    assert answers(live, wanted) == expected
    assert any(expected)


def test_the_oldest_closes_and_uses_of_a_server_are_forgotten_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request every second is answered on a connection that was idle for two seconds; every fourth connection is closed."""
    monkeypatch.setattr(limits.SERVER_CLOSES, "value", 8)
    known = ServerHistory()
    for second in range(40):
        start = second * SECOND
        row: dict[str, Any] = {
            "endpoint": 1, "connection": second, "exchange": 1, "final_at": start + SECOND, "has_request": True,
            "has_response": True, "request_start": start, "response_start": start + 1, "response_end": start + 2,
            "request_end_reason": "complete", "response_end_reason": "complete", "response_status": 200,
            "previous_end": start - 2 * SECOND, "persistent": True, "last_on_connection": True, "upgraded": False,
            "response_framing": "content-length", "server_close_contradicted": False, "server_close_origin": "endpoint",
            "previous_announced_close": False,
        }  # fmt: skip
        if second % 4 == 0:
            row |= {"server_close_frame": second, "server_close_time": start + SECOND // 2, "server_close_rst": 0}
        known = add_to_history(known, rows("closes", row).lazy(), CONNECTIONS.empty().lazy())
    assert 8 <= known.uses.height <= 10
    assert known.ends.height >= 2
    assert known.ends["time"].min() >= known.uses["time"].min()  # pyright: ignore[reportOperatorIssue]
    assert known.uses["time"].max() == 39 * SECOND


def test_servers_need_no_collector(tmp_path: Path) -> None:
    """Live runs without the collector of reference cycles for a minute; a server refers to frames of a megabyte."""
    exchanges, connections = rows_of("race-client", tmp_path)
    wanted = AT_THE_CLOSE.of(exchanges).select("endpoint", "connection")
    servers = Servers.build([wanted], CaptureTables(AT_THE_CLOSE.of(exchanges).lazy(), connections.lazy(), exchanges.lazy))
    endpoint, connection = wanted.row(0)
    servers.at(endpoint, 5 * SECOND).limits(connection)
    left = weakref.ref(servers.at(endpoint))
    gc.disable()
    try:
        del servers
        assert left() is None
    finally:
        gc.enable()


ASK = {
    "exchange": 0, "request_frame": 4, "request_method": "GET", "request_host": "a", "request_user_agent": "u",
    "request_forwarded": False, "request_forwarded_for": "", "request_navigation": False, "request_range_start": None,
    "request_event_source": False, "request_last_event_id": False, "request_stops": False,
    "request_has_credentials": False, "response_status": 200, "response_end_reason": "complete", "response_body_due": 5,
}  # fmt: skip
OPENED = ("10.0.0.2:80", 0, 1, 80, "client", True)


@settings(max_examples=15)
@given(st.lists(st.tuples(st.integers(1, 9), st.integers(0, 2), st.booleans()), min_size=1, max_size=12))
def test_longest_waits_are_those_of_all_rows(waits: list[tuple[int, int, bool]]) -> None:
    """Ten seconds apart, a client waits for a response so many seconds; then it asks again, and gives up after a second.

    With each wait: which target, and whether it is on the connection of the last request.
    """
    now = 10 * SECOND * len(waits)
    earlier = [
        ASK | {
            "connection": 99 if same else number, "exchange": number, "request_target": f"/{target}/1",
            "request_start": 10 * SECOND * number, "response_start": (10 * number + wait) * SECOND,
            "response_end": (10 * number + wait) * SECOND + 1,
        }
        for number, (wait, target, same) in enumerate(waits)
    ]  # fmt: skip
    own = ASK | {"connection": 99, "exchange": 50, "request_target": "/0/1", "request_start": now}
    own |= dict.fromkeys(("response_start", "response_end", "response_status", "response_end_reason"))
    schema = EXCHANGES.empty().select(CLIENT_COLUMNS).schema
    asked = pl.DataFrame([[row[name] for name in CLIENT_COLUMNS] for row in [*earlier, own]], schema, orient="row")
    names = ("connection", "client_host", "server", "start", "syns", "client_bytes", "closed_by", "connected")
    places = [(number, "10.0.0.1", *OPENED) for number in [*range(len(waits)), 99]]
    connections = pl.DataFrame(places, CONNECTIONS.empty().select(names).schema, orient="row")
    wanted = pl.DataFrame({"connection": [99], "ended_at": [now + SECOND], "waited": [SECOND]})
    whole = CaptureTables(AT_THE_CLOSE.table.empty().lazy(), connections.lazy(), asked.lazy)
    kept = None
    for number in range(len(waits)):
        some = asked.slice(number, 1)
        kept = Clients.remember(kept, whole._replace(exchanges=some.lazy))
    assert isinstance(kept, LongestWaits)
    near = asked.filter(pl.col("request_start") >= now)
    clients = [Clients.build([wanted], whole)]
    last = connections.filter(pl.col("connection") == 99)
    clients.append(Clients.build([wanted], CaptureTables(
        AT_THE_CLOSE.table.empty().lazy(), last.lazy(), near.lazy, remembered={Clients: kept},
    )))  # fmt: skip
    found: list[list[int]] = []
    for known in clients:
        request = known.request(99, 50)
        assert request is not None
        found.append([
            known.longest_wait(request, now + SECOND, whole=whole_one, same_program=same)
            for whole_one in (False, True) for same in (False, True)
        ])  # fmt: skip
    assert found[0] == found[1]


def test_the_oldest_waits_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """A shorter wait then counts again: it is the longest of those that are remembered."""
    monkeypatch.setattr(limits.LONGEST_WAITS, "value", 2)
    waits = LongestWaits()
    schema = pl.Schema({
        "agent": pl.String, "forwarded": pl.String, "many": pl.Boolean, "start": pl.Int64, "connection": pl.Int64,
        "exchange": pl.Int64, "frame": pl.Int64, "method": pl.String, "host": pl.String, "target": pl.String,
        "navigation": pl.Boolean, "range_start": pl.Int64, "has_credentials": pl.Boolean, "answered": pl.Int64,
        "status": pl.Int64, "completed": pl.Int64, "body_due": pl.Int64, "client": pl.String, "server": pl.String,
    })  # fmt: skip
    for number, (target, wait) in enumerate([("/a", 9), ("/b", 5), ("/c", 5), ("/a", 4)]):
        row = {"connection": number, "target": target, "start": 0, "answered": wait, "client": "10.0.0.1"}
        waits.add(pl.DataFrame([row], schema))
    kept = waits.rows(pl.DataFrame({"client": ["10.0.0.1"]}))
    assert kept.select("target", "answered").rows() == [("/c", 5), ("/a", 4)]
