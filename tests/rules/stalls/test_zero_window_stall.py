"""zero-window-stall on rows made by hand: since when the sender had data, and both edges of each limit."""

from __future__ import annotations

from typing import Any

import pytest

from tests.rules.frames import MS, events, found

PROBED = {"window_probes": 2, "window_probe_frame": 7, "window_probe_time": 300 * MS}


def stalls(**changes: Any) -> list[dict[str, Any]]:
    """A server goes on when the client, beyond the capture point, opens its window after 500 ms; it is 10 ms away."""
    row = {
        "frame": 9, "time": 532 * MS, "connection": 0, "direction": 1, "role": 1, "http": True, "handshake": True,
        "rtt_own": 10 * MS, "rtt_other": 0, "length": 1460, "new_bytes": 1460, "after_closed_window": True,
        "data_before_last_in_flight": True,
        "closed_frame": 6, "closed_time": 22 * MS, "closed_window": 0, "opened_frame": 8, "opened_time": 522 * MS,
    }  # fmt: skip
    return found("zero-window-stall", events("closures", row | changes))


def test_a_stall() -> None:
    [stall] = stalls()
    assert (stall["direction"], stall["delay"], stall["confidence"]) == (0, 500 * MS, "high")
    assert [e["frame"] for e in stall["evidence"]] == [6, 8, 9]


def test_what_filled_a_hole_says_nothing_of_the_end_of_the_message() -> None:
    assert stalls(data_before_last_in_flight=False) == []
    assert len(stalls(data_before_last_in_flight=False, **PROBED)) == 1


@pytest.mark.parametrize(("closed", "speaks"), [(100 * MS - 1, False), (100 * MS, True)])
def test_edges_of_the_wait(closed: int, speaks: bool) -> None:
    assert bool(stalls(closed_time=522 * MS - closed)) is speaks


@pytest.mark.parametrize(
    ("after", "rtt", "speaks"),
    [
        (10 * MS + 3 * MS // 2, 10 * MS, True),
        (10 * MS + 3 * MS // 2 + 1, 10 * MS, False),
        (9 * MS, 10 * MS, True),
        (9 * MS - 1, 10 * MS, False),
        (110 * MS, 100 * MS, True),
        (110 * MS + 1, 100 * MS, False),
    ],
)
def test_at_once_allows_for_the_round_trip(after: int, rtt: int, speaks: bool) -> None:
    assert bool(stalls(time=522 * MS + after, rtt_own=rtt)) is speaks


def test_probes_count_where_the_sender_is_late() -> None:
    [stall] = stalls(time=900 * MS, **PROBED)
    assert (stall["delay"], stall["start"], stall["confidence"]) == (222 * MS, 300 * MS, "medium")
    assert [e["frame"] for e in stall["evidence"]] == [6, 7, 8, 9]
    assert stalls(time=900 * MS, **PROBED | {"window_probe_time": 422 * MS + 1}) == []
    assert len(stalls(time=900 * MS, **PROBED | {"window_probe_time": 422 * MS})) == 1


@pytest.mark.parametrize(
    ("changes", "speaks"),
    [
        pytest.param({"data_before_ends_message": True}, False, id="the message was complete"),
        pytest.param({"data_before_ends_message": True} | PROBED, False, id="probes of an idle connection"),
        pytest.param({"http": False}, True, id="not HTTP"),
        pytest.param({"http": False, "other_data_since": True}, False, id="not HTTP, and the receiver said something"),
        pytest.param({"rtt_own": None}, False, id="the round trip is unknown"),
        pytest.param({"rtt_own": None} | PROBED, True, id="the round trip is unknown, but there were probes"),
    ],
)
def test_the_sender_had_data(changes: dict[str, Any], speaks: bool) -> None:
    assert bool(stalls(**changes)) is speaks


def test_confidence() -> None:
    assert [s["confidence"] for s in stalls(handshake=False)] == ["medium"]
    assert [s["confidence"] for s in stalls(opens_hole=True)] == ["low"]
