"""Keep the gaps between the events of a stream, in limited memory."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Sequence

from wiredoctor.tables import NEVER

EXACT = 512
"""The maximum number of gaps that are kept as they are. If there are more, all of them are rounded (`rounded`)."""
FINEST = 17
"""The logarithm of the width in ns of the narrowest bins: 0.13 ms."""
BINS = 6
"""The logarithm of the number of bins per power of two, where bins are wider than the narrowest: above 2**(FINEST + BINS) ns."""
WIDEST = 44
"""Gaps of 2**WIDEST ns (4.9 hours) and more are rounded to about this value."""


def rounded(gap: int) -> int:
    """Return the middle of the bin of a gap. All times are in ns.

    It differs from the gap by at most 0.066 ms, or by 0.8 % if that is more. There are fewer than 1,500 bins.
    """
    gap = min(gap, 1 << WIDEST)
    width = max(gap.bit_length() - 1 - BINS, FINEST)
    return (gap >> width << width) + (1 << width >> 1)


class EventGaps:
    """The gaps in ns between consecutive events of one stream, and the number of events.

    `first`: the frame and time at which the first event ended; NEVER if none has. `longest`: the longest gap; NEVER if there is
    none. `longest_frame`, `longest_end`: the packet that ended this gap, and its time.
    """

    __slots__ = ("_exact", "_last", "_rounded", "events", "first", "longest", "longest_end", "longest_frame")

    def __init__(self) -> None:
        self.events = 0
        self.first = (NEVER, NEVER)
        self.longest = self.longest_frame = self.longest_end = self._last = NEVER
        self._exact, self._rounded = array("q"), Counter[int]()

    def note(self, events: int, frame: int, time: int) -> None:
        """Record a packet in which `events` events ended, at least one. `time` (ns) is not earlier than in previous calls."""
        if self._last == NEVER:
            self.first = (frame, time)
        else:
            gap = time - self._last
            self._exact.append(gap)
            if gap > self.longest:
                self.longest, self.longest_frame, self.longest_end = gap, frame, time
            if len(self._exact) >= EXACT:
                self._rounded.update(map(rounded, self._exact))
                del self._exact[:]
        self.events += events
        self._last = time

    def percentiles(self, percents: Sequence[int]) -> list[int]:
        """Return the smallest gap that at least so many percent of the gaps do not exceed, for each of `percents`, in ns.

        NEVER if there is no gap. The gap between two events that ended in the same packet is 0. The values are exact if at most
        EXACT packets have events, otherwise they are `rounded`.
        """
        counts = self._rounded + Counter(map(rounded, self._exact)) if self._rounded else Counter(self._exact)
        gaps = self.events - 1
        together = gaps - counts.total()
        found: list[int] = []
        for percent in percents:
            passed, value = together, 0
            for gap, number in sorted(counts.items()):
                if 100 * passed >= percent * gaps:
                    break
                passed, value = passed + number, gap
            found.append(value if gaps > 0 else NEVER)
        return found
