"""Which packets are of one connection: ids as Wireshark numbers tcp.stream."""

from __future__ import annotations

import json
import random
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from tests.ladders import Packet, ladder_packets, to_pcap
from tests.support.needs import needs
from tests.tcp.seeing import HANDSHAKE, see, seen
from wiredoctor import limits

CORPUS = Path(__file__).parents[3] / "shared" / "corpus"

CLOSE = "0.030 > F. 1:1 ack 1\n0.040 < F. 1:1 ack 2\n0.050 > . 2:2 ack 2\n"
SAME_PORT = "connection 2, start {start}, client 10.0.0.1:40001, isn {isn} 9000\n"
"""Another conversation over the port of connection 1."""

FLOWS = {
    "one": (HANDSHAKE + CLOSE, [0] * 6),
    "two at a time": (
        HANDSHAKE + "connection 2, start 0.015\n" + HANDSHAKE,
        [0, 0, 1, 0, 1, 1],
    ),
    "SYN sent again": ("0.000 > S 0:0\n1.000 > S 0:0\n3.000 > S 0:0\n3.010 < S. 0:0 ack 1", [0] * 4),
    "port used again": (
        HANDSHAKE + CLOSE + SAME_PORT.format(start=1, isn=77000) + HANDSHAKE,
        [0] * 6 + [1] * 3,
    ),
    "port used again while open": (HANDSHAKE + SAME_PORT.format(start=1, isn=77000) + HANDSHAKE, [0] * 3 + [1] * 3),
    "port used again with the same ISN": (
        HANDSHAKE + CLOSE + SAME_PORT.format(start=1, isn=1000) + HANDSHAKE,
        [0] * 9,
    ),
    "port used again twice": (
        HANDSHAKE
        + SAME_PORT.format(start=1, isn=77000)
        + HANDSHAKE
        + "connection 3, start 2, client 10.0.0.1:40001, isn 78000 7\n"
        + HANDSHAKE,
        [0] * 3 + [1] * 3 + [2] * 3,
    ),
    "SYN-ACK with another ISN": (
        "0.000 > S 0:0\n0.010 < S. 0:0 ack 1\n" + SAME_PORT.format(start=1, isn=1000) + "0.000 < S. 0:0 ack 1",
        [0] * 3,
    ),
    "SYN after the middle": ("0.000 > . 501:601(100) ack 301\n1.000 > S 4000:4000", [0, 1]),
    "SYN of the other side": (
        HANDSHAKE + "connection 2, start 1, client 10.0.0.2:80, server 10.0.0.1:40001, isn 6000 2000\n" + HANDSHAKE,
        [0, 0, 0, 1, 1, 1],
    ),
    "simultaneous open": ("0.000 > S 0:0\n0.001 < S 0:0\n0.010 > S. 0:0 ack 1\n0.011 < S. 0:0 ack 1", [0] * 4),
    "long after the close": (HANDSHAKE + CLOSE + "600.000 > . 2:2 ack 2", [0] * 7),
    "IPv6": ("connection 1, client [2001:db8::1]:4000, server [2001:db8::2]:80\n" + HANDSHAKE, [0] * 3),
    "a port speaks with itself": (
        "connection 1, client 10.0.0.1:80, server 10.0.0.1:80\n0.000 > S 0:0\n0.010 > . 1:11(10) ack 1",
        [0] * 2,
    ),
}


@pytest.mark.parametrize("name", FLOWS)
def test_connection_ids(name: str) -> None:
    text, expected = FLOWS[name]
    assert see(text).column("connection") == expected


def streams(path: Path) -> dict[int, set[int]]:
    """Frame -> tcp.stream (several, where TCP is inside of TCP's ICMP errors), as tshark says."""
    command = ["tshark", "-n", "-r", str(path), "-Y", "tcp.stream", "-T", "fields", "-e", "frame.number", "-e", "tcp.stream"]
    out = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    rows = (line.split("\t") for line in out.splitlines())
    return {int(frame): {int(number) for number in numbers.split(",")} for frame, numbers in rows}


@needs("tshark")
def test_tshark_says_the_same(tmp_path: Path) -> None:
    """All conversations in one capture, each with its own addresses."""
    packets, expected = list[Packet](), list[int]()
    for number, (text, ids) in enumerate(FLOWS.values()):
        expected += [max(expected, default=-1) + 1 + i for i in ids]
        for packet in ladder_packets(text):
            client, server = (end.replace("10.0.0.", f"10.0.{number}.") for end in (packet.peers.client, packet.peers.server))
            packets.append(replace(packet, peers=replace(packet.peers, client=client, server=server)))
    path = tmp_path / "all.pcap"
    path.write_bytes(to_pcap(packets))
    assert streams(path) == {frame: {number} for frame, number in enumerate(expected, start=1)}
    assert seen(path).column("connection") == expected


@needs("tshark")
@pytest.mark.skipif(not CORPUS.is_dir(), reason="the corpus is not there")
@pytest.mark.slow
@pytest.mark.parametrize(("begin", "end"), [(0, 8), (8, 30)])
def test_ids_in_real_captures(begin: int, end: int) -> None:
    entries = [json.loads(line) for line in (CORPUS / "oracle.jsonl").read_text().splitlines()]
    entries = [e for e in entries if e["tcp_streams"] > 1 and e["tshark_rc"] == 0 and e["bytes"] < 200_000]
    paths = [CORPUS / "files" / entry["path"] for entry in random.Random(7).sample(entries, 30)[begin:end]]
    with ThreadPoolExecutor(2) as pool:
        tsharks = list(pool.map(streams, paths))
    for path, theirs in zip(paths, tsharks, strict=True):
        ours = {row["frame"]: row["connection"] for row in seen(path).segments}
        assert ours, path
        wrong = {frame: number for frame, number in ours.items() if number not in theirs.get(frame, ())}
        assert wrong == {}, path


def test_a_new_connection_knows_nothing_of_the_former() -> None:
    found = see(
        HANDSHAKE + "0.030 > . 1:101(100) ack 1\n" + SAME_PORT.format(start=1, isn=77000) + HANDSHAKE + "0.030 > . 1:11(10) ack 1"
    )
    assert [c["client_bytes"] for c in found.connections] == [100, 10]
    assert [c["first_frame"] for c in found.connections] == [1, 5]
    assert found.last("offset", "in_flight_before", "previous_data_frame", "retransmission") == [0, 0, None, False]
    assert found.segments[4]["retransmission"] is False


def test_a_port_that_is_used_again_just_when_its_retention_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """The SYN that replaces a connection also comes when it would be forgotten: its row is written once."""
    monkeypatch.setattr(limits.RETAINED_PACKETS, "value", 1)
    later = "".join(
        f"connection {number}, start {start}, client 10.0.0.1:{port}, isn {number} 7\n" + HANDSHAKE
        for number, start, port in ((3, 130, 50001), (4, 131, 50002), (5, 132, 50001), (6, 133, 50002))
    )
    ports = HANDSHAKE + CLOSE + SAME_PORT.format(start=121, isn=77000) + HANDSHAKE + later
    found = see(ports)
    assert [c["first_frame"] for c in found.connections] == [1, 7, 10, 13, 16, 19]
    assert found.column("connection") == [0] * 6 + [i for i in range(1, 6) for _ in range(3)]


def test_a_connection_that_closed_after_it_had_been_refused_is_forgotten_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The refusal was no close (Windows tries again with the same SYN), though it seemed to be one."""
    monkeypatch.setattr(limits.RETAINED_PACKETS, "value", 1)
    refused = "0.000 > S 0:0\n0.010 < R. 0:0 ack 1\n0.500 > S 0:0\n0.510 < S. 0:0 ack 1\n0.520 > . ack 1\n"
    close = "0.530 > F. 1:1 ack 1\n0.540 < F. 1:1 ack 2\n"
    later = "".join(
        f"connection {number}, start {start}, client 10.0.0.1:{port}, isn {number} 7\n" + HANDSHAKE
        for number, start, port in ((3, 121, 50000), (4, 130, 50001), (5, 131, 50002), (6, 132, 50001), (7, 133, 50002))
    )
    found = see(refused + close + later)
    assert [c["first_frame"] for c in found.connections] == [1, 8, 11, 14, 17, 20]


def test_simultaneous_open_is_a_handshake() -> None:
    c = see(FLOWS["simultaneous open"][0]).connection
    assert c["handshake"] is True
    # the side that sent the first SYN
    assert (c["client"], c["client_direction"]) == ("10.0.0.1:40001", 0)
