"""A message while it is read, and an exchange while it is open."""

from __future__ import annotations

from dataclasses import dataclass, field

from wiredoctor.http.framing import NO_BODY
from wiredoctor.http.head import Fields, RequestLine, StatusLine
from wiredoctor.tables import NEVER

COMPLETE, BY_FIN, BY_RST, ERROR, IN_HOLE, AT_CAPTURE_END = range(6)
"""Indices of tables.END_REASONS."""

INDEX_BITS = 26
"""Message id = connection << 26 | index in its direction << 1 | direction: unique, ascending in a direction, and the
same wherever an epoch ends. A direction with more than 33 million messages starts again at 0."""


class Message:
    """What is known of a message so far; offsets are of its stream, times in ns since the first packet."""

    __slots__ = (
        *("id", "offset", "frame", "start", "last_frame", "end", "head_end", "head_bytes", "body_bytes", "due"),
        *("framing", "reason", "last_body_time", "has_hole", "chunks", "line", "fields", "exchange"),
    )

    def __init__(
        self, number: int, offset: int, frame: int, start: int, line: RequestLine | StatusLine, fields: Fields
    ) -> None:
        self.id, self.offset, self.frame, self.start = number, offset, frame, start
        self.line: RequestLine | StatusLine = line
        self.fields = fields
        self.last_frame, self.end = frame, start
        self.head_end = self.head_bytes = self.body_bytes = 0
        self.due = self.last_body_time = NEVER
        self.framing, self.reason = NO_BODY, COMPLETE
        self.has_hole, self.chunks = False, -1
        self.exchange: Exchange | None = None

    def record(self) -> tuple[int, ...]:
        """The numbers of a finished message, in the order of RECORD."""
        return (
            self.id, self.frame, self.last_frame, self.start, self.end, self.head_bytes, self.body_bytes, self.due,
            self.framing, self.reason, self.last_body_time, self.has_hole, self.chunks, self.fields.number,
        )  # fmt: skip


RECORD = ("message", "frame", "last_frame", "start", "end", "head_bytes", "body_bytes", "body_due",
          "framing", "end_reason", "last_body_time", "has_hole", "chunks", "fields")  # fmt: skip

ABSENT = (NEVER, NEVER, NEVER, NEVER, NEVER, NEVER, NEVER, NEVER, 0, 0, NEVER, 0, -1, 0)
"""The record of a message that was not captured."""


@dataclass(slots=True)
class Exchange:
    """A request and its responses while something can still be added."""

    index: int
    request: Message | None = None
    response: Message | None = None
    request_done: bool = False
    response_done: bool = False
    upgraded: bool = False
    interim: list[int] = field(default_factory=list[int])
    interim_message: Message | None = None

    @property
    def method(self) -> str | None:
        """Method of the request; None where it was not captured."""
        return None if self.request is None else self.request.line[0]  # type: ignore[return-value]
