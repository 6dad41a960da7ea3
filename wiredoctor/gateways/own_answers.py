"""Find out which requests a gateway answers itself, as a server does, although it forwards others."""

from __future__ import annotations

import polars as pl

from wiredoctor.gateways.context import route
from wiredoctor.gateways.known import SERVER_ERROR
from wiredoctor.gateways.loose_attempts import asked_others
from wiredoctor.tables import of_connections, of_exchanges

c = pl.col

_KEY = ["connection", "exchange"]
_LIKE = ["server", "route"]


def own_answers(
    alone: pl.DataFrame, tries: pl.LazyFrame, closes: pl.LazyFrame, exchanges: pl.LazyFrame, connections: pl.LazyFrame
) -> pl.DataFrame:
    """Return how often gateways answered requests like these well, without a request to another server.

    `alone`: exchanges that a gateway did not forward: `connection`, `exchange`, `server`. Similar requests have the same `route`.
    Columns of the result: those of the key; `forwards`, true if the gateway forwarded a request with the same target, as a cache
    does; `own`, the number of these good responses; `own_share`, their percentage of all good responses to similar requests.
    """
    at = connections.filter(c("server").is_in(alone["server"].unique().implode())).select("connection", "server").collect()
    passed = tries.select(connection="front_connection", exchange="front_exchange", passed=pl.lit(value=True)).unique()
    known = of_connections(exchanges, at).select(*_KEY, "response_status", "request_target", route().alias("route"))
    known = known.join(at.lazy(), on="connection").join(passed, on=_KEY, how="left").collect(engine="streaming")
    forwarded = known.filter("passed").select("server", "request_target", forwards=pl.lit(value=True)).unique()
    known = known.join(forwarded, on=["server", "request_target"], how="left")
    good = known.filter(c("response_status") < SERVER_ERROR)
    mine = good.filter(c("passed").is_null() & c("forwards").is_null())
    waits = of_exchanges(closes, mine).join(at.lazy(), on="connection")
    other = asked_others(waits, tries, closes, connections).collect()
    mine = mine.join(other, on=_KEY, how="anti").select(*_KEY, own=pl.lit(value=True))
    share = (100 * c("own").is_not_null().mean()).round().cast(pl.Int64).alias("own_share")
    shares = good.join(mine, on=_KEY, how="left").group_by(_LIKE).agg(share, c("own").count().cast(pl.Int64))
    asked = known.join(alone, on=_KEY, how="semi").join(shares, on=_LIKE, how="left")
    return asked.select(*_KEY, "forwards", "own", "own_share")
