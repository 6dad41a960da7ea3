"""Tunnels in UDP, one packet at a time. Only a valid header of the tunnel whose port it is leads on: all else is UDP."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wiredoctor.decode.general_dpkt import udp_header
from wiredoctor.decode.general_ethernet import ether_type, ethernet, mpls, ppp
from wiredoctor.decode.general_gre import gre
from wiredoctor.decode.general_network import ipv4, ipv6
from wiredoctor.decode.general_tags import SERVICE_PROTOCOLS
from wiredoctor.decode.general_wifi import swapped_wifi, wifi
from wiredoctor.decode.protocol_numbers import (
    AYIYA,
    CAPWAP,
    GENEVE,
    GRE_IN_UDP,
    GTP_U,
    L2TP,
    LINUX_VXLAN,
    LISP,
    MPLS_IN_UDP,
    TEREDO,
    TZSP,
    UDP,
    UDP_HEADER,
    VXLAN,
    VXLAN_GPE,
)
from wiredoctor.decode.reasons import protocol_reason

if TYPE_CHECKING:
    from wiredoctor.decode.packet import Packet, Step

_NOT_A_TUNNEL = protocol_reason(UDP)

_BRIDGED = b"\x65\x58"
_GTP_PACKET = 255
_GRE_FLAGS = 0xB000
_L2TP_CONTROL, _L2TP_LENGTH, _L2TP_SEQUENCE, _L2TP_OFFSET, _L2TP_VERSION = 0x8000, 0x4000, 0x0800, 0x0200, 0x000F
_L2TP_RESERVED = 0x34F0


def udp(packet: Packet) -> Step | str:
    """RFC 768. The lower port is asked first, as in Wireshark."""
    header = udp_header(packet)
    if header is None:
        return _NOT_A_TUNNEL
    *ports, size = header
    inside = _TUNNELS.get(min(ports)) or _TUNNELS.get(max(ports))
    if inside is None or size < UDP_HEADER:
        return _NOT_A_TUNNEL
    packet.restrict(size - UDP_HEADER)
    return inside


def vxlan(packet: Packet) -> Step | str:
    """RFC 7348."""
    head = packet.peek(8)
    if len(head) < 8 or not head[0] & 0x08:
        return _NOT_A_TUNNEL
    packet.passed(int.from_bytes(head[4:7]))
    packet.at += 8
    packet.mirrored = True
    return ethernet


def vxlan_gpe(packet: Packet) -> Step | str:
    """draft-ietf-nvo3-vxlan-gpe: VXLAN with a protocol number."""
    head = packet.peek(8)
    inside = _GPE_PROTOCOLS.get(head[3]) if len(head) == 8 and head[0] & 0x0C == 0x0C else None
    if inside is None:
        return _NOT_A_TUNNEL
    packet.passed(int.from_bytes(head[4:7]))
    packet.at += 8
    packet.mirrored |= inside is ethernet
    return inside


def geneve(packet: Packet) -> Step | str:
    """RFC 8926."""
    head = packet.peek(8)
    if len(head) < 8 or head[0] >> 6:
        return _NOT_A_TUNNEL
    size = 8 + (head[0] & 0x3F) * 4
    if not packet.has(size):
        return _NOT_A_TUNNEL
    packet.passed(int.from_bytes(head[4:7]))
    packet.at += size
    packet.mirrored |= head[2:4] == _BRIDGED
    return ether_type(int.from_bytes(head[2:4]))


def gtp(packet: Packet) -> Step | str:
    """3GPP TS 29.281 section 5: user packets, the tunnel's own messages not."""
    head = packet.peek(12)
    if len(head) < 8 or head[0] >> 4 != 3 or head[1] != _GTP_PACKET:
        return _NOT_A_TUNNEL
    optional = head[0] & 0x07
    if optional and len(head) < 12:
        return _NOT_A_TUNNEL
    packet.passed(int.from_bytes(head[4:8]))
    packet.at += 8
    size = int.from_bytes(head[2:4])
    if size:  # 0: segmentation offload
        packet.restrict(size)
    packet.at += 4 if optional else 0
    following = head[11] if head[0] & 0x04 else 0
    while following:
        size = 4 * int.from_bytes(packet.peek(1))
        if not size or not packet.has(size):
            return _NOT_A_TUNNEL
        following = packet.take(size)[-1]
    version = packet.peek(1)[:1].hex()[:1]
    return ipv4 if version == "4" else ipv6 if version == "6" else _NOT_A_TUNNEL


def teredo(packet: Packet) -> Step | str:
    """RFC 4380 section 5.1.1: an authentication and an origin may stand in front of the IPv6 header."""
    head = packet.peek(4)
    if head[:2] == b"\0\1" and len(head) == 4:
        packet.at += 13 + head[2] + head[3]
        head = packet.peek(4)
    if head[:2] == b"\0\0":
        packet.at += 8
    head = packet.peek(40)
    if len(head) < 40 or head[0] >> 4 != 6 or int.from_bytes(head[4:6]) > packet.limit - packet.at - 40:
        return _NOT_A_TUNNEL
    return ipv6


def _gre_in_udp(packet: Packet) -> Step | str:
    """RFC 8086: version 0, with no more than checksum, key and sequence number."""
    flags = packet.peek(2)
    return gre if len(flags) == 2 and not int.from_bytes(flags) & ~_GRE_FLAGS else _NOT_A_TUNNEL


def ayiya(packet: Packet) -> Step | str:
    """draft-massar-v6ops-ayiya-02: identity and signature have the lengths that the first bytes say."""
    head = packet.peek(8)
    if len(head) < 8 or head[2] & 0x0F != 1:  # forward
        return _NOT_A_TUNNEL
    inside = _AYIYA_PROTOCOLS.get(head[3])
    size = 8 + (1 << (head[0] >> 4)) + 4 * (head[1] >> 4)
    if inside is None or not packet.has(size):
        return _NOT_A_TUNNEL
    packet.at += size
    return inside


def l2tp(packet: Packet) -> Step | str:
    """RFC 2661 section 3.1: data messages, which carry PPP."""
    flags = int.from_bytes(packet.peek(2))
    if flags & _L2TP_VERSION != 2 or flags & (_L2TP_CONTROL | _L2TP_RESERVED):
        return _NOT_A_TUNNEL
    size = 6 + 2 * bool(flags & _L2TP_LENGTH) + 4 * bool(flags & _L2TP_SEQUENCE)
    head = packet.peek(size + 2)
    if len(head) < size + 2 * bool(flags & _L2TP_OFFSET):
        return _NOT_A_TUNNEL
    at = 2
    if flags & _L2TP_LENGTH:
        packet.restrict(int.from_bytes(head[2:4]))
        at = 4
    packet.passed(int.from_bytes(head[at : at + 4]))
    packet.at += size
    if flags & _L2TP_OFFSET:
        packet.at += 2 + int.from_bytes(head[size : size + 2])
    return ppp


def linux_vxlan(packet: Packet) -> Step | str:
    """RFC 7348 on a port that is not its own: every byte has to be as the standard says."""
    head = packet.peek(8)
    return vxlan if head[:4] == b"\x08\0\0\0" and head[7:] == b"\0" else _NOT_A_TUNNEL


def lisp(packet: Packet) -> Step | str:
    """RFC 9300 section 5: flags and nonce, instance; then IP."""
    head = packet.peek(9)
    inside = _BY_VERSION.get(head[8] >> 4) if len(head) == 9 else None
    packet.at += 8
    return inside or _NOT_A_TUNNEL


def tzsp(packet: Packet) -> Step | str:
    """TaZmen Sniffer Protocol: version, type, what was captured; then fields of which the last is 1, and 0 is padding."""
    head = packet.peek(4)
    inside = _TZSP_PROTOCOLS.get(int.from_bytes(head[2:])) if len(head) == 4 and head[0] == 1 and head[1] < 2 else None
    if inside is None:
        return _NOT_A_TUNNEL
    packet.at += 4
    while packet.has(1):
        kind = packet.take(1)[0]
        if kind == 1:
            packet.mirrored = True
            return inside
        if kind:
            packet.at += 1 + (packet.peek(1) or b"\0")[0]
    return _NOT_A_TUNNEL


def capwap(packet: Packet) -> Step | str:
    """RFC 5415 section 4.3: what an access point sends to its controller, where that is not encrypted."""
    head = packet.peek(4)
    if len(head) < 4 or head[0]:
        return _NOT_A_TUNNEL
    flags = int.from_bytes(head[1:])
    size = 4 * (flags >> 19)
    if size < 8 or flags & (_CAPWAP_FRAGMENT | _CAPWAP_KEEP_ALIVE) or not packet.has(size):
        return _NOT_A_TUNNEL
    packet.at += size
    if not flags & _CAPWAP_NATIVE:
        return ethernet
    return swapped_wifi if flags >> 9 & 0x1F == 1 else _NOT_A_TUNNEL


_CAPWAP_NATIVE, _CAPWAP_FRAGMENT, _CAPWAP_KEEP_ALIVE = 0x100, 0x80, 0x08

_BY_VERSION: dict[int, Step] = {4: ipv4, 6: ipv6}
_GPE_PROTOCOLS: dict[int, Step] = SERVICE_PROTOCOLS
_TZSP_PROTOCOLS: dict[int, Step] = {1: ethernet, 18: wifi}
_AYIYA_PROTOCOLS: dict[int, Step] = {4: ipv4, 41: ipv6}

_TUNNELS: dict[int, Step] = {
    L2TP: l2tp,
    GTP_U: gtp,
    TEREDO: teredo,
    GRE_IN_UDP: _gre_in_udp,
    VXLAN: vxlan,
    VXLAN_GPE: vxlan_gpe,
    AYIYA: ayiya,
    GENEVE: geneve,
    LISP: lisp,
    CAPWAP: capwap,
    MPLS_IN_UDP: mpls,
    LINUX_VXLAN: linux_vxlan,
    TZSP: tzsp,
}
