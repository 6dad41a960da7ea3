"""The packet in hand: what the capture file and its headers say. There is one object, filled anew for each packet."""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64

NO_OPTION: Final = -1
"""An option that the header does not have."""

NOT_CAPTURED: Final = -2
"""An option that the header may have: the snap length cut it off."""

NO_PACKET: Final = -1
"""Link type of a record that counts as a frame and holds no packet."""


class GeneralHeaders:
    """What the general decoder found in a packet that `block` may not show: hashes as in tables.PACKETS, and the option bytes."""

    def __init__(self, link_hash: int, encapsulation: int, options: bytes) -> None:
        self.link_hash: int = link_hash
        self.encapsulation: int = encapsulation
        self.options: bytes = options


class Packet:
    """A packet record and, once its headers are parsed, the TCP segment in it.

    `block` holds the bytes of the file around the packet: the record lies at block[at:end], the TCP header at block[tcp:], the
    payload at block[payload:]. Of a reassembled datagram `block` is the datagram, and `at` and `end` are its bounds.
    `place` is where the payload begins in the capture (an offset in the file, or from SCRATCH on in the scratch buffer of
    reassembled datagrams), `block_place` where the block begins. Times are nanoseconds since the first packet, lengths bytes.
    """

    def __init__(self) -> None:
        # the record
        self.frame: i64 = 0
        self.time: i64 = 0
        self.clock: i64 = 0
        """The watermark: the largest time up to this packet."""
        self.interface: i64 = 0
        self.link_type: i64 = 0
        self.block: bytes = b""
        self.block_place: i64 = 0
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
        self.tcp: i64 = 0
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
        self.general: GeneralHeaders | None = None
        """None if headers.py read the packet."""
