"""Writes the rows of tables.PACKETS, for whoever wants to see every packet."""

from __future__ import annotations

import numpy as np

from wiredoctor.core.hashes import hash_options
from wiredoctor.core.identity import Identity
from wiredoctor.core.packet import Packet
from wiredoctor.tables import PACKETS, Columns

HALF = (1 << 64) - 1


class PacketRecorder:
    """Collects packets as rows of tables.PACKETS."""

    def __init__(self) -> None:
        self.rows: list[tuple[int, ...]] = []
        self.identity = Identity()

    def add(self, packet: Packet) -> None:
        """Add the packet in hand."""
        key = packet.key
        size = 4 if packet.ip_version == 4 else 16
        source, destination = int.from_bytes(key[:size], "big"), int.from_bytes(key[size : 2 * size], "big")
        source_port, destination_port = int.from_bytes(key[-4:-2], "big"), int.from_bytes(key[-2:], "big")
        link_hash, encapsulation = self.identity.of_packet(packet)
        self.rows.append((
            packet.frame, packet.time, packet.interface, packet.ip_version,
            source >> 64, source & HALF, destination >> 64, destination & HALF, source_port, destination_port,
            packet.ip_id, packet.ttl, link_hash, encapsulation, packet.sequence, packet.acknowledgment, packet.flags,
            packet.window, packet.length, packet.captured, packet.place, hash_options(self.identity.options(packet)), packet.mss,
            packet.window_shift, packet.has_timestamps, packet.sack, packet.dsack, packet.is_quoted,
        ))  # fmt: skip

    def columns(self) -> Columns:
        """Return the rows as columns of tables.PACKETS, and forget them."""
        columns: Columns = {}
        for number, column in enumerate(PACKETS.columns):
            dtype = np.dtype(str(column.dtype).lower().replace("boolean", "bool"))
            columns[column.name] = np.array([row[number] for row in self.rows], dtype)
        self.rows = []
        return columns
