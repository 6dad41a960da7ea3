"""Find the requests in a capture of this lab by the ids that the clients gave them.

This module depends neither on wiredoctor nor on framing: no body in the lab contains a request line, so everything that looks
like a head is a head.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

HEADERS = {276: 20, 113: 16, 1: 14}
"""The number of bytes before the IP header, by link type: Linux cooked v2 and v1, Ethernet."""

SYN, ACK = 0x02, 0x10
HEAD = re.compile(rb"(?:GET|HEAD|POST) \S+ HTTP/1\.[01]\r\n.*?\r\n\r\n", re.DOTALL)


@dataclass
class Connection:
    """A connection with its number as in tcp.stream, and what its client sent."""

    number: int
    client: str
    server: str
    first: int
    pieces: list[tuple[int, bytes, int]] = field(default_factory=list[tuple[int, bytes, int]])
    """Stream offset, payload and frame number of each segment."""

    def requests(self) -> Iterator[tuple[bytes, int]]:
        """Yield the heads of the requests, each with the frame in which it begins."""
        stream, starts = bytearray(), list[tuple[int, int]]()
        for offset, payload, frame in sorted(self.pieces, key=lambda piece: (piece[0], piece[2])):
            new = payload[max(0, len(stream) - offset) :]
            if offset > len(stream) or not new:
                continue
            starts.append((len(stream), frame))
            stream += new
        for head in HEAD.finditer(bytes(stream)):
            yield head[0], max(frame for start, frame in starts if start <= head.start())


def _packets(path: Path) -> Iterator[tuple[int, bytes]]:
    blob = path.read_bytes()
    skip = HEADERS[struct.unpack_from("<I", blob, 20)[0] & 0xFFFF]
    at, frame = 24, 0
    while at + 16 <= len(blob):
        size = struct.unpack_from("<I", blob, at + 8)[0]
        frame += 1
        yield frame, blob[at + 16 + skip : at + 16 + size]
        at += 16 + size


def connections(path: Path) -> list[Connection]:
    """Return the TCP connections over IPv4 of a capture that contains all their SYNs."""
    found, by_ends = list[Connection](), dict[tuple[str, str], Connection]()
    for frame, packet in _packets(path):
        if packet[0] >> 4 != 4 or packet[9] != 6:
            continue
        length = (packet[0] & 15) * 4
        segment = packet[length : struct.unpack_from(">H", packet, 2)[0]]
        ports = struct.unpack_from(">HH", segment)
        sequence, flags = struct.unpack_from(">I", segment, 4)[0], segment[13]
        source, target = (f"{'.'.join(map(str, packet[at : at + 4]))}:{port}" for at, port in zip((12, 16), ports, strict=True))
        if flags & (SYN | ACK) == SYN:
            known = by_ends.get((source, target))
            if known is None or known.first != sequence + 1:
                by_ends[source, target] = Connection(len(found), source, target, sequence + 1)
                found.append(by_ends[source, target])
        elif (source, target) in by_ends and (payload := segment[(segment[12] >> 4) * 4 :]):
            connection = by_ends[source, target]
            connection.pieces.append(((sequence - connection.first) & 0xFFFFFFFF, payload, frame))
    return found
