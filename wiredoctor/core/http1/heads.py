"""Parse header sections: the start line and the relevant fields (RFC 9112 sections 2 to 5).

Most header sections occur repeatedly. The relevant lines of a header section form a path in a tree of cached lines. At the end of
the path is the Head object that all equal header sections share. At each node, the next line is first compared with the line that
followed this node last time. For any other line, the length of its name and two of its letters show whether the line may be
relevant. A bytes object is only created for a line that may be relevant. wiredoctor.protocols.http1.head parses header sections
with unusual syntax.
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64

from wiredoctor import limits
from wiredoctor.core.octets import read_i16_be, read_i32_le, read_i64_le
from wiredoctor.protocols.http1 import head as grammar
from wiredoctor.protocols.http1.content import needs_check
from wiredoctor.protocols.http1.fields import PAGES, READERS, Fields
from wiredoctor.protocols.http1.framing import announces_close
from wiredoctor.protocols.http1.head import KNOWN_METHODS, HeadParser, RequestLine, StatusLine, is_plain_status_line
from wiredoctor.protocols.http1.request_ids import ID_LINE, REQUEST_IDS

NO_LENGTH: Final = -1
"""The value of `HeadReader.length` for a head without Content-Length."""
BAD_LENGTH: Final = -2
"""The value of `HeadReader.length` for a head whose Content-Length is not a single number."""

NOT_CODED: Final = 0
CHUNKED_LAST: Final = 1
OTHER_LAST: Final = 2
"""Values of Head.coding: no Transfer-Encoding (NOT_CODED), or the final coding is chunked (CHUNKED_LAST) or not (OTHER_LAST)."""

LF: Final = 10
CR: Final = 13
CRLF: Final = 0x0D0A
SPACE: Final = 32
AFTER_SPACE: Final = 33
COLON: Final = 58
TAB: Final = 9
HYPHEN: Final = 45
SLASH: Final = 47
DELETE: Final = 127
DIGIT_0: Final = 48
DIGIT_9: Final = 57
MAX_DIGITS: Final = 18
"""The maximum number of digits of a Content-Length: any number with this many digits fits in 64 bits."""
ONES: Final = 0x0101010101010101
"""Eight bytes with the value 1."""
VERSIONS: Final = (b" HTTP/1.1\r\n", b" HTTP/1.0\r\n")
REST_OF_LINE: Final = 11
"""The size in bytes of each text in VERSIONS. Request lines usually end with one of these texts."""
SLOTS: Final = 32
MAX_LINES: Final = 256
LONGEST: Final = 4096
"""The maximum number of bytes in a cached line. MAX_LINES is the maximum number of fields in a cached header section."""

LONGEST_ID: Final = 160
"""The maximum number of bytes kept of a request id and the spaces around it.

Valid ids are shorter (protocols/http1/request_ids.py).
"""

FIXED: Final = 0
LENGTH: Final = 1
"""Values of `Lines.value`: FIXED for a line cached with its value, LENGTH for Content-Length, whose value is not cached."""

NAME_BYTES: Final = bytes(int(c in b"-.^_`" or 48 <= c <= 57 or 65 <= c <= 90 or 97 <= c <= 122) for c in range(256))
"""The table behind find_name_end: 1 for each byte that is certainly allowed in a field name."""

assert (MAX_LINES, LONGEST) == (grammar.MAX_LINES, grammar.LONGEST)


class Head:
    """The start line and relevant fields of a header section.

    The target, the length and the request id are not included, because they differ between most messages.
    """

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
        self.needs_check: bool = needs_check(fields, self.status)
        """True if the content of the body is checked (protocols/http1/content.py)."""
        self.switches: bool = line[0] == "CONNECT" or (fields.connection_upgrade and bool(fields.upgrade))
        """True if this is a request for another protocol; the data after it may not be HTTP."""
        self.event_stream: bool = fields.event_stream
        self.is_stream: bool = fields.event_stream or fields.endless
        """True if the body should arrive in parts, as in an event stream."""
        self.is_page: bool = fields.content_type in PAGES
        """True if the body is an HTML page."""
        self.is_suspect: bool = fields.suspect
        self.is_cut: bool = fields.cut
        """True if a field value was truncated, because it was longer than limits.TEXT."""
        self.code: i64 = -1
        """The index of this head among the heads of the rows being written; see exchange_rows.HeadCodes."""
        self.batch: i64 = -1

    def is_interim(self) -> bool:
        """Return whether this is the head of an interim response: any 1xx except 101, which is final."""
        return 100 <= self.status < 200 and self.status != 101


class Lines:
    """A node in the tree of cached lines. The path to it is a sequence of relevant lines that begins with a start line.

    `text` is the last of these lines with its CRLF, or only its name and colon if the value differs between heads. For a request
    line, `text` is the part after the target. `value`: FIXED, LENGTH, or the rank of a request id (request_ids.py).
    """

    def __init__(self, text: bytes, value: i64) -> None:
        self.text: bytes = text
        self.value: i64 = value
        self.following: dict[bytes, Lines] = {}
        self.newest: Lines | None = None
        """The node in `following` that was used last: the line that most recently followed the line of this node."""
        self.head: Head | None = None


class HeadReader:
    """Parses header sections.

    `size` (bytes, including the empty line), `length`, `target` and `request_id` belong to the newest header section; its Head
    does not contain them.
    """

    def __init__(self) -> None:
        self.parser: HeadParser = HeadParser()
        self.size: i64 = 0
        self.length: i64 = NO_LENGTH
        self.target: bytes = b""
        self.request_id: bytes = b""
        self.id_rank: i64 = FIXED
        """The rank (request_ids.py) of the field from which `request_id` was read; FIXED if no field had a request id."""
        self.remembered: i64 = 0
        self.most: i64 = limits.REMEMBERED_HEADS.value
        self.requests: Lines = Lines(b"", FIXED)
        self.responses: Lines = Lines(b"", FIXED)
        """The root of the cached response start lines. `requests` is the root of the cached request lines."""
        self.method: bytes = b""
        """The method of the newest request line, with the space after it."""
        self.interesting: bytes = interesting_names()

    def read_request(self, block: bytes, at: i64, stop: i64) -> Head | None:
        """Return the request head at block[at]; None if its syntax is unusual, or if it does not end before `stop`."""
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
            lines = self.follow(self.requests, method + text, text, FIXED)
        self.target = block[method_end + 1 : space]
        return self.read_fields(lines, block, at, space + len(lines.text), stop)

    def read_response(self, block: bytes, at: i64, stop: i64) -> Head | None:
        """Return the response head at block[at]; None if its syntax is unusual, or if it does not end before `stop`."""
        lines = self.responses.newest
        if lines is None or not begins(block, at, stop, lines.text):
            end = skip_text(block, at, stop)
            line = block[at : end + 2]
            if not is_line_end(block, end, stop) or end - at > LONGEST or not is_plain_status_line(line[:-2]):
                return None
            lines = self.follow(self.responses, line, line, FIXED)
        return self.read_fields(lines, block, at, at + len(lines.text), stop)

    def read_fields(self, lines: Lines, block: bytes, begin: i64, at: i64, stop: i64) -> Head | None:
        """Read field lines from block[at] to the empty line, and return the head that begins at block[begin].

        `lines`: the node of the start line. Return None if a line has unusual syntax, or if the empty line is missing.
        """
        self.length = NO_LENGTH
        self.request_id = b""
        interesting = self.interesting
        count: i64 = 0
        while count <= MAX_LINES:
            count += 1
            newest = lines.newest
            if newest is not None and begins(block, at, stop, newest.text):
                at += len(newest.text)
                if newest.value != FIXED:
                    at = self.read_value(newest.value, block, at, stop)
                    if at == NO_LENGTH:
                        return None
                lines = newest
                continue
            colon = find_name_end(block, at, stop)
            if colon == stop:
                return None
            size = colon - at
            if block[colon] != COLON or size == 0:
                if size > 0 or not is_line_end(block, at, stop):
                    return None
                self.size = at + 2 - begin
                return lines.head or self.remember(lines, block[begin : at + 2])
            end = skip_text(block, colon, stop)
            if not is_line_end(block, end, stop) or end - at > LONGEST:
                return None
            if size < SLOTS and interesting[size * SLOTS + (block[at] + 3 * block[colon - 1] & 31)] != 0:
                found = self.follow_field(lines, block[at : end + 2], size)
                is_read = found is not lines and found.value != FIXED
                if is_read and self.read_value(found.value, block, colon + 1, stop) == NO_LENGTH:
                    return None
                lines = found
            at = end + 2
        return None

    def read_value(self, kind: i64, block: bytes, at: i64, stop: i64) -> i64:
        """Set the length or the request id from the field value at block[at]. `kind`: LENGTH, or the rank of the request id.

        Return the index after the line, or NO_LENGTH if the line has unusual syntax.
        """
        if kind == LENGTH:
            return self.read_length(block, at, stop)
        end = skip_text(block, at, stop)
        if not is_line_end(block, end, stop) or end - at > LONGEST:
            return NO_LENGTH
        if len(self.request_id) == 0 or kind < self.id_rank:
            self.request_id = block[at : min(end, at + LONGEST_ID)]
            self.id_rank = kind
        return end + 2

    def read_length(self, block: bytes, at: i64, stop: i64) -> i64:
        """Set the length from the value at block[at]. Return the index after the line, or NO_LENGTH if the syntax is unusual."""
        if self.length != NO_LENGTH:
            return NO_LENGTH
        while at < stop and block[at] == SPACE:
            at += 1
        begin = at
        number: i64 = 0
        while at < stop:
            c: i64 = block[at]
            if c < DIGIT_0 or c > DIGIT_9 or at - begin == MAX_DIGITS:
                break
            number = number * 10 + c - DIGIT_0
            at += 1
        if at == begin or not is_line_end(block, at, stop):
            return NO_LENGTH
        self.length = number
        return at + 2

    def follow(self, lines: Lines, name: bytes, text: bytes, value: i64) -> Lines:
        """Return the node for a line below the node `lines` in the tree of cached lines; create it if it is missing.

        Store this node in `lines.newest`, because the next line below `lines` is compared with it first. `name`: the key of the
        line. `text` and `value`: the attributes of a new node.
        """
        found = lines.following.get(name)
        if found is None:
            self.count()
            found = lines.following[name] = Lines(text, value)
        lines.newest = found
        return found

    def follow_field(self, lines: Lines, line: bytes, size: i64) -> Lines:
        """Return the node for a field line in the tree of cached lines, below the node `lines`.

        Return `lines` itself if the field is not relevant. `size`: the length of the field name.
        """
        found = lines.following.get(line)
        if found is not None:
            lines.newest = found
            return found
        name = line[:size].lower()
        value: i64 = REQUEST_IDS.get(name, FIXED)
        if value == FIXED and name not in READERS:
            return lines
        if name == b"content-length":
            value = LENGTH
        text = line if value == FIXED else line[: size + 1]
        return self.follow(lines, text, text, value)

    def remember(self, lines: Lines, head: bytes) -> Head | None:
        """Parse a complete head, store the result at the node of its last line, and return it.

        `target`, `length` and `request_id`, which were already read, do not change.
        """
        target, length, request_id = self.target, self.length, self.request_id
        lines.head = self.parse(head, head[:5] == b"HTTP/")
        self.target, self.length, self.request_id = target, length, request_id
        return lines.head

    def count(self) -> None:
        """Count a cached line. Clear the cache if it has too many lines."""
        self.remembered += 1
        if self.remembered > self.most:
            self.requests, self.responses = Lines(b"", FIXED), Lines(b"", FIXED)
            self.remembered = 1

    def parse(self, head: bytes, response: bool) -> Head | None:
        """Return the head parsed from `head`, even if its syntax is unusual; None if its first line is not a start line."""
        self.size = len(head)
        self.request_id = find_request_id(head)
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


def find_request_id(head: bytes) -> bytes:
    """Return the request id in a head, even if the syntax of the head is unusual; empty if the head has none.

    If the head has several ids, return the id with the lowest rank in request_ids.REQUEST_IDS.
    """
    found = b""
    best: i64 = FIXED
    line = ID_LINE.search(head)
    while line is not None:
        rank: i64 = REQUEST_IDS[line[1].lower()]
        if best == FIXED or rank < best:
            best = rank
            found = line[2]
        line = ID_LINE.search(head, line.end())
    return found


def begins(block: bytes, at: i64, stop: i64, text: bytes) -> bool:
    """Return whether block[at:stop] begins with `text`."""
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
    """Return the index of the first byte in block[at:stop] that is less than `lowest`, equal to DEL, or equal to `mark`.

    Return `stop` if there is no such byte.
    """
    # computed here, because mypyc stores constants above 62 bits as objects
    ones: i64 = ONES
    lows, marks, deletes, high_bits = ones * lowest, ones * mark, ones * DELETE, ones << 7
    while at + 8 <= stop:
        word = read_i64_le(block, at)
        marked, deleted = word ^ marks, word ^ deletes
        # subtracting sets the high bit of each byte that is smaller, and maybe of bytes after it: only the first hit is reliable
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


def find_name_end(block: bytes, at: i64, stop: i64) -> i64:
    """Return the index of the first byte in block[at:stop] that may not be part of a field name, or `stop`.

    Such a byte is the colon, or any other byte except letters, digits and the characters -.^_` (the other characters that RFC
    9110 section 5.6.2 allows are rare).
    """
    # computed here, because mypyc stores constants above 62 bits as objects
    ones: i64 = ONES
    high_bits = ones << 7
    lows, slashes = ones * HYPHEN, ones * SLASH
    # the sum of a byte below 128 and one of these has the high bit if the byte is at least a colon, A, [, ^ or {
    colons, letters, brackets, carets, braces = ones * 70, ones * 63, ones * 37, ones * 34, ones * 5
    while at + 8 <= stop:
        word = read_i64_le(block, at)
        slashed = word ^ slashes
        # a byte with its high bit set is a hit itself, so carries from it into the next byte do not matter
        hits = (word - lows) | word | (slashed - ones) & ~slashed | (word + braces)
        hits = (hits | (word + colons) & ~(word + letters) | (word + brackets) & ~(word + carets)) & high_bits
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
        if NAME_BYTES[c] == 0:
            return at
        at += 1
    return stop


def skip_text(block: bytes, at: i64, stop: i64) -> i64:
    """Return the index of the first control byte other than tab in block[at:stop], or `stop`."""
    at = find_byte(block, at, stop, SPACE, DELETE)
    while at < stop and block[at] == TAB:
        at = find_byte(block, at + 1, stop, SPACE, DELETE)
    return at


def is_line_end(block: bytes, at: i64, stop: i64) -> bool:
    """Return whether CRLF is at block[at]."""
    return at + 1 < stop and read_i16_be(block, at) == CRLF


def interesting_names() -> bytes:
    """Return a table that shows which field names may be relevant: one byte, 0 or 1, for each index.

    The index combines the length of a field name with its first and last letters. The entry is 1 for relevant field names, in
    upper or lower case; few other common names have an entry of 1.
    """
    table = bytearray(SLOTS * SLOTS)
    for name in (*READERS, *REQUEST_IDS):
        table[len(name) * SLOTS + (name[0] + 3 * name[-1] & 31)] = 1
    return bytes(table)


def length_of(fields: Fields) -> i64:
    """Return the value of Content-Length; NO_LENGTH if the field is missing, BAD_LENGTH if its value is invalid."""
    if fields.content_length is not None:
        return fields.content_length
    return BAD_LENGTH if fields.bad_content_length else NO_LENGTH
