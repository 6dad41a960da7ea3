"""Read message bodies: count the bytes, record when they arrived, and end each body of known length after its last byte.

chunks.py reads the lines between chunks.
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64

from wiredoctor.core.cutoffs import BURST_GAP
from wiredoctor.core.http1 import faults
from wiredoctor.core.http1.conversation import Conversation
from wiredoctor.core.http1.framing_gaps import note_gap_in_framing
from wiredoctor.core.http1.heads import LF
from wiredoctor.core.http1.message import BODY, CHUNK_END, CHUNKED, CLOSE, COMPLETE, IN_GAP, REQUEST, Message
from wiredoctor.core.http1.message_ends import finish
from wiredoctor.core.http1.reader import Reader
from wiredoctor.core.http1.stream import CUT, GAP, Range
from wiredoctor.core.tcp.segment import NEVER
from wiredoctor.protocols.http1.end_marks import SHORT_BODY, asks_to_stop

EARLY: Final = 3
"""In the body of a request, only the first EARLY pauses are examined. The longest of them is recorded."""


def read_body(conversation: Conversation, reader: Reader, found: Range) -> None:
    """Count the body bytes in a range of the stream, and move the reader to the end of these bytes."""
    message = reader.message
    assert message is not None
    stop = found.end if reader.mode == CLOSE or reader.until > found.end else reader.until
    pieces = message.pieces
    if pieces is not None and pieces.watching:
        watch_pieces(reader, found, stop)
    if reader.content is not None:
        faults.check_content(conversation, reader, message, found, stop)
    if found.at == GAP:
        message.has_gap = True
    else:
        is_short = reader.kind == REQUEST and 0 <= message.due <= SHORT_BODY and found.at >= 0
        if is_short and asks_to_stop(found.block[found.place(reader.pos) : found.place(stop)]):
            message.noted_pauses().stops = True
        message.body_bytes += stop - reader.pos
        if message.body_frame == NEVER or found.frame < message.body_frame:
            message.body_frame, message.body_time = found.frame, found.time
        message.reaches(found.frame, found.time)
        if found.time > message.last_body_time:
            if reader.kind == REQUEST and message.last_body_time != NEVER:
                note_early_pause(message, found.time - message.last_body_time)
            message.last_body_time = found.time
    reader.pos = stop
    if reader.mode == BODY and stop == reader.until:
        end_length(conversation, reader, found, message)


def end_length(conversation: Conversation, reader: Reader, found: Range, message: Message) -> None:
    """End a chunk's data, or a body with Content-Length, and set the mode in which the reader continues."""
    goes_on_in_gap = (found.at == GAP or found.at == CUT) and found.end > reader.until
    if message.framing != CHUNKED:
        finish(conversation, reader, COMPLETE)
    elif not goes_on_in_gap:
        reader.mode = CHUNK_END
        pieces = message.pieces
        if pieces is not None and pieces.lines:
            pieces.lines = found.at >= 0 and found.block[found.place(reader.until) - 1] == LF
        return
    if goes_on_in_gap:
        note_gap_in_framing(conversation, reader, found, True)
        if message.framing == CHUNKED:
            finish(conversation, reader, IN_GAP)
        reader.lose_in_gap(found)


def watch_pieces(reader: Reader, found: Range, stop: i64) -> None:
    """Record the arrival of the body content from the reader's position to the stream offset `stop`.

    If the response is an event stream, also count the events in this content.
    """
    message = reader.message
    pieces = None if message is None else message.pieces
    if pieces is None or message is None:
        return
    if found.at != GAP:
        pieces.comes(found.frame, found.time)
    if found.at < 0:
        pieces.lose()
    elif pieces.reads:
        pieces.content(found.block[found.place(reader.pos) : found.place(stop)])
    if not pieces.reads and message.framing != CHUNKED and not message.head.event_stream:
        message.pieces = None


def touch(reader: Reader, found: Range) -> None:
    """Record that the current packet contains chunk framing of the message."""
    message = reader.message
    if message is not None:
        message.reaches(found.frame, found.time)
        pieces = message.pieces
        if pieces is not None and pieces.watching:
            pieces.comes(found.frame, found.time)


def note_early_pause(message: Message, pause: i64) -> None:
    """Record a pause (ns) in the body of a request if it is one of the first EARLY pauses that last at least BURST_GAP."""
    if pause < BURST_GAP:
        return
    pauses = message.noted_pauses()
    if pauses.early < EARLY:
        pauses.early += 1
        pauses.longest_early = max(pauses.longest_early, pause)
