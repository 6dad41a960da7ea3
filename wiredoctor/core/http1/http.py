"""Read the HTTP of all connections: take packets, and write rows of exchanges, closes and faults.

`Http.read` finds the Conversation of the packet's connection, and passes new bytes in order (reassembly.py) to the reader of
their direction (http1_reader.py). exchange_rows.py and close_rows.py write the rows.
"""

from __future__ import annotations

from mypy_extensions import i64

from wiredoctor.core.capture.packet import Packet
from wiredoctor.core.cutoffs import Cutoffs
from wiredoctor.core.http1 import bursts, endings, message_parts, reassembly, recognition, transfers
from wiredoctor.core.http1.conversation import Conversation
from wiredoctor.core.http1.final_exchanges import write_finished
from wiredoctor.core.http1.http1_reader import Http1Reader
from wiredoctor.core.http1.message import OFF, SEEK
from wiredoctor.core.http1.message_parts import clear_unread
from wiredoctor.core.http1.relief import relieve
from wiredoctor.core.http1.shared_http import SharedHttp
from wiredoctor.core.http1.stream import Stream
from wiredoctor.core.rows.cells import Rows
from wiredoctor.core.tcp.connection import Connection
from wiredoctor.core.tcp.segment import FIN, FOREVER, NEVER, RST, Segment
from wiredoctor.limits import LimitsReached


class Http(SharedHttp):
    """Reads the HTTP messages of all connections. The tables `messages` and `bursts` are only written on request."""

    def __init__(self, cutoffs: Cutoffs, met: LimitsReached, with_messages: bool, with_bursts: bool) -> None:
        burst_rows = Rows(len(bursts.COLUMNS)) if with_bursts else None
        super().__init__(cutoffs, met, burst_rows, Rows(len(transfers.TRANSFERS)), with_messages)

    def read(self, connection: Connection, packet: Packet, segment: Segment) -> None:
        """Read a packet after its TCP analysis, and describe in `segment.part` the message to which it belongs."""
        conversation = connection.http
        if conversation is None:
            if segment.new_bytes == 0:
                clear_unread(segment.part)
                return
            conversation = connection.http = begin(self, connection)
        assert isinstance(conversation, Conversation)
        if conversation.is_over and segment.new_bytes > 0:  # bytes after both FINs belong to no message
            clear_unread(segment.part)
            return
        read(conversation, packet, segment)
        if self.keeping.is_full:
            relieve(self.keeping, packet.clock)
        if packet.flags & (FIN | RST) and not conversation.is_over:
            endings.watch_close(conversation, packet.clock)

    def pass_time(self, clock: i64) -> None:
        """Process the due alarms of all connections at time `clock` (ns), before a packet is read or while no packet comes."""
        conversation = self.alarms.take(clock)
        while conversation is not None:
            assert isinstance(conversation, Conversation)
            if not conversation.is_over:
                endings.wake(conversation, clock)
            conversation = self.alarms.take(clock)

    def end(self, connection: Connection, reason: i64, clock: i64) -> None:
        """End the open messages of a connection with the end reason `reason`, and free its HTTP state."""
        conversation = connection.http
        if conversation is None:
            return
        assert isinstance(conversation, Conversation)
        if conversation.is_over:
            return
        if NEVER < conversation.deadline <= clock:
            endings.end_at_deadline(conversation, clock)
        endings.end(conversation, reason, FOREVER, clock)
        endings.free(conversation)

    def discard(self, connection: Connection) -> None:
        """Free the HTTP state of a connection without writing a row."""
        conversation = connection.http
        if conversation is None:
            return
        assert isinstance(conversation, Conversation)
        if not conversation.is_over:
            conversation.take_apart()
            self.keeping.forget(conversation)
        connection.http = None


def begin(http: SharedHttp, connection: Connection) -> Conversation:
    """Return a new conversation, with a reader and a stream for each direction."""
    conversation = Conversation(http, connection)
    conversation.first, conversation.second = Http1Reader(conversation, 0), Http1Reader(conversation, 1)
    conversation.first_stream, conversation.second_stream = Stream(conversation.first, 0), Stream(conversation.second, 1)
    return conversation


def read(conversation: Conversation, packet: Packet, segment: Segment) -> None:
    """Read the new bytes of a packet, and describe in `segment.part` the message to which they belong."""
    http, queue = conversation.http, conversation.queue
    conversation.clock = packet.clock
    if segment.direction == 0:
        reader, own, peer = conversation.first, conversation.connection.first, conversation.connection.second
    else:
        reader, own, peer = conversation.second, conversation.connection.second, conversation.connection.first
    part = segment.part
    outstanding = queue.outstanding
    message_parts.clear(part)
    message = reader.message
    if message is not None and packet.length > 0:
        if message.transfer is not None:
            message.transfer.sends(own, peer, packet, segment)
        elif message.body_bytes > 0:
            transfers.watch(message, own, peer, packet, segment, http.cutoffs.min_transfer)
    if segment.new_bytes > 0 and reader.mode != OFF:
        http.parts.begin(reader.direction, segment.offset + packet.length, reader.message)
        in_order = reassembly.read_new_bytes(conversation, conversation.stream_of(reader.direction), own, packet, segment)
        if conversation.first_stream.held is not None or conversation.second_stream.held is not None:
            reassembly.resume(conversation)
        if in_order:
            message_parts.describe(http.parts, conversation.number, reader, segment, part)
    elif segment.new_bytes > 0 and queue.newest is not None and queue.newest.upgraded:
        part.upgraded = True
        recognition.note_goodbye(conversation, queue.newest, segment.direction, packet)
    previous = own.previous
    part.http = conversation.client >= 0
    part.is_incomplete = (
        not part.http
        or outstanding > 0
        or (previous is not None and previous.message != NEVER and not previous.ends_message and previous.last_in_flight)
    )
    if segment.new_bytes > 0:
        part.unread = conversation.cuts is not None and reader.mode == SEEK
        if part.in_body or segment.opens_gap:
            bursts.describe_body(conversation, reader, segment, previous, own, peer, packet)
        http.parts.begin(-1, NEVER, None)
    write_finished(conversation, segment)
    awaited = conversation.peer_of(reader)
    message = awaited.message
    if message is not None:
        if message.transfer is not None:
            message.transfer.acknowledges(own, packet, segment)
        moments = message.moments
        if moments is not None and moments.releases is not None:
            moments.releases.passes(own, packet)
    stream = conversation.stream_of(awaited.direction)
    if stream.waiting is not None:
        stream.waiting.acknowledge(own.acknowledged, conversation.clock)
        reassembly.wake_for_gap(conversation, stream)
