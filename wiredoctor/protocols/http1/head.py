r"""Start lines and header fields, RFC 9112 sections 2 to 5 and RFC 9110 section 5.

    request-line = method SP request-target SP HTTP-version
    status-line  = HTTP-version SP status-code SP [ reason-phrase ]
    field-line   = field-name ":" OWS field-value OWS

Heads repeat: parsed field lines and sets of fields are remembered, so that a head costs a look-up per line.
Text is Latin-1, a character per byte; nothing here raises on any bytes.
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
    READERS,
    TEXTS,
    Fields,
    Line,
    collect,
    field_line,
    has_controls,
    kept,
)

FOLDED = -1
"""Instead of the number of a line: it goes on with the field before it."""

MOST_LINES, LONGEST = 256, 4096
"""Of what is kept: fields of a head, and bytes of a line or of a response head. Nothing ordinary has more, and what is kept
stays small."""

KNOWN_METHODS = frozenset(
    b"GET HEAD POST PUT DELETE CONNECT OPTIONS TRACE PATCH PROPFIND PROPPATCH MKCOL COPY MOVE LOCK UNLOCK REPORT MKACTIVITY "
    b"CHECKOUT CHECKIN MERGE SEARCH BCOPY BDELETE BMOVE BPROPFIND BPROPPATCH NOTIFY POLL SUBSCRIBE UNSUBSCRIBE LABEL UPDATE "
    b"UNCHECKOUT MKWORKSPACE VERSION-CONTROL BASELINE-CONTROL RPC_IN_DATA RPC_OUT_DATA RPC_CONNECT M-SEARCH SSTP_DUPLEX_POST "
    b"BITS_POST CCM_POST PURGE LINK UNLINK QUERY".split()
)
"""Methods by which a request is recognised in the middle of a stream (IANA's registry, WebDAV and its relatives).
At the start of a stream, or after a request, any token is a method."""

_REQUEST_LINE = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]{1,40}) +(\S(?:.*\S)?) +(HTTP/[0-9]\.[0-9])[ \t]*\Z", re.DOTALL)
_STATUS_LINE = re.compile(rb"(HTTP/[0-9]\.[0-9]) +([0-9]{3})(?:[ \t\r](.*))?\s*\Z", re.DOTALL)
_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+\Z")


class RequestLine(NamedTuple):
    """method, target and version as sent."""

    method: str
    target: str
    version: str


class StatusLine(NamedTuple):
    """version, status and reason as sent."""

    version: str
    status: int
    reason: str


@dataclass
class HeadParser:
    """Parses heads and remembers what repeats.

    Lines are numbered: 0 says nothing of interest, others are looked up in `_entries`; a set of fields is a tuple of
    such numbers.
    """

    met: int = 0
    _lines: dict[bytes, int] = field(default_factory=dict[bytes, int])
    _names: dict[bytes, int] = field(default_factory=dict[bytes, int])
    _entries: list[Line] = field(default_factory=lambda: [(b"", "", 0)])
    _sets: dict[tuple[int, ...], Fields] = field(default_factory=dict[tuple[int, ...], Fields])
    _statuses: dict[bytes, StatusLine | None] = field(default_factory=dict[bytes, StatusLine | None])
    _responses: dict[bytes, tuple[StatusLine, Fields]] = field(default_factory=dict[bytes, tuple[StatusLine, Fields]])

    def fields(self, lines: list[bytes]) -> Fields:
        """Field lines (without the start line and the empty line) -> Fields."""
        numbers = list(map(self._lines.get, lines))
        if None in numbers:
            if len(lines) > MOST_LINES or len(max(lines, key=len)) > LONGEST:
                return self._many(lines)
            for i, known in enumerate(numbers):
                if known is None:
                    number = numbers[i] = self._number(lines[i])
                    if number == FOLDED:
                        return self._broken(self.fields(unfolded(lines)), folded(lines))
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
        """Fields that are not remembered."""
        whole = unfolded(lines)
        read = {line: field_line(line) for line in set(whole)}
        fields = collect([entry for line in whole if (entry := read[line]) is not None], self.met)
        self.met += 1
        return fields if whole == lines else self._broken(fields, folded(lines))

    def _broken(self, fields: Fields, wrong: int) -> Fields:
        """The fields of a head that breaks the grammar, which its lines alone do not tell."""
        self.met += 1
        return replace(fields, number=self.met - 1, malformed=fields.malformed | wrong)

    def _number(self, line: bytes) -> int:
        """The number of a line that was not met before; FOLDED where it goes on with the line before."""
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
            # lines that differ in every head, such as request ids, must not push out the others
            self._lines = {known: number for known, number in self._lines.items() if number}
        if entry is None:
            self._lines[line] = 0
            return 0
        self._entries.append(entry)
        self._lines[line] = len(self._entries) - 1
        return len(self._entries) - 1

    def _forget(self) -> None:
        """Numbers of lines are only good together with the sets that were made of them."""
        self._lines.clear()
        self._sets.clear()
        del self._entries[1:]

    def status(self, line: bytes) -> StatusLine | None:
        """Parse a status line; return None if it is not one."""
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
        """A whole response head with its empty line; None where the first line is no status line. One that breaks the
        grammar is not remembered."""
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
        result = status, self._broken(fields, wrong) if wrong else fields
        if len(head) > LONGEST or result[1].malformed:
            return result
        if len(self._responses) >= limits.REMEMBERED_HEADS.value:
            self._responses.clear()
        self._responses[head] = result
        return result

    def request(self, head: bytes) -> tuple[RequestLine, Fields] | None:
        """A whole request head with its empty line; None where the first line is no request line."""
        lines, wrong = head_lines(head)
        request = request_line(lines[0])
        if request is None:
            return None
        fields = self.fields(lines[1:])
        if has_controls(lines[0]):
            wrong |= CONTROL_BYTE
        return request, self._broken(fields, wrong) if wrong else fields


def _interest(name: bytes) -> int:
    """Whether a line that begins so may be of interest, or FOLDED."""
    if name.startswith((b" ", b"\t")):
        return FOLDED
    return int(name.strip(b" \t").lower() in READERS or name.endswith((b" ", b"\t")))


def head_lines(head: bytes) -> tuple[list[bytes], int]:
    """Lines without their ends and without the empty line; a bare LF ends a line too (RFC 9112 section 2.2): then BARE_LF,
    else 0."""
    lines = head.split(b"\r\n")
    wrong = 0
    if head.count(b"\n") != len(lines) - 1:
        lines = [part.removesuffix(b"\r") for part in head.split(b"\n")]
        wrong = BARE_LF
    while len(lines) > 1 and not lines[-1]:
        lines.pop()
    return lines, wrong


def folded(lines: list[bytes]) -> int:
    """Return the faults of folded field lines, which the joined line may no longer show."""
    return FOLDING | (CONTROL_BYTE if any(map(has_controls, lines)) else 0)


def unfolded(lines: list[bytes]) -> list[bytes]:
    """Field lines with what was folded joined by a space, RFC 9112 section 5.2; before the first one it is ignored, and so it
    is behind a text that reports may show."""
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
    """A request line of HTTP/1.x (the target may hold spaces, as careless clients send it), or None."""
    if line[:10] == b"PRI * HTTP":
        return None  # the client connection preface of HTTP/2, RFC 9113 section 3.4
    parts = line.split(b" ")
    if len(parts) == 3 and parts[2] == b"HTTP/1.1" and parts[0] in KNOWN_METHODS and parts[1]:
        return RequestLine(parts[0].decode("ascii"), kept(parts[1].decode("latin-1")), "HTTP/1.1")
    match = _REQUEST_LINE.match(line)
    if match is None:
        return None
    return RequestLine(match[1].decode("ascii"), kept(match[2].decode("latin-1")), match[3].decode("ascii"))


def _status_line(line: bytes) -> StatusLine | None:
    match = _STATUS_LINE.match(line)
    if match is None:
        return None
    return StatusLine(match[1].decode("ascii"), int(match[2]), kept((match[3] or b"").decode("latin-1")))


def find_head_end(data: bytes, start: int = 0) -> int:
    """Offset behind the empty line that ends a head, looked for from `start` on; -1 while there is none. CR before LF is
    optional."""
    end = data.find(b"\r\n\r\n", start)
    bare = data.find(b"\n\n", start, end if end >= 0 else len(data))
    mixed = data.find(b"\n\r\n", start, end if end >= 0 else len(data))
    ends = [(e, n) for e, n in ((end, 4), (bare, 2), (mixed, 3)) if e >= 0]
    return -1 if not ends else sum(min(ends))


def may_become_request(data: bytes) -> bool:
    """Whether the bytes so far can be the beginning of a request line."""
    line, newline, _ = data.partition(b"\n")
    if newline:
        return request_line(line.removesuffix(b"\r")) is not None
    method, space, _ = data.partition(b" ")
    if not space:
        return len(method) <= 40 and _TOKEN.match(method.removesuffix(b"\r")) is not None
    return len(method) <= 40 and _TOKEN.match(method) is not None


def may_become_response(data: bytes) -> bool:
    """Whether the bytes so far can be the beginning of a status line."""
    line, newline, _ = data.partition(b"\n")
    if newline:
        return _status_line(line.removesuffix(b"\r")) is not None
    return data[:7] == b"HTTP/1."[: len(data)] or data[:5] == b"HTTP/"
