"""What HTTP says about each segment: its message, whether it ends a head or a message, and whether its side owes more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from wiredoctor.scan import Groups, before, fill
from wiredoctor.tables import NEVER, NONE, SERVER, Array, Columns

_FAR = 1 << 43
"""Stream offsets are compared in 44 bits; what is further away (hostile jumps) belongs to no message."""


@dataclass
class LastData:
    """Of the newest data segment of each side: its message and what it ended; and the open requests of each slot."""

    message: Array = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    ends_head: Array = field(default_factory=lambda: np.empty(0, dtype=bool))
    ends_message: Array = field(default_factory=lambda: np.empty(0, dtype=bool))
    outstanding: Array = field(default_factory=lambda: np.empty(0, dtype=np.int64))

    def reserve(self, slots: int) -> None:
        """Room for slots 0 .. slots - 1."""
        have = len(self.outstanding)
        if slots <= have:
            return
        more = max(slots, 2 * have, 128) - have
        self.message = np.concatenate((self.message, np.full(2 * more, NEVER, dtype=np.int64)))
        self.ends_head = np.concatenate((self.ends_head, np.zeros(2 * more, dtype=bool)))
        self.ends_message = np.concatenate((self.ends_message, np.zeros(2 * more, dtype=bool)))
        self.outstanding = np.concatenate((self.outstanding, np.zeros(more, dtype=np.int64)))

    def forget(self, slots: list[int]) -> None:
        """Slots of finished connections, for new ones."""
        for slot in slots:
            if slot < len(self.outstanding):
                self.outstanding[slot] = 0
                self.message[2 * slot : 2 * slot + 2] = NEVER
                self.ends_head[2 * slot : 2 * slot + 2] = False
                self.ends_message[2 * slot : 2 * slot + 2] = False


def annotate(
    s: Columns, groups: Groups, in_order: Array, said: tuple[Array, Array, Array],
    heard_so_far: tuple[Array, Array, Array, Array], last: LastData, event_streams: Sequence[int],
) -> None:  # fmt: skip
    """Adds the HTTP columns to the segments `s`.

    `said`: intervals (m, 7), ended (m, 3) and late (m, 3) as in Spoken.

    Heard so far, per group: (k,) the direction of the HTTP client and (k,) the frame of its first head, -1 and NEVER
    without one; (k, 2) a hash of the address and port that sends in direction 0 and in direction 1; (k,) the direction
    that the lower port sends in. `event_streams`: ids of messages that are meant to arrive piece by piece.
    """
    intervals, ended, late = said
    client, heard, endpoint, lower = heard_so_far
    n = len(s["frame"])
    slot, direction = s["slot"], s["direction"]
    side = 2 * slot + direction
    last.reserve(int(slot.max()) + 1 if n else 0)
    heard_frame = heard[groups.number]
    s["http"] = (heard_frame != NEVER) & (s["frame"] >= heard_frame)
    guess = (direction != client[groups.number]).astype(np.int8)
    s["role"] = np.where((s["role"] == NONE) & s["http"], guess, s["role"]).astype(np.int8)
    server = np.where(s["role"] == NONE, lower[groups.number], np.where(s["role"] == SERVER, direction, 1 - direction))
    s["endpoint"] = endpoint[groups.number, server]
    rows = np.flatnonzero((s["new_bytes"] > 0) & in_order) if len(intervals) else np.empty(0, dtype=np.int64)
    if len(late) and len(rows):
        rows = rows[~_waited(s, rows, s["new_start"][rows], side[rows], late)]
    s["message"] = np.full(n, NEVER, dtype=np.int64)
    s["exchange"] = np.full(n, NONE, dtype=np.int32)
    last_message = np.full(n, NEVER, dtype=np.int64)
    s["body_bytes"] = np.zeros(n, dtype=np.int64)
    for name in ("in_body", "ends_head", "ends_message"):
        s[name] = np.zeros(n, dtype=bool)
    if len(rows):
        _locate(s, rows, side[rows], intervals, late, last_message)
    # what a head will say is not known while it is sent
    s["event_stream"] = s["in_body"] & np.isin(s["message"], event_streams) if event_streams else np.zeros(n, dtype=bool)
    data = s["data_before_row"]
    s["data_before_message"] = fill(last_message, data, last.message[side])
    s["data_before_ends_head"] = fill(s["ends_head"], data, last.ends_head[side])
    s["data_before_ends_message"] = fill(s["ends_message"], data, last.ends_message[side])
    # what filled a hole ends where it does because other bytes were there, whatever they end
    unfinished = (s["data_before_message"] != NEVER) & ~s["data_before_ends_message"] & s["data_before_last_in_flight"]
    s["owes"] = unfinished | ~s["http"] | (_outstanding(s, groups, _ends(intervals, ended), client, last) > 0)
    has = np.flatnonzero(s["new_bytes"] > 0)
    last.message[side[has]] = last_message[has]
    last.ends_head[side[has]] = s["ends_head"][has]
    last.ends_message[side[has]] = s["ends_message"][has]


def _waited(s: Columns, rows: Array, offset: Array, side: Array, late: Array) -> Array:
    """Which of these rows had to wait for a later frame of the other side before they could be read from this offset on."""
    table = late[np.lexsort((late[:, 1], late[:, 0]))]
    sides, rank = np.unique(table[:, 0], return_inverse=True)
    keys = (rank.ravel() << 45) + np.clip(table[:, 1], -_FAR, _FAR) + _FAR
    # the latest frame of those from this offset on, or from one before it; of another side none
    until = np.maximum.accumulate((rank.ravel() << 40) + table[:, 2])
    place = np.minimum(np.searchsorted(sides, side), len(sides) - 1)
    found = np.searchsorted(keys, (place << 45) + np.clip(offset, -_FAR, _FAR) + _FAR, side="right") - 1
    known = (sides[place] == side) & (found >= 0)
    found = np.maximum(found, 0)
    return known & (table[found, 0] == side) & (s["frame"][rows] < until[found] - (place << 40))


def _locate(s: Columns, rows: Array, side: Array, intervals: Array, late: Array, last_message: Array) -> None:
    table = intervals[np.lexsort((intervals[:, 1], intervals[:, 0]))]
    sides, rank_of = np.unique(table[:, 0], return_inverse=True)
    keys = (rank_of.ravel() << 45) + np.clip(table[:, 1], -_FAR, _FAR) + _FAR
    rank = np.minimum(np.searchsorted(sides, side), len(sides) - 1)
    known = sides[rank] == side
    start = s["new_start"][rows]
    end = s["offset"][rows] + s["length"][rows]

    def find(offset: Array) -> tuple[Array, Array]:
        position = np.searchsorted(keys, (rank << 45) + np.clip(offset, -_FAR, _FAR) + _FAR, side="right") - 1
        position = np.maximum(position, 0)
        good = known & (table[position, 0] == side) & (table[position, 1] <= offset) & (offset < table[position, 3])
        return position, good

    first, good = find(start)
    s["message"][rows[good]] = table[first[good], 4]
    whole = good & (end >= table[first, 2])
    s["exchange"][rows[whole]] = table[first[whole], 5]
    s["in_body"][rows] = good & (table[first, 3] > table[first, 2]) & (end > table[first, 2])
    final, good_end = find(end - 1)
    if len(late):
        good_end &= ~_waited(s, rows, end - 1, side, late)
    at = rows[good_end]
    hit = table[final[good_end]]
    last_message[at] = hit[:, 4]
    ends = end[good_end]
    s["ends_head"][at] = ends == hit[:, 2]
    s["ends_message"][at] = (ends == hit[:, 3]) & (hit[:, 2] <= hit[:, 3])
    s["in_body"][at] |= ends > hit[:, 2]
    s["body_bytes"][at] = np.maximum(ends - np.maximum(start[good_end], hit[:, 2]), 0)


def _ends(intervals: Array, ended: Array) -> Array:
    """Side, frame and number (m, 3) of requests and final responses that ended."""
    events = intervals[intervals[:, 6] != NEVER][:, [0, 6, 0]]
    events[:, 2] = 1
    return np.concatenate((events, ended)) if len(ended) else events


def _outstanding(s: Columns, groups: Groups, events: Array, client: Array, last: LastData) -> Array:
    """Requests that had ended before each row and were not answered to the end."""
    slot = s["slot"]
    change = np.zeros(len(slot), dtype=np.int64)
    if len(events) and len(slot):
        lowest = int(s["frame"].min())
        where = np.full(int(s["frame"].max()) - lowest + 1, -1, dtype=np.int64)
        where[s["frame"] - lowest] = np.arange(len(slot))
        inside = (events[:, 1] >= lowest) & (events[:, 1] - lowest < len(where))
        row = where[np.where(inside, events[:, 1] - lowest, 0)]
        row = np.where(inside, row, -1)
        use = (row >= 0) & (slot[np.maximum(row, 0)] == events[:, 0] >> 1)
        group = np.searchsorted(slot[groups.first], events[:, 0] >> 1)
        step = np.where((events[:, 0] & 1) == client[group], events[:, 2], -events[:, 2])
        np.add.at(change, row[use], step[use])
        # what had to wait for other bytes ended in an earlier epoch
        np.add.at(last.outstanding, events[~use, 0] >> 1, step[~use])
    total = np.cumsum(change)
    total = total - (total - change)[groups.start] + last.outstanding[slot]
    result = before(total, groups)
    result[groups.first] = last.outstanding[slot[groups.first]]
    last.outstanding[slot[groups.last]] = np.maximum(total[groups.last], 0)
    return result
