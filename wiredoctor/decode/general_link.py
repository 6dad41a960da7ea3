"""Link layers other than Ethernet, one packet at a time; LINKS is where the general decoder begins."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wiredoctor.decode.general_ethernet import c_hdlc, ether_type, ethernet, llc, ppp, pppoe
from wiredoctor.decode.general_network import ipv4, ipv6
from wiredoctor.decode.general_rare import RARE_LINKS, arcnet_linux, behind, ip_over_infiniband
from wiredoctor.decode.general_wifi import prism, radiotap, wifi
from wiredoctor.decode.hashing import mix_one
from wiredoctor.decode.protocol_numbers import BAD_VERSION, CUT_SHORT, FIRST_TYPE
from wiredoctor.decode.reasons import CUT_LINK, link_reason, type_reason

if TYPE_CHECKING:
    from wiredoctor.decode.packet import Packet, Step

_FAMILIES = {2: 0x0800, 10: 0x86DD, 24: 0x86DD, 28: 0x86DD, 30: 0x86DD}

_NFLOG_PAYLOAD = 9


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
    if type_ >= FIRST_TYPE:
        return ether_type(type_)
    return llc if type_ == 4 else "not IP"


def _null(packet: Packet) -> Step | str:
    if not packet.has(4):
        return CUT_LINK
    header = packet.take(4)
    family = int.from_bytes(header)
    if family > 0xFFFF:
        family = int.from_bytes(header, "little")
    if family in _FAMILIES:
        return ether_type(_FAMILIES[family])
    return ether_type(min(family, 0xFFFF)) if family >= FIRST_TYPE else type_reason(0xFFFF)


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


def _nflog(packet: Packet) -> Step | str:
    """Linux netfilter log (tcpdump.org/linktypes/LINKTYPE_NFLOG.html): attributes, one of which is the packet.

    Their lengths are in the byte order of the host that captured: little-endian, as good as always.
    """
    if not packet.has(4):
        return CUT_LINK
    family = packet.take(4)[0]
    while packet.has(4):
        head = packet.peek(4)
        size, kind = int.from_bytes(head[:2], "little"), int.from_bytes(head[2:], "little") & 0x7FFF
        if size < 4:
            break
        if kind == _NFLOG_PAYLOAD:
            packet.restrict(size)
            packet.at += 4
            return ether_type(_FAMILIES.get(family, 0xFFFF))
        packet.at += size + 3 & ~3
    return "NFLOG without a packet"


def _ppi(packet: Packet) -> Step | str:
    """Per-Packet Information (LINKTYPE_PPI): a header that says which link type follows."""
    head = packet.peek(8)
    size = int.from_bytes(head[2:4], "little")
    if len(head) < 8 or size < 8 or not packet.has(size):
        return CUT_LINK
    packet.at += size
    link_type = int.from_bytes(head[4:], "little")
    return LINKS.get(link_type) or link_reason(link_type)


def _by_family(packet: Packet, size: int, family: int) -> Step | str:
    """Behind a header of this size IP of this address family."""
    if not packet.has(size):
        return CUT_LINK
    packet.at += size
    return ether_type(_FAMILIES[family]) if family in _FAMILIES else type_reason(0xFFFF)


def _old_pflog(packet: Packet) -> Step | str:
    """OpenBSD before 3.4: family, interface, rule, reason, action, direction."""
    return _by_family(packet, 28, int.from_bytes(packet.peek(4)))


def _pktap(packet: Packet) -> Step | str:
    """Apple's header on captures of all interfaces, in little-endian: its length, its type, and which link type follows."""
    head = packet.peek(12)
    size, link_type = int.from_bytes(head[:4], "little"), int.from_bytes(head[8:], "little")
    if len(head) < 12 or size < 12 or not packet.has(size):
        return CUT_LINK
    packet.at += size
    return LINKS.get(link_type) or link_reason(link_type)


LINKS: dict[int, Step] = {
    **RARE_LINKS,
    17: _old_pflog,
    206: behind(1, _frame_relay),
    258: _pktap,
    0: _null,
    1: ethernet,
    9: ppp,
    12: raw,
    14: raw,
    50: ppp,
    51: pppoe,
    101: raw,
    104: c_hdlc,
    105: wifi,
    107: _frame_relay,
    108: _null,
    109: _enc,
    113: _sll,
    117: _pflog,
    119: prism,
    127: radiotap,
    129: arcnet_linux,
    163: prism,
    192: _ppi,
    228: ipv4,
    229: ipv6,
    239: _nflog,
    242: ip_over_infiniband,
    276: _sll2,
}
