"""Every way to a TCP header, from headers written as the standards draw them."""

from __future__ import annotations

import struct

import pytest

from tests.decode import rare, udp, wifi
from tests.decode.decoding import decoded, payloads
from tests.decode.packets import (
    DESTINATION4,
    DESTINATION6,
    SOURCE4,
    SOURCE6,
    Record,
    ethernet,
    ipv4,
    ipv6,
    tcp,
    vlan,
)

SEGMENT = tcp(b"hello", seq=123, ack=456, flags=0x19, window=789)
FOUR, SIX = ipv4(SEGMENT), ipv6(SEGMENT)
LLC_SNAP = b"\xaa\xaa\x03\0\0\0"
SLL = struct.pack(">HHH", 0, 1, 6) + b"\1\2\3\4\5\6\0\0"
SLL2 = struct.pack(">HIHBB", 0, 3, 1, 0, 6) + b"\1\2\3\4\5\6\0\0"
EXTENSION = bytes((6, 0)) + bytes(6)
GRE_KEY = struct.pack(">HHI", 0x2000, 0x0800, 42)

WAYS = {
    "Ethernet, IPv4": (1, ethernet(FOUR)),
    "Ethernet, IPv6": (1, ethernet(SIX, 0x86DD)),
    "a VLAN tag": (1, ethernet(vlan(FOUR, 0x2005), 0x8100)),
    "two VLAN tags": (1, ethernet(vlan(vlan(SIX, 9, 0x86DD), 5, 0x8100), 0x88A8)),
    "three VLAN tags": (1, ethernet(vlan(vlan(vlan(FOUR, 9), 5, 0x8100), 5, 0x9100), 0x88A8)),
    "cooked": (113, SLL + b"\x08\0" + FOUR),
    "cooked, VLAN": (113, SLL + b"\x81\0" + vlan(FOUR, 4)),
    "cooked 2": (276, b"\x86\xdd" + SLL2 + SIX),
    "null, little-endian": (0, struct.pack("<I", 2) + FOUR),
    "null, big-endian": (0, struct.pack(">I", 2) + FOUR),
    "loop": (108, struct.pack(">I", 24) + SIX),
    **{f"null, AF_INET6 is {n}": (0, struct.pack("<I", n) + SIX) for n in (10, 23, 24, 28, 30)},
    **{f"raw {n}": (n, FOUR) for n in (12, 14, 101, 228)},
    "raw, IPv6": (101, SIX),
    "raw 229": (229, SIX),
    "IPv4 with options": (101, ipv4(SEGMENT, options=b"\x94\4\0\0")),
    "LLC and SNAP": (1, ethernet(LLC_SNAP + b"\x08\0" + FOUR, 8 + len(FOUR))),
    "PPPoE": (1, ethernet(struct.pack(">BBHHH", 0x11, 0, 3, len(SIX) + 2, 0x57) + SIX, 0x8864)),
    "MPLS": (1, ethernet(struct.pack(">II", 17 << 12, 18 << 12 | 0x100) + FOUR, 0x8847)),
    "MPLS, Ethernet": (1, ethernet(struct.pack(">II", 18 << 12 | 0x100, 0) + ethernet(FOUR), 0x8847)),
    "PPP": (9, b"\xff\x03\0\x21" + FOUR),
    "PPP, compressed": (9, b"\x21" + FOUR),
    "Cisco HDLC": (104, b"\x0f\0\x08\0" + FOUR),
    "frame relay": (107, b"\x18\x41\x03\xcc" + FOUR),
    "netfilter log": (239, b"\2\0\0\0" + struct.pack("<HHI", 8, 1, 0) + struct.pack("<HH", 4 + len(FOUR), 9) + FOUR),
    "packet filter log": (117, b"\x3d\x02" + bytes(62) + FOUR),
    "enc": (109, struct.pack("<III", 24, 0, 0) + SIX),
    "IP in IP": (101, ipv4(FOUR, 4)),
    "IPv6 in IPv4": (101, ipv4(SIX, 41)),
    "IPv4 in IPv6": (101, ipv6(FOUR, 4)),
    "GRE": (101, ipv4(GRE_KEY + FOUR, 47)),
    "GRE, Ethernet": (101, ipv6(b"\0\0\x65\x58" + ethernet(FOUR), 47)),
    "ERSPAN": (101, ipv4(struct.pack(">HHI", 0x1000, 0x88BE, 1) + b"\x10" + bytes(7) + ethernet(SIX, 0x86DD), 47)),
    "AH": (101, ipv4(bytes((6, 4)) + bytes(22) + SEGMENT, 51)),
    "hop-by-hop options": (101, ipv6(EXTENSION + SEGMENT, 0)),
    "destination options, routing": (101, ipv6(bytes((43, 1)) + bytes(14) + EXTENSION + SEGMENT, 60)),
    "atomic fragment": (101, ipv6(EXTENSION + SEGMENT, 44)),
    "E-tag": (1, ethernet(bytes(6) + b"\x08\0" + FOUR, 0x893F)),
    "backbone service tag": (1, ethernet(bytes(4) + ethernet(FOUR), 0x88E7)),
    "ARCnet, RFC 1051": (129, b"\1\2\0\0\xf0" + FOUR),
    "ARCnet, RFC 1201": (129, b"\1\2\0\0\xd4\0\0\1" + FOUR),
    "ARCnet, IPv6": (129, b"\1\2\0\0\xc4\0\0\1" + SIX),
    "IP over InfiniBand": (242, bytes(40) + b"\x08\0\0\0" + FOUR),
    **wifi.WAYS,
    **udp.WAYS,
    **rare.WAYS,
    **rare.OURS,
}


@pytest.mark.parametrize("way", WAYS)
def test_way(way: str) -> None:
    link_type, packet = WAYS[way]
    records = [Record(packet + b"padding", link_type)]
    answer = decoded(records)
    rows, oddities, state = answer
    assert payloads(records, answer) == [b"hello"]
    row = {name: column[0].item() for name, column in rows.items()}
    six = bytes(packet).count(SOURCE6) > 0 and packet.find(SEGMENT) - packet.rfind(SOURCE6) < 70 and not packet.count(SOURCE4)
    six |= way in ("IPv6 in IPv4", "ERSPAN") or way.endswith("IPv6 inside")
    source = int.from_bytes(SOURCE6 if six else SOURCE4)
    destination = int.from_bytes(DESTINATION6 if six else DESTINATION4)
    assert (row["source_high"] << 64) + row["source_low"] == source
    assert (row["destination_high"] << 64) + row["destination_low"] == destination
    assert (row["ip_version"], row["ip_id"], row["ttl"]) == (6 if six else 4, -1 if six else 7, 64)
    assert (row["source_port"], row["destination_port"]) == (40_000, 80)
    assert (row["seq"], row["ack"], row["flags"], row["window"]) == (123, 456, 0x19, 789)
    assert (row["length"], row["captured"], row["quoted"]) == (5, 5, False)
    assert not oddities
    assert not state.not_analysed


REASONS = {
    "UDP": (101, ipv4(bytes(8), 17)),
    "ICMP": (101, ipv4(bytes(8), 1)),
    "ICMPv6": (101, ipv6(b"\x80" + bytes(7), 58)),
    "ARP": (1, ethernet(bytes(28), 0x0806)),
    "EtherType 0x1234": (1, ethernet(bytes(28), 0x1234)),
    "IP protocol 200": (101, ipv4(bytes(8), 200)),
    "IPv6 without TCP": (101, ipv6(b"", 59)),
    "LLC": (1, ethernet(b"\x42\x42\x03" + bytes(40), 43)),
    "link type 227 (CAN)": (227, bytes(60)),
    "link type 9999": (9999, bytes(60)),
    "record without a packet": (-1, b""),
    "link header cut short": (1, bytes(13)),
    "IP header cut short": (1, ethernet(FOUR[:19])),
    "IP header not valid": (1, ethernet(b"\x44" + FOUR[1:])),
    "TCP header cut short": (1, ethernet(ipv4(SEGMENT[:15]))),
    "not IP": (0, struct.pack("<I", 7) + bytes(40)),
    "ARCnet": (129, b"\1\2\0\0\xdd" + bytes(40)),
    **wifi.REASONS,
    **rare.REASONS,
    "too many nested headers": (101, ipv4(b"", 4)[:20] * 70),
}


@pytest.mark.parametrize("reason", REASONS)
def test_reason(reason: str) -> None:
    """A packet without a row is counted, once, under a reason that says why."""
    link_type, packet = REASONS[reason]
    if reason.startswith("too many"):
        packet = b"".join(ipv4(bytes(20 * (70 - i)), 4)[:20] for i in range(70))
    rows, _, state = decoded([Record(packet, link_type), Record(FOUR, 101)])
    assert rows["frame"].tolist() == [2]
    assert dict(state.not_analysed) == {reason: 1}


def test_source_routes_in_each_other() -> None:
    """Each makes a copy of the packet: there may be only so many."""
    route = b"\x83\x07\x04\x0a\0\0\x09\0"
    packet = b"".join(ipv4(bytes(28 * (70 - i)), 4, options=route)[:28] for i in range(70))
    assert decoded([Record(packet, 101)])[2].not_analysed == {"too many nested headers": 1}


def test_extension_headers_are_not_counted() -> None:
    rows, _, _ = decoded([Record(ipv6(bytes((44, 0, 0, 0, 0, 0, 0, 1)) * 100 + EXTENSION + SEGMENT, 44), 101)])
    assert rows["length"].tolist() == [5]


def test_lengths() -> None:
    """By the IP length, not by the padding; without one (offload) by the record; never beyond the record."""
    full = tcp(b"0123456789")
    records = [
        Record(ethernet(ipv4(tcp()) + bytes(6))),  # padded to the least Ethernet frame
        Record(ethernet(ipv4(full, total=0))),
        Record(ethernet(ipv4(full, total=0)), length=500),
        Record(ethernet(ipv4(full, total=1_000))),
        Record(ethernet(ipv4(full)[:45]), length=64),  # snapped
        Record(ethernet(ipv4(full, total=44))),
        Record(ethernet(ipv6(full, size=24), 0x86DD)),
        Record(ethernet(ipv6(full)[:60], 0x86DD), length=84),
    ]
    rows, _, _ = decoded(records)
    assert rows["length"].tolist() == [0, 10, 446, 10, 10, 4, 4, 10]
    assert rows["captured"].tolist() == [0, 10, 10, 10, 5, 4, 4, 0]


@pytest.mark.parametrize("offset", [0, 4, 9, 15])
def test_impossible_data_offset(offset: int) -> None:
    """Wireshark gives it a stream; there is no telling where its payload begins."""
    rows, oddities, _ = decoded([Record(ipv4(tcp(b"abc", offset=offset)), 101)])
    assert (rows["length"].tolist(), rows["captured"].tolist(), rows["options_hash"].tolist()) == ([0], [0], [0])
    assert [(f, layer) for f, layer, _ in oddities] == [(1, "tcp")]
    assert f"{offset * 4} bytes" in oddities[0][2]


@pytest.mark.parametrize("size", range(12, 40))
def test_cut_headers(size: int) -> None:
    """As in Wireshark: 16 bytes of a TCP header make a row, and options may be missing. What is missing is not taken for what is
    not there, and data behind a header so long has time stamps."""
    packet = ipv4(tcp(b"payload", options=b"\2\4\5\xb4" + b"\1\1\x08\x0a" + bytes(8)))
    rows, oddities, state = decoded([Record(packet[: 20 + size], 101, len(packet))])
    if size < 16:
        assert dict(state.not_analysed) == {"TCP header cut short": 1}
        return
    assert (rows["length"].tolist(), rows["captured"].tolist()) == ([7], [max(size - 36, 0)])
    assert rows["mss"].tolist() == [1460 if size >= 24 else -2]
    assert rows["window_shift"].tolist() == [-1 if size >= 36 else -2]
    assert rows["has_timestamps"].tolist() == [True]
    assert not oddities


def test_hashes_tell_ways_apart() -> None:
    """The same packet on other MAC addresses, in other VLANs, in a tunnel; the priority of a tag does not count."""
    other = b"\xff" * 12 + ethernet(FOUR)[12:]
    packets = [ethernet(FOUR), other, ethernet(vlan(FOUR, 5), 0x8100), ethernet(vlan(FOUR, 6), 0x8100), ethernet(ipv4(FOUR, 4))]
    rows, _, _ = decoded([Record(p) for p in [*packets, ethernet(vlan(FOUR, 0xE005), 0x8100)]])
    link, way = rows["link_hash"].tolist(), rows["encapsulation"].tolist()
    assert len({link[0], link[1]}) == 2
    assert link[0] == link[2] == link[3]
    assert way[0] == way[1] == 0
    assert len(set(way[1:5])) == 4
    assert way[5] == way[2]
    raw, _, _ = decoded([Record(FOUR, 101)])
    assert raw["link_hash"].tolist() == [0]


def test_source_route_ends_at_its_last_address() -> None:
    """RFC 791 section 3.1: the header has the next stop, the option the host that is meant."""
    route = b"\x83\x0b\x04" + bytes((1, 1, 1, 1)) + bytes((10, 0, 0, 9))
    rows, _, _ = decoded([Record(ipv4(SEGMENT, options=b"\1" + route), 101)])
    assert rows["destination_low"].tolist() == [0x0A000009]


QUOTES = [(1, t, 101, ipv4) for t in (3, 4, 11, 12)] + [(58, t, 101, ipv6) for t in (1, 2, 3, 4)]


@pytest.mark.parametrize(("protocol", "kind", "link_type", "inner"), QUOTES)
@pytest.mark.parametrize("size", [7, 8, 15, 16, 20, 40])
def test_quoted_in_icmp_errors(protocol: int, kind: int, link_type: int, inner: object, size: int) -> None:
    """With 16 bytes of the quoted segment Wireshark gives it a stream; 8 are enough to find its connection."""
    segment = tcp(b"x" * 20)
    quoted = inner(segment)  # type: ignore[operator]
    error = bytes((kind, 1)) + bytes(6) + quoted[: len(quoted) - 40 + size]
    rows, oddities, state = decoded([Record(ipv4(error, 1) if protocol == 1 else ipv6(error, 58), link_type)])
    assert rows["quoted"].tolist() == [True] * (size >= 16)
    assert sum(state.not_analysed.values()) == (size < 8)
    assert not oddities


def test_redirects_are_no_errors() -> None:
    rows, _, state = decoded([Record(ipv4(b"\5\1" + bytes(6) + FOUR, 1), 101), Record(ipv6(b"\x89" + bytes(7) + SIX, 58), 101)])
    assert len(rows["frame"]) == 0
    assert dict(state.not_analysed) == {"ICMP": 1, "ICMPv6": 1}


UDP_TO_VXLAN = struct.pack(">HHHH", 5000, 4789, 16, 0)
ROUTING, FRAGMENT = bytes((6, 0)) + bytes(6), bytes((6, 0, 0, 1)) + bytes(4)

CUT_HEADERS = {
    "PPPoE": (1, ethernet(b"", 0x8864), struct.pack(">BBHHH", 0x11, 0, 3, 2, 0x57)[:6], "link header cut short"),
    "MPLS": (1, ethernet(b"", 0x8847), struct.pack(">I", 0x100), "link header cut short"),
    "third tag": (1, ethernet(vlan(vlan(b"", 1, 0x8100), 2, 0x8100), 0x8100), vlan(b"", 3), "link header cut short"),
    "GRE": (101, ipv4(b"", 47, total=100), b"\0\0\x08\0", "IP header cut short"),
    "UDP": (101, ipv4(b"", 17, total=100), UDP_TO_VXLAN, "UDP"),
    "AH": (101, ipv4(b"", 51, total=100), bytes((6, 1)) + bytes(10), "IP header cut short"),
    "routing": (101, ipv6(b"", 43, size=80), ROUTING, "IP header cut short"),
    "fragment": (101, ipv6(b"", 44, size=80), FRAGMENT, "IP header cut short"),
}


@pytest.mark.parametrize("name", CUT_HEADERS)
def test_cut_in_the_middle(name: str) -> None:
    link_type, front, header, reason = CUT_HEADERS[name]
    records = [Record(front + header[:size], link_type, 200) for size in range(len(header))]
    rows, oddities, state = decoded(records)
    assert len(rows["frame"]) == len(oddities) == 0
    assert dict(state.not_analysed) == {reason: len(header)}
