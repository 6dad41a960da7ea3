"""The hole tracker against a bitmap: which bytes are new, which are missing, whatever comes in whatever order."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from wiredoctor.scan import group_rows
from wiredoctor.tables import ACK, NEVER, SYN
from wiredoctor.tcp.delivery import deliver
from wiredoctor.tcp.state import TcpState

SPACE = 400

DATA = st.tuples(st.just(0), st.integers(0, SPACE - 1), st.integers(1, 60))
ANSWER = st.tuples(st.just(1), st.integers(0, SPACE), st.just(0))
EVENTS = st.lists(st.one_of(DATA, DATA, DATA, ANSWER), max_size=40)


@dataclass
class Bitmap:
    """A byte of memory for each byte of the stream: seen, and acknowledged without being seen."""

    seen: set[int] = field(default_factory=set)
    unseen: set[int] = field(default_factory=set)
    high: int = 0

    def data(self, start: int, length: int) -> dict[str, int]:
        """What a segment brings."""
        segment = set(range(start, start + length))
        new = segment - self.seen
        row = {
            "new_bytes": len(new),
            "opens_hole": int(start > self.high),
            "fills_hole": int(any(byte < self.high for byte in new)),
            "overlap": int(0 < len(new) < length),
        }
        self.seen |= segment
        self.unseen -= segment
        self.high = max(self.high, start + length)
        return row

    def ack(self, ack: int) -> dict[str, int]:
        """What an acknowledgement shows to be missing."""
        missing = set(range(ack)) - self.seen - self.unseen
        self.unseen |= missing
        self.high = max(self.high, ack)
        return {"acks_unseen": len(missing)}


@settings(deadline=None)
@given(EVENTS, st.lists(st.integers(1, 40), max_size=6), st.booleans())
def test_the_hole_tracker_is_a_bitmap(events: list[tuple[int, int, int]], cuts: list[int], other_way: bool) -> None:
    """Segments and ACKs in any order behind a SYN, cut into epochs anywhere."""
    state, bitmap = TcpState(), Bitmap()
    state.allocate(1)
    events = [(2, 0, 0), *events]
    sender = int(other_way)
    edges = sorted({0, len(events), *(c for c in cuts if c < len(events))})
    delivered: set[int] = set()
    for first, end in pairwise(edges):
        part = events[first:end]
        n = len(part)
        kind = np.array([k for k, _, _ in part])
        at = np.array([a for _, a, _ in part], dtype=np.int64)
        rows = {
            "frame": np.arange(first, end) + 1,
            "time": np.arange(first, end) * 1_000,
            "direction": np.where(kind == 1, 1 - sender, sender).astype(np.int8),
            "flags": np.where(kind == 2, SYN, ACK).astype(np.uint8),
            "offset": np.where(kind == 1, 0, at),
            "length": np.array([length for _, _, length in part], dtype=np.int32),
            "ack_offset": np.where(kind == 1, at, np.where(kind == 2, NEVER, 0)),
        }
        slot = np.zeros(n, dtype=np.int64)
        found = deliver(rows, group_rows(slot), slot, state)
        pieces = {row: [(a, b) for r, a, b in found.pieces if r == row] for row, _, _ in found.pieces}
        for i, (k, a, length) in enumerate(part):
            before = set(bitmap.seen)
            expected = bitmap.data(a, length) if k == 0 else bitmap.ack(a) if k == 1 else {}
            for name, value in expected.items():
                assert int(getattr(found, name)[i]) == value, (first + i, name)
            assert int(found.high[sender][i]) == bitmap.high
            start, new = int(found.new_start[i]), int(found.new_bytes[i])
            bytes_ = {byte for x, y in pieces.get(i, [(start, start + new)]) for byte in range(x, y)}
            assert bytes_ == bitmap.seen - before
            assert not bytes_ & delivered
            delivered |= bytes_
    assert delivered == bitmap.seen
    assert int(state.directions["unseen_bytes"][sender]) == len(bitmap.unseen)
    held = {byte for a, b, _ in state.holes.get(sender, []) for byte in range(a, b)}
    assert held == set(range(bitmap.high)) - bitmap.seen
