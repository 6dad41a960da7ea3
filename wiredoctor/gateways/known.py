"""What is known of gateways: the nouns of this package."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import polars as pl

TRIES = pl.Schema(
    {
        "front_connection": pl.Int64(),
        "front_exchange": pl.Int32(),
        "connection": pl.Int64(),
        "exchange": pl.Int32(),
        "certain": pl.Boolean(),
        "started": pl.Int64(),
    }
)
"""A try: the exchange at the front; the connection and the exchange at the back (none: an attempt, the connection carried no
request); whether no other pairing is possible; when it began (ns: the first byte of the request, or the first SYN)."""

Place = tuple[int, int]
"""An exchange: its connection, and its index there."""


class Doubt(NamedTuple):
    """Exchanges at the front and at the back of which nobody can say who is whose: every one of `backs` belongs to one of
    `fronts`."""

    fronts: tuple[Place, ...]
    backs: tuple[Place, ...]


@dataclass(frozen=True)
class Gateways:
    """What is known of gateways in a capture.

    tries: rows of TRIES, in order of front and start; no exchange or connection at the back is in two of them.
    fronts: server endpoint (address:port) that is a front -> the endpoints behind it, in order.
    clients: connections whose client is a gateway: those of tries, and those whose requests say so,
        in fields such as X-Forwarded-For.
    """

    tries: pl.DataFrame = field(default_factory=TRIES.to_frame)
    fronts: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    doubtful: tuple[Doubt, ...] = ()
    clients: frozenset[int] = frozenset()
