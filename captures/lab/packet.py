"""Parse as much of Ethernet, IP and TCP as is necessary to recognize what passes along a wire."""

from __future__ import annotations

import struct
from dataclasses import dataclass

FIN, SYN, RST, PSH, ACK = 0x01, 0x02, 0x04, 0x08, 0x10
ETHERNET = 14
TCP = 6


@dataclass(frozen=True)
class Segment:
    """A TCP segment: both ports, numbers as on the wire, the number of payload bytes, both addresses, and the size of the IP
    packet.
    """

    ports: tuple[int, int]
    seq: int
    ack: int
    flags: int
    payload: int
    hosts: tuple[bytes, bytes]
    size: int

    @property
    def pure_ack(self) -> bool:
        """True if the segment has no payload, SYN, FIN or RST."""
        return not self.payload and self.flags & (FIN | SYN | RST | ACK) == ACK


def segment(frame: bytes) -> Segment | None:
    """Return the TCP segment in an Ethernet frame of IPv4 or IPv6 without extension headers (RFC 791, 8200, 9293); otherwise
    None.
    """
    if frame[12:14] == b"\x08\x00" and len(frame) >= ETHERNET + 20 and frame[ETHERNET + 9] == TCP:
        start = ETHERNET + (frame[ETHERNET] & 0x0F) * 4
        end = ETHERNET + int.from_bytes(frame[ETHERNET + 2 : ETHERNET + 4], "big")
        hosts = frame[ETHERNET + 12 : ETHERNET + 16], frame[ETHERNET + 16 : ETHERNET + 20]
    elif frame[12:14] == b"\x86\xdd" and len(frame) >= ETHERNET + 40 and frame[ETHERNET + 6] == TCP:
        start = ETHERNET + 40
        end = start + int.from_bytes(frame[ETHERNET + 4 : ETHERNET + 6], "big")
        hosts = frame[ETHERNET + 8 : ETHERNET + 24], frame[ETHERNET + 24 : start]
    else:
        return None
    if len(frame) < start + 20:
        return None
    source, target, seq, ack, offset, flags = struct.unpack_from(">HHIIBB", frame, start)
    return Segment((source, target), seq, ack, flags, end - start - (offset >> 4) * 4, hosts, end - ETHERNET)
