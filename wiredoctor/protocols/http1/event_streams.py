"""Count the events of a stream whose bytes arrive in pieces of any size.

An event ends with an empty line (text/event-stream, WHATWG HTML section 9.2), with its line (application/x-ndjson), or where
the next delimiter begins (multipart/x-mixed-replace, RFC 2046 section 5.1). Compressed events are decoded if zlib supports
their coding.
"""

from __future__ import annotations

import re
import zlib
from typing import Protocol
from weakref import WeakSet

from wiredoctor import limits
from wiredoctor.protocols.http1.fields import Fields

LONGEST_LINE = 72
"""The longest delimiter in bytes: two hyphens and a boundary of 70 characters, RFC 2046 section 5.1.1."""


STEP = 1 << 16
"""How many bytes are decoded at once."""
FREE = 1 << 18
MOST_TIMES = 64
"""A stream may decode to this many times its coded bytes, plus FREE; text compresses to a twentieth."""


class CodedError(Exception):
    """The bytes do not have the announced coding, or decode to far too many."""


class Counter(Protocol):
    """Counts events."""

    @property
    def inside(self) -> bool:
        """Whether the bytes so far end inside an event."""
        ...

    def count(self, data: bytes, /) -> int:
        """Return how many events end in these bytes, which continue the stream; raises CodedError."""
        ...

    def close(self) -> None:
        """Release resources; no more bytes will be counted."""


class Lines:
    """Events that end with at least `least` line ends, LF or CR LF. Empty events do not count."""

    __slots__ = ("_begun", "_ends", "_least", "_pattern")

    def __init__(self, least: int) -> None:
        self._least, self._pattern = least, re.compile(rb"\n{%d,}" % least)
        self._begun, self._ends = False, 0

    @property
    def inside(self) -> bool:
        """Whether an event has begun and not ended yet."""
        return self._begun and self._ends < self._least

    def close(self) -> None:
        """Nothing is kept."""

    def count(self, data: bytes) -> int:
        """Return how many events end in these bytes."""
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
    """Parts between delimiters; the first line of the body is the delimiter."""

    __slots__ = ("_delimiter", "_rest")

    def __init__(self) -> None:
        self._delimiter: bytes | None = b""
        self._rest = b""

    inside = False
    """Always false: the delimiter after a part comes with the next part, so the end of a part is unknown until then."""

    def close(self) -> None:
        """Nothing is kept."""

    def count(self, data: bytes) -> int:
        """Return how many parts end in these bytes."""
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


class Coded:
    """Events of a gzip or deflate stream. Many servers send deflate without the zlib header (RFC 9110 section 8.4.1)."""

    __slots__ = ("__weakref__", "_events", "_inflate", "_is_gzip", "_made", "_read", "_start")

    def __init__(self, events: Counter, coding: str) -> None:
        self._events, self._is_gzip = events, coding != "deflate"
        self._start, self._read, self._made = b"", 0, 0
        self._inflate = zlib.decompressobj(47) if self._is_gzip else None
        _OPEN.add(self)

    @property
    def inside(self) -> bool:
        """Whether the decoded bytes end inside an event."""
        return self._events.inside

    def close(self) -> None:
        """Free the decoder."""
        self._inflate = None
        _OPEN.discard(self)

    def count(self, data: bytes) -> int:
        """Decode these bytes and return how many events end in them; raises CodedError."""
        self._read += len(data)
        if self._inflate is None:
            data = self._start = self._start + data
            if len(data) < 2:
                return 0
            # RFC 1950 section 2.2
            has_header = data[0] & 15 == 8 and (data[0] << 8 | data[1]) % 31 == 0
            self._inflate = zlib.decompressobj(zlib.MAX_WBITS if has_header else -zlib.MAX_WBITS)
        try:
            return self._count(data)
        except zlib.error as error:
            raise CodedError from error

    def _count(self, data: bytes) -> int:
        found, is_more, inflate = 0, True, self._inflate
        while inflate is not None and (data or is_more):
            made = inflate.decompress(data, STEP)
            self._made += len(made)
            if self._made > FREE + MOST_TIMES * self._read:
                raise CodedError
            found += self._events.count(made)
            data, is_more = inflate.unconsumed_tail, len(made) == STEP
            if inflate.eof:
                data = inflate.unused_data
                if not data or not self._is_gzip:
                    break
                # gzip may have several members (RFC 1952 section 2.2)
                inflate = self._inflate = zlib.decompressobj(47)
        return found


_OPEN: WeakSet[Coded] = WeakSet()
"""Those whose decoders take memory."""

IDENTITY = ("", "identity")
CODINGS = ("gzip", "x-gzip", "deflate")


def has_room(fields: Fields) -> bool:
    """Whether a stream with these fields can be decoded besides those that are."""
    return fields.content_encoding not in CODINGS or len(_OPEN) < limits.DECODERS.value


def counter_of(fields: Fields) -> Counter | None:
    """What counts the events of a response with these fields; None where nothing can."""
    coding = fields.content_encoding
    if coding not in (*IDENTITY, *CODINGS) or fields.transfer_codings not in ((), ("chunked",)) or not has_room(fields):
        return None
    events = _events_of(fields)
    return events if coding in IDENTITY else Coded(events, coding)


def _events_of(fields: Fields) -> Counter:
    """What counts them as they are decoded."""
    if fields.content_type == "multipart/x-mixed-replace":
        return Parts()
    return Lines(1 if fields.content_type == "application/x-ndjson" else 2)
