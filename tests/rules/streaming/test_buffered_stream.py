"""buffered-stream on exchanges made by hand."""

from __future__ import annotations

from typing import Any

import pytest

from tests.rules.frames import MS, S, answered, found, rows

HELD: dict[str, Any] = {
    "response_content_type": "text/event-stream",
    "response_framing": "chunked",
    "response_end_reason": "complete",
    "response_bursts": 1,
    "response_chunks": 3,
    "response_early_chunks": 2,
    "response_body_frame": 7,
    "response_events": 3,
    "response_first_events": 3,
}


def held(wait: int = 500 * MS, **changes: Any) -> list[dict[str, Any]]:
    row = answered(**HELD | changes)
    row["response_body_time"] = row["request_end"] + (row["rtt_server"] or 0) + wait
    return found("buffered-stream", rows("exchanges", row))


def test_what_it_says() -> None:
    [one] = held(response_server="nginx/1.22.1", response_via="1.1 varnish")
    assert (one["kind"], one["side"], one["confidence"], one["delay"]) == ("event-stream", "server", "high", None)
    assert one["end"] - one["start"] >= 500 * MS
    assert one["named"] == "The response names Server: nginx/1.22.1 and Via: 1.1 varnish."
    assert "proxy_buffering off" in one["switches"]
    assert "beresp.do_stream" in one["switches"]
    assert "flushpackets" not in one["switches"]


def test_without_names() -> None:
    [one] = held()
    assert (one["named"], one["switches"], one["asked"]) == ("Neither Server nor Via names a proxy.", "", "")


def test_an_application_that_has_asked_not_to_be_buffered() -> None:
    assert "not nginx" in held(response_accel_buffering="no")[0]["asked"]


def test_names_are_cut() -> None:
    assert len(held(response_server="x" * 5000)[0]["named"]) < 200


@pytest.mark.parametrize(("wait", "speaks"), [(500 * MS, True), (500 * MS - 1, False), (3 * S, True)])
def test_edges_of_the_wait(wait: int, speaks: bool) -> None:
    assert bool(held(wait)) is speaks


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"response_first_events": 2}, id="two events at once"),
        pytest.param({"response_events": None, "response_first_events": 0}, id="not counted"),
        pytest.param({"response_end_reason": "fin"}, id="cut off"),
        pytest.param({"response_end_reason": "capture-end"}, id="not over"),
        pytest.param({"response_bursts": 2}, id="two bursts"),
        pytest.param({"response_content_type": "application/json"}, id="no stream"),
        pytest.param({"rtt_server": None}, id="unknown round trip"),
        pytest.param({"upgraded": True}, id="upgraded"),
        pytest.param({"has_request": False}, id="request not captured"),
    ],
)
def test_silent(changes: dict[str, Any]) -> None:
    assert held(**changes) == []


def test_a_pipelined_stream_waited_for_the_one_before() -> None:
    base = answered(**HELD)
    assert held(2 * S, previous_end=base["request_end"] + 2 * S) == []


BLOCKS: dict[str, Any] = {
    "response_bursts": 9,
    "response_end_reason": "capture-end",
    "response_first_events": 1,
    "response_events": 30,
    "response_held_bursts": 3,
    "response_held_frames": [10, 12, 20, 22, 30, 32],
    "response_held_times": [1 * S, 2 * S, 3 * S, 4 * S, 5 * S, 6 * S],
}


def test_blocks_are_a_candidate_per_wait_with_the_proof_of_all() -> None:
    candidates = held(0, **BLOCKS)
    assert [(c["start"], c["end"]) for c in candidates] == [(1 * S, 2 * S), (3 * S, 4 * S), (5 * S, 6 * S)]
    assert all([e["frame"] for e in c["evidence"]] == [10, 12, 20, 22, 30, 32] for c in candidates)
    assert len({c["frame"] for c in candidates}) == 1


def test_two_blocks_are_too_few_unless_the_first_burst_is_one() -> None:
    two = {**BLOCKS, "response_held_bursts": 2}
    assert held(0, **two) == []
    assert held(500 * MS, **two) == []
    assert len(held(500 * MS, **two | {"response_first_events": 3})) == 1 + 3


LINES: dict[str, Any] = {
    **HELD,
    "response_content_type": "text/plain",
    "response_chunks_end_lines": True,
    "response_events": None,
}


def test_chunks_that_end_with_lines() -> None:
    [one] = held(**LINES)
    assert (one["kind"], one["why"]) == ("chunked", "each ends with a newline")


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"response_chunks_end_lines": False}, id="chunks end anywhere"),
        pytest.param({"response_content_encoding": "gzip"}, id="compressed"),
        pytest.param({"response_chunks": 1}, id="one chunk"),
        pytest.param({"response_early_chunks": 1}, id="the second came later"),
        pytest.param({"response_bursts": 2}, id="two bursts"),
        pytest.param({"response_end_reason": "rst"}, id="cut off"),
    ],
)
def test_silent_about_chunks(changes: dict[str, Any]) -> None:
    assert held(**LINES | changes) == []


def after_streaming(**changes: Any) -> list[str]:
    """Kinds found for chunks that end anywhere, where another response was streamed before."""
    streamed = answered(
        connection=1,
        response_framing="chunked",
        response_chunks=4,
        response_application_pauses=2,
        endpoint=7,
        final_at=3 * S,
    )
    late = answered(**LINES | {"response_chunks_end_lines": False}, endpoint=7, final_at=9 * S)
    for name in ("request_start", "request_end", "response_start", "response_end"):
        late[name] += 5 * S
    late["response_body_time"] = late["request_end"] + 1 * S
    return [c["kind"] for c in found("buffered-stream", rows("exchanges", late, streamed | changes))]


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
    ],
)
def test_silent_where_it_is_not_known_to_have_streamed(changes: dict[str, Any]) -> None:
    assert after_streaming(**changes) == []
