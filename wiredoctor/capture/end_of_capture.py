"""Determine when capturing ended. Between the last packet in the file and that time, no packet was captured.

The recorder of a live capture ends its file with an Interface Statistics Block, and writes the time into a comment of this block.
Times from other programs are not used, because programs that remove packets from a file copy its statistics. For the same reason,
the comment also contains the number of packets, and is ignored if the file has a different number.
"""

from __future__ import annotations

import struct

from wiredoctor.capture.model import Ending
from wiredoctor.capture.pcapng.blocks import STATISTICS, read_options
from wiredoctor.text.regex import Regex

_FIXED, _COMMENT = 24, 1
LONGEST = 1 << 10
"""The maximum size in bytes of a block with the end time. A larger block was written by another program."""

_SAID = Regex(rb"captured until (\d{1,19}) ns since 1970: (\d{1,15}) packets")


def ending(tail: bytes) -> Ending | None:
    """Return when capturing ended, according to the last block of a pcapng file.

    Return None unless wiredoctor's recorder wrote that block. `tail`: the last LONGEST bytes of the file.
    """
    if len(tail) < _FIXED:
        return None
    for order in "<>":
        (length,) = struct.unpack_from(order + "I", tail, len(tail) - 4)
        if not _FIXED <= length <= len(tail):
            continue
        block = tail[-length:]
        if struct.unpack_from(order + "II", block) != (STATISTICS, length):
            continue
        for code, value in read_options(block[20:-4], order) or ():
            if code == _COMMENT and (said := _SAID.fullmatch(value)):
                return Ending(int(said[1]), int(said[2]))
    return None
