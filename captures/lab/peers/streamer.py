"""Streams what a plan says: each event at its time, or as something that holds events back passes them on.

    streamer.py PORT PLAN.json LOG_FOLDER

The plan: id -> {media, wait, events: [[seconds after the first, bytes], ...], mode}. GET /ID is answered by it, in chunks, or
to HTTP/1.0 up to the close. Modes: flush (each event is sent), gzip-flush (compressed, and flushed); collect (all in one send, at
the end), pieces (a list, which is sent chunk by chunk at the end), block (a buffer of 8 kB), gzip and deflate (not flushed).
LOG_FOLDER/ID.json lists when each event was there.
"""

from __future__ import annotations

import json
import socket
import sys
import threading
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

BLOCK = 8_192


def main() -> None:
    """Entry point."""
    port, plan, log = int(sys.argv[1]), json.loads(Path(sys.argv[2]).read_text()), Path(sys.argv[3])
    with socket.create_server(("", port), backlog=64) as listener:
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=serve, args=(connection, plan, log), daemon=True).start()


def serve(connection: socket.socket, plan: dict[str, Any], log: Path) -> None:
    """Answers the requests of a connection."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    read = b""
    with connection:
        while True:
            while b"\r\n\r\n" not in read:
                data = connection.recv(65_536)
                if not data:
                    return
                read += data
            head, _, read = read.partition(b"\r\n\r\n")
            name = head.split()[1].decode().strip("/").partition("?")[0]
            chunked = b"HTTP/1.1" in head.partition(b"\r\n")[0]
            try:
                sent = stream(connection, plan[name], chunked=chunked)
            except OSError:
                return
            (log / f"{name}.json").write_text(json.dumps(sent))
            if not chunked:
                return


def stream(connection: socket.socket, one: dict[str, Any], *, chunked: bool) -> list[float]:
    """Sends a response; returns when its events were there (CLOCK_MONOTONIC)."""

    def send(data: bytes) -> None:
        if data:
            connection.sendall(b"%x\r\n%s\r\n" % (len(data), data) if chunked else data)

    mode = one["mode"]
    head = f"HTTP/1.1 200 OK\r\nContent-Type: {one['media']}\r\nCache-Control: no-cache\r\n"
    if mode.startswith(("gzip", "deflate")):
        head += f"Content-Encoding: {mode.partition('-')[0]}\r\n"
    head += "Transfer-Encoding: chunked\r\n" if chunked else "Connection: close\r\n"
    take, end = passes_on(mode, send)
    begins = mode in ("flush", "gzip-flush")
    if begins:
        connection.sendall(f"{head}\r\n".encode())
    else:
        connection.sendall(b"")
    due, sent = time.monotonic() + one["wait"], list[float]()
    held = list[bytes]() if begins else [f"{head}\r\n".encode()]
    for number, (after, size) in enumerate(one["events"]):
        time.sleep(max(0.0, due + after - time.monotonic()))
        sent.append(time.monotonic())
        if held:
            connection.sendall(held.pop())
        take(event(one["media"], number, size))
    end()
    if chunked:
        connection.sendall(b"0\r\n\r\n")
    return sent


def event(media: str, number: int, size: int) -> bytes:
    """An event of about so many bytes."""
    words = " ".join(str(hash((number, word)) % 9973) for word in range(max(1, size // 5)))
    text = json.dumps({"id": number, "delta": words})
    return f"{text}\n".encode() if "json" in media else f"data: {text}\n\n".encode()


def passes_on(mode: str, send: Callable[[bytes], None]) -> tuple[Callable[[bytes], None], Callable[[], None]]:
    """What takes an event, and what ends the stream."""
    kept = list[bytes]()
    if mode == "flush":
        return send, lambda: None
    if mode in ("collect", "pieces"):
        return kept.append, lambda: send(b"".join(kept)) if mode == "collect" else [send(one) for one in kept] and None
    if mode == "block":
        buffer = bytearray()

        def fill(data: bytes) -> None:
            buffer.extend(data)
            while len(buffer) >= BLOCK:
                send(bytes(buffer[:BLOCK]))
                del buffer[:BLOCK]

        return fill, lambda: send(bytes(buffer))
    deflate = zlib.compressobj(6, wbits=31 if mode.startswith("gzip") else 15)

    def compress(data: bytes) -> None:
        send(deflate.compress(data))
        if mode == "gzip-flush":
            send(deflate.flush(zlib.Z_SYNC_FLUSH))

    return compress, lambda: send(deflate.flush())


if __name__ == "__main__":
    main()
