"""Test pure ACKs and the windows that they announce: updates, duplicates, room, scaling, bytes in flight."""

from __future__ import annotations

import pytest

from tests.tcp.seeing import HANDSHAKE, see


def test_pure_acks() -> None:
    seen = see(
        HANDSHAKE + "0.030 > P. 1:11(10) ack 1\n0.041 < . ack 11\n0.042 < F. 1:1 ack 11\n0.053 > . ack 2\n0.054 > R. 11:11 ack 2"
    )
    # no SYN, no payload, no FIN, no RST
    assert seen.frames("pure_ack") == [3, 5, 7]
    assert seen.column("acked_bytes") == [0, 0, 0, 0, 10, 0, 1, 0]


def test_an_ack_of_nothing_new_is_a_window_update() -> None:
    seen = see(HANDSHAKE + "0.030 > P. 1:101(100) ack 1\n0.041 < . ack 101\n0.060 < . ack 101 win 64000")
    assert seen.frames("window_update") == [3, 6]
    # the handshake's own ACK acknowledges the SYN, and no byte
    assert seen.frames("duplicate_ack") == []


def test_a_larger_window_alone_is_no_update_when_there_was_room() -> None:
    seen = see(HANDSHAKE + "0.030 > P. 1:101(100) ack 1\n0.041 < . ack 101 win 65000")
    assert seen.last("acked_bytes", "window_update") == [100, False]


def test_a_window_that_had_no_room_and_has_it_now_is_an_update() -> None:
    handshake = HANDSHAKE.replace("ack 1 win 60000", "ack 1 win 2000")
    seen = see(handshake + "0.030 > . 1:1461(1460) ack 1\n0.041 < . ack 1461 win 2000\n0.042 > . 1461:1561(100) ack 1")
    # 2000 - 1460 = 540 bytes were left behind what was in flight
    assert seen.segments[4]["window_update"] is True
    assert seen.column("window_room")[3] == 2000
    assert seen.last("window_room") == [2000]


def test_zero_window_and_its_end() -> None:
    seen = see(
        HANDSHAKE
        + """
        0.030 > . 1:1461(1460) ack 1
        0.041 < . ack 1461 win 0
        0.241 > . 1460:1460(0) ack 1
        0.251 < . ack 1461 win 0
        0.500 < . ack 1461 win 30000
        0.510 > . 1461:2921(1460) ack 1
        """
    )
    assert seen.frames("zero_window") == [5, 7]
    assert seen.frames("keep_alive_probe") == [6]
    assert seen.frames("window_update") == [3, 7, 8]
    assert [row["window_room"] for row in seen.segments[5:]] == [0, 60000, 60000, 30000]
    assert seen.last("window_short_since") == [True]
    assert "w" in seen.connection["history"]


def test_window_0_in_syn_and_rst_says_nothing() -> None:
    seen = see("0.000 > S 0:0 win 0\n0.010 < R. 0:0 ack 1 win 0")
    assert seen.frames("zero_window") == []


def test_duplicate_acks() -> None:
    seen = see(
        HANDSHAKE
        + """
        0.030 > . 1:101(100) ack 1
        0.031 > . 201:301(100) ack 1
        0.041 < . ack 101
        0.042 < . ack 101
        0.043 < . ack 101 win 59000
        0.044 < . ack 101 win 59000
        0.050 > . 101:201(100) ack 1
        0.061 < . ack 301
        0.062 < . ack 301
        """
    )
    # 8 changed the window, 12 had nothing in flight before it
    assert seen.frames("duplicate_ack") == [7, 9]


def test_in_flight() -> None:
    seen = see(
        HANDSHAKE
        + """
        0.030 > . 1:101(100) ack 1
        0.031 > . 101:301(200) ack 1
        0.041 < . ack 101
        0.042 > . 301:351(50) ack 1
        0.043 < P. 1:31(30) ack 351
        0.044 > . 351:361(10) ack 31
        0.300 > . 351:361(10) ack 31
        """
    )
    assert seen.column("in_flight_before") == [0, 0, 0, 0, 100, 0, 200, 0, 0, 10]
    assert seen.column("in_flight") == [0, 0, 0, 100, 300, 0, 250, 30, 10, 10]


def scaled(client: str, server: str, *more: str) -> list[int | None]:
    """The windows of two SYNs with these options, and of what client and server announce after them."""
    text = f"""
        0.000 > S 0:0 win 60000 {client}
        0.010 < S. 0:0 ack 1 win 50000 {server}
        0.020 > . ack 1 win {more[0]}
        0.030 < . ack 1 win {more[1]}
        """
    return see(text).column("window")


def test_windows_are_scaled_when_both_sides_agreed() -> None:
    # the ladder's windows are in bytes: 12800 = 100 << 7, 400 = 100 << 2; a SYN is never scaled
    assert scaled("wscale 7", "wscale 2", "12800", "400") == [60000, 50000, 12800, 400]


@pytest.mark.parametrize(("client", "server", "windows"), [("wscale 7", "", [100, 400]), ("", "wscale 2", [12800, 100])])
def test_one_option_alone_scales_nothing(client: str, server: str, windows: list[int]) -> None:
    # the ladder shifts the side that has the option: what stands in the header is taken as it is
    assert scaled(client, server, "12800", "400") == [60000, 50000, *windows]


def test_a_shift_above_14_counts_as_14() -> None:
    # RFC 7323 section 2.3: 3 << 14, written as 3 << 15 by the ladder
    assert scaled("wscale 15", "wscale 0", str(3 << 15), "400") == [60000, 50000, 3 << 14, 400]


def test_the_scale_is_unknown_without_both_syns() -> None:
    assert see("0.000 > . 1:1 ack 1 win 100\n0.010 < . 1:1 ack 1 win 100").column("window") == [None, None]
    assert see("0.000 < S. 0:0 ack 1 win 100 wscale 7\n0.010 > . ack 1 win 100").column("window") == [100, None]


def test_an_unknown_window_has_no_room_to_tell() -> None:
    seen = see("0.000 > . 1:1 ack 1 win 100\n0.010 < P. 1:11(10) ack 1 win 100")
    assert seen.column("window_room") == [None, None]
    assert seen.last("small") == [True]


def test_what_fills_the_window_is_not_small() -> None:
    handshake = HANDSHAKE.replace("ack 1 win 60000", "ack 1 win 500")
    seen = see(handshake + "0.030 > . 1:501(500) ack 1\n0.041 < . ack 501 win 500\n0.042 > . 501:1000(499) ack 1")
    assert [seen.segments[i]["small"] for i in (3, 5)] == [False, True]
    assert [seen.segments[i]["full"] for i in (3, 5)] == [False, False]
