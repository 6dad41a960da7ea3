"""As threaded_pools.py, with aiohttp: aiohttp_pool.py BASE CONNECTIONS SECONDS AIM SPREAD BUSY."""

import asyncio
import json
import random
import sys
import time

import aiohttp

BASE, (CONNECTIONS, SECONDS, AIM, SPREAD, BUSY) = sys.argv[1], map(float, sys.argv[2:])
STEP = 0.001
counts = {"answered": 0, "lost": 0, "aim": AIM}
deadline = time.monotonic() + SECONDS


def opened():
    connector = aiohttp.TCPConnector(limit=1, keepalive_timeout=60)
    return aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=5))


async def ask_again():
    port = None
    async with opened() as session:
        while time.monotonic() < deadline:
            try:
                async with session.get(f"{BASE}/bytes/20") as answer:
                    await answer.read()
            except aiohttp.ClientConnectionError:
                counts["lost"] += 1
                counts["aim"] -= STEP
                continue
            counts["answered"] += 1
            counts["aim"] += 0 if port is None else STEP if answer.headers["X-Port"] == port else -STEP
            port = answer.headers["X-Port"]
            await asyncio.sleep(max(0.0, counts["aim"] + random.uniform(-SPREAD, SPREAD)))


async def keep_busy():
    async with opened() as session:
        while BUSY and time.monotonic() < deadline:
            async with session.get(f"{BASE}/work/{int(BUSY)}") as answer:
                await answer.read()
            await asyncio.sleep(random.uniform(0.01, 0.1))


async def main():
    await asyncio.gather(*(ask_again() for _ in range(int(CONNECTIONS))), keep_busy())
    print(json.dumps(counts))


asyncio.run(main())
