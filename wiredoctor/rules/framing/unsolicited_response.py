"""A server sent a response that no request had asked for.

What it means
    The server answered a request completely, and then sent another complete response on the same connection, before the next
    request had arrived.

Why it hurts
    HTTP/1.1 assigns responses to requests only by their order. A client that does not notice the surplus response takes it for
    the response to its next request. From then on, each response on this connection is taken for the response to the next
    request. One user may get the data of another. Good clients close the connection ("Unsolicited response received on idle HTTP
    channel"), and a request that they have just sent on it is lost.

How it is proved
    The surplus response is complete. The connection was captured from its handshake, without gaps. All bytes of the client
    that the response acknowledges belong to requests that had been answered before.

What it is not
    Before it closes an idle connection, a server may send a response such as 408 without a request. So a response does not count
    if its status is 400 or above, or if it announces the close. Interim responses (1xx) do not count. If a body is longer than
    its Content-Length, and the rest does not begin another response, excess-body reports it. If the server took other bytes of
    the client for a request, the response acknowledges these bytes, so it does not count.

What to do
    Find out why the server answers twice, and have it send one response to each request. Have clients close a connection on
    which bytes come while no request is open.

References
    RFC 9112 section 9.2.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import polars as pl

from wiredoctor.findings import Reference, Rule
from wiredoctor.rules.shared.evidence import candidate
from wiredoctor.rules.shared.words import packets
from wiredoctor.tables import of_connections

c = pl.col

RULE = Rule(
    symptom="answers that belong to another request, *unsolicited response*",
    severity="error",
    title="The server sent a response that no request had asked for",
    message="{server} answered {request} completely and then sent another complete response ({surplus}) before it received "
    "another request.{others} {effect}",
    remedy="Have the server send one response to each request. Look for a handler that goes on after it has answered (an error "
    "page after a response, a missing return, a filter that writes its own response), and for a proxy that forwards a response "
    "twice. Have clients close a connection on which bytes come while no request is open.",
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


def may_match() -> pl.Expr:
    """Return a cheap condition: if no row of a batch meets it, the batch has no candidate findings."""
    return ~c("has_request")


class Facts(NamedTuple):
    """What is known of a surplus response: the exchange that it follows, and the next request. Times are in ns."""

    frame: int
    start: int
    surplus: int
    responses: int
    request_frame: int
    request_start: int
    answer_frame: int
    answer_time: int
    next_frame: int | None
    next_time: int | None


def find(exchanges: pl.LazyFrame, connections: pl.LazyFrame) -> pl.LazyFrame:
    """Return a row for each connection with a surplus response."""
    accepting = c("response_status").is_between(200, 399)
    complete = (c("response_end_reason") == "complete") & (c("response_framing") != "close-delimited")
    seen = c("handshake") & c("both_directions") & ~c("gap_before") & ~c("response_has_gap")
    surplus = (
        exchanges.filter(may_match() & accepting & complete & seen & c("persistent"))
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
            *("responses", "request_frame", "request_start", "answer_frame", "answer_time", "next_frame", "next_time"),
        )
        .sort("frame")
    )  # fmt: skip


def words(x: Facts) -> dict[str, Any]:
    """Return the words about what the surplus response leads to."""
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
