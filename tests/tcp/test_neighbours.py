"""Test the columns about earlier packets: D, the previous data of the same side, and K, the ACK of D."""

from __future__ import annotations

from typing import Any

import pytest

from tests.tcp.seeing import HANDSHAKE, MS, Seen, see

STALL = (
    HANDSHAKE
    + """
    0.030 > P. 1:101(100) ack 1
    0.080 < . ack 101
    0.090 > P. 101:151(50) ack 1
    """
)
"""D is frame 4, K frame 5, S frame 6."""


def before(seen: Seen, prefix: str = "previous_data_") -> dict[str, Any]:
    """The neighbour columns of the last segment that belong to TCP."""
    row = seen.segments[-1]
    http = ("previous_data_message", "previous_data_ends_head", "previous_data_ends_message")
    return {name.removeprefix(prefix): row[name] for name in row if name.startswith(prefix) and name not in http}


def test_data_and_its_ack() -> None:
    seen = see(STALL)
    assert before(seen) == {
        "frame": 4,
        "time": 30 * MS,
        "end": 100,
        "length": 100,
        "full": False,
        "small": True,
        "push": True,
        "last_in_flight": True,
        "room": 60000 - 100,
    }
    assert before(seen, "previous_ack_") == {
        "frame": 5,
        "time": 80 * MS,
        "ack": 100,
        "delay": 40 * MS,
        "bytes": 100,
        "interval": None,
    }
    assert seen.last("nothing_sent_since_ack", "peer_data_since", "retransmission_since", "window_short_since") == [
        True,
        False,
        False,
        False,
    ]


def test_the_ack_before_k() -> None:
    seen = see(STALL + "0.140 < . ack 151\n0.150 > P. 151:161(10) ack 1")
    assert before(seen, "previous_ack_") == {
        "frame": 7,
        "time": 140 * MS,
        "ack": 150,
        "delay": 40 * MS,
        "bytes": 50,
        "interval": 60 * MS,
    }


def test_nothing_before_the_first_data() -> None:
    seen = see(HANDSHAKE + "0.030 > P. 1:101(100) ack 1")
    assert seen.last("previous_data_frame", "previous_data_time", "previous_data_end", "previous_ack_frame") == [None] * 4
    assert seen.last("nothing_sent_since_ack", "previous_data_full", "previous_data_small") == [False] * 3


def test_the_ack_of_older_data_is_not_k() -> None:
    seen = see(
        HANDSHAKE + "0.030 > P. 1:101(100) ack 1\n0.041 < . ack 101\n0.050 > P. 101:151(50) ack 1\n0.051 > P. 151:161(10) ack 1"
    )
    assert seen.last("previous_data_frame", "previous_ack_frame", "nothing_sent_since_ack") == [6, None, False]


def test_the_newest_ack_is_k() -> None:
    seen = see(
        HANDSHAKE
        + """
        0.030 > . 1:1461(1460) ack 1
        0.031 > . 1461:2921(1460) ack 1
        0.041 < . ack 1461
        0.081 < . ack 2921
        0.091 > P. 2921:2931(10) ack 1
        """
    )
    assert seen.last("previous_data_frame", "previous_ack_frame", "previous_ack_ack") == [5, 7, 2920]
    assert seen.last("previous_data_full", "previous_data_small") == [True, False]
    assert seen.last("previous_ack_delay") == [40 * MS]


@pytest.mark.parametrize(
    "between",
    [
        "0.080 < . ack 1",  # acknowledges nothing new
        "0.080 < P. 1:11(10) ack 101",  # carries data
        "0.080 < F. 1:1 ack 101",
    ],
)
def test_what_is_not_k(between: str) -> None:
    seen = see(STALL.replace("0.080 < . ack 101", between))
    assert seen.last("previous_ack_frame", "nothing_sent_since_ack") == [None, False]


def test_a_window_update_is_not_k() -> None:
    text = STALL.replace("ack 1 win 60000 mss 1460\n0.020", "ack 1 win 1000 mss 1460\n0.020")
    seen = see(text.replace("0.080 < . ack 101", "0.080 < . ack 101 win 5000"))
    assert seen.segments[4]["window_update"] is True
    assert seen.last("previous_ack_frame") == [None]


@pytest.mark.parametrize(
    ("line", "quiet", "other", "again"),
    [
        ("0.085 > . ack 1", False, False, False),
        ("0.085 < P. 1:11(10) ack 101", True, True, False),
        ("0.085 > P. 1:101(100) ack 1", False, False, True),
        ("0.070 > P. 1:101(100) ack 1", True, False, True),
        ("0.050 > . ack 1", True, False, False),
    ],
)
def test_what_happened_since(line: str, quiet: bool, other: bool, again: bool) -> None:
    body = sorted([*STALL.split("\n"), line], key=str.strip)
    seen = see("\n".join(body))
    assert seen.last("nothing_sent_since_ack", "peer_data_since", "retransmission_since") == [quiet, other, again]
    assert seen.last("previous_data_frame") == [4]


def test_a_retransmission_of_the_other_side_counts() -> None:
    seen = see(
        HANDSHAKE
        + """
        0.030 < P. 1:11(10) ack 1
        0.040 > P. 1:101(100) ack 11
        0.060 < P. 1:11(10) ack 1
        0.080 < . ack 101
        0.090 > P. 101:151(50) ack 11
        """
    )
    assert seen.last("previous_data_frame", "retransmission_since", "peer_data_since") == [5, True, True]


def test_before_d_it_does_not_count() -> None:
    seen = see(
        HANDSHAKE
        + """
        0.030 > P. 1:101(100) ack 1
        0.330 > P. 1:101(100) ack 1
        0.341 < P. 1:11(10) ack 101
        0.342 > P. 101:151(50) ack 11
        0.382 < . ack 151
        0.392 > P. 151:161(10) ack 11
        """
    )
    assert seen.last("previous_data_frame", "retransmission_since", "peer_data_since") == [7, False, False]


def test_a_keep_alive_probe_is_neither_data_nor_a_release() -> None:
    seen = see(HANDSHAKE + "0.030 > P. 1:101(100) ack 1\n0.041 < . ack 101\n9.000 < . 0:0 ack 101\n9.010 > P. 101:111(10) ack 1")
    assert seen.segments[5]["keep_alive_probe"] is True
    assert seen.last("previous_ack_frame", "peer_data_since") == [5, False]


def test_d_behind_a_hole_was_still_the_last_in_flight_and_a_late_one_was_not() -> None:
    seen = see(HANDSHAKE + "0.030 > . 101:201(100) ack 1\n0.031 > . 1:101(100) ack 1\n0.032 > . 201:301(100) ack 1")
    assert [seen.segments[i]["previous_data_last_in_flight"] for i in (4, 5)] == [True, False]
    assert seen.last("previous_data_frame", "previous_data_end") == [5, 100]


def test_a_window_without_room_since_d() -> None:
    seen = see(STALL.replace("0.080 < . ack 101", "0.080 < . ack 101 win 1000"))
    assert seen.last("window_short_since") == [True]


def test_both_sides_have_their_own_neighbours() -> None:
    seen = see(
        HANDSHAKE
        + "0.030 > P. 1:11(10) ack 1\n0.041 < P. 1:21(20) ack 11\n0.052 > P. 11:14(3) ack 21\n0.063 < P. 21:25(4) ack 14"
    )
    assert seen.column("previous_data_frame") == [None, None, None, None, None, 4, 5]
    assert seen.column("previous_data_length") == [None, None, None, None, None, 10, 20]
    assert seen.last("peer_data_since") == [True]
