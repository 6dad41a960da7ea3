"""Whole blocks go into the output, counted and limited, and how far it is written is told."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

from wiredoctor.recording.blocks import Blocks, Piece, StreamError, whole
from wiredoctor.recording.encode import statistics
from wiredoctor.recording.files import ENDLESS, FullError, Output

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wiredoctor.recording.events import Events

PROGRESS = 0.04
"""Seconds between two progress events, at least; and how late one may be."""


class Writing:
    """Takes blocks and writes them. `packets` counts those written, of at most `limit`."""

    output: Output

    def __init__(self, blocks: Blocks, events: Events, limit: int | None) -> None:
        self.blocks = blocks
        self.packets = 0
        self.full = ""
        """Why nothing can be written any more; empty as long as it can."""
        self._events = events
        self._limit = ENDLESS if limit is None else limit
        self._earlier: int | None = None  # packets dropped in sections that are over
        self._live: int | None = None  # and in this one, by what the backend says itself
        self._counted: dict[int, int] = {}  # the same by interface, as written
        self._told = -PROGRESS
        self._said: tuple[int, int | None] = (0, None)

    @property
    def enough(self) -> bool:
        """Whether as many packets are written as were asked for."""
        return self.packets >= self._limit

    @property
    def dropped(self) -> int | None:
        """Packets that the kernel had to drop, as far as known: it never shrinks."""
        current = max(sum(self.blocks.dropped.values()), self._live or 0)
        known = bool(self.blocks.dropped) or self._live is not None or self._earlier is not None
        return (self._earlier or 0) + current if known else None

    def live_drops(self, dropped: Mapping[int, int], since: int | None) -> None:
        """What the backend says of this section's drops while it runs, by interface, and when it said less (ns since 1970). Each
        rise is written, so that a report can say when it was. Raises OSError."""
        if not dropped:
            return
        self._live = max(sum(dropped.values()), self._live or 0)
        for number, count in dropped.items():
            if count > self._counted.get(number, 0):
                self._counted[number] = count
                if not self.full:
                    self.output.write(Piece(memoryview(statistics(number, None, count, since)), 0))

    def section_over(self) -> None:
        """The stream has ended, maybe inside a block; the next begins with a section of its own. Raises OSError."""
        with contextlib.suppress(StreamError):
            self.write()
        self._earlier, self._live, self._counted = self.dropped, None, {}
        self.blocks.restart()

    def write(self) -> None:
        """Writes all whole blocks that are at hand. Raises StreamError when something else is, OSError."""
        while True:
            piece = self._next()
            if not piece.data:
                return
            if not self.full:
                self._write(piece)

    def _next(self) -> Piece:
        """The next piece that this file, or a new one, takes; empty when there is none as yet."""
        blocks, output = self.blocks, self.output
        while True:
            left = self._limit - self.packets
            if self.enough or self.full:
                blocks.skip_packets()
            piece = blocks.take(left, ENDLESS if self.full else output.room)
            if piece.data or not blocks.at_hand:
                return piece
            if output.fresh:
                return blocks.take(min(1, left), ENDLESS)
            try:
                output.next_file(blocks.preamble)
            except FullError as error:
                self.full = str(error)

    def _write(self, piece: Piece) -> None:
        output = self.output
        while (done := output.write(piece)) < len(piece.data):
            try:
                output.free_space()
            except FullError as error:
                self.full = str(error)
                piece = whole(piece, done)  # for so much there was space a moment ago
                if output.write(piece) < len(piece.data):
                    return
                break
        self.packets += piece.packets

    def tell(self) -> float:
        """Tells how far it is written, when it is time to; seconds until it will be time, or a long time."""
        said = (self.output.written, self.dropped)
        if said == self._said:
            return ENDLESS
        due = self._told + PROGRESS - time.monotonic()
        if due > 0:
            return due
        self._told, self._said = time.monotonic(), said
        self._events.progress(bytes=self.output.written, packets=self.packets, dropped=self.dropped)
        return ENDLESS
