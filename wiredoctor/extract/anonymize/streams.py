"""The bytes of a connection's direction, in their order, and what is put in their place."""

from __future__ import annotations

from typing import Any

import numpy as np

from wiredoctor.tables import Array

NEUTRAL = 0x80
"""Begins nothing that anybody could take for a message, or for a part of one."""

KEEP = bytes(b if b in b"\r\n" else NEUTRAL for b in range(256))
"""For bytes of which nothing is known: ends of lines stay."""

BODY = bytes(b if b in b"\r\n" else ord("x") for b in range(256))
"""For contents likewise."""


class Stream:
    """What one side sent, as far as it was captured. `before` and `after`: bytes from offset `low` on; `known`: those
    that are there."""

    def __init__(self, pieces: list[tuple[int, bytes]], room: int) -> None:
        self.low = min((offset for offset, _ in pieces), default=0)
        high = max((offset + len(data) for offset, data in pieces), default=0)
        if high - self.low > room:
            pieces, high = [], self.low
        before = bytearray(high - self.low)
        self.known: Array = np.zeros(high - self.low, bool)
        for offset, data in pieces:
            before[offset - self.low : offset - self.low + len(data)] = data
            self.known[offset - self.low : offset - self.low + len(data)] = True
        self.before = bytes(before)
        self.after = bytearray(self.before.translate(KEEP))
        self.high = high

    def runs(self) -> list[tuple[int, int]]:
        """Begin and end of what was captured without a hole (stream offsets)."""
        edges = np.flatnonzero(np.diff(np.concatenate((np.zeros(1, bool), self.known, np.zeros(1, bool))).astype(np.int8)))
        return [(self.low + int(a), self.low + int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]

    def part(self, begin: int, end: int) -> bytes:
        """Bytes from one stream offset to another, up to the first that is not there."""
        begin, end = max(begin, self.low) - self.low, min(end, self.high) - self.low
        if begin >= end:
            return b""
        missing = np.flatnonzero(~self.known[begin : min(end, begin + 65536)])
        if not len(missing) and end > begin + 65536:
            missing = 65536 + np.flatnonzero(~self.known[begin + 65536 : end])
        return self.before[begin : begin + int(missing[0])] if len(missing) else self.before[begin:end]

    def put(self, offset: int, data: bytes) -> None:
        """Replaces bytes from a stream offset on; what lies outside is left away."""
        begin = offset - self.low
        data = data[max(-begin, 0) :]
        begin = max(begin, 0)
        size = min(len(data), len(self.after) - begin)
        if size > 0:
            self.after[begin : begin + size] = data[:size]

    def body(self, begin: int, end: int) -> None:
        """Makes a content of these bytes."""
        begin, end = max(begin, self.low) - self.low, min(end, self.high) - self.low
        if begin < end:
            self.after[begin:end] = self.before[begin:end].translate(BODY)

    def packet(self, offset: int, payload: bytes) -> bytes:
        """The payload of a packet that begins at this offset. What differs from the first copy goes on to differ."""
        made: Array = np.frombuffer(payload.translate(KEEP), np.uint8).copy()
        begin, end = max(offset, self.low), min(offset + len(payload), self.high)
        if begin >= end:
            return made.tobytes()
        here, there = slice(begin - offset, end - offset), slice(begin - self.low, end - self.low)
        given: Array = np.frombuffer(payload, np.uint8)[here]
        first: Array = np.frombuffer(self.before, np.uint8)[there]
        put: Any = np.frombuffer(self.after, np.uint8)[there]
        known = self.known[there]
        # all of it: which bytes of two copies are the same by chance would tell one by the other
        differs = np.uint8(bool(((given != first) & known).any()))
        made[here] = np.where(known, put ^ differs, made[here])
        return made.tobytes()
