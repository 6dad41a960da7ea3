"""Both directions of a connection: which response answers which request, and when an exchange is over.

A response answers the oldest request without one that the server had seen when it sent it (`begin_response`). An exchange is
final when both its messages have ended; its row of `closes` follows when the next exchange begins, or some time after a close.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mypy_extensions import i64, mypyc_attr

from wiredoctor import limits
from wiredoctor.core import clocks, faults, reassembly, transfers
from wiredoctor.core.bursts import describe_body, settle_pauses
from wiredoctor.core.connection import Connection, Side
from wiredoctor.core.connection_rows import hash_endpoint
from wiredoctor.core.exchange_rows import find_known
from wiredoctor.core.faults import Fault
from wiredoctor.core.http1 import GONE, Reader, message_id
from wiredoctor.core.message import (
    ERROR,
    HEAD,
    OFF,
    REQUEST,
    SEEK,
    TUNNEL,
    UNTIL_CLOSE,
    Exchange,
    Interim,
    Message,
)
from wiredoctor.core.packet import Packet
from wiredoctor.core.protocols import HTTP, UNKNOWN, Cuts
from wiredoctor.core.segment import NEVER, MessagePart, Segment
from wiredoctor.core.stream import GRACE_PERIOD
from wiredoctor.protocols.tls.hello import SILENT, Told
from wiredoctor.protocols.tls.hello import Handshake as TlsHandshake

if TYPE_CHECKING:
    from wiredoctor.core.http import Http

CLOSE_FRAME: Final = 0x88
"""First octet of a WebSocket close frame: opcode 8, the last fragment."""


@mypyc_attr(acyclic=True)
class HttpConnection:
    """HTTP on one connection. `client` is the direction of the requests, -1 until a head was read. `take_apart` ends cycles."""

    def __init__(self, http: Http, connection: Connection) -> None:
        self.http: Http = http
        self.connection: Connection = connection
        self.oldest: Exchange | None = None
        """The first exchange without a row of `closes`; the next ones are linked to it."""
        self.newest: Exchange | None = None
        self.unwritten: Exchange | None = None
        """The first of them without a row of `exchanges`."""
        self.waiting: Exchange | None = None
        """The first exchange without a final response."""
        self.last_waiting: Exchange | None = None
        """The last one."""
        self.doubted: list[Fault] | None = None
        """Faults of requests, until a response shows that this is HTTP."""
        self.is_doubtful: bool = False
        """The client sent what is no HTTP, and no response has shown that this is HTTP."""
        self.cuts: Cuts | None = None
        self.tls: TlsHandshake | None = None
        self.number: i64 = connection.id
        self.client: i64 = -1
        self.protocol: i64 = UNKNOWN
        self.next_index: i64 = 0
        self.deadline: i64 = NEVER
        """After a FIN or RST: what is open then is decided."""
        self.wakes_at: i64 = NEVER
        """When http.py calls `wake`, NEVER if it does not."""
        self.is_over: bool = False
        self.is_kept: bool = False
        """Keeping counts bytes of it."""
        self.is_forced: bool = False
        """Nothing is waited for."""
        self.previous_close: bool = False
        """Whether the response of the exchange that was written last announced the close."""
        self.previous_end: i64 = NEVER
        """When that exchange ended."""
        self.previous_end_offset: i64 = NEVER
        """Where its response ended in the server's stream."""
        self.unanswered: i64 = 0
        """Exchanges without a final response: those from `waiting` on."""
        self.outstanding: i64 = 0
        """Requests that have ended while their responses have not."""
        self.clock: i64 = NEVER
        self.rtt_own: i64 = NEVER
        """Round trip to the sender of the message that begins, known before it."""
        self.rtt_peer: i64 = NEVER
        """Round trip to its receiver."""
        self.gap_time: i64 = NEVER
        """Since then it is known that the capture lacks a head, or chunk framing."""
        self.endpoint: i64 = 0
        """A number for the server's address and port."""
        # after all other fields: those are known to be set then
        self.first: Reader = Reader(self, 0)
        self.second: Reader = Reader(self, 1)

    def reader_of(self, direction: i64) -> Reader:
        """Return the reader of a direction."""
        return self.first if direction == 0 else self.second

    def peer_of(self, reader: Reader) -> Reader:
        """Return the reader of the other direction."""
        return self.second if reader.direction == 0 else self.first

    def reached(self, direction: i64) -> i64:
        """Return the offset up to which a direction was captured, or given up; NEVER while its beginning is unknown."""
        reached = self.reader_of(direction).reached
        if reached == NEVER and self.side_of(direction).syn is not None:
            return 0
        return reached

    def side_of(self, direction: i64) -> Side:
        """Return what TCP knows of a direction."""
        return self.connection.first if direction == 0 else self.connection.second

    # packets

    def read(self, packet: Packet, segment: Segment) -> None:
        """Read the new bytes of a packet, and describe the message that they belong to in `segment.part`."""
        self.clock = packet.clock
        if segment.direction == 0:
            reader, own, peer = self.first, self.connection.first, self.connection.second
        else:
            reader, own, peer = self.second, self.connection.second, self.connection.first
        part = segment.part
        outstanding = self.outstanding
        clear(part)
        message = reader.message
        if message is not None and packet.length > 0:
            if message.transfer is not None:
                message.transfer.sends(own, peer, packet, segment)
            elif message.body_bytes > 0:
                transfers.watch(message, own, peer, packet, segment, self.http.cutoffs.min_transfer)
        if segment.new_bytes > 0 and reader.mode != OFF:
            reader.packet_end = segment.offset + packet.length
            reader.first = reader.newest = reader.message
            in_order = reassembly.read_new_bytes(self, reader, own, packet, segment)
            if self.first.held is not None or self.second.held is not None:
                reassembly.resume(self)
            if in_order:
                self.describe(reader, segment, part)
        elif segment.new_bytes > 0 and self.newest is not None and self.newest.upgraded:
            part.upgraded = True
            self.note_goodbye(self.newest, segment.direction, packet)
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
            reader.first = reader.newest = None
            reader.dropped = None
        self.write_finished(segment)
        awaited = self.peer_of(reader)
        message = awaited.message
        if message is not None:
            if message.transfer is not None:
                message.transfer.acknowledges(own, packet, segment)
            if message.releases is not None:
                message.releases.passes(own, packet)
        if awaited.waiting is not None:
            awaited.waiting.acknowledge(own.acknowledged, self.clock)
            reassembly.wake_for_gap(self, awaited)

    def note_goodbye(self, exchange: Exchange, direction: i64, packet: Packet) -> None:
        """Note whether a segment of an upgraded connection is a WebSocket close frame (RFC 6455 section 5.5.1): its first octet,
        and the length in the second, which says whether a key of four bytes follows."""
        at, captured = packet.payload, packet.captured
        is_goodbye = captured > 1 and i64(packet.block[at]) == CLOSE_FRAME
        if is_goodbye:
            second = i64(packet.block[at + 1])
            is_goodbye = packet.length == 2 + (second & 0x7F) + (i64(4) if second & 0x80 else i64(0))
        if direction == self.client:
            exchange.client_says_goodbye = is_goodbye
        else:
            exchange.server_says_goodbye = is_goodbye

    # segments

    def describe(self, reader: Reader, segment: Segment, part: MessagePart) -> None:
        """Describe the messages that the first and the last byte of a packet belong to."""
        start = segment.new_start
        end = reader.packet_end
        partial = reader.partial if reader.mode == HEAD and not reader.waits else None
        first, last = reader.first, reader.newest
        if first is not None and first.begin <= start < first.end:
            part.message = first.id
            if end >= first.head_end:
                part.exchange = first.exchange
            part.in_body = first.end > first.head_end and end > first.head_end
        elif partial is not None and partial.offset <= start:
            part.message = message_id(self.number, reader.count, reader.direction)
        elif reader.dropped is not None and reader.dropped.holds(start):
            part.message = message_id(self.number, reader.count - 1, reader.direction)
        if last is not None and last.begin < end <= last.end:
            part.last_message = last.id
            part.ends_head = end == last.head_end
            part.ends_message = end == last.end and last.head_end <= last.end
            if end > last.head_end:
                part.in_body = True
                part.body_bytes = end - max(start, last.head_end)
        elif partial is not None and partial.offset < end:
            part.last_message = message_id(self.number, reader.count, reader.direction)
        elif reader.dropped is not None and reader.dropped.holds(end - 1):
            part.last_message = message_id(self.number, reader.count - 1, reader.direction)
        part.event_stream = part.in_body and first is not None and part.message == first.id and first.head.is_stream

    # protocol

    def take_kind(self, reader: Reader, kind: i64) -> bool:
        """Let the first head decide which direction is the client's; return False if that contradicts the peer."""
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

    def tls_facts(self) -> Told:
        """Return what the TLS hellos say."""
        return SILENT if self.tls is None else self.tls.said()

    def note_gap(self, time: i64) -> None:
        """Note that a head, or chunk framing, is not in the capture."""
        self.gap_time = time if self.gap_time == NEVER else min(time, self.gap_time)

    def add_fault(self, fault: Fault) -> None:
        """Write a row of `faults`."""
        self.http.faults.write(self, fault)

    def believe_faults(self) -> None:
        """Report the faults of requests: nothing contradicts that this is HTTP."""
        doubted = self.doubted
        if doubted is not None:
            for fault in doubted:
                self.add_fault(fault)
            self.doubted = None

    # requests and responses

    def add_exchange(self, message: Message, rtt_own: i64, rtt_peer: i64) -> Exchange:
        """Begin an exchange with its first message."""
        exchange = Exchange(self.next_index)
        self.next_index += 1
        exchange.began_frame, exchange.began = message.frame, message.start
        if message.head.status < 0:
            exchange.request = message
            exchange.rtt_client, exchange.rtt_server = rtt_own, rtt_peer
        else:
            exchange.request_done = True
            exchange.rtt_client, exchange.rtt_server = rtt_peer, rtt_own
        if self.newest is None:
            self.oldest = exchange
        else:
            self.newest.next = exchange
        self.newest = exchange
        if self.unwritten is None:
            self.unwritten = exchange
        return exchange

    def append_waiting(self, exchange: Exchange) -> None:
        """Let an exchange wait for its response after all others."""
        last = self.last_waiting
        if last is None:
            self.waiting = exchange
        else:
            last.next_waiting = exchange
        self.last_waiting = exchange
        self.unanswered += 1

    def prepend_waiting(self, exchange: Exchange) -> None:
        """Let an exchange wait for its response before all others."""
        exchange.next_waiting = self.waiting
        self.waiting = exchange
        if self.last_waiting is None:
            self.last_waiting = exchange
        self.unanswered += 1

    def take_waiting(self) -> None:
        """Let the first exchange wait no more."""
        exchange = self.waiting
        if exchange is not None:
            self.waiting = exchange.next_waiting
            exchange.next_waiting = None
            if self.waiting is None:
                self.last_waiting = None
            self.unanswered -= 1

    def has_too_many_requests(self) -> bool:
        """Whether more requests wait for a response than are kept."""
        return self.unanswered > self.http.most_requests

    def begin_request(self, reader: Reader, message: Message) -> Exchange:
        """Return the exchange of a request that begins."""
        announced = reader.announced
        if announced is not None:
            announced.request = message
            reader.announced = None
            return announced
        exchange = self.add_exchange(message, self.rtt_own, self.rtt_peer)
        self.append_waiting(exchange)
        return exchange

    def begin_response(self, message: Message, ack: i64) -> Exchange:
        """Return the exchange of a response that begins; a new one if the capture does not have its request."""
        server = self.reader_of(1 - self.client)
        self.believe_faults()
        self.is_doubtful = False
        if server.is_lost:
            server.is_lost = False
            asked = self.waiting
            following = None if asked is None else asked.next_waiting
            faults.settle_answer(server, asked, following is not None and following.has_seen(ack))
            self.pass_over(ack, message.last_frame)
        exchange = self.waiting
        if exchange is None or not exchange.has_seen(ack):
            self.reader_of(self.client).announce(ack)
            exchange = self.waiting
        if exchange is None or not exchange.has_seen(ack):
            exchange = self.add_exchange(message, self.rtt_own, self.rtt_peer)
            self.prepend_waiting(exchange)
        if not message.head.is_interim():
            exchange.response = message
            self.take_waiting()
        return exchange

    def pass_over(self, ack: i64, frame: i64) -> None:
        """Skip requests without captured responses: after a gap, a response answers the newest request that the server had
        seen."""
        while True:
            exchange = self.waiting
            following = None if exchange is None else exchange.next_waiting
            if exchange is None or following is None or not following.has_seen(ack):
                return
            self.take_waiting()
            exchange.settle_for_interim()
            exchange.response_done = True
            exchange.final_frame = max(exchange.final_frame, frame)
            if exchange.request_done and exchange.request is not None:
                self.outstanding -= 1

    def may_answer(self, ack: i64, time: i64) -> bool:
        """Return whether a response of this ACK number can be read now: all bytes that it acknowledges are there, or have been
        waited for long enough. Its request may have been captured late."""
        waiting = self.waiting
        if self.is_forced or ack == NEVER or (waiting is not None and waiting.has_seen(ack)):
            return True
        asking = self.reader_of(self.client)
        reached = self.reached(self.client)
        if reached == NEVER or self.clock - time >= GRACE_PERIOD:
            return True
        if asking.held is not None and asking.pos < ack:
            return False
        # one number more is a FIN
        return asking.mode == OFF or ack <= reached + 1

    def end_message(self, reader: Reader, exchange: Exchange, message: Message) -> None:
        """Add a message that has ended to its exchange."""
        if self.http.messages is not None:
            self.http.messages.write(self, message)
        if message.transfer is not None:
            transfers.write(self.http.transfers, self, message, reader.direction, self.http.cutoffs.min_transfer)
        if reader.kind == REQUEST:
            exchange.request_done = True
            if not exchange.response_done:
                self.outstanding += 1
            if exchange.upgraded:
                reader.switch_off()
            elif message.head.switches and not self.is_forced and not exchange.response_done:
                reader.waits = True
        elif exchange.response is not message:
            interim = exchange.interim
            if interim is None:
                interim = exchange.interim = Interim(message)
            interim.newest = message
            if len(interim.statuses) < limits.INTERIM.value:
                interim.statuses.append(message.head.status)
                interim.times.append(message.start)
            else:
                self.http.met.add(limits.INTERIM)
        else:
            exchange.response_done = True
            if exchange.request_done and exchange.request is not None:
                self.outstanding -= 1
            self.end_response(exchange, message)

    def end_response(self, exchange: Exchange, message: Message) -> None:
        """Go on after a final response: the protocol may change, or a client that waited for that may go on."""
        asking = self.reader_of(self.client)
        request = exchange.request
        if message.framing == TUNNEL or (message.head.status == 101 and (request is None or request.head.switches)):
            exchange.upgraded = True
            if request is None:
                # which of the client's bytes follow it is unknown: they are read as far as they are HTTP
                self.reader_of(1 - self.client).switch_off()
                return
            if asking.message is not None and asking.exchange is not exchange:
                asking.finish(ERROR)
            self.stop(exchange)
        elif asking.waits and self.waiting is None:
            asking.waits = False

    def stop(self, upgraded: Exchange | None) -> None:
        """Read no more: this is no HTTP/1.x any more, except for the rest of the request for that (RFC 9110 section
        7.8)."""
        for reader in (self.first, self.second):
            if upgraded is None or reader.message is None or reader.exchange is not upgraded:
                reader.switch_off()

    def give_up(self, last: Exchange) -> None:
        """Read nothing after the request head of `last`, because too many requests wait for a response."""
        self.http.met.add(limits.PIPELINED)
        self.stop(None)
        self.next_index = last.index + 1
        self.waiting = self.last_waiting = None
        self.unanswered = 0
        exchange = self.oldest
        while exchange is not None:
            if exchange.request is None:
                exchange.settle_for_interim()
            elif not exchange.response_done:
                exchange.leave_unanswered()
            exchange.request_done = exchange.response_done = True
            exchange = exchange.next
        self.write_final(last.rtt_client, last.rtt_server)
        self.write_closes(last.rtt_client, last.rtt_server, True)

    # rows

    def write_finished(self, segment: Segment) -> None:
        """Write rows of exchanges that are final, and of closes that the next exchange decides."""
        oldest, exchange = self.oldest, self.unwritten
        is_final = exchange is not None and exchange.is_final()
        if oldest is None or not (is_final or (oldest is not exchange and oldest.next is not None)):
            return
        is_client = segment.direction == self.client
        rtt_client = segment.rtt_own if is_client else segment.rtt_peer
        rtt_server = segment.rtt_peer if is_client else segment.rtt_own
        self.write_final(rtt_client, rtt_server)
        self.write_closes(rtt_client, rtt_server, False)

    def write_final(self, rtt_client: i64, rtt_server: i64) -> None:
        """Write the exchanges that are final, in their order."""
        exchange = self.unwritten
        while exchange is not None and exchange.is_final():
            self.write_exchange(exchange, exchange.last_frame(), rtt_client, rtt_server)
            exchange = exchange.next
        self.unwritten = exchange

    def write_closes(self, rtt_client: i64, rtt_server: i64, with_last: bool) -> None:
        """Write what followed exchanges that are final: the next one."""
        exchange = self.oldest
        while exchange is not None and exchange is not self.unwritten:
            following = exchange.next
            if following is None and not with_last:
                return
            if following is not None and following.began_frame >= exchange.last_frame():
                client, server = following.rtt_client, following.rtt_server
            else:
                client, server = rtt_client, rtt_server
            self.http.closes.close(self, exchange, following, client, server, NEVER, False)
            self.drop(exchange)
            exchange = following

    def write_exchange(self, exchange: Exchange, frame: i64, rtt_client: i64, rtt_server: i64) -> None:
        """Write a row of `exchanges`, and remember what the next row says of it. `frame` is the one in which it ended."""
        exchange.previous_end = self.previous_end
        exchange.previous_end_offset = self.previous_end_offset
        exchange.previous_close = self.previous_close
        over = exchange.last_time()
        exchange.known = find_known(self, frame, over)
        exchange.known_rtt_client, exchange.known_rtt_server = rtt_client, rtt_server
        exchange.final_at = over
        response = exchange.response
        if response is not None and response.pieces is not None:
            tick = clocks.unit_of(self.side_of(1 - self.client))
            response.pieces.settle(self.http.cutoffs.min_held_events, tick, over=True)
        if response is not None and response.pauses is not None:
            settle_pauses(response.pauses, self.side_of(1 - self.client))
        self.http.exchanges.write(self, exchange)
        if response is None:
            self.previous_end = max(self.previous_end, over)
            return
        self.previous_end = over
        self.previous_close = response.head.announces_close or response.framing == UNTIL_CLOSE
        self.previous_end_offset = response.end_offset

    def drop(self, exchange: Exchange) -> None:
        """Forget the oldest exchange: both its rows are written."""
        self.oldest = exchange.next
        exchange.next = None
        if self.oldest is None:
            self.newest = None

    # time

    def wake_at(self, time: i64) -> None:
        """Have `wake` called when the clock reaches `time`."""
        if self.wakes_at == NEVER or time < self.wakes_at:
            self.wakes_at = time
            self.http.alarms.add(time, self)

    def take_apart(self) -> None:
        """Cut the cycles: the garbage collector does not look at them."""
        self.is_over = True
        self.doubted = None
        self.oldest = self.newest = self.unwritten = self.waiting = self.last_waiting = None
        self.first = self.second = GONE


def clear(part: MessagePart) -> None:
    """Describe a packet without new bytes of a message."""
    part.message = NEVER
    part.last_message = NEVER
    part.exchange = -1
    part.in_body = False
    part.event_stream = False
    part.ends_head = False
    part.ends_message = False
    part.upgraded = False
    part.unread = False
    part.body_bytes = 0


def clear_unread(part: MessagePart) -> None:
    """Describe a packet of a connection on which no payload has been read."""
    clear(part)
    part.http = False
    part.is_incomplete = True
