"""Follow the records of a TLS handshake until it is complete or one side ends it, without keys.

See RFC 8446 sections 4, 5.1 and 6, and RFC 5246 sections 7.2 and 7.4. Record headers are never encrypted. The type, length and
place of an encrypted record show what it contains.
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64

from wiredoctor import limits
from wiredoctor.core.tcp.segment import NEVER
from wiredoctor.core.tls.tls_hello import CLIENT_HELLO, NOTHING, SERVER_HELLO, Hello, TlsFacts, read_hello
from wiredoctor.core.unsigned import u16
from wiredoctor.protocols.tls.certificates import Chain, read_chain

CHANGE_CIPHER_SPEC: Final = 20
ALERT: Final = 21
HANDSHAKE: Final = 22
APPLICATION_DATA: Final = 23
TICKET: Final = 4
CERTIFICATE: Final = 11
CERTIFICATE_REQUEST: Final = 13

FINISHED: Final = frozenset({45, 53, 61, 69, 85})
"""Lengths of a record of TLS 1.3 with a Finished: a hash of 32 or 48 bytes, a tag of 8 or 16, and perhaps 16 bytes of padding."""

ENCRYPTED_ALERT: Final = frozenset({11, 19, 35})
"""Lengths of a record of TLS 1.3 with an alert: a tag of 8 or 16 bytes, and perhaps 16 bytes of padding."""

END_OF_EARLY_DATA: Final = 21

CLOSE_NOTIFY: Final = 0
USER_CANCELED: Final = 90
FATAL: Final = 2

MOST_RECORDS: Final = 64
"""The maximum number of records of a side after its hello that are followed."""

MAX_RECORD: Final = (1 << 14) + 2048


class Alert:
    """An alert, with its packet. `level` and `number`: -1 if it is encrypted."""

    def __init__(self, level: i64, number: i64, frame: i64, time: i64) -> None:
        self.level: i64 = level
        self.number: i64 = number
        self.frame: i64 = frame
        self.time: i64 = time

    @property
    def is_close(self) -> bool:
        """True if the alert only announces a close."""
        return self.number in (CLOSE_NOTIFY, USER_CANCELED)


class Flight:
    """What one side has sent in the handshake. A frame and a time are NEVER if there is no such packet."""

    def __init__(self) -> None:
        self.kind: i64 = 0
        """The kind of its first message: CLIENT_HELLO, SERVER_HELLO, or 0."""
        self.hello: Hello = NOTHING
        self.hello_frame: i64 = NEVER
        """The packet with the end of its hello; of the ServerHello after a HelloRetryRequest as soon as it was read."""
        self.hello_time: i64 = NEVER
        self.hello_bytes: i64 = 0
        self.end_frame: i64 = NEVER
        """The packet with the end of the newest record that belongs to the handshake, except a ChangeCipherSpec."""
        self.end_time: i64 = NEVER
        self.changed: bool = False
        """True if it has sent a ChangeCipherSpec."""
        self.finished_frame: i64 = NEVER
        self.finished_time: i64 = NEVER
        self.alert: Alert | None = None
        """Its first fatal alert, or a warning or an encrypted alert that is its newest record."""
        self.chain: Chain | None = None
        """The certificates that it has sent unencrypted."""
        self.is_full: bool = False
        """True if it has sent a handshake message that is not part of a resumed handshake."""
        self.sent_content: bool = False
        self.records: i64 = 0
        self.head: bytes = b""
        self.left: i64 = 0
        """The number of missing bytes of the current record."""
        self.level: i64 = -1
        """The first byte of the current record; `number` is the second one. -1 until they were read."""
        self.number: i64 = -1
        self.message: bytes = b""
        """The bytes so far of the current handshake message that is not encrypted."""
        self.skipped: i64 = 0
        """The number of bytes of that message that are to be passed over."""
        self.first_ticket: i64 = 0
        """The length of the first record after the client's Finished in TLS 1.3, which may be a ticket."""
        self.sent_ticket: bool = False
        self.is_off: bool = False
        """True if no more of its bytes are read."""


NO_FLIGHT: Final = Flight()
"""The placeholder for a side that has not sent anything."""


class TlsHandshake:
    """The TLS handshake of a connection."""

    def __init__(self) -> None:
        self.first: Flight = NO_FLIGHT
        self.second: Flight = NO_FLIGHT
        self.first_start: i64 = 0
        """The offset in the TCP stream at which TLS begins in the first direction, maybe after CONNECT or a PROXY header."""
        self.second_start: i64 = 0
        self.is_tunneled: bool = False
        """True if a proxy forwards the bytes, after a request with CONNECT."""
        self.is_1_3: bool = False
        """True if the server chose TLS 1.3."""
        self.certificate_asked: bool = False
        self.is_complete: bool = False
        self.cannot_follow: bool = False
        """True if bytes are missing, or are not TLS."""
        self.is_unclear: bool = False
        """True if the client has sent encrypted records of TLS 1.3, none of which is a Finished by its length.

        Some clients send other messages in the same record.
        """
        self.is_over: bool = False
        self.retry_frame: i64 = NEVER
        """The packet with the end of a HelloRetryRequest."""
        self.retry_time: i64 = NEVER
        self.retry_group: i64 = -1
        self.second_hello_time: i64 = NEVER
        """The time of the end of the ClientHello after a HelloRetryRequest."""
        self.answered_time: i64 = NEVER
        """The time of the end of the server's messages when the client's next messages came, at `reply_time`."""
        self.answered_frame: i64 = NEVER
        self.reply_frame: i64 = NEVER
        self.reply_time: i64 = NEVER

    def result(self) -> TlsFacts:
        """Return the facts of both hellos, and whether the session was resumed."""
        client, server = self.hello_of(CLIENT_HELLO), self.hello_of(SERVER_HELLO)
        version = server.version or client.version
        return version, client.name, client.protocols, server.protocols, client.hides, server.suite, self.is_resumed()

    def is_resumed(self) -> bool:
        """Return whether the server resumed a session: it chose a pre-shared key or, before TLS 1.3, sent no other message
        between its hello and its ChangeCipherSpec.
        """
        server = self.first if self.first.kind == SERVER_HELLO else self.second
        if server.kind != SERVER_HELLO or server.hello.retries:
            return False
        return server.hello.resumes if self.is_1_3 else server.changed and not server.is_full

    def hello_of(self, kind: i64) -> Hello:
        """Return the hello of this kind; NOTHING if there is none."""
        if self.first.kind == kind:
            return self.first.hello
        return self.second.hello if self.second.kind == kind else NOTHING

    def client(self) -> i64:
        """Return the direction of the ClientHello; -1 if there is none."""
        return 0 if self.first.kind == CLIENT_HELLO else 1 if self.second.kind == CLIENT_HELLO else -1

    def add(self, direction: i64, block: bytes, at: i64, end: i64, frame: i64, time: i64) -> bool:
        """Add the bytes block[at:end] of the stream; return False if no more bytes of this direction are needed."""
        flight = self.flight_of(direction)
        while at < end and not (self.is_over or flight.is_off):
            if flight.left == 0:
                missing = 5 - i64(len(flight.head))
                flight.head += block[at : min(at + missing, end)]
                at = min(at + missing, end)
                if len(flight.head) == 5:
                    self.begin_record(flight)
                continue
            size = min(flight.left, end - at)
            if flight.level < 0:
                flight.level = i64(block[at])
                if size > 1:
                    flight.number = i64(block[at + 1])
            elif flight.number < 0:
                flight.number = i64(block[at])
            flight.left -= size
            kind = i64(flight.head[0])
            if kind == HANDSHAKE and (self.is_1_3 or not flight.changed):
                self.read_messages(flight, block, at, at + size, frame, time)
            at += size
            if flight.left == 0:
                self.end_record(direction, flight, kind, frame, time)
        return not (self.is_over or flight.is_off)

    def flight_of(self, direction: i64) -> Flight:
        """Return what a side has sent, to add bytes to it."""
        if direction == 0:
            if self.first is NO_FLIGHT:
                self.first = Flight()
            return self.first
        if self.second is NO_FLIGHT:
            self.second = Flight()
        return self.second

    def peer_of(self, direction: i64) -> Flight:
        """Return what the other side has sent so far."""
        return self.second if direction == 0 else self.first

    def lose(self) -> None:
        """Stop following the records, because bytes are missing or are not TLS."""
        self.cannot_follow = self.cannot_follow or not self.is_complete
        self.stop()

    def stop(self) -> None:
        """Stop following the records, and free the bytes that were kept."""
        self.is_over = True
        for flight in (self.first, self.second):
            if flight is not NO_FLIGHT:
                flight.head = flight.message = b""

    def begin_record(self, flight: Flight) -> None:
        """Read the header of a record."""
        flight.left = u16(flight.head, 3)
        flight.level = flight.number = -1
        if flight.hello_frame == NEVER:
            flight.hello_bytes += 5
        else:
            flight.records += 1
        known = CHANGE_CIPHER_SPEC <= flight.head[0] <= APPLICATION_DATA and flight.head[1] == 3
        if not known or not 0 < flight.left <= MAX_RECORD:
            flight.is_off = True
            self.cannot_follow = self.cannot_follow or not self.is_complete
        elif flight.records > MOST_RECORDS or flight.hello_bytes > limits.TLS_HELLO.value:
            self.lose()

    def read_messages(self, flight: Flight, block: bytes, at: i64, end: i64, frame: i64, time: i64) -> None:
        """Read the handshake messages in block[at:end], which are not encrypted."""
        while at < end and not flight.is_off:
            if flight.skipped:
                taken = min(flight.skipped, end - at)
                flight.skipped -= taken
                at += taken
                continue
            message = flight.message
            have = i64(len(message))
            wanted = 4 - have if have < 4 else 4 + size_of(message) - have
            taken = min(wanted, end - at)
            message += block[at : at + taken]
            at += taken
            flight.message = message
            have += taken
            if flight.hello_frame == NEVER:
                flight.hello_bytes += taken
            if have < 4 or (have > 4 and taken < wanted):
                continue
            if have == 4 and size_of(message) and self.is_read(flight, message):
                continue
            flight.message = b""
            if have == 4:
                flight.skipped = size_of(message)
            self.note_message(flight, message, frame, time)

    def is_read(self, flight: Flight, message: bytes) -> bool:
        """Return whether the content of a message is needed, and is not too long. `message`: its header, or more."""
        kind, size = message[0], size_of(message)
        if kind in (CLIENT_HELLO, SERVER_HELLO):
            return size + 4 <= limits.TLS_HELLO.value
        return kind == CERTIFICATE and flight.kind == SERVER_HELLO and size <= limits.CERTIFICATES.value

    def note_message(self, flight: Flight, message: bytes, frame: i64, time: i64) -> None:
        """Note what an unencrypted handshake message means. `message`: all of it, or its header if the rest is not needed."""
        kind = i64(message[0])
        is_whole = size_of(message) + 4 == len(message)
        if flight.hello_frame == NEVER:
            if kind in (CLIENT_HELLO, SERVER_HELLO) and is_whole:
                flight.kind = kind
                self.note_hello(flight, message, frame, time)
            if not flight.kind or self.cannot_follow:  # the hello of the other side may still be read
                self.cannot_follow = flight.is_off = True
            flight.hello_frame = flight.end_frame = frame
            flight.hello_time = flight.end_time = time
        elif kind == flight.kind and is_whole and self.retry_frame != NEVER:
            if kind == CLIENT_HELLO:
                self.second_hello_time = time
            else:
                self.note_hello(flight, message, frame, time)
                flight.hello_frame, flight.hello_time = frame, time
        elif kind == CERTIFICATE and is_whole and flight.kind == SERVER_HELLO:
            flight.is_full = True
            flight.chain = read_chain(message[4:])
        elif kind == TICKET:
            flight.sent_ticket = True
        else:
            flight.is_full = True
            self.certificate_asked = self.certificate_asked or kind == CERTIFICATE_REQUEST

    def note_hello(self, flight: Flight, message: bytes, frame: i64, time: i64) -> None:
        """Read a hello, or a HelloRetryRequest."""
        hello = flight.hello = read_hello(message[4:], flight.kind)
        self.is_1_3 = self.is_1_3 or hello.is_1_3
        if hello.retries and self.retry_frame == NEVER:
            self.retry_frame, self.retry_time = frame, time
            if hello.shares:
                self.retry_group = hello.shares[0]

    def end_record(self, direction: i64, flight: Flight, kind: i64, frame: i64, time: i64) -> None:
        """Note what a complete record means for the handshake."""
        size = u16(flight.head, 3)
        flight.head = b""
        if flight.alert is not None and flight.alert.level != FATAL and kind != ALERT:
            flight.alert = None
        if kind == CHANGE_CIPHER_SPEC:
            flight.changed = True
            return
        self.note_reply(direction, flight, frame, time)
        if kind == ALERT:
            self.note_alert(flight, size, frame, time)
        elif self.is_1_3 and kind == APPLICATION_DATA:
            self.note_1_3(direction, flight, size, frame, time)
        elif kind == HANDSHAKE:
            if not self.is_complete:
                flight.end_frame, flight.end_time = frame, time
            if flight.changed and not self.is_1_3 and flight.finished_frame == NEVER:
                flight.finished_frame, flight.finished_time = frame, time
        else:
            flight.sent_content = True
        if not self.is_1_3:
            peer = self.peer_of(direction)
            if flight.sent_content and peer.sent_content:
                self.complete()
                self.stop()
            elif flight.finished_frame != NEVER and peer.finished_frame != NEVER:
                self.complete()

    def note_reply(self, direction: i64, flight: Flight, frame: i64, time: i64) -> None:
        """Note the client's first record after the server's messages that is more than a ChangeCipherSpec."""
        peer = self.peer_of(direction)
        if flight.kind == CLIENT_HELLO and self.reply_frame == NEVER and peer.end_frame != NEVER and not peer.hello.retries:
            self.answered_frame, self.answered_time = peer.end_frame, peer.end_time
            self.reply_frame, self.reply_time = frame, time

    def note_alert(self, flight: Flight, size: i64, frame: i64, time: i64) -> None:
        """Note an alert that may be the end of the handshake."""
        if flight.alert is not None and flight.alert.level == FATAL:
            return
        level, number = (flight.level, flight.number) if size == 2 else (i64(-1), i64(-1))
        if level >= 0 and self.is_1_3 and number not in (CLOSE_NOTIFY, USER_CANCELED):
            level = FATAL  # RFC 8446 section 6: the level is implied
        flight.alert = Alert(level, number, frame, time)

    def note_1_3(self, direction: i64, flight: Flight, size: i64, frame: i64, time: i64) -> None:
        """Note an encrypted record of TLS 1.3."""
        if size in ENCRYPTED_ALERT:
            flight.alert = Alert(-1, -1, frame, time)
        elif flight.kind != CLIENT_HELLO:
            self.note_server_1_3(flight, self.peer_of(direction), size, frame, time)
        elif flight.finished_frame != NEVER or self.is_complete:
            flight.sent_content = True
        elif flight.hello.early_data:
            self.lose()  # early data may have any length
        elif size in FINISHED:
            flight.finished_frame, flight.finished_time, self.is_unclear = frame, time, False
            if not self.certificate_asked:
                self.complete()
        elif size != END_OF_EARLY_DATA:
            self.certificate_asked = self.is_unclear = True

    def note_server_1_3(self, flight: Flight, client: Flight, size: i64, frame: i64, time: i64) -> None:
        """Note an encrypted record of a server that chose TLS 1.3, except an alert."""
        if client.finished_frame == NEVER and not self.is_unclear:
            flight.end_frame, flight.end_time = frame, time
            return
        if not self.is_complete:
            flight.end_frame, flight.end_time = frame, time
            self.complete()  # a ticket or a response: the server has accepted the client's messages
        flight.sent_content = client.sent_content
        if flight.first_ticket == 0:
            flight.first_ticket = size
            return
        if flight.first_ticket == size:
            flight.sent_ticket = True
        if client.sent_content:
            self.stop()
        flight.first_ticket = -1

    def complete(self) -> None:
        """Note that the handshake is complete, unless records could not be followed."""
        if self.cannot_follow:
            self.stop()
        else:
            self.is_complete = True


def size_of(message: bytes) -> i64:
    """Return the size of a handshake message without its header."""
    return i64(message[1]) << 16 | u16(message, 2)
