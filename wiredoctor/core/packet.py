"""The packet in hand: what the capture file and its headers say. There is one object, filled anew for each packet."""

from __future__ import annotations

from mypy_extensions import i64

NO_OPTION = -1
"""An option that the header does not have."""

NOT_CAPTURED = -2
"""An option that the header may have: the snap length cut it off."""


class Packet:
    """A packet record and, once its headers are parsed, the TCP segment in it.

    `block` holds the bytes of the file around the packet: the record lies at block[at:end], the payload at block[payload:].
    `place` is where the payload begins in the capture (an offset in the file, or from SCRATCH on in the scratch buffer of
    reassembled datagrams). Times are nanoseconds since the first packet, lengths bytes.
    """

    def __init__(self) -> None:
        # the record
        self.frame: i64 = 0
        self.time: i64 = 0
        self.interface: i64 = 0
        self.link_type: i64 = 0
        self.block: bytes = b""
        self.at: i64 = 0
        self.end: i64 = 0
        self.wire_length: i64 = 0
        """Length of the packet on the wire, at least `end - at`."""
        # IP
        self.ip_version: i64 = 4
        self.ip_id: i64 = -1
        self.ttl: i64 = 0
        self.key: bytes = b""
        """Source and destination address, source and destination port, as in the headers: 12 bytes for IPv4, 36 for IPv6."""
        # TCP
        self.sequence: i64 = 0
        self.acknowledgment: i64 = 0
        self.flags: i64 = 0
        self.window: i64 = 0
        self.length: i64 = 0
        """Payload on the wire."""
        self.captured: i64 = 0
        """Payload that is in the capture, at most `length`."""
        self.payload: i64 = 0
        self.place: i64 = 0
        self.mss: i64 = NO_OPTION
        self.window_shift: i64 = NO_OPTION
        self.has_timestamps: bool = False
        self.sack: bool = False
        self.dsack: bool = False
        self.is_quoted: bool = False
        """A header quoted in an ICMP error: it takes a connection id, but is no packet of the connection."""
