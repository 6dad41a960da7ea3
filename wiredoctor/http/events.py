"""Events of a stream, counted in bytes that come in pieces of any size.

An event ends with an empty line (text/event-stream, WHATWG HTML section 9.2), with its line (application/x-ndjson), or where
the delimiter behind it begins (multipart/x-mixed-replace, RFC 2046 section 5.1). Compressed ones cannot be counted.
"""

from __future__ import annotations

import re
from typing import Protocol

from wiredoctor.http.fields import Fields

LONGEST_LINE = 72
"""Bytes of a delimiter: two hyphens and a boundary of 70 characters, RFC 2046 section 5.1.1."""


class Counter(Protocol):
    """Counts events."""

    def count(self, data: bytes, /) -> int:
        """How many events end in these bytes, which follow those before."""
        ...


class Lines:
    """Events that end with at least so many ends of lines, LF or CR LF; empty ones are none."""

    __slots__ = ("_begun", "_ends", "_least", "_pattern")

    def __init__(self, least: int) -> None:
        self._least, self._pattern = least, re.compile(rb"\n{%d,}" % least)
        self._begun, self._ends = False, 0

    def count(self, data: bytes) -> int:
        """How many events end in these bytes."""
        data = data.replace(b"\r", b"")
        rest = data.lstrip(b"\n")
        ends = self._ends + len(data) - len(rest)
        found = int(self._begun and self._ends < self._least <= ends)
        self._ends = min(ends, self._least)
        if rest:
            found += len(self._pattern.findall(rest))
            self._begun, self._ends = True, min(len(rest) - len(rest.rstrip(b"\n")), self._least)
        return found


class Parts:
    """Parts between delimiters; the body's first line says what these are."""

    __slots__ = ("_delimiter", "_rest")

    def __init__(self) -> None:
        self._delimiter: bytes | None = b""
        self._rest = b""

    def count(self, data: bytes) -> int:
        """How many parts end in these bytes."""
        if self._delimiter is None:
            return 0
        data = self._rest + data
        if not self._delimiter:
            data = data.lstrip(b"\r\n")
            line, newline, _ = data.partition(b"\n")
            line = line.rstrip(b"\r \t")
            if not newline and len(line) <= LONGEST_LINE:
                self._rest = data
                return 0
            if line[:2] != b"--" or not 2 < len(line) <= LONGEST_LINE:
                self._delimiter = None  # no line that a delimiter could be
                return 0
            self._delimiter = b"\n" + line
        self._rest = data[1 - len(self._delimiter) :]
        return data.count(self._delimiter)


def counter_of(fields: Fields) -> Counter | None:
    """What counts the events of a response with these fields; None where nothing can."""
    if fields.content_encoding not in ("", "identity") or fields.transfer_codings not in ((), ("chunked",)):
        return None
    if fields.content_type == "multipart/x-mixed-replace":
        return Parts()
    return Lines(1 if fields.content_type == "application/x-ndjson" else 2)
