"""Reads the messages of one direction: heads are visited, bodies are jumped over (RFC 9112 sections 6 and 7)."""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING

from wiredoctor.http import bodies, faults, heads, quick, seeking
from wiredoctor.http.head import HeadParser, StatusLine
from wiredoctor.http.items import Assembler, Items, Moment
from wiredoctor.http.message import AT_CAPTURE_END, BY_FIN, BY_RST, COMPLETE, Exchange, Message, message_id
from wiredoctor.http.modes import BODY, CLOSE, HEAD, NO_END, OFF, REQUEST, SEEK, TLS
from wiredoctor.http.partial import Partial
from wiredoctor.http.payload import Payload
from wiredoctor.tables import NEVER

if TYPE_CHECKING:
    from wiredoctor.http.conversation import Conversation


class Reader:
    """State of one direction. Bytes come as Items; `run` walks over them and may pause until the other side is read."""

    __slots__ = (
        "abandoned",
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
        "paused",
        "pos",
        "resumed",
        "seeking",
        "shuffled",
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
        self.partial: Partial | None = None
        self.message: Message | None = None
        self.count = self.abandoned = 0
        self.seeking = self.paused = self.in_trailer = self.lost = False
        self.resumed = NEVER
        self.leftover: Items | None = None
        self.shuffled: Items | None = None
        self.announced: Exchange | None = None
        self.assembler = Assembler()
        self.behind: faults.Behind | None = None
        self.faulted = self.unsure = False
        self.malformed = 0
        self.strayed = NO_END

    def run(self, items: Items, i: int, stop: int, read: Payload, parser: HeadParser) -> int:
        """Walks items[i:stop]; returns the index of the first item that is not wholly used (stop, or where it paused)."""
        self.shuffled = items if items.shuffled else None
        while i < stop:
            mode = self.mode
            if mode == HEAD:
                if self.kind is not None and not items.shuffled:
                    i = self._quick(items, i, stop, read, parser)
                    if i == stop:
                        return i
                i = seeking.hole_in_head(self, items, i) if items.at[i] < 0 else heads.look(self, items, i, read, parser)
                if self.paused:
                    return i
            elif mode == BODY:
                i = bodies.sized(self, items, i, stop, read)
                if self.paused:
                    return i
            elif mode == CLOSE:
                i = bodies.all_of(self, items, i, stop, read)
            elif mode == SEEK:
                i = seeking.seek(self, items, i, stop, read)
            elif mode == TLS:
                i = seeking.tls(self, items, i, read)
            elif mode == OFF:
                self.pos, items.unread = items.end[stop - 1], min(items.unread, i)
                i = stop
            else:
                i = bodies.chunk_line(self, items, i, read)
                if self.paused:
                    return i
        return i

    def _quick(self, items: Items, i: int, stop: int, read: Payload, parser: HeadParser) -> int:
        """The plain case in a loop of its own, unless something is unfinished."""
        conversation = self.conversation
        if self.partial is not None or self.seeking or self.lost or conversation.spoken.messages is not None:
            return i
        if items.frame[i] <= self.resumed:
            return i
        if self.kind == REQUEST:
            return quick.requests(self, items, i, stop, read.file)
        if conversation.readers[1 - self.direction].paused:
            return i
        if conversation.reading is not None and conversation.reading.both[1 - self.direction].shuffled:
            return i
        return quick.responses(self, items, i, stop, read.file, parser)

    def upcoming_id(self) -> int:
        """Id of the next message."""
        return message_id(self.conversation.connection, self.count, self.direction)

    def next_id(self) -> int:
        """The same, which counts it."""
        number = self.upcoming_id()
        self.count += 1
        return number

    def finish(self, reason: int) -> None:
        """The message is whole, or will never be: `reason` says which."""
        message = self.message
        if message is None:
            return
        message.reason = reason
        self.message = None
        self.mode, self.partial = HEAD, None
        exchange = message.exchange
        if self.shuffled is not None:
            # it may have been whole before what is in front of it came
            items = self.shuffled
            self.resumed = max(self.resumed, items.known(min(bisect_left(items.end, self.pos), len(items.end) - 1))[0])
        self.conversation.message_ends(self, message, self.pos)
        if exchange is not None:
            interim = isinstance(message.line, StatusLine) and exchange.response_line is not message.line
            self.behind = faults.Behind(exchange, self.pos, message if interim else None)

    def goes_on(self, moment: Moment, offset: int) -> None:
        """From this offset on, what came before this moment had to wait for it, and was not known when it came."""
        frame = moment[0]
        self.resumed = max(self.resumed, frame)
        conversation = self.conversation
        conversation.spoken.late.extend((2 * conversation.slot + self.direction, offset, frame + (moment > (frame, NEVER))))

    def began(self) -> int:
        """When what is unfinished began; NEVER where nothing is."""
        if self.message is not None:
            return self.message.start
        return self.partial.time if self.mode == HEAD and self.partial is not None else NEVER

    def close(self, reason: int) -> None:
        """No more bytes will come: the stream ended (FIN, RST) or the capture did."""
        if self.mode == HEAD and self.partial is not None:
            heads.cut(self, self.partial, reason)
            self.partial = None
        elif self.message is not None:
            # behind the last chunk only the end of the trailer section can be missing
            whole = (self.mode == CLOSE and reason == BY_FIN) or (self.in_trailer and reason in (BY_FIN, BY_RST))
            self.finish(COMPLETE if whole else reason)
        if reason != AT_CAPTURE_END:
            self.mode = HEAD if self.mode == CLOSE else self.mode

    def cut_head(self, reason: int) -> None:
        """A head breaks off, and is over with that."""
        if self.partial is not None:
            heads.cut(self, self.partial, reason)
            heads.abandon(self)
