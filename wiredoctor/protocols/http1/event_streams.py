"""Count the events of a stream that arrives in pieces of any size.

An event ends with an empty line (text/event-stream, WHATWG HTML section 9.2), at the end of a line (application/x-ndjson), or
where the next delimiter begins (multipart/x-mixed-replace, RFC 2046 section 5.1). Compressed events are decoded if zlib supports
their coding.
"""

from __future__ import annotations

import re
from typing import Protocol
from weakref import WeakSet

from wiredoctor import limits
from wiredoctor.protocols.http1.end_marks import classify_last, first_hash, first_shape, has_end_mark, has_format
from wiredoctor.protocols.http1.fields import PAGES, Fields
from wiredoctor.protocols.http1.inflate import CODINGS, CodedError, Decoder
from wiredoctor.tables import NO_EVENT

LONGEST_LINE = 72
"""The maximum size of a delimiter in bytes: two hyphens and a boundary of 70 characters (RFC 2046 section 5.1.1)."""

KEPT = 512
"""The number of bytes that are kept of the beginning and of the end of an event, to find the mark of the last one."""

FIRST = 3
"""The number of events at the beginning of a stream that are kept to recognize its API."""

_ERROR = re.compile(rb'"error"\s*:\s*["{]')


class Counter(Protocol):
    """Counts the events of one stream."""

    @property
    def inside(self) -> bool:
        """True if the bytes so far end inside an event."""
        ...

    @property
    def began_with_end(self) -> bool:
        """True if the newest bytes began with the line end of an event that was otherwise complete before."""
        ...

    @property
    def has_end_mark(self) -> bool:
        """True if one of the last two events so far is the one with which an API ends an answer (end_marks.py)."""
        ...

    @property
    def has_format(self) -> bool:
        """True if one of the first events is of an API whose answers end with a mark (end_marks.py)."""
        ...

    @property
    def last_event(self) -> int:
        """What the last event so far is, such as tables.DONE_EVENT."""
        ...

    @property
    def with_data(self) -> int:
        """The number of events that ended in the newest bytes and have data: comments, often sent as heartbeats, have none."""
        ...

    @property
    def first_shape(self) -> int:
        """A number for what the first event has in common with those of other streams of its kind; 0 if there is none."""
        ...

    @property
    def first_hash(self) -> int:
        """A number for the content of the first events, FIRST of them; 0 if there are fewer."""
        ...

    def count(self, data: bytes, /) -> int:
        """Return how many events end in these bytes, which continue the stream. Raise CodedError if they cannot be decoded."""
        ...

    def close(self) -> None:
        """Release resources, because no more bytes will be counted."""


class Lines:
    """Counts events, each of which ends with at least `least` line ends (LF or CR LF). Empty events do not count."""

    __slots__ = (
        *("_begun", "_ends", "_errors", "_first", "_last", "_least", "_pattern", "_separator", "began_with_end", "with_data"),
    )

    def __init__(self, least: int) -> None:
        self._least, self._pattern, self._separator = least, re.compile(rb"\n{%d,}" % least), b"\n" * least
        self._begun, self._ends = False, 0
        self._last: list[bytes] = [b""]
        self._first: list[bytes] = []
        self._errors = 0
        self.began_with_end, self.with_data = False, 0

    @property
    def inside(self) -> bool:
        """True if an event has begun but not ended."""
        return self._begun and self._ends < self._least

    @property
    def has_end_mark(self) -> bool:
        """True if one of the last two events so far is the one with which an API ends an answer (end_marks.py)."""
        return any(has_end_mark(event) for event in [event for event in self._last if event.strip(b"\n")][-2:])

    @property
    def has_format(self) -> bool:
        """True if one of the first events is of an API whose answers end with a mark (end_marks.py)."""
        return has_format(self._first)

    @property
    def first_shape(self) -> int:
        """A number for what the first event has in common with those of other streams of its kind; 0 if there is none."""
        return first_shape(self._first or self._last)

    @property
    def first_hash(self) -> int:
        """A number for the content of the first events, FIRST of them; 0 if there are fewer."""
        return first_hash(self._first) if len(self._first) == FIRST else 0

    @property
    def last_event(self) -> int:
        """What the last event so far is, such as tables.DONE_EVENT. Comments are no events."""
        *earlier, last = [event for event in self._last if not _is_comment(event)] or [b""]
        first = self._first if len(self._first) == FIRST and last not in self._first else []
        return classify_last([*first, *earlier], last, self._errors)

    def close(self) -> None:
        """Do nothing, because there are no resources."""

    def _remember(self, known: bytes, text: bytes) -> None:
        """Keep the first and the last three events, the newest of which may be unfinished; of long ones, both ends.

        `known`: the newest event so far. `text`: that event, and what continues it.
        """
        if b'"error"' in text:
            self._errors += len(_ERROR.findall(text)) - len(_ERROR.findall(known))
        if len(self._first) < FIRST:
            events = [_shorten(event) for event in text.split(self._separator, FIRST + 1)[:-1] if not _is_comment(event)]
            self._first += events[: FIRST - len(self._first)]
        *ended, newest = text.rsplit(self._separator, 3)[-3:]
        self._last[-1:] = [event for event in ended if not _is_comment(event)]
        self._last = [*self._last[-2:], newest]
        if len(text) > 2 * KEPT:
            self._last = [_shorten(event) for event in self._last]

    def _count_one(self, data: bytes, separator: bytes) -> int:
        """Do what `count` does with the bytes of one complete event, the usual case, in a third of the time."""
        if b'"error"' in data:
            self._errors += len(_ERROR.findall(data))
        event = data[: -len(separator)]
        if len(self._first) < FIRST:
            self._first.append(event)
        self._last = [*self._last[-2:-1], event, b""]
        self._begun, self._ends, self.began_with_end = True, self._least, False
        self.with_data = self._least == 1 or data.startswith(b"data:") or b"\ndata:" in data
        return 1

    def count(self, data: bytes) -> int:
        """Return how many events end in these bytes."""
        separator = self._separator
        is_one = data.endswith(separator) and data.find(separator) == len(data) - len(separator)
        if is_one and not self._last[-1] and b"\r" not in data and len(data) <= 2 * KEPT and data[0] not in _NO_EVENT_BEGINS:
            return self._count_one(data, separator)
        data = data.replace(b"\r", b"")
        known = self._last[-1]
        text = known + data
        self._remember(known, text)
        rest = data.lstrip(b"\n")
        ends = self._ends + len(data) - len(rest)
        self.began_with_end = self._begun and self._ends < self._least <= ends
        found = int(self.began_with_end)
        self._ends = min(ends, self._least)
        if rest:
            found += len(self._pattern.findall(rest))
            self._begun, self._ends = True, min(len(rest) - len(rest.rstrip(b"\n")), self._least)
        self.with_data = found if self._least == 1 else len(_DATA.findall(text))
        return found


_NO_EVENT_BEGINS = b"\n:"
"""The first bytes of line ends and of comments."""


def _is_comment(event: bytes) -> bool:
    """Return whether an event has no line with a value: it is empty, or only keeps the connection open."""
    event = event.strip(b"\n")
    return not event or (event[:1] == b":" and all(line[:1] == b":" for line in event.split(b"\n")))


_DATA = re.compile(rb"^data:.*?\n\n", re.MULTILINE | re.DOTALL)
"""An event of text/event-stream from its first line with data to its end."""


class EventLines(Lines):
    """Counts the events of a body of another type whose lines are all those of text/event-stream (WHATWG HTML section 9.2.5).

    Only events with a field `data` count. Other lines raise CodedError.
    """

    __slots__ = ("_has_data", "_line")

    def __init__(self) -> None:
        super().__init__(2)
        self._line, self._has_data = b"", False

    def count(self, data: bytes) -> int:
        """Return how many events end in these bytes. Raise CodedError if a line is none of an event stream."""
        *lines, rest = (self._line + data.replace(b"\r", b"")).split(b"\n")
        found = 0
        for line in lines:
            if not line:
                found += self._has_data
                self._has_data = False
            elif not line.startswith(_FIELDS):
                raise CodedError
            self._has_data |= line.startswith(b"data:")
        if not rest.startswith(_FIELDS) and not any(name.startswith(rest) for name in _FIELDS):
            raise CodedError
        self._line = rest[:LONGEST_LINE]
        super().count(data)
        self.with_data = found
        return found


_FIELDS = (b"data:", b"event:", b"id:", b"retry:", b":")


def _shorten(event: bytes) -> bytes:
    """Return an event without its middle if it is long."""
    return event if len(event) <= 2 * KEPT else event[:KEPT] + event[-KEPT:]


class Parts:
    """Counts the parts of a multipart body, each of which is an event; the first line of the body is the delimiter."""

    __slots__ = ("_delimiter", "_rest", "with_data")

    def __init__(self) -> None:
        self._delimiter: bytes | None = b""
        self._rest = b""
        self.with_data = 0

    inside = began_with_end = has_end_mark = has_format = False
    """Always false: the end of a part is only known when the next delimiter has arrived, and no API marks its last part."""
    last_event = NO_EVENT
    first_shape = first_hash = 0

    def close(self) -> None:
        """Do nothing, because there are no resources."""

    def count(self, data: bytes) -> int:
        """Return how many parts of the multipart body end in these bytes."""
        self.with_data = self._count(data)
        return self.with_data

    def _count(self, data: bytes) -> int:
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
                self._delimiter = None  # the first line is not a valid delimiter
                return 0
            self._delimiter = b"\n" + line
        self._rest = data[1 - len(self._delimiter) :]
        return data.count(self._delimiter)


class Coded:
    """Counts the events of a stream with gzip or deflate coding."""

    __slots__ = ("__weakref__", "_decoder", "_events", "began_with_end", "with_data")

    def __init__(self, events: Counter, coding: str) -> None:
        self._events, self._decoder = events, Decoder(coding)
        self.began_with_end, self.with_data = False, 0
        _OPEN.add(self)

    @property
    def inside(self) -> bool:
        """True if the decoded bytes end inside an event."""
        return self._events.inside

    @property
    def has_end_mark(self) -> bool:
        """True if one of the last two events so far is the one with which an API ends an answer (end_marks.py)."""
        return self._events.has_end_mark

    @property
    def has_format(self) -> bool:
        """True if one of the first events is of an API whose answers end with a mark (end_marks.py)."""
        return self._events.has_format

    @property
    def last_event(self) -> int:
        """What the last event so far is, such as tables.DONE_EVENT."""
        return self._events.last_event

    @property
    def first_shape(self) -> int:
        """A number for what the first event has in common with those of other streams of its kind; 0 if there is none."""
        return self._events.first_shape

    @property
    def first_hash(self) -> int:
        """A number for the content of the first events, FIRST of them; 0 if there are fewer."""
        return self._events.first_hash

    @property
    def members(self) -> int:
        """The number of gzip members with content so far."""
        return self._decoder.members

    def close(self) -> None:
        """Free the decoder's memory."""
        self._decoder.close()
        _OPEN.discard(self)

    def count(self, data: bytes) -> int:
        """Decode these bytes, and return how many events end in them. Raise CodedError if they cannot be decoded."""
        found, self.began_with_end, self.with_data = 0, False, 0
        for number, made in enumerate(self._decoder.decode(data)):
            found += self._events.count(made)
            self.with_data += self._events.with_data
            if not number:
                self.began_with_end = self._events.began_with_end
        return found


_OPEN: WeakSet[Coded] = WeakSet()
"""The counters whose decoders use memory."""

IDENTITY = ("", "identity")


def has_room(fields: Fields) -> bool:
    """Return whether the events of a response with these fields can be counted now, given the limit on open decoders."""
    return fields.content_encoding not in CODINGS or len(_OPEN) < limits.DECODERS.value


def make_counter(fields: Fields) -> Counter | None:
    """Return the counter for the events of a response with these fields, or None if they cannot be counted."""
    coding = fields.content_encoding
    if coding not in (*IDENTITY, *CODINGS) or fields.transfer_codings not in ((), ("chunked",)) or not has_room(fields):
        return None
    events = _event_counter(fields)
    return events if coding in IDENTITY else Coded(events, coding)


def may_be_events(fields: Fields) -> bool:
    """Return whether the body of a response may be an event stream although its media type is another one."""
    is_text = fields.content_type.startswith("text/") or fields.content_type in (
        "",
        "application/json",
        "application/octet-stream",
    )
    return is_text and fields.content_type not in PAGES and fields.content_encoding in IDENTITY and not fields.event_stream


def _event_counter(fields: Fields) -> Counter:
    """Return a counter for the events of a response with these fields. It expects the body without its content coding."""
    if fields.content_type == "multipart/x-mixed-replace":
        return Parts()
    return Lines(1 if fields.content_type == "application/x-ndjson" else 2)
