"""Heads: the start line, and the fields that somebody asks for (RFC 9112 sections 2 to 5).

A loop over the bytes of a head looks at the length of each name and at its first letter. Only a line that may be of interest
becomes an object, and such lines repeat: they lead, one after the other, to the Head of all heads that say the same. A head
that is not plain is read by wiredoctor.http.head.
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64

from wiredoctor import limits
from wiredoctor.core.octets import read_i64_le
from wiredoctor.http import head as grammar
from wiredoctor.http.fields import READERS, Fields
from wiredoctor.http.framing import announces_close
from wiredoctor.http.head import KNOWN_METHODS, HeadParser, RequestLine, StatusLine

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
SPACE: Final = 32
COLON: Final = 58
TAB: Final = 9
DELETE: Final = 127
DIGIT_0: Final = 48
DIGIT_9: Final = 57
LENGTH_NAME: Final = 14
"""Letters of Content-Length."""
MOST_DIGITS: Final = 18
"""Digits of a length that surely fits 64 bits."""
ONES: Final = 0x0101010101010101
"""A 1 in each of eight bytes."""
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
        self.status: i64 = -1
        self.reason: str = ""
        self.announces_close: bool = False
        if isinstance(line, RequestLine):
            self.method = line.method
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
        self.is_suspect: bool = fields.suspect
        self.is_cut: bool = fields.cut
        """A text is longer than what is kept of it."""
        self.code: i64 = -1
        """Its place among the heads of the rows that are being written; see rows.py."""
        self.batch: i64 = -1

    def is_interim(self) -> bool:
        """Return whether it is a 1xx response that another response follows; 101 is final."""
        return 100 <= self.status < 200 and self.status != 101


class Lines:
    """Lines of interest that were seen one after the other, from a start line on."""

    def __init__(self) -> None:
        self.following: dict[bytes, Lines] | None = None
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
        self.starts: dict[bytes, Lines] = {}
        """By method and version, or by status line."""
        self.interesting: bytes = interesting_names()

    def read_request(self, block: bytes, at: i64, stop: i64) -> Head | None:
        """Read the head of a request that begins at block[at]; None if it is not plain, or does not end before `stop`."""
        i = at
        while i < stop and block[i] > SPACE:
            i += 1
        method_end = i
        i += 1
        space: i64 = 0
        while i < stop:
            c: i64 = block[i]
            if c <= SPACE:
                if c != SPACE:
                    break
                if space > 0:
                    return None
                space = i
            elif c == DELETE:
                return None
            i += 1
        if i + 1 >= stop or block[i] != CR or block[i + 1] != LF or space <= method_end + 1 or i - at > LONGEST:
            return None
        name = block[at:method_end] + block[space:i]
        lines = self.starts.get(name)
        if lines is None:
            if block[at:method_end] not in KNOWN_METHODS or block[space:i] not in (b" HTTP/1.1", b" HTTP/1.0"):
                return None
            lines = self.begin(name)
        self.target = block[method_end + 1 : space]
        lines = self.read_fields(lines, block, i + 2, stop)
        if lines is None:
            return None
        head = lines.head
        self.size += i + 2 - at
        if head is None:
            target, length, size = self.target, self.length, self.size
            head = lines.head = self.parse(block[at : at + size], False)
            self.target, self.length, self.size = target, length, size
        return head

    def read_response(self, block: bytes, at: i64, stop: i64) -> Head | None:
        """Read the head of a response likewise."""
        i = at
        i = skip_text(block, i, stop)
        if i + 1 >= stop or block[i] != CR or block[i + 1] != LF or i - at > LONGEST:
            return None
        line = block[at:i]
        lines = self.starts.get(line)
        if lines is None:
            if self.parser.status(line) is None:
                return None
            lines = self.begin(line)
        lines = self.read_fields(lines, block, i + 2, stop)
        if lines is None:
            return None
        head = lines.head
        self.size += i + 2 - at
        if head is None:
            length, size = self.length, self.size
            head = lines.head = self.parse(block[at : at + size], True)
            self.length, self.size = length, size
        return head

    def read_fields(self, lines: Lines, block: bytes, at: i64, stop: i64) -> Lines | None:
        """Read field lines up to the empty line; None if one is not plain, or the empty line is not there."""
        begin = at
        count: i64 = 0
        self.length = NO_LENGTH
        while at < stop and count <= MOST_LINES:
            name = at
            c: i64 = block[at]
            while c > SPACE and c != COLON and c != DELETE:
                at += 1
                if at >= stop:
                    return None
                c = block[at]
            size = at - name
            if c != COLON:
                if size > 0 or c != CR or at + 1 >= stop or block[at + 1] != LF:
                    return None
                self.size = at + 2 - begin
                return lines
            at = skip_text(block, at, stop)
            if at >= stop or block[at] != CR or at + 1 >= stop or block[at + 1] != LF or at - name > LONGEST:
                return None
            if size < SLOTS and self.interesting[size * SLOTS + (block[name] & 31)] != 0:
                found = self.read_field(lines, block, name, size, at)
                if found is None:
                    return None
                lines = found
            at += 2
            count += 1
        return None

    def read_field(self, lines: Lines, block: bytes, at: i64, size: i64, stop: i64) -> Lines | None:
        """Return where a line of interest leads from `lines`; None if it is not plain."""
        if size == LENGTH_NAME and is_content_length(block[at : at + size]):
            if self.length != NO_LENGTH:
                return None
            self.length = plain_number(block, at + size + 1, stop)
            if self.length == NO_LENGTH:
                return None
            line = b"content-length"
        else:
            line = block[at:stop]
        following = lines.following
        if following is None:
            following = lines.following = {}
        found = following.get(line)
        if found is None:
            if line[:size].lower() not in READERS:
                return lines
            found = Lines()
            self.count()
            following[line] = found
        return found

    def begin(self, start: bytes) -> Lines:
        """Remember the beginning of heads."""
        self.count()
        lines = self.starts[start] = Lines()
        return lines

    def count(self) -> None:
        """Forget all lines when too many are remembered."""
        self.remembered += 1
        if self.remembered > self.most:
            self.starts.clear()
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


def skip_text(block: bytes, at: i64, stop: i64) -> i64:
    """Return the index of the first control byte but a tab in block[at:stop], `stop` without one; eight bytes at a time."""
    # computed here: mypyc keeps larger constants than 62 bits as objects
    ones: i64 = ONES
    spaces, deletes, high_bits = ones * SPACE, ones * DELETE, ones << 7
    while at < stop:
        if at + 8 <= stop:
            word = read_i64_le(block, at)
            other = word ^ deletes
            # subtracting sets the high bit of a byte that is smaller
            if ((word - spaces) & ~word | (other - ones) & ~other) & high_bits == 0:
                at += 8
                continue
        c: i64 = block[at]
        if (c < SPACE and c != TAB) or c == DELETE:
            return at
        at += 1
    return at


def interesting_names() -> bytes:
    """Return a table of lengths and first letters of names: 1 where a field of interest has them."""
    table = bytearray(SLOTS * SLOTS)
    for name in READERS:
        table[len(name) * SLOTS + (name[0] & 31)] = 1
    return bytes(table)


def length_of(fields: Fields) -> i64:
    """Return what Content-Length says."""
    if fields.content_length is not None:
        return fields.content_length
    return BAD_LENGTH if fields.bad_content_length else NO_LENGTH


def is_content_length(name: bytes) -> bool:
    """Return whether a name is Content-Length."""
    return name == b"Content-Length" or name.lower() == b"content-length"


def plain_number(block: bytes, at: i64, stop: i64) -> i64:
    """Return the number in block[at:stop], which may have spaces around it; NO_LENGTH if it is not that plain."""
    while at < stop and (block[at] == SPACE or block[at] == TAB):
        at += 1
    while at < stop and (block[stop - 1] == SPACE or block[stop - 1] == TAB):
        stop -= 1
    if at == stop or stop - at > MOST_DIGITS:
        return NO_LENGTH
    number: i64 = 0
    while at < stop:
        c: i64 = block[at]
        if c < DIGIT_0 or c > DIGIT_9:
            return NO_LENGTH
        number = number * 10 + c - DIGIT_0
        at += 1
    return number
