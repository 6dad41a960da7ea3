"""Keep heads that are split over packets, and end or drop those that stay incomplete."""

from __future__ import annotations

from mypy_extensions import i64

from wiredoctor.core.http1 import faults
from wiredoctor.core.http1.conversation import Conversation
from wiredoctor.core.http1.message import AT_CAPTURE_END, HEAD, IN_GAP, REQUEST, RESPONSE
from wiredoctor.core.http1.message_ends import finish
from wiredoctor.core.http1.pairing import begin_request, begin_response, message_of
from wiredoctor.core.http1.partial import Partial
from wiredoctor.core.http1.reader import Reader


def keep(conversation: Conversation, partial: Partial, data: bytes) -> None:
    """Store more bytes of an incomplete head, and count them in `SharedHttp.keeping`."""
    partial.add(data)
    conversation.http.keeping.add(conversation, len(data))


def cut_head(conversation: Conversation, reader: Reader, reason: i64) -> None:
    """End an incomplete head with the end reason `reason`. The head becomes a message if it has a valid start line."""
    partial = reader.partial
    if partial is None:
        return
    data = partial.join()
    if partial.has_line:
        data = data[: data.rfind(b"\n") + 1]
    is_response = reader.kind == RESPONSE or (reader.kind < 0 and data[:5] == b"HTTP/")
    head = conversation.http.heads.parse(data, is_response)
    if head is None and reason != IN_GAP:
        faults.check_excess(conversation, reader, partial.start, partial.frame, partial.time, partial.offset, partial.ack)
    if head is not None and (reader.kind >= 0 or conversation.take_kind(reader, RESPONSE if is_response else REQUEST)):
        message = message_of(
            conversation.http.heads,
            partial,
            head,
            b"" if is_response else conversation.http.heads.target,
            reader.take_id(conversation.number),
        )
        message.head_bytes = partial.size
        message.has_gap = reason in (IN_GAP, AT_CAPTURE_END)
        conversation.rtt_own, conversation.rtt_peer = partial.rtt_own, partial.rtt_peer
        exchange = begin_response(conversation, message) if is_response else begin_request(conversation, reader, message)
        reader.message = message
        reader.exchange = exchange
        message.exchange = exchange.index
        conversation.http.parts.note(reader.direction, message)
        finish(conversation, reader, reason)
    abandon_head(conversation, reader)


def abandon_head(conversation: Conversation, reader: Reader) -> None:
    """Drop bytes that looked like the beginning of a head but are not."""
    reader.announced = None
    if reader.partial is not None:
        reader.count += 1
        reader.abandoned += 1
        conversation.http.parts.drop(reader.direction, reader.partial)
        reader.partial = None


def give_up_head(conversation: Conversation, reader: Reader) -> None:
    """To free memory, end an incomplete head as if its remaining bytes were missing from the capture."""
    if reader.mode == HEAD and reader.partial is not None:
        conversation.note_gap(reader.partial.time)
        cut_head(conversation, reader, IN_GAP)
        reader.lose()
