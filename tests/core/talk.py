"""Ladders and captures read as HTTP by the core alone."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from typing import Any

import polars as pl

from tests.http.talk import HANDSHAKE, brief
from tests.ladders import Packet as Sent
from tests.ladders import ladder_packets, to_pcap
from wiredoctor.core.capture.datagrams import Datagrams
from wiredoctor.core.capture.layers import SEGMENT
from wiredoctor.core.capture.packet import Packet
from wiredoctor.core.capture.packet_headers import Headers
from wiredoctor.core.capture.pcap import PcapRecords
from wiredoctor.core.capture.records import Source
from wiredoctor.core.cutoffs import Cutoffs
from wiredoctor.core.http1.conversation import Conversation
from wiredoctor.core.http1.http import Http
from wiredoctor.core.http1.message import AT_CAPTURE_END
from wiredoctor.core.tcp.connection import Connection
from wiredoctor.core.tcp.flows import Flows
from wiredoctor.core.tcp.tcp_analysis import TcpAnalysis
from wiredoctor.engine.frames import event_frame, exchange_batches, head_part
from wiredoctor.limits import LimitsReached
from wiredoctor.storage.batches import View
from wiredoctor.tables import AT_ITS_END, AT_THE_CLOSE, EXCHANGES, FAULTS, STATE_COLUMNS, STORED_EXCHANGES


class Core:
    """The core over a capture: records, headers, flows, TCP and HTTP."""

    def __init__(self) -> None:
        self.met = LimitsReached()
        cutoffs = Cutoffs()
        self.headers, self.flows = Headers(Datagrams()), Flows(self.met)
        self.tcp, self.http = TcpAnalysis(cutoffs, self.met), Http(cutoffs, self.met, False, False)
        self.packet = Packet()
        self.connections: list[Connection] = []

    def read(self, path: str) -> None:
        """Read all packets of a pcap file."""
        descriptor = os.open(path, os.O_RDONLY)
        try:
            records = PcapRecords(Source(descriptor, 0), path)
            while records.next(self.packet):
                self.follow()
        finally:
            os.close(descriptor)

    def follow(self) -> None:
        """Follow the packet in hand."""
        packet = self.packet
        self.http.pass_time(packet.clock)
        if self.headers.read(packet) != SEGMENT:
            return
        connection = self.flows.find(packet)
        if connection not in self.connections[-1:] and connection not in self.connections:
            self.connections.append(connection)
        self.tcp.follow(connection, packet)
        self.http.read(connection, packet, self.tcp.segment)
        self.tcp.write_events(connection, packet)

    def analyze(self, packets: Sequence[Sent] | bytes) -> None:
        """Read these packets, or this capture, to its end."""
        with tempfile.NamedTemporaryFile(suffix=".pcap") as file:
            file.write(packets if isinstance(packets, bytes) else to_pcap(packets))
            file.flush()
            self.read(file.name)
        self.end()

    def end(self) -> None:
        """End what is open: the capture is over."""
        for connection in self.connections:
            self.http.end(connection, AT_CAPTURE_END, self.packet.clock)

    def exchanges(self) -> pl.DataFrame:
        """Return all exchanges with what followed them, as tables.EXCHANGES."""
        heads = head_part(self.http.codes.take())
        exchanges, closed = exchange_batches(self.http.closes, heads)
        finished = View([exchanges], *AT_ITS_END).all_columns()
        stored = View([closed], STORED_EXCHANGES).all_columns()
        assert finished["connection"].sort().equals(stored["connection"].sort())
        known = [pl.col(AT_THE_CLOSE.columns[name]).alias(name) for name in STATE_COLUMNS]
        return stored.with_columns(known).select(EXCHANGES.schema.names()).sort("connection", "exchange")

    def faults(self) -> pl.DataFrame:
        """Return all faults."""
        return event_frame(FAULTS, self.http.faults.take()).select(FAULTS.schema.names())


def analyzed(packets: Sequence[Sent] | bytes) -> Core:
    """The core after these packets, or this capture."""
    core = Core()
    core.analyze(packets)
    return core


def rows(packets: Sequence[Sent] | bytes) -> list[dict[str, Any]]:
    """The exchanges of packets, in order."""
    return analyzed(packets).exchanges().to_dicts()


def exchanges(text: str, handshake: str = HANDSHAKE) -> list[dict[str, Any]]:
    """The exchanges of a ladder. The handshake is put in front."""
    return rows(ladder_packets(handshake + text))


def briefs(text: str, handshake: str = HANDSHAKE) -> list[str]:
    """The exchanges of a ladder, a line each."""
    return [brief(row) for row in exchanges(text, handshake)]


def faults(text: str, handshake: str = HANDSHAKE) -> list[str]:
    """The faults of a ladder, each with the packet that shows it."""
    found = analyzed(ladder_packets(handshake + text)).faults()
    return [f"{row['fault']} in {row['frame']}" for row in found.to_dicts()]


def http_of(core: Core, number: int = 0) -> Conversation:
    """The HTTP state of a connection."""
    talk = core.connections[number].http
    assert isinstance(talk, Conversation)
    return talk
