"""Compare the time that a gateway needs with the time for which it waits for the servers behind it."""

from __future__ import annotations

import polars as pl

from wiredoctor.tables import of_exchanges

c = pl.col


def waits_behind(exchanges: pl.LazyFrame, tries: pl.LazyFrame, connections: pl.DataFrame) -> pl.LazyFrame:
    """Return how long (ns) a gateway waited for a server behind it, for each exchange on these connections with a gateway."""
    mine = tries.join(connections.lazy(), left_on="front_connection", right_on="connection", how="semi")
    backs = mine.filter(c("exchange").is_not_null()).select("front_connection", "front_exchange", "connection", "exchange")
    backs = backs.collect(engine="streaming")
    waits = of_exchanges(exchanges, backs.select("connection", "exchange").unique()).select(
        "connection", "exchange", (c("response_start") - c("request_end")).alias("behind")
    )
    of_fronts = backs.lazy().join(waits, on=["connection", "exchange"]).group_by("front_connection", "front_exchange")
    return of_fronts.agg(c("behind").max()).rename({"front_connection": "connection", "front_exchange": "exchange"})


def waited_behind() -> pl.Expr:
    """Return whether a gateway waited for a server behind it for half of the time or longer.

    The column `behind` of `waits_behind` is needed.
    """
    return (2 * c("behind") >= c("response_start") - c("request_end")).fill_null(value=False)
