"""Compute the facts by which possible copies of a packet are compared.

These are the hashes of the link layer and of the encapsulation, and the TCP options.
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64

from wiredoctor.core.capture.packet import Packet
from wiredoctor.core.capture.packet_headers import Headers

LONG: Final = 1 << 40
"""The assumed length in bytes of a packet on the network, larger than any real packet.

The real length is unknown here, and headers beyond the end of a packet would be rejected.
"""


class Identity:
    """Reads the headers of a packet again, to hash the headers around the innermost IP header."""

    def __init__(self) -> None:
        self.headers: Headers = Headers(None)
        self.headers.layers.hashing = True
        self.packet: Packet = Packet()

    def of_packet(self, packet: Packet) -> tuple[int, int]:
        """Return the hashes `link_hash` and `encapsulation` of a packet; see tables.PACKETS."""
        if packet.outer is not None:
            return packet.outer.link_hash, packet.outer.encapsulation
        return self.of_record(packet.block, packet.at, packet.end, packet.link_type)

    def of_record(self, block: bytes, at: i64, end: i64, link_type: i64) -> tuple[int, int]:
        """Return the hashes `link_hash` and `encapsulation` of the record at block[at:end], which must contain a TCP segment."""
        again = self.packet
        again.block, again.at, again.end = block, at, end
        again.wire_length, again.link_type = LONG, link_type
        self.headers.read(again)
        layers = self.headers.layers
        return layers.link_hash, layers.encapsulation

    def options(self, packet: Packet) -> bytes:
        """Return the captured TCP option bytes of the packet."""
        end = min(packet.payload, packet.end)
        return packet.block[min(packet.tcp + 20, end) : end]
