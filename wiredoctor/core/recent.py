"""What is remembered of a packet for a while, to find second copies of it."""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64, mypyc_attr

from wiredoctor.core.octets import read_i64_be
from wiredoctor.core.packet import OuterHeaders, Packet
from wiredoctor.core.unsigned import u32

OPTIONS: Final = (1 << 22) - 1
IP_ID_AND_OPTIONS: Final = (1 << 17) - 1 | OPTIONS << 41
"""Of Recent.ip what second copies have in common."""
TIMESTAMPS: Final = 12
"""Bytes of options that are nothing but time stamps (RFC 7323 appendix A); the last eight of them differ."""
LENGTH: Final = (1 << 19) - 1
"""Of a record or less: at most limits.PACKET."""


@mypyc_attr(acyclic=True)
class Recent:
    """A packet of the last 100 ms, or 10 s (copies.py). Objects are used again in turn."""

    def __init__(self) -> None:
        self.before: i64 = -1
        """Ordinal of the packet of the same side before it."""
        self.frame: i64 = 0
        self.time: i64 = 0
        self.clock: i64 = 0
        self.sequence: i64 = 0
        self.acknowledgment: i64 = 0
        self.shape: i64 = 0
        """Flags, window and length."""
        self.ip: i64 = 0
        """Identification + 1, time to live, link type and a checksum of the TCP options."""
        self.interface: i64 = 0
        self.place: i64 = 0
        """Where its payload begins in the capture."""
        self.layout: i64 = 0
        """Bytes of its record, and where TCP header and payload begin in it."""
        self.reached: i64 = 0
        self.claimed: i64 = 0
        """What its side had sent by then, as in Side."""
        self.outer: OuterHeaders | None = None

    def fill(self, packet: Packet, shape: i64) -> None:
        """Take over the packet in hand."""
        self.frame = packet.frame
        self.time = packet.time
        self.clock = packet.clock
        self.sequence = packet.sequence
        self.acknowledgment = packet.acknowledgment
        self.shape = shape
        self.ip = packet.ip_id + 1 | packet.ttl << 17 | packet.link_type << 25 | checksum(packet) << 41
        self.interface = packet.interface
        self.place = packet.place
        at = packet.at
        self.layout = packet.end - at | (packet.tcp - at) << 19 | (packet.payload - at) << 38
        self.outer = packet.outer

    def ttl(self) -> i64:
        """Return its time to live."""
        return self.ip >> 17 & 0xFF

    def link_type(self) -> i64:
        """Return its link type."""
        return self.ip >> 25 & 0xFFFF

    def size(self) -> i64:
        """Return the bytes of its record."""
        return self.layout & LENGTH

    def tcp(self) -> i64:
        """Return where its TCP header begins in the record."""
        return self.layout >> 19 & LENGTH

    def payload(self) -> i64:
        """Return where its payload begins in the record, which may be after its end."""
        return self.layout >> 38

    def captured(self) -> i64:
        """Return how many bytes of its payload are in the capture."""
        return max(min(self.size() - self.payload(), self.shape >> 24), i64(0))


def checksum(packet: Packet) -> i64:
    """Return a checksum of the option bytes that were captured: it spares comparing those that differ."""
    return checksum_of(packet.block, packet.tcp + 20, min(packet.payload, packet.end))


def checksum_of(block: bytes, at: i64, end: i64) -> i64:
    """Return a checksum of the words of 32 bits of block[at:end]."""
    total: i64 = 0
    if end - at == TIMESTAMPS:
        stamps = read_i64_be(block, at + 4)
        return (stamps >> 32) * 31 + stamps & OPTIONS
    while at + 4 <= end:
        total = total * 31 + u32(block, at) & 0xFFFFFFFF
        at += 4
    return (total ^ total >> 22) & OPTIONS
