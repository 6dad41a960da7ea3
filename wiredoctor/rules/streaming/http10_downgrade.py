"""Requests of HTTP/1.1 are answered in HTTP/1.0.

What it means
    The client speaks HTTP/1.1, the server, or a proxy before it, answers in HTTP/1.0: an old program, or one that was told so.

Why it hurts
    HTTP/1.0 has no chunked coding: what is made while it is sent has no length, so that its end is the end of the connection,
    and a proxy that must know the length first holds back the whole of it. And a connection is closed after each response unless
    both sides ask for the opposite: users pay a handshake for each.

How it is proved
    The request line ends with HTTP/1.1 and the status line begins with HTTP/1.0.

What it is not
    A client that asks in HTTP/1.0 (ab, older proxies): it is answered as it asks. The 2xx to a CONNECT, after which nothing is
    HTTP. Endless media (the column endless of the table exchanges), such as a radio station's: their end is the connection's.

What to do
    Let the server, or the proxy towards its application, speak HTTP/1.1.

References
    RFC 9110 section 6.2, RFC 9112 sections 7.1 and 9.3, nginx's proxy_http_version.
"""

from __future__ import annotations

import polars as pl

from wiredoctor.findings import Advice, Reference, Rule, Threshold
from wiredoctor.rules.proof import EVIDENCE, packet

RULE = Rule(
    severity="note",
    title="The server answers requests of HTTP/1.1 in HTTP/1.0",
    message="{server} answered {downgraded:,} of {requests:,} HTTP/1.1 requests with HTTP/1.0. {kept}HTTP/1.0 has no chunked "
    "coding: a response whose length is not known in advance ends with its connection, and nothing between can pass it on piece "
    "by piece and keep the connection.",
    remedy="Let the server speak HTTP/1.1; where a proxy stands before it, let that speak HTTP/1.1 to both sides.",
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
            "Python/",
            'Python\'s http.server: protocol_version = "HTTP/1.1" in the handler (python -m http.server --protocol HTTP/1.1), '
            "with a Content-Length in every response.",
        ),
        Advice("server", "squid", "Squid speaks HTTP/1.1 to clients from release 3.2 on."),
        Advice("server", "Apache", "Apache httpd: look for downgrade-1.0 and force-response-1.0 (BrowserMatch, SetEnvIf)."),
    ),
    summary=True,
)

SHOWN = Threshold("3 responses", "enough to look at; the counts say the rest")


def screen() -> pl.Expr:
    """True on some row wherever there is a candidate."""
    return pl.col("response_version") == "HTTP/1.0"


def find(exchanges: pl.LazyFrame, connections: pl.LazyFrame) -> pl.LazyFrame:
    """A row per server that answers in an older version than it is asked in."""
    c = pl.col
    asked = c("has_request") & (c("request_version") == "HTTP/1.1") & (c("response_status") >= 200) & ~c("upgraded")
    asked = asked & ~c("response_endless")
    old = c("response_version") == "HTTP/1.0"
    servers = (
        exchanges.filter(asked)
        .select(
            "connection", "response_frame", "response_start", "response_end", "response_status", "persistent", old.alias("old")
        )
        .join(connections.select("connection", "server"), on="connection")
        .group_by("server")
        .agg(
            pl.len().cast(pl.Int64).alias("requests"),
            c("old").sum().cast(pl.Int64).alias("downgraded"),
            (c("old") & c("persistent")).sum().cast(pl.Int64).alias("persistent"),
            c("response_frame").filter("old").min().alias("frame"),
            c("response_start").filter("old").min().alias("start"),
            c("response_end").filter("old").max().alias("end"),
            packet("response_frame", "response_start", pl.format("HTTP/1.0 {} to a request of HTTP/1.1", "response_status"))
            .filter("old")
            .sort_by(c("response_frame").filter("old"))
            .head(SHOWN.value)
            .implode()
            .cast(EVIDENCE)
            .alias("evidence"),
        )
        .filter(c("downgraded") > 0)
    )
    kept = pl.format("{} of these responses left the connection open, because both sides asked for that. ", "persistent")
    return servers.select(
        pl.lit(None, pl.Int64).alias("connection"),
        pl.lit(None, pl.Int32).alias("exchange"),
        pl.lit(None, pl.String).alias("kind"),
        pl.lit("server").alias("side"),
        pl.lit("high").alias("confidence"),
        "frame",
        "start",
        "end",
        pl.lit(None, pl.Int64).alias("delay"),
        "server",
        "requests",
        "downgraded",
        pl.when(c("persistent") > 0)
        .then(kept)
        .otherwise(pl.lit("Each of these responses is the last of its connection. "))
        .alias("kept"),
        "evidence",
    ).sort("frame")
