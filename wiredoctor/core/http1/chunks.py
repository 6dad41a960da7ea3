"""Parse the lines of chunked bodies: sizes, the CRLF after a chunk, and trailers (RFC 9112 section 7.1)."""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64

from wiredoctor import limits
from wiredoctor.core.http1 import bodies, faults
from wiredoctor.core.http1.conversation import Conversation
from wiredoctor.core.http1.framing_gaps import note_gap_in_framing
from wiredoctor.core.http1.heads import CR, LF, SPACE
from wiredoctor.core.http1.message import BODY, CHUNK_END, CHUNK_SIZE, COMPLETE, ERROR, IN_GAP, Message
from wiredoctor.core.http1.message_ends import finish
from wiredoctor.core.http1.partial import Partial
from wiredoctor.core.http1.reader import Reader
from wiredoctor.core.http1.stream import Range
from wiredoctor.protocols.http1.fault_words import find_trailer_fault

FIRST_LOOK: Final = 2048
"""The number of bytes that are searched for the end of a line in one step; most lines are shorter."""
MAX_SIZE_DIGITS: Final = 15
SEMICOLON: Final = 59
DIGITS: Final = b"0123456789abcdefABCDEF"


def read_chunk_line(conversation: Conversation, reader: Reader, found: Range) -> None:
    """Read a chunk size line, a trailer line or the CRLF after a chunk (RFC 9112 section 7.1)."""
    message = reader.message
    assert message is not None
    if found.at < 0:
        reader.pos = found.end
        note_gap_in_framing(conversation, reader, found, True)
        message.has_gap = True
        finish(conversation, reader, IN_GAP)
        reader.lose_in_gap(found)
        return
    begin = reader.pos
    at = found.place(begin)
    stop = min(found.place(found.end), at + FIRST_LOOK)
    partial = reader.partial
    if reader.mode == CHUNK_END and not ends_chunk(conversation, reader, found, at, stop):
        return
    newline = at
    while newline < stop and found.block[newline] != LF:
        newline += 1
    bodies.touch(reader, found)
    if newline == stop:
        if partial is None:
            partial = reader.partial = Partial(found, begin)
        partial.add(found.block[at:stop])
        reader.pos = begin + stop - at
        check_unfinished_line(conversation, reader, found, partial)
        return
    line = found.block[at:newline] if partial is None else partial.join() + found.block[at:newline]
    reader.partial = None
    reader.pos = begin + newline + 1 - at
    read_line(conversation, reader, found, message, line)


def check_unfinished_line(conversation: Conversation, reader: Reader, found: Range, partial: Partial) -> None:
    """End the message if an incomplete line is too long or cannot become a chunk size line."""
    if reader.mode == CHUNK_SIZE and not reader.in_trailer and partial.start.partition(b";")[0].strip(DIGITS + b" \t\r"):
        break_framing(conversation, reader, found, partial.start, partial.offset)
    elif partial.size > limits.CHUNK_LINE.value:
        conversation.http.met.add(limits.CHUNK_LINE)
        finish(conversation, reader, ERROR)
        reader.lose()


def ends_chunk(conversation: Conversation, reader: Reader, found: Range, at: i64, stop: i64) -> bool:
    """Return whether a chunk is followed by CRLF or LF. If it is not, end the message, because parsing cannot continue."""
    partial = reader.partial
    known = b"" if partial is None else partial.start
    end = (known + found.block[at : min(stop, at + 2)])[:2]
    if end == b"\r\n" or end == b"\r":
        return True
    bodies.touch(reader, found)
    begin = reader.pos
    offset = begin if partial is None else partial.offset
    if end[0] == LF:
        faults.check_chunk(conversation, reader, end, found.frame, found.time, offset)
        return True
    # the broken message includes this byte, but a header section may also begin with it
    reader.pos = begin + 1
    break_framing(conversation, reader, found, end, offset)
    reader.pos = begin
    return False


def break_framing(conversation: Conversation, reader: Reader, found: Range, line: bytes, offset: i64) -> None:
    """Report `line`, which violates the framing of a message at stream offset `offset`, and end the message as broken."""
    faults.check_chunk(conversation, reader, line, found.frame, found.time, offset)
    finish(conversation, reader, ERROR)
    reader.lose()


def read_line(conversation: Conversation, reader: Reader, found: Range, message: Message, line: bytes) -> None:
    """Parse a complete line of chunk framing; the line may end with CR."""
    size: i64 = len(line)
    sent = line
    if size > 0 and line[size - 1] == CR:
        line = line[: size - 1]
    if reader.mode == CHUNK_END:
        reader.mode = CHUNK_SIZE
    elif reader.in_trailer:
        if not line:
            finish(conversation, reader, COMPLETE)
        elif reader.pos - reader.until > limits.TRAILER.value:
            conversation.http.met.add(limits.TRAILER)
            finish(conversation, reader, COMPLETE)
            reader.lose()
        elif fault := find_trailer_fault(line):
            faults.check_trailer(conversation, reader, fault, line, found.frame, found.time, reader.pos - size - 1)
    else:
        length = chunk_size(line)
        if length >= 0 and is_odd(sent):
            faults.check_size_line(conversation, reader, sent, found.frame, found.time, reader.pos - size - 1)
        if length < 0:
            break_framing(conversation, reader, found, line, reader.pos - size - 1)
        elif length == 0:
            reader.in_trailer = True
            reader.until = reader.pos
        else:
            pieces = message.pieces
            if pieces is not None:
                content_end = reader.until if message.chunks > 0 else message.head_end
                is_alone = found.start >= content_end and found.end == reader.pos
                cutoffs = conversation.http.cutoffs
                flush_gap = cutoffs.min_flush_gap if message.head.is_page else cutoffs.min_chunk_gap
                pieces.chunk(length, found.time, flush_gap, alone=is_alone)
            message.chunks += 1
            reader.mode = BODY
            reader.until = reader.pos + length


def is_odd(line: bytes) -> bool:
    """Return whether a valid chunk size line has a form that some recipients refuse. `line`: without its LF, but with its CR.

    White space before a semicolon is legal (RFC 9112 section 7.1.1).
    """
    size: i64 = len(line)
    if line[0] <= SPACE or size < 2 or line[size - 1] != CR:
        return True
    last = line[size - 2]
    return last <= SPACE or last == SEMICOLON


def chunk_size(line: bytes) -> i64:
    """Return the hexadecimal number at the beginning of a chunk size line; -1 if there is none, or if it is too large."""
    digits = line.partition(b";")[0].strip(b" \t")
    if not digits or len(digits.lstrip(b"0")) > MAX_SIZE_DIGITS or digits.strip(DIGITS):
        return -1
    return int(digits, 16)
