"""Read the HTTP of all connections: take packets, and write rows of exchanges, closes and faults.

`Http.read` finds the Conversation of the packet's connection (pairing.py). The Conversation passes new bytes in order
(reassembly.py) to the reader of their direction (http1.py, heads.py). exchange_rows.py and close_rows.py write the rows.
"""

from __future__ import annotations

from mypy_extensions import i64

from wiredoctor import limits
from wiredoctor.core import bursts, endings, transfers
from wiredoctor.core.alarms import Alarms
from wiredoctor.core.close_rows import CloseRows
from wiredoctor.core.connection import Connection
from wiredoctor.core.conversation import Conversation
from wiredoctor.core.cutoffs import Cutoffs
from wiredoctor.core.exchange_rows import ExchangeRows, FaultRows, HeadCodes, MessageRows
from wiredoctor.core.heads import HeadReader
from wiredoctor.core.keeping import Keeping
from wiredoctor.core.message_parts import PacketParts, clear_unread
from wiredoctor.core.packet import Packet
from wiredoctor.core.rows import Rows
from wiredoctor.core.segment import FIN, FOREVER, NEVER, RST, Segment
from wiredoctor.core.stream import Range
from wiredoctor.limits import LimitsReached


class Http:
    """Reads the HTTP messages of all connections. The tables `messages` and `bursts` are only written on request."""

    def __init__(self, cutoffs: Cutoffs, met: LimitsReached, with_messages: bool, with_bursts: bool) -> None:
        self.cutoffs: Cutoffs = cutoffs
        self.met: LimitsReached = met
        self.heads: HeadReader = HeadReader()
        self.range: Range = Range()
        self.parts: PacketParts = PacketParts()
        self.keeping: Keeping = Keeping(met)
        self.codes: HeadCodes = HeadCodes()
        self.exchanges: ExchangeRows = ExchangeRows(self.codes)
        self.closes: CloseRows = CloseRows(self.exchanges)
        self.faults: FaultRows = FaultRows()
        self.messages: MessageRows | None = MessageRows(self.codes) if with_messages else None
        self.bursts: Rows | None = Rows(len(bursts.COLUMNS)) if with_bursts else None
        self.transfers: Rows = Rows(len(transfers.TRANSFERS))
        self.most_requests: i64 = limits.PIPELINED.value
        self.longest_text: i64 = limits.TEXT.value
        self.alarms: Alarms = Alarms()

    def read(self, connection: Connection, packet: Packet, segment: Segment) -> None:
        """Read a packet after its TCP analysis, and describe in `segment.part` the message to which it belongs."""
        conversation = connection.http
        if conversation is None:
            if segment.new_bytes == 0:
                clear_unread(segment.part)
                return
            conversation = connection.http = Conversation(self, connection)
        assert isinstance(conversation, Conversation)
        if conversation.is_over and segment.new_bytes > 0:  # bytes after both FINs belong to no message
            clear_unread(segment.part)
            return
        conversation.read(packet, segment)
        if self.keeping.is_full:
            self.keeping.relieve(packet.clock)
        if packet.flags & (FIN | RST) and not conversation.is_over:
            endings.watch_close(conversation, packet.clock)

    def pass_time(self, clock: i64) -> None:
        """Process the due alarms of all connections at time `clock` (ns), before a packet is read or while no packet comes."""
        conversation = self.alarms.take(clock)
        while conversation is not None:
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
        self.free(conversation)

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

    def free(self, conversation: Conversation) -> None:
        """Free the HTTP state of a connection whose messages have ended, but keep the facts for its row of `connections`."""
        if self.bursts is not None:
            bursts.write_last(self, conversation.first)
            bursts.write_last(self, conversation.second)
        conversation.take_apart()
        self.keeping.forget(conversation)
