"""Pass the packets of a connection to the TCP analysis of the core, one by one. Times are in milliseconds, numbers as in the
headers.
"""

from __future__ import annotations

from typing import Any

from wiredoctor.core.capture.packet import NO_OPTION, Packet
from wiredoctor.core.cutoffs import Cutoffs
from wiredoctor.core.rows.connection_rows import ConnectionRows
from wiredoctor.core.tcp.connection import Connection
from wiredoctor.core.tcp.segment import ACK, FIN, MILLISECOND, PSH, RST, SYN, Segment
from wiredoctor.core.tcp.tcp_analysis import TcpAnalysis
from wiredoctor.engine.row_tables import connection_batch
from wiredoctor.limits import LimitsReached
from wiredoctor.storage.batches import View
from wiredoctor.tables import CONNECTIONS

CLIENT = bytes([10, 0, 0, 1, 10, 0, 0, 2, 0x0F, 0xA0, 0, 80])
SERVER = CLIENT[4:8] + CLIENT[:4] + CLIENT[10:] + CLIENT[8:10]
FLAGS = {"S": SYN, "F": FIN, "R": RST, "P": PSH, ".": ACK}

CLIENT_ISN, SERVER_ISN = 1_000, 5_000
"""The first byte of the client has the number 1,001, that of the server 5,001."""


class Talk:
    """A connection and the TCP analysis that follows it."""

    def __init__(self, cutoffs: Cutoffs | None = None) -> None:
        self.tcp = TcpAnalysis(cutoffs or Cutoffs(), LimitsReached())
        self.connection = Connection(0, CLIENT)
        self.packet = Packet()
        self.packet.end = self.packet.payload = 20
        self.packet.block = bytes(20)

    @property
    def segment(self) -> Segment:
        """What the TCP analysis says about the last packet."""
        return self.tcp.segment

    def client(self, time: float, flags: str, seq: int, ack: int = 0, length: int = 0, **more: int) -> Segment:
        """A packet of the client."""
        return self.send(CLIENT, time, flags, seq, ack, length, **more)

    def server(self, time: float, flags: str, seq: int, ack: int = 0, length: int = 0, **more: int) -> Segment:
        """A packet of the server."""
        return self.send(SERVER, time, flags, seq, ack, length, **more)

    def send(
        self, key: bytes, time: float, flags: str, seq: int, ack: int, length: int, window: int = 1_000, mss: int = NO_OPTION,
        shift: int = NO_OPTION, **more: int,
    ) -> Segment:  # fmt: skip
        p = self.packet
        p.is_turned, p.frame, p.time = key == SERVER, p.frame + 1, round(time * MILLISECOND)
        p.clock = max(p.clock, p.time)
        p.flags = sum(FLAGS[letter] for letter in flags)
        p.sequence, p.acknowledgment, p.length, p.captured = seq & 0xFFFFFFFF, ack & 0xFFFFFFFF, length, length
        p.window, p.mss, p.window_shift = window, mss, shift
        p.has_timestamps, p.sack, p.dsack = bool(more.get("ts", 0)), bool(more.get("sack", 0)), False
        p.ip_id, p.ttl = more.get("ip_id", p.frame), more.get("ttl", 64)
        self.tcp.follow(self.connection, p)
        part = self.segment.part
        part.http = bool(more.get("http", 0))
        part.message = part.last_message = more.get("message", 7)
        part.ends_head, part.ends_message = bool(more.get("ends_head", 0)), bool(more.get("ends_message", 0))
        part.is_incomplete = bool(more.get("incomplete", 1))
        self.tcp.write_events(self.connection, p)
        return self.segment


def open_talk(cutoffs: Cutoffs | None = None, window: int = 60_000) -> Talk:
    """A connection after its handshake; the capture point is 1 ms away from the client and 10 ms from the server, there and back.
    The next packet is frame 4, the next bytes 1,001 and 5,001."""
    talk = Talk(cutoffs)
    talk.client(0, "S", CLIENT_ISN, window=window, mss=1460, shift=0)
    talk.server(10, "S.", SERVER_ISN, CLIENT_ISN + 1, window=window, mss=1460, shift=0)
    talk.client(11, ".", CLIENT_ISN + 1, SERVER_ISN + 1, window=window)
    return talk


def connection_row(connection: Connection) -> dict[str, Any]:
    """Return the row of tables.CONNECTIONS of a connection without content."""
    rows = ConnectionRows()
    rows.write(connection, -1, None, 0)
    (row,) = View([connection_batch(rows)], CONNECTIONS).all_columns().to_dicts()
    return row
