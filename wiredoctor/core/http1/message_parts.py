"""Describe which messages a segment belongs to (`MessagePart`)."""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64

from wiredoctor.core.http1.message import CHUNKED, HEAD, Message, message_id
from wiredoctor.core.http1.partial import Partial
from wiredoctor.core.http1.reader import Reader
from wiredoctor.core.tcp.segment import NEVER, MessagePart, Segment

FEWEST_CHUNKS: Final = 8
"""The minimum number of chunks that show how a program writes a body."""


class PacketParts:
    """The messages of which the current packet has a part. `end`: the TCP stream offset after the packet.

    `direction`: that of the packet; -1 between packets. `first`, `newest`: the first and the newest message. `dropped`: bytes
    that looked like the beginning of a head until the packet showed that they are not.
    """

    def __init__(self) -> None:
        self.direction: i64 = -1
        self.end: i64 = NEVER
        self.first: Message | None = None
        self.newest: Message | None = None
        self.dropped: Partial | None = None

    def begin(self, direction: i64, end: i64, message: Message | None) -> None:
        """Begin a packet, which may continue `message`."""
        self.direction, self.end = direction, end
        self.first = self.newest = message
        self.dropped = None

    def note(self, direction: i64, message: Message) -> None:
        """Record a message that begins, if it is in the packet."""
        if direction == self.direction and message.offset < self.end:
            self.newest = message
            if self.first is None:
                self.first = message

    def drop(self, direction: i64, partial: Partial) -> None:
        """Record bytes that are no head after all."""
        if direction == self.direction:
            self.dropped = partial


def describe(parts: PacketParts, connection: i64, reader: Reader, segment: Segment, part: MessagePart) -> None:
    """Set the fields of `part`: the messages to which the first and the last new byte of a packet belong."""
    start = segment.new_start
    end, first, last, dropped = parts.end, parts.first, parts.newest, parts.dropped
    partial = reader.partial if reader.mode == HEAD and not reader.waits else None
    if first is not None and first.offset <= start < first.wire_end():
        part.message = first.id
        head_end = first.wire_head_end()
        if end >= head_end:
            part.exchange = first.exchange
        part.in_body = first.end > first.head_end and end > head_end
    elif partial is not None and partial.wire_offset <= start:
        part.message = message_id(connection, reader.count, reader.direction)
    elif dropped is not None and dropped.holds(start):
        part.message = message_id(connection, reader.count - 1, reader.direction)
    if last is not None and last.offset < end <= last.wire_end():
        head_end = last.wire_head_end()
        part.last_message = last.id
        part.ends_head = end == head_end
        part.ends_message = end == last.wire_end() and last.head_end <= last.end
        if end > head_end:
            part.in_body = True
            part.body_bytes = end - max(start, head_end)
    elif partial is not None and partial.wire_offset < end:
        part.last_message = message_id(connection, reader.count, reader.direction)
    elif dropped is not None and dropped.holds(end - 1):
        part.last_message = message_id(connection, reader.count - 1, reader.direction)
    in_first = part.in_body and first is not None and part.message == first.id
    part.event_stream = in_first and first is not None and first.head.is_stream
    part.is_chunked = in_first and first is not None and first.framing == CHUNKED and not first.head.is_page
    part.is_flushed = in_first and first is not None and flushes_chunks(first)


def flushes_chunks(message: Message) -> bool:
    """Return whether the program has flushed most chunks of a body so far, each with its size line, to be read at once."""
    pieces = message.pieces
    if pieces is None or message.chunks < FEWEST_CHUNKS:
        return False
    apart: i64 = pieces.apart
    alone: i64 = pieces.alone
    return 2 * apart >= message.chunks - 1 and 2 * alone < message.chunks


def clear(part: MessagePart) -> None:
    """Set the fields of `part` to the values for a packet without new bytes of a message."""
    part.message = NEVER
    part.last_message = NEVER
    part.exchange = -1
    part.in_body = False
    part.event_stream = False
    part.is_chunked = False
    part.is_flushed = False
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
