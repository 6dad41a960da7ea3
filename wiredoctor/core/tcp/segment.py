"""The current segment: facts that depend on its connection, and its part of a message. All packets share these objects."""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64

NEVER: Final = -(1 << 62)
"""The value for a missing number or time (as in wiredoctor.tables)."""
FOREVER: Final = (1 << 62) - 1
"""A time or frame number after all others."""

FIN: Final = 0x01
SYN: Final = 0x02
RST: Final = 0x04
PSH: Final = 0x08
ACK: Final = 0x10
ECE: Final = 0x40
CWR: Final = 0x80

MILLISECOND: Final = 1_000_000


class MessagePart:
    """The HTTP message to which the new bytes of a segment belong, and the part of the message that they contain."""

    def __init__(self) -> None:
        self.http: bool = False
        """True if the connection has carried HTTP messages so far."""
        self.message: i64 = NEVER
        """The message id of the first new byte."""
        self.last_message: i64 = NEVER
        """The message id of the last new byte."""
        self.exchange: i64 = -1
        self.in_body: bool = False
        self.body_bytes: i64 = 0
        """The number of new body bytes of the last message, including chunk framing."""
        self.event_stream: bool = False
        self.is_chunked: bool = False
        """True if the segment has body bytes in chunks, and the body is not an HTML page."""
        self.is_flushed: bool = False
        """True if the program has flushed most chunks of the body so far on purpose."""
        self.ends_head: bool = False
        self.ends_message: bool = False
        self.is_incomplete: bool = False
        """True if, before this segment, the rest of the sender's message or a response was outstanding; also true without HTTP.
        """
        self.upgraded: bool = False
        """True if the segment belongs to the protocol after an upgrade: WebSocket, or a tunnel."""
        self.unread: bool = False
        """True if the snap length cut off an earlier head or chunk framing, so the end of the message is unknown."""


class Piece:
    """New bytes [start, end) of a stream. Both numbers are stream offsets."""

    def __init__(self, start: i64, end: i64) -> None:
        self.start: i64 = start
        self.end: i64 = end


class Segment:
    """A TCP segment as part of its connection. Offsets are unwrapped sequence numbers, as in tables.SEGMENTS."""

    def __init__(self) -> None:
        self.direction: i64 = 0
        self.offset: i64 = 0
        self.ack: i64 = NEVER
        self.window: i64 = NEVER
        """The announced window in bytes after scaling; NEVER while the scale is unknown."""
        self.new_start: i64 = 0
        self.new_bytes: i64 = 0
        self.pieces: list[Piece] | None = None
        """The new bytes if they fill several gaps: they begin at `new_start`, but are not contiguous. Otherwise None."""
        self.highest_before: i64 = NEVER
        self.retransmission: bool = False
        self.fills_gap: bool = False
        self.opens_gap: bool = False
        self.overlap: bool = False
        self.keep_alive_probe: bool = False
        self.pure_ack: bool = False
        self.window_update: bool = False
        self.widens_window: bool = False
        """True if the segment announces room for a full segment after a window that had none."""
        self.duplicate_ack: bool = False
        self.acked_bytes: i64 = 0
        self.acked_unseen: i64 = 0
        self.answered_time: i64 = NEVER
        """The time of the newest segment of the peer that this segment newly acknowledges."""
        self.ack_delay: i64 = NEVER
        self.rtt_own: i64 = NEVER
        self.rtt_peer: i64 = NEVER
        self.in_flight_before: i64 = 0
        self.window_room: i64 = NEVER
        self.mss: i64 = 0
        """The payload size in bytes of a full segment of the sender: the MSS minus the timestamps option, if that is used."""
        self.peer_mss: i64 = 0
        """The payload size in bytes of a full segment of the peer: the MSS minus the timestamps option, if that is used."""
        self.full: bool = False
        self.is_even: bool = False
        """False for a super-segment (several segments in one packet, by offloading) whose length is not a multiple of the MSS."""
        self.small: bool = False
        self.small_start: bool = False
        self.part: MessagePart = MessagePart()
