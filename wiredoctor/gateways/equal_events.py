"""Pair the streams that a gateway passed on by their events, whatever the gateway changed of the requests.

A gateway that is a program often sends requests of its own: with its own User-Agent field and credentials, another path and other
members in the body, perhaps from another of its addresses, and after the head of its response. The first events of an answer hold
its id or its first words, and no other answer has the same.
"""

from __future__ import annotations

import polars as pl

from wiredoctor.gateways.exchange_columns import host_code
from wiredoctor.gateways.known import FRONT, KEY, SLACK, TRIES, Gateways
from wiredoctor.tables import of_connections
from wiredoctor.world.attempts import host_of

c = pl.col

_NO_CALLS = ("GET", "HEAD")
"""The methods of requests that are no calls, as OPEN_STREAMS in world/connection_close.py."""

MAX_ALIKE = 64
"""The maximum number of streams with the same first events that are compared."""


def has_events() -> pl.Expr:
    """Return whether an exchange is a call answered in events that may also be known on the other side of a gateway."""
    return ((c("response_first_hash") != 0) & ~c("request_method").is_in(_NO_CALLS)).fill_null(value=False)


def with_equal_events(known: Gateways, asked: pl.LazyFrame, connections: pl.LazyFrame) -> Gateways:
    """Return `known` with the pairs of exchanges that equal events prove. `asked`: rows of tables.EXCHANGES with a request."""
    sure = known.tries.filter("certain")
    pairs = _pairs(asked, connections).join(sure, on=FRONT, how="anti").join(sure, on=KEY, how="anti")
    if pairs.is_empty():
        return known
    fronts = {one: {*behind} for one, behind in known.fronts.items()}
    for server, behind in pairs.select("server_front", "server").iter_rows():
        fronts.setdefault(server, set()).add(behind)
    certain = pairs.select(*TRIES)
    return known.with_tries(certain)._replace(
        fronts={server: tuple(sorted(fronts[server])) for server in sorted(fronts)},
        behind=known.behind | {*certain["connection"]},
    )


def _pairs(asked: pl.LazyFrame, connections: pl.LazyFrame) -> pl.DataFrame:
    """Return rows of TRIES, with the endpoints: `server_front`, and `server` behind it.

    The request of a gateway begins while its client's is open, and its events arrive first. If it comes from another address than
    that of the gateway's endpoint, no third answer may have the same events, and they must have the format of an API that answers
    calls: a feed sends the same events to everyone, but its answers have no end.
    """
    rows = asked.filter(has_events()).select(
        *KEY, "request_start", c("response_first_event_time").alias("event"), c("response_first_hash").alias("hash"),
        pl.max_horizontal("response_last_body_time", "response_first_event_time").alias("until"),
        (c("response_api_format") | c("response_end_mark")).alias("is_answer"),
    )  # fmt: skip
    rows = rows.collect(engine="streaming").filter(pl.len().over("hash").is_between(2, MAX_ALIKE))
    places = of_connections(connections, rows).select(
        *("connection", "server", host_code(host_of("server")).alias("host"), host_code(c("client_host")).alias("client"))
    )
    rows = rows.join(places.collect(engine="streaming"), on="connection")
    rows = rows.with_columns((pl.len().over("hash") == 2).alias("alone")).filter(c("server").n_unique().over("hash") > 1)
    both = rows.join(rows, on="hash", suffix="_front").filter(c("server") != c("server_front"), c("client") != c("client_front"))
    nested = c("request_start").is_between(c("request_start_front") - SLACK, c("until_front"))
    nested &= c("event") <= c("event_front") + SLACK
    apart = c("is_answer") & c("alone")
    proved = c("client") == c("host_front")
    both = both.filter(nested & (proved | apart)).with_columns(proved.alias("proved"))
    # if the times allow both directions, only the addresses show which one is the gateway's
    ends = ["connection", "exchange", "connection_front", "exchange_front"]
    reverse = both.select(
        c("proved").alias("proved_reverse"), *(c(a).alias(b) for a, b in zip(ends, ends[2:] + ends[:2], strict=True))
    )
    both = both.join(reverse, on=ends, how="left")
    both = both.filter(c("proved_reverse").is_null() | (c("proved") & ~c("proved_reverse")))
    # of several gateways in a row, the last one sent the request
    last = both.filter(c("request_start_front") == c("request_start_front").max().over(KEY))
    only = (pl.len().over(KEY) == 1) & (pl.len().over("connection_front", "exchange_front") == 1)
    return last.filter(only).select(
        c("connection_front").alias(FRONT[0]), c("exchange_front").alias(FRONT[1]), *KEY,
        pl.lit(value=True).alias("certain"), c("request_start").alias("started"), "server_front", "server",
    )  # fmt: skip
