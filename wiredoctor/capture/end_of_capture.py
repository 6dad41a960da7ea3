"""Until when a capture went on, where its last block says so: the time behind the last packet was silent.

The recorder of a live capture ends its file with an Interface Statistics Block that has this as its comment. Times of other
writers are not used: what cuts packets out of a file copies its statistics. So the comment also says how many packets there
were, and holds only for a capture that has as many.
"""

from __future__ import annotations

import re
import struct
from typing import NamedTuple

from wiredoctor.capture.pcapng.blocks import STATISTICS, read_options

_FIXED, _COMMENT = 24, 1
LONGEST = 1 << 10
"""Bytes of the block: more is not ours."""

_SAID = re.compile(rb"captured until (\d{1,19}) ns since 1970: (\d{1,15}) packets")


class Ending(NamedTuple):
    """When capturing ended (ns since 1970), and how many packets had been captured in all."""

    time: int
    packets: int


def ending(tail: bytes) -> Ending | None:
    """Return what the last block of a pcapng file says, of which `tail` has the last LONGEST bytes."""
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
