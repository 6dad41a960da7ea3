"""Test which packets end a time without forward progress."""

from __future__ import annotations

from typing import Any

from tests.tcp.seeing import HANDSHAKE, see

COLUMNS = (
    "stall_frame",
    "first_retransmission_frame",
    "retransmitted_frame",
    "retransmission_count",
    "stall_duplicate_acks",
    "retransmitted_late",
)


def stalls(text: str) -> list[tuple[Any, ...]]:
    """(frame of the ACK, *COLUMNS) of each."""
    seen = see(HANDSHAKE + text)
    return [(row["frame"], *(row[name] for name in COLUMNS)) for row in seen.segments if row["ends_stall"]]


def test_a_timeout() -> None:
    assert stalls("0.100 > P. 1:101\n0.350 > P. 1:101\n0.371 < . ack 101") == [(6, 4, 5, 5, 1, 0, False)]


def test_tries_add_up_until_one_is_acknowledged() -> None:
    text = "0.100 > P. 1:101\n0.350 > P. 1:101\n0.850 > P. 1:101\n1.850 > P. 1:101\n1.871 < . ack 101"
    assert stalls(text) == [(8, 4, 5, 7, 3, 0, False)]


def test_progress_in_between_begins_another_stall_unless_only_the_peer_sends_a_little() -> None:
    text = "0.100 > P. 1:101\n0.350 > P. 1:101\n{between}\n0.850 > P. 1:101\n0.871 < . ack 101"
    assert stalls(text.format(between="0.400 < P. 1:51 ack 1")) == [(8, 4, 5, 7, 2, 0, False)]
    assert stalls(text.format(between="0.400 < P. 1:1461 ack 1")) == [(8, 6, 7, 7, 1, 0, False)]
    assert stalls(text.format(between="0.400 > P. 101:151")) == [(8, 6, 7, 7, 1, 0, False)]


def test_what_is_too_short_is_not_told() -> None:
    assert stalls("0.100 > P. 1:101\n0.149 > P. 1:101\n0.171 < . ack 101") == []
    assert len(stalls("0.100 > P. 1:101\n0.150 > P. 1:101\n0.171 < . ack 101")) == 1


def test_a_retransmission_of_something_else_ends_nothing() -> None:
    """The ACK waits for the first segment; the second is sent again, then the first."""
    text = "0.100 > . 1:101\n0.101 > P. 101:201\n0.350 > P. 101:201\n0.600 > . 1:101\n0.621 < . ack 201"
    assert stalls(text) == [(8, 5, 7, 7, 1, 0, False)]


def test_both_sides_stall() -> None:
    text = "0.100 > P. 1:101\n0.350 > P. 1:101\n0.371 < P. 1:51 ack 101\n0.600 < P. 1:51 ack 101\n0.621 > . ack 51"
    assert stalls(text) == [(6, 4, 5, 5, 1, 0, False), (8, 6, 7, 7, 1, 0, False)]


def test_duplicate_acks_are_counted_since_the_last_advance() -> None:
    text = """
    0.100 > . 1:101
    0.100 > . 101:201
    0.120 < . ack 101
    0.121 > . 201:301
    0.122 > . 301:401
    0.123 > P. 401:501
    0.140 < . ack 101 id 1
    0.141 < . ack 101 id 2
    0.142 < . ack 101 id 3
    0.300 > . 101:201
    0.320 < . ack 501
    """
    assert stalls(text) == [(14, 9, 13, 13, 1, 3, False)]


def test_acks_that_a_mirror_port_doubled_count_once() -> None:
    text = """
    0.100 > . 1:101
    0.120 > P. 101:201
    0.140 < . ack 1 id 1
    0.140 < . ack 1 id 1
    0.1411 < . ack 1 id 1
    0.300 > . 1:101
    0.320 < . ack 201
    """
    assert stalls(text) == [(10, 5, 9, 9, 1, 2, False)]


def test_a_first_copy_that_an_ack_waited_for() -> None:
    text = "0.100 > P. 101:201\n0.120 < . ack 1\n0.400 > . 1:101\n0.420 < . ack 201"
    assert stalls(text) == [(7, 4, 6, 6, 1, 1, True)]


def test_a_first_copy_that_none_waited_for() -> None:
    """The ACK waits for byte 1, and the bytes from 101 on come late."""
    text = "0.100 > . 201:301\n0.400 > . 101:201\n0.420 < . ack 1"
    assert stalls(text) == []


def test_a_fin_is_progress() -> None:
    text = "0.100 > P. 1:101\n0.120 < . ack 101\n0.300 > F. 151:151\n0.320 < . ack 101\n0.500 > P. 101:151\n0.520 < . ack 152"
    assert stalls(text) == [(9, 6, 8, 8, 1, 1, True)]


def test_what_was_acknowledged_stalls_nobody() -> None:
    assert stalls("0.100 > P. 1:101\n0.120 < . ack 101\n0.350 > P. 1:101\n0.371 < . ack 101") == []
