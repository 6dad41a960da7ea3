"""The server was slow to begin its response, or paused in the middle of it.

What it means
    The complete request had reached the server, and the first byte of the response came a second or more later. The network is
    not the cause, because the round trip is subtracted. The server needed the time: a slow query, a lock, a call to another
    service, or a cold start.

Why it hurts
    The user waits. Only the owner of the server knows whether that is a fault: long polling waits on purpose.

How it is proved
    The time from the last byte of the request to the first byte of the response, less the round trip between capture point
    and server, is at least 1 s. For pipelined requests the time counts from the end of the previous response. After an
    interim response such as 102 or 103 it counts from that response.

    Kind mid-response: the server paused for 1 s or more, between head and body or in the body. This pause is at least three
    times as long as all other pauses of the response together. Two pauses of 1 s or more may also meet this condition
    together, if the response has a Content-Length and they are not about equally long. A server that limits its rate makes
    equal pauses. All earlier data was acknowledged, the client's window had room, and nothing was retransmitted. If segments
    carry timestamps (RFC 7323), the server's clock must show the pause, too. Without timestamps, confidence is medium if the
    round trip between capture point and server is 1 ms or more, because a path that delays packets would look the same.

    If a capture holds both sides of a gateway, the time that the server behind it needs belongs to that server. So does the
    time in which the gateway tries to connect to that server. If that server refuses the connection, this time lasts until
    the gateway's next try at the same server. If the next try is at another server, the pause before it counts only if it is
    as long as an earlier pause. The time lost ends when the exchange of the gateway's client ends: a client may leave before
    the server responds, or get its response from another server. A gateway may also still be sending the request to a server
    that has already responded. The remaining time is the gateway's own. If that is 1 s or more, the kind is in-gateway.

What it is not
    A request that declares itself a long poll (Socket.IO: transport=polling with a session; SignalR: transport=longPolling;
    CouchDB: _changes with feed=longpoll; BOSH: a POST to /http-bind) waits for the next event. If the connection stalled in that
    time, the rule about the stall reports it instead. A long upload is not a slow response. Nor is a response that comes in many
    pieces, such as an event stream or a throttled download. Nor is a late response that follows an interim response, such as
    102, by less than a second. An exchange is ignored if messages are missing from the capture, so that request and response
    are paired only by assumption. If the first copy of a response was lost before the capture point, the loss looks like a slow
    server.

What to do
    Examine the server: its access log with times, a trace of the request, and the slow query log of its database. Kind
    in-gateway: find out what requests wait for in the gateway, such as a queue, a connection limit, or a DNS lookup.

References
    RFC 9110 section 15.2.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import polars as pl

from wiredoctor.findings import Advice, Reference, Rule, Threshold
from wiredoctor.gateways.tries import AT_CLIENT, AT_SERVERS
from wiredoctor.rules.shared.evidence import candidate, confidence, is_unwitnessed
from wiredoctor.rules.shared.long_polls import is_long_poll
from wiredoctor.rules.shared.words import packets, witness
from wiredoctor.text.durations import duration_text
from wiredoctor.world.connection_close import ENDLESS
from wiredoctor.world.numbers import DURATION

c = pl.col

RULE = Rule(
    symptom="waiting; a spinner",
    severity={None: "note", "in-gateway": "note", "mid-response": "note"},
    title={
        None: "The server took {wait} to start answering {request}",
        "in-gateway": "The gateway itself took {wait} to start answering {request}",
        "mid-response": "The server paused for {wait} {where} its response to {request}",
    },
    message={
        None: "{since}. The response ({status}) began {wait} later{uncounted}. The capture shows no segment that was lost or "
        "held back in between, so the time was probably spent in the server or behind it.",
        "in-gateway": "{since}. Before the response ({status}) began, the gateway spent {wait} on its own: as far as the capture "
        "shows, it was not waiting for a server behind it in that time.",
        "mid-response": "{begun}; then the server sent nothing for {wait}. The client had acknowledged "
        "all earlier data, its window had room, and nothing was retransmitted, so the time was probably spent in the server or "
        "behind it.",
    },
    remedy={
        None: "Find out what the server does in that time: have its access log record how long requests take, trace the request "
        "through the services that the server calls, and look for slow queries, locks and full worker pools. If the server "
        "waits on purpose (long polling), nothing is wrong.",
        "in-gateway": "Find out what requests wait for in the gateway: a queue or a connection limit (haproxy maxconn and "
        "timeout queue, nginx limit_req with a delay, max_conns of Caddy and others), a DNS lookup, or a connection to another "
        "server that the capture does not show (a firewall on the gateway may drop the SYN before it is captured).",
        "mid-response": "Find out what the server does in that time: a slow query or file, a lock, or a call to another "
        "service that provides the rest of the body. If the server sends each part as soon as it is ready, nothing is wrong.",
    },
    references=(
        Reference("RFC 9110 section 15.2, interim responses", "https://www.rfc-editor.org/rfc/rfc9110.html#section-15.2"),
    ),
    explained_by=(
        ("stalls", "time"),
        ("unanswered", "exchange"),
        ("buffered-stream", "exchange"),
        ("gateway-error", "exchange"),
        ("gateway-error", "front"),
        ("server-pause", "exchange"),
        ("queued-requests", "exchange"),
    ),
    advice=(
        Advice(
            "server",
            "nginx",
            "nginx: $request_time and $upstream_response_time in log_format show whether the time is spent behind it.",
        ),
        Advice("server", "Apache", "Apache: %D in LogFormat logs the time of each request in microseconds."),
        Advice("server", "IIS|Microsoft", "IIS: the field time-taken of its log, and Failed Request Tracing, show the time."),
    ),
    absence=True,
)

STREAM_PAUSES = 4
"""A chunked response counts as a stream if the application paused at least this many times in it."""

RECORDED = 4
"""The maximum number of recorded pauses of a response: the one between head and body, and three in the body."""

MIN_WAIT = Threshold("1 s", "the minimum wait; users notice a wait of this length and rarely complain about a shorter one")


def cutoffs() -> dict[str, int]:
    """Return the cutoff for the core (wiredoctor.core): the minimum pause (ns) between head and body of a response for
    the pause to be recorded.
    """
    return {"min_pause_after_head": MIN_WAIT.value}


def may_match() -> pl.Expr:
    """Return a cheap condition: if no row of a batch meets it, the batch has no candidate findings."""
    late = c("response_start") - c("request_end") - c("rtt_server") >= MIN_WAIT.value
    long = (c("response_end") - c("response_start") >= MIN_WAIT.value) & (c("response_pause_times").list.len() > 0)
    return late | (long & _is_no_stream())


class Facts(NamedTuple):
    """What is known of a response that began late or, with kind mid-response, of a pause in it. Times and durations are in ns.

    `frame`, `start`, `end`: the first packet after the wait, and when the wait began and ended. `waited`: the wait; if a gateway
    waited for its servers in between, it is included. `interim_status`: the wait began with this interim response.
    `at_servers`, `at_client`: structs of types AT_SERVERS and AT_CLIENT if the server is a gateway, or the client is one.
    """

    kind: str | None
    frame: int
    start: int
    end: int
    waited: int
    response_frame: int
    response_start: int
    response_status: int
    rtt_server: int | None
    request_last_frame: int | None
    request_end: int | None
    interim_status: int | None
    after_head: bool | None
    paused_frame: int | None
    by_clock: int | None
    at_servers: dict[str, Any] | None
    at_client: dict[str, Any] | None


def find(exchanges: pl.LazyFrame) -> pl.LazyFrame:
    """Return a row for each response that began late, and for each long pause in the middle of a response."""
    # the other conditions need many more columns
    slow = exchanges.filter(may_match()).collect().lazy()
    rows = pl.concat([_begun_late(slow), _pauses(slow)], how="diagonal")
    return rows.with_columns(pl.lit(None, AT_SERVERS).alias("at_servers"), pl.lit(None, AT_CLIENT).alias("at_client"))


_OF_RESPONSE = ("response_frame", "response_start", "response_status", "rtt_server")


def _begun_late(exchanges: pl.LazyFrame) -> pl.LazyFrame:
    begin = pl.max_horizontal("request_end", "previous_end", "heard")
    # a pipelined response took the same path as the one before it, so no round trip is subtracted
    wait = pl.min_horizontal(
        c("response_start") - c("request_end") - c("rtt_server"),
        c("response_start") - c("previous_end"),
        c("response_start") - c("heard"),
    )
    return (
        exchanges.filter(c("response_start") - c("request_end") >= MIN_WAIT.value)
        .with_columns(_last_interim_response())
        .filter((wait >= MIN_WAIT.value) & c("rtt_server").is_not_null())
        .filter(
            c("has_request"),
            c("has_response"),
            ~c("pairing_assumed"),
            (c("request_end_reason") == "complete") & ((c("response_status") >= 200) | (c("response_status") == 101)),
        )
        .filter(~is_long_poll())
        .select(
            *candidate("server", confidence(), "response_frame", begin, "response_start", delay=wait),
            *(wait.cast(DURATION).alias("wait"), wait.alias("waited"), *_OF_RESPONSE, "request_last_frame", "request_end"),
            pl.when(begin == c("heard")).then(c("interim").list.last()).alias("interim_status"),
        )
    )


def _paused() -> pl.Expr:
    """Return whether one or two pauses make up most of the time for which the server paused in a response.

    The result is false for a response that is a stream.
    """
    framing, known = c("response_framing"), _is_no_stream()
    stream = c("response_content_type").is_in(ENDLESS) | c("response_endless")
    pauses = [_pause(number) for number in range(RECORDED)]
    longest, total = (
        pl.max_horizontal(pauses),
        c("response_pause_total") + pl.when(_paused_after_head()).then(pauses[0]).otherwise(0),
    )
    stops = [pl.when(pause >= MIN_WAIT.value).then(pause) for pause in pauses]
    # a server that limits its rate pauses repeatedly for the same time; the source of a chunked body may pause at any time
    second = pl.sum_horizontal(stops) - longest
    twice = (
        (framing == "content-length") & (10 * second < 9 * longest) & (pl.sum_horizontal(one.is_not_null() for one in stops) == 2)
    )
    return (
        ((longest >= MIN_WAIT.value) & ((4 * longest >= 3 * total) | (twice & (4 * (longest + second) >= 3 * total))))
        & (known & ~stream & ~c("upgraded") & (c("response_end_reason") == "complete"))
    ).fill_null(False)


def _is_no_stream() -> pl.Expr:
    # a chunked response in many pieces is a stream
    few = (c("response_framing") == "chunked") & (c("response_application_pauses") < STREAM_PAUSES)
    return (c("response_framing") == "content-length") | few


def _pause(number: int | pl.Expr) -> pl.Expr:
    """Return the duration (ns) of the recorded pause with this index (from 0); null if the response has fewer pauses."""
    times = pl.col("response_pause_times").list
    return times.get(2 * number + 1, null_on_oob=True) - times.get(2 * number, null_on_oob=True)


def _paused_after_head() -> pl.Expr:
    """Return whether the first of the recorded pauses was between head and body.

    `response_pause_total` does not include such a pause.
    """
    return c("response_pause_times").list.len() > 2 * pl.min_horizontal("response_application_pauses", RECORDED - 1)


def _pauses(exchanges: pl.LazyFrame) -> pl.LazyFrame:
    """Return a row for each pause of at least MIN_WAIT that was recorded in a response."""
    number, wait = c("pause"), _pause(c("pause"))
    after_head = _paused_after_head() & (number == 0)
    by_clock = c("response_pause_by_clock").list.get(number, null_on_oob=True)
    # a long poll may pause, too: CouchDB sends the beginning of its response at once
    each = exchanges.filter(_paused() & c("has_request") & c("has_response") & ~c("pairing_assumed") & ~is_long_poll())
    each = each.with_columns(pl.lit([*range(RECORDED)]).alias("pause")).explode("pause")
    found = each.filter(wait >= MIN_WAIT.value).with_columns(
        *(c(f"response_pause_{what}s").list.get(2 * number).alias(f"last_{what}") for what in ("frame", "time")),
        *(c(f"response_pause_{what}s").list.get(2 * number + 1).alias(f"next_{what}") for what in ("frame", "time")),
    )
    # a server that answers while the request still arrives may pause because it waits for the client
    return found.filter(c("last_time") >= c("request_end")).select(
        *candidate(
            "server",
            confidence(is_unwitnessed(by_clock)),
            "next_frame",
            "last_time",
            "next_time",
            kind=pl.lit("mid-response"),
            delay=wait,
        ),
        *(wait.cast(DURATION).alias("wait"), wait.alias("waited"), *_OF_RESPONSE),
        after_head.alias("after_head"),
        c("last_frame").alias("paused_frame"),
        by_clock.alias("by_clock"),
    )


def _last_interim_response() -> pl.Expr:
    """Return the time (ns) of the last interim response if it came after the request; otherwise null.

    Return null, too, if all interim responses are 100 Continue, which only asks for the body.
    """
    told = c("interim").list.set_difference([100]).list.len() > 0
    last = c("interim_times").list.last()
    return pl.when(told & (last > c("request_end"))).then(last).alias("heard")


def words(x: Facts) -> dict[str, Any]:
    """Return the words about the wait, or about the pause."""
    return _words_of_pause(x) if x.kind == "mid-response" else _words_of_wait(x)


def _words_of_wait(x: Facts) -> dict[str, Any]:
    since, later = "The request and all earlier responses were complete", "later"
    if x.interim_status is not None:
        since = f"The request was complete, and the server had sent an interim response ({x.interim_status})"
        later = f"after the interim {x.interim_status}"
    trip = f", not counting the round trip to the server ({duration_text(x.rtt_server or 0)})"
    return {
        "since": since,
        "uncounted": trip if x.start == x.request_end else "",
        "addition": _waited_behind(x) if x.at_client is None else _waited_in_front(**x.at_client),
        "evidence": packets(
            (x.request_last_frame, x.request_end, "the last byte of the request"),
            (x.frame, x.end, f"the first byte of the response, {duration_text(x.waited)} {later}"),
        ),
    }


def _waited_behind(x: Facts) -> str | None:
    """Return the sentence about the time that a gateway spent with its servers; None if the server is none."""
    if x.at_servers is None:
        return None
    servers, time = ", ".join(x.at_servers["servers"]), duration_text(x.at_servers["time"])
    if x.kind == "in-gateway":
        return f"The gateway also waited {time} for {servers}; that time is not counted."
    if x.at_servers["sending"]:
        return f"For {time} of that time, the gateway was still sending the request to {servers}, which had already responded."
    return f"For {time} of that time, the gateway waited for the rest of a response that {servers} had begun."


def _waited_in_front(client: str, waited: int, in_gateway: int | None, left: bool) -> str:
    """Return the sentence about the wait of a gateway's client; the fields are those of AT_CLIENT."""
    if left:
        return (
            f"The request came from a gateway, whose own client ({client}) had waited {duration_text(waited)} when its "
            "connection closed. Only that time counts as lost."
        )
    if in_gateway is None:
        return (
            f"The request came from a gateway, which did not wait for that: its own client ({client}) had a response "
            f"{duration_text(waited)} after its request."
        )
    took = f"including {duration_text(in_gateway)} in the gateway"
    return f"The gateway's client ({client}) waited {duration_text(waited)} for its response, {took}."


def _words_of_pause(x: Facts) -> dict[str, Any]:
    head = f"The server had sent the head of its response ({x.response_status})"
    note = f"the response goes on, {duration_text(x.waited)} later{witness(x.by_clock, x.rtt_server)}"
    return {
        "where": "between head and body of" if x.after_head else "in the middle of",
        "begun": head if x.after_head else f"The response ({x.response_status}) had begun",
        "evidence": packets(
            (x.response_frame, x.response_start, "the response begins"),
            (x.paused_frame, x.start, "the last packet before the pause"),
            (x.frame, x.end, note),
        ),
    }
