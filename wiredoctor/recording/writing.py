"""Write complete blocks to the output, count and limit them, and report progress."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from wiredoctor.recording.blocks import Blocks, Piece, StreamError, complete_blocks
from wiredoctor.recording.encode import statistics
from wiredoctor.recording.files import ENDLESS, FullError, Output

if TYPE_CHECKING:
    from wiredoctor.recording.events import Events

PROGRESS = 0.04
"""The minimum time in seconds between two progress events. A progress event is delayed by at most this time."""


class Writing:
    """Writes blocks to the output. `packets`: the number of packets written, which is at most `limit` (None: no limit)."""

    output: Output

    def __init__(self, blocks: Blocks, events: Events, limit: int | None) -> None:
        self.blocks = blocks
        self.packets = 0
        self.full = ""
        """The reason why writing is no longer possible; empty while it is possible."""
        self.delivered = 0
        """A time (ns since 1970): all packets that the backend had passed on until then are written. 0 if not known yet."""
        self._events = events
        self._limit = ENDLESS if limit is None else limit
        self._earlier: int | None = None  # packets dropped in earlier sections
        self._live: int | None = None  # packets dropped in this section, as reported by the backend
        self._counted: dict[int, int] = {}  # packets dropped in this section by interface, as written
        self._told = -PROGRESS
        self._said: tuple[int, int | None] = (0, None)

    @property
    def enough(self) -> bool:
        """True if the requested number of packets was written."""
        return self.packets >= self._limit

    @property
    def dropped(self) -> int | None:
        """The number of packets dropped by the kernel; None while it is not known. The number never decreases."""
        current = max(sum(self.blocks.dropped.values()), self._live or 0)
        known = bool(self.blocks.dropped) or self._live is not None or self._earlier is not None
        return (self._earlier or 0) + current if known else None

    def live_drops(self, dropped: Mapping[int, int], since: int | None) -> None:
        """Record the number of packets dropped in the current section so far, by interface number.

        Each increase is written as a statistics block, so a report can say when packets were dropped. Before the first packet, no
        block is written, because readers count times from the first packet. `since`: the time (ns since 1970) after which the
        counts increased; None if unknown. Raise OSError if writing fails.
        """
        if not dropped:
            return
        self._live = max(sum(dropped.values()), self._live or 0)
        if self.packets == 0:
            return
        for number, count in dropped.items():
            if count > self._counted.get(number, 0):
                self._counted[number] = count
                if not self.full:
                    self.output.write(Piece(memoryview(statistics(number, None, count, is_live=True, since=since)), 0))

    def section_over(self) -> None:
        """End the current section after its backend has ended, and drop an incomplete block. Raise OSError if writing fails.

        The stream of the next backend begins with its own section.
        """
        with contextlib.suppress(StreamError):
            self.write()
        self._earlier, self._live, self._counted = self.dropped, None, {}
        self.blocks.restart()

    def write(self) -> None:
        """Write all complete blocks. Raise StreamError for invalid data, and OSError if writing fails."""
        while True:
            piece = self._next()
            if not piece.data:
                return
            if not self.full:
                self._write(piece)

    def _next(self) -> Piece:
        """Return the next complete blocks that fit into the current file. If none fit, begin a new file first.

        The piece is empty if no block is complete.
        """
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
                piece = complete_blocks(piece, done)  # the file system had space for `done` bytes a moment ago
                if output.write(piece) < len(piece.data):
                    return
                break
        self.packets += piece.packets

    def report_progress(self, *, at_once: bool = False) -> float:
        """Send a progress event if one is due, or `at_once`. Return the seconds until the next one is due, or ENDLESS if nothing
        is new.
        """
        said = (self.output.written, self.dropped)
        if not at_once and said == self._said:
            return ENDLESS
        due = self._told + PROGRESS - time.monotonic()
        if due > 0 and not at_once:
            return due
        self._told, self._said = time.monotonic(), said
        self._events.progress(
            bytes=self.output.written, packets=self.packets, dropped=self.dropped, delivered=self.delivered
        )  # fmt: skip
        return ENDLESS
