"""Sequence numbers as 64-bit stream offsets: ISNs near the end of their space, long streams, hostile jumps."""

from __future__ import annotations

import pytest

from tests.tcp.seeing import HANDSHAKE, see, see_packets
from wiredoctor.testing.wire import ACK, SYN, Packet, Peers

TALK = (
    HANDSHAKE
    + """
    0.030 > . 1:1001(1000) ack 1
    0.031 > . 1001:2001(1000) ack 1
    0.041 < . 1:501(500) ack 2001
    0.042 > . 2001:3001(1000) ack 501
    0.043 > F. 3001:3001 ack 501
    0.053 < F. 501:501 ack 3002
    0.063 > . 3002:3002 ack 502
    """
)
COLUMNS = ("offset", "ack", "new_bytes", "in_flight", "acked_bytes")


@pytest.mark.parametrize("isn", [0, 1, 2**31 - 1500, 2**31 - 1, 2**31, 2**32 - 1500, 2**32 - 1001, 2**32 - 2, 2**32 - 1])
def test_offsets_do_not_depend_on_the_isn(isn: int) -> None:
    expected = see("connection 1, isn 1000 5000\n" + TALK)
    assert expected.column("offset") == [0, 0, 0, 0, 1000, 0, 2000, 3000, 500, 3001]
    assert expected.column("ack") == [None, 0, 0, 0, 0, 2000, 500, 500, 3001, 501]
    for pair in (f"{isn} 5000", f"1000 {isn}", f"{isn} {isn}"):
        found = see(f"connection 1, isn {pair}\n{TALK}")
        assert {c: found.column(c) for c in COLUMNS} == {c: expected.column(c) for c in COLUMNS}
        assert found.frames("opens_gap") == found.frames("retransmission") == []


def test_without_a_handshake_the_first_byte_seen_is_0() -> None:
    seen = see("0.000 > . 501:601(100) ack 801\n0.010 < . 801:811(10) ack 601\n0.011 > . 601:701(100) ack 811")
    assert seen.column("offset") == [0, 0, 100]
    assert seen.column("ack") == [0, 100, 10]
    assert seen.connection["handshake"] is False


def test_an_ack_that_comes_first_tells_where_the_other_stream_begins() -> None:
    # the server has sent up to 801 and 100 bytes more that come late: they are new
    seen = see("0.000 > . 501:501 ack 801\n0.001 < . 801:901(100) ack 501\n0.012 > . 501:501 ack 901")
    assert [seen.segments[1]["offset"], seen.last("ack")] == [0, [100]]


def stream(chunk: int, count: int, isn: int = 1000) -> list[Packet]:
    """A client that sends so many chunks, of which the capture has 10 bytes each, and a server that acknowledges them: a byte per
    nanosecond, less than the 1.25 GB per second up to which bytes that nobody saw are believed."""
    peers = Peers("10.0.0.1:4000", "10.0.0.2:80", (isn, 5000))
    packets = [
        Packet(peers, 0, 0, SYN, 0, mss=1460),
        Packet(peers, 1, 10_000_000, SYN | ACK, 0, 1, mss=1460),
        Packet(peers, 0, 20_000_000, ACK, 1, 1),
    ]
    for i in range(count):
        time = 30_000_000 + 2 * chunk * i
        packets.append(Packet(peers, 0, time, ACK, 1 + i * chunk, 1, b"x" * 10))
        packets.append(Packet(peers, 1, time + chunk, ACK, 1, 1 + (i + 1) * chunk))
    return packets


@pytest.mark.parametrize("chunk", [2**24, 2**29, 2**30])
def test_a_stream_of_more_than_4_gib(chunk: int) -> None:
    count = 5 * 2**30 // chunk if chunk > 2**24 else 300
    seen = see_packets(stream(chunk, count))
    data = [row for row in seen.segments if row["length"]]
    assert [row["offset"] for row in data] == [i * chunk for i in range(count)]
    answers = [row["ack"] for row in seen.segments[3:] if row["direction"] == 1]
    assert answers == [(i + 1) * chunk for i in range(count)]
    assert seen.connection["client_bytes"] == 10 * count
    assert seen.connection["client_unseen_bytes"] == count * (chunk - 10)


def test_one_wild_jump_is_not_followed() -> None:
    seen = see(
        HANDSHAKE
        + """
        0.030 > . 1:101(100) ack 1
        0.031 > . 1800000001:1800000101(100) ack 1
        0.032 > . 101:201(100) ack 1
        0.043 < . ack 201
        """
    )
    assert seen.column("offset") == [0, 0, 0, 0, 1_800_000_000, 100, 0]
    assert seen.segments[5]["new_bytes"] == 100
    assert seen.last("ack", "acked_bytes") == [200, 200]


def test_a_jump_that_the_next_packet_confirms_is_followed() -> None:
    seen = see(
        HANDSHAKE
        + """
        0.030 > . 1:101(100) ack 1
        0.031 > . 1800000001:1800000101(100) ack 1
        0.032 > . 1800000101:1800000201(100) ack 1
        0.033 > . 3500000001:3500000101(100) ack 1
        0.034 > . 3500000101:3500000201(100) ack 1
        """
    )
    # the second is more than half of the space away from the handshake
    assert seen.column("offset")[4:] == [1_800_000_000, 1_800_000_100, 3_500_000_000, 3_500_000_100]
    assert seen.column("new_bytes")[3:] == [100] * 5


def test_an_rst_with_a_wild_number_moves_nothing() -> None:
    seen = see(HANDSHAKE + "0.030 > R 3000000001:3000000001\n0.031 > . 1:101(100) ack 1\n0.041 < . ack 101")
    assert seen.segments[4]["offset"] == 0
    assert seen.segments[4]["new_bytes"] == 100
    assert seen.last("in_flight", "acked_bytes", "acked_unseen") == [0, 100, 0]
