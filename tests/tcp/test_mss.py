"""Test the MSS of a direction, and which segments are full or small (rules.md chapter 1)."""

from __future__ import annotations

import pytest

from tests.tcp.seeing import HANDSHAKE, see


def mss(client: str, server: str, peers: str = "") -> tuple[int, int]:
    """MSS of the client's and of the server's segments after SYNs with these options."""
    seen = see(f"{peers}\n0.000 > S 0:0 {client}\n0.010 < S. 0:0 ack 1 {server}\n0.020 > . ack 1\n0.030 < . ack 1")
    return seen.segments[2]["mss"], seen.segments[3]["mss"]


IPV6 = "connection 1, client [2001:db8::1]:4000, server [2001:db8::2]:80"


@pytest.mark.parametrize(
    ("client", "server", "peers", "expected"),
    [
        # neither sends more than it takes itself, nor more than the other takes
        ("mss 1400", "mss 1000", "", (1000, 1000)),
        ("mss 1000", "mss 1400", "", (1000, 1000)),
        ("mss 1460 ts", "mss 1452 ts", "", (1440, 1440)),
        ("mss 1460 ts", "mss 1460 ts", "", (1448, 1448)),
        # one side's time stamps alone are not agreed on
        ("mss 1460 ts", "mss 1460", "", (1460, 1460)),
        # nothing announced
        ("mss 1460", "", "", (536, 1460)),
        ("", "ts", "", (536, 536)),
        ("", "mss 1440", IPV6, (1440, 1220)),
        ("mss 1440 ts", "mss 1440 ts", IPV6, (1428, 1428)),
    ],
)
def test_with_a_handshake(client: str, server: str, peers: str, expected: tuple[int, int]) -> None:
    assert mss(client, server, peers) == expected


def test_without_a_handshake() -> None:
    assert see("0.000 > . 1:11(10) ack 1\n0.010 < . 1:11(10) ack 11").column("mss") == [1460, 1460]
    assert see("0.000 > . 1:11(10) ack 1 ts\n0.010 < . 1:11(10) ack 11 ts").column("mss") == [1448, 1448]
    assert see(f"{IPV6}\n0.000 > . 1:11(10) ack 1\n0.010 < . 1:11(10) ack 11 ts").column("mss") == [1440, 1428]


def test_with_the_syn_ack_alone() -> None:
    seen = see("0.000 < S. 0:0 ack 1 mss 1200\n0.010 > . 1:11(10) ack 1\n0.020 < . 1:11(10) ack 11")
    assert seen.column("mss")[1:] == [1200, 1200]


def sizes(*lengths: int) -> list[tuple[bool, bool, bool]]:
    """Full, small, small_start of segments with these payloads where the MSS is 1000."""
    text, at = "0.000 > S 0:0 mss 1000\n0.010 < S. 0:0 ack 1 mss 1000\n0.020 > . ack 1\n", 1
    for i, length in enumerate(lengths):
        text += f"0.1{i:02} > . {at}:{at + length}({length}) ack 1\n"
        at += length
    return [(row["full"], row["small"], row["small_start"]) for row in see(text).segments[3:]]


def test_full_and_small() -> None:
    assert sizes(1000, 999, 1) == [(True, False, False), (False, True, True), (False, True, True)]


def test_super_segments_are_judged_by_the_syn_before_them() -> None:
    """A SYN that comes again, without the option, says nothing of what was sent before it."""
    again = "0.030 > P. 1:3001(3000) ack 1\n0.040 < S. 0:0 ack 1 win 60000\n0.050 > P. 3001:3101(100) ack 1"
    c = see(HANDSHAKE + again).connection
    assert (c["super_segments"], c["super_frame"], c["super_mss"]) == (1, 4, 1460)


def test_super_segments_of_offload() -> None:
    # 3000 are three full ones; of 2500 the beginning is full and the end is small
    assert sizes(3000, 2500) == [(True, False, False), (True, True, False)]


def test_longer_than_announced_but_not_than_the_receiver_takes() -> None:
    # the server announced 1000 and takes 1000; the client takes 1400: 1200 is no super-segment, and full
    text = "0.000 > S 0:0 mss 1400\n0.010 < S. 0:0 ack 1 mss 1000\n0.020 > . ack 1\n0.030 < . 1:1201(1200) ack 1\n"
    seen = see(text + "0.031 < . 1201:2201(1000) ack 1\n0.032 < . 2201:3701(1500) ack 1\n0.033 < P. 3701:3711(10) ack 1")
    small = [(row["full"], row["small"], row["previous_data_full"]) for row in seen.segments[3:]]
    assert small == [(True, False, False), (True, False, True), (True, True, True), (False, True, False)]


@pytest.mark.parametrize(("client", "server", "expected"), [("mss 1460", "mss 1460", True), ("mss 1460", "", False)])
def test_who_announced_one(client: str, server: str, expected: bool) -> None:
    seen = see(f"0.000 > S 0:0 {client}\n0.010 < S. 0:0 ack 1 {server}\n0.020 > . ack 1\n0.030 < . ack 1")
    assert seen.column("mss_announced") == [True, expected, True, expected]


def test_who_is_not_known_to_have_announced_none() -> None:
    assert see("0.000 > . 1:11(10) ack 1\n0.010 < . 1:11(10) ack 11").column("mss_announced") == [True, True]


def test_a_copy_is_neither_full_nor_small_new_data() -> None:
    seen = see(HANDSHAKE + "0.030 > . 1:11(10) ack 1\n0.330 > . 1:11(10) ack 1")
    assert seen.last("small", "small_start") == [False, False]
