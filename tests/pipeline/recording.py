"""A capture as a list of packets that can be taken apart, and written again as pcapng."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from wiredoctor.capture import open_capture
from wiredoctor.decode import DecodeState, decode
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
    """The packets of a capture, in its order."""
    packets: list[Seen] = []
    sides: dict[FlowKey, int] = {}
    state = DecodeState()
    with open_capture(path) as capture:
        for records in capture.epochs(128_000):
            columns, _ = decode(capture.data, records.first_frame, records.columns, state)
            tcp = {int(frame): row for row, frame in enumerate(columns["frame"]) if not columns["quoted"][row]}
            first = capture.first_time or 0
            names = ("time", "interface", "link_type", "offset", "captured", "length")
            fields = zip(*(records.columns[name].tolist() for name in names), strict=True)
            for frame, (time, interface, link, offset, captured, length) in enumerate(fields, start=records.first_frame):
                data = bytes(capture.buffer[offset : offset + captured])
                one = Seen(first + time, data, max(length, captured), link, interface, frame)
                row = tcp.get(frame)
                packets.append(
                    one if row is None else _with_tcp(one, {n: c[row].item() for n, c in columns.items()}, offset, sides)
                )
    return packets


def _with_tcp(one: Seen, row: dict[str, int], offset: int, sides: dict[FlowKey, int]) -> Seen:
    ends = sorted([
        (row["source_high"], row["source_low"], row["source_port"]),
        (row["destination_high"], row["destination_low"], row["destination_port"]),
    ])  # fmt: skip
    flow = (row["ip_version"], *ends[0], *ends[1])
    lower = int((row["source_high"], row["source_low"], row["source_port"]) == ends[0])
    side = lower ^ sides.setdefault(flow, lower)
    payload = row["payload"] - offset if row["payload"] < SCRATCH else -1
    header = payload - _header_length(one.data, payload, row) if 0 <= payload <= len(one.data) else -1
    return replace(
        one, flow=flow, side=side, flags=row["flags"], seq=row["seq"], size=row["length"], tcp=header, payload=payload
    )  # fmt: skip


def _header_length(data: bytes, payload: int, row: dict[str, int]) -> int:
    """Bytes of the TCP header that ends at `payload`."""
    ports = struct.pack(">HHII", row["source_port"], row["destination_port"], row["seq"], row["ack"])
    for length in range(20, 61, 4):
        begin = payload - length
        if begin >= 0 and data[begin : begin + 12] == ports and data[begin + 12] >> 4 == length // 4:
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
