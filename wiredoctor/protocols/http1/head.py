r"""Parse start lines and header fields (RFC 9112 sections 2 to 5, RFC 9110 section 5).

    request-line = method SP request-target SP HTTP-version
    status-line  = HTTP-version SP status-code SP [ reason-phrase ]
    field-line   = field-name ":" OWS field-value OWS

Header sections repeat, so parsed lines and sets of fields are cached, and a header section costs one lookup per line. Text is
Latin-1, one character per byte. No input raises an error.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from wiredoctor import limits
from wiredoctor.protocols.http1.fields import (
    BARE_LF,
    CONTROL_BYTE,
    CONTROLS,
    FOLDING,
    MAJOR_VERSION,
    MINOR_VERSION,
    READERS,
    STATUS_CASE,
    STATUS_DIGITS,
    STATUS_SPACING,
    TEXTS,
    TOKEN,
    Fields,
    Line,
    bound_text,
    collect,
    field_line,
    has_controls,
)
from wiredoctor.text.regex import Regex

FOLDED = -1
"""The value used instead of a line's id (see HeadParser) if the line continues the previous field."""

MAX_LINES, LONGEST = 256, 4096
"""The maximum number of fields in a cached header section, and the maximum size in bytes of a cached line or response head.

Ordinary messages stay below these limits, and the cache stays small.
"""

KNOWN_METHODS = frozenset(
    b"GET HEAD POST PUT DELETE CONNECT OPTIONS TRACE PATCH PROPFIND PROPPATCH MKCOL COPY MOVE LOCK UNLOCK REPORT MKACTIVITY "
    b"CHECKOUT CHECKIN MERGE SEARCH BCOPY BDELETE BMOVE BPROPFIND BPROPPATCH NOTIFY POLL SUBSCRIBE UNSUBSCRIBE LABEL UPDATE "
    b"UNCHECKOUT MKWORKSPACE VERSION-CONTROL BASELINE-CONTROL RPC_IN_DATA RPC_OUT_DATA RPC_CONNECT M-SEARCH SSTP_DUPLEX_POST "
    b"BITS_POST CCM_POST PURGE LINK UNLINK QUERY".split()
)
"""The methods by which a request is recognized in the middle of a stream (IANA's registry, WebDAV and related protocols).

At the start of a stream, or after a request, any token is a method.
"""

_REQUEST_LINE = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]{1,40}) +(\S(?:.*\S)?) +(HTTP/[0-9]\.[0-9])[ \t]*\Z", re.DOTALL)
STATUS_LINE = re.compile(rb"((?i:HTTP)/([0-9])\.([0-9]))([ \t]+)([0-9]{1,9})(?:([ \t\r])(.*))?\s*\Z", re.DOTALL)
"""Any line that was meant as a status line: programs write other spaces, versions and numbers of digits than the RFC allows."""
_PLAIN_STATUS_LINE = Regex(rb"HTTP/1\.[01] [1-9][0-9][0-9](?: |\Z)")


class RequestLine(NamedTuple):
    """The method, target and version of a request, as sent."""

    method: str
    target: str
    version: str


class StatusLine(NamedTuple):
    """The version, status and reason phrase of a response, as sent."""

    version: str
    status: int
    reason: str


@dataclass(eq=False, repr=False)
class HeadParser:
    """Parses header sections, and caches what repeats.

    Each distinct text of a line has an id: 0 if the line is irrelevant, otherwise the line's index in `_entries`. A set of
    fields is a tuple of such ids.
    """

    met: int = 0
    _lines: dict[bytes, int] = field(default_factory=dict[bytes, int])
    _names: dict[bytes, int] = field(default_factory=dict[bytes, int])
    _entries: list[Line] = field(default_factory=lambda: [(b"", "", 0)])
    _sets: dict[tuple[int, ...], Fields] = field(default_factory=dict[tuple[int, ...], Fields])
    _statuses: dict[bytes, StatusLine | None] = field(default_factory=dict[bytes, StatusLine | None])
    _responses: dict[bytes, tuple[StatusLine, Fields]] = field(default_factory=dict[bytes, tuple[StatusLine, Fields]])

    def fields(self, lines: list[bytes]) -> Fields:
        """Return the fields in these lines, which do not include the start line and the empty line."""
        numbers = list(map(self._lines.get, lines))
        if None in numbers:
            if len(lines) > MAX_LINES or len(max(lines, key=len)) > LONGEST:
                return self._many(lines)
            for i, known in enumerate(numbers):
                if known is None:
                    number = numbers[i] = self._number(lines[i])
                    if number == FOLDED:
                        return self._broken(self.fields(unfold(lines)), find_folding_faults(lines))
        key = tuple(filter(None, numbers))
        fields = self._sets.get(key)
        if fields is None:
            fields = collect([self._entries[n] for n in key], self.met)
            self.met += 1
            self._sets[key] = fields
            if len(self._sets) >= limits.REMEMBERED_HEADS.value or len(self._entries) >= limits.REMEMBERED_HEADS.value:
                self._forget()
        return fields

    def _many(self, lines: list[bytes]) -> Fields:
        """Return the fields in these lines without caching them, because they are many or long."""
        whole = unfold(lines)
        read = {line: field_line(line) for line in set(whole)}
        fields = collect([entry for line in whole if (entry := read[line]) is not None], self.met)
        self.met += 1
        return fields if whole == lines else self._broken(fields, find_folding_faults(lines))

    def _broken(self, fields: Fields, wrong: int) -> Fields:
        """Return a copy of `fields` with the grammar faults `wrong` (bits) added. The cached lines do not contain these
        faults.
        """
        self.met += 1
        return replace(fields, number=self.met - 1, malformed=fields.malformed | wrong)

    def _number(self, line: bytes) -> int:
        """Cache a line under a new id, and return the id (see HeadParser).

        Return FOLDED if the line continues the previous one.
        """
        name = line.partition(b":")[0]
        interesting = self._names.get(name)
        if interesting is None:
            if len(self._names) >= limits.REMEMBERED_HEADS.value:
                self._names.clear()
            interesting = self._names[name] = _interest(name)
        if interesting == FOLDED:
            return FOLDED
        suspect = len(name) == len(line) or len(line.translate(None, CONTROLS)) != len(line)
        entry = field_line(line) if interesting or suspect else None
        if len(self._lines) >= 2 * limits.REMEMBERED_HEADS.value:
            # lines that differ every time, such as request ids, must not displace others
            self._lines = {known: number for known, number in self._lines.items() if number}
        if entry is None:
            self._lines[line] = 0
            return 0
        self._entries.append(entry)
        self._lines[line] = len(self._entries) - 1
        return len(self._entries) - 1

    def _forget(self) -> None:
        """Clear the caches of lines and sets together, because sets consist of the ids of lines."""
        self._lines.clear()
        self._sets.clear()
        del self._entries[1:]

    def status(self, line: bytes) -> StatusLine | None:
        """Return a parsed status line, which may have faults (see find_status_line_faults); None if it is not a status line."""
        try:
            return self._statuses[line]
        except KeyError:
            if len(line) > LONGEST:
                return _status_line(line)
            if len(self._statuses) >= limits.REMEMBERED_HEADS.value:
                self._statuses.clear()
            found = self._statuses[line] = _status_line(line)
            return found

    def response(self, head: bytes) -> tuple[StatusLine, Fields] | None:
        """Return the status line and fields of a response head, which includes the empty line; None if it has no status line.

        Malformed heads are not cached.
        """
        known = self._responses.get(head)
        if known is not None:
            return known
        lines, wrong = head_lines(head)
        status = self.status(lines[0])
        if status is None:
            return None
        fields = self.fields(lines[1:])
        if has_controls(lines[0]):
            wrong |= CONTROL_BYTE
        wrong |= find_status_line_faults(lines[0])
        result = status, self._broken(fields, wrong) if wrong else fields
        if len(head) > LONGEST or result[1].malformed:
            return result
        if len(self._responses) >= limits.REMEMBERED_HEADS.value:
            self._responses.clear()
        self._responses[head] = result
        return result

    def request(self, head: bytes) -> tuple[RequestLine, Fields] | None:
        """Return the request line and fields of a request head, which includes the empty line; None if it has no request line."""
        lines, wrong = head_lines(head)
        request = request_line(lines[0])
        if request is None:
            return None
        fields = self.fields(lines[1:])
        if has_controls(lines[0]):
            wrong |= CONTROL_BYTE
        return request, self._broken(fields, wrong) if wrong else fields


def _interest(name: bytes) -> int:
    """Return 1 if a line with this name may be relevant, 0 if not, or FOLDED if the line continues the previous one."""
    if name.startswith((b" ", b"\t")):
        return FOLDED
    return int(name.lower() in READERS or TOKEN.match(name) is None)


def head_lines(head: bytes) -> tuple[list[bytes], int]:
    """Return the lines of a header section without line ends, and a fault: BARE_LF if a line ends with LF alone, otherwise 0.

    A bare LF ends a line too (RFC 9112 section 2.2).
    """
    lines = head.split(b"\r\n")
    wrong = 0
    if head.count(b"\n") != len(lines) - 1:
        lines = [part.removesuffix(b"\r") for part in head.split(b"\n")]
        wrong = BARE_LF
    while len(lines) > 1 and not lines[-1]:
        lines.pop()
    return lines, wrong


def find_folding_faults(lines: list[bytes]) -> int:
    """Return the faults of a header section that has folded lines, as bits. `lines`: the lines as sent, not unfolded."""
    return FOLDING | (CONTROL_BYTE if any(map(has_controls, lines)) else 0)


def unfold(lines: list[bytes]) -> list[bytes]:
    """Return the lines with folded ones joined by a space (RFC 9112 section 5.2).

    A folded line is dropped if no field precedes it, or if reports may show the field's value, because the line may contain
    anything.
    """
    if not any(line.startswith((b" ", b"\t")) for line in lines):
        return lines
    whole: list[list[bytes]] = []
    goes_on = False
    for line in lines:
        if not line.startswith((b" ", b"\t")):
            whole.append([line])
            name, colon, _ = line.partition(b":")
            goes_on = not colon or name.strip(b" \t").lower() not in TEXTS
        elif whole and goes_on:
            whole[-1].append(line.strip(b" \t"))
    return [b" ".join(parts) for parts in whole]


def request_line(line: bytes) -> RequestLine | None:
    """Return a parsed request line of HTTP/1.x; None if it is not a request line.

    The target may contain spaces, which careless clients send.
    """
    if line[:10] == b"PRI * HTTP":
        return None  # the connection preface of HTTP/2 (RFC 9113 section 3.4)
    parts = line.split(b" ")
    if len(parts) == 3 and parts[2] == b"HTTP/1.1" and parts[0] in KNOWN_METHODS and parts[1]:
        return RequestLine(parts[0].decode("ascii"), bound_text(parts[1].decode("latin-1")), "HTTP/1.1")
    match = _REQUEST_LINE.match(line)
    if match is None:
        return None
    return RequestLine(match[1].decode("ascii"), bound_text(match[2].decode("latin-1")), match[3].decode("ascii"))


def _status_line(line: bytes) -> StatusLine | None:
    match = STATUS_LINE.match(line)
    if match is None:
        return None
    digits = match[5]
    # an invalid status counts as x00 of its class (RFC 9110 section 15), and as final; find_status_line_faults reports it
    status = int(digits) if len(digits) == 3 and digits >= b"100" else 100 * max(int(digits[:1]), 2)
    return StatusLine(match[1].decode("ascii").upper(), status, bound_text((match[7] or b"").decode("latin-1")))


def is_plain_status_line(line: bytes) -> bool:
    """Return whether a status line has the form that most servers send. Other lines may have faults."""
    return _PLAIN_STATUS_LINE.match(line) is not None


def find_status_line_faults(line: bytes) -> int:
    """Return the faults of a status line as bits (RFC 9112 section 4, RFC 9110 sections 2.5 and 15)."""
    match = STATUS_LINE.match(line)
    if match is None or is_plain_status_line(line):
        return 0
    _, major, minor, before, digits, after, _ = match.groups()
    wrong = 0 if len(digits) == 3 and digits >= b"100" else STATUS_DIGITS
    # servers that leave out the space after the status, or write several before the reason phrase, are read by all clients
    if before != b" " or after == b"\t":
        wrong |= STATUS_SPACING
    if line[:4] != b"HTTP":
        wrong |= STATUS_CASE
    if major != b"1":
        wrong |= MAJOR_VERSION
    elif minor > b"1":
        wrong |= MINOR_VERSION
    return wrong


def find_head_end(data: bytes, start: int = 0) -> int:
    """Return the offset after the empty line that ends a header section, or -1 if there is none. Search from `start`.

    CR before LF is optional.
    """
    end = data.find(b"\r\n\r\n", start)
    bare = data.find(b"\n\n", start, end if end >= 0 else len(data))
    mixed = data.find(b"\n\r\n", start, end if end >= 0 else len(data))
    ends = [(e, n) for e, n in ((end, 4), (bare, 2), (mixed, 3)) if e >= 0]
    return -1 if not ends else sum(min(ends))


def may_become_request(data: bytes) -> bool:
    """Return whether the bytes can be the beginning of a request line, or begin with a complete one."""
    line, newline, _ = data.partition(b"\n")
    if newline:
        return request_line(line.removesuffix(b"\r")) is not None
    method, space, _ = data.partition(b" ")
    name = method if space else method.removesuffix(b"\r")
    return len(method) <= 40 and TOKEN.match(name) is not None


def may_become_response(data: bytes) -> bool:
    """Return whether the bytes can be the beginning of a status line, or begin with a complete one."""
    line, newline, _ = data.partition(b"\n")
    if newline:
        return _status_line(line.removesuffix(b"\r")) is not None
    return data[:5].upper() == b"HTTP/"[: len(data)]
