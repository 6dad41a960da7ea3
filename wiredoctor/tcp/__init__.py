"""Third stage: which packets belong together and in what order. Packets in, segments and connections out.

One sort of an epoch by (connection, frame), then segmented scans that start from the state and only look back; Python
visits the rows that open, fill or overlap a hole, and no others.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from wiredoctor.scan import Groups, before, group_rows, running_max
from wiredoctor.tables import NEVER, RST, Array, Columns
from wiredoctor.tcp import acks, delivery, handshake, nagle, segments, sequence
from wiredoctor.tcp.closures import find_closures
from wiredoctor.tcp.conflicts import find_conflicts
from wiredoctor.tcp.connects import follow_connects
from wiredoctor.tcp.crowds import Part, crowded_out, parts
from wiredoctor.tcp.duplicates import second_copies
from wiredoctor.tcp.flows import Flows, assign, look_up
from wiredoctor.tcp.lifecycle import (
    by_id,
    client_is_known,
    expired,
    follow,
    is_closed,
    of_ids,
    open_slots,
    release,
    stalled_since,
    window_closed_since,
    with_packets,
)
from wiredoctor.tcp.recovery import recover
from wiredoctor.tcp.rows import connection_rows
from wiredoctor.tcp.runs import follow_runs
from wiredoctor.tcp.state import TcpState

__all__ = [
    "Analysed",
    "Part",
    "TcpState",
    "analyse",
    "by_id",
    "client_is_known",
    "connection_rows",
    "crowded_out",
    "expired",
    "is_closed",
    "of_ids",
    "only",
    "open_slots",
    "parts",
    "release",
    "stalled_since",
    "window_closed_since",
    "with_packets",
]


@dataclass
class Analysed:
    """One epoch: segments sorted by (slot, frame), their groups, further new ranges of rows that fill several holes
    (row, start, end), the slots whose port was used again, and the connection of each packet, second copies too."""

    segments: Columns
    groups: Groups
    pieces: list[tuple[int, int, int]]
    replaced: list[int]
    acknowledged: tuple[Array, Array]
    duplicates: int
    belonging: Array


def analyse(packets: Columns, read: Callable[[int, int], bytes], state: TcpState, flows: Flows | None = None) -> Analysed:
    """Packets (tables.PACKETS) -> segments (tables.SEGMENTS, as far as TCP tells; plus slot, payload, new_start and clock).

    `packets` has a column more, `clock`: the largest time stamp of the epoch up to each packet. `read(payload, length)`
    gives payload bytes; only what was sent before is read. `flows`: what `parts` looked up for these packets.
    """
    n = len(packets["frame"])
    if n == 0:
        empty = group_rows(np.empty(0, dtype=np.int64))
        return Analysed({}, empty, [], [], (empty.number, empty.number), 0, empty.number)
    clock = np.maximum(packets["clock"], state.clock)
    assignment = assign(packets, clock, flows or look_up(packets, state), state)
    belonging = state.connections["id"][assignment.slot]
    state.clock, state.frame = int(clock[-1]), int(packets["frame"][-1])
    order = np.argsort(assignment.slot, kind="stable")
    order = order[~packets["quoted"][order]]
    rows: Columns = {name: column[order] for name, column in packets.items()}
    rows["direction"], rows["clock"] = assignment.direction[order], clock[order]
    slot = assignment.slot[order]
    groups = group_rows(slot)
    if not len(slot):
        return Analysed({}, groups, [], assignment.replaced, (slot, slot), 0, belonging)
    sequence.set_bases(rows, groups, slot, state)
    rows["offset"] = sequence.seq_offsets(rows, groups, slot, state)
    rows["ack_offset"] = sequence.ack_offsets(rows, groups, slot, state)
    rows, slot, groups, copies = _without_copies(rows, slot, groups, read, state)
    if not len(slot):
        return Analysed({}, groups, [], assignment.replaced, (slot, slot), copies, belonging)
    syns = acks.find_syns(rows, groups, slot, state)
    agreement = handshake.agree(rows, groups, slot, state)
    delivered = delivery.deliver(rows, groups, slot, state)
    matched = acks.match(rows, groups, slot, delivered, syns, state)
    table = segments.describe(rows, groups, slot, delivered, agreement, matched, state)
    table["clock"] = rows["clock"]
    table["nagle_off"] = nagle.prove(table, groups, slot, matched, state)
    table["probe_frame"] = nagle.find_probes(table, groups, slot, matched, state)
    recover(table, groups, slot, matched, state)
    find_closures(table, groups, slot, agreement, state)
    follow_connects(table, slot, matched, state)
    find_conflicts(table, slot, delivered.pieces, read, state)
    follow_runs(table, slot, state)
    follow(table, groups, slot, rows["clock"], agreement.said, state)
    return Analysed(table, groups, delivered.pieces, assignment.replaced, matched.by, copies, belonging)


def only(analysed: Analysed, ids: Array) -> Analysed:
    """The same of some connections: their segments, and the row numbers in them, as if nothing else had been there."""
    s = analysed.segments
    rows = np.flatnonzero(np.isin(s["connection"], ids)) if s and len(ids) else np.empty(0, dtype=np.int64)
    if not len(rows):
        groups = group_rows(rows)
        return replace(analysed, segments={}, groups=groups, pieces=[], acknowledged=(rows, rows))
    place = np.full(len(s["frame"]) + 1, -1)
    place[rows] = np.arange(len(rows))
    some: Columns = {name: column[rows] for name, column in s.items()}
    # what lies in an earlier epoch is row -1, and stays there
    some["data_before_row"] = place[some["data_before_row"]]
    pieces = [(int(place[row]), start, end) for row, start, end in analysed.pieces if place[row] >= 0]
    acknowledged = (analysed.acknowledged[0][rows], analysed.acknowledged[1][rows])
    return replace(analysed, segments=some, groups=group_rows(some["slot"]), pieces=pieces, acknowledged=acknowledged)


def _without_copies(
    rows: Columns, slot: Array, groups: Groups, read: Callable[[int, int], bytes], state: TcpState
) -> tuple[Columns, Array, Groups, int]:
    """Leaves out second copies. Only rows that bring nothing beyond what their side sent before are suspected."""
    direction = rows["direction"]
    end = rows["offset"] + rows["length"]
    suspect = np.ones(len(slot), dtype=bool)
    for values, name in ((end, "reached"), (rows["ack_offset"], "claimed")):
        for d in (0, 1):
            side = 2 * slot[groups.first] + d
            mine = (direction == d) & ((rows["flags"] & RST) == 0)
            initial = state.directions[name][side]
            most = running_max(values, mine & (values != NEVER), groups, initial)
            past = before(most, groups)
            past[groups.first] = initial
            if name == "claimed":
                state.directions[name][side] = most[groups.last]
            suspect &= ~(mine & (values > past))
    rows["side"] = 2 * slot + direction
    copy = second_copies(rows, suspect, read, state)
    if not copy.any():
        return rows, slot, groups, 0
    slots, counts = np.unique(slot[copy], return_counts=True)
    state.connections["duplicates"][slots] += counts
    kept = {name: column[~copy] for name, column in rows.items()}
    slot = slot[~copy]
    return kept, slot, group_rows(slot), int(copy.sum())
