"""A real server and a real client on the loopback interface, and `wiredoctor live` beside them."""

from __future__ import annotations

import os
import select
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.needs import needs

ROOT = Path(__file__).resolve().parents[2]

HEAD = b"HTTP/1.1 200 OK\r\nServer: two-writes\r\nContent-Length: 300\r\n\r\n"


def capturing(*programs: str) -> pytest.MarkDecorator:
    """Skips where nobody may capture, or these programs are not installed. Without dumpcap and tcpdump, raw sockets capture."""
    if sys.platform != "linux" or os.geteuid() != 0 or not _opens():
        return pytest.mark.skip(reason="needs root, Linux and the right to capture")
    return needs(*programs)


def _opens() -> bool:
    try:
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW):
            return True
    except (OSError, AttributeError):
        return False


@contextmanager
def server() -> Generator[int]:
    """Writes head and body of each response in two pieces, with Nagle's algorithm on; its port."""
    with _serving(_in_two_pieces) as port:
        yield port


@contextmanager
def closing() -> Generator[int]:
    """Closes each connection behind the first response, which says nothing of that; its port."""
    with _serving(_once) as port:
        yield port


@contextmanager
def _serving(answer: Callable[[socket.socket], None]) -> Generator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=_serve, args=(listening, answer), daemon=True)
        thread.start()
        yield listening.getsockname()[1]
        listening.shutdown(socket.SHUT_RDWR)
        thread.join(5)


def _serve(listening: socket.socket, answer: Callable[[socket.socket], None]) -> None:
    while True:
        try:
            connection, _ = listening.accept()
        except OSError:
            return
        with connection:
            answer(connection)


def _in_two_pieces(connection: socket.socket) -> None:
    held = b""
    while piece := connection.recv(65536):
        held += piece
        while b"\r\n\r\n" in held:
            _, _, held = held.partition(b"\r\n\r\n")
            connection.send(HEAD)
            connection.send(b"x" * 300)


def _once(connection: socket.socket) -> None:
    connection.recv(65536)
    connection.sendall(HEAD + b"x" * 300)


def ask(port: int, times: int) -> float:
    """So many requests on one connection; when the last response was there. From about the tenth on the kernel delays ACKs, and
    each body waits 40 ms for one."""
    with socket.create_connection(("127.0.0.1", port)) as connection, connection.makefile("rb") as answers:
        for i in range(times):
            connection.sendall(b"GET /report/%d HTTP/1.1\r\nHost: a\r\n\r\n" % i)
            while answers.readline().strip():
                pass
            answers.read(300)
        return time.time()


def ask_and_wait(port: int) -> None:
    """One request; then the server closes the connection, and the client after it."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(b"GET /report HTTP/1.1\r\nHost: a\r\n\r\n")
        while connection.recv(65536):
            pass


def next_line(process: subprocess.Popen[str], seconds: float = 20) -> str:
    """What it prints next, which is a line; a failure when there is nothing for so long."""
    assert process.stdout is not None
    ready, _, _ = select.select([process.stdout], [], [], seconds)
    assert ready, "nothing was said"
    return process.stdout.readline()


PROMPTLY = ("--nice", "0")
"""Other tests may use all processors; a live capture with a lower priority would then wait for them."""


def live(*words: str) -> subprocess.Popen[str]:
    """Starts the command."""
    return subprocess.Popen(
        [sys.executable, "-m", "wiredoctor", "live", *PROMPTLY, *words], cwd=ROOT, text=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def begun(process: subprocess.Popen[str]) -> str:
    """The first line that it says: what captures. Then it may say what rights it could not give up."""
    assert process.stderr is not None
    return process.stderr.readline()


def wait_for_backend(process: subprocess.Popen[str], name: str = "dumpcap") -> None:
    """Return once what captures has its socket: where nothing is said of the beginning."""
    end = time.monotonic() + 20
    while time.monotonic() < end and not any(map(_has_packet_socket, descendants(process.pid, name))):
        time.sleep(0.05)
    time.sleep(0.3)  # it also has to begin


def _has_packet_socket(pid: int) -> bool:
    try:
        inodes = {os.readlink(f"/proc/{pid}/fd/{file}") for file in os.listdir(f"/proc/{pid}/fd")}
        sockets = Path(f"/proc/{pid}/net/packet").read_text("ascii").splitlines()[1:]
    except OSError:
        return False
    return any(f"socket:[{line.split()[-1]}]" in inodes for line in sockets)


def descendants(pid: int, name: str = "") -> list[int]:
    """Processes that this one started, and those that they did; with a name only those that are called so."""
    try:
        children = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split()]
    except OSError:
        return []
    found = [*children, *(one for child in children for one in descendants(child))]
    return [one for one in found if not name or _name(one) == name]


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text("utf-8").strip()
    except OSError:
        return ""
