"""What the reader of a direction knows: which message it reads, what it expects next, and where messages may be missing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mypy_extensions import i64, mypyc_attr

from wiredoctor.core.capture.packet import Packet
from wiredoctor.core.http1.message import (
    BODY,
    CLOSE,
    HEAD,
    NO_END,
    OFF,
    REQUEST,
    RESPONSE,
    SEEK,
    EmptyLine,
    Exchange,
    Message,
    message_id,
)
from wiredoctor.core.http1.partial import Partial
from wiredoctor.core.http1.stream import GAP, Range, Sink
from wiredoctor.core.tcp.segment import NEVER
from wiredoctor.protocols.http1.head import KNOWN_METHODS, may_become_request, may_become_response

if TYPE_CHECKING:
    from wiredoctor.protocols.http1.content import Content

STARTS: Final = frozenset([(method + b" ")[:4] for method in KNOWN_METHODS] + [b"HTTP"])
"""The first four bytes of a request with a known method, or of a status line."""


class Burst:
    """The newest burst of a message body; the next packet may continue it."""

    def __init__(self, message: i64, exchange: i64, index: i64, packet: Packet) -> None:
        self.message: i64 = message
        self.exchange: i64 = exchange
        self.index: i64 = index
        self.first_frame: i64 = packet.frame
        self.last_frame: i64 = packet.frame
        self.start: i64 = packet.time
        self.end: i64 = packet.time
        self.bytes: i64 = 0
        self.segments: i64 = 0
        self.largest: i64 = 0
        self.pause: i64 = NEVER
        self.pause_frame: i64 = NEVER
        self.reasons: i64 = 0
        self.late: i64 = NEVER
        self.stamp: i64 = packet.stamp
        """The TSval of the burst's first packet. `last_stamp` is the TSval of its last packet."""
        self.last_stamp: i64 = self.stamp


@mypyc_attr(acyclic=True)
class Reader(Sink):
    """What is read of the HTTP messages of one direction. `kind`: REQUEST or RESPONSE; -1 until a head was read.

    `waits` is true while a response waits for its request, because the request may be captured later.
    """

    def __init__(self, direction: i64) -> None:
        super().__init__()
        self.partial: Partial | None = None
        self.message: Message | None = None
        self.content: Content | None = None
        """The check of the content of the current body; None if it needs none, or if bytes are missing."""
        self.exchange: Exchange | None = None
        """The exchange of the current message."""
        self.announced: Exchange | None = None
        """The exchange of a request with an incomplete head, to which the server already responds."""
        self.previous: Exchange | None = None
        """The exchange of the message that ended at `previous_end`."""
        self.previous_interim: Message | None = None
        """The message that ended at `previous_end`, if it is an interim response."""
        self.burst: Burst | None = None
        """The burst that the next packet may continue; None if there is none, or if the table `bursts` was not requested."""
        self.direction: i64 = direction
        self.kind: i64 = -1
        self.mode: i64 = HEAD
        self.in_trailer: bool = False
        self.is_lost: bool = False
        """True if messages of this direction may be missing.

        A request sets this to false, and so does a response whose request is certain.
        """
        self.is_seeking: bool = False
        """True if the current message is the first one after missing messages."""
        self.is_unsure: bool = False
        """True if the current message may be part of a body."""
        self.has_fault: bool = False
        self.until: i64 = 0
        self.count: i64 = 0
        """The number of messages so far, including rejected heads."""
        self.abandoned: i64 = 0
        self.strayed: i64 = NO_END
        """The lowest stream offset at which messages may be missing."""
        self.follows_empty_line: bool = False
        """True if the server's first bytes are an empty line, and no response has begun since."""
        self.empty_line: EmptyLine | None = None
        self.malformed: i64 = 0
        """The grammar faults that were already reported, as bits."""
        self.previous_end: i64 = NEVER
        self.beyond: i64 = 0
        """By how much the TCP stream offset of the newest byte exceeds its offset in the content; 0 over plain TCP."""
        self.waits_ack: i64 = NEVER
        """The acknowledgment number of the waiting response."""
        self.waits_time: i64 = NEVER
        """The time of the waiting response."""
        self.has_begun: bool = False
        """True if the first bytes of the direction were read, or are known to be missing."""
        self.burst_message: i64 = NEVER
        """The id of the message to which the newest packet with body bytes belongs."""

    def take_id(self, connection: i64) -> i64:
        """Return the id of the next message of this direction of a connection, and count the message."""
        number = message_id(connection, self.count, self.direction)
        self.count += 1
        return number

    def may_begin_head(self, data: bytes) -> bool:
        """Return whether `data` can begin a head in this direction.

        If no head was read yet on the connection, the beginning of a TLS handshake is also accepted.
        """
        if self.kind == REQUEST:
            return may_become_request(data)
        if self.kind == RESPONSE:
            return may_become_response(data)
        return data in (b"\x16", b"\x16\x03") or may_become_request(data) or may_become_response(data)

    def may_be_rest(self, message: Message, kind: i64) -> bool:
        """Return whether the apparent first request of a direction may be the end of a line whose beginning was not captured."""
        if kind == RESPONSE or message.head.has_known_method:
            return False
        self.strayed = min(self.strayed, message.begin - 1)
        return True

    def is_reading(self, message: Message) -> bool:
        """Return whether the reader is still reading this message."""
        return self.message is message

    def jumps_to(self, offset: i64) -> bool:
        """Return True if all bytes before the TCP stream offset `offset` belong to the current body and need not be examined."""
        message = self.message
        if message is None or message.pieces is not None or self.content is not None:
            return False
        return self.mode == CLOSE or (self.mode == BODY and offset <= self.until + self.beyond)

    def is_off(self) -> bool:
        """Return True if the direction no longer carries HTTP/1."""
        return self.mode == OFF

    def began(self) -> i64:
        """Return the time at which the open message or head began, or NEVER if none is open."""
        message = self.message
        if message is not None:
            return message.start
        partial = self.partial
        if self.mode == HEAD and partial is not None:
            return partial.time
        return NEVER

    def lose(self) -> None:
        """Record that it is unknown where the next message begins, and search for it from now on."""
        if self.mode == OFF:
            return
        self.mode = SEEK
        self.is_seeking = True
        if self.kind != REQUEST:
            self.is_lost = True
        self.partial = None
        self.strayed = min(self.strayed, self.pos)

    def lose_in_gap(self, found: Range) -> None:
        """Record that it is unknown where the next message begins, because bytes were not captured.

        Packets that were not captured may contain whole requests. If only the snap length cut off the bytes, assume that they
        belong to one request.
        """
        self.lose()
        if found.at == GAP:
            self.is_lost = True

    def seek(self, found: Range) -> None:
        """Switch to reading a head if a range begins like a head and no byte of it was read before. Otherwise, skip the range."""
        at = found.at
        if self.pos > found.start or at < 0 or found.block[at : at + min(4, found.end - found.start)] not in STARTS:
            # if a part of the range was read as something other than a message, no head begins in the rest of the range
            self.pos = found.end
            if at == GAP:
                self.is_lost = True
            return
        self.mode = HEAD
        self.is_seeking = True

    def switch_off(self) -> None:
        """Stop reading HTTP in this direction for good."""
        self.mode = OFF
        self.waits = False
        self.partial = None
        self.message = None
        self.exchange = None


GONE: Final = Reader(0)
"""The placeholder for both readers of an ended connection."""
