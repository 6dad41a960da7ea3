"""Captures that are rewritten, and conversations that are made up, where every delay and every loss is known."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random

SECOND = 1_000_000_000

Packet = tuple[int, bytes]
"""Time stamp (ns since 1970) and bytes, of which none are cut off."""


def read(path: Path) -> list[Packet]:
    """A pcap of little-endian byte order and microseconds, as those in captures/ are."""
    data = path.read_bytes()
    assert data[:4] == b"\xd4\xc3\xb2\xa1"
    at, packets = 24, list[Packet]()
    while at < len(data):
        seconds, micros, captured, _ = struct.unpack_from("<IIII", data, at)
        packets.append((seconds * SECOND + micros * 1000, data[at + 16 : at + 16 + captured]))
        at += 16 + captured
    return packets


def write(path: Path, packets: Iterable[Packet], link_type: int = 1) -> Path:
    """A pcap of nanoseconds."""
    parts = [struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 262_144, link_type)]
    for time, data in packets:
        parts += (struct.pack("<IIII", time // SECOND, time % SECOND, len(data), len(data)), data)
    path.write_bytes(b"".join(parts))
    return path


def clock(offset: float, drift: float, start: int) -> Callable[[int], int]:
    """What a clock shows that is ahead by `offset` seconds at `start` and gains `drift` ppm."""
    return lambda time: time + round(offset * SECOND) + round((time - start) * drift * 1e-6)


def shifted(packets: list[Packet], offset: float, drift: float, start: int) -> list[Packet]:
    """The same, with the time stamps of another clock."""
    shown = clock(offset, drift, start)
    return [(shown(time), data) for time, data in packets]


# made up


@dataclass(frozen=True)
class Segment:
    """A TCP segment. port: of the client. reverse: it comes from the server."""

    port: int
    reverse: bool
    seq: int
    ack: int
    flags: int
    payload: bytes = b""
    ip_id: int = 0
    ttl: int = 64
    options: bytes = b""
    client: str = "10.1.0.1"
    window: int = 502

    def frame(self) -> bytes:
        """Ethernet, IPv4, TCP, without checksums."""
        ends = [bytes(map(int, self.client.split("."))), bytes((10, 2, 0, 2))]
        ports = [self.port, 80]
        if self.reverse:
            ends.reverse()
            ports.reverse()
        words = 5 + len(self.options) // 4
        tcp = struct.pack(
            "!HHIIBBHHH", *ports, self.seq % 2**32, self.ack % 2**32, words << 4, self.flags, self.window, 0, 0
        )  # fmt: skip
        total = 20 + 4 * words + len(self.payload)
        ip = struct.pack("!BBHHHBBH", 0x45, 0, total, self.ip_id % 2**16, 0x4000, self.ttl, 6, 0) + ends[0] + ends[1]
        return b"\x02\0\0\0\0\1\x02\0\0\0\0\2\x08\0" + ip + tcp + self.options + self.payload


@dataclass
class Wire:
    """Two points with a delay between them, of which each direction loses some; `lost` has what it lost, as (at the client's
    point, number of the packet there)."""

    random: Random
    delay: float = 0.010
    jitter: float = 0.0003
    loss: float = 0.0
    hops: int = 3
    nat: str | None = None
    client: list[Packet] = field(default_factory=list[Packet])
    server: list[Packet] = field(default_factory=list[Packet])
    lost: list[tuple[bool, Packet]] = field(default_factory=list[tuple[bool, Packet]])

    def carry(self, segment: Segment, time: int, keep: bool = False) -> int | None:
        """Sends it at `time` (ns); says when it arrives, or None where it is lost. `keep`: it is not."""
        near, far = (self.server, self.client) if segment.reverse else (self.client, self.server)
        beyond = replace(segment, ttl=segment.ttl - self.hops)
        inside, outside = (segment, beyond) if not segment.reverse else (beyond, segment)
        if self.nat:
            outside = replace(outside, client=self.nat)
        here, there = (outside, inside) if segment.reverse else (inside, outside)
        near.append((time, here.frame()))
        if not keep and self.random.random() < self.loss:
            self.lost.append((not segment.reverse, near[-1]))
            return None
        arrives = time + round((self.delay + self.random.expovariate(1 / self.jitter)) * SECOND)
        far.append((arrives, there.frame()))
        return arrives

    def ordered(self) -> tuple[list[Packet], list[Packet]]:
        """What was recorded at the client's and at the server's point, each in its order of time."""
        return sorted(self.client, key=lambda p: p[0]), sorted(self.server, key=lambda p: p[0])


SYN_OPTIONS = bytes((2, 4, 5, 180, 4, 2, 1, 3, 3, 7, 1, 1))
"""MSS 1460, SACK permitted, window scale 7."""

TIMEOUT = SECOND // 5


@dataclass
class Conversation:
    """Requests and responses on one connection, a segment at a time: what is not acknowledged in time is sent again."""

    wire: Wire
    port: int
    time: int
    think: float = 0.002
    ids: dict[bool, int] = field(default_factory=lambda: {False: 1000, True: 30_000})
    seq: dict[bool, int] = field(default_factory=dict[bool, int])

    def open(self) -> None:
        """The handshake, of which nothing is lost."""
        random = self.wire.random
        self.seq = {False: random.randrange(2**32), True: random.randrange(2**32)}
        syn = Segment(self.port, False, self.seq[False], 0, 2, options=SYN_OPTIONS, ip_id=self._next(False))
        arrived = self.wire.carry(syn, self.time, keep=True)
        self.seq[False] += 1
        answer = Segment(self.port, True, self.seq[True], self.seq[False], 18, options=SYN_OPTIONS)
        arrived = self.wire.carry(answer, arrived or 0, keep=True)
        self.seq[True] += 1
        self.time = arrived or 0
        self.wire.carry(self._segment(False, b""), self.time, keep=True)

    def exchange(self, number: int, segments: int = 2) -> None:
        """A request and its response."""
        body = b"x" * (1448 * segments - 200)
        request = b"GET /item/%d HTTP/1.1\r\nHost: a\r\n\r\n" % number
        response = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        self._send(False, request)
        self.time += round(self.think * SECOND)
        for at in range(0, len(response), 1448):
            self._send(True, response[at : at + 1448])

    def _send(self, reverse: bool, payload: bytes) -> None:
        arrived = None
        while True:
            segment = self._segment(reverse, payload)
            came = self.wire.carry(segment, self.time)
            if came is not None:
                arrived = came
                # acknowledged again, where it had arrived before
                answer = self._segment(not reverse, b"", acked=len(payload))
                heard = self.wire.carry(answer, came + 50_000)
                if heard is not None:
                    break
            self.time += TIMEOUT
        self.seq[reverse] += len(payload)
        self.time = max(arrived, heard) + 100_000

    def _segment(self, reverse: bool, payload: bytes, acked: int = 0) -> Segment:
        flags = 24 if payload else 16
        ack = self.seq[not reverse] + acked
        return Segment(self.port, reverse, self.seq[reverse], ack, flags, payload, self._next(reverse))

    def _next(self, reverse: bool) -> int:
        self.ids[reverse] += 1
        return self.ids[reverse]
