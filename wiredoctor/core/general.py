"""Packets that headers.py declines go through the general decoder, one by one, and come back into the same Packet.

These are fragments, headers quoted in ICMP errors, rare encapsulations and headers that cannot be.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from mypy_extensions import i64

from wiredoctor import limits
from wiredoctor.core.headers import Headers
from wiredoctor.core.layers import NOT_TCP, SEGMENT
from wiredoctor.core.packet import GeneralHeaders, Packet, name_ipv4, name_ipv6
from wiredoctor.core.places import Places
from wiredoctor.core.reasons import in_words
from wiredoctor.core.records import Source
from wiredoctor.tables import SCRATCH

if TYPE_CHECKING:
    from wiredoctor.decode.packet import Packet as Decoded
    from wiredoctor.decode.rows import Row
    from wiredoctor.decode.state import DecodeState


class General:
    """The way through the general decoder; its modules are loaded when the first packet needs them."""

    def __init__(self, headers: Headers) -> None:
        self.headers: Headers = headers
        self.state: DecodeState | None = None
        self.oddities: list[tuple[int, str, str]] = []
        """(frame, layer, what), of the whole capture at most limits.ODDITIES."""
        self.noted: i64 = 0

    def loaded(self) -> DecodeState:
        """Return the state of the general decoder."""
        if self.state is None:
            from wiredoctor.decode.state import DecodeState

            self.state = DecodeState()
            self.headers.fragmented_tunnels = self.state.tunnels
        return self.state

    def read(self, packet: Packet) -> i64:
        """Fill the packet with its TCP segment: SEGMENT or NOT_TCP."""
        from wiredoctor.decode.general import follow
        from wiredoctor.decode.names import names_of
        from wiredoctor.decode.packet import Packet as Decoded

        state = self.loaded()
        at, end, buffer = packet.at, packet.end, memoryview(packet.block)
        decoded = Decoded(
            state, buffer, packet.block_place, at, end, at + packet.wire_length, end - at
        )  # fmt: skip
        row = follow(decoded, packet.link_type)
        if isinstance(row, str):
            state.not_analysed[row] += 1
            return NOT_TCP
        for name in names_of(decoded.names):
            state.encapsulations[name] += 1
        if row.oddity is not None and self.noted < limits.ODDITIES.value:
            self.noted += 1
            self.oddities.append((packet.frame, "tcp", row.oddity))
        take_over(packet, row, decoded)
        return SEGMENT

    def not_analyzed(self) -> Counter[str]:
        """Return how many packets gave no segment, by reason."""
        found = Counter(in_words(self.headers.not_analyzed))
        if self.state is not None:
            found.update(self.state.not_analysed)
        return found

    def encapsulations(self) -> Counter[str]:
        """Return how many packets with TCP were in each encapsulation."""
        from wiredoctor.decode.names import names_of

        found = Counter[str]()
        for bits, packets in self.headers.names.flush().items():
            for name in names_of(bits):
                found[name] += packets
        if self.state is not None:
            found.update(self.state.encapsulations)
        return found

    def longest_cut(self) -> int:
        """Return the bytes of the longest record in which a mirror port had left a part of a packet only; -1 without any."""
        own = self.headers.layers.longest_cut
        return own if self.state is None else max(own, self.state.longest_cut)


class CapturePlaces(Places):
    """Reads bytes of a capture file, or of datagrams that were put together from fragments."""

    def __init__(self, source: Source, general: General) -> None:
        self.source: Source = source
        self.general: General = general

    def read(self, place: i64, length: i64) -> bytes:
        """Return these bytes; fewer if the capture does not have them any more."""
        if place < SCRATCH:
            return self.source.read(place - self.source.place, length)
        scratch = self.general.loaded().scratch
        return bytes(scratch[place - SCRATCH : place - SCRATCH + length])


def take_over(packet: Packet, row: Row, decoded: Decoded) -> None:
    """Fill the packet from a row of the general decoder."""
    packet.is_quoted = row.quoted
    packet.ip_id, packet.ttl = row.ip_id, row.ttl
    size = 4 if row.ip_version == 4 else 16
    addresses = row.source.to_bytes(size, "big") + row.destination.to_bytes(size, "big")
    key = addresses + row.source_port.to_bytes(2, "big") + row.destination_port.to_bytes(2, "big")
    if row.ip_version == 4:
        name_ipv4(packet, key, 0, 8)
    else:
        name_ipv6(packet, key, 0, 32)
    packet.sequence, packet.acknowledgment, packet.flags, packet.window = row.seq, row.ack, row.flags, row.window
    packet.length, packet.captured = row.length, row.captured
    packet.mss, packet.window_shift = row.mss, row.window_shift
    packet.has_timestamps, packet.sack, packet.dsack = row.has_timestamps, row.sack, row.dsack
    packet.general = GeneralHeaders(key, row.link_hash, row.encapsulation, row.options)
    packet.place = row.payload
    if row.payload >= SCRATCH:
        packet.block, packet.block_place = bytes(decoded.buffer), decoded.base
        packet.at, packet.end = 0, len(packet.block)
    packet.payload = row.payload - packet.block_place
    packet.tcp = 0
