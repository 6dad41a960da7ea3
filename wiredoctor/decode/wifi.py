"""Which IEEE 802.11 frames have nothing to read, all packets at once: most of what a monitor hears is of this kind."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from wiredoctor.decode.layouts import FRAME_CONTROL, RADIOTAP, gather

if TYPE_CHECKING:
    from wiredoctor.tables import Array

PROTECTED, NO_DATA = 0x40, 0x40
"""Bits of the flags, and of a data frame's subtype as it stands in the first byte."""

TO_DS, FROM_DS, MORE_FRAGMENTS, HT_CONTROL = 0x01, 0x02, 0x04, 0x80
DATA, QOS = 0x08, 0x80
"""Version, type and a bit of the subtype, as they stand in the frame's first byte."""

AGGREGATE = 0x80
"""In the QoS control field: an A-MSDU, which is several frames in one."""

RADIOTAP_FLAGS, RADIOTAP_TIME, RADIOTAP_MORE, PADDED = 0x02, 0x01, 0x80000000, 0x20
"""Radiotap fields that are there, that another word of these follows; and of the flags, bytes behind the header."""

PART, EXTENSION, OTHER_VERSION = "IEEE 802.11 fragment", "IEEE 802.11 extension", "IEEE 802.11 of another version"

MANAGEMENT, CONTROL, WITHOUT_DATA, ENCRYPTED = -11, -12, -13, -14
"""Instead of EtherTypes, beside those of `link`."""

REASONS = {
    MANAGEMENT: "IEEE 802.11 management",
    CONTROL: "IEEE 802.11 control",
    WITHOUT_DATA: "IEEE 802.11 without data",
    ENCRYPTED: "IEEE 802.11 data (encrypted)",
}

WITHOUT_IP = {0x00: REASONS[MANAGEMENT], 0x04: REASONS[CONTROL], 0x0C: EXTENSION}
"""Version and type of the frames that carry no IP -> what they are."""


def unreadable(data: Array, at: Array, end: Array, otherwise: int) -> Array:
    """Per frame at `at` one of the constants above, or `otherwise`."""
    type_ = np.full(len(at), otherwise, np.int32)
    rows = np.flatnonzero(at + FRAME_CONTROL.itemsize <= end)
    header = gather(data, at[rows], FRAME_CONTROL)
    kind = header["kind"] & 0x0F
    is_data = kind == 0x08
    empty = is_data & (header["kind"] & NO_DATA != 0)
    protected = is_data & ~empty & (header["flags"] & PROTECTED != 0)
    for what, which in ((MANAGEMENT, kind == 0x00), (CONTROL, kind == 0x04), (WITHOUT_DATA, empty), (ENCRYPTED, protected)):
        type_[rows[which]] = what
    return type_


def behind_radiotap(data: Array, at: Array, end: Array) -> Array:
    """Where the frames begin; `end` for those whose radiotap header is not whole."""
    size = gather(data, at, RADIOTAP)["length"].astype(np.int64)
    whole = (at + 8 <= end) & (size >= 8) & (at + size <= end)
    return np.where(whole, at + size, end)
