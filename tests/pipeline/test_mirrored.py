"""One connection seen through two encapsulations: its second copies are duplicates, and nobody is blamed for them."""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from tests.decode import udp as udps
from tests.decode.packets import ethernet, ipv4, vlan
from tests.decode.rare import gre
from tests.decode.udp import udp, vxlan
from tests.pipeline.ladders import FILES, together
from tests.support.analysis import analyze_bytes
from tests.support.sweeps import FORMS, sweep
from wiredoctor.testing import wire

Way = Callable[[bytes], bytes]


def in_vxlan(network: int) -> Way:
    return lambda frame: ethernet(ipv4(udp(vxlan(frame, network), udps.VXLAN), 17))


def in_vlan(number: int) -> Way:
    return lambda frame: frame[:12] + b"\x81\0" + vlan(frame[14:], number, int.from_bytes(frame[12:14]))


def mirrored(size: int) -> Way:
    """By ERSPAN, at most so many bytes of each frame."""
    head = struct.pack(">HHI", 0x1000, 0x0401, 0)
    return lambda frame: ethernet(ipv4(gre(head + frame[:size], 0x1000, bytes(4), 0x88BE), 47))


WAYS: dict[str, tuple[Way, Way, int, int]] = {
    "plain and in VXLAN": (bytes, in_vxlan(7), 0, 300_000),
    "in two networks, behind a router": (in_vxlan(7), in_vxlan(8), 1, 3_000_000),
    "in two VLANs": (in_vlan(5), in_vlan(6), 0, 20_000),
    "plain and cut off by a mirror": (bytes, mirrored(120), 0, 400_000),
}
"""First and second way, hops between them, nanoseconds that the second is later at the most."""
TOO_LONG = ("silent: on loopback one segment fills the window, and its receiver reads every 40 ms",)
"""Ladders with packets to which no further header of IP can be added."""


def records(file: Path, way: Way, hops: int, late: int) -> list[tuple[int, bytes, int]]:
    """Time, bytes and length of each packet; a mirror keeps their order."""
    random, last, result = Random(7), 0, []
    for number, packet in enumerate(together(file, TOO_LONG)):
        last = max(last + 1, packet.time + random.randint(late // 4, late))
        whole = wire.frame_bytes(replace(packet, ttl=packet.ttl - hops), number + 1)
        data = way(whole[: packet.snap])
        result.append((last, data, len(data) + len(whole) - len(whole[: packet.snap])))
    return result


def found(path: Path, packets: list[tuple[int, bytes, int]]) -> Counter[tuple[str, str | None, int | None, int | None]]:
    data = struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 262144, 1)
    for time, frame, length in sorted(packets):
        data += struct.pack("<IIII", 1_700_000_000 + time // 10**9, time % 10**9, len(frame), length) + frame
    return Counter((f.rule, f.kind, f.connection, f.exchange) for f in analyze_bytes(path, data).findings)


@FORMS
@pytest.mark.parametrize("file", sweep(FILES[::8], FILES[:1].__contains__), ids=lambda file: file.stem)
def test_the_same_connection_through_two_encapsulations(file: Path, tmp_path: Path) -> None:
    expected = found(tmp_path / "once.pcap", records(file, bytes, 0, 0))
    once = {key: count for key, count in expected.items() if key[0] != "duplicate-packets"}
    for name, (first, second, hops, late) in WAYS.items():
        packets = records(file, first, 0, 0) + records(file, second, hops, late)
        both = found(tmp_path / "twice.pcap", packets)
        assert both.pop(("duplicate-packets", None, None, None), 0) == 1, name
        assert both == once, name
