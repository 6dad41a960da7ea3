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
"""The fact that a gateway's client got the response of a later try. rules.shared.words.retry_sentence explains the fields."""


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
    unknown which. `guessed`: more exchanges were open than there were tries, so each try was assigned by route and time.
    """

    exchange: Exchange
    tries: tuple[Try, ...] = ()
    certain: bool = True
    guessed: bool = False
