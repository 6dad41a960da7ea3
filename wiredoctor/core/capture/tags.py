"""Parse rare headers between Ethernet and IP. Each function reads one and returns the next, as a constant of layers.py."""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64

from wiredoctor.core.capture.layers import (
    CUT_LINK,
    ETHERNET,
    IPV4,
    IPV6,
    LLC,
    MPLS,
    NAMED_802_1AH,
    NAMED_802_1BR,
    NAMED_FABRICPATH,
    NAMED_HSR,
    NAMED_MACSEC,
    NAMED_NSH,
    NAMED_TRILL,
    NAMED_VN_TAG,
    NO_IP_IN_NSH,
    NOT_TCP,
    OF_TYPE,
    TAG,
    Layers,
)
from wiredoctor.core.capture.links import read_typed
from wiredoctor.core.unsigned import u16, u32

TRILL: Final = 0x22F3
SLOW_LLC: Final = 0x8870
MACSEC: Final = 0x88E5
BACKBONE: Final = 0x88E7
FABRIC_PATH: Final = 0x8903
CISCO_METADATA: Final = 0x8909
VN_TAG: Final = 0x8926
HSR: Final = 0x892F
E_TAG: Final = 0x893F
NSH: Final = 0x894F

MACSEC_SCI: Final = 0x20
MACSEC_UNREADABLE: Final = 0x0C
"""The bits of the first byte that mark an encrypted or changed payload. The bit MACSEC_SCI means that an SCI follows.

Source: IEEE 802.1AE section 9.5.
"""

SERVICE_PROTOCOLS: Final = {1: IPV4, 2: IPV6, 3: ETHERNET, 4: TAG, 5: MPLS}
"""The next header, as a constant of layers.py, by the protocol number in an NSH or VXLAN-GPE header."""


def tag(layers: Layers, block: bytes) -> i64:
    """Read the tag that the current EtherType (one of links.TAGS) announces. Return the next header (a constant of layers.py)."""
    kind = layers.type
    if kind == VN_TAG:
        layers.names |= NAMED_VN_TAG
        return read_typed(layers, block, 6)
    if kind == HSR:  # IEC 62439-3
        layers.names |= NAMED_HSR
        return read_typed(layers, block, 6)
    if kind == FABRIC_PATH:
        layers.names |= NAMED_FABRICPATH
        return layers.past(2, ETHERNET)
    if kind == E_TAG:
        return e_tag(layers, block)
    if kind == BACKBONE:
        return backbone(layers, block)
    if kind == TRILL:
        return trill(layers, block)
    if kind == MACSEC:
        return macsec(layers, block)
    if kind == NSH:
        return service_header(layers, block)
    if kind == SLOW_LLC:
        return LLC
    return read_typed(layers, block, 8 if kind == CISCO_METADATA else 6)  # the other EtherType is the R-tag of IEEE 802.1CB


def e_tag(layers: Layers, block: bytes) -> i64:
    """Read the E-tag of a bridge port extender (IEEE 802.1BR)."""
    layers.names |= NAMED_802_1BR
    if layers.has(8):
        layers.add_to_hash(u32(block, layers.at) << 16 | u16(block, layers.at + 4))
    return read_typed(layers, block, 8)


def backbone(layers: Layers, block: bytes) -> i64:
    """Read a backbone service tag (IEEE 802.1ah), which is followed by the customer's frame."""
    layers.names |= NAMED_802_1AH
    if layers.has(4):
        layers.add_to_hash(u32(block, layers.at) & 0xFFFFFF)
    return layers.past(4, ETHERNET)


def trill(layers: Layers, block: bytes) -> i64:
    """Read a TRILL header (RFC 6325 section 3) and its options, counted in words of 4 bytes. The Ethernet frame follows."""
    layers.names |= NAMED_TRILL
    if not layers.has(6):
        return layers.refuse(CUT_LINK)
    layers.at += 6 + 4 * (u16(block, layers.at) >> 6 & 0x1F)
    return ETHERNET


def macsec(layers: Layers, block: bytes) -> i64:
    """Read a MACsec header (IEEE 802.1AE).

    Frames that are not encrypted are readable; their check value follows the IP packet.
    """
    layers.names |= NAMED_MACSEC
    if not layers.has(6):
        return layers.refuse(CUT_LINK)
    flags = i64(block[layers.at])
    if flags & MACSEC_UNREADABLE:
        return layers.refuse(OF_TYPE + MACSEC)
    return read_typed(layers, block, 16 if flags & MACSEC_SCI else 8)


def service_header(layers: Layers, block: bytes) -> i64:
    """Read a network service header (RFC 8300), which contains its length in words of 4 bytes and the next protocol."""
    layers.names |= NAMED_NSH
    if not layers.has(8):
        return layers.refuse(CUT_LINK)
    at = layers.at
    size = 4 * (u16(block, at) & 0x3F)
    if size < 8 or not layers.has(size):
        return layers.refuse(CUT_LINK)
    layers.add_to_hash(u32(block, at + 4) >> 8)
    layers.at += size
    following = service_protocol(layers, i64(block[at + 3]))
    return layers.refuse(NO_IP_IN_NSH) if following == NOT_TCP else following


def service_protocol(layers: Layers, protocol: i64) -> i64:
    """Return the header for a protocol number of NSH or VXLAN-GPE, as a constant of layers.py.

    Return the constant NOT_TCP if it is not supported.
    """
    if protocol == 4:
        layers.type = NSH
    return SERVICE_PROTOCOLS.get(protocol, NOT_TCP)
