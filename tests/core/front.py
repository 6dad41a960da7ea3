"""From packet records to tables.PACKETS by the core."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from wiredoctor.core.capture.datagrams import Datagrams
from wiredoctor.core.capture.layers import QUOTE, SEGMENT
from wiredoctor.core.capture.packet import Packet
from wiredoctor.core.capture.packet_headers import Headers
from wiredoctor.core.capture.reasons import count_encapsulations, describe_reasons
from wiredoctor.core.capture.wifi import AGGREGATES
from wiredoctor.core.rows.recorder import PacketRecorder
from wiredoctor.engine.packet_tables import take_packet_tables
from wiredoctor.tables import NONE, PACKETS, Columns


class Front:
    """The core's way from a record to a TCP segment."""

    def __init__(self) -> None:
        self.datagrams = Datagrams()
        self.headers = Headers(self.datagrams)
        self.recorder = PacketRecorder(None, False, PACKETS.schema.names())
        self.quotes = 0
        """ICMP errors that quote less of TCP than a packet has."""

    def read(self, packet: Packet) -> bool:
        """Fill the packet with its segment; return whether it has one."""
        kind = self.headers.read(packet)
        self.quotes += kind == QUOTE
        return kind == SEGMENT

    def columns(self) -> Columns:
        """tables.PACKETS columns of the packets that were recorded."""
        rows = take_packet_tables(self.recorder, {"packets": PACKETS})["packets"]
        return {c.name: (rows[c.name].fill_null(NONE) if c.nullable else rows[c.name]).to_numpy() for c in PACKETS.columns}

    def facts(self) -> dict[str, Any]:
        """What decoding knows besides packets."""
        headers = self.headers
        return {
            "not analyzed": describe_reasons(headers.not_analyzed),
            "encapsulations": count_encapsulations(headers.names),
            "longest cut": headers.layers.longest_cut,
            "scratch": bytes(self.datagrams.scratch),
            "limits": {"aggregate": AGGREGATES} if headers.layers.has_aggregates else {},
            "oddities": headers.oddities,
        }


def records_of(data: np.ndarray[Any, Any], records: Columns, packet: Packet) -> Iterable[Packet]:
    """The packet in hand, filled from each row of tables.RECORDS."""
    block = data.tobytes()
    names = ("time", "interface", "link_type", "offset", "captured", "length")
    rows = zip(*(records[name].tolist() for name in names), strict=True)
    for frame, (time, interface, link_type, offset, captured, length) in enumerate(rows, start=1):
        packet.frame, packet.time, packet.interface, packet.link_type = frame, time, interface, link_type
        packet.block, packet.block_place, packet.at, packet.end = block, 0, offset, offset + captured
        packet.wire_length = max(captured, length)
        yield packet


def by_core(data: np.ndarray[Any, Any], records: Columns) -> tuple[Columns, Front]:
    """tables.PACKETS columns of these records."""
    front = Front()
    for packet in records_of(data, records, Packet()):
        if front.read(packet):
            front.recorder.write(packet, 0)
    return front.columns(), front
