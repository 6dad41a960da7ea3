"""Parse link layers and the headers between Ethernet and IP.

Each function reads one header and returns the internal number of the next header, as defined in layers.py.
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64

from wiredoctor.core.capture.layers import (
    BAD_IP,
    CISCO_HDLC,
    COOKED,
    COOKED_2,
    CUT_LINK,
    ETHERNET,
    FIRST_TYPE,
    IPV4,
    IPV6,
    LLC,
    LOOPBACK,
    MPLS,
    NAMED_MPLS,
    NAMED_PPP,
    NAMED_PPPOE,
    NFLOG,
    NO_NFLOG_PACKET,
    NOT_IP,
    NOT_LLC,
    NOT_MPLS,
    NOT_PPP,
    NOT_TCP,
    OF_LINK,
    OF_TYPE,
    PFLOG,
    PPP,
    PPP_FRAGMENT,
    PPPOE,
    RADIOTAP,
    RARE_LINK,
    RAW,
    TAG,
    VLAN,
    WIFI,
    Layers,
)
from wiredoctor.core.hashes import mix
from wiredoctor.core.unsigned import u16, u16_little, u32, u32_little

LINK_ETHERNET: Final = 1
LINKS: Final = {
    LINK_ETHERNET: ETHERNET,
    **dict.fromkeys((0, 108), LOOPBACK),
    **dict.fromkeys((9, 50), PPP),
    **dict.fromkeys((12, 14, 101), RAW),
    51: PPPOE,
    100: LLC,
    104: CISCO_HDLC,
    105: WIFI,
    113: COOKED,
    117: PFLOG,
    127: RADIOTAP,
    228: IPV4,
    229: IPV6,
    239: NFLOG,
    276: COOKED_2,
    **dict.fromkeys(
        (6, 10, 17, 106, 107, 109, 119, 122, 129, 138, 163, 166, 178, 192, 197, 204, 205, 206, 226, 240, 242, 258), RARE_LINK
    ),
}
"""The internal number (layers.py) of the first header, by LINKTYPE_ number."""

TAGS: Final = frozenset((0x8903, 0x88E7, 0x893F, 0x22F3, 0x8870, 0x88E5, 0x8909, 0x8926, 0x892F, 0x894F, 0xF1C1))
"""The EtherTypes that tags.py reads."""
WHOLE: Final = 0xC0
"""The bits of a multilink header that mark the beginning and the end of a packet."""


def first_header(layers: Layers, link_type: i64) -> i64:
    """Return the internal number (layers.py) of the header with which packets of this link type begin."""
    header: i64 = LINKS.get(link_type, NOT_TCP)
    if header == NOT_TCP:
        return layers.refuse(OF_LINK + link_type)
    layers.type = link_type
    return header


def ether_type(layers: Layers) -> i64:
    """Return the internal number (layers.py) of the header that the current EtherType announces."""
    kind = layers.type
    if kind == 0x0800:
        return IPV4
    if kind == 0x86DD:
        return IPV6
    if kind in (0x8100, 0x88A8, 0x9100):
        return VLAN
    if kind in (0x8847, 0x8848):
        return MPLS
    if kind == 0x8864:
        return PPPOE
    if kind == 0x880B:
        return PPP
    if kind == 0x6558:
        return ETHERNET
    if kind < FIRST_TYPE:
        return LLC
    return TAG if kind in TAGS else layers.refuse(OF_TYPE + kind)


def read_typed(layers: Layers, block: bytes, size: i64) -> i64:
    """Skip a header of `size` bytes that ends with an EtherType. Return the internal number (layers.py) of the next header."""
    if not layers.has(size):
        return layers.refuse(CUT_LINK)
    layers.at += size
    layers.type = u16(block, layers.at - 2)
    return ether_type(layers)


def ethernet(layers: Layers, block: bytes) -> i64:
    """Read an Ethernet header (IEEE 802.3), which ends with an EtherType or a length."""
    if not layers.has(14):
        return layers.refuse(CUT_LINK)
    at = layers.at
    if layers.hashing:
        layers.hash_addresses(block, at)
    layers.type = u16(block, at + 12)
    layers.at = at + 14
    if layers.type < FIRST_TYPE:
        layers.restrict(layers.type)
    return ether_type(layers)


def vlan(layers: Layers, block: bytes) -> i64:
    """Read a VLAN tag (IEEE 802.1Q)."""
    if not layers.has(4):
        return layers.refuse(CUT_LINK)
    layers.add_to_hash(u16(block, layers.at) & 0x0FFF)
    layers.type = u16(block, layers.at + 2)
    layers.at += 4
    return ether_type(layers)


def llc(layers: Layers, block: bytes) -> i64:
    """Read an LLC header (IEEE 802.2), and a SNAP header after it (RFC 1042)."""
    if not layers.has(3):
        return layers.refuse(CUT_LINK)
    at = layers.at
    kind = u16(block, at) << 8 | i64(block[at + 2])
    if kind == 0x060603:
        layers.at += 3
        return IPV4
    if kind != 0xAAAA03:
        return layers.refuse(NOT_LLC)
    if not layers.has(8):
        return layers.refuse(CUT_LINK)
    layers.at += 8
    if u16(block, at + 3) != 0 or (block[at + 5] != 0 and block[at + 5] != 0xF8):
        return layers.refuse(NOT_LLC)
    layers.type = u16(block, at + 6)
    return ether_type(layers)


def mpls(layers: Layers, block: bytes) -> i64:
    """Read MPLS labels (RFC 3032). As in Wireshark, the first half byte after the last label identifies the payload."""
    layers.names |= NAMED_MPLS
    is_last = False
    while not is_last:
        if not layers.has(4):
            return layers.refuse(CUT_LINK)
        entry = u32(block, layers.at)
        layers.add_to_hash(entry >> 12)
        layers.at += 4
        is_last = entry & 0x100 != 0
    if not layers.has(1):
        return layers.refuse(NOT_MPLS)
    at = layers.at
    header = layers.ip_by_version(block, NOT_MPLS)
    if header != NOT_TCP:
        return header
    if layers.has(14) and is_frame(block, at + 12) and not (layers.has(18) and is_frame(block, at + 16)):
        return ETHERNET
    if block[at] >> 4 == 0 and layers.has(4):  # RFC 4385: a control word, then an Ethernet frame
        layers.at += 4
        return ETHERNET
    return layers.refuse(NOT_MPLS)


def pppoe(layers: Layers, block: bytes) -> i64:
    """Read a PPPoE header of the session stage (RFC 2516)."""
    layers.names |= NAMED_PPPOE
    if not layers.has(6):
        return layers.refuse(CUT_LINK)
    at = layers.at
    layers.add_to_hash(u16(block, at + 2))
    layers.at += 6
    layers.restrict(u16(block, at + 4))
    return PPP


def ppp(layers: Layers, block: bytes) -> i64:
    """Read a PPP header (RFC 1661), or a Cisco HDLC header.

    Address and control bytes (RFC 1662) may come before a PPP header, and the protocol number may be compressed to one byte.
    """
    layers.names |= NAMED_PPP
    if layers.has(1) and (block[layers.at] == 0x0F or block[layers.at] == 0x8F):
        return CISCO_HDLC
    if layers.has(2) and u16(block, layers.at) == 0xFF03:
        layers.at += 2
    if not layers.has(1):
        return layers.refuse(CUT_LINK)
    at = layers.at
    number = i64(block[at])
    if number & 1:
        layers.at += 1
    else:
        if not layers.has(2):
            return layers.refuse(CUT_LINK)
        number = u16(block, at)
        layers.at += 2
    if number == 0x21:
        return IPV4
    if number == 0x57:
        return IPV6
    if number in (0x0281, 0x0283):
        return MPLS
    return multilink(layers, block) if number == 0x003D else layers.refuse(NOT_PPP)


def multilink(layers: Layers, block: bytes) -> i64:
    """Read a PPP multilink header (RFC 1990) with a long sequence number; only complete packets are supported."""
    if not layers.has(4):
        return layers.refuse(CUT_LINK)
    if block[layers.at] & WHOLE != WHOLE:
        return layers.refuse(PPP_FRAGMENT)
    layers.at += 4
    return PPP


def raw(layers: Layers, block: bytes) -> i64:
    """Return the internal number (layers.py) of the IPv4 or IPv6 header at the current position, by its version field."""
    if not layers.has(1):
        return layers.refuse(CUT_LINK)
    return layers.ip_by_version(block, BAD_IP)


def read_cooked(layers: Layers, block: bytes) -> i64:
    """Read a LINKTYPE_LINUX_SLL header."""
    if not layers.has(16):
        return layers.refuse(CUT_LINK)
    at = layers.at
    if layers.hashing and u16(block, at + 4) != 0:
        layers.link_hash = mix(int.from_bytes(block[at + 6 : at + 14], "little"), 0)
    layers.at = at + 16
    return cooked_type(layers, u16(block, at + 14))


def cooked_2(layers: Layers, block: bytes) -> i64:
    """Read a LINKTYPE_LINUX_SLL2 header."""
    if not layers.has(20):
        return layers.refuse(CUT_LINK)
    at = layers.at
    if layers.hashing:
        addresses = int.from_bytes(block[at + 12 : at + 20], "little")
        layers.link_hash = mix(addresses, int.from_bytes(block[at + 4 : at + 8], "little"))
    layers.at = at + 20
    return cooked_type(layers, u16(block, at))


def cooked_type(layers: Layers, kind: i64) -> i64:
    """Return the internal number (layers.py) of the header for a Linux protocol number.

    Numbers below FIRST_TYPE are not EtherTypes; 4 is LLC.
    """
    if kind < FIRST_TYPE:
        return LLC if kind == 4 else layers.refuse(OF_TYPE + NOT_IP)
    layers.type = kind
    return ether_type(layers)


def loopback(layers: Layers, block: bytes) -> i64:
    """Read a LINKTYPE_NULL or LINKTYPE_LOOP header, which is an address family in either byte order."""
    if not layers.has(4):
        return layers.refuse(CUT_LINK)
    family = u32(block, layers.at)
    if family > 0xFFFF:
        family = u32_little(block, layers.at)
    layers.at += 4
    return by_family(layers, family)


def by_family(layers: Layers, family: i64) -> i64:
    """Return the internal number (layers.py) of the IPv4 or IPv6 header for an address family, which is that of any system.

    A `family` of at least FIRST_TYPE is an EtherType.
    """
    if family == 2:
        return IPV4
    if family in (10, 23, 24, 28, 30):
        return IPV6
    layers.type = family if FIRST_TYPE <= family < NOT_IP else NOT_IP
    return ether_type(layers)


def pflog(layers: Layers, block: bytes) -> i64:
    """Read a header of OpenBSD's packet filter log. The first byte is the header length without padding (to a multiple of 4)."""
    if not layers.has(1):
        return layers.refuse(CUT_LINK)
    size = (i64(block[layers.at]) + 3) & ~3
    if not layers.has(size):
        return layers.refuse(CUT_LINK)
    layers.at += size
    return RAW


def nflog(layers: Layers, block: bytes) -> i64:
    """Read a message of the Linux netfilter log, which contains the packet as one of its attributes."""
    if not layers.has(4):
        return layers.refuse(CUT_LINK)
    family = i64(block[layers.at])
    layers.at += 4
    while layers.has(4):
        size = u16_little(block, layers.at)
        if size < 4:
            break
        if u16_little(block, layers.at + 2) & 0x7FFF == 9:
            layers.restrict(size)
            layers.at += 4
            return by_family(layers, family)
        layers.at += (size + 3) & ~3
    return layers.refuse(NO_NFLOG_PACKET)


def is_frame(block: bytes, at: i64) -> bool:
    """Return whether block[at:] contains the EtherType of IP or a VLAN tag, which suggests that an Ethernet header ends there."""
    kind = u16(block, at)
    return kind in (0x0800, 0x86DD, 0x8100, 0x88A8, 0x9100)
