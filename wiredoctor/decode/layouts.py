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
