"""Follow the records of a TLS handshake until it is complete or one side ends it, without keys.

See RFC 8446 sections 4, 5.1 and 6, and RFC 5246 sections 7.2 and 7.4. Record headers are never encrypted. The type, length and
place of an encrypted record show what it contains.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from wiredoctor.protocols.tls.hello import NOTHING, Hello, Side, TlsFacts

CHANGE_CIPHER_SPEC, ALERT, HANDSHAKE, APPLICATION_DATA = 20, 21, 22, 23
_CLIENT_HELLO, _SERVER_HELLO, _CERTIFICATE_REQUEST = 1, 2, 13

_FINISHED = frozenset({45, 53, 61, 69, 85})
"""Lengths of a record of TLS 1.3 with a Finished: a hash of 32 or 48 bytes, a tag of 8 or 16, and perhaps 16 bytes of padding."""

_ENCRYPTED_ALERT = frozenset({11, 19, 35})
"""Lengths of a record of TLS 1.3 with an alert: a tag of 8 or 16 bytes, and perhaps 16 bytes of padding."""

_END_OF_EARLY_DATA = 21

CLOSE_NOTIFY, USER_CANCELED, NO_RENEGOTIATION = 0, 90, 100
_FATAL = 2

MOST_RECORDS = 64
"""The maximum number of records of a side that belong to a handshake; after that, the connection is not followed."""


class Place(NamedTuple):
    """A packet: its frame number and its time (ns)."""

    frame: int
    time: int


class Alert(NamedTuple):
    """An alert. `level` and `number`: None if it is encrypted."""

    level: int | None
    number: int | None
    place: Place

    @property
    def is_close(self) -> bool:
        """True if the alert only announces a close."""
        return self.number in (CLOSE_NOTIFY, USER_CANCELED)


class ReadHello(NamedTuple):
    """A hello that was read, as `Side` has it, in less memory."""

    kind: int = 0
    hello: Hello = NOTHING


_NO_HELLO = ReadHello()


@dataclass(slots=True, eq=False, repr=False)
class Flight:
    """What one side has sent in the handshake.

    `hello`: the place of the end of its hello. `end`: the newest record that belongs to the handshake, except a ChangeCipherSpec.
    `changed`: it has sent a ChangeCipherSpec. `finished`: the place of its Finished. `alert`: its first fatal alert, or a warning
    or an encrypted alert that is its newest record. `left`: the number of missing bytes of the current record. `message`: the
    first bytes of the current handshake message that is not encrypted, and `skipped`: the number of its bytes that are to be
    passed over. `is_off`: no more of its bytes are read.
    """

    reader: Side | ReadHello = _NO_HELLO
    hello: Place | None = None
    end: Place | None = None
    changed: bool = False
    finished: Place | None = None
    alert: Alert | None = None
    sent_content: bool = False
    records: int = 0
    head: bytes = b""
    left: int = 0
    content: bytes = b""
    message: bytes = b""
    skipped: int = 0
    hello_bytes: int = 0
    is_off: bool = False


@dataclass(slots=True, eq=False, repr=False)
class Handshake:
    """The TLS handshake of a connection.

    `is_1_3`: the server chose TLS 1.3. `cannot_follow`: bytes are missing, or are not TLS. `is_unclear`: the client has sent
    encrypted records of TLS 1.3, none of which is a Finished by its length; some clients send other messages in the same record.
    """

    flights: tuple[Flight, Flight] = field(default_factory=lambda: (Flight(), Flight()))
    is_1_3: bool = False
    certificate_asked: bool = False
    is_complete: bool = False
    cannot_follow: bool = False
    is_unclear: bool = False
    is_over: bool = False

    @property
    def is_lost(self) -> bool:
        """True if nothing is known of the end of the handshake."""
        return self.cannot_follow or self.is_unclear

    def result(self) -> TlsFacts:
        """Return the version, the server's name, the offered and the chosen protocols, and whether part of the ClientHello was
        encrypted.
        """
        client, server = self.hello_of(_CLIENT_HELLO), self.hello_of(_SERVER_HELLO)
        return server.version or client.version, client.name, client.protocols, server.protocols, client.hides

    def hello_of(self, kind: int) -> Hello:
        """Return the hello of this kind (1 ClientHello, 2 ServerHello); NOTHING if there is none."""
        return next((f.reader.hello for f in self.flights if f.reader.kind == kind), NOTHING)

    def client(self) -> int | None:
        """Return the direction of the ClientHello; None if there is none."""
        return next((i for i, f in enumerate(self.flights) if f.reader.kind == _CLIENT_HELLO), None)

    def add(self, direction: int, data: bytes, frame: int, time: int) -> bool:
        """Add bytes of the stream; return False if no more bytes of this direction are needed."""
        flight, place = self.flights[direction], Place(frame, time)
        at = 0
        while at < len(data) and not (self.is_over or flight.is_off):
            if flight.left == 0:
                part = data[at : at + 5 - len(flight.head)]
                flight.head += part
                at += len(part)
                if len(flight.head) == 5:
                    self._begin_record(flight)
                continue
            part = data[at : at + flight.left]
            at += len(part)
            flight.left -= len(part)
            if len(flight.content) < 2:
                flight.content += part[:2]
            self._add_content(direction, part, place)
            if flight.left == 0:
                self._end_record(direction, place)
        return not (self.is_over or flight.is_off)

    def lose(self) -> None:
        """Stop following the records, because bytes are missing or are not TLS."""
        self.cannot_follow = self.cannot_follow or not self.is_complete
        self._stop()

    def _stop(self) -> None:
        self.is_over = True
        for flight in self.flights:
            flight.head = flight.content = flight.message = b""
            flight.reader = ReadHello(flight.reader.kind, flight.reader.hello)

    def _begin_record(self, flight: Flight) -> None:
        """Read the header of a record."""
        flight.left = int.from_bytes(flight.head[3:])
        flight.records += 1
        flight.content = b""
        known = CHANGE_CIPHER_SPEC <= flight.head[0] <= APPLICATION_DATA and flight.head[1] == 3
        if not known or not 0 < flight.left <= (1 << 14) + 2048 or flight.records > MOST_RECORDS:
            self.cannot_follow = flight.is_off = True

    def _add_content(self, direction: int, part: bytes, place: Place) -> None:
        """Read the handshake messages that are not encrypted."""
        flight = self.flights[direction]
        if flight.head[0] != HANDSHAKE or (flight.changed and not self.is_1_3):
            return
        if flight.hello is None:
            header = flight.head if flight.left + len(part) == int.from_bytes(flight.head[3:]) else b""
            self._add_hello(flight, header + part, place)
            return
        self._skip_messages(flight, part)

    def _add_hello(self, flight: Flight, data: bytes, place: Place) -> None:
        """Add bytes to a hello, and read the messages behind it in the same record."""
        reader = flight.reader if isinstance(flight.reader, Side) else Side()
        flight.reader = reader
        flight.hello_bytes += len(data)
        if reader.add(data):
            return
        flight.reader = ReadHello(reader.kind, reader.hello)
        self.is_1_3 = self.is_1_3 or reader.hello.is_1_3
        if not reader.kind or self.cannot_follow:  # the hello of the other side may still be read
            self.cannot_follow = flight.is_off = True
        flight.hello = flight.end = place
        if reader.rest:
            self._skip_messages(flight, reader.rest)

    def _skip_messages(self, flight: Flight, part: bytes) -> None:
        """Read the headers of handshake messages."""
        while part:
            if flight.skipped:
                taken = min(flight.skipped, len(part))
                flight.skipped -= taken
                part = part[taken:]
                continue
            taken = 4 - len(flight.message)
            flight.message += part[:taken]
            part = part[taken:]
            if len(flight.message) == 4:
                self.certificate_asked |= flight.message[0] == _CERTIFICATE_REQUEST
                flight.skipped = int.from_bytes(flight.message[1:])
                flight.message = b""

    def _end_record(self, direction: int, place: Place) -> None:
        """Note what a complete record means for the handshake."""
        flight, peer = self.flights[direction], self.flights[1 - direction]
        kind, size = flight.head[0], int.from_bytes(flight.head[3:])
        flight.head = b""
        if flight.alert is not None and flight.alert.level != _FATAL and kind != ALERT:
            flight.alert = None
        if kind == CHANGE_CIPHER_SPEC:
            flight.changed = True
            return
        if kind == ALERT:
            self._note_alert(flight, size, place)
            return
        if self.is_1_3 and kind == APPLICATION_DATA:
            self._note_1_3(direction, size, place)
        elif kind == HANDSHAKE:
            flight.end = place
            if flight.changed and not self.is_1_3 and flight.finished is None:
                flight.finished = place
        else:
            flight.sent_content = True
        if not self.is_1_3 and (
            (flight.finished is not None and peer.finished is not None) or (flight.sent_content and peer.sent_content)
        ):
            self._complete()

    def _note_alert(self, flight: Flight, size: int, place: Place) -> None:
        if flight.alert is not None and flight.alert.level == _FATAL:
            return
        level, number = (flight.content[0], flight.content[1]) if size == 2 else (None, None)
        if level is not None and self.is_1_3 and number not in (CLOSE_NOTIFY, USER_CANCELED):
            level = _FATAL  # RFC 8446 section 6: the level is implied
        flight.alert = Alert(level, number, place)

    def _note_1_3(self, direction: int, size: int, place: Place) -> None:
        """Note an encrypted record of TLS 1.3."""
        flight = self.flights[direction]
        if size in _ENCRYPTED_ALERT:
            flight.alert = Alert(None, None, place)
        elif flight.reader.kind != _CLIENT_HELLO:
            if self.flights[1 - direction].finished is not None or self.is_unclear:
                self._complete()  # a ticket or a response: the server has accepted the client's messages
            flight.end = place
        elif flight.finished is not None:
            flight.sent_content = True
        elif flight.reader.hello.early_data:
            self.lose()  # early data may have any length
        elif size in _FINISHED:
            flight.finished, self.is_unclear = place, False
            if not self.certificate_asked:
                self._complete()
        elif size != _END_OF_EARLY_DATA:
            self.certificate_asked = self.is_unclear = True

    def _complete(self) -> None:
        self.is_complete = not self.cannot_follow
        self._stop()


class Ending(NamedTuple):
    """What ended a handshake. `by`: client or server. `how`: alert, close-notify, fin or rst. `alert`: its number, or None.

    `ack`: the offset in the peer's stream that a FIN or RST acknowledges, or a value below 0.
    """

    by: str
    how: str
    alert: int | None
    frame: int
    time: int
    ack: int


Closes = list[tuple[str, int, int, int]]
"""The FIN and the RST of a side: how, frame, time (ns), and the offset in the peer's stream that it acknowledges."""


def find_ending(
    sent: Flight, answered: Flight, client: Closes, server: Closes, rtt_client: int, rtt_server: int
) -> Ending | None:
    """Return the first alert or close of either side; None if there is none.

    If an alert crossed the other side's close, it is the alert. `rtt_client` and `rtt_server`: the round trips (ns) from the
    capture point to both sides.
    """
    sides = (("client", sent, client, rtt_client), ("server", answered, server, rtt_server))
    ends = [(end, rtt) for by, flight, closes, rtt in sides if (end := _first_end(by, flight, closes))]
    if not ends:
        return None
    ends.sort(key=lambda one: one[0].frame)
    (first, _), (last, rtt) = ends[0], ends[-1]
    crossed = last.how == "alert" and first.how != "alert" and last.time - first.time < max(rtt, 0)
    return last if crossed else first


def _first_end(by: str, flight: Flight, closes: Closes) -> Ending | None:
    """Return how a side ended the handshake; None if it did not."""
    ends = [Ending(by, how, None, frame, time, ack) for how, frame, time, ack in closes]
    alert = flight.alert
    if alert is not None:
        fatal = alert.level == _FATAL or (bool(closes) and alert.number != NO_RENEGOTIATION)
        is_close = alert.is_close or (alert.level is None and by == "client" and flight.finished is not None)
        if is_close or fatal:
            how = "close-notify" if is_close else "alert"
            ends.append(Ending(by, how, alert.number, alert.place.frame, alert.place.time, -1))
    # an alert may be in the same packet as the FIN
    return min(ends, key=lambda end: (end.frame, end.how not in ("alert", "close-notify")), default=None)
