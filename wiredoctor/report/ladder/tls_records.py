"""Find the TLS records and the unencrypted messages in the bytes of one direction, reading only their headers.

See RFC 8446 sections 4 and 5.1, and RFC 5246 sections 6.2 and 7.4.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from wiredoctor.text.tls_alerts import describe_alert

CHANGE_CIPHER_SPEC, ALERT, HANDSHAKE, APPLICATION_DATA, HEARTBEAT = 20, 21, 22, 23, 24
MAX_RECORD = (1 << 14) + 2048
"""The maximum length of an encrypted record in bytes (RFC 5246 section 6.2.3)."""

_CLIENT_HELLO, _SERVER_HELLO = 1, 2
_MESSAGES = {
    0: "HelloRequest",
    _CLIENT_HELLO: "ClientHello",
    _SERVER_HELLO: "ServerHello",
    4: "NewSessionTicket",
    8: "EncryptedExtensions",
    11: "Certificate",
    12: "ServerKeyExchange",
    13: "CertificateRequest",
    14: "ServerHelloDone",
    15: "CertificateVerify",
    16: "ClientKeyExchange",
    20: "Finished",
    21: "CertificateURL",
    22: "CertificateStatus",
    23: "SupplementalData",
    25: "CompressedCertificate",
}
_RETRY = bytes.fromhex("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c")
"""The random value of a ServerHello that is a HelloRetryRequest (RFC 8446 section 4.1.3)."""

_NAMES = {
    CHANGE_CIPHER_SPEC: "ChangeCipherSpec",
    ALERT: "encrypted alert",
    HANDSHAKE: "encrypted handshake message",
    HEARTBEAT: "heartbeat",
}
_LEVELS = {1: "warning", 2: "fatal"}

MOST_WAITING = 1 << 20
"""The maximum number of bytes that are kept after missing bytes with a record header. Each piece counts 200 bytes more."""

Read = Callable[[int, int], bytes]
"""Returns captured bytes, given the position of the first one and their number."""


MOST_PARTS = 1_000
"""The maximum number of records of a direction that are kept from its beginning, and also from its end."""

UNNAMED = "..."
"""The name of records that were not kept."""


class Part(NamedTuple):
    """A record, or an unencrypted handshake message with the record headers in it: bytes `start` to `end` of the stream."""

    start: int
    end: int
    name: str


class RecordNames:
    """Names the TLS records of one direction.

    Records are no longer found after bytes that are not TLS, or after missing bytes that contain a record header. `is_1_3`: the
    connection uses TLS 1.3, whose record headers hide the type of an encrypted record.
    """

    def __init__(self, *, is_1_3: bool) -> None:
        self._first: list[Part] = []
        self._last: deque[Part] = deque(maxlen=MOST_PARTS)
        self._content = "encrypted record" if is_1_3 else "application data"
        self._at: int | None = None
        self._wanted = self._skipped = 0
        self._found = b""
        self._waiting: dict[int, tuple[int, bytes]] = {}
        self._waiting_bytes = 0
        self._is_over = False
        self._walk: Generator[int, bytes] | None = None
        self._message = _Message()

    def parts(self) -> list[Part]:
        """Return the records and messages found so far, in order. The last one may be incomplete."""
        parts = [*self._first, *self._last]
        if self._last and self._last[0].start > self._first[-1].end:
            parts.insert(MOST_PARTS, Part(self._first[-1].end, self._last[0].start, UNNAMED))
        message = self._message
        return [*parts, *([Part(message.start, message.end, message.name)] if message.name else [])]

    def add(self, offset: int, length: int, captured: int, place: int, read: Read) -> None:
        """Add the bytes [offset, offset + length) of the stream. `read` returns the first `captured` of them, from `place` on."""
        if self._at is None:
            self._at = offset
            self._walk = self._walk_records(offset)
            self._wanted = next(self._walk)
        if offset > self._at + self._skipped and not self._is_over:
            self._waiting[offset] = (length, read(place, captured))
            self._waiting_bytes += captured + 200
            self._is_over = self._waiting_bytes > MOST_WAITING
            return
        self._take(offset, length, captured, place, read)
        while self._waiting and min(self._waiting) <= self._at + self._skipped and not self._is_over:
            first = min(self._waiting)
            length, data = self._waiting.pop(first)
            self._waiting_bytes -= len(data) + 200
            self._take(first, length, len(data), 0, partial(_slice, data))

    def _keep(self, start: int, end: int, name: str) -> None:
        (self._first if len(self._first) < MOST_PARTS else self._last).append(Part(start, end, name))

    def _take(self, offset: int, length: int, captured: int, place: int, read: Read) -> None:
        """Read from a piece what the walk wants, and skip the rest."""
        at, end = self._at or 0, offset + length
        while at < end and not self._is_over:
            if self._skipped:
                passed = min(self._skipped, end - at)
                self._skipped -= passed
            else:
                passed = min(self._wanted - len(self._found), offset + captured - at)
                if passed <= 0:
                    self._is_over = True
                    return
                self._found += read(place + at - offset, passed)
            self._at = at = at + passed
            if not self._skipped and len(self._found) == self._wanted:
                self._continue_walk()

    def _continue_walk(self) -> None:
        """Pass the wanted bytes to the walk, and store which bytes it wants next."""
        found, self._found = self._found, b""
        try:
            wanted = self._walk.send(found) if self._walk else 0
        except StopIteration:
            self._is_over = True
            return
        self._wanted, self._skipped = max(wanted, 0), max(-wanted, 0)

    def _walk_records(self, at: int) -> Generator[int, bytes]:
        """Yield the number of bytes of the stream to read next or, as a negative number, to skip. `at`: the first offset."""
        changed = False
        while True:
            header = yield 5
            kind, size = header[0], int.from_bytes(header[3:], "big")
            start, at = at, at + 5 + size
            if not CHANGE_CIPHER_SPEC <= kind <= HEARTBEAT or header[1] != 3 or not 0 < size <= MAX_RECORD:
                return
            if kind == HANDSHAKE and not changed:
                yield from self._walk_messages(start, at)
                continue
            if self._message.name:
                # a record of another type must not interrupt a message (RFC 8446 section 5.1): bytes are damaged
                self._keep(self._message.start, start, self._message.name)
            self._message = _Message()
            name, seen = _NAMES.get(kind, self._content), b""
            if kind == HANDSHAKE and size > 4:
                seen = yield 4
                # after a HelloRetryRequest, a hello follows the ChangeCipherSpec
                if seen[0] in (_CLIENT_HELLO, _SERVER_HELLO) and int.from_bytes(seen[1:], "big") == size - 4:
                    name = _MESSAGES[seen[0]]
            elif kind == ALERT and size == 2:
                seen = yield 2
                name = f"{_LEVELS.get(seen[0], f'level {seen[0]}')} alert {describe_alert(seen[1])}"
            changed = changed or kind == CHANGE_CIPHER_SPEC
            self._keep(start, at, name)
            if size > len(seen):
                yield len(seen) - size

    def _walk_messages(self, start: int, end: int) -> Generator[int, bytes]:
        """Walk through a record with unencrypted handshake messages, which may continue in the next record."""
        message, at = self._message, start + 5
        while at < end:
            if message.left:
                passed = min(message.left, end - at)
                yield -passed
                at += passed
                message.left -= passed
            else:
                if not message.head:
                    message.start = start if at == start + 5 else at
                wanted = min(4 - len(message.head), end - at)
                message.head += yield wanted
                at += wanted
                if len(message.head) < 4:
                    continue
                kind, message.left = message.head[0], int.from_bytes(message.head[1:], "big")
                message.name, message.head = _MESSAGES.get(kind, f"handshake message {kind}"), b""
                message.end = at + message.left
                if kind == _SERVER_HELLO and min(message.left, end - at) >= 34:
                    version_and_random = yield 34
                    at += 34
                    message.left -= 34
                    if version_and_random[2:] == _RETRY:
                        message.name = "HelloRetryRequest"
            message.end = at + message.left
            if not message.left:
                self._keep(message.start, at, message.name)
                message.name = ""


@dataclass(slots=True)
class _Message:
    """The current handshake message. `name`: empty if there is none. `left`: the number of its bytes that are to come."""

    name: str = ""
    start: int = 0
    end: int = 0
    left: int = 0
    head: bytes = b""


def _slice(data: bytes, place: int, size: int) -> bytes:
    return data[place : place + size]
