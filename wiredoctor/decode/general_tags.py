"""Headers between Ethernet and IP that only some networks have, one packet at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wiredoctor.decode.general_ethernet import ether_type, ethernet, llc, mpls
from wiredoctor.decode.general_network import ipv4, ipv6
from wiredoctor.decode.reasons import CUT_LINK, type_reason

if TYPE_CHECKING:
    from wiredoctor.decode.packet import Packet, Step

_MACSEC = 0x88E5
_SCI, _ENCRYPTED, _CHANGED = 0x20, 0x08, 0x04
"""Bits of the first byte, IEEE 802.1AE section 9.5: an SCI follows; what follows is encrypted; it is not the frame as it was."""


def tag(type_: int) -> Step | None:
    """The step for an EtherType of this module."""
    return _TAGS.get(type_)


def vn_tag(packet: Packet) -> Step | str:
    """Cisco VN-tag."""
    return _four_bytes(packet)


def hsr(packet: Packet) -> Step | str:
    """IEC 62439-3."""
    return _four_bytes(packet)


def _four_bytes(packet: Packet) -> Step | str:
    """4 bytes, then the next EtherType: R-tag (IEEE 802.1CB) and others."""
    if not packet.has(6):
        return CUT_LINK
    return ether_type(int.from_bytes(packet.take(6)[4:]))


def _cisco_metadata(packet: Packet) -> Step | str:
    """Cisco TrustSec: version, length, option, security group."""
    if not packet.has(8):
        return CUT_LINK
    return ether_type(int.from_bytes(packet.take(8)[6:]))


def macsec(packet: Packet) -> Step | str:
    """IEEE 802.1AE: integrity only, the frame can be read; its check value lies behind the IP packet."""
    head = packet.peek(6)
    if len(head) < 6:
        return CUT_LINK
    if head[0] & (_ENCRYPTED | _CHANGED):
        return type_reason(_MACSEC)
    size = 14 if head[0] & _SCI else 6
    if not packet.has(size + 2):
        return CUT_LINK
    return ether_type(int.from_bytes(packet.take(size + 2)[size:]))


def trill(packet: Packet) -> Step | str:
    """RFC 6325 section 3: options, counted in words of 4 bytes, then the frame."""
    head = packet.peek(6)
    if len(head) < 6:
        return CUT_LINK
    packet.at += 6 + 4 * (int.from_bytes(head[:2]) >> 6 & 0x1F)
    return ethernet


def service_header(packet: Packet) -> Step | str:
    """RFC 8300: a length in words of 4 bytes, the next protocol, the service path."""
    head = packet.peek(8)
    size = 4 * (int.from_bytes(head[:2]) & 0x3F)
    if len(head) < 8 or size < 8 or not packet.has(size):
        return CUT_LINK
    packet.passed(int.from_bytes(head[4:7]))
    packet.at += size
    return SERVICE_PROTOCOLS.get(head[3]) or "NSH without IP"


SERVICE_PROTOCOLS: dict[int, Step] = {1: ipv4, 2: ipv6, 3: ethernet, 4: service_header, 5: mpls}

_TAGS: dict[int, Step] = {
    0x22F3: trill,
    0x8870: llc,
    _MACSEC: macsec,
    0x8909: _cisco_metadata,
    0x8926: vn_tag,
    0x892F: hsr,
    0x894F: service_header,
    0xF1C1: _four_bytes,
}
