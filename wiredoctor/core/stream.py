"""The bytes of one direction in order: ranges that a reader reads, gaps, and bytes that wait.

A range has two kinds of offsets. `start` and `end` count what the reader reads, its content; `wire_start` and `wire_end` count
the TCP stream, with which ACK numbers compare. Over plain TCP they are equal.

A gap here is what HTTP waits for. It ends when its bytes come, or when they are waited for no longer: then HTTP reads on after
it. Which bytes TCP counts as new does not depend on that (delivery.py).
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64, mypyc_attr

from wiredoctor import limits
from wiredoctor.core.segment import FOREVER, NEVER

GAP: Final = -1
"""Bytes that no packet brought."""
CUT: Final = -2
"""Bytes that the snap length kept out of the capture."""
BODY_ONLY: Final = -3
"""Bytes of a body that waited: they were captured, and nobody reads them."""

GRACE_PERIOD: Final = 1_000_000_000
"""Grace period in which a packet that was captured late still counts. For bytes that the receiver has acknowledged, HTTP waits
this long (`Stream.gap_ends_at`); a response waits as long for the request that it acknowledges (`HttpConnection.may_answer`)."""


class Range:
    """The bytes [start, end) of a direction, in the hand of its reader: those of block[at:], unless `at` is GAP, CUT or
    BODY_ONLY. There is one object, filled anew."""

    def __init__(self) -> None:
        self.block: bytes = b""
        self.at: i64 = GAP
        self.start: i64 = 0
        self.end: i64 = 0
        self.wire_start: i64 = 0
        self.wire_end: i64 = 0
        self.frame: i64 = 0
        self.time: i64 = 0
        self.ack: i64 = NEVER
        self.rtt_own: i64 = NEVER
        """Round trip to its sender that was known before its packet."""
        self.rtt_peer: i64 = NEVER
        """Round trip to the peer that was known then."""

    def wire(self, offset: i64) -> i64:
        """Return where the content at `offset` lies in the TCP stream."""
        return self.wire_end if offset == self.end else self.wire_start + offset - self.start

    def place(self, offset: i64) -> i64:
        """Return the index in `block` of the content at `offset`."""
        return self.at + offset - self.start


@mypyc_attr(acyclic=True)
class Piece:
    """A range that waits, with a copy of its bytes."""

    def __init__(self, found: Range, start: i64, end: i64, keeps: bool) -> None:
        self.data: bytes = b""
        self.at: i64 = found.at
        if found.at >= 0:
            if keeps:
                self.data = found.block[found.place(start) : found.place(end)]
                self.at = 0
            else:
                self.at = BODY_ONLY
        self.start: i64 = start
        self.end: i64 = end
        self.frame: i64 = found.frame
        self.time: i64 = found.time
        self.ack: i64 = found.ack
        self.rtt_own: i64 = found.rtt_own
        self.rtt_peer: i64 = found.rtt_peer

    def fill(self, found: Range, start: i64) -> None:
        """Put its bytes from `start` on into a range."""
        found.block = self.data
        found.at = self.at if self.at < 0 else start - self.start
        found.start = start
        found.end = self.end
        found.wire_start = start
        found.wire_end = self.end
        found.frame = self.frame
        found.time = self.time
        found.ack = self.ack
        found.rtt_own = self.rtt_own
        found.rtt_peer = self.rtt_peer


@mypyc_attr(acyclic=True)
class Waiting:
    """Pieces after a gap in ascending order, and what the receiver acknowledged since it is there, and when."""

    def __init__(self) -> None:
        self.pieces: list[Piece] = []
        self.acks: list[int] = []
        self.times: list[int] = []

    def index(self, offset: i64) -> i64:
        """Return the index of the first piece that ends after `offset`."""
        low: i64 = 0
        high: i64 = len(self.pieces)
        while low < high:
            middle = (low + high) // 2
            if self.pieces[middle].end <= offset:
                low = middle + 1
            else:
                high = middle
        return low

    def acknowledge(self, ack: i64, clock: i64) -> None:
        """Note that the receiver has acknowledged everything before `ack`."""
        count: i64 = len(self.acks)
        if ack == NEVER or (count > 0 and (ack <= self.acks[count - 1] or count >= limits.BEHIND.value)):
            return
        self.acks.append(ack)
        self.times.append(clock)

    def acknowledged_at(self) -> i64:
        """Return when the first gap was both acknowledged and followed by captured bytes; NEVER while it is not acknowledged."""
        first = self.pieces[0]
        low: i64 = 0
        high: i64 = len(self.acks)
        while low < high:
            middle = (low + high) // 2
            if self.acks[middle] < first.start:
                low = middle + 1
            else:
                high = middle
        if low == len(self.acks):
            return NEVER
        time: i64 = self.times[low]
        return time if time > first.time else first.time


@mypyc_attr(acyclic=True)
class Stream:
    """One direction: everything before `reached` was handed to its reader, or was given up."""

    def __init__(self) -> None:
        self.reached: i64 = NEVER
        self.waiting: Waiting | None = None
        self.held: list[Piece] | None = None
        """Ranges in order, which the reader will read when the peer has gone on."""
        self.held_bytes: i64 = 0

    def hold(self, found: Range, start: i64) -> None:
        """Keep a range from `start` on until the reader goes on."""
        held = self.held
        if held is None:
            held = self.held = []
        held.append(Piece(found, start, found.end, True))
        self.held_bytes += found.end - start

    def insert(self, piece: Piece, acknowledged: i64, clock: i64) -> None:
        """Keep a piece until the gap before it is filled or given up."""
        waiting = self.waiting
        if waiting is None:
            waiting = self.waiting = Waiting()
        waiting.acknowledge(acknowledged, clock)
        waiting.pieces.insert(waiting.index(piece.start), piece)

    def limit_of_gap(self) -> limits.Limit | None:
        """Return the limit that the pieces after a gap exceed."""
        waiting = self.waiting
        if waiting is None:
            return None
        count: i64 = len(waiting.pieces)
        if waiting.pieces[count - 1].end - self.reached > limits.AHEAD.value:
            return limits.AHEAD
        return limits.BEHIND if count > limits.BEHIND.value else None

    def gap_ends_at(self) -> i64:
        """Return when HTTP stops waiting for the first gap: a grace period after it was acknowledged. FOREVER while it is not, or
        if there is none."""
        waiting = self.waiting
        if waiting is None:
            return FOREVER
        since = waiting.acknowledged_at()
        return FOREVER if since == NEVER else since + GRACE_PERIOD

    def skip_gap(self, found: Range) -> None:
        """Give up the first gap: put it into a range, as of the packet after it."""
        waiting = self.waiting
        if waiting is None:
            return
        first = waiting.pieces[0]
        first.fill(found, first.start)
        found.at = GAP
        found.end = found.wire_end = first.start
        found.start = found.wire_start = self.reached
        self.reached = first.start

    def next_piece(self, found: Range) -> bool:
        """Put the next piece that is in order into a range; return False if there is none."""
        waiting = self.waiting
        while waiting is not None:
            first = waiting.pieces[0]
            if first.start > self.reached:
                return False
            waiting.pieces.pop(0)
            if len(waiting.pieces) == 0:
                self.waiting = waiting = None
            if first.end > self.reached:
                first.fill(found, self.reached)
                self.reached = first.end
                return True
        return False
