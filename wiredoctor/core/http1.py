"""Read HTTP/1.x in one direction: turn ranges of the stream into messages (RFC 9112).

`begin_message` creates a message from its header section, whose framing determines where the body ends (`frame_body`). `finish`
ends the message, complete or not. After a gap in a header section or in chunk framing, `seek` checks whether a packet begins with
a header section. incomplete_heads.py reads header sections that are split over packets, bodies.py skips bodies, and chunks.py
reads the lines between chunks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mypy_extensions import i64, mypyc_attr

from wiredoctor import limits
from wiredoctor.core import bodies, chunks, faults, incomplete_heads, recognition
from wiredoctor.core.closes import BY_FIN, BY_RST
from wiredoctor.core.framing import request_framing, response_framing
from wiredoctor.core.heads import BAD_LENGTH, NOT_CODED, Head
from wiredoctor.core.message import (
    AT_CAPTURE_END,
    BODY,
    BROKEN,
    CHUNK_END,
    CHUNK_SIZE,
    CHUNKED,
    CLOSE,
    COMPLETE,
    ERROR,
    HEAD,
    IN_GAP,
    IN_TRAILER,
    LENGTH,
    NO_BODY,
    NO_END,
    OFF,
    REQUEST,
    RESPONSE,
    SEEK,
    TLS,
    TUNNEL,
    UNTIL_CLOSE,
    Exchange,
    Message,
    message_id,
)
from wiredoctor.core.partial import Partial
from wiredoctor.core.segment import NEVER
from wiredoctor.core.stream import CUT, GAP, GRACE_PERIOD, Range, Sink
from wiredoctor.protocols.http1.head import KNOWN_METHODS, find_head_end, may_become_request, may_become_response
from wiredoctor.protocols.http1.pieces import is_left_out, pieces_of
from wiredoctor.protocols.tls.hello import may_begin as may_begin_tls

if TYPE_CHECKING:
    from wiredoctor.core.bursts import Burst
    from wiredoctor.core.conversation import Conversation

STARTS: Final = frozenset([(method + b" ")[:4] for method in KNOWN_METHODS] + [b"HTTP"])
"""The first four bytes of a request with a known method, or of a status line."""


@mypyc_attr(acyclic=True)
class Reader(Sink):
    """Reads the HTTP messages of one direction. `kind`: REQUEST or RESPONSE; -1 until a head was read.

    `waits` is true while a response waits for its request, because the request may be captured later.
    """

    def __init__(self, owner: Conversation | None, direction: i64) -> None:
        super().__init__()
        self.owner: Conversation | None = owner
        self.partial: Partial | None = None
        self.message: Message | None = None
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
        self.malformed: i64 = 0
        """The grammar faults that were already reported, as bits."""
        self.previous_end: i64 = NEVER
        self.beyond: i64 = 0
        """By how much the TCP stream offset of the newest byte exceeds its offset in the content; 0 over plain TCP."""
        self.waits_ack: i64 = NEVER
        """The acknowledgment number of the waiting response."""
        self.waits_time: i64 = NEVER
        """The time of the waiting response."""
        self.burst_message: i64 = NEVER
        """The id of the message to which the newest packet with body bytes belongs."""

    def conversation(self) -> Conversation:
        """Return the HTTP state of the connection, which contains the readers of both directions."""
        owner = self.owner
        assert owner is not None
        return owner

    def take(self, found: Range) -> None:
        """Read a range up to its end, or until the reader has to wait for the peer."""
        self.beyond = found.wire_end - found.end
        if self.pos < found.start:
            self.pos = found.start
        while self.pos < found.end and not self.waits:
            message = self.message
            if message is not None and self.pos == message.head_end and self.leaves_out_body(message, found):
                self.finish(COMPLETE)
            mode = self.mode
            if mode in (BODY, CLOSE):
                bodies.read_body(self, found)
            elif mode == HEAD:
                self.read_head(found)
            elif mode in (CHUNK_SIZE, CHUNK_END):
                chunks.read_chunk_line(self, found)
            elif mode == SEEK:
                self.seek(found)
            elif mode == TLS:
                self.read_hello(found)
            else:
                self.pos = found.end

    def leaves_out_body(self, message: Message, found: Range) -> bool:
        """Return whether the client sends its next request instead of the body of the current request.

        A client that waits for 100 (Continue) may leave out the body after a final response (RFC 9110 section 10.1.1).
        """
        exchange = self.exchange
        if self.kind != REQUEST or found.at < 0 or exchange is None or not exchange.response_done:
            return False
        response = exchange.response
        if response is None or found.ack < response.end_offset or not message.head.fields.expect_continue:
            return False
        head = self.conversation().http.heads.read_request(found.block, found.place(self.pos), found.place(found.end))
        return head is not None and head.has_known_method

    def read_head(self, found: Range) -> None:
        """Read a head from a range. If the range contains only a part of the head, keep that part until the rest comes."""
        if found.at < 0:
            self.skip_gap_in_head(found)
            return
        partial = self.partial
        if partial is not None:
            incomplete_heads.continue_head(self, partial, found)
            return
        at = found.place(self.pos)
        stop = found.place(found.end)
        heads = self.conversation().http.heads
        if self.kind == RESPONSE or (self.kind < 0 and found.block[at : at + 5] == b"HTTP/"):
            head = heads.read_response(found.block, at, stop)
        else:
            head = heads.read_request(found.block, at, stop)
        if head is not None:
            self.begin_message(found, head, self.pos, b"")
        else:
            self.read_unusual_head(found, at, stop)

    def read_unusual_head(self, found: Range, at: i64, stop: i64) -> None:
        """Read a head that is incomplete, that follows empty lines, or whose lines end without CR.

        Reject the bytes if they cannot be a head.
        """
        data = found.block[at : min(stop, at + limits.HEAD.value)]
        begin = self.pos
        if self.kind != RESPONSE and data[:1] in (b"\r", b"\n"):
            # RFC 9112 section 2.2: a server should ignore an empty line before a request line
            stripped = data.lstrip(b"\r\n")
            skipped: i64 = len(data) - len(stripped)
            if self.previous_end == begin:
                self.previous_end = begin + skipped
            if self.count == 0:
                # these bytes may be the end of a message that was not captured
                self.strayed = min(self.strayed, begin)
            begin += skipped
            data = stripped
            if not data:
                self.pos = found.end
                return
        end: i64 = find_head_end(data)
        if end >= 0:
            self.parse_head(found, data[:end], begin)
            return
        if not self.may_begin_head(data):
            faults.check_excess(self, data, found.frame, found.time, begin, found.ack)
        elif len(data) < limits.HEAD.value:
            partial = self.partial = Partial(found, begin)
            incomplete_heads.keep(self, partial, data)
            self.pos = found.end
            return
        else:
            self.conversation().http.met.add(limits.HEAD)
        self.reject_head(found, data, found.end)

    def may_begin_head(self, data: bytes) -> bool:
        """Return whether `data` can begin a head in this direction.

        If no head was read yet on the connection, the beginning of a TLS handshake is also accepted.
        """
        if self.kind == REQUEST:
            return may_become_request(data)
        if self.kind == RESPONSE:
            return may_become_response(data)
        return may_begin_tls(data) or may_become_request(data) or may_become_response(data)

    def parse_head(self, found: Range, data: bytes, begin: i64) -> None:
        """Parse a complete head that has unusual syntax or is split over packets; begin its message, or reject it."""
        is_response = self.kind == RESPONSE or (self.kind < 0 and data[:5] == b"HTTP/")
        head = self.conversation().http.heads.parse(data, is_response)
        if head is None:
            partial = self.partial
            if partial is not None:
                faults.check_excess(self, data, partial.frame, partial.time, begin, partial.ack)
            else:
                at = found.place(begin)  # include the bytes after the head, which may belong to a response
                excess = found.block[at : min(found.place(found.end), at + limits.HEAD.value)]
                faults.check_excess(self, excess, found.frame, found.time, begin, found.ack)
            self.reject_head(found, data, begin + len(data))
            return
        self.begin_message(found, head, begin, data)

    def begin_message(self, found: Range, head: Head, begin: i64, data: bytes) -> None:
        """Begin the message of a complete head. `data` contains the head, or is empty if the head is contiguous in the range."""
        conversation = self.conversation()
        heads = conversation.http.heads
        size = heads.size
        kind: i64 = REQUEST
        if head.status >= 0:
            kind = RESPONSE
        if (self.is_seeking and kind == REQUEST and not head.has_known_method) or (
            self.kind < 0 and not conversation.take_kind(self, kind)
        ):
            self.reject_head(found, data or found.block[found.place(begin) : found.place(begin + size)], begin + size)
            return
        if kind == RESPONSE and self.has_to_wait(found.ack, found.time):
            return
        message = Message(self.take_id(), head, heads.target if kind == REQUEST else b"", heads.length)
        message.request_id = heads.request_id
        partial = self.partial
        message.begin = begin
        if partial is None:
            message.offset, message.frame, message.start = found.wire(begin), found.frame, found.time
            conversation.rtt_own, conversation.rtt_peer = found.rtt_own, found.rtt_peer
        else:
            message.offset, message.frame, message.start = partial.wire_offset, partial.frame, partial.time
            conversation.rtt_own, conversation.rtt_peer = partial.rtt_own, partial.rtt_peer
            self.partial = None
        message.last_frame, message.end_time = message.frame, message.start
        message.reaches(found.frame, found.time)
        message.head_last_frame, message.head_time = message.last_frame, message.end_time
        message.head_end = begin + size
        message.head_bytes = size
        message.ack = found.ack
        self.message = message
        conversation.http.parts.note(self.direction, message)
        self.pos = message.head_end
        self.is_unsure = self.is_seeking or (self.count == 1 and self.may_be_rest(message, kind))
        self.is_seeking = False
        if kind == REQUEST:
            exchange = conversation.pairing.begin_request(self, message)
            how = request_framing(head, message.length)
        else:
            exchange = conversation.pairing.begin_response(message)
            request = exchange.request
            how = response_framing(head, message.length, "" if request is None else request.head.method)
        self.exchange = exchange
        message.exchange = exchange.index
        if head.is_suspect or message.length == BAD_LENGTH:
            faults.check_head(self, message, exchange, data or found.block[found.place(begin) : found.place(self.pos)], how)
        if kind == RESPONSE and how == NO_BODY and (message.length > 0 or head.coding != NOT_CODED):
            faults.check_announced(self, message, exchange, data or found.block[found.place(begin) : found.place(self.pos)])
        if head.is_cut or len(message.target) >= conversation.http.longest_text:
            conversation.http.met.add(limits.TEXT)
        self.frame_body(message, how)
        if kind == RESPONSE and (how == CHUNKED or head.event_stream) and self.is_reading(message):
            if is_left_out(head.fields):
                conversation.http.met.add(limits.DECODERS)
            message.pieces = pieces_of(head.fields, message.framing)
        if kind == REQUEST and conversation.pairing.has_too_many_requests():
            conversation.pairing.stop_reading(exchange)

    def has_to_wait(self, ack: i64, time: i64) -> bool:
        """Return whether a response with this ACK and time (ns) must wait because its request may still arrive.

        If it must wait, set an alarm for the end of the grace period. Reading continues then, or as soon as the request arrives.
        """
        conversation = self.conversation()
        if conversation.pairing.may_answer(ack, time):
            return False
        self.waits = True
        self.waits_ack, self.waits_time = ack, time
        conversation.wake_at(time + GRACE_PERIOD)
        return True

    def is_reading(self, message: Message) -> bool:
        """Return whether the reader is still reading this message."""
        return self.message is message

    def may_be_rest(self, message: Message, kind: i64) -> bool:
        """Return whether the apparent first request of a direction may be the end of a line whose beginning was not captured."""
        if kind == RESPONSE or message.head.has_known_method:
            return False
        self.strayed = min(self.strayed, message.begin - 1)
        return True

    def frame_body(self, message: Message, how: i64) -> None:
        """Choose the mode in which the reader continues after a head. Finish the message if it has no body.

        `how`: the framing of the message.
        """
        message.framing = how
        if how == BROKEN:
            message.framing = NO_BODY
        if how == LENGTH:
            message.due = message.length
        if how in (NO_BODY, TUNNEL) or (how == LENGTH and message.length == 0):
            self.finish(COMPLETE)
        elif how == LENGTH:
            self.mode = BODY
            self.until = self.pos + message.length
        elif how == CHUNKED:
            message.chunks = 0
            self.mode = CHUNK_SIZE
            self.in_trailer = False
        elif how == UNTIL_CLOSE:
            self.mode = CLOSE
        else:
            self.finish(ERROR)
            self.lose()

    def reject_head(self, found: Range, data: bytes, read_to: i64) -> None:
        """Handle bytes that do not begin a message.

        If they belong to another protocol, stop reading; otherwise search for the next message.
        """
        was_partial = self.partial is not None
        self.abandon_head()
        if self.kind < 0 and not self.is_seeking:
            recognition.recognize(self.conversation(), self, data)
        if self.mode == TLS:
            self.pos = read_to
            return
        if self.mode != OFF:
            self.lose()
        # only the bytes before this packet may be invalid: the bytes of this packet may still be a head
        self.pos = found.start if was_partial else found.end

    def abandon_head(self) -> None:
        """Drop bytes that looked like the beginning of a head but are not."""
        self.announced = None
        if self.partial is not None:
            self.count += 1
            self.abandoned += 1
            self.conversation().http.parts.drop(self.direction, self.partial)
            self.partial = None

    def skip_gap_in_head(self, found: Range) -> None:
        """Skip missing bytes (`found`) inside a head, or at a place where a head may begin."""
        partial = self.partial
        if self.kind == RESPONSE and partial is not None and self.has_to_wait(partial.ack, partial.time):
            return
        is_expected = partial is not None or self.count > 0 or self.conversation().pairing.waiting is not None
        self.note_gap_in_framing(found, is_expected)
        if partial is not None:
            incomplete_heads.cut_head(self, IN_GAP)
        self.lose_in_gap(found)
        self.pos = found.end

    def note_gap_in_framing(self, found: Range, is_expected: bool) -> None:
        """Record that the bytes of `found` are missing, at a place where a head or chunk framing may be.

        They were not captured, or the snap length cut them off. `is_expected`: these bytes certainly contain a part of a head or
        of chunk framing.
        """
        conversation = self.conversation()
        conversation.note_gap(found.time)
        partial = self.partial
        is_known = conversation.client >= 0 or (partial is not None and partial.start[:4] in STARTS)
        if found.at == CUT and is_expected and is_known:
            recognition.note_cut(conversation, found.frame, found.time)

    def take_id(self) -> i64:
        """Return the id of the next message of this direction, and count the message."""
        number = message_id(self.conversation().number, self.count, self.direction)
        self.count += 1
        return number

    def jumps_to(self, offset: i64) -> bool:
        """Return True if all bytes before the TCP stream offset `offset` belong to the current body and need not be examined."""
        message = self.message
        if message is None or message.pieces is not None:
            return False
        return self.mode == CLOSE or (self.mode == BODY and offset <= self.until + self.beyond)

    def is_off(self) -> bool:
        """Return True if the direction no longer carries HTTP/1."""
        return self.mode == OFF

    def finish(self, reason: i64) -> None:
        """End the current message with the end reason `reason`, which may be COMPLETE. This is called once for every message."""
        message = self.message
        exchange = self.exchange
        if message is None or exchange is None:
            return
        message.reason = reason
        message.end = self.pos
        message.end_offset = self.pos + self.beyond
        if reason != COMPLETE and message.head.status == 206:
            faults.check_range(self, message, exchange)
        self.message = None
        self.exchange = None
        self.mode = HEAD
        self.partial = None
        self.previous = exchange
        self.previous_end = self.pos
        self.previous_interim = message if message.head.is_interim() and exchange.response is not message else None
        self.conversation().pairing.end_message(self, exchange, message)

    def close(self, reason: i64) -> None:
        """End the open message or head with the end reason `reason`, because no more bytes will come."""
        if self.kind == RESPONSE:
            faults.settle_answer(self, self.conversation().pairing.waiting, True)
            if not faults.has_none(self) and self.conversation().held_faults is not None:
                self.conversation().report_held_faults()
                self.has_fault = True  # a body that still comes after the close is not a second fault
        if self.mode == HEAD and self.partial is not None:
            incomplete_heads.cut_head(self, reason)
        elif self.message is not None:
            if self.mode == CLOSE and reason == BY_FIN:
                reason = COMPLETE
            elif self.in_trailer and self.mode == CHUNK_SIZE and (reason in (BY_FIN, BY_RST)):
                reason = IN_TRAILER if self.kind == RESPONSE else COMPLETE
            self.finish(reason)
        if reason != AT_CAPTURE_END and self.mode == CLOSE:
            self.mode = HEAD

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

    def read_hello(self, found: Range) -> None:
        """Pass the next bytes of a TLS handshake to the TLS parser."""
        data = b""
        if found.at >= 0:
            at = found.place(self.pos)
            data = found.block[at : min(found.place(found.end), at + limits.HEAD.value)]
        recognition.continue_tls(self.conversation(), self, data)
        self.pos = found.end

    def switch_off(self) -> None:
        """Stop reading HTTP in this direction for good."""
        self.mode = OFF
        self.waits = False
        self.partial = None
        self.message = None
        self.exchange = None


GONE: Final = Reader(None, 0)
"""The placeholder for both readers of an ended connection."""
