"""Parse rare tunnels in UDP and GRE. Each function reads one header and returns the type of the next one, which is a
constant in layers.py.

If the header of a tunnel is invalid, the packet counts as plain UDP.
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64

from wiredoctor.core.capture.layers import (
    ETHERNET,
    GRE,
    IPV4,
    IPV6,
    MPLS,
    NAMED_AYIYA,
    NAMED_CAPWAP,
    NAMED_LISP,
    NAMED_TEREDO,
    NAMED_TZSP,
    NAMED_VXLAN,
    NOT_TCP,
    UDP_PROTOCOL,
    WIFI,
    Layers,
)
from wiredoctor.core.capture.tags import service_protocol
from wiredoctor.core.capture.wifi import swapped_wifi
from wiredoctor.core.unsigned import u16, u32

TEREDO: Final = 3544
LISP: Final = 4341
GRE_IN_UDP: Final = 4754
VXLAN_GPE: Final = 4790
AYIYA: Final = 5072
CAPWAP: Final = 5247
MPLS_IN_UDP: Final = 6635
TZSP: Final = 37008
"""The UDP port of MikroTik's sniffer. TEREDO to TZSP are the ports of tunnels.

Source: IANA Service Name and Transport Protocol Port Number Registry.
"""

GRE_FLAGS: Final = 0xB000
CAPWAP_NATIVE: Final = 0x100
CAPWAP_UNREADABLE: Final = 0x88
"""The bits of a CAPWAP header that mark a fragment, or a keep-alive message of the tunnel."""


def is_rare_tunnel(port: i64) -> bool:
    """Return whether UDP to or from this port may be a tunnel that `rare_tunnel` reads."""
    return port in (TEREDO, LISP, GRE_IN_UDP, VXLAN_GPE, AYIYA, CAPWAP, MPLS_IN_UDP, TZSP)


def rare_tunnel(layers: Layers, block: bytes, port: i64) -> i64:
    """Read the header of the tunnel that uses this port. Return the next header, as a constant of layers.py."""
    if port == TEREDO:
        following = teredo(layers, block)
    elif port == LISP:
        following = lisp(layers, block)
    elif port == GRE_IN_UDP:  # RFC 8086: version 0, with only checksum, key and sequence number
        following = GRE if layers.has(2) and not u16(block, layers.at) & ~GRE_FLAGS else i64(NOT_TCP)
    elif port == VXLAN_GPE:
        following = vxlan_gpe(layers, block)
    elif port == AYIYA:
        following = ayiya(layers, block)
    elif port == CAPWAP:
        return capwap(layers, block)
    elif port == MPLS_IN_UDP:
        following = MPLS
    else:
        following = tzsp(layers, block)
    return layers.refuse(UDP_PROTOCOL) if following == NOT_TCP else following


def teredo(layers: Layers, block: bytes) -> i64:
    """Read a Teredo header (RFC 4380 section 5.1.1): authentication and origin indications may come before the IPv6 header."""
    layers.names |= NAMED_TEREDO
    at = layers.at
    if layers.has(4) and u16(block, at) == 1:
        layers.at = at = at + 13 + block[at + 2] + block[at + 3]
    if layers.has(2) and u16(block, at) == 0:
        layers.at = at = at + 8
    if not layers.has(40) or block[at] >> 4 != 6 or u16(block, at + 4) > layers.limit - at - 40:
        return NOT_TCP
    return IPV6


def lisp(layers: Layers, block: bytes) -> i64:
    """Read a LISP header (RFC 9300 section 5): flags, nonce and instance. IP follows."""
    layers.names |= NAMED_LISP
    if not layers.has(9):
        return NOT_TCP
    layers.at += 8
    return layers.ip_by_version(block, UDP_PROTOCOL)


def vxlan_gpe(layers: Layers, block: bytes) -> i64:
    """Read a VXLAN-GPE header (draft-ietf-nvo3-vxlan-gpe), which is a VXLAN header with a protocol number."""
    layers.names |= NAMED_VXLAN
    at = layers.at
    if not layers.has(8) or block[at] & 0x0C != 0x0C:
        return NOT_TCP
    following = service_protocol(layers, i64(block[at + 3]))
    if following != NOT_TCP:
        layers.add_to_hash(u32(block, at + 4) >> 8)
        layers.at += 8
        if following == ETHERNET:
            layers.is_mirrored = True
    return following


def ayiya(layers: Layers, block: bytes) -> i64:
    """Read an AYIYA header (draft-massar-v6ops-ayiya-02).

    Its first bytes contain the lengths of the identity and the signature.
    """
    layers.names |= NAMED_AYIYA
    at = layers.at
    if not layers.has(8) or block[at + 2] & 0x0F != 1:  # the operation must be "forward"
        return NOT_TCP
    protocol = i64(block[at + 3])
    size = 8 + (i64(1) << (i64(block[at]) >> 4)) + 4 * (i64(block[at + 1]) >> 4)
    if protocol not in (4, 41) or not layers.has(size):
        return NOT_TCP
    layers.at += size
    return IPV4 if protocol == 4 else IPV6


def tzsp(layers: Layers, block: bytes) -> i64:
    """Read a TaZmen Sniffer Protocol header: version, type, link type of the packet, and tagged fields.

    The field with tag 1 is the last one; tag 0 is padding.
    """
    layers.names |= NAMED_TZSP
    at = layers.at
    if not layers.has(4) or block[at] != 1 or block[at + 1] > 1:
        return NOT_TCP
    captured = u16(block, at + 2)
    if captured not in (1, 18):
        return NOT_TCP
    layers.at += 4
    while layers.has(1):
        field = i64(block[layers.at])
        layers.at += 1
        if field == 1:
            layers.is_mirrored = True
            return ETHERNET if captured == 1 else WIFI
        if field != 0:
            layers.at += 1 + (i64(block[layers.at]) if layers.has(1) else i64(0))
    return NOT_TCP


def capwap(layers: Layers, block: bytes) -> i64:
    """Read an unencrypted CAPWAP data header between a Wi-Fi access point and its controller (RFC 5415 section 4.3)."""
    layers.names |= NAMED_CAPWAP
    if not layers.has(4) or block[layers.at] != 0:
        return layers.refuse(UDP_PROTOCOL)
    flags = u32(block, layers.at)
    size = 4 * (flags >> 19)
    if size < 8 or flags & CAPWAP_UNREADABLE or not layers.has(size):
        return layers.refuse(UDP_PROTOCOL)
    layers.at += size
    if not flags & CAPWAP_NATIVE:
        return ETHERNET
    return swapped_wifi(layers, block) if flags >> 9 & 0x1F == 1 else layers.refuse(UDP_PROTOCOL)


def skip_routes(layers: Layers, block: bytes) -> bool:
    """Skip the source routes of a GRE header (RFC 1701). Return whether the empty route that marks their end was found."""
    while layers.has(4):
        family, size = u16(block, layers.at), i64(block[layers.at + 3])
        layers.at += 4 + size
        if family == 0 and size == 0:
            return True
    return False


def is_aruba(kind: i64) -> bool:
    """Return whether Aruba's access points use this GRE protocol type for 802.11 frames. They use one type per queue."""
    return kind == 0x9000 or (0x8200 <= kind < 0x8380 and not kind & 0x0F)
