"""Run a server that fails now and then, clients that request through a gateway, and connections that stay open and idle.

python live_gateway_traffic.py serve GATEWAYS                 the servers behind so many gateways
python live_gateway_traffic.py load GATEWAYS                  40 clients, some 200 requests a second in all, until it is ended
python live_gateway_traffic.py hold CONNECTIONS NUMBER        open so many connections with one exchange each, and keep them
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
import resource
import socket
import sys
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

GATEWAY_PORT, SERVER_PORT, DEAD_PORT, HELD_PORT = 18080, 18081, 18099, 18085
FILTER = "tcp portrange 18080-18099"

USERS = 40
"""The number of clients at a time. Each waits an eighth of a second between two requests on average."""

PATHS, SHARES = ("/ok", "/app", "/bad"), (60, 38, 2)
"""The requests: the gateway responds itself; the server behind it responds; no server listens behind it. Percentages."""

HANGS_UP, RESPONDS_LATE, LATE = 0.004, 0.008, 1.5
"""Of a random number below 1: below the first the server closes instead of responding, below the second it responds after LATE
seconds, which is later than the gateway waits."""

PAUSE, PAUSE_FOR = 0.01, 3.0
"""The share of the requests after which a client waits this number of seconds, at whose end the gateway closes."""

HELD_BY_ONE, HELD_A_SECOND, SLICE = 8_000, 400, 0.05
"""Held connections: the number of one process, as each takes two of its descriptors; the number that a process opens per second;
seconds between two groups of them."""

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 300\r\nContent-Type: text/plain\r\n\r\n"
BODY = b"x" * 300
NGINX = """\
daemon off; worker_processes 1; worker_rlimit_nofile 8192; pid {folder}/gateway.pid; error_log /dev/null;
events {{ worker_connections 4096; }}
http {{
  access_log off; keepalive_timeout 3s; keepalive_requests 1000;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
{gateways}
}}
"""
ONE = """\
  upstream server{n} {{ server {server}:{server_port}; keepalive 8; }}
  server {{
    listen {gateway}:{port}; proxy_bind {gateway};
    location /ok {{ return 200 "hello hello hello\\n"; }}
    location /bad {{ proxy_pass http://{server}:{dead_port}; }}
    location /app {{
      proxy_pass http://server{n}; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_read_timeout 1s;
    }}
  }}
"""


def gateway(number: int) -> str:
    """Return the address of a gateway, which is also that of its connections to its server."""
    return f"127.0.1.{number + 1}"


def server(number: int) -> str:
    """Return the address of the server behind a gateway."""
    return f"127.0.2.{number + 1}"


def nginx(folder: str, count: int) -> str:
    """Return the configuration of nginx for this number of gateways."""
    ports = {"port": GATEWAY_PORT, "server_port": SERVER_PORT, "dead_port": DEAD_PORT}
    each = (ONE.format(n=number, gateway=gateway(number), server=server(number), **ports) for number in range(count))
    return NGINX.format(folder=folder, gateways="".join(each))


async def _respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
        while await reader.readuntil(b"\r\n\r\n"):
            chance = random.random()
            if chance < HANGS_UP:
                break
            if chance < RESPONDS_LATE:
                await asyncio.sleep(LATE)
            writer.write(OK)
            await asyncio.sleep(0.001)
            writer.write(BODY)
            await writer.drain()
    writer.close()


async def serve(gateways: int) -> None:
    """Respond until the process is ended."""
    servers = [await asyncio.start_server(_respond, server(number), SERVER_PORT, backlog=1024) for number in range(gateways)]
    await asyncio.gather(*(one.serve_forever() for one in servers))


async def load(gateways: int) -> None:
    """Send requests until the process is ended. A client that meets an error opens another connection."""

    async def use(number: int) -> None:
        while True:
            with contextlib.suppress(OSError, EOFError, TimeoutError, asyncio.IncompleteReadError):
                await _use_one_connection(gateway(number % gateways))
                continue
            await asyncio.sleep(0.05)

    await asyncio.gather(*(use(number) for number in range(USERS)))


async def _use_one_connection(address: str) -> None:
    reader, writer = await asyncio.open_connection(address, GATEWAY_PORT)
    try:
        for _ in range(random.choice((1, 5, 50))):
            path = random.choices(PATHS, SHARES)[0]
            target = f"{path}/{random.randrange(10**6)}" if path == "/app" else path
            writer.write(f"GET {target} HTTP/1.1\r\nHost: a\r\nUser-Agent: load\r\n\r\n".encode())
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
            length = re.search(rb"Content-Length: (\d+)", head)
            await reader.readexactly(int(length[1]) if length else 0)
            await asyncio.sleep(random.expovariate(8))
            if random.random() < PAUSE:
                await asyncio.sleep(PAUSE_FOR)
    finally:
        writer.close()


async def hold(connections: int, number: int) -> None:
    """Open connections within this process, with one exchange on each, and keep them open until it is ended.

    `number`: different for each process; it gives the address of the server.
    """
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    kept: list[tuple[socket.socket, socket.socket]] = []
    begun = time.monotonic()
    with socket.create_server((f"127.0.3.{number + 1}", HELD_PORT)) as listening:
        while len(kept) < connections:
            await asyncio.sleep(SLICE)
            while len(kept) < min(connections, (time.monotonic() - begun) * HELD_A_SECOND):
                kept.append(_exchange(listening, len(kept)))
        await asyncio.Event().wait()


def _exchange(listening: socket.socket, number: int) -> tuple[socket.socket, socket.socket]:
    client = socket.create_connection(listening.getsockname())
    accepted, _ = listening.accept()
    client.sendall(f"GET /held/{number} HTTP/1.1\r\nHost: held\r\n\r\n".encode())
    accepted.recv(4096)
    accepted.sendall(OK + BODY)
    client.recv(4096)
    return client, accepted


def main() -> None:
    """Entry point."""
    what, *numbers = sys.argv[1:]
    ways: dict[str, Callable[..., Coroutine[Any, Any, None]]] = {"serve": serve, "load": load, "hold": hold}
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(ways[what](*map(int, numbers)))


if __name__ == "__main__":
    main()
