"""Test the notation of ladders: text becomes packets, and impossible packets are refused."""

from __future__ import annotations

from pathlib import Path

import dpkt
import pytest

from tests.ladders import LadderError, ladder_packets, ladders_in, to_pcap
from wiredoctor.testing.expectations import expectations
from wiredoctor.testing.wire import frame_bytes

HANDSHAKE = """
  0.000  >  S    0:0(0)  win 64240 mss 1460
  0.010  <  S.   0:0(0)  ack 1  win 64240 mss 1460
  0.010  >  .    1:1(0)  ack 1
"""
ASKED = (
    HANDSHAKE
    + r"""
  0.011  >  P.   "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
  0.022  <  P.   "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"
  0.222  >  .
  0.232  <  P.   "hello"
"""
)


def test_numbers_follow_from_the_conversation() -> None:
    packets = ladder_packets(ASKED)
    assert [p.time // 1_000_000 for p in packets] == [0, 10, 10, 11, 22, 222, 232]
    assert [(p.side, p.seq, p.ack) for p in packets] == [
        (0, 0, None),
        (1, 0, 1),
        (0, 1, 1),
        (0, 1, 1),
        (1, 1, 28),
        (0, 28, 39),
        (1, 39, 28),
    ]


def test_the_bytes_are_read_by_another_decoder() -> None:
    packet = ladder_packets(HANDSHAKE + '  0.2  >  PF.  "ab"*2 + body*3  win 1000 ts sack 5:9 ttl 9 id 7')[-1]
    frame = dpkt.ethernet.Ethernet(frame_bytes(packet))
    tcp = frame.data.data
    assert (frame.data.ttl, frame.data.id, frame.data.len) == (9, 7, 20 + 20 + 12 + 12 + 7)
    assert (tcp.sport, tcp.dport, tcp.seq, tcp.ack, tcp.win) == (40001, 80, 1001, 5001, 1000)
    assert (tcp.flags, bytes(tcp.data)) == (0x19, b"ababbbb")
    assert dpkt.tcp.parse_opts(tcp.opts)[-1] == (5, (5005).to_bytes(4) + (5009).to_bytes(4))


def test_a_pcap_with_nanoseconds() -> None:
    packets = ladder_packets("0.000000001 > S\n0.5 < S.")
    records = list(dpkt.pcap.Reader(__import__("io").BytesIO(to_pcap(packets, first_time=100))))
    assert [round(float(t) * 1e9) for t, _ in records] == [100_000_000_001, 100_500_000_000]


def test_scaled_windows_and_ipv6() -> None:
    peers = "connection 1, client [2001:db8::1]:9, server [2001:db8::2]:80, isn 4294967295 7\n"
    text = peers + "0 > S win 1000 wscale 3\n0.1 > . win 8000"
    syn, ack = ladder_packets(text)
    assert (syn.window, ack.window, ack.seq) == (1000, 1000, 1)
    frame = dpkt.ethernet.Ethernet(frame_bytes(ack))
    assert (frame.data.v, frame.data.data.seq) == (6, 0)


def test_relative_times_repeats_and_connections() -> None:
    text = "0 > S\nrepeat 2\n+0.1 > P. 1:11(10)\n+0.1 > P. body*3\nend\nconnection 2, start 0.25\n0 > S"
    packets = ladder_packets(text)
    assert [(p.time // 1_000_000, p.seq, len(p.payload), p.peers.client[-1]) for p in packets] == [
        (0, 0, 0, "1"),
        (100, 1, 10, "1"),
        (200, 11, 3, "1"),
        (250, 0, 0, "2"),
        (300, 1, 10, "1"),
        (400, 14, 3, "1"),
    ]


def test_what_came_too_early_is_acknowledged_with_the_rest() -> None:
    text = "0 > P. 1:11(10)\n0.1 > P. 21:31(10)\n0.2 < .\n0.3 > P. 11:21(10)\n0.4 < ."
    assert [p.ack for p in ladder_packets(text) if p.side == 1] == [11, 31]


def test_acks_by_themselves() -> None:
    text = HANDSHAKE + "server acks after 0.040\n0.1 > P. body*10\n0.11 > P. body*10\n0.2 > P. body*5\n0.22 < P. body*7"
    acks = [(p.time // 1_000_000, p.ack, p.row) for p in ladder_packets(text) if p.side == 1][1:]
    assert acks == [(140, 21, 0), (220, 26, 7)]


def test_uncaptured_packets_are_acknowledged_but_not_there() -> None:
    packets = ladder_packets("0 > P. body*10 uncaptured\n0.1 < .\n0.2 > P. body*5")
    assert [(p.side, p.seq, p.ack, p.row) for p in packets] == [(1, 1, 11, 1), (0, 11, 1, 2)]


def test_the_capture_point_moves() -> None:
    def times(at: str | None) -> list[tuple[int, int]]:
        return [(p.row, p.time // 1_000_000) for p in ladder_packets(ASKED, at)]

    assert times("client") == times(None)
    assert times("server") == [(1, 5), (2, 5), (3, 15), (4, 16), (5, 17), (6, 227), (7, 227)]
    middle = [p.time for p in ladder_packets(ASKED, "middle")]
    assert middle[1] - middle[0] == middle[2] - middle[1] == 5_000_000


def test_frames_of_expectations_follow_the_capture_point() -> None:
    text = HANDSHAKE + "0.020 < P. body*10\n0.021 > P. body*10\n=> a-rule, frames 4 5, delay 0.1, x 2"
    assert [e.frames for e in expectations(text, ladder_packets(text))] == [(4, 5), (4, 5)]
    crossing = "0 > S\n0.010 < S.\n0.010 > .\n0.018 > P. body*10\n0.019 < P. body*10\n=> a-rule, frames 4"
    assert [e.frames for e in expectations(crossing, ladder_packets(crossing, "server"))] == [(5,)]


@pytest.mark.parametrize(
    "text",
    [
        HANDSHAKE + "0.1 > P. body*10\n0.109 < . ack 11",
        "0 > S\n0.010 < S.\n0.020 > .\n0.1 < P. body*10\n0.109 > . ack 11",
        HANDSHAKE + "0.1 > P. 1:11(9)",
        HANDSHAKE + "0.1 > P. body",
        HANDSHAKE + "0.1 > P. colour 7",
        "hello",
    ],
)
def test_what_cannot_happen_or_be_read_is_refused(text: str) -> None:
    with pytest.raises(LadderError):
        ladder_packets(text)


def test_an_answer_at_the_speed_of_the_handshake_is_allowed() -> None:
    assert len(ladder_packets(HANDSHAKE + "0.1 > P. body*10\n0.110 < . ack 11")) == 5


def test_a_ladder_says_what_must_be_found() -> None:
    with pytest.raises(LadderError):
        expectations(HANDSHAKE, [])
    assert expectations(HANDSHAKE + "=> nothing", []) == []


def test_ladders_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("# about\n\nspeaks: one\n  0 > S\n  => a\n\nsilent at noon: two\n  0 > S\n  => nothing\n")
    assert [(title, len(ladder_packets(text))) for title, text in ladders_in(path)] == [
        ("speaks: one", 1),
        ("silent at noon: two", 1),
    ]
