"""Uses a server as its users do: python user.py WAY HOST PORT."""

from __future__ import annotations

import asyncio
import sys
import time
from contextlib import suppress
from typing import Any

UPLOAD = b"u" * 20_000


def ticks(host: str, port: int) -> None:
    """A WebSocket that is told something every 45 ms, and asks now and then."""
    import websockets

    async def talk() -> None:
        async with websockets.connect(f"ws://{host}:{port}/ws") as socket:
            deadline = time.monotonic() + 4
            with suppress(websockets.ConnectionClosed):
                while time.monotonic() < deadline:
                    await socket.send("question")
                    for _ in range(10):
                        await asyncio.wait_for(socket.recv(), 5)

    asyncio.run(talk())


def memcached(host: str, port: int) -> None:
    """Sets and gets, several keys at once, values larger than a segment, sets without a reply, and an idle phase."""
    from pymemcache import Client

    client = Client((host, port), timeout=8, connect_timeout=5, no_delay=True)
    for n in range(40):
        client.set(f"key{n}", "v" * (50 + 200 * n))
        client.get(f"key{n}")
        time.sleep(0.045)
    client.get_many([f"key{n}" for n in range(40)])
    time.sleep(2)
    client.set_many({f"many{n}": "w" * 100 for n in range(50)}, noreply=True)
    client.get("many3")
    client.close()


def beanstalkd(host: str, port: int) -> None:
    """A producer that puts a job every 60 ms, and a consumer that waits for each."""
    import threading

    import greenstalk

    def produce() -> None:
        with greenstalk.Client((host, port)) as client:
            for n in range(60):
                client.put(f"job {n}")
                time.sleep(0.06)

    producer = threading.Thread(target=produce, daemon=True)
    producer.start()
    with greenstalk.Client((host, port)) as client:
        for _ in range(60):
            client.delete(client.reserve(timeout=10))
        with suppress(greenstalk.TimedOutError):
            client.reserve(timeout=2)


def mqtt(host: str, port: int) -> None:
    """A sensor with QoS 1 every 50 ms and one with QoS 0 every 40 ms, a subscriber, keep-alive of 2 s, retained messages."""
    import paho.mqtt.client as paho

    def client(name: str) -> Any:
        made = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id=name)
        made.connect(host, port, keepalive=5)
        made.loop_start()
        return made

    listener, exact, loose = client("listener"), client("exact"), client("loose")
    listener.subscribe([("house/#", 1)])
    for n in range(80):
        exact.publish("house/door", f"state {n}", qos=1, retain=n % 10 == 0)
        loose.publish("house/temperature", f"{n / 10} C")
        time.sleep(0.045)
    time.sleep(7)
    for each in (exact, loose, listener):
        each.disconnect()
        each.loop_stop()


def zeromq(host: str, port: int) -> None:
    """A subscriber to a feed that is written every 25 ms, with heartbeats."""
    import zmq

    socket = zmq.Context().socket(zmq.SUB)
    socket.setsockopt(zmq.HEARTBEAT_IVL, 1_000)
    socket.setsockopt(zmq.RCVTIMEO, 3_000)
    socket.subscribe(b"")
    socket.connect(f"tcp://{host}:{port}")
    with suppress(zmq.Again):
        for _ in range(200):
            socket.recv()


def zeromq_feed(_: str, port: int) -> None:
    """The server of `zeromq`."""
    import zmq

    socket = zmq.Context().socket(zmq.PUB)
    socket.setsockopt(zmq.HEARTBEAT_IVL, 1_000)
    socket.bind(f"tcp://0.0.0.0:{port}")
    for n in range(10_000):
        time.sleep(0.025)
        socket.send(b"position %d" % n)


def webdav(host: str, port: int) -> None:
    """What a file manager does: PROPFIND, MKCOL, PUT, GET of a range, MOVE, LOCK, DELETE."""
    import niquests

    url = f"http://{host}:{port}/"
    with niquests.Session() as session:

        def ask(method: str, path: str, **more: Any) -> None:
            with suppress(niquests.exceptions.RequestException):
                session.request(method, url + path, timeout=15, **more)

        ask("OPTIONS", "")
        ask("PROPFIND", "", headers={"Depth": "1"})
        ask("MKCOL", "folder")
        for n in range(4):
            ask("PUT", f"folder/{n}.txt", data=UPLOAD * (n + 1))
            ask("PROPFIND", "folder", headers={"Depth": "1"})
        ask("GET", "folder/3.txt", headers={"Range": "bytes=1000-1999"})
        ask("HEAD", "folder/2.txt")
        time.sleep(3)
        ask("MOVE", "folder/1.txt", headers={"Destination": f"{url}folder/m.txt"})
        ask("GET", "folder/none.txt")
        ask("DELETE", "folder")


def agent(host: str, port: int) -> None:
    """A monitoring server asks an agent of Zabbix for five values every second, each on a connection of its own."""
    import socket
    import struct

    for _ in range(5):
        for key in (b"agent.ping", b"system.cpu.load", b"vfs.fs.size[/,free]", b"proc.num", b"agent.version"):
            with suppress(OSError), socket.create_connection((host, port), 5) as link:
                link.settimeout(6)
                link.sendall(b"ZBXD\1" + struct.pack("<Q", len(key)) + key)
                while link.recv(4096):
                    pass
        time.sleep(1)


def collect(host: str, port: int) -> None:
    """A scraper pushes samples to VictoriaMetrics every second, and a dashboard asks for them."""
    import niquests

    url = f"http://{host}:{port}"
    with niquests.Session() as writer, niquests.Session() as reader:
        for n in range(7):
            with suppress(niquests.exceptions.RequestException):
                lines = "".join(f'load{{host="h{h}"}} {n}\n' for h in range(200))
                writer.post(f"{url}/api/v1/import/prometheus", data=lines, timeout=10)
                reader.get(f"{url}/api/v1/query?query=sum(load)", timeout=10)
                reader.get(f"{url}/api/v1/export?match[]=load", timeout=10)
            time.sleep(1)


def tarantool(host: str, port: int) -> None:
    """Pings, selects and pipelined selects of Tarantool's binary protocol."""
    import socket

    def message(sync: int, code: int, body: bytes = b"\x80") -> bytes:
        head = b"\x82\x00" + bytes([code]) + b"\x01\xce" + sync.to_bytes(4, "big")
        return b"\xce" + (len(head) + len(body)).to_bytes(4, "big") + head + body

    with socket.create_connection((host, port), 5) as link:
        link.settimeout(8)
        link.recv(128)
        for n in range(40):
            link.sendall(message(n, 64))
            link.recv(4096)
            time.sleep(0.05)
        link.sendall(b"".join(message(n, 64) for n in range(50)))
        time.sleep(2)
        link.sendall(message(99, 64))
        link.recv(65536)


def poll_rpc(host: str, port: int) -> None:
    """Polls a JSON RPC every 0.5 s on one connection; the first answer is a 409 with a session."""
    import niquests

    with niquests.Session() as session:
        for _ in range(12):
            with suppress(niquests.exceptions.RequestException):
                done = session.post(f"http://{host}:{port}/transmission/rpc", json={"method": "session-get"}, timeout=8)
                if done.status_code == 409:
                    session.headers["X-Transmission-Session-Id"] = done.headers["X-Transmission-Session-Id"]
            time.sleep(0.5)


def irc(host: str, port: int) -> None:
    """Two users in a channel: one says something every 45 ms for a while, both answer pings."""
    import socket
    import threading

    def user(name: str, *, talks: bool) -> None:
        with socket.create_connection((host, port), 5) as link:
            link.settimeout(0.045)
            link.sendall(f"NICK {name}\r\nUSER {name} 0 * :{name}\r\n".encode())
            begun = time.monotonic()
            joined = False
            while (age := time.monotonic() - begun) < 10:
                with suppress(TimeoutError):
                    for line in link.recv(4096).decode(errors="replace").splitlines():
                        if line.startswith("PING"):
                            link.sendall(b"PONG" + line[4:].encode() + b"\r\n")
                if age > 0.5 and not joined:
                    joined = True
                    link.sendall(b"JOIN #lab\r\n")
                if talks and 1 < age < 4:
                    link.sendall(f"PRIVMSG #lab :line at {age}\r\n".encode())
            link.sendall(b"QUIT\r\n")

    threads = [threading.Thread(target=user, args=(n,), kwargs={"talks": n == "ann"}) for n in ("ann", "bob")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    globals()[sys.argv[1]](sys.argv[2], int(sys.argv[3]))
