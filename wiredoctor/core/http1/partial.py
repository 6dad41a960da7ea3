"""State of an incomplete head, or of an incomplete line of chunk framing, until the rest of it is captured."""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64, mypyc_attr

from wiredoctor.core.http1.stream import Range

KEPT: Final = 64
"""The maximum length of Partial.start, which shows whether the bytes may be a head or a chunk size."""


@mypyc_attr(acyclic=True)
class Partial:
    """The bytes so far of an incomplete head or line of chunk framing.

    Because `start`, `tail` and `has_line` are kept, added bytes are checked without reading the earlier ones again.
    """

    def __init__(self, found: Range, offset: i64) -> None:
        self.parts: list[bytes] = []
        self.size: i64 = 0
        self.start: bytes = b""
        """The first bytes, at most KEPT of them."""
        self.tail: bytes = b""
        """The last three bytes."""
        self.has_line: bool = False
        """True if the bytes so far contain a line break."""
        self.offset: i64 = offset
        self.wire_offset: i64 = found.wire(offset)
        self.frame: i64 = found.frame
        self.time: i64 = found.time
        self.ack: i64 = found.ack
        self.rtt_own: i64 = found.rtt_own
        self.rtt_peer: i64 = found.rtt_peer

    def add(self, data: bytes) -> None:
        """Append more bytes of the head or line."""
        self.parts.append(data)
        self.size += len(data)
        if len(self.start) < KEPT:
            self.start = (self.start + data)[:KEPT]
        self.tail = (self.tail + data)[-3:] if len(data) < 3 else data[-3:]
        self.has_line = self.has_line or b"\n" in data

    def holds(self, offset: i64) -> bool:
        """Return whether the byte at this TCP stream offset belongs to the incomplete head or line."""
        return self.wire_offset <= offset < self.wire_offset + self.size

    def join(self) -> bytes:
        """Return all bytes so far as one object."""
        return b"".join(self.parts)
