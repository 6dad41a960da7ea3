"""Encapsulate the packets of an Ethernet capture, by the standards of the encapsulations."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

MAC = bytes(range(2, 14))
ETHERNET, RADIOTAP, PFLOG, NFLOG, PPP = 1, 127, 117, 239, 9
FRAME_HEADER = 14


def ethernet(payload: bytes, type_: int = 0x0800) -> bytes:
    """IEEE 802.3."""
    return MAC + struct.pack(">H", type_) + payload


def ipv4(payload: bytes, protocol: int) -> bytes:
    """RFC 791; behind Ethernet."""
    fixed = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(payload), 0, 0x4000, 64, protocol, 0, b"\x0a\0\0\1", b"\x0a\0\0\2")
    return ethernet(fixed + payload)


def ipv6(payload: bytes, next_header: int) -> bytes:
    """RFC 8200; behind Ethernet."""
    return ethernet(struct.pack(">IHBB32s", 6 << 28, len(payload), next_header, 64, bytes(range(32))) + payload, 0x86DD)


def udp(payload: bytes, port: int) -> bytes:
    """RFC 768, in IPv4."""
    return ipv4(struct.pack(">HHHH", 50_000, port, 8 + len(payload), 0) + payload, 17)


def _ip(frame: bytes) -> bytes:
    """The IP packet in a frame, which ends by its own length."""
    (total,) = struct.unpack_from(">H", frame, FRAME_HEADER + 2)
    return frame[FRAME_HEADER : FRAME_HEADER + total]


def _vxlan(frame: bytes) -> bytes:
    """RFC 7348."""
    return udp(b"\x08\0\0\0\0\0\x2a\0" + frame, 4789)


def _gtp(frame: bytes) -> bytes:
    """3GPP TS 29.281, with the extension header that 5G has in every packet."""
    inside = b"\0\0\0\x85" + b"\1\0\1\0" + _ip(frame)
    return udp(struct.pack(">BBHI", 0x34, 255, len(inside), 42) + inside, 2152)


def _wifi(frame: bytes) -> bytes:
    """A data frame with quality of service, behind a radiotap header of the usual size."""
    radiotap = struct.pack("<BBHI", 0, 0, 24, 0x0000482F) + bytes(16)
    return radiotap + b"\x88\x01\0\0" + MAC + b"\x22" * 6 + b"\x10\0\0\0" + b"\xaa\xaa\x03\0\0\0" + frame[12:]


def _pppoe(frame: bytes) -> bytes:
    inside = b"\0\x21" + _ip(frame)
    return ethernet(struct.pack(">BBHH", 0x11, 0, 3, len(inside)) + inside, 0x8864)


def _nflog(frame: bytes) -> bytes:
    inside = _ip(frame)
    return b"\2\0\0\0" + struct.pack("<HHI", 8, 1, 0) + struct.pack("<HH", 4 + len(inside), 9) + inside


WAYS: dict[str, tuple[int, Callable[[bytes], bytes]]] = {
    "two VLAN tags": (ETHERNET, lambda f: f[:12] + b"\x88\xa8\0\5\x81\0\0\6" + f[12:]),
    "three VLAN tags": (ETHERNET, lambda f: f[:12] + b"\x88\xa8\0\5\x81\0\0\6\x81\0\0\7" + f[12:]),
    "LLC and SNAP": (ETHERNET, lambda f: f[:12] + struct.pack(">H", len(f) - 6) + b"\xaa\xaa\x03\0\0\0" + f[12:]),
    "PPPoE": (ETHERNET, _pppoe),
    "PPP": (PPP, lambda f: b"\xff\x03\0\x21" + _ip(f)),
    "MPLS, two labels": (ETHERNET, lambda f: ethernet(struct.pack(">II", 17 << 12, 18 << 12 | 0x100) + _ip(f), 0x8847)),
    "MPLS, pseudowire": (ETHERNET, lambda f: ethernet(struct.pack(">II", 18 << 12 | 0x100, 0) + f, 0x8847)),
    "GRE": (ETHERNET, lambda f: ipv4(b"\0\0\x08\0" + _ip(f), 47)),
    "GRE, all flags": (ETHERNET, lambda f: ipv4(b"\xb0\0\x08\0" + bytes(12) + _ip(f), 47)),
    "NVGRE": (ETHERNET, lambda f: ipv4(b"\x20\0\x65\x58\0\0\x2a\7" + f, 47)),
    "ERSPAN II": (ETHERNET, lambda f: ipv4(b"\x10\0\x88\xbe\0\0\0\1\x10\0\0\1\0\0\0\0" + f, 47)),
    "ERSPAN III": (ETHERNET, lambda f: ipv4(b"\x10\0\x22\xeb\0\0\0\1\x20\0\0\1\0\0\0\0\0\0\0\0" + f, 47)),
    "VXLAN": (ETHERNET, _vxlan),
    "GENEVE": (ETHERNET, lambda f: udp(b"\2\0\x65\x58\0\0\x2a\0" + bytes(8) + f, 6081)),
    "GTP-U": (ETHERNET, _gtp),
    "L2TP": (ETHERNET, lambda f: udp(b"\0\2\0\7\0\x2a\xff\x03\0\x21" + _ip(f), 1701)),
    "IP in IP": (ETHERNET, lambda f: ipv4(_ip(f), 4)),
    "IPv4 in IPv6, options": (ETHERNET, lambda f: ipv6(b"\4\0\1\4\0\0\0\0" + _ip(f), 60)),
    "6in4, and IPv4 in it": (ETHERNET, lambda f: ipv4(ipv6(_ip(f), 4)[FRAME_HEADER:], 41)),
    "VXLAN in VXLAN in MPLS": (ETHERNET, lambda f: ethernet(struct.pack(">I", 0x12100) + _vxlan(_vxlan(f))[14:], 0x8847)),
    "radiotap, 802.11": (RADIOTAP, _wifi),
    "pflog": (PFLOG, lambda f: b"\x3d\2" + bytes(62) + _ip(f)),
    "nflog": (NFLOG, _nflog),
}


def wrap(source: Path, target: Path, count: int, way: str | None) -> None:
    """Copies the first packets of a pcap of Ethernet (little-endian, as recorded here) into an encapsulation, or as they are."""
    link_type, front = WAYS[way] if way else (ETHERNET, bytes)
    with source.open("rb") as incoming, target.open("wb") as outgoing:
        header = incoming.read(24)
        outgoing.write(header[:16] + struct.pack("<II", 262_144, link_type))
        for _ in range(count):
            record = incoming.read(16)
            if len(record) < 16:
                return
            seconds, fraction, captured, length = struct.unpack("<IIII", record)
            packet = front(incoming.read(captured))
            outgoing.write(struct.pack("<IIII", seconds, fraction, len(packet), len(packet) + length - captured) + packet)
