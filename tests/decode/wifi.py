"""Build IEEE 802.11 frames, and the headers before them, by the standards."""

from __future__ import annotations

import struct

from tests.decode.packets import MAC, ipv4, tcp

SEGMENT = tcp(b"hello", seq=123, ack=456, flags=0x19, window=789)
SNAP = b"\xaa\xaa\x03\0\0\0\x08\0" + ipv4(SEGMENT)


def frame(body: bytes = SNAP, kind: int = 0x08, flags: int = 0x01, extra: bytes = b"", sequence: int = 0x10) -> bytes:
    """A data frame to the access point; extra: what follows the sequence control."""
    return bytes((kind, flags)) + b"\0\0" + MAC + b"\x22" * 6 + struct.pack("<H", sequence) + extra + body


def subframe(body: bytes = SNAP) -> bytes:
    """One of an A-MSDU, padded as if another followed."""
    return MAC + struct.pack(">H", len(body)) + body + bytes(-(14 + len(body)) % 4)


def radiotap(inside: bytes, present: int = 0, fields: bytes = b"") -> bytes:
    return struct.pack("<BBHI", 0, 0, 8 + len(fields), present) + fields + inside


QOS, AGGREGATE = b"\0\0", b"\x80\0"
ARUBA = ipv4(b"\0\0\x82\x40" + frame(kind=0x88, extra=QOS), 47)

WAYS = {
    "802.11 to the access point": (105, frame()),
    "802.11 from the access point": (105, frame(flags=0x02)),
    "802.11, a retry": (105, frame(flags=0x09)),
    "802.11, four addresses": (105, frame(flags=0x03, extra=b"\x33" * 6)),
    "802.11, QoS": (105, frame(kind=0x88, extra=QOS)),
    "802.11, QoS and HT control": (105, frame(kind=0x88, flags=0x81, extra=QOS + bytes(4))),
    "802.11, QoS, four addresses": (105, frame(kind=0x88, flags=0x03, extra=b"\x33" * 6 + QOS)),
    "802.11, aggregate of one": (105, frame(subframe(), 0x88, extra=AGGREGATE)),
    "radiotap": (127, radiotap(frame())),
    "radiotap, time and flags": (127, radiotap(frame(kind=0x88, extra=QOS + b"\0\0"), 3, bytes(8) + b"\x20")),
    "radiotap, two words": (127, radiotap(frame(), 0x80000000, bytes(4))),
    "Prism": (119, struct.pack("<II", 0x44, 144) + bytes(136) + frame()),
    "AVS": (163, struct.pack(">II", 0x80211001, 64) + bytes(56) + frame()),
    "PPI": (192, struct.pack("<BBHI", 0, 0, 8, 105) + frame()),
    "Aruba": (101, ARUBA),
}

REASONS = {
    "IEEE 802.11 management": (127, radiotap(b"\x80\0" + bytes(40))),
    "IEEE 802.11 control": (105, b"\xd4\0" + bytes(8)),
    "IEEE 802.11 extension": (105, b"\x0c\0" + bytes(8)),
    "IEEE 802.11 of another version": (105, b"\x09\0" + bytes(40)),
    "IEEE 802.11 without data": (105, frame(kind=0xC8, extra=QOS)),
    "IEEE 802.11 data (encrypted)": (105, frame(flags=0x41)),
    "IEEE 802.11 fragment": (105, frame(flags=0x05)),
}
