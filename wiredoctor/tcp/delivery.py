"""Which bytes are new: the highest byte that a side has sent, and the holes below it.

A running maximum finds the rows that continue exactly where the highest byte was; only the others, a few per cent under
loss, are visited one by one. A hole is [start, end, acknowledged]: bytes that were not seen, though later ones were, or
though they were acknowledged.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass

import numpy as np

from wiredoctor import limits
from wiredoctor.scan import Groups, before, last_where, running_max
from wiredoctor.tables import ACK, FIN, NEVER, RST, SYN, Array, Columns
from wiredoctor.tcp.sequence import JUMP
from wiredoctor.tcp.state import TcpState


@dataclass
class Delivery:
    """What each row (n,) brings. `high` are the highest offsets of direction 0 and 1 after each row, `high_before` before it.

    `pieces` are further new ranges of rows that fill several holes: (row, start, end).
    """

    high: tuple[Array, Array]
    high_before: tuple[Array, Array]
    new_start: Array
    new_bytes: Array
    opens_hole: Array
    fills_hole: Array
    overlap: Array
    acks_unseen: Array
    pieces: list[tuple[int, int, int]]


def deliver(rows: Columns, groups: Groups, index: Array, state: TcpState) -> Delivery:
    """Highest bytes, new bytes and holes of an epoch. `rows` has direction, flags, offset, length and ack_offset."""
    n = len(index)
    direction, flags, offset, ack = rows["direction"], rows["flags"], rows["offset"], rows["ack_offset"]
    length = rows["length"].astype(np.int64)
    end = offset + length + ((flags & FIN) != 0)
    counts = (flags & RST) == 0
    high: list[Array] = []
    high_before: list[Array] = []
    for d in (0, 1):
        side = 2 * index[groups.first] + d
        own = counts & (direction == d)
        initial = state.directions["high"][side]
        first_ever = own & (before(last_where(own, groups), groups) < 0) & (initial == NEVER)[groups.number]
        sent = own & ((end > offset) | first_ever)
        syn = own & ((flags & SYN) != 0) & ~sent
        if syn.any():
            # another initial number is where a side begins that has said nothing before (a challenge ACK, RFC 5961 section 4, or
            # an RST of the connection before); of one that has, it tells nothing
            spoke = before(last_where(own & (length > 0), groups), groups) >= 0
            sent |= syn & ~spoke & (state.directions["payload_frame"][side] == NEVER)[groups.number]
        # acknowledgements have no part in this one: where an epoch ends must not lend it what one of them claimed
        reached = running_max(end, own, groups, state.directions["reached"][side])
        sent_before = before(reached, groups)
        sent_before[groups.first] = state.directions["reached"][side]
        state.directions["reached"][side] = reached[groups.last]
        # an acknowledgement shows that the sender sent, but no honest one is a window ahead
        shown = counts & (direction != d) & ((flags & ACK) != 0) & (sent_before != NEVER) & (ack - sent_before <= JUMP)
        total = running_max(np.where(own, end, ack), sent | shown, groups, initial)
        previous = before(total, groups)
        previous[groups.first] = initial
        state.directions["high"][side] = total[groups.last]
        high.append(total)
        high_before.append(previous)
    own_before = np.where(direction == 0, high_before[0], high_before[1])
    occupies = counts & (end > offset)
    result = Delivery(
        (high[0], high[1]), (high_before[0], high_before[1]), offset.copy(), np.where(occupies, length, 0),
        np.zeros(n, dtype=bool), np.zeros(n, dtype=bool), np.zeros(n, dtype=bool), np.zeros(n, dtype=np.int64), [],
    )  # fmt: skip
    _visit(rows, groups, index, occupies & (own_before != NEVER) & (offset != own_before), end, result, state)
    return result


def _visit(rows: Columns, groups: Groups, index: Array, odd: Array, end: Array, out: Delivery, state: TcpState) -> None:
    """Walks the rows that open, fill or overlap a hole, and the acknowledgements while there is one."""
    direction, flags = rows["direction"], rows["flags"]
    acks = ((flags & ACK) != 0) & ((flags & RST) == 0)
    for d in (0, 1):
        high_before = out.high_before[d]
        side = 2 * index + d
        beyond = (
            acks & (direction != d) & (high_before != NEVER) & (rows["ack_offset"] > high_before) & (out.high[d] > high_before)
        )
        mine = odd & (direction == d)
        trouble = np.zeros(groups.count, dtype=bool)
        trouble[groups.number[mine | beyond]] = True
        if state.holes:
            firsts = (2 * index[groups.first] + d).tolist()
            trouble |= np.fromiter((s in state.holes for s in firsts), dtype=bool, count=len(firsts))
        if not trouble.any():
            continue
        honest = acks & (direction != d) & (rows["ack_offset"] <= out.high[d])
        event = np.flatnonzero(trouble[groups.number] & (mine | honest))
        names = (side, direction == d, rows["offset"], end, rows["length"], rows["ack_offset"], high_before, beyond)
        for row, s, own, start, stop, length, ack, high, jumps in zip(
            event.tolist(), *(a[event].tolist() for a in names), strict=True
        ):
            holes = state.holes.get(s)
            if own:
                holes = state.holes.setdefault(s, []) if holes is None else holes
                _data(row, s, start, stop, length, high, holes, out, state)
            elif holes or jumps:
                holes = state.holes.setdefault(s, []) if holes is None else holes
                _acknowledge(row, s, ack, high if jumps else None, holes, rows, out, state)
            if holes is not None and (excess := len(holes) - limits.HOLES.value) > 0:
                del holes[:excess]
                state.met.add(limits.HOLES, excess)
            if holes is not None and not holes:
                del state.holes[s]


def _data(
    row: int, side: int, start: int, stop: int, length: int, high: int, holes: list[list[int]], out: Delivery, state: TcpState
) -> None:
    if start > high:
        holes.append([high, start, 0])
        out.opens_hole[row] = True
        return
    last = start + length  # a FIN takes a number, but brings no byte
    ranges = _fill(holes, start, stop, side, state)
    filled = bool(ranges)
    if stop > high:
        ranges.append((max(start, high), stop))
    ranges = [(a, min(b, last)) for a, b in ranges if a < last]
    new = sum(b - a for a, b in ranges)
    out.new_bytes[row] = new
    out.fills_hole[row] = filled and new > 0
    out.overlap[row] = 0 < new < length
    if ranges:
        out.new_start[row] = ranges[0][0]
        if len(ranges) > 1:
            out.pieces.extend((row, a, b) for a, b in ranges)


def _fill(holes: list[list[int]], start: int, stop: int, side: int, state: TcpState) -> list[tuple[int, int]]:
    """Takes [start, stop) out of the holes; returns what was taken, in order."""
    ranges: list[tuple[int, int]] = []
    i = max(bisect_right(holes, start, key=lambda hole: hole[0]) - 1, 0)
    while i < len(holes) and holes[i][0] < stop:
        a, b, acknowledged = holes[i]
        lo, hi = max(a, start), min(b, stop)
        if lo >= hi:
            i += 1
            continue
        ranges.append((lo, hi))
        if acknowledged:
            state.directions["unseen_bytes"][side] -= hi - lo
        rest = [[x, y, acknowledged] for x, y in ((a, lo), (hi, b)) if x < y]
        holes[i : i + 1] = rest
        i += len(rest)
    return ranges


def _acknowledge(
    row: int, side: int, ack: int, high: int | None, holes: list[list[int]], rows: Columns, out: Delivery, state: TcpState
) -> None:
    unseen = 0
    # acknowledgements are cumulative: the acknowledged holes are the first ones
    for i in range(bisect_right(holes, 0, key=lambda hole: 1 - 2 * hole[2]), len(holes)):
        start, stop, _ = holes[i]
        if start >= ack:
            break
        unseen += min(stop, ack) - start
        if stop <= ack:
            holes[i][2] = 1
            continue
        holes[i][0] = ack
        if i > 0 and holes[i - 1][1] == start:
            holes[i - 1][1] = ack
        else:
            holes.insert(i, [start, ack, 1])
        break
    if high is not None:
        if holes and holes[-1][1] == high and holes[-1][2]:
            holes[-1][1] = ack
        else:
            holes.append([high, ack, 1])
        unseen += ack - high
    if unseen:
        out.acks_unseen[row] = unseen
        state.directions["unseen_bytes"][side] += unseen
        slot = side // 2
        state.connections["unseen_places"][slot] += 1
        if not NEVER < int(state.connections["unseen_frame"][slot]) <= int(rows["frame"][row]):
            state.connections["unseen_frame"][slot] = int(rows["frame"][row])
            state.connections["unseen_time"][slot] = int(rows["time"][row])


def own_and_other(pair: tuple[Array, Array], direction: Array) -> tuple[Array, Array]:
    """Of a value per direction, that of the row's own direction and that of the other."""
    return np.where(direction == 0, pair[0], pair[1]), np.where(direction == 0, pair[1], pair[0])


def latest(mask: Array, direction: Array, groups: Groups) -> tuple[Array, Array]:
    """Newest rows up to and including each row where the mask holds, of direction 0 and of direction 1; -1 without one."""
    return last_where(mask & (direction == 0), groups), last_where(mask & (direction == 1), groups)
