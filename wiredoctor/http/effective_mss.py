"""Segments that are full though smaller than the announced MSS: a smaller path MTU (rules.md chapter 1, MSS).

A size L counts as full from its third occurrence on among segments that were followed at once by more data of the same
message and did not end a head, as long as no longer segment of that direction was seen. It is never raised again.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from wiredoctor.scan import Groups, running_max
from wiredoctor.tables import MILLISECOND, NEVER, Array, Columns

AT_ONCE = MILLISECOND
"""More data this soon behind a segment was ready when it left: it was cut by its size, not by the application's write."""
OCCURRENCES = 3
SMALLEST = {4: 536, 6: 1220}
"""RFC 9293 section 3.7.1: what every host takes; no path MTU asks for less."""


@dataclass
class PathState:
    """Per side (2 * slot + direction): the longest segment, how often sizes occurred, and the size that counts as full."""

    longest: Array = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    occurred: dict[int, dict[int, int]] = field(default_factory=dict[int, "dict[int, int]"])
    lowered: dict[int, tuple[int, int]] = field(default_factory=dict[int, "tuple[int, int]"])

    def reserve(self, slots: int) -> None:
        """Room for slots 0 .. slots - 1."""
        have = len(self.longest)
        if 2 * slots > have:
            more = np.full(max(2 * slots - have, have, 256), NEVER, dtype=np.int64)
            self.longest = np.concatenate((self.longest, more))

    def forget(self, slots: list[int]) -> None:
        """Slots of finished connections, for new ones."""
        for side in (side for slot in slots for side in (2 * slot, 2 * slot + 1)):
            if side < len(self.longest):
                self.longest[side] = NEVER
            self.occurred.pop(side, None)
            self.lowered.pop(side, None)


def lower(s: Columns, groups: Groups, version6: Array, state: PathState) -> None:
    """Lowers `mss` where a smaller size counts as full, and what follows from it. `version6` (n,): carried by IPv6."""
    side = 2 * s["slot"] + s["direction"]
    state.reserve(int(s["slot"].max()) + 1)
    longest = np.empty(len(side), dtype=np.int64)
    for d in (0, 1):
        mine = s["direction"] == d
        sides = 2 * s["slot"][groups.first] + d
        so_far = running_max(s["length"].astype(np.int64), mine & (s["new_bytes"] > 0), groups, state.longest[sides])
        longest[mine] = so_far[mine]
        state.longest[sides] = so_far[groups.last]
    size = s["data_before_length"]
    followed = (s["new_bytes"] > 0) & (s["message"] != NEVER) & (s["message"] == s["data_before_message"])
    followed &= ~s["data_before_ends_head"] & (s["time"] - s["data_before_time"] < AT_ONCE)
    followed &= (size >= np.where(version6, SMALLEST[6], SMALLEST[4])) & (size < s["mss"]) & (size >= longest)
    for row in np.flatnonzero(followed).tolist():
        _count(int(side[row]), int(size[row]), int(s["frame"][row]), state)
    if state.lowered:
        _apply(s, side, state)


def _count(side: int, size: int, frame: int, state: PathState) -> None:
    if side in state.lowered and state.lowered[side][0] <= size:
        return
    sizes = state.occurred.setdefault(side, {})
    sizes[size] = sizes.get(size, 0) + 1
    if sizes[size] == OCCURRENCES:
        state.lowered[side] = (size, frame)


def _apply(s: Columns, side: Array, state: PathState) -> None:
    for lowered in np.intersect1d(side, list(state.lowered)).tolist():
        size, frame = state.lowered[lowered]
        rows = np.flatnonzero((side == lowered) & (s["frame"] >= frame))
        length = s["length"][rows].astype(np.int64)
        s["mss"][rows] = size
        s["full"][rows] = length >= size
        s["small_start"][rows] &= length < size
        s["small"][rows] &= (length < size) | (length % size != 0)
        before = s["data_before_length"][rows].astype(np.int64)
        s["data_before_small"][rows] &= (before < size) | (before % size != 0)
        s["data_before_full"][rows] = (before >= size) & (before % size == 0)
