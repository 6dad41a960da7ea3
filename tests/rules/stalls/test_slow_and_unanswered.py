"""slow-response and expect-continue-stall on exchanges made by hand."""

from __future__ import annotations

from typing import Any

import pytest

from tests.rules.frames import MS, S, answered, found, rows, words
from wiredoctor.rule_engine import catalogue


def slow(wait: int = 2 * S, **changes: Any) -> list[dict[str, Any]]:
    """The request ends at 10 ms, the server is 10 ms away, and thinks for so long."""
    times = {"response_start": 20 * MS + wait, "response_end": 30 * MS + wait}
    return found("slow-response", rows("exchanges", answered(**times | changes)))


def test_a_slow_response() -> None:
    [one] = slow()
    assert (one["side"], one["delay"], one["confidence"], one["frame"]) == ("server", 2 * S, "high", 5)
    assert (one["start"], one["end"]) == (10 * MS, 20 * MS + 2 * S)


FOR_TWO: dict[str, Any] = {"servers": ["10.0.0.3:80", "10.0.0.4:80"], "time": 1500 * MS, "sending": False}
FOR_A_CLIENT: dict[str, Any] = {"client": "10.0.0.1", "waited": 3 * S, "in_gateway": 250 * MS, "left": False}


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        pytest.param({}, None, id="no gateway"),
        pytest.param(
            {"kind": "in-gateway", "at_servers": FOR_TWO},
            "The gateway also waited 1.5 s for 10.0.0.3:80, 10.0.0.4:80; that time is not counted.",
            id="the gateway itself was slow",
        ),
        pytest.param(
            {"at_servers": FOR_TWO},
            "For 1.5 s of that time, the gateway waited for the rest of a response that 10.0.0.3:80, 10.0.0.4:80 had begun.",
            id="a server had begun",
        ),
        pytest.param(
            {"at_servers": FOR_TWO | {"sending": True}},
            "For 1.5 s of that time, the gateway was still sending the request to 10.0.0.3:80, 10.0.0.4:80, which had already "
            "responded.",
            id="the gateway was sending",
        ),
        pytest.param(
            {"at_client": FOR_A_CLIENT},
            "The gateway's client (10.0.0.1) waited 3 s for its response, including 250 ms in the gateway.",
            id="the client is a gateway",
        ),
        pytest.param(
            {"at_client": FOR_A_CLIENT | {"in_gateway": None}},
            "The request came from a gateway, which did not wait for that: its own client (10.0.0.1) had a response 3 s after "
            "its request.",
            id="the gateway did not wait for it",
        ),
        pytest.param(
            {"at_client": FOR_A_CLIENT | {"in_gateway": None, "left": True}},
            "The request came from a gateway, whose own client (10.0.0.1) had waited 3 s when its connection closed. Only that "
            "time counts as lost.",
            id="the gateway's client left",
        ),
    ],
)
def test_what_is_said_of_gateways(facts: dict[str, Any], said: str | None) -> None:
    [one] = slow()
    assert words(catalogue()["slow-response"], one | facts)["addition"] == said


@pytest.mark.parametrize(("wait", "speaks"), [(S - 1, False), (S, True)])
def test_edges_of_the_wait(wait: int, speaks: bool) -> None:
    assert bool(slow(wait)) is speaks


def test_a_pipelined_request_counts_from_the_end_of_the_response_before() -> None:
    [one] = slow(3 * S, previous_end=1 * S)
    assert (one["start"], one["delay"]) == (1 * S, 2 * S + 20 * MS)
    assert slow(3 * S, previous_end=2 * S + 20 * MS + 1) == []
    [one] = slow(3 * S, previous_end=5 * MS)
    assert (one["start"], one["delay"]) == (10 * MS, 3 * S)


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"rtt_server": None}, id="the round trip is unknown"),
        pytest.param({"has_request": False}, id="no request"),
        pytest.param({"has_response": False}, id="no response"),
        pytest.param({"request_end_reason": "hole"}, id="nobody knows when the request ended"),
        pytest.param({"response_status": 100}, id="an interim response alone"),
    ],
)
def test_silent(changes: dict[str, Any]) -> None:
    assert slow(**changes) == []


def hinted(*signs: tuple[int, int], **changes: Any) -> list[dict[str, Any]]:
    """The response begins at 2.02 s, behind interim responses of this status at these times."""
    return slow(interim=[status for status, _ in signs], interim_times=[time for _, time in signs], **changes)


def test_the_wait_after_the_last_sign_counts() -> None:
    [one] = hinted((103, 500 * MS), (102, 900 * MS))
    assert (one["start"], one["delay"]) == (900 * MS, 1120 * MS)
    assert "interim response (102)" in one["since"]
    assert "interim 102" in one["evidence"][-1]["note"]
    assert one["uncounted"] == ""


@pytest.mark.parametrize(("sign", "speaks"), [(1020 * MS, True), (1020 * MS + 1, False)])
def test_edges_of_the_wait_after_a_sign(sign: int, speaks: bool) -> None:
    assert bool(hinted((103, sign))) is speaks


def test_a_sign_before_the_request_was_complete_says_nothing_of_the_answer() -> None:
    assert [s["delay"] for s in hinted((103, 10 * MS))] == [2 * S]
    assert "interim" not in hinted((103, 10 * MS))[0]["since"]


def test_of_two_things_that_free_the_server_the_later_counts() -> None:
    assert [s["delay"] for s in hinted((103, 300 * MS), previous_end=700 * MS)] == [1320 * MS]
    assert [s["delay"] for s in hinted((103, 700 * MS), previous_end=300 * MS)] == [1320 * MS]


def test_100_is_no_sign_of_the_answer() -> None:
    assert [s["delay"] for s in hinted((100, 1900 * MS))] == [2 * S]
    assert hinted((103, 300 * MS), (100, 1900 * MS)) == []


def test_what_does_not_matter() -> None:
    assert "round trip" in slow()[0]["uncounted"]
    assert len(slow(response_status=101)) == 1


def unanswered(wait: int = 1 * S, **changes: Any) -> list[dict[str, Any]]:
    """The head leaves at 10 ms, the body begins so much later and takes 40 ms."""
    row = {
        "request_expect_continue": True, "request_head_last_frame": 4, "request_head_time": 10 * MS,
        "request_body_frame": 6, "request_body_time": 10 * MS + wait,
        "request_last_body_time": 50 * MS + wait, "request_end": 50 * MS + wait, "request_body_bytes": 5_000_000,
        "response_start": 60 * MS + wait, "response_end": 70 * MS + wait,
    }  # fmt: skip
    return found("expect-continue-stall", rows("exchanges", answered(**row | changes)))


def test_a_body_that_waited() -> None:
    [one] = unanswered()
    assert (one["side"], one["delay"], one["sent"], one["confidence"]) == ("client", 1 * S, "5,000,000 bytes of the body", "high")
    assert [(e["frame"], e["time"]) for e in one["evidence"]] == [(4, 10 * MS), (6, 10 * MS + 1 * S)]
    assert len(unanswered(has_response=False, response_start=None, response_end=None)) == 1


@pytest.mark.parametrize(("wait", "speaks"), [(250 * MS - 1, False), (250 * MS, True)])
def test_edges_of_the_patience(wait: int, speaks: bool) -> None:
    assert bool(unanswered(wait)) is speaks


@pytest.mark.parametrize(("gap", "speaks"), [(-1, False), (0, True), (1, True)])
def test_edges_of_the_final_response(gap: int, speaks: bool) -> None:
    """From the response on, the client knows that there is nothing to wait for."""
    assert bool(unanswered(response_start=10 * MS + 1 * S + gap)) is speaks


@pytest.mark.parametrize(
    ("wait", "whose"), [(351, ".NET Framework"), (1_003, "curl"), (3_001, "Apache HttpClient"), (600, ""), (2_000, "")]
)
def test_whose_patience_it_is(wait: int, whose: str) -> None:
    [one] = unanswered(wait * MS)
    assert (whose or "No known client has that timeout") in one["timer"]
    assert one["confidence"] == ("high" if whose else "low")


@pytest.mark.parametrize(
    ("changes", "confidence"),
    [
        ({"handshake": False}, "medium"),
        ({"gap_before": True}, "low"),
        ({"request_has_gap": True}, "low"),
    ],
)
def test_confidence(changes: dict[str, Any], confidence: str) -> None:
    assert [c["confidence"] for c in unanswered(**changes)] == [confidence]


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"request_expect_continue": False}, id="nobody expected anything"),
        pytest.param({"interim": [100]}, id="100 came"),
        pytest.param({"interim": [102]}, id="102 came"),
        pytest.param({"request_version": "HTTP/1.0"}, id="HTTP/1.0 knows no expectation"),
        pytest.param({"both_directions": False}, id="the other direction was not captured"),
        pytest.param({"request_body_time": None}, id="no body"),
    ],
)
def test_silent_too(changes: dict[str, Any]) -> None:
    assert unanswered(**changes) == []
