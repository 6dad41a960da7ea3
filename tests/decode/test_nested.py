"""Headers inside each other: made nestings, and scapy's encapsulations."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.contrib.erspan import ERSPAN_II, ERSPAN_III
from scapy.contrib.geneve import GENEVE
from scapy.contrib.gtp import GTP_U_Header, GTPPDUSessionContainer
from scapy.contrib.mpls import MPLS
from scapy.contrib.nsh import NSH
from scapy.layers.dot11 import Dot11, Dot11QoS, RadioTap
from scapy.layers.inet import GRE, IP, TCP, UDP
from scapy.layers.inet6 import IPv6, IPv6ExtHdrDestOpt
from scapy.layers.l2 import LLC, SNAP, Dot1Q
from scapy.layers.ppp import HDLC, PPP, PPPoE
from scapy.layers.vxlan import VXLAN
from scapy.packet import Raw

from tests.decode import udp as udps
from tests.decode.decoding import decoded, payloads
from tests.decode.nestings import CONTENT, nestings
from tests.decode.packets import Record, ethernet, ipv4, tcp
from tests.decode.test_headers import WAYS
from tests.decode.test_scapy import ETHERNET, FOUR, SIX, by_scapy, by_us
from tests.decode.udp import udp, vxlan
from tests.support.sweeps import examples


@settings(deadline=None, max_examples=examples(60))
@given(st.lists(nestings(), min_size=1, max_size=20))
def test_nestings(packets: list[tuple[int, bytes]]) -> None:
    """However headers are nested, the innermost TCP is found."""
    records = [Record(packet, link_type) for link_type, packet in packets]
    answer = decoded(records)
    assert payloads(records, answer) == [CONTENT] * len(records)
    assert set(answer[0]["length"].tolist()) == {len(CONTENT)}
    assert not answer[1]


@settings(deadline=None, max_examples=examples(60))
@given(st.lists(st.tuples(nestings(), st.integers(0, 90), st.lists(st.integers(0, 90 * 256 - 1), max_size=3)), max_size=12))
def test_broken_nestings(packets: list[tuple[tuple[int, bytes], int, list[int]]]) -> None:
    """Cut and changed anywhere: each packet is a row or counted (`decoded` checks)."""
    records: list[Record] = []
    for (link_type, whole), cut, changes in packets:
        data = bytearray(whole)
        for change in changes:
            data[(change >> 8) % len(data)] = change & 0xFF
        records.append(Record(bytes(data[: max(len(data) - cut, 0)]), link_type, len(whole)))
    decoded(records)


SEGMENT = TCP(sport=40_000, dport=80, seq=77, ack=5, flags="PA", window=900, options=[("MSS", 1400)]) / Raw(CONTENT)
INNER = {4: IP(**FOUR) / SEGMENT, 6: IPv6(**SIX) / SEGMENT}
OUTER = IP(src="192.0.2.9", dst="192.0.2.10")
AIR = {"addr1": "02:00:00:00:00:01", "addr2": "02:00:00:00:00:02", "addr3": "02:00:00:00:00:03"}
BUILT = {
    "MPLS": (1, lambda i: ETHERNET / MPLS(label=17, s=0) / MPLS(label=18, s=1) / i),
    "PPPoE": (1, lambda i: ETHERNET / PPPoE(sessionid=7) / PPP() / i),
    "PPP": (9, lambda i: HDLC() / PPP() / i),
    "GRE": (1, lambda i: ETHERNET / OUTER / GRE(key_present=1, seqnum_present=1, chksum_present=1, key=5) / i),
    "NVGRE": (1, lambda i: ETHERNET / OUTER / GRE(key_present=1, key=0x2A07, proto=0x6558) / ETHERNET / i),
    "ERSPAN II": (1, lambda i: ETHERNET / OUTER / GRE(seqnum_present=1, proto=0x88BE) / ERSPAN_II() / ETHERNET / i),
    "ERSPAN III": (1, lambda i: ETHERNET / OUTER / GRE(seqnum_present=1, proto=0x22EB) / ERSPAN_III() / ETHERNET / i),
    "VXLAN": (1, lambda i: ETHERNET / OUTER / UDP(sport=50_000) / VXLAN(vni=42) / ETHERNET / Dot1Q(vlan=5) / i),
    "GENEVE": (1, lambda i: ETHERNET / OUTER / UDP(sport=50_000, dport=6081) / GENEVE(vni=42) / ETHERNET / i),
    "GTP-U": (1, lambda i: ETHERNET / OUTER / UDP(sport=2152, dport=2152) / GTP_U_Header(teid=7) / i),
    "GTP-U of 5G": (
        1,
        lambda i: ETHERNET / OUTER / UDP(sport=2152, dport=2152) / GTP_U_Header(teid=7, E=1) / GTPPDUSessionContainer(QFI=9) / i,
    ),
    "IP in IP": (1, lambda i: ETHERNET / OUTER / i),
    "in IPv6": (1, lambda i: ETHERNET / IPv6(src="2001:db8::9", dst="2001:db8::a") / IPv6ExtHdrDestOpt() / i),
    "NSH": (1, lambda i: ETHERNET / NSH() / i),
    "802.11": (
        127,
        lambda i: RadioTap() / Dot11(type=2, subtype=8, FCfield=1, **AIR) / Dot11QoS() / LLC() / SNAP() / i,
    ),
}


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("way", BUILT)
def test_built_by_scapy(way: str, version: int) -> None:
    link_type, build = BUILT[way]
    inner = INNER[version]
    packet = build(inner.copy())
    if NSH in packet:
        packet[NSH].nextproto = 1 if version == 4 else 2
    records = [Record(bytes(packet), link_type)]
    answer = decoded(records)
    assert by_us(answer[0]) == [by_scapy(type(inner)(bytes(inner)))]
    assert payloads(records, answer) == [CONTENT]


def test_encapsulations_are_counted() -> None:
    """Each once for a packet, however often it is in it; not those of packets without TCP, nor VLAN tags."""
    twice = ipv4(udp(vxlan(ethernet(ipv4(udp(vxlan(ethernet(ipv4(tcp()))), udps.VXLAN), 17))), udps.VXLAN), 17)
    other = ipv4(udp(vxlan(ethernet(bytes(28), 0x0806)), udps.VXLAN), 17)
    packets = [
        (101, twice),
        (101, other),
        (101, twice[:-10]),
        *(WAYS[name] for name in ("a VLAN tag", "ERSPAN", "PPPoE", "TZSP")),
    ]
    _, _, state = decoded([Record(data, link_type) for link_type, data in packets])
    assert state.encapsulations == {"VXLAN": 1, "GRE": 1, "ERSPAN": 1, "PPPoE": 1, "PPP": 1, "TZSP": 1}
