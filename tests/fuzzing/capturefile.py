"""A capture file taken apart into packets, for mutators to change, and put together again, with lies where they are wanted."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

MICRO, NANO, MODIFIED = 0xA1B2C3D4, 0xA1B23C4D, 0xA1B2CD34
MAGICS = (MICRO, MICRO, NANO, MODIFIED)
SECTION, INTERFACE, OBSOLETE, SIMPLE, ENHANCED = 0x0A0D0D0A, 1, 2, 3, 6
SECOND = 1_000_000_000
SOUND = 1 << 18
"""Bytes of a record that is taken for one."""


@dataclass(frozen=True)
class Recorded:
    """A packet: its time in nanoseconds since 1970, its bytes, its length on the wire. `claims`: what the record says of the
    number of captured bytes, where that is a lie."""

    link_type: int
    time: int
    data: bytes
    length: int
    claims: int | None = None


@dataclass
class CaptureFile:
    """Packets, and the shape in which they are written."""

    packets: list[Recorded]
    order: str = "<"
    magic: int = MICRO
    pcapng: bool = False
    snap_length: int = 262_144
    version: tuple[int, int] = (2, 4)
    blocks: list[tuple[int, bytes]] = field(default_factory=list[tuple[int, bytes]])
    """Further pcapng blocks, put between the packets."""

    def to_bytes(self) -> bytes:
        """The file; a pcap file where all packets have one link type."""
        several = len({p.link_type for p in self.packets}) > 1
        return self._pcapng() if self.pcapng or several else self._pcap()

    def _pcap(self) -> bytes:
        link_type = self.packets[0].link_type if self.packets else 1
        tick = 1 if self.magic == NANO else 1_000
        more = struct.pack(self.order + "IHBB", 1, 0x0800, 0, 0) if self.magic == MODIFIED else b""
        out = [struct.pack(self.order + "IHHiIII", self.magic, *self.version, 0, 0, self.snap_length, link_type & 0xFFFFFFFF)]
        for p in self.packets:
            seconds, rest = divmod(p.time, SECOND)
            claims = len(p.data) if p.claims is None else p.claims
            numbers = (n & 0xFFFFFFFF for n in (seconds, rest // tick, claims, p.length))
            out += [struct.pack(self.order + "IIII", *numbers), more, p.data]
        return b"".join(out)

    def _pcapng(self) -> bytes:
        types = list(dict.fromkeys(p.link_type for p in self.packets))
        out = [self._block(SECTION, struct.pack(self.order + "IHHq", 0x1A2B3C4D, 1, 0, -1))]
        resolution = struct.pack(self.order + "HHBxxxI", 9, 1, 9, 0)
        out += [
            self._block(INTERFACE, struct.pack(self.order + "HHI", t & 0xFFFF, 0, self.snap_length) + resolution) for t in types
        ]
        step = len(self.packets) // (len(self.blocks) + 1) + 1
        for number, p in enumerate(self.packets):
            claims = len(p.data) if p.claims is None else p.claims
            high, low = p.time >> 32 & 0xFFFFFFFF, p.time & 0xFFFFFFFF
            numbers = (types.index(p.link_type), high, low, claims & 0xFFFFFFFF, p.length & 0xFFFFFFFF)
            out.append(self._block(ENHANCED, struct.pack(self.order + "IIIII", *numbers) + p.data))
            if number % step == step - 1 and number // step < len(self.blocks):
                out.append(self._block(*self.blocks[number // step]))
        return b"".join(out)

    def _block(self, kind: int, body: bytes) -> bytes:
        body += bytes(-len(body) % 4)
        size = struct.pack(self.order + "I", len(body) + 12)
        return struct.pack(self.order + "I", kind & 0xFFFFFFFF) + size + body + size

    def with_packets(self, packets: list[Recorded]) -> CaptureFile:
        """The same shape with other packets."""
        return replace(self, packets=packets)


def read(data: bytes) -> CaptureFile | None:
    """The packets of a plain pcap or pcapng file, as far as they are sound; None where there are none."""
    found = _read_pcap(data) or _read_pcapng(data)
    return found if found is not None and found.packets else None


def _read_pcap(data: bytes) -> CaptureFile | None:
    order = next((o for o in "<>" if data[:4] in (struct.pack(o + "I", m) for m in (MICRO, NANO, MODIFIED))), None)
    if order is None or len(data) < 24:
        return None
    magic, major, minor, _, _, snap_length, link_type = struct.unpack_from(order + "IHHiIII", data)
    tick, size = 1 if magic == NANO else 1_000, 24 if magic == MODIFIED else 16
    packets: list[Recorded] = []
    for at in record_places(data):
        seconds, fraction, captured, length = struct.unpack_from(order + "IIII", data, at)
        content = data[at + size : at + size + captured]
        packets.append(Recorded(link_type, seconds * SECOND + fraction * tick, content, length))
    return CaptureFile(packets, order, magic, False, snap_length, (major, minor))


def _read_pcapng(data: bytes) -> CaptureFile | None:
    order, types, packets = "<", [1], list[Recorded]()
    for at, kind, size in block_places(data):
        body = data[at + 8 : at + size - 4]
        if kind == SECTION:
            order, types = ("<" if body[:1] == b"\x4d" else ">"), []
        elif kind == INTERFACE and len(body) >= 8:
            types.append(struct.unpack_from(order + "H", body)[0])
        elif kind in (ENHANCED, OBSOLETE) and len(body) >= 20:
            interface, high, low, captured, length = struct.unpack_from(
                order + ("IIIII" if kind == ENHANCED else "HxxIIII"), body
            )
            if captured <= len(body) - 20 and interface < len(types):
                packets.append(Recorded(types[interface], (high << 32 | low) * 1_000, body[20 : 20 + captured], length))
        elif kind == SIMPLE and len(body) >= 4 and types:
            length = struct.unpack_from(order + "I", body)[0]
            packets.append(Recorded(types[0], len(packets), body[4:][:length], length))
    return CaptureFile(packets, order, pcapng=True) if packets else None


def record_places(data: bytes) -> list[int]:
    """Where the record headers of a pcap file are."""
    order = ">" if data[:2] == b"\xa1\xb2" else "<"
    size = 24 if data[:4] in (struct.pack("<I", MODIFIED), struct.pack(">I", MODIFIED)) else 16
    places: list[int] = []
    at = 24
    while at + size <= len(data):
        captured = struct.unpack_from(order + "I", data, at + 8)[0]
        if captured > SOUND or at + size + captured > len(data):
            break
        places.append(at)
        at += size + captured
    return places


def block_places(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Where the blocks of a pcapng file are: place, type, size."""
    at, order = 0, "<"
    while at + 12 <= len(data):
        kind = struct.unpack_from(order + "I", data, at)[0]
        if kind == SECTION:
            order = "<" if data[at + 8 : at + 9] == b"\x4d" else ">"
        size = struct.unpack_from(order + "I", data, at + 4)[0]
        if size < 12 or size % 4 or at + size > len(data) or (at == 0 and kind != SECTION):
            return
        yield at, kind, size
        at += size
