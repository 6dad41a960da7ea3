"""Find servers that serve one connection after the other, or stream one answer after the other, while others wait."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from wiredoctor.findings import Threshold
from wiredoctor.rules.shared.queues import SHOWN, Queue, Waited
from wiredoctor.tables import MILLISECOND, of_connections
from wiredoctor.world.connection_close import OPEN_STREAMS, streams

c = pl.col

AFTER_CLOSE = Threshold("50 ms", "the maximum time between the close of the other connection and the response")
HELD_UP = Threshold("200 ms", "the minimum time for which a request, or an answered connection, kept the other one waiting")
TURNS = Threshold("2 requests", "the minimum number of requests that waited; one may be a coincidence")

STREAM_WAIT = Threshold("1 s", "the minimum time for which an answer in events waited for another one to end")
AFTER_STREAM = Threshold("100 ms", "the maximum time between the end of that answer and the first byte of the next one's body")
_OVERLAP = MILLISECOND
"""The time (ns) by which packets of two answers, one after the other, may have been captured in the wrong order."""

_WAITED = ("connection", "exchange", "request_last_frame", "request_end", "response_frame", "response_start")


def find_turns(exchanges: pl.LazyFrame, closes: pl.LazyFrame, connections: pl.LazyFrame) -> list[Queue]:
    """Return the queue of each server that serves one connection after the other."""
    waited = c("response_start") - c("request_end") >= HELD_UP.value
    slow = exchanges.filter(c("has_request") & waited & ~c("upgraded")).select(*_WAITED, "endpoint").collect(engine="streaming")
    in_events = _find_stream_turns(exchanges, connections)
    if slow.is_empty():
        return in_events
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
    found += [one for one in _queues("turn", turns, requests) if one.server not in named]
    named = {one.server for one in found}
    return [*found, *(one for one in in_events if one.server not in named)]


def is_late_stream() -> pl.Expr:
    """Return whether a call was answered in events, the first of which came late, whenever the head came."""
    return is_call_in_events() & (c("response_body_time") - c("request_end") >= STREAM_WAIT.value).fill_null(value=False)


def is_call_in_events() -> pl.Expr:
    """Return whether an exchange is a call whose answer is a stream of events."""
    return (c("has_request") & streams() & ~c("request_method").is_in(OPEN_STREAMS)).fill_null(value=False)


def _find_stream_turns(exchanges: pl.LazyFrame, connections: pl.LazyFrame) -> list[Queue]:
    """Return the queue of each server that streams one answer at a time.

    It never streamed two at once, and began with those that wait as soon as the one before had ended.
    """
    late = exchanges.filter(is_late_stream()).select("endpoint").unique().collect(engine="streaming")
    if late.is_empty():
        return []
    times = {"response_frame": "response_body_frame", "response_start": "response_body_time"}
    over = pl.max_horizontal("response_last_body_time", "response_body_time").alias("over")
    rows = exchanges.filter(is_call_in_events() & c("endpoint").is_in(late["endpoint"].implode())).select(
        *("connection", "exchange", "endpoint", "request_last_frame", "request_end", "response_last_frame"), over,
        *(c(old).alias(new) for new, old in times.items()),
    )  # fmt: skip
    rows = rows.drop_nulls(["request_end", "response_start"]).collect(engine="streaming").sort("endpoint", "response_start")
    earlier = {"freed": "over", "freed_frame": "response_last_frame", "begun": "response_start", "other": "connection"}
    rows = rows.with_columns(c(old).shift(1).over("endpoint").alias(new) for new, old in earlier.items())
    newest = c("over").cum_max().shift(1).over("endpoint")
    alone = (newest.is_null() | (c("response_start") >= newest - _OVERLAP)).all().over("endpoint")
    waited = (c("response_start") - c("request_end") >= STREAM_WAIT.value) & (c("request_end") < c("freed"))
    at_once = c("response_start") - c("freed") <= AFTER_STREAM.value
    held = (c("other") != c("connection")) & (c("freed") - c("begun") >= HELD_UP.value)
    rows = rows.filter(alone).with_columns((waited & at_once & held).fill_null(value=False).alias("waited"))
    if not rows["waited"].any():
        return []
    servers = of_connections(connections.select("connection", "server"), rows).collect(engine="streaming")
    rows = rows.join(servers, on="connection")
    return [*_queues("stream", rows.filter("waited"), rows.group_by("server").len())]


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
        if way != "spare" and rows.height < TURNS.value:
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
