"""Read large responses slowly, with small receive buffers: python small_buffers.py HOST PORT."""

from __future__ import annotations

import socket
import sys
import threading
import time

SECONDS = 7.0
BUFFERS = (2304, 4096, 6000, 8192)
PACES = (
    (1460, 0.02),
    (1460, 0.038),
    (700, 0.02),
    (700, 0.04),
    (1000, 0.045),
    (2000, 0.04),
    (1460, 0.1),
    (8000, 0.2),
    (300, 0.01),
)
"""How many bytes are read at a time, and the pause in seconds after that; some are as long as the timer of a delayed ACK."""


def read(host: str, port: int, buffer: int, amount: int, pause: float) -> None:
    """Read a response until it ends or the time is over."""
    over = time.monotonic() + SECONDS
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        connection.settimeout(2)
        connection.connect((host, port))
        connection.sendall(f"GET /large?{buffer}-{amount}-{pause} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        while time.monotonic() < over and connection.recv(amount):
            time.sleep(pause)


def main() -> None:
    host, port = sys.argv[1], int(sys.argv[2])
    readers = [threading.Thread(target=read, args=(host, port, buffer, *pace)) for buffer in BUFFERS for pace in PACES]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()


if __name__ == "__main__":
    main()
