"""Bursts of a body, and what explains the pause before each (rules.md chapter 2, Burst)."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from wiredoctor.cutoffs import ALL_SEGMENTS, Cutoffs
from wiredoctor.http.pieces import Pieces
from wiredoctor.scan import Groups, group_rows
from wiredoctor.tables import MILLISECOND, NEVER, SERVER, Array, Columns

ACK_TIMER = 510 * MILLISECOND
"""RFC 1122 section 4.2.3.2: an ACK is delayed by less than 500 ms, so that a longer pause was not one's."""

_REASONS = ("pause_acknowledged", "pause_window_open", "pause_clean", "pause_emptied")


@dataclass
class Pauses:
    """What the pauses of one message's body add up to; `frames` are those of the first three pauses, with `times`."""

    bursts: int = 1
    application: int = 0
    paused: int = 0
    frames: list[int] = field(default_factory=list[int])
    times: list[int] = field(default_factory=list[int])


@dataclass
class BurstState:
    """Per side the burst that may go on, as a row of tables.BURSTS; per message with a pause what its pauses add up to.

    `pieces` and `streams` as in Spoken.
    """

    open: dict[int, dict[str, int]] = field(default_factory=dict[int, "dict[str, int]"])
    pauses: dict[int, Pauses] = field(default_factory=dict[int, Pauses])
    pieces: dict[int, Pieces] = field(default_factory=dict[int, Pieces])
    streams: dict[int, Pieces] = field(default_factory=dict[int, Pieces])
    cutoffs: Cutoffs = ALL_SEGMENTS

    def forget(self, message: int) -> None:
        """Forget the pauses and pieces of a message."""
        self.pauses.pop(message, None)
        self.pieces.pop(message, None)
        self.streams.pop(message, None)

    def close(self, slots: list[int]) -> list[dict[str, int]]:
        """Bursts of finished connections."""
        sides = [side for slot in slots for side in (2 * slot, 2 * slot + 1)]
        return [self.open.pop(side) for side in sides if side in self.open]


def find_bursts(s: Columns, state: BurstState) -> Columns:
    """Bursts that are over, as tables.BURSTS; pauses are added up in the state."""
    body = s["in_body"] & (s["message"] != NEVER)
    s = _overtaken(s, body, state)
    rows = np.flatnonzero(body)
    if not len(rows):
        return {}
    rows = rows[np.argsort(s["direction"][rows], kind="stable")]
    side = 2 * s["slot"][rows] + s["direction"][rows]
    sides = group_rows(side)
    first = sides.first
    before = [state.open.get(x) for x in side[first].tolist()]
    message, time = s["message"][rows], s["time"][rows]
    previous = np.empty_like(message)
    previous[1:] = message[:-1]
    previous[first] = [NEVER if b is None else b["message"] for b in before]
    same = previous == message
    gap = time - s["data_before_time"][rows]
    rtt = np.where((s["rtt_own"] == NEVER) | (s["rtt_other"] == NEVER), 0, s["rtt_own"] + s["rtt_other"])[rows]
    pause = same & (gap >= np.maximum(state.cutoffs.min_burst_gap, 2 * rtt))
    why = _reasons(s, rows, gap)
    for i in np.flatnonzero(pause & (s["role"][rows] == SERVER)).tolist():
        _note(s, int(rows[i]), int(gap[i]), all(bool(reason[i]) for reason in why), state)
    for pieces in state.streams.values():
        pieces.settle(state.cutoffs.min_held_events)
    begins = pause | ~same
    table = _table(s, rows, side, begins, sides, gap, pause, why, before)
    over = [b for b, new in zip(before, begins[first].tolist(), strict=True) if b is not None and new]
    # a side's last burst may go on
    ends = np.append(table["_side"][1:] != table["_side"][:-1], True)
    goes_on = ends & ~s["ends_message"][rows[table["_last"]]]
    for touched in side[first].tolist():
        state.open.pop(touched, None)
    for i in np.flatnonzero(goes_on).tolist():
        state.open[int(table["_side"][i])] = {name: int(values[i]) for name, values in table.items() if name[0] != "_"}
    return {name: _with(over, name, values[~goes_on]) for name, values in table.items() if name[0] != "_"}


def _overtaken(s: Columns, body: Array, state: BurstState) -> Columns:
    """Adds to `body` (n,) what goes on with a body but overtook a piece of it: it belongs to no message yet, and ends a
    pause all the same. Returns the segments with its message, exchange and bytes."""
    ahead = s["opens_hole"] & (s["message"] == NEVER) & (s["data_before_message"] != NEVER) & ~s["data_before_ends_message"]
    fast: list[int] = np.flatnonzero(ahead & (s["new_bytes"] > 0)).tolist()
    if not fast:
        return s
    order = 2 * s["slot"] + s["direction"]
    known = np.flatnonzero(body)
    known = known[np.argsort(order[known], kind="stable")]
    keys = order[known] * len(order) + known
    message, exchange, size = s["message"].copy(), s["exchange"].copy(), s["body_bytes"].copy()
    sides: list[int] = order[fast].tolist()
    for row, side in zip(fast, sides, strict=True):
        at = int(np.searchsorted(keys, side * len(order) + row)) - 1
        last = int(known[at]) if at >= 0 and int(order[known[at]]) == side else -1
        earlier = state.open.get(side)
        if last >= 0:
            begun = int(message[last]), int(exchange[last])
        elif earlier is not None:
            begun = earlier["message"], earlier["exchange"]
        else:
            continue
        if begun[0] == s["data_before_message"][row]:
            message[row], exchange[row] = begun
            size[row], body[row] = s["new_bytes"][row], True
    return {**s, "message": message, "exchange": exchange, "body_bytes": size}


def _with(rows: list[dict[str, int]], name: str, values: Array) -> Array:
    return np.concatenate((np.array([row[name] for row in rows], dtype=values.dtype), values)) if rows else values


def _reasons(s: Columns, rows: Array, gap: Array) -> tuple[Array, ...]:
    flying = s["in_flight_before"][rows]
    acknowledged = (flying == 0) | ((flying < 2 * s["mss"][rows]) & (gap < ACK_TIMER))
    room = s["data_before_room"][rows]
    window_open = ~s["window_short_since"][rows] & ((room == NEVER) | (room >= s["mss"][rows]))
    # behind a full segment without PSH there was more to send: what followed it was lost before the capture point
    emptied = s["data_before_small"][rows] | s["data_before_push"][rows]
    return acknowledged, window_open, ~s["retransmission_since"][rows], emptied


def _note(s: Columns, row: int, gap: int, application: bool, state: BurstState) -> None:
    pauses = state.pauses.setdefault(int(s["message"][row]), Pauses())
    pauses.bursts += 1
    if application and gap >= state.cutoffs.min_pause:
        pauses.application += 1
        pauses.paused += gap
        if len(pauses.frames) < 6:
            pauses.frames += [int(s["data_before_frame"][row]), int(s["frame"][row])]
            pauses.times += [int(s["data_before_time"][row]), int(s["time"][row])]
    if application and gap >= state.cutoffs.min_event_pause:
        pieces = state.streams.get(int(s["message"][row]))
        if pieces is not None:
            pieces.paused(int(s["frame"][row]), (int(s["data_before_frame"][row]), int(s["data_before_time"][row])))


def _table(
    s: Columns, rows: Array, side: Array, begins: Array, sides: Groups, gap: Array, pause: Array,
    why: tuple[Array, ...], before: list[dict[str, int] | None],
) -> Columns:  # fmt: skip
    """A row per burst of this epoch, joined with the one that was open where it goes on."""
    starts = begins.copy()
    starts[sides.first] = True
    at = np.flatnonzero(starts)
    last = np.append(at[1:], len(rows)) - 1
    number = np.cumsum(pause)
    whole = np.where(begins & ~pause, np.arange(len(rows)), -1)
    np.maximum.accumulate(whole, out=whole)
    in_side = whole >= sides.start
    # pauses since the body's first row, or since the row that the state knows
    index = number - np.where(in_side, number[np.maximum(whole, 0)], (number - pause)[sides.start])
    row = rows[at]
    table: Columns = {
        "connection": s["connection"][row], "direction": s["direction"][row], "message": s["message"][row],
        "exchange": s["exchange"][row], "index": index[at], "first_frame": s["frame"][row],
        "last_frame": s["frame"][rows[last]], "start": s["time"][row], "end": s["time"][rows[last]],
        "bytes": np.add.reduceat(s["body_bytes"][rows], at), "segments": last - at + 1,
        "largest_segment": np.maximum.reduceat(s["length"][rows], at),
        "pause": np.where(pause[at], gap[at], NEVER),
        "pause_frame": np.where(pause[at], s["data_before_frame"][row], NEVER),
    }  # fmt: skip
    for name, reason in zip(_REASONS, why, strict=True):
        table[name] = reason[at] & pause[at]
    table["pause_application"] = np.logical_and.reduce([table[name] for name in _REASONS])
    table["_side"], table["_last"] = side[at], last
    position = np.searchsorted(at, sides.first)
    for i, open_burst in zip(position.tolist(), before, strict=True):
        if open_burst is None or open_burst["message"] != table["message"][i]:
            continue
        here = np.flatnonzero((table["_side"] == table["_side"][i]) & (table["message"] == table["message"][i]))
        table["index"][here] += open_burst["index"]
        if not begins[at[i]]:
            table["bytes"][i] += open_burst["bytes"]
            table["segments"][i] += open_burst["segments"]
            table["largest_segment"][i] = max(int(table["largest_segment"][i]), open_burst["largest_segment"])
            for name in ("first_frame", "start", "pause", "pause_frame", *_REASONS, "pause_application"):
                table[name][i] = open_burst[name]
    return table
