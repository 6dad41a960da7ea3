"""A message while it is read, and an exchange while something can be added to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mypy_extensions import i64, mypyc_attr

from wiredoctor.core.heads import Head
from wiredoctor.core.segment import NEVER

if TYPE_CHECKING:
    from wiredoctor.core.faults import Answer
    from wiredoctor.core.lumps import Releases
    from wiredoctor.core.transfers import Transfer
    from wiredoctor.protocols.http1.pieces import Pieces

NO_BODY: Final = 0
LENGTH: Final = 1
CHUNKED: Final = 2
UNTIL_CLOSE: Final = 3
TUNNEL: Final = 4
"""Ways to find the end of a message: indices of tables.FRAMINGS."""

BROKEN: Final = 5
"""The framing is contradictory or unreadable: the end of the message is unknown."""

COMPLETE: Final = 0
ERROR: Final = 3
IN_GAP: Final = 4
AT_CAPTURE_END: Final = 5
"""Why a message ended: indices of tables.END_REASONS; 1 and 2 are BY_FIN and BY_RST of closes.py."""

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
"""Modes of a reader, by the bytes that come next: a head; body up to `until`; a chunk size line or a trailer line; the CRLF after
a chunk; body up to the close; anything until something begins like a head; nothing that is read; a TLS handshake."""

NO_END: Final = 1 << 61
"""Offset after a head or a message that has not ended."""


@mypyc_attr(acyclic=True)
class Pause:
    """A pause of a body: the packets around it, their times and their TSvals, and the round trip that was known."""

    def __init__(self, frame: i64, time: i64, end_frame: i64, end: i64, rtt: i64, stamp: i64, end_stamp: i64) -> None:
        self.frame: i64 = frame
        self.time: i64 = time
        self.end_frame: i64 = end_frame
        self.end: i64 = end
        self.rtt: i64 = rtt
        self.stamp: i64 = stamp
        self.end_stamp: i64 = end_stamp


@mypyc_attr(acyclic=True)
class Pauses:
    """The pauses of one body: bursts, pauses that are the application's with their sum, frames and times around the first
    three of these; `open`: those that are, unless the path stood still, as the sender's clock says once it is known."""

    def __init__(self) -> None:
        self.bursts: i64 = 1
        self.application: i64 = 0
        self.total: i64 = 0
        self.frames: list[int] = []
        self.times: list[int] = []
        self.open: list[Pause] = []
        self.early: i64 = 0
        """Pauses behind the first piece of a request's body, as many as are looked at."""
        self.longest_early: i64 = 0


@mypyc_attr(acyclic=True, free_list_len=1)
class Message:
    """A message as far as it was seen.

    `begin`, `head_end` and `end` are offsets of the content that its reader reads; `offset` and `end_offset` are those on the
    wire, which ACKs compare with. Over plain TCP both are equal.
    """

    def __init__(self, number: i64, head: Head, target: bytes, length: i64) -> None:
        self.id: i64 = number
        self.head: Head = head
        self.target: bytes = target
        self.length: i64 = length
        """Content-Length, as in heads.NO_LENGTH."""
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
        """Index of its exchange."""
        self.pieces: Pieces | None = None
        self.releases: Releases | None = None
        """What its sender waited for, in an event stream."""
        self.pauses: Pauses | None = None
        self.transfer: Transfer | None = None
        """What limits its body, once that is not short."""

    def reaches(self, frame: i64, time: i64) -> None:
        """Note that a packet brought a part of it; the last missing byte may have come earlier than the first."""
        if frame > self.last_frame:
            self.last_frame = frame
            self.end_time = time


@mypyc_attr(acyclic=True)
class Interim:
    """The 1xx responses of an exchange: the status and the start of each, and the newest one."""

    def __init__(self, newest: Message) -> None:
        self.statuses: list[int] = []
        self.times: list[int] = []
        self.newest: Message = newest


@mypyc_attr(acyclic=True, free_list_len=1)
class Exchange:
    """A request and its responses."""

    def __init__(self, index: i64) -> None:
        self.index: i64 = index
        self.request: Message | None = None
        """None if the capture does not have it."""
        self.request_done: bool = False
        self.response: Message | None = None
        self.response_done: bool = False
        self.interim: Interim | None = None
        self.answer: Answer | None = None
        """Bytes that seem to answer it without a head."""
        self.upgraded: bool = False
        self.began_frame: i64 = NEVER
        """The packet with the first byte of its first message."""
        self.began: i64 = NEVER
        """Its time."""
        self.rtt_client: i64 = NEVER
        """Round trip to the client that was known before that packet."""
        self.rtt_server: i64 = NEVER
        """The same to the server."""
        self.final_frame: i64 = NEVER
        """The packet that showed that nothing can be added, if it is none of its own."""
        self.known: i64 = 0
        """What was known of the connection at its end, as find_known returns it; set with its row of `exchanges`."""
        self.known_rtt_client: i64 = NEVER
        """Round trip to the client that was known then."""
        self.known_rtt_server: i64 = NEVER
        """The same to the server."""
        self.final_at: i64 = NEVER
        """When that was."""
        self.previous_end: i64 = NEVER
        """When the exchanges before it had ended."""
        self.previous_end_offset: i64 = NEVER
        """Where the last response before it ended in the server's stream."""
        self.previous_close: bool = False
        """Whether that response announced the close."""
        self.client_says_goodbye: bool = False
        """The newest segment of an upgraded connection from the client is a WebSocket close frame."""
        self.server_says_goodbye: bool = False
        """The same of the server."""
        self.next: Exchange | None = None
        """The next exchange of the connection."""
        self.next_waiting: Exchange | None = None
        """The next one that waits for its response."""

    def is_final(self) -> bool:
        """Return whether nothing can be added: the request and the final response have ended."""
        return self.request_done and self.response_done

    def has_seen(self, ack: i64) -> bool:
        """Return whether the server had seen the request when it acknowledged `ack`; an unknown ACK counts as yes."""
        request = self.request
        return ack == NEVER or request is None or request.offset < ack

    def last_frame(self) -> i64:
        """Return the newest packet of its messages."""
        last = self.final_frame
        request, response = self.request, self.response
        if request is not None and request.last_frame > last:
            last = request.last_frame
        if response is not None and response.last_frame > last:
            last = response.last_frame
        return last

    def last_time(self) -> i64:
        """Return the time at which its messages ended."""
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
        """Drop the response, of which nothing was read."""
        self.response = None
        self.interim = None
        self.upgraded = True
