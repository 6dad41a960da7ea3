"""Read heads that are split over packets, and end heads that stay incomplete."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mypy_extensions import i64

from wiredoctor import limits
from wiredoctor.core import faults
from wiredoctor.core.heads import Head
from wiredoctor.core.message import AT_CAPTURE_END, HEAD, IN_GAP, REQUEST, RESPONSE, Message, message_id
from wiredoctor.core.partial import Partial
from wiredoctor.core.stream import Range
from wiredoctor.protocols.http1.head import find_head_end

if TYPE_CHECKING:
    from wiredoctor.core.http1 import Reader


def continue_head(reader: Reader, partial: Partial, found: Range) -> None:
    """Read more bytes of an incomplete head. Parse the head as soon as it is complete.

    Reject the bytes if they cannot become a head.
    """
    at = found.place(reader.pos)
    data = found.block[at : min(found.place(found.end), at + limits.HEAD.value)]
    end: i64 = find_head_end(partial.tail + data)
    if end >= 0:
        head = (partial.join() + data)[: end + partial.size - len(partial.tail)]
        reader.parse_head(found, head, partial.offset)
        return
    start = partial.start
    if not partial.has_line:
        start = partial.join() + data if b"\n" in data else start + data
    if not (partial.has_line or reader.may_begin_head(start)):
        faults.check_excess(reader, start, partial.frame, partial.time, partial.offset, partial.ack)
    elif partial.size + len(data) < limits.HEAD.value:
        keep(reader, partial, data)
        reader.pos = found.end
        return
    else:
        reader.conversation().http.met.add(limits.HEAD)
    reader.reject_head(found, start, partial.offset + partial.size + len(data))


def keep(reader: Reader, partial: Partial, data: bytes) -> None:
    """Store more bytes of an incomplete head, and count them in `Http.keeping`."""
    partial.add(data)
    conversation = reader.conversation()
    conversation.http.keeping.add(conversation, len(data))


def announce(reader: Reader, ack: i64) -> None:
    """Begin the exchange of a request with an incomplete head if the server already responds to it, for example with 408.

    `ack`: the acknowledgment number of the response, as a stream offset.
    """
    partial = reader.partial
    if partial is None or not partial.has_line or reader.announced is not None or partial.wire_offset >= ack:
        return
    line, newline, _ = partial.join().partition(b"\n")
    conversation = reader.conversation()
    head = conversation.http.heads.parse(line + newline, False)
    if head is None:
        return
    message = message_of(
        reader, partial, head, conversation.http.heads.target, message_id(conversation.number, reader.count, reader.direction)
    )
    reader.announced = conversation.pairing.add_request(reader, message, partial.rtt_own, partial.rtt_peer)


def message_of(reader: Reader, partial: Partial, head: Head, target: bytes, number: i64) -> Message:
    """Return a message for an incomplete head. `number`: the id of the message."""
    heads = reader.conversation().http.heads
    message = Message(number, head, target, heads.length)
    message.request_id = heads.request_id
    message.begin, message.offset, message.ack = partial.offset, partial.wire_offset, partial.ack
    message.frame = message.last_frame = partial.frame
    message.start = message.end_time = partial.time
    return message


def cut_head(reader: Reader, reason: i64) -> None:
    """End an incomplete head with the end reason `reason`. The head becomes a message if it has a valid start line."""
    partial = reader.partial
    if partial is None:
        return
    conversation = reader.conversation()
    data = partial.join()
    if partial.has_line:
        data = data[: data.rfind(b"\n") + 1]
    is_response = reader.kind == RESPONSE or (reader.kind < 0 and data[:5] == b"HTTP/")
    head = conversation.http.heads.parse(data, is_response)
    if head is None and reason != IN_GAP:
        faults.check_excess(reader, partial.start, partial.frame, partial.time, partial.offset, partial.ack)
    if head is not None and (reader.kind >= 0 or conversation.take_kind(reader, RESPONSE if is_response else REQUEST)):
        message = message_of(reader, partial, head, b"" if is_response else conversation.http.heads.target, reader.take_id())
        message.head_bytes = partial.size
        message.has_gap = reason in (IN_GAP, AT_CAPTURE_END)
        conversation.rtt_own, conversation.rtt_peer = partial.rtt_own, partial.rtt_peer
        exchange = (
            conversation.pairing.begin_response(message) if is_response else conversation.pairing.begin_request(reader, message)
        )
        reader.message = message
        reader.exchange = exchange
        message.exchange = exchange.index
        conversation.http.parts.note(reader.direction, message)
        reader.finish(reason)
    reader.abandon_head()


def give_up_head(reader: Reader) -> None:
    """To free memory, end an incomplete head as if its remaining bytes were missing from the capture."""
    if reader.mode == HEAD and reader.partial is not None:
        reader.conversation().note_gap(reader.partial.time)
        cut_head(reader, IN_GAP)
        reader.lose()
