"""Test putting the bytes of a direction in order: which bytes wait, and when a gap ends."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from wiredoctor import limits
from wiredoctor.core.http1.stream import CUT, GAP, GRACE_PERIOD, Piece, Range, Sink, Stream
from wiredoctor.core.tcp.segment import FOREVER, NEVER


def piece(start: int, data: bytes, frame: int = 1, time: int = 0) -> Piece:
    found = Range()
    found.block, found.at, found.start, found.end = b"__" + data, 2, start, start + len(data)
    found.frame, found.time = frame, time
    found.wire_start, found.wire_end = found.start, found.end
    return Piece(found, start, start + len(data), True)


def bytes_of(found: Range) -> bytes:
    return found.block[found.place(found.start) : found.place(found.end)]


@given(st.permutations(range(8)))
def test_pieces_come_in_the_order_of_the_stream(order: list[int]) -> None:
    stream, found, read = Stream(Sink(), 0), Range(), b""
    stream.reached = 0
    for i in order:
        stream.insert(piece(1 + 2 * i, b"%02d" % i), NEVER, 0)
    assert not stream.next_piece(found)
    stream.reached = 1
    while stream.next_piece(found):
        read += bytes_of(found)
    assert read == b"0001020304050607"
    assert stream.waiting is None


def test_of_a_piece_only_what_is_new_is_read() -> None:
    stream, found = Stream(Sink(), 0), Range()
    stream.reached = 0
    stream.insert(piece(2, b"cdef"), NEVER, 0)
    stream.reached = 4
    assert stream.next_piece(found)
    assert (bytes_of(found), found.start, found.end, stream.reached) == (b"ef", 4, 6, 6)


def test_a_gap_ends_a_second_after_it_was_acknowledged() -> None:
    stream = Stream(Sink(), 0)
    stream.reached = 0
    stream.insert(piece(10, b"x", time=5), 3, 5)
    assert stream.gap_ends_at() == FOREVER
    assert stream.waiting is not None
    stream.waiting.acknowledge(9, 20)
    stream.waiting.acknowledge(11, 40)
    assert stream.gap_ends_at() == 40 + GRACE_PERIOD


def test_an_old_ack_counts_from_the_bytes_after_the_gap() -> None:
    stream = Stream(Sink(), 0)
    stream.reached = 0
    stream.insert(piece(10, b"x", time=50), 10, 50)
    assert stream.gap_ends_at() == 50 + GRACE_PERIOD


def test_a_gap_that_is_given_up_lies_before_its_piece() -> None:
    stream, found = Stream(Sink(), 0), Range()
    stream.reached = 4
    stream.insert(piece(10, b"x", frame=7), NEVER, 0)
    stream.skip_gap(found)
    assert (found.at, found.start, found.end, found.frame, stream.reached) == (GAP, 4, 10, 7, 10)
    assert stream.next_piece(found)
    assert bytes_of(found) == b"x"


def test_bytes_that_the_snap_length_cut_keep_no_copy() -> None:
    found = Range()
    found.at, found.start, found.end = CUT, 3, 9
    kept = Piece(found, 3, 9, True)
    assert (kept.data, kept.at, kept.start, kept.end) == (b"", CUT, 3, 9)


def test_what_waits_is_bounded() -> None:
    stream = Stream(Sink(), 0)
    stream.reached = 0
    for i in range(limits.BEHIND.value):
        stream.insert(piece(2 * i + 1, b"x"), NEVER, 0)
    assert stream.limit_of_gap() is None
    stream.insert(piece(3 * limits.BEHIND.value, b"x"), NEVER, 0)
    assert stream.limit_of_gap() is limits.BEHIND
    far = Stream(Sink(), 0)
    far.reached = 0
    far.insert(piece(limits.AHEAD.value, b"x"), NEVER, 0)
    assert far.limit_of_gap() is limits.AHEAD


@given(st.integers(0, 9), st.integers(0, 9), st.integers(1, 40))
def test_a_piece_knows_its_places_in_content_and_on_the_wire(first: int, second: int, header: int) -> None:
    """As of a record of TLS: its content begins after a header, and the records before it had more bytes than content."""
    found, again = Range(), Range()
    found.block, found.at, found.start, found.end = b"0123456789", 0, 100, 110
    found.wire_start, found.wire_end = 100 + header, 110 + header
    low, high = sorted((first, second))
    Piece(found, 100 + low, 110, True).fill(again, 100 + high)
    assert bytes_of(again) == b"0123456789"[high:]
    assert [again.wire(offset) for offset in (100 + high, 110)] == [100 + high + header, 110 + header]
