"""Reads the messages of one direction: heads are visited, bodies are jumped over (RFC 9112 sections 6 and 7)."""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING

from wiredoctor.http import bodies, faults, framing, quick
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
from wiredoctor.http.items import CUT, Assembler, Items
from wiredoctor.http.message import AT_CAPTURE_END, BY_FIN, BY_RST, COMPLETE, ERROR, IN_HOLE, Exchange, Message, message_id
from wiredoctor.http.modes import BODY, CHUNK_SIZE, CLOSE, HEAD, NO_END, OFF, REQUEST, RESPONSE, SEEK
from wiredoctor.http.payload import FIRST_LOOK, Payload
from wiredoctor.tables import NEVER, SCRATCH

if TYPE_CHECKING:
    from wiredoctor.http.conversation import Conversation

STARTS = frozenset((method + b" ")[:4] for method in KNOWN_METHODS) | {b"HTTP"}
"""First bytes of a head with a known method, or of a status line."""

MAX_HEAD = 1 << 18
"""Bytes of a head: common servers accept 8 to 64 KiB, and nothing sane sends 256."""


class Reader:
    """State of one direction. Bytes come as Items; `run` walks over them and may pause until the other side is read."""

    __slots__ = (
        "announced",
        "assembler",
        "behind",
        "conversation",
        "count",
        "direction",
        "faulted",
        "in_trailer",
        "kind",
        "leftover",
        "lost",
        "malformed",
        "message",
        "mode",
        "partial",
        "partial_ack",
        "partial_frame",
        "partial_offset",
        "partial_time",
        "pause_time",
        "paused",
        "pos",
        "seeking",
        "strayed",
        "unsure",
        "until",
    )  # fmt: skip

    def __init__(self, conversation: Conversation, direction: int) -> None:
        self.conversation, self.direction = conversation, direction
        self.kind: int | None = None
        self.mode: int = HEAD
        self.pos: int = NEVER
        self.until: int = 0
        self.partial = b""
        self.partial_offset = self.partial_frame = self.partial_time = self.partial_ack = 0
        self.message: Message | None = None
        self.count = 0
        self.seeking = self.paused = self.in_trailer = self.lost = False
        self.pause_time = NEVER
        self.leftover: Items | None = None
        self.announced: Exchange | None = None
        self.assembler = Assembler()
        self.behind: faults.Behind | None = None
        self.faulted = self.unsure = False
        self.malformed = 0
        self.strayed = NO_END

    def run(self, items: Items, i: int, stop: int, read: Payload, parser: HeadParser) -> int:
        """Walks items[i:stop]; returns the index of the first item that is not wholly used (stop, or where it paused)."""
        while i < stop:
            mode = self.mode
            if mode == HEAD:
                if self.kind is not None and not items.shuffled:
                    i = self._quick(items, i, stop, read, parser)
                    if i == stop:
                        return i
                i = self._hole_in_head(items, i) if items.at[i] < 0 else self._head(items, i, read, parser)
                if self.paused:
                    return i
            elif mode == BODY:
                i = bodies.sized(self, items, i, stop, read)
                if self.paused:
                    return i
            elif mode == CLOSE:
                i = bodies.all_of(self, items, i, stop, read)
            elif mode == SEEK:
                i = self._seek(items, i, stop, read)
            elif mode == OFF:
                self.pos = items.end[stop - 1]
                i = stop
            else:
                i = bodies.chunk_line(self, items, i, read)
                if self.paused:
                    return i
        return i

    # heads

    def _quick(self, items: Items, i: int, stop: int, read: Payload, parser: HeadParser) -> int:
        """The plain case in a loop of its own, unless something is unfinished."""
        conversation = self.conversation
        if self.partial or self.seeking or self.lost or conversation.spoken.messages is not None:
            return i
        if self.kind == REQUEST:
            return quick.requests(self, items, i, stop, read.file)
        if conversation.readers[1 - self.direction].paused:
            return i
        return quick.responses(self, items, i, stop, read.file, parser)

    def _head(self, items: Items, i: int, read: Payload, parser: HeadParser) -> int:
        start, end = items.start[i], items.end[i]
        pos = self.pos
        if pos < start or pos > end:
            pos = start
        size = end - pos
        at = items.at[i] + pos - start
        data = read(at, size if size <= FIRST_LOOK else FIRST_LOOK)
        if self.partial:
            data = self.partial + data
        fresh = max(len(self.partial) - 3, 0)
        head_end = data.find(b"\r\n\r\n", fresh) + 4
        if head_end < 4 or data[:1] in b"\r\n" or data.find(b"\n\n", fresh, head_end) >= 0:
            if size > FIRST_LOOK:
                data = self.partial + read(at, min(size, MAX_HEAD))
            return self._unusual_head(data, items, i, pos, parser)
        return self._complete_head(data[:head_end], items, i, pos - len(self.partial), parser)

    def _unusual_head(self, data: bytes, items: Items, i: int, pos: int, parser: HeadParser) -> int:
        """Empty lines in front, bare LFs, a head that is not all there, or no head at all."""
        begin, known = pos - len(self.partial), len(self.partial)
        answers = self.kind == RESPONSE or self.conversation.readers[1 - self.direction].kind == REQUEST
        if not answers and data[:1] in (b"\r", b"\n"):
            # RFC 9112 section 2.2: a server should ignore an empty line in front of a request line
            stripped = data.lstrip(b"\r\n")
            if self.behind is not None and self.behind.end == begin:
                self.behind = self.behind._replace(end=begin + len(data) - len(stripped))
            if not self.count:
                self.strayed = min(self.strayed, begin)  # it may be the end of a message that was not captured
            begin += len(data) - len(stripped)
            known -= len(data) - len(stripped)
            data = stripped
            if not data:
                self.partial, self.pos = b"", items.end[i]
                return i + 1
            if begin >= items.start[i]:
                self.partial, pos = b"", begin
        # what was read before has no end of a head: it is not searched again for every small segment
        head_end = find_head_end(data, max(known - 3, 0))
        if head_end >= 0:
            return self._complete_head(data[:head_end], items, i, begin, parser)
        plausible = self._plausible(data)
        if not plausible:
            self._look_behind(data, items, i, begin)
        if len(data) >= MAX_HEAD or not plausible:
            return self._not_http(data, items, i)
        if not self.partial:
            self.partial_offset, self.partial_frame, self.partial_time = begin, items.frame[i], items.time[i]
            self.partial_ack = items.ack[i]
        self.partial, self.pos = data, items.end[i]
        return i + 1

    def _look_behind(self, data: bytes, items: Items, i: int, begin: int) -> None:
        """Bytes that begin no message may be too many of the one before."""
        if self.partial:
            faults.behind(self, data, self.partial_frame, self.partial_time, begin, self.partial_ack)
        else:
            faults.behind(self, data, items.frame[i], items.time[i], begin, items.ack[i])

    def _plausible(self, data: bytes) -> bool:
        if b"\n" in self.partial[:FIRST_LOOK]:
            return True  # its first line was looked at
        if self.kind == REQUEST:
            return may_become_request(data)
        if self.kind == RESPONSE:
            return may_become_response(data)
        other = self.conversation.readers[1 - self.direction].kind
        return (other != REQUEST and may_become_request(data)) or (other != RESPONSE and may_become_response(data))

    def _complete_head(self, head: bytes, items: Items, i: int, begin: int, parser: HeadParser) -> int:
        parsed: tuple[RequestLine | StatusLine, Fields] | None
        if self.kind == RESPONSE or (self.kind is None and head[:5] == b"HTTP/"):
            parsed, kind = parser.response(head), RESPONSE
        else:
            parsed, kind = parser.request(head), REQUEST
        if parsed is None:
            self._look_behind(head, items, i, begin)
        if parsed is None or (self.seeking and kind == REQUEST and parsed[0][0].encode() not in KNOWN_METHODS):
            return self._not_http(head, items, i)
        conversation = self.conversation
        first = kind == RESPONSE and self.kind is None and conversation.unread and not conversation.forced
        if not first and self.kind is None and not conversation.take_kind(self.direction, kind, items.frame[i]):
            return self._not_http(head, items, i)
        if self.partial:
            frame, time = self.partial_frame, self.partial_time
        else:
            frame, time = items.frame[i], items.time[i]
        if first:
            conversation.heard(items.frame[i])
        if first or (kind == RESPONSE and conversation.must_wait(items.ack[i])):
            if not self.paused:
                self.paused, self.pause_time = True, items.time[i]
            return i
        message = Message(self._next_id(), begin, frame, time, parsed[0], parsed[1])
        head_end = begin + len(head)
        message.head_end, message.head_bytes, message.ack = head_end, len(head), items.ack[i]
        message.reaches(items.frame[i], items.time[i])
        message.head_last_frame, message.head_time = message.last_frame, message.end
        self.message, self.pos = message, head_end
        self.unsure = self.seeking or (self.count == 1 and self._may_be_a_rest(message))
        self.partial, self.seeking = b"", False
        self._begin(message, items.ack[i], head)
        return i + (head_end >= items.end[i])

    def _may_be_a_rest(self, message: Message) -> bool:
        """Whether the first request may be what is left of a line of which the capture has not the beginning."""
        line = message.line
        if isinstance(line, StatusLine) or line.method.encode() in KNOWN_METHODS:
            return False
        self.strayed = min(self.strayed, message.offset - 1)
        return True

    def _begin(self, message: Message, ack: int, head: bytes) -> None:
        """Finds the exchange of a message, and what follows its head."""
        line = message.line
        if isinstance(line, RequestLine):
            self._request(message, line)
            how = framing.request_framing(message.fields)
        else:
            exchange = message.exchange = self.conversation.response_begins(line, message.fields, ack, message.last_frame)
            if exchange.response_line is line:
                exchange.response = message.record()
            method = None if exchange.request_line is None else exchange.request_line.method
            how = framing.response_framing(line.status, method, message.fields)
        if message.fields.suspect:
            faults.in_head(self, message, head, how)
        self._frame_body(message, how)
        if self.kind == RESPONSE and self.message is message:
            message.pieces = self.conversation.spoken.watched(message)

    def _request(self, message: Message, line: RequestLine) -> None:
        exchange = self.announced or self.conversation.request_begins(line, message.fields, message.offset)
        exchange.request_line, exchange.request_fields, exchange.request = line, message.fields, message.record()
        message.exchange, self.announced = exchange, None

    def announce(self, ack: int) -> None:
        """The other side answers a request whose head is not all there, as with 408: its exchange begins now."""
        line, newline, _ = self.partial.partition(b"\n")
        if not newline or self.announced is not None or not self.partial_offset < ack:
            return
        parsed = self.conversation.parser.request(line + newline)
        if parsed is not None:
            message = Message(self.upcoming_id(), self.partial_offset, self.partial_frame, self.partial_time, *parsed)
            exchange = self.announced = self.conversation.request_begins(*parsed, message.offset)
            exchange.request = message.record()

    def upcoming_id(self) -> int:
        """Id of the next message."""
        return message_id(self.conversation.connection, self.count, self.direction)

    def _next_id(self) -> int:
        number = self.upcoming_id()
        self.count += 1
        return number

    def _frame_body(self, message: Message, how: int) -> None:
        """What follows the head, by its framing."""
        message.framing = how if how != framing.BROKEN else framing.NO_BODY
        if how == framing.NO_BODY:
            self.finish(COMPLETE)
        elif how == framing.LENGTH:
            length = message.fields.content_length or 0
            message.due = length
            if not length:
                self.finish(COMPLETE)
            else:
                self.mode, self.until = BODY, self.pos + length
        elif how == framing.CHUNKED:
            message.chunks = 0
            self.mode, self.in_trailer = CHUNK_SIZE, False
        elif how == framing.UNTIL_CLOSE:
            self.mode = CLOSE
        elif how == framing.TUNNEL:
            self.finish(COMPLETE)
        else:
            self.finish(ERROR)
            self.lose()

    def _not_http(self, data: bytes, items: Items, i: int) -> int:
        """These bytes begin no message: look further, or leave the connection alone."""
        in_pieces = bool(self.partial)
        self._abandon()
        if self.kind is None and not self.seeking:
            self.conversation.other_protocol(self.direction, data)
        if self.mode != OFF:
            self.lose()
        if in_pieces:
            # what came before may have been no head, and this one may be
            self.pos = items.start[i]
            return i
        self.pos = items.end[i]
        return i + 1

    def _abandon(self) -> None:
        """What looked like a head so far was none."""
        self.announced = None
        if self.partial:
            self.conversation.head_so_far(self, self.pos)
            self.count += 1
            self.partial = b""

    def lose(self) -> None:
        """Where the next message begins is not known any more."""
        self.mode, self.seeking, self.partial = SEEK, True, b""
        self.strayed = min(self.strayed, self.pos)
        self.lost = True

    def _hole_in_head(self, items: Items, i: int) -> int:
        self.hole_in_framing(items, i, expected=bool(self.partial or self.count or self.conversation.awaiting))
        if self.partial:
            self._cut_head(IN_HOLE)
            self._abandon()
        self.lose()
        self.pos = items.end[i]
        return i + 1

    def hole_in_framing(self, items: Items, i: int, *, expected: bool = True) -> None:
        """A head, or chunk framing, lies in what is not there; tells it where the snap length is why."""
        known = self.conversation.client >= 0 or self.partial[:4] in STARTS
        if items.at[i] == CUT and expected and known:
            self.conversation.cut_short(items.frame[i], items.time[i])

    def _seek(self, items: Items, i: int, stop: int, read: Payload) -> int:
        if items.start[i] < self.pos:
            return i + 1  # its beginning was read: what is left of it is behind what could not be read
        if items.heads is None and items.look_for_heads is not None:
            items.heads = items.look_for_heads()
        heads = items.heads
        if heads is not None:
            k = bisect_left(heads, i)
            if k == len(heads) or heads[k] >= stop:
                self.pos = items.end[stop - 1]
                return stop
            i = heads[k]
        elif items.at[i] < 0 or (items.at[i] < SCRATCH and read(items.at[i], 4) not in STARTS):
            return i + 1
        self.pos, self.mode, self.seeking = items.start[i], HEAD, True
        return i

    # ends

    def finish(self, reason: int) -> None:
        """The message is whole, or will never be: `reason` says which."""
        message = self.message
        if message is None:
            return
        message.reason = reason
        self.message = None
        self.mode, self.partial = HEAD, b""
        exchange = message.exchange
        self.conversation.message_ends(self, message, self.pos)
        if exchange is not None:
            interim = isinstance(message.line, StatusLine) and exchange.response_line is not message.line
            self.behind = faults.Behind(exchange, self.pos, message if interim else None)

    def _cut_head(self, reason: int) -> None:
        """A head that breaks off: listed with what there is of it, when its first line can be read."""
        line, newline, rest = self.partial.partition(b"\n")
        parser = self.conversation.parser
        head = line + newline + rest[: rest.rfind(b"\n") + 1]
        parsed: tuple[RequestLine | StatusLine, Fields] | None
        response = self.kind == RESPONSE or (self.kind is None and head[:5] == b"HTTP/")
        parsed = parser.response(head) if response else parser.request(head)
        if parsed is None and reason != IN_HOLE:
            faults.behind(self, self.partial, self.partial_frame, self.partial_time, self.partial_offset, self.partial_ack)
        if parsed is None or (
            self.kind is None and not self.conversation.take_kind(self.direction, int(response), self.partial_frame)
        ):
            return
        message = Message(self._next_id(), self.partial_offset, self.partial_frame, self.partial_time, parsed[0], parsed[1])
        message.head_bytes, message.head_end = len(self.partial), NO_END
        self.message, frame = message, self.partial_frame
        if isinstance(message.line, StatusLine):
            message.exchange = self.conversation.response_begins(message.line, message.fields, NEVER, frame)
        else:
            self._request(message, message.line)
        self.finish(reason)

    def began(self) -> int:
        """When what is unfinished began; NEVER where nothing is."""
        if self.message is not None:
            return self.message.start
        return self.partial_time if self.mode == HEAD and self.partial else NEVER

    def close(self, reason: int) -> None:
        """No more bytes will come: the stream ended (FIN, RST) or the capture did."""
        if self.mode == HEAD and self.partial:
            self._cut_head(reason)
            self.partial = b""
        elif self.message is not None:
            # behind the last chunk only the end of the trailer section can be missing
            whole = (self.mode == CLOSE and reason == BY_FIN) or (self.in_trailer and reason in (BY_FIN, BY_RST))
            self.finish(COMPLETE if whole else reason)
        if reason != AT_CAPTURE_END:
            self.mode = HEAD if self.mode == CLOSE else self.mode
