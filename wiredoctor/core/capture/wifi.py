"""Parse unencrypted IEEE 802.11 data frames, with or without a radiotap header.

Functions return the next header, as a constant of layers.py.
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64

from wiredoctor.core.capture.layers import (
    CONTROL,
    CUT_LINK,
    ENCRYPTED,
    EXTENSION,
    LLC,
    MANAGEMENT,
    OTHER_VERSION,
    WIFI_FRAGMENT,
    WITHOUT_DATA,
    Layers,
)
from wiredoctor.core.unsigned import u16, u16_little, u32_little

DATA: Final = 0x08
"""The version and type of a data frame, in the first byte of the header."""
AGGREGATES: Final = "Only the first of several frames in a Wi-Fi aggregate (A-MSDU) was read"


def radiotap(layers: Layers, block: bytes) -> i64:
    """Read a radiotap header (radiotap.org). Its fields are little-endian; a bit mask shows which ones are present."""
    if not layers.has(8):
        return layers.refuse(CUT_LINK)
    at = layers.at
    size, present = u16_little(block, at + 2), u32_little(block, at + 4)
    if size < 8 or not layers.has(size):
        return layers.refuse(CUT_LINK)
    layers.at += size
    field: i64 = 8
    more = present
    while more & 0x80000000 and field + 4 <= size:
        more = u32_little(block, at + field)
        field += 4
    if present & 1:
        field = ((field + 7) & ~7) + 8
    is_padded = present & 2 != 0 and field < size and block[at + field] & 0x20 != 0
    return wifi(layers, block, is_padded, False)


def swapped_wifi(layers: Layers, block: bytes) -> i64:
    """Read an 802.11 header from an access point that may swap its first two bytes, as Cisco's do."""
    at = layers.at
    return wifi(layers, block, False, layers.has(2) and block[at] & 0x0F != DATA and block[at + 1] & 0x0F == DATA)


def wifi(layers: Layers, block: bytes, is_padded: bool, is_swapped: bool) -> i64:
    """Read an 802.11 header (IEEE 802.11-2020 section 9.3.2).

    `is_padded`: the driver aligned the bytes after the header to 4 bytes. `is_swapped`: the first two bytes are swapped.
    """
    if not layers.has(2):
        return layers.refuse(CUT_LINK)
    at = layers.at
    kind, flags = i64(block[at]), i64(block[at + 1])
    if is_swapped:
        kind, flags = flags, kind
    if kind & 0x0F != DATA or kind & 0x40 or flags & 0x44:
        return layers.refuse(unreadable(kind, flags))
    size: i64 = 24
    if flags & 3 == 3:
        size = 30
    quality = size
    if kind & 0x80:
        size += 2
        if flags & 0x80:
            size += 4
    if not layers.has(size):
        return layers.refuse(CUT_LINK)
    if block[at + 22] & 0x0F:
        return layers.refuse(WIFI_FRAGMENT)
    if layers.hashing:
        layers.hash_addresses(block, at + 4)
    layers.at += (size + 3) & ~3 if is_padded else size
    return aggregate(layers, block) if kind & 0x80 and block[at + quality] & 0x80 else LLC


def aggregate(layers: Layers, block: bytes) -> i64:
    """Read the first frame of an aggregate (IEEE 802.11-2020 section 9.3.2.2.2).

    The other frames are not read, because a record has only one segment.
    """
    if not layers.has(14):
        return layers.refuse(CUT_LINK)
    size = u16(block, layers.at + 12)
    layers.at += 14
    if ((size + 3) & ~3) + 14 <= layers.limit - layers.at:
        layers.has_aggregates = True
    layers.restrict(size)
    return LLC


def unreadable(kind: i64, flags: i64) -> i64:
    """Return the reason why an 802.11 frame is unreadable, given the type and the flags in its first two bytes."""
    version_and_type = kind & 0x0F
    if version_and_type == 0:
        return MANAGEMENT
    if version_and_type == 4:
        return CONTROL
    if version_and_type == 0x0C:
        return EXTENSION
    if version_and_type != DATA:
        return OTHER_VERSION
    if kind & 0x40:
        return WITHOUT_DATA
    return ENCRYPTED if flags & 0x40 else WIFI_FRAGMENT
