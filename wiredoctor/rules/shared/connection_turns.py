"""Find servers that serve one connection after the other, and wait on one that needs nothing while others have requests."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from wiredoctor.findings import Threshold
from wiredoctor.rules.shared.queues import SHOWN, Queue, Waited
from wiredoctor.tables import of_connections

c = pl.col

AFTER_CLOSE = Threshold("50 ms", "the maximum time between the close of the other connection and the response")
HELD_UP = Threshold("200 ms", "the minimum time for which a request, or an answered connection, kept the other one waiting")
TURNS = Threshold("2 requests", "the minimum number of requests that waited; one may be a coincidence")

_WAITED = ("connection", "exchange", "request_last_frame", "request_end", "response_frame", "response_start")


def find_turns(exchanges: pl.LazyFrame, closes: pl.LazyFrame, connections: pl.LazyFrame) -> list[Queue]:
    """Return the queue of each server that serves one connection after the other."""
    waited = c("response_start") - c("request_end") >= HELD_UP.value
    slow = exchanges.filter(c("has_request") & waited & ~c("upgraded")).select(*_WAITED, "endpoint").collect(engine="streaming")
    if slow.is_empty():
        return []
    known = connections.select(
        *("connection", "server", "client_bytes", "connected", "start", "end", "last_frame"), (c("close") != "").alias("closed")
    )
    servers = of_connections(known, slow).select("server").unique()
    theirs = known.join(servers, on="server", how="semi").collect(engine="streaming")
    places = theirs.select("connection", "server")
    slow = slow.join(places, on="connection")
    answers = of_connections(exchanges, theirs).filter(c("response_start").is_not_null() & c("has_request"))
    first = answers.group_by("connection").agg(c("response_start").min().alias("first"), pl.len().alias("answers"))
    first = first.collect(engine="streaming").join(places, on="connection")
    requests = first.group_by("server").agg(c("answers").sum())
    found = [*_queues("spare", _behind_spares(slow, theirs, answers), requests)]
    named = {one.server for one in found}
    turns = _behind_answered(slow, _freed(theirs, closes), first)
    return [*found, *(one for one in _queues("turn", turns, requests) if one.server not in named)]


def _freed(connections: pl.DataFrame, closes: pl.LazyFrame) -> pl.DataFrame:
    """Set `end`, `last_frame` and `closed` of the connections to the server's first FIN or RST, if it was captured.

    From then on the worker is free, also if the client closes much later.
    """
    frame, time = c("server_close_frame"), c("server_close_time")
    closed = of_connections(closes, connections).filter(time.is_not_null())
    closed = closed.group_by("connection").agg(frame.sort_by(time).first(), time.min()).collect(engine="streaming")
    return connections.join(closed, on="connection", how="left").with_columns(
        c("closed") | time.is_not_null(), end=pl.coalesce(time, "end"), last_frame=pl.coalesce(frame, "last_frame")
    )


def _behind_spares(slow: pl.DataFrame, connections: pl.DataFrame, answers: pl.LazyFrame) -> pl.DataFrame:
    """Return the requests that were answered when a connection on which the client had sent nothing was closed.

    No other request to the server was answered meanwhile.
    """
    spares = connections.filter((c("client_bytes") == 0) & c("connected") & c("closed"))
    spares = spares.select("server", c("start").alias("opened"), c("end").alias("freed"), c("last_frame").alias("freed_frame"))
    spares = spares.with_columns(c("freed").alias("over")).sort("over", "freed_frame")
    waited = slow.sort("response_start").join_asof(
        spares, left_on="response_start", right_on="over", by="server", strategy="nearest", tolerance=AFTER_CLOSE.value,
        check_sortedness=False,
    )  # fmt: skip
    waited = waited.filter(c("freed").is_not_null() & (c("opened") < c("request_end")))
    waited = waited.with_columns((c("freed") - AFTER_CLOSE.value).alias("until")).sort("until")
    # of many responses, only those that may have come in between are read
    theirs = connections.filter(c("server").is_in(waited["server"].unique().implode())).select("connection", "server")
    since, until = waited["request_end"].min(), waited["until"].max()
    before = of_connections(answers, theirs).filter(c("response_start").is_between(since, until))
    before = before.select("connection", c("response_start").alias("answered")).collect(engine="streaming")
    before = before.join(theirs, on="connection").sort("answered").drop("connection")
    waited = waited.join_asof(before, left_on="until", right_on="answered", by="server", check_sortedness=False)
    return waited.filter((c("answered") <= c("request_end")).fill_null(value=True))


def _behind_answered(slow: pl.DataFrame, connections: pl.DataFrame, first: pl.DataFrame) -> pl.DataFrame:
    """Return the requests that were answered when the connection answered before theirs was closed.

    The server answered no request on a connection before it had closed the one before it.
    """
    turns = connections.join(first.select("connection", "first"), on="connection").sort("server", "first", "connection")
    earlier = {"freed": "end", "freed_frame": "last_frame", "begun": "first", "over": "closed"}
    turns = turns.with_columns(c(old).shift(1).over("server").alias(new) for new, old in earlier.items())
    in_turn = c("begun").is_null() | (c("over") & (c("first") >= c("freed") - AFTER_CLOSE.value))
    turns = turns.filter(in_turn.all().over("server") & (c("freed") - c("begun") >= HELD_UP.value))
    waited = slow.join(turns.drop("server"), on="connection").filter(c("response_start") == c("first"))
    near = (c("response_start") - c("freed")).is_between(0, AFTER_CLOSE.value)
    return waited.filter(near & (c("request_end") < c("freed")))


def _queues(way: str, waited: pl.DataFrame, requests: pl.DataFrame) -> Iterator[Queue]:
    count = dict(requests.iter_rows())
    for (server,), rows in sorted(waited.sort("response_start", "response_frame").partition_by("server", as_dict=True).items()):
        if way == "turn" and rows.height < TURNS.value:
            continue
        waits = (rows["response_start"] - rows["request_end"]).sort()
        shown = rows.select("request_last_frame", "request_end", "freed_frame", "freed", "response_frame", "response_start")
        yield Queue(
            way=way,
            server=str(server),
            client=None,
            confidence="medium" if rows.height >= TURNS.value else "low",
            at_most=1,
            requests=count[server],
            late=rows.height,
            usual=None,
            waited=int(waits[rows.height // 2]),
            longest=int(waits[-1]),
            lost=int(waits.sum()),
            most=0,
            share=100,
            others=[],
            start=int(shown["request_end"].min()),  # type: ignore[arg-type]
            end=int(shown["response_start"].max()),  # type: ignore[arg-type]
            shown=[Waited(*one) for one in shown.head(SHOWN.value).iter_rows()],
            explained=rows,
        )
