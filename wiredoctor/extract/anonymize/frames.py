"""Locate the parts of a captured packet, provided that every byte of its headers is understood.

Other packets are left out, with a reason, so none of their content can leak.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

ETHERNET, COOKED, COOKED2 = 1, 113, 276
NULL, LOOP, RAW, IPV4, IPV6 = 0, 108, 101, 228, 229
"""Link types by LINKTYPE_ number (tcpdump.org/linktypes.html)."""

_VLAN = (0x8100, 0x88A8, 0x9100)
_TCP = 6
_ICMP, _ICMPV6 = 1, 58
_ERRORS = {_ICMP: (3, 4, 11, 12), _ICMPV6: (1, 2, 3, 4)}
"""The types of ICMP and ICMPv6 messages that quote a packet (RFC 792, RFC 4443)."""

_PORTS, _HEADER = 8, 20
"""The minimum size in bytes of a quoted TCP header (RFC 792), and the size of a TCP header without options."""


@dataclass(frozen=True)
class Frame:
    """The positions of a packet's parts, in bytes from its start.

    `macs`: the start and end of each link-layer address. `tcp`: the start of the TCP or ICMP header. `payload`: the start of the
    payload, after the TCP options. `end`: the end of the captured IP datagram. `whole`: True if the datagram was captured
    completely. In an ICMP error, `quoted` describes the quoted packet, and `payload` is the end of the fixed part of the quoted
    TCP header.
    """

    link: int
    macs: tuple[tuple[int, int], ...]
    version: int
    ip: int
    tcp: int
    payload: int
    end: int
    whole: bool
    quoted: Frame | None = None

    @property
    def addresses(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """The start and end of the source address, and those of the destination address."""
        first, size = (self.ip + 12, 4) if self.version == 4 else (self.ip + 8, 16)
        return (first, first + size), (first + size, first + 2 * size)

    @property
    def all_addresses(self) -> tuple[tuple[int, int], ...]:
        """The start and end of each IP address, including the addresses of a quoted packet."""
        return self.addresses if self.quoted is None else (*self.addresses, *self.quoted.addresses)


def frame_of(data: bytes, link: int) -> Frame | str:
    """Return the positions of a packet's parts, or the reason why it cannot be parsed, for example inconsistent lengths."""
    found = _network(data, link)
    if isinstance(found, str):
        return found
    ip, macs, kind = found
    if ip >= len(data):
        return "cut short before its IP header"
    version = data[ip] >> 4
    if kind not in (0, 4, 6) or (kind and version != kind):
        return "no IP"
    if version == 4:
        return _ipv4(data, link, macs, ip)
    return _ipv6(data, link, macs, ip) if version == 6 else "no IP"


def inside(data: bytes, payload: int, ports: tuple[int, int], seq: int) -> int | str:
    """Return the offset of the IP header of a tunneled TCP packet; if it is not found, return a description of the packet.

    The decoder only stores the offset of the TCP payload (`payload`), so the headers before it are recognized by `ports` and
    `seq`.
    """
    for size in range(20, 61, 4):
        tcp = payload - size
        head = data[tcp : tcp + 13] if tcp >= 20 else b""
        if len(head) == 13 and head[12] >> 4 == size // 4 and head[:8] == struct.pack(">HHI", *ports, seq):
            for words in range(5, 16):
                ip = tcp - 4 * words
                if ip >= 0 and data[ip] == 0x40 | words and data[ip + 9] == _TCP:
                    return ip
            if tcp >= 40 and data[tcp - 40] >> 4 == 6 and data[tcp - 34] == _TCP:
                return tcp - 40
    return "a tunnel"


def _network(data: bytes, link: int) -> tuple[int, tuple[tuple[int, int], ...], int] | str:
    if link == ETHERNET:
        at = 12
        while int.from_bytes(data[at : at + 2], "big") in _VLAN:
            at += 4
        return at + 2, ((0, 6), (6, 12)), _kind(data[at : at + 2])
    if link == COOKED:
        return 16, ((6, 14),), _kind(data[14:16])
    if link == COOKED2:
        return 20, ((12, 20),), _kind(data[:2])
    if link in (NULL, LOOP):
        # the address family and byte order are those of the capturing system
        return 4, (), 0
    if link in (RAW, IPV4, IPV6):
        return 0, (), {IPV4: 4, IPV6: 6}.get(link, 0)
    return f"link type {link}"


def _kind(ethertype: bytes) -> int:
    return {b"\x08\x00": 4, b"\x86\xdd": 6}.get(ethertype, -1)


def _ipv4(data: bytes, link: int, macs: tuple[tuple[int, int], ...], ip: int) -> Frame | str:
    size = 4 * (data[ip] & 15)
    if size < 20 or len(data) < ip + size:
        return "cut short in its IP header"
    if data[ip + 9] not in (_TCP, _ICMP):
        return "no TCP"
    if int.from_bytes(data[ip + 6 : ip + 8], "big") & 0x3FFF:
        return "IP fragment"
    # a segment that the network card will split has no length yet
    length = int.from_bytes(data[ip + 2 : ip + 4], "big") or len(data) - ip
    if data[ip + 9] == _ICMP:
        return _error(data, link, macs, 4, ip, ip + size, ip + length)
    return _tcp(data, link, macs, 4, ip, ip + size, ip + length)


def _ipv6(data: bytes, link: int, macs: tuple[tuple[int, int], ...], ip: int) -> Frame | str:
    if len(data) < ip + 40:
        return "cut short in its IP header"
    if data[ip + 6] not in (_TCP, _ICMPV6):
        return "no TCP, or IPv6 extension headers"
    length = int.from_bytes(data[ip + 4 : ip + 6], "big") or len(data) - ip - 40
    if data[ip + 6] == _ICMPV6:
        return _error(data, link, macs, 6, ip, ip + 40, ip + 40 + length)
    return _tcp(data, link, macs, 6, ip, ip + 40, ip + 40 + length)


def _tcp(data: bytes, link: int, macs: tuple[tuple[int, int], ...], version: int, ip: int, tcp: int, end: int) -> Frame | str:
    if len(data) < tcp + 20:
        return "cut short in its TCP header"
    payload = tcp + 4 * (data[tcp + 12] >> 4)
    if payload < tcp + 20 or payload > end:
        return "impossible TCP header"
    return Frame(link, macs, version, ip, tcp, min(payload, len(data)), min(end, len(data)), end <= len(data))


def _error(data: bytes, link: int, macs: tuple[tuple[int, int], ...], version: int, ip: int, icmp: int, end: int) -> Frame | str:
    """Return the positions of the parts of an ICMP error that quotes TCP, or the reason why it cannot be parsed."""
    stop, quoted = min(end, len(data)), icmp + 8
    fixed = quoted + (20 if version == 4 else 40)
    if stop < fixed + _PORTS or data[icmp] not in _ERRORS[_ICMP if version == 4 else _ICMPV6] or data[quoted] >> 4 != version:
        return "no TCP"
    tcp = quoted + 4 * (data[quoted] & 15) if version == 4 else fixed
    protocol = data[quoted + (9 if version == 4 else 6)]
    fragment = int.from_bytes(data[quoted + 6 : quoted + 8], "big") & 0x3FFF if version == 4 else 0
    if protocol != _TCP or fragment or tcp < fixed or stop < tcp + _PORTS:
        return "no TCP"
    payload = min(tcp + _HEADER, stop)
    inner = Frame(link, (), version, quoted, tcp, payload, stop, whole=False)
    return Frame(link, macs, version, ip, icmp, payload, stop, end <= len(data), inner)
