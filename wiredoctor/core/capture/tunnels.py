"""Parse tunnels (IP inside IP), and find the function that reads a header (`step`).

Each function reads one header and returns the next one, as a constant of layers.py.
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64

from wiredoctor.core.capture.layers import (
    CISCO_HDLC,
    COOKED,
    COOKED_2,
    CUT_IP,
    ETHERNET,
    FIRST_TYPE,
    GRE,
    IPV4,
    IPV6,
    LLC,
    LOOPBACK,
    MPLS,
    NAMED_ERSPAN,
    NAMED_GENEVE,
    NAMED_GRE,
    NAMED_GTP_U,
    NAMED_L2TP,
    NAMED_VXLAN,
    NFLOG,
    NOT_GRE,
    NOT_TCP,
    PFLOG,
    PPP,
    PPPOE,
    RADIOTAP,
    RAW,
    TAG,
    UDP,
    UDP_PROTOCOL,
    VLAN,
    WIFI,
    Layers,
)
from wiredoctor.core.capture.links import (
    cooked_2,
    ether_type,
    ethernet,
    llc,
    loopback,
    mpls,
    nflog,
    pflog,
    ppp,
    pppoe,
    raw,
    read_cooked,
    read_typed,
    vlan,
)
from wiredoctor.core.capture.rare_links import rare_link
from wiredoctor.core.capture.rare_tunnels import is_aruba, is_rare_tunnel, rare_tunnel, skip_routes
from wiredoctor.core.capture.tags import tag
from wiredoctor.core.capture.wifi import radiotap, wifi
from wiredoctor.core.unsigned import u16, u32

VXLAN_PORT: Final = 4789
LINUX_VXLAN_PORT: Final = 8472
GENEVE_PORT: Final = 6081
GTP_PORT: Final = 2152
L2TP_PORT: Final = 1701
LEAST_TUNNEL: Final = 1701
L2TP_CONTROL: Final = 0x8000
L2TP_LENGTH: Final = 0x4000
L2TP_SEQUENCE: Final = 0x0800
L2TP_OFFSET: Final = 0x0200
L2TP_RESERVED: Final = 0x34F0
L2TP_VERSION: Final = 0x000F


def step(layers: Layers, block: bytes, header: i64) -> i64:
    """Read the header that `header`, a constant of layers.py, names. Return the next header as another constant."""
    if header == ETHERNET:
        return ethernet(layers, block)
    if header == VLAN:
        return vlan(layers, block)
    if header == UDP:
        return udp(layers, block)
    if header == GRE:
        return gre(layers, block)
    if header == MPLS:
        return mpls(layers, block)
    if header == LLC:
        return llc(layers, block)
    if header == PPPOE:
        return pppoe(layers, block)
    if header == PPP:
        return ppp(layers, block)
    if header == RAW:
        return raw(layers, block)
    if header == TAG:
        return tag(layers, block)
    return link(layers, block, header)


def link(layers: Layers, block: bytes, header: i64) -> i64:
    """Read the link-layer header at the beginning of a captured packet. Return the next header, as a constant of layers.py."""
    if header == COOKED:
        return read_cooked(layers, block)
    if header == COOKED_2:
        return cooked_2(layers, block)
    if header == LOOPBACK:
        return loopback(layers, block)
    if header == RADIOTAP:
        return radiotap(layers, block)
    if header == WIFI:
        return wifi(layers, block, False, False)
    if header == PFLOG:
        return pflog(layers, block)
    if header == NFLOG:
        return nflog(layers, block)
    return read_typed(layers, block, 4) if header == CISCO_HDLC else rare_link(layers, block)


def gre(layers: Layers, block: bytes) -> i64:
    """Read a GRE header (RFC 2784, RFC 2890), or one of GRE version 1 (RFC 2637, PPTP)."""
    layers.names |= NAMED_GRE
    if not layers.has(4):
        return layers.refuse(CUT_IP)
    flags, kind = u16(block, layers.at), u16(block, layers.at + 2)
    layers.at += 4
    layers.add_to_hash(kind)
    if flags & 0xC000:
        layers.at += 4
    if flags & 0x2000:
        if not flags & 0x0007 and layers.has(4):  # in version 1 this field has the length of the payload
            layers.add_to_hash(u32(block, layers.at))
        layers.at += 4
    if flags & 0x1000:
        layers.at += 4
    if flags & 0x0080:
        layers.at += 4
    if (flags & 0x4000 and not skip_routes(layers, block)) or not layers.has(1):
        return layers.refuse(NOT_GRE)
    return in_gre(layers, block, flags, kind)


def in_gre(layers: Layers, block: bytes, flags: i64, kind: i64) -> i64:
    """Return the header that follows a GRE header with protocol type `kind`, as a constant of layers.py.

    `flags`: the first two bytes of the GRE header. ERSPAN headers and WCCP redirect headers are skipped.
    """
    if kind in (0x0800, 0x86DD):
        return IPV4 if kind == 0x0800 else IPV6
    if kind in (0x88BE, 0x22EB):
        layers.names |= NAMED_ERSPAN
        size: i64 = 0
        if kind == 0x22EB:
            size = 12
            if layers.has(12) and block[layers.at + 11] & 1:
                size = 20
        elif flags & 0x1000:  # type I has neither header nor sequence number, type II has both
            size = 8
        if not layers.has(size):
            return layers.refuse(CUT_IP)
        if size > 0:
            layers.add_to_hash(u32(block, layers.at) & 0x0FFF03FF)
        layers.at += size
    if kind in (0x88BE, 0x22EB, 0x6558, 0x6400):
        layers.is_mirrored = True
        return ETHERNET
    if kind == 0x883E:  # WCCP: version 2 has a redirect header, whose first half byte is not an IP version
        if block[layers.at] >> 4 != 4:
            layers.at += 4
        return IPV4
    if is_aruba(kind):
        return WIFI
    if kind < FIRST_TYPE:
        return layers.refuse(NOT_GRE)
    layers.type = kind
    following = ether_type(layers)
    return layers.refuse(NOT_GRE) if following == NOT_TCP else following


def udp(layers: Layers, block: bytes) -> i64:
    """Read a UDP header (RFC 768). Tunnels are recognized by their port, the lower port first, as in Wireshark."""
    if not layers.has(8):
        return layers.refuse(UDP_PROTOCOL)
    at = layers.at
    low, high, size = u16(block, at), u16(block, at + 2), u16(block, at + 4)
    if low > high:
        low, high = high, low
    port = low
    if not is_tunnel(port):
        port = high
        if not is_tunnel(port):
            return layers.refuse(UDP_PROTOCOL)
    if size < 8:
        return layers.refuse(UDP_PROTOCOL)
    layers.at += 8
    layers.restrict(size - 8)
    if is_rare_tunnel(port):
        return rare_tunnel(layers, block, port)
    if port == L2TP_PORT:
        return l2tp(layers, block)
    if not layers.has(8):
        return layers.refuse(UDP_PROTOCOL)
    if port == GENEVE_PORT:
        return geneve(layers, block)
    return gtp(layers, block) if port == GTP_PORT else vxlan(layers, block, port)


def vxlan(layers: Layers, block: bytes, port: i64) -> i64:
    """Read a VXLAN header (RFC 7348). On Linux's nonstandard port, all reserved bits must be 0."""
    layers.names |= NAMED_VXLAN
    at = layers.at
    if not block[at] & 0x08:
        return layers.refuse(UDP_PROTOCOL)
    if port == LINUX_VXLAN_PORT and (u32(block, at) != 0x08000000 or block[at + 7] != 0):
        return layers.refuse(UDP_PROTOCOL)
    layers.add_to_hash(u32(block, at + 4) >> 8)
    layers.at += 8
    layers.is_mirrored = True
    return ETHERNET


def geneve(layers: Layers, block: bytes) -> i64:
    """Read a Geneve header (RFC 8926)."""
    layers.names |= NAMED_GENEVE
    at = layers.at
    size = 8 + (i64(block[at]) & 0x3F) * 4
    if block[at] >> 6 or not layers.has(size):
        return layers.refuse(UDP_PROTOCOL)
    layers.add_to_hash(u32(block, at + 4) >> 8)
    layers.at += size
    layers.type = u16(block, at + 2)
    if layers.type == 0x6558:
        layers.is_mirrored = True
    return ether_type(layers)


def gtp(layers: Layers, block: bytes) -> i64:
    """Read a GTP-U header (3GPP TS 29.281 section 5). Only user packets are read, not the messages of the tunnel itself."""
    layers.names |= NAMED_GTP_U
    at = layers.at
    flags = i64(block[at])
    if flags >> 4 != 3 or block[at + 1] != 255 or (flags & 7 and not layers.has(12)):
        return layers.refuse(UDP_PROTOCOL)
    layers.add_to_hash(u32(block, at + 4))
    layers.at += 8
    size = u16(block, at + 2)
    if size:  # 0 occurs with segmentation offload
        layers.restrict(size)
    if flags & 7:
        layers.at += 4
    following: i64 = 0
    if flags & 4:
        following = i64(block[at + 11])
    while following:
        if not layers.has(1) or block[layers.at] == 0 or not layers.has(4 * i64(block[layers.at])):
            return layers.refuse(UDP_PROTOCOL)
        size = 4 * i64(block[layers.at])
        layers.at += size
        following = i64(block[layers.at - 1])
    if not layers.has(1):
        return layers.refuse(UDP_PROTOCOL)
    return layers.ip_by_version(block, UDP_PROTOCOL)


def l2tp(layers: Layers, block: bytes) -> i64:
    """Read an L2TP header (RFC 2661 section 3.1). Only data messages, which carry PPP, are read."""
    layers.names |= NAMED_L2TP
    if not layers.has(6):
        return layers.refuse(UDP_PROTOCOL)
    at = layers.at
    flags = u16(block, at)
    if flags & L2TP_VERSION != 2 or flags & (L2TP_CONTROL | L2TP_RESERVED):
        return layers.refuse(UDP_PROTOCOL)
    ids = at + 2
    size: i64 = 6
    if flags & L2TP_LENGTH:
        ids += 2
        size += 2
    if flags & L2TP_SEQUENCE:
        size += 4
    if not layers.has(size + 2 if flags & L2TP_OFFSET else size):
        return layers.refuse(UDP_PROTOCOL)
    if flags & L2TP_LENGTH:
        layers.restrict(u16(block, at + 2))
    layers.add_to_hash(u32(block, ids))
    layers.at += size
    if flags & L2TP_OFFSET:
        layers.at += 2 + u16(block, at + size)
    return PPP


def is_tunnel(port: i64) -> bool:
    """Return whether UDP to or from this port may be a tunnel that can be read."""
    if port < LEAST_TUNNEL:
        return False
    return port in (VXLAN_PORT, GENEVE_PORT, GTP_PORT, LINUX_VXLAN_PORT, L2TP_PORT) or is_rare_tunnel(port)
