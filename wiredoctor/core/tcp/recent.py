"""The properties of recent packets, which are kept to recognize second copies of these packets."""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64, mypyc_attr

from wiredoctor.core.capture.packet import OuterHeaders, Packet, place_of_payload
from wiredoctor.core.octets import read_i64_be
from wiredoctor.core.unsigned import u32

OPTIONS: Final = (1 << 22) - 1
IP_ID_AND_OPTIONS: Final = (1 << 17) - 1 | OPTIONS << 41
"""The bits of RecentPacket.ip that are equal in duplicates of a packet."""
TIMESTAMPS: Final = 12
"""The size in bytes of options that consist of timestamps only (RFC 7323 appendix A); only the last eight bytes vary."""
LENGTH: Final = (1 << 19) - 1
"""The mask for the length of a record, which is at most limits.PACKET."""


@mypyc_attr(acyclic=True)
class RecentPacket:
    """The properties of a recent packet that copies.py compares with those of later packets. It is an entry of a ring buffer.

    Packets are kept for 100 ms, or for 10 s once a connection was captured on both sides of a router.
    """

    def __init__(self) -> None:
        self.before: i64 = -1
        """The number, in the ring buffer, of the previous packet of the same side; -1 if there is none."""
        self.frame: i64 = 0
        self.time: i64 = 0
        self.clock: i64 = 0
        self.sequence: i64 = 0
        self.acknowledgment: i64 = 0
        self.shape: i64 = 0
        """The flags, window and payload length, packed."""
        self.ip: i64 = 0
        """The IP identification + 1, time to live, link type and a checksum of the TCP options, packed."""
        self.interface: i64 = 0
        self.place: i64 = 0
        """The position of the payload in the capture."""
        self.layout: i64 = 0
        """The size of the record, and the positions of the TCP header and the payload in the record, packed."""
        self.reached: i64 = 0
        self.claimed: i64 = 0
        """The value of Side.recent_claimed after this packet. Likewise, `reached` is the value of Side.recent_reached."""
        self.outer: OuterHeaders | None = None

    def fill(self, packet: Packet, shape: i64) -> None:
        """Copy the properties of the current packet. `shape`: its flags, window and payload length, packed."""
        self.frame = packet.frame
        self.time = packet.time
        self.clock = packet.clock
        self.sequence = packet.sequence
        self.acknowledgment = packet.acknowledgment
        self.shape = shape
        self.ip = packet.ip_id + 1 | packet.ttl << 17 | packet.link_type << 25 | checksum(packet) << 41
        self.interface = packet.interface
        self.place = place_of_payload(packet)
        at = packet.at
        self.layout = packet.end - at | (packet.tcp - at) << 19 | (packet.payload - at) << 38
        self.outer = packet.outer

    def ttl(self) -> i64:
        """Return the packet's time to live."""
        return self.ip >> 17 & 0xFF

    def link_type(self) -> i64:
        """Return the packet's link type."""
        return self.ip >> 25 & 0xFFFF

    def size(self) -> i64:
        """Return the size of the packet's record in bytes."""
        return self.layout & LENGTH

    def tcp(self) -> i64:
        """Return the offset of the TCP header in the packet's record."""
        return self.layout >> 19 & LENGTH

    def payload(self) -> i64:
        """Return the offset of the payload in the packet's record; it may be beyond the captured bytes."""
        return self.layout >> 38

    def captured_length(self) -> i64:
        """Return the number of captured payload bytes."""
        return max(min(self.size() - self.payload(), self.shape >> 24), i64(0))


def checksum(packet: Packet) -> i64:
    """Return a checksum of the captured TCP option bytes.

    Comparing the checksums first avoids most comparisons of the bytes.
    """
    return checksum_of(packet.block, packet.tcp + 20, min(packet.payload, packet.end))


def checksum_of(block: bytes, at: i64, end: i64) -> i64:
    """Return a checksum of the 32-bit words of block[at:end]."""
    total: i64 = 0
    if end - at == TIMESTAMPS:
        stamps = read_i64_be(block, at + 4)
        return (stamps >> 32) * 31 + stamps & OPTIONS
    while at + 4 <= end:
        total = total * 31 + u32(block, at) & 0xFFFFFFFF
        at += 4
    return (total ^ total >> 22) & OPTIONS
