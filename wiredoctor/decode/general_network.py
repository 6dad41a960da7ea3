"""IP, its fragments, extension headers and tunnels, one packet at a time."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from wiredoctor.decode.general_dpkt import authentication_header, fragment_header, routing_header
from wiredoctor.decode.general_transport import tcp
from wiredoctor.decode.hashing import mix_one
from wiredoctor.decode.protocol_numbers import (
    EXTENSIONS,
    FRAGMENT_OFFSET,
    ICMP_ERRORS,
    ICMPV6_ERRORS,
    JUMBO,
    MORE_FRAGMENTS,
    SOURCE_ROUTES,
    TUNNEL_PORTS,
    UDP,
    UDP_HEADER,
)
from wiredoctor.decode.reasons import BAD_IP, CUT_IP, WAITING, protocol_reason
from wiredoctor.tables import SCRATCH

if TYPE_CHECKING:
    from wiredoctor.decode.packet import Packet, Step

_IPV4 = struct.Struct(">BBHHHBBHII")
_ROUTING, _FRAGMENT, _NO_NEXT_HEADER = 43, 44, 59


def ipv4(packet: Packet) -> Step | str:
    """RFC 791."""
    if not packet.has(20):
        return CUT_IP
    start = packet.at
    version_ihl, _, total, packet.ip_id, fragment, packet.ttl, protocol, _, source, destination = _IPV4.unpack(packet.peek(20))
    size = (version_ihl & 15) * 4
    if version_ihl >> 4 != 4 or size < 20 or 0 < total < size:
        return BAD_IP
    if size > 20:
        destination = _final_destination(packet, size, destination)
    _enter(packet, 4, source, destination)
    if total:
        packet.measure(total)
    packet.at = start + size
    if fragment & (MORE_FRAGMENTS | FRAGMENT_OFFSET):
        first = fragment & FRAGMENT_OFFSET == 0
        if protocol not in _PROTOCOLS or (protocol == UDP and packet.routed == 1 and not _tunnel_fragment(packet, first)):
            return protocol_reason(protocol)
        key = (4, source, destination, packet.ip_id, protocol, packet.encapsulation)
        stopped = _fragment(packet, key, (fragment & FRAGMENT_OFFSET) * 8, bool(fragment & MORE_FRAGMENTS), start + total)
        if stopped is not None:
            return stopped
    return _protocol(protocol)


def _final_destination(packet: Packet, size: int, destination: int) -> int:
    """RFC 791 section 3.1: a source route ends with the host that the packet is for; the header has the next stop."""
    options = packet.peek(size)[20:]
    at = 0
    while at + 1 < len(options) and options[at] != 0:
        if options[at] == 1:
            at += 1
            continue
        length = options[at + 1]
        if length < 2 or at + length > len(options):
            break
        if options[at] in SOURCE_ROUTES and length >= 7:
            return int.from_bytes(options[at + length - 4 : at + length])
        at += length
    return destination


def ipv6(packet: Packet) -> Step | str:
    """RFC 8200, with the extension headers that may stand in front of TCP."""
    if not packet.has(40):
        return CUT_IP
    header = packet.take(40)
    if header[0] >> 4 != 6:
        return BAD_IP
    size, protocol, packet.ttl = int.from_bytes(header[4:6]), header[6], header[7]
    packet.ip_id = -1
    _enter(packet, 6, int.from_bytes(header[8:24]), int.from_bytes(header[24:40]))
    if size or packet.limit - packet.at <= JUMBO:
        packet.measure(size if size or protocol != 0 else packet.limit - packet.at)
    while protocol in EXTENSIONS:
        following = _extension(packet, protocol)
        if isinstance(following, str):
            return following
        protocol = following
    return _protocol(protocol)


def _extension(packet: Packet, protocol: int) -> int | str:
    """The protocol that follows this extension header, or why reading ends."""
    if protocol == _FRAGMENT:
        return _fragment_header(packet)
    if protocol == _ROUTING:
        header = routing_header(packet)
        if header is None:
            return CUT_IP
        following, words = header
        packet.at += words * 8
        return following
    if not packet.has(8):
        return CUT_IP
    head = packet.peek(2)
    packet.at += (head[1] + 1) * 8
    return head[0]


def _fragment_header(packet: Packet) -> int | str:
    header = fragment_header(packet)
    if header is None:
        return CUT_IP
    following, first, more, ident = header
    if first or more:
        key = (6, packet.source, packet.destination, ident, packet.encapsulation)
        stopped = _fragment(packet, key, first, more, packet.limit)
        if stopped is not None:
            return stopped
    return following


def _enter(packet: Packet, version: int, source: int, destination: int) -> None:
    """An IP header inside another one makes the outer one an encapsulation."""
    if packet.routed and not packet.quoted:
        packet.passed(packet.source & (1 << 64) - 1)
        packet.passed(packet.destination & (1 << 64) - 1)
    packet.routed += 1
    packet.ip_version, packet.source, packet.destination = version, source, destination


def ipv4_in_ip(packet: Packet) -> Step | str:
    """RFC 2003."""
    return ipv4(packet)


def ipv6_in_ip(packet: Packet) -> Step | str:
    """RFC 4213, RFC 2473."""
    return ipv6(packet)


def _protocol(protocol: int) -> Step | str:
    return _PROTOCOLS.get(protocol) or protocol_reason(protocol)


def _fragment(packet: Packet, key: object, first: int, more: bool, whole: int) -> str | None:
    """Puts a fragment to the others. None: reading goes on, in the datagram that is now whole, or in this first fragment.

    whole: where the fragment ends on the wire. One that was not captured in full cannot be put together, but a first
    one has the headers.
    """
    if min(packet.end, packet.limit) < whole or whole <= packet.at:
        return None if first == 0 else "IP fragment cut short"
    if packet.quoted:
        return "ICMP error that quotes an IP fragment"
    datagram = packet.state.fragments.add(key, first, more, bytes(packet.buffer[packet.at : whole]))
    if datagram is None:
        return WAITING
    at = packet.state.keep(datagram)
    if at is None:
        return "IP fragments beyond the memory for them"
    packet.buffer, packet.base = memoryview(datagram), SCRATCH + at
    packet.at, packet.end, packet.limit = 0, len(datagram), len(datagram)
    return None


def _tunnel_fragment(packet: Packet, first: bool) -> bool:
    """Whether a UDP fragment belongs to a tunnel. The core asks the same, so that it declines no ordinary UDP."""
    datagram = mix_one(packet.source << 32 | packet.destination, packet.ip_id)
    ports = packet.peek(4)
    if first and packet.has(UDP_HEADER) and not {*TUNNEL_PORTS}.isdisjoint(struct.unpack(">HH", ports)):
        packet.state.expect_tunnel(datagram)
    return datagram in packet.state.tunnels


def authentication(packet: Packet) -> Step | str:
    """RFC 4302: the header authenticates what follows and leaves it readable."""
    header = authentication_header(packet)
    if header is None:
        return CUT_IP
    following, words = header
    packet.at += (words - 1) * 4
    if following in EXTENSIONS:
        return protocol_reason(_NO_NEXT_HEADER)
    return _protocol(following)


def gre_in_ip(packet: Packet) -> Step | str:
    from wiredoctor.decode.general_gre import gre

    return gre(packet)


def _udp(packet: Packet) -> Step | str:
    from wiredoctor.decode.general_udp import udp

    return udp(packet)


def _icmp(packet: Packet) -> Step | str:
    """RFC 792: errors quote the packet that caused them."""
    return _quoted(packet, "ICMP", ICMP_ERRORS, ipv4)


def _icmpv6(packet: Packet) -> Step | str:
    """RFC 4443: so do these."""
    return _quoted(packet, "ICMPv6", ICMPV6_ERRORS, ipv6)


def _quoted(packet: Packet, name: str, errors: tuple[int, ...], inside: Step) -> Step | str:
    kind = packet.peek(1)
    if not kind or kind[0] not in errors or not packet.has(8):
        return name
    packet.at += 8
    packet.quoted = True
    return inside


def ether_ip(packet: Packet) -> Step | str:
    """RFC 3378: a version, then the frame."""
    from wiredoctor.decode.general_ethernet import ethernet

    packet.at += 2
    return ethernet


def frame_in_ip(packet: Packet) -> Step | str:
    from wiredoctor.decode.general_ethernet import ethernet

    return ethernet(packet)


def mpls_in_ip(packet: Packet) -> Step | str:
    from wiredoctor.decode.general_ethernet import mpls

    return mpls(packet)


_PROTOCOLS: dict[int, Step] = {
    1: _icmp, 4: ipv4_in_ip, 6: tcp, 17: _udp, 41: ipv6_in_ip, 47: gre_in_ip, 51: authentication, 58: _icmpv6,
    97: ether_ip, 137: mpls_in_ip, 143: frame_in_ip,
}  # fmt: skip
