"""tinygrams on rows made by hand: runs, messages within runs, and both edges of each limit."""

from __future__ import annotations

from typing import Any

import pytest

from tests.rules.frames import MS, events, found


def crumb(number: int, size: int = 10, **changes: Any) -> dict[str, Any]:
    """Segment `number` of a run of a server, of `size` bytes as all of them, 1 ms apart."""
    row = {
        "frame": 10 + number, "time": number * MS, "connection": 0, "direction": 1, "role": 1, "message": 1,
        "previous_data_message": 1, "exchange": 0, "mss": 1460, "length": size, "new_bytes": size, "small_run": number,
        "small_run_bytes": number * size, "small_run_frame": 11, "small_run_time": MS, "nagle_disabled": True, "handshake": True,
    }  # fmt: skip
    return row | changes


def crumbs(*given: dict[str, Any], state: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    return found("tinygrams", events("runs", *given), state=state)


def run(count: int, size: int = 10, **changes: Any) -> list[dict[str, Any]]:
    return [crumb(i, size, **changes) for i in range(2, count + 1)]


def test_the_eighth_proves_it_and_it_is_said_once() -> None:
    [one] = crumbs(*run(40))
    assert (one["segments"], one["average"], one["direction"], one["delay"]) == (8, 10, 1, None)
    assert [e["frame"] for e in one["evidence"]] == [11, 18]
    assert crumbs(*run(7)) == []


def test_a_quarter_of_the_mss() -> None:
    assert len(crumbs(*run(8, 364))) == 1
    assert crumbs(*run(8, 365)) == []


def test_it_may_show_itself_later() -> None:
    large = [crumb(i, small_run_bytes=2920 + 10 * i) for i in range(8, 12)]
    assert [c["segments"] for c in crumbs(*large)] == [9]


def test_a_message_within_a_run_counts_by_itself() -> None:
    second = [crumb(i, message=2, previous_data_message=1 if i == 6 else 2) for i in range(6, 20)]
    [one] = crumbs(*run(5), *second)
    assert (one["segments"], [e["frame"] for e in one["evidence"]]) == (8, [16, 23])
    assert crumbs(*run(5), *second[:7]) == []


def test_every_message_its_own() -> None:
    alternating = [crumb(i, message=i, previous_data_message=i - 1) for i in range(2, 40)]
    assert crumbs(*alternating) == []


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"nagle_disabled": False}, id="nothing proves that Nagle is off"),
        pytest.param({"event_stream": True}, id="an event stream"),
        pytest.param({"message": None}, id="not HTTP"),
    ],
)
def test_silent(changes: dict[str, Any]) -> None:
    assert crumbs(*run(12, **changes)) == []


def test_what_is_in_flight_proves_it_too() -> None:
    answered = {"nagle_disabled": False, "rtt_peer": 40 * MS}
    assert len(crumbs(*run(8, in_flight_before=35, **answered))) == 1
    assert crumbs(*run(8, in_flight_before=34, **answered)) == []
    # where the receiver was never heard its ACKs may be missing, and nothing was in flight
    assert crumbs(*run(8, in_flight_before=35, nagle_disabled=False, rtt_peer=None)) == []


def test_sides_and_connections_are_told_apart() -> None:
    other = run(8, direction=0, role=0)
    third = run(8, connection=1)
    assert len(crumbs(*run(8), *other, *third)) == 3


def test_where_an_epoch_ends_does_not_matter() -> None:
    state: dict[str, Any] = {}
    parts = [c for row in run(20) for c in crumbs(row, state=state)]
    assert [p["frame"] for p in parts] == [11]


@pytest.mark.parametrize(
    ("rtt", "proved"),
    [(5 * MS, True), (5 * MS - 1, False), (None, False)],
)
def test_faster_than_acks_can_come_back(rtt: int | None, proved: bool) -> None:
    """Seven segments in 7 ms after the first, each acknowledged before the next is seen; shorter round trips say nothing."""
    unproved = {"nagle_disabled": False, "in_flight_before": 0, "rtt_own": rtt, "rtt_peer": 0}
    assert bool(crumbs(*run(8, **unproved))) == proved


def test_a_round_trip_each_is_as_nagle_has_it() -> None:
    """Half of one is the limit: 7 ms for seven segments."""
    unproved = {"nagle_disabled": False, "in_flight_before": 0, "rtt_own": 0, "rtt_peer": 7 * MS}
    slow = [row | {"time": MS + 7 * (row["time"] - MS) // 2} for row in run(8, **unproved)]
    assert crumbs(*slow) == []
    assert crumbs(*[row | {"time": row["time"] - 1} for row in slow])
    assert crumbs(*[row | {"time": row["time"] - 1, "handshake": False} for row in slow]) == []
