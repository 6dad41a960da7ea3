"""Nagle proved off: a small segment while an earlier small one was unacknowledged (rules.md chapter 2)."""

from __future__ import annotations

import pytest

from tests.tcp.seeing import HANDSHAKE, MS, see, see_packets
from wiredoctor.testing.wire import ACK, PSH, SYN, Packet, Peers

SMALL = "0.030 > P. 1:101(100) ack 1\n"
LATER = "0.100 > P. x*10 ack 1"


def off(between: str, handshake: str = HANDSHAKE) -> list[bool]:
    """`nagle_disabled` of the client's data segments: a small one, those in `between`, and one long after."""
    return [row["nagle_disabled"] for row in see(handshake + SMALL + between + "\n" + LATER).segments if row["length"]]


def test_two_small_ones_at_once() -> None:
    # it holds from 1 ms after the second, when no covering ACK was captured until then
    assert off("0.031 > P. 101:151(50) ack 1\n0.0315 > P. 151:161(10) ack 1") == [False, False, False, True]


def test_it_stays_and_is_of_one_side() -> None:
    talk = (
        "0.031 > P. 101:151(50) ack 1\n0.045 < P. 1:11(10) ack 151\n0.056 > P. 151:161(10) ack 11\n0.066 < P. 11:21(10) ack 161"
    )
    seen = see(HANDSHAKE + SMALL + talk)
    assert [(row["direction"], row["nagle_disabled"]) for row in seen.segments[5:]] == [(1, False), (0, True), (1, False)]


@pytest.mark.parametrize(
    "between",
    [
        # acknowledged before
        "0.041 < . ack 101\n0.042 > P. 101:151(50) ack 1",
        # the covering ACK is recorded within 1 ms after it: captures swap such neighbours
        "0.0410 > P. 101:151(50) ack 1\n0.0415 < . ack 101",
        "0.0410 > P. 101:151(50) ack 1\n0.0420 < . ack 101",
        # with a FIN
        "0.031 > FP. 101:151(50) ack 1",
        # alone in flight, but as late as a tail loss probe
        "0.180 > P. 101:151(50) ack 1",
        # a copy
        "0.031 > P. 1:101(100) ack 1",
        # full
        "0.031 > . 101:1561(1460) ack 1",
        # one that opens a hole, and one that fills it
        "0.031 > P. 151:201(50) ack 1\n0.0319 > P. 101:151(50) ack 1",
    ],
)
def test_no_proof(between: str) -> None:
    rows = see(HANDSHAKE + SMALL + between + "\n0.300 > . ack 1").segments
    assert [row["nagle_disabled"] for row in rows] == [False] * len(rows)


def test_an_ack_later_than_1_ms_was_not_swapped() -> None:
    assert off("0.0410 > P. 101:151(50) ack 1\n0.0421 < . ack 101") == [False, False, True]


def test_one_alone_in_flight_proves_for_150_ms() -> None:
    assert see(HANDSHAKE + SMALL + "0.179 > P. 101:151(50) ack 1\n0.190 > . ack 1").last("nagle_disabled") == [True]
    assert see(HANDSHAKE + SMALL + "0.180 > P. 101:151(50) ack 1\n0.190 > . ack 1").last("nagle_disabled") == [False]


def test_with_more_in_flight_only_at_once() -> None:
    full = "0.0300 > . 1:1461(1460) ack 1\n0.0301 > P. 1461:1471(10) ack 1\n{} > P. 1471:1481(10) ack 1\n0.090 > . ack 1"
    assert see(HANDSHAKE + full.format("0.0321")).last("nagle_disabled") == [True]
    assert see(HANDSHAKE + full.format("0.0322")).last("nagle_disabled") == [False]


def test_what_fills_the_window_is_no_proof() -> None:
    handshake = HANDSHAKE.replace("ack 1 win 60000", "ack 1 win 150")
    rows = see(handshake + SMALL + "0.031 > P. 101:151(50) ack 1\n0.090 > . ack 1").segments
    assert rows[-1]["nagle_disabled"] is False


def test_one_behind_the_end_of_a_super_segment() -> None:
    # 2000 bytes: one full and a small end
    talk = "0.030 > . 1:2001(2000) ack 1\n0.031 > P. 2001:2011(10) ack 1\n0.090 > . ack 1"
    assert see(HANDSHAKE + talk).last("nagle_disabled") == [True]


def test_a_clock_that_is_set_back_and_forth() -> None:
    """What a row knows is older than 1 ms by the latest time so far: neither a row before the proof that claims to be later
    knows of it, nor does one behind it forget it that claims to be earlier."""
    peers = Peers("10.0.0.1:40001", "10.0.0.2:80", (0, 0))

    def sent(time: float, seq: int, size: int) -> Packet:
        return Packet(peers, 0, round(time * MS), PSH | ACK, seq, 1, b"x" * size)

    packets = [
        Packet(peers, 0, 0, SYN, 0, mss=1460),
        Packet(peers, 1, 10 * MS, SYN | ACK, 0, 1, mss=1460),
        Packet(peers, 0, 20 * MS, ACK, 1, 1),
        sent(30, 1, 100),
        sent(5_000, 1, 0),
        sent(31, 101, 50),  # the proof: the latest time so far is 5 s
        sent(5_000.5, 151, 10),
        sent(5_001.5, 161, 10),
        sent(40, 171, 10),
    ]
    assert see_packets(packets).column("nagle_disabled")[4:] == [False, False, False, True, True]
