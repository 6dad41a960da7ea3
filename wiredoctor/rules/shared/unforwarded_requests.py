"""Find out why a gateway sent a request to no server."""

from __future__ import annotations

import polars as pl

from wiredoctor.findings import Threshold
from wiredoctor.gateways.context import route
from wiredoctor.gateways.known import KEY, SERVER_ERROR, UNAVAILABLE
from wiredoctor.gateways.loose_attempts import asked_others
from wiredoctor.rules.shared import rate_limits
from wiredoctor.tables import of_connections, of_exchanges
from wiredoctor.world.attempts import host_of

c = pl.col

MEMORY = Threshold(
    "10 s", "the maximum time for which a gateway may skip a server that did not answer; the longest measured time was 1.4 s"
)
SERVES = Threshold("10 %", "the minimum share of similar requests that a gateway answers itself if it is a server, too")
OWN_ANSWERS = Threshold(
    "3 responses", "the minimum number of such responses; fewer may be forwarded requests whose pair was not found"
)
NO_NEIGHBOR = Threshold(
    "3060 ms", "the time after which Linux gives up requesting a neighbor's address (ARP), without having sent a SYN"
)
LEFT_LATE = Threshold(
    "1 ms",
    "the maximum time after a gateway's close within which it sends the request that it had begun to forward; threads of one "
    "program differ by less",
)
NEAR = Threshold("2 %", "the tolerance within which a wait matches a timeout of whole seconds; timers are late by less")

_AT = ["at_connection", "at_exchange"]

UNFORWARDED, RATE_LIMIT = "not-passed-on", "rate-limit"
"""The kinds of `gateway-error` for a gateway that sent the request to no server."""


def judge_unforwarded(
    found: pl.DataFrame, tries: pl.LazyFrame, closes: pl.LazyFrame, exchanges: pl.LazyFrame, connections: pl.LazyFrame
) -> pl.DataFrame:
    """Judge requests that a gateway sent to no server: set `own_share`, `interval` and kind rate-limit.

    Drop the 503s of a server that answers similar requests itself, as a peer with its own keys does.

    A gateway that creates a 503 has its own page, failed to reach a server before, or forwards that target, too (a cache).
    """
    # the gateway that made the response: the last one that the request passed through
    answering = pl.coalesce(c("through").list.last(), c("front")).struct
    made = found.with_columns(answering.field(name).alias(f"at_{name}") for name in (*KEY, "server", "response_status"))
    unforwarded, place = c("kind") == UNFORWARDED, [c(f"at_{name}").alias(name) for name in (*KEY, "server")]
    alone = made.filter(unforwarded).select(place).unique()
    if alone.is_empty():
        return found
    tables = tries, closes, exchanges, connections
    own = _own_answers(alone, *tables)
    made = made.drop("own_share").join(own, left_on=_AT, right_on=KEY, how="left", maintain_order="left")
    of_server = (c("own") >= OWN_ANSWERS.value) & (c("own_share") >= SERVES.value) & c("forwards").is_null()
    failed = (c("lost_server").is_not_null() | c("no_neighbor") | c("hidden")).fill_null(value=False)
    refused = unforwarded & (c("at_response_status") == UNAVAILABLE) & ~failed
    is_own = refused & (c("software") == "") & of_server
    made = made.filter(~is_own.fill_null(value=False))
    limited = rate_limits.find_limits(made.filter(refused).select(*place, "forwards").unique(), *tables)
    made = made.drop("interval").join(limited, left_on=_AT, right_on=KEY, how="left", maintain_order="left")
    kind = pl.when(refused & c("interval").is_not_null()).then(pl.lit(RATE_LIMIT)).otherwise("kind").alias("kind")
    return made.with_columns(kind).select(found.columns)


def _own_answers(
    alone: pl.DataFrame, tries: pl.LazyFrame, closes: pl.LazyFrame, exchanges: pl.LazyFrame, connections: pl.LazyFrame
) -> pl.DataFrame:
    """Return how often gateways answered requests like these well, without a request to another server.

    `alone`: exchanges that a gateway did not forward: `connection`, `exchange`, `server`. Similar requests have the same `route`.
    Columns of the result: those of the key; `forwards`, true if the gateway forwarded a request with the same target, as a cache
    does; `own`, the number of these good responses; `own_share`, their percentage of all good responses to similar requests.
    """
    like = ["server", "route"]
    at = connections.filter(c("server").is_in(alone["server"].unique().implode())).select("connection", "server").collect()
    passed = tries.select(connection="front_connection", exchange="front_exchange", passed=pl.lit(value=True)).unique()
    known = of_connections(exchanges, at).select(*KEY, "response_status", "request_target", route().alias("route"))
    known = known.join(at.lazy(), on="connection").join(passed, on=KEY, how="left").collect(engine="streaming")
    forwarded = known.filter("passed").select("server", "request_target", forwards=pl.lit(value=True)).unique()
    known = known.join(forwarded, on=["server", "request_target"], how="left")
    good = known.filter(c("response_status") < SERVER_ERROR)
    mine = good.filter(c("passed").is_null() & c("forwards").is_null())
    waits = of_exchanges(closes, mine).join(at.lazy(), on="connection")
    other = asked_others(waits, tries, closes, connections).collect()
    mine = mine.join(other, on=KEY, how="anti").select(*KEY, own=pl.lit(value=True))
    share = (100 * c("own").is_not_null().mean()).round().cast(pl.Int64).alias("own_share")
    shares = good.join(mine, on=KEY, how="left").group_by(like).agg(share, c("own").count().cast(pl.Int64))
    asked = known.join(alone, on=KEY, how="semi").join(shares, on=like, how="left")
    return asked.select(*KEY, "forwards", "own", "own_share")


def with_late_requests(
    found: pl.DataFrame, closes: pl.LazyFrame, exchanges: pl.LazyFrame, connections: pl.LazyFrame
) -> pl.DataFrame:  # fmt: skip
    """Add to candidates of kind not-passed-on the request that the gateway sent nevertheless: `late_frame`, `late_time` (ns) and
    `late_server`.

    It has the same method and path, was not answered, and left after the client's request, at most LEFT_LATE after the gateway
    had closed.
    """
    lone = found.filter((c("kind") == UNFORWARDED) & c("exchange").is_not_null()).select(KEY)
    if lone.is_empty():
        return found
    asks = ("request_method", c("request_target").cast(pl.String).str.replace(r"^https?://[^/]+", "").alias("path"))
    failed = (
        of_exchanges(closes, lone)
        .filter(~c("has_response"))
        .select(*KEY, c("server_close_time").alias("until"), c("request_start").alias("since"))
        .join(of_exchanges(exchanges, lone).select(*KEY, *asks), on=KEY)
        .join(connections.select("connection", host_of("server").alias("host")), on="connection")
        .drop_nulls()
        .collect()
    )
    if failed.is_empty():
        return found
    sent = (
        exchanges.filter(c("has_request") & ~c("has_response"))
        .select("connection", *asks, c("request_frame").alias("late_frame"), c("request_start").alias("late_time"))
        .join(connections.select("connection", c("client_host").alias("host"), c("server").alias("late_server")), on="connection")
        .drop("connection")
        .join(failed.lazy(), on=["request_method", "path", "host"])
        .filter(c("late_time").is_between("since", c("until") + LEFT_LATE.value))
        .select(*KEY, "late_frame", "late_time", "late_server", (c("late_time") - c("until")).clip(0).alias("late_after"))
        .collect()
    )
    first = sent.sort("late_time").unique(KEY, keep="first")
    return found.drop(first.columns[2:]).join(first, on=KEY, how="left", maintain_order="left").select(found.columns)


def periods(wait: int, period: int) -> int:
    """Return how many periods (ns) fit into a wait (ns) if the wait is close to a whole number of periods; otherwise 0."""
    times = round(wait / period) if period else 0
    return times if abs(wait - times * period) * 100 <= times * period * NEAR.value else 0


def is_arp_timeout(wait: int) -> bool:
    """Return whether a gateway that waited so long (ns) probably got no answer to one to four rounds of ARP requests."""
    return 1 <= periods(wait, NO_NEIGHBOR.value) <= 4
