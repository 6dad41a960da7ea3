"""The current packet: its record in the capture file and the parsed headers. One object is reused for all packets."""

from __future__ import annotations

import os
from typing import Final

from mypy_extensions import i64

from wiredoctor.core.octets import read_i32_be, read_i64_be
from wiredoctor.core.tcp.segment import NEVER
from wiredoctor.core.unsigned import u16, u32

NO_OPTION: Final = -1
"""The value of a TCP option that is not in the header."""

NOT_CAPTURED: Final = -2
"""The value of a TCP option that the snap length may have cut off."""

NO_PACKET: Final = -1
"""The link type of a record that counts as a frame but contains no packet."""

IPV6: Final = 1 << 32
"""The bit of Packet.ports that marks IPv6."""

ETHERNET: Final = 1
"""The link type of Ethernet."""

FARTHEST_ADDRESSES: Final = 30
"""The largest offset of the IP addresses in a record without a tunnel: after an Ethernet header, a VLAN tag, and half of IPv4."""

NAMED: Final = (1 << 62) - 1
"""The mask for the bits of an address hash."""


class OuterHeaders:
    """Hashes of the outer headers, as in tables.PACKETS, for a packet whose `block` no longer contains these headers."""

    def __init__(self, link_hash: int, encapsulation: int) -> None:
        self.link_hash: int = link_hash
        self.encapsulation: int = encapsulation


class Packet:
    """A packet record and, once its headers were parsed, its TCP segment.

    `block` contains the bytes of the file around the packet: the record is block[at:end], the TCP header begins at block[tcp],
    the payload at block[payload]. For a reassembled datagram, `block` contains the addresses and the datagram instead, between
    `at` and `end`. `block_place` is the position of the block in the capture: below SCRATCH, it is an offset in the file; from
    SCRATCH on, it is an offset in the buffer of reassembled datagrams. Times are in nanoseconds since the first packet, lengths
    are in bytes.
    """

    def __init__(self) -> None:
        self.frame: i64 = 0
        self.time: i64 = 0
        self.clock: i64 = 0
        """The watermark: the latest time up to this packet. A single packet far ahead of all others is ignored."""
        self.interface: i64 = 0
        self.link_type: i64 = 0
        self.block: bytes = b""
        self.block_place: i64 = 0
        self.at: i64 = 0
        self.end: i64 = 0
        self.wire_length: i64 = 0
        """The length of the packet on the network in bytes, at least `end - at`."""
        # IP header
        self.ip_id: i64 = -1
        self.ttl: i64 = 0
        self.addresses: i64 = 0
        """Both IPv4 addresses, or a hash of both IPv6 addresses; equal in both directions."""
        self.ports: i64 = 0
        """Both ports, in the order of `addresses`; the bit IPV6 is added for IPv6."""
        self.is_turned: bool = False
        """True if the sender comes second in `addresses` and `ports`."""
        self.key_at: i64 = 0
        """The offset of the addresses in the block."""
        # TCP header
        self.tcp: i64 = 0
        self.sequence: i64 = 0
        self.acknowledgment: i64 = 0
        self.flags: i64 = 0
        self.window: i64 = 0
        self.length: i64 = 0
        """The length of the payload on the network in bytes."""
        self.captured: i64 = 0
        """The number of captured payload bytes, at most `length`."""
        self.payload: i64 = 0
        self.mss: i64 = NO_OPTION
        self.window_shift: i64 = NO_OPTION
        self.has_timestamps: bool = False
        self.stamp: i64 = NEVER
        """The TSval of the timestamps option (RFC 7323); NEVER if there is none, or if the snap length may have cut it off."""
        self.sack: bool = False
        self.dsack: bool = False
        self.is_quoted: bool = False
        """True if the TCP header is only quoted in an ICMP error.

        The packet then gets the id of that TCP connection, but does not count as one of its packets.
        """
        self.outer: OuterHeaders | None = None
        """Properties of headers that are not in `block`; None if `block` has all headers."""


SECRET: Final = os.urandom(48)
"""The secret for hashing IPv6 addresses, so no capture can be crafted whose connections all have the same hash."""
WORD: Final = 0xFFFFFFFF


def place_of_payload(packet: Packet) -> i64:
    """Return the position of the payload in the capture (see `Packet.block_place`)."""
    return packet.block_place + packet.payload


def name_ipv4(packet: Packet, block: bytes, addresses: i64, ports: i64) -> None:
    """Set the numbers that identify a packet's IPv4 connection, from block[addresses:] and block[ports:]."""
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
    """Set the numbers that identify a packet's IPv6 connection, from block[addresses:] and block[ports:]."""
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
    """Return the NH hash (RFC 4418 section 5.2.2) of the 16 bytes at block[at:]. Callers keep only its low 62 bits.

    `secret`: the index at which the hash key begins in SECRET.
    """
    total: i64 = 0
    end = at + 16
    while at < end:
        one = u32(block, at) + u32(SECRET, secret) & WORD
        two = u32(block, at + 4) + u32(SECRET, secret + 4) & WORD
        total += one * two
        at += 8
        secret += 8
    return total


def sender_mac(packet: Packet) -> i64:
    """Return the source address of a packet's Ethernet header as a number; NEVER if there is none, or if a tunnel precedes IP."""
    has_tunnel = packet.key_at - packet.at > FARTHEST_ADDRESSES or packet.outer is not None
    if packet.link_type != ETHERNET or has_tunnel or packet.at + 14 > packet.end:
        return NEVER
    return read_i64_be(packet.block, packet.at + 6) >> 16 & 0xFFFFFFFFFFFF


def key_of(packet: Packet) -> bytes:
    """Return the addresses and ports of a packet, source before destination: 12 bytes for IPv4, 36 for IPv6."""
    size: i64 = 32 if packet.ports & IPV6 else 8
    at, tcp = packet.key_at, packet.tcp
    if at + size == tcp:
        return packet.block[at : tcp + 4]
    return packet.block[at : at + size] + packet.block[tcp : tcp + 4]


def reverse(key: bytes) -> bytes:
    """Return the key of the opposite direction, with source and destination exchanged."""
    if len(key) == 12:
        return key[4:8] + key[:4] + key[10:] + key[8:10]
    return key[16:32] + key[:16] + key[34:] + key[32:34]
