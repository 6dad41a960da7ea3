"""Headers that dpkt reads, one packet at a time: the encapsulations and extension headers that the core declines.

dpkt is imported when the first such header comes (60 ms): it is not among the packets that every capture has. Those
headers we read ourselves, though dpkt could: Ethernet, Linux cooked, IPv4, IPv6, the IPv6 options of each multicast
listener report, ICMP errors and TCP.

Each function reads the header where the packet stands, moves behind its fixed part, and gives the fields in question.
None: less than the fixed part is there, and reading has not moved.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wiredoctor.decode.packet import Packet


def vlan_tag(packet: Packet) -> tuple[int, int] | None:
    """IEEE 802.1Q: VLAN, EtherType. dpkt.Ethernet stops after two tags, so it is asked for one at a time."""
    tag = _read(packet, "ethernet", "VLANtag8021Q")
    return None if tag is None else (tag.id, tag.type)


def mpls_label(packet: Packet) -> tuple[int, bool] | None:
    """RFC 3032: label, whether it is the last."""
    entry = _read(packet, "ethernet", "MPLSlabel")
    return None if entry is None else (entry.val, entry.s == 1)


def pppoe_session(packet: Packet) -> tuple[int, int] | None:
    """RFC 2516: session, bytes that follow."""
    header = _read(packet, "pppoe", "PPPoE")
    return None if header is None else (header.session, header.len)


def gre_base(packet: Packet) -> tuple[int, int] | None:
    """RFC 2784: flags and version, protocol type. dpkt takes a key for granted in any version but 0, flag or not."""
    header = _read(packet, "gre", "GRE")
    return None if header is None else (header.flags, header.p)


def udp_header(packet: Packet) -> tuple[int, int, int] | None:
    """RFC 768: source port, destination port, length."""
    header = _read(packet, "udp", "UDP")
    return None if header is None else (header.sport, header.dport, header.ulen)


def authentication_header(packet: Packet) -> tuple[int, int] | None:
    """RFC 4302: next header, length in words of 4 bytes without the first two."""
    header = _read(packet, "ah", "AH")
    return None if header is None else (header.nxt, header.len)


def routing_header(packet: Packet) -> tuple[int, int] | None:
    """RFC 8200 section 4.4: next header, length in words of 8 bytes without the first."""
    header = _read(packet, "ip6", "IP6RoutingHeader")
    return None if header is None else (header.nxt, header.len)


def fragment_header(packet: Packet) -> tuple[int, int, bool, int] | None:
    """RFC 8200 section 4.5: next header, first byte, whether more follow, identification."""
    header = _read(packet, "ip6", "IP6FragmentHeader")
    return None if header is None else (header.nxt, header.frag_off * 8, header.m_flag == 1, header.id)


def _read(packet: Packet, module: str, name: str) -> Any | None:
    end = max(min(packet.end, packet.limit), 0)
    try:
        header = _header_only(module, name)(packet.buffer[packet.at : end])
    except _dpkt().NeedData:
        return None
    packet.at = end - len(header.data)
    return header


@cache
def _header_only(module: str, name: str) -> Any:
    """dpkt's class, without what it reads behind the fixed part: the payload, which the next steps read."""
    dpkt = _dpkt()
    return type(dpkt.Packet)(name, (getattr(getattr(dpkt, module), name),), {"unpack": dpkt.Packet.unpack})


@cache
def _dpkt() -> Any:
    """The module, of which the type checker knows nothing."""
    return import_module("dpkt")
