"""What happens to a connection as a whole: counts, history, when it was closed, and when it is forgotten."""

from __future__ import annotations

import numpy as np

from wiredoctor import limits
from wiredoctor.scan import Groups
from wiredoctor.tables import ACK, FIN, NEVER, RST, SYN, Array, Columns
from wiredoctor.tcp.sparse import blank
from wiredoctor.tcp.state import LETTERS, TcpState


def follow(
    s: Columns, groups: Groups, index: Array, clock: Array, said: tuple[Array, Array], state: TcpState
) -> None:  # fmt: skip
    """Brings the connections of this epoch up to date; `clock` (n,) is the watermark at each row, `said` as in Agreement."""
    c, d = state.connections, state.directions
    slots, side = index[groups.first], 2 * index + s["direction"]
    new = c["first_frame"][slots] == NEVER
    c["first_frame"][slots[new]] = s["frame"][groups.first[new]]
    c["first_time"][slots[new]] = s["time"][groups.first[new]]
    c["last_frame"][slots] = s["frame"][groups.last]
    c["last_time"][slots] = s["time"][groups.last]
    c["last_clock"][slots] = clock[groups.last]
    local = 2 * groups.number + s["direction"]
    sides = (2 * slots[:, None] + np.arange(2)).ravel()
    d["packets"][sides] += np.bincount(local, minlength=len(sides))
    rows = np.flatnonzero(d["first_frame"][side] == NEVER)[::-1]
    d["first_frame"][side[rows]] = s["frame"][rows]
    d["bytes"][sides] += np.bincount(local, weights=s["new_bytes"], minlength=len(sides)).astype(np.int64)
    refusal = _without_refusals(s, index, state)
    for name, bit in (("fin", FIN), ("rst", RST)):
        rows = np.flatnonzero(((s["flags"] & bit) != 0) & (d[f"{name}_frame"][side] == NEVER) & ~refusal)[::-1]
        d[f"{name}_frame"][side[rows]] = s["frame"][rows]
        d[f"{name}_time"][side[rows]] = s["time"][rows]
        d[f"{name}_ack"][side[rows]] = s["ack"][rows]
        d[f"{name}_offset"][side[rows]] = s["offset"][rows] + s["length"][rows]
    _super_segments(s, side, said, state)
    ended = (d["fin_frame"][2 * slots] != NEVER) & (d["fin_frame"][2 * slots + 1] != NEVER)
    ended |= (d["rst_frame"][2 * slots] != NEVER) | (d["rst_frame"][2 * slots + 1] != NEVER)
    fresh = slots[ended & ~c["closed"][slots]]
    c["closed"][fresh] = True
    state.closing.extend(fresh.tolist())
    _history(s, side, state)


def _without_refusals(s: Columns, index: Array, state: TcpState) -> Array:
    """Rows that refused a SYN which was answered later: they closed nothing (Windows tries again with the same SYN)."""
    c, d = state.connections, state.directions
    rows = np.flatnonzero((s["flags"] & (SYN | RST)) != 0)
    rows = rows[(c["refused_frame"][index[rows]] != NEVER) & (c["first_answer_frame"][index[rows]] != NEVER)]
    refusal = blank(len(index), "?", 0)
    if not len(rows):
        return refusal
    refusal = refusal.copy()
    refusal[rows] = s["frame"][rows] < c["first_answer_frame"][index[rows]]
    for slot in np.unique(index[rows]).tolist():
        server = 2 * slot + 1 - int(c["client_direction"][slot])
        if NEVER < d["rst_frame"][server] < c["first_answer_frame"][slot]:
            c["closed"][slot] = False
            for name in ("frame", "time", "ack", "offset"):
                d[f"rst_{name}"][server] = NEVER
    return refusal


def _super_segments(s: Columns, side: Array, said: tuple[Array, Array], state: TcpState) -> None:
    """Counts segments longer than what their receiver had announced in its SYN: no network carries them."""
    rows = np.flatnonzero(s["length"] > s["mss"])
    if not len(rows):
        return
    announced = np.where(s["direction"][rows] == 0, said[1][rows], said[0][rows])
    above = s["handshake"][rows] & (announced > 0) & (s["length"][rows] > announced)
    rows, announced = rows[above], announced[above]
    c, slot = state.connections, side[rows] >> 1
    np.add.at(c["super_segments"], slot, 1)
    first = c["super_frame"][slot] == NEVER
    fresh = rows[first][::-1]
    for name in ("frame", "time"):
        c[f"super_{name}"][side[fresh] >> 1] = s[name][fresh]
    c["super_mss"][side[fresh] >> 1] = announced[first][::-1]


def _history(s: Columns, side: Array, state: TcpState) -> None:
    flags = s["flags"]
    kinds = {
        "S": (flags & (SYN | ACK)) == SYN,
        "H": (flags & (SYN | ACK)) == (SYN | ACK),
        "A": s["pure_ack"],
        "D": s["new_bytes"] > 0,
        "F": (flags & FIN) != 0,
        "R": (flags & RST) != 0,
        "G": s["acks_unseen"] > 0,
        "T": s["retransmission"],
        "W": s["zero_window"],
    }
    for column, letter in enumerate(LETTERS):
        rows = np.flatnonzero(kinds[letter] & (state.letters[side, column] == NEVER))[::-1]
        state.letters[side[rows], column] = s["frame"][rows]


def expired(state: TcpState) -> list[int]:
    """Slots whose retention is over; those that were replaced are over already."""
    if not state.closing:
        return []
    # a slot may be there twice: what seemed to be its close was none, and then it closed
    c, slots = state.connections, np.array([*dict.fromkeys(state.closing)], dtype=np.int64)
    slots = slots[c["closed"][slots] & (c["replaced_at"][slots] == NEVER)]
    late = state.clock - c["last_clock"][slots] >= limits.RETENTION.value
    late &= state.frame - c["last_frame"][slots] >= limits.RETAINED_PACKETS.value
    state.closing = slots[~late].tolist()
    over: list[int] = slots[late].tolist()
    return over


def with_packets(slots: list[int], state: TcpState) -> list[int]:
    """Those of the slots whose connection has packets of its own, and not only some that ICMP errors quoted."""
    first = state.connections["first_frame"]
    return [slot for slot in slots if first[slot] != NEVER]


def of_ids(slots: list[int], ids: Array, state: TcpState) -> list[int]:
    """Those of the slots whose connection has one of these ids."""
    array = np.array(slots, dtype=np.int64)
    some: list[int] = array[np.isin(state.connections["id"][array], ids)].tolist()
    return some


def by_id(ids: Array, state: TcpState) -> dict[int, int]:
    """The connections of these ids that are followed: id -> slot."""
    slots = np.fromiter(state.flow_keys, np.int64, len(state.flow_keys))
    known = state.connections["id"][slots]
    some = np.isin(known, ids)
    return dict(zip(known[some].tolist(), slots[some].tolist(), strict=True))


def is_closed(slot: int, state: TcpState) -> bool:
    """Whether both sides closed the connection, or one reset it."""
    return bool(state.connections["closed"][slot])


def client_is_known(slot: int, state: TcpState) -> bool:
    """Whether a SYN was seen, which tells who the client is."""
    return bool((state.directions["syn_frame"][2 * slot : 2 * slot + 2] != NEVER).any())


def window_closed_since(slot: int, state: TcpState) -> int | None:
    """When the earliest of the windows was closed of which it is not told yet what waited for them; None without such."""
    return min((closure.closed[1] for closure in state.closures.get(slot, {}).values()), default=None)


def stalled_since(slot: int, state: TcpState) -> int | None:
    """Return when the earliest stall began that only the next ACK may show, or None; NEVER if its beginning is not known.

    What it shows is that a retransmission ended a time without progress, or that a probe sent what was held back.
    """
    sides = 2 * slot, 2 * slot + 1
    if any(side in state.probes for side in sides):
        return NEVER
    return min((state.stalls[side].progress[1] for side in sides if side in state.stalls), default=None)


def open_slots(state: TcpState) -> list[int]:
    """Slots of the connections that are not finished, in the order of their ids."""
    slots = [slot for slot in state.flow_keys if state.connections["first_frame"][slot] != NEVER]
    return sorted(slots, key=lambda slot: int(state.connections["id"][slot]))


def release(slots: list[int], state: TcpState) -> None:
    """Forgets finished connections; their slots are used again."""
    gone = set(slots)
    for slot in slots:
        state.closures.pop(slot, None)
        name = state.flow_keys.pop(slot, None)
        if name is not None and state.flows.get(name) == slot:
            del state.flows[name]
        for side in (2 * slot, 2 * slot + 1):
            state.holes.pop(side, None)
            state.proofs.pop(side, None)
            state.probes.pop(side, None)
            state.stalls.pop(side, None)
            state.duplicates.pop(side, None)
    state.closing = [slot for slot in state.closing if slot not in gone]
    if slots:
        array = np.array(slots, dtype=np.int64)
        state.connections.reset(array)
        state.directions.reset(array)
        state.letters[(2 * array[:, None] + np.arange(2)).ravel()] = NEVER
        if state.in_flight:
            keep = ~np.isin(state.in_flight["side"] >> 1, array)
            state.in_flight = {name: values[keep] for name, values in state.in_flight.items()}
        if state.sent:
            keep = ~np.isin(state.sent["side"] >> 1, array)
            state.sent = {name: values[keep] for name, values in state.sent.items()}
    state.free.extend(slots)
