"""HTTP with faults, between two network namespaces: a server that commits them when it is asked to, and clients that ask.

python live_traffic.py serve ADDRESS PORT
python live_traffic.py faults ADDRESS PORT STALLS      so many stalls on one connection, then every other fault
python live_traffic.py steady ADDRESS PORT RATE        so many packets a second, about, until it is ended
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import sys
import time
from typing import NamedTuple

OK = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
BODY = b"b" * 300
WHOLE = OK + b"Content-Length: 300\r\n\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"


class Fault(NamedTuple):
    """What a target is answered with, in so many sends, and the rule that must find it.

    `wait`: seconds before the first of them; `closes`: the connection is closed behind them.
    """

    rule: str
    sends: tuple[bytes, ...]
    wait: float = 0.0
    closes: bool = False


STALL, PIECES, LATE, UPLOAD = "/head-body-split", "/three-pieces", "/late", "/upload"

FAULTS = {
    STALL: Fault("nagle-delayed-ack", (WHOLE, BODY)),
    PIECES: Fault("nagle-delayed-ack", (WHOLE[:17], WHOLE[17:], BODY)),
    LATE: Fault("slow-response", (WHOLE + BODY,), wait=1.5),
    UPLOAD: Fault("expect-continue-stall", (WHOLE + BODY,)),
    "/204-with-body": Fault("body-not-allowed", (b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello",)),
    "/too-much": Fault("excess-body", (WHOLE + BODY + b"and more",)),
    "/no-chunk": Fault("invalid-chunk", (CHUNKED + b"5\r\nhello\r\nfive\r\nhello\r\n0\r\n\r\n",), closes=True),
    "/broken-off": Fault("truncated-response", (WHOLE + BODY[:100],), closes=True),
    "/nothing": Fault("no-response", (), closes=True),
    "/closed": Fault("premature-close", (WHOLE + BODY,), closes=True),
}

BY_CLOSES = {"no-response", "premature-close", "truncated-response"}
"""Rules that wait for a second, or two round trips: what is still on its way then would make something else of it. Where
nothing comes in that time, it must be sure, too, that nothing is on its way to the file."""

APART, SILENCE = 0.5, 3.0
"""Seconds between two faults, at most: a busy and a silent link are not told of in the same way. Behind what an exchange alone
shows the connection stays open, and silent for so many seconds."""

PATIENCE = 0.4
"""Seconds for which a client waits for a 100 that this server never sends."""

AT_ONCE = 0.005
"""Seconds between an exchange and the one that is to stall: Linux delays ACKs where a request follows a response within 40 ms,
and no more once such a timer has run out (inet_csk_enter_pingpong_mode, tcp_delack_timer_handler)."""

USERS = 40
"""Clients of the steady traffic that are there at a time."""

PACKETS = 3.4
"""Of an exchange of the steady traffic, its share of the handshake and the close included."""

FAULTY = 0.02
"""The share of its exchanges that meet a fault: stalls, most of them."""


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 0)  # asyncio sets it
    with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            target = head.split(b" ", 2)[1].decode()
            fault = FAULTS.get(target, Fault("", (WHOLE + BODY,)))
            if target == UPLOAD:
                await reader.readexactly(len(BODY))
            await asyncio.sleep(fault.wait)
            for piece in fault.sends:
                writer.write(piece)
            if fault.closes:
                break
    writer.close()


async def serve(address: str, port: int) -> None:
    """Answers until it is ended."""
    server = await asyncio.start_server(_answer, address, port, backlog=1024)
    await server.serve_forever()


class User:
    """A client with a connection."""

    def __init__(self, address: str, port: int) -> None:
        self._where = (address, port)
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter

    async def connect(self) -> None:
        """Opens a connection; the one before is closed."""
        self._reader, self._writer = await asyncio.open_connection(*self._where)

    async def ask(self, target: str) -> bool:
        """An exchange; whether the connection is open behind it."""
        fault = FAULTS.get(target)
        fields = b"Host: bench\r\nUser-Agent: bench\r\n"
        if target == UPLOAD:
            fields += b"Content-Length: %d\r\nExpect: 100-continue\r\n" % len(BODY)
        self._writer.write(b"%s %s HTTP/1.1\r\n%s\r\n" % (b"PUT" if target == UPLOAD else b"GET", target.encode(), fields))
        if target == UPLOAD:
            await asyncio.sleep(PATIENCE)
            self._writer.write(BODY)
        due = sum(map(len, fault.sends)) if fault else len(WHOLE) + len(BODY)
        closes = fault is not None and fault.closes
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await (self._reader.read() if closes else self._reader.readexactly(due))
        return not closes

    async def close(self) -> None:
        """Closes the connection."""
        self._writer.close()
        with contextlib.suppress(ConnectionError):
            await self._writer.wait_closed()


async def faults(address: str, port: int, stalls: int) -> None:
    """So many stalls on one connection, and then each other fault three times, on a connection of its own."""
    user = User(address, port)
    await user.connect()
    for _ in range(stalls + 1):
        await user.ask("/")
        await asyncio.sleep(AT_ONCE)
        await user.ask(STALL)
        await asyncio.sleep(random.uniform(0, APART))
    for target in [target for target in FAULTS if target != STALL] * 3:
        await user.close()
        await user.connect()
        if target == PIECES:
            await user.ask("/")
        await user.ask(target)
        await asyncio.sleep(SILENCE if target in (LATE, UPLOAD) else random.uniform(0, APART))
    await user.close()


async def steady(address: str, port: int, rate: float) -> None:
    """About so many packets a second, on connections that are kept for one to a hundred exchanges."""
    pace = USERS * PACKETS / rate
    others = [target for target in FAULTS if target not in (LATE, UPLOAD)]

    async def go(number: int) -> None:
        user, due = User(address, port), time.monotonic() + random.uniform(0, pace)
        while True:
            await user.connect()
            for page in range(random.choice((1, 3, 10, 30, 100))):
                due = max(due + pace, time.monotonic() - 1)
                await asyncio.sleep(max(due - time.monotonic(), 0))
                faulty = random.random() < FAULTY
                if not await user.ask(random.choice(others) if faulty else f"/page/{number}/{page}"):
                    break
            await user.close()

    await asyncio.gather(*(go(number) for number in range(USERS)))


def main() -> None:
    """Entry point."""
    what, address, port, *more = sys.argv[1:]
    ways = {"serve": serve, "faults": faults, "steady": steady}
    with contextlib.suppress(KeyboardInterrupt, ConnectionError):  # both are how it ends
        asyncio.run(ways[what](address, int(port), *map(int, more)))


if __name__ == "__main__":
    main()
