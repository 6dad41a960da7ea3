"""Begin the messages of HTTP/1.x: read header sections, and choose how the body is read (RFC 9112)."""

from __future__ import annotations

from mypy_extensions import i64

from wiredoctor import limits
from wiredoctor.core.http1 import faults, incomplete_heads, recognition
from wiredoctor.core.http1.conversation import Conversation
from wiredoctor.core.http1.final_exchanges import has_too_many_requests, stop_reading
from wiredoctor.core.http1.framing import request_framing, response_framing
from wiredoctor.core.http1.framing_gaps import note_gap_in_framing
from wiredoctor.core.http1.heads import BAD_LENGTH, NOT_CODED, Head
from wiredoctor.core.http1.message import (
    BODY,
    BROKEN,
    CHUNK_SIZE,
    CHUNKED,
    CLOSE,
    COMPLETE,
    ERROR,
    IN_GAP,
    LENGTH,
    NO_BODY,
    OFF,
    REQUEST,
    RESPONSE,
    TLS,
    TUNNEL,
    UNTIL_CLOSE,
    Message,
)
from wiredoctor.core.http1.message_ends import finish
from wiredoctor.core.http1.pairing import begin_request, begin_response, may_answer
from wiredoctor.core.http1.partial import Partial
from wiredoctor.core.http1.reader import Reader
from wiredoctor.core.http1.stream import GRACE_PERIOD, Range
from wiredoctor.protocols.http1.content import make_content
from wiredoctor.protocols.http1.head import find_head_end
from wiredoctor.protocols.http1.pieces import is_left_out, pieces_of


def read_head(conversation: Conversation, reader: Reader, found: Range) -> None:
    """Read a head from a range. If the range contains only a part of the head, keep that part until the rest comes."""
    if not reader.has_begun:
        recognition.note_opening(conversation, reader, found)
    if found.at < 0:
        skip_gap_in_head(conversation, reader, found)
        return
    partial = reader.partial
    if partial is not None:
        continue_head(conversation, reader, partial, found)
        return
    at = found.place(reader.pos)
    stop = found.place(found.end)
    heads = conversation.http.heads
    if reader.kind == RESPONSE or (reader.kind < 0 and found.block[at : at + 5] == b"HTTP/"):
        head = heads.read_response(found.block, at, stop)
    else:
        head = heads.read_request(found.block, at, stop)
    if head is not None:
        begin_message(conversation, reader, found, head, reader.pos, b"")
    else:
        read_unusual_head(conversation, reader, found, at, stop)


def read_unusual_head(conversation: Conversation, reader: Reader, found: Range, at: i64, stop: i64) -> None:
    """Read a head that is incomplete, that follows empty lines, or whose lines end without CR.

    Reject the bytes if they cannot be a head.
    """
    data = found.block[at : min(stop, at + limits.HEAD.value)]
    begin = reader.pos
    if data[:1] in (b"\r", b"\n"):
        # RFC 9112 section 2.2: a server should ignore an empty line before a request line
        stripped = data.lstrip(b"\r\n")
        skipped: i64 = len(data) - len(stripped)
        if reader.kind != RESPONSE or faults.skips_empty_line(conversation, reader, data[:skipped], found, stripped):
            if reader.previous_end == begin:
                reader.previous_end = begin + skipped
            if reader.count == 0 and not reader.follows_empty_line:
                # these bytes may be the end of a message that was not captured
                reader.strayed = min(reader.strayed, begin)
            begin += skipped
            data = stripped
            if not data:
                reader.pos = found.end
                return
    end: i64 = find_head_end(data)
    if end >= 0:
        parse_head(conversation, reader, found, data[:end], begin)
        return
    if not reader.may_begin_head(data):
        faults.check_excess(conversation, reader, data, found.frame, found.time, begin, found.ack)
    elif len(data) < limits.HEAD.value:
        partial = reader.partial = Partial(found, begin)
        incomplete_heads.keep(conversation, partial, data)
        reader.pos = found.end
        return
    else:
        conversation.http.met.add(limits.HEAD)
    reject_head(conversation, reader, found, data, found.end)


def parse_head(conversation: Conversation, reader: Reader, found: Range, data: bytes, begin: i64) -> None:
    """Parse a complete head that has unusual syntax or is split over packets; begin its message, or reject it."""
    is_response = reader.kind == RESPONSE or (reader.kind < 0 and data[:5] == b"HTTP/")
    head = conversation.http.heads.parse(data, is_response)
    if head is not None and not is_response and faults.continues_body(reader, begin, head, conversation.http.heads.target):
        head = None
    if head is None:
        partial = reader.partial
        if partial is not None:
            faults.check_excess(conversation, reader, data, partial.frame, partial.time, begin, partial.ack)
        else:
            at = found.place(begin)  # include the bytes after the head, which may belong to a response
            excess = found.block[at : min(found.place(found.end), at + limits.HEAD.value)]
            faults.check_excess(conversation, reader, excess, found.frame, found.time, begin, found.ack)
        reject_head(conversation, reader, found, data, begin + len(data))
        return
    begin_message(conversation, reader, found, head, begin, data)


def begin_message(conversation: Conversation, reader: Reader, found: Range, head: Head, begin: i64, data: bytes) -> None:
    """Begin the message of a complete head. `data` contains the head, or is empty if the head is contiguous in the range."""
    heads = conversation.http.heads
    size = heads.size
    kind: i64 = REQUEST
    if head.status >= 0:
        kind = RESPONSE
    if (reader.is_seeking and kind == REQUEST and not head.has_known_method) or (
        reader.kind < 0 and not conversation.take_kind(reader, kind)
    ):
        reject_head(
            conversation, reader, found, data or found.block[found.place(begin) : found.place(begin + size)], begin + size
        )
        return
    if kind == RESPONSE and has_to_wait(conversation, reader, found.ack, found.time):
        return
    message = Message(reader.take_id(conversation.number), head, heads.target if kind == REQUEST else b"", heads.length)
    message.request_id = heads.request_id
    locate(conversation, reader, message, found, begin, size)
    reader.message = message
    conversation.http.parts.note(reader.direction, message)
    reader.pos = message.head_end
    reader.is_unsure = reader.is_seeking or (reader.count == 1 and reader.may_be_rest(message, kind))
    reader.is_seeking = False
    if kind == REQUEST:
        exchange = begin_request(conversation, reader, message)
        how = request_framing(head, message.length)
    else:
        exchange = begin_response(conversation, message)
        request = exchange.request
        how = response_framing(head, message.length, "" if request is None else request.head.method)
    reader.exchange = exchange
    message.exchange = exchange.index
    if reader.follows_empty_line:
        faults.report_empty_line(conversation, reader, message, exchange)
    if head.is_suspect or message.length == BAD_LENGTH:
        faults.check_head(
            conversation, reader, message, exchange, data or found.block[found.place(begin) : found.place(reader.pos)], how
        )
    if kind == RESPONSE and how == NO_BODY and (message.length > 0 or head.coding != NOT_CODED):
        faults.check_announced(
            conversation, reader, message, exchange, data or found.block[found.place(begin) : found.place(reader.pos)]
        )
    if head.is_cut or len(message.target) >= conversation.http.longest_text:
        conversation.http.met.add(limits.TEXT)
    frame_body(conversation, reader, message, how)
    if kind == RESPONSE and (how in (CHUNKED, UNTIL_CLOSE) or head.event_stream) and reader.is_reading(message):
        if is_left_out(head.fields):
            conversation.http.met.add(limits.DECODERS)
        message.pieces = pieces_of(head.fields, message.framing)
    if head.needs_check and reader.is_reading(message):
        reader.content = make_content(head.fields, head.status)
    if kind == REQUEST and has_too_many_requests(conversation):
        stop_reading(conversation, exchange)


def locate(conversation: Conversation, reader: Reader, message: Message, found: Range, begin: i64, size: i64) -> None:
    """Set where and when a message begins, and where its head of `size` bytes ends."""
    partial = reader.partial
    message.begin = begin
    if partial is None:
        message.offset, message.frame, message.start = found.wire(begin), found.frame, found.time
        conversation.rtt_own, conversation.rtt_peer = found.rtt_own, found.rtt_peer
    else:
        message.offset, message.frame, message.start = partial.wire_offset, partial.frame, partial.time
        conversation.rtt_own, conversation.rtt_peer = partial.rtt_own, partial.rtt_peer
        reader.partial = None
    message.last_frame, message.end_time = message.frame, message.start
    message.reaches(found.frame, found.time)
    message.head_last_frame, message.head_time = message.last_frame, message.end_time
    message.head_end = begin + size
    message.head_bytes = size
    message.ack = found.ack


def has_to_wait(conversation: Conversation, reader: Reader, ack: i64, time: i64) -> bool:
    """Return whether a response with this ACK and time (ns) must wait because its request may still arrive.

    If it must wait, set an alarm for the end of the grace period. Reading continues then, or as soon as the request arrives.
    """
    if may_answer(conversation, ack, time):
        return False
    reader.waits = True
    reader.waits_ack, reader.waits_time = ack, time
    conversation.wake_at(time + GRACE_PERIOD)
    return True


def frame_body(conversation: Conversation, reader: Reader, message: Message, how: i64) -> None:
    """Choose the mode in which the reader continues after a head. Finish the message if it has no body.

    `how`: the framing of the message.
    """
    message.framing = how
    if how == BROKEN:
        message.framing = NO_BODY
    if how == LENGTH:
        message.due = message.length
    if how in (NO_BODY, TUNNEL) or (how == LENGTH and message.length == 0):
        finish(conversation, reader, COMPLETE)
    elif how == LENGTH:
        reader.mode = BODY
        reader.until = reader.pos + message.length
    elif how == CHUNKED:
        message.chunks = 0
        reader.mode = CHUNK_SIZE
        reader.in_trailer = False
    elif how == UNTIL_CLOSE:
        reader.mode = CLOSE
    else:
        finish(conversation, reader, ERROR)
        reader.lose()


def reject_head(conversation: Conversation, reader: Reader, found: Range, data: bytes, read_to: i64) -> None:
    """Handle bytes that do not begin a message.

    If they belong to another protocol, stop reading; otherwise search for the next message.
    """
    was_partial = reader.partial is not None
    incomplete_heads.abandon_head(conversation, reader)
    if reader.kind < 0 and not reader.is_seeking:
        recognition.recognize(conversation, reader, data, found)
    if reader.mode == TLS:
        reader.pos = read_to
        return
    if reader.mode != OFF:
        reader.lose()
    # only the bytes before this packet may be invalid: the bytes of this packet may still be a head
    reader.pos = found.start if was_partial else found.end


def skip_gap_in_head(conversation: Conversation, reader: Reader, found: Range) -> None:
    """Skip missing bytes (`found`) inside a head, or at a place where a head may begin."""
    partial = reader.partial
    if reader.kind == RESPONSE and partial is not None and has_to_wait(conversation, reader, partial.ack, partial.time):
        return
    is_expected = partial is not None or reader.count > 0 or conversation.queue.waiting is not None
    note_gap_in_framing(conversation, reader, found, is_expected)
    if partial is not None:
        incomplete_heads.cut_head(conversation, reader, IN_GAP)
    reader.lose_in_gap(found)
    reader.pos = found.end


def continue_head(conversation: Conversation, reader: Reader, partial: Partial, found: Range) -> None:
    """Read more bytes of an incomplete head. Parse the head as soon as it is complete.

    Reject the bytes if they cannot become a head.
    """
    at = found.place(reader.pos)
    data = found.block[at : min(found.place(found.end), at + limits.HEAD.value)]
    end: i64 = find_head_end(partial.tail + data)
    if end >= 0:
        head = (partial.join() + data)[: end + partial.size - len(partial.tail)]
        parse_head(conversation, reader, found, head, partial.offset)
        return
    start = partial.start
    if not partial.has_line:
        start = partial.join() + data if b"\n" in data else start + data
    if not (partial.has_line or reader.may_begin_head(start)):
        faults.check_excess(conversation, reader, start, partial.frame, partial.time, partial.offset, partial.ack)
    elif partial.size + len(data) < limits.HEAD.value:
        incomplete_heads.keep(conversation, partial, data)
        reader.pos = found.end
        return
    else:
        conversation.http.met.add(limits.HEAD)
    reject_head(conversation, reader, found, start, partial.offset + partial.size + len(data))
