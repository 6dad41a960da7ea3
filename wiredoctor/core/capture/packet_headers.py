"""Parse the headers of a packet record up to its TCP segment: link layer, IP, TCP and its options."""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64

from wiredoctor import limits
from wiredoctor.core.capture.datagrams import Datagrams
from wiredoctor.core.capture.icmp_message import Message
from wiredoctor.core.capture.layers import (
    AGAIN,
    AUTHENTICATION,
    BAD_IP,
    CUT_FRAGMENT,
    CUT_IP,
    CUT_TCP,
    ETHERNET,
    GRE,
    INSIDE_IP,
    IPV4,
    IPV6,
    MOVED,
    MPLS,
    NAMED_AH,
    NAMED_ETHERNET_IN_IP,
    NAMED_IP_IN_IP,
    NOT_TCP,
    QUOTE,
    QUOTED_FRAGMENT,
    QUOTED_TOO_LITTLE,
    SEGMENT,
    TCP,
    TOO_MANY_HEADERS,
    UDP,
    Layers,
)
from wiredoctor.core.capture.links import LINK_ETHERNET, ethernet, first_header
from wiredoctor.core.capture.packet import NO_OPTION, NOT_CAPTURED, OuterHeaders, Packet, name_ipv4, name_ipv6
from wiredoctor.core.capture.reasons import Tally
from wiredoctor.core.capture.tunnels import is_tunnel, step
from wiredoctor.core.hashes import mix
from wiredoctor.core.tcp.segment import NEVER
from wiredoctor.core.unsigned import u16, u32

QUOTED_PORTS: Final = 8
"""The size in bytes of a TCP header's ports and sequence number. An ICMP error quotes at least these bytes (RFC 792)."""
JUMBO: Final = 65_535
"""The maximum payload in bytes of an IPv6 packet; the length field of a larger packet is 0 (segmentation offload)."""
ADDRESSES: Final = 12
"""The offset of the addresses in an IPv4 header."""
ICMP: Final = 1
IPV4_IN_IP: Final = 4
TCP_PROTOCOL: Final = 6
UDP_PROTOCOL: Final = 17
IPV6_IN_IP: Final = 41
ROUTING_HEADER: Final = 43
FRAGMENT_HEADER: Final = 44
GRE_IN_IP: Final = 47
AH: Final = 51
ICMPV6: Final = 58
NO_NEXT_HEADER: Final = 59
ETHER_IP: Final = 97
MPLS_IN_IP: Final = 137
ETHERNET_IN_IP: Final = 143
HOP_OPTIONS: Final = 0
DESTINATION_OPTIONS: Final = 60
LOOSE_ROUTE: Final = 131
STRICT_ROUTE: Final = 137
MORE_FRAGMENTS: Final = 0x2000
FRAGMENT_OFFSET: Final = 0x1FFF
TCP_HEADER: Final = 20
NOT_BEFORE_WINDOW: Final = 16
"""The size in bytes of a TCP header up to the end of its window field. Wireshark assigns no stream to a shorter header."""
PLAIN_TIMESTAMPS: Final = 0x0101080A
STAMPED: Final = 32
"""The size in bytes of a TCP header with the padded timestamps option (RFC 7323 appendix A)."""
LARGEST_SHIFT: Final = 14
HALF: Final = 1 << 31


class Headers:
    """Reads the headers of packets.

    A method that reads one header returns the internal number of the next header, or one of the results SEGMENT, QUOTE, NOT_TCP,
    AGAIN and MOVED (layers.py). Without `datagrams`, fragments are not reassembled, and only first fragments are read.
    """

    def __init__(self, datagrams: Datagrams | None) -> None:
        self.layers: Layers = Layers()
        self.datagrams: Datagrams | None = datagrams
        self.not_analyzed: Tally = Tally()
        """The number of packets that are not analyzed, by reason."""
        self.names: Tally = Tally()
        """The number of packets with TCP for each combination of encapsulations. The keys have one bit per encapsulation."""
        self.oddities: list[tuple[int, str, str]] = []
        """Unexpected headers as (frame, layer, description); at most limits.ODDITIES in the capture."""
        self.noted: i64 = 0
        self.most: i64 = limits.HEADERS.value
        self.addresses: i64 = 0
        """The position in the block of the current packet's IP addresses."""
        self.inside: i64 = 0
        """The protocol number in the current IP header, which identifies the next header."""
        self.message: Message = Message()
        """The newest ICMP error."""

    def read(self, packet: Packet) -> i64:
        """Read the headers of a packet up to its TCP segment. Return SEGMENT, QUOTE or NOT_TCP."""
        layers = self.layers
        layers.begin(packet)
        header: i64 = ETHERNET
        if packet.link_type != LINK_ETHERNET:
            header = first_header(layers, packet.link_type)
        header = self.follow(packet, header)
        if header == AGAIN:
            header = self.read_again(packet)
        if header == SEGMENT:
            if layers.names:
                self.names.add(layers.names)
        elif header == NOT_TCP:
            self.not_analyzed.add(layers.reason)
        return header

    def read_again(self, packet: Packet) -> i64:
        """Read a packet again from its first header, and hash its outer headers.

        This is necessary because the TCP segment may be in a new buffer, without the outer headers.
        """
        layers = self.layers
        layers.hashing = True
        layers.begin(packet)
        header = self.follow(packet, first_header(layers, packet.link_type))
        moves: i64 = 0
        while header == MOVED:
            moves += 1
            header = self.follow(packet, INSIDE_IP) if moves < self.most else layers.refuse(TOO_MANY_HEADERS)
        layers.hashing = False
        if header == SEGMENT:
            packet.outer = OuterHeaders(layers.link_hash, layers.encapsulation)
        return header

    def follow(self, packet: Packet, header: i64) -> i64:
        """Read the header with internal number `header` and all headers after it.

        Return SEGMENT, QUOTE, NOT_TCP, AGAIN or MOVED.
        """
        layers, block = self.layers, packet.block
        count: i64 = 0
        while header > MOVED:
            if header == IPV4:
                header = self.ipv4(packet, block)
            elif header == TCP:
                return self.tcp(packet, block)
            elif header == ETHERNET:
                header = ethernet(layers, block)
            elif header == IPV6:
                header = self.ipv6(packet, block)
            elif header == INSIDE_IP:
                header = self.inside_ip(packet, block)
            elif header == AUTHENTICATION:
                header = self.authentication(block)
            else:
                header = step(layers, block, header)
            count += 1
            if count > self.most:
                return layers.refuse(TOO_MANY_HEADERS)
        return header

    def ipv4(self, packet: Packet, block: bytes) -> i64:
        """Read an IPv4 header (RFC 791)."""
        layers = self.layers
        if not layers.has(20):
            return layers.refuse(CUT_IP)
        at = layers.at
        version = i64(block[at])
        size, total, fragment = (version & 15) * 4, u16(block, at + 2), u16(block, at + 6) & 0x3FFF
        if version >> 4 != 4 or size < 20 or 0 < total < size:
            return layers.refuse(BAD_IP)
        self.enter(block, at + ADDRESSES, 4)
        packet.ip_id = u16(block, at + 4)
        packet.ttl = i64(block[at + 8])
        if total:
            layers.measure(total)
        layers.at = at + size
        protocol = i64(block[at + 9])
        if size > 20 and fragment == 0 and self.datagrams is not None and self.destination(block) != self.addresses + 4:
            self.inside = protocol
            return self.reroute(packet, block)
        if protocol == TCP_PROTOCOL and fragment == 0:
            return TCP
        return self.fragment(packet, block, at + total) if fragment else self.protocol(block, protocol)

    def ipv6(self, packet: Packet, block: bytes) -> i64:
        """Read an IPv6 header and its extension headers (RFC 8200)."""
        layers = self.layers
        if not layers.has(40):
            return layers.refuse(CUT_IP)
        at = layers.at
        if block[at] >> 4 != 6:
            return layers.refuse(BAD_IP)
        size, protocol = u16(block, at + 4), i64(block[at + 6])
        self.enter(block, at + 8, 6)
        packet.ip_id = -1
        packet.ttl = i64(block[at + 7])
        layers.at = at + 40
        left = layers.limit - layers.at
        if size:
            layers.measure(size)
        elif left <= JUMBO:
            layers.measure(left if protocol == HOP_OPTIONS else i64(0))
        if protocol == TCP_PROTOCOL:
            return TCP
        self.inside = protocol
        return self.inside_ip(packet, block)

    def inside_ip(self, packet: Packet, block: bytes) -> i64:
        """Return the internal number of the header inside an IP packet, after skipping the extension headers of IPv6."""
        layers, protocol = self.layers, self.inside
        if layers.ip_version == 6:
            while protocol in (HOP_OPTIONS, ROUTING_HEADER, FRAGMENT_HEADER, DESTINATION_OPTIONS):
                if not layers.has(8):
                    return layers.refuse(CUT_IP)
                if protocol == FRAGMENT_HEADER:
                    header = self.fragment_header(packet, block)
                    if header != INSIDE_IP:
                        return header
                    protocol = self.inside
                    continue
                protocol = i64(block[layers.at])
                layers.at += (i64(block[layers.at + 1]) + 1) * 8
        return self.protocol(block, protocol)

    def enter(self, block: bytes, addresses: i64, version: i64) -> None:
        """Store the position of the addresses of an IP header.

        If this header is inside another IP packet, the outer IP header counts as an encapsulation.
        """
        layers = self.layers
        if layers.hashing and layers.ip_headers and not layers.is_quoted:
            layers.hash_outer(block, self.addresses)
        layers.ip_headers += 1
        layers.ip_version = version
        self.addresses = addresses

    def protocol(self, block: bytes, protocol: i64) -> i64:
        """Return the internal number (layers.py) of the header that follows an IP header with protocol number `protocol`."""
        layers = self.layers
        if protocol == TCP_PROTOCOL:
            return TCP
        if protocol == UDP_PROTOCOL:
            layers.udp, layers.udp_addresses, layers.udp_ip = layers.at, self.addresses, layers.ip_version
            return UDP
        if protocol == GRE_IN_IP:
            return GRE
        if protocol in (IPV4_IN_IP, IPV6_IN_IP):
            layers.names |= NAMED_IP_IN_IP
            return IPV4 if protocol == IPV4_IN_IP else IPV6
        if protocol in (ICMP, ICMPV6):
            return self.icmp(block, protocol)
        if protocol == AH:
            return AUTHENTICATION
        if protocol == MPLS_IN_IP:
            return MPLS
        if protocol in (ETHER_IP, ETHERNET_IN_IP):
            layers.names |= NAMED_ETHERNET_IN_IP
            if protocol == ETHER_IP:  # RFC 3378: a version, then the Ethernet frame
                layers.at += 2
            return ETHERNET
        return layers.refuse(protocol)

    def icmp(self, block: bytes, protocol: i64) -> i64:
        """Read an ICMP message (RFC 792, RFC 4443). An error quotes the packet that caused it."""
        layers = self.layers
        if not layers.has(8) or not is_error(protocol, i64(block[layers.at])):
            return layers.refuse(protocol)
        if not layers.is_quoted:
            self.message.read(block, layers.at, self.addresses, layers.ip_version)
        layers.at += 8
        layers.is_quoted = True
        return IPV4 if protocol == ICMP else IPV6

    def authentication(self, block: bytes) -> i64:
        """Skip an authentication header (RFC 4302). The headers after it are not encrypted."""
        layers = self.layers
        layers.names |= NAMED_AH
        if not layers.has(12):
            return layers.refuse(CUT_IP)
        protocol = i64(block[layers.at])
        layers.at += (i64(block[layers.at + 1]) + 2) * 4
        if protocol in (HOP_OPTIONS, ROUTING_HEADER, FRAGMENT_HEADER, DESTINATION_OPTIONS):
            return layers.refuse(NO_NEXT_HEADER)
        return self.protocol(block, protocol)

    def destination(self, block: bytes) -> i64:
        """Return the index in the block of an IPv4 packet's final destination address.

        If there is a source route, the header contains only the next hop, and the route ends with the destination (RFC 791
        section 3.1).
        """
        at = self.addresses - ADDRESSES
        route = source_route(block, at + 20, min(at + (i64(block[at]) & 15) * 4, self.layers.stop))
        return route if route > 0 else self.addresses + 4

    def reroute(self, packet: Packet, block: bytes) -> i64:
        """Continue reading in a copy of the packet in which the final destination replaces the next hop of a source route."""
        layers = self.layers
        if not layers.hashing:
            return AGAIN
        at = min(layers.at, layers.end)
        place, limit = packet.block_place + at - 8, layers.limit - at + 8
        return self.move(packet, self.endpoints(block) + block[at : layers.end], place, limit)

    def endpoints(self, block: bytes) -> bytes:
        """Return the source address and the final destination address of an IPv4 header."""
        destination = self.destination(block)
        return block[self.addresses : self.addresses + 4] + block[destination : destination + 4]

    def fragment(self, packet: Packet, block: bytes, whole: i64) -> i64:
        """Read an IPv4 fragment, unless it certainly contains no TCP.

        `whole`: the index in the block at which the complete fragment ends, even if it was not captured up to there.
        """
        layers, datagrams = self.layers, self.datagrams
        at = self.addresses - ADDRESSES
        field, protocol = u16(block, at + 6), i64(block[at + 9])
        first = field & FRAGMENT_OFFSET
        if not may_have_tcp(protocol):
            return layers.refuse(protocol)
        if protocol == UDP_PROTOCOL and layers.ip_headers == 1 and datagrams is not None:
            is_first = first == 0 and layers.has(8) and (is_tunnel(u16(block, layers.at)) or is_tunnel(u16(block, layers.at + 2)))
            if not is_first and not datagrams.tunnels:
                return layers.refuse(UDP_PROTOCOL)
            if not datagrams.is_of_tunnel(mix(int.from_bytes(self.endpoints(block), "big"), packet.ip_id), is_first):
                return layers.refuse(UDP_PROTOCOL)
        self.inside = protocol
        key = (protocol, packet.ip_id, layers.encapsulation)
        return self.join(packet, block, self.endpoints(block), key, first * 8, field & MORE_FRAGMENTS != 0, whole)

    def fragment_header(self, packet: Packet, block: bytes) -> i64:
        """Read an IPv6 fragment header (RFC 8200 section 4.5)."""
        layers = self.layers
        at = layers.at
        layers.at += 8
        self.inside = i64(block[at])
        field = u16(block, at + 2)
        if field & ~6 == 0:
            return INSIDE_IP
        addresses = block[self.addresses : self.addresses + 32]
        key = (FRAGMENT_HEADER, int(u32(block, at + 4)), layers.encapsulation)
        return self.join(packet, block, addresses, key, field & ~7, field & 1 != 0, layers.limit)

    def join(
        self, packet: Packet, block: bytes, addresses: bytes, key: tuple[int, int, int], first: i64, more: bool, whole: i64
    ) -> i64:  # fmt: skip
        """Add a fragment that begins with byte `first` of its datagram. If the datagram is now complete, parse its content.

        `addresses` and `key` (protocol, identification and encapsulation) identify the datagram. `whole`: the index in the block
        at which the complete fragment ends. A fragment that was not captured completely is not reassembled. It is only read if it
        is the first fragment, which contains the TCP header.
        """
        layers, datagrams = self.layers, self.datagrams
        if layers.stop < whole or whole <= layers.at or datagrams is None:
            return INSIDE_IP if first == 0 else layers.refuse(CUT_FRAGMENT)
        if layers.is_quoted:
            return layers.refuse(QUOTED_FRAGMENT)
        if not layers.hashing:
            return AGAIN
        content = datagrams.add(addresses, key, first, more, block[layers.at : whole])
        if content is None:
            return layers.refuse(datagrams.reason)
        return self.move(packet, content, datagrams.place, len(content))

    def move(self, packet: Packet, content: bytes, place: i64, limit: i64) -> i64:
        """Continue reading in `content`, which begins with the addresses of the current IP header.

        `place`: the position of `content` in the capture. `limit`: the length of `content` on the network.
        """
        layers = self.layers
        packet.block, packet.block_place = content, place
        packet.at, packet.end = 0, len(content)
        self.addresses = 0
        layers.at = 8 if layers.ip_version == 4 else 32
        layers.end, layers.limit = packet.end, limit
        layers.stop = min(packet.end, limit)
        return MOVED

    def tcp(self, packet: Packet, block: bytes) -> i64:
        """Read a TCP header (RFC 9293 section 3.1)."""
        layers = self.layers
        at, end, limit = layers.at, layers.end, layers.limit
        if not layers.has(NOT_BEFORE_WINDOW):
            return self.quote(packet, block) if layers.is_quoted else layers.refuse(CUT_TCP)
        size = (i64(block[at + 12]) >> 4) * 4
        payload = at + size
        if size < TCP_HEADER or payload > limit:
            self.note_offset(packet, size, limit - at)
            payload = min(at + TCP_HEADER, end)  # the start of the payload is unknown
            limit = payload
        if layers.ip_version == 6:
            name_ipv6(packet, block, self.addresses, at)
        else:
            name_ipv4(packet, block, self.addresses, at)
        packet.tcp = at
        packet.sequence = u32(block, at + 4)
        packet.acknowledgment = u32(block, at + 8)
        packet.flags = i64(block[at + 13])
        packet.window = u16(block, at + 14)
        packet.length = limit - payload
        packet.captured = max(min(layers.stop, limit) - payload, i64(0))
        packet.payload = payload
        packet.is_quoted = layers.is_quoted
        packet.outer = None
        packet.mss = packet.window_shift = NO_OPTION
        packet.has_timestamps = packet.sack = packet.dsack = False
        packet.stamp = NEVER
        if payload > at + TCP_HEADER:
            self.options(packet, block, at + TCP_HEADER, payload if payload < end else end)
        if payload > end:
            without_all_options(packet, size)
        return SEGMENT

    def quote(self, packet: Packet, block: bytes) -> i64:
        """Read the beginning of a TCP header that an ICMP error quotes."""
        layers = self.layers
        if not layers.has(QUOTED_PORTS):
            return layers.refuse(QUOTED_TOO_LITTLE)
        if layers.ip_version == 6:
            name_ipv6(packet, block, self.addresses, layers.at)
        else:
            name_ipv4(packet, block, self.addresses, layers.at)
        packet.tcp = layers.at
        packet.sequence = u32(block, layers.at + 4)
        packet.flags = 0
        return QUOTE

    def note_offset(self, packet: Packet, size: i64, segment: i64) -> None:
        """Record that a TCP header has the invalid data offset `size` (bytes) in a segment of `segment` bytes.

        Segments quoted by ICMP are ignored, because quotes are short.
        """
        if self.layers.is_quoted or self.noted >= limits.ODDITIES.value:
            return
        self.noted += 1
        what = f"it must be at least {TCP_HEADER}, and at most the length of the segment, {segment}"
        self.oddities.append((packet.frame, "tcp", f"data offset of {size} bytes: {what}"))

    def options(self, packet: Packet, block: bytes, at: i64, end: i64) -> None:
        """Read the TCP options in block[at:end], up to the first invalid option."""
        if end - at == 12 and u32(block, at) == PLAIN_TIMESTAMPS:
            packet.has_timestamps = True
            packet.stamp = u32(block, at + 4)
            return
        while at < end:
            kind = i64(block[at])
            if kind == 1:
                at += 1
                continue
            if kind == 0 or at + 1 >= end:
                return
            size = i64(block[at + 1])
            if size < 2 or at + size > end:
                return
            if kind == 2 and size == 4:
                packet.mss = u16(block, at + 2)
            elif kind == 3 and size == 3:
                packet.window_shift = min(i64(block[at + 2]), LARGEST_SHIFT)
            elif kind == 8 and size == 10:
                packet.has_timestamps = True
                packet.stamp = u32(block, at + 2)
            elif kind == 5 and size >= 10:
                packet.sack = True
                packet.dsack = is_duplicate(block, at + 2, size - 2, packet.acknowledgment)
            at += size


def source_route(block: bytes, at: i64, end: i64) -> i64:
    """Return the index of the last address of a source route in the IPv4 options block[at:end]; -1 if there is none."""
    while at + 1 < end and block[at] != 0:
        if block[at] == 1:
            at += 1
            continue
        size = i64(block[at + 1])
        if size < 2 or at + size > end:
            return -1
        if (block[at] == LOOSE_ROUTE or block[at] == STRICT_ROUTE) and size >= 7:
            return at + size - 4
        at += size
    return -1


def may_have_tcp(protocol: i64) -> bool:
    """Return whether packets with this IPv4 protocol number may contain TCP."""
    if protocol in (ICMP, IPV4_IN_IP, TCP_PROTOCOL, UDP_PROTOCOL, IPV6_IN_IP, GRE_IN_IP, AH, ICMPV6):
        return True
    return protocol in (ETHER_IP, MPLS_IN_IP, ETHERNET_IN_IP)


def is_error(protocol: i64, kind: i64) -> bool:
    """Return whether ICMP or ICMPv6 messages of this type quote the packet that caused them (RFC 792, RFC 4443)."""
    if protocol == ICMP:
        return kind in (3, 4, 11, 12)
    return 1 <= kind <= 4


def without_all_options(packet: Packet, size: i64) -> None:
    """Mark the options that were not found in a TCP header as unknown, because the snap length may have cut them off.

    If the header (`size` bytes) has room for timestamps and the packet has data, assume that it has timestamps, because no other
    usual option in a packet with data is this long.
    """
    if packet.mss == NO_OPTION:
        packet.mss = NOT_CAPTURED
    if packet.window_shift == NO_OPTION:
        packet.window_shift = NOT_CAPTURED
    if size >= STAMPED and packet.length > 0:
        packet.has_timestamps = True


def is_duplicate(block: bytes, at: i64, size: i64, acknowledgment: i64) -> bool:
    """Return whether the first SACK block, at index `at`, reports data that arrived twice (D-SACK, RFC 2883 section 4)."""
    left, right = u32(block, at), u32(block, at + 4)
    if is_not_after(right, acknowledgment):
        return True
    if size < 16:
        return False
    return is_not_after(u32(block, at + 8), left) and is_not_after(right, u32(block, at + 12))


def is_not_after(first: i64, second: i64) -> bool:
    """Return whether first <= second in sequence space (RFC 9293 section 3.4)."""
    return (second - first) & 0xFFFFFFFF < HALF
