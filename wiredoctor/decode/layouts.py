"""Header layouts: each dtype reads like the drawing in its standard. Everything is in network byte order."""

from __future__ import annotations

import numpy as np

from wiredoctor.tables import Array

ETHERNET = np.dtype([("addresses", "<u8"), ("addresses_end", "<u4"), ("type", ">u2")])
"""IEEE 802.3: destination and source (12 bytes, only ever hashed), EtherType or length."""

VLAN = np.dtype([("tag", ">u2"), ("type", ">u2")])
"""IEEE 802.1Q, behind the EtherType that announces it."""

LINUX_SLL = np.dtype([("packet_type", ">u2"), ("device", ">u2"), ("address_length", ">u2"), ("address", "<u8"), ("type", ">u2")])
LINUX_SLL2 = np.dtype(
    [
        ("type", ">u2"),
        ("reserved", ">u2"),
        ("interface", "<u4"),
        ("device", ">u2"),
        ("packet_type", "u1"),
        ("address_length", "u1"),
        ("address", "<u8"),
    ]
)
"""LINKTYPE_LINUX_SLL and LINKTYPE_LINUX_SLL2."""

FRAME_CONTROL = np.dtype([("kind", "u1"), ("flags", "u1")])
"""IEEE 802.11: subtype, type and version; flags."""

RADIOTAP = np.dtype([("version", "u1"), ("pad", "u1"), ("length", "<u2")])
"""radiotap.org: how the header begins that LINKTYPE_IEEE802_11_RADIOTAP has in front of the frame."""

RADIOTAP_FIELDS = np.dtype([("version", "u1"), ("pad", "u1"), ("length", "<u2"), ("present", "<u4")])
"""The same with the first word that says which fields follow."""

ADDRESSES = np.dtype([("addresses", "<u8"), ("addresses_end", "<u4")])
"""Two MAC addresses, only ever hashed."""

PRISM = np.dtype([("kind", "<u4"), ("length", "<u4")])
"""How the headers of LINKTYPE_IEEE802_11_PRISM and _AVS begin, the one in little-endian, the other not."""

FAMILY = np.dtype([("family", ">u4")])
"""LINKTYPE_NULL (in the byte order of the host that captured) and LINKTYPE_LOOP."""

IPV4 = np.dtype(
    [
        ("version_ihl", "u1"),
        ("tos", "u1"),
        ("total_length", ">u2"),
        ("identification", ">u2"),
        ("fragment", ">u2"),
        ("ttl", "u1"),
        ("protocol", "u1"),
        ("checksum", ">u2"),
        ("source", ">u4"),
        ("destination", ">u4"),
    ]
)
"""RFC 791 section 3.1."""

IPV6 = np.dtype(
    [
        ("version_class_flow", ">u4"),
        ("payload_length", ">u2"),
        ("next_header", "u1"),
        ("hop_limit", "u1"),
        ("source_high", ">u8"),
        ("source_low", ">u8"),
        ("destination_high", ">u8"),
        ("destination_low", ">u8"),
    ]
)
"""RFC 8200 section 3."""

TCP = np.dtype(
    [
        ("source_port", ">u2"),
        ("destination_port", ">u2"),
        ("seq", ">u4"),
        ("ack", ">u4"),
        ("data_offset", "u1"),
        ("flags", "u1"),
        ("window", ">u2"),
        ("checksum", ">u2"),
        ("urgent", ">u2"),
    ]
)
"""RFC 9293 section 3.1."""

PORTS = np.dtype([("source", ">u2"), ("destination", ">u2")])
"""RFC 768: how a UDP header begins."""

OPTIONS = np.dtype([("words", "<u8", 5)])
"""The 40 bytes that TCP options may take."""

BYTE = np.dtype([("value", "u1")])

LLC = np.dtype([("access_points", "<u2"), ("control", "u1")])
SNAP = np.dtype([("organization", "<u2"), ("organization_end", "u1"), ("type", ">u2")])
"""IEEE 802.2, and RFC 1042 behind it."""

MPLS = np.dtype([("label_class_bottom_ttl", ">u4")])
"""RFC 3032 section 2.1."""

PPPOE = np.dtype([("version_type", "u1"), ("code", "u1"), ("session", ">u2"), ("length", ">u2")])
"""RFC 2516 section 4."""

GRE = np.dtype([("flags", ">u2"), ("type", ">u2")])
"""RFC 2784 section 2; what the flags announce (RFC 2890) follows, 4 bytes each."""

TYPE = np.dtype([("type", ">u2")])
WORD = np.dtype([("value", ">u4")])

ERSPAN = np.dtype([("version_vlan", ">u2"), ("class_session", ">u2"), ("index", ">u4")])
"""draft-foschiano-erspan section 4.2; type III has a time stamp in place of the index, and another word behind it."""

UDP = np.dtype([("source", ">u2"), ("destination", ">u2"), ("length", ">u2"), ("checksum", ">u2")])
"""RFC 768."""

VXLAN = np.dtype([("flags", "u1"), ("reserved", ">u2"), ("protocol", "u1"), ("network", ">u4")])
"""RFC 7348 section 5; the protocol is that of draft-ietf-nvo3-vxlan-gpe, the last byte of the network is none of it."""

GENEVE = np.dtype([("version_length", "u1"), ("flags", "u1"), ("type", ">u2"), ("network", ">u4")])
"""RFC 8926 section 3.4; the last byte of the network is none of it."""

GTP = np.dtype([("flags", "u1"), ("kind", "u1"), ("length", ">u2"), ("tunnel", ">u4")])
GTP_OPTIONAL = np.dtype([("sequence", ">u2"), ("number", "u1"), ("next", "u1")])
"""3GPP TS 29.281 section 5.1."""

EXTENSION = np.dtype([("next", "u1"), ("length", "u1"), ("rest", ">u2"), ("more", ">u4")])
"""RFC 8200 section 4: its first 8 bytes."""

AUTHENTICATION = np.dtype([("next", "u1"), ("length", "u1"), ("reserved", ">u2"), ("index", ">u4"), ("sequence", ">u4")])
"""RFC 4302 section 2."""

ATTRIBUTE = np.dtype([("length", "<u2"), ("type", "<u2")])
"""Netlink's, in the byte order of the host that captured: little-endian, as good as always."""


def gather(data: Array, offsets: Array, layout: np.dtype[np.void]) -> Array:
    """The headers of this layout at these offsets of `data` (uint8).

    Where a header would reach beyond the data it is read from further in front: the caller must not use such rows.
    """
    room = data.size - layout.itemsize
    if not len(offsets):
        return np.empty(0, layout)
    if room < 0:
        return np.zeros(len(offsets), layout)
    # One overlapping struct per byte of the data: indexing it copies each header in one piece.
    windows: Array = np.ndarray((room + 1,), f"V{layout.itemsize}", data, strides=(1,))
    return windows[np.minimum(offsets, room)].view(layout)
