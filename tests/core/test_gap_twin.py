"""The tracker of gaps against a bitmap: which bytes are new, and which are missing, whatever comes in whatever order."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.core.tcp_talk import CLIENT, SERVER, Talk
from wiredoctor.core.tcp.segment import Segment

SPACE = 400
ISN, PEER_ISN = 1_000, 5_000
DATA, ANSWER = 0, 1

SEGMENTS = st.tuples(st.just(DATA), st.integers(0, SPACE - 1), st.integers(1, 60))
ANSWERS = st.tuples(st.just(ANSWER), st.integers(0, SPACE), st.just(0))
EVENTS = st.lists(st.one_of(SEGMENTS, SEGMENTS, SEGMENTS, ANSWERS), max_size=40)


@dataclass
class Bitmap:
    """A byte of memory for each byte of the stream: seen, and acknowledged without being seen."""

    seen: set[int] = field(default_factory=set)
    unseen: set[int] = field(default_factory=set)
    high: int = 0

    def data(self, start: int, length: int) -> dict[str, int]:
        """Return what a segment brings."""
        segment = set(range(start, start + length))
        new = segment - self.seen
        row = {
            "new_bytes": len(new),
            "opens_gap": int(start > self.high),
            "fills_gap": int(any(byte < self.high for byte in new)),
            "overlap": int(0 < len(new) < length),
        }
        self.seen |= segment
        self.unseen -= segment
        self.high = max(self.high, start + length)
        return row

    def ack(self, ack: int) -> dict[str, int]:
        """Return what an ACK shows to be missing."""
        missing = set(range(ack)) - self.seen - self.unseen
        self.unseen |= missing
        self.high = max(self.high, ack)
        return {"acked_unseen": len(missing)}


@settings(deadline=None)
@given(EVENTS, st.booleans())
def test_the_tracker_of_gaps_is_a_bitmap(events: list[tuple[int, int, int]], is_server: bool) -> None:
    """Segments and ACKs in any order after a SYN."""
    talk, bitmap = Talk(), Bitmap()
    sender, receiver = (SERVER, CLIENT) if is_server else (CLIENT, SERVER)
    talk.send(sender, 0, "S", ISN, 0, 0)
    side = talk.connection.second if is_server else talk.connection.first
    for time, (kind, at, length) in enumerate(events, start=1):
        before = set(bitmap.seen)
        if kind == DATA:
            segment = talk.send(sender, time, ".", ISN + 1 + at, PEER_ISN + 1, length)
            expected = bitmap.data(at, length)
            new = {byte for start, end in pieces_of(segment) for byte in range(start, end)}
        else:
            segment = talk.send(receiver, time, ".", PEER_ISN + 1, ISN + 1 + at, 0)
            expected, new = bitmap.ack(at), set[int]()
        assert {name: int(getattr(segment, name)) for name in expected} == expected
        assert new == bitmap.seen - before
        assert side.highest == bitmap.high
    assert side.bytes == len(bitmap.seen)
    assert side.unseen_bytes == len(bitmap.unseen)
    missing = {byte for gap in side.gaps or [] for byte in range(gap.start, gap.end)}
    assert missing == set(range(bitmap.high)) - bitmap.seen


def pieces_of(segment: Segment) -> list[tuple[int, int]]:
    """Return where the new bytes of a segment begin and end."""
    if segment.pieces is None:
        return [(segment.new_start, segment.new_start + segment.new_bytes)]
    return [(piece.start, piece.end) for piece in segment.pieces]
