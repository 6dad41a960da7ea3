"""Link layer, all packets at once: where the network header begins, and of which kind it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from wiredoctor.decode.hashing import mix
from wiredoctor.decode.layouts import BYTE, ETHERNET, FAMILY, LINUX_SLL, LINUX_SLL2, VLAN, gather
from wiredoctor.decode.wifi import behind_radiotap, unreadable

if TYPE_CHECKING:
    from wiredoctor.tables import Array, Columns

IPV4_TYPE, IPV6_TYPE = 0x0800, 0x86DD
VLAN_TYPES = (0x8100, 0x88A8, 0x9100)

GENERAL, CUT_SHORT, UNKNOWN_LINK, BAD_VERSION = -1, -2, -3, -4
"""Instead of an EtherType: for the general path; captured too little; a link type without a way in; raw, but not IP."""

GENERAL_TYPES = (
    0x6558, 0x8847, 0x8848, 0x8864, 0x880B, 0x8903, 0x88E7, 0x893F,
    0x22F3, 0x8870, 0x88E5, 0x8909, 0x8926, 0x892F, 0x894F, 0xF1C1,
)  # fmt: skip
"""Transparent bridging, MPLS, PPPoE session, PPP, FabricPath, backbone service tag, E-tag; TRILL, LLC, MACsec, Cisco metadata,
VN-tag, HSR, NSH, R-tag."""

FRAMES = (IPV4_TYPE, IPV6_TYPE, *VLAN_TYPES)
"""EtherTypes by which an Ethernet frame is known where nothing announces one."""

FIRST_TYPE = 0x0600
"""A smaller number in the place of the EtherType is a length, and LLC follows (IEEE 802.3)."""

_FAMILIES_IPV6 = (10, 24, 28, 30)
"""AF_INET6 of Linux, NetBSD and OpenBSD, FreeBSD, Darwin."""

GENERAL_LINKS = (
    6, 9, 10, 17, 50, 51, 100, 104, 106, 107, 109, 117, 119, 122, 129, 138, 163, 166, 178, 192, 204, 205, 206, 226, 239, 240, 242,
    258,
)  # fmt: skip
"""The general path knows them: IEEE802_5, PPP, FDDI, PFLOG of old, PPP_HDLC, PPP_ETHER, ATM_RFC1483, C_HDLC, ATM_CLIP, FRELAY,
ENC, PFLOG, IEEE802_11_PRISM, IP_OVER_FC, ARCNET_LINUX, APPLE_IP_OVER_IEEE1394, IEEE802_11_AVS, PPP_PPPD, JUNIPER_ETHER, PPI,
PPP_WITH_DIR, C_HDLC_WITH_DIR, FRELAY_WITH_DIR, IPNET, NFLOG, NETANALYZER, IPOIB, PKTAP."""


@dataclass
class Link:
    """A row per packet record."""

    network: Array
    """Offset of the network header (int64)."""
    type: Array
    """EtherType, or one of the constants above (int32)."""
    link_hash: Array
    encapsulation: Array


def link_layer(data: Array, records: Columns) -> Link:
    """Finds the network header of every packet record."""
    offset, end = records["offset"], records["offset"] + records["captured"]
    rows = len(offset)
    link = Link(offset.copy(), np.full(rows, UNKNOWN_LINK, np.int32), np.zeros(rows, np.uint64), np.zeros(rows, np.uint64))
    for link_type in _distinct(records["link_type"]):
        read = _LINKS.get(link_type)
        here = np.flatnonzero(records["link_type"] == link_type)
        if read is not None:
            read(data, here, end, link)
        elif link_type in GENERAL_LINKS:
            link.type[here] = GENERAL
    _vlan_tags(data, end, link)
    other = np.flatnonzero((link.type != IPV4_TYPE) & (link.type != IPV6_TYPE) & (link.type >= 0))
    if len(other):
        link.type[other[_IS_GENERAL[link.type[other]]]] = GENERAL
    return link


_IS_GENERAL = np.zeros(1 << 16, bool)
_IS_GENERAL[[*GENERAL_TYPES, *VLAN_TYPES]] = True
_IS_GENERAL[:FIRST_TYPE] = True


def _distinct(values: Array) -> list[int]:
    """Almost always one, which is sooner seen than by np.unique: that sorts, and loads numpy.ma."""
    return [int(values[0])] if len(values) and (values == values[0]).all() else np.unique(values).tolist()


def _header(data: Array, rows: Array, end: Array, link: Link, layout: np.dtype[np.void]) -> tuple[Array, Array]:
    """The rows that hold a whole header of this layout, and the headers; the others are marked as cut short."""
    whole = link.network[rows] + layout.itemsize <= end[rows]
    if not whole.all():
        link.type[rows[~whole]] = CUT_SHORT
        rows = rows[whole]
    header = gather(data, link.network[rows], layout)
    link.network[rows] += layout.itemsize
    return rows, header


def _ethernet(data: Array, rows: Array, end: Array, link: Link) -> None:
    rows, header = _header(data, rows, end, link, ETHERNET)
    link.type[rows] = header["type"]
    link.link_hash[rows] = mix(header["addresses"], header["addresses_end"].astype(np.uint64))


def _linux_sll(data: Array, rows: Array, end: Array, link: Link) -> None:
    rows, header = _header(data, rows, end, link, LINUX_SLL)
    link.type[rows] = header["type"]
    addressed = header["address_length"] > 0
    link.link_hash[rows[addressed]] = mix(header["address"][addressed], np.zeros(1, np.uint64))


def _linux_sll2(data: Array, rows: Array, end: Array, link: Link) -> None:
    rows, header = _header(data, rows, end, link, LINUX_SLL2)
    link.type[rows] = header["type"]
    link.link_hash[rows] = mix(header["address"], header["interface"].astype(np.uint64))


def _null(data: Array, rows: Array, end: Array, link: Link) -> None:
    rows, header = _header(data, rows, end, link, FAMILY)
    family = header["family"].astype(np.int64)
    swapped = family.astype(np.uint32).byteswap().astype(np.int64)
    family = np.where(family > 0xFFFF, swapped, family)
    type_ = np.where(family >= FIRST_TYPE, np.minimum(family, 0xFFFF), 0xFFFF)
    type_[family == 2] = IPV4_TYPE
    type_[np.isin(family, _FAMILIES_IPV6)] = IPV6_TYPE
    link.type[rows] = type_


def _raw(data: Array, rows: Array, end: Array, link: Link) -> None:
    rows, header = _header(data, rows, end, link, BYTE)
    link.network[rows] -= BYTE.itemsize  # the byte belongs to the IP header
    version = header["value"] >> 4
    link.type[rows] = np.where(version == 4, IPV4_TYPE, np.where(version == 6, IPV6_TYPE, BAD_VERSION))


def _only_ipv4(data: Array, rows: Array, end: Array, link: Link) -> None:  # noqa: ARG001 - readers are called alike
    link.type[rows] = IPV4_TYPE


def _only_ipv6(data: Array, rows: Array, end: Array, link: Link) -> None:  # noqa: ARG001 - readers are called alike
    link.type[rows] = IPV6_TYPE


def _wifi(data: Array, rows: Array, end: Array, link: Link) -> None:
    link.type[rows] = unreadable(data, link.network[rows], end[rows], GENERAL)


def _radiotap(data: Array, rows: Array, end: Array, link: Link) -> None:
    at = behind_radiotap(data, link.network[rows], end[rows])
    link.type[rows] = unreadable(data, at, end[rows], GENERAL)


_LINKS = {
    1: _ethernet,
    0: _null,
    108: _null,
    12: _raw,
    14: _raw,
    101: _raw,
    105: _wifi,
    113: _linux_sll,
    127: _radiotap,
    228: _only_ipv4,
    229: _only_ipv6,
    276: _linux_sll2,
}

LINK_TYPES = (*_LINKS, *GENERAL_LINKS)
"""All that have a way in."""


def _vlan_tags(data: Array, end: Array, link: Link) -> None:
    """Steps over one or two tags; a packet with more keeps the EtherType of a tag."""
    for _ in range(2):
        tagged = link.type == VLAN_TYPES[0]
        for number in VLAN_TYPES[1:]:
            tagged |= link.type == number
        rows = np.flatnonzero(tagged)
        if not len(rows):
            return
        rows, header = _header(data, rows, end, link, VLAN)
        identifier = header["tag"].astype(np.uint64) & np.uint64(0x0FFF)
        link.encapsulation[rows] = mix(link.encapsulation[rows], identifier)
        link.type[rows] = header["type"]
