"""What the past of a connection says about the segment in hand, and what its content is. One object of each, filled anew."""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64

NEVER: Final = -(1 << 62)
"""No value (as in wiredoctor.tables)."""
FOREVER: Final = (1 << 62) - 1
"""Later than any time, and after any frame."""

FIN: Final = 0x01
SYN: Final = 0x02
RST: Final = 0x04
PSH: Final = 0x08
ACK: Final = 0x10
ECE: Final = 0x40
CWR: Final = 0x80

MILLISECOND: Final = 1_000_000


class MessagePart:
    """Which message the new bytes of a segment belong to."""

    def __init__(self) -> None:
        self.http: bool = False
        """The connection has carried HTTP so far."""
        self.message: i64 = NEVER
        """The message of its first byte."""
        self.last_message: i64 = NEVER
        """The message of its last byte."""
        self.exchange: i64 = -1
        self.in_body: bool = False
        self.body_bytes: i64 = 0
        """New bytes of the body of the message of its last byte, chunk framing included."""
        self.event_stream: bool = False
        self.ends_head: bool = False
        self.ends_message: bool = False
        self.is_incomplete: bool = False
        """Before this segment its sender had more to send: an unfinished message, or an unanswered request."""
        self.upgraded: bool = False
        """It belongs to what an exchange switched to: WebSocket, or a tunnel."""
        self.unread: bool = False
        """The snap length cut a head, or chunk framing, before it: where its message ends is not known."""


class Piece:
    """New bytes [start, end) of a stream."""

    def __init__(self, start: i64, end: i64) -> None:
        self.start: i64 = start
        self.end: i64 = end


class Segment:
    """A TCP segment in the story of its connection. Offsets are sequence numbers unwrapped to 64 bits, as in tables.SEGMENTS."""

    def __init__(self) -> None:
        self.direction: i64 = 0
        self.offset: i64 = 0
        self.ack: i64 = NEVER
        self.window: i64 = NEVER
        """The announced window after scaling; NEVER while the scale is unknown."""
        self.new_start: i64 = 0
        self.new_bytes: i64 = 0
        self.pieces: list[Piece] | None = None
        """The new bytes if they fill several gaps; they begin at `new_start`, but do not follow each other."""
        self.highest_before: i64 = NEVER
        self.retransmission: bool = False
        self.fills_gap: bool = False
        self.opens_gap: bool = False
        self.overlap: bool = False
        self.keep_alive_probe: bool = False
        self.pure_ack: bool = False
        self.window_update: bool = False
        self.widens_window: bool = False
        """It ends a lack of room for a full segment."""
        self.duplicate_ack: bool = False
        self.acked_bytes: i64 = 0
        self.acked_unseen: i64 = 0
        self.answered_time: i64 = NEVER
        """When the newest segment was captured that it newly acknowledges."""
        self.ack_delay: i64 = NEVER
        self.rtt_own: i64 = NEVER
        self.rtt_peer: i64 = NEVER
        self.in_flight_before: i64 = 0
        self.window_room: i64 = NEVER
        self.mss: i64 = 0
        """Longest segment of its sender, less the time-stamp option."""
        self.peer_mss: i64 = 0
        """The same of the peer."""
        self.full: bool = False
        self.is_even: bool = False
        """No super-segment with a small end."""
        self.small: bool = False
        self.small_start: bool = False
        self.part: MessagePart = MessagePart()
