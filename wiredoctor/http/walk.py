"""Hands the new bytes of an epoch to the readers of each connection, in stream order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from wiredoctor import limits
from wiredoctor.http.answering import Reading
from wiredoctor.http.conversation import Conversation
from wiredoctor.http.deciding import decide
from wiredoctor.http.head import KNOWN_METHODS
from wiredoctor.http.items import CUT, Assembler, Items, Moment
from wiredoctor.http.modes import OFF
from wiredoctor.http.payload import Payload
from wiredoctor.http.spoken import NUMBERS
from wiredoctor.http.turns import thin, turns
from wiredoctor.scan import Groups
from wiredoctor.tables import NEVER, SCRATCH, Array, Columns

METHOD_STARTS = frozenset(int.from_bytes((m + b" ")[:4], "little") for m in KNOWN_METHODS)
STATUS_START = int.from_bytes(b"HTTP", "little")

MANY_OPEN = 64
"""Exchanges of a connection that need no thought."""


@dataclass
class Flow:
    """New bytes of all connections: rows of segments with payload (m,), those of direction 0 first, and what they bring.

    `bounds`: per direction where each group begins (k + 1,). `odd`: per direction and group whether its rows do not simply
    follow each other, or are not wholly captured. `word`: the first four bytes of each row, little end first; 0 where they
    are not in the file.
    """

    rows: Array
    start: Array
    end: Array
    at: Array
    time: Array
    frame: Array
    ack: Array
    word: Array
    bounds: tuple[list[int], list[int]]
    odd: tuple[list[bool], list[bool]]

    def items(self, first: int, stop: int) -> Items:
        """Some of the rows, of one connection and direction, for a reader."""
        some = slice(first, stop)
        columns = (self.start, self.end, self.at, self.time, self.frame, self.ack)
        items = Items(*(column[some].tolist() for column in columns))
        items.look_for_heads = partial(_heads, self.word[some], self.at[some])
        return items


def flow_of(s: Columns, groups: Groups, pieces: list[tuple[int, int, int]], data: Array) -> Flow:
    """The new bytes of both directions."""
    has = s["new_bytes"] > 0
    rows = np.concatenate([np.flatnonzero(has & (s["direction"] == d)) for d in (0, 1)])
    skipped = s["new_start"][rows] - s["offset"][rows]
    new = s["new_bytes"][rows]
    strange = s["opens_hole"][rows] | s["fills_hole"][rows] | (skipped != 0) | (s["captured"][rows] - skipped < new)
    if pieces:
        strange |= np.isin(rows, [row for row, _, _ in pieces])
    # rows of direction 1 stand behind those of direction 0
    place = groups.number[rows] + np.where(s["direction"][rows] == 1, groups.count, 0)
    start = s["new_start"][rows]
    end = start + new
    strange[1:] |= (place[1:] == place[:-1]) & (start[1:] != end[:-1])
    at = s["payload"][rows] + skipped
    bounds = np.searchsorted(place, np.arange(2 * groups.count + 1)).tolist()
    odd = (np.bincount(place[strange], minlength=2 * groups.count) > 0).tolist()
    k = groups.count
    return Flow(
        rows, start, end, at, s["time"][rows], s["frame"][rows], s["ack"][rows], _words(data, at),
        (bounds[: k + 1], bounds[k:]), (odd[:k], odd[k:]),
    )  # fmt: skip


def _words(data: Array, at: Array) -> Array:
    """The four bytes at each place of the file, little end first; 0 where they are not in it."""
    if len(data) < 4:
        return np.zeros(len(at), dtype=np.uint32)
    in_file = at <= min(SCRATCH, len(data)) - 4
    # one overlapping word per byte of the file
    words: Array = np.ndarray((len(data) - 3,), "<u4", data, strides=(1,))
    return np.where(in_file, words[np.where(in_file, at, 0)], np.uint32(0))


def _heads(word: Array, at: Array) -> list[int]:
    """Positions that begin like a request or a status line; what lies in the scratch buffer always may."""
    return np.flatnonzero((word == STATUS_START) | np.isin(word, list(METHOD_STARTS)) | (at >= SCRATCH)).tolist()


NO_ITEMS = Items()


@dataclass
class Walk:
    """One epoch's walk: `in_order` (n,) tells of each row whether its bytes came when all before them were there.

    `done`: per direction and group the first row of the flow that has not been read, where reading has begun.
    """

    s: Columns
    groups: Groups
    flow: Flow
    pieces: dict[int, list[tuple[int, int]]]
    acknowledged: tuple[Array, Array]
    syn_frame: Array
    read: Payload
    in_order: Array
    done: tuple[dict[int, int], dict[int, int]] = field(default_factory=lambda: ({}, {}))

    def visit(self, conversation: Conversation, group: int) -> None:
        """Reads what one connection got in this epoch."""
        ranges: list[tuple[Items, int, int]] = []
        for direction in (0, 1):
            flow, reader = self.flow, conversation.readers[direction]
            bounds = flow.bounds[direction]
            first, stop = self.done[direction].get(group, bounds[group]), bounds[group + 1]
            assembler = reader.assembler
            if assembler.reached is None:
                assembler.reached = self.beginning(conversation, direction, first, group)
            assembler.begun = assembler.reached is not None
            simple = not flow.odd[direction][group] and not assembler.waiting and reader.leftover is None
            if reader.mode == OFF or (first == stop and reader.leftover is None and not assembler.waiting):
                items = NO_ITEMS
            elif simple and assembler.reached in (None, int(flow.start[first])):
                assembler.reached = int(flow.end[stop - 1])
                items = flow.items(first, stop)
            else:
                items = self._assemble(conversation, direction, group, first, stop)
            ranges.append((items, 0, len(items.start)))
        now = int(self.s["clock"][int(self.groups.last[group])])
        read_both(conversation, ranges, self.read, now, partial(self.when, group))

    def when(self, group: int, time: int) -> Moment:
        """Behind which packet of a connection the clock reached a time."""
        first, last = int(self.groups.first[group]), int(self.groups.last[group])
        row = first + int(np.searchsorted(self.s["clock"][first : last + 1], time))
        return (int(self.s["frame"][row - 1]) if row > first else int(self.s["frame"][first]) - 1), time

    def beginning(self, conversation: Conversation, direction: int, first: int, group: int) -> int | None:
        """The offset of the first byte of a direction, of which `first` is the next row of the flow: the first byte may have
        been overtaken. None where no SYN had told it by then (by what the other side sent, where there is no such row)."""
        bounds, other = self.flow.bounds, 1 - direction
        if first == bounds[direction][group + 1]:
            first = bounds[other][group]
            if first == bounds[other][group + 1]:
                return None
        frame = int(self.syn_frame[2 * conversation.slot + direction])
        return 0 if NEVER < frame <= int(self.flow.frame[first]) else None

    def _assemble(self, conversation: Conversation, direction: int, group: int, first: int, stop: int) -> Items:
        """The items of a direction with holes, packets out of order, or bytes that were left for later."""
        reader = conversation.readers[direction]
        items = reader.leftover or Items(shuffled=True)
        reader.leftover = None
        assembler = reader.assembler
        s, new = self.s, self.flow.items(first, stop)
        self._hear(assembler, direction, group)
        when = partial(self.when, group)
        for i, row in enumerate(self.flow.rows[first:stop].tolist()):
            start, end, at, time, frame, ack = new.item(i)
            assembler.look(int(s["clock"][row]), items, when)
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
        assembler.look(int(s["clock"][int(self.groups.last[group])]), items, when)
        assembler.rest()
        return items

    def _hear(self, assembler: Assembler, direction: int, group: int) -> None:
        """Tells the assembler what the receiver acknowledged in this epoch, and when."""
        rows = slice(int(self.groups.first[group]), int(self.groups.last[group]) + 1)
        reached = self.acknowledged[1 - direction][rows]
        first = np.ones(len(reached), dtype=bool)
        first[1:] = reached[1:] > reached[:-1]
        assembler.heard(reached[first], self.s["clock"][rows][first])


def read_both(
    conversation: Conversation, ranges: list[tuple[Items, int, int]], read: Payload,
    now: int = NEVER, when: Callable[[int], Moment] | None = None,
) -> None:  # fmt: skip
    """Lets the readers of both directions run until neither gets further; what is left over waits for a later epoch.

    `now`: the clock behind what is read; `when`: the moment at which it reached a time.
    """
    at = [r[1] for r in ranges]
    both = ranges[0][0], ranges[1][0]
    conversation.reading = None if when is None else Reading(both, now, when)
    for stops in turns(ranges):
        _turn(conversation, both, at, stops, read)
    for direction in (0, 1):
        items, _, stop = ranges[direction]
        if at[direction] < stop:
            conversation.readers[direction].leftover = items.behind(at[direction], stop)
    conversation.reading = None
    for reader in conversation.readers:
        reader.shuffled = None


def _turn(conversation: Conversation, both: tuple[Items, Items], at: list[int], stops: tuple[int, int], read: Payload) -> None:
    """Reads both sides from `at` up to `stops`; `at` is where they got to then."""
    begun, known, mark = tuple(at), len(conversation.open), len(conversation.spoken.intervals)
    if conversation.client < 0:
        decide(conversation, both, at, stops, read)
    progress = True
    while progress:
        progress = False
        for direction in (conversation.client, 1 - conversation.client) if conversation.client >= 0 else (0, 1):
            stop, reader = stops[direction], conversation.readers[direction]
            if at[direction] >= stop or (reader.paused and direction == conversation.client):
                continue
            reader.paused = False
            conversation.unread = at[1 - direction] < stops[1 - direction]
            before = at[direction]
            at[direction] = reader.run(both[direction], before, stop, read, conversation.parser)
            progress |= at[direction] != before
    for items, first, stop in zip(both, begun, at, strict=True):
        if items.lost:
            _tell_limits(conversation, items, first, stop)
    if conversation.unasked:
        conversation.settle(known, mark)
    if len(conversation.open) > MANY_OPEN:
        conversation.relieve(mark)
    if len(conversation.spoken.intervals) - mark > NUMBERS * (2 * (stops[0] - begun[0] + stops[1] - begun[1]) + MANY_OPEN):
        thin(conversation, mark, both, begun, stops)


def _tell_limits(conversation: Conversation, items: Items, first: int, stop: int) -> None:
    """Of the items first .. stop - 1: which were taken for lost because of a limit. What nobody reads is not told."""
    for i, _, limit in items.lost:
        if limit is not None and first <= i < min(stop, items.unread):
            conversation.met.add(limit)


def retry(conversation: Conversation, now: int, frame: int, read: Payload) -> None:
    """Goes on with what waited, as of this clock and the newest frame: holes whose time is over, responses whose request will
    not come."""

    def when(time: int) -> Moment:
        return frame, time

    ranges: list[tuple[Items, int, int]] = []
    for reader in conversation.readers:
        items = reader.leftover or Items(shuffled=True)
        reader.leftover = None
        reader.assembler.look(now, items, when)
        ranges.append((items, 0, len(items.start)))
        if reader.paused and len(items.start) > limits.WAITING.value:
            conversation.forced = True
    read_both(conversation, ranges, read, now, when)
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
