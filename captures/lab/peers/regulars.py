"""Clients that ask a server at a pace of their own each, while it is deployed anew: regulars.py PLAN.

PLAN is a JSON file: `address`, `port`, `seconds`, `seed`, and `clients`, of which each has an `agent`, a `period` between its
requests (s, half as much again at the most), `connections` that it keeps, and whether it `looks` before it uses one again. Who is
refused comes again soon, as clients do. Says as JSON how many requests were answered, lost and refused.
"""

import asyncio
import contextlib
import json
import random
import sys
import time
from pathlib import Path

PATIENCE = 4.0
"""Seconds that an answer may take."""


class Client:
    def __init__(self, plan, words, chance):
        self.plan, self.words, self.chance = plan, words, chance
        self.free, self.counts = [], plan["counts"]
        self.until = time.monotonic() + plan["seconds"]

    async def run(self):
        tasks = [asyncio.ensure_future(self.lane()) for _ in range(self.words["connections"])]
        await asyncio.gather(*tasks)
        for _, writer in self.free:
            writer.close()

    async def lane(self):
        """Asks, rests, asks again."""
        await asyncio.sleep(self.chance.uniform(0, self.words["period"]))
        while time.monotonic() < self.until:
            with contextlib.suppress(OSError, asyncio.TimeoutError, asyncio.IncompleteReadError):
                await asyncio.wait_for(self.ask(), PATIENCE)
            await asyncio.sleep(self.words["period"] * self.chance.uniform(0.75, 1.5))

    async def ask(self):
        streams = await self.connection()
        reader, writer = streams
        path = self.words.get("path", "/bytes/20")
        try:
            writer.write(f"GET {path} HTTP/1.1\r\nHost: www\r\nUser-Agent: {self.words['agent']}\r\n\r\n".encode())
            head = await reader.readuntil(b"\r\n\r\n")
            lines = head.lower().split(b"\r\n")
            fields = dict(line.split(b":", 1) for line in lines[1:] if b":" in line)
            await reader.readexactly(int(fields.get(b"content-length", b"0")))
        except (OSError, asyncio.IncompleteReadError):
            self.counts["lost"] += 1
            writer.close()
            raise
        self.counts["answered"] += 1
        if fields.get(b"connection", b"").strip() == b"close":
            writer.close()
        else:
            self.free.append(streams)

    async def connection(self):
        while self.free:
            reader, writer = self.free.pop()
            if self.words["looks"] and reader.at_eof():
                writer.close()
                continue
            return reader, writer
        while True:
            try:
                return await asyncio.open_connection(self.plan["address"], self.plan["port"])
            except OSError:
                self.counts["refused"] += 1
                await asyncio.sleep(0.1)


async def main():
    plan = json.loads(Path(sys.argv[1]).read_text())
    plan["counts"] = dict.fromkeys(("answered", "lost", "refused"), 0)
    chance = random.Random(plan["seed"])
    await asyncio.gather(*(Client(plan, words, chance).run() for words in plan["clients"]))
    print(json.dumps(plan["counts"]), flush=True)


asyncio.run(main())
