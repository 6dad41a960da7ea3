"""A server sent a response that no request had asked for.

What it means
    The server answered a request completely, and then sent another complete response on the same connection, before the next
    request had arrived. Kind timeout: the server waited for a request, wrote a 408 (Request Timeout) into the idle connection,
    and closed. Some servers and balancers do that when the timer for the next request expires.

Why it hurts
    HTTP/1.1 assigns responses to requests only by their order. A client that does not notice the surplus response takes it for
    the response to its next request. From then on, each response on this connection is taken for the response to the next
    request. One user may get the data of another. Good clients close the connection ("Unsolicited response received on idle
    HTTP channel"), and a request that they have just sent on it is lost. A request that crosses a 408 is lost, too: the client
    takes the 408 for its answer, although the server never read the request.

How it is proved
    The surplus response is complete. The connection was captured from its handshake, without gaps. All bytes of the client
    that the response acknowledges belong to requests that had been answered before.

    Kind timeout: the status is 408, and the response came a second or more after the previous response or, on a connection
    without requests, after the SYN-ACK. If the client's next request was not acknowledged by the 408, and did not acknowledge
    it, the two crossed: this is an error. It is an error, too, if a complete request came at most 100 ms (plus the round trip
    to the server) before the 408, and the server closed with an RST: its kernel had acknowledged the request, but its process
    had not read it when the timer expired. Otherwise the finding is a note. If the client used the connection after the 408
    had arrived, keep-alive-race reports the lost request. If the connection had carried requests and was not used again,
    idle-close reports its close.

What it is not
    Before it closes an idle connection, a server may send an error without a request. So a response other than a 408 does not
    count if its status is 400 or above, or if it announces the close. A 408 that acknowledges a part of a request answers that
    request. Interim responses (1xx) do not count. If a body is longer than its Content-Length, and the rest does not begin
    another response, excess-body reports it. If the server took other bytes of the client for a request, the response
    acknowledges these bytes, so it does not count.

What to do
    Find out why the server answers twice, and have it send one response to each request. Have clients close a connection on
    which bytes come while no request is open. Kind timeout: make the idle timeout of the client's pool shorter than the server's.

References
    RFC 9112 section 9.2.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import polars as pl

from wiredoctor.findings import Reference, Rule, Threshold
from wiredoctor.rules.shared.evidence import candidate
from wiredoctor.rules.shared.words import Nanoseconds, packets
from wiredoctor.tables import of_connections
from wiredoctor.text.durations import duration_text
from wiredoctor.world.exchange import REQUEST_TIMEOUT

c = pl.col

RULE = Rule(
    symptom="answers that belong to another request, *unsolicited response*",
    severity={None: "error", "timeout": "note"},
    title={
        None: "The server sent a response that no request had asked for",
        "timeout": "The server sent a 408 that no request had asked for, after {waited} without one",
    },
    message={
        None: "{server} answered {request} completely and then sent another complete response ({surplus}) before it received "
        "another request.{others} {effect}",
        "timeout": "{server} waited {waited} for {which} request, then sent a 408 (Request Timeout) and closed. That is its "
        "timer for a request: haproxy's timeout http-request, the idle timeout of a classic ELB, or mod_reqtimeout of Apache "
        "httpd. {effect}",
    },
    remedy={
        None: "Have the server send one response to each request. Look for a handler that goes on after it has answered (an "
        "error page after a response, a missing return, a filter that writes its own response), and for a proxy that forwards a "
        "response twice. Have clients close a connection on which bytes come while no request is open.",
        "timeout": "Make the idle timeout of the client's pool shorter than {waited}. Have the pool close a connection on which "
        "bytes come while no request is open, and repeat idempotent requests if they crossed the close. On haproxy, option "
        "http-ignore-probes suppresses the 408 on connections that have carried no request.",
    },
    references=(
        Reference(
            "RFC 9112 section 9.2, associating a response to a request", "https://www.rfc-editor.org/rfc/rfc9112.html#section-9.2"
        ),
    ),
    summary=True,
    ends=True,
)

_MIXED_UP = (
    "The client sent another request on the connection after that, and may take the surplus response for the response to that "
    "request. Each later response is then taken for the response to the next request."
)
_CLOSED = "The client sent no further request on the connection."
_CROSSED = (
    "The client's next request crossed the 408, which acknowledges no byte of it. The server never read that request, and the "
    "client takes the 408 for its answer: the request is lost."
)
_UNREAD = (
    "A complete request had come only {} before the 408. The RST instead of a FIN shows that the server's process had not read "
    "it when the timer expired, and the client takes the 408 for its answer: the request is lost."
)
_USED_LATER = "The client used the connection again after the 408 had arrived, and that request was lost."

WAITED = Threshold("1 s", "the minimum time without a request before a 408; timers for requests are longer")

JUST_BEFORE = Threshold(
    "100 ms",
    "the maximum time (plus the round trip to the server) from a complete request to a 408 that was due when the timer expired; "
    "the process had not read the request",
)


def may_match() -> pl.Expr:
    """Return a cheap condition: if no row of a batch meets it, the batch has no candidate findings."""
    return ~c("has_request") | (c("response_status") == REQUEST_TIMEOUT)


class Facts(NamedTuple):
    """What is known of a surplus response: the exchange that it follows, and the next request. Times and `wait` are in ns.

    `wait`: how long the server had waited for a request (kind timeout); `crossed`: the next request crossed the response.
    `later`: how long (ns) before the response it came, if the server had not read it.
    """

    kind: str | None
    frame: int
    start: int
    surplus: int
    responses: int
    request_frame: int | None
    request_start: int | None
    answer_frame: int | None
    answer_time: int | None
    wait: int | None
    crossed: bool | None
    later: int | None
    next_frame: int | None
    next_time: int | None


def find(exchanges: pl.LazyFrame, connections: pl.LazyFrame) -> pl.LazyFrame:
    """Return a row for each connection with a surplus response, and for each 408 on an idle connection."""
    found = [_surplus(exchanges, connections), _timeouts(exchanges, connections), _unread(exchanges, connections)]
    return pl.concat(found, how="diagonal").sort("frame")


def _unread(exchanges: pl.LazyFrame, connections: pl.LazyFrame) -> pl.LazyFrame:
    """Return a row for each 408 on an idle connection right after a complete request, which the server had not read."""
    complete = c("has_request") & (c("request_end_reason") == "complete") & (c("response_status") == REQUEST_TIMEOUT)
    timed_out = exchanges.filter(complete & _is_seen() & ~c("persistent")).collect()
    before = of_connections(exchanges, timed_out).select(
        "connection", c("exchange") + 1, answer_frame="response_frame", answer_time="response_end"
    )
    opened = connections.select("connection", "server", "rtt_server", "first_answer_time", "close", "closed_by")
    later = c("response_start") - c("request_start")
    wait = c("response_start") - pl.coalesce("answer_time", "first_answer_time")
    unread = (c("close") == "rst") & (c("closed_by") == "server")
    return (
        timed_out.lazy()
        .join(before, on=["connection", "exchange"], how="left")
        .join(opened, on="connection")
        .filter(unread & (later <= JUST_BEFORE.value + c("rtt_server").fill_null(0)) & (wait >= WAITED.value))
        .select(
            *candidate("client", "high", "response_frame", "request_start", "response_end", kind=pl.lit("timeout")),
            "server",
            c("response_status").alias("surplus"),
            pl.lit("error").alias("severity"),
            *(wait.alias("wait"), pl.lit(value=False).alias("crossed"), pl.lit(1, pl.UInt32).alias("responses")),
            *(later.alias("later"), "answer_frame", "answer_time"),
            *(pl.lit(None, pl.Int64).alias(name) for name in ("request_frame", "request_start")),
            *(c("request_frame").alias("next_frame"), c("request_start").alias("next_time")),
        )
    )


def _is_seen() -> pl.Expr:
    """Return whether the capture has the beginning of the connection, both directions, and the complete response."""
    return c("handshake") & c("both_directions") & ~c("gap_before") & ~c("response_has_gap")


def _timeouts(exchanges: pl.LazyFrame, connections: pl.LazyFrame) -> pl.LazyFrame:
    """Return a row for each 408 that acknowledges no byte of an unanswered request."""
    late = (
        exchanges.filter(~c("has_request") & (c("response_status") == REQUEST_TIMEOUT) & _is_seen())
        .select("connection", *(f"response_{name}" for name in ("frame", "start", "end", "status", "offset", "ack")))
        .collect()
    )
    exchanges = of_connections(exchanges, late)
    answered = exchanges.filter(c("has_request") & c("has_response")).select(
        *("connection", "exchange", "request_frame", "request_start"),
        c("request_end_offset").alias("response_ack"),
        *(c("response_frame").alias("answer_frame"), c("response_end").alias("answer_time")),
    )
    named = {"request_frame": "next_frame", "request_start": "next_time", "request_offset": "next_offset", "exchange": "lost"}
    unanswered = (
        exchanges.filter(c("has_request") & ~c("has_response"))
        .select("connection", "request_ack", *(c(name).alias(new) for name, new in named.items()))
        .join(late.lazy().select("connection", "response_offset", asked="response_ack"), on="connection")
        .filter(c("next_offset") >= c("asked"))
        .sort("next_offset")
        .unique("connection", keep="first")
        .select("connection", "lost", "next_frame", "next_time", (c("request_ack") <= c("response_offset")).alias("crossed"))
    )
    opened = connections.select("connection", "server", "first_answer_time")
    rows = late.lazy().join(answered, on=["connection", "response_ack"], how="left").join(opened, on="connection")
    wait = c("response_start") - pl.coalesce("answer_time", "first_answer_time")
    known = rows.filter(c("answer_frame").is_not_null() | (c("response_ack") == 0)).filter(wait >= WAITED.value)
    side = pl.when("crossed").then(pl.lit("client")).otherwise(pl.lit("server"))
    return (
        known.join(unanswered, on="connection", how="left")
        .with_columns(c("crossed").fill_null(value=False))
        # if the connection was used before and not again, idle-close reports its close
        .filter(c("next_frame").is_not_null() | c("answer_frame").is_null())
        .with_columns(pl.when("crossed").then("lost").otherwise("exchange").alias("exchange"))
        .select(
            *candidate(side, "high", "response_frame", "response_start", "response_end", kind=pl.lit("timeout")),
            "server",
            c("response_status").alias("surplus"),
            pl.when("crossed").then(pl.lit("error")).alias("severity"),
            *(wait.alias("wait"), "crossed", pl.lit(1, pl.UInt32).alias("responses")),
            pl.lit(None, pl.Int64).alias("later"),
            *("request_frame", "request_start", "answer_frame", "answer_time", "next_frame", "next_time"),
        )
    )


def _surplus(exchanges: pl.LazyFrame, connections: pl.LazyFrame) -> pl.LazyFrame:
    """Return a row for each connection with a surplus response that reports no error."""
    accepting = c("response_status").is_between(200, 399)
    complete = (c("response_end_reason") == "complete") & (c("response_framing") != "close-delimited")
    surplus = (
        exchanges.filter(~c("has_request") & accepting & complete & _is_seen() & c("persistent"))
        .select("connection", "response_frame", "response_start", "response_end", "response_status", asked="response_ack")
        .collect()
    )
    # surplus responses are rare, and the requests of a capture are many
    exchanges = of_connections(exchanges, surplus)
    answered = exchanges.filter(c("has_request") & c("has_response")).select(
        "connection", "exchange", "request_frame", "request_start", asked="request_end_offset", answer_frame="response_frame",
        answer_time="response_start",
    )  # fmt: skip
    nexts = exchanges.filter("has_request").select("connection", next_frame="request_frame", next_time="request_start")
    return (
        surplus.lazy()
        .join(answered, on=["connection", "asked"])
        .filter(c("answer_frame") <= c("response_frame"))
        .sort("response_frame")
        .group_by("connection", maintain_order=True)
        .agg(pl.all().first(), pl.len().alias("responses"))
        .join_asof(
            nexts.sort("next_frame"), left_on="response_frame", right_on="next_frame", by="connection", strategy="forward",
            check_sortedness=False,
        )
        .join(connections.select("connection", "server"), on="connection")
        .select(
            *candidate("server", "high", "response_frame", "response_start", "response_end"),
            "server",
            c("response_status").alias("surplus"),
            pl.when(c("next_frame").is_null()).then(pl.lit("warning")).alias("severity"),
            *(pl.lit(None, pl.Int64).alias("wait"), pl.lit(None, pl.Boolean).alias("crossed")),
            pl.lit(None, pl.Int64).alias("later"),
            *("responses", "request_frame", "request_start", "answer_frame", "answer_time", "next_frame", "next_time"),
        )
    )  # fmt: skip


def words(x: Facts) -> dict[str, Any]:
    """Return the words about what the surplus response leads to."""
    if x.wait is not None:
        return _of_timeout(x, x.wait)
    more = f" The connection has {x.responses} surplus responses in all."
    return {
        "others": more if x.responses > 1 else "",
        "effect": _CLOSED if x.next_frame is None else _MIXED_UP,
        "evidence": packets(
            (x.request_frame, x.request_start, "the request"),
            (x.answer_frame, x.answer_time, "its response"),
            (x.frame, x.start, f"another response, {x.surplus}, which acknowledges no byte of a further request"),
            (x.next_frame, x.next_time, "the client's next request"),
        ),
    }


def _of_timeout(x: Facts, wait: int) -> dict[str, Any]:
    """Return the words about a 408 on an idle connection. `wait`: how long the server had waited for a request (ns)."""
    effect = _CLOSED if x.next_frame is None else _CROSSED if x.crossed else _USED_LATER
    met, note = "crossed", "a 408, which acknowledges no byte of a request that is still open"
    if x.later is not None:
        after = duration_text(x.later)
        met, note, effect = "came just before", f"a 408, {after} after the request", _UNREAD.format(after)
    title = f"A request was lost: it {met} a 408 that the server sent after {duration_text(wait)} without a request"
    return {
        **({"title": title} if x.crossed or x.later is not None else {}),
        "waited": Nanoseconds(wait),
        "which": "the first" if x.answer_frame is None else "the next",
        "effect": effect,
        "evidence": packets(
            (x.answer_frame, x.answer_time, "the previous response"),
            (x.frame, x.start, note),
            (x.next_frame, x.next_time, "the client's next request"),
        ),
    }
