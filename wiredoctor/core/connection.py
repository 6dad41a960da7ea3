"""The state of a connection: two sides. What is rare is made when it first occurs."""

from __future__ import annotations

from mypy_extensions import i64

from wiredoctor.core.segment import NEVER


class PreviousData:
    """The newest segment with new data of a side."""

    def __init__(self) -> None:
        self.frame: i64 = NEVER
        self.time: i64 = NEVER
        self.end: i64 = NEVER
        self.length: i64 = 0
        self.room: i64 = NEVER
        """Room that it left in the receiver's window."""
        self.message: i64 = NEVER
        self.full: bool = False
        self.small: bool = False
        self.push: bool = False
        self.last_in_flight: bool = False
        self.ends_head: bool = False
        self.ends_message: bool = False


class Side:
    """One direction of a connection."""

    def __init__(self) -> None:
        self.has_base: bool = False
        self.base: i64 = 0
        """The sequence number before its first byte: that of its SYN."""
        self.syn_frame: i64 = NEVER
        self.highest: i64 = NEVER
        """Stream offset after the highest byte seen."""
        self.acknowledged: i64 = NEVER
        """Highest offset of the peer's stream that this side acknowledged."""
        self.rtt: i64 = NEVER
        self.packets: i64 = 0
        self.bytes: i64 = 0
        self.previous_data: PreviousData | None = None
        self.retransmission_frame: i64 = NEVER
        """Its newest retransmission."""
        self.short_window_frame: i64 = NEVER
        """Its newest packet that announced no room for a full segment."""


class Connection:
    """A TCP connection; `first` is the side that sent its first packet."""

    def __init__(self, number: i64, key: bytes) -> None:
        self.id: i64 = number
        self.key: bytes = key
        """packet.key of its first packet."""
        self.first: Side = Side()
        self.second: Side = Side()
        self.client: i64 = -1
        """Direction of the client, 0 or 1; -1 while nothing tells."""
        self.client_certainty: i64 = 0
        """3: its SYN, 2: the peer's SYN-ACK, 1: what it sends, 0: unknown."""
        self.closed: bool = False
        self.first_frame: i64 = NEVER
        self.last_frame: i64 = NEVER
        self.last_clock: i64 = NEVER
        """The watermark at its last packet."""
        self.start: i64 = NEVER
        self.end: i64 = NEVER
        self.conversation: object | None = None
