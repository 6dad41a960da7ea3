"""A WebSocket server that repeats each message, and a client that pauses: python sockets.py serve PORT | use URL PAUSE..."""

from __future__ import annotations

import asyncio
import sys

import websockets


async def serve(port: int) -> None:
    """Send back each message."""

    async def echo(socket: websockets.ServerConnection) -> None:
        async for message in socket:
            await socket.send(message)

    async with websockets.serve(echo, "0.0.0.0", port, ping_interval=None):
        await asyncio.Future()


async def use(url: str, pauses: list[float]) -> None:
    """Send a message before each pause."""
    async with websockets.connect(url, ping_interval=None) as socket:
        for pause in pauses:
            await socket.send("question")
            await socket.recv()
            await asyncio.sleep(pause)


if __name__ == "__main__":
    way, place, *rest = sys.argv[1:]
    asyncio.run(serve(int(place)) if way == "serve" else use(place, [float(pause) for pause in rest]))
