"""An application for WSGI and ASGI that can die: /bytes/N, /slow/MS, /work/MS (busy: nothing else runs), /die/MS (its process
ends without a word after so long), /thrown/MS (an exception). `X-Port` is the client's port, so that connections can be told."""

import asyncio
import os
import signal
import time


def _work(milliseconds):
    deadline = time.monotonic() + milliseconds / 1000
    while time.monotonic() < deadline:
        pass


def _die(kind):
    if kind == "shot":
        os.kill(os.getpid(), signal.SIGKILL)
    os._exit(1)


def wsgi(environ, start_response):
    _, kind, number = environ["PATH_INFO"].split("/")
    if kind in ("slow", "die", "shot"):
        time.sleep(int(number) / 1000)
    if kind == "work":
        _work(int(number))
    if kind in ("die", "shot"):
        _die(kind)
    body = b"g" * (int(number) if kind == "bytes" else 20)
    headers = [("Content-Type", "text/plain"), ("Content-Length", str(len(body))), ("X-Port", environ["REMOTE_PORT"])]
    environ["wsgi.input"].read()
    start_response("200 OK", headers)
    return [body]


async def asgi(scope, receive, send):
    assert scope["type"] == "http", "no lifespan events: a server goes on without them"
    _, kind, number = scope["path"].split("/")
    if kind in ("slow", "die", "shot"):
        await asyncio.sleep(int(number) / 1000)
    if kind == "work":
        _work(int(number))
    if kind in ("die", "shot"):
        _die(kind)
    while (await receive()).get("more_body"):
        pass
    body = b"u" * (int(number) if kind == "bytes" else 20)
    fields = {"content-type": "text/plain", "content-length": len(body), "x-port": scope["client"][1]}
    headers = [(name.encode(), str(value).encode()) for name, value in fields.items()]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
