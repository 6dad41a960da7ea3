"""Ethernet and what its types lead to on the way to IP (LLC, VLAN, MPLS, PPP, ...), one packet at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wiredoctor.decode.general_dpkt import mpls_label, pppoe_session, vlan_tag
from wiredoctor.decode.general_network import ipv4, ipv6
from wiredoctor.decode.hashing import mix_one
from wiredoctor.decode.protocol_numbers import FIRST_TYPE, FRAMES, VLAN_TYPES
from wiredoctor.decode.reasons import CUT_LINK, type_reason

if TYPE_CHECKING:
    from wiredoctor.decode.packet import Packet, Step

_MULTILINK, _WHOLE = 0x003D, 0xC0

_SNAP = b"\xaa\xaa\x03"

_PPP_TYPES = {0x0021: 0x0800, 0x0057: 0x86DD, 0x0281: 0x8847, 0x0283: 0x8848}
"""PPP protocol numbers (IANA "PPP Numbers") -> EtherTypes."""


def ether_type(type_: int) -> Step | str:
    """What follows an EtherType."""
    if type_ in _TYPES:
        return _TYPES[type_]
    if type_ in VLAN_TYPES:
        return _vlan
    if type_ < FIRST_TYPE:
        return llc
    return _tags(type_) or type_reason(type_)


def _tags(type_: int) -> Step | None:
    from wiredoctor.decode.general_tags import tag

    return tag(type_)


def ethernet(packet: Packet) -> Step | str:
    """IEEE 802.3 with EtherType or length."""
    if not packet.has(14):
        return CUT_LINK
    header = packet.take(14)
    if packet.link_hash == 0:
        packet.link_hash = mix_one(int.from_bytes(header[:8], "little"), int.from_bytes(header[8:12], "little"))
    type_ = int.from_bytes(header[12:])
    if type_ < FIRST_TYPE:
        packet.restrict(type_)
    return ether_type(type_)


def _vlan(packet: Packet) -> Step | str:
    tag = vlan_tag(packet)
    if tag is None:
        return CUT_LINK
    packet.passed(tag[0])
    return ether_type(tag[1])


def llc(packet: Packet) -> Step | str:
    """IEEE 802.2, and SNAP (RFC 1042) behind it.

    Not by dpkt: its SNAP comes only together with the payload, and whatever the control byte says.
    """
    head = packet.peek(8)
    if len(head) < 3:
        return CUT_LINK
    if head[:3] == b"\x06\x06\x03":
        packet.at += 3
        return ipv4
    if head[:3] != _SNAP:
        return "LLC"
    if len(head) < 8:
        return CUT_LINK
    packet.at += 8
    if head[3:6] not in (b"\0\0\0", b"\0\0\xf8"):
        return "LLC"
    return ether_type(int.from_bytes(head[6:]))


def mpls(packet: Packet) -> Step | str:
    """RFC 3032. Behind the last label nothing says what follows; the first half byte does, as in Wireshark."""
    while True:
        entry = mpls_label(packet)
        if entry is None:
            return CUT_LINK
        label, last = entry
        packet.passed(label)
        if last:
            break
    head = packet.peek(18)
    version = head[0] >> 4 if head else None
    if version == 4:
        return ipv4
    if version == 6:
        return ipv6
    if int.from_bytes(head[12:14]) in FRAMES and int.from_bytes(head[16:18]) not in FRAMES:
        return ethernet
    if version == 0 and packet.has(4):  # RFC 4385: a control word, then Ethernet
        packet.at += 4
        return ethernet
    return "MPLS"


def pppoe(packet: Packet) -> Step | str:
    """RFC 2516: session stage."""
    header = pppoe_session(packet)
    if header is None:
        return CUT_LINK
    session, size = header
    packet.passed(session)
    packet.restrict(size)
    return ppp


def ppp(packet: Packet) -> Step | str:
    """RFC 1661, with or without the bytes of RFC 1662 in front, the protocol number perhaps compressed; or Cisco's framing.

    Not by dpkt: it takes the bytes of RFC 1662 for granted, except in PPPoE, where it takes them for a protocol number.
    """
    if packet.peek(1) in (b"\x0f", b"\x8f"):
        return c_hdlc
    if packet.peek(2) == b"\xff\x03":
        packet.at += 2
    head = packet.peek(2)
    if not head:
        return CUT_LINK
    size = 1 if head[0] & 1 else 2
    if len(head) < size:
        return CUT_LINK
    packet.at += size
    number = int.from_bytes(head[:size])
    if number == _MULTILINK:
        return _multilink
    type_ = _PPP_TYPES.get(number)
    return ether_type(type_) if type_ is not None else "PPP"


def _multilink(packet: Packet) -> Step | str:
    """RFC 1990: a packet in one piece, that is its beginning and its end, with a long sequence number."""
    head = packet.peek(4)
    if len(head) < 4:
        return CUT_LINK
    if head[0] & _WHOLE != _WHOLE:
        return "PPP in fragments"
    packet.at += 4
    return ppp


def c_hdlc(packet: Packet) -> Step | str:
    if not packet.has(4):
        return CUT_LINK
    return ether_type(int.from_bytes(packet.take(4)[2:]))


def e_tag(packet: Packet) -> Step | str:
    """IEEE 802.1BR: the tag of a port extender."""
    if not packet.has(8):
        return CUT_LINK
    tag = packet.take(8)
    packet.passed(int.from_bytes(tag[:6]))
    return ether_type(int.from_bytes(tag[6:]))


def backbone(packet: Packet) -> Step | str:
    """IEEE 802.1ah: a service tag, then the customer's frame."""
    if not packet.has(4):
        return CUT_LINK
    packet.passed(int.from_bytes(packet.take(4)) & 0xFFFFFF)
    return ethernet


def fabric_path(packet: Packet) -> Step | str:
    """Cisco FabricPath: tree and hop count, then the frame."""
    if not packet.has(2):
        return CUT_LINK
    packet.at += 2
    return ethernet


_TYPES: dict[int, Step] = {
    0x0800: ipv4,
    0x86DD: ipv6,
    0x6558: ethernet,
    0x8847: mpls,
    0x8848: mpls,
    0x8864: pppoe,
    0x880B: ppp,
    0x8903: fabric_path,
    0x88E7: backbone,
    0x893F: e_tag,
}
