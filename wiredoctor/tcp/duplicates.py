"""Packets that were captured twice: the second copy keeps its frame number and goes no further.

A mirror port that sees both directions of a switch, or two interfaces, record a packet twice; rules.md,
`duplicate-packets`, says what counts as the same packet.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from wiredoctor import limits
from wiredoctor.tables import ACK, FIN, MILLISECOND, NEVER, RST, SYN, Array, Columns
from wiredoctor.tcp.state import TcpState

WITHIN = 100 * MILLISECOND
"""Two records of one packet lie no further apart; a sender's own timeout is at least 200 ms on common systems."""
AT_ONCE = MILLISECOND
"""Copies that look alike in every layer must follow each other within this: a mirror port's delay, no retransmission."""

_SAME = ("seq", "ack", "flags", "window", "length", "options_hash", "ip_id", "ip_version")
_OTHER_WAY = ("interface", "link_hash", "ttl", "encapsulation")
_KEPT = (*_SAME, *_OTHER_WAY, "frame", "time", "clock", "side", "payload", "captured", "has_timestamps")


def second_copies(rows: Columns, suspect: Array, read: Callable[[int, int], bytes], state: TcpState) -> Array:
    """Which rows (n,) are second copies. Only `suspect` rows, that bring nothing new, are looked up.

    `rows` has the columns of `packets` and `side` (index of the direction); `read(payload, length)` gives payload bytes.
    Rows are in the order of their frames within a side.
    """
    copy = np.zeros(len(suspect), dtype=bool)
    past = state.recent or {name: rows[name][:0] for name in _KEPT}
    touched = np.isin(rows["side"], rows["side"][suspect]) if suspect.any() else suspect
    use = np.flatnonzero(touched)
    if len(use):
        both = {name: np.concatenate((past[name], rows[name][use])) for name in _KEPT}
        number = np.concatenate((np.full(len(past["time"]), -1), use))
        _find(both, number, suspect, copy, read, state)
    _remember(rows, past, state)
    return copy


def _find(both: Columns, number: Array, suspect: Array, copy: Array, read: Callable[[int, int], bytes], state: TcpState) -> None:
    with np.errstate(over="ignore"):
        mixed = both["side"].astype(np.uint64)
        for name in _SAME:
            mixed = (mixed ^ both[name].astype(np.int64).view(np.uint64)) * np.uint64(0x9E3779B97F4A7C15)
            mixed ^= mixed >> np.uint64(31)
    order = np.argsort(mixed, kind="stable")
    alike = np.zeros(len(order), dtype=bool)
    alike[1:] = mixed[order][1:] == mixed[order][:-1]
    duplicated = state.connections["duplicated_data"]
    found = np.flatnonzero(alike)
    # in the order of frames: what was found duplicated before tells about the next
    for position in found[np.argsort(number[order[found]], kind="stable")].tolist():
        later, earlier = int(order[position]), int(order[position - 1])
        row = int(number[later])
        if row < 0 or not suspect[row] or not _is_copy(both, earlier, later, duplicated, read):
            continue
        copy[row] = True
        _note(both, earlier, later, state)
        if both["length"][later] > 0:
            duplicated[int(both["side"][later]) // 2] = True


def _note(both: Columns, earlier: int, later: int, state: TcpState) -> None:
    """Remembers the first second copy of a connection, and what tells it from the first."""
    c, slot = state.connections, int(both["side"][later]) // 2
    frame = int(both["frame"][later])
    if NEVER < c["duplicate_frame"][slot] <= frame:
        return
    c["duplicate_frame"][slot], c["duplicate_time"][slot] = frame, both["time"][later]
    c["duplicate_first_frame"][slot] = both["frame"][earlier]
    ways = (n for n, name in enumerate(_OTHER_WAY, start=1) if both[name][earlier] != both[name][later])
    c["duplicate_way"][slot] = next(ways, 0)


def _is_copy(both: Columns, a: int, b: int, duplicated: Array, read: Callable[[int, int], bytes]) -> bool:
    apart = int(both["time"][b] - both["time"][a])
    if not 0 <= apart <= WITHIN or both["clock"][b] - both["clock"][a] > WITHIN:
        return False
    if both["frame"][b] - both["frame"][a] > limits.COPIES.value:
        return False
    if both["side"][a] != both["side"][b] or any(both[n][a] != both[n][b] for n in _SAME):
        return False
    other_way = any(both[name][a] != both[name][b] for name in _OTHER_WAY)
    bare = both["length"][b] == 0 and both["flags"][b] & (SYN | FIN | RST | ACK) == ACK and not both["has_timestamps"][b]
    if bare and not other_way:
        same_id = both["ip_id"][b] > 0 and bool(duplicated[int(both["side"][b]) // 2])
        return same_id and apart <= AT_ONCE
    if not other_way and (apart > AT_ONCE or _may_be_alike(both, b)):
        return False
    size = int(min(both["captured"][a], both["captured"][b]))
    return size == 0 or read(int(both["payload"][a]), size) == read(int(both["payload"][b]), size)


def _may_be_alike(both: Columns, row: int) -> bool:
    """An RST without identification: a host that has closed sends the same one for each packet that still comes."""
    return bool(both["length"][row] == 0 and both["flags"][row] & RST and both["ip_id"][row] <= 0)


def _remember(rows: Columns, past: Columns, state: TcpState) -> None:
    """Keeps the rows of the last 100 ms for the next epoch; copies too: a third one is found by the second."""
    oldest = int(rows["clock"].max()) - WITHIN if len(rows["clock"]) else 0
    first = state.frame - limits.COPIES.value
    keep, old = ((part["clock"] >= oldest) & (part["frame"] >= first) for part in (rows, past))
    state.recent = {name: np.concatenate((past[name][old], rows[name][keep])) for name in _KEPT}
