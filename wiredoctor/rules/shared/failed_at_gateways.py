"""Find the exchanges that failed at a gateway, and read what the gateway tried for each of them."""

from __future__ import annotations

from typing import NamedTuple

import polars as pl

from wiredoctor import limits
from wiredoctor.gateways.calls import NO_CALLS, failed_calls
from wiredoctor.gateways.context import known_routes, repeated, route, status_passed_on, with_recent_refusals
from wiredoctor.gateways.known import FRONT, GATEWAY_ERRORS, KEY
from wiredoctor.gateways.loose_attempts import asked_others, failed_connections, likely_fronts, unassigned_attempts
from wiredoctor.rules.shared.unforwarded_requests import MEMORY
from wiredoctor.rules.shared.unseen_gateways import unseen_gateways
from wiredoctor.tables import PLAN_OF_FEW, REPEATED_EVENT, SMALL, of_connections, of_exchanges
from wiredoctor.world.connection_close import answer_due, streams
from wiredoctor.world.exchange import REQUEST_TIMEOUT, Connection, ExchangeRow

c = pl.col

_OF = ["of", "of_exchange"]


def is_error() -> pl.Expr:
    """Return whether the response is an error that a gateway may have made."""
    return (c("response_status") >= 500) | (c("response_status") == REQUEST_TIMEOUT)


def is_closed() -> pl.Expr:
    """Return whether one of the sides closed."""
    return c("server_close_frame").is_not_null() | c("client_close_frame").is_not_null()


def _may_have_failed() -> pl.Expr:
    answered = c("has_response") & (c("response_end_reason") == "complete") & (c("response_status") >= 200)
    # if only the client's packets were captured, the gateway may have answered
    seen = c("has_response") | c("both_directions")
    closed = seen & is_closed()
    # foreign-reset reports a device between the client and the gateway
    closed &= (c("server_close_origin") != "between") & (c("client_close_origin") != "between")
    # a gateway that gave up may end the body of its answer nevertheless
    ended = streams() & answer_due() & (c("response_last_event") == REPEATED_EVENT) & (c("response_status") < 300)
    failed = is_error().fill_null(value=False) | (~answered.fill_null(value=False) & closed) | ended.fill_null(value=False)
    return c("has_request") & failed


class Failed(NamedTuple):
    """What is read of the exchanges that failed at gateways.

    `rows`: a row for each try of an exchange, in columns with the prefix `try_`, or one row if there was no try. `loose`:
    attempts that may have been made for one of these requests (`loose_of`: the gateway). `leads`: the servers to which gateways
    forwarded other requests (`leads_to`). `unseen`: a row for each server and error status that suggests a gateway; None if the
    capture contains a connection of a gateway to a server.
    """

    rows: pl.DataFrame
    loose: pl.DataFrame
    leads: pl.DataFrame
    unseen: pl.DataFrame | None = None


def failed_exchanges(
    closes: pl.LazyFrame, exchanges: pl.LazyFrame, connections: pl.LazyFrame, tries: pl.LazyFrame, fronts: pl.LazyFrame
) -> Failed | None:
    """Return what is read of all exchanges that failed at gateways; None if nothing suggests that there are any."""
    # a filter, because a join would first create all columns of all exchanges
    places = pl.concat([tries.select("connection"), tries.select(connection="front_connection")]).unique().collect()
    are_known = places.height > 0 or bool(fronts.select(pl.len()).collect().item())
    errors, count = exchanges.select((c("response_status") >= 500).any(), pl.len()).collect().row(0)
    if not are_known and not errors:
        return None  # planning the queries below takes 20 ms
    vain = failed_connections(tries, connections).cache()
    # of all exchanges, only these and their tries are read whole; where no gateway is known, see likely_fronts
    at_fronts = connections.join(fronts.select("server").unique(), on="server", how="semi").select("connection")
    at_fronts = pl.concat([at_fronts, tries.select(connection="front_connection")]).unique().collect()
    suspect = c("response_status").is_in([*GATEWAY_ERRORS]) & (vain.head(1).collect().height > 0)
    if are_known:
        suspect |= c("connection").is_in(at_fronts["connection"].implode())
    calls = failed_calls(tries, closes, exchanges, connections, limits.GATEWAY_FAILURES.value) if errors else NO_CALLS
    of_calls = calls.select(connection="of", exchange="of_exchange")
    lost = _newest(closes.filter(_may_have_failed() & suspect.fill_null(value=False)))
    lost = pl.concat([lost.select(KEY), of_calls]).unique(maintain_order=True)
    ends, of_exchange = connections.select(Connection._fields), ("connection", *ExchangeRow._fields)
    said = of_exchanges(exchanges, lost).select(*KEY, "response_reason", "response_server", route().alias("route"))
    at_front = (  # cached, like other frames of this function: without the optimizer, each use would compute a frame again
        of_exchanges(closes, lost)
        .select(of_exchange)
        .join(of_connections(ends, lost), on="connection")
        .join(said, on=KEY, how="left")
        .join(fronts.select("server", known=pl.lit(value=True)).unique(), on="server", how="left")
        .cache()
    )
    of_gateways = of_connections(closes, places)
    mine = tries.join(lost.lazy(), left_on=FRONT, right_on=KEY, how="semi").collect()
    made = mine.lazy().join(status_passed_on(tries, of_gateways), on=KEY, how="left")
    behind, called = (
        rows.join(of_connections(ends, frame), on="connection", how="left")
        .join(of_exchanges(closes, frame).select(of_exchange), on=KEY, how="left")
        .rename({name: f"try_{name}" for name in (*of_exchange, *Connection._fields)})
        for rows, frame in (
            (made.rename({"front_connection": "of", "front_exchange": "of_exchange"}), mine),
            (calls.lazy(), calls),
        )
    )
    told = at_front.join(behind, left_on=KEY, right_on=_OF, how="left").cache()
    likely = likely_fronts(told, vain, repeated(tries, of_gateways)).cache()
    seen = told.filter(pl.col("known") | pl.col("try_connection").is_not_null())
    seen = with_recent_refusals(seen, tries, of_gateways, connections, MEMORY.value)
    lone = told.filter(c("known") & c("try_connection").is_null())
    seen = seen.join(asked_others(lone, tries, closes, connections), on=KEY, how="left")
    known = known_routes(tries, of_connections(exchanges, places), connections)
    left = closes.filter(c("client_close_time") < c("response_start")).select(KEY)
    queries = [
        pl.concat([seen, likely.drop("client_host"), at_front.join(called, left_on=KEY, right_on=_OF)], how="diagonal"),
        unassigned_attempts(tries, connections, vain, likely),
        known.join(at_front.select("server", "route"), on=["server", "route"], how="semi"),
        *([] if are_known else [unseen_gateways(exchanges, left, connections)]),
    ]
    few = count + connections.select(pl.len()).collect().item() <= SMALL
    rows, *others = pl.collect_all(queries, optimizations=PLAN_OF_FEW if few else pl.QueryOptFlags())
    first = pl.coalesce("response_frame", "server_close_frame", "request_frame")
    return Failed(rows.sort(first, maintain_order=True), *others)


def _newest(failed: pl.LazyFrame) -> pl.DataFrame:
    """Return the connection and exchange of the newest failed exchanges, at most limits.GATEWAY_FAILURES."""
    most = limits.GATEWAY_FAILURES.value
    rows = failed.select("connection", "exchange", pl.coalesce("request_frame", "response_frame").alias("frame")).collect()
    limits.leave_out(limits.GATEWAY_FAILURES, rows.height - most)
    return rows.sort("frame").tail(most)
