"""Where the headers of a packet are, for mutators that aim at them: the common link types, IPv4, IPv6, TCP."""

from __future__ import annotations

import struct
from dataclasses import dataclass

ETHERNET, RAW, LINUX_SLL, LINUX_SLL2, NULL, LOOP, IPV4, IPV6 = 1, 101, 113, 276, 0, 108, 228, 229
HEADS = {RAW: 0, 12: 0, LINUX_SLL: 16, LINUX_SLL2: 20, NULL: 4, LOOP: 4, IPV4: 0, IPV6: 0}
TAGS = (0x8100, 0x88A8, 0x9100)


@dataclass(frozen=True)
class Layers:
    """Offsets in a packet: of its IP header, its TCP header and its payload; `six`: it is IPv6."""

    ip: int
    tcp: int
    payload: int
    six: bool


def find(link_type: int, packet: bytes) -> Layers | None:
    """The layers of a TCP packet with whole headers; None for any other."""
    at = _network(link_type, packet)
    if at is None or at + 40 > len(packet):
        return None
    version = packet[at] >> 4
    if version == 4 and packet[at + 9] == 6 and packet[at] & 15 >= 5:
        tcp = at + 4 * (packet[at] & 15)
    elif version == 6 and packet[at + 6] == 6:
        tcp = at + 40
    else:
        return None
    if tcp + 20 > len(packet):
        return None
    payload = tcp + 4 * (packet[tcp + 12] >> 4)
    return Layers(at, tcp, min(max(payload, tcp + 20), len(packet)), version == 6)


def _network(link_type: int, packet: bytes) -> int | None:
    if link_type != ETHERNET:
        return HEADS.get(link_type)
    at = 12
    while int.from_bytes(packet[at : at + 2]) in TAGS and at < 30:
        at += 4
    return at + 2


def resized(packet: bytearray, layers: Layers) -> None:
    """Makes the IP header say how long the packet now is."""
    size = len(packet) - layers.ip
    if layers.six:
        struct.pack_into(">H", packet, layers.ip + 4, max(size - 40, 0) & 0xFFFF)
    else:
        struct.pack_into(">H", packet, layers.ip + 2, size & 0xFFFF)


def repaired(packet: bytearray, layers: Layers) -> None:
    """Computes the checksums of IPv4 and TCP anew, RFC 1071."""
    if not layers.six:
        packet[layers.ip + 10 : layers.ip + 12] = b"\0\0"
        struct.pack_into(">H", packet, layers.ip + 10, checksum(packet[layers.ip : layers.tcp]))
    packet[layers.tcp + 16 : layers.tcp + 18] = b"\0\0"
    addresses = packet[layers.ip + 8 : layers.ip + 40] if layers.six else packet[layers.ip + 12 : layers.ip + 20]
    pseudo = bytes(addresses) + struct.pack(">II", len(packet) - layers.tcp, 6)
    struct.pack_into(">H", packet, layers.tcp + 16, checksum(pseudo + packet[layers.tcp :]))


def checksum(data: bytes | bytearray) -> int:
    """RFC 1071."""
    data = bytes(data) + b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total > 0xFFFF:
        total = (total >> 16) + (total & 0xFFFF)
    return total ^ 0xFFFF
