"""zero-window-stall on rows made by hand: since when the sender had data, and both edges of each limit."""

from __future__ import annotations

from typing import Any

import pytest

from tests.rules.frames import MS, S, events, found, rows
from wiredoctor.testing import findings

PROBED = {"window_probes": 2, "window_probe_frame": 7, "window_probe_time": 300 * MS}


def stalls(**changes: Any) -> list[dict[str, Any]]:
    """A server goes on when the client, beyond the capture point, opens its window after 500 ms; it is 10 ms away."""
    row = {
        "frame": 9, "time": 532 * MS, "connection": 0, "direction": 1, "role": 1, "http": True, "handshake": True,
        "rtt_own": 10 * MS, "rtt_peer": 0, "length": 1460, "new_bytes": 1460, "after_closed_window": True,
        "previous_data_last_in_flight": True,
        "closed_frame": 6, "closed_time": 22 * MS, "closed_window": 0, "opened_frame": 8, "opened_time": 522 * MS,
    }  # fmt: skip
    return found("zero-window-stall", events("closures", row | changes))


def test_a_stall() -> None:
    [stall] = stalls()
    assert (stall["direction"], stall["delay"], stall["confidence"]) == (0, 500 * MS, "high")
    assert [e["frame"] for e in stall["evidence"]] == [6, 8, 9]


def test_what_filled_a_hole_says_nothing_of_the_end_of_the_message() -> None:
    assert stalls(previous_data_last_in_flight=False) == []
    assert len(stalls(previous_data_last_in_flight=False, **PROBED)) == 1


@pytest.mark.parametrize(("closed", "speaks"), [(20 * MS - 1, False), (20 * MS, True)])
def test_short_waits_are_candidates_because_they_show_the_pace(closed: int, speaks: bool) -> None:
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
    assert stalls(time=900 * MS, **PROBED | {"window_probe_time": 502 * MS + 1}) == []
    assert len(stalls(time=900 * MS, **PROBED | {"window_probe_time": 502 * MS})) == 1


@pytest.mark.parametrize(
    ("changes", "speaks"),
    [
        pytest.param({"previous_data_ends_message": True}, False, id="the message was complete"),
        pytest.param({"previous_data_ends_message": True} | PROBED, False, id="probes of an idle connection"),
        pytest.param({"http": False}, True, id="not HTTP"),
        pytest.param({"http": False, "peer_data_since": True}, False, id="not HTTP, and the receiver said something"),
        pytest.param({"rtt_own": None}, False, id="the round trip is unknown"),
        pytest.param({"rtt_own": None} | PROBED, True, id="the round trip is unknown, but there were probes"),
    ],
)
def test_the_sender_had_data(changes: dict[str, Any], speaks: bool) -> None:
    assert bool(stalls(**changes)) is speaks


def test_confidence() -> None:
    assert [s["confidence"] for s in stalls(handshake=False)] == ["medium"]
    assert [s["confidence"] for s in stalls(opens_gap=True)] == ["low"]


def held(**changes: Any) -> list[dict[str, Any]]:
    """A client threw a response away, opened its window after 650 ms, and acknowledged what was sent again at 1.5 s."""
    row = {
        "connection": 0, "direction": 1, "frame": 14, "http": True, "handshake": True, "sort": "refused", "count": 1,
        "waited": 1478 * MS, "closed": 650 * MS, "start_frame": 7, "start_time": 22 * MS, "copies": 2, "copy_frame": 9,
        "copy_time": 230 * MS, "opened_frame": 11, "opened_time": 672 * MS, "sent_frame": 12, "sent_time": 1490 * MS,
        "end_frame": 13, "end_time": 1500 * MS,
    }  # fmt: skip
    return found("zero-window-stall", rows("closures"), rows("window_stalls", row | changes))


NEVER_OPENED = {
    **{"sort": "never_opened", "copies": 0, "window_probes": 2, "window_probe_frame": 8, "window_probe_time": 322 * MS},
    **{"copy_frame": None, "copy_time": None, "opened_frame": None, "opened_time": None, "sent_frame": None, "sent_time": None},
    **{"waited": 700 * MS, "end_time": 722 * MS},
}
TIMER = {
    "sort": "timer",
    "count": 2,
    "copies": 0,
    "copy_frame": None,
    "closed": 0,
    "window": 600,
    "sent_frame": 8,
    "opened_frame": None,
}


def test_refused_data() -> None:
    [stall] = held()
    assert (stall["direction"], stall["delay"], stall["confidence"]) == (0, 1478 * MS, "high")
    assert (stall["start"], stall["end"]) == (22 * MS, 1500 * MS)
    assert [e["frame"] for e in stall["evidence"]] == [7, 9, 11, 12, 13]
    assert "did not expire until 828 ms after the window had opened" in stall["shown"]


@pytest.mark.parametrize("sort", [{}, TIMER, NEVER_OPENED | {"copies": 2}])
@pytest.mark.parametrize(("waited", "speaks"), [(100 * MS - 1, False), (100 * MS, True)])
def test_edges_of_each_wait(sort: dict[str, Any], waited: int, speaks: bool) -> None:
    end = {"end_time": 22 * MS + waited} if sort.get("sort") == "never_opened" else {}
    assert bool(held(**sort | {"waited": waited} | end)) is speaks


@pytest.mark.parametrize(("closed", "did"), [(100 * MS - 1, "discarded data"), (100 * MS, "did not read")])
def test_what_the_receiver_did(closed: int, did: str) -> None:
    [stall] = held(closed=closed)
    assert stall["did"] == did
    assert ("SO_RCVBUF" in stall["buffer"]) is (did == "discarded data")


@pytest.mark.parametrize(
    ("changes", "confidence"),
    [
        ({}, "high"),
        ({"count": 1}, None),
        ({"http": False}, "medium"),
        ({"handshake": False}, "medium"),
    ],
)
def test_a_timer_shows_that_there_was_more(changes: dict[str, Any], confidence: str | None) -> None:
    assert [s["confidence"] for s in held(**TIMER | changes)] == ([confidence] if confidence else [])


@pytest.mark.parametrize(
    ("changes", "speaks"),
    [
        pytest.param({}, True, id="two probes"),
        pytest.param({"window_probes": 1}, False, id="one, for less than a second"),
        pytest.param({"window_probes": 1, "waited": S - 1}, False, id="just less"),
        pytest.param({"window_probes": 1, "waited": S}, True, id="one, for a second"),
        pytest.param({"message_complete": True}, False, id="the message was complete: keep-alive probes"),
        pytest.param({"message_complete": True, "copies": 2}, True, id="the end of it was thrown away"),
        pytest.param({"http": False}, True, id="not HTTP, probed soon"),
        pytest.param({"http": False, "window_probe_time": 3022 * MS, "end_time": 9 * S}, True, id="not HTTP, after 3 s"),
        pytest.param({"http": False, "window_probe_time": 3022 * MS + 1, "end_time": 9 * S}, False, id="not HTTP, later"),
    ],
)
def test_a_window_that_never_opened(changes: dict[str, Any], speaks: bool) -> None:
    assert bool(held(**NEVER_OPENED | changes)) is speaks


def test_who_gave_up() -> None:
    [stall] = held(**NEVER_OPENED)
    assert (stall["confidence"], stall["delay"], stall["end"]) == ("medium", 400 * MS, 722 * MS)
    [stall] = held(**NEVER_OPENED, sender_close_frame=20, sender_close_time=3 * S, sender_close_rst=True)
    assert (stall["confidence"], stall["delay"], stall["end"]) == ("high", 3 * S - 322 * MS, 3 * S)
    assert [e["frame"] for e in stall["evidence"]] == [7, 8, 20]
    assert "gave up (RST)" in stall["why"]


def test_the_pace_is_that_of_the_window() -> None:
    """The program reads 487 bytes every 150 ms. The kernel opens the window when there is room for a segment, every 450 ms."""
    lines = [
        "  0.000  >  S    win 1460 mss 1460",
        "  0.010  <  S.   win 64240 mss 1460",
        "  0.010  >  .",
        '  0.011  >  P.   "GET / HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n"',
        '  0.022  <  .    "HTTP/1.1 200 OK\\r\\nContent-Length: 8719\\r\\n\\r\\n" + x*1419',
        "  0.022  >  .    win 0",
    ]
    for n in range(1, 6):
        opened = 0.022 + 0.45 * n
        lines += [
            f"  {opened:.3f}  >  .    win 1460",
            f"  {opened + 0.01:.3f}  <  .    x*1460",
            f"  {opened + 0.01:.3f}  >  .    win 0",
        ]
    told = findings("\n".join(lines))[0]
    assert told.title == "The client reads at its own pace: its window opens every 450 ms"
    assert told.message.startswith("The client opened its window at regular times, every 450 ms: it limits its rate, or sleeps")
