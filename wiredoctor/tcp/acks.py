"""Which data an acknowledgement answers, and the round trips that this shows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wiredoctor import limits
from wiredoctor.scan import Groups, before, fill, last_where, running_max, running_min
from wiredoctor.tables import ACK, NEVER, RST, SYN, Array, Columns
from wiredoctor.tcp.delivery import Delivery, own_and_other
from wiredoctor.tcp.state import TcpState


@dataclass
class Acks:
    """What each row (n,) acknowledges. `own`: highest offset acknowledged by its side, after it; `other`: by the other side.

    `newest` is the time of the newest segment that it acknowledges first, NEVER without one. `rtt` are the round trips to
    the sides of direction 0 and 1 known before the row.
    """

    own: Array
    own_before: Array
    other: Array
    by: tuple[Array, Array]
    newest: Array
    rtt: tuple[Array, Array]


@dataclass
class Syns:
    """Per row (n,), of direction 0 and 1: time of the newest SYN (NEVER without one), and whether there were several."""

    time: tuple[Array, Array]
    again: tuple[Array, Array]


def match(rows: Columns, groups: Groups, index: Array, delivery: Delivery, syns: Syns, state: TcpState) -> Acks:
    """Highest acknowledgements, the segments that they answer, and the round trips so far."""
    direction, flags, ack, time = rows["direction"], rows["flags"], rows["ack_offset"], rows["time"]
    is_ack = ((flags & ACK) != 0) & ((flags & RST) == 0)
    by: list[Array] = []
    by_before: list[Array] = []
    for d in (0, 1):
        side = 2 * index[groups.first] + d
        initial = state.directions["acknowledged"][side]
        sane = (ack <= delivery.high[1 - d]) | (delivery.high[1 - d] == NEVER)
        total = running_max(ack, is_ack & (direction == d) & sane, groups, initial)
        previous = before(total, groups)
        previous[groups.first] = initial
        by.append(total)
        by_before.append(previous)
        state.directions["acknowledged"][side] = total[groups.last]
    own, other = own_and_other((by[0], by[1]), direction)
    own_before, _ = own_and_other((by_before[0], by_before[1]), direction)
    newest = _newest_data(rows, groups, index, delivery, own, own_before, state)
    sample = np.where(newest != NEVER, time - newest, NEVER)
    _, syn = own_and_other(syns.time, direction)
    _, again = own_and_other(syns.again, direction)
    handshake = is_ack & (own_before == NEVER) & (syn != NEVER) & (ack >= 0)
    sample = np.where(handshake, time - syn, sample)
    usable = (sample >= 0) & ((flags & RST) == 0)
    rtt = _round_trips(sample, usable, usable & handshake & again, direction, groups, index, state)
    return Acks(own, own_before, other, (by[0], by[1]), newest, rtt)


def _round_trips(
    sample: Array, usable: Array, guess: Array, direction: Array, groups: Groups, index: Array, state: TcpState
) -> tuple[Array, Array]:
    """Smallest sample of each side before each row.

    Which of several SYNs was answered nobody can tell (RFC 6298 section 3): the newest, it is supposed (`guess`), until
    data tell otherwise.
    """
    directions = state.directions
    rtt: list[Array] = []
    for d in (0, 1):
        side = 2 * index[groups.first] + d
        known, guessed = directions["rtt"][side], directions["rtt_guessed"][side]
        mine = usable & (direction == d)
        initial = np.where(guessed, NEVER, known)
        smallest = running_min(sample, mine & ~guess, groups, initial)
        if guessed.any() or (mine & guess).any():
            supposed = fill(sample, last_where(mine & guess, groups), np.where(guessed, known, NEVER)[groups.number])
            directions["rtt_guessed"][side] = (smallest == NEVER)[groups.last] & (supposed != NEVER)[groups.last]
            smallest = np.where(smallest == NEVER, supposed, smallest)
        previous = before(smallest, groups)
        previous[groups.first] = known
        rtt.append(previous)
        directions["rtt"][side] = smallest[groups.last]
    return rtt[0], rtt[1]


def _newest_data(
    rows: Columns, groups: Groups, index: Array, delivery: Delivery, own: Array, own_before: Array, state: TcpState
) -> Array:
    """Time of the newest segment that each row is the first to acknowledge; NEVER without one."""
    direction, time = rows["direction"], rows["time"]
    newest = np.full(len(index), NEVER, dtype=np.int64)
    past = state.in_flight or {name: np.empty(0, dtype=np.int64) for name in ("side", "end", "time")}
    kept: list[dict[str, Array]] = []
    slots = index[groups.first]
    for d in (0, 1):
        high = delivery.high[d]
        raises = (direction == d) & (delivery.new_bytes > 0) & (high > delivery.high_before[d])
        mine = np.flatnonzero((past["side"] & 1) == d)
        position = np.searchsorted(slots, past["side"][mine] >> 1)
        touched = (position < len(slots)) & (slots[np.minimum(position, len(slots) - 1)] == past["side"][mine] >> 1)
        old = mine[touched]
        new = np.flatnonzero(raises)
        group = np.concatenate((position[touched], groups.number[new]))
        order = np.argsort(group, kind="stable")
        group = group[order]
        end = np.concatenate((past["end"][old], high[new]))[order]
        when = np.concatenate((past["time"][old], time[new]))[order]
        begin = np.searchsorted(group, np.arange(groups.count))
        carried = np.bincount(position[touched], minlength=groups.count)
        # newest segment of direction d before each row, as a position in the combined list
        so_far = np.cumsum(raises)
        so_far -= (so_far - raises)[groups.start]
        newest_at = begin[groups.number] + carried[groups.number] + so_far - 1
        ask = np.flatnonzero((direction != d) & (own > own_before) & (newest_at >= begin[groups.number]))
        found = _rightmost(end, begin[groups.number[ask]], newest_at[ask], own[ask])
        good = (found >= 0) & (newest_at[ask] - found < limits.UNACKNOWLEDGED.value)
        good[good] &= end[found[good]] > own_before[ask[good]]
        newest[ask[good]] = when[found[good]]
        reached = state.directions["acknowledged"][2 * slots + 1 - d][group]
        size = np.bincount(group, minlength=groups.count)
        late = (begin + size)[group] - np.arange(len(group)) <= limits.UNACKNOWLEDGED.value
        keep = (end > reached) & late
        kept.append({"side": 2 * slots[group[keep]] + d, "end": end[keep], "time": when[keep]})
        rest = mine[~touched]
        kept.append({name: past[name][rest] for name in past})
    merged = {name: np.concatenate([part[name] for part in kept]) for name in past}
    order = np.argsort(merged["side"], kind="stable")
    state.in_flight = {name: array[order] for name, array in merged.items()}
    return newest


def _rightmost(ends: Array, low: Array, high: Array, wanted: Array) -> Array:
    """Largest position in [low, high] with ends[position] <= wanted, where ends ascend; -1 without one. All (m,)."""
    result = np.where(ends[high] <= wanted, high, -1) if len(high) else high
    open_rows = np.flatnonzero(result < 0)
    lo, hi, want = low[open_rows] - 1, high[open_rows], wanted[open_rows]
    while len(lo) and bool(np.any(hi - lo > 1)):
        middle = (lo + hi) // 2
        fits = (ends[np.maximum(middle, 0)] <= want) & (middle > lo)
        lo = np.where(fits, middle, lo)
        hi = np.where(fits | (middle <= lo), hi, middle)
    result[open_rows] = np.where(lo >= low[open_rows], lo, -1)
    return result


def find_syns(rows: Columns, groups: Groups, index: Array, state: TcpState) -> Syns:
    """The SYNs up to each row."""
    is_syn = (rows["flags"] & SYN) != 0
    times: list[Array] = []
    again: list[Array] = []
    for d in (0, 1):
        mine = is_syn & (rows["direction"] == d)
        position = np.where(mine, np.arange(len(index)), -1)
        np.maximum.accumulate(position, out=position)
        inside = position >= groups.start
        times.append(np.where(inside, rows["time"][np.maximum(position, 0)], state.directions["syn_time"][2 * index + d]))
        count = np.cumsum(mine)
        count -= (count - mine)[groups.start]
        again.append((count + state.directions["syn_seen"][2 * index + d] > 1) | state.directions["syn_again"][2 * index + d])
        state.directions["syn_again"][2 * index[groups.first] + d] = again[-1][groups.last]
    return Syns((times[0], times[1]), (again[0], again[1]))
