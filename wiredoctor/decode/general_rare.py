"""Rare link layers, one packet at a time: ARCnet, IP over InfiniBand."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wiredoctor.decode.general_ethernet import c_hdlc, ether_type, ethernet, llc, ppp
from wiredoctor.decode.general_network import ipv4, ipv6
from wiredoctor.decode.reasons import CUT_LINK

if TYPE_CHECKING:
    from wiredoctor.decode.packet import Packet, Step

_RFC1051_TYPES = {0xF0: 0x0800, 0xF1: 0x0806}
_RFC1201_TYPES = {0xD4: 0x0800, 0xD5: 0x0806, 0xC4: 0x86DD}


def arcnet_linux(packet: Packet) -> Step | str:
    """LINKTYPE_ARCNET_LINUX: addresses, offset, protocol number; in RFC 1201 also flag and number of a fragment.

    Linux hands up packets that it has put together, whatever the flag says.
    """
    head = packet.peek(5)
    if len(head) < 5:
        return CUT_LINK
    if head[4] in _RFC1051_TYPES:
        packet.at += 5
        return ether_type(_RFC1051_TYPES[head[4]])
    if head[4] not in _RFC1201_TYPES:
        return "ARCnet"
    if not packet.has(8):
        return CUT_LINK
    packet.at += 8
    return ether_type(_RFC1201_TYPES[head[4]])


def ip_over_infiniband(packet: Packet) -> Step | str:
    """LINKTYPE_IPOIB: two addresses of 20 bytes (RFC 4391 section 9.1.1), EtherType, 2 reserved bytes (section 6)."""
    if not packet.has(44):
        return CUT_LINK
    return ether_type(int.from_bytes(packet.take(44)[40:42]))


def behind(size: int, inside: Step) -> Step:
    """The step for a header of this size in which nothing matters."""

    def step(packet: Packet) -> Step | str:
        if not packet.has(size):
            return CUT_LINK
        packet.at += size
        return inside

    return step


def _token_ring(packet: Packet) -> Step | str:
    """IEEE 802.5: access and frame control, addresses; the first bit of the source says that a route follows."""
    head = packet.peek(15)
    if len(head) < 15:
        return CUT_LINK
    if head[1] >> 6 != 1:
        return "Token Ring without data"
    size = 14 + (head[14] & 0x1F if head[8] & 0x80 else 0)
    if not packet.has(size):
        return CUT_LINK
    packet.at += size
    return llc


def _fddi(packet: Packet) -> Step | str:
    """ISO 9314-2: frame control, addresses."""
    head = packet.peek(13)
    if len(head) < 13:
        return CUT_LINK
    packet.at += 13
    return llc if head[0] & 0xF0 == 0x50 else "FDDI without data"


def _classical_ip(packet: Packet) -> Step | str:
    """RFC 2225: LLC, or IP right away."""
    return llc if packet.peek(3) == b"\xaa\xaa\x03" else ipv4


def _apple_1394(packet: Packet) -> Step | str:
    """RFC 2734, as Apple hands it up: two addresses of 8 bytes, EtherType."""
    if not packet.has(18):
        return CUT_LINK
    return ether_type(int.from_bytes(packet.take(18)[16:]))


def _ipnet(packet: Packet) -> Step | str:
    """Solaris: a version, an address family, lengths and zones."""
    head = packet.peek(24)
    if len(head) < 24:
        return CUT_LINK
    packet.at += 24
    return {2: ipv4, 26: ipv6}.get(head[1]) or "not IP"


def _juniper_ethernet(packet: Packet) -> Step | str:
    """Junos: a magic number, flags, perhaps extensions; some packets have lost their frame."""
    head = packet.peek(6)
    if len(head) < 6 or head[:3] != b"MGC":
        return CUT_LINK
    packet.at += 4
    if head[3] & 0x80:
        packet.at += 2 + int.from_bytes(head[4:])
    return "Juniper without a frame" if head[3] & 0x02 else ethernet


RARE_LINKS: dict[int, Step] = {
    6: _token_ring,
    10: _fddi,
    100: llc,
    106: _classical_ip,
    122: behind(16, llc),
    138: _apple_1394,
    166: behind(2, ppp),
    178: _juniper_ethernet,
    204: behind(1, ppp),
    205: behind(1, c_hdlc),
    226: _ipnet,
    240: behind(4, ethernet),
}
"""By LINKTYPE_ number."""
