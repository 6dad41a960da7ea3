"""The HTTP state of a connection: what its two directions are, how they are read, and until when HTTP waits for packets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mypy_extensions import i64, mypyc_attr

from wiredoctor.core import faults, message_parts, reassembly, recognition, transfers
from wiredoctor.core.bursts import describe_body
from wiredoctor.core.connection import Connection, Side
from wiredoctor.core.connection_rows import hash_endpoint
from wiredoctor.core.faults import Fault
from wiredoctor.core.http1 import GONE, Reader
from wiredoctor.core.message import OFF, REQUEST, SEEK, Exchange
from wiredoctor.core.packet import Packet
from wiredoctor.core.pairing import Pairing
from wiredoctor.core.recognition import HTTP, UNKNOWN, Cuts
from wiredoctor.core.segment import NEVER, Segment
from wiredoctor.core.stream import Stream
from wiredoctor.protocols.tls.hello import SILENT, TlsFacts
from wiredoctor.protocols.tls.hello import Handshake as TlsHandshake

if TYPE_CHECKING:
    from wiredoctor.core.http import Http

NO_STREAM: Final = Stream(GONE, 0)
"""The placeholder for both streams of an ended connection."""


@mypyc_attr(acyclic=True)
class Conversation:
    """The HTTP state of one connection. `client` is the direction of the requests, or -1 until a head has been read.

    `pairing` has the exchanges. `take_apart` breaks the reference cycles between this object, its pairing and its readers.
    """

    def __init__(self, http: Http, connection: Connection) -> None:
        self.http: Http = http
        self.connection: Connection = connection
        self.held_faults: list[Fault] | None = None
        """Faults that are reported when the next response begins (see faults.report, check_head and check_announced)."""
        self.is_doubtful: bool = False
        """True if the client sent bytes that are not HTTP, and no response has shown that the connection carries HTTP."""
        self.cuts: Cuts | None = None
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
        # assigned last: once `self` is passed on, mypyc only knows that the fields assigned before are set
        self.first: Reader = Reader(self, 0)
        self.second: Reader = Reader(self, 1)
        self.first_stream: Stream = Stream(self.first, 0)
        self.second_stream: Stream = Stream(self.second, 1)
        self.pairing: Pairing = Pairing(self)

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

    def read(self, packet: Packet, segment: Segment) -> None:
        """Read the new bytes of a packet, and describe in `segment.part` the message to which they belong."""
        self.clock = packet.clock
        if segment.direction == 0:
            reader, own, peer = self.first, self.connection.first, self.connection.second
        else:
            reader, own, peer = self.second, self.connection.second, self.connection.first
        part = segment.part
        outstanding = self.pairing.outstanding
        message_parts.clear(part)
        message = reader.message
        if message is not None and packet.length > 0:
            if message.transfer is not None:
                message.transfer.sends(own, peer, packet, segment)
            elif message.body_bytes > 0:
                transfers.watch(message, own, peer, packet, segment, self.http.cutoffs.min_transfer)
        if segment.new_bytes > 0 and reader.mode != OFF:
            self.http.parts.begin(reader.direction, segment.offset + packet.length, reader.message)
            in_order = reassembly.read_new_bytes(self, self.stream_of(reader.direction), own, packet, segment)
            if self.first_stream.held is not None or self.second_stream.held is not None:
                reassembly.resume(self)
            if in_order:
                message_parts.describe(self, reader, segment, part)
        elif segment.new_bytes > 0 and self.pairing.newest is not None and self.pairing.newest.upgraded:
            part.upgraded = True
            recognition.note_goodbye(self, self.pairing.newest, segment.direction, packet)
        previous = own.previous
        part.http = self.client >= 0
        part.is_incomplete = (
            not part.http
            or outstanding > 0
            or (previous is not None and previous.message != NEVER and not previous.ends_message and previous.last_in_flight)
        )
        if segment.new_bytes > 0:
            part.unread = self.cuts is not None and reader.mode == SEEK
            if part.in_body or segment.opens_gap:
                describe_body(self.http, reader, segment, previous, own, peer, packet)
            self.http.parts.begin(-1, NEVER, None)
        self.pairing.write_finished(segment)
        awaited = self.peer_of(reader)
        message = awaited.message
        if message is not None:
            if message.transfer is not None:
                message.transfer.acknowledges(own, packet, segment)
            if message.releases is not None:
                message.releases.passes(own, packet)
        stream = self.stream_of(awaited.direction)
        if stream.waiting is not None:
            stream.waiting.acknowledge(own.acknowledged, self.clock)
            reassembly.wake_for_gap(self, stream)

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

    def add_fault(self, fault: Fault) -> None:
        """Write a row of `faults`."""
        self.http.faults.write(self, fault)

    def hold_fault(self, fault: Fault) -> None:
        """Keep a fault until the next response begins."""
        if self.held_faults is None:
            self.held_faults = []
        self.held_faults.append(fault)

    def report_held_faults(self) -> None:
        """Write the rows of the faults that were held."""
        held = self.held_faults
        if held is not None:
            self.held_faults = None
            for fault in held:
                faults.report_held(self, fault)

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

    def wake_at(self, time: i64) -> None:
        """Schedule a call of endings.wake at `time` (ns)."""
        if self.wakes_at == NEVER or time < self.wakes_at:
            self.wakes_at = time
            self.http.alarms.add(time, self)

    def take_apart(self) -> None:
        """Break the reference cycles of this object and its readers, because the garbage collector does not track them."""
        self.is_over = True
        self.held_faults = None
        self.pairing.take_apart()
        self.first = self.second = GONE
        self.first_stream = self.second_stream = NO_STREAM
