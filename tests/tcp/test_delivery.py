"""Test which bytes of a segment are new, repeated or missing, with conversations that state the result."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import Any

import pytest

from tests.ladders import ladder_packets
from tests.tcp.seeing import HANDSHAKE, MS, see, see_packets
from wiredoctor.testing.wire import ACK, PSH, SYN, Packet, Peers

KINDS = (
    *("retransmission", "fills_gap", "opens_gap", "overlap", "keep_alive_probe"),
    *("pure_ack", "window_update", "duplicate_ack", "zero_window"),
)


def columns(names: str, text: str, handshake: str = HANDSHAKE) -> list[tuple[Any, ...]]:
    """Return these columns of the segments after the handshake."""
    rows = see(handshake + text).segments[3 if handshake else 0 :]
    return [tuple(row[name] for name in names.split()) for row in rows]


def column(name: str, text: str) -> list[Any]:
    """Return one column of the segments after the handshake."""
    return [value for (value,) in columns(name, text)]


def truths(text: str) -> list[set[str]]:
    """Which of the columns that say what a segment is hold, for each segment behind the handshake."""
    return [{kind for kind in KINDS if row[kind]} for row in see(HANDSHAKE + text).segments[3:]]


def test_new_data_and_its_acknowledgement() -> None:
    text = """
    0.020 > P. body*100
    0.030 < .  ack 101
    0.040 < P. body*50
    0.050 > .  ack 51
    """
    assert columns("new_bytes acked_bytes in_flight_before in_flight", text) == [
        (100, 0, 0, 100),
        (0, 100, 0, 0),
        (50, 0, 0, 50),
        (0, 50, 0, 0),
    ]
    assert truths(text) == [set(), {"pure_ack"}, set(), {"pure_ack"}]
    assert column("offset", text) == [0, 0, 0, 100]


def test_a_retransmission_brings_nothing() -> None:
    text = """
    0.020 > P. 1:101(100)
    0.400 > P. 1:101(100)
    0.410 < .
    """
    assert truths(text) == [set(), {"retransmission"}, {"pure_ack"}]
    assert column("new_bytes", text) == [100, 0, 0]
    assert see(HANDSHAKE + text).connection["client_bytes"] == 100


def test_reordered_data_is_new() -> None:
    """The second segment is captured first: it opens a gap that the first one fills."""
    text = """
    0.020 > P. 101:201(100)
    0.021 > P. 1:101(100)
    0.022 > P. 201:301(100)
    """
    assert truths(text) == [{"opens_gap"}, {"fills_gap"}, set()]
    assert column("new_bytes", text) == [100, 100, 100]


def test_a_hole_filled_in_pieces() -> None:
    text = """
    0.020 > P. 1:101(100)
    0.021 > P. 301:401(100)
    0.022 > P. 201:301(100)
    0.023 > P. 51:201(150)
    0.024 > P. 1:501(500)
    """
    assert truths(text) == [set(), {"opens_gap"}, {"fills_gap"}, {"fills_gap", "overlap"}, {"overlap"}]
    assert column("new_bytes", text) == [100, 100, 100, 100, 100]


def test_one_segment_over_two_holes() -> None:
    """The new bytes of the segment are in several places."""
    text = """
    0.020 > P. 1:11(10)
    0.021 > P. 21:31(10)
    0.022 > P. 41:51(10)
    0.023 > P. 1:61(60)
    """
    assert truths(text) == [set(), {"opens_gap"}, {"opens_gap"}, {"fills_gap", "overlap"}]
    assert column("new_bytes", text) == [10, 10, 10, 30]


def test_overlap_at_the_end() -> None:
    text = """
    0.020 > P. 1:101(100)
    0.021 > P. 51:151(100)
    """
    assert truths(text) == [set(), {"overlap"}]
    assert column("new_bytes", text) == [100, 50]


@pytest.mark.parametrize("payload", [b"", b"x"])
def test_a_keep_alive_probe_is_no_data(payload: bytes) -> None:
    """RFC 9293 section 3.8.4: a keep-alive probe has no byte, or one byte, just below the expected sequence number."""
    packets = ladder_packets(HANDSHAKE + "0.020 > P. 1:101(100)\n0.030 < .\n45 > .\n45.010 < . ack 101")
    packets[5] = replace(packets[5], seq=100, payload=payload)
    probe, answer = see_packets(packets).segments[5:]
    assert (probe["keep_alive_probe"], probe["retransmission"], probe["pure_ack"], probe["new_bytes"]) == (True, False, False, 0)
    assert (answer["pure_ack"], answer["window_update"], answer["duplicate_ack"]) == (True, True, False)


@pytest.mark.parametrize(("acknowledged", "unseen", "unsent"), [(102, 1, 0), (103, 0, 2)])
def test_a_keep_alive_probe_does_not_show_that_the_byte_before_it_was_never_sent(
    acknowledged: int, unseen: int, unsent: int
) -> None:  # fmt: skip
    """The server acknowledged one or two bytes that were not captured. Seconds later, an ACK of the client has the sequence
    number after its last captured byte: that of a probe if one byte is missing, and of a client that never sent them if two are.
    """
    text = f"0.020 > P. 1:101(100)\n0.030 < . ack {acknowledged}\n5.000 > .\n5.010 < . ack {acknowledged}"
    connection = see(HANDSHAKE + text).connection
    assert (connection["client_unseen_bytes"], connection["unsent_bytes"]) == (unseen, unsent)


def test_a_probe_of_a_closed_window_is_a_byte_of_the_stream() -> None:
    """A zero-window probe with the next byte is new data."""
    text = """
    0.020 > P. 1:101(100)
    0.030 < . win 0
    0.300 > . 101:102(1)
    0.310 < . ack 101
    """
    assert column("new_bytes", text) == [100, 0, 1, 0]
    assert truths(text)[1] == {"pure_ack", "zero_window"}


def test_zero_window_and_its_update() -> None:
    text = """
    0.020 > P. 1:101(100)
    0.030 < . win 0
    0.500 < . win 64240
    0.510 > P. 101:201(100)
    """
    assert truths(text) == [set(), {"pure_ack", "zero_window"}, {"pure_ack", "window_update"}, set()]
    assert columns("window window_room", text) == [(60000, 60000), (0, 60000), (64240, 60000), (60000, 64240)]


def test_an_rst_announces_no_zero_window() -> None:
    assert truths("0.020 > R. win 0") == [set()]


def test_duplicate_acks_while_data_is_in_flight() -> None:
    text = """
    0.020 > P. 1:101(100)
    0.021 > P. 101:201(100) uncaptured
    0.022 > P. 201:301(100)
    0.030 < . ack 101
    0.032 < . ack 101
    0.033 < . ack 101
    """
    assert truths(text) == [
        set(),
        {"opens_gap"},
        {"pure_ack"},
        {"pure_ack", "window_update", "duplicate_ack"},
        {"pure_ack", "window_update", "duplicate_ack"},
    ]


def test_an_idle_ack_is_no_duplicate() -> None:
    assert truths("0.020 > P. body*10\n0.030 < .\n0.040 < .")[2] == {"pure_ack", "window_update"}


def test_a_repeated_fin_is_a_retransmission() -> None:
    assert truths("0.020 > F.\n0.400 > F. 1:1(0)\n0.410 < . ack 2") == [set(), {"retransmission"}, {"pure_ack"}]


def test_acknowledged_but_never_seen() -> None:
    """A packet that was not captured is counted once, at the first ACK beyond it, and subtracted if it appears later."""
    text = """
    0.020 > P. 1:101(100)
    0.021 > P. 101:301(200) uncaptured
    0.022 > P. 301:401(100)
    0.032 < . ack 401
    0.040 < . ack 401
    0.060 > P. 401:501(100)
    """
    assert column("acked_unseen", text) == [0, 0, 200, 0, 0]
    connection = see(HANDSHAKE + text).connection
    assert (connection["client_unseen_bytes"], connection["acked_unseen_count"], connection["unseen_frame"]) == (200, 1, 6)
    late = text + "0.070 > P. 101:301(200)\n"
    assert see(HANDSHAKE + late).connection["client_unseen_bytes"] == 0


def test_acknowledged_at_the_end_and_never_seen() -> None:
    """Only the ACK shows the gap; no later data does."""
    text = """
    0.020 > P. 1:101(100)
    0.021 > P. 101:201(100) uncaptured
    0.040 < . ack 201
    0.060 > P. 201:301(100)
    """
    assert column("acked_unseen", text) == [0, 100, 0]
    assert truths(text)[2] == set()


def test_data_captured_after_its_own_ack() -> None:
    """The capture swapped two packets: their bytes are new, and none is missing at the end."""
    packets = ladder_packets(HANDSHAKE + "0.030 > P. 1:101(100)\n0.040 < . ack 101\n0.050 > P. 101:201(100)")
    packets[3:5] = [replace(packets[4], time=30 * MS), replace(packets[3], time=30 * MS + 1000)]
    seen = see_packets(packets)
    assert seen.column("new_bytes")[3:] == [0, 100, 100]
    assert seen.frames("retransmission") == []
    connection = seen.connection
    assert (connection["client_unseen_bytes"], connection["client_bytes"]) == (0, 200)


def test_the_first_unseen_ack_of_both_directions_counts() -> None:
    text = """
    0.020 > P. body*10
    0.021 < P. 1:101(100) uncaptured
    0.031 > . ack 101
    0.040 < P. 101:111(10)
    0.050 > P. body*10 uncaptured
    0.070 < . ack 21
    """
    connection = see(HANDSHAKE + text).connection
    assert (connection["acked_unseen_count"], connection["unseen_frame"]) == (2, 5)


def test_data_in_a_syn() -> None:
    """TCP Fast Open, RFC 7413: the data is part of the stream."""
    text = """
    0.000 > S body*10
    0.010 < S. ack 11
    0.010 > P. body*5
    """
    assert columns("offset new_bytes", text, handshake="") == [(0, 10), (0, 0), (10, 5)]


NEAR_THE_END = [4_294_967_295, 4_294_967_290, 4_294_966_000, 2_147_483_640, 2_147_483_647, 0]


@pytest.mark.parametrize("isn", NEAR_THE_END)
def test_sequence_numbers_wrap(isn: int) -> None:
    text = f"""
    connection 1, isn {isn} {isn}
    {HANDSHAKE}
    0.020 > P. 1:1001(1000)
    0.021 > P. 1001:2001(1000)
    0.022 > P. 3001:4001(1000)
    0.023 > P. 2001:3001(1000)
    0.040 < P. 1:1461(1460) ack 4001
    0.050 > . ack 1461
    """
    assert columns("offset new_bytes acked_bytes", text, handshake="")[3:] == [
        (0, 1000, 0),
        (1000, 1000, 0),
        (3000, 1000, 0),
        (2000, 1000, 0),
        (0, 1460, 4000),
        (4000, 0, 1460),
    ]


def stream(size: int, step: int, isn: int) -> list[Packet]:
    """Return a client that sends `size` bytes, only every `step`-th segment captured, and a server that acknowledges all."""
    peers = Peers("10.0.0.1:40001", "10.0.0.2:80", (isn, 7))
    made = [Packet(peers, 0, 0, SYN, 0), Packet(peers, 1, 1000, SYN | ACK, 0, 1)]
    for number, offset in enumerate(range(0, size, step)):
        made.append(Packet(peers, 0, 10_000 + 2000 * number, PSH | ACK, 1 + offset, 1, b"x" * 1000))
        made.append(Packet(peers, 1, 11_000 + 2000 * number, ACK, 1, 1 + offset + 1000))
    return made


def test_a_stream_of_ten_gigabytes() -> None:
    """Offsets continue beyond 2**31 and 2**32."""
    step = 500_000_000
    rows = see_packets(stream(20 * step, step, 4_000_000_000)).segments
    sent = [row["offset"] for row in rows if row["length"]]
    assert sent == [n * step for n in range(20)]
    assert [row["ack"] for row in rows if row["direction"] == 1][1:] == [n * step + 1000 for n in range(20)]


@pytest.mark.parametrize("wild", [1_500_000_000, 2_147_483_648, 3_000_000_000])
def test_a_hostile_jump_is_not_followed(wild: int) -> None:
    """A single packet with an unrelated sequence number does not change how later packets are measured."""
    packets = ladder_packets(HANDSHAKE + "0.020 > P. 1:101(100)\n0.030 > P. 101:201(100)\n0.040 > P. 201:301(100)")
    jump = Packet(packets[0].peers, 0, 25_000_000, PSH | ACK, wild, 1, b"y" * 10)
    rows = see_packets([*packets[:4], jump, *packets[4:]]).segments
    assert [row["offset"] for row in rows if row["length"] == 100] == [0, 100, 200]
    assert [row["new_bytes"] for row in rows if row["length"] == 100] == [100, 100, 100]


def test_random_numbers_cost_nothing_but_their_packets() -> None:
    """Hundreds of wild numbers on one connection: no exception, every packet described."""
    random = Random(7)
    peers = Peers("10.0.0.1:40001", "10.0.0.2:80", (0, 0))
    wild = [
        Packet(peers, random.randrange(2), n * 1000, PSH | ACK, random.randrange(2**32), random.randrange(2**32), b"z" * 10)
        for n in range(600)
    ]
    rows = see_packets(wild).segments
    assert len(rows) == 600
    assert [row["frame"] for row in rows] == list(range(1, 601))


def test_a_syn_ack_with_another_number_sends_nothing() -> None:
    """The segment belongs to another connection with the same ports: data at the old offset is still new."""
    peers = Peers("10.0.0.1:40001", "10.0.0.2:80", (0, 0))
    packets = [
        Packet(peers, 0, 10 * MS, PSH | ACK, 1, 1, b"a" * 100),
        Packet(peers, 1, 20 * MS, ACK | PSH, 1, 101, b"b" * 100),
        Packet(peers, 1, 30 * MS, SYN | ACK, 1_000, 101),
        Packet(peers, 1, 40 * MS, ACK | PSH, 101, 101, b"c" * 50),
    ]
    seen = see_packets(packets)
    assert seen.column("new_bytes") == [100, 100, 0, 50]
    assert not seen.frames("retransmission")


def test_an_absurd_acknowledgement_does_not_make_the_next_one_less_so() -> None:
    """An honest one is at most a window ahead of what was sent, not of what another one claimed. At 10 Gbit/s each of them could
    be true."""
    text = """
    0.030 > P. 1:101(100) ack 1
    1.530 < . ack 900000001
    1.531 < . ack 1800000001
    1.532 > P. 101:201(100) ack 1
    """
    assert columns("acked_unseen new_bytes", text) == [(0, 100), (900_000_000 - 100, 0), (0, 0), (0, 100)]


@pytest.mark.parametrize(
    ("after", "counted"),
    [
        (0, 1 << 20),
        (800_000, 1 << 20),
        (838_860, 1 << 20),
        (840_000, 1_050_000),
        (10 * MS, 12_500_000),
        (1000 * MS, 900_000_000 - 100),
    ],
)
def test_no_more_is_missing_than_can_have_passed(after: int, counted: int) -> None:
    """1.25 GB per second, and 1 MiB at once, because clocks may be coarse. A pure ACK and a segment beyond it agree."""
    packets = ladder_packets(HANDSHAKE + "0.030 > P. 1:101(100)\n0.040 < . ack 101")
    sent, ack = packets[3], replace(packets[4], time=packets[3].time + after, ack=900_000_001)
    beyond = replace(sent, time=sent.time + after, seq=900_000_001)
    acked = replace(ack, ack=900_000_101)
    for shown in ([ack], [beyond, acked]):
        seen = see_packets([*packets[:4], *shown])
        assert seen.last("acked_unseen") == [counted]
        assert seen.connection["client_unseen_bytes"] == counted


def test_a_syn_ack_behind_a_challenge_ack_begins() -> None:
    """RFC 5961 section 4: the server still knows an old connection of these ports, whose number its challenge ACK has."""
    peers = Peers("10.0.0.1:40001", "10.0.0.2:80", (0, 0))
    packets = [
        Packet(peers, 0, 10 * MS, SYN, 0),
        Packet(peers, 1, 20 * MS, ACK, -59_000, 1),
        Packet(peers, 1, 30 * MS, SYN | ACK, 0, 1),
        Packet(peers, 0, 40 * MS, ACK, 1, 1),
        Packet(peers, 0, 50 * MS, ACK | PSH, 1, 1, b"a" * 100),
        Packet(peers, 1, 60 * MS, ACK | PSH, 1, 101, b"b" * 100),
    ]
    seen = see_packets(packets)
    assert seen.column("new_bytes") == [0, 0, 0, 0, 100, 100]
    assert not any(seen.column("acked_unseen"))
