"""Detect faults: violations of HTTP framing or header section grammar. Rules decide which of them become findings.

After a framing fault, the end of the message is unknown, so later faults of the same direction are ignored. If a message was
found by a search after missing bytes, its faults are ignored, because the message may be part of a body.
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64

from wiredoctor import limits
from wiredoctor.core.http1.conversation import Conversation
from wiredoctor.core.http1.heads import NOT_CODED, Head
from wiredoctor.core.http1.message import (
    BROKEN,
    CHUNKED,
    COMPLETE,
    LENGTH,
    NO_BODY,
    NO_END,
    REQUEST,
    RESPONSE,
    TUNNEL,
    UNTIL_CLOSE,
    Answer,
    EmptyLine,
    Exchange,
    Fault,
    Message,
)
from wiredoctor.core.http1.reader import Reader
from wiredoctor.core.http1.stream import Range
from wiredoctor.core.tcp.closes import BY_FIN, BY_RST
from wiredoctor.core.tcp.segment import NEVER
from wiredoctor.protocols.http1.content import SEVERAL_MEMBERS, coding_text
from wiredoctor.protocols.http1.fault_words import (
    HTTP2_PREFACE,
    KINDS,
    MAX_SHOWN,
    find_place,
    find_size_line_fault,
    framing_lines,
    is_method,
    is_odd_status_line,
    is_other_status_line,
    refuses_other_status_lines,
)
from wiredoctor.protocols.http1.head import KNOWN_METHODS
from wiredoctor.text.redact import payload

WAITED: Final = 500_000_000
"""The minimum time in ns for which a recipient waits for more of a body before its close shows that it expected more."""

ANNOUNCED: Final = 1 << 24
SIZE_LINE: Final = 1 << 25
EMPTY_LINE: Final = 1 << 26
TRAILER: Final = 1 << 27
"""Bits of Reader.malformed, besides those of Fields.malformed.

ANNOUNCED: a 1xx or 204 response that announces a body. SIZE_LINE, TRAILER: a chunk size line, or a trailer line, that some
recipients refuse. EMPTY_LINE: an empty line after the body of a response.
"""

METHODS: Final = tuple(method.decode() for method in KNOWN_METHODS)
AT_ONCE: Final = 50_000_000
"""The maximum time in ns, besides a round trip, from a response to the close of a client that refuses the response."""


def check_head(conversation: Conversation, reader: Reader, message: Message, exchange: Exchange, data: bytes, how: i64) -> None:
    """Report a fault in the framing of a new message. If there is none, report grammar faults, each kind once per direction.

    `how`: the framing of the message. `data`: the bytes of its header section.
    """
    if reader.has_fault or reader.is_unsure:
        return
    name = find_contradiction(conversation, reader, message, exchange, how)
    fresh = message.head.fields.malformed & ~reader.malformed
    if name:
        frame, time = message.head_last_frame, message.head_time
        fault = Fault(name, reader.kind, exchange, message, frame, time, message.offset, framing_lines(data))
        if message.head.status >= 0 and exchange.request is None:
            conversation.hold_fault(fault)
        else:
            reader.has_fault = True
            report(conversation, reader, fault)
    elif fresh:
        reader.malformed |= fresh
        for bit, kind in KINDS.items():
            if fresh & bit:
                frame, time = message.head_last_frame, message.head_time
                place = find_place(data, bit)
                report(conversation, reader, Fault(kind, reader.kind, exchange, message, frame, time, message.offset, place))
    if how == BROKEN:
        reader.has_fault = True


def check_announced(conversation: Conversation, reader: Reader, message: Message, exchange: Exchange, data: bytes) -> None:
    """Report a 1xx or 204 response whose fields announce a body, once per direction; these responses never have a body.

    The fault is held until the next response begins or the server's direction ends, because the body may still come. If it comes,
    `check_excess` reports the body instead. The same fields are allowed in a response to HEAD and in a 304 (RFC 9110 section 8.6,
    RFC 9112 section 6.1).
    """
    status = message.head.status
    if reader.has_fault or reader.is_unsure or reader.malformed & ANNOUNCED or not (status < 200 or status == 204):
        return
    reader.malformed |= ANNOUNCED
    frame, time = message.head_last_frame, message.head_time
    fault = Fault("body-announced", reader.kind, exchange, message, frame, time, message.offset, framing_lines(data))
    conversation.hold_fault(fault)


def find_contradiction(conversation: Conversation, reader: Reader, message: Message, exchange: Exchange, how: i64) -> str:
    """Return the kind of fault in a message's framing fields; "" if there is none.

    The fields of a response are not checked if it has no body or answers CONNECT. If the request was not captured, the fields are
    checked under two conditions. The body must be chunked, because its first chunk shows that the request was not HEAD
    (`report_held`). All earlier bytes of the server must have been captured, because otherwise the response may be part of a
    body.
    """
    fields, request = message.head.fields, exchange.request
    is_response = message.head.status >= 0
    if is_response and (how in (NO_BODY, TUNNEL) or (request is not None and request.head.method == "CONNECT")):
        return ""
    if is_response and request is None and (how != CHUNKED or not is_captured(conversation, reader)):
        return ""
    codings = fields.transfer_codings
    if fields.lengths_differ or (fields.has_content_length and codings):
        return "conflicting-framing"
    if codings and (codings[-1] != "chunked" or codings.count("chunked") > 1):
        return "unfinished-transfer-coding"
    if (
        is_response
        and codings
        and request is not None
        and request.head.is_http10
        and answers_its_request(conversation, reader, exchange)
    ):
        return "chunked-to-http10"
    return ""


def is_captured(conversation: Conversation, reader: Reader) -> bool:
    """Return whether all bytes of a direction up to the current message were captured."""
    return reader.strayed == NO_END and conversation.side_of(reader.direction).syn is not None


def check_range(conversation: Conversation, reader: Reader, message: Message, exchange: Exchange) -> None:
    """Report a 206 response whose body ended with the last byte of its Content-Range, although Content-Length is larger.

    The client waits for the missing bytes (RFC 9110 section 14.4). If the body has any other length, the response does not show
    which of the two fields is wrong.
    """
    fields = message.head.fields
    if reader.has_fault or reader.is_unsure or message.framing != LENGTH:
        return
    if message.has_gap or not 0 < fields.range_length == message.body_bytes < message.due:
        return
    frame, time = message.head_last_frame, message.head_time
    both = f"Content-Length: {message.due}; Content-Range: {fields.content_range}"
    report(conversation, reader, Fault("range-ends-early", reader.kind, exchange, message, frame, time, message.offset, both))


def check_chunk(conversation: Conversation, reader: Reader, line: bytes, frame: i64, time: i64, offset: i64) -> None:
    """Report a fault in chunk framing: a line that is not a chunk size line, or bytes other than CRLF after a chunk.

    Report nothing if it is uncertain which request the response answers, or if the next response directly follows this head. In
    both cases, the request may be HEAD; then the framing fields of the response describe a body that does not exist.
    """
    message, exchange = reader.message, reader.exchange
    if message is None or exchange is None or reader.has_fault or reader.is_unsure:
        return
    follows_head = line[:5] == b"HTTP/" and message.body_bytes == 0
    if reader.kind == RESPONSE and (not answers_its_request(conversation, reader, exchange) or follows_head):
        return
    reader.has_fault = True
    shown = payload(line[:MAX_SHOWN])
    report(conversation, reader, Fault("invalid-chunk", reader.kind, exchange, message, frame, time, offset, shown))


def check_size_line(conversation: Conversation, reader: Reader, line: bytes, frame: i64, time: i64, offset: i64) -> None:
    """Report a valid chunk size line in a form that some recipients refuse, once per direction. `line`: without its LF."""
    check_line(conversation, reader, SIZE_LINE, find_size_line_fault(line), line, frame, time, offset)


def check_trailer(conversation: Conversation, reader: Reader, name: str, line: bytes, frame: i64, time: i64, offset: i64) -> None:
    """Report a line of a trailer section with the fault `name`, once per direction. `line`: without its line end."""
    check_line(conversation, reader, TRAILER, name, line, frame, time, offset)


def check_line(
    conversation: Conversation, reader: Reader, kind: i64, name: str, line: bytes, frame: i64, time: i64, offset: i64
) -> None:  # fmt: skip
    """Report a line of chunk framing after which recipients that accept it can continue. `kind`: a bit of Reader.malformed."""
    message, exchange = reader.message, reader.exchange
    if message is None or exchange is None or reader.has_fault or reader.is_unsure or reader.malformed & kind:
        return
    if reader.kind == RESPONSE and not answers_its_request(conversation, reader, exchange):
        return
    reader.malformed |= kind
    shown = payload(line[:MAX_SHOWN])
    report(conversation, reader, Fault(name, reader.kind, exchange, message, frame, time, offset, shown))


def check_content(conversation: Conversation, reader: Reader, message: Message, found: Range, stop: i64) -> None:
    """Report a body whose content cannot be decoded as its head announces.

    The new bytes are those of `found` from the reader's position to the stream offset `stop`.
    """
    content = reader.content
    if content is None:
        return
    if found.at < 0 or reader.has_fault or reader.is_unsure:
        drop_content(reader)
        return
    data = found.block[found.place(reader.pos) : found.place(stop)]
    name = content.add(data)
    if content.is_left_out:
        conversation.http.met.add(limits.BODIES)
    if content.is_done:
        reader.content = None
    if name and is_certain(conversation, reader):
        exchange = reader.exchange
        assert exchange is not None
        coding = message.head.fields.content_encoding
        shown = payload(data[:MAX_SHOWN]) if name[:8] == "body-not" else coding_text(coding)
        fault = Fault(name, reader.kind, exchange, message, found.frame, found.time, found.wire(reader.pos), shown)
        report(conversation, reader, fault)


def check_content_end(conversation: Conversation, reader: Reader, message: Message, exchange: Exchange) -> None:
    """Report a body that ended before its content did, or whose content ended before Content-Length says."""
    content = reader.content
    if content is None:
        return
    name, shown = "", ""
    if message.reason == COMPLETE:
        if message.framing != UNTIL_CLOSE or ends_first(conversation, reader.direction):
            name, shown = content.find_end()
    elif message.framing == LENGTH:
        name, shown = content.find_length(message.due)
        if name == "length-too-long" and not waited_for_more(conversation, reader, message):
            name = ""
    drop_content(reader)
    if name and not reader.has_fault and is_certain(conversation, reader):
        fault = Fault(name, reader.kind, exchange, message, message.last_frame, message.end_time, message.end_offset, shown)
        report(conversation, reader, fault)


def check_members(conversation: Conversation, reader: Reader, message: Message, exchange: Exchange) -> None:
    """Report an event stream that consists of several gzip members; only its counter of events decodes it."""
    pieces = message.pieces
    members = 0 if pieces is None else pieces.members
    if members > 1 and not reader.has_fault and is_certain(conversation, reader):
        frame, time = message.last_frame, message.end_time
        fault = Fault(SEVERAL_MEMBERS, reader.kind, exchange, message, frame, time, message.end_offset, f"{members:,} members")
        report(conversation, reader, fault)


def drop_content(reader: Reader) -> None:
    """Stop checking the content of the current message, and free the memory that the check needs."""
    if reader.content is not None:
        reader.content.close()
        reader.content = None


def is_certain(conversation: Conversation, reader: Reader) -> bool:
    """Return whether the current message is a request, or certainly the response to the request of its exchange."""
    exchange = reader.exchange
    return exchange is not None and (reader.kind == REQUEST or answers_its_request(conversation, reader, exchange))


def ends_first(conversation: Conversation, direction: i64) -> bool:
    """Return whether a direction was closed by its FIN before its peer sent a FIN or RST."""
    close, other = conversation.side_of(direction).close, conversation.side_of(1 - direction).close
    if close is None or close.fin_time == NEVER:
        return False
    if other is None:
        return True
    return (other.fin_time == NEVER or close.fin_time < other.fin_time) and (
        other.rst_time == NEVER or close.fin_time < other.rst_time
    )


def waited_for_more(conversation: Conversation, reader: Reader, message: Message) -> bool:
    """Return whether a message ended because its sender closed the connection, or its recipient did after waiting for more."""
    if message.reason not in (BY_FIN, BY_RST):
        return False
    if ends_first(conversation, reader.direction):
        return True
    close = conversation.side_of(1 - reader.direction).close
    if close is None or message.last_body_time == NEVER:
        return False
    time = close.fin_time if close.fin_time != NEVER else close.rst_time
    return time - message.last_body_time >= WAITED


def check_excess(conversation: Conversation, reader: Reader, data: bytes, frame: i64, time: i64, offset: i64, ack: i64) -> None:
    """Report bytes that are not the beginning of a message, if they are excess bytes of the previous message.

    If a request is outstanding, the bytes may be a response that is not HTTP, so nothing is reported yet. There are two
    exceptions. If a header section follows the bytes, they are excess bytes. If the previous response announced a body that it
    must not have, the bytes are that body. `ack`: the acknowledgment number of the packet with the bytes, as a stream offset.
    """
    is_odd = reader.kind == RESPONSE and is_odd_status_line(data)
    if not is_odd and begins_message(reader, data):
        return
    if reader.kind == REQUEST and has_none(conversation.peer_of(reader)):
        conversation.is_doubtful = True
    if reader.has_fault or reader.is_unsure:
        return
    excess = None if is_odd else find_excess(conversation, reader, data, frame, time, offset, ack)
    if excess is not None:
        reader.empty_line = None  # it belongs to these bytes
    asked = conversation.queue.waiting
    if excess is not None and announces_body(excess.message):
        conversation.held_faults = None
        reader.has_fault = True
        report(conversation, reader, excess)
    elif (
        asked is not None
        and asked.request is not None
        and may_be_answer(conversation, reader, asked, asked.request, data, frame, ack)
    ):
        shown = payload(data[:MAX_SHOWN])
        fault = Fault("no-status-line", RESPONSE, asked, asked.request, frame, time, offset, shown)
        reader.has_fault = True
        asked.answer = Answer(fault, excess, is_other_status_line(data))
    elif excess is not None:
        reader.has_fault = True
        report(conversation, reader, excess)


def continues_body(reader: Reader, begin: i64, head: Head, target: bytes) -> bool:
    """Return whether a line that looks like a request line is the rest of a body that is longer than its Content-Length.

    The line follows such a body, and its method is unknown. Its target has none of the forms of RFC 9112 section 3.2, or its
    method ends with a known one ("ipsumGET").
    """
    before = reader.previous
    if head.has_known_method or before is None or before.request is None or reader.previous_end != begin:
        return False
    if before.request.framing != LENGTH or before.request.length == 0:
        return False
    if not head.method.isupper() and head.method.endswith(METHODS):
        return True
    return b" " in target or not (target[:1] in (b"/", b"*") or b"://" in target)


def skips_empty_line(conversation: Conversation, reader: Reader, line: bytes, found: Range, data: bytes) -> bool:
    """Return whether empty lines of the server are skipped, because a response may follow them (`data` follows in the packet).

    Clients read on after such a line, or refuse it. Before the first response, the fault is reported with that response. After a
    body with Content-Length, it is held until the client shows whether it accepted the line (`settle_empty_line`).
    """
    if data and not reader.may_begin_head(data):
        return False
    if reader.previous is None:
        reader.follows_empty_line = reader.count == 0 and is_captured(conversation, reader) and reader.pos == 0
        return True
    excess = find_excess(conversation, reader, line, found.frame, found.time, reader.pos, found.ack)
    if excess is None or excess.name != "excess-body":
        return excess is None
    if not (reader.has_fault or reader.is_unsure or reader.malformed & EMPTY_LINE):
        reader.malformed |= EMPTY_LINE
        reader.empty_line = EmptyLine(excess)
    return True


def report_empty_line(conversation: Conversation, reader: Reader, message: Message, exchange: Exchange) -> None:
    """Report an empty line before the head of the first response. RFC 9112 section 2.2 allows it before requests only."""
    reader.follows_empty_line = False
    frame, time = message.head_last_frame, message.head_time
    fault = Fault(
        "empty-line", reader.kind, exchange, message, frame, time, message.offset, "an empty line before the status line"
    )
    report(conversation, reader, fault)


def note_response(line: EmptyLine, exchange: Exchange, message: Message) -> None:
    """Record when the first complete response after an empty line ended."""
    if line.answered == NEVER and exchange.index > line.fault.exchange.index:
        line.answered = message.end_time


def settle_empty_line(conversation: Conversation, reader: Reader, is_over: bool) -> None:
    """Report an empty line after the body of a response, if there is one, and whether the client accepted the line.

    A client that has accepted it sends another request after the next response. If the connection is over (`is_over`), it may
    also have closed later, or not at all.
    """
    line = reader.empty_line
    if line is None or (line.answered == NEVER and not is_over):
        return
    is_accepted = line.answered != NEVER
    close = conversation.side_of(conversation.client).close
    if is_over and is_accepted and close is not None:
        closed = close.fin_time if close.fin_time != NEVER else close.rst_time
        is_accepted = closed == NEVER or closed - line.answered > AT_ONCE + max(conversation.rtt_peer, 0)
    reader.empty_line = None
    line.fault.name = "empty-line-accepted" if is_accepted else "empty-line-after-body"
    conversation.add_fault(line.fault)


def closes_at_once(conversation: Conversation, time: i64) -> bool:
    """Return whether the client closed as soon as it had what the server sent at `time`."""
    close = conversation.side_of(conversation.client).close
    if close is None:
        return False
    closed = close.fin_time if close.fin_time != NEVER else close.rst_time
    return closed != NEVER and time <= closed <= time + AT_ONCE + max(conversation.rtt_peer, 0)


def announces_body(message: Message) -> bool:
    """Return whether the fields of a response announce a body although the response has none.

    Content-Length in a response to HEAD or in a 304 is allowed, and is not an announcement.
    """
    if message.head.status < 0 or message.framing != NO_BODY:
        return False
    status = message.head.status
    return message.head.coding != NOT_CODED or (message.length > 0 and (status < 200 or status == 204))


def find_excess(
    conversation: Conversation, reader: Reader, data: bytes, frame: i64, time: i64, offset: i64, ack: i64
) -> Fault | None:
    """Return the fault of the message that ended at `offset` if the bytes after it (`data`) are excess bytes, otherwise None."""
    exchange = reader.previous
    if exchange is None or reader.previous_end != offset:
        return None
    request = exchange.request
    is_switching = exchange.upgraded or (request is not None and request.head.method == "CONNECT")
    message: Message | None = reader.previous_interim
    if message is not None:
        name = "body-not-allowed"
    elif reader.kind == RESPONSE:
        message = exchange.response
        name = find_response_excess(conversation, reader, exchange)
    else:
        message = request
        name = find_request_excess(request, ack)
        is_switching = is_switching or (request is not None and bool(request.head.fields.upgrade))
    if name and not is_switching and message is not None:
        return Fault(name, reader.kind, exchange, message, frame, time, offset, payload(data[:MAX_SHOWN]))
    return None


def may_be_answer(
    conversation: Conversation, reader: Reader, exchange: Exchange, request: Message, data: bytes, frame: i64, ack: i64
) -> bool:
    """Return whether bytes that do not begin a message may be the response to an outstanding request.

    The request must be valid HTTP, and the server must have acknowledged its header section. All earlier messages must have been
    captured. If there was no earlier response, the server's SYN must have been captured, and a request with HTTP/1.1 must have a
    Host field. Bytes in the last packet of an earlier exchange do not count.
    """
    if reader.kind != RESPONSE or ack == NEVER or ack < request.offset + request.head_bytes or exchange.upgraded:
        return False
    head = request.head
    before = reader.previous
    if before is None:
        has_host = head.is_http10 or bool(head.fields.host)
        if not has_host or conversation.side_of(reader.direction).syn is None:
            return False
    elif before.last_frame() == frame:
        return False
    if not head.has_known_method or head.method == "CONNECT" or head.switches or head.version[:7] != "HTTP/1.":
        return False
    if not answers_its_request(conversation, reader, exchange):
        return False
    if is_other_status_line(data):
        return refuses_other_status_lines(head.fields.user_agent)
    return is_odd_status_line(data) or not resembles_response(data)


def resembles_response(data: bytes) -> bool:
    """Return whether bytes are an invalid header section, or the rest of a body followed by a header section.

    Examples are an invalid status line, a Shoutcast status line, or bytes that contain "HTTP/1.".
    """
    start = data.lstrip()[:4].upper()
    return start in (b"", b"HTTP", b"ICY ") or b"HTTP/1." in data


def settle_answer(conversation: Conversation, reader: Reader, exchange: Exchange | None, is_answer: bool) -> None:
    """Report the bytes that are not HTTP in `exchange.answer`, if any.

    `is_answer`: the bytes are the response to a request, not excess bytes of the previous response. A response is not reported if
    the connection may carry another protocol: both sides sent data that is not HTTP, and there was no valid response. A status
    line of another protocol is reported if the client closes at once.
    """
    answer = None if exchange is None else exchange.answer
    if exchange is None or answer is None:
        return
    exchange.answer = None
    if is_answer:
        refuses = not answer.is_other or closes_at_once(conversation, answer.fault.time)
        if refuses and not conversation.is_doubtful:
            report(conversation, reader, answer.fault)
    elif answer.excess is not None:
        report(conversation, reader, answer.excess)


def find_response_excess(conversation: Conversation, reader: Reader, exchange: Exchange) -> str:
    """Return the name of the fault if bytes that do not begin a response follow a complete response.

    Return "" if these bytes may be valid, for example if the response may answer a HEAD request.
    """
    response = exchange.response
    if response is None or response.reason != COMPLETE:
        return ""
    if response.framing == NO_BODY:
        status = response.head.status
        return "body-not-allowed" if status == 204 or status == 304 or answers_its_request(conversation, reader, exchange) else ""
    # after HEAD, the response has no body, and these bytes belong to a later response
    return "excess-body" if response.framing == LENGTH and answers_its_request(conversation, reader, exchange) else ""


def find_request_excess(request: Message | None, ack: i64) -> str:
    """Return the name of the fault if bytes that do not begin a request follow a complete request.

    Return "" if this is not a fault. `ack`: the acknowledgment number of the packet with these bytes, as a stream offset.
    """
    if request is None or request.reason != COMPLETE:
        return ""
    if request.framing == NO_BODY:
        # bytes that a client sends after it has received part of the response are not a body of that request
        return "" if NEVER < request.ack < ack else "unframed-request-body"
    return "excess-body" if request.framing == LENGTH else ""


def answers_its_request(conversation: Conversation, reader: Reader, exchange: Exchange) -> bool:
    """Return whether a response certainly belongs to the request of its exchange, because all earlier messages were captured."""
    request = exchange.request
    peer = conversation.peer_of(reader)
    return request is not None and request.begin <= peer.strayed and reader.strayed == NO_END


def begins_message(reader: Reader, data: bytes) -> bool:
    """Return whether bytes look like the beginning of a message that is truncated or of another HTTP version.

    For example, a HomeKit accessory sends EVENT/1.0 messages without a request.
    """
    if reader.kind == RESPONSE:
        return data[:5] == b"HTTP/"[: len(data)] or data[:6] == b"EVENT/"[: len(data)]
    return is_method(data) or data[:10] == HTTP2_PREFACE[: len(data)]


def has_none(reader: Reader) -> bool:
    """Return True if no valid message of this direction has been read yet."""
    return reader.count == reader.abandoned


def report_held_faults(conversation: Conversation) -> None:
    """Report the faults that were held."""
    held = conversation.held_faults
    if held is not None:
        conversation.held_faults = None
        for fault in held:
            report_held(conversation, fault)


def report_held(conversation: Conversation, fault: Fault) -> None:
    """Report a fault that was held. Skip a chunked response without chunks, because the request may have been HEAD."""
    message = fault.message
    if fault.role == RESPONSE and message.framing == CHUNKED:
        if message.chunks == 0:
            return
        conversation.reader_of(1 - conversation.client).has_fault = True
    if fault.name == "body-announced" and message.head.status == 101 and has_sent_more(conversation, message.ack):
        fault.name = "body-announced-accepted"
    conversation.add_fault(fault)


def has_sent_more(conversation: Conversation, offset: i64) -> bool:
    """Return whether the client has sent bytes after this stream offset. A FIN does not count, although it has an offset."""
    side = conversation.side_of(conversation.client)
    reached = side.reached
    if side.close is not None and side.close.fin_frame != NEVER:
        reached = min(reached, side.close.fin_offset)
    return reached > offset


def report(conversation: Conversation, reader: Reader, fault: Fault) -> None:
    """Report a fault. A fault of a request is held back until a response shows that the connection carries HTTP."""
    if reader.kind == REQUEST and has_none(conversation.peer_of(reader)):
        conversation.hold_fault(fault)
    else:
        conversation.add_fault(fault)
