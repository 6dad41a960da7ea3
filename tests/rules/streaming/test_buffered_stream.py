"""buffered-stream on exchanges made by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import wiredoctor
from tests.ladders import STALL, ladder_packets, ladders_in, set_back, to_pcap
from tests.pipeline.ladders import elsewhere
from tests.rules.frames import MS, S, answered, rows, words
from wiredoctor.rule_engine import catalogue, decide
from wiredoctor.rule_engine.summary_columns import as_frame
from wiredoctor.tables import TRIES
from wiredoctor.world import CaptureTables

HELD: dict[str, Any] = {
    "response_content_type": "text/event-stream",
    "response_framing": "chunked",
    "response_end_reason": "complete",
    "response_bursts": 1,
    "response_chunks": 3,
    "response_early_chunks": 2,
    "response_body_frame": 7,
    "response_events": 20,
    "response_first_events": 20,
    "response_flights": 1,
    "response_one_flight": True,
}


def held(wait: int = 500 * MS, **changes: Any) -> list[dict[str, Any]]:
    row = answered(**HELD | changes)
    row["response_body_time"] = row["request_end"] + (row["rtt_server"] or 0) + wait
    return told(row)


def behind(time: int) -> dict[str, Any]:
    """How a gateway received a body whose first event, in frame 9, ended at this time."""
    frames: list[int] = []
    return {
        "response_body_frame": 9,
        "response_body_time": time,
        "response_first_event_frame": 9,
        "response_first_event_time": time,
        "response_pause_frames": frames,
        "response_pause_times": frames,
        "response_bursts": 3,
        "response_chunks": 3,
        "response_content_encoding": "",
    }


def told(*exchanges: dict[str, Any], earlier: int | None = None) -> list[dict[str, Any]]:
    """What is said of exchanges where the first piece of a body was seen at the other side of a gateway `earlier` (ns before it),
    if it was."""
    table, module = rows("exchanges", *exchanges).lazy(), catalogue()["buffered-stream"]
    candidates, tries = module.find(table).collect(), None
    if earlier is not None:
        [front] = exchanges
        back = answered(**HELD | behind(candidates["end"].item() - earlier) | {"connection": front["connection"] + 1})
        tries = pl.DataFrame([(front["connection"], 0, back["connection"], 0, True, 0)], schema=TRIES.schema, orient="row")
        table = pl.concat([table, rows("exchanges", back).lazy()])
    world = CaptureTables(table.clear(), table.clear(), lambda: table, tries=tries)
    decided, _ = decide({module.name: module}, {module.name: candidates}, world)
    return [row | words(module, row) for some in decided.values() for row in as_frame(some).to_dicts()]


WHERE = " A capture on each side of every proxy shows which proxy holds the data back."


def test_what_it_says() -> None:
    [one] = held(response_server="nginx/1.22.1", response_via="1.1 varnish")
    assert (one["kind"], one["side"], one["confidence"], one["delay"]) == ("event-stream", "server", "low", None)
    assert (one["severity"], one["proof"], one["were"]) == ("note", "likely", "may have been")
    assert one["end"] - one["start"] >= 500 * MS
    assert one["named"] == "The response says Server: nginx/1.22.1 and Via: 1.1 varnish." + WHERE
    assert "proxy_buffering off" in one["switches"]
    assert "beresp.do_stream" in one["switches"]
    assert "flushpackets" not in one["switches"]


def test_without_names() -> None:
    [one] = held()
    assert (one["named"], one["switches"], one["asked"]) == ("Neither Server nor Via names a proxy." + WHERE, "", "")


def test_an_application_that_has_asked_not_to_be_buffered() -> None:
    assert "other than nginx" in held(response_accel_buffering="no")[0]["asked"]


def test_names_are_cut() -> None:
    assert len(held(response_server="x" * 5000)[0]["named"]) < 200


@pytest.mark.parametrize(("wait", "speaks"), [(500 * MS, True), (500 * MS - 1, False), (3 * S, True)])
def test_edges_of_the_wait(wait: int, speaks: bool) -> None:
    assert bool(held(wait)) is speaks


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"response_first_events": 19}, id="one event later"),
        pytest.param({"response_events": 19, "response_first_events": 19}, id="nineteen"),
        pytest.param({"response_events": None, "response_first_events": 0}, id="not counted"),
        pytest.param({"response_end_reason": "fin"}, id="cut off"),
        pytest.param({"response_end_reason": "capture-end"}, id="not over"),
        pytest.param({"response_content_type": "application/json"}, id="no stream"),
        pytest.param({"rtt_server": None}, id="unknown round trip"),
        pytest.param({"upgraded": True}, id="upgraded"),
        pytest.param({"has_request": False}, id="request not captured"),
        pytest.param({"response_first_late": 250 * MS + 1}, id="for more than half of the wait it was on its way"),
    ],
)
def test_silent(changes: dict[str, Any]) -> None:
    assert held(**changes) == []


def test_for_half_of_the_wait_it_was_on_its_way() -> None:
    assert len(held(response_first_late=250 * MS)) == 1


def test_a_pipelined_stream_waited_for_the_one_before() -> None:
    base = answered(**HELD)
    assert held(2 * S, previous_end=base["request_end"] + 2 * S) == []


BLOCKS: dict[str, Any] = {
    "response_bursts": 9,
    "response_end_reason": "capture-end",
    "response_first_events": 1,
    "response_one_flight": False,
    "response_events": 33,
    "response_held_bursts": 3,
    "response_held_events": 33,
    "response_large_lumps": 3,
    "response_large_events": 33,
    "response_held_frames": [10, 12, 20, 22, 30, 32],
    "response_held_times": [1 * S, 2 * S, 3 * S, 4 * S, 5 * S, 6 * S],
    "response_held_by_clock": [1 * S, 1 * S, 1 * S],
}


def test_blocks_are_a_candidate_per_wait_with_the_proof_of_all() -> None:
    candidates = held(0, **BLOCKS)
    assert [(c["start"], c["end"]) for c in candidates] == [(1 * S, 2 * S), (3 * S, 4 * S), (5 * S, 6 * S)]
    assert all([e["frame"] for e in c["evidence"]] == [10, 12, 20, 22, 30, 32] for c in candidates)
    assert len({c["frame"] for c in candidates}) == 1


def test_lumps_need_no_round_trip() -> None:
    candidates = held(0, **BLOCKS, rtt_server=None)
    assert {c["how"].partition(":")[0] for c in candidates} == {
        "3 times nothing came for 500 ms or more, and then three or more events came at once"
    }


@pytest.mark.parametrize(
    ("changes", "proof"),
    [
        pytest.param({}, "likely", id="large lumps hold all of it"),
        pytest.param({"response_large_events": 24}, None, id="one of the lumps is small"),
        pytest.param({"response_events": 34}, None, id="one event came by itself"),
        pytest.param({"response_events": 99, "response_cut_lumps": 1}, "cut", id="a lump ends inside an event"),
        pytest.param({"response_events": 99, "response_first_cut": True}, None, id="what ends so came at once"),
    ],
)
def test_proofs_of_lumps(changes: dict[str, Any], proof: str | None) -> None:
    assert {one["proof"] for one in held(0, **BLOCKS | changes)} == ({proof} if proof else set[str]())


def test_a_first_lump_that_is_cut() -> None:
    cut = held(response_first_events=5, response_first_cut=True, response_held_bursts=1, response_held_events=5)
    assert {(one["proof"], one["severity"], one["confidence"]) for one in cut} == {("cut", None, "high")}


@pytest.mark.parametrize(
    ("changes", "confidence", "said"),
    [
        pytest.param({"response_first_late": 3 * MS}, "high", " (497 ms by the server's timestamps)", id="by its clock"),
        pytest.param({"response_first_late": -1 * MS}, "high", " (500 ms by the server's timestamps)", id="within a tick"),
        pytest.param({}, "medium", "; no timestamps show when it was sent", id="the path may have made the wait"),
        pytest.param({"rtt_server": 1 * MS - 1}, "high", "", id="captured at the gateway"),
    ],
)
def test_the_other_side_of_a_gateway_proves_few_events(changes: dict[str, Any], confidence: str, said: str) -> None:
    row = answered(**HELD | {"response_events": 3, "response_first_events": 3} | changes)
    row["response_body_time"] = row["request_end"] + (row["rtt_server"] or 0) + 500 * MS
    assert told(row) == []
    assert told(row, earlier=500 * MS - 1) == []
    [one] = told(row, earlier=500 * MS)
    assert (one["proof"], one["severity"], one["confidence"], one["were"]) == ("behind", None, confidence, "were")
    assert one["evidence"][0]["frame"] == 9
    assert one["evidence"][-1]["note"] == "3 events at once, 500 ms later" + said


def test_a_path_does_not_cut_an_event_in_two() -> None:
    shown = held(0, **BLOCKS | {"response_cut_lumps": 1})
    unshown = held(0, **BLOCKS | {"response_cut_lumps": 1, "response_held_by_clock": [None, None, None]})
    assert {one["confidence"] for one in shown + unshown} == {"high"}
    assert shown[0]["evidence"][1]["note"] == "three or more events at once, 1 s later (1 s by the server's timestamps)"
    assert unshown[0]["evidence"][1]["note"] == "three or more events at once, 1 s later; no timestamps show when it was sent"


CODED: dict[str, Any] = {"response_events": None, "response_first_events": 0, "response_content_encoding": "br"}


def test_what_cannot_be_decoded() -> None:
    [one] = held(1 * S, **CODED, response_body_bytes=300)
    assert (one["proof"], one["severity"]) == ("likely", "note")
    assert "does not flush" in one["why"]


@pytest.mark.parametrize(
    ("wait", "changes"),
    [
        pytest.param(1 * S - 1, {}, id="a little sooner"),
        pytest.param(1 * S, {"response_body_bytes": 299}, id="a little less"),
        pytest.param(1 * S, {"response_one_flight": False}, id="in two lumps"),
        pytest.param(1 * S, {"response_content_encoding": "identity"}, id="not coded"),
        pytest.param(1 * S, {"response_end_reason": "rst"}, id="cut off"),
    ],
)
def test_silent_about_what_cannot_be_decoded(wait: int, changes: dict[str, Any]) -> None:
    assert held(wait, **CODED | {"response_body_bytes": 300} | changes) == []


LINES: dict[str, Any] = {
    **HELD,
    "response_content_type": "text/plain",
    "response_chunks_ending_in_newline": True,
    "response_events": None,
}


def test_chunks_without_an_earlier_stream_are_the_rows_of_a_query() -> None:
    assert held(**LINES) == []


def test_chunks_that_the_other_side_of_a_gateway_shows_apart() -> None:
    row = answered(**LINES)
    row["response_body_time"] = row["request_end"] + (row["rtt_server"] or 0) + 500 * MS
    [one] = told(row, earlier=500 * MS)
    assert (one["kind"], one["proof"], one["severity"]) == ("chunked", "behind", None)


def after_streaming(**changes: Any) -> list[str]:
    """Kinds found for chunks that end anywhere, where another response was streamed before."""
    streamed = answered(
        connection=1,
        response_framing="chunked",
        response_chunks=4,
        response_application_pauses=2,
        response_content_type="text/plain",
        endpoint=7,
        final_at=3 * S,
    )
    late = answered(**LINES | {"response_chunks_ending_in_newline": False}, endpoint=7, final_at=9 * S)
    for name in ("request_start", "request_end", "response_start", "response_end"):
        late[name] += 5 * S
    late["response_body_time"] = late["request_end"] + 1 * S
    return [c["kind"] for c in told(late, streamed | changes)]


def test_a_server_that_has_streamed_before() -> None:
    assert after_streaming() == ["chunked"]


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"endpoint": 8}, id="another server"),
        pytest.param({"final_at": 10 * S}, id="known only later"),
        pytest.param({"response_end": 6 * S}, id="not over then"),
        pytest.param({"response_chunks": None}, id="not in chunks"),
        pytest.param({"response_application_pauses": 0}, id="in one piece"),
        pytest.param({"response_end_reason": "rst"}, id="cut off"),
        pytest.param({"response_content_type": "text/csv"}, id="another media type"),
    ],
)
def test_silent_where_it_is_not_known_to_have_streamed(changes: dict[str, Any]) -> None:
    assert after_streaming(**changes) == []


def test_a_clock_that_is_set_back_makes_no_later_response_an_earlier_one(tmp_path: Path) -> None:
    """A stream came one by one after the one that was held back, but with earlier times.

    A connection of another host goes on meanwhile. Otherwise the packets would be sorted by time.
    """
    text = dict(ladders_in(Path(__file__).with_name("buffered_stream.txt")))["silent: that came later"]
    packets = [replace(packet, time=packet.time + 100 * S) for packet in ladder_packets(text)]
    other = [replace(p, time=p.time + 102 * S, peers=elsewhere(p.peers, 9)) for p in ladder_packets(STALL)]
    first = sum(packet.peers == packets[0].peers for packet in packets)
    path = tmp_path / "trace.pcap"
    path.write_bytes(to_pcap(set_back([*packets[:first], *other, *packets[first:]], first + 4, 60 * S)))
    assert wiredoctor.analyze(path, select=["buffered-stream"]).findings == []
