"""Test that the simulated wire of captures/lab between two namespaces delays, drops and holds back only the packets that it
should.
"""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import dpkt
import pytest

from tests.support.needs import skip_without
from tests.support.recordings import CAPTURES

LAB = CAPTURES / "lab"
FIN, SYN, RST, ACK = 0x01, 0x02, 0x04, 0x10
CLIENT, SERVER = (40_000, 80), (80, 40_000)


def ethernet(ports: tuple[int, int], payload: bytes = b"", flags: int = ACK, *, six: bool = False, options: bytes = b"") -> bytes:
    tcp = struct.pack(">HHIIBBHHH", *ports, 1_000, 2_000, (20 + len(options)) << 2, flags, 500, 0, 0) + options + payload
    if six:
        return b"\0" * 12 + b"\x86\xdd" + struct.pack(">IHBB", 6 << 28, len(tcp), 6, 64) + b"\0" * 32 + tcp
    head = struct.pack(">BBHHHBBH8s", 0x45, 0, 20 + len(tcp), 0, 0, 64, 6, 0, b"\0" * 8)
    return b"\0" * 12 + b"\x08\x00" + head + tcp + b"\0" * max(0, 6 - len(payload))


@pytest.mark.parametrize("six", [False, True])
@pytest.mark.parametrize("options", [b"", b"\1" * 12])
def test_segments_are_read(lab: Any, six: bool, options: bytes) -> None:
    seen = lab.packet.segment(ethernet(CLIENT, b"hello", six=six, options=options))
    assert (seen.ports, seen.seq, seen.ack, seen.flags, seen.payload) == (CLIENT, 1_000, 2_000, ACK, 5)


def test_what_is_no_tcp_is_none(lab: Any) -> None:
    whole = ethernet(CLIENT, b"hello")
    assert lab.packet.segment(whole[:12] + b"\x08\x06" + whole[14:]) is None
    assert lab.packet.segment(whole[:40]) is None
    assert lab.packet.segment(b"") is None


def test_padding_is_no_payload(lab: Any) -> None:
    assert lab.packet.segment(ethernet(CLIENT)).pure_ack


@pytest.mark.parametrize("flags", [ACK | FIN, ACK | SYN, ACK | RST, RST])
def test_what_opens_or_ends_is_no_pure_ack(lab: Any, flags: int) -> None:
    assert not lab.packet.segment(ethernet(CLIENT, flags=flags)).pure_ack


def test_the_packets_with_the_numbers_are_lost(lab: Any) -> None:
    losses = lab.impairments.Losses((lab.impairments.Loss.of("server", "data", 2, 3),))
    data, ack = (lab.packet.segment(ethernet(SERVER, payload)) for payload in (b"x", b""))
    sent = [data, ack, data, ack, data, data]
    assert [losses.lost("server", segment) for segment in sent] == [False, False, True, False, True, False]
    assert not losses.lost("client", data)


@pytest.mark.parametrize("wrong", [("nobody", "data", 1), ("server", "data"), ("server", "byte", 1), ("server", "data", 0)])
def test_a_loss_of_nothing_is_refused(lab: Any, wrong: tuple[Any, ...]) -> None:
    with pytest.raises(ValueError, match="no loss"):
        lab.impairments.Loss.of(*wrong)


class Receiver:
    """A receiver with a timer of 200 ms: what is sent to it, and which of its frames leave when."""

    def __init__(self, lab: Any) -> None:
        self.lab = lab
        self.acks = lab.impairments.DelayedAcks(0.2)

    def gets(self, when: float, size: int) -> None:
        self.acks.delivered(self.lab.packet.segment(ethernet(SERVER, b"x" * size)), when)

    def sends(self, when: float, payload: bytes = b"") -> bool:
        frame = ethernet(CLIENT, payload)
        return self.acks.passes(self.lab.packet.segment(frame), frame, when)


def test_an_ack_waits_for_the_timer(lab: Any) -> None:
    receiver = Receiver(lab)
    receiver.gets(1.0, 300)
    assert not receiver.sends(1.01)
    assert receiver.acks.next_release() == pytest.approx(1.2)
    assert receiver.acks.released(1.19) == []
    assert receiver.acks.released(1.2) == [ethernet(CLIENT)]
    assert receiver.acks.next_release() is None
    assert receiver.sends(1.3)


def test_a_second_full_segment_releases_it(lab: Any) -> None:
    receiver = Receiver(lab)
    receiver.gets(1.0, 1_448)
    assert not receiver.sends(1.01)
    receiver.gets(1.05, 1_448)
    assert receiver.acks.released(1.05) == [ethernet(CLIENT)]


def test_small_segments_do_not_release_it(lab: Any) -> None:
    receiver = Receiver(lab)
    for when in (1.0, 1.05, 1.1):
        receiver.gets(when, 300)
        assert not receiver.sends(when)
    assert receiver.acks.next_release() == pytest.approx(1.2)


def test_data_carries_the_ack(lab: Any) -> None:
    receiver = Receiver(lab)
    receiver.gets(1.0, 300)
    assert not receiver.sends(1.01)
    assert receiver.sends(1.05, b"GET")
    assert receiver.acks.released(2.0) == []


def test_a_kernel_that_waits_longer_is_let_be(lab: Any) -> None:
    receiver = Receiver(lab)
    receiver.gets(1.0, 300)
    assert receiver.sends(1.25)


def _namespaces() -> bool:
    """Whether this machine lets us have namespaces and TAP devices."""
    if os.geteuid() != 0 or not Path("/dev/net/tun").exists():
        return False
    name = f"wdtest{os.getpid()}"
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True, check=False).returncode == 0
    if made:
        subprocess.run(["ip", "netns", "del", name], check=False)
    return made


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[tuple[float, dpkt.tcp.TCP]]]:
    """One exchange over a round trip of 60 ms, seen at three points: the server's body waits for the ACK of its head,
    which the client delays by 150 ms."""
    skip_without("ip")
    if not _namespaces():
        pytest.skip("needs root and /dev/net/tun")
    folder = tmp_path_factory.mktemp("wire")
    answers = folder / "answers.json"
    answers.write_text(json.dumps([["HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", "hello"]]))
    steps = json.dumps([["GET / HTTP/1.1\r\nHost: lab\r\n\r\n", {"read": ["GET"]}]])
    paths = {point: folder / f"{point}.pcap" for point in ("client", "middle", "server")}
    subprocess.run(
        [
            *(sys.executable, str(LAB / "try_wire.py"), "--rtt", "60", "--ack-delay", "client:150", "--seconds", "20"),
            *(word for point, path in paths.items() for word in ("--record", f"{point}={path}")),
            *("--server", f"{sys.executable} {LAB}/peers/raw_server.py 8080 {answers}", "--"),
            *(sys.executable, f"{LAB}/peers/raw_client.py", "10.9.0.2", "8080", steps),
        ],
        check=True,
        timeout=60,
    )
    return {point: _packets(path) for point, path in paths.items()}


def _packets(path: Path) -> list[tuple[float, dpkt.tcp.TCP]]:
    with path.open("rb") as file:
        return [(float(when), dpkt.ethernet.Ethernet(frame).data.data) for when, frame in dpkt.pcap.Reader(file)]


@pytest.mark.parametrize(("point", "to_server", "to_client"), [("client", 0.06, 0), ("middle", 0.03, 0.03), ("server", 0, 0.06)])
def test_the_round_trip_is_split(
    recorded: dict[str, list[tuple[float, dpkt.tcp.TCP]]], point: str, to_server: float, to_client: float
) -> None:
    """Never shorter than it was to be; a busy machine may make it longer."""
    (syn, first), (syn_ack, second), (ack, third) = recorded[point][:3]
    assert (first.flags & (SYN | ACK), second.flags & (SYN | ACK), third.flags & (SYN | ACK)) == (SYN, SYN | ACK, ACK)
    assert to_server <= syn_ack - syn + 1e-4 < to_server + 0.1
    assert to_client <= ack - syn_ack + 1e-4 < to_client + 0.1


@pytest.mark.parametrize(("point", "round_trip"), [("client", 0), ("middle", 0.03), ("server", 0.06)])
def test_the_ack_is_held_back(recorded: dict[str, list[tuple[float, dpkt.tcp.TCP]]], point: str, round_trip: float) -> None:
    head = next(when for when, tcp in recorded[point] if tcp.data.startswith(b"HTTP/1.1 200"))
    acks = [when for when, tcp in recorded[point] if when > head and tcp.dport == 8080]
    assert 0.15 + round_trip <= acks[0] - head + 1e-4 < 0.15 + round_trip + 0.1


def test_the_points_see_the_same_packets(recorded: dict[str, list[tuple[float, dpkt.tcp.TCP]]]) -> None:
    """As long as client and server live; what is under way at the end is seen by its sender only."""
    seen = {point: {(tcp.sport, tcp.seq, tcp.ack, tcp.flags) for _, tcp in packets} for point, packets in recorded.items()}
    assert len(seen["client"] & seen["middle"] & seen["server"]) >= 8
