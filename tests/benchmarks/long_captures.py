"""Long captures of the shapes that could make memory grow, made packet by packet: nobody records two million connections.

Each repeats a few packets of a healthy conversation, with other ports, sequence numbers and times.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np

CLIENT, SERVER = 0, 1
SYN, ACK, FIN, PSH = 0x02, 0x10, 0x01, 0x08
HEADERS = 14 + 20 + 20
AT_ONCE = 20_000
"""Repetitions that are written together."""

REQUEST = b"GET /item?n=12345678 HTTP/1.1\r\nHost: shop.example\r\nUser-Agent: check/1.0\r\nAccept: */*\r\n\r\n"


@dataclass(frozen=True)
class Packet:
    """A packet of the repeated part. `seq` and `ack`: relative to where the repetition begins."""

    sender: int
    flags: int
    seq: int
    ack: int
    payload: bytes = b""
    length: int = 0
    """Of the payload on the wire, where that is more than what was captured."""


def connections(path: Path, count: int) -> None:
    """So many connections of nine packets with an exchange each, 1,000 a second, of which no two use the same port."""
    body = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello"
    sent, answered = 1 + len(REQUEST), 1 + len(body)
    part = [
        Packet(CLIENT, SYN, 0, 0),
        Packet(SERVER, SYN | ACK, 0, 1),
        Packet(CLIENT, ACK, 1, 1),
        Packet(CLIENT, ACK | PSH, 1, 1, REQUEST),
        Packet(SERVER, ACK, 1, sent),
        Packet(SERVER, ACK | PSH | FIN, 1, sent, body),
        Packet(CLIENT, ACK, sent, answered + 1),
        Packet(CLIENT, ACK | FIN, sent, answered + 1),
        Packet(SERVER, ACK, answered + 1, sent + 1),
    ]
    _write(path, part, count, microseconds=1_000, ports=True)


def exchanges(path: Path, count: int) -> None:
    """One connection that holds so many exchanges, of four packets each: the bodies are captured in part."""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2800\r\n\r\n"
    rest = 2800 - (1448 - len(head))
    sent, answered = len(REQUEST), len(head) + 2800
    part = [
        Packet(CLIENT, ACK | PSH, 0, 0, REQUEST),
        Packet(SERVER, ACK, 0, sent, head + b"x" * 40, 1448),
        Packet(SERVER, ACK | PSH, 1448, sent, b"x" * 40, rest),
        Packet(CLIENT, ACK, sent, answered),
    ]
    _write(path, part, count, microseconds=500, step=(sent, answered))


def message(path: Path, count: int) -> None:
    """One response of so many times two full segments (2,896 bytes), of which the capture has the first bytes each."""
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {count * 2896:<20}\r\n\r\n".encode()
    part = [
        Packet(SERVER, ACK, 0, 0, b"x" * 40, 1448),
        Packet(SERVER, ACK | PSH, 1448, 0, b"x" * 40, 1448),
        Packet(CLIENT, ACK, 0, 2896),
    ]
    start = [
        Packet(CLIENT, ACK | PSH, -len(REQUEST), -len(head), REQUEST),
        Packet(SERVER, ACK | PSH, -len(head), 0, head),
    ]
    _write(path, part, count, microseconds=30, step=(0, 2896), start=start)


def _write(
    path: Path, part: list[Packet], count: int, *, microseconds: int, ports: bool = False, step: tuple[int, int] = (0, 0),
    start: list[Packet] | None = None,
) -> None:  # fmt: skip
    """`start` once and `part` so often: each repetition so much later, with ports of its own or `step` further in the stream."""
    with path.open("wb") as file:
        file.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1))
        if start:
            file.write(_repetitions(start, np.zeros(1, np.int64), 0, (0, 0), ports=False).tobytes())
        for first in range(0, count, AT_ONCE):
            numbers = np.arange(first, min(first + AT_ONCE, count)) + 1
            file.write(_repetitions(part, numbers, microseconds, step, ports=ports).tobytes())


def _repetitions(part: list[Packet], numbers: np.ndarray, microseconds: int, step: tuple[int, int], *, ports: bool) -> np.ndarray:
    """The records of some repetitions, a row each."""
    template = b"".join(map(_record, part))
    rows = np.tile(np.frombuffer(template, np.uint8), (len(numbers), 1))
    at = 0
    for i, packet in enumerate(part):
        times = numbers * microseconds + i * (microseconds // (len(part) + 1))
        _patch(rows, at, times // 1_000_000, "<u4")
        _patch(rows, at + 4, times % 1_000_000, "<u4")
        ip, tcp = at + 16 + 14, at + 16 + 34
        if ports:
            port, address = 1024 + numbers % 60_000, 0x0A000000 + numbers // 60_000
            _patch(rows, tcp + 2 * packet.sender, port, ">u2")
            _patch(rows, ip + 12 + 4 * packet.sender, address, ">u4")
        ours, theirs = step[packet.sender], step[1 - packet.sender]
        _patch(rows, tcp + 4, 1_000_000 + packet.seq + (numbers - 1) * ours, ">u4")
        if packet.flags & ACK:
            _patch(rows, tcp + 8, 1_000_000 + packet.ack + (numbers - 1) * theirs, ">u4")
        at += 16 + HEADERS + len(packet.payload)
    return rows


def _patch(rows: np.ndarray, at: int, values: np.ndarray, kind: str) -> None:
    width = np.dtype(kind).itemsize
    rows[:, at : at + width] = (values % (1 << 8 * width)).astype(kind).view(np.uint8).reshape(len(values), width)


def _record(packet: Packet) -> bytes:
    """A record header and a packet, to be filled in."""
    length = packet.length or len(packet.payload)
    ends = [(0x0A080001, 40_000), (0x0A090002, 80)]
    (source, source_port), (target, target_port) = ends if packet.sender == CLIENT else ends[::-1]
    ethernet = bytes.fromhex("020000000002020000000001" + "0800")
    ip = struct.pack(">BBHHHBBHII", 0x45, 0, 40 + length, 0, 0x4000, 64, 6, 0, source, target)
    tcp = struct.pack(">HHIIBBHHH", source_port, target_port, 0, 0, 0x50, packet.flags, 64_000, 0, 0)
    captured = HEADERS + len(packet.payload)
    return struct.pack("<IIII", 0, 0, captured, HEADERS + length) + ethernet + ip + tcp + packet.payload
