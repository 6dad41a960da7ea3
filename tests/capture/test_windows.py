"""Captures as programs of Windows write them: Npcap's loopback, and conversions of trace logs (pktmon, etl2pcapng)."""

from __future__ import annotations

import struct
from collections import Counter
from pathlib import Path

import dpkt
import pytest

from tests.capture.files import Packet, block, interface, option, pcap
from tests.support.recordings import find_recording
from wiredoctor import Report, analyze

RECORDING = find_recording("server-head-body-split.pcap")


def recorded() -> list[tuple[int, bytes]]:
    """Times in microseconds, and packets with an Ethernet header."""
    with RECORDING.open("rb") as file:
        return [(round(time * 1_000_000), data) for time, data in dpkt.pcap.Reader(file)]


def as_ipv6(packet: bytes) -> bytes:
    """The TCP segment of an Ethernet frame with IPv4, in an IPv6 packet from and to the loopback address."""
    ip = dpkt.ethernet.Ethernet(packet).data
    segment = bytes(ip.data)
    return struct.pack(">IHBB", 6 << 28, len(segment), 6, 64) + (b"\0" * 15 + b"\1") * 2 + segment


def rules(report: Report) -> Counter[str]:
    return Counter(finding.rule for finding in report.findings)


@pytest.mark.parametrize(("family", "link"), [(2, "IPv4"), (24, "IPv6"), (23, "IPv6")])
def test_the_loopback_of_npcap(family: int, link: str, tmp_path: Path) -> None:
    """LINKTYPE_NULL with 2 or 24 in the byte order of the machine; 23 is AF_INET6 of Windows itself."""
    packets = [
        Packet(time, struct.pack("<I", family) + (data[14:] if link == "IPv4" else as_ipv6(data)), len(data))
        for time, data in recorded()
    ]
    path = tmp_path / "loopback.pcap"
    path.write_bytes(pcap(packets, link_type=0))
    assert rules(analyze(path)) == rules(analyze(RECORDING))


@pytest.mark.parametrize(("components", "interfaces", "gap"), [(4, 1, 7), (4, 4, 7), (2, 2, 400)])
def test_each_packet_at_several_components(components: int, interfaces: int, gap: int, tmp_path: Path) -> None:
    """pktmon logs a packet in each component that it passes, and etl2pcap writes all of them, within microseconds."""
    written = [(time + number * gap, number % interfaces, data) for time, data in recorded() for number in range(components)]
    path = tmp_path / "PktMon.pcapng"
    names = option("<", 3, b"Windows Server 2022") + option("<", 4, b"etl2pcapng") + bytes(4)
    path.write_bytes(
        block("<", 0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1) + names)
        + b"".join(interface("<", snaplen=65535, name=f"Miniport {number}") for number in range(interfaces))
        + b"".join(with_process(*one) for one in sorted(written, key=lambda one: one[0]))
    )
    found, original = analyze(path), analyze(RECORDING)
    assert found.exchange_count == original.exchange_count
    assert rules(found) == rules(original) + Counter(["duplicate-packets"])
    assert found.captures[0].duplicates == (components - 1) * len(recorded())


def with_process(ticks: int, number: int, data: bytes) -> bytes:
    """An enhanced packet block with the direction and a comment, as etl2pcapng writes it."""
    fixed = struct.pack("<IIIII", number, ticks >> 32, ticks & 0xFFFFFFFF, len(data), len(data))
    options = option("<", 2, struct.pack("<I", 2)) + option("<", 1, b"PID=4711 ProcessName=w3wp.exe") + bytes(4)
    return block("<", 6, fixed + data + bytes(-len(data) % 4) + options)
