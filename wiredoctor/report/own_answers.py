"""Find the refusals that a gateway made itself: it sent no request to a server for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from wiredoctor.gateways.known import KEY, SLACK
from wiredoctor.report.by_status import engine_for

if TYPE_CHECKING:
    from wiredoctor.findings import Report
    from wiredoctor.gateways import Gateways

c = pl.col

_FRONT = {"front_connection": "connection", "front_exchange": "exchange"}
_LIKE = ["server", "request_method", "path"]
_UNREADABLE = ("tls", "http2", "unknown")


def own_answers(report: Report, statuses: tuple[int, ...], capture: str | None = None) -> dict[int, int]:
    """Return how many responses with each of `statuses` gateways certainly made themselves. `capture`: of one capture only.

    The gateway forwarded another request with the same method and path. While this one was open, its hosts sent no request to a
    server and opened no connection but for other requests, and had no connection open whose requests cannot be read.
    """
    found = [
        _of_capture(report, name, known, statuses)
        for name, known in report.gateways.items()
        if known.fronts and capture in (None, name)
    ]
    return {status: sum(one.get(status, 0) for one in found) for status in statuses}


def _of_capture(report: Report, name: str, known: Gateways, statuses: tuple[int, ...]) -> dict[int, int]:
    exchanges = report.scan_exchanges().filter((c("capture") == name) & c("has_request"))
    connections = report.scan_connections().filter(c("capture") == name)
    at_front = connections.filter(c("server").is_in([*known.fronts])).select("connection", "server")
    path = c("request_target").cast(pl.String).str.split("?").list.first().alias("path")
    asked = exchanges.join(at_front, on="connection").select(
        *KEY, "server", "request_method", path, "request_start", "response_start", "response_status"
    )
    sure = known.tries.filter("certain").lazy()
    forwarded = sure.select(c(old).alias(new) for old, new in _FRONT.items()).join(asked, on=KEY).select(_LIKE).unique()
    tried = known.tries.lazy().select(c(old).alias(new) for old, new in _FRONT.items())
    refused = (
        asked.filter(c("response_status").is_in(statuses) & c("response_start").is_not_null())
        .join(tried, on=KEY, how="anti")
        .join(forwarded, on=_LIKE)
        .collect(engine=engine_for(report))
    )
    if refused.is_empty():
        return {}
    ends = connections.select("connection", "client_host", "protocol", "syn_time", "start", "end", "server")
    servers = sure.join(at_front.rename({"connection": "front_connection"}), on="front_connection")
    hosts = servers.join(ends.select("connection", host="client_host"), on="connection").select("server", "host")
    hosts = hosts.unique().collect(engine=engine_for(report))
    theirs = ends.filter(c("client_host").is_in(hosts["host"].implode()) & ~c("server").is_in([*known.fronts]))
    theirs = theirs.collect(engine=engine_for(report))
    others = sure.select(KEY).collect()
    requests = exchanges.select(*KEY, "request_start").join(theirs.lazy().select("connection", "client_host"), on="connection")
    requests = requests.collect(engine=engine_for(report)).join(others, on=KEY, how="anti")
    opened = theirs.join(others.filter(c("exchange") == 0), on="connection", how="anti")
    sent = pl.concat([
        requests.select("client_host", since="request_start", until="request_start"),
        opened.select("client_host", since="syn_time", until="syn_time"),
        theirs.filter(c("protocol").is_in(_UNREADABLE)).select("client_host", since="start", until="end"),
    ]).drop_nulls()  # fmt: skip
    near = refused.join(hosts, on="server").join(sent, left_on="host", right_on="client_host")
    near = near.filter((c("since") <= c("response_start")) & (c("until") >= c("request_start") - SLACK))
    alone = refused.join(near, on=KEY, how="anti")
    return dict(alone["response_status"].value_counts().iter_rows())
