"""The application of docs/lookalikes' servers in Python: python server.py FRAMEWORK PORT.

Every framework serves the same paths: /small, /large, /late (0.7 s), /events (20 events, 150 ms apart), /rows (30 lines, 40 ms
apart), /upload (POST) and /empty (204); where it can, /ws (60 ticks, 45 ms apart, and an echo of each message).
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Iterator
from typing import Any

SMALL, LARGE = b"s" * 300, b"l" * 300_000
EVENTS = [b"data: event %d\n\n" % n for n in range(20)]
ROWS = [b'{"row": %d}\n' % n for n in range(30)]
TICKS, TICK = 60, 0.045


def _wsgi_stream(pieces: list[bytes], pause: float) -> Iterator[bytes]:
    for piece in pieces:
        time.sleep(pause)
        yield piece


def wsgi(environ: dict[str, Any], start: Any) -> Any:
    """The application for servers of WSGI."""
    path = environ["PATH_INFO"]
    if path == "/events":
        start("200 OK", [("Content-Type", "text/event-stream")])
        return _wsgi_stream(EVENTS, 0.15)
    if path == "/rows":
        start("200 OK", [("Content-Type", "application/x-ndjson")])
        return _wsgi_stream(ROWS, 0.04)
    if path == "/empty":
        start("204 No Content", [])
        return []
    if path == "/late":
        time.sleep(0.7)
    body = LARGE if path == "/large" else SMALL
    if path == "/upload":
        body = b"%d" % len(environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0)))
    start("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [b"" if environ["REQUEST_METHOD"] == "HEAD" else body]


async def asgi(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """The application for servers of ASGI."""
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": f"{message['type']}.complete"})
            if message["type"] == "lifespan.shutdown":
                return
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        for n in range(TICKS):
            await asyncio.sleep(TICK)
            await send({"type": "websocket.send", "text": f"tick {n}"})
        await send({"type": "websocket.close"})
        return
    path, more, size = scope["path"], True, 0
    while more:
        message = await receive()
        size += len(message.get("body", b""))
        more = message.get("more_body", False)
    streams = {"/events": (b"text/event-stream", EVENTS, 0.15), "/rows": (b"application/x-ndjson", ROWS, 0.04)}
    if path in streams:
        kind, pieces, pause = streams[path]
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", kind)]})
        for piece in pieces:
            await asyncio.sleep(pause)
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})
        return
    if path == "/late":
        await asyncio.sleep(0.7)
    body = {"/large": LARGE, "/empty": b"", "/upload": b"%d" % size}.get(path, SMALL)
    status = 204 if path == "/empty" else 200
    headers = [] if path == "/empty" else [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})


def run_cheroot(port: int) -> None:
    from cheroot.wsgi import Server

    Server(("0.0.0.0", port), wsgi, timeout=4).start()


def run_tornado(port: int) -> None:
    from tornado.ioloop import IOLoop
    from tornado.web import Application, RequestHandler
    from tornado.websocket import WebSocketHandler

    class Page(RequestHandler):
        async def get(self, path: str) -> None:
            streams = {"events": ("text/event-stream", EVENTS, 0.15), "rows": ("application/x-ndjson", ROWS, 0.04)}
            if path in streams:
                kind, pieces, pause = streams[path]
                self.set_header("Content-Type", kind)
                for piece in pieces:
                    await asyncio.sleep(pause)
                    self.write(piece)
                    await self.flush()
                return
            if path == "late":
                await asyncio.sleep(0.7)
            if path == "empty":
                self.set_status(204)
                return
            self.write(LARGE if path == "large" else SMALL)

        head = get

        def post(self, path: str) -> None:
            self.write(f"{path} {len(self.request.body)}")

    class Ticks(WebSocketHandler):
        def on_message(self, message: str | bytes) -> None:
            self.write_message(message)

        def open(self, *_: str) -> None:
            self.set_nodelay(True)
            IOLoop.current().spawn_callback(self.tick)

        async def tick(self) -> None:
            for n in range(TICKS):
                await asyncio.sleep(TICK)
                await self.write_message(f"tick {n}")
            self.close()

    async def main() -> None:
        Application([("/ws", Ticks), ("/(.*)", Page)], websocket_ping_interval=2).listen(port, idle_connection_timeout=4)
        await asyncio.Event().wait()

    asyncio.run(main())


def run_sanic(port: int) -> None:
    from sanic import Sanic
    from sanic.response import empty, raw

    app = Sanic("lab")
    app.config.KEEP_ALIVE_TIMEOUT = 4

    @app.route("/<path>", methods=["GET", "HEAD", "POST"])
    async def page(request: Any, path: str) -> Any:
        streams = {"events": ("text/event-stream", EVENTS, 0.15), "rows": ("application/x-ndjson", ROWS, 0.04)}
        if path in streams:
            kind, pieces, pause = streams[path]
            response = await request.respond(content_type=kind)
            for piece in pieces:
                await asyncio.sleep(pause)
                await response.send(piece)
            await response.eof()
            return None
        if path == "late":
            await asyncio.sleep(0.7)
        if path == "empty":
            return empty()
        return raw(
            b"%d" % len(request.body) if path == "upload" else LARGE if path == "large" else SMALL, content_type="text/plain"
        )

    app.run("0.0.0.0", port, single_process=True, motd=False, access_log=False)


def run_twisted(port: int) -> None:
    from twisted.internet import reactor
    from twisted.internet.task import LoopingCall
    from twisted.web.resource import Resource
    from twisted.web.server import NOT_DONE_YET, Site

    class Page(Resource):
        isLeaf = True

        def render_GET(self, request: Any) -> Any:
            path = request.path
            streams = {b"/events": ("text/event-stream", EVENTS, 0.15), b"/rows": ("application/x-ndjson", ROWS, 0.04)}
            if path in streams:
                kind, pieces, pause = streams[path]
                request.setHeader("Content-Type", kind)
                left = list(pieces)

                def write() -> None:
                    if left:
                        request.write(left.pop(0))
                    else:
                        loop.stop()
                        request.finish()

                loop = LoopingCall(write)
                done = loop.start(pause)
                request.notifyFinish().addErrback(lambda _: loop.running and loop.stop())
                done.addErrback(lambda _: None)
                return NOT_DONE_YET
            if path == b"/late":
                reactor.callLater(0.7, lambda: (request.write(SMALL), request.finish()))
                return NOT_DONE_YET
            if path == b"/empty":
                request.setResponseCode(204)
                return b""
            return LARGE if path == b"/large" else SMALL

        def render_POST(self, request: Any) -> bytes:
            return b"%d" % len(request.content.read())

    reactor.listenTCP(port, Site(Page(), timeout=4))
    reactor.run()


def run_granian(port: int) -> None:
    from granian import Granian

    sys.path.insert(0, __file__.rpartition("/")[0])
    Granian("server:asgi", address="0.0.0.0", port=port, interface="asgi", log_enabled=False).serve()


if __name__ == "__main__":
    globals()[f"run_{sys.argv[1]}"](int(sys.argv[2]))
