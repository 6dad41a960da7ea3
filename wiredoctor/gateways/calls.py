"""Find the requests that a server sent for a request of its client, and that failed before the server answered 500 or above.

Such a call is no try: it may have another path, its response is not forwarded, and a server may make several calls at once. For
which request it was made is decided by the server's host, the last path segment or the request ID, and the times.
"""

from __future__ import annotations

import polars as pl

from wiredoctor.gateways.known import FRONT, KEY, SERVER_ERROR, SLACK
from wiredoctor.gateways.loose_attempts import hosts_of_gateways
from wiredoctor.tables import of_connections, of_exchanges
from wiredoctor.world.attempts import host_of

c = pl.col

UNFORWARDED, SHARE = 2, 10
"""A gateway only calls an endpoint if it got UNFORWARDED or more good responses from it, and forwarded less than 1/SHARE of them.

One of many may have the length of the response that the gateway sent, by chance.
"""

_OF, _OF_TIE = ["of", "of_exchange"], ["of", "of_exchange", "tie"]
_PLACE = ["host", "tie"]
"""The columns that a call and the client's request share: the server's host, and what ties the two together."""
_CALL = {"connection": pl.Int64(), "exchange": pl.Int32(), "called": pl.Boolean()}
NO_CALLS = pl.DataFrame(schema={"of": pl.Int64(), "of_exchange": pl.Int32(), **_CALL})
"""An empty result of `failed_calls`."""


def failed_calls(
    tries: pl.LazyFrame, closes: pl.LazyFrame, exchanges: pl.LazyFrame, connections: pl.LazyFrame, most: int
) -> pl.DataFrame:
    """Return the last failed call of a server before each of its responses with a status of 500 or above.

    Columns: the client's exchange (`of`, `of_exchange`), the call (`connection`, `exchange`), and `called`: whether a gateway
    forwards no response of the called endpoint, as nginx with auth_request. `most`: the maximum number of failed exchanges that
    are examined, the newest first.
    """
    errors = _newest(exchanges.filter(c("response_status") >= SERVER_ERROR), most)
    hosts = _hosts(of_connections(connections, errors), tries, connections).collect()
    backs = connections.filter(c("client_host").is_in(hosts["host"].unique().implode()))
    backs = backs.select("connection", c("client_host").alias("host"), c("server").alias("behind")).collect()
    if backs.is_empty():
        return NO_CALLS
    failed = _newest(of_connections(closes, backs).filter(_failed_at().is_not_null()), most)
    over = of_exchanges(closes, failed).select(*KEY, _failed_at().alias("over"))
    calls = _with_ties(of_exchanges(exchanges, failed)).join(over, on=KEY).join(backs.lazy(), on="connection")
    fronts = _with_ties(of_exchanges(exchanges, errors), "response_start").join(hosts.lazy(), on="connection")
    found = _last_before(fronts, calls).collect()
    if found.is_empty():
        return NO_CALLS
    good = of_connections(exchanges, backs).filter(c("response_status") < SERVER_ERROR)
    answered = tries.join(exchanges.filter(c("has_response")).select(KEY), left_on=FRONT, right_on=KEY, how="semi")
    # of several tries, a gateway forwards the response to the last one
    answered = answered.filter(c("started") == c("started").max().over(FRONT))
    known = _called(found.select("server", "behind").unique().lazy(), answered, good, backs.lazy(), connections)
    repeated = _repeated(found.lazy(), _with_ties(good).join(backs.lazy(), on="connection"))
    open_ = _open_then(found, exchanges, connections)
    made = found.lazy().join(repeated, on=_OF_TIE, how="anti").join(open_, on=_OF_TIE, how="left")
    made = made.join(known, on=["server", "behind"], how="left").filter((c("open") <= 1) | c("named"))
    # with the same target and status, and no known gateway, the server probably forwarded request and response
    passed_on = (c("request_target") == c("request_target_right")) & (c("response_status") == c("response_status_right"))
    made = made.filter(~passed_on.fill_null(value=False) | c("called"))
    made = made.sort("over", "named", *KEY).unique(_OF, keep="last", maintain_order=True)
    return made.select(*_OF, *KEY, c("called").fill_null(value=False)).collect()


def _newest(rows: pl.LazyFrame, most: int) -> pl.DataFrame:
    """Return the connection and exchange of the newest rows with a request, at most `most`."""
    asked = rows.filter(c("has_request"), c("request_start").is_not_null()).select(*KEY, "request_start")
    return asked.top_k(most, by="request_start").collect()


def _failed_at() -> pl.Expr:
    """Return the time (ns) of a response with a status of 500 or above, or of the first close without a response."""
    closed = pl.min_horizontal("client_close_time", "server_close_time")
    return pl.when(c("response_status") >= SERVER_ERROR).then("response_start").when(~c("has_response")).then(closed)


def _hosts(asked: pl.LazyFrame, tries: pl.LazyFrame, connections: pl.LazyFrame) -> pl.LazyFrame:
    """Return the host from which the server of each connection calls others; a client on that host may call them itself."""
    asked = asked.select("connection", "client_host", "server")
    known = hosts_of_gateways(tries, connections).select(c("loose_of").alias("server"), c("client_host").alias("host")).unique()
    both = pl.concat([asked.with_columns(host_of("server").alias("host")), asked.join(known, on="server")])
    return both.filter(c("host") != c("client_host")).select("connection", "server", "host").unique()


def _with_ties(rows: pl.LazyFrame, *more: str) -> pl.LazyFrame:
    """Return a row for each exchange and each text that ties it to others: last path segment, and request ID (`named`)."""
    segment = c("request_target").str.extract(r"([^/?#]+)/?(?:[?#].*)?$")
    names = (*KEY, "request_start", "request_target", "response_status", *more)
    ties = [rows.select(*names, tie=c("request_id"), named=pl.lit(value=True))]
    ties.append(rows.select(*names, tie=segment, named=pl.lit(value=False)))
    return pl.concat(ties).filter(c("tie") != "").with_columns(pl.struct("tie", "named").hash().alias("tie"))


def _last_before(fronts: pl.LazyFrame, calls: pl.LazyFrame) -> pl.LazyFrame:
    """Return for each exchange and tie the last call of the server's host that failed before the response, if it began within."""
    fronts = fronts.rename({"connection": "of", "exchange": "of_exchange", "request_start": "asked"})
    fronts = fronts.with_columns((c("response_start") + SLACK).alias("answered")).sort("answered")
    calls = calls.drop("named").sort("over", *KEY)
    near = fronts.join_asof(calls, left_on="answered", right_on="over", by=_PLACE, check_sortedness=False, coalesce=False)
    return near.filter(c("request_start") >= c("asked") - SLACK, c("behind") != c("server"))


def _repeated(found: pl.LazyFrame, good: pl.LazyFrame) -> pl.LazyFrame:
    """Return the calls that the server repeated with success before it answered. `good`: calls with a status below 500."""
    again = good.select(*_PLACE, "behind", c("request_start").alias("again")).sort("again")
    near = found.sort("answered").join_asof(
        again, left_on="answered", right_on="again", by=[*_PLACE, "behind"], check_sortedness=False, coalesce=False
    )
    return near.filter(c("again") > c("request_start")).select(_OF_TIE)


def _open_then(found: pl.DataFrame, exchanges: pl.LazyFrame, connections: pl.LazyFrame) -> pl.LazyFrame:
    """Return how many exchanges with the same server and tie were open when each call began: `open`."""
    place = ["server", "tie"]
    at = (
        connections.join(found.lazy().select("server").unique(), on="server", how="semi").select("connection", "server").collect()
    )
    same = _with_ties(of_connections(exchanges, at), "response_start").join(at.lazy(), on="connection")
    same = same.join(found.lazy().select(place).unique(), on=place, how="semi")
    near = found.lazy().select(*_OF_TIE, "server", c("request_start").alias("time")).sort("time")
    for name, time in (("began", c("request_start") - SLACK), ("over", c("response_start"))):
        counts = same.select(*place, time.alias(name)).drop_nulls().sort(name)
        counts = counts.with_columns(pl.int_range(1, pl.len() + 1).over(place).alias(f"{name}_count"))
        near = near.join_asof(counts, left_on="time", right_on=name, by=place, check_sortedness=False)
    number = c("began_count").fill_null(0) - c("over_count").fill_null(0)
    return near.select(*_OF_TIE, number.alias("open"))


def _called(
    places: pl.LazyFrame, tries: pl.LazyFrame, good: pl.LazyFrame, backs: pl.LazyFrame, connections: pl.LazyFrame
) -> pl.LazyFrame:  # fmt: skip
    """Return the servers and called endpoints (`behind`) of which a gateway forwards no response.

    `tries`: the last one for each exchange with a response. `good`: responses with a status below 500.
    """
    fronts = connections.select(c("connection").alias("front_connection"), "server")
    gateways = tries.select("front_connection").unique().join(fronts, on="front_connection").select("server").unique()
    answered = good.select(KEY).join(backs, on="connection").cache()
    forwarded = answered.join(tries, on=KEY).join(fronts, on="front_connection")
    counts = (
        places.join(gateways, on="server", how="semi")
        .join(answered.group_by("behind").agg(pl.len().alias("good")), on="behind")
        .join(forwarded.group_by("server", "behind").agg(pl.len().alias("forwarded")), on=["server", "behind"], how="left")
    )
    never = (c("good") >= UNFORWARDED) & (c("forwarded").fill_null(0) * SHARE < c("good"))
    return counts.filter(never).select("server", "behind", called=pl.lit(value=True))
