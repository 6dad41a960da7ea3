"""Sequence and acknowledgement numbers unwrapped to 64-bit stream offsets. No other module sees 32 bits.

A number is measured from the newest one of its direction (RFC 9293 section 3.4: modulo 2**32), which is right as long
as neighbours are less than 2 GiB apart. A jump of more than JUMP is not followed until the next packet confirms it.
"""

from __future__ import annotations

import numpy as np

from wiredoctor.scan import Groups, before, fill, last_where
from wiredoctor.tables import ACK, NEVER, RST, SYN, Array, Columns
from wiredoctor.tcp.state import TcpState

JUMP = 1 << 30
"""Bytes; no window is larger than 2**30 (RFC 7323 section 2.2), so that no honest sender gets further ahead."""


def _wrapped(difference: Array) -> Array:
    return difference.astype(np.uint32).view(np.int32).astype(np.int64)


def set_bases(rows: Columns, groups: Groups, index: Array, state: TcpState) -> None:
    """Initial sequence numbers of directions seen first in this epoch (tshark's base_seq).

    From the first packet of the direction (its number, less 1 when it is no SYN), or, when that comes earlier, from the
    first acknowledgement that the other side sent.
    """
    directions = state.directions
    for direction in (0, 1):
        side = 2 * index[groups.first] + direction
        unset = ~directions["base_set"][side]
        if not unset.any():
            continue
        own = rows["direction"] == direction
        acks = ~own & ((rows["flags"] & ACK) != 0)
        first = np.full(groups.count, -1)
        either = np.flatnonzero((own | acks) & unset[groups.number])[::-1]
        first[groups.number[either]] = either
        use = np.flatnonzero(first >= 0)
        row = first[use]
        base = np.where(
            own[row], rows["seq"][row] - ((rows["flags"][row] & SYN) == 0).astype(np.uint32), rows["ack"][row] - np.uint32(1)
        ).astype(np.uint32)
        directions["base"][side[use]] = base
        directions["base_set"][side[use]] = True


def seq_offsets(rows: Columns, groups: Groups, index: Array, state: TcpState) -> Array:
    """Stream offset of the first payload byte of each row (n,); RSTs do not move the reference."""
    offset = np.empty(len(index), dtype=np.int64)
    for direction in (0, 1):
        mine = rows["direction"] == direction
        side = 2 * index + direction
        _unwrap(rows["seq"], mine, mine & ((rows["flags"] & RST) == 0), side, "seq", side, groups, state, offset)
    return offset + ((rows["flags"] & SYN) != 0)


def ack_offsets(rows: Columns, groups: Groups, index: Array, state: TcpState) -> Array:
    """Stream offset, in the other direction, that each row acknowledges (n,); NEVER without the ACK flag."""
    offset = np.full(len(index), NEVER, dtype=np.int64)
    has = (rows["flags"] & ACK) != 0
    for direction in (0, 1):
        mine = (rows["direction"] == direction) & has
        side = 2 * index + direction
        other = 2 * index + (1 - direction)
        _unwrap(rows["ack"], mine, mine & ((rows["flags"] & RST) == 0), side, "ack", other, groups, state, offset)
    return offset


def _unwrap(
    raw: Array, rows: Array, lead: Array, side: Array, name: str, base_of: Array, groups: Groups, state: TcpState, out: Array
) -> None:
    """Offsets of `rows`, each measured from the newest row in `lead` before it, or from the initial number."""
    directions = state.directions
    known = directions[f"{name}_offset"][side]
    start_raw = np.where(known == NEVER, directions["base"][base_of] + np.uint32(1), directions[f"{name}_raw"][side])
    start_offset = np.where(known == NEVER, 0, known)
    index = last_where(lead, groups)
    previous = before(index, groups)
    step = _wrapped(raw - fill(raw, previous, start_raw))
    total = np.cumsum(np.where(lead, step, 0))
    base = (total - np.where(lead, step, 0))[groups.start]
    moved = np.where(index >= 0, total - base, 0) + start_offset
    # a row that does not lead is measured from the newest that did
    offset = np.where(lead, moved, moved + step)
    last = index[groups.last]
    seen = last >= 0
    target = side[groups.last][seen]
    directions[f"{name}_raw"][target] = raw[last[seen]]
    directions[f"{name}_offset"][target] = offset[last[seen]]
    wild = rows & ((np.abs(step) > JUMP) | (directions[f"{name}_jump_offset"][side] != NEVER))
    if wild.any():
        for group in np.unique(groups.number[wild]).tolist():
            first = int(groups.first[group])
            newest = int(start_raw[first]), int(start_offset[first])
            _unwrap_slowly(raw, rows, lead, groups, group, newest, int(side[first]), name, offset, state)
    out[rows] = offset[rows]


def _unwrap_slowly(
    raw: Array, rows: Array, lead: Array, groups: Groups, group: int, newest: tuple[int, int], side: int, name: str,
    offset: Array, state: TcpState,
) -> None:  # fmt: skip
    """The same for one group with a wild jump, packet by packet: a jump counts once the packet after it agrees."""
    first, last = int(groups.first[group]), int(groups.last[group])
    reference, position = newest
    members = [i for i in range(first, last + 1) if rows[i]]
    jumps = state.directions[f"{name}_jump_raw"], state.directions[f"{name}_jump_offset"]
    candidate = None if jumps[1][side] == NEVER else (int(jumps[0][side]), int(jumps[1][side]))
    for i in members:
        number = int(raw[i])
        step = _signed(number - reference)
        here = position + step
        if candidate is not None and abs(_signed(number - candidate[0])) <= JUMP < abs(step):
            reference, position = candidate
            here = position + _signed(number - reference)
            step = 0
        offset[i] = here
        if not lead[i]:
            continue
        if abs(step) <= JUMP:
            reference, position, candidate = number, here, None
        else:
            candidate = (number, here)
    state.directions[f"{name}_raw"][side], state.directions[f"{name}_offset"][side] = reference, position
    jumps[0][side], jumps[1][side] = candidate or (0, NEVER)


def _signed(difference: int) -> int:
    return ((difference + 0x80000000) & 0xFFFFFFFF) - 0x80000000
