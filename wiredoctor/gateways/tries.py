"""What is known of an exchange of a gateway's client, with the tries that the gateway made for it.

A try is a request that the gateway forwarded to a server, or a connection that it tried to open for a request.
"""

from __future__ import annotations

from typing import NamedTuple

import polars as pl

from wiredoctor.world.exchange import Exchange, Try

Route = tuple[str, str]
"""A gateway (its address and port), and the part of its requests by which it chooses a server."""

RETRY = pl.Struct({"server": pl.String(), "status": pl.Int64(), "late": pl.Int64(), "failed": pl.Int64()})
"""The fact that a gateway's client got the response of a later try.

`server`: of that try. `late`: how much later (ns) the client got it because of the `failed` tries.
"""
WAITED_FOR = pl.Struct({"server": pl.String(), "attempt": pl.Boolean(), "in_part": pl.Boolean(), "time": pl.Int64()})
"""The fact that a gateway was waiting for a server when its client left.

`attempt`: for an answer to its SYN. `in_part`: part of the response had come. `time`: since that, or else since it asked (ns).
"""
AT_SERVERS = pl.Struct({"servers": pl.List(pl.String()), "time": pl.Int64(), "sending": pl.Boolean()})
"""The fact that a gateway spent time with servers while its client waited.

`time`: while its tries were open (ns); if the gateway itself took no time, only after the responses of the servers had begun.
`sending`: it was still sending its request then, and not waiting for the rest of a response.
"""
AT_CLIENT = pl.Struct({"client": pl.String(), "waited": pl.Int64(), "in_gateway": pl.Int64(), "left": pl.Boolean()})
"""The fact that the client of a gateway waited (ns), part of that for the gateway itself (null if not for the try).

`left`: the client's connection was closed before a response had begun.
"""


def never_arrived(start: int | None, end: int | None, history: str | None, unacknowledged: int | None) -> bool:
    """Return whether a complete response of a server, the last on its connection, was captured, but did not reach the gateway.

    The gateway acknowledged no byte of it, and both sides retransmitted data. If only the ACK is missing from the capture, the
    server retransmits nothing. `start`, `end`: the offsets of the response. `unacknowledged`: bytes of the server.
    """
    retransmitted = {*"Tt"} <= {*(history or "")}
    return start is not None and end is not None and retransmitted and (unacknowledged or 0) >= end - start > 0


class Front(NamedTuple):
    """An exchange of a gateway's client, with the tries that the gateway made for it.

    `certain`: all of these tries were made for the exchange, in this order; otherwise, at most one of them was, and it is
    unknown which. `guessed`: more exchanges were open than there were tries, so each try was assigned by route and time. `call`:
    the last request that failed of those that the server sent for this one (see gateways/calls.py), which may be a try. `called`:
    a gateway forwards no response of the called endpoint.
    """

    exchange: Exchange
    tries: tuple[Try, ...] = ()
    certain: bool = True
    guessed: bool = False
    call: Exchange | None = None
    called: bool = False
