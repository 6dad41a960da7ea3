"""Parse rare link layers. Each function reads one header and returns the next one, as a constant of layers.py."""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64

from wiredoctor.core.capture.layers import (
    CISCO_HDLC,
    CUT_LINK,
    ETHERNET,
    FIRST_TYPE,
    IPV4,
    IPV6,
    LLC,
    NO_ERF_FRAME,
    NO_FDDI_DATA,
    NO_JUNIPER_FRAME,
    NO_TOKEN_RING_DATA,
    NOT_ARCNET,
    NOT_FRAME_RELAY,
    NOT_IP,
    OF_TYPE,
    PPP,
    RAW,
    WIFI,
    Layers,
)
from wiredoctor.core.capture.links import by_family, ether_type, first_header, read_typed
from wiredoctor.core.unsigned import u16, u16_little, u32, u32_little

TOKEN_RING: Final = 6
FDDI: Final = 10
OLD_PFLOG: Final = 17
CLASSICAL_IP: Final = 106
FRAME_RELAY: Final = 107
ENC: Final = 109
PRISM: Final = 119
IP_OVER_FC: Final = 122
ARCNET_LINUX: Final = 129
APPLE_1394: Final = 138
AVS: Final = 163
PPP_PPPD: Final = 166
JUNIPER_ETHERNET: Final = 178
PPI: Final = 192
ERF: Final = 197
PPP_WITH_DIRECTION: Final = 204
CISCO_HDLC_WITH_DIRECTION: Final = 205
FRAME_RELAY_WITH_DIRECTION: Final = 206
IPNET: Final = 226
IPOIB: Final = 242
PKTAP: Final = 258

FIXED: Final = {
    ENC: (12, RAW),  # OpenBSD: family (in host byte order), SPI and flags
    IP_OVER_FC: (16, LLC),
    PPP_PPPD: (2, PPP),
    PPP_WITH_DIRECTION: (1, PPP),
    CISCO_HDLC_WITH_DIRECTION: (1, CISCO_HDLC),
}
"""For each link type, the size of its header, and the next header as a constant of layers.py."""
ERF_ETHERNET: Final = frozenset((2, 11, 16, 20))
"""The ERF record types with an Ethernet frame: ETH, COLOR_ETH, DSM_COLOR_ETH, COLOR_HASH_ETH."""
ERF_HDLC: Final = frozenset((1, 10, 15, 19))
"""The ERF record types with a frame of PPP or Cisco HDLC: HDLC_POS, COLOR_HDLC_POS, DSM_COLOR_HDLC_POS, COLOR_HASH_POS."""
NETANALYZER: Final = (4, ETHERNET)
"""The size of the LINKTYPE_NETANALYZER header, and the next header as a constant of layers.py."""


def rare_link(layers: Layers, block: bytes) -> i64:
    """Read the header of the current link type. Return the next header, as a constant of layers.py."""
    kind = layers.type
    if kind == TOKEN_RING:
        return token_ring(layers, block)
    if kind == FDDI:
        return fddi(layers, block)
    if kind == OLD_PFLOG:
        return old_pflog(layers, block)
    if kind == CLASSICAL_IP:  # RFC 2225: LLC, or IP directly
        return LLC if layers.has(3) and block[layers.at : layers.at + 3] == b"\xaa\xaa\x03" else IPV4
    if kind == FRAME_RELAY:
        return frame_relay(layers, block)
    if kind == FRAME_RELAY_WITH_DIRECTION:
        return frame_relay(layers, block) if layers.past(1, FRAME_RELAY) == FRAME_RELAY else layers.refuse(CUT_LINK)
    if kind in (PRISM, AVS):
        return prism(layers, block)
    if kind == ARCNET_LINUX:
        return arcnet_linux(layers, block)
    if kind == APPLE_1394:  # RFC 2734, as captured by Apple's systems: two addresses of 8 bytes, EtherType
        return read_typed(layers, block, 18)
    if kind == JUNIPER_ETHERNET:
        return juniper_ethernet(layers, block)
    if kind in (PPI, PKTAP):
        return read_linked(layers, block, kind)
    if kind == ERF:
        return erf(layers, block)
    if kind == IPNET:
        return ipnet(layers, block)
    if kind == IPOIB:
        return ip_over_infiniband(layers, block)
    return skip_fixed(layers, kind)


def skip_fixed(layers: Layers, kind: i64) -> i64:
    """Skip a header of fixed size that has no relevant fields. Return the next header, as a constant of layers.py."""
    size, header = FIXED.get(kind, NETANALYZER)
    return layers.past(size, header)


def token_ring(layers: Layers, block: bytes) -> i64:
    """Read a Token Ring header (IEEE 802.5): access control, frame control, and addresses.

    If the first bit of the source address is set, routing information follows.
    """
    if not layers.has(15):
        return layers.refuse(CUT_LINK)
    at = layers.at
    if block[at + 1] >> 6 != 1:
        return layers.refuse(NO_TOKEN_RING_DATA)
    return layers.past(14 + (i64(block[at + 14]) & 0x1F if block[at + 8] & 0x80 else 0), LLC)


def fddi(layers: Layers, block: bytes) -> i64:
    """Read an FDDI header (ISO 9314-2): frame control, addresses."""
    if not layers.has(13):
        return layers.refuse(CUT_LINK)
    layers.at += 13
    return LLC if block[layers.at - 13] & 0xF0 == 0x50 else layers.refuse(NO_FDDI_DATA)


def old_pflog(layers: Layers, block: bytes) -> i64:
    """Read a header of OpenBSD's packet filter log from before version 3.4.

    Its fields are family, interface, rule, reason, action and direction.
    """
    if not layers.has(28):
        return layers.refuse(CUT_LINK)
    family = u32(block, layers.at)
    layers.at += 28
    return by_family(layers, family) if family < FIRST_TYPE else layers.refuse(OF_TYPE + NOT_IP)


def frame_relay(layers: Layers, block: bytes) -> i64:
    """Read a Frame Relay header with an NLPID (RFC 2427), or a Cisco header, in which the EtherType follows the address."""
    if not layers.has(5):
        return layers.refuse(CUT_LINK)
    at = layers.at
    layers.add_to_hash(u16(block, at))
    if block[at + 2] != 0x03:
        return read_typed(layers, block, 4)
    if block[at + 3] == 0:
        at += 1
    protocol = i64(block[at + 3])
    layers.at = at + 4
    if protocol == 0xCC:
        return IPV4
    if protocol == 0x8E:
        return IPV6
    if protocol == 0x80 and layers.has(5) and u16(block, at + 4) == 0 and block[at + 6] == 0:
        return read_typed(layers, block, 5)
    return layers.refuse(NOT_FRAME_RELAY)


def prism(layers: Layers, block: bytes) -> i64:
    """Read a Prism or AVS header (LINKTYPE_IEEE802_11_PRISM, _AVS). The second word is the length, in either byte order."""
    if not layers.has(8):
        return layers.refuse(CUT_LINK)
    size = min(u32(block, layers.at + 4), u32_little(block, layers.at + 4))
    return layers.refuse(CUT_LINK) if size < 8 else layers.past(size, WIFI)


def arcnet_linux(layers: Layers, block: bytes) -> i64:
    """Read a LINKTYPE_ARCNET_LINUX header: addresses, offset, protocol number.

    For protocols of RFC 1201, a flag and a fragment number follow; they are skipped, because Linux delivers reassembled packets.
    """
    if not layers.has(5):
        return layers.refuse(CUT_LINK)
    kind = i64(block[layers.at + 4])
    if kind in (0xF0, 0xF1):  # these protocol numbers belong to RFC 1051
        layers.at += 5
        layers.type = 0x0800 if kind == 0xF0 else 0x0806
        return ether_type(layers)
    if kind not in (0xD4, 0xD5, 0xC4):
        return layers.refuse(NOT_ARCNET)
    layers.type = 0x86DD if kind == 0xC4 else 0x0800 if kind == 0xD4 else 0x0806
    if not layers.has(8):
        return layers.refuse(CUT_LINK)
    layers.at += 8
    return ether_type(layers)


def juniper_ethernet(layers: Layers, block: bytes) -> i64:
    """Read a Junos header: a magic number, flags, and optional extensions; some packets have no Ethernet frame."""
    at = layers.at
    if not layers.has(6) or block[at : at + 3] != b"MGC":
        return layers.refuse(CUT_LINK)
    flags = i64(block[at + 3])
    layers.at += 4
    if flags & 0x80:
        layers.at += 2 + u16(block, at + 4)
    return layers.refuse(NO_JUNIPER_FRAME) if flags & 0x02 else ETHERNET


def read_linked(layers: Layers, block: bytes, kind: i64) -> i64:
    """Read a Per-Packet Information (PPI) header or a PKTAP header. Apple's systems use PKTAP for captures on all interfaces.

    Both headers contain their own length and the link type of the packet.
    """
    least: i64 = 8 if kind == PPI else 12
    if not layers.has(least):
        return layers.refuse(CUT_LINK)
    at = layers.at
    size = u16_little(block, at + 2) if kind == PPI else u32_little(block, at)
    inside = u32_little(block, at + least - 4)
    if size < least or not layers.has(size):
        return layers.refuse(CUT_LINK)
    layers.at += size
    return first_header(layers, inside)


def erf(layers: Layers, block: bytes) -> i64:
    """Read the header of an Extensible Record Format record (Endace ERF types reference): 16 bytes, and extension headers.

    The first bit of the type, and of each extension header, says that an extension header of 8 bytes follows. Two bytes are
    between the header and an Ethernet frame.
    """
    if not layers.has(16):
        return layers.refuse(CUT_LINK)
    kind = i64(block[layers.at + 8])
    layers.at += 16
    more = kind & 0x80
    while more:
        if not layers.has(8):
            return layers.refuse(CUT_LINK)
        more = i64(block[layers.at]) & 0x80
        layers.at += 8
    kind &= 0x7F
    if kind in ERF_ETHERNET:
        return layers.past(2, ETHERNET)
    if kind in ERF_HDLC:
        return CISCO_HDLC if layers.has(1) and block[layers.at] in (0x0F, 0x8F) else PPP
    if kind == 22:
        return IPV4
    return IPV6 if kind == 23 else layers.refuse(NO_ERF_FRAME)


def ipnet(layers: Layers, block: bytes) -> i64:
    """Read a Solaris ipnet header: version, address family, lengths and zones."""
    if not layers.has(24):
        return layers.refuse(CUT_LINK)
    family = i64(block[layers.at + 1])
    layers.at += 24
    if family == 2:
        return IPV4
    return IPV6 if family == 26 else layers.refuse(OF_TYPE + NOT_IP)


def ip_over_infiniband(layers: Layers, block: bytes) -> i64:
    """Read a LINKTYPE_IPOIB header.

    It has two addresses of 20 bytes (RFC 4391 section 9.1.1), an EtherType and 2 reserved bytes (section 6).
    """
    if not layers.has(44):
        return layers.refuse(CUT_LINK)
    layers.type = u16(block, layers.at + 40)
    layers.at += 44
    return ether_type(layers)
