"""The decoder against scapy: on recorded captures, and on packets that scapy builds."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scapy.layers.inet import IP, TCP, UDP, IPOption_NOP, IPOption_RR, IPOption_Timestamp, fragment
from scapy.layers.inet6 import (
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
    fragment6,
)
from scapy.layers.l2 import CookedLinux, CookedLinuxV2, Dot1AD, Dot1Q, Ether
from scapy.packet import Raw
from scapy.utils import RawPcapReader

from tests.capture.reading import Opened, whole
from tests.core.front import by_core
from tests.decode.decoding import decoded, payloads
from tests.decode.packets import Record
from tests.support.recordings import find_recording
from wiredoctor.tables import Columns

LAYERS = {1: Ether, 113: CookedLinux, 276: CookedLinuxV2}

NAMES = ("source_port", "destination_port", "seq", "ack", "flags", "window", "length", "mss", "window_shift", "ttl", "ip_version")


def by_scapy(packet: Any) -> tuple[object, ...]:
    """Addresses and NAMES of a packet with TCP."""
    ip, tcp = packet[IPv6] if IPv6 in packet else packet[IP], packet[TCP]
    if ip.version == 4:
        length, ttl = ip.len - ip.ihl * 4, ip.ttl
    else:
        length, ttl = ip.plen - (len(bytes(ip.payload)) - len(bytes(tcp))), ip.hlim
    options = dict(o for o in tcp.options if o[0] in ("MSS", "WScale"))
    numbers = (tcp.sport, tcp.dport, tcp.seq, tcp.ack, int(tcp.flags) & 0xFF, tcp.window, length - tcp.dataofs * 4)
    return (
        int(ipaddress.ip_address(ip.src)), int(ipaddress.ip_address(ip.dst)), *numbers,
        options.get("MSS", -1), options.get("WScale", -1), ttl, ip.version,
    )  # fmt: skip


def by_us(rows: Columns) -> list[tuple[object, ...]]:
    halves = ("source_high", "source_low", "destination_high", "destination_low")
    addresses = zip(*(rows[n].tolist() for n in halves), strict=True)
    numbers = zip(*(rows[n].tolist() for n in NAMES), strict=True)
    return [((a << 64) + b, (c << 64) + d, *rest) for (a, b, c, d), rest in zip(addresses, numbers, strict=True)]


def recorded(path: Path) -> Iterator[Any]:
    """The packets of a capture, dissected."""
    with RawPcapReader(str(path)) as reader:
        for data, metadata in reader:
            link_type = metadata.linktype if hasattr(metadata, "linktype") else reader.linktype
            yield LAYERS[link_type](data)


@pytest.mark.parametrize(
    "name",
    [
        "apache-curl.pcap",  # Linux cooked, version 2
        "nginx-pipelined.pcap",  # Linux cooked
        "nginx-requests.pcapng",
        "node-websocket.pcapng",
        "lost-packets.pcap",
        "node-upload-snapped.pcap",
        "nginx-ab-keep-alive.pcap",
    ],
)
def test_recorded(name: str) -> None:
    expected = [by_scapy(p) for p in recorded(find_recording(name)) if TCP in p]
    with Opened(find_recording(name)) as opened:
        rows, _ = by_core(np.fromfile(find_recording(name), np.uint8), whole(opened))
    assert len(expected) > 15
    assert by_us(rows) == expected


OPTIONS: list[list[tuple[str, object]]] = [
    [],
    [("MSS", 1460), ("SAckOK", b""), ("Timestamp", (7, 0)), ("NOP", None), ("WScale", 7)],
    [("WScale", 14), ("MSS", 536)],
    [("NOP", None), ("NOP", None), ("Timestamp", (1, 2))],
    [("NOP", None), ("NOP", None), ("SAck", (1_000, 2_000, 3_000, 4_000))],
    [("UTO", 0x8005), ("MSS", 9_000), ("EOL", None)],
    [("TFO", (0x01020304, 0x05060708)), ("MSS", 65_535)],
    [("NOP", None), ("WScale", 0), ("AltChkSum", (1, 2)), ("Mood", b":)")],
]
ETHERNET = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
"""With addresses: scapy would ask the network for those that are missing."""

TAGS = {
    "none": ETHERNET,
    "one": ETHERNET / Dot1Q(vlan=5, prio=3),
    "VLAN in VLAN": ETHERNET / Dot1AD(vlan=9) / Dot1Q(vlan=5, dei=1),
    "three": ETHERNET / Dot1Q(vlan=9) / Dot1Q(vlan=8) / Dot1Q(vlan=7),
    "cooked": CookedLinux(proto=0x800),
}
FOUR = {"src": "192.0.2.1", "dst": "198.51.100.2", "ttl": 17}
SIX = {"src": "2001:db8::1", "dst": "2001:db8:1::ff", "hlim": 18}
NETWORKS = {
    "IPv4": IP(**FOUR),
    "IPv4 options": IP(**FOUR, options=[IPOption_NOP(), IPOption_RR(routers=["10.0.0.1"]), IPOption_Timestamp()]),
    "IPv6": IPv6(**SIX),
    "hop-by-hop": IPv6(**SIX) / IPv6ExtHdrHopByHop(),
    "destination, routing": IPv6(**SIX) / IPv6ExtHdrDestOpt() / IPv6ExtHdrRouting(addresses=["2001:db8::7"], segleft=0),
    "atomic fragment": IPv6(**SIX) / IPv6ExtHdrFragment(id=5),
}


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("tags", TAGS)
def test_built(tags: str, network: str) -> None:
    """Every kind of TCP option behind every kind of header."""
    front = TAGS[tags].copy()
    if tags == "cooked":
        front.proto = 0x86DD if IPv6 in NETWORKS[network] else 0x0800
    records, expected = [], []
    for at, options in enumerate(OPTIONS):
        segment = TCP(
            sport=40_000 + at, dport=80, seq=2**32 - 1 - at, ack=at, flags=at * 29 & 0xFF, window=at * 9_000, options=options
        )
        built = bytes(front / NETWORKS[network] / segment / Raw(b"x" * at * 100))
        records.append(Record(built, 113 if tags == "cooked" else 1))
        expected.append(by_scapy(type(front)(built)))
    rows, _, _ = decoded(records)
    assert by_us(rows) == expected
    assert rows["length"].tolist() == [at * 100 for at in range(len(OPTIONS))]
    assert rows["mss"].tolist() == [-1, 1460, 536, -1, -1, 9_000, 65_535, -1]
    assert rows["window_shift"].tolist() == [-1, 7, 14, -1, -1, -1, -1, 0]


CONTENT = bytes(np.arange(4_000) % 251)


@pytest.mark.parametrize("size", [48, 576, 1_480])
@pytest.mark.parametrize("order", [1, -1])
def test_fragments(size: int, order: int) -> None:
    """Cut up by scapy, put together by us, whatever the order in which they come."""
    segment = TCP(sport=40_000, dport=80, seq=77, options=OPTIONS[1]) / Raw(CONTENT)
    other = IP(**FOUR, id=8) / UDP() / Raw(CONTENT)
    for datagram, pieces in (
        (IP(**FOUR, id=7) / segment, fragment(IP(**FOUR, id=7) / segment, size)),
        (IPv6(**SIX) / segment, fragment6(IPv6(**SIX) / IPv6ExtHdrFragment(id=5) / segment, size + 100)),
    ):
        records = [Record(bytes(p), 101) for p in [*pieces[::order], *fragment(other, size)]]
        answer = decoded(records)
        assert len(pieces) > 2
        assert by_us(answer[0]) == [by_scapy(type(datagram)(bytes(datagram)))]
        assert payloads(records, answer) == [CONTENT]
