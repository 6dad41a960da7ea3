"""Times without forward progress that a retransmission ended, told at the ACK that shows it.

Forward progress is new data (or a FIN) or an ACK that advances. R, a retransmission of the bytes that the other side's ACK waits
for, may end a time without it; A is the first ACK after R that advances. A first copy from below the highest byte seen
counts like a retransmission when an ACK waits for it: the loss lies before the capture point.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass

import numpy as np

from wiredoctor.scan import Groups
from wiredoctor.tables import FIN, MILLISECOND, NEVER, RST, SYN, Array, Columns
from wiredoctor.tcp.acks import Acks
from wiredoctor.tcp.sparse import columns
from wiredoctor.tcp.state import TcpState

DOUBLED = MILLISECOND
"""A mirror port records a packet again within this."""

_KINDS = {
    "ends_stall": ("?", 0),
    "stall_frame": ("i8", NEVER),
    "stall_time": ("i8", NEVER),
    "stall_tries": ("i4", 0),
    "stall_duplicate_acks": ("i4", 0),
    "first_try_frame": ("i8", NEVER),
    "first_try_time": ("i8", NEVER),
    "resent_frame": ("i8", NEVER),
    "resent_time": ("i8", NEVER),
    "resent_bytes": ("i4", 0),
    "resent_late": ("?", 0),
}


@dataclass
class Stall:
    """Of a side: the last progress, the first and the newest try to end the time without it, both as (frame, time)."""

    progress: tuple[int, int]
    first: tuple[int, int]
    newest: tuple[int, int]
    length: int
    first_copy: bool
    duplicates: int
    tries: int = 1

    def row(self) -> tuple[int, ...]:
        """The values of `_KINDS`."""
        return (1, *self.progress, self.tries, self.duplicates, *self.first, *self.newest, self.length, self.first_copy)


def recover(s: Columns, groups: Groups, index: Array, acks: Acks, state: TcpState) -> None:
    """Adds the columns of `_KINDS` to the segments `s`."""
    fin = ((s["flags"] & FIN) != 0) & ~s["retransmission"]
    progress = np.flatnonzero((s["new_bytes"] > 0) | (s["acked_bytes"] > 0) | fin)
    tries = _tries(s, acks)
    before = np.searchsorted(progress, tries) - 1
    row = progress[np.maximum(before, 0)] if len(progress) else np.zeros_like(tries)
    inside = (before >= 0) & (row >= groups.start[tries])
    c = state.connections
    frame = np.where(inside, s["frame"][row], c["progress_frame"][index[tries]])
    time = np.where(inside, s["time"][row], c["progress_time"][index[tries]])
    late = (time != NEVER) & (s["time"][tries] - time >= state.cutoffs.min_retransmission_delay)
    found: dict[int, tuple[int, ...]] = {}
    duplicates = _duplicates(s, groups, index, state)
    if late.any() or state.stalls or duplicates.size or state.duplicates:
        last_progress = list(zip(frame[late].tolist(), time[late].tolist(), strict=True))
        for d in (0, 1):
            advances = np.flatnonzero((s["acked_bytes"] > 0) & (s["direction"] != d)).tolist()
            repeats = duplicates[s["direction"][duplicates] != d].tolist()
            side = _Side(s, groups, index, d, advances, repeats, state)
            mine = (s["direction"][tries[late]] == d).tolist()
            attempts = [(t, p) for t, p, own in zip(tries[late].tolist(), last_progress, mine, strict=True) if own]
            side.walk(attempts, found)
            side.remember()
    s |= columns(len(index), _KINDS, found)
    newest = np.searchsorted(progress, groups.last, side="right") - 1
    row = progress[np.maximum(newest, 0)] if len(progress) else groups.first
    has = (newest >= 0) & (row >= groups.first) if len(progress) else np.zeros(groups.count, dtype=bool)
    slots = index[groups.first]
    for name in ("frame", "time"):
        c[f"progress_{name}"][slots[has]] = s[name][row[has]]
    for name, column in (("ip_id", "ip_id"), ("options", "options_hash"), ("direction", "direction")):
        c[f"last_{name}"][slots] = s[column][groups.last]


def _tries(s: Columns, acks: Acks) -> Array:
    """Rows that bring again, or late, the byte that the other side's ACK waits for."""
    rows = np.flatnonzero(s["retransmission"] | s["fills_hole"])
    start, length = s["offset"][rows], s["length"][rows].astype(np.int64)
    waits = acks.other[rows]
    covers = (start <= waits) & (waits < start + length)
    again = ~s["fills_hole"][rows] & (covers | (waits == NEVER))
    late = s["fills_hole"][rows] & (s["new_start"][rows] == waits)
    data = (length > 0) & ((s["flags"][rows] & (SYN | RST)) == 0)
    return rows[data & (again | late)]


def _duplicates(s: Columns, groups: Groups, index: Array, state: TcpState) -> Array:
    """Rows of duplicate ACKs without those that a mirror port doubled: like the packet just before, at the same time.

    With SACK blocks their window may change: Linux widens it while it holds data behind a hole (RFC 6675 section 2).
    """
    selective = s["sack"] & ~s["dsack"] & s["pure_ack"] & (s["acked_bytes"] <= 0)
    rows = np.flatnonzero(s["duplicate_ack"] | selective)
    if not len(rows):
        return rows
    c, slot = state.connections, index[rows]
    first = rows == groups.start[rows]
    alike = np.ones(len(rows), dtype=bool)
    for column, name in (("ip_id", "last_ip_id"), ("options_hash", "last_options"), ("direction", "last_direction")):
        alike &= s[column][rows] == np.where(first, c[name][slot], s[column][rows - 1])
    previous = np.where(first, c["last_time"][slot], s["time"][rows - 1])
    return rows[~alike | (s["time"][rows] - previous > DOUBLED)]


class _Side:
    """The stalls of the data of direction `d`: its tries, and the ACKs of the other side."""

    def __init__(
        self, s: Columns, groups: Groups, index: Array, d: int, advances: list[int], repeats: list[int], state: TcpState
    ) -> None:
        self.s, self.groups, self.index, self.d, self.state = s, groups, index, d, state
        self.advances, self.repeats = advances, repeats
        self.last = groups.last

    def walk(self, attempts: list[tuple[int, tuple[int, int]]], found: dict[int, tuple[int, ...]]) -> None:
        """Goes through the tries (row, last progress before it) and the ACKs that answer them."""
        by_group: dict[int, list[tuple[int, tuple[int, int]]]] = {}
        for group in self._known(self.state.stalls):
            by_group[group] = []
        for row, progress in attempts:
            by_group.setdefault(int(self.groups.number[row]), []).append((row, progress))
        for group, tries in by_group.items():
            side = 2 * int(self.index[self.groups.first[group]]) + self.d
            stall, at = self.state.stalls.pop(side, None), int(self.groups.first[group])
            for row, progress in tries:
                stall = self._answered(stall, at, row, found)
                stall, at = self._tried(stall, row, progress, side, group), row + 1
            stall = self._answered(stall, at, int(self.last[group]) + 1, found)
            if stall is not None:
                self.state.stalls[side] = stall

    def _answered(self, stall: Stall | None, first: int, end: int, found: dict[int, tuple[int, ...]]) -> Stall | None:
        """What is left of a stall after the rows first .. end - 1."""
        i = bisect_left(self.advances, first)
        if stall is None or i == len(self.advances) or self.advances[i] >= end:
            return stall
        found[self.advances[i]] = stall.row()
        return None

    def _tried(self, stall: Stall | None, row: int, progress: tuple[int, int], side: int, group: int) -> Stall:
        s = self.s
        here = (int(s["frame"][row]), int(s["time"][row]))
        late, length = bool(s["fills_hole"][row]), int(s["length"][row])
        duplicates = self._since_advance(row, side, group)
        if stall is None or stall.progress != progress:
            return Stall(progress, here, here, length, late, duplicates)
        return Stall(progress, stall.first, here, length, late, duplicates, stall.tries + 1)

    def _since_advance(self, row: int, side: int, group: int) -> int:
        """Duplicate ACKs up to `row` since the ACK of the other side advanced."""
        first = int(self.groups.first[group])
        i = bisect_right(self.advances, row) - 1
        advanced = i >= 0 and self.advances[i] >= first
        since = self.advances[i] if advanced else first - 1
        earlier = 0 if advanced else self.state.duplicates.get(side, 0)
        return earlier + bisect_right(self.repeats, row) - bisect_right(self.repeats, since)

    def remember(self) -> None:
        """Counts the duplicate ACKs that the next epoch goes on with."""
        groups = set(self.groups.number[self.repeats].tolist()) | self._known(self.state.duplicates)
        for group in groups:
            side = 2 * int(self.index[self.groups.first[group]]) + self.d
            count = self._since_advance(int(self.last[group]), side, group)
            if count:
                self.state.duplicates[side] = count
            else:
                self.state.duplicates.pop(side, None)

    def _known(self, remembered: dict[int, Stall] | dict[int, int]) -> set[int]:
        """Groups of this epoch of which something is remembered."""
        if not remembered:
            return set()
        sides = (2 * self.index[self.groups.first] + self.d).tolist()
        return {group for group, side in enumerate(sides) if side in remembered}
