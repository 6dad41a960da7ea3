"""Link layers and what stands between them and IP, one packet at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wiredoctor.decode.general_network import ipv4, ipv6
from wiredoctor.decode.hashing import mix_one
from wiredoctor.decode.link import BAD_VERSION, CUT_SHORT, VLAN_TYPES
from wiredoctor.decode.reasons import CUT_LINK, type_reason

if TYPE_CHECKING:
    from wiredoctor.decode.packet import Packet, Step
    from wiredoctor.decode.rows import Row

_FIRST_TYPE = 0x0600
_SNAP = b"\xaa\xaa\x03"
_MPLS_BOTTOM = 0x100

_PPP_TYPES = {0x0021: 0x0800, 0x0057: 0x86DD, 0x0281: 0x8847, 0x0283: 0x8848}
"""PPP protocol numbers (IANA "PPP Numbers") -> EtherTypes."""

_FAMILIES = {2: 0x0800, 10: 0x86DD, 24: 0x86DD, 28: 0x86DD, 30: 0x86DD}


def ether_type(type_: int) -> Step | str:
    """What follows an EtherType."""
    if type_ in _TYPES:
        return _TYPES[type_]
    if type_ in VLAN_TYPES:
        return _vlan
    if type_ < _FIRST_TYPE:
        return _llc
    return type_reason(type_)


def ethernet(packet: Packet) -> Step | Row | str:
    """IEEE 802.3 with EtherType or length."""
    if not packet.has(14):
        return CUT_LINK
    header = packet.take(14)
    if packet.link_hash == 0:
        packet.link_hash = mix_one(int.from_bytes(header[:8], "little"), int.from_bytes(header[8:12], "little"))
    type_ = int.from_bytes(header[12:])
    if type_ < _FIRST_TYPE:
        packet.restrict(type_)
    return ether_type(type_)


def _vlan(packet: Packet) -> Step | str:
    if not packet.has(4):
        return CUT_LINK
    tag = packet.take(4)
    packet.passed(int.from_bytes(tag[:2]) & 0x0FFF)
    return ether_type(int.from_bytes(tag[2:]))


def _llc(packet: Packet) -> Step | str:
    """IEEE 802.2, and SNAP (RFC 1042) behind it."""
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


def _mpls(packet: Packet) -> Step | str:
    """RFC 3032. Behind the last label nothing says what follows; the first half byte does, as in Wireshark."""
    while True:
        if not packet.has(4):
            return CUT_LINK
        label = int.from_bytes(packet.take(4))
        packet.passed(label >> 12)
        if label & _MPLS_BOTTOM:
            break
    version = packet.peek(1)[:1].hex()[:1]
    if version == "4":
        return ipv4
    if version == "6":
        return ipv6
    if version == "0" and packet.has(4):  # RFC 4385: a control word, then Ethernet
        packet.at += 4
        return ethernet
    return "MPLS"


def _pppoe(packet: Packet) -> Step | str:
    """RFC 2516: session stage."""
    if not packet.has(6):
        return CUT_LINK
    header = packet.take(6)
    packet.passed(int.from_bytes(header[2:4]))
    packet.restrict(int.from_bytes(header[4:6]))
    return ppp


def ppp(packet: Packet) -> Step | str:
    """RFC 1661, with or without the address and control bytes of RFC 1662, and with a compressed protocol number."""
    if packet.peek(2) == b"\xff\x03":
        packet.at += 2
    head = packet.peek(2)
    if not head:
        return CUT_LINK
    size = 1 if head[0] & 1 else 2
    if len(head) < size:
        return CUT_LINK
    packet.at += size
    type_ = _PPP_TYPES.get(int.from_bytes(head[:size]))
    return ether_type(type_) if type_ is not None else "PPP"


def _c_hdlc(packet: Packet) -> Step | str:
    if not packet.has(4):
        return CUT_LINK
    return ether_type(int.from_bytes(packet.take(4)[2:]))


def _ppp_hdlc(packet: Packet) -> Step | str:
    return _c_hdlc if packet.peek(1) in (b"\x0f", b"\x8f") else ppp


def _frame_relay(packet: Packet) -> Step | str:
    """RFC 2427 (NLPID), or the EtherType right behind the address as Cisco has it."""
    head = packet.peek(10)
    if len(head) < 5:
        return CUT_LINK
    packet.passed(int.from_bytes(head[:2]))
    if head[2] != 0x03:
        packet.at += 4
        return ether_type(int.from_bytes(head[2:4]))
    at = 4 if head[3] == 0 else 3
    packet.at += at + 1
    if head[at] == 0xCC:
        return ipv4
    if head[at] == 0x8E:
        return ipv6
    if head[at] == 0x80 and packet.has(5):
        snap = packet.take(5)
        return ether_type(int.from_bytes(snap[3:])) if snap[:3] == b"\0\0\0" else "frame relay"
    return "frame relay"


def _sll(packet: Packet) -> Step | str:
    if not packet.has(16):
        return CUT_LINK
    header = packet.take(16)
    if int.from_bytes(header[4:6]):
        packet.link_hash = mix_one(int.from_bytes(header[6:14], "little"), 0)
    return _cooked_type(int.from_bytes(header[14:]))


def _sll2(packet: Packet) -> Step | str:
    if not packet.has(20):
        return CUT_LINK
    header = packet.take(20)
    packet.link_hash = mix_one(int.from_bytes(header[12:20], "little"), int.from_bytes(header[4:8], "little"))
    return _cooked_type(int.from_bytes(header[:2]))


def _cooked_type(type_: int) -> Step | str:
    """Below 0x0600 stand Linux's own numbers: 1 and 4 are LLC (802.2, in Novell's case without), the rest no IP."""
    if type_ >= _FIRST_TYPE:
        return ether_type(type_)
    return _llc if type_ == 4 else "not IP"


def _null(packet: Packet) -> Step | str:
    if not packet.has(4):
        return CUT_LINK
    header = packet.take(4)
    family = int.from_bytes(header)
    if family > 0xFFFF:
        family = int.from_bytes(header, "little")
    if family in _FAMILIES:
        return ether_type(_FAMILIES[family])
    return ether_type(min(family, 0xFFFF)) if family >= _FIRST_TYPE else type_reason(0xFFFF)


def raw(packet: Packet) -> Step | str:
    """IP of the version that its first half byte says."""
    version = packet.peek(1)
    if not version:
        return type_reason(CUT_SHORT)
    if version[0] >> 4 == 4:
        return ipv4
    return ipv6 if version[0] >> 4 == 6 else type_reason(BAD_VERSION)


def _enc(packet: Packet) -> Step | str:
    """OpenBSD's enc interface: family (in host byte order), SPI and flags."""
    if not packet.has(12):
        return CUT_LINK
    packet.at += 12
    return raw


def _pflog(packet: Packet) -> Step | str:
    """OpenBSD's packet filter log: a header of a length that its first byte says, padded to 4 bytes."""
    size = packet.peek(1)
    if not size or not packet.has(size[0] + 3 & ~3):
        return CUT_LINK
    packet.at += size[0] + 3 & ~3
    return raw


_TYPES: dict[int, Step] = {
    0x0800: ipv4,
    0x86DD: ipv6,
    0x6558: ethernet,
    0x8847: _mpls,
    0x8848: _mpls,
    0x8864: _pppoe,
    0x880B: ppp,
}

LINKS: dict[int, Step] = {
    0: _null,
    1: ethernet,
    9: ppp,
    12: raw,
    14: raw,
    50: _ppp_hdlc,
    51: _pppoe,
    101: raw,
    104: _c_hdlc,
    107: _frame_relay,
    108: _null,
    109: _enc,
    113: _sll,
    117: _pflog,
    228: ipv4,
    229: ipv6,
    276: _sll2,
}
