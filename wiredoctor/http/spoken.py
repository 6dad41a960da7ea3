"""What the conversations of an epoch have said, on its way to the tables."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from wiredoctor.http.message import Exchange, Message, Record
from wiredoctor.http.pieces import Pieces, pieces_of
from wiredoctor.tables import NEVER

if TYPE_CHECKING:
    from wiredoctor.http.conversation import Conversation
    from wiredoctor.http.faults import Fault


def _numbers() -> array[int]:
    return array("q")


NUMBERS = 7
"""Of an interval."""

EARLY = 1 << 14
"""Exchanges that are said before the epoch is over: rows are made in Python, at 2 kB each."""


@dataclass
class Spoken:
    """What an epoch adds, as flat arrays of 64-bit numbers.

    intervals: where messages lie, seven numbers each: side (2 * slot + direction), first offset, offset behind the head,
    offset behind the message, message id, exchange, and the frame that ended a request or a final response (else NEVER).
    said: the exchanges that are over, whether only the capture's end says so, the record of the request behind it (of the
    response, where nobody had asked for that), what there was before it, and
    the deadline behind a close at which it was decided (else NEVER).
    ended: of messages whose intervals nobody needs, three numbers: side, the frame that ended them, and how many.
    late: of bytes that had to wait for those of the other side, three numbers: side, the offset from which on, and the frame
    that they had to wait for.
    tell: takes exchanges that are over, before the epoch is; those of one packet, for no burst can be added to them.
    event_streams: ids of responses that are meant to arrive piece by piece.
    faults: of framing and grammar.
    pieces: by id the responses whose pieces are watched, until their exchange is said; streams: those of them whose events
    are counted.
    """

    intervals: array[int] = field(default_factory=_numbers)
    said: list[Said] = field(default_factory=list["Said"])
    messages: list[tuple[Conversation, Message]] | None = None
    ended: array[int] = field(default_factory=_numbers)
    late: array[int] = field(default_factory=_numbers)
    tell: Callable[[list[Said]], None] | None = None
    event_streams: array[int] = field(default_factory=_numbers)
    faults: list[Fault] = field(default_factory=list["Fault"])
    pieces: dict[int, Pieces] = field(default_factory=dict[int, Pieces])
    streams: dict[int, Pieces] = field(default_factory=dict[int, Pieces])

    def tell_early(self) -> None:
        """Hands on what fills the memory."""
        if self.tell is None or len(self.said) < EARLY:
            return
        alone = [said for said in self.said if _in_one_packet(said)]
        if len(alone) >= EARLY // 2:
            self.said = [said for said in self.said if not _in_one_packet(said)]
            self.tell(alone)

    def watched(self, message: Message) -> Pieces | None:
        """What is to be told of the pieces of a response whose body begins; None where they mean nothing."""
        pieces = pieces_of(message.fields, message.framing)
        if pieces is not None:
            self.pieces[message.id] = pieces
            if pieces.counter is not None:
                self.streams[message.id] = pieces
        return pieces


Previous = tuple[int, int, int]
"""Before an exchange: when the one before it was over, and of the last response whether it announced the close (0 or 1), and
its end in the server's stream."""

NOTHING_BEFORE: Previous = (NEVER, 0, NEVER)


def _in_one_packet(said: Said) -> bool:
    """Whether an exchange has no response, or one that came in a packet of its own."""
    response = said[1].response
    return response[1] == response[2]


Said = tuple["Conversation", Exchange, bool, Record, Previous, int]
