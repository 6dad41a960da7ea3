"""Headers that only some networks have, as their standards draw them."""

from __future__ import annotations

import struct

from tests.decode.packets import MAC, ethernet, ipv4, ipv6, tcp, vlan
from tests.decode.udp import l2tp, udp, vxlan
from tests.decode.wifi import frame

SEGMENT = tcp(b"hello", seq=123, ack=456, flags=0x19, window=789)
FOUR = ipv4(SEGMENT)
IP = b"\x08\0"
SNAP = b"\xaa\xaa\x03\0\0\0" + IP + FOUR
LABEL = struct.pack(">I", 18 << 12 | 0x1FF)
VENDOR_MAC = bytes((0, 0x50, 0x56, 1, 2, 3, 0, 0x50, 0x56, 4, 5, 6))


def service(inside: bytes, protocol: int = 1) -> bytes:
    """RFC 8300, with metadata of the fixed length."""
    return struct.pack(">HBBI", 0x0FC6, 1, protocol, 42 << 8 | 255) + bytes(16) + inside


def macsec(inside: bytes, flags: int = 0) -> bytes:
    """IEEE 802.1AE: flags and association, short length, packet number, perhaps an SCI; a check value at the end."""
    return bytes((flags, 0)) + bytes(4) + bytes(8 if flags & 0x20 else 0) + inside + bytes(16)


def tzsp(inside: bytes, protocol: int = 1, fields: bytes = b"\x0a\1\xc4\0\0") -> bytes:
    return struct.pack(">BBH", 1, 0, protocol) + fields + b"\1" + inside


def capwap(inside: bytes, flags: int = 0, words: int = 2) -> bytes:
    return (words << 19 | 1 << 9 | flags).to_bytes(4) + bytes(words * 4 - 4) + inside


def erf(inside: bytes, kind: int, extensions: bytes = b"") -> bytes:
    """An Extensible Record Format record: time, type, flags, its length, lost packets, length on the wire."""
    return (
        bytes(8)
        + bytes((kind, 4))
        + struct.pack(">HHH", 16 + len(extensions) + len(inside), 0, len(inside))
        + extensions
        + inside
    )


def gre(inside: bytes, flags: int, fields: bytes, type_: int = 0x0800) -> bytes:
    return struct.pack(">HH", flags, type_) + fields + inside


def swapped(data: bytes) -> bytes:
    return data[1::-1] + data[2:]


ROUTE = struct.pack(">HBB", 0x0800, 0, 4) + bytes(4) + bytes(4)
"""RFC 1701: a source route, and the empty one at the end."""

ERSPAN2 = struct.pack(">HHI", 0x1005, 0x0007, 0)
ERSPAN3 = b"\x20\5\0\7" + bytes(8)
PPP = b"\xff\x03\0\x21" + FOUR

WAYS = {
    "GRE, checksum, key and sequence": (101, ipv4(gre(FOUR, 0xB000, bytes(4) + bytes(8)), 47)),
    "GRE, source route": (101, ipv4(gre(FOUR, 0x4000, bytes(4) + ROUTE), 47)),
    "GRE, NVGRE": (101, ipv4(gre(ethernet(FOUR), 0x2000, b"\0\0\x2a\7", 0x6558), 47)),
    "GRE, PPTP": (101, ipv4(gre(PPP, 0x3081, struct.pack(">HHII", len(PPP), 7, 1, 2), 0x880B), 47)),
    "ERSPAN I": (101, ipv4(gre(ethernet(FOUR), 0, b"", 0x88BE), 47)),
    "ERSPAN II, a VLAN in it": (101, ipv4(gre(ERSPAN2 + ethernet(vlan(FOUR, 5), 0x8100), 0x1000, bytes(4), 0x88BE), 47)),
    "ERSPAN III": (101, ipv4(gre(ERSPAN3 + ethernet(FOUR), 0x1000, bytes(4), 0x22EB), 47)),
    "ERSPAN III, sub-header": (
        101,
        ipv4(gre(b"\x20\5\0\7" + bytes(7) + b"\1" + bytes(8) + ethernet(FOUR), 0x1000, bytes(4), 0x22EB), 47),
    ),
    "WCCP": (101, ipv4(gre(FOUR, 0, b"", 0x883E), 47)),
    "WCCP 2": (101, ipv4(gre(bytes(4) + FOUR, 0, b"", 0x883E), 47)),
    "Ethernet in IP": (101, ipv4(b"\x30\0" + ethernet(FOUR), 97)),
    "MPLS in IP": (101, ipv4(LABEL + FOUR, 137)),
    "MPLS in UDP": (101, ipv4(udp(LABEL + FOUR, 6635), 17)),
    "MPLS, pseudowire with control word": (1, ethernet(LABEL + bytes(4) + VENDOR_MAC + IP + FOUR, 0x8847)),
    "Ethernet as an IP protocol": (101, ipv6(ethernet(FOUR), 143)),
    "NSH": (1, ethernet(service(FOUR), 0x894F)),
    "NSH in VXLAN-GPE, Ethernet": (101, ipv4(udp(vxlan(service(ethernet(FOUR), 3), flags=0x0C, protocol=4), 4790), 17)),
    "MACsec without encryption": (1, ethernet(macsec(IP + FOUR), 0x88E5)),
    "MACsec with an SCI": (1, ethernet(macsec(IP + FOUR, 0x20), 0x88E5)),
    "VN-tag": (1, ethernet(bytes(4) + IP + FOUR, 0x8926)),
    "HSR": (1, ethernet(struct.pack(">HH", 6 + len(FOUR), 1) + IP + FOUR, 0x892F)),
    "R-tag": (1, ethernet(bytes(4) + IP + FOUR, 0xF1C1)),
    "Cisco metadata": (1, ethernet(b"\1\1\0\1\0\7" + IP + FOUR, 0x8909)),
    "TRILL": (1, ethernet(b"\0\1\0\2\0\3" + ethernet(FOUR), 0x22F3)),
    "LISP": (101, ipv4(udp(bytes(8) + FOUR, 4341), 17)),
    "TZSP": (101, ipv4(udp(tzsp(ethernet(FOUR)), 37008), 17)),
    "TZSP, 802.11": (101, ipv4(udp(tzsp(frame(), 18), 37008), 17)),
    "CAPWAP, Ethernet": (101, ipv4(udp(capwap(ethernet(FOUR)), 5247), 17)),
    "CAPWAP, 802.11 with swapped bytes": (101, ipv4(udp(capwap(swapped(frame()), 0x100), 5247), 17)),
    "PPP, multilink in one piece": (9, b"\xff\x03\0\x3d" + b"\xc0\0\0\1" + b"\0\x21" + FOUR),
    "PPP with a direction": (204, b"\1" + PPP),
    "Token Ring": (6, b"\x10\x40" + MAC + SNAP),
    "Token Ring with a route": (6, b"\x10\x40" + MAC[:6] + b"\x80" + MAC[7:] + b"\x06\x30\0\1\0\2" + SNAP),
    "FDDI": (10, b"\x50" + MAC + SNAP),
    "ATM": (100, SNAP),
    "classical IP over ATM": (106, FOUR),
    "IP over Fibre Channel": (122, bytes(16) + SNAP),
    "IP over FireWire": (138, bytes(range(16)) + IP + FOUR),
    "Solaris IPNET": (226, struct.pack(">BBHI", 1, 2, 0, len(FOUR)) + bytes(16) + FOUR),
    "Juniper": (178, b"MGC\1" + ethernet(FOUR)),
    "Juniper with extensions": (178, b"MGC\x81\0\6\2\1\1\1\1\1" + ethernet(FOUR)),
    "ERF, Ethernet": (197, erf(bytes(2) + ethernet(FOUR), 2)),
    "ERF, Ethernet with extension headers": (
        197,
        erf(bytes(2) + ethernet(FOUR), 0x80 | 11, b"\x85" + bytes(7) + b"\5" + bytes(7)),
    ),
    "ERF, PPP": (197, erf(PPP, 1)),
    "ERF, Cisco HDLC": (197, erf(b"\x0f\0\x08\0" + FOUR, 1)),
    "ERF, IPv4": (197, erf(FOUR, 22)),
    "PKTAP": (258, struct.pack("<III", 108, 1, 1) + bytes(96) + ethernet(FOUR)),
    "L2TP, multilink": (101, ipv4(udp(l2tp(b"\0\x3d\xc0\0\0\1\0\x21" + FOUR), 1701), 17)),
}

OURS = {
    "VXLAN on Linux' port": (101, ipv4(udp(vxlan(ethernet(FOUR)), 8472), 17)),
    "MPLS, pseudowire without control word": (1, ethernet(LABEL + VENDOR_MAC + IP + FOUR, 0x8847)),
    "PPP of pppd": (166, b"\1\x03\0\x21" + FOUR),
    "Cisco HDLC with a direction": (205, b"\1\x0f\0\x08\0" + FOUR),
    "frame relay with a direction": (206, b"\1\x18\x41\x03\xcc" + FOUR),
    "old packet filter log": (17, struct.pack(">I", 2) + bytes(24) + FOUR),
    "netANALYZER": (240, struct.pack("<I", 4 << 22 | 1 << 18 | 14 + len(FOUR) + 4) + ethernet(FOUR) + bytes(4)),
    "LLC over ATM": (106, SNAP),
    "CAPWAP, 802.11": (101, ipv4(udp(capwap(frame(), 0x100), 5247), 17)),
}
"""Ways that Wireshark 4.0 knows not, or only with another setting."""

REASONS = {
    "MACsec (encrypted)": (1, ethernet(macsec(IP + FOUR, 0x2C), 0x88E5)),
    "NSH without IP": (1, ethernet(service(bytes(20), 9), 0x894F)),
    "PPP in fragments": (9, b"\xff\x03\0\x3d" + b"\x80\0\0\1" + b"\0\x21" + FOUR),
    "Token Ring without data": (6, b"\x10\0" + MAC + bytes(30)),
    "FDDI without data": (10, b"\x41" + MAC + bytes(30)),
    "Juniper without a frame": (178, b"MGC\3" + bytes(60)),
    "ERF without a frame": (197, erf(bytes(40), 27)),
    "GRE": (101, ipv4(gre(b"", 0x2081, struct.pack(">HHI", 0, 7, 2), 0x880B), 47)),
    "link type 189 (USB)": (189, bytes(64)),
    "link type 201 (Bluetooth)": (201, bytes(20)),
}
