"""Windows that were closed, told at the first segment that the sender sends when they are open again.

A window is closed while its receiver announces 0, or less than one MSS: the second counts where a full segment follows.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from wiredoctor.scan import Groups
from wiredoctor.tables import ACK, NEVER, RST, SYN, Array, Columns
from wiredoctor.tcp.handshake import Agreement
from wiredoctor.tcp.sparse import columns
from wiredoctor.tcp.state import TcpState

_KINDS = {
    "after_closed_window": ("?", 0),
    "closed_frame": ("i8", NEVER),
    "closed_time": ("i8", NEVER),
    "closed_window": ("i8", NEVER),
    "window_probes": ("i4", 0),
    "window_probe_frame": ("i8", NEVER),
    "window_probe_time": ("i8", NEVER),
    "opened_frame": ("i8", NEVER),
    "opened_time": ("i8", NEVER),
}

_NOT_YET = (NEVER, NEVER)
_LEVELS = (1, 2)
"""Announcements are of level 0 (no window), 1 (less than one MSS) or 2; a window is closed below one of these levels."""


@dataclass(frozen=True)
class Closure:
    """A closed window: the announcement that closed it, the first probe, and what opened it, as (frame, time)."""

    closed: tuple[int, int]
    window: int
    probes: int = 0
    probe: tuple[int, int] = _NOT_YET
    opened: tuple[int, int] = _NOT_YET

    def row(self) -> tuple[int, ...]:
        """The values of `_KINDS`."""
        return (1, *self.closed, self.window, self.probes, *self.probe, *self.opened)


def find_closures(s: Columns, groups: Groups, index: Array, agreement: Agreement, state: TcpState) -> None:
    """Adds the columns of `_KINDS` to the segments `s`."""
    found: dict[int, tuple[int, ...]] = {}
    longest = max(int(agreement.mss[0].max()), int(agreement.mss[1].max()))
    low = np.flatnonzero(s["zero_window"] | ((s["window"] < longest) & (s["window"] != NEVER)))
    if len(low) or state.closures:
        touched = np.zeros(groups.count, dtype=bool)
        touched[groups.number[low]] = True
        if state.closures:
            slots = index[groups.first].tolist()
            touched |= np.fromiter((slot in state.closures for slot in slots), dtype=bool, count=len(slots))
        announces = touched[groups.number] & ((s["flags"] & (ACK | RST | SYN)) == ACK)
        for d in (0, 1):
            rows = np.flatnonzero(announces & (s["direction"] == d))
            receiver = _Receiver(s, rows, d, agreement.mss[1 - d][rows], found, state.cutoffs.min_closed_window)
            for group in np.flatnonzero(touched).tolist():
                slot = int(index[groups.first[group]])
                receiver.follow(slot, int(groups.first[group]), int(groups.last[group]) + 1, state)
    s |= columns(len(index), _KINDS, found)


class _Receiver:
    """The announcements `rows` of direction `d`, and what the other side sends; what is told goes into `found`, by row.

    Windows that were closed for less than `shortest` are left out.
    """

    def __init__(self, s: Columns, rows: Array, d: int, mss: Array, found: dict[int, tuple[int, ...]], shortest: int) -> None:
        self.s, self.rows, self.d, self.found, self.shortest = s, rows, d, found, shortest
        window = s["window"][rows]
        self.level = np.where(s["zero_window"][rows], 0, np.where((window < mss) & (window != NEVER), 1, 2))
        sends = s["direction"] != d
        self.sends = np.flatnonzero(sends & (s["new_bytes"] > 0) & (s["length"] > 1))
        self.probes = np.flatnonzero(sends & (s["keep_alive_probe"] | (s["length"] == 1)))

    def follow(self, slot: int, first: int, end: int, state: TcpState) -> None:
        """The rows first .. end - 1, all of one connection."""
        remembered = state.closures.pop(slot, {})
        a, b = np.searchsorted(self.rows, (first, end)).tolist()
        for level in _LEVELS:
            left = self._closed_below(level, a, b, (first, end), remembered.pop((self.d, level), None))
            if left is not None:
                remembered[self.d, level] = left
        if remembered:
            state.closures[slot] = remembered

    def _closed_below(self, level: int, a: int, b: int, span: tuple[int, int], carried: Closure | None) -> Closure | None:
        """Goes through the announcements a .. b - 1; returns the closure that the next epoch goes on with."""
        first, end = span
        shut = carried is not None and carried.opened == _NOT_YET
        closed, rows = self.level[a:b] < level, self.rows[a:b]
        was = np.append(shut, closed)[:-1] if b > a else closed
        begins, opens = rows[closed & ~was], rows[~closed & was]
        left = None
        if carried is not None:
            again = int(begins[0]) if len(begins) else end
            if not shut:
                left = self._tell(carried, first, again, end, level)
            elif not len(opens):
                return self._probed(carried, first, end)
            else:
                left = self._opened(carried, first, int(opens[0]), again, end, level)
                opens = opens[1:]
        time = self.s["time"]
        for i in np.flatnonzero(time[opens] - time[begins[: len(opens)]] >= self.shortest).tolist():
            again = int(begins[i + 1]) if i + 1 < len(begins) else end
            left = self._opened(self._begun(int(begins[i])), int(begins[i]), int(opens[i]), again, end, level)
        if len(begins) > len(opens):
            return self._probed(self._begun(int(begins[-1])), int(begins[-1]), end)
        return left

    def _begun(self, row: int) -> Closure:
        window = 0 if self.s["zero_window"][row] else int(self.s["window"][row])
        return Closure(self._here(row), window)

    def _here(self, row: int) -> tuple[int, int]:
        return int(self.s["frame"][row]), int(self.s["time"][row])

    def _opened(self, closure: Closure, begin: int, row: int, again: int, end: int, level: int) -> Closure | None:
        """The announcement in `row` opens the window that was closed from `begin` on."""
        closure = replace(self._probed(closure, begin, row), opened=self._here(row))
        if closure.opened[1] - closure.closed[1] < self.shortest:
            return None
        return self._tell(closure, row, again, end, level)

    def _tell(self, closure: Closure, row: int, again: int, end: int, level: int) -> Closure | None:
        """Tells it at the first segment from `row` on, when that comes before the window closes `again`; returns it where
        that may still come."""
        s = self.s
        i = int(np.searchsorted(self.sends, row))
        sent = int(self.sends[i]) if i < len(self.sends) else end
        if sent >= min(again, end):
            return closure if again >= end else None
        waited = s["data_before_frame"][sent] < closure.closed[0] or s["data_before_length"][sent] <= 1
        if waited and (level == _LEVELS[0] or s["full"][sent]):
            self.found[sent] = closure.row()
        return None

    def _probed(self, closure: Closure, begin: int, end: int) -> Closure:
        """With the probes in the rows begin .. end - 1."""
        first, last = np.searchsorted(self.probes, (begin, end)).tolist()
        if first == last:
            return closure
        probe = closure.probe if closure.probes else self._here(int(self.probes[first]))
        return replace(closure, probes=closure.probes + last - first, probe=probe)
