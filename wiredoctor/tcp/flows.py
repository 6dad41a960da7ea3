"""Which connection a packet belongs to, numbered as Wireshark numbers `tcp.stream`.

A connection is a pair of endpoints; a SYN with another initial sequence number than the one known for its side opens
a new one (tshark 4.0, packet-tcp.c). A packet that comes long after the last one of a closed connection does, too.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wiredoctor import limits
from wiredoctor.scan import bucket
from wiredoctor.tables import ACK, FIN, RST, SYN, Array, Columns
from wiredoctor.tcp.state import TcpState


@dataclass
class Assignment:
    """Slot and direction of each packet (n,), and the slots that packets of this epoch have replaced by new connections."""

    slot: Array
    direction: Array
    replaced: list[int]


@dataclass
class Flows:
    """The pairs of endpoints of some packets. Per packet (n,): whether its source is the greater endpoint, and its pair; per
    pair (k,): its name, its slot (-1: it has none), and a row of it."""

    swapped: Array
    flow: Array
    names: list[bytes]
    slots: Array
    row: Array


def look_up(packets: Columns, state: TcpState) -> Flows:
    """Which pairs of endpoints there are, and what is known of them."""
    swapped, keys = _endpoints(packets)
    flow, row = _distinct(keys)
    names = [bytes(k) for k in np.ascontiguousarray(keys[row]).view(f"V{keys.shape[1] * 8}").ravel().tolist()]
    return Flows(swapped, flow, names, np.array([state.flows.get(name, -1) for name in names], dtype=np.int64), row)


def buckets(packets: Columns, rows: Array) -> Array:
    """Of some rows the part of the connections that each belongs to (see scan.BUCKETS)."""
    high, low, port = (
        [packets[f"{side}_{name}"][rows] for side in ("source", "destination")] for name in ("high", "low", "port")
    )
    return bucket((high[0], low[0], high[1], low[1]), (port[0], port[1]))


def assign(packets: Columns, clock: Array, found: Flows, state: TcpState) -> Assignment:
    """Finds or opens the connection of each packet. `clock` (n,) is the largest time stamp up to each packet."""
    swapped, flow, names, slots = found.swapped, found.flow, found.names, found.slots
    part, opened = _split(packets, clock, swapped, flow, slots, state)
    # parts beyond the flows are connections that a flow opened within this epoch
    slot_of = np.append(slots, np.full(len(opened), -1, dtype=np.int64))
    flow_of = list(range(len(names))) + [f for f, _ in opened]
    first_row = np.append(_first_rows(flow, len(names)), np.array([row for _, row in opened], dtype=np.int64))
    fresh = np.flatnonzero(slot_of < 0)
    fresh = fresh[np.argsort(first_row[fresh], kind="stable")]
    replaced: list[int] = []
    if len(fresh):
        new = np.array(state.allocate(len(fresh)), dtype=np.int64)
        slot_of[fresh] = new
        rows = first_row[fresh]
        _open(packets, swapped, rows, new, state)
        connections: list[int] = fresh.tolist()
        for connection, slot in zip(connections, new.tolist(), strict=True):
            name = names[flow_of[connection]]
            former = state.flows.get(name)
            if former is not None:
                replaced.append(former)
                state.connections["replaced_at"][former] = clock[first_row[connection]]
                del state.flow_keys[former]
            state.flows[name] = slot
            state.flow_keys[slot] = name
    slot = slot_of[part]
    direction = (swapped != state.connections["swapped"][slot]).astype(np.int8)
    return Assignment(slot, direction, replaced)


def _endpoints(packets: Columns) -> tuple[Array, Array]:
    """Whether the source is the greater endpoint (n,), and the pair in order as keys (n, 6) of uint64."""
    sh, sl, sp = packets["source_high"], packets["source_low"], packets["source_port"]
    dh, dl, dp = packets["destination_high"], packets["destination_low"], packets["destination_port"]
    swapped = (sh > dh) | ((sh == dh) & ((sl > dl) | ((sl == dl) & (sp > dp))))
    keys = np.empty((len(sh), 6), dtype=np.uint64)
    keys[:, 0] = np.where(swapped, dh, sh)
    keys[:, 1] = np.where(swapped, dl, sl)
    keys[:, 2] = np.where(swapped, sh, dh)
    keys[:, 3] = np.where(swapped, sl, dl)
    keys[:, 4] = (np.where(swapped, dp, sp).astype(np.uint64) << np.uint64(16)) | np.where(swapped, sp, dp)
    keys[:, 5] = packets["ip_version"]
    return swapped, keys


def _distinct(keys: Array) -> tuple[Array, Array]:
    """Number of the distinct key of each row (n,), and a row that has each (k,). Hashing only speeds it up: it is verified."""
    with np.errstate(over="ignore"):
        mixed = keys[:, 0].copy()
        for column, factor in (
            (1, 0x9E3779B97F4A7C15),
            (2, 0xC2B2AE3D27D4EB4F),
            (3, 0x165667B19E3779F9),
            (4, 0xD6E8FEB86659FD93),
        ):
            mixed = (mixed ^ keys[:, column]) * np.uint64(factor)
            mixed ^= mixed >> np.uint64(29)
        mixed += keys[:, 5]
    _, representative, number = np.unique(mixed, return_index=True, return_inverse=True)
    if bool(np.any(keys != keys[representative[number]])):
        _, representative, number = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    return number.ravel(), representative


def _first_rows(flow: Array, count: int) -> Array:
    first = np.empty(count, dtype=np.int64)
    first[flow[::-1]] = np.arange(len(flow))[::-1]
    return first


def _open(packets: Columns, swapped: Array, rows: Array, slots: Array, state: TcpState) -> None:
    connections, directions = state.connections, state.directions
    connections["id"][slots] = np.arange(state.next_id, state.next_id + len(slots))
    state.next_id += len(slots)
    state.opened.extend(packets["frame"][rows].tolist())
    connections["swapped"][slots] = swapped[rows]
    connections["bucket"][slots] = buckets(packets, rows)
    connections["ip_version"][slots] = packets["ip_version"][rows]
    for direction, side in ((0, "source"), (1, "destination")):
        directions["address_high"][2 * slots + direction] = packets[f"{side}_high"][rows]
        directions["address_low"][2 * slots + direction] = packets[f"{side}_low"][rows]
        directions["port"][2 * slots + direction] = packets[f"{side}_port"][rows]


def _split(
    packets: Columns, clock: Array, swapped: Array, flow: Array, slots: Array, state: TcpState
) -> tuple[Array, list[tuple[int, int]]]:
    """Part of each row: its flow's number, or len(slots) + i for the i-th connection (flow, first row) opened within a flow."""
    flags = packets["flags"]
    first = _first_rows(flow, len(slots))
    rows = np.arange(len(flow))
    reopening = ((flags & (SYN | ACK)) == SYN) & ((first[flow] != rows) | (slots[flow] >= 0))
    doubtful = np.zeros(len(slots), dtype=bool)
    doubtful[flow[reopening]] = True
    if bool(clock[-1] - min(int(clock[0]), state.clock if state.clock > 0 else 0) >= limits.RETENTION.value):
        known = slots >= 0
        doubtful[known] |= state.connections["closed"][slots[known]]
        doubtful[flow[(flags & (FIN | RST)) != 0]] = True
    part = flow.copy()
    opened: list[tuple[int, int]] = []
    if not doubtful.any():
        return part, opened
    wanted = np.flatnonzero(doubtful[flow])
    wanted = wanted[np.argsort(flow[wanted], kind="stable")]
    bounds = np.flatnonzero(np.diff(flow[wanted])) + 1
    for members in np.split(wanted, bounds):
        number = int(flow[members[0]])
        found = _reopenings(packets, clock, swapped, members, int(slots[number]), state)
        nth = np.searchsorted(np.array(found, dtype=np.int64), members, side="right")
        part[members] = np.where(nth > 0, len(slots) + len(opened) + nth - 1, number)
        opened.extend((number, row) for row in found)
    return part, opened


def _reopenings(packets: Columns, clock: Array, swapped: Array, rows: Array, slot: int, state: TcpState) -> list[int]:
    """The rows of one flow that open a new connection, seen packet by packet."""
    base: list[int | None] = [None, None]
    fin, closed, last, latest = [False, False], False, 0, 0
    if slot >= 0:
        c, d = state.connections, state.directions
        for side in (0, 1):
            index = 2 * slot + (side ^ int(c["swapped"][slot]))
            base[side] = int(d["base"][index]) if d["base_set"][index] else None
            fin[side] = int(d["fin_frame"][index]) >= 0
        closed, last, latest = bool(c["closed"][slot]), int(c["last_clock"][slot]), int(c["last_frame"][slot])
    found: list[int] = []
    columns = (packets["flags"], packets["seq"], packets["ack"], clock, swapped, packets["quoted"], packets["frame"])
    for row, flags, seq, ack, now, side, quoted, frame in zip(rows.tolist(), *(c[rows].tolist() for c in columns), strict=True):
        side = int(side)  # noqa: PLW2901 - an index from here on
        if quoted:
            continue
        known = base[side]
        other_isn = (flags & (SYN | ACK)) == SYN and known is not None and seq != known
        if other_isn or (closed and now - last >= limits.RETENTION.value and frame - latest >= limits.RETAINED_PACKETS.value):
            found.append(row)
            base = [None, None]
            fin, closed = [False, False], False
        if base[side] is None:
            base[side] = seq if flags & SYN else (seq - 1) & 0xFFFFFFFF
        if base[1 - side] is None and flags & ACK:
            base[1 - side] = (ack - 1) & 0xFFFFFFFF
        if flags & FIN:
            fin[side] = True
        closed = closed or bool(flags & RST) or all(fin)
        last, latest = now, frame
    return found
