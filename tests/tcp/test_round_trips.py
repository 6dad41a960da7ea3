"""Test that the capture point divides the round trip, and which segment an ACK acknowledges."""

from __future__ import annotations

import pytest

from tests.tcp.seeing import HANDSHAKE, MS, see

# 40 ms in all; as captured at the client
TALK = """
0.000 > S 0:0 mss 1460
0.040 < S. 0:0 ack 1 mss 1460
0.040 > . ack 1
0.050 > P. 1:101(100) ack 1
0.091 < P. 1:51(50) ack 101
0.091 > . ack 51
"""


@pytest.mark.parametrize(("at", "client", "server"), [("client", 0, 40), ("middle", 20, 20), ("server", 40, 0)])
def test_split_by_the_handshake(at: str, client: int, server: int) -> None:
    seen = see(TALK, at)
    c = seen.connection
    assert (c["rtt_client"], c["rtt_server"]) == (client * MS, server * MS)
    request = next(row for row in seen.segments if row["length"] == 100)
    response = next(row for row in seen.segments if row["length"] == 50)
    assert (request["rtt_own"], request["rtt_peer"]) == (client * MS, server * MS)
    assert (response["rtt_own"], response["rtt_peer"]) == (server * MS, client * MS)
    # the server thought for 1 ms, wherever one looks
    assert response["ack_delay"] == MS


def test_a_row_does_not_know_its_own_sample() -> None:
    seen = see(HANDSHAKE)
    assert seen.column("rtt_own") == [None, None, None]
    assert seen.column("rtt_peer") == [None, None, 10 * MS]
    assert (seen.connection["rtt_client"], seen.connection["rtt_server"]) == (10 * MS, 10 * MS)


def test_a_faster_answer_lowers_it() -> None:
    seen = see(HANDSHAKE + "0.030 > . 1:101(100) ack 1\n0.034 < . ack 101\n0.040 > . 101:201(100) ack 1\n0.050 < . ack 201")
    assert seen.connection["rtt_server"] == 4 * MS
    # without its own sample 6 ms too early, and with the new round trip 6 ms late
    assert [seen.segments[i]["ack_delay"] for i in (4, 6)] == [-6 * MS, 6 * MS]


def test_a_slower_answer_does_not() -> None:
    seen = see(HANDSHAKE + "0.030 > . 1:101(100) ack 1\n0.080 < . ack 101")
    assert seen.connection["rtt_server"] == 10 * MS
    assert seen.last("ack_delay") == [40 * MS]


def test_without_a_handshake_data_tells() -> None:
    seen = see("0.000 > P. 1:101(100) ack 1\n0.015 < P. 1:11(10) ack 101\n0.022 > . ack 11")
    assert seen.connection["rtt_server"] == 15 * MS
    assert seen.connection["rtt_client"] == 7 * MS
    # no earlier sample: no delay
    assert seen.column("ack_delay") == [None, None, None]


def test_a_connection_that_is_never_answered_has_no_round_trip() -> None:
    c = see("0.000 > S 0:0 mss 1460\n1.000 > S 0:0 mss 1460").connection
    assert (c["rtt_client"], c["rtt_server"], c["handshake"]) == (None, None, False)


def test_a_repeated_syn_is_answered_by_the_newest() -> None:
    seen = see("0.000 > S 0:0 mss 1460\n1.000 > S 0:0 mss 1460\n1.010 < S. 0:0 ack 1 mss 1460")
    assert seen.connection["rtt_server"] == 10 * MS


def test_an_ack_answers_the_newest_segment_that_it_covers() -> None:
    seen = see(
        HANDSHAKE
        + """
        0.100 > . 1:101(100) ack 1
        0.110 > . 101:201(100) ack 1
        0.130 > . 201:301(100) ack 1
        0.160 < . ack 201
        0.161 < . ack 301
        """
    )
    # 160 - 110 - 10 and 161 - 130 - 10
    assert [row["ack_delay"] for row in seen.segments[6:]] == [40 * MS, 21 * MS]


def test_half_a_segment_acknowledged_answers_the_one_before() -> None:
    seen = see(HANDSHAKE + "0.100 > . 1:101(100) ack 1\n0.110 > . 101:201(100) ack 1\n0.160 < . ack 151\n0.170 < . ack 201")
    assert [row["ack_delay"] for row in seen.segments[5:]] == [50 * MS, 50 * MS]


def test_an_ack_of_nothing_new_answers_nothing() -> None:
    seen = see(HANDSHAKE + "0.100 > . 1:101(100) ack 1\n0.160 < . ack 101\n0.170 < . ack 101")
    assert seen.last("ack_delay") == [None]


def test_data_tell_better_than_a_repeated_syn() -> None:
    """The answer to the first SYN came after the second one had left: a round trip of 1.3 s, not of 300 ms."""
    seen = see(
        """
        0.000 > S 0:0 mss 1460
        1.000 > S 0:0 mss 1460
        1.300 < S. 0:0 ack 1 mss 1460
        1.301 > . ack 1
        1.302 > . 1:101(100) ack 1
        2.300 < S. 0:0 ack 1 mss 1460
        2.602 < . ack 101
        2.700 > . 101:201(100) ack 1
        4.100 < . ack 201
        """,
    )
    assert seen.column("rtt_own")[6:] == [300 * MS, 1 * MS, 1300 * MS]
    assert seen.connection["rtt_server"] == 1300 * MS
