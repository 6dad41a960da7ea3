"""The state of a message while it is read, and of an exchange until it is final; faults of messages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mypy_extensions import i64, mypyc_attr

from wiredoctor.core.http1.heads import Head
from wiredoctor.core.tcp.segment import NEVER

if TYPE_CHECKING:
    from wiredoctor.core.http1.moments import Moments
    from wiredoctor.core.tcp.transfer import Transfer
    from wiredoctor.protocols.http1.pieces import Pieces

MESSAGE_BITS: Final = 26

NO_BODY: Final = 0
LENGTH: Final = 1
CHUNKED: Final = 2
UNTIL_CLOSE: Final = 3
TUNNEL: Final = 4
"""The framing if bytes of another protocol follow the head: after a 2xx to CONNECT, or with a media type in framing.RAW_STREAMS.

NO_BODY to BROKEN are the kinds of framing, as indices of tables.FRAMINGS.
"""

BROKEN: Final = 5
"""The framing is contradictory or unreadable, so the end of the message is unknown."""

COMPLETE: Final = 0
ERROR: Final = 3
IN_GAP: Final = 4
AT_CAPTURE_END: Final = 5
"""The message was still open when the capture ended."""

IN_TRAILER: Final = 6
"""The connection closed after the last chunk of a response, before the empty line that ends the trailer section.

The response is complete (RFC 9112 section 8), but most clients wait for that line.

COMPLETE and ERROR to IN_TRAILER are reasons why a message ended, as indices of tables.END_REASONS. So are BY_FIN (1) and BY_RST
(2) of closes.py.
"""

REQUEST: Final = 0
RESPONSE: Final = 1

HEAD: Final = 0
BODY: Final = 1
CHUNK_SIZE: Final = 2
CHUNK_END: Final = 3
CLOSE: Final = 4
SEEK: Final = 5
OFF: Final = 6
TLS: Final = 7
"""The mode of a reader that expects a TLS handshake.

HEAD to TLS are the modes of a reader. In this order, the reader expects: a head; body bytes up to the offset `until`; a chunk
size or trailer line; the CRLF after a chunk; body bytes up to the close; any bytes until a head begins; bytes that the reader
ignores; a TLS handshake.
"""

NO_END: Final = 1 << 61
"""The end offset of a head or message that has not ended."""


@mypyc_attr(acyclic=True)
class Pause:
    """A pause in a body: frames, times and TSvals of the packets before and after it, and the connection's round trip in ns."""

    def __init__(self, frame: i64, time: i64, end_frame: i64, end: i64, rtt: i64, stamp: i64, end_stamp: i64) -> None:
        self.frame: i64 = frame
        self.time: i64 = time
        self.end_frame: i64 = end_frame
        self.end: i64 = end
        self.rtt: i64 = rtt
        self.stamp: i64 = stamp
        self.end_stamp: i64 = end_stamp
        self.after_head: bool = False
        """True if this is the pause between head and body, not one between bursts of the body."""


@mypyc_attr(acyclic=True)
class Pauses:
    """The pauses between the bursts of one body. A burst is a series of packets without a long pause (bursts.py).

    `bursts`: the number of bursts. `application`: the number of pauses that the application caused. `total`: the sum of these
    pauses in ns. `frames` and `times`: the frame numbers and times (ns) of the packets before and after each of the first three
    pauses. `by_clock`: by how many ns the sender's clock advanced in each of these pauses; NEVER if unknown. If there is a long
    pause between head and body, these lists begin with it, although `application` does not count it. `open`: pauses that
    might be mere delays in transit; that is decided once the sender's clock is known.
    """

    def __init__(self) -> None:
        self.bursts: i64 = 1
        self.application: i64 = 0
        self.total: i64 = 0
        self.frames: list[int] = []
        self.times: list[int] = []
        self.by_clock: list[int] = []
        self.open: list[Pause] = []
        self.early: i64 = 0
        """The number of pauses so far in the body of a request; only the first bodies.EARLY pauses are counted."""
        self.longest_early: i64 = 0
        self.stops: bool = False
        """The body of the request asks the server to stop something (protocols/http1/end_marks.py)."""


@mypyc_attr(acyclic=True, free_list_len=1)
class Message:
    """The captured part of a message.

    `begin`, `head_end` and `end` are offsets in the bytes that are passed to the reader. `offset` and `end_offset` are offsets in
    the TCP stream, like ACK numbers. Over plain TCP, both kinds of offsets count the same bytes.
    """

    def __init__(self, number: i64, head: Head, target: bytes, length: i64) -> None:
        self.id: i64 = number
        self.head: Head = head
        self.target: bytes = target
        self.request_id: bytes = b""
        """The request ID from a header field (request_ids.py), as sent; empty if there is none."""
        self.length: i64 = length
        """The value of Content-Length, or a constant such as heads.NO_LENGTH."""
        self.begin: i64 = 0
        self.head_end: i64 = NO_END
        self.end: i64 = NO_END
        self.offset: i64 = 0
        self.end_offset: i64 = NEVER
        self.frame: i64 = NEVER
        self.start: i64 = NEVER
        self.last_frame: i64 = NEVER
        self.end_time: i64 = NEVER
        self.head_bytes: i64 = 0
        self.head_last_frame: i64 = NEVER
        self.head_time: i64 = NEVER
        self.body_bytes: i64 = 0
        self.body_frame: i64 = NEVER
        self.body_time: i64 = NEVER
        self.last_body_time: i64 = NEVER
        self.due: i64 = NEVER
        self.framing: i64 = NO_BODY
        self.reason: i64 = COMPLETE
        self.has_gap: bool = False
        self.chunks: i64 = -1
        self.ack: i64 = NEVER
        self.exchange: i64 = -1
        """The index of the message's exchange, counted from 0 on each connection; -1 until it is known."""
        self.pieces: Pieces | None = None
        self.moments: Moments | None = None
        """When the first parts of an event stream were sent."""
        self.pauses: Pauses | None = None
        self.transfer: Transfer | None = None
        """The state that shows what limits the rate of the body; None unless the body is long."""

    def noted_pauses(self) -> Pauses:
        """Return the `Pauses` of the message; create them at the first call."""
        pauses = self.pauses
        if pauses is None:
            pauses = self.pauses = Pauses()
        return pauses

    def asks_to_stop(self) -> bool:
        """Return whether the body of a request asks the server to stop something."""
        return self.pauses is not None and self.pauses.stops

    def wire_head_end(self) -> i64:
        """Return the offset in the TCP stream of the end of the head; NO_END while it is unknown."""
        return i64(NO_END) if self.head_end == NO_END else self.offset + self.head_end - self.begin

    def wire_end(self) -> i64:
        """Return the offset in the TCP stream of the end of the message; NO_END while it is unknown."""
        return i64(NO_END) if self.end_offset == NEVER else self.end_offset

    def reaches(self, frame: i64, time: i64) -> None:
        """Record that a packet contains a part of the message.

        The packet that was captured last counts as the end of the message, even if packets are out of order and an earlier one
        contains the last byte.
        """
        if frame > self.last_frame:
            self.last_frame = frame
            self.end_time = time


@mypyc_attr(acyclic=True)
class Interim:
    """The 1xx responses of an exchange: the status and time of the first limits.INTERIM of them, and the newest as a message."""

    def __init__(self, newest: Message) -> None:
        self.statuses: list[int] = []
        self.times: list[int] = []
        self.newest: Message = newest


@mypyc_attr(acyclic=True, free_list_len=1)
class Exchange:
    """A request and its responses. The request or the responses may be missing from the capture."""

    def __init__(self, index: i64) -> None:
        self.index: i64 = index
        self.request: Message | None = None
        """The request; None if it was not captured."""
        self.request_done: bool = False
        self.response: Message | None = None
        self.response_done: bool = False
        self.interim: Interim | None = None
        self.answer: Answer | None = None
        """Bytes without a head that seem to respond to the request."""
        self.upgraded: bool = False
        self.follows_gap: bool = False
        """True if requests before this one may be missing from the capture."""
        self.is_next: bool = True
        """True if the client had received data between its previous request and this one, or if this is its first request."""
        self.is_assumed: bool = False
        """True if the response, or its absence, is only assumed because messages may be missing."""
        self.began_frame: i64 = NEVER
        """The frame number of the packet with the first byte of the first message."""
        self.began: i64 = NEVER
        """The time of the packet `began_frame`."""
        self.rtt_client: i64 = NEVER
        """The round trip to the client that was known before the packet `began_frame`, in ns."""
        self.rtt_server: i64 = NEVER
        """The round trip to the server that was known before the packet `began_frame`, in ns."""
        self.final_frame: i64 = NEVER
        """The frame number of a packet that belongs to another exchange, but showed that this exchange is final.

        NEVER if there is no such packet.
        """
        self.known: i64 = 0
        """The facts that were known about the connection when the exchange ended, as bits (see exchange_rows.find_known).

        The field is set when the row of `exchanges` is written.
        """
        self.known_rtt_client: i64 = NEVER
        """The round trip to the client that was known when the exchange ended, in ns."""
        self.known_rtt_server: i64 = NEVER
        """The round trip to the server that was known when the exchange ended, in ns."""
        self.final_at: i64 = NEVER
        """The time at which both messages had ended."""
        self.row: i64 = -1
        """The index of the row of `exchanges` in its batch."""
        self.batch: i64 = -1
        """The number of the batch that contains the row of `exchanges` (HeadCodes.batch); -1 if the row is not written yet."""
        self.previous_end: i64 = NEVER
        """The time at which all previous exchanges had ended."""
        self.previous_end_offset: i64 = NEVER
        """The offset in the server's stream at which the previous response ended."""
        self.previous_close: bool = False
        """True if the previous response announced that the connection closes after it."""
        self.client_says_goodbye: bool = False
        """True if the client's newest segment on an upgraded connection ends with a WebSocket Close frame."""
        self.server_says_goodbye: bool = False
        """True if the server's newest segment on an upgraded connection ends with a WebSocket Close frame."""
        self.next: Exchange | None = None
        """The next exchange of the connection."""
        self.next_waiting: Exchange | None = None
        """The next exchange that waits for its response."""

    def is_final(self) -> bool:
        """Return whether the exchange is final: the request and the final response have ended."""
        return self.request_done and self.response_done

    def has_seen(self, ack: i64) -> bool:
        """Return whether the server had received the beginning of the request when it acknowledged `ack`.

        Return True if `ack` is NEVER (unknown), or if the request was not captured.
        """
        request = self.request
        return ack == NEVER or request is None or request.offset < ack

    def is_asked_by(self, offset: i64) -> bool:
        """Return whether a response that begins at `offset` of the server's stream can be the response to the request.

        This is impossible if the client had acknowledged the byte at `offset` before it sent the request.
        """
        request = self.request
        return request is None or request.ack <= offset

    def last_frame(self) -> i64:
        """Return the highest frame number of the request, the response, and the packet that showed that the exchange is final."""
        last = self.final_frame
        request, response = self.request, self.response
        if request is not None and request.last_frame > last:
            last = request.last_frame
        if response is not None and response.last_frame > last:
            last = response.last_frame
        return last

    def last_time(self) -> i64:
        """Return the time at which both messages had ended, or NEVER if neither was captured."""
        last: i64 = NEVER
        request, response = self.request, self.response
        if request is not None:
            last = request.end_time
        if response is not None and response.end_time > last:
            last = response.end_time
        return last

    def settle_for_interim(self) -> None:
        """Use the last 1xx as the response if no final response followed."""
        interim = self.interim
        if self.response is None and interim is not None and len(interim.statuses) > 0:
            self.response = interim.newest
            interim.statuses.pop()
            interim.times.pop()

    def leave_unanswered(self) -> None:
        """Drop the incomplete response of an exchange, because the connection is no longer read."""
        self.response = None
        self.interim = None
        self.upgraded = True


class Fault:
    """A fault in the framing or the grammar of a message. `frame`, `time`, `offset` and `excerpt` describe the faulty bytes."""

    def __init__(
        self, name: str, role: i64, exchange: Exchange, message: Message, frame: i64, time: i64, offset: i64, excerpt: str
    ) -> None:
        self.name: str = name
        self.role: i64 = role
        self.exchange: Exchange = exchange
        self.message: Message = message
        self.frame: i64 = frame
        self.time: i64 = time
        self.offset: i64 = offset
        self.excerpt: str = excerpt
        self.due: i64 = message.due
        self.has_gap: bool = message.has_gap


class EmptyLine:
    """An empty line after the body of a response. What the client does next shows whether it accepted the line.

    `answered`: the end time of the next response on the connection; NEVER until it is complete.
    """

    def __init__(self, fault: Fault) -> None:
        self.fault: Fault = fault
        self.answered: i64 = NEVER


class Answer:
    """Bytes that are not HTTP, sent by a server while a request is outstanding.

    If a header section follows these bytes, they were excess bytes of the previous response, and the fault `excess` is reported.
    Otherwise, they are the response to the outstanding request, and the fault `fault` is reported.

    `is_other`: clients of another protocol than HTTP read them (`is_other_status_line`).
    """

    def __init__(self, fault: Fault, excess: Fault | None, is_other: bool) -> None:
        self.fault: Fault = fault
        self.excess: Fault | None = excess
        self.is_other: bool = is_other


def message_id(connection: i64, index: i64, direction: i64) -> i64:
    """Return the id of a message; see tables.MESSAGE_BITS.

    `index`: the number of earlier messages in the same direction of the connection.
    """
    return connection << MESSAGE_BITS | (index & ((1 << (MESSAGE_BITS - 1)) - 1)) << 1 | direction
