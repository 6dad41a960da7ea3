"""Servers and clients of Python libraries: python libraries.py serve|use LIBRARY HOST PORT."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from http_clients import session
from server import asgi, wsgi


def serve_cheroot(host: str, port: int) -> None:
    """A WSGI application in Cheroot, which closes what is idle for 2 s."""
    from cheroot.wsgi import Server

    Server((host, port), wsgi, timeout=2, numthreads=6).start()


def serve_hypercorn(host: str, port: int) -> None:
    """An ASGI application in Quart's server."""
    from hypercorn.asyncio import serve
    from hypercorn.config import Config

    config = Config()
    config.bind, config.keep_alive_timeout = [f"{host}:{port}"], 3
    asyncio.run(serve(asgi, config))


def serve_sanic(host: str, port: int) -> None:
    """Sanic, which streams and answers."""
    from sanic import Sanic, response

    app = Sanic("lab")
    app.config.KEEP_ALIVE_TIMEOUT = 3

    @app.route("/<name>", methods=["GET", "HEAD", "POST"])
    async def page(request: Any, name: str) -> Any:
        if name in ("rows", "events"):
            kind, piece, pause = (
                ("application/x-ndjson", "{}\n", 0.04) if name == "rows" else ("text/event-stream", "data: 1\n\n", 0.15)
            )
            answer = await request.respond(content_type=kind)
            for _ in range(20):
                await answer.send(piece)
                await asyncio.sleep(pause)
            return None
        if name == "late":
            await asyncio.sleep(0.7)
        return response.empty() if name == "empty" else response.text("x" * (300_000 if name == "large" else 300))

    app.run(host, port, single_process=True, motd=False, access_log=False)


def serve_modbus(host: str, port: int) -> None:
    """A controller with registers."""
    from pymodbus.datastore import ModbusDeviceContext, ModbusSequentialDataBlock, ModbusServerContext
    from pymodbus.server import StartTcpServer

    block = ModbusSequentialDataBlock(0, [7] * 200)
    StartTcpServer(ModbusServerContext(devices=ModbusDeviceContext(hr=block, ir=block), single=True), address=(host, port))


def serve_rpyc(host: str, port: int) -> None:
    """An object that calls its caller back."""
    import rpyc
    from rpyc.utils.server import ThreadedServer

    class Lab(rpyc.Service):
        def exposed_count(self, to: int, tell: Callable[[int], None]) -> int:
            for n in range(to):
                tell(n)
            return to

        def exposed_wait(self, seconds: float) -> str:
            time.sleep(seconds)
            return "x" * 5_000

    ThreadedServer(Lab, hostname=host, port=port).start()


def serve_pyro(host: str, port: int) -> None:
    """Pyro's remote objects."""
    import Pyro5.api

    @Pyro5.api.expose
    class Lab:
        def add(self, a: int, b: int) -> int:
            return a + b

        def rows(self) -> Any:
            for n in range(40):
                time.sleep(0.05)
                yield n

    daemon = Pyro5.api.Daemon(host, port)
    daemon.register(Lab, "lab")
    daemon.requestLoop()


def serve_dask(host: str, port: int) -> None:
    """A scheduler of Dask, with a worker beside it."""
    words = [str(Path(sys.executable).with_name("dask")), "scheduler", "--host", host, "--port", str(port), "--no-dashboard"]
    scheduler = subprocess.Popen(words)
    worker = [words[0], "worker", f"10.9.0.2:{port}", "--no-dashboard", "--nthreads", "2", "--no-nanny", "--host", "10.9.0.2"]
    subprocess.Popen(worker)
    scheduler.wait()


def use_httplib2(host: str, port: int) -> None:
    """httplib2, which keeps a connection and looks at it only when it writes."""
    import httplib2

    client = httplib2.Http(timeout=8)
    session(f"http://{host}:{port}", lambda method, url, body: client.request(url, method, body=body))


def use_aiosonic(host: str, port: int) -> None:
    """aiosonic's pool."""
    import aiosonic

    async def run() -> None:
        async with aiosonic.HTTPClient() as client:
            for n in range(6):
                for path in ("small", "late", "rows", "large"):
                    with suppress(Exception):
                        answer = await client.get(f"http://{host}:{port}/{path}")
                        await answer.content()
                await asyncio.sleep(0.3 if n % 4 else 2.2)

    asyncio.run(run())


def use_modbus(host: str, port: int) -> None:
    """A control room: holding registers every 100 ms, input registers every 40 ms on a connection of their own."""
    from pymodbus.client import AsyncModbusTcpClient

    async def poll(pause: float, count: int) -> None:
        client = AsyncModbusTcpClient(host, port=port, timeout=5)
        await client.connect()
        for _ in range(count):
            await client.read_holding_registers(0, count=60)
            await asyncio.sleep(pause)
        client.close()

    async def run() -> None:
        await asyncio.gather(poll(0.1, 60), poll(0.04, 120))

    asyncio.run(run())


def use_rpyc(host: str, port: int) -> None:
    """Calls that call back, late ones, and many in a row."""
    import rpyc

    connection = rpyc.connect(host, port)
    for _ in range(8):
        connection.root.count(12, lambda n: n)
        connection.root.wait(0.06)
        time.sleep(0.3)
    connection.close()


def use_pyro(host: str, port: int) -> None:
    """Calls in a loop of 80 ms, and a remote iterator."""
    import Pyro5.api

    with Pyro5.api.Proxy(f"PYRO:lab@{host}:{port}") as lab:
        for n in range(40):
            lab.add(n, n)
            time.sleep(0.08)
        list(lab.rows())


def use_dask(host: str, port: int) -> None:
    """Tasks, scattered data, and what comes back."""
    from distributed import Client

    with Client(f"tcp://{host}:{port}", timeout=12) as client:
        for _ in range(4):
            client.gather(client.map(lambda n: n * 2, range(30)))
            client.submit(len, client.scatter(b"d" * 400_000)).result()
            time.sleep(0.5)


def use_scrapy(host: str, port: int) -> None:
    """Scrapy, with autothrottle."""
    import scrapy
    from scrapy.crawler import CrawlerProcess

    class Lab(scrapy.Spider):
        name = "lab"

        async def start(self) -> Any:
            for n in range(12):
                for path in ("small", "late", "large"):
                    yield scrapy.Request(f"http://{host}:{port}/{path}?{n}", dont_filter=True)

        def parse(self, response: Any) -> None:
            del response

    process = CrawlerProcess({"AUTOTHROTTLE_ENABLED": True, "AUTOTHROTTLE_START_DELAY": 0.1, "LOG_ENABLED": False})
    process.crawl(Lab)
    process.start()


if __name__ == "__main__":
    globals()[f"{sys.argv[1]}_{sys.argv[2]}"](sys.argv[3], int(sys.argv[4]))
