"""Bodies are jumped over; of chunked ones (RFC 9112 section 7.1) the lines between the chunks are read."""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING

from wiredoctor import limits
from wiredoctor.http import faults, framing, tiny
from wiredoctor.http.items import HOLE, Items
from wiredoctor.http.message import COMPLETE, ERROR, IN_HOLE
from wiredoctor.http.modes import BODY, CHUNK_END, CHUNK_SIZE
from wiredoctor.http.partial import Partial
from wiredoctor.http.payload import FIRST_LOOK, Payload
from wiredoctor.http.seeking import hole_in_framing, lose
from wiredoctor.tables import NEVER

if TYPE_CHECKING:
    from wiredoctor.http.pieces import Pieces
    from wiredoctor.http.reader import Reader


def _take(reader: Reader, items: Items, i: int, stop: int, upto: int, read: Payload) -> None:
    """Counts body bytes of items[i:stop] from `pos` up to the stream offset `upto`."""
    message = reader.message
    if message is None or stop <= i:
        return
    begin = max(reader.pos, items.start[i])
    if message.pieces is not None and message.pieces.watching:
        _watch(message.pieces, items, i, stop, begin, upto, read)
    size = upto - begin
    last: int | None = stop - 1
    for k in items.holes[bisect_left(items.holes, i) : bisect_left(items.holes, stop)] if items.holes else ():
        message.has_hole = True
        size -= min(items.end[k], upto) - max(items.start[k], begin)
    if items.shuffled:
        # bytes behind a hole came earlier than what filled it, and those in a hole never
        last = max((k for k in range(i, stop) if items.at[k] != HOLE), key=items.frame.__getitem__, default=None)
    message.body_bytes += size
    if last is None:
        return
    if size and message.body_frame == NEVER:
        there = (k for k in range(i, stop) if items.at[k] != HOLE)
        first = min(there, key=items.frame.__getitem__) if items.shuffled else next(there)
        message.body_frame, message.body_time = items.frame[first], items.time[first]
    message.reaches(items.frame[last], items.time[last])
    if size:
        message.last_body_time = max(message.last_body_time, items.time[last])


def _watch(pieces: Pieces, items: Items, i: int, stop: int, begin: int, upto: int, read: Payload) -> None:
    """Tells when the content of items[i:stop] from `begin` up to `upto` came, and what it is where that is asked for."""
    for k in range(i, stop):
        if not pieces.watching:
            return
        if items.at[k] != HOLE:
            pieces.comes(items.frame[k], items.time[k])
        if items.at[k] < 0:
            pieces.lose()
        elif pieces.counter is not None:
            start = max(items.start[k], begin)
            pieces.content(read(items.at[k] + start - items.start[k], min(items.end[k], upto) - start))


def all_of(reader: Reader, items: Items, i: int, stop: int, read: Payload) -> int:
    """Everything there is belongs to the body."""
    end = items.end[stop - 1]
    _take(reader, items, i, stop, end, read)
    reader.pos = end
    return stop


def sized(reader: Reader, items: Items, i: int, stop: int, read: Payload) -> int:
    """Body bytes up to `reader.until`: a body with a length, or a chunk."""
    until = reader.until
    k = bisect_left(items.end, until, i, stop)
    if k == stop:
        return all_of(reader, items, i, stop, read)
    _take(reader, items, i, k + 1, until, read)
    reader.pos = until
    ends_in_hole = items.at[k] < 0
    if reader.message is not None and reader.message.framing == framing.CHUNKED:
        if ends_in_hole and items.end[k] > until:
            hole_in_framing(reader, items, k)
            reader.finish(IN_HOLE)
            lose(reader)
        else:
            reader.mode = CHUNK_END
            pieces = reader.message.pieces
            if pieces is not None and pieces.lines:
                pieces.lines = not ends_in_hole and read(items.at[k] + until - 1 - items.start[k], 1) == b"\n"
    else:
        reader.finish(COMPLETE)
        if ends_in_hole and items.end[k] > until:
            hole_in_framing(reader, items, k)
            lose(reader)
    return k + (items.end[k] <= until)


def chunk_line(reader: Reader, items: Items, i: int, read: Payload) -> int:
    """A chunk-size line, a trailer line or the CRLF behind a chunk, which may be split over items."""
    if items.at[i] < 0:
        reader.pos = items.end[i]
        hole_in_framing(reader, items, i)
        _hole(reader)
        return i + 1
    begin = max(reader.pos, items.start[i])
    size = items.end[i] - begin
    data = read(items.at[i] + begin - items.start[i], min(size, FIRST_LOOK))
    partial = reader.partial
    known = b"" if partial is None else partial.start
    if reader.mode == CHUNK_END and not _ends(reader, items, i, begin, (known + data[:2])[:2]):
        return i
    newline = data.find(b"\n")
    if newline < 0:
        if partial is None:
            partial = reader.partial = Partial(read, begin, items.frame[i], items.time[i], items.ack[i])
        partial.add(items.at[i] + begin - items.start[i], data)
        reader.pos = begin + len(data)
        _touch(reader, items, i)
        _unfinished(reader, partial, items, i)
        return i + (reader.pos >= items.end[i])
    line = data[:newline] if partial is None else partial.whole() + data[:newline]
    reader.partial = None
    reader.pos = begin + newline + 1
    _touch(reader, items, i)
    _line(reader, items, i, line)
    if reader.mode == BODY and reader.until < items.end[i]:
        tiny.chunks(reader, items, i, read)
    return i + (reader.pos >= items.end[i])


def _unfinished(reader: Reader, partial: Partial, items: Items, i: int) -> None:
    """Gives up on a line of which the end is not there, and will be none that is worth anything."""
    if reader.mode == CHUNK_SIZE and not reader.in_trailer and not _may_be_size(partial.start):
        _break(reader, items, i, partial.start, partial.offset)
    elif partial.size > limits.CHUNK_LINE.value:
        reader.conversation.met.add(limits.CHUNK_LINE)
        reader.finish(ERROR)
        lose(reader)


def _ends(reader: Reader, items: Items, i: int, begin: int, end: bytes) -> bool:
    """Whether a chunk is followed by CRLF, as far as its first bytes say; where it is not, the reader is lost, unless it is
    LF alone."""
    if end in (b"\r", b"\r\n"):
        return True
    _touch(reader, items, i)
    offset = begin if reader.partial is None else reader.partial.offset
    if end[:1] == b"\n":
        faults.in_chunks(reader, end, items.frame[i], items.time[i], offset)
        return True
    # the message ends in this packet, which says so; a head may begin here all the same
    reader.pos = begin + 1
    _break(reader, items, i, end, offset)
    reader.pos = begin
    return False


def _may_be_size(line: bytes) -> bool:
    """Whether a line that is not at its end may be a chunk-size line."""
    return not line.partition(b";")[0].strip(b"0123456789abcdefABCDEF \t\r")


def _break(reader: Reader, items: Items, i: int, line: bytes, offset: int) -> None:
    """These bytes are no part of the framing: where the message ends is unknown."""
    faults.in_chunks(reader, line, items.frame[i], items.time[i], offset)
    reader.finish(ERROR)
    lose(reader)


def _line(reader: Reader, items: Items, i: int, whole: bytes) -> None:
    """chunk-size [ chunk-ext ] CRLF, or a trailer field, or the empty line at the end (RFC 9112 section 7.1)."""
    message, line = reader.message, whole.removesuffix(b"\r")
    if message is None:
        lose(reader)
    elif reader.mode == CHUNK_END:
        reader.mode = CHUNK_SIZE
    elif reader.in_trailer:
        if not line:
            reader.finish(COMPLETE)
        elif reader.pos - reader.until > limits.TRAILER.value:
            reader.conversation.met.add(limits.TRAILER)
            reader.finish(COMPLETE)
            lose(reader)
    else:
        digits = line.partition(b";")[0].strip(b" \t")
        if not digits or len(digits.lstrip(b"0")) > 15 or digits.strip(b"0123456789abcdefABCDEF"):
            _break(reader, items, i, line, reader.pos - len(whole) - 1)
        elif (size := int(digits, 16)) == 0:
            reader.in_trailer, reader.until = True, reader.pos
        else:
            if message.pieces is not None:
                content_end = reader.until if message.chunks else message.head_end
                message.pieces.chunk(size, alone=items.start[i] >= content_end and items.end[i] == reader.pos)
            message.chunks += 1
            reader.mode, reader.until = BODY, reader.pos + size


def _touch(reader: Reader, items: Items, i: int) -> None:
    message = reader.message
    if message is not None:
        message.reaches(items.frame[i], items.time[i])
        if message.pieces is not None and message.pieces.watching:
            message.pieces.comes(items.frame[i], items.time[i])


def _hole(reader: Reader) -> None:
    if reader.message is not None:
        reader.message.has_hole = True
    reader.finish(IN_HOLE)
    lose(reader)
