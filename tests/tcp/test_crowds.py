"""More connections than are remembered: the longest silent are given up, whatever is read at once and by how many processes."""

from __future__ import annotations

import json
import random
import socket
import struct
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from tests.core.feeding import tables
from tests.ladders import Packet, to_pcap
from tests.tcp.seeing import HANDSHAKE, see
from wiredoctor import limits
from wiredoctor.core.tcp.flows import BUCKETS, bucket
from wiredoctor.testing.wire import ACK, FIN, RST, SYN, Peers

OPEN, CHECK = 2 * BUCKETS, 32
ANSWER = b"HTTP/1.1 204 No Content\r\n\r\n"
REQUEST = b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """A small number of open connections."""
    monkeypatch.setattr(limits.OPEN, "value", OPEN)
    monkeypatch.setattr(limits.CROWD_CHECK, "value", CHECK)


def crowd(seed: int, count: int = 800, clients: int = 300) -> list[Packet]:
    """Packets of more clients than are remembered: they connect, ask in pieces, close and come again."""
    chance = random.Random(seed)
    sent: dict[int, tuple[int, int]] = {}
    made: list[Packet] = []
    for step in range(count):
        number = chance.randrange(clients) if chance.random() < 0.7 else chance.randrange(20)
        peers, time = Peers(f"10.1.{number >> 6}.1:{4000 + (number & 63)}", "10.0.0.2:80", (0, 0)), step * 1_000_000
        kind = chance.random()
        if number not in sent:
            isn = step * 1_000
            made.append(Packet(peers, 0, time, SYN, isn))
            made.append(Packet(peers, 1, time + 1_000, SYN | ACK, 0, isn + 1))
            made.append(Packet(peers, 0, time + 2_000, ACK, isn + 1, 1))
            sent[number] = isn + 1, 1
            continue
        seq, ack = sent[number]
        if kind < 0.1:
            made.append(Packet(peers, 0, time, RST | ACK, seq, ack))
            del sent[number]
        elif kind < 0.2:
            made += [Packet(peers, side, time, FIN | ACK, *sorted((seq, ack), reverse=not side)) for side in (0, 1)]
            del sent[number]
        elif kind < 0.5:
            piece = REQUEST[: chance.randrange(1, len(REQUEST))]
            made.append(Packet(peers, 0, time, ACK, seq, ack, piece))
            sent[number] = seq + len(piece), ack
        else:
            made.append(Packet(peers, 0, time, ACK, seq, ack, REQUEST))
            made.append(Packet(peers, 1, time + 500_000, ACK, ack, seq + len(REQUEST), ANSWER))
            sent[number] = seq + len(REQUEST), ack + len(ANSWER)
    return made


def expected(packets: list[Packet]) -> tuple[list[list[int]], int]:
    """Frames of each connection, in the order of ids, and how many open ones were given up: one packet after the other."""
    known: dict[str, int] = {}
    frames: list[list[int]] = []
    fins: dict[int, set[int]] = {}
    closed: set[int] = set()
    given_up = 0
    for frame, packet in enumerate(packets, start=1):
        name = packet.peers.client
        reopened = packet.flags == SYN
        if name not in known or reopened:
            known[name] = len(frames)
            frames.append([])
        number = known[name]
        frames[number].append(frame)
        if packet.flags & FIN:
            fins.setdefault(number, set()).add(packet.side)
        if packet.flags & RST or len(fins.get(number, ())) == 2:
            closed.add(number)
        if frame % CHECK == 0:
            for part in range(BUCKETS):
                here = [(n not in closed, frames[n][-1], client, n) for client, n in known.items() if bucket_of(client) == part]
                for is_open, _, client, _ in sorted(here)[: max(len(here) - OPEN // BUCKETS, 0)]:
                    del known[client]
                    given_up += is_open
    return frames, given_up


@cache
def bucket_of(client: str) -> int:
    """Return the bucket of a client's connection to 10.0.0.2:80."""
    host, _, port = client.partition(":")
    return bucket(socket.inet_aton(host) + socket.inet_aton("10.0.0.2") + struct.pack(">HH", int(port), 80))


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("seed", [1, 2])
def test_who_is_given_up(seed: int, tmp_path: Path) -> None:
    packets = crowd(seed)
    frames, given_up = expected(packets)
    assert given_up > 50
    (tmp_path / "crowd.pcap").write_bytes(to_pcap(packets))
    connections = tables(tmp_path / "crowd.pcap")["connections"].sort("connection")
    spans = [(f[0], f[-1], len(f)) for f in frames]
    assert connections.select("first_frame", "last_frame", "packets").rows() == spans


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("most", [1, 7, 100])
def test_it_does_not_matter_how_much_is_read_at_once(most: int, tmp_path: Path) -> None:
    path = tmp_path / "crowd.pcap"
    path.write_bytes(to_pcap(crowd(3)))
    whole, parts = tables(path), tables(path, most)
    for name, rows in whole.items():
        assert rows.equals(parts[name]), name


ALONE = (
    "import wiredoctor.limits as limits, wiredoctor.pipeline as pipeline; pipeline.SHARED_FROM = 0; "
    f"limits.OPEN.value, limits.CROWD_CHECK.value = {OPEN}, {CHECK}; import wiredoctor.cli; wiredoctor.cli.main()"
)


@pytest.mark.slow
def test_it_does_not_matter_how_many_processes_there_are(tmp_path: Path) -> None:
    path = tmp_path / "crowd.pcap"
    packets = crowd(4)
    path.write_bytes(to_pcap(packets))
    reports = [report(path, jobs) for jobs in (1, 3)]
    assert reports[0] == reports[1]
    _, given_up = expected(packets)
    [said] = reports[0]["limits"]
    assert said.startswith(f"{given_up} idle connections were")
    assert said.endswith(f"dropped from the analysis: more than {OPEN} connections were open at once")


def report(path: Path, jobs: int) -> dict[str, list[str]]:
    command = [sys.executable, "-c", ALONE, "analyze", str(path), "--format", "json", "--full", "--jobs", str(jobs)]
    done = subprocess.run(command, capture_output=True, check=True, timeout=120)
    return json.loads(done.stdout)


@pytest.mark.usefixtures("few")
def test_what_is_closed_goes_first_and_in_silence(tmp_path: Path) -> None:
    ends = "10.0.0.2:80"
    packets = [
        Packet(Peers(f"10.1.0.1:{4000 + i // 2}", ends, (0, 0)), 0, i * 1_000, (SYN, RST)[i % 2], i % 2) for i in range(2 * 200)
    ]
    (tmp_path / "closed.pcap").write_bytes(to_pcap(packets))
    assert len(tables(tmp_path / "closed.pcap")["connections"]) == 200
    import wiredoctor

    assert wiredoctor.analyze(tmp_path / "closed.pcap", select=["damaged-file"]).limits == []


@pytest.mark.usefixtures("few")
def test_a_connection_among_few_is_not_touched() -> None:
    talk = "\n".join(f'{0.03 + i / 100:.3f} > P. "abcd"' for i in range(3 * CHECK))
    assert see(HANDSHAKE + talk).connection["packets"] == 3 + 3 * CHECK
