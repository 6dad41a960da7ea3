"""A connection on which one side writes on a clock of its own, and notes when it wrote which bytes.

    python paced.py server PORT PLAN.json
    python paced.py client HOST PORT PLAN.json

The plan: `kind` (tcp, websocket, grpc, events), `style` (own: the server writes once per period, with TCP_NODELAY; pairs: it
writes twice at once, without; loop: the client writes a request in two pieces once per period, and waits for its answer),
`period` in seconds, `count`, `seed`. Whoever writes prints [[time, offset], ...] of its writes as JSON when it has ended.
"""

from __future__ import annotations

import json
import random
import socket
import struct
import sys
import time

UPGRADE = (
    b"GET /live HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
SWITCHED = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
)
EVENTS = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
SETTINGS = bytes(3) + b"\x04\x00" + bytes(4)
CALL = b"\x83\x86\x44\x06/a.b/c\x41\x01a"
GREETINGS = {
    "tcp": (b"subscribe\n", b"ready\n"),
    "websocket": (UPGRADE, SWITCHED),
    "grpc": (
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + SETTINGS + struct.pack(">I", len(CALL))[1:] + b"\x01\x04\0\0\0\1" + CALL,
        SETTINGS + b"\x00\x00\x01\x01\x04\0\0\0\1\x88",
    ),
    "events": (b"GET /events HTTP/1.1\r\nHost: a\r\nAccept: text/event-stream\r\n\r\n", EVENTS),
}
"""What the client says first, and the answer."""
LOOPED = 64
"""Bytes of an answer in a loop."""


def framed(kind: str, content: bytes, *, from_client: bool = False) -> bytes:
    """Return some bytes as a message of this kind."""
    if kind == "websocket":
        mask = 0x80 if from_client else 0
        return bytes([0x82, mask | 126]) + struct.pack(">H", len(content)) + (bytes(4) if from_client else b"") + content
    if kind == "grpc":
        message = b"\0" + struct.pack(">I", len(content)) + content
        return struct.pack(">I", len(message))[1:] + b"\x00\x00\0\0\0\1" + message
    if kind == "events":
        event = b"data: " + content.hex().encode() + b"\n\n"
        return b"%x\r\n%s\r\n" % (len(event), event)
    return struct.pack(">H", len(content)) + content


class Writer:
    """A socket of which each write is noted."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.offset = 0
        self.writes: list[tuple[float, int]] = []

    def write(self, data: bytes) -> None:
        """Write all of it at once."""
        self.writes.append((time.time(), self.offset))
        self.connection.sendall(data)
        self.offset += len(data)


def read_exactly(connection: socket.socket, count: int) -> None:
    """Read so many bytes."""
    while count:
        data = connection.recv(count)
        if not data:
            raise EOFError
        count -= len(data)


def pieces(plan: dict[str, object], rng: random.Random) -> list[bytes]:
    """Return what is written at a time: one message, or one in two pieces."""
    kind, loop = str(plan["kind"]), plan["style"] == "loop"
    message = framed(kind, rng.randbytes(rng.choice((40, 60, 90, 150))), from_client=loop)
    if plan["style"] == "own":
        return [message]
    cut = rng.randrange(4, len(message) // 2)
    return [message[:cut], message[cut:]]


def beat(plan: dict[str, object], writer: Writer, *, answered: bool) -> None:
    """Write on the clock; with `answered` wait for an answer each time."""
    rng, period, next_time = random.Random(int(str(plan["seed"]))), float(str(plan["period"])), time.monotonic()
    for _ in range(int(str(plan["count"]))):
        next_time = max(next_time + period, time.monotonic())
        time.sleep(max(0.0, next_time - time.monotonic()))
        for piece in pieces(plan, rng):
            writer.write(piece)
        if answered:
            read_exactly(writer.connection, LOOPED)
    print(json.dumps(writer.writes), flush=True)


def answer(plan: dict[str, object], connection: socket.socket) -> None:
    """Answer each message of a loop when it is complete."""
    rng = random.Random(int(str(plan["seed"])))
    for _ in range(int(str(plan["count"]))):
        read_exactly(connection, sum(map(len, pieces(plan, rng))))
        connection.sendall(bytes(LOOPED))
    connection.recv(1)


def serve(port: int, plan: dict[str, object]) -> None:
    """Serve one connection."""
    first, reply = GREETINGS[str(plan["kind"])]
    with socket.create_server(("", port)) as listener:
        connection, _ = listener.accept()
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, int(plan["style"] != "pairs"))
    read_exactly(connection, len(first))
    writer = Writer(connection)
    writer.write(reply)
    if plan["style"] == "loop":
        answer(plan, connection)
    else:
        beat(plan, writer, answered=False)
        time.sleep(0.3)
    connection.close()


def ask(host: str, port: int, plan: dict[str, object]) -> None:
    """Connect, and read what comes, or write in a loop."""
    first, reply = GREETINGS[str(plan["kind"])]
    connection = socket.create_connection((host, port))
    writer = Writer(connection)
    writer.write(first)
    read_exactly(connection, len(reply))
    if plan["style"] == "loop":
        beat(plan, writer, answered=True)
    else:
        while connection.recv(65536):
            pass
    connection.close()


if __name__ == "__main__":
    content = json.loads(sys.argv[-1])
    if sys.argv[1] == "server":
        serve(int(sys.argv[2]), content)
    else:
        ask(sys.argv[2], int(sys.argv[3]), content)
