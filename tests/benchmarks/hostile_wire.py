"""Writes captures of hostile connections quickly: whatever bytes, in segments of any size, without a socket."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType

_RECORD = struct.Struct(">IIII 12sH BBHHHBBHII HHIIBBHHH")
_MACS = b"\x02\0\0\0\0\x02\x02\0\0\0\0\x01", b"\x02\0\0\0\0\x01\x02\0\0\0\0\x02"
_HEADERS = 54
"""Bytes of the Ethernet, IPv4 and TCP headers."""

FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16
FULL = 1460
"""Payload of a full segment."""
SUPER = 65495
"""Payload of the largest segment that an IPv4 header can say."""

CLIENT, SERVER = 0, 1


class Capture:
    """A pcap file that is being written; a packet comes `step` nanoseconds after the one before."""

    def __init__(self, path: Path, step: int = 1_000) -> None:
        self._file = path.open("wb", buffering=1 << 20)
        self._file.write(struct.pack(">IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 262144, 1))
        self._time, self._step, self._opened, self.packets = 1_700_000_000 * 10**9, step, 0, 0

    def __enter__(self) -> Capture:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._file.close()

    def wait(self, nanoseconds: int) -> None:
        """Lets time pass."""
        self._time += nanoseconds

    def connection(self, server: int = 0x0A000002, port: int = 80, *, handshake: bool = True) -> Connection:
        """A new connection, of a client that no other has."""
        self._opened += 1
        client = 0x0B000000 + (self._opened >> 14), 1024 + (self._opened & 16383)
        connection = Connection(self, client, (server, port))
        if handshake:
            connection.packet(CLIENT, SYN, -1, None)
            connection.packet(SERVER, SYN | ACK, -1, 0)
            connection.packet(CLIENT, ACK, 0, 0)
        return connection

    def write(self, side: int, ends: tuple[tuple[int, int], ...], numbers: tuple[int, ...], payload: bytes, length: int) -> None:
        """A packet: control bits, sequence and acknowledgement number; `length` of the payload on the wire."""
        flags, seq, ack = numbers
        (source, source_port), (target, target_port) = ends[side], ends[1 - side]
        seconds, rest = divmod(self._time, 10**9)
        self._time += self._step
        self.packets += 1
        self._file.write(_RECORD.pack(
            seconds, rest, _HEADERS + len(payload), _HEADERS + length, _MACS[side], 0x0800,
            0x45, 0, 40 + length, self.packets & 0xFFFF, 0x4000, 64, 6, 0, source, target,
            source_port, target_port, seq & 0xFFFFFFFF, ack & 0xFFFFFFFF, 0x50, flags, 65535, 0, 0,
        ))  # fmt: skip
        self._file.write(payload)


class Connection:
    """One TCP connection; `sent` counts the bytes of both sides."""

    def __init__(self, capture: Capture, client: tuple[int, int], server: tuple[int, int]) -> None:
        self._capture, self._ends = capture, (client, server)
        self.sent = [0, 0]

    def packet(
        self, side: int, flags: int, offset: int, ack: int | None, payload: bytes = b"", length: int | None = None
    ) -> None:
        """A packet with any numbers: stream offsets, of which 0 is the first byte behind the SYN."""
        numbers = flags, offset + 1, 0 if ack is None else ack + 1
        self._capture.write(side, self._ends, numbers, payload, len(payload) if length is None else length)

    def send(self, side: int, data: bytes, size: int = FULL) -> None:
        """Data in segments of `size` bytes."""
        for i in range(0, len(data), size):
            piece = data[i : i + size]
            self.packet(side, ACK | PSH, self.sent[side], self.sent[1 - side], piece)
            self.sent[side] += len(piece)

    def stream(self, side: int, parts: Iterable[bytes], size: int = FULL) -> None:
        """Data that comes in parts, in segments of `size` bytes that take no notice of them."""
        for piece in pieces(parts, size):
            self.send(side, piece, size)

    def skip(self, side: int, length: int) -> None:
        """A segment of which the capture holds no payload: the snap length cut it off."""
        self.packet(side, ACK, self.sent[side], self.sent[1 - side], b"", length)
        self.sent[side] += length

    def lose(self, side: int, length: int) -> None:
        """Bytes that the capture misses."""
        self.sent[side] += length

    def acknowledge(self, side: int) -> None:
        """A pure ACK of all that the other side sent."""
        self.packet(side, ACK, self.sent[side], self.sent[1 - side])

    def close(self) -> None:
        """FIN of both sides, the server first."""
        self.packet(SERVER, FIN | ACK, self.sent[SERVER], self.sent[CLIENT])
        self.packet(CLIENT, FIN | ACK, self.sent[CLIENT], self.sent[SERVER] + 1)
        self.packet(SERVER, ACK, self.sent[SERVER] + 1, self.sent[CLIENT] + 1)


def pieces(parts: Iterable[bytes], size: int) -> Iterator[bytes]:
    """Bytes joined and cut into pieces of a multiple of `size` (the last one shorter)."""
    waiting: list[bytes] = []
    held, enough = 0, size * max(1, (1 << 18) // size)
    for part in parts:
        waiting.append(part)
        held += len(part)
        if held >= enough:
            data = b"".join(waiting)
            whole = len(data) - len(data) % size
            yield data[:whole]
            waiting, held = [data[whole:]], len(data) - whole
    yield b"".join(waiting)
