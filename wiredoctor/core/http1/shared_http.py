"""What the HTTP of all connections shares: limits, the objects that read heads and ranges, alarms, and the rows."""

from __future__ import annotations

from mypy_extensions import i64

from wiredoctor import limits
from wiredoctor.core.cutoffs import Cutoffs
from wiredoctor.core.http1.alarms import Alarms
from wiredoctor.core.http1.heads import HeadReader
from wiredoctor.core.http1.keeping import Keeping
from wiredoctor.core.http1.message_parts import PacketParts
from wiredoctor.core.http1.stream import Range
from wiredoctor.core.rows.cells import Rows
from wiredoctor.core.rows.close_rows import CloseRows
from wiredoctor.core.rows.exchange_rows import ExchangeRows, FaultRows, HeadCodes, MessageRows
from wiredoctor.limits import LimitsReached


class SharedHttp:
    """What the conversations of all connections share. The tables `messages` and `bursts` are only written on request."""

    def __init__(self, cutoffs: Cutoffs, met: LimitsReached, bursts: Rows | None, transfers: Rows, with_messages: bool) -> None:
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
        self.bursts: Rows | None = bursts
        self.transfers: Rows = transfers
        self.most_requests: i64 = limits.PIPELINED.value
        self.longest_text: i64 = limits.TEXT.value
        self.alarms: Alarms = Alarms()
