"""HTTP in the core: packets in, rows of exchanges, closes and faults out, and for each segment the message that it carries.

The way of a packet: `Http.read` finds the conversation of its connection (pairing.py), which hands the new bytes in order
(stream.py) to the reader of their direction (http1.py, heads.py). Rows are in exchanges.py.
"""

from __future__ import annotations

from mypy_extensions import i64

from wiredoctor import limits
from wiredoctor.core import bursts, endings
from wiredoctor.core.alarms import Alarms
from wiredoctor.core.connection import Connection
from wiredoctor.core.cutoffs import Cutoffs
from wiredoctor.core.exchanges import CLOSE, EXCHANGE, CloseRows, ExchangeRows, FaultRows, HeadCodes, MessageRows
from wiredoctor.core.heads import HeadReader
from wiredoctor.core.keeping import Keeping
from wiredoctor.core.message import AT_CAPTURE_END, IN_GAP
from wiredoctor.core.packet import Packet
from wiredoctor.core.pairing import Conversation, clear_unread
from wiredoctor.core.rows import Rows
from wiredoctor.core.segment import FIN, FOREVER, NEVER, RST, Segment
from wiredoctor.core.stream import Range
from wiredoctor.limits import Met


class Http:
    """Reads HTTP of all connections. `messages` and `bursts` are written only if they are wanted."""

    def __init__(self, cutoffs: Cutoffs, met: Met, with_messages: bool, with_bursts: bool) -> None:
        self.cutoffs: Cutoffs = cutoffs
        self.met: Met = met
        self.heads: HeadReader = HeadReader()
        self.range: Range = Range()
        self.keeping: Keeping = Keeping(met)
        self.codes: HeadCodes = HeadCodes()
        self.exchanges: ExchangeRows = ExchangeRows(self.codes, len(EXCHANGE))
        self.closes: CloseRows = CloseRows(self.codes, len(EXCHANGE) + len(CLOSE))
        self.faults: FaultRows = FaultRows()
        self.messages: MessageRows | None = MessageRows(self.codes) if with_messages else None
        self.bursts: Rows | None = Rows(len(bursts.COLUMNS)) if with_bursts else None
        self.most_requests: i64 = limits.PIPELINED.value
        self.longest_text: i64 = limits.TEXT.value
        self.alarms: Alarms = Alarms()

    def read(self, connection: Connection, packet: Packet, segment: Segment) -> None:
        """Read a packet after TCP has described it, and fill in segment.part."""
        conversation = connection.conversation
        if conversation is None:
            if segment.new_bytes == 0:
                clear_unread(segment.part)
                return
            conversation = connection.conversation = Conversation(self, connection)
        assert isinstance(conversation, Conversation)
        conversation.read(packet, segment)
        if self.keeping.is_full:
            self.keeping.relieve(packet.clock)
        if packet.flags & (FIN | RST):
            endings.watch_close(conversation, packet.clock)

    def pass_time(self, clock: i64) -> None:
        """Do what time decides, before a packet is read or when no packet comes."""
        conversation = self.alarms.take(clock)
        while conversation is not None:
            if not conversation.is_over:
                endings.wake(conversation, clock)
            conversation = self.alarms.take(clock)

    def retire(self, connection: Connection, clock: i64) -> None:
        """End what is open on a connection for which no packet will come any more, and free its state."""
        self.end(connection, IN_GAP, clock)

    def finish(self, connection: Connection, clock: i64) -> None:
        """End what is open on a connection when the capture ends."""
        self.end(connection, AT_CAPTURE_END, clock)

    def end(self, connection: Connection, reason: i64, clock: i64) -> None:
        """End a conversation."""
        conversation = connection.conversation
        if conversation is None:
            return
        assert isinstance(conversation, Conversation)
        if NEVER < conversation.deadline <= clock:
            endings.end_at_deadline(conversation, clock)
        endings.end(conversation, reason, FOREVER, clock)
        if self.bursts is not None:
            bursts.write_last(self, conversation.first)
            bursts.write_last(self, conversation.second)
        conversation.take_apart()
        self.keeping.forget(conversation)
