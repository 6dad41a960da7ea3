"""A capture as a list of packets that can be taken apart, and written again as pcapng."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tests.pipeline.feeding import open_capture
from wiredoctor.core.capture.datagrams import Datagrams
from wiredoctor.core.capture.layers import SEGMENT
from wiredoctor.core.capture.packet import Packet, key_of, place_of_payload
from wiredoctor.core.capture.packet_headers import Headers
from wiredoctor.engine.opening import open_capture_records
from wiredoctor.tables import ACK, FIN, RST, SCRATCH, SYN

FlowKey = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Seen:
    """A packet record. time: ns since 1970; data: what is in the capture; length: bytes on the wire; origin: its frame number
    in the capture that it was read from (of one that was made of several: of the first).

    What carries no TCP has flow None. side: 0 for the direction of the flow's first packet. tcp: where in `data` the TCP
    header begins, payload: where its payload does; both -1 where that is not plain (fragments).
    """

    time: int
    data: bytes
    length: int
    link_type: int
    interface: int
    origin: int
    flow: FlowKey | None = None
    side: int = 0
    flags: int = 0
    seq: int = 0
    size: int = 0
    tcp: int = -1
    payload: int = -1

    @property
    def pure_ack(self) -> bool:
        return self.flow is not None and not self.size and bool(self.flags & ACK) and not self.flags & (SYN | FIN | RST)

    @property
    def whole(self) -> bool:
        return len(self.data) == self.length


def read(path: Path) -> list[Seen]:
    """Return the packets of a capture, in its order."""
    packets: list[Seen] = []
    sides: dict[FlowKey, int] = {}
    with open_capture(path) as capture:
        records, packet, headers = open_capture_records(capture), Packet(), Headers(Datagrams())
        while records.next(packet):
            place, data = packet.block_place + packet.at, packet.block[packet.at : packet.end]
            time = (records.times.first or 0) + packet.time
            one = Seen(time, data, packet.wire_length, packet.link_type, packet.interface, packet.frame)
            kind = headers.read(packet)
            packets.append(_with_tcp(one, packet, place, sides) if kind == SEGMENT and not packet.is_quoted else one)
    return packets


def _with_tcp(one: Seen, packet: Packet, place: int, sides: dict[FlowKey, int]) -> Seen:
    key = key_of(packet)
    size = len(key) // 2 - 2
    hosts = (int.from_bytes(key[:size]), int.from_bytes(key[size : 2 * size]))
    sender, receiver = (hosts[0], int.from_bytes(key[-4:-2])), (hosts[1], int.from_bytes(key[-2:]))
    ends = sorted([sender, receiver])
    flow = (size, *ends[0], *ends[1])
    lower = int(sender == ends[0])
    side = lower ^ sides.setdefault(flow, lower)
    payload = place_of_payload(packet) - place if place_of_payload(packet) < SCRATCH else -1
    header = payload - _header_length(one.data, payload, packet) if 0 <= payload <= len(one.data) else -1
    return replace(
        one, flow=flow, side=side, flags=packet.flags, seq=packet.sequence, size=packet.length, tcp=header, payload=payload
    )  # fmt: skip


def _header_length(data: bytes, payload: int, packet: Packet) -> int:
    """Return the bytes of the TCP header that ends at `payload`."""
    begins = key_of(packet)[-4:] + struct.pack(">II", packet.sequence, packet.acknowledgment)
    for length in range(20, 61, 4):
        begin = payload - length
        if begin >= 0 and data[begin : begin + 12] == begins and data[begin + 12] >> 4 == length // 4:
            return length
    return payload + 1


def write(path: Path, packets: Sequence[Seen]) -> None:
    """A pcapng file with nanoseconds and an interface for each that the packets name."""
    interfaces = sorted({(p.interface, p.link_type) for p in packets if p.link_type >= 0})
    number = {key: i for i, key in enumerate(interfaces)}
    blocks = [_block(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1))]
    blocks += [_block(1, struct.pack("<HHI", link, 0, 0) + struct.pack("<HHB3xHH", 9, 1, 9, 0, 0)) for _, link in interfaces]
    blocks += [_block(6, body) for body in _bodies(packets, number)]
    path.write_bytes(b"".join(blocks))


def _bodies(packets: Sequence[Seen], number: dict[tuple[int, int], int]) -> Iterator[bytes]:
    for p in packets:
        if p.link_type >= 0:
            time = max(p.time, 0)
            head = (number[p.interface, p.link_type], time >> 32, time & 0xFFFFFFFF, len(p.data), p.length)
            yield struct.pack("<IIIII", *head) + p.data + bytes(-len(p.data) % 4)


def _block(kind: int, body: bytes) -> bytes:
    return struct.pack("<II", kind, len(body) + 12) + body + struct.pack("<I", len(body) + 12)
