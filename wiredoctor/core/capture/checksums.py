"""Verify the checksums of a packet: of its IP headers, of its TCP segment, and of the UDP header of a tunnel around it.

With checksum offload, a packet is captured before its network card computes the checksums. Then the field contains 0, or the sum
of the pseudo header, with or without the length. Such a packet shows nothing, nor does one that was not captured completely or
that segmentation offload divides or has merged.
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64

from wiredoctor.core.capture.layers import UDP_PROTOCOL, Layers
from wiredoctor.core.capture.packet import IPV6, Packet
from wiredoctor.core.capture.places import Places
from wiredoctor.core.octets import read_i64_be
from wiredoctor.core.unsigned import u16, u32

UNKNOWN: Final = 0
"""The result for a packet whose checksums were not computed, or cannot be verified."""
SOUND: Final = 1
WRONG_IP: Final = 2
"""The result for a packet with a wrong checksum in an IP header. WRONG_IP and all greater results mean a wrong checksum."""
WRONG_TCP: Final = 3
WRONG_UDP: Final = 4

TCP_PROTOCOL: Final = 6
LONGEST_HEADER: Final = 60
"""The maximum size in bytes of a TCP header with options (RFC 9293 section 3.1)."""
WORD: Final = 0xFFFFFFFF
MODULUS: Final = 0xFFFF
"""The sum of 16-bit words with end-around carry (RFC 1071) is their sum modulo this number."""


class Checksums:
    """Verifies the checksums of packets. `layers`: how the headers of the current packet were read."""

    def __init__(self, layers: Layers, places: Places) -> None:
        self.layers: Layers = layers
        self.places: Places = places

    def verify(self, packet: Packet, mss: i64) -> i64:
        """Return whether the checksums of the current packet are correct: UNKNOWN, SOUND, or which one is wrong.

        `mss`: the maximum payload of a segment of its sender in bytes.
        """
        end = packet.payload + packet.length
        if packet.outer is not None or end > packet.end or packet.length > mss:
            return UNKNOWN
        return verify_bytes(packet, self.layers, packet.block, 0, packet.tcp, end)

    def verify_earlier(self, packet: Packet, mss: i64, place: i64, length: i64) -> i64:
        """Return whether the checksums of an earlier packet of the same side are correct, as `verify` does for the current one.

        The headers before the TCP headers of both packets have the same size. `place` and `length`: the position and the length
        in bytes of the earlier packet's payload in the capture.
        """
        if packet.outer is not None or length > mss:
            return UNKNOWN
        layers = self.layers
        ip, addresses = ip_version(packet), packet.key_at
        if layers.udp >= 0:
            ip, addresses = layers.udp_ip, layers.udp_addresses
        start = addresses - before_addresses(ip)
        before = packet.tcp - start
        size: i64 = 20
        while size <= LONGEST_HEADER:
            whole = before + size + length
            block = self.places.read(place - size - before, whole) if place >= size + before else b""
            is_header = len(block) == whole and u32(block, before) == u32(packet.block, packet.tcp)
            if is_header and i64(block[before + 12]) >> 4 == size >> 2:
                return verify_bytes(packet, layers, block, start, before, whole)
            size += 4
        return UNKNOWN


def ip_version(packet: Packet) -> i64:
    """Return the version of the IP header before TCP."""
    return 6 if packet.ports & IPV6 else 4


def verify_bytes(packet: Packet, layers: Layers, block: bytes, start: i64, tcp: i64, end: i64) -> i64:
    """Return whether the checksums of the TCP segment block[tcp:end] and of the headers before it are correct.

    `start`: by how much the offsets in the block of the current packet exceed those of the same headers in `block`.
    """
    ip, addresses = ip_version(packet), packet.key_at - start
    if not fits_header(block, ip, addresses, tcp, end):
        return UNKNOWN
    if has_wrong_header(block, ip, addresses, tcp):
        return WRONG_IP
    if layers.udp >= 0:
        around = verify_udp(block, layers.udp_ip, layers.udp_addresses - start, layers.udp - start, end)
        if around != UNKNOWN:
            return around
    return verify_transport(block, addresses, ip, TCP_PROTOCOL, tcp, tcp + 16, end)


def before_addresses(ip: i64) -> i64:
    """Return how many bytes of an IP header precede its addresses."""
    return 12 if ip == 4 else 8


def fits_header(block: bytes, ip: i64, addresses: i64, begin: i64, end: i64) -> bool:
    """Return whether an IP header directly precedes block[begin:end] and announces its length."""
    start = addresses - before_addresses(ip)
    if start < 0:
        return False
    if ip == 6:
        return addresses + 32 == begin and u16(block, start + 4) == end - begin
    return start + (i64(block[start]) & 15) * 4 == begin and u16(block, start + 2) == end - start


def has_wrong_header(block: bytes, ip: i64, addresses: i64, end: i64) -> bool:
    """Return whether the IPv4 header that ends at block[end] has a wrong checksum. IPv6 headers have none."""
    start = addresses - 12
    return ip == 4 and u16(block, start + 10) != 0 and add_words(block, start, end) % MODULUS != 0


def verify_udp(block: bytes, ip: i64, addresses: i64, udp: i64, end: i64) -> i64:
    """Return whether the checksums of a UDP datagram and of its IP header are correct; UNKNOWN unless it ends at block[end]."""
    if udp + u16(block, udp + 4) != end or not fits_header(block, ip, addresses, udp, end):
        return UNKNOWN
    if has_wrong_header(block, ip, addresses, udp):
        return WRONG_IP
    return WRONG_UDP if verify_transport(block, addresses, ip, UDP_PROTOCOL, udp, udp + 6, end) >= WRONG_IP else UNKNOWN


def verify_transport(block: bytes, addresses: i64, ip: i64, protocol: i64, begin: i64, field: i64, end: i64) -> i64:
    """Return whether the checksum of the TCP or UDP packet block[begin:end] is correct: UNKNOWN, SOUND or WRONG_TCP.

    `field`: the position of its checksum.
    """
    found = u16(block, field)
    ports = add_words(block, addresses, addresses + (8 if ip == 4 else 32)) + protocol
    pseudo = ports + end - begin
    if found == 0 or found % MODULUS == pseudo % MODULUS or found % MODULUS == ports % MODULUS:
        return UNKNOWN
    return SOUND if (pseudo + add_words(block, begin, end)) % MODULUS == 0 else WRONG_TCP


def add_words(block: bytes, at: i64, end: i64) -> i64:
    """Return a number that equals the sum of the 16-bit words of block[at:end] modulo MODULUS; an odd last byte is padded."""
    total: i64 = 0
    while at + 8 <= end:
        word = read_i64_be(block, at)
        total += (word >> 32 & WORD) + (word & WORD)
        at += 8
    if at + 4 <= end:
        total += u32(block, at)
        at += 4
    if at + 2 <= end:
        total += u16(block, at)
        at += 2
    if at < end:
        total += i64(block[at]) << 8
    return total
