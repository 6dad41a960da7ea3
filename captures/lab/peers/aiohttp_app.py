"""An application on aiohttp's server, with its defaults: aiohttp_app.py PORT.

Paths as in asgi_app.py; /compressed/SIZE besides.
"""

import asyncio
import sys

from aiohttp import web

CHUNK = b"a line of 40 bytes, of the application.\n" * 10


async def sized(request):
    return web.Response(body=b"a" * int(request.match_info["size"]), content_type="text/plain")


async def compressed(request):
    response = web.Response(body=CHUNK * (int(request.match_info["size"]) // 400), content_type="text/plain")
    response.enable_compression()
    return response


async def chunks(request):
    response = web.StreamResponse(headers={"Content-Type": "text/plain"})
    response.enable_chunked_encoding()
    await response.prepare(request)
    for _ in range(int(request.match_info["count"])):
        await response.write(CHUNK)
        await asyncio.sleep(int(request.match_info["pause"]) / 1_000)
    await response.write_eof()
    return response


async def upload(request):
    return web.Response(text=f"received {len(await request.read())} bytes\n")


async def chat(request):
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    async for message in socket:
        await socket.send_str(message.data)
    return socket


app = web.Application()
app.add_routes(
    [
        web.get("/bytes/{size}", sized),
        web.get("/compressed/{size}", compressed),
        web.get("/chunks/{count}/{pause}", chunks),
        web.get("/chat", chat),
        web.route("*", "/upload", upload),
    ]
)
web.run_app(app, host=["0.0.0.0", "::"], port=int(sys.argv[1]), print=None)
