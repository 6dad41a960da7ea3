"""Data types for known gateways, and for their tries to serve a request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import polars as pl

from wiredoctor import tables
from wiredoctor.world.exchange import LATE, SERVER_ERROR, Place

__all__ = ["FIRST", "FRONT", "GATEWAY_ERRORS", "KEY", "LATE", "LONE_SYN", "POSSIBLE", "REPEATED", "SERVER_ERROR", "SLACK"]
__all__ += ["TRIES", "UNAVAILABLE", "Doubt", "Gateways", "Place"]

KEY, FRONT = ["connection", "exchange"], ["front_connection", "front_exchange"]
"""The columns that name an exchange, and those of TRIES that name the client's exchange."""

TRIES = tables.TRIES.schema
"""The schema of tries: what a gateway did to serve an exchange of its client (a request to a server, or an attempt to connect).

`front_connection`, `front_exchange`: the client's exchange. `connection`, `exchange`: the gateway's connection to the server, and
the exchange on it (null for an attempt to connect). `certain`: no other pairing is possible. `started`: the time of the first
byte of the request, or of the first SYN, in ns.
"""

POSSIBLE = pl.Schema({
    name: TRIES.get(name, pl.Int64())
    for name in (*FRONT, "front_started", "front_answered", *KEY, "started")
})  # fmt: skip
"""The schema of possible pairs: a client's exchange with a gateway (front), and a request that it may have caused (back).

The columns about the front are its connection and index, its start, and the time when its response began or it ended (LATE if
neither happened). The columns about the back are its connection and index, and its start. Times are in ns.
"""

REPEATED = (408, 425, 429)
"""The statuses below 500 after which a gateway may send the request again: they ask for that (RFC 9110 section 15.5.9, RFC 8470
section 5.2, RFC 6585 section 4).
"""

SLACK = 50_000
"""The tolerance in ns for two events on different connections whose packets were captured in the wrong order.

It can be small, because one clock stamped both the received and the forwarded message. With a tolerance of a millisecond, a busy
client's next request would seem to belong to the previous exchange.
"""

UNAVAILABLE = 503
GATEWAY_ERRORS = (502, UNAVAILABLE, 504)
"""The statuses with which a gateway reports a failure behind it (RFC 9110 section 15.6), or that it has no server to ask.

An application that calls other services also sends other statuses, for faults of its own.
"""

LONE_SYN = 900_000_000
"""The minimum time in ns after a gateway's only SYN for that SYN to count as unanswered.

Linux retransmits a SYN after 1 s. If the gateway goes on sooner, a health check may have sent the SYN.
"""

FIRST = 10_000
"""The number of exchanges at the start of a capture that are examined first.

If these exchanges show no gateway, and no failed connection may belong to a gateway, the other exchanges are not examined.
"""


class Doubt(NamedTuple):
    """Exchanges that cannot be paired with certainty.

    Each of `backs` (the gateway's own requests) was made for one of `fronts` (exchanges with the gateway's clients).
    """

    fronts: tuple[Place, ...]
    backs: tuple[Place, ...]


class Gateways(NamedTuple):
    """The known facts about the gateways in a capture. Clients connect to a gateway's front; at its back, it connects to servers.

    tries: rows of TRIES, sorted by front and start; no exchange or connection at the back occurs twice.
    fronts: for each endpoint (address:port) of a gateway, the endpoints behind it.
    doubtful: exchanges that cannot be paired with certainty.
    clients: the connections whose client is a gateway. There are three kinds: connections of possible tries, if at least one try
    from the same client host is certain; connections whose requests contain fields such as X-Forwarded-For, or several
    User-Agents; and those in `relayed`.
    relayed: the connections that a relay for TCP or TLS closed before it had the response, each with the relay's connection to
    its own client, which it closed at the same moment.
    behind: the connections of gateways to the servers behind them, if the capture also contains the gateways' fronts.
    possible, crowded: if requested, the rows of POSSIBLE, and the exchanges with too many possible pairs.
    """

    tries: pl.DataFrame = TRIES.to_frame()
    fronts: Mapping[str, tuple[str, ...]] = {}
    doubtful: tuple[Doubt, ...] = ()
    clients: frozenset[int] = frozenset()
    relayed: Mapping[int, int] = {}
    behind: frozenset[int] = frozenset()
    possible: pl.DataFrame = POSSIBLE.to_frame()
    crowded: frozenset[Place] = frozenset()

    def with_tries(self, certain: pl.DataFrame) -> Gateways:
        """Return a copy with the tries in `certain`, whose pairing is certain, instead of all rows that contradict them."""
        if certain.join(self.tries, on=[*TRIES], how="anti", nulls_equal=True).is_empty():
            return self
        others = self.tries.join(certain, on=FRONT, how="anti").join(certain, on=KEY, how="anti", nulls_equal=True)
        made = pl.concat([others, certain]).sort(*FRONT, "started", *KEY)
        places = {*certain.select(FRONT).iter_rows(), *certain.select(KEY).iter_rows()}
        doubtful = tuple(one for one in self.doubtful if places.isdisjoint((*one.fronts, *one.backs)))
        return self._replace(tries=made, doubtful=doubtful, clients=self.clients | {*certain["connection"]})
