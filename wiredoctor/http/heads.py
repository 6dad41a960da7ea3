"""Finds where heads begin and end in the packets of one direction, and what begins with them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wiredoctor import limits
from wiredoctor.http import faults, framing
from wiredoctor.http.answering import ready
from wiredoctor.http.fields import Fields
from wiredoctor.http.head import (
    KNOWN_METHODS,
    HeadParser,
    RequestLine,
    StatusLine,
    find_head_end,
    may_become_request,
    may_become_response,
)
from wiredoctor.http.items import FAR, Items, Moment
from wiredoctor.http.message import AT_CAPTURE_END, COMPLETE, ERROR, IN_HOLE, Message
from wiredoctor.http.modes import BODY, CHUNK_SIZE, CLOSE, NO_END, OFF, REQUEST, RESPONSE, TLS
from wiredoctor.http.partial import Partial
from wiredoctor.http.payload import FIRST_LOOK, Payload
from wiredoctor.http.seeking import lose
from wiredoctor.http.tls import may_begin as may_begin_tls

if TYPE_CHECKING:
    from wiredoctor.http.reader import Reader


def look(reader: Reader, items: Items, i: int, read: Payload, parser: HeadParser) -> int:
    """Looks for the end of a head in an item; returns the item that comes next."""
    start, end = items.start[i], items.end[i]
    pos = reader.pos
    if pos < start or pos > end:
        pos = start
    size = end - pos
    at = items.at[i] + pos - start
    if reader.partial is not None:
        return _go_on(reader, reader.partial, items, i, (at, size), parser)
    data = read(at, size if size <= FIRST_LOOK else FIRST_LOOK)
    head_end = data.find(b"\r\n\r\n") + 4
    if head_end < 4 or data[:1] in b"\r\n" or data.find(b"\n\n", 0, head_end) >= 0:
        if size > FIRST_LOOK:
            data = read(at, min(size, limits.HEAD.value))
        return _unusual(reader, data, items, i, at, pos, parser, read)
    return _complete(reader, data[:head_end], items, i, pos, parser)


def _go_on(reader: Reader, partial: Partial, items: Items, i: int, place: tuple[int, int], parser: HeadParser) -> int:
    """More of a head of which a part is there. What was read before has no end of a head, and is not searched again."""
    at, size = place
    data = partial.read(at, min(size, limits.HEAD.value))
    end = find_head_end(partial.tail + data)
    if end >= 0:
        head = (partial.whole() + data)[: end + partial.size - len(partial.tail)]
        return _complete(reader, head, items, i, partial.offset, parser)
    start = partial.start
    if not partial.has_line:
        start = partial.whole() + data if b"\n" in data else start + data
    plausible = partial.has_line or _plausible(reader, start)
    if not plausible:
        _look_behind(reader, start, items, i, partial.offset)
    if partial.size + len(data) >= limits.HEAD.value or not plausible:
        reader.conversation.met.add(limits.HEAD, plausible)
        return _not_http(reader, start, partial.size + len(data), items, i)
    partial.add(at, data)
    partial.reached(items.known(i))
    reader.pos = items.end[i]
    return i + 1


def _unusual(reader: Reader, data: bytes, items: Items, i: int, at: int, begin: int, parser: HeadParser, read: Payload) -> int:
    """Empty lines in front, bare LFs, a head that is not all there, or no head at all."""
    answers = reader.kind == RESPONSE or reader.conversation.readers[1 - reader.direction].kind == REQUEST
    if not answers and data[:1] in (b"\r", b"\n"):
        # RFC 9112 section 2.2: a server should ignore an empty line in front of a request line
        stripped = data.lstrip(b"\r\n")
        skipped = len(data) - len(stripped)
        if reader.behind is not None and reader.behind.end == begin:
            reader.behind = reader.behind._replace(end=begin + skipped)
        if not reader.count:
            reader.strayed = min(reader.strayed, begin)  # it may be the end of a message that was not captured
        begin, at, data = begin + skipped, at + skipped, stripped
        if not data:
            reader.pos = items.end[i]
            return i + 1
    head_end = find_head_end(data)
    if head_end >= 0:
        return _complete(reader, data[:head_end], items, i, begin, parser)
    plausible = _plausible(reader, data)
    if not plausible:
        _look_behind(reader, data, items, i, begin)
    if len(data) >= limits.HEAD.value or not plausible:
        reader.conversation.met.add(limits.HEAD, plausible)
        return _not_http(reader, data, len(data), items, i)
    reader.partial = Partial(read, begin, items.frame[i], items.time[i], items.ack[i])
    reader.partial.add(at, data)
    reader.partial.reached(items.known(i))
    reader.pos = items.end[i]
    return i + 1


def _look_behind(reader: Reader, data: bytes, items: Items, i: int, begin: int) -> None:
    """Bytes that begin no message may be too many of the one before."""
    partial = reader.partial
    if partial is not None:
        faults.behind(reader, data, partial.frame, partial.time, begin, partial.ack)
    else:
        faults.behind(reader, data, items.frame[i], items.time[i], begin, items.ack[i])


def _plausible(reader: Reader, data: bytes) -> bool:
    if reader.kind == REQUEST:
        return may_become_request(data)
    if reader.kind == RESPONSE:
        return may_become_response(data)
    other = reader.conversation.readers[1 - reader.direction].kind
    if may_begin_tls(data):
        return True
    return (other != REQUEST and may_become_request(data)) or (other != RESPONSE and may_become_response(data))


def _complete(reader: Reader, head: bytes, items: Items, i: int, begin: int, parser: HeadParser) -> int:
    parsed: tuple[RequestLine | StatusLine, Fields] | None
    if reader.kind == RESPONSE or (reader.kind is None and head[:5] == b"HTTP/"):
        parsed, kind = parser.response(head), RESPONSE
    else:
        parsed, kind = parser.request(head), REQUEST
    if parsed is None:
        _look_behind(reader, head, items, i, begin)
    if parsed is None or (reader.seeking and kind == REQUEST and parsed[0][0].encode() not in KNOWN_METHODS):
        return _not_http(reader, head, len(head), items, i)
    conversation = reader.conversation
    if reader.kind is None and not conversation.take_kind(reader.direction, kind, items.frame[i]):
        return _not_http(reader, head, len(head), items, i)
    partial = reader.partial
    frame, time = (items.frame[i], items.time[i]) if partial is None else (partial.frame, partial.time)
    until = FAR
    if kind == RESPONSE:
        own = items.known(i)
        known = ready(conversation, own, items.ack[i], items.time[i])
        if known is None:
            reader.paused = True
            return i
        moment, in_vain = known
        until = moment if in_vain else FAR
        if moment > own:
            reader.goes_on(moment, max(begin, items.start[i]))
    message = Message(reader.next_id(), begin, frame, time, parsed[0], parsed[1])
    head_end = begin + len(head)
    message.head_end, message.head_bytes, message.ack = head_end, len(head), items.ack[i]
    message.reaches(items.frame[i], items.time[i])
    message.head_last_frame, message.head_time = message.last_frame, message.end
    reader.message, reader.pos = message, head_end
    reader.unsure = reader.seeking or (reader.count == 1 and _may_be_a_rest(reader, message))
    reader.partial, reader.seeking = None, False
    line_at = None if partial is None else partial.line_at
    _begin(reader, message, items.ack[i], head, until)
    if kind == REQUEST and message.exchange is not None:
        message.exchange.line_at = line_at
        if items.shuffled:
            message.exchange.waited = items.known(i)
    return i + (head_end >= items.end[i])


def _may_be_a_rest(reader: Reader, message: Message) -> bool:
    """Whether the first request may be what is left of a line of which the capture has not the beginning."""
    line = message.line
    if isinstance(line, StatusLine) or line.method.encode() in KNOWN_METHODS:
        return False
    reader.strayed = min(reader.strayed, message.offset - 1)
    return True


def _begin(reader: Reader, message: Message, ack: int, head: bytes, until: Moment) -> None:
    """Finds the exchange of a message, and what follows its head. `until`: when the request of a response must have been
    known."""
    line = message.line
    if isinstance(line, RequestLine):
        _request(reader, message, line)
        how = framing.request_framing(message.fields)
    else:
        exchange = message.exchange = reader.conversation.response_begins(line, message.fields, ack, message.last_frame, until)
        exchange.begins(message)
        method = None if exchange.request_line is None else exchange.request_line.method
        how = framing.response_framing(line.status, method, message.fields)
    if message.fields.cut or (isinstance(line, RequestLine) and len(line.target) >= limits.TEXT.value):
        reader.conversation.met.add(limits.TEXT)
    if message.fields.suspect:
        faults.in_head(reader, message, head, how)
    _frame_body(reader, message, how)
    if reader.kind == RESPONSE and reader.message is message:
        message.pieces = reader.conversation.spoken.watched(message)


def _request(reader: Reader, message: Message, line: RequestLine) -> None:
    exchange = reader.announced or reader.conversation.request_begins(line, message.fields, message.offset)
    exchange.request_line, exchange.request_fields, exchange.request = line, message.fields, message.record()
    message.exchange, reader.announced = exchange, None


def announce(reader: Reader, ack: int) -> None:
    """The other side answers a request whose head is not all there, as with 408: its exchange begins now."""
    partial = reader.partial
    if partial is None or not partial.has_line or reader.announced is not None or not partial.offset < ack:
        return
    line, newline, _ = partial.whole().partition(b"\n")
    parsed = reader.conversation.parser.request(line + newline)
    if parsed is not None:
        message = Message(reader.upcoming_id(), partial.offset, partial.frame, partial.time, *parsed)
        exchange = reader.announced = reader.conversation.request_begins(*parsed, message.offset)
        exchange.request = message.record()


def _frame_body(reader: Reader, message: Message, how: int) -> None:
    """What follows the head, by its framing."""
    message.framing = how if how != framing.BROKEN else framing.NO_BODY
    if how == framing.NO_BODY:
        reader.finish(COMPLETE)
    elif how == framing.LENGTH:
        length = message.fields.content_length or 0
        message.due = length
        if not length:
            reader.finish(COMPLETE)
        else:
            reader.mode, reader.until = BODY, reader.pos + length
    elif how == framing.CHUNKED:
        message.chunks = 0
        reader.mode, reader.in_trailer = CHUNK_SIZE, False
    elif how == framing.UNTIL_CLOSE:
        reader.mode = CLOSE
    elif how == framing.TUNNEL:
        reader.finish(COMPLETE)
    else:
        reader.finish(ERROR)
        lose(reader)


def _not_http(reader: Reader, data: bytes, size: int, items: Items, i: int) -> int:
    """These bytes, of which `data` are the first, begin no message: look further, or leave the connection alone."""
    partial = reader.partial
    in_pieces = partial is not None
    read_to = (items.start[i] if partial is None else partial.offset) + size
    abandon(reader)
    if reader.kind is None and not reader.seeking:
        reader.conversation.other_protocol(reader.direction, data)
    if reader.mode == TLS:
        reader.pos = read_to
        return i + (read_to >= items.end[i])
    if reader.mode != OFF:
        lose(reader)
    if in_pieces:
        # what came before may have been no head, and this one may be
        reader.pos = items.start[i]
        return i
    reader.pos = items.end[i]
    return i + 1


def abandon(reader: Reader) -> None:
    """What looked like a head so far was none."""
    reader.announced = None
    if reader.partial is not None:
        reader.conversation.head_so_far(reader, reader.pos)
        reader.count += 1
        reader.abandoned += 1
        reader.partial = None


def cut(reader: Reader, partial: Partial, reason: int) -> None:
    """A head that breaks off: listed with what there is of it, when its first line can be read."""
    line, newline, rest = partial.whole().partition(b"\n")
    parser = reader.conversation.parser
    head = line + newline + rest[: rest.rfind(b"\n") + 1]
    parsed: tuple[RequestLine | StatusLine, Fields] | None
    response = reader.kind == RESPONSE or (reader.kind is None and head[:5] == b"HTTP/")
    parsed = parser.response(head) if response else parser.request(head)
    if parsed is None and reason != IN_HOLE:
        faults.behind(reader, partial.start, partial.frame, partial.time, partial.offset, partial.ack)
    if parsed is None or (
        reader.kind is None and not reader.conversation.take_kind(reader.direction, int(response), partial.frame)
    ):
        return
    message = Message(reader.next_id(), partial.offset, partial.frame, partial.time, parsed[0], parsed[1])
    message.head_bytes, message.head_end = partial.size, NO_END
    message.has_hole = reason in (IN_HOLE, AT_CAPTURE_END)  # what it would have said is not known
    reader.message, frame = message, partial.frame
    if isinstance(message.line, StatusLine):
        message.exchange = reader.conversation.response_begins(message.line, message.fields, partial.ack, frame)
        message.exchange.begins(message)
    else:
        _request(reader, message, message.line)
    reader.finish(reason)
