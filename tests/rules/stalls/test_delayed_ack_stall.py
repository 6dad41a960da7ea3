"""Test delayed-ack-stall with rows made by hand: stalls of full segments, and both sides of each threshold."""

from __future__ import annotations

from typing import Any

import pytest

from tests.rules.frames import MS, events, found, held

RULE = "delayed-ack-stall"


def whole(frame: int = 7, **changes: Any) -> dict[str, Any]:
    """A full S that a full D and its delayed ACK were in front of, after a 200 ms timer; 10 ms to the server."""
    full = {"length": 1460, "new_bytes": 1460, "full": True, "small": False, "small_start": False}
    before = {
        "previous_data_length": 1460,
        "previous_data_full": True,
        "previous_data_small": False,
        "previous_data_ends_head": False,
    }
    return held(frame=frame) | full | before | {"previous_ack_bytes": 1460} | changes


def end(frame: int = 17, **changes: Any) -> dict[str, Any]:
    """A small S behind a full D."""
    small = {"length": 5, "new_bytes": 5, "full": False, "small": True, "small_start": True}
    return whole(frame=frame) | small | changes


def stalls(*given: dict[str, Any], rule: str = RULE) -> list[dict[str, Any]]:
    return found(rule, events("releases", *given))


def test_a_full_segment_released_by_a_delayed_ack() -> None:
    [stall] = stalls(whole())
    assert (stall["kind"], stall["direction"], stall["delay"], stall["confidence"]) == (None, 1, 200 * MS, "medium")
    assert [e["frame"] for e in stall["evidence"]] == [5, 6, 7]
    assert "send buffer or its congestion window" in stall["reason"]
    assert stalls(whole(), rule="nagle-delayed-ack") == []


def test_the_receivers_window_is_named_where_it_had_no_room() -> None:
    [stall] = stalls(whole(previous_data_room=1459))
    assert "window had no room" in stall["reason"]
    assert "larger window" in stall["first"]
    [stall] = stalls(whole(previous_data_room=1460))
    assert "send buffer" in stall["reason"]


@pytest.mark.parametrize(
    ("changes", "speaks"),
    [
        pytest.param({}, True, id="200 ms"),
        pytest.param({"previous_ack_delay": 35 * MS}, True, id="the shortest of 40 ms"),
        pytest.param({"previous_ack_delay": 35 * MS - 1}, False, id="shorter"),
        pytest.param({"previous_ack_delay": 51 * MS}, False, id="longer than 40 ms"),
        pytest.param({"previous_ack_delay": 120 * MS}, False, id="no usual timer"),
        pytest.param({"previous_ack_delay": 120 * MS, "previous_data_room": 1460}, True, id="no usual timer, but room"),
        pytest.param({"previous_data_full": False, "previous_data_length": 848}, False, id="D is the end of a window"),
        pytest.param({"mss": 9000}, True, id="jumbo frames"),
        pytest.param({"mss": 9001}, False, id="loopback"),
    ],
)
def test_a_full_window_opens_when_its_application_reads(changes: dict[str, Any], speaks: bool) -> None:
    assert bool(stalls(whole(**{"previous_data_room": 848} | changes))) is speaks


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"nagle_disabled": True}, id="Nagle is proved off"),
        pytest.param({"previous_data_small": True, "previous_data_full": False, "previous_data_length": 40}, id="D is small"),
        pytest.param({"previous_ack_bytes": 2920}, id="two segments in flight"),
        pytest.param({"previous_ack_interval": 8 * MS}, id="K is an ACK of its own"),
        pytest.param({"mss_announced": False}, id="a stack that announces no MSS"),
    ],
)
def test_what_does_not_matter(changes: dict[str, Any]) -> None:
    assert len(stalls(whole(**changes))) == 1


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"previous_ack_bytes": 2921}, id="more than two segments in flight"),
        pytest.param({"previous_ack_interval": 8 * MS - 1}, id="K is one of a burst of ACKs"),
        pytest.param({"message_incomplete": False}, id="D was the end of the message"),
        pytest.param({"peer_data_since": True}, id="the receiver answered"),
        pytest.param({"retransmission_since": True}, id="something was retransmitted"),
        pytest.param({"opens_gap": True}, id="S is not what K released"),
        pytest.param({"nothing_sent_since_ack": False}, id="S is not the first after K"),
        pytest.param({"previous_data_last_in_flight": False}, id="D was not the last in flight"),
        pytest.param({"previous_ack_delay": 30 * MS - 1}, id="the ACK came too soon"),
        pytest.param({"previous_ack_delay": 510 * MS + 1}, id="the ACK came too late"),
        pytest.param({"rtt_own": None}, id="round trip to the sender unknown"),
    ],
)
def test_silent_when_one_condition_fails(changes: dict[str, Any]) -> None:
    assert stalls(whole(**changes)) == []


@pytest.mark.parametrize(
    ("release", "rtt", "speaks"),
    [
        (-1 * MS, 10 * MS, True),
        (-1 * MS - 1, 10 * MS, False),
        (3 * MS // 2, 10 * MS, True),
        (3 * MS // 2 + 1, 10 * MS, False),
        # a share of a long round trip would be too much: whole segments leave at any time
        (-1 * MS - 1, 100 * MS, False),
        (3 * MS // 2 + 1, 100 * MS, False),
    ],
)
def test_edges_of_the_release(release: int, rtt: int, speaks: bool) -> None:
    assert bool(stalls(whole(rtt_own=rtt) | {"previous_ack_time": 232 * MS - rtt - release})) is speaks


def test_the_small_end_of_a_run_in_one_message() -> None:
    assert [s["frame"] for s in stalls(whole(), end())] == [5, 15]
    assert [s["frame"] for s in stalls(whole(), end(message=2))] == [5]
    assert [s["frame"] for s in stalls(whole(), end(connection=1))] == [5]
    assert stalls(end()) == []


def test_the_end_of_a_run_is_not_nagles() -> None:
    tail = end(ends_message=True)
    assert [s["kind"] for s in stalls(tail, rule="nagle-delayed-ack")] == ["tail"]
    assert stalls(whole(), tail, rule="nagle-delayed-ack") == []


def test_payload_without_messages_runs_from_segment_to_segment() -> None:
    other: dict[str, Any] = {"http": False, "message_incomplete": False, "message": None, "exchange": None, "captured": 1460}
    behind = end(**other) | {"previous_data_frame": 7}
    assert [s["confidence"] for s in stalls(whole(**other), behind)] == ["medium", "medium"]
    elsewhere = end(frame=27, **other, previous_data_small=True, previous_data_full=False)
    assert len(stalls(whole(**other), behind, elsewhere)) == 2
    # nor is it Nagle's: this side waits for ACKs whatever it sends
    assert len(stalls(elsewhere, rule="nagle-delayed-ack")) == 1
    assert stalls(whole(**other), elsewhere, rule="nagle-delayed-ack") == []


@pytest.mark.parametrize(
    "other", [{"http": False, "captured": 1460}, {"http": False, "captured": 10}], ids=["another protocol", "cut off"]
)
def test_one_stall_may_be_chance_where_the_ends_of_messages_are_unknown(other: dict[str, Any]) -> None:
    first = whole(previous_data_length=733, previous_data_full=False, previous_data_small=True, previous_ack_bytes=733, **other)
    assert stalls(first) == stalls(whole(**other)) == []
    # the order of the rows does not matter
    for second in (whole(frame=17, **other), whole(frame=17, connection=1, **other)):
        assert sorted(s["frame"] for s in stalls(second, first)) == [5, 15]
    assert stalls(first, whole(frame=17, endpoint=2, **other)) == []
    # if the window had no room, the program did not decide when the segment left
    assert len(stalls(whole(previous_data_room=1459, **other))) == 1


def test_confidence_rises_with_the_second_stall() -> None:
    assert [s["confidence"] for s in stalls(whole(), whole(frame=17))] == ["medium", "high"]
    late = [whole(frame=10 + i, previous_ack_time=100 * MS) for i in range(3)]
    assert [s["confidence"] for s in stalls(whole(), *late, whole(frame=27))] == ["medium", "medium"]


def test_without_handshake_two_releases_must_be_alike() -> None:
    assert stalls(whole(handshake=False)) == []
    assert [s["frame"] for s in stalls(whole(handshake=False), whole(frame=17, handshake=False))] == [15]


def test_where_an_epoch_ends_does_not_matter() -> None:
    given = [whole(), end(), whole(frame=27, message=2), end(frame=37, message=2)]
    state: dict[str, Any] = {}
    parts = [s for g in given for s in found(RULE, events("releases", g), state=state)]
    assert [(s["frame"], s["confidence"]) for s in parts] == [(s["frame"], s["confidence"]) for s in stalls(*given)]
    assert len(parts) == 4
