"""Servers and clients of Python libraries for queues, devices, calls, pages: python services.py serve|use NAME HOST PORT."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any


def serve_opcua(host: str, port: int) -> None:
    """An OPC UA server with a variable that changes every 50 ms."""
    from asyncua import Server

    async def work() -> None:
        server = Server()
        await server.init()
        server.set_endpoint(f"opc.tcp://{host}:{port}/")
        space = await server.register_namespace("lab")
        value = await (await server.nodes.objects.add_object(space, "plant")).add_variable(space, "level", 0.0)
        await value.set_writable()
        async with server:
            for n in range(10_000):
                await value.write_value(float(n))
                await asyncio.sleep(0.05)

    asyncio.run(work())


def use_opcua(host: str, port: int) -> None:
    """Subscribes with an interval of 100 ms, browses, reads and writes."""
    from asyncua import Client

    class Handler:
        def datachange_notification(self, *_: Any) -> None:
            """Take a value."""

    async def work() -> None:
        async with Client(f"opc.tcp://{host}:{port}/") as client:
            value = await client.nodes.root.get_child(["0:Objects", "2:plant", "2:level"])
            subscription = await client.create_subscription(100, Handler())
            await subscription.subscribe_data_change(value)
            for n in range(60):
                await value.read_value()
                await value.write_value(float(-n))
                if n % 10 == 0:
                    await client.nodes.objects.get_children()
                await asyncio.sleep(0.12)

    asyncio.run(work())


def serve_zerorpc(host: str, port: int) -> None:
    """Calls, slow calls, and a stream of 200 numbers, over ZeroMQ with heartbeats."""
    import gevent
    import zerorpc

    class Calls:
        def echo(self, text: str) -> str:
            return text

        def late(self) -> int:
            gevent.sleep(0.4)
            return 1

        @zerorpc.stream
        def numbers(self) -> Any:
            for n in range(200):
                gevent.sleep(0.02)
                yield n

    server = zerorpc.Server(Calls(), heartbeat=1)
    server.bind(f"tcp://{host}:{port}")
    server.run()


def use_zerorpc(host: str, port: int) -> None:
    """Calls all of them."""
    import zerorpc

    client = zerorpc.Client(f"tcp://{host}:{port}", heartbeat=1)
    for n in range(20):
        client.echo("t" * 200 * n)
        client.late()
    list(client.numbers())


def use_celery(host: str, port: int) -> None:
    """Is a worker of Celery, and asks it for results."""
    import os
    import subprocess
    from pathlib import Path

    place = f"redis://{host}:{port}/0"
    Path("tasks.py").write_text(
        f"import celery, time\napp = celery.Celery(broker='{place}', backend='{place}')\n"
        "@app.task(name='work')\ndef work(n):\n    time.sleep(n / 100)\n    return 'r' * n * 50\n"
    )
    environment = {**os.environ, "C_FORCE_ROOT": "1"}
    worker = subprocess.Popen([sys.executable, "-m", "celery", "-A", "tasks", "worker", "-c", "2", "-q"], env=environment)
    sys.path.insert(0, ".")
    work = __import__("tasks").work
    for n in range(40):
        work.delay(n).get(timeout=10)
        time.sleep(0.05)
    worker.terminate()
    worker.wait()


def use_huey(host: str, port: int) -> None:
    """Puts tasks into Huey's queue and takes them, 25 a second."""
    from huey import RedisHuey

    huey = RedisHuey("lab", host=host, port=port, blocking=True, read_timeout=1)
    work = huey.task()(len)
    for n in range(150):
        work("x" * n * 20)
        task = huey.dequeue()
        if task:
            huey.execute(task)
        time.sleep(0.04)


def serve_amqtt(host: str, port: int) -> None:
    """An MQTT broker in Python."""
    from amqtt.broker import Broker

    async def work() -> None:
        await Broker({"listeners": {"default": {"type": "tcp", "bind": f"{host}:{port}"}}}).start()
        await asyncio.sleep(1_000)

    asyncio.run(work())


def serve_autobahn(host: str, port: int) -> None:
    """A WebSocket server of Autobahn: tells everybody something every 30 ms, and echoes."""
    from autobahn.asyncio.websocket import WebSocketServerFactory, WebSocketServerProtocol

    everybody: set[Any] = set()

    class Protocol(WebSocketServerProtocol):  # type: ignore[misc]
        def onOpen(self) -> None:
            everybody.add(self)

        def onMessage(self, payload: bytes, isBinary: bool) -> None:
            self.sendMessage(payload, isBinary)

        def onClose(self, *_: Any) -> None:
            everybody.discard(self)

    async def work() -> None:
        factory = WebSocketServerFactory()
        factory.protocol = Protocol
        await asyncio.get_running_loop().create_server(factory, host, port)
        for n in range(100_000):
            for one in list(everybody):
                one.sendMessage(b"s" * (60 + n % 40))
            await asyncio.sleep(0.03)

    asyncio.run(work())


def use_autobahn(host: str, port: int) -> None:
    """Three readers, one of which asks every 200 ms."""
    import websockets

    async def one(asks: bool) -> None:
        async with websockets.connect(f"ws://{host}:{port}/") as socket:
            until = time.monotonic() + 7
            while time.monotonic() < until:
                if asks:
                    await socket.send("question" * 20)
                with suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(socket.recv(), 0.2)

    async def work() -> None:
        await asyncio.gather(one(asks=False), one(asks=False), one(asks=True))

    asyncio.run(work())


def serve_falcon(host: str, port: int) -> None:
    """Falcon on bjoern."""
    import bjoern
    import falcon

    class Page:
        def on_get(self, _: Any, answer: Any, name: str) -> None:
            if name == "rows":
                answer.stream = (b"{}\n" for _ in range(500))
            elif name == "late":
                time.sleep(0.3)
            answer.text = None if name == "rows" else "x" * (300_000 if name == "large" else 300)

        def on_post(self, asked: Any, answer: Any, name: str) -> None:
            asked.bounded_stream.read()
            answer.status = falcon.HTTP_204 if name == "empty" else falcon.HTTP_201

    app = falcon.App()
    app.add_route("/{name}", Page())
    bjoern.run(app, host, port)


def serve_blacksheep(host: str, port: int) -> None:
    """BlackSheep on uvicorn, with a stream of events every 45 ms."""
    import uvicorn
    from blacksheep import Application, Content, Response, get, text

    app = Application()

    @get("/events")
    async def events() -> Any:
        async def stream() -> AsyncIterator[bytes]:
            for n in range(80):
                yield b"data: %d\n\n" % n
                await asyncio.sleep(0.045)

        from blacksheep.contents import StreamedContent

        return Response(200, content=StreamedContent(b"text/event-stream", stream))

    @get("/{name}")
    async def page(name: str) -> Any:
        await asyncio.sleep(0.3 if name == "late" else 0)
        return (
            text("x" * (300_000 if name == "large" else 300)) if name != "none" else Response(404, content=Content(b"a/b", b""))
        )

    uvicorn.run(app, host=host, port=port, log_level="error")


def serve_soap(host: str, port: int) -> None:
    """A SOAP service of Spyne on waitress."""
    from spyne import Application, Integer, Iterable, ServiceBase, Unicode, rpc
    from spyne.protocol.soap import Soap11
    from spyne.server.wsgi import WsgiApplication
    from waitress import serve

    class Service(ServiceBase):  # type: ignore[misc]
        @rpc(Unicode, Integer, _returns=Iterable(Unicode))  # type: ignore[misc]
        def repeat(self, text: str, times: int) -> Any:
            yield from [text] * times

    serve(WsgiApplication(Application([Service], "lab", in_protocol=Soap11(), out_protocol=Soap11())), host=host, port=port)


def use_soap(host: str, port: int) -> None:
    """Zeep reads the description and calls."""
    from zeep import Client

    for _ in range(3):
        client = Client(f"http://{host}:{port}/?wsdl")
        for n in range(12):
            client.service.repeat("text", 3 + n * 60)
            time.sleep(0.1)
        time.sleep(1)


def serve_gradio(host: str, port: int) -> None:
    """Gradio: a function that streams, through its queue."""
    import os

    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    import gradio

    def speak(text: str) -> Any:
        said = ""
        for letter in text * 4:
            said += letter
            time.sleep(0.03)
            yield said

    with gradio.Blocks() as page:
        asked, answered = gradio.Textbox(), gradio.Textbox()
        gradio.Button().click(speak, asked, answered, api_name="speak")
        gradio.Button().click(len, asked, gradio.Number(), api_name="length")
    page.queue().launch(server_name=host, server_port=port, quiet=True)


def use_gradio(host: str, port: int) -> None:
    """Calls it as a program does."""
    from gradio_client import Client

    client = Client(f"http://{host}:{port}/", verbose=False)
    for n in range(4):
        client.predict("a few words", api_name="/speak")
        client.predict("w" * n, api_name="/length")
        time.sleep(0.4)


def serve_nicegui(host: str, port: int) -> None:
    """NiceGUI: a page with a clock every 40 ms."""
    from nicegui import ui

    @ui.page("/")
    def page() -> None:
        label = ui.label()
        ui.timer(0.04, lambda: label.set_text(str(time.time())))

    ui.run(host=host, port=port, show=False, reload=False)


def serve_otlp(host: str, port: int) -> None:
    """A collector that takes spans over HTTP/1.1."""
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

    class Collector(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    ThreadingHTTPServer((host, port), Collector).serve_forever()


def use_otlp(host: str, port: int) -> None:
    """An instrumented program, whose spans leave every 300 ms."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider()
    exporter = OTLPSpanExporter(f"http://{host}:{port}/v1/traces")
    provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=300))
    tracer = provider.get_tracer("lab")
    for n in range(120):
        with tracer.start_as_current_span("work", attributes={"text": "t" * (n * 50 % 3_000)}):
            time.sleep(0.05)
    provider.shutdown()


def use_pages(host: str, port: int) -> None:
    """httpx and urllib3 ask for pages, late ones, streams, and send."""
    import httpx
    import urllib3

    url = f"http://{host}:{port}"
    pool = urllib3.PoolManager()
    with httpx.Client(timeout=10) as client:
        for n in range(6):
            for path in ("small", "late", "large", "none"):
                client.get(f"{url}/{path}")
                pool.request("GET", f"{url}/{path}")
            client.post(f"{url}/upload", content=b"u" * 20_000)
            with client.stream("GET", f"{url}/rows" if n % 2 else f"{url}/events") as answer:
                for _ in answer.iter_raw():
                    pass
            time.sleep(0.5)


if __name__ == "__main__":
    _, order, name, host, port = sys.argv
    globals()[f"{order}_{name}"](host, int(port))
