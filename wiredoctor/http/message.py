"""A message while it is read, and an exchange while it is open."""

from __future__ import annotations

from typing import TypeVar

from wiredoctor.http.fields import Fields
from wiredoctor.http.framing import NO_BODY
from wiredoctor.http.head import RequestLine, StatusLine
from wiredoctor.http.items import Moment
from wiredoctor.http.pieces import Pieces
from wiredoctor.tables import MESSAGE_BITS, NEVER, Array

COMPLETE, BY_FIN, BY_RST, ERROR, IN_HOLE, AT_CAPTURE_END = range(6)
"""Indices of tables.END_REASONS."""

_INDEX = (1 << (MESSAGE_BITS - 1)) - 1

Id = TypeVar("Id", int, Array)


def message_id(connection: Id, index: Id, direction: Id) -> Id:
    """The id of the message with this index (counted from 0) in its direction (0 or 1): see tables.MESSAGE_BITS."""
    return connection << MESSAGE_BITS | (index & _INDEX) << 1 | direction


Record = tuple[int, ...]
"""The numbers of a finished message, in the order of RECORD."""


class Message:
    """What is known of a message so far; offsets are of its stream, times in ns since the first packet."""

    __slots__ = (
        *("id", "offset", "frame", "start", "last_frame", "end", "head_end", "head_bytes", "body_bytes", "due"),
        *("framing", "reason", "last_body_time", "has_hole", "chunks", "end_offset", "ack", "line", "fields", "exchange"),
        *("head_last_frame", "head_time", "body_frame", "body_time", "pieces"),
    )

    def __init__(self, number: int, offset: int, frame: int, start: int, line: RequestLine | StatusLine, fields: Fields) -> None:
        self.id, self.offset, self.frame, self.start = number, offset, frame, start
        self.line: RequestLine | StatusLine = line
        self.fields = fields
        self.last_frame, self.end = frame, start
        self.head_end = self.head_bytes = self.body_bytes = 0
        self.due = self.last_body_time = self.end_offset = self.ack = NEVER
        self.head_last_frame = self.head_time = self.body_frame = self.body_time = NEVER
        self.framing, self.reason = NO_BODY, COMPLETE
        self.has_hole, self.chunks = False, -1
        self.exchange: Exchange | None = None
        self.pieces: Pieces | None = None

    def reaches(self, frame: int, time: int) -> None:
        """A packet brings a part of it. The last missing byte may have come earlier than the first: packets out of order."""
        if frame > self.last_frame:
            self.last_frame, self.end = frame, time

    def record(self) -> Record:
        """The numbers of a finished message, in the order of RECORD."""
        return (
            self.id, self.frame, self.last_frame, self.start, self.end, self.head_bytes, self.body_bytes, self.due,
            self.framing, self.reason, self.last_body_time, self.has_hole, self.chunks, self.offset, self.end_offset, self.ack,
        )  # fmt: skip


RECORD = ("message", "frame", "last_frame", "start", "end", "head_bytes", "body_bytes", "body_due",
          "framing", "end_reason", "last_body_time", "has_hole", "chunks", "offset", "end_offset", "ack")  # fmt: skip

ABSENT: Record = (NEVER, NEVER, NEVER, NEVER, NEVER, NEVER, NEVER, NEVER, 0, 0, NEVER, 0, -1, NEVER, NEVER, NEVER)
"""The record of a message that was not captured."""


Parts = tuple[int, int, int, int]
"""Of a request with a body: packet and time that completed its head, packet and time of its first body byte."""


class Exchange:
    """A request and its responses while something can still be added. Records are there once a message has ended.

    `line_at`: when the first line of a head in pieces was there, else None.
    `waited`: when the head of a request could be read that had to wait for bytes before it.
    `over`: the frame that said that nothing can be added, where that is none of its own or of the exchange behind it.
    `final`: request and response ended by what was captured of them, not by a close, the end of the capture or a limit.
    `written`: of an exchange whose row of `exchanges` is written, what that says of its connection (tables.AS_OF).
    """

    __slots__ = (
        *("index", "interim", "interim_end", "interim_times", "over", "parts", "request", "request_done", "request_fields"),
        *("request_line", "request_offset", "response", "response_done", "response_fields", "response_line"),
        *("began", "final", "line_at", "upgraded", "waited", "written"),
    )

    def __init__(self, index: int, line: RequestLine | None, fields: Fields | None, offset: int) -> None:
        self.index = index
        self.request_line, self.request_fields, self.request_offset = line, fields, offset
        self.request_done = line is None
        self.response_line: StatusLine | None = None
        self.response_fields: Fields | None = None
        self.response_done = self.upgraded = self.final = False
        self.written: tuple[int, ...] | None = None
        self.request: Record = ABSENT
        self.response: Record = ABSENT
        self.interim: list[int] | None = None
        self.interim_times: list[int] = []
        self.parts: Parts | None = None
        self.interim_end: Message | None = None
        self.over = NEVER
        self.began: Record = ABSENT
        self.line_at: Moment | None = None
        self.waited: Moment = (NEVER, NEVER)

    def begins(self, response: Message) -> None:
        """The head of one of its responses is there."""
        if self.response_line is response.line:
            self.response = response.record()
        if self.request_line is None and self.began is ABSENT:
            self.began = response.record()

    def first(self) -> Record:
        """The record of the request; where nobody had asked, of the first response, as of when it began."""
        return self.began if self.request_line is None else self.request

    def asked(self) -> int:
        """The frame in which the head of the request was complete."""
        return self.request[2] if self.parts is None else self.parts[0]

    def known(self) -> Moment:
        """When the head of the request was known: with its last packet, or later where what is before it was missing."""
        return max((self.asked(), NEVER), self.waited)

    def told(self) -> Moment:
        """When the first line of the request was known."""
        return self.known() if self.line_at is None else self.line_at

    def over_by(self, deadline: int) -> bool:
        """Whether the request had ended by then, so that only a response can be missing."""
        return self.request_done and self.first()[3] <= deadline and self.request[4] <= deadline

    def settled(self, answered: int) -> int:
        """The frame from which on a request that has ended is outstanding no more; NEVER where it was not captured."""
        return NEVER if self.request_line is None else max(self.request[2], answered)

    def answered_by(self, frame: int) -> bool:
        """Whether the final response had ended in this frame or before."""
        return self.response_done and self.response[2] <= frame

    def leave_unanswered(self) -> None:
        """What may have answered it is not read."""
        self.response, self.response_line, self.response_fields = ABSENT, None, None
        self.interim, self.interim_times, self.upgraded, self.final = None, [], True, False

    def settle_for_interim(self) -> None:
        """An interim response that no final one followed is what there is of the response."""
        last = self.interim_end
        if self.response is ABSENT and self.interim and last is not None and isinstance(last.line, StatusLine):
            self.response, self.response_line, self.response_fields = last.record(), last.line, last.fields
            self.interim.pop()
            self.interim_times.pop()
