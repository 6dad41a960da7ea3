"""Requests wait in a queue: only a limited number of connections or workers is there for them.

What it means
    Kind connections: a caller, such as a balancer, a gateway or a service that calls others, never has more than a certain number
    of requests open at a server. Other requests wait inside the caller until one of these is answered. The limit is that of
    the caller: its pool of connections, or its own workers. The server is not the cause.

    Kind workers: a server works on a limited number of requests at once. If slow requests occupy all workers (threads, processes,
    connections to a database), quick ones wait for them. Some servers serve a single connection at a time. They wait
    for a request on one connection, for example a spare one of a browser, while a request on another one waits.

Why it hurts
    Each request in the queue is late, whatever it asks for. The servers look idle or healthy, because the wait is in no log of
    theirs. If more requests come than workers or connections can serve, the queue grows until something times out.

How it is proved
    Kind connections: some requests left the caller while more requests to it were open than it had open at the server. At least
    half of these left within 2 ms after a response of that server had made room for one: the maximum was open until then. No
    request had come to the caller since that response. Ten or more requests that came to the caller when the limit was reached
    waited three times as long as usual, and at least 100 ms longer. Usual is the median of earlier requests with the same method
    and path. Without such requests, it is the shortest waits and, for requests that the caller passes on, the median of the
    server's times.

    Kind workers: a number of workers explains the times. Requests that came while fewer were open took their usual time: the
    median for their method and path. Ten or more that came while at least as many were open took three times as long, and at
    least 100 ms longer. A server that takes requests in order would have begun with each of these when an earlier response had
    ended. Counted from that moment, 80 % of them took their usual time, too, within half of it.

    A server that streams one answer at a time: two or more answers in events (text/event-stream, application/x-ndjson) to calls,
    that is, to requests other than GET and HEAD, waited for 1 s or longer. The first byte of their body came within 100 ms after
    the end of the answer on another connection, which had taken 200 ms or longer. The head may have come at once. The server
    never sent two such answers at once. It may have a single slot on purpose, so this is a note.

    A server that serves one connection at a time: the response began within 50 ms after another connection was
    closed. The client had opened that one before the request and sent nothing on it, and no other request was answered in the
    meantime. Or the server had answered on it, and never answers on a connection before the previous one is closed; then two
    such requests are needed. The request had waited for 200 ms or longer. That other connection counts as closed from the
    server's first FIN or RST on, also if the client closes its side much later.

What it is not
    If all requests share one processor, each takes longer, and there is no such number. A rate limit lets requests pass at
    regular intervals that differ from their usual time. A load test whose clients each send a request when the previous one is
    answered has no queue. If a server stands still, it answers the waiting requests together afterwards. Long polls and streams
    occupy no worker in many servers, so they do not count. Neither do requests that the server refused with 429 or 503, which
    may have waited in vain. Browsers open six connections to a server on purpose; a queue in a browser cannot be seen. If a
    gateway waits for a server with too few workers, only that server is reported.

What to do
    Kind connections: raise the limit, if the server can do more work at once. Add servers otherwise. Kind workers: start more
    workers if processor and memory allow it, give slow requests workers of their own, or make them quicker. For a
    server with one connection at a time, use threads, or a proxy in front of it, and a short limit for the first byte. For a
    server that streams one answer at a time, use more workers, or more slots of a model (llama.cpp: -np).

References
    HAProxy's maxconn, nginx's max_conns.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import polars as pl

from wiredoctor.findings import Advice, Reference, Rule
from wiredoctor.rules.shared import caller_queues, connection_turns, queues, worker_queues
from wiredoctor.rules.shared.evidence import candidate, silent_candidates
from wiredoctor.rules.shared.queues import Queue, Waited
from wiredoctor.rules.shared.words import packets
from wiredoctor.tables import PROTOCOLS
from wiredoctor.text.durations import duration_text
from wiredoctor.text.phrases import join_words
from wiredoctor.world.numbers import DURATION
from wiredoctor.world.products import settings

c = pl.col

RULE = Rule(
    symptom="slow although the servers are idle; a pool is exhausted",
    # a connection without a request occupies a worker, too
    protocols=PROTOCOLS,
    severity="warning",
    title={
        "connections": "Requests wait in {client} for one of {at_most:,} connections to {server}",
        "workers": "{server} answers at most {at_most:,} requests at a time; the others wait",
    },
    message={
        "connections": "{client} never had more than {at_most:,} requests open at {server}{others}, although up to {most:,} "
        "requests to {client} were open. {share} % of those that had to wait left within {at_once} after a response had made "
        "room for one. {server} answered within {usual_time} (median), but {late:,} requests to {client} took {waited} "
        "(median). Because of that limit, requests waited {delay} longer in total.",
        "workers": "Requests to {server} took {usual_time} (median) if fewer than {at_most:,} others were open. {late:,} "
        "requests that came while {at_most:,} or more were open took {waited} (median, at most {longest}). They waited until "
        "earlier responses had ended; from then on, {share} % of them took their usual time. Requests waited {delay} in total.",
    },
    remedy={
        "connections": "Raise the limit in {client} if {server} can do more at once; otherwise add servers. It is the number of "
        "connections in a pool (haproxy: maxconn of the server; nginx: max_conns; Node: maxSockets of the http.Agent; Go: "
        "MaxConnsPerHost; Python: pool_maxsize with pool_block of requests, limit of aiohttp's TCPConnector; Java: the maximum "
        "per route), or the number of workers of {client} itself.",
        "workers": "Give {server} more workers (threads, processes, or connections to its database) if its processor and memory "
        "allow it, or have more servers share the work. If slow requests occupy the workers, give these requests a server of "
        "their own, or make them quicker. If it serves one connection at a time, use a server with "
        "threads, or put a proxy in front of it that keeps idle connections away. If it streams one answer at a time: more "
        "workers (gunicorn: --workers, --threads), or more slots of a model (llama.cpp: -np).",
    },
    display_filter="frame.number in {{{frames}}}",
    references=(
        *(one.source for one in settings("connections", "gateway") if isinstance(one.source, Reference)),
        Reference("Google, Addressing Cascading Failures", "https://sre.google/sre-book/addressing-cascading-failures/"),
    ),
    advice=(
        *(
            Advice("client", one.pattern, f"If the client is {one.advice}", "pooled")
            for one in settings("connections", "client")
            if one.pattern
        ),
        *(Advice("server", one.pattern, one.advice, "few") for one in settings("workers", "server") if one.pattern),
    ),
    summary=True,
    any_order=True,
)

SHARED_THRESHOLDS = (queues, caller_queues, worker_queues, connection_turns)


def may_match() -> pl.Expr:
    """Return a cheap condition on all rows together: if it is false, there are no candidate findings."""
    wait = c("response_start") - c("request_end")
    late = ((wait >= queues.LATE_BY.value) & c("has_request")).sum() >= queues.ENOUGH.value
    return late | ((wait >= connection_turns.HELD_UP.value) & c("has_request")).any() | connection_turns.is_late_stream().any()


class Facts(NamedTuple):
    """What is known of a queue; the fields are those of Queue, with times in ns."""

    kind: str | None
    way: str
    server: str
    client: str | None
    at_most: int
    late: int
    longest: int
    others: list[str]
    shown: list[dict[str, Any]]


def find(
    exchanges: pl.LazyFrame, closes: pl.LazyFrame, connections: pl.LazyFrame, tries: pl.LazyFrame
) -> pl.LazyFrame:  # fmt: skip
    """Return a row for each queue, and a silent one for each slow exchange that a queue explains."""
    crowded, callers, servers = queues.crowded_servers(exchanges), list[Queue](), list[Queue]()
    if crowded.height:
        callers = caller_queues.find_caller_queues(crowded, exchanges, connections, tries)
        servers = worker_queues.find_worker_queues(crowded, exchanges, connections, tries)
    turns = _only_behind(connection_turns.find_turns(exchanges, closes, connections), tries, connections)
    servers = _without_callers(servers, callers, turns, connections)
    found = [*callers, *servers, *turns]
    return pl.concat([_candidates(found), *(silent_candidates(one.explained) for one in found)], how="diagonal").lazy()


def _without_callers(
    servers: list[Queue], callers: list[Queue], turns: list[Queue], connections: pl.LazyFrame
) -> list[Queue]:  # fmt: skip
    """Return those of `servers` that do not only wait for other servers that have a queue."""
    waiting = {str(one.client) for one in callers}
    hosts = connections.select("client_host", "server").filter(c("server").is_in([one.server for one in servers]))
    asked = hosts.unique().collect(engine="streaming")
    of_others = [asked.filter(server=one.server)["client_host"].unique() for one in servers]
    busy = {one.server for one in turns}
    calling = {
        one.server
        for one in servers
        for other, clients in zip(servers, of_others, strict=True)
        if other is not one and _host(other.server) != _host(one.server) and _host(one.server) in clients
    }
    return [one for one in servers if one.server not in busy | calling and _host(one.server) not in waiting]


def _only_behind(turns: list[Queue], tries: pl.LazyFrame, connections: pl.LazyFrame) -> list[Queue]:
    """Drop the queues of gateways that pass on the streams of a server with such a queue."""
    queued = [one.server for one in turns if one.way == "stream"]
    if len(queued) < 2:
        return turns
    at = connections.filter(c("server").is_in(queued)).select("connection", "server")
    front = at.select(front_connection="connection", front="server")
    passed = tries.filter("certain").join(at, on="connection").join(front, on="front_connection")
    gateways = {*passed.select("front").unique().collect(engine="streaming")["front"]}
    return [one for one in turns if one.way != "stream" or one.server not in gateways]


def _host(endpoint: str) -> str:
    return endpoint.rpartition(":")[0].strip("[]")


_ROW: dict[str, Any] = {
    **dict.fromkeys(("way", "server", "client", "confidence"), pl.String()),
    **dict.fromkeys(("at_most", "requests", "late", "usual", "waited", "longest", "lost", "most", "share"), pl.Int64()),
    "others": pl.List(pl.String()),
    **dict.fromkeys(("start", "end", "frame"), pl.Int64()),
    "shown": pl.List(pl.Struct(dict.fromkeys(Waited._fields, pl.Int64()))),
}


def _candidates(found: list[Queue]) -> pl.DataFrame:
    rows = pl.DataFrame([one.row() for one in found], _ROW, orient="row")
    pooled = c("way") == "pool"
    kind = pl.when(pooled).then(pl.lit("connections")).otherwise(pl.lit("workers"))
    side = pl.when(pooled).then(pl.lit("client")).otherwise(pl.lit("server"))
    return rows.select(
        *candidate(side, c("confidence"), "frame", "start", "end", kind=kind, delay=c("lost"), of="server"),
        pl.when(c("way") == "stream").then(pl.lit("note")).alias("severity"),
        *("server", "client", "way", "at_most", "late", "longest", "most", "share", "others", "shown"),
        c("usual").cast(DURATION).alias("usual_time"),
        c("waited").cast(DURATION),
    )


def words(x: Facts) -> dict[str, Any]:
    """Return the words about the limit, and the packets that ended the first waits."""
    if x.kind is None:  # a silent candidate, which explains a slow response
        return {"evidence": []}
    pooled = x.way == "pool"
    went = "the request that left for it" if pooled else f"the first byte of the {'body' if x.way == 'stream' else 'response'}"
    evidence = [
        packet
        for one in x.shown
        for packet in (
            (one["asked_frame"], one["asked"], "the last byte of a request that waits"),
            (one["freed_frame"], one["freed"], _FREED[x.way]),
            (one["went_frame"], one["went"], f"{went}, {_later(one['went'] - one['freed'])}"),
        )
    ]
    return {
        "others": f" and at {join_words(x.others)}" if x.others else "",
        "at_once": duration_text(caller_queues.AT_ONCE.value),
        "longest": duration_text(x.longest),
        "pooled": pooled,
        "few": not pooled,
        "evidence": packets(*sorted(evidence, key=lambda packet: (packet[1] or 0, packet[0] or 0))),
        **(_words_of_turns(x) if x.way in _BLOCKED else {}),
    }


def _later(time: int) -> str:
    """Return how much later than the packet that ended the wait the request went on (ns).

    The last packet of a connection without a request may come after its close, with which the wait ended.
    """
    return f"{duration_text(time)} later" if time >= 0 else f"{duration_text(-time)} before the last packet of that connection"


_FREED = {
    "pool": "the end of a response, which frees a place",
    "workers": "the end of a response, which frees a worker",
    "spare": "the last packet of the connection without a request",
    "turn": "the end of the connection that was answered before",
    "stream": "the end of the answer before",
}

_BLOCKED = {
    "spare": "on which the client had sent nothing. The server waited for a request on that connection, and served no other "
    "one. It is usual that browsers open spare connections",
    "turn": "on which the server had already answered. The server never answered on a connection before the previous one was "
    "closed",
    "stream": "",
}


def _words_of_turns(x: Facts) -> dict[str, Any]:
    """Return the title and the message about a server that serves one connection at a time."""
    some, was = ("1 request", "was") if x.late == 1 else (f"{x.late:,} requests", "were")
    waited = f"waited for up to {duration_text(x.longest)}"
    if x.way == "stream":
        within = duration_text(connection_turns.AFTER_STREAM.value)
        return {
            "title": f"{x.server} streams one answer at a time: {some} {waited}",
            "message": f"{some} to {x.server} {waited} until the first part of the answer came: within {within} after the end of "
            "the answer to another request. The server never streamed two answers at once.",
        }
    within = duration_text(connection_turns.AFTER_CLOSE.value)
    return {
        "title": f"{x.server} serves one connection at a time: {some} {waited}",
        "message": f"{some} to {x.server} {waited}, and {was} answered within {within} after another connection had been closed, "
        f"{_BLOCKED[x.way]}.",
    }
