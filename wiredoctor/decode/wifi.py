"""Numbers of IEEE 802.11 frames, and why some have nothing to read."""

from __future__ import annotations

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
