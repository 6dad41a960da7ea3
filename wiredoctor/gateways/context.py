"""Find out how a gateway handled other requests, which helps to explain why a request failed."""

from __future__ import annotations

import polars as pl

from wiredoctor.gateways.known import SERVER_ERROR
from wiredoctor.tables import MESSAGE_BITS
from wiredoctor.world.exchange import REQUEST_TIMEOUT

c = pl.col

_AUTHORITY = r"^[A-Za-z][A-Za-z0-9+.-]*://([^/?#]*)"


def route() -> pl.Expr:
    """Return the part of a request by which gateways usually choose a server.

    For an absolute target, which is sent to a proxy, this part is the host in the target. Otherwise, it is the Host field and the
    first segment of the path.
    """
    target = pl.col("request_target").fill_null("")
    first = target.str.extract(r"^([^?]?[^/?]*)").fill_null("")
    return pl.coalesce(target.str.extract(_AUTHORITY), pl.concat_str(pl.col("request_host").fill_null(""), first))


def known_routes(tries: pl.LazyFrame, exchanges: pl.LazyFrame, connections: pl.LazyFrame) -> pl.LazyFrame:
    """Return a row for each server (`leads_to`) to which a gateway (`server`) forwarded requests with a `route`."""
    asked = exchanges.select("connection", "exchange", "request_target", "request_host")
    at = connections.select("connection", "server")
    return (
        tries.filter("certain")
        .select("connection", "front_connection", "front_exchange")
        .join(asked, left_on=["front_connection", "front_exchange"], right_on=["connection", "exchange"])
        .join(at.rename({"server": "leads_to"}), on="connection")
        .join(at, left_on="front_connection", right_on="connection")
        .select("server", route().alias("route"), "leads_to")
        .unique()
    )


def repeated(tries: pl.LazyFrame, closes: pl.LazyFrame) -> pl.LazyFrame:
    """Return the gateways' own exchanges for requests that the gateways finally answered with a status below 500, but not 408."""
    answered = (c("response_status") < SERVER_ERROR) & (c("response_status") != REQUEST_TIMEOUT)
    good = closes.filter(answered).select(front_connection="connection", front_exchange="exchange")
    return tries.filter("certain").join(good, on=["front_connection", "front_exchange"]).select("connection", "exchange")


def with_recent_refusals(
    told: pl.LazyFrame, tries: pl.LazyFrame, closes: pl.LazyFrame, connections: pl.LazyFrame, within: int
) -> pl.LazyFrame:
    """Add the last server that the gateway failed to reach `within` this time (ns) before the request, if none answered since.

    Columns: `lost_server`, `lost_frame` and `lost_time` (ns) of the SYN, which was refused or never answered. Responses with a
    status of 500 or above do not count.
    """
    at = connections.select(c("connection").alias("front_connection"), c("server").alias("server"))
    place = connections.select("connection", "client_host", c("server").alias("lost_server"))
    gateways = tries.filter("certain").join(place, on="connection").join(at, on="front_connection")
    vain = c("syn_time").is_not_null() & (c("first_answer_time").is_null() | c("refused_frame").is_not_null())
    failed = connections.filter(vain).select(
        *("client_host", c("server").alias("lost_server"), c("syn_frame").alias("lost_frame"), c("syn_time").alias("lost_time"))
    )
    # which request led to an attempt need not be known
    attempts = failed.join(gateways.select("server", "client_host", "lost_server").unique(), on=["client_host", "lost_server"])
    good = closes.filter(c("response_status") < SERVER_ERROR).select(
        "connection", "exchange", c("response_start").alias("good_time")
    )
    answers = tries.join(good, on=["connection", "exchange"]).join(at, on="front_connection")
    lost = attempts.select("server", "lost_server", "lost_frame", "lost_time").sort("lost_time")
    answered = answers.select("server", "good_time").drop_nulls().sort("good_time")
    told = told.sort("request_start")
    for one, time in ((lost, "lost_time"), (answered, "good_time")):
        told = told.join_asof(one, left_on="request_start", right_on=time, by="server", check_sortedness=False, coalesce=False)
    answered_since = (c("good_time") > c("lost_time")).fill_null(value=False)
    recent = (c("request_start") - c("lost_time") <= within) & ~answered_since
    names = ("lost_server", "lost_frame", "lost_time")
    return told.with_columns(pl.when(recent).then(name).alias(name) for name in names).drop("good_time")


def status_passed_on(tries: pl.LazyFrame, closes: pl.LazyFrame) -> pl.LazyFrame:
    """Return the gateways' own exchanges whose pairing with client requests is uncertain.

    `given`: true if clients received the status of this exchange at least as often as servers sent it. Then the gateway forwarded
    all responses with this status.
    """
    whole = c("response_end_reason") == "complete"
    status = closes.filter("has_response").select("connection", "exchange", "response_status", "response_end_reason")
    of_front = status.drop("response_end_reason").rename(
        {"connection": "front_connection", "exchange": "front_exchange", "response_status": "front_status"}
    )
    front = c("front_connection") * (1 << MESSAGE_BITS) + c("front_exchange")
    back = c("connection") * (1 << MESSAGE_BITS) + c("exchange")
    some = (
        tries.filter(~c("certain"))
        .join(status.filter(whole), on=["connection", "exchange"])
        .join(of_front, on=["front_connection", "front_exchange"])
        .with_columns(front.min().over("connection", "exchange").alias("group"))
    )
    fronts = some.group_by("group", c("front_status").alias("response_status")).agg(front.n_unique().alias("fronts"))
    backs = some.group_by("group", "response_status").agg(back.n_unique().alias("backs"))
    return (
        some.select("connection", "exchange", "group", "response_status")
        .unique()
        .join(fronts.join(backs, on=["group", "response_status"]), on=["group", "response_status"])
        .select("connection", "exchange", (c("backs") <= c("fronts")).alias("given"))
    )
