"""An application that does what its path says, for servers of WSGI (`wsgi`) and of ASGI (`asgi`).

/wait/SECONDS answers late, /drip/SECONDS writes a piece every quarter of a second, /short writes less than its Content-Length,
/break fails in its body, /die ends its process. All else is answered at once. A body is read to its end before.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from typing import Any

PIECE, STEP = b"d" * 500, 0.25


def _told(path: str) -> tuple[str, float]:
    """The word and the number of a path."""
    word, _, number = path.strip("/").partition("/")
    if word == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    return word, float(number or 0)


def _length(word: str) -> list[tuple[str, str]]:
    lengths = {"short": "9000", "drip": "", "break": ""}
    length = lengths.get(word, str(len(PIECE)))
    return [("Content-Type", "text/plain"), *([("Content-Length", length)] if length else [])]


def _pieces(word: str, seconds: float) -> Iterator[bytes]:
    for _ in range(max(1, int(seconds / STEP)) if word == "drip" else 1):
        yield PIECE
    if word == "break":
        raise ValueError("the application breaks off")


def wsgi(environ: dict[str, Any], start: Any) -> Iterator[bytes]:
    """The application for servers of WSGI."""
    word, seconds = _told(environ["PATH_INFO"])
    environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    if word == "wait":
        time.sleep(seconds)
    start("200 OK", _length(word))
    for piece in _pieces(word, seconds):
        yield piece
        if word in ("drip", "break"):
            time.sleep(STEP)


async def asgi(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """The application for servers of ASGI."""
    while scope["type"] == "lifespan":
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
    word, seconds = _told(scope["path"])
    while (await receive()).get("more_body"):
        pass
    if word == "wait":
        await asyncio.sleep(seconds)
    headers = [(name.lower().encode(), value.encode()) for name, value in _length(word)]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    for piece in _pieces(word, seconds):
        await send({"type": "http.response.body", "body": piece, "more_body": True})
        if word in ("drip", "break"):
            await asyncio.sleep(STEP)
    await send({"type": "http.response.body", "body": b""})
