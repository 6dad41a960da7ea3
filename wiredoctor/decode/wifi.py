"""Which IEEE 802.11 frames have nothing to read, all packets at once: most of what a monitor hears is of this kind."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from wiredoctor.decode.layouts import FRAME_CONTROL, RADIOTAP, gather

if TYPE_CHECKING:
    from wiredoctor.tables import Array

PROTECTED, NO_DATA = 0x40, 0x40
"""Bits of the flags, and of a data frame's subtype as it stands in the first byte."""

MANAGEMENT, CONTROL, WITHOUT_DATA, ENCRYPTED = -11, -12, -13, -14
"""Instead of EtherTypes, beside those of `link`."""

REASONS = {
    MANAGEMENT: "IEEE 802.11 management",
    CONTROL: "IEEE 802.11 control",
    WITHOUT_DATA: "IEEE 802.11 without data",
    ENCRYPTED: "IEEE 802.11 data (encrypted)",
}


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
