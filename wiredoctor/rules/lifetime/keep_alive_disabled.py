"""The server closes the connection after every response, and announces it.

What it means
    Every response says Connection: close, although the clients speak HTTP/1.1 and would keep the connection open. Keep-alive is
    turned off in the server or in a proxy in front of it, or the server does not support it.

Why it hurts
    Each request needs its own connection. That costs a handshake (one more round trip before the first byte of the
    response), one or two more round trips for HTTPS, and the slow start of a new connection. Both sides keep state of closed
    connections for a while, and may run out of ports under load.

How it is proved
    A client and a server had three or more HTTP/1.1 exchanges, each on its own connection whose handshake was captured. The
    client did not ask to close, and every response with a status below 400 says Connection: close. At least three such responses
    are needed. At least two of these handshakes were needless: with keep-alive, an earlier connection would have been idle at
    that time, for at most 75 s. Kind cheap, a note: the handshakes took less than 5 % of the exchanges' time.

What it is not
    If the client asks for the close, no-connection-reuse reports it. If the server uses HTTP/1.0, http10-downgrade reports it.
    After errors (400, 408, 413, 500, 502, ...) many servers and gateways close anyway, so errors are not counted. A server may
    also end a connection with the last of many responses. If requests are minutes apart, a server with keep-alive would have
    closed the idle connection before the next one. Requests that are sent at the same time need a connection each. An event
    stream that a GET opened is not counted, nor is one that broke off.

What to do
    Turn keep-alive on, or put a proxy that supports it in front of the server. Kind cheap: nothing has to change.

References
    RFC 9112 sections 9.3 and 9.6, nginx's keepalive_timeout, Apache's KeepAlive, gunicorn's design.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import polars as pl

from wiredoctor.findings import Advice, Reference, Rule, Threshold
from wiredoctor.rules.shared.evidence import candidate
from wiredoctor.rules.shared.words import packets
from wiredoctor.tables import of_connections
from wiredoctor.world.connection_close import OPEN_STREAMS, RECEIVED, round_trip, streams, time_to_receive
from wiredoctor.world.products import default

c = pl.col

_KEPT = default("nginx", "keepalive_timeout")

RULE = Rule(
    symptom="a handshake before every request; many connections in TIME_WAIT",
    severity={None: "warning", "cheap": "note"},
    title={
        None: "The server closes the connection after every response: {exchanges:,} requests needed {exchanges:,} connections",
        "cheap": "The server closes the connection after each of {exchanges:,} responses, at little cost here",
    },
    message="Each of {exchanges:,} exchanges of {client} with {server} had its own connection: every response says "
    "Connection: close, although the client did not ask for that. The {wasted:,} handshakes that keep-alive would have saved "
    "took {delay} in total; each new connection also begins with slow start.",
    remedy={
        None: "Turn keep-alive on in the server, or in the proxy or balancer that talks to the client. Some servers close after "
        "every response by design (gunicorn's sync worker, Flask's development server): use another worker or server, or put a "
        "proxy with keep-alive in front of them.",
        "cheap": "Nothing has to change here. If clients are further away, or use TLS, turn keep-alive on in the server, or in "
        "the proxy or balancer that talks to them.",
    },
    display_filter="frame.number in {{{frames}}}",
    references=(
        Reference("RFC 9112 section 9.3, persistence", "https://www.rfc-editor.org/rfc/rfc9112.html#section-9.3"),
        Reference("RFC 9112 section 9.6, tear-down", "https://www.rfc-editor.org/rfc/rfc9112.html#section-9.6"),
        Reference("nginx, keepalive_timeout", "https://nginx.org/en/docs/http/ngx_http_core_module.html#keepalive_timeout"),
        Reference("Apache httpd, KeepAlive", "https://httpd.apache.org/docs/2.4/mod/core.html#keepalive"),
        Reference("gunicorn, design: sync workers", "https://docs.gunicorn.org/en/stable/design.html#sync-workers"),
    ),
    explained_by=(("http10-downgrade", "endpoint"),),
    advice=(
        Advice("server", "nginx", f"nginx: check whether keepalive_timeout is 0; the default is {_KEPT}."),
        Advice("server", "Apache(?!-Coyote)", "Apache httpd: KeepAlive On (the default)."),
        Advice("server", "Apache-Coyote|Tomcat", "Tomcat: maxKeepAliveRequests must not be 1."),
        Advice("server", "IIS|Microsoft", 'IIS: "Enable HTTP keep-alive" (HTTP response headers, common headers).'),
        Advice(
            "server",
            "gunicorn",
            "gunicorn: by design, the default worker (sync) keeps no connections open; use --worker-class gthread "
            "and --keep-alive.",
        ),
        Advice(
            "server",
            "Werkzeug",
            "This is Flask's development server (Werkzeug), which does this by design and is not meant for production.",
        ),
        Advice("server", "Python/.*BaseHTTP|SimpleHTTP", 'Python\'s http.server: protocol_version = "HTTP/1.1".'),
        Advice(
            "server",
            "WSGIServer",
            "Python's wsgiref is meant for development: serve the application with waitress, uWSGI or gunicorn (worker gthread).",
        ),
    ),
    summary=True,
    any_order=True,
)

ENOUGH = Threshold(
    "3 exchanges",
    "the minimum number of exchanges: one may be the last of many on its connection, and two may be a coincidence; the minimum "
    "number of connections that keep-alive would have saved is one less",
)
KEPT = Threshold(
    _KEPT,
    "keep-alive saves a handshake if a connection begins at most this long after an earlier response; nginx keeps idle "
    f"connections for {_KEPT} by default, and most servers and pools keep them for less",
)
SHARE = Threshold("5 %", "the share of the exchanges' time below which the handshakes cost next to nothing")
SHOWN = Threshold("3 connections", "the maximum number of connections shown as evidence; the message has the totals")


def may_match() -> pl.Expr:
    """Return a cheap condition on all rows together: if it is false, there are no candidate findings."""
    closes = pl.col("response_connection_close") & ~pl.col("request_connection_close") & (pl.col("exchange") == 0)
    return closes.sum() >= ENOUGH.value


class Facts(NamedTuple):
    """What is known of a client and a server: the connections `shown`, with their first responses (times in ns)."""

    shown: list[dict[str, int]]


def find(exchanges: pl.LazyFrame, connections: pl.LazyFrame) -> pl.LazyFrame:
    """Return a row for each pair of client host and server if every response of the server to that client closes its
    connection.
    """
    asked = c("has_request") & (c("request_version") == "HTTP/1.1") & ~c("request_connection_close") & ~c("upgraded")
    # after an error, many servers close anyway
    answered = (c("response_status") >= 200) & (c("response_status") < 400)
    # an endless stream occupies its connection; one that answers a call ends
    ends = ~c("request_method").is_in(OPEN_STREAMS) & (c("response_end_reason") == "complete")
    answers = exchanges.filter(asked & answered & (~streams() | ends))
    enough = (c("exchanges") >= ENOUGH.value) & (c("wasted") >= ENOUGH.value - 1)
    theirs = _closing_connections(answers, connections)
    answers, connections = of_connections(answers, theirs), of_connections(connections, theirs)
    pairs = _pairs(answers, connections).filter(c("every") & enough)
    sure = pl.when("doubtful").then(pl.lit("low")).otherwise(pl.lit("high"))
    cheap = pl.when(100 * c("delay") < SHARE.value * c("busy")).then(pl.lit("cheap"))
    return (
        _with_names(answers, connections, pairs)
        .select(
            *candidate("server", sure, "frame", "start", "end", kind=cheap, delay=c("delay"), of="server"),
            c("client_host").alias("client"),
            "server",
            *("exchanges", "wasted", "shown"),
        )
        .sort("frame")
    )


def words(x: Facts) -> dict[str, Any]:
    """Return the first responses as evidence."""
    note = "connection {connection}: the {response_status} says Connection: close"
    return {"evidence": packets(*((one["response_frame"], one["response_start"], note.format(**one)) for one in x.shown))}


def _pair() -> pl.Expr:
    """Return a hash of the client host and the server, because a million names would take a third more memory."""
    return c("client_host").hash() ^ c("server").hash(1)


def _closes() -> pl.Expr:
    """Return whether a response is the first on its connection and closes it."""
    # the missing part of a request may have asked for the close
    return c("response_connection_close") & ~c("request_has_gap") & (c("exchange") == 0)


def _closing_connections(answers: pl.LazyFrame, connections: pl.LazyFrame) -> pl.DataFrame:
    """Return the connections of those pairs of client host and server of which each response closes its connection."""
    known = connections.select("connection", _pair().alias("pair"))
    each = answers.select("connection", _closes().alias("closes")).group_by("connection").agg(c("closes").all())
    pairs = each.join(known, on="connection").group_by("pair").agg(c("closes").all(), pl.len())
    closing = pairs.filter(c("closes") & (c("len") >= ENOUGH.value))
    return known.join(closing, on="pair", how="semi").select("connection").collect(engine="streaming")


def _pairs(answers: pl.LazyFrame, connections: pl.LazyFrame) -> pl.LazyFrame:
    """Return a row for each pair of client host and server, with the numbers for the message and the frames of the first
    responses.

    `every`: true if each response is the first on its connection and closes it. `wasted`: the number of connections that
    keep-alive would have saved; `delay`: the time of their handshakes (ns). `busy`: the time of their exchanges (ns).
    """
    rtt = round_trip()
    known = connections.select(
        *("connection", "start", "handshake", "end"),
        rtt.alias("rtt"),
        time_to_receive(RECEIVED.value).alias("to_client"),
        _pair().alias("pair"),
    )
    rows = answers.select(
        *("connection", "response_frame", "response_end", "gap_before"),
        _closes().alias("closes"),
    )
    seen = c("handshake")
    saved = _saved(c("start").filter(seen), c("received").filter(seen))
    return (
        rows.join(known, on="connection")
        .with_columns((pl.coalesce("response_end", "end") + c("to_client")).alias("received"))
        .group_by("pair")
        .agg(
            c("closes").all().alias("every"),
            seen.sum().cast(pl.Int64).alias("exchanges"),
            c("start").filter(seen).min(),
            c("response_end").filter(seen).max().alias("end"),
            saved.sum().cast(pl.Int64).alias("wasted"),
            c("rtt").filter(seen).sort_by(c("start").filter(seen)).filter(saved).sum().alias("delay"),
            (c("received") - c("start")).filter(seen).sort_by(c("start").filter(seen)).filter(saved).sum().alias("busy"),
            c("gap_before").filter(seen).any().alias("doubtful"),
            c("response_frame").filter(seen).bottom_k(max(SHOWN.value, 1)),
        )
    )


def _saved(opened: pl.Expr, received: pl.Expr) -> pl.Expr:
    """Return for each connection, in the order of `opened`, whether keep-alive would have saved its handshake.

    With keep-alive, a connection is free from the time `received`, at which the client has the complete response, until it is
    used again or has been idle for KEPT. A client opens a new connection if all are busy, that is, if the number of requests
    without a complete response reaches a new maximum. After a pause in which all have been closed, counting starts again.
    """
    starts, ends = opened.sort(), received.sort()
    over = ends.search_sorted(starts, side="right").cast(pl.Int64)
    busy = pl.int_range(1, starts.len() + 1) - over
    recently = starts - ends.gather((over - 1).clip(0)) <= KEPT.value
    afresh = ((busy == 1) & ~recently).cum_sum()
    # adding a number that grows with each pause makes the maximum start again
    most = (busy + afresh * starts.len()).cum_max()
    return ((most.diff() == 0) & recently).fill_null(value=False)


def _with_names(answers: pl.LazyFrame, connections: pl.LazyFrame, pairs: pl.LazyFrame) -> pl.LazyFrame:
    """Add names and the first responses, but only to the pairs that are shown, because there may be a million pairs."""
    first = answers.select("connection", "response_frame", "response_start", "response_status").join(
        pairs.select("pair", "response_frame").explode("response_frame"), on="response_frame"
    )
    shown = (
        first.join(connections.select("connection", "client_host", "server"), on="connection")
        .sort("response_frame")
        .group_by("pair", maintain_order=True)
        .agg(
            c("client_host", "server").first(),
            c("response_frame").first().alias("frame"),
            pl.struct("connection", "response_frame", "response_start", "response_status").head(SHOWN.value).alias("shown"),
        )
    )
    return pairs.drop("response_frame").join(shown, on="pair")
