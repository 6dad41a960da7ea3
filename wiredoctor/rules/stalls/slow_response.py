"""The server took long to begin its answer.

What it means
    The whole request had reached the server, and its first byte of an answer came a second or more later. The network took no
    part in that: the round trip is subtracted. The server thought: a slow query, a lock, a call to another service, a cold
    start.

Why it hurts
    The user waits. Whether that is a fault only the server's owner knows: long polling is meant to wait.

How it is proved
    First byte of the response, less the last byte of the request, less the round trip between capture point and server is
    at least 1 s. Of pipelined requests the time counts from when the response before it was over, and where the server was
    heard in between with an interim response such as 102 or 103, from the last of these.

    Where a capture holds both sides of a gateway, time in which a server behind it was asked belongs to that server; what is left
    to the gateway counts if it is 1 s or more (in-gateway).

What it is not
    A stall of the connection: where one is found in that time, it is the one reported. An upload that takes long. A
    response that takes long once it has begun, as a stream of events does. A server that says every half second that it is
    still at work.

What to do
    Look into the server: its access log with times, a trace of the request, the slow query log of its database.

References
    RFC 9110 section 15.2.
"""

from __future__ import annotations

import polars as pl

from wiredoctor.findings import Advice, Reference, Rule, Threshold
from wiredoctor.rules.proof import confidence, evidence
from wiredoctor.rules.words import DURATION, duration

RULE = Rule(
    severity={None: "note", "in-gateway": "note"},
    title={
        None: "The server thought for {wait} before it answered {request}",
        "in-gateway": "The gateway itself took {wait} before it answered {request}",
    },
    message={
        None: "{since}; the response ({status}) began {wait} later{uncounted}. Nothing was lost or held back in between: the "
        "time was spent in the server or behind it.",
        "in-gateway": "{since}; the gateway took {wait} until the response ({status}) began in which it waited for no server "
        "behind it.",
    },
    remedy={
        None: "Find out what the server does in that time: time the request in its access log, trace it through the services "
        "that it calls, look for slow queries, locks and full worker pools. If it waits on purpose (long polling), nothing is "
        "wrong.",
        "in-gateway": "See what requests wait for in the gateway: a queue or a limit of connections (haproxy maxconn and timeout "
        "queue, nginx limit_req with a delay, max_conns of Caddy and others), a slow connection to the server behind, a lookup "
        "of its name.",
    },
    display_filter="tcp.stream == {connection} && frame.number in {{{frames}}}",
    references=(
        Reference("RFC 9110 section 15.2, interim responses", "https://www.rfc-editor.org/rfc/rfc9110.html#section-15.2"),
    ),
    explained_by=(("stalls", "time"), ("unanswered", "exchange"), ("buffered-stream", "exchange"), ("gateway-error", "exchange")),
    advice=(
        Advice(
            "server",
            "nginx",
            "nginx: $request_time and $upstream_response_time in log_format tell whether the time is spent behind it.",
        ),
        Advice("server", "Apache", "Apache: %D in LogFormat logs the time of each request in microseconds."),
        Advice("server", "IIS|Microsoft", "IIS: the field time-taken of its log, and Failed Request Tracing, show it."),
    ),
    absence=True,
)

MIN_WAIT = Threshold("1 s", "what users notice as waiting; faster answers are nobody's complaint")


def screen() -> pl.Expr:
    """Return an expression that is true on at least one row if there is a candidate."""
    return pl.col("response_start") - pl.col("request_end") >= MIN_WAIT.value


def find(exchanges: pl.LazyFrame) -> pl.LazyFrame:
    """A row per response that began late."""
    c = pl.col
    begin = pl.max_horizontal("request_end", "previous_end", "heard")
    # a response behind another one has the same way as that
    wait = pl.min_horizontal(
        c("response_start") - c("request_end") - c("rtt_server"),
        c("response_start") - c("previous_end"),
        c("response_start") - c("heard"),
    )
    return (
        exchanges.filter(c("response_start") - c("request_end") >= MIN_WAIT.value)
        .with_columns(_heard())
        .filter((wait >= MIN_WAIT.value) & c("rtt_server").is_not_null())
        .filter(
            c("has_request"),
            c("has_response"),
            (c("request_end_reason") == "complete") & ((c("response_status") >= 200) | (c("response_status") == 101)),
        )
        .select(
            "connection",
            "exchange",
            pl.lit(None, pl.String).alias("kind"),
            pl.lit("server").alias("side"),
            confidence().alias("confidence"),
            c("response_frame").alias("frame"),
            begin.alias("start"),
            c("response_start").alias("end"),
            wait.alias("delay"),
            wait.cast(DURATION).alias("wait"),
            _since(begin).alias("since"),
            _uncounted(begin).alias("uncounted"),
            evidence(
                ("request_last_frame", "request_end", "the last byte of the request"),
                ("response_frame", "response_start", _answer_note(begin, wait)),
            ),
        )
    )


def _heard() -> pl.Expr:
    """When the server was last heard of behind the request. A 100 says that the body may come, nothing of the answer."""
    c = pl.col
    told = c("interim").list.set_difference([100]).list.len() > 0
    last = c("interim_times").list.last()
    return pl.when(told & (last > c("request_end"))).then(last).alias("heard")


def _was_heard(begin: pl.Expr) -> pl.Expr:
    return (begin == pl.col("heard")).fill_null(False)


def _since(begin: pl.Expr) -> pl.Expr:
    free = pl.lit("The request was complete and the connection free")
    heard = pl.format("The request was complete, and the server had sent an interim response ({})", pl.col("interim").list.last())
    return pl.when(_was_heard(begin)).then(heard).otherwise(free)


def _uncounted(begin: pl.Expr) -> pl.Expr:
    round_trip = pl.format(", the round trip to the server ({}) not counted", duration(pl.col("rtt_server")))
    return pl.when(begin == pl.col("request_end")).then(round_trip).otherwise(pl.lit(""))


def _answer_note(begin: pl.Expr, wait: pl.Expr) -> pl.Expr:
    behind = pl.when(_was_heard(begin)).then(pl.format(" than the interim {}", pl.col("interim").list.last()))
    return pl.format("the first byte of the response, {} later{}", duration(wait), behind.otherwise(pl.lit("")))
