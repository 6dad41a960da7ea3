"""Content is checked the same however its bytes are cut: compressed data to its end, and documents of JSON."""

from __future__ import annotations

import gzip
import json
import tracemalloc
import zlib
from importlib import import_module
from itertools import pairwise
from typing import Any

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from wiredoctor import limits
from wiredoctor.protocols.http1.content import Content, is_cut_json, is_whole_json, make_content, needs_check
from wiredoctor.protocols.http1.fields import Fields
from wiredoctor.protocols.http1.inflate import has_brotli

TEXT = b"hello " * 500
GZIP = gzip.compress(TEXT, mtime=0)
ZSTD = zstandard.ZstdCompressor(write_checksum=True).compress(TEXT)
BARE = zlib.compress(TEXT)[2:-4]
SKIPPED = b"\x50\x2a\x4d\x18\x02\x00\x00\x00ab"
"""A skippable frame (RFC 8878 section 3.1.2)."""

WHOLE = [
    ("gzip", GZIP), ("x-gzip", GZIP + gzip.compress(b"")), ("gzip", GZIP + bytes(9)), ("deflate", BARE),
    ("deflate", zlib.compress(TEXT)), ("zstd", ZSTD), ("zstd", ZSTD + ZSTD), ("zstd", SKIPPED + ZSTD + SKIPPED),
]  # fmt: skip
BROTLI = import_module("brotli").compress(TEXT, lgwin=10) if has_brotli() else b""
WHOLE += [("br", BROTLI)] if BROTLI else []
FAULTS = [
    ("gzip", GZIP[:-1], "unfinished-coding"), ("gzip", GZIP + GZIP[:20], "unfinished-coding"),
    ("deflate", BARE[:-4], "unfinished-coding"), ("zstd", ZSTD[:-1], "unfinished-coding"),
    ("gzip", GZIP[:-8] + b"abcd" + GZIP[-4:], "wrong-checksum"), ("gzip", GZIP[:-4] + b"abcd", "wrong-checksum"),
    ("zstd", ZSTD[:-4] + b"abcd", "wrong-checksum"), ("deflate", zlib.compress(TEXT)[:-4] + b"abcd", "wrong-checksum"),
    ("gzip", GZIP[:10] + b"\xff" + GZIP[11:], "broken-coding"), ("deflate", b"<html><body>text", "broken-coding"),
    ("gzip", TEXT, "body-not-gzip"), ("zstd", TEXT, "body-not-zstd"), ("utf-8", TEXT, "unknown-coding"),
    ("x-gzip", GZIP + GZIP, "several-members"),
]  # fmt: skip
BR_FAULTS = [
    ("br", BROTLI[:-1], "unfinished-coding"), ("br", TEXT, "broken-coding"), ("br", GZIP, "broken-coding"),
    ("br", BROTLI + b"\r\n", "broken-coding"),
]  # fmt: skip
FAULTS += BR_FAULTS if BROTLI else []


def checked(content: Content, body: bytes, cuts: list[int]) -> str:
    places = sorted({0, len(body), *(min(cut, len(body)) for cut in cuts)})
    for begin, end in pairwise(places):
        fault = content.add(body[begin:end])
        if content.is_done:
            return fault
    return content.find_end()[0]


@given(st.sampled_from([*((*one, "") for one in WHOLE), *FAULTS]), st.lists(st.integers(0, 3100), max_size=6))
def test_coded_bodies(one: tuple[str, bytes, str], cuts: list[int]) -> None:
    coding, body, fault = one
    content = Content(coding, is_json=False)
    assert checked(content, body, cuts) == fault
    content.close()


DOCUMENT: list[Any] = [{"a": [1, -2.5e3, True, None, {}], "b\u00e9": 'c"\\\n', "d": {"e": []}}, [], "\U0001f600"]


@pytest.mark.parametrize("is_ascii", [True, False])
def test_documents(is_ascii: bool) -> None:
    text = json.dumps(DOCUMENT, ensure_ascii=is_ascii).encode()
    assert is_whole_json(text)
    assert not is_cut_json(text + b"\r\n")
    assert [end for end in range(1, len(text)) if not is_cut_json(text[:end]) or is_whole_json(text[:end])] == []


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"OK",
        b'"abc',
        b'{"a": 1}\n{"a"',
        b"{'a': 1",
        b'{"a": undef',
        b"[1 2",
        b"[1,2,]",
        b"[" * 200_000,
        b"[" + b"1" * 9000 + b",",
        b")]}',{",
    ],
)
def test_what_fails_before_its_end_is_not_cut(text: bytes) -> None:
    assert not is_cut_json(text)
    assert not is_whole_json(text)


def test_lengths() -> None:
    coded = Content("gzip", is_json=False)
    coded.add(GZIP)
    assert coded.find_length(len(TEXT))[0] == "length-before-coding"
    assert coded.find_length(len(TEXT) + 1)[0] == "length-too-long"
    coded.close()
    for body, fault in ((b'{"a": 1}', "length-too-long"), (b'{"a": 1', ""), (b'{"a": 1}{', "")):
        document = Content("", is_json=True)
        document.add(body)
        assert document.find_length(100)[0] == fault
        document.close()


@pytest.mark.parametrize(
    ("changes", "status", "checked"),
    [
        ({"content_encoding": "gzip"}, 200, True),
        ({"content_encoding": "gzip"}, -1, True),
        ({"content_encoding": "gzip"}, 206, False),
        ({"content_encoding": "gzip, br"}, 200, False),
        ({"content_encoding": "utf-8"}, -1, False),
        ({"content_encoding": "snappy"}, 200, False),
        ({"content_encoding": "aws-chunked"}, 200, False),
        ({"content_encoding": "identity"}, 200, False),
        ({"content_encoding": ""}, 200, False),
        ({"content_encoding": "utf-16le"}, 200, True),
        ({"content_encoding": "latin1"}, 200, True),
        ({"content_encoding": "application/json"}, 200, True),
        ({"content_encoding": "charset=utf-8"}, 200, True),
        ({"content_encoding": "null"}, 200, True),
        ({"content_type": "application/problem+json"}, 200, True),
        ({"content_type": "application/json"}, 500, False),
        ({"content_type": "application/json"}, -1, False),
        ({"content_type": "application/x-ndjson"}, 200, False),
    ],
)
def test_what_is_checked(changes: dict[str, Any], status: int, checked: bool) -> None:
    assert needs_check(Fields(0, **changes), status) is checked


def test_br_needs_its_library(monkeypatch: pytest.MonkeyPatch) -> None:
    fields = Fields(0, content_encoding="br", content_type="application/json")
    assert needs_check(fields, 200) is has_brotli()
    monkeypatch.setattr("wiredoctor.protocols.http1.content.has_brotli", lambda: False)
    assert not needs_check(fields, 200)


def test_a_bomb_and_a_large_window_cost_nothing() -> None:
    large = zstandard.ZstdCompressionParameters(window_log=27)
    window = zstandard.ZstdCompressor(compression_params=large).compressobj()
    bodies = [("zstd", window.compress(TEXT) + window.flush()), ("gzip", gzip.compress(bytes(50_000_000)))]
    bodies += [("br", import_module("brotli").compress(bytes(50_000_000), quality=5))] if has_brotli() else []
    for coding, body in [*bodies, ("zstd", zstandard.compress(bytes(50_000_000)))]:
        content = Content(coding, is_json=True)
        tracemalloc.start()
        try:
            assert content.add(body) == ""
            assert content.is_done
            assert tracemalloc.get_traced_memory()[1] < 30_000_000
        finally:
            tracemalloc.stop()


def test_so_many_bodies_are_checked_and_no_more() -> None:
    fields = Fields(0, content_type="application/json")
    bodies = [make_content(fields, 200) for _ in range(limits.BODIES.value + 1)]
    for body in bodies:
        assert body.add(b"{") == ""
    assert [body.is_left_out for body in bodies] == [False] * limits.BODIES.value + [True]
    for body in bodies:
        body.close()


def test_a_large_document_is_not_kept() -> None:
    body = Content("", is_json=True)
    body.add(b"[" + b" " * limits.JSON_BYTES.value)
    assert body.is_done
