"""Events are counted the same however the bytes are cut; chunks have a median; pieces of a body come in flights."""

from __future__ import annotations

import re
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wiredoctor.http.events import counter_of
from wiredoctor.http.fields import Fields
from wiredoctor.http.framing import CHUNKED, LENGTH, NO_BODY, UNTIL_CLOSE
from wiredoctor.http.pieces import LARGEST, Pieces, pieces_of

SSE, LINES, PARTS = "text/event-stream", "application/x-ndjson", "multipart/x-mixed-replace"


def counted(media: str, pieces: list[bytes]) -> int:
    counter = counter_of(Fields(0, content_type=media))
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
    "changes", [{"content_encoding": "gzip"}, {"content_encoding": "br"}, {"transfer_codings": ("gzip", "chunked")}]
)
def test_compressed_events_are_not_counted(changes: dict[str, object]) -> None:
    assert counter_of(Fields(0, content_type=SSE, **changes)) is None  # type: ignore[arg-type]


def test_what_is_watched() -> None:
    stream, page = Fields(0, content_type=SSE, event_stream=True), Fields(0, content_type="text/html")
    assert [pieces_of(stream, how) is not None for how in (NO_BODY, LENGTH, CHUNKED, UNTIL_CLOSE)] == [False, True, True, True]
    assert [pieces_of(page, how) is not None for how in (NO_BODY, LENGTH, CHUNKED, UNTIL_CLOSE)] == [False, False, True, False]


@given(st.lists(st.integers(1, 3 * LARGEST), min_size=1, max_size=60))
def test_the_median_is_exact_below_half_of_what_counts_as_large(sizes: list[int]) -> None:
    pieces = Pieces(None)
    for size in sizes:
        pieces.chunk(size, alone=False)
    median = statistics.median(sizes)
    if median < LARGEST // 2:
        assert pieces.median == int(median)
    else:
        assert pieces.median >= LARGEST // 2


def test_without_chunks_there_is_no_median() -> None:
    assert Pieces(None).median == -1


def flights(*packets: tuple[int, int, bytes]) -> Pieces:
    """Frames, times in ms, content."""
    pieces = Pieces(counter_of(Fields(0, content_type=LINES)))
    for frame, time, content in packets:
        pieces.comes(frame, time * 1_000_000)
        pieces.content(content)
    return pieces


def test_ten_milliseconds_end_a_flight() -> None:
    pieces = flights((1, 0, b"a\n"), (2, 9, b"b\nc"), (3, 19, b"\n"), (5, 28, b"d\n"))
    assert [(f.frame, f.events) for f in pieces.flights.values()] == [(1, 2), (3, 2)]
    assert pieces.events == 4


def test_only_flights_behind_a_pause_were_held() -> None:
    three = b"a\nb\nc\n"
    pieces = flights((1, 0, three), (2, 600, three), (3, 1200, b"a\nb\n"), (4, 1800, b"a\n"))
    for frame in (2, 3, 4):
        pieces.paused(frame, (frame - 1, 0))
    pieces.settle(3)
    assert (pieces.held, [f.frame for f in pieces.shown], list(pieces.flights)) == (1, [2], [4])
    pieces.comes(5, 1_801_000_000)
    pieces.content(three)
    pieces.settle(3)
    assert pieces.held == 1  # more may come
    pieces.settle(3, over=True)
    assert (pieces.held, [f.frame for f in pieces.shown]) == (2, [2, 4])


def test_nothing_is_counted_out_of_order() -> None:
    pieces = flights((1, 0, b"a\n"), (3, 600, b"b\nc\nd\n"), (2, 1200, b"e\nf\ng\n"))
    assert pieces.counter is None
    assert pieces.flights == {}


def test_chunks_of_the_first_flight() -> None:
    pieces = Pieces(None)
    pieces.comes(1, 0)
    pieces.chunk(5, alone=False)
    pieces.comes(2, 9_999_999)
    assert pieces.watching
    pieces.chunk(5, alone=False)
    assert (pieces.early, pieces.watching) == (2, False)
    late = Pieces(None)
    late.comes(1, 0)
    late.chunk(5, alone=False)
    late.comes(2, 10_000_000)
    late.chunk(5, alone=False)
    assert (late.early, late.watching) == (1, False)
