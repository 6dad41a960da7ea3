"""Bytes of one direction that are not all there: the beginning of a head, or of a line of chunked framing."""

from __future__ import annotations

from array import array

from wiredoctor.http.items import Moment
from wiredoctor.http.payload import Payload

KEPT = 64
"""Bytes from the beginning that are kept: more than the longest method, and than a chunk size needs."""


class Partial:
    """Where the pieces lie, and what tells whether they go on as expected: nothing of them is copied or searched twice.

    `offset` in the stream, `frame`, `time` and `ack` are those of the first piece. `start`: the first bytes; `tail`: the
    last three; `has_line`: there was an end of a line, and `line_at`: when.
    """

    __slots__ = ("_places", "ack", "frame", "has_line", "line_at", "offset", "read", "size", "start", "tail", "time")

    def __init__(self, read: Payload, offset: int, frame: int, time: int, ack: int) -> None:
        self.read, self._places = read, array("q")
        self.offset, self.frame, self.time, self.ack = offset, frame, time, ack
        self.size, self.start, self.tail, self.has_line = 0, b"", b"", False
        self.line_at: Moment | None = None

    def add(self, at: int, data: bytes) -> None:
        """More bytes, which lie at this place."""
        self._places.extend((at, len(data)))
        self.size += len(data)
        if len(self.start) < KEPT:
            self.start = (self.start + data)[:KEPT]
        self.tail = data[-3:] if len(data) >= 3 else (self.tail + data)[-3:]
        self.has_line = self.has_line or b"\n" in data

    def reached(self, moment: Moment) -> None:
        """When the newest piece could be read."""
        if self.has_line and self.line_at is None:
            self.line_at = moment

    @property
    def places(self) -> array[int]:
        """Where the pieces lie."""
        return self._places[::2]

    def whole(self) -> bytes:
        """All of it."""
        read, places = self.read, self._places
        return b"".join([read(at, length) for at, length in zip(places[::2], places[1::2], strict=True)])
