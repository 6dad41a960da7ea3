"""Build packets in another host's name: ICMP errors of routers (RFC 792, 4443), resets (RFC 9293 3.10.7), routed packets."""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass

from packet import ACK, ETHERNET, RST, TCP

ICMP, ICMP6 = 1, 58
UNREACHABLE, UNREACHABLE6, TOO_BIG6 = 3, 1, 2
IP6_HEAD, SMALLEST_MTU6 = 40, 1_280
ROUTERS = ("10.9.0.254", "fd00:9::fe")


@dataclass(frozen=True)
class Icmp:
    """An ICMP error "destination unreachable" with this code. With an MTU, it is "packet too big" over IPv6; over IPv4, its code
    is then 4.

    `quoted`: the number of bytes of TCP that are quoted over IPv4. Over IPv6, as much is quoted as RFC 4443 allows.
    """

    code: int
    mtu: int = 0
    quoted: int = 8
    routers: tuple[str, str] = ROUTERS
    """The router's addresses, IPv4 and IPv6."""


@dataclass(frozen=True)
class Reset:
    """The form of a forged reset: TTL (hop limit) at the device, IP ID over IPv4, ACK flag, TCP options, and window."""

    ttl: int = 64
    ip_id: int = 0
    ack: bool = False
    options: bytes = b""
    window: int = 0


def checksum(data: bytes) -> int:
    """Return the Internet checksum (RFC 1071)."""
    padded = data + b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f">{len(padded) // 2}H", padded))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def _v6(frame: bytes) -> bool:
    return frame[12:14] == b"\x86\xdd"


def _ip4(protocol: int, source: bytes, target: bytes, body: bytes, *, ttl: int, ip_id: int = 0) -> bytes:
    head = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(body), ip_id, 0x4000, ttl, protocol, 0, source, target)
    return head[:10] + checksum(head).to_bytes(2, "big") + head[12:] + body


def _ip6(protocol: int, source: bytes, target: bytes, body: bytes, *, ttl: int) -> bytes:
    return struct.pack(">IHBB16s16s", 6 << 28, len(body), protocol, ttl, source, target) + body


def _summed(body: bytes, at: int, source: bytes, target: bytes, protocol: int) -> bytes:
    """Return the body with its checksum at offset `at`, calculated over the body and the pseudo header of IPv4 or IPv6."""
    pseudo = source + target + struct.pack(">IHBB", len(body), 0, 0, protocol)
    return body[:at] + checksum(pseudo + body).to_bytes(2, "big") + body[at + 2 :]


def _back(frame: bytes) -> bytes:
    """Return the Ethernet header of a reply to a frame."""
    return frame[6:12] + frame[:6] + frame[12:14]


def icmp_error(frame: bytes, answer: Icmp) -> bytes:
    """Return the frame with which a router rejects the given frame."""
    packet = frame[ETHERNET:]
    if _v6(frame):
        router, sender = socket.inet_pton(socket.AF_INET6, answer.routers[1]), packet[8:24]
        quoted = packet[: SMALLEST_MTU6 - IP6_HEAD - 8]
        kind, code = (TOO_BIG6, 0) if answer.mtu else (UNREACHABLE6, answer.code)
        body = struct.pack(">BBHI", kind, code, 0, answer.mtu) + quoted
        body = _summed(body, 2, router, sender, ICMP6)
        return _back(frame) + _ip6(ICMP6, router, sender, body, ttl=64)
    router, sender = socket.inet_aton(answer.routers[0]), packet[12:16]
    length, head = int.from_bytes(packet[2:4], "big"), (packet[0] & 0x0F) * 4
    body = struct.pack(">BBHHH", UNREACHABLE, answer.code, 0, 0, answer.mtu) + packet[: min(length, head + answer.quoted)]
    body = body[:2] + checksum(body).to_bytes(2, "big") + body[4:]
    return _back(frame) + _ip4(ICMP, router, sender, body, ttl=64)


def reset(frame: bytes, how: Reset, *, seq: int, ack: int | None) -> bytes:
    """Return a frame that resets a connection. It goes to the sender of the given frame, in the name of its receiver."""
    packet = frame[ETHERNET:]
    at = IP6_HEAD if _v6(frame) else (packet[0] & 0x0F) * 4
    ports = packet[at + 2 : at + 4] + packet[at : at + 2]
    options = how.options + b"\0" * (-len(how.options) % 4)
    flags = RST | (0 if ack is None else ACK)
    numbers = struct.pack(">II", seq & 0xFFFFFFFF, (ack or 0) & 0xFFFFFFFF)
    body = ports + numbers + struct.pack(">BBHHH", (20 + len(options)) << 2, flags, how.window, 0, 0) + options
    if _v6(frame):
        source, target = packet[24:40], packet[8:24]
        return _back(frame) + _ip6(TCP, source, target, _summed(body, 16, source, target, TCP), ttl=how.ttl)
    source, target = packet[16:20], packet[12:16]
    return _back(frame) + _ip4(TCP, source, target, _summed(body, 16, source, target, TCP), ttl=how.ttl, ip_id=how.ip_id)


def routed(frame: bytes, hops: int) -> bytes:
    """Return the frame after `hops` routers: each lowers the TTL (hop limit), but not below 1."""
    if _v6(frame):
        at = ETHERNET + 7
        return frame[:at] + bytes([max(1, frame[at] - hops)]) + frame[at + 1 :]
    if frame[12:14] != b"\x08\x00":
        return frame
    end = ETHERNET + (frame[ETHERNET] & 0x0F) * 4
    ttl = bytes([max(1, frame[ETHERNET + 8] - hops)])
    head = frame[ETHERNET : ETHERNET + 8] + ttl + frame[ETHERNET + 9 : ETHERNET + 10] + b"\0\0" + frame[ETHERNET + 12 : end]
    return frame[:ETHERNET] + head[:10] + checksum(head).to_bytes(2, "big") + head[12:] + frame[end:]


def is_icmp_error(frame: bytes) -> bool:
    """Return whether a frame is an ICMP or ICMPv6 error without IPv6 extension headers."""
    if _v6(frame):
        return len(frame) > ETHERNET + 40 and frame[ETHERNET + 6] == ICMP6 and 0 < frame[ETHERNET + 40] < 5
    at = ETHERNET + (frame[ETHERNET] & 0x0F) * 4 if len(frame) > ETHERNET else 0
    return frame[12:14] == b"\x08\x00" and len(frame) > at and frame[ETHERNET + 9] == ICMP and frame[at] in (3, 11, 12)
