"""Record headers found from many places of a file at once: each tells where the next one is, which alone is slow to follow.

Places that look like a header are guessed, and the records behind all of them are followed in step. A guess counts only
when the records before it lead exactly there, so what is returned is what following one record after the other gives.
"""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct

import numpy as np

from wiredoctor import limits
from wiredoctor.tables import Array

LANES = 256
"""Places followed at once: fewer cost more steps, more cost more guesses."""
WINDOW = 4096
"""Bytes searched for each guess: more than two full-sized Ethernet frames."""
GUESSES = 4
"""Places in a window that are looked at more closely."""
FROM = 16 * LANES
"""Packets from which on this is faster than one after the other."""


@dataclass(frozen=True)
class Layout:
    """Record headers of `size` bytes in a byte order (< or >): seconds, fraction, captured length, length, and more."""

    order: str
    size: int


def follow(data: Array, position: int, packets: int, average: int, layout: Layout) -> tuple[Array, int]:
    """Offsets of record headers of `data` (uint8) from the one at `position` on, and where the record of the last one ends.

    They are at least one and about `packets`, which take `average` bytes each; fewer where guesses do not help. A record
    with a wrong length is the last one.
    """
    last = data.size - layout.size
    stop = min(position + packets * average, last + 1)
    starts = np.array([position, *_guesses(data, position, stop, layout)], np.int64)
    until = np.append(starts[1:], stop)
    captured: Array = np.ndarray((data.size - 11,), layout.order + "u4", data, 8, (1,))
    most = 4 * packets // LANES + 64
    found = np.empty((most, len(starts)), np.int64)
    at, steps = starts, 0
    while steps < most and not (steps % 8 == 0 and (at >= until).all()):
        found[steps] = at
        # a lane that is through goes on: that is less work than to take it out
        at = at + captured[np.minimum(at, last)] + layout.size
        steps += 1
    lane = found[:steps].T
    count = (lane < until[:, None]).sum(axis=1)
    ends = np.where(count < steps, lane[np.arange(len(starts)), np.minimum(count, steps - 1)], at)
    wrong = np.flatnonzero(ends[:-1] != until[:-1])
    sound = int(wrong[0]) + 1 if len(wrong) else len(starts)
    lane = lane[:sound]
    return lane[lane < until[:sound, None]], int(ends[sound - 1])


def _guesses(data: Array, position: int, stop: int, layout: Layout) -> list[int]:
    """Ascending places behind `position` that look like a record header, and whose record is followed by another."""
    fields = Struct(layout.order + "IIII").unpack_from
    shift = 2 if layout.order == "<" else 0
    # the upper half of the seconds stays the same for 18 hours
    epoch = data[position + shift : position + shift + 2].tobytes()
    high = fields(data.data, position)[0] >> 16

    def looks(at: int) -> int:
        """Where the next header is if there is one here, 0 if not."""
        seconds, _, captured, length = fields(data.data, at) if at + 16 <= data.size else (0, 0, 0, 0)
        good = seconds >> 16 == high and 0 < captured <= min(length, limits.PACKET.value)
        return at + layout.size + captured if good else 0

    found: list[int] = []
    for place in np.linspace(position, stop, LANES, endpoint=False, dtype=np.int64)[1:].tolist():
        window, at = data[place : place + WINDOW].tobytes(), -1
        for _ in range(GUESSES):
            at = window.find(epoch, at + 1)
            start = place + at - shift
            if at < 0:
                break
            if start > (found[-1] if found else position) and (following := looks(start)) and looks(following):
                if start < stop:
                    found.append(start)
                break
    return found
