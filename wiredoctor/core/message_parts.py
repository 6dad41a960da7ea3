"""Describe which messages a segment belongs to (`MessagePart`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wiredoctor.core.message import HEAD, message_id
from wiredoctor.core.segment import NEVER, MessagePart, Segment

if TYPE_CHECKING:
    from wiredoctor.core.http1 import Reader
    from wiredoctor.core.pairing import HttpConnection


def describe(talk: HttpConnection, reader: Reader, segment: Segment, part: MessagePart) -> None:
    """Set the fields of `part`: the messages to which the first and the last new byte of a packet belong."""
    start = segment.new_start
    end = reader.packet_end
    partial = reader.partial if reader.mode == HEAD and not reader.waits else None
    first, last = reader.first, reader.newest
    if first is not None and first.begin <= start < first.end:
        part.message = first.id
        if end >= first.head_end:
            part.exchange = first.exchange
        part.in_body = first.end > first.head_end and end > first.head_end
    elif partial is not None and partial.offset <= start:
        part.message = message_id(talk.number, reader.count, reader.direction)
    elif reader.dropped is not None and reader.dropped.holds(start):
        part.message = message_id(talk.number, reader.count - 1, reader.direction)
    if last is not None and last.begin < end <= last.end:
        part.last_message = last.id
        part.ends_head = end == last.head_end
        part.ends_message = end == last.end and last.head_end <= last.end
        if end > last.head_end:
            part.in_body = True
            part.body_bytes = end - max(start, last.head_end)
    elif partial is not None and partial.offset < end:
        part.last_message = message_id(talk.number, reader.count, reader.direction)
    elif reader.dropped is not None and reader.dropped.holds(end - 1):
        part.last_message = message_id(talk.number, reader.count - 1, reader.direction)
    part.event_stream = part.in_body and first is not None and part.message == first.id and first.head.is_stream


def clear(part: MessagePart) -> None:
    """Set the fields of `part` to the values for a packet without new bytes of a message."""
    part.message = NEVER
    part.last_message = NEVER
    part.exchange = -1
    part.in_body = False
    part.event_stream = False
    part.ends_head = False
    part.ends_message = False
    part.upgraded = False
    part.unread = False
    part.body_bytes = 0


def clear_unread(part: MessagePart) -> None:
    """Set the fields of `part` to the values for a packet of a connection whose payload is not read."""
    clear(part)
    part.http = False
    part.is_incomplete = True
