"""keep-alive-race on exchanges made by hand."""

from __future__ import annotations

from typing import Any

import pytest

from tests.rules.frames import MS, S
from tests.rules.lifetime.lost import FIN, candidates, request
from wiredoctor.text.durations import duration_text

RST = {"server_close_rst": 1, "server_close_ack": None, "server_close_frame": 10, "server_close_time": 8 * S + 10 * MS}
"""An RST without ACK flag behind the request, with the sequence number that it asks for."""


def race(**changes: Any) -> list[dict[str, Any]]:
    return candidates("keep-alive-race", request(**FIN | changes))


def kinds(**changes: Any) -> list[str]:
    return [c["kind"] for c in race(**changes)]


def test_the_ack_number_of_the_request_says_what_the_client_knew() -> None:
    assert kinds(request_ack=500) == ["race"]
    assert kinds(request_ack=501) == ["stale-pool"]
    assert kinds(request_ack=None) == ["race"]


def test_it_ends_with_the_later_of_request_and_close() -> None:
    """The FIN left a second before the request, the RST 10 ms after it."""
    assert [(one["start"], one["end"]) for one in race()] == [(8 * S, 8 * S)]
    assert [(one["start"], one["end"]) for one in race(**RST)] == [(8 * S, 8 * S + 10 * MS)]


def test_the_fin_must_not_have_seen_a_byte_of_the_request() -> None:
    assert kinds(server_close_ack=100) == ["race"]
    assert kinds(server_close_ack=99) == ["race"]
    assert kinds(server_close_ack=101) == ["at-limit"]  # as far as its own connection tells
    assert kinds(server_close_ack=None) == []


def test_a_fin_that_is_older_than_any_round_trip_was_lost() -> None:
    [lost] = race(server_close_time=7 * S)
    assert lost["crossed"] == "came 1 s after the server's FIN, which was lost or dropped on its way to the client"
    [crossed] = race(server_close_time=7 * S + 1)
    assert crossed["crossed"] == "and the server's FIN crossed on the way"


def test_an_rst_with_ack_flag_counts_as_a_fin_that_nobody_can_know_of() -> None:
    assert kinds(server_close_rst=1, request_ack=501) == ["race"]


def test_a_forgotten_connection() -> None:
    [lost] = race(**RST)
    assert (lost["kind"], lost["side"], lost["limit"]) == ("forgotten", "client", None)
    assert [e["frame"] for e in lost["evidence"]] == [10, 9]


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"server_close_offset": 501}, id="another sequence number"),
        pytest.param({"server_close_frame": 8}, id="before the request"),
        pytest.param({"previous_end": 7 * S + 1}, id="a rest of less than a second"),
        pytest.param({"previous_end": 7 * S, "rtt_client": 1}, id="a rest of less than a second, at the client"),
        pytest.param({"previous_end": None}, id="first request: nothing to forget"),
        pytest.param({"client_close_frame": 9, "client_close_time": 8 * S, "client_close_rst": 0}, id="the client closed before"),
    ],
)
def test_not_forgotten(changes: dict[str, Any]) -> None:
    assert kinds(**RST | changes) == []


def test_edge_of_the_rest() -> None:
    assert kinds(**RST | {"previous_end": 7 * S}) == ["forgotten"]
    assert kinds(**RST | {"previous_end": 7 * S - 20 * MS, "rtt_client": 20 * MS}) == ["forgotten"]


def test_a_close_that_the_response_before_had_announced() -> None:
    """The client had that response for 6 s: it did not heed it, whether or not the FIN had arrived."""
    announced = {"previous_announced_close": True, "rtt_client": 20 * MS}
    [crossed] = race(**announced)
    assert crossed["kind"] == "race"
    assert "announced the close" in crossed["unaware"]
    assert "could not know" not in crossed["unaware"]
    assert "could not know" in race()[0]["unaware"]
    assert "idle timeout" not in crossed["limit_means"] + crossed["shorter"]
    assert "idle timeout" in race()[0]["shorter"]
    assert kinds(**announced, request_ack=501) == ["stale-pool"]
    assert kinds(**announced | RST) == ["stale-pool"]


@pytest.mark.parametrize(("rest", "speaks"), [(-1, False), (0, True)])
def test_edges_of_what_the_client_could_know(rest: int, speaks: bool) -> None:
    """The response, 20 ms from the client, ends at 2 s."""
    sent = {"request_start": 2 * S + 20 * MS + rest, "request_end": 8 * S, "rtt_client": 20 * MS}
    assert bool(race(**sent, previous_announced_close=True)) is speaks
    assert race(**sent)


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"has_response": True}, id="answered"),
        pytest.param({"has_request": False}, id="no request"),
        pytest.param({"upgraded": True}, id="behind an upgrade"),
        pytest.param({"server_close_frame": None, "server_close_ack": None, "server_close_time": None}, id="nobody closed"),
        pytest.param({"server_close_contradicted": True}, id="a forged FIN: the server goes on"),
        pytest.param({"gap_before": True, "server_close_ack": 99}, id="far behind the close, in a capture with holes"),
    ],
)
def test_silent(changes: dict[str, Any]) -> None:
    assert kinds(**changes) == []


def test_how_long_it_had_rested_is_what_the_client_saw() -> None:
    [lost] = race(rtt_client=20 * MS)
    assert lost["idle"].total_seconds() == pytest.approx(5.98)
    assert lost["limit"] == 5 * S


def test_a_close_right_after_the_response_is_no_idle_limit() -> None:
    assert "premature-close" in race(server_close_time=3 * S - 3 * MS)[0]["limit_means"]
    assert "idle timeout" in race(server_close_time=3 * S - 3 * MS + 1)[0]["limit_means"]
    assert "premature-close" not in race(server_close_time=3 * S - 3 * MS + 1)[0]["limit_means"]


def test_the_limit_of_the_pool_is_of_use_where_an_idle_limit_was_met() -> None:
    assert [lost["pool_limit"] for lost in (race() + race(previous_end=None) + race(**RST))] == [True, True, True]
    for other in (race(server_close_time=3 * S - 3 * MS), race(previous_announced_close=True)):
        assert not other[0]["pool_limit"]
        assert "pool" not in other[0]["shorter"]


@pytest.mark.parametrize(
    ("at", "announced", "said"),
    [
        (2 * S, False, "its end together with the previous response. That is not an idle timeout"),
        (2 * S + MS, False, "its end 1 ms after the previous response. That is not an idle timeout"),
        (2 * S + MS, True, "its end 1 ms after the previous response, which had announced the close"),
        (7 * S, True, "its end 5 s after the previous response, which had announced the close"),
        (7 * S, False, "its end 5 s after the previous response, which is probably its idle timeout"),
    ],
)
def test_when_the_server_closed_is_a_sentence(at: int, announced: bool, said: str) -> None:
    [lost] = race(server_close_time=at, previous_announced_close=announced)
    limit = duration_text(lost["limit"]) if lost["limit"] else ""
    assert f"{lost['closed_after']}{limit}{lost['limit_means']}".startswith(f"The server closed {said}")


def test_a_connection_that_was_not_used_before() -> None:
    [lost] = race(previous_end=None)
    assert (lost["idle"], lost["limit"], lost["closed_after"]) == (None, None, "")
    assert "not been used" in lost["idle_unknown"]
    assert "began later" in race(previous_end=None, handshake=False)[0]["idle_unknown"]


def test_the_rst_is_shown_where_it_must_be_seen() -> None:
    reset = {"server_rst_frame": 12, "server_rst_time": 8 * S + 10 * MS}
    assert [e["frame"] for e in race(**reset)[0]["evidence"]] == [8, 9, 12]
    same = {"server_close_rst": 1, "server_rst_frame": 8, "server_rst_time": 7 * S}
    assert [e["frame"] for e in race(**same)[0]["evidence"]] == [8, 9]


@pytest.mark.parametrize(
    ("changes", "confidence"),
    [
        ({}, "high"),
        ({"handshake": False}, "medium"),
        ({"gap_before": True}, "low"),
        ({"at_capture_end": True, "final_at": 8 * S}, "high"),
        (RST | {"at_capture_end": True, "final_at": 9 * S + 10 * MS}, "high"),
        (RST | {"at_capture_end": True, "final_at": 9 * S + 10 * MS - 1}, "medium"),
        (RST | {"at_capture_end": True, "final_at": 9 * S + 10 * MS, "rtt_client": 501 * MS, "rtt_server": 0}, "medium"),
    ],
)
def test_confidence(changes: dict[str, Any], confidence: str) -> None:
    assert [c["confidence"] for c in race(**changes)] == [confidence]
