"""Test nagle-delayed-ack with rows made by hand: stalls, both sides of each threshold, and the effect of earlier rows."""

from __future__ import annotations

from typing import Any

import pytest

from tests.ladders import check
from tests.rules.frames import MS, events, found, held
from tests.support.sweeps import sweep

RULE = "nagle-delayed-ack"


def stalls(*given: dict[str, Any]) -> list[dict[str, Any]]:
    return found(RULE, events("releases", *given))


def delayed(delay: int, **changes: Any) -> dict[str, Any]:
    """S of a head-body-split whose ACK was delayed by this much; frames and times follow."""
    at = 22 * MS + delay + 10 * MS
    times = {"previous_data_time": 22 * MS, "previous_ack_time": at - 10 * MS, "previous_ack_delay": delay}
    return held(at=at) | times | changes


def after_ack(release: int, **changes: Any) -> dict[str, Any]:
    """S that left so long after K had reached its sender (10 ms away)."""
    return held(**changes) | {"previous_ack_time": 232 * MS - 10 * MS - release}


def test_a_body_released_by_a_delayed_ack() -> None:
    [stall] = stalls(held())
    assert (stall["kind"], stall["direction"], stall["delay"], stall["confidence"]) == ("head-body-split", 1, 200 * MS, "medium")
    assert [e["frame"] for e in stall["evidence"]] == [5, 6, 7]
    assert (stall["start"], stall["end"], stall["frame"]) == (22 * MS, 232 * MS, 5)
    assert "Windows before 10" in stall["timer"]


TIMERS = [
    (40, "Linux, FreeBSD, and Windows 10", True),
    (50, "Linux, FreeBSD, and Windows 10", True),
    (60, "unknown", False),
    (97, "unknown", False),
    # Windows XP counts 200 ms in ticks that began before the data came
    (120, "macOS and Solaris; Windows before 10 waits up to 200 ms", True),
    (188, "macOS and Solaris; Windows before 10 waits up to 200 ms", True),
    (200, "Windows before 10, and the longest timer of macOS", True),
    # and ends them with a clock that ticks every 16 ms
    (218, "Windows before 10, and the longest timer of macOS", True),
    (400, "below 500 ms", False),
]


@pytest.mark.parametrize(("delay", "whose", "windows"), TIMERS)
def test_whose_timer_it_may_be(delay: int, whose: str, windows: bool) -> None:
    [stall] = stalls(delayed(delay * MS))
    assert whose in stall["timer"]
    assert ("TcpAckFrequency" in stall["receiver"]) == windows


def test_the_kind_is_what_d_was() -> None:
    piece = {"previous_data_ends_head": False}
    assert [s["kind"] for s in stalls(held(**piece))] == ["write-write-read"]
    assert [s["kind"] for s in stalls(held(previous_data_ends_head=True, previous_data_ends_message=True))] == [
        "write-write-read"
    ]
    assert stalls(held(**piece, previous_data_small=False, previous_data_full=True)) == []
    full_head = stalls(held(previous_data_small=False, previous_data_full=True))
    assert [s["kind"] for s in full_head] == ["head-body-split"]


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"small_start": False}, id="S is full"),
        pytest.param({"nagle_disabled": True}, id="Nagle is proved off"),
        pytest.param({"message_incomplete": False}, id="D was the end of the message"),
        pytest.param({"peer_data_since": True}, id="the receiver answered"),
        pytest.param({"retransmission_since": True}, id="something was retransmitted"),
        pytest.param({"retransmission": True, "new_bytes": 0}, id="S is a retransmission"),
        pytest.param({"overlap": True}, id="S repeats a part"),
        pytest.param({"fills_gap": True}, id="S came out of order"),
        pytest.param({"opens_gap": True}, id="what K released is not in the capture"),
        pytest.param({"new_bytes": 0}, id="S brings nothing new"),
        pytest.param({"nothing_sent_since_ack": False}, id="S is not the first after K"),
        pytest.param({"previous_data_last_in_flight": False}, id="D was not the last in flight"),
        pytest.param({"previous_ack_ack": 37}, id="K does not cover D"),
        pytest.param({"previous_ack_ack": 39}, id="K covers more than the capture has"),
        pytest.param({"previous_data_room": 4}, id="the window had no room for S"),
        pytest.param({"rtt_own": None}, id="round trip to the sender unknown"),
        pytest.param({"rtt_peer": None, "previous_ack_delay": None}, id="round trip to the receiver unknown"),
        pytest.param(
            {"previous_ack_frame": None, "previous_ack_time": None, "previous_ack_ack": None, "previous_ack_delay": None},
            id="no K",
        ),
    ],
)
def test_silent_when_one_condition_fails(changes: dict[str, Any]) -> None:
    assert len(stalls(held())) == 1
    assert stalls(held(**changes)) == []


@pytest.mark.parametrize(("delay", "speaks"), [(30 * MS - 1, False), (30 * MS, True), (510 * MS, True), (510 * MS + 1, False)])
def test_edges_of_the_ack_delay(delay: int, speaks: bool) -> None:
    assert bool(stalls(delayed(delay))) is speaks


@pytest.mark.parametrize(
    ("release", "rtt", "speaks"),
    [
        (-1 * MS, 10 * MS, True),
        (-1 * MS - 1, 10 * MS, False),
        (3 * MS // 2, 10 * MS, True),
        (3 * MS // 2 + 1, 10 * MS, False),
        (-10 * MS, 100 * MS, True),
        (-10 * MS - 1, 100 * MS, False),
        (10 * MS, 100 * MS, True),
        (10 * MS + 1, 100 * MS, False),
    ],
)
def test_edges_of_the_release(release: int, rtt: int, speaks: bool) -> None:
    row = held(rtt_own=rtt) | {"previous_ack_time": 232 * MS - rtt - release}
    assert bool(stalls(row)) is speaks


def test_a_wider_release_counts_after_a_narrow_one_of_the_same_side() -> None:
    wide = {"frame": 17, "previous_data_frame": 15, "exchange": 1}
    assert [s["exchange"] for s in stalls(held(), after_ack(5 * MS, **wide))] == [0, 1]
    assert [s["exchange"] for s in stalls(held(), after_ack(5 * MS + 1, **wide))] == [0]
    assert [s["exchange"] for s in stalls(held(connection=1), after_ack(5 * MS, **wide))] == [0]
    assert [s["exchange"] for s in stalls(held(direction=0, role=0), after_ack(5 * MS, **wide))] == [0]
    assert stalls(after_ack(5 * MS)) == []


@pytest.mark.parametrize(("rtt", "limit"), [(10 * MS, 5 * MS), (40 * MS, 12 * MS), (100 * MS, 15 * MS)])
def test_edges_of_the_wide_release(rtt: int, limit: int) -> None:
    def second(release: int) -> dict[str, Any]:
        return held(frame=17, exchange=1, rtt_own=rtt) | {"previous_ack_time": 232 * MS - rtt - release}

    assert len(stalls(held(), second(limit))) == 2
    assert len(stalls(held(), second(limit + 1))) == 1


def unsure(number: int, release: int, **changes: Any) -> dict[str, Any]:
    """One of several S of a connection without handshake; `release` as seen, ns after K reached the sender."""
    row = held(frame=7 + 10 * number, exchange=number, handshake=False)
    return row | {"previous_ack_time": 232 * MS - 10 * MS - release} | changes


@pytest.mark.parametrize(
    ("releases", "said"),
    [
        # one alone proves nothing
        ([0], []),
        # the round trip holds thinking time: what was released seems to come before K could arrive
        ([-9 * MS, -9 * MS], [1]),
        ([-10 * MS, -10 * MS], [1]),
        ([-10 * MS - 1, -10 * MS - 1], []),
        ([-9 * MS, -9 * MS, -9 * MS], [1, 2]),
        # alike: within 1.5 ms
        ([-10 * MS, -10 * MS + 3 * MS // 2], [1]),
        ([-10 * MS, -10 * MS + 3 * MS // 2 + 1], []),
        # where S comes 3 ms after K, a program may have been as late: nothing before the fourth
        ([-7 * MS, -7 * MS, -7 * MS], []),
        ([-7 * MS, -7 * MS, -7 * MS, -7 * MS, -7 * MS], [3, 4]),
        # it comes as long after D each time, and not as long after K
        ([-7 * MS, -7 * MS, -6 * MS, -7 * MS, -6 * MS], []),
        ([-9 * MS, -6 * MS, -2 * MS, 0, -6 * MS], []),
    ],
)
def test_without_handshake_two_releases_must_be_alike(releases: list[int], said: list[int]) -> None:
    found = stalls(*(unsure(i, release) for i, release in enumerate(releases)))
    assert [s["exchange"] for s in found] == said
    assert {s["confidence"] for s in found} <= {"medium"}


def test_two_that_are_alike_belong_to_one_side_of_a_connection() -> None:
    assert stalls(unsure(0, 0), unsure(1, 0, connection=1)) == []
    assert stalls(unsure(0, 0), unsure(1, 0, direction=0, role=0)) == []


def test_confidence_rises_with_the_second_stall_of_the_endpoint() -> None:
    again = held(frame=17, connection=1)
    assert [s["confidence"] for s in stalls(held(), again)] == ["medium", "high"]
    assert [s["confidence"] for s in stalls(held(), again | {"endpoint": 78})] == ["medium", "medium"]
    assert [s["confidence"] for s in stalls(held(), again | {"role": 0, "direction": 0})] == ["medium", "medium"]


def test_confidence_stays_medium_where_most_opportunities_did_not_stall() -> None:
    misses = [after_ack(100 * MS, frame=10 + i, exchange=1 + i) for i in range(3)]
    last = held(frame=20, exchange=9)
    assert [s["confidence"] for s in stalls(held(), *misses[:2], last)] == ["medium", "high"]
    assert [s["confidence"] for s in stalls(held(), *misses, last)] == ["medium", "medium"]


def test_what_was_not_observed_lowers_confidence() -> None:
    def second(**changes: Any) -> str:
        return stalls(held(), held(frame=17, exchange=1, **changes))[1]["confidence"]

    assert second() == "high"
    assert second(previous_data_room=None) == "medium"


def test_payload_that_is_not_http_has_no_owes_and_medium_confidence() -> None:
    other: dict[str, Any] = {
        "http": False,
        "message_incomplete": False,
        "previous_data_ends_head": False,
        "exchange": None,
        "role": None,
    }
    whole = stalls(held(**other), held(frame=17, **other))
    assert [(s["kind"], s["confidence"], s["what"]) for s in whole] == [("write-write-read", "medium", "data")] * 2
    # cut by the snap length it may be HTTP all the same: a stall is a matter of lengths, numbers and times
    cut = stalls(held(**other, captured=0), held(frame=17, **other, captured=0), held(frame=27, **other, captured=0))
    assert [(s["kind"], s["delay"], s["evidence"]) for s in cut[:2]] == [(s["kind"], s["delay"], s["evidence"]) for s in whole]
    # but nothing says any more that there was more to send: two may be chance
    assert [s["confidence"] for s in cut] == ["low", "low", "medium"]


def test_a_stack_that_announces_no_mss_is_none_that_is_known() -> None:
    """User-space stacks of VPN and capture programs send a segment at a time, whatever its size."""
    assert stalls(held(mss_announced=False, http=False, message_incomplete=False)) == []
    assert len(stalls(held(mss_announced=False))) == 1


# Counter-evidence


def prompt_ack(frame: int, lateness: int, **changes: Any) -> dict[str, Any]:
    """S of an exchange whose D was acknowledged at once; S came so much later than one round trip (10 ms) after D."""
    at = frame * 1000 * MS
    row = held(frame=frame, at=at, exchange=frame, previous_ack_delay=0)
    return row | {"previous_data_time": at - 10 * MS - lateness, "previous_ack_time": at - 10 * MS - lateness} | changes


def later(**changes: Any) -> dict[str, Any]:
    return held(frame=900, at=900_000 * MS, exchange=900, **changes)


def test_an_application_that_is_late_by_itself_is_not_accused() -> None:
    assert len(stalls(later())) == 1
    assert stalls(prompt_ack(100, 100 * MS), later()) == []
    assert len(stalls(prompt_ack(100, 100 * MS - 1), later())) == 1


def test_the_usual_lateness_is_no_part_of_the_delay() -> None:
    [stall] = stalls(prompt_ack(100, 30 * MS), later())
    assert stall["delay"] == 170 * MS


def test_the_median_of_the_last_sixteen_exchanges_counts() -> None:
    late = [prompt_ack(100 + i, 150 * MS) for i in range(20)]
    prompt = [prompt_ack(200 + i, 0) for i in range(9)]
    assert stalls(*late, *prompt[:7], later()) == []
    assert len(stalls(*late, *prompt, later())) == 1


def test_an_exchange_counts_once_with_its_latest() -> None:
    stream = [prompt_ack(100 + i, 150 * MS, exchange=100) for i in range(50)]
    assert len(stalls(*stream, prompt_ack(200, 0), prompt_ack(201, 0), later())) == 1


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"endpoint": 78}, id="another endpoint"),
        pytest.param({"role": 0}, id="the other side"),
        pytest.param({"previous_data_ends_head": False}, id="another kind of D"),
        pytest.param({"small_start": False}, id="S is full"),
        pytest.param({"http": False}, id="not HTTP"),
        pytest.param({"previous_ack_delay": 5 * MS + 1}, id="the ACK was not prompt"),
    ],
)
def test_what_is_no_counter_evidence(changes: dict[str, Any]) -> None:
    assert len(stalls(prompt_ack(100, 150 * MS, **changes), later())) == 1


def test_what_the_snap_length_cut_is_counter_evidence_too() -> None:
    """How late a segment is needs none of its bytes; and a program that is no HTTP's is as late as it likes."""
    cut: dict[str, Any] = {
        "http": False,
        "message_incomplete": False,
        "exchange": None,
        "previous_data_ends_head": False,
        "captured": 0,
    }
    late = prompt_ack(100, 150 * MS, **cut)
    assert stalls(late, held(frame=900, at=900_000 * MS, **cut)) == []
    whole = cut | {"captured": 5}
    assert len(stalls(late | whole, held(frame=900, at=900_000 * MS, **whole))) == 1


def test_a_clock_that_was_set_back_shows_no_lateness() -> None:
    """S seems to have come before D: how late it was by itself is unknown, and not 0."""
    late = prompt_ack(100, 100 * MS)
    step = prompt_ack(200, 100 * MS)
    step |= {"time": step["previous_data_time"] - 1}
    assert stalls(late, step, later()) == []
    assert len(stalls(late, step | {"time": step["previous_data_time"]}, later())) == 1


def test_an_ack_within_five_milliseconds_was_prompt() -> None:
    assert stalls(prompt_ack(100, 150 * MS, previous_ack_delay=5 * MS), later()) == []


# Windows' datacenter profile


def short(i: int, delay: int = 10 * MS, **changes: Any) -> dict[str, Any]:
    return delayed(delay, frame=10 * i, previous_data_frame=10 * i - 2, previous_ack_frame=10 * i - 1, exchange=i) | changes


def test_ten_milliseconds_count_from_the_fifth_on() -> None:
    assert [s["exchange"] for s in stalls(*(short(i) for i in range(1, 8)))] == [5, 6, 7]
    assert "datacenter" in stalls(*(short(i) for i in range(1, 6)))[0]["timer"]


def test_short_delays_must_be_alike() -> None:
    scattered = [9, 14, 20, 26, 29, 9, 14]
    assert stalls(*(short(i + 1, d * MS) for i, d in enumerate(scattered))) == []
    alike = [10, 25, 10, 11, 9, 10]
    assert [s["exchange"] for s in stalls(*(short(i + 1, d * MS) for i, d in enumerate(alike)))] == [6]


def test_short_delays_belong_to_one_side_of_a_connection() -> None:
    assert stalls(*(short(i, connection=i % 2) for i in range(1, 9))) == []


@pytest.mark.parametrize(("delay", "speaks"), [(8 * MS - 1, False), (8 * MS, True), (30 * MS - 1, True)])
def test_edges_of_short_delays(delay: int, speaks: bool) -> None:
    assert bool(stalls(*(short(i, delay) for i in range(1, 7)))) is speaks


# Memory


def test_where_an_epoch_ends_does_not_matter() -> None:
    given = [
        prompt_ack(100, 4 * MS),
        later(),
        *(short(i) | {"frame": 1000 + i} for i in range(1, 8)),
        held(frame=2000, exchange=3),
    ]
    whole = stalls(*given)
    state: dict[str, Any] = {}
    parts = [c for g in given for c in found(RULE, events("releases", g), state=state)]
    assert [(p["frame"], p["delay"], p["confidence"]) for p in parts] == [
        (w["frame"], w["delay"], w["confidence"]) for w in whole
    ]
    assert len(whole) == 5


# The end of a message behind a full segment


def tail(**changes: Any) -> dict[str, Any]:
    full = {
        "previous_data_length": 1460,
        "previous_data_full": True,
        "previous_data_small": False,
        "previous_data_ends_head": False,
    }
    return held() | full | {"previous_ack_bytes": 1460, "ends_message": True} | changes


def test_the_end_behind_a_full_segment() -> None:
    [stall] = stalls(tail())
    assert (stall["kind"], stall["confidence"], stall["delay"]) == ("tail", "low", 200 * MS)
    assert "send buffer" in stall["doubt"]
    assert stalls(tail(ends_message=False)) == []


@pytest.mark.parametrize(
    ("in_flight", "confidence"),
    [(1460, ["low", "low"]), (2920, ["low", "low"]), (1461, ["medium", "high"]), (2919, ["medium", "high"]), (2921, [])],
)
def test_a_small_segment_in_flight_makes_it_sure(in_flight: int, confidence: list[str]) -> None:
    found = stalls(tail(previous_ack_bytes=in_flight), tail(previous_ack_bytes=in_flight, frame=17, connection=1))
    assert [s["confidence"] for s in found] == confidence


# A segment that a probe sent


def probed(**changes: Any) -> dict[str, Any]:
    """S that left 220 ms after D, whose ACK had not come; 10 ms to the server."""
    none = {"previous_ack_frame": None, "previous_ack_time": None, "previous_ack_ack": None, "previous_ack_delay": None}
    row = (
        held(frame=6, at=242 * MS) | none | {"previous_data_frame": 5, "previous_data_time": 22 * MS, "previous_ack_bytes": None}
    )
    return row | {"nothing_sent_since_ack": False} | changes


def answer(of: int = 6, frame: int = 7, **changes: Any) -> dict[str, Any]:
    """The client's ACK of D and S."""
    row = {"frame": frame, "time": 242 * MS, "connection": 0, "direction": 0, "role": 0, "endpoint": 77, "probe_frame": of}
    return row | {"http": True, "pure_ack": True} | changes


def test_a_segment_that_a_probe_sent() -> None:
    [stall] = stalls(probed(), answer())
    assert (stall["kind"], stall["direction"], stall["confidence"]) == ("probe-released", 1, "low")
    # 220 ms less one round trip
    assert stall["delay"] == 210 * MS
    assert [e["frame"] for e in stall["evidence"]] == [5, 6, 7]
    assert (stall["start"], stall["end"], stall["frame"]) == (22 * MS, 242 * MS, 5)


def test_no_answer_no_stall() -> None:
    assert stalls(probed()) == []
    assert stalls(answer()) == []
    assert stalls(probed(), answer(of=5)) == []
    assert stalls(probed(), answer(connection=1)) == []


def test_confidence_of_a_probe_rises_with_the_second() -> None:
    second = [probed(frame=16, previous_data_frame=15), answer(of=16, frame=17)]
    assert [s["confidence"] for s in stalls(probed(), answer(), *second)] == ["low", "medium"]
    other = [second[0] | {"endpoint": 78}, second[1]]
    assert [s["confidence"] for s in stalls(probed(), answer(), *other)] == ["low", "low"]


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"previous_data_small": False, "previous_data_full": True}, id="D is full"),
        pytest.param({"small_start": False}, id="S is full"),
        pytest.param({"previous_data_message": 0}, id="another message"),
        pytest.param({"message": None, "previous_data_message": None, "http": False}, id="no messages"),
        pytest.param(
            {"message": None, "captured": 0, "nagle_disabled": True}, id="cut by the snap length, and Nagle is proved off"
        ),
        pytest.param({"nagle_disabled": True}, id="Nagle is proved off"),
        pytest.param({"peer_data_since": True}, id="the receiver answered"),
        pytest.param({"retransmission_since": True}, id="something was retransmitted"),
        pytest.param({"previous_data_room": 4}, id="the window had no room for S"),
        pytest.param({"previous_data_time": 42 * MS + 1}, id="too soon"),
    ],
)
def test_no_probe(changes: dict[str, Any]) -> None:
    assert stalls(probed(**changes), answer()) == []


def test_a_server_that_is_as_late_by_itself_needed_no_probe() -> None:
    late = held(frame=3, exchange=9, previous_ack_delay=0) | {"previous_data_time": 232 * MS - 115 * MS}
    assert stalls(late, probed(), answer()) == []
    prompt = late | {"previous_data_time": 232 * MS - 114 * MS}
    [stall] = stalls(prompt, probed(), answer())
    assert stall["delay"] == (210 - 104) * MS


def test_an_answer_in_a_later_epoch() -> None:
    state: dict[str, Any] = {}
    assert found(RULE, events("releases", probed()), state=state) == []
    [stall] = found(RULE, events("releases", answer()), state=state)
    assert [e["frame"] for e in stall["evidence"]] == [5, 6, 7]


def test_what_was_fast_before_is_told() -> None:
    assert "at once" not in stalls(held())[0]["before"]
    assert "at once" in stalls(prompt_ack(3, 0), held())[0]["before"]


# Captures that begin in the middle of a connection

RELEASED_ALIKE = r"""
  0.000  >  .
  0.000  <  .
  0.000  >  P.   "GET /a HTTP/1.1\r\nHost: a\r\n\r\n"
  0.010  <  .
  0.011  <  P.   "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"
  0.011  >  .
  0.022  <  P.   "hello"
  0.022  >  .
  repeat 5
  +0.005 >  P.   "GET /b HTTP/1.1\r\nHost: a\r\n\r\n"
  +0.011 <  P.   "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"
  +0.041 >  .
  +0.010 <  P.   "hello"
  end
  => nagle-delayed-ack, side server, kind head-body-split, confidence medium, delay 0.041, frames 22 23 24
  => nagle-delayed-ack, side server, kind head-body-split, confidence medium, delay 0.041, frames 26 27 28
"""

PACED_BY_ITS_PROGRAM = r"""
  0.000  >  .
  0.000  <  .
  0.000  >  P.   "GET /a HTTP/1.1\r\nHost: a\r\n\r\n"
  0.010  <  .
  0.011  <  P.   "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"
  0.052  >  .
  0.062  <  P.   "hello"
  0.062  >  .
  repeat 3
  +0.005 >  P.   "GET /b HTTP/1.1\r\nHost: a\r\n\r\n"
  +0.031 <  P.   "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"
  +0.041 >  .
  +0.010 <  P.   "hello"
  +0.000 >  .
  +0.005 >  P.   "GET /b HTTP/1.1\r\nHost: a\r\n\r\n"
  +0.031 <  P.   "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"
  +0.042 >  .
  +0.009 <  P.   "hello"
  +0.000 >  .
  end
  => nothing
"""
"""A server that thinks for as long before each body, and sends it without waiting for an ACK."""

WRITTEN_AT_WILL = r"""
  0.000  >  .
  0.000  <  .
  0.000  >  P.   "GET /a HTTP/1.1\r\nHost: a\r\n\r\n"
  0.080  <  P.   "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
  0.080  >  .
  0.130  <  P.   "3\r\nabc\r\n"
  0.171  >  .
  0.177  <  P.   "3\r\nabc\r\n"
  0.218  >  .
  0.272  <  P.   "3\r\nabc\r\n"
  0.313  >  .
  0.392  <  P.   "3\r\nabc\r\n"
  0.433  >  .
  0.461  <  P.   "3\r\nabc\r\n"
  => nothing
"""
"""A server that writes when it has something; what its round trip is taken to be is the time that it thought."""


@pytest.mark.parametrize("text", [RELEASED_ALIKE, WRITTEN_AT_WILL, PACED_BY_ITS_PROGRAM])
@pytest.mark.parametrize("epoch_packets", sweep([1, 3, 100], {1}.__contains__))
def test_without_handshake(text: str, epoch_packets: int) -> None:
    check(text, epoch_packets=epoch_packets)
