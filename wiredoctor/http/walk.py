"""Hands the new bytes of an epoch to the readers of each connection, in stream order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from wiredoctor.http.conversation import Conversation
from wiredoctor.http.head import KNOWN_METHODS
from wiredoctor.http.items import CUT, PATIENCE, Assembler, Items
from wiredoctor.http.modes import OFF
from wiredoctor.http.payload import Payload
from wiredoctor.scan import Groups
from wiredoctor.tables import SCRATCH, Array, Columns

_METHOD_STARTS = np.array(sorted({int.from_bytes((m + b" ")[:4], "little") for m in KNOWN_METHODS}), dtype=np.uint32)
_STATUS_START = int.from_bytes(b"HTTP", "little")


@dataclass
class Flow:
    """New bytes of one direction of all connections: rows of segments (m,), their items, and where each group begins (k + 1,).

    `odd` (k,): the group's rows do not simply follow each other, or are not wholly captured."""

    rows: Array
    items: Items
    bounds: list[int]
    odd: list[bool]


def flows(s: Columns, groups: Groups, pieces: list[tuple[int, int, int]], data: Array) -> tuple[Flow, Flow]:
    """The new bytes of both directions."""
    result: list[Flow] = []
    has = s["new_bytes"] > 0
    skipped = s["new_start"] - s["offset"]
    odd = s["opens_hole"] | s["fills_hole"] | (skipped != 0) | (s["captured"] - skipped < s["new_bytes"])
    for row, _, _ in pieces:
        odd[row] = True
    for d in (0, 1):
        rows = np.flatnonzero(has & (s["direction"] == d))
        number = groups.number[rows]
        start = s["new_start"][rows]
        end = start + s["new_bytes"][rows]
        at = s["payload"][rows] + skipped[rows]
        strange = odd[rows].copy()
        strange[1:] |= (number[1:] == number[:-1]) & (start[1:] != end[:-1])
        bounds = np.searchsorted(number, np.arange(groups.count + 1))
        items = Items(
            start.tolist(),
            end.tolist(),
            at.tolist(),
            s["time"][rows].tolist(),
            s["frame"][rows].tolist(),
            s["ack"][rows].tolist(),
        )
        items.look_for_heads = _head_finder(data, at)
        strange_groups = np.bincount(number[strange], minlength=groups.count) > 0
        result.append(Flow(rows, items, bounds.tolist(), strange_groups.tolist()))
    return result[0], result[1]


def _head_finder(data: Array, at: Array) -> Callable[[], list[int]]:
    """Positions of items that begin like a request or a status line; what lies in the scratch buffer always may."""

    def find() -> list[int]:
        in_file = at < min(SCRATCH, max(len(data) - 4, 0))
        where = np.where(in_file, at, 0)
        word = np.zeros(len(at), dtype=np.uint32)
        if len(data) >= 4:
            for i in range(4):
                word |= data[where + i].astype(np.uint32) << np.uint32(8 * i)
        like = (word == _STATUS_START) | np.isin(word, _METHOD_STARTS) | (at >= SCRATCH)
        return np.flatnonzero(like).tolist()

    return find


@dataclass
class Walk:
    """One epoch's walk: `in_order` (n,) tells of each row whether its bytes came when all before them were there."""

    s: Columns
    groups: Groups
    flows: tuple[Flow, Flow]
    pieces: dict[int, list[tuple[int, int]]]
    acknowledged: tuple[Array, Array]
    syn_seen: Array
    read: Payload
    in_order: Array

    def visit(self, conversation: Conversation, group: int) -> None:
        """Reads what one connection got in this epoch."""
        ranges: list[tuple[Items, int, int]] = []
        for direction in (0, 1):
            flow = self.flows[direction]
            reader = conversation.readers[direction]
            first, stop = flow.bounds[group], flow.bounds[group + 1]
            assembler = reader.assembler
            if assembler.reached is None and self.syn_seen[2 * conversation.slot + direction]:
                assembler.reached = 0  # the first byte may have been overtaken
            if reader.mode == OFF:
                ranges.append((flow.items, stop, stop))
                continue
            simple = not flow.odd[group] and not assembler.waiting and reader.leftover is None
            if simple and first < stop and assembler.reached in (None, flow.items.start[first]):
                assembler.reached = flow.items.end[stop - 1]
                ranges.append((flow.items, first, stop))
            elif first < stop or reader.leftover is not None or assembler.waiting:
                items = self._assemble(conversation, direction, group, first, stop)
                ranges.append((items, 0, len(items.start)))
            else:
                ranges.append((flow.items, stop, stop))
        read_both(conversation, ranges, self.read)

    def _assemble(self, conversation: Conversation, direction: int, group: int, first: int, stop: int) -> Items:
        """The items of a direction with holes, packets out of order, or bytes that were left for later."""
        reader = conversation.readers[direction]
        items = reader.leftover or Items(shuffled=True)
        reader.leftover = None
        assembler = reader.assembler
        flow, s = self.flows[direction], self.s

        self._hear(assembler, direction, group)
        for i in range(first, stop):
            row = int(flow.rows[i])
            start, end, at, time, frame, ack = flow.items.item(i)
            assembler.look(int(s["clock"][row]), items)
            there = int(s["captured"][row]) - (start - int(s["offset"][row]))
            ordered = True
            for a, b in self.pieces.get(row, [(start, end)]):
                available = min(b, start + max(there, 0))
                if available > a:
                    ordered &= assembler.add((a, available, at + a - start, time, frame, ack), items)
                if available < b:
                    # nobody will ever bring these bytes into the file
                    ordered &= assembler.add((max(available, a), b, CUT, time, frame, ack), items)
            self.in_order[row] = ordered
        assembler.look(int(s["clock"][int(self.groups.last[group])]), items)
        assembler.rest()
        return items

    def _hear(self, assembler: Assembler, direction: int, group: int) -> None:
        """Tells the assembler what the receiver acknowledged in this epoch, and when."""
        rows = slice(int(self.groups.first[group]), int(self.groups.last[group]) + 1)
        reached = self.acknowledged[1 - direction][rows]
        first = np.ones(len(reached), dtype=bool)
        first[1:] = reached[1:] > reached[:-1]
        assembler.heard(reached[first], self.s["clock"][rows][first])


def read_both(conversation: Conversation, ranges: list[tuple[Items, int, int]], read: Payload) -> None:
    """Lets the readers of both directions run until neither gets further; what is left over waits for a later epoch."""
    at = [r[1] for r in ranges]
    known, mark = len(conversation.open), len(conversation.spoken.intervals)
    progress = True
    while progress:
        progress = False
        for direction in (conversation.client, 1 - conversation.client) if conversation.client >= 0 else (0, 1):
            items, _, stop = ranges[direction]
            reader = conversation.readers[direction]
            if at[direction] >= stop or (reader.paused and direction == conversation.client):
                continue
            reader.paused = False
            conversation.unread = at[1 - direction] < ranges[1 - direction][2]
            before = at[direction]
            at[direction] = reader.run(items, before, stop, read, conversation.parser)
            progress |= at[direction] != before
    if conversation.unasked:
        conversation.settle(known, mark)
    for direction in (0, 1):
        items, _, stop = ranges[direction]
        if at[direction] < stop:
            conversation.readers[direction].leftover = _slice(items, at[direction], stop)


def _slice(items: Items, first: int, stop: int) -> Items:
    rest = Items(shuffled=True)
    for i in range(first, stop):
        rest.append(items.item(i))
    return rest


def retry(conversation: Conversation, now: int, read: Payload) -> None:
    """Goes on with what waited: holes whose time is over, responses whose request will not come."""
    ranges: list[tuple[Items, int, int]] = []
    for reader in conversation.readers:
        items = reader.leftover or Items(shuffled=True)
        reader.leftover = None
        reader.assembler.look(now, items)
        ranges.append((items, 0, len(items.start)))
        if reader.paused and now - reader.pause_time >= PATIENCE:
            conversation.forced = True
    read_both(conversation, ranges, read)
    conversation.forced = False


def flush(conversation: Conversation, read: Payload) -> None:
    """Nothing more will come: gives up every hole and reads all that is there."""
    ranges: list[tuple[Items, int, int]] = []
    for reader in conversation.readers:
        items = reader.leftover or Items(shuffled=True)
        reader.leftover = None
        while reader.assembler.waiting:
            reader.assembler.give_up(items)
        reader.paused = False
        ranges.append((items, 0, len(items.start)))
    conversation.forced = True
    read_both(conversation, ranges, read)
    for reader in conversation.readers:
        reader.leftover = None
