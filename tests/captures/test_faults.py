"""Test the fault boxes of captures/lab: the packets that they drop, answer and forge, and when they begin."""

from __future__ import annotations

import struct
from typing import Any

import dpkt
import pytest

FIN, SYN, RST, ACK = 0x01, 0x02, 0x04, 0x10
PORTS = {"client": (40_000, 80), "server": (80, 40_000)}
HOSTS = {"client": (b"\x0a\x09\x00\x01", b"\x0a\x09\x00\x02"), "server": (b"\x0a\x09\x00\x02", b"\x0a\x09\x00\x01")}


def frame(
    side: str, payload: bytes = b"", flags: int = ACK, *, seq: int = 1_000, ack: int = 2_000, six: bool = False, port: int = 0
) -> bytes:
    """A frame of this side, of its usual connection or, with a port of the client, of another."""
    ports = tuple(port if port and number == 40_000 else number for number in PORTS[side])
    tcp = struct.pack(">HHIIBBHHH", *ports, seq, ack, 5 << 4, flags, 500, 0, 0) + payload
    macs = b"\2" * 6 + b"\4" * 6
    if six:
        source, target = (host * 4 for host in HOSTS[side])
        return macs + b"\x86\xdd" + struct.pack(">IHBB", 6 << 28, len(tcp), 6, 64) + source + target + tcp
    return macs + b"\x08\x00" + struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(tcp), 7, 0, 64, 6, 0) + b"".join(HOSTS[side]) + tcp


class Path:
    """A box, and the packets that it meets."""

    def __init__(self, lab: Any, fault: Any) -> None:
        self.lab = lab
        [self.box] = lab.faults.boxes((fault,), "server")

    def meets(self, when: float, side: str, payload: bytes = b"", flags: int = ACK, **more: Any) -> tuple[bool, Any]:
        sent = frame(side, payload, flags, **more)
        return self.box.meets(side, sent, self.lab.packet.segment(sent), when)

    def passes(self, when: float, side: str, payload: bytes = b"", flags: int = ACK, **more: Any) -> bool:
        return self.meets(when, side, payload, flags, **more)[0]


def test_a_box_is_in_its_half(lab: Any) -> None:
    fault = lab.faults.Fault(place="client")
    assert lab.faults.boxes((fault,), "server") == []
    assert len(lab.faults.boxes((fault,), "client")) == 1


def test_a_path_dies_behind_a_number_of_bytes(lab: Any) -> None:
    path = Path(lab, lab.faults.Fault(lab.faults.Start(payload=150, side="server"), sides=("server",)))
    assert [path.passes(1, "server", b"x" * 100, seq=seq) for seq in (0, 0, 100, 200)] == [True, True, True, False]
    assert path.passes(1, "client", b"x" * 100)


def test_a_path_dies_behind_a_number_of_packets_and_comes_back(lab: Any) -> None:
    path = Path(lab, lab.faults.Fault(lab.faults.Start(packets=2), lasts=3))
    assert [path.passes(when, "client") for when in (1, 2, 2.5, 4.9, 5.1)] == [True, True, False, False, True]


def test_a_path_dies_after_a_time_since_the_first_packet(lab: Any) -> None:
    path = Path(lab, lab.faults.Fault(lab.faults.Start(seconds=2)))
    assert [path.passes(when, "client") for when in (10, 11.9, 12)] == [True, True, False]


def test_a_path_dies_when_told(lab: Any) -> None:
    path = Path(lab, lab.faults.Fault(lab.faults.Start(told=True)))
    assert path.passes(1, "client")
    path.box.clock.tell(2)
    assert not path.passes(2.1, "client")


def test_a_connection_at_rest_is_forgotten(lab: Any) -> None:
    """From its first late packet on, in both directions, and not before; others are not, and its ports may begin anew."""
    path = Path(lab, lab.faults.Fault(rested=8))
    assert path.passes(0, "client", flags=SYN)
    assert path.passes(7.9, "client", b"GET")
    assert path.passes(8, "server", b"200")
    assert not path.passes(16, "client", b"GET")
    assert path.passes(16, "client", flags=SYN, port=40_001)
    assert not path.passes(16.1, "client", b"GET")
    assert not path.passes(16.2, "server", b"408")
    assert path.passes(17, "client", flags=SYN)
    assert path.passes(17.1, "client", b"GET")


def test_what_is_too_large_is_dropped(lab: Any) -> None:
    path = Path(lab, lab.faults.Fault(above=1_200))
    assert path.passes(1, "client", b"x" * 1_160)
    assert not path.passes(1, "client", b"x" * 1_161)


def test_only_older_connections_are_dropped(lab: Any) -> None:
    path = Path(lab, lab.faults.Fault(lab.faults.Start(seconds=1), older=True))
    assert path.passes(0, "client", flags=SYN)
    assert not path.passes(2, "client", b"GET")
    assert path.passes(2, "client", flags=SYN, port=40_001)
    assert path.passes(2, "client", b"GET", port=40_001)


@pytest.mark.parametrize(("code", "mtu"), [(4, 1_200), (13, 0)])
def test_a_router_answers_with_an_error_that_quotes(lab: Any, code: int, mtu: int) -> None:
    path = Path(lab, lab.faults.Fault(above=100, answer=lab.forging.Icmp(code, mtu)))
    passed, [(toward, made)] = path.meets(1, "client", b"x" * 100)
    assert (passed, toward) == (False, "client")
    ip = dpkt.ethernet.Ethernet(made).data
    assert (ip.p, ip.src, ip.dst) == (1, b"\x0a\x09\x00\xfe", HOSTS["client"][0])
    assert made[34:36] == bytes([3, code])
    assert made[40:] == struct.pack(">H", mtu) + frame("client", b"x" * 100)[14:][:28]
    assert lab.forging.checksum(made[14:34]) == lab.forging.checksum(made[34:]) == 0
    assert lab.forging.is_icmp_error(made)


@pytest.mark.parametrize(("code", "mtu", "kind"), [(0, 1_300, 2), (1, 0, 1)])
def test_a_router_answers_over_ipv6(lab: Any, code: int, mtu: int, kind: int) -> None:
    path = Path(lab, lab.faults.Fault(answer=lab.forging.Icmp(code, mtu)))
    _, [(toward, made)] = path.meets(1, "server", b"x" * 2_000, six=True)
    ip = dpkt.ethernet.Ethernet(made).data
    assert (toward, ip.nxt, ip.dst, len(made) - 14) == ("server", 58, HOSTS["server"][0] * 4, 1_280)
    assert made[54:62][:2] == bytes([kind, code])
    assert int.from_bytes(made[58:62], "big") == mtu
    assert made[62:] == frame("server", b"x" * 2_000, six=True)[14:][:1_232]
    assert lab.forging.is_icmp_error(made)
    pseudo = made[22:54] + struct.pack(">II", len(made) - 54, 58)
    assert lab.forging.checksum(pseudo + made[54:]) == 0


def test_a_syn_is_refused_by_a_reset_with_ack(lab: Any) -> None:
    path = Path(lab, lab.faults.Fault(kind="syn", answer=lab.forging.Reset(ttl=200)))
    _, [(toward, made)] = path.meets(1, "client", flags=SYN)
    ip = dpkt.ethernet.Ethernet(made).data
    assert (toward, ip.ttl, ip.data.flags, ip.data.seq, ip.data.ack) == ("client", 200, RST | ACK, 0, 1_001)
    assert ip.data.sport == 80
    pseudo = made[26:34] + struct.pack(">HH", 6, len(made) - 34)
    assert lab.forging.checksum(pseudo + made[34:]) == 0


def test_what_is_forgotten_is_answered_by_a_reset_without_ack(lab: Any) -> None:
    path = Path(lab, lab.faults.Fault(answer=lab.forging.Reset()))
    _, [(_, made)] = path.meets(1, "client", b"GET")
    reset = dpkt.ethernet.Ethernet(made).data.data
    assert (reset.flags, reset.seq) == (RST, 2_000)
    assert path.meets(1, "client", flags=RST) == (False, [])


@pytest.mark.parametrize("six", [False, True])
def test_resets_are_forged_behind_a_packet_once(lab: Any, six: bool) -> None:
    how = lab.forging.Reset(ttl=250, ip_id=9, ack=True, options=b"\1\1\1")
    forged = lab.faults.Forged(lab.faults.Start(payload=5, side="server"), reset=how)
    path = Path(lab, forged)
    assert path.meets(1, "client", b"GET", seq=500, ack=900, six=six) == (True, [])
    passed, made = path.meets(1, "server", b"x" * 10, seq=900, ack=503, six=six)
    assert passed
    assert path.meets(1, "server", b"x" * 10, seq=910, ack=503, six=six) == (True, [])
    resets = {toward: dpkt.ethernet.Ethernet(sent).data.data for toward, sent in made}
    assert {toward: (tcp.sport, tcp.seq, tcp.ack, tcp.flags, tcp.opts) for toward, tcp in resets.items()} == {
        "client": (80, 910, 503, RST | ACK, b"\1\1\1\0"),
        "server": (40_000, 503, 910, RST | ACK, b"\1\1\1\0"),
    }
    assert {sent[21 if six else 22] for _, sent in made} == {250}


def test_routers_take_hops_off(lab: Any) -> None:
    routed = lab.forging.routed(frame("client", b"GET"), 6)
    assert dpkt.ethernet.Ethernet(routed).data.ttl == 58
    assert lab.forging.checksum(routed[14:34]) == 0
    assert routed[34:] == frame("client", b"GET")[34:]
    assert lab.forging.routed(frame("client", six=True), 6)[21] == 58
    assert lab.forging.routed(frame("client"), 70)[22] == 1
    assert lab.forging.routed(b"\0" * 12 + b"\x08\x06arp", 6) == b"\0" * 12 + b"\x08\x06arp"


def test_packets_are_lost_by_chance(lab: Any) -> None:
    losses = lab.impairments.Losses((), 0.25, seed=3)
    segment = lab.packet.segment(frame("client", b"x"))
    assert 200 < sum(losses.lost("client", segment) for _ in range(1_000)) < 300
