"""The bytes of one direction in order: ranges for a sink, gaps, and bytes that wait.

A `Stream` hands its ranges to a `Sink`: the reader of HTTP/1, or a layer below it. A range has two kinds of offsets. `start` and
`end` count the sink's content; `wire_start` and `wire_end` count the TCP stream, like ACK numbers. Over plain TCP they are equal.

A gap in this module is missing data for which HTTP waits. It ends when its bytes arrive, or at a deadline, after which HTTP
continues without them. The deadline does not affect which bytes TCP counts as new (delivery.py).
"""

from __future__ import annotations

from bisect import bisect_left
from typing import Final

from mypy_extensions import i64, mypyc_attr

from wiredoctor import limits
from wiredoctor.core.tcp.segment import FOREVER, NEVER

GAP: Final = -1
"""The value of Range.at for bytes that were not captured."""
CUT: Final = -2
"""The value of Range.at for bytes that the snap length cut off."""
BODY_ONLY: Final = -3
"""The value of Range.at for body bytes that were captured but had to wait; their content was not stored."""

GRACE_PERIOD: Final = 1_000_000_000
"""The time in ns to wait for packets that were captured late.

HTTP waits this long for bytes that the receiver has acknowledged (`Stream.gap_ends_at`), and a response waits this long for the
request that it acknowledges (`pairing.may_answer`).
"""


class Range:
    """The bytes [start, end) of a direction, as passed to its sink. One object is reused for all ranges.

    The bytes begin at block[at], unless `at` is GAP, CUT or BODY_ONLY: then the bytes are not available.
    """

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
        """The round trip in ns between the capture point and the sender, measured before the packet."""
        self.rtt_peer: i64 = NEVER
        """The round trip in ns between the capture point and the receiver, measured before the packet."""

    def wire(self, offset: i64) -> i64:
        """Return the TCP stream offset of the content byte at `offset`."""
        return self.wire_end if offset == self.end else self.wire_start + offset - self.start

    def place(self, offset: i64) -> i64:
        """Return the index in `block` of the content byte at `offset`."""
        return self.at + offset - self.start


@mypyc_attr(acyclic=True)
class Piece:
    """The bytes [start, end) of a range that cannot be read yet. They are copied if `keeps` is true.

    `wire_start`, `wire_end`: the TCP stream offsets of `start` and `end`.
    """

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
        self.wire_start: i64 = found.wire(start)
        self.wire_end: i64 = found.wire(end)
        self.frame: i64 = found.frame
        self.time: i64 = found.time
        self.ack: i64 = found.ack
        self.rtt_own: i64 = found.rtt_own
        self.rtt_peer: i64 = found.rtt_peer

    def fill(self, found: Range, start: i64) -> None:
        """Set `found` to the bytes of this piece, beginning at offset `start`."""
        found.block = self.data
        found.at = self.at if self.at < 0 else start - self.start
        found.start = start
        found.end = self.end
        found.wire_start = self.wire_start + start - self.start
        found.wire_end = self.wire_end
        found.frame = self.frame
        found.time = self.time
        found.ack = self.ack
        found.rtt_own = self.rtt_own
        found.rtt_peer = self.rtt_peer


@mypyc_attr(acyclic=True)
class Waiting:
    """The pieces of the stream after the first gap, in ascending order, and the receiver's ACKs since that gap opened."""

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
        """Record that the receiver had acknowledged everything before offset `ack` when the watermark was `clock`."""
        count: i64 = len(self.acks)
        if ack == NEVER or (count > 0 and (ack <= self.acks[count - 1] or count >= limits.BEHIND.value)):
            return
        self.acks.append(ack)
        self.times.append(clock)

    def acknowledged_at(self) -> i64:
        """Return the earliest time at which the first gap was acknowledged and was followed by captured bytes.

        Return NEVER if the gap is not acknowledged.
        """
        first = self.pieces[0]
        place = bisect_left(self.acks, first.start)
        if place == len(self.acks):
            return NEVER
        time: i64 = self.times[place]
        return time if time > first.time else first.time


@mypyc_attr(acyclic=True)
class Sink:
    """Takes the ranges of one direction in stream order.

    `pos`: the offset of its content up to which it has read. `waits`: it reads no further before the peer has advanced.
    """

    def __init__(self) -> None:
        self.pos: i64 = NEVER
        self.waits: bool = False

    def take(self, found: Range) -> None:
        """Read a range up to its end, or until the sink has to wait for the peer."""
        raise NotImplementedError

    def jumps_to(self, offset: i64) -> bool:
        """Return True if the bytes before the TCP stream offset `offset` need not be examined, so their content is not kept."""
        raise NotImplementedError

    def is_off(self) -> bool:
        """Return True if the sink ignores what comes."""
        raise NotImplementedError


@mypyc_attr(acyclic=True)
class Stream:
    """The bytes of one direction. Everything before the offset `reached` was handed to the sink, held for it, or skipped."""

    def __init__(self, sink: Sink, direction: i64) -> None:
        self.sink: Sink = sink
        self.direction: i64 = direction
        self.reached: i64 = NEVER
        self.waiting: Waiting | None = None
        self.held: list[Piece] | None = None
        """In-order ranges that the sink will read after the peer has advanced."""
        self.held_bytes: i64 = 0

    def hold(self, found: Range, start: i64) -> None:
        """Store a range, without its bytes before offset `start`, until the sink continues."""
        held = self.held
        if held is None:
            held = self.held = []
        held.append(Piece(found, start, found.end, True))
        self.held_bytes += found.end - start

    def insert(self, piece: Piece, acknowledged: i64, clock: i64) -> None:
        """Store a piece of the stream until the gap before it is filled or skipped.

        At the watermark `clock`, the receiver had acknowledged everything before offset `acknowledged`.
        """
        waiting = self.waiting
        if waiting is None:
            waiting = self.waiting = Waiting()
        waiting.acknowledge(acknowledged, clock)
        waiting.pieces.insert(waiting.index(piece.start), piece)

    def limit_of_gap(self) -> limits.Limit | None:
        """Return the limit that the bytes stored after a gap exceed, or None if they exceed none."""
        waiting = self.waiting
        if waiting is None:
            return None
        count: i64 = len(waiting.pieces)
        if waiting.pieces[count - 1].end - self.reached > limits.AHEAD.value:
            return limits.AHEAD
        return limits.BEHIND if count > limits.BEHIND.value else None

    def gap_ends_at(self) -> i64:
        """Return the time at which HTTP stops waiting for the first gap: a grace period after the gap was acknowledged.

        Return FOREVER if the gap is not acknowledged, or if there is no gap.
        """
        waiting = self.waiting
        if waiting is None:
            return FOREVER
        since = waiting.acknowledged_at()
        return FOREVER if since == NEVER else since + GRACE_PERIOD

    def has_before(self, offset: i64) -> bool:
        """Return whether bytes below `offset` wait after a gap."""
        waiting = self.waiting
        return waiting is not None and waiting.pieces[0].start < offset

    def skip_gap(self, found: Range) -> None:
        """Skip the first gap: set `found` to the gap, with the frame and time of the packet after it."""
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
        """Remove the next stored piece if no gap precedes it, and set `found` to its bytes. Return False if there is none."""
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
