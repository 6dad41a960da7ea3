"""From a packet record to its TCP segment: link layer, IP, TCP and its options."""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64

from wiredoctor.core import layers as known
from wiredoctor.core.layers import (
    BAD_IP,
    CUT_IP,
    CUT_TCP,
    DECLINED,
    ETHERNET,
    GRE,
    IPV4,
    IPV6,
    NAMED_IP_IN_IP,
    NOT_TCP,
    SEGMENT,
    TCP,
    UDP,
    Layers,
)
from wiredoctor.core.links import ethernet
from wiredoctor.core.packet import NO_OPTION, NOT_CAPTURED, Packet, name_ipv4, name_ipv6
from wiredoctor.core.reasons import Tally
from wiredoctor.core.tunnels import is_tunnel, step
from wiredoctor.core.unsigned import u16, u32

LINKS: Final = {
    0: known.LOOPBACK,
    9: known.PPP,
    12: known.RAW,
    14: known.RAW,
    50: known.PPP,
    51: known.PPPOE,
    101: known.RAW,
    105: known.WIFI,
    108: known.LOOPBACK,
    113: known.COOKED,
    117: known.PFLOG,
    127: known.RADIOTAP,
    228: IPV4,
    229: IPV6,
    239: known.NFLOG,
    276: known.COOKED_2,
}
"""The first header by LINKTYPE_ number, beside Ethernet."""

LINK_ETHERNET: Final = 1
MOST_HEADERS: Final = 24
"""Headers of a packet; with more it is declined."""
JUMBO: Final = 65_535
"""Bytes; a longer IPv6 packet cannot say its length (segmentation offload writes 0)."""
ADDRESSES: Final = 12
"""Where the addresses begin in an IPv4 header."""
ICMP: Final = 1
IPV4_IN_IP: Final = 4
TCP_PROTOCOL: Final = 6
UDP_PROTOCOL: Final = 17
IPV6_IN_IP: Final = 41
GRE_IN_IP: Final = 47
ICMPV6: Final = 58
HOP_OPTIONS: Final = 0
DESTINATION_OPTIONS: Final = 60
RARE_PROTOCOLS: Final = frozenset((43, 44, 51, 97, 137, 143))
"""Routing and fragment header, authentication, Ethernet and MPLS in IP: only decode/ reads them."""
NOT_BEFORE_WINDOW: Final = 16
"""Bytes of a TCP header up to the window: a segment with fewer has no stream in Wireshark."""
PLAIN_TIMESTAMPS: Final = 0x0101080A
STAMPED: Final = 32
"""Bytes of a TCP header with the time-stamp option, RFC 7323 appendix A."""
LARGEST_SHIFT: Final = 14
HALF: Final = 1 << 31


class Headers:
    """Reads the headers of packets. What it declines is for decode/ (general.py)."""

    def __init__(self) -> None:
        self.layers: Layers = Layers()
        self.not_analyzed: Tally = Tally()
        """Reasons."""
        self.names: Tally = Tally()
        """Bits of the encapsulations of packets with TCP in them."""
        self.fragmented_tunnels: dict[int, None] = {}
        """Datagrams whose later fragments are worth keeping, as in DecodeState.tunnels."""
        self.addresses: i64 = 0
        """Where the IP addresses of the packet in hand are."""

    def read(self, packet: Packet) -> i64:
        """Fill the packet with its TCP segment: SEGMENT, NOT_TCP or DECLINED."""
        layers = self.layers
        layers.begin(packet)
        header: i64 = ETHERNET
        if packet.link_type != LINK_ETHERNET:
            header = LINKS.get(packet.link_type, DECLINED)
        header = self.follow(packet, header)
        if header == SEGMENT:
            if layers.names:
                self.names.add(layers.names)
        elif header == NOT_TCP:
            self.not_analyzed.add(layers.reason)
        return header

    def follow(self, packet: Packet, header: i64) -> i64:
        """Read this header and those that follow it."""
        layers, block = self.layers, packet.block
        count: i64 = 0
        while header > DECLINED:
            if header == IPV4:
                header = self.ipv4(packet, block)
            elif header == TCP:
                return self.tcp(packet, block)
            elif header == ETHERNET:
                header = ethernet(layers, block)
            elif header == IPV6:
                header = self.ipv6(packet, block)
            else:
                header = step(layers, block, header)
            count += 1
            if count > MOST_HEADERS:
                return DECLINED
        return header

    def ipv4(self, packet: Packet, block: bytes) -> i64:
        """RFC 791."""
        layers = self.layers
        if not layers.has(20):
            return layers.refuse(CUT_IP)
        at = layers.at
        version = i64(block[at])
        size, total, fragment = (version & 15) * 4, u16(block, at + 2), u16(block, at + 6) & 0x3FFF
        if version >> 4 != 4 or size < 20 or 0 < total < size:
            return layers.refuse(BAD_IP)
        if size > 20 and has_source_route(block, at + 20, min(at + size, layers.end)):
            return DECLINED
        self.enter(block, at + ADDRESSES, 4)
        packet.ip_id = u16(block, at + 4)
        packet.ttl = i64(block[at + 8])
        if total:
            layers.measure(total)
        layers.at = at + size
        protocol = i64(block[at + 9])
        if protocol == TCP_PROTOCOL and fragment == 0:
            return TCP
        return self.fragment(block, protocol, fragment) if fragment else self.protocol(block, protocol)

    def ipv6(self, packet: Packet, block: bytes) -> i64:
        """RFC 8200, with options for hops and for the destination."""
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
        while protocol in (HOP_OPTIONS, DESTINATION_OPTIONS):
            if not layers.has(8):
                return layers.refuse(CUT_IP)
            protocol = i64(block[layers.at])
            layers.at += (i64(block[layers.at + 1]) + 1) * 8
        return self.protocol(block, protocol)

    def enter(self, block: bytes, addresses: i64, version: i64) -> None:
        """Note the addresses of an IP header; one inside another makes the outer one an encapsulation."""
        layers = self.layers
        if layers.hashing and layers.ip_headers:
            layers.hash_outer(block, self.addresses)
        layers.ip_headers += 1
        layers.ip_version = version
        self.addresses = addresses

    def protocol(self, block: bytes, protocol: i64) -> i64:
        """Return what follows an IP header with this protocol."""
        layers = self.layers
        if protocol == TCP_PROTOCOL:
            return TCP
        if protocol == UDP_PROTOCOL:
            return UDP
        if protocol == GRE_IN_IP:
            return GRE
        if protocol in (IPV4_IN_IP, IPV6_IN_IP):
            layers.names |= NAMED_IP_IN_IP
            return IPV4 if protocol == IPV4_IN_IP else IPV6
        if protocol in (ICMP, ICMPV6):
            return DECLINED if layers.has(8) and is_error(protocol, i64(block[layers.at])) else layers.refuse(protocol)
        return DECLINED if protocol in RARE_PROTOCOLS else layers.refuse(protocol)

    def fragment(self, block: bytes, protocol: i64, fragment: i64) -> i64:
        """Decline a fragment of IPv4 unless it is certain that it has nothing to read."""
        layers = self.layers
        if protocol == UDP_PROTOCOL and layers.ip_headers == 1 and not self.fragmented_tunnels:
            is_first = fragment & 0x1FFF == 0 and layers.has(8)
            if not is_first or not (is_tunnel(u16(block, layers.at)) or is_tunnel(u16(block, layers.at + 2))):
                return layers.refuse(UDP_PROTOCOL)
        known = protocol in (ICMP, IPV4_IN_IP, TCP_PROTOCOL, UDP_PROTOCOL, IPV6_IN_IP, GRE_IN_IP, ICMPV6, 51, 97, 137, 143)
        return DECLINED if known else layers.refuse(protocol)

    def tcp(self, packet: Packet, block: bytes) -> i64:
        """RFC 9293 section 3.1."""
        layers = self.layers
        at, end, limit = layers.at, layers.end, layers.limit
        if not layers.has(20):
            return DECLINED if layers.has(NOT_BEFORE_WINDOW) else layers.refuse(CUT_TCP)
        size = (i64(block[at + 12]) >> 4) * 4
        if size < 20 or size > limit - at:
            return DECLINED
        payload = at + size
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
        packet.captured = max(layers.stop - payload, i64(0))
        packet.payload = payload
        packet.place = packet.block_place + payload
        packet.is_quoted = False
        packet.general = None
        packet.mss = packet.window_shift = NO_OPTION
        packet.has_timestamps = packet.sack = packet.dsack = False
        if size > 20:
            self.options(packet, block, at + 20, payload if payload < end else end)
            if payload > end:
                without_all_options(packet, size)
        return SEGMENT

    def options(self, packet: Packet, block: bytes, at: i64, end: i64) -> None:
        """Read the options at block[at:end], up to the first that cannot be one."""
        if end - at == 12 and u32(block, at) == PLAIN_TIMESTAMPS:
            packet.has_timestamps = True
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
            elif kind == 5 and size >= 10:
                packet.sack = True
                packet.dsack = is_duplicate(block, at + 2, size - 2, packet.acknowledgment)
            at += size


def has_source_route(block: bytes, at: i64, end: i64) -> bool:
    """Return whether the options of an IPv4 header may have a source route, loose or strict."""
    while at < end:
        if block[at] == 131 or block[at] == 137:
            return True
        at += 1
    return False


def is_error(protocol: i64, kind: i64) -> bool:
    """Return whether this type of ICMP or ICMPv6 message quotes a packet that it reports (RFC 792, RFC 4443)."""
    if protocol == ICMP:
        return kind in (3, 4, 11, 12)
    return 1 <= kind <= 4


def without_all_options(packet: Packet, size: i64) -> None:
    """The snap length cut the options of a header of this size: note which it may have had.

    Data with so long a header has time stamps: nothing else comes with data.
    """
    if packet.mss == NO_OPTION:
        packet.mss = NOT_CAPTURED
    if packet.window_shift == NO_OPTION:
        packet.window_shift = NOT_CAPTURED
    if size >= STAMPED and packet.length > 0:
        packet.has_timestamps = True


def is_duplicate(block: bytes, at: i64, size: i64, acknowledgment: i64) -> bool:
    """Return whether the first of the SACK blocks at `at` reports a duplicate (RFC 2883 section 4)."""
    left, right = u32(block, at), u32(block, at + 4)
    if is_not_after(right, acknowledgment):
        return True
    if size < 16:
        return False
    return is_not_after(u32(block, at + 8), left) and is_not_after(right, u32(block, at + 12))


def is_not_after(first: i64, second: i64) -> bool:
    """Return whether first <= second in sequence space (RFC 9293 section 3.4)."""
    return (second - first) & 0xFFFFFFFF < HALF
