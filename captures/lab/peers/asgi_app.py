"""An ASGI application for uvicorn and hypercorn.

GET /bytes/SIZE, /chunks/COUNT/PAUSE (chunks of 400 bytes, PAUSE milliseconds apart), /events/COUNT/PAUSE (server-sent events),
/status/CODE; a body that is posted anywhere is read, and its size answered. A WebSocket anywhere echoes what it gets.
POST /v1/chat/completions streams an answer of 20 words, or fails after `words` of its JSON body.
"""

import asyncio
import json

CHUNK = b"a line of 40 bytes, of the application.\n" * 10


async def application(scope, receive, send):
    if scope["type"] == "websocket":
        await echo(receive, send)
    elif scope["type"] == "http":
        received = await read(receive)
        _, kind, *numbers = scope["path"].split("/")
        if kind == "v1":
            await complete(send, json.loads(received)["words"])
        elif kind in ("chunks", "events"):
            await stream(send, kind, *map(int, numbers))
        elif kind == "status":
            await answer(send, int(numbers[0]), b"", [(b"location", b"/bytes/300")])
        else:
            await answer(send, 200, b"a" * int(numbers[0]) if kind == "bytes" else b"received %d bytes\n" % len(received))


async def read(receive):
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return body


async def answer(send, status, body, more=()):
    headers = [(b"content-type", b"text/plain"), *more]
    if status != 204:
        headers.append((b"content-length", b"%d" % len(body)))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def stream(send, kind, count, pause):
    media = b"text/event-stream" if kind == "events" else b"text/plain"
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", media)]})
    for number in range(count):
        piece = CHUNK if kind == "chunks" else b"data: event %06d\n\n" % number
        await send({"type": "http.response.body", "body": piece, "more_body": True})
        await asyncio.sleep(pause / 1_000)
    await send({"type": "http.response.body", "body": b""})


async def complete(send, words):
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
    for number in range(20):
        if number == words:
            raise RuntimeError("the model failed")
        delta = {"index": 0, "delta": {"content": f"word{number} "}, "finish_reason": None if number < 19 else "stop"}
        piece = b"data: %s\n\n" % json.dumps({"object": "chat.completion.chunk", "choices": [delta]}).encode()
        await send({"type": "http.response.body", "body": piece, "more_body": True})
        await asyncio.sleep(0.04)
    await send({"type": "http.response.body", "body": b"data: [DONE]\n\n"})


async def echo(receive, send):
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": message["text"]})
