"""A gateway let a request run on to its end although its own client had left.

What it means
    A client called a gateway, and closed the connection before the answer was complete. For this call, the gateway had sent a
    request to a server, and that server streamed its whole answer to the gateway, which could not pass it on.

Why it hurts
    The server works although nobody gets the answer. A language model goes on generating tokens, which cost money, and other
    calls wait for its slot.
    If clients give up because the server is overloaded, and try again, each try adds to the load.

How it is proved
    The capture has both sides of the gateway. Its request to the server is certainly the one for the client's. Or the gateway's
    host sent it while the client's was open, and both have the same last path segment and the same size of the body, but no other
    pair of requests has. The client's request was complete, and the client closed first, before the response to it was complete.
    The gateway closed that connection, too, before the server's answer ended. That answer is an event stream (text/event-stream,
    application/x-ndjson) to a POST or another method than GET, and it ended with its framing 1 s or more after the client's
    close.

What it is not
    A gateway may finish a request on purpose: to store its result, or because the work must not stop halfway. So this is a note,
    and only about streams. If the gateway closes the connection to the server soon after its client, nothing is reported.

What to do
    Have the gateway notice that its client has left, and close the connection to the server. Starlette and FastAPI: await
    request.is_disconnected() in the handler, or stream the answer on instead of collecting it, so that the task is canceled.
    Node: listen for close of the response, and abort the fetch. nginx: proxy_ignore_client_abort off, which is the default.

References
    nginx, proxy_ignore_client_abort.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import polars as pl

from wiredoctor.findings import Reference, Rule, Threshold
from wiredoctor.rules.shared.evidence import candidate, confidence
from wiredoctor.rules.shared.words import Nanoseconds, packets
from wiredoctor.tables import NEVER, TRIES, of_connections
from wiredoctor.text.durations import duration_text
from wiredoctor.world.attempts import host_of
from wiredoctor.world.connection_close import OPEN_STREAMS, is_complete, streams

c = pl.col

RULE = Rule(
    symptom="a model that goes on generating after its user left",
    severity="note",
    title="The gateway let a request run for {ran_on} after its client had left: {request}",
    message="The client of {request} closed the connection before it had the answer. The gateway closed it, too, but its own "
    "request for this call went on: the server behind it streamed its answer to the end, {ran_on} after the client's close.",
    remedy="Have the gateway close the connection to the server when its client has left, unless it stores the answer. Starlette "
    "and FastAPI: await request.is_disconnected(), and cancel the call. Node: listen for close of the response, and abort the "
    "fetch. nginx: proxy_ignore_client_abort off.",
    references=(
        Reference(
            "nginx, proxy_ignore_client_abort",
            "https://nginx.org/en/docs/http/ngx_http_proxy_module.html#proxy_ignore_client_abort",
        ),
    ),
    summary=True,
)

RAN_ON = Threshold(
    "1 s", "the minimum time from the client's close to the end of the answer; a gateway needs less to stop its own request"
)


class Facts(NamedTuple):
    """What is known of a gateway's request that went on after its client had left. Times are in ns.

    `end`, `response_last_frame`: the end of the server's answer to the gateway. `_behind`: of the gateway's request.
    """

    frame: int
    start: int
    end: int
    client_close_frame: int
    client_close_time: int
    request_frame_behind: int
    request_start_behind: int
    response_last_frame: int


def may_match() -> pl.Expr:
    """Return a cheap condition on all rows together: if it is false, there are no candidate findings."""
    return _left().any()


def _left() -> pl.Expr:
    """Return, for rows of `closes`, whether the client closed first, before it had the complete answer to its call."""
    is_call = (c("request_end_reason") == "complete") & ~c("request_method").is_in(OPEN_STREAMS)
    closed = (c("closed_first") == "client") & c("server_close_time").is_not_null()
    return (is_call & closed).fill_null(value=False) & ~is_complete().fill_null(value=False)


def find(
    closes: pl.LazyFrame, exchanges: pl.LazyFrame, connections: pl.LazyFrame, tries: pl.LazyFrame
) -> pl.LazyFrame:  # fmt: skip
    """Return a row for each exchange whose client left while the gateway's request for it ran on to its end."""
    names = ("endpoint", "request_frame", "request_start", "client_close_frame", "client_close_time", "server_close_time")
    left = closes.filter(_left()).select(*_KEY, *names, confidence().alias("sure")).collect(engine="streaming")
    servers = of_connections(connections.select("connection", "client_host", host_of("server").alias("host")), left)
    left = left.join(servers.filter(c("client_host") != c("host")).collect(), on="connection", how="left")
    sure = tries.filter("certain").drop_nulls("exchange").select(*_FRONT, *_KEY)
    tried = sure.join(left.lazy().select(_KEY), left_on=_FRONT, right_on=_KEY, how="semi").collect(engine="streaming")
    hosts = connections.filter(c("client_host").is_in(left["host"].drop_nulls().implode())).select("connection", "client_host")
    hosts = hosts.collect(engine="streaming")
    answered = exchanges.filter(streams() & is_complete() & ~c("request_method").is_in(OPEN_STREAMS))
    behind = of_connections(answered, pl.concat([hosts.select("connection"), tried.select("connection")]))
    backs = behind.select(*_KEY, *_BEHIND, *_request_key()).collect(engine="streaming")
    alike = _alike(exchanges, left, backs.join(hosts, on="connection"))
    pairs = pl.concat([tried, alike.join(tried, on=_KEY, how="anti")])
    ran_on = c("response_end") - c("client_close_time") >= RAN_ON.value
    found = (
        left.rename(dict(zip(_KEY, _FRONT, strict=True)))
        .join(pairs, on=_FRONT)
        .join(backs, on=_KEY, suffix="_behind")
        .filter(ran_on & (c("server_close_time") < c("response_end")))
        .with_columns(c(front).alias(name) for front, name in zip(_FRONT, _KEY, strict=True))
    )
    return found.lazy().select(
        *candidate("server", c("sure"), "request_frame", "request_start", "response_end"),
        *("client_close_frame", "client_close_time", "request_frame_behind", "request_start_behind", "response_last_frame"),
    )


_KEY, _FRONT = ["connection", "exchange"], ["front_connection", "front_exchange"]
_BEHIND = ("request_frame", "request_start", "response_last_frame", "response_end")


def _request_key() -> list[pl.Expr]:
    """Return what a gateway does not change of a request that it forwards: the last segment of its path, and its size."""
    path = c("request_target").cast(pl.String).str.split("?").list.first()
    return [path.str.split("/").list.last().alias("segment"), c("request_body_bytes").alias("size")]


def _alike(exchanges: pl.LazyFrame, left: pl.DataFrame, backs: pl.DataFrame) -> pl.DataFrame:
    """Return the exchanges of clients that alone may have caused a request from the host of their server.

    A gateway that is a program sends a User-Agent field of its own, so its requests are not paired otherwise. `left`: the
    exchanges whose clients left. `backs`: the requests, with `client_host`.
    """
    hosts = left.select("endpoint", "host").drop_nulls().unique()
    if backs.is_empty() or hosts.is_empty():
        return TRIES.empty().select(*_FRONT, *_KEY)
    fronts = exchanges.filter(c("endpoint").is_in(hosts["endpoint"].implode()) & c("has_request"))
    fronts = fronts.select(*_KEY, "endpoint", "request_start", "response_end", *_request_key()).collect(engine="streaming")
    fronts = fronts.join(hosts, on="endpoint").join(left.select(*_KEY, "client_close_time"), on=_KEY, how="left")
    over = pl.coalesce("client_close_time", "response_end", pl.lit(NEVER))
    fronts = fronts.with_columns(over.alias("over")).rename(dict(zip(_KEY, _FRONT, strict=True)))
    pairs = backs.join(fronts, left_on=["client_host", "segment", "size"], right_on=["host", "segment", "size"], suffix="_front")
    open_then = c("request_start").is_between(c("request_start_front"), c("over"))
    alone = (pl.len().over(_KEY) == 1) & (pl.len().over(_FRONT) == 1)
    return pairs.filter(open_then).filter(alone).select(*_FRONT, *_KEY)


def words(x: Facts) -> dict[str, Any]:
    """Return the words about the time after the client's close."""
    ran_on = x.end - x.client_close_time
    return {
        "ran_on": Nanoseconds(ran_on),
        "evidence": packets(
            (x.frame, x.start, "the request"),
            (x.request_frame_behind, x.request_start_behind, "the gateway's own request for it"),
            (x.client_close_frame, x.client_close_time, "the client closes"),
            (x.response_last_frame, x.end, f"the server's answer to the gateway ends, {duration_text(ran_on)} later"),
        ),
    }
