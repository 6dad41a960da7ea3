"""Number the connections of a file by the order of their first packets in the file, as Wireshark does.

A file whose packets are not in time order is sorted and analyzed in time order. The order of its connections in the file is found
earlier, when the file is divided into parts that are in time order (lanes, see sorting.py). `Flows` takes the ids from this
order.
"""

from __future__ import annotations

from mypy_extensions import i64

from wiredoctor import limits
from wiredoctor.core.capture.datagrams import Datagrams
from wiredoctor.core.capture.layers import SEGMENT
from wiredoctor.core.capture.packet import Packet, key_of, reverse
from wiredoctor.core.capture.packet_headers import Headers
from wiredoctor.core.tcp.connection import NO_BASE
from wiredoctor.core.tcp.segment import ACK, SYN


class FileOrder:
    """The first limits.OPEN connections of a file, in the order of the file. Later connections are numbered in time order.

    A connection is identified by the key of its packets for which Packet.is_turned is false.
    """

    def __init__(self) -> None:
        self.headers: Headers = Headers(Datagrams())
        self.sequences: dict[bytes, list[int]] = {}
        """The sequence numbers of the newest SYNs of both sides, by key."""
        self.opened: list[tuple[bytes, int, int]] = []
        """The key of each connection, and the sequence number and frame number of its first packet."""
        self.most: i64 = limits.OPEN.value
        self.packets: i64 = 0
        """The number of packets in the file."""

    def add(self, packet: Packet) -> None:
        """If a connection of the file begins with this packet, add the connection."""
        self.packets += 1
        if len(self.opened) >= self.most or self.headers.read(packet) != SEGMENT:
            return
        key = canonical(key_of(packet), packet)
        side: i64 = 1 if packet.is_turned else 0
        is_new = key not in self.sequences
        if not is_new and not packet.is_quoted and packet.flags & (SYN | ACK) == SYN:
            last: i64 = self.sequences[key][side]
            is_new = last != NO_BASE and last != packet.sequence
        if is_new:
            self.sequences[key] = [NO_BASE, NO_BASE]
            self.opened.append((key, packet.sequence, packet.frame))
        if packet.flags & SYN and not packet.is_quoted:
            self.sequences[key][side] = packet.sequence

    def finish(self) -> None:
        """Drop the state that only further packets would need."""
        self.sequences = {}


def canonical(key: bytes, packet: Packet) -> bytes:
    """Return a key of a packet's connection that is the same in both directions.

    `key`: the packet's own key, which depends on its direction.
    """
    return reverse(key) if packet.is_turned else key
