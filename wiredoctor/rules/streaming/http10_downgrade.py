"""The server answers HTTP/1.1 requests with HTTP/1.0.

What it means
    The client speaks HTTP/1.1. The server, or a proxy in front of it, answers with HTTP/1.0. It is old software, or it is
    configured for HTTP/1.0.

Why it hurts
    HTTP/1.0 has no chunked transfer coding. A response that is generated while it is sent has no length, so it ends with its
    connection. A proxy that must know the length first holds the complete response back. The connection is also closed after
    each response unless both sides ask to keep it open, which costs a handshake per request.

How it is proved
    The request line ends with HTTP/1.1 and the status line begins with HTTP/1.0, in every response of the server.

What it is not
    A client that sends HTTP/1.0 requests (ab, older proxies) gets what it asked for. After a 2xx response to CONNECT, the
    connection is a tunnel and is not judged. A server that also answers with HTTP/1.1 is left out: balancers and firewalls
    have redirects and error pages that begin with HTTP/1.0, whatever the server behind them speaks. So a server is left out,
    too, if its only HTTP/1.0 responses are redirections, 400, 403, 408, or 500 and above: F5 BIG-IP redirects to HTTPS like
    this, old releases of HAProxy answered 503, and Go's TLS server rejects HTTP in clear text with 400. Endless media, such as
    a radio station, end with their connection anyway (column endless of the table exchanges).

What to do
    Configure HTTP/1.1 on the server, or on the proxy toward its application.

References
    RFC 9110 section 6.2, RFC 9112 sections 7.1 and 9.3, nginx's proxy_http_version.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import polars as pl

from wiredoctor.findings import Advice, Reference, Rule, Threshold
from wiredoctor.rules.shared.evidence import candidate
from wiredoctor.rules.shared.words import packets
from wiredoctor.tables import of_connections

RULE = Rule(
    symptom="nothing streams through the proxy; a connection for every request",
    severity="note",
    title="The server answers HTTP/1.1 requests with HTTP/1.0",
    message="{server} answered {downgraded:,} of {requests:,} HTTP/1.1 requests with HTTP/1.0. {kept}HTTP/1.0 has no chunked "
    "coding: a response of unknown length ends with its connection, and a proxy cannot forward it piece by piece and "
    "keep the connection open.",
    remedy="Configure the server to speak HTTP/1.1. If a proxy is in front of it, have the proxy speak HTTP/1.1 to both sides.",
    display_filter='http.response.version == "HTTP/1.0" && frame.number in {{{frames}}}',
    references=(
        Reference("RFC 9110 section 6.2, protocol version", "https://www.rfc-editor.org/rfc/rfc9110.html#section-6.2"),
        Reference("RFC 9112 section 7.1, chunked transfer coding", "https://www.rfc-editor.org/rfc/rfc9112.html#section-7.1"),
        Reference("RFC 9112 section 9.3, persistence", "https://www.rfc-editor.org/rfc/rfc9112.html#section-9.3"),
        Reference("nginx, proxy_http_version", "https://nginx.org/en/docs/http/ngx_http_proxy_module.html#proxy_http_version"),
    ),
    advice=(
        Advice(
            "server",
            "WSGIServer",
            "Python's wsgiref speaks only HTTP/1.0 and is meant for development: serve the application with waitress, uWSGI or "
            "gunicorn.",
        ),
        Advice(
            "server",
            "^(?!.*WSGIServer).*Python/",
            'Python\'s http.server: protocol_version = "HTTP/1.1" in the handler (python -m http.server --protocol HTTP/1.1), '
            "with a Content-Length in every response.",
        ),
        Advice("server", "squid", "Squid speaks HTTP/1.1 to clients from release 3.2 on."),
        Advice("server", "Apache", "Apache httpd: look for downgrade-1.0 and force-response-1.0 (BrowserMatch, SetEnvIf)."),
    ),
    summary=True,
)

SHOWN = Threshold("3 responses", "the maximum number of responses shown as evidence; the message has the totals")


_OF_BALANCERS = (400, 403, 408)
"""The client errors that balancers and TLS servers send themselves in HTTP/1.0, without asking the server behind them."""


def may_match() -> pl.Expr:
    """Return a cheap condition: if no row of a batch meets it, the batch has no candidate findings."""
    return pl.col("response_version") == "HTTP/1.0"


class Facts(NamedTuple):
    """What is known of a server that answers with HTTP/1.0.

    `shown`: the first of these responses, each with `response_frame`, `response_start` (ns) and `response_status`.
    """

    persistent: int
    shown: Sequence[Mapping[str, int]]


def find(exchanges: pl.LazyFrame, connections: pl.LazyFrame) -> pl.LazyFrame:
    """Return a row for each server that answers with an older HTTP version than its clients use."""
    c = pl.col
    asked = c("has_request") & (c("request_version") == "HTTP/1.1") & ~c("upgraded") & ~c("response_endless")
    old = asked & (c("response_version") == "HTTP/1.0")
    status = c("response_status")
    of_balancers = status.is_between(300, 399) | status.is_in(_OF_BALANCERS) | (status >= 500)
    new = c("response_version") == "HTTP/1.1"
    answers = exchanges.filter(c("response_status") >= 101)
    named = connections.select("connection", "server")
    versions = answers.group_by("connection").agg(old.any().alias("old"), new.any().alias("new")).join(named, on="connection")
    downgrading = versions.group_by("server").agg(c("old").any(), c("new").any()).filter(c("old") & ~c("new"))
    theirs = named.join(downgrading, on="server", how="semi").collect(engine="streaming")
    servers = (
        of_connections(answers, theirs)
        .select(
            *("connection", "response_frame", "response_start", "response_end", "response_status", "persistent"),
            *(asked.alias("asked"), old.alias("old")),
        )
        .join(theirs.lazy(), on="connection")
        .group_by("server")
        .agg(
            c("asked").sum().cast(pl.Int64).alias("requests"),
            (c("old") & ~of_balancers).any().alias("served"),
            c("old").sum().cast(pl.Int64).alias("downgraded"),
            (c("old") & c("persistent")).sum().cast(pl.Int64).alias("persistent"),
            c("response_frame").filter("old").min().alias("frame"),
            c("response_start").filter("old").min().alias("start"),
            c("response_end").filter("old").max().alias("end"),
            pl.struct("response_frame", "response_start", "response_status")
            .filter("old")
            .sort_by(c("response_frame").filter("old"))
            .head(SHOWN.value)
            .implode()
            .alias("shown"),
        )
        .filter("served")
    )
    return servers.select(
        *candidate("server", "high", "frame", "start", "end", of="server"),
        *("server", "requests", "downgraded", "persistent", "shown"),
    ).sort("frame")


def words(x: Facts) -> dict[str, Any]:
    """Return the words about the responses."""
    kept = f"{x.persistent} of these responses left the connection open, as their Connection field says. "
    note = "HTTP/1.0 {} in response to an HTTP/1.1 request"
    shown = ((one["response_frame"], one["response_start"], note.format(one["response_status"])) for one in x.shown)
    return {
        "kept": kept if x.persistent else "Each of these responses is the last on its connection. ",
        "evidence": packets(*shown),
    }
