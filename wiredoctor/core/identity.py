"""What tells two copies of a packet apart beside IP and TCP: MAC addresses, encapsulation, option bytes. Computed on demand."""

from __future__ import annotations

from mypy_extensions import i64

from wiredoctor.core.headers import Headers
from wiredoctor.core.packet import Packet


class Identity:
    """Reads the headers of a packet once more, and hashes those that encapsulate."""

    def __init__(self) -> None:
        self.headers: Headers = Headers()
        self.headers.layers.hashing = True
        self.packet: Packet = Packet()

    def of_packet(self, packet: Packet) -> tuple[int, int]:
        """Return link_hash and encapsulation as in tables.PACKETS."""
        if packet.general is not None:
            return packet.general.link_hash, packet.general.encapsulation
        return self.of_record(packet.block, packet.at, packet.end, packet.link_type)

    def of_record(self, block: bytes, at: i64, end: i64, link_type: i64) -> tuple[int, int]:
        """Return the same of the record at block[at:end], which headers.py has read before."""
        again = self.packet
        again.block, again.at, again.end = block, at, end
        again.wire_length, again.link_type = end - at, link_type
        self.headers.read(again)
        layers = self.headers.layers
        return layers.link_hash, layers.encapsulation

    def options(self, packet: Packet) -> bytes:
        """Return the option bytes of the packet that were captured."""
        if packet.general is not None:
            return packet.general.options
        return packet.block[packet.tcp + 20 : min(packet.payload, packet.end)]
