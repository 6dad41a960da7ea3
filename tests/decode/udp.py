"""Tunnels in UDP, as their standards draw them."""

from __future__ import annotations

import struct

from tests.decode.packets import ethernet, ipv4, ipv6, tcp
from tests.decode.wifi import ARUBA

SEGMENT = tcp(b"hello", seq=123, ack=456, flags=0x19, window=789)
FOUR, SIX = ipv4(SEGMENT), ipv6(SEGMENT)
L2TP, GTP_U, TEREDO, GRE, VXLAN, VXLAN_GPE, AYIYA, GENEVE = 1701, 2152, 3544, 4754, 4789, 4790, 5072, 6081


def udp(payload: bytes, port: int, source: int = 50_000, size: int | None = None) -> bytes:
    return struct.pack(">HHHH", source, port, 8 + len(payload) if size is None else size, 0) + payload


def vxlan(inside: bytes, network: int = 42, flags: int = 0x08, protocol: int = 0) -> bytes:
    return bytes((flags, 0, 0, protocol)) + struct.pack(">I", network << 8) + inside


def geneve(inside: bytes, type_: int = 0x6558, options: bytes = b"", network: int = 42, version: int = 0) -> bytes:
    return struct.pack(">BBHI", version << 6 | len(options) // 4, 0, type_, network << 8) + options + inside


def gtp(inside: bytes, flags: int = 0x30, optional: bytes = b"", kind: int = 255, tunnel: int = 42) -> bytes:
    return struct.pack(">BBHI", flags, kind, len(optional) + len(inside), tunnel) + optional + inside


def ayiya(inside: bytes, protocol: int = 41, operation: int = 1) -> bytes:
    return bytes((0x41, 0x52, 0x10 | operation, protocol)) + bytes(4 + 16 + 20) + inside


def l2tp(inside: bytes, flags: int = 0x0002, rest: bytes = b"", session: int = 42) -> bytes:
    return struct.pack(">H", flags) + rest + struct.pack(">HH", 7, session) + inside


PPP = b"\xff\x03\0\x21" + FOUR
AUTHENTICATION, ORIGIN = b"\0\1\2\3" + bytes(5 + 9), b"\0\0" + bytes(6)
SESSION_CONTAINER = struct.pack(">HBB", 9, 0, 0x85) + b"\1\0\0\0"

INSIDE = {
    "VXLAN": (VXLAN, vxlan(ethernet(FOUR))),
    "VXLAN, IPv6 inside": (VXLAN, vxlan(ethernet(SIX, 0x86DD))),
    "VXLAN with a group policy": (VXLAN, vxlan(ethernet(FOUR), flags=0x88)),
    "VXLAN-GPE": (VXLAN_GPE, vxlan(FOUR, flags=0x0C, protocol=1)),
    "VXLAN-GPE, Ethernet": (VXLAN_GPE, vxlan(ethernet(FOUR), flags=0x0C, protocol=3)),
    "GENEVE": (GENEVE, geneve(ethernet(FOUR))),
    "GENEVE with options": (GENEVE, geneve(ethernet(FOUR), options=bytes(12))),
    "GENEVE, IP": (GENEVE, geneve(FOUR, 0x0800)),
    "GTP-U": (GTP_U, gtp(FOUR)),
    "GTP-U, IPv6 inside": (GTP_U, gtp(SIX)),
    "GTP-U with a sequence number": (GTP_U, gtp(FOUR, 0x32, bytes(4))),
    "GTP-U with an extension header": (GTP_U, gtp(FOUR, 0x34, SESSION_CONTAINER)),
    "Teredo, IPv6 inside": (TEREDO, SIX),
    "Teredo with an authentication and an origin, IPv6 inside": (TEREDO, AUTHENTICATION + ORIGIN + SIX),
    "GRE in UDP": (GRE, b"\x20\0\x08\0" + bytes(4) + FOUR),
    "AYIYA, IPv6 inside": (AYIYA, ayiya(SIX)),
    "L2TP": (L2TP, l2tp(PPP)),
    "L2TP with a length": (L2TP, l2tp(PPP, 0x4002, struct.pack(">H", 8 + len(PPP)))),
    "L2TP with a sequence": (L2TP, struct.pack(">HHHHH", 0x0802, 7, 42, 1, 2) + PPP),
    "L2TP with an offset": (L2TP, struct.pack(">HHHH", 0x0202, 7, 42, 4) + bytes(4) + PPP),
    "Aruba in VXLAN": (VXLAN, vxlan(ethernet(ARUBA))),
}

WAYS = {
    **{name: (101, ipv4(udp(inside, port), 17)) for name, (port, inside) in INSIDE.items()},
    "VXLAN in IPv6": (101, ipv6(udp(vxlan(ethernet(FOUR)), VXLAN), 17)),
    "GTP-U from its port": (101, ipv4(udp(gtp(FOUR), 50_000, source=GTP_U), 17)),
    "VXLAN in a VLAN": (1, ethernet(struct.pack(">HH", 5, 0x0800) + ipv4(udp(vxlan(ethernet(FOUR)), VXLAN), 17), 0x8100)),
    "Teredo in GTP-U, IPv6 inside": (101, ipv4(udp(gtp(ipv4(udp(SIX, TEREDO), 17)), GTP_U), 17)),
}

NO_TUNNEL = {
    "another port": (53, vxlan(ethernet(FOUR))),
    "VXLAN without the flag": (VXLAN, vxlan(ethernet(FOUR), flags=0)),
    "VXLAN-GPE without a protocol": (VXLAN_GPE, vxlan(FOUR, flags=0x0C, protocol=9)),
    "GENEVE of another version": (GENEVE, geneve(ethernet(FOUR), version=1)),
    "GENEVE, options cut": (GENEVE, b"\x3f" + bytes(40)),
    "GTP-U, echo": (GTP_U, gtp(b"", kind=1)),
    "GTP prime": (GTP_U, gtp(FOUR, 0x0E)),
    "GTP-U, extension header of no length": (GTP_U, gtp(FOUR, 0x34, struct.pack(">HBB", 9, 0, 0x85) + bytes(4))),
    "GTP-U, PPP": (GTP_U, gtp(PPP)),
    "GTP-U, no IP": (GTP_U, gtp(b"\x80" + FOUR)),
    "Teredo, no IPv6": (TEREDO, FOUR + bytes(20)),
    "Teredo, IPv6 cut": (TEREDO, SIX[:-1]),
    "GRE in UDP, version 1": (GRE, b"\x20\1\x08\0" + bytes(4) + FOUR),
    "AYIYA, heartbeat": (AYIYA, ayiya(b"", 59, 0)),
    "AYIYA, other protocol": (AYIYA, ayiya(SIX, 17)),
    "L2TP control": (L2TP, l2tp(PPP, 0xC802, bytes(2))),
    "L2TP version 3": (L2TP, l2tp(PPP, 0x0003)),
    "nothing": (VXLAN, b""),
}
