"""The packet in hand: what the capture file and its headers say. There is one object, filled anew for each packet."""

from __future__ import annotations

import os
from typing import Final

from mypy_extensions import i64

from wiredoctor.core.octets import read_i32_be, read_i64_be
from wiredoctor.core.unsigned import u16, u32

NO_OPTION: Final = -1
"""An option that the header does not have."""

NOT_CAPTURED: Final = -2
"""An option that the header may have: the snap length cut it off."""

NO_PACKET: Final = -1
"""Link type of a record that counts as a frame and holds no packet."""

IPV6: Final = 1 << 32
"""Of Packet.ports."""

NAMED: Final = (1 << 62) - 1
"""Bits of a hash of addresses."""


class OuterHeaders:
    """What is known of headers that are not in `block`: hashes as in tables.PACKETS."""

    def __init__(self, link_hash: int, encapsulation: int) -> None:
        self.link_hash: int = link_hash
        self.encapsulation: int = encapsulation


class Packet:
    """A packet record and, once its headers are parsed, the TCP segment in it.

    `block` holds the bytes of the file around the packet: the record lies at block[at:end], the TCP header at block[tcp:], the
    payload at block[payload:]. Of a reassembled datagram `block` is the datagram after its addresses; `at` and `end` bound it.
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
        self.ip_id: i64 = -1
        self.ttl: i64 = 0
        self.addresses: i64 = 0
        """Both IPv4 addresses, or a hash of both IPv6 addresses: the same in both directions."""
        self.ports: i64 = 0
        """Both ports in the order of `addresses`; IPV6 is added for IPv6."""
        self.is_turned: bool = False
        """The sender comes second in `addresses` and `ports`."""
        self.key_at: i64 = 0
        """Where the addresses begin in the block."""
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
        self.outer: OuterHeaders | None = None
        """None if all headers are in `block`."""


SECRET: Final = os.urandom(48)
"""Of the hash of IPv6 addresses: nobody can make a capture of which all connections have the same hash."""
WORD: Final = 0xFFFFFFFF


def name_ipv4(packet: Packet, block: bytes, addresses: i64, ports: i64) -> None:
    """Set by which numbers the connection of a packet is found; its addresses and ports begin at these places of the block."""
    source, destination = i64(read_i32_be(block, addresses)), i64(read_i32_be(block, addresses + 4))
    source_port, destination_port = u16(block, ports), u16(block, ports + 2)
    packet.key_at = addresses
    packet.is_turned = source > destination or (source == destination and source_port > destination_port)
    if packet.is_turned:
        packet.addresses = destination << 32 | source & WORD
        packet.ports = destination_port << 16 | source_port
    else:
        packet.addresses = source << 32 | destination & WORD
        packet.ports = source_port << 16 | destination_port


def name_ipv6(packet: Packet, block: bytes, addresses: i64, ports: i64) -> None:
    """Set the same of a packet with IPv6 addresses."""
    high, low = read_i64_be(block, addresses), read_i64_be(block, addresses + 8)
    peer_high, peer_low = read_i64_be(block, addresses + 16), read_i64_be(block, addresses + 24)
    source_port, destination_port = u16(block, ports), u16(block, ports + 2)
    packet.key_at = addresses
    packet.is_turned = (
        high > peer_high
        or (high == peer_high and low > peer_low)
        or (high == peer_high and low == peer_low and source_port > destination_port)
    )
    if packet.is_turned:
        packet.addresses = hash_pairs(block, addresses + 16, 0) + hash_pairs(block, addresses, 16) & NAMED
        packet.ports = IPV6 | destination_port << 16 | source_port
    else:
        packet.addresses = hash_pairs(block, addresses, 0) + hash_pairs(block, addresses + 16, 16) & NAMED
        packet.ports = IPV6 | source_port << 16 | destination_port


def hash_pairs(block: bytes, at: i64, secret: i64) -> i64:
    """Return the hash NH of 16 bytes (RFC 4418 section 5.2.2) with these words of the secret; its low 62 bits count."""
    total: i64 = 0
    end = at + 16
    while at < end:
        one = u32(block, at) + u32(SECRET, secret) & WORD
        two = u32(block, at + 4) + u32(SECRET, secret + 4) & WORD
        total += one * two
        at += 8
        secret += 8
    return total


def key_of(packet: Packet) -> bytes:
    """Return source and destination address, source and destination port, as in the headers: 12 bytes for IPv4, 36 for IPv6."""
    size: i64 = 32 if packet.ports & IPV6 else 8
    at, tcp = packet.key_at, packet.tcp
    if at + size == tcp:
        return packet.block[at : tcp + 4]
    return packet.block[at : at + size] + packet.block[tcp : tcp + 4]


def reverse(key: bytes) -> bytes:
    """Return the key of the other direction."""
    if len(key) == 12:
        return key[4:8] + key[:4] + key[10:] + key[8:10]
    return key[16:32] + key[:16] + key[34:] + key[32:34]
