"""The core itself reads what whole captures consist of; only the rare goes to the general decoder (tests/decode: the rest)."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest

from tests.benchmarks.wrapping import WAYS
from tests.core.front import Front, by_core, records_of
from tests.decode.packets import Record, capture, ethernet, ipv4, ipv6, tcp
from tests.decode.udp import udp
from wiredoctor.core import layers
from wiredoctor.core.hashes import mix
from wiredoctor.core.layers import SEGMENT
from wiredoctor.core.packet import Packet
from wiredoctor.decode.hashing import mix_one
from wiredoctor.decode.names import BIT

PLAIN = [ethernet(ipv4(tcp(b"x" * size))) for size in (0, 9, 1_400)]


@pytest.mark.parametrize("way", WAYS)
def test_common_encapsulations_are_not_declined(way: str) -> None:
    link_type, front = WAYS[way]
    records = [Record(front(frame), link_type) for frame in PLAIN]
    data, columns = capture(records)
    rows, read = by_core(data, columns)
    assert rows["length"].tolist() == [0, 9, 1_400]
    assert read.declined == 0


@pytest.mark.parametrize("payload", [b"", bytes(60)])
def test_what_is_no_tcp_is_not_declined(payload: bytes) -> None:
    frames = [
        ethernet(ipv4(payload, protocol)) if version == 4 else ethernet(ipv6(payload, protocol), 0x86DD)
        for version in (4, 6)
        for protocol in (1, 17, 50, 58, 89, 132)
    ]
    frames += [ethernet(payload, kind) for kind in (0x0806, 0x88CC, 0x88E1)]
    data, columns = capture([Record(frame) for frame in frames])
    rows, read = by_core(data, columns)
    assert (len(rows["frame"]), read.declined) == (0, 0)


def test_numbers_of_decode() -> None:
    """Bits and hashes are those of decode/, by which both name an encapsulation."""
    named = {"PPPOE": "PPPoE", "GTP": "GTP-U", "IP_IN_IP": "IP in IP"}
    for name in ("PPP", "PPPOE", "MPLS", "GRE", "ERSPAN", "VXLAN", "GENEVE", "GTP", "L2TP", "IP_IN_IP"):
        assert getattr(layers, f"NAMED_{name}") == BIT[named.get(name, name)]
    assert mix(5, 7) == mix_one(5, 7)


def l2tp_headers() -> list[bytes]:
    """Headers of L2TP with each flag and version, long enough for all that the flags announce."""
    ids = struct.pack(">HH", 7, 42)
    return [struct.pack(">H", flags | version) + rest for flags in (1 << bit for bit in range(4, 16)) for version in (2, 3)
            for rest in (ids, struct.pack(">H", 40) + ids, ids + b"\0\1\0\2", ids + b"\0\4" + bytes(4))]  # fmt: skip


@pytest.mark.parametrize("cut", [0, 1, 30, 55, 63])
def test_l2tp_as_in_decode(cut: int) -> None:
    inside = b"\xff\x03\0\x21" + ipv4(tcp(b"x" * 9))
    headers = [*l2tp_headers(), struct.pack(">HHH", 2, 7, 42), b"\0\2\0", b"\0", b""]
    frames = [ethernet(ipv4(udp(header + inside if len(header) > 3 else header, 1701), 17)) for header in headers]
    data, columns = capture([Record(frame[: len(frame) - cut], 1, len(frame)) for frame in frames])
    packet, same = Packet(), 0
    for _ in records_of(data, columns, packet):
        answers = [answer(packet, reads) for reads in (Front.read, read_by_decode)]
        assert answers[0] == answers[1]
        same += bool(answers[0][0])
    assert same > 4 or cut > 20


def read_by_decode(front: Front, packet: Packet) -> bool:
    """Fill the packet by the general decoder, and return whether it has a segment."""
    return front.general.read(packet) == SEGMENT


def answer(packet: Packet, reads: Callable[[Front, Packet], bool]) -> tuple[object, ...]:
    """Return what one way of reading says of a packet."""
    front = Front()
    found = reads(front, packet)
    facts = front.facts()
    where = (packet.sequence, packet.length, packet.captured, packet.place, packet.ttl) if found else ()
    return found, where, facts["not analyzed"], facts["encapsulations"]
