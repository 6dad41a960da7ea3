"""Store the bytes of one direction of a connection, and the bytes that replace them."""

from __future__ import annotations

from typing import Any

import numpy as np

from wiredoctor.tables import Array

NEUTRAL = 0x80
"""A byte with which neither a message nor a part of a message can begin."""

KEEP = bytes(b if b in b"\r\n" else NEUTRAL for b in range(256))
"""A translation table that replaces all bytes except CR and LF with NEUTRAL."""

BODY = bytes(b if b in b"\r\n" else ord("x") for b in range(256))
"""A translation table that replaces all bytes except CR and LF with x."""


class Stream:
    """The captured bytes of one direction of a connection.

    `pieces`: pairs of a stream offset and the bytes captured there. `before`: the original bytes, beginning at stream offset
    `low`. `after`: the anonymized bytes. `known`: for each byte, whether it was captured. If the range of the pieces is longer
    than `room` bytes, the stream stays empty.
    """

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
        """Return the start and end (stream offsets) of each range that was captured without a gap."""
        edges = np.flatnonzero(np.diff(np.concatenate((np.zeros(1, bool), self.known, np.zeros(1, bool))).astype(np.int8)))
        return [(self.low + int(a), self.low + int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]

    def part(self, begin: int, end: int) -> bytes:
        """Return the bytes between two stream offsets, up to the first byte that was not captured."""
        begin, end = max(begin, self.low) - self.low, min(end, self.high) - self.low
        if begin >= end:
            return b""
        missing = np.flatnonzero(~self.known[begin : min(end, begin + 65536)])
        if not len(missing) and end > begin + 65536:
            missing = 65536 + np.flatnonzero(~self.known[begin + 65536 : end])
        return self.before[begin : begin + int(missing[0])] if len(missing) else self.before[begin:end]

    def overwrite(self, offset: int, data: bytes) -> None:
        """Write `data` over the anonymized bytes from stream offset `offset` on. Ignore data outside the stream."""
        begin = offset - self.low
        data = data[max(-begin, 0) :]
        begin = max(begin, 0)
        size = min(len(data), len(self.after) - begin)
        if size > 0:
            self.after[begin : begin + size] = data[:size]

    def body(self, begin: int, end: int) -> None:
        """Replace a part of a message body with filler."""
        begin, end = max(begin, self.low) - self.low, min(end, self.high) - self.low
        if begin < end:
            self.after[begin:end] = self.before[begin:end].translate(BODY)

    def packet(self, offset: int, payload: bytes) -> bytes:
        """Return the anonymized form of a packet's payload, which begins at stream offset `offset`.

        If a retransmission differs from the first copy, the anonymized copies also differ.
        """
        made: Array = np.frombuffer(payload.translate(KEEP), np.uint8).copy()
        begin, end = max(offset, self.low), min(offset + len(payload), self.high)
        if begin >= end:
            return made.tobytes()
        here, there = slice(begin - offset, end - offset), slice(begin - self.low, end - self.low)
        given: Array = np.frombuffer(payload, np.uint8)[here]
        first: Array = np.frombuffer(self.before, np.uint8)[there]
        put: Any = np.frombuffer(self.after, np.uint8)[there]
        known = self.known[there]
        # change the complete payload, because an unchanged byte would reveal that both copies have the same byte there
        differs = np.uint8(bool(((given != first) & known).any()))
        made[here] = np.where(known, put ^ differs, made[here])
        return made.tobytes()
