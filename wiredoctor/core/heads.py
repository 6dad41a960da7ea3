"""Heads: the start line, and the fields that somebody asks for (RFC 9112 sections 2 to 5).

Heads repeat: their lines of interest lead, one after the other, to the Head of all heads that say the same, and the line that
followed last is expected to follow again. Of any other line the length of the name and two of its letters tell whether it may be
of interest; only then it becomes an object. A head that is not plain is read by wiredoctor.protocols.http1.head.
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64

from wiredoctor import limits
from wiredoctor.core.octets import read_i16_be, read_i32_le, read_i64_le
from wiredoctor.protocols.http1 import head as grammar
from wiredoctor.protocols.http1.fields import READERS, Fields
from wiredoctor.protocols.http1.framing import announces_close
from wiredoctor.protocols.http1.head import KNOWN_METHODS, HeadParser, RequestLine, StatusLine

NO_LENGTH: Final = -1
"""A head without Content-Length."""
BAD_LENGTH: Final = -2
"""A Content-Length that is no single number."""

NOT_CODED: Final = 0
CHUNKED_LAST: Final = 1
OTHER_LAST: Final = 2
"""Transfer-Encoding: none, chunked as the final coding, or another one."""

LF: Final = 10
CR: Final = 13
CRLF: Final = 0x0D0A
SPACE: Final = 32
AFTER_SPACE: Final = 33
COLON: Final = 58
TAB: Final = 9
DELETE: Final = 127
DIGIT_0: Final = 48
DIGIT_9: Final = 57
MOST_DIGITS: Final = 18
"""Digits of a length that surely fits 64 bits."""
ONES: Final = 0x0101010101010101
"""A 1 in each of eight bytes."""
VERSIONS: Final = (b" HTTP/1.1\r\n", b" HTTP/1.0\r\n")
REST_OF_LINE: Final = 11
"""The end of a plain request line, and its size."""
SLOTS: Final = 32
MOST_LINES: Final = 256
LONGEST: Final = 4096
"""Fields of a plain head and bytes of a line: what has more is not remembered."""

assert (MOST_LINES, LONGEST) == (grammar.MOST_LINES, grammar.LONGEST)


class Head:
    """The start line and the fields of interest of a head, except for the target and the length, which differ most."""

    def __init__(self, line: RequestLine | StatusLine, fields: Fields) -> None:
        self.fields: Fields = fields
        self.version: str = line.version
        self.method: str = ""
        self.has_known_method: bool = False
        self.status: i64 = -1
        self.reason: str = ""
        self.announces_close: bool = False
        if isinstance(line, RequestLine):
            self.method = line.method
            self.has_known_method = line.method.encode() in KNOWN_METHODS
        else:
            self.status = line.status
            self.reason = line.reason
            self.announces_close = announces_close(line.version, fields)
        self.is_http10: bool = line.version < "HTTP/1.1"
        self.coding: i64 = NOT_CODED
        if fields.transfer_codings:
            self.coding = CHUNKED_LAST if fields.transfer_codings[-1] == "chunked" else OTHER_LAST
        self.switches: bool = line[0] == "CONNECT" or (fields.connection_upgrade and bool(fields.upgrade))
        """A request for another protocol: what follows it may not be HTTP."""
        self.event_stream: bool = fields.event_stream
        self.is_stream: bool = fields.event_stream or fields.endless
        """The body is meant to arrive piece by piece."""
        self.is_suspect: bool = fields.suspect
        self.is_cut: bool = fields.cut
        """A text is longer than what is kept of it."""
        self.code: i64 = -1
        """Its place among the heads of the rows that are being written; see exchange_rows.HeadCodes."""
        self.batch: i64 = -1

    def is_interim(self) -> bool:
        """Return whether it is a 1xx response that another response follows; 101 is final."""
        return 100 <= self.status < 200 and self.status != 101


class Lines:
    """Lines of interest that were seen one after the other, from a start line on. `text` is the last of them with its CRLF;
    Content-Length ends with the colon, and the start line of a request begins after its target."""

    def __init__(self, text: bytes, is_length: bool) -> None:
        self.text: bytes = text
        self.is_length: bool = is_length
        self.following: dict[bytes, Lines] = {}
        self.newest: Lines | None = None
        """What followed when it was seen last."""
        self.head: Head | None = None


class HeadReader:
    """Reads heads. What the newest one says besides its Head is in `size` (bytes with the empty line), `length` and `target`."""

    def __init__(self) -> None:
        self.parser: HeadParser = HeadParser()
        self.size: i64 = 0
        self.length: i64 = NO_LENGTH
        self.target: bytes = b""
        self.remembered: i64 = 0
        self.most: i64 = limits.REMEMBERED_HEADS.value
        self.requests: Lines = Lines(b"", False)
        self.responses: Lines = Lines(b"", False)
        """The start lines of both follow."""
        self.method: bytes = b""
        """That of the newest start line of a request, with the space after it."""
        self.interesting: bytes = interesting_names()

    def read_request(self, block: bytes, at: i64, stop: i64) -> Head | None:
        """Read the head of a request that begins at block[at]; None if it is not plain, or does not end before `stop`."""
        method_end = find_byte(block, at, stop, AFTER_SPACE, DELETE)
        space = find_byte(block, method_end + 1, stop, AFTER_SPACE, DELETE)
        if space <= method_end + 1 or space - at > LONGEST:
            return None
        lines = self.requests.newest
        if lines is None or not begins(block, at, stop, self.method) or not begins(block, space, stop, lines.text):
            method = block[at : method_end + 1]
            text = block[space : min(stop, space + REST_OF_LINE)]
            if text not in VERSIONS or method[:-1] not in KNOWN_METHODS or block[method_end] != SPACE:
                return None
            self.method = method
            lines = self.follow(self.requests, method + text, text, False)
        self.target = block[method_end + 1 : space]
        return self.read_fields(lines, block, at, space + len(lines.text), stop)

    def read_response(self, block: bytes, at: i64, stop: i64) -> Head | None:
        """Read the head of a response likewise."""
        lines = self.responses.newest
        if lines is None or not begins(block, at, stop, lines.text):
            end = skip_text(block, at, stop)
            if not is_line_end(block, end, stop) or end - at > LONGEST or self.parser.status(block[at:end]) is None:
                return None
            line = block[at : end + 2]
            lines = self.follow(self.responses, line, line, False)
        return self.read_fields(lines, block, at, at + len(lines.text), stop)

    def read_fields(self, lines: Lines, block: bytes, begin: i64, at: i64, stop: i64) -> Head | None:
        """Read the field lines from block[at] on, up to the empty line, of a head that begins at block[begin]; None if one is
        not plain, or the empty line is not there."""
        self.length = NO_LENGTH
        interesting = self.interesting
        count: i64 = 0
        while count <= MOST_LINES:
            count += 1
            newest = lines.newest
            if newest is not None and begins(block, at, stop, newest.text):
                at += len(newest.text)
                if newest.is_length:
                    at = self.read_length(block, at, stop)
                    if at == NO_LENGTH:
                        return None
                lines = newest
                continue
            colon = find_byte(block, at, stop, AFTER_SPACE, COLON)
            if colon == stop:
                return None
            if block[colon] != COLON:
                if colon > at or not is_line_end(block, at, stop):
                    return None
                self.size = at + 2 - begin
                return lines.head or self.remember(lines, block[begin : at + 2])
            size = colon - at
            end = skip_text(block, colon, stop)
            if not is_line_end(block, end, stop) or end - at > LONGEST:
                return None
            if size < SLOTS and interesting[size * SLOTS + (block[at] + 3 * block[colon - 1] & 31)] != 0:
                found = self.follow_field(lines, block[at : end + 2], size)
                if found is not lines and found.is_length and self.read_length(block, colon + 1, stop) == NO_LENGTH:
                    return None
                lines = found
            at = end + 2
        return None

    def read_length(self, block: bytes, at: i64, stop: i64) -> i64:
        """Set the length from the value at block[at]; return the index after its line, or NO_LENGTH if it is not plain."""
        if self.length != NO_LENGTH:
            return NO_LENGTH
        while at < stop and block[at] == SPACE:
            at += 1
        begin = at
        number: i64 = 0
        while at < stop:
            c: i64 = block[at]
            if c < DIGIT_0 or c > DIGIT_9 or at - begin == MOST_DIGITS:
                break
            number = number * 10 + c - DIGIT_0
            at += 1
        if at == begin or not is_line_end(block, at, stop):
            return NO_LENGTH
        self.length = number
        return at + 2

    def follow(self, lines: Lines, name: bytes, text: bytes, is_length: bool) -> Lines:
        """Return where a line leads from `lines`, and expect it there the next time."""
        found = lines.following.get(name)
        if found is None:
            self.count()
            found = lines.following[name] = Lines(text, is_length)
        lines.newest = found
        return found

    def follow_field(self, lines: Lines, line: bytes, size: i64) -> Lines:
        """Return where a field line with a name of this size leads from `lines`: nowhere else if nobody asks for the field."""
        found = lines.following.get(line)
        if found is not None:
            lines.newest = found
            return found
        name = line[:size].lower()
        if name not in READERS:
            return lines
        is_length = name == b"content-length"
        text = line[: size + 1] if is_length else line
        return self.follow(lines, text, text, is_length)

    def remember(self, lines: Lines, head: bytes) -> Head | None:
        """Read a plain head, of which all but the target and the length repeats."""
        target, length = self.target, self.length
        lines.head = self.parse(head, head[:5] == b"HTTP/")
        self.target, self.length = target, length
        return lines.head

    def count(self) -> None:
        """Forget all lines when too many are remembered."""
        self.remembered += 1
        if self.remembered > self.most:
            self.requests, self.responses = Lines(b"", False), Lines(b"", False)
            self.remembered = 1

    def parse(self, head: bytes, response: bool) -> Head | None:
        """Read any head, plain or not; None if its first line is no start line."""
        self.size = len(head)
        if response:
            answer = self.parser.response(head)
            if answer is None:
                return None
            self.length = length_of(answer[1])
            return Head(answer[0], answer[1])
        request = self.parser.request(head)
        if request is None:
            return None
        self.length = length_of(request[1])
        self.target = request[0].target.encode("latin-1")
        return Head(request[0], request[1])


def begins(block: bytes, at: i64, stop: i64, text: bytes) -> bool:
    """Return whether block[at:stop] begins with a text; eight bytes at a time, of which the last may be compared twice."""
    last: i64 = len(text) - 8
    if at + last + 8 > stop:
        return False
    if last < -4:
        return block[at : at + last + 8] == text
    if last < 0:
        last += 4
        return read_i32_le(block, at) == read_i32_le(text, 0) and read_i32_le(block, at + last) == read_i32_le(text, last)
    i: i64 = 0
    while i < last:
        if read_i64_le(block, at + i) != read_i64_le(text, i):
            return False
        i += 8
    return read_i64_le(block, at + last) == read_i64_le(text, last)


def find_byte(block: bytes, at: i64, stop: i64, lowest: i64, mark: i64) -> i64:
    """Return the index of the first byte in block[at:stop] that is less than `lowest`, DEL or `mark`; `stop` without one."""
    # computed here: mypyc keeps larger constants than 62 bits as objects
    ones: i64 = ONES
    lows, marks, deletes, high_bits = ones * lowest, ones * mark, ones * DELETE, ones << 7
    while at + 8 <= stop:
        word = read_i64_le(block, at)
        marked, deleted = word ^ marks, word ^ deletes
        # subtracting sets the high bit of a byte that is smaller, and may set those of bytes after it
        hits = ((word - lows) & ~word | (marked - ones) & ~marked | (deleted - ones) & ~deleted) & high_bits
        if hits != 0:
            if hits & 0x80808080 == 0:
                hits >>= 32
                at += 4
            if hits & 0x8080 == 0:
                hits >>= 16
                at += 2
            return at + 1 if hits & 0x80 == 0 else at
        at += 8
    while at < stop:
        c: i64 = block[at]
        if c < lowest or c in (mark, DELETE):
            return at
        at += 1
    return stop


def skip_text(block: bytes, at: i64, stop: i64) -> i64:
    """Return the index of the first control byte but a tab in block[at:stop], `stop` without one."""
    at = find_byte(block, at, stop, SPACE, DELETE)
    while at < stop and block[at] == TAB:
        at = find_byte(block, at + 1, stop, SPACE, DELETE)
    return at


def is_line_end(block: bytes, at: i64, stop: i64) -> bool:
    """Return whether CRLF lies at block[at]."""
    return at + 1 < stop and read_i16_be(block, at) == CRLF


def interesting_names() -> bytes:
    """Return a table of the lengths of names, and of a mix of their first and last letters in either case: 1 where a field of
    interest has them, and hardly a common one besides."""
    table = bytearray(SLOTS * SLOTS)
    for name in READERS:
        table[len(name) * SLOTS + (name[0] + 3 * name[-1] & 31)] = 1
    return bytes(table)


def length_of(fields: Fields) -> i64:
    """Return what Content-Length says."""
    if fields.content_length is not None:
        return fields.content_length
    return BAD_LENGTH if fields.bad_content_length else NO_LENGTH
