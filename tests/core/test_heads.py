"""Test that the fast parser of usual heads agrees with wiredoctor.protocols.http1.head, and leaves all other heads to it."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.sweeps import examples
from wiredoctor import limits
from wiredoctor.core.http1.heads import NO_LENGTH, HeadReader, begins, find_byte, length_of, skip_text
from wiredoctor.protocols.http1.head import HeadParser, RequestLine

STARTS = [b"GET /a?b=c HTTP/1.1", b"POST / HTTP/1.0", b"HTTP/1.1 200 OK", b"HTTP/1.0 404 ", b"GET /a b HTTP/1.1",
          b"FOO / HTTP/1.1", b"GET / HTTP/1.1 ", b"HTTP/1.1 20 OK", b"GET  / HTTP/1.1", b"GET /\x7f HTTP/1.1"]  # fmt: skip
LINES = [
    *(b"Host: a", b"content-length: 5", b"Content-Length:  17 \t", b"Content-Length: 5", b"Content-Length: 5, 5", b"Cookie: c"),
    *(b"Content-Length: 0x5", b"Transfer-Encoding: chunked", b"Connection: close", b"Server : s", b" folded: x", b"no colon"),
    *(b"Host: a\x01b", b":", b"User-Agent: \xe4\tb", b"Connection: Upgrade", b"Upgrade: h2c", b"X: " + b"v" * 5000, b""),
]
HEADS = st.tuples(
    st.sampled_from(STARTS), st.lists(st.sampled_from(LINES), max_size=6), st.sampled_from([b"\r\n", b"\r\n", b"\n"])
)


def head_of(start: bytes, lines: list[bytes], end: bytes) -> bytes:
    return end.join([start, *lines, b"", b""])


@given(st.lists(HEADS, min_size=1, max_size=4), st.binary(max_size=9), st.integers(0, 20))
@settings(max_examples=examples(300), deadline=None)
def test_a_plain_head_says_what_the_grammar_says(
    parts: list[tuple[bytes, list[bytes], bytes]], after: bytes, before: int
) -> None:
    reader, parser = HeadReader(), HeadParser()
    for start, lines, end in parts * 2:  # what was remembered must say the same
        head = head_of(start, lines, end)
        block = b"\n" * before + head + after
        response = start.startswith(b"HTTP/")
        read = reader.read_response if response else reader.read_request
        found = read(block, before, len(block))
        if found is None:
            continue
        assert reader.size == head.index(end * 2) + 2 * len(end)
        parsed = parser.response(head[: reader.size]) if response else parser.request(head[: reader.size])
        assert parsed is not None
        line, fields = parsed
        assert not fields.malformed
        assert reader.length == length_of(fields)
        said = {name: getattr(found.fields, name) for name in fields.__slots__ if name not in ("number", "content_length")}
        assert said == {name: getattr(fields, name) for name in said}
        assert (found.version, found.method or found.status) == (line.version, getattr(line, "method", "") or line[1])
        if isinstance(line, RequestLine):
            assert reader.target == line.target.encode("latin-1")


@given(st.integers(1, 60))
def test_a_head_whose_end_is_not_there_is_no_head(size: int) -> None:
    head = b"GET /index HTTP/1.1\r\nHost: a\r\nContent-Length: 12\r\n\r\n"
    found = HeadReader().read_request(head, 0, min(size, len(head)))
    assert (found is not None) == (size >= len(head))


@given(st.binary(max_size=40), st.integers(0, 40), st.integers(0, 40), st.sampled_from([32, 33]), st.sampled_from([58, 127]))
def test_a_byte_is_found_eight_at_a_time(data: bytes, at: int, stop: int, lowest: int, mark: int) -> None:
    at, stop = sorted((min(at, len(data)), min(stop, len(data))))
    hits = [i for i in range(at, stop) if data[i] < lowest or data[i] in (mark, 127)]
    assert find_byte(data, at, stop, lowest, mark) == min(hits, default=stop)
    controls = [i for i in range(at, stop) if (data[i] < 32 and data[i] != 9) or data[i] == 127]
    assert skip_text(data, at, stop) == min(controls, default=stop)


@given(st.binary(max_size=40), st.integers(0, 40), st.integers(0, 40), st.integers(0, 40), st.none() | st.integers(0, 40))
def test_all_bytes_of_a_beginning_count(data: bytes, at: int, size: int, stop: int, wrong: int | None) -> None:
    at, stop = sorted((min(at, len(data)), min(stop, len(data))))
    text = bytearray(data[at : at + size])
    if wrong is not None and wrong < len(text):
        text[wrong] ^= 1
    assert begins(data, at, stop, bytes(text)) == data[at:stop].startswith(text)


def test_lengths_differ_though_all_else_is_the_same() -> None:
    reader = HeadReader()
    found = [reader.read_response(head, 0, len(head)) and (reader.length, reader.size) for size in (5, 70_000)
             for head in (b"HTTP/1.1 200 OK\r\nServer: s\r\nContent-Length: %d\r\n\r\n" % size,)]  # fmt: skip
    assert found == [(5, 49), (70_000, 53)]
    assert reader.read_response(b"HTTP/1.1 200 OK\r\nServer: s\r\n\r\n", 0, 30) is not None
    assert reader.length == NO_LENGTH


def test_lines_that_never_repeat_do_not_fill_the_memory() -> None:
    reader = HeadReader()
    for i in range(3 * limits.REMEMBERED_HEADS.value):
        head = b"GET / HTTP/1.1\r\nReferer: %d\r\n\r\n" % i
        assert reader.read_request(head, 0, len(head)) is not None
    assert reader.remembered <= limits.REMEMBERED_HEADS.value
