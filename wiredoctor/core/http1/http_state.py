"""What is known about the HTTP of a connection: its two directions, its exchanges, and until when HTTP waits for packets."""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64, mypyc_attr

from wiredoctor.core.hashes import hash_endpoint
from wiredoctor.core.http1.exchange_queue import ExchangeQueue
from wiredoctor.core.http1.message import REQUEST, Exchange, Fault
from wiredoctor.core.http1.reader import GONE, Reader
from wiredoctor.core.http1.stream import Stream
from wiredoctor.core.tcp.connection import Connection, Side
from wiredoctor.core.tcp.damage import is_altered
from wiredoctor.core.tcp.segment import NEVER
from wiredoctor.core.tls.tls_handshake import TlsHandshake
from wiredoctor.core.tls.tls_hello import SILENT, TlsFacts

UNKNOWN: Final = 0
HTTP: Final = 1
TLS_PROTOCOL: Final = 2
HTTP2: Final = 3
"""The protocol HTTP/2. UNKNOWN to HTTP2 are the protocols that a connection with payload can have."""

NO_STREAM: Final = Stream(GONE, 0)
"""The placeholder for both streams of an ended connection."""


class Cuts:
    """Packets that the snap length cut off inside heads or chunk framing: their number, and frame and time of the first."""

    def __init__(self) -> None:
        self.count: i64 = 0
        self.frame: i64 = NEVER
        self.time: i64 = NEVER


class Opening:
    """The first bytes of a direction: an index into recognition.OPENINGS, and frame and time of their packet."""

    def __init__(self, kind: i64, frame: i64, time: i64) -> None:
        self.kind: i64 = kind
        self.frame: i64 = frame
        self.time: i64 = time


NO_OPENING: Final = Opening(0, NEVER, NEVER)
"""The placeholder for first bytes that are not known."""


@mypyc_attr(acyclic=True)
class HttpState:
    """The HTTP state of one connection. `client` is the direction of the requests, or -1 until a head has been read.

    `queue` has the exchanges. `take_apart` breaks the reference cycles between this object and its readers.
    """

    def __init__(self, connection: Connection) -> None:
        self.connection: Connection = connection
        self.held_faults: list[Fault] | None = None
        """Faults that are reported when the next response begins (see faults.report, check_head and check_announced)."""
        self.is_doubtful: bool = False
        """True if the client sent bytes that are not HTTP, and no response has shown that the connection carries HTTP."""
        self.cuts: Cuts | None = None
        self.first_opening: Opening = NO_OPENING
        self.second_opening: Opening = NO_OPENING
        self.tls: TlsHandshake | None = None
        self.client: i64 = -1
        self.protocol: i64 = UNKNOWN
        self.deadline: i64 = NEVER
        """After a FIN or RST: the time at which messages that are still open are ended. NEVER if there was no FIN or RST."""
        self.wakes_at: i64 = NEVER
        """The time for which a call of endings.wake is scheduled, or NEVER if none is."""
        self.is_over: bool = False
        self.is_kept: bool = False
        """True if the stored bytes of the connection count toward the limit on memory (keeping.py)."""
        self.is_forced: bool = False
        """True if the readers no longer wait for bytes of the other direction."""
        self.clock: i64 = NEVER
        self.rtt_own: i64 = NEVER
        """The round trip in ns to the sender of the current message, as measured before the message began."""
        self.rtt_peer: i64 = NEVER
        """The round trip in ns to the receiver of the current message, as measured before the message began."""
        self.gap_time: i64 = NEVER
        """The time since which a head or chunk framing is known to be missing from the capture."""
        self.endpoint: i64 = 0
        """A hash of the server's address and port."""
        self.first: Reader = GONE
        self.second: Reader = GONE
        self.first_stream: Stream = NO_STREAM
        self.second_stream: Stream = NO_STREAM
        self.queue: ExchangeQueue = ExchangeQueue()

    @property
    def number(self) -> i64:
        """The id of the connection."""
        return self.connection.id

    def reader_of(self, direction: i64) -> Reader:
        """Return the reader of a direction."""
        return self.first if direction == 0 else self.second

    def stream_of(self, direction: i64) -> Stream:
        """Return the bytes of a direction."""
        return self.first_stream if direction == 0 else self.second_stream

    def peer_of(self, reader: Reader) -> Reader:
        """Return the reader of the other direction."""
        return self.second if reader.direction == 0 else self.first

    def reached_offset(self, direction: i64) -> i64:
        """Return the offset up to which a direction was read or skipped, or the constant NEVER while its beginning is unknown."""
        reached = self.stream_of(direction).reached
        if reached == NEVER and self.side_of(direction).syn is not None:
            return 0
        return reached

    def side_of(self, direction: i64) -> Side:
        """Return the TCP state of a direction."""
        return self.connection.first if direction == 0 else self.connection.second

    def take_kind(self, reader: Reader, kind: i64) -> bool:
        """Let the first head of a connection determine which direction is the client's.

        `kind`: REQUEST or RESPONSE. Return False if this head contradicts an earlier one.
        """
        client = reader.direction if kind == REQUEST else 1 - reader.direction
        if self.client >= 0:
            return self.client == client
        self.client = client
        self.protocol = HTTP
        reader.kind = kind
        self.peer_of(reader).kind = 1 - kind
        connection = self.connection
        self.endpoint = hash_endpoint(connection.key, client == 1)
        if connection.client_certainty == 0:
            connection.client, connection.client_certainty = client, 1
        return True

    def tls_facts(self) -> TlsFacts:
        """Return the facts from the TLS hellos of the connection; empty facts if there was no handshake."""
        return SILENT if self.tls is None else self.tls.result()

    def note_gap(self, time: i64) -> None:
        """Record when a packet first showed that chunk framing or a head is missing from the capture."""
        self.gap_time = time if self.gap_time == NEVER else min(time, self.gap_time)

    def hold_fault(self, fault: Fault) -> None:
        """Keep a fault until the next response begins, unless the capture does not have the bytes that were sent."""
        if is_altered(self.connection):
            return
        if self.held_faults is None:
            self.held_faults = []
        self.held_faults.append(fault)

    def stop(self, upgraded: Exchange | None) -> None:
        """Stop reading both directions, because the connection no longer carries HTTP/1.x.

        `upgraded`: the exchange with the upgrade, if there is one. The end of its request is still read (RFC 9110 section 7.8).
        """
        for reader in (self.first, self.second):
            if upgraded is None or reader.message is None or reader.exchange is not upgraded:
                self.switch_off(reader)

    def switch_off(self, reader: Reader) -> None:
        """Stop reading HTTP in a direction for good."""
        reader.switch_off()
        self.stream_of(reader.direction).held = None

    def take_apart(self) -> None:
        """Break the reference cycles of this object and its readers, because the garbage collector does not track them."""
        self.is_over = True
        self.held_faults = None
        self.queue.take_apart()
        self.first = self.second = GONE
        self.first_stream = self.second_stream = NO_STREAM
