"""Events are counted the same however the bytes are cut; chunks have a median; pieces of a body come in flights."""

from __future__ import annotations

import gzip
import re
import statistics
import tracemalloc
import zlib
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wiredoctor import limits
from wiredoctor.protocols.http1.event_streams import make_counter
from wiredoctor.protocols.http1.fields import Fields
from wiredoctor.protocols.http1.framing import CHUNKED, LENGTH, NO_BODY, UNTIL_CLOSE
from wiredoctor.protocols.http1.inflate import CodedError
from wiredoctor.protocols.http1.pieces import GAP, LARGEST, LONGEST, MAX_UNDECIDED, Pieces, is_left_out, pieces_of

SSE, LINES, PARTS = "text/event-stream", "application/x-ndjson", "multipart/x-mixed-replace"


def counted(media: str, pieces: list[bytes]) -> int:
    counter = make_counter(Fields(0, content_type=media))
    assert counter is not None
    return sum(counter.count(piece) for piece in pieces)


def events(stream: bytes) -> int:
    """Blocks of lines that an empty line ended."""
    *blocks, _ = re.split(rb"\n\n", stream.replace(b"\r\n", b"\n").lstrip(b"\n"))
    return sum(bool(block.strip(b"\n")) for block in blocks)


def lines(stream: bytes) -> int:
    *whole, _ = stream.split(b"\n")
    return sum(bool(line.strip(b"\r")) for line in whole)


@st.composite
def cut(draw: st.DrawFn, tokens: tuple[bytes, ...]) -> list[bytes]:
    stream = b"".join(draw(st.lists(st.sampled_from(tokens), max_size=30)))
    places = sorted(draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    return [stream[a:b] for a, b in zip([0, *places], [*places, len(stream)], strict=True)]


@given(cut((b"data: 1", b"id: 2", b"\n", b"\r\n", b"\n\n", b"\r\n\r\n", b"\n\n\n")))
def test_events_end_with_an_empty_line(pieces: list[bytes]) -> None:
    assert counted(SSE, pieces) == events(b"".join(pieces))


@given(cut((b"{}", b'{"a": 1}', b"\n", b"\r\n", b"\n\n")))
def test_lines(pieces: list[bytes]) -> None:
    assert counted(LINES, pieces) == lines(b"".join(pieces))


@pytest.mark.parametrize("coding", ["", "gzip", "deflate"])
def test_the_line_end_of_an_event_may_come_with_the_next_one(coding: str) -> None:
    counter = make_counter(Fields(0, content_type=LINES, content_encoding=coding))
    assert counter is not None
    coder = zlib.compressobj(wbits=31 if coding == "gzip" else 15)
    seen = []
    for piece in (b"{}", b"\n{}\n{}", b"\n{", b"}\n{}", b"\r\n{}\n"):
        counter.count(coder.compress(piece) + coder.flush(zlib.Z_SYNC_FLUSH) if coding else piece)
        seen.append((counter.began_with_end, counter.inside))
    assert seen == [(False, True), (True, True), (True, True), (False, True), (True, False)]


PART = b"--frame\r\nContent-Type: image/jpeg\r\n\r\nJP-EG--fra\nme\r\n"


@given(st.integers(0, 6), st.sampled_from([b"", b"--frame", b"--frame--\r\n", b"--fra"]), st.data())
def test_parts(number: int, end: bytes, data: st.DataObject) -> None:
    """A part is over where the next delimiter, or the last, begins."""
    stream = PART * number + end
    places = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    pieces = [stream[a:b] for a, b in zip([0, *places], [*places, len(stream)], strict=True)]
    whole_end = end.startswith(b"--frame")
    assert counted(PARTS, pieces) == (max(number - (not whole_end), 0) if number else 0)


@pytest.mark.parametrize(
    "body", [b"no delimiter\r\n" * 9, b"--" + b"b" * 71 + b"\n" + b"x\n" * 9, b"x" * 500, b"--\r\n--\r\n--\r\n"]
)
def test_what_begins_with_no_delimiter_has_no_parts(body: bytes) -> None:
    assert counted(PARTS, [body]) == counted(PARTS, [body[i : i + 1] for i in range(len(body))]) == 0


@pytest.mark.parametrize(
    "changes", [{"content_encoding": "br"}, {"content_encoding": "gzip, br"}, {"transfer_codings": ("gzip", "chunked")}]
)
def test_what_is_not_decoded_is_not_counted(changes: dict[str, Any]) -> None:
    assert make_counter(Fields(0, content_type=SSE, **changes)) is None


def bare(data: bytes) -> bytes:
    """deflate without the header of zlib."""
    compress = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return compress.compress(data) + compress.flush()


def members(data: bytes) -> bytes:
    """gzip with two members (RFC 1952 section 2.2)."""
    return gzip.compress(data[:9]) + gzip.compress(data[9:])


CODED: list[tuple[str, Callable[[bytes], bytes]]] = [
    ("gzip", gzip.compress),
    ("x-gzip", members),
    ("deflate", zlib.compress),
    ("deflate", bare),
]


@given(st.sampled_from(CODED), st.integers(0, 300), st.lists(st.integers(0, 4000), max_size=8))
def test_coded_events_are_counted_as_they_are_decoded(
    coding: tuple[str, Callable[[bytes], bytes]], number: int, cuts: list[int]
) -> None:
    name, encode = coding
    data = encode(b"".join(b"data: %d\n\n" % one for one in range(number)))
    counter = make_counter(Fields(0, content_type=SSE, content_encoding=name))
    assert counter is not None
    places = sorted(min(place, len(data)) for place in cuts)
    assert sum(counter.count(data[a:b]) for a, b in zip([0, *places], [*places, len(data)], strict=True)) == number
    counter.close()


def test_a_flushed_half_ends_inside_an_event() -> None:
    compress = zlib.compressobj(wbits=31)
    counter = make_counter(Fields(0, content_type=SSE, content_encoding="gzip"))
    assert counter is not None
    assert counter.count(compress.compress(b"data: 1\n\ndata:") + compress.flush(zlib.Z_SYNC_FLUSH)) == 1
    assert counter.inside
    assert counter.count(compress.compress(b" 2\n\n") + compress.flush()) == 1
    assert not counter.inside
    counter.close()


def test_what_is_no_gzip_is_said_so() -> None:
    counter = make_counter(Fields(0, content_type=SSE, content_encoding="gzip"))
    assert counter is not None
    with pytest.raises(CodedError):
        counter.count(b"data: 1\n\n")
    counter.close()


def test_a_bomb_costs_nothing() -> None:
    bomb = gzip.compress(b"\0" * 100_000_000)
    counter = make_counter(Fields(0, content_type=SSE, content_encoding="gzip"))
    assert counter is not None
    tracemalloc.start()
    try:
        with pytest.raises(CodedError):
            counter.count(bomb)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()
        counter.close()


def test_so_many_streams_are_decoded_at_the_same_time_and_no_more() -> None:
    fields = Fields(0, content_type=SSE, content_encoding="gzip", event_stream=True)
    counters = [make_counter(fields) for _ in range(limits.DECODERS.value)]
    assert all(counters)
    assert make_counter(fields) is None
    assert is_left_out(fields)
    assert counters[0] is not None
    counters[0].close()
    assert make_counter(fields) is not None


def test_what_is_watched() -> None:
    stream, page = Fields(0, content_type=SSE, event_stream=True), Fields(0, content_type="text/html")
    assert [pieces_of(stream, how) is not None for how in (NO_BODY, LENGTH, CHUNKED, UNTIL_CLOSE)] == [False, True, True, True]
    assert [pieces_of(page, how) is not None for how in (NO_BODY, LENGTH, CHUNKED, UNTIL_CLOSE)] == [False, False, True, False]


@given(st.lists(st.integers(1, 3 * LARGEST), min_size=1, max_size=60))
def test_the_median_is_exact_below_half_of_what_counts_as_large(sizes: list[int]) -> None:
    pieces = Pieces(None)
    for size in sizes:
        pieces.chunk(size, 0, GAP, alone=False)
    median = statistics.median(sizes)
    if median < LARGEST // 2:
        assert pieces.median == int(median)
    else:
        assert pieces.median >= LARGEST // 2


def test_without_chunks_there_is_no_median() -> None:
    assert Pieces(None).median == -1


MS = 1_000_000


def flights(*packets: tuple[int, int, bytes]) -> Pieces:
    """Frames, times in ms, content."""
    pieces = Pieces(make_counter(Fields(0, content_type=LINES)), is_timed=True)
    for frame, time, content in packets:
        pieces.comes(frame, time * MS)
        pieces.content(content)
    return pieces


def test_five_milliseconds_end_a_flight() -> None:
    pieces = flights((1, 0, b"a\n"), (2, 4, b"b\nc"), (3, 9, b"\n"), (5, 13, b"d\n"))
    assert [(f.frame, f.events, f.packets, f.span) for f in pieces.flights.values()] == [(1, 2, 2, 4 * MS), (3, 2, 2, 4 * MS)]
    assert (pieces.events, pieces.full) == (4, 2)


def test_only_lumps_behind_a_pause_were_held() -> None:
    three = b"a\nb\nc\n"
    pieces = flights((1, 0, three), (2, 600, three), (3, 1200, b"a\nb\n"), (4, 1800, b"a\n"))
    for frame in (2, 3, 4):
        pieces.paused(frame, (frame - 1, 0), 0, emptied=True)
    pieces.count_lumps(3)
    assert (pieces.held, len(pieces.flights)) == (0, 4)  # the sender's clock may become known
    pieces.count_lumps(3, MS)
    assert (pieces.held, pieces.held_events, [f.frame for f in pieces.shown], list(pieces.flights)) == (1, 3, [2], [4])
    pieces.comes(5, 1801 * MS)
    pieces.content(three)
    pieces.count_lumps(3, MS)
    assert pieces.held == 1  # more may come
    pieces.count_lumps(3, MS, over=True)
    assert (pieces.held, [f.frame for f in pieces.shown]) == (2, [2, 4])


@pytest.mark.parametrize(("emptied", "cut"), [(True, 1), (False, 0)])
def test_a_lump_that_ends_inside_an_event(emptied: bool, cut: int) -> None:
    pieces = flights((1, 0, b"a\n"), (2, 600, b"a\nb\nc\nd"), (3, 1200, b"e\nf\ng\n"))
    for frame in (2, 3):
        pieces.paused(frame, (frame - 1, 0), 0, emptied=emptied)
    pieces.count_lumps(3, over=True)
    assert (pieces.held, pieces.cut, pieces.first_cut) == (2, cut, False)


def test_events_one_in_a_packet_are_a_lump_only_if_they_are_quick() -> None:
    for gap, quick in ((MS // 2, True), (MS // 2 + MS // 8, False)):
        pieces = Pieces(make_counter(Fields(0, content_type=LINES)), is_timed=True)
        for frame in range(10):
            pieces.comes(frame, frame * gap)
            pieces.content(b"a\n")
        assert pieces.first is not None
        assert pieces.first.is_lump(10, 0) is quick


def test_a_wait_of_the_sender_is_no_part_of_a_lump() -> None:
    pieces = flights((1, 0, b"a\nb\n"), (2, 90, b"c\nd\n"))
    assert pieces.waited(90 * MS, if_quick=False)
    pieces.comes(3, 94 * MS)
    assert pieces.waited(4 * MS, if_quick=False)
    assert pieces.first is not None
    assert (pieces.first.events, pieces.first.span, pieces.full, len(pieces.flights)) == (4, 0, 1, 1)
    assert not flights((1, 0, b"a\n"), (2, 90, b"b\n")).waited(90 * MS, if_quick=True)


def test_the_clock_of_the_sender_says_how_long_a_lump_took() -> None:
    pieces = flights((1, 0, b"a\nb\nc\n"), (2, 1, b"d\ne\nf\n"))
    pieces.ticked(2, MS, 21)
    assert pieces.first is not None
    assert pieces.first.is_lump(3, 0)
    assert pieces.first.is_lump(3, LONGEST // 21)
    assert not pieces.first.is_lump(3, MS)


@pytest.mark.parametrize(
    ("ticks", "rtt", "held", "shown"),
    [
        pytest.param(249, 0, 0, [], id="on its way"),
        pytest.param(250, 0, 1, [None], id="half of the wait, if a tick has just passed"),
        pytest.param(251, 0, 1, [251 * MS], id="half of the wait"),
        pytest.param(250, 3 * MS, 1, [250 * MS], id="more than the round trip"),
        pytest.param(None, 0, 1, [None], id="no timestamps"),
    ],
)
def test_a_lump_that_was_on_its_way_is_not_counted_once_the_clock_is_known(
    ticks: int | None, rtt: int, held: int, shown: list[int | None]
) -> None:
    pieces = flights((1, 0, b"a\n"), (2, 502, b"b\nc\nd\n"))
    pieces.paused(2, (1, 0), rtt, emptied=True)
    if ticks is not None:
        pieces.ticked(2, 502 * MS, ticks)
    pieces.comes(3, 600 * MS)
    pieces.count_lumps(3)
    assert pieces.held == 0
    pieces.count_lumps(3, MS, over=True)
    assert pieces.held == held
    assert pieces.held_by_clock() == shown


def test_lumps_are_counted_when_too_many_are_undecided() -> None:
    pieces = flights(*((n, 600 * n, b"a\nb\nc\n") for n in range(1, MAX_UNDECIDED + 1)))
    pieces.paused(1, (0, 0), 0, emptied=True)
    pieces.count_lumps(3)
    assert (pieces.held, list(pieces.flights)) == (1, [MAX_UNDECIDED])


def test_flights_are_unknown_out_of_order_but_events_are_counted() -> None:
    pieces = flights((1, 0, b"a\n"), (3, 600, b"b\nc\nd\n"), (2, 500, b"e\nf\ng\n"), (4, 700, b"h\n"))
    assert pieces.gaps is not None
    assert (pieces.is_timed, pieces.flights, pieces.events) == (False, {}, 8)
    assert (pieces.gaps.events, pieces.gaps.longest, pieces.gaps.longest_frame) == (8, 600 * MS, 3)
    assert pieces.gaps.percentiles((50, 95)) == [0, 600 * MS]


def test_chunks_that_were_flushed() -> None:
    pieces = Pieces(None)
    for time in (0, 5, 9, 20):
        pieces.chunk(5, time * MS, GAP, alone=False)
    assert pieces.apart == 2


def test_chunks_of_the_first_flight() -> None:
    pieces = Pieces(None)
    pieces.comes(1, 0)
    pieces.chunk(5, 0, GAP, alone=False)
    pieces.comes(2, 9_999_999)
    assert pieces.watching
    pieces.chunk(5, 0, GAP, alone=False)
    assert (pieces.early, pieces.watching) == (2, False)
    late = Pieces(None)
    late.comes(1, 0)
    late.chunk(5, 0, GAP, alone=False)
    late.comes(2, 10_000_000)
    late.chunk(5, 0, GAP, alone=False)
    assert (late.early, late.watching) == (1, False)
