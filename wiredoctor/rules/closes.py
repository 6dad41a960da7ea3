"""How connections end, and how long they may rest: what the rules about their lifetime share."""

from __future__ import annotations

import polars as pl

from wiredoctor.findings import Advice
from wiredoctor.tables import SECOND

FRAMING_ERRORS = (
    *("missing-framing", "excess-body", "conflicting-framing", "invalid-chunk", "body-not-allowed"),
    *("chunked-to-http10", "unframed-request-body", "unfinished-transfer-coding"),
)
"""Rules that say that the end of a message is unknown: what happened at that end is their consequence."""

SELF_FRAMED = ("none", "content-length", "chunked")
"""Framings by which a message marks its own end, RFC 9112 section 6.3."""

ENDLESS = ("text/event-stream", "application/x-ndjson", "multipart/x-mixed-replace")
"""Media types of streams, whose parts come one by one and which rest between them."""

_IDLE_LIMITS = (
    (2, "gunicorn (--keep-alive)"),
    (5, "Apache httpd (KeepAliveTimeout), Node (server.keepAliveTimeout), uvicorn, hypercorn and lighttpd"),
    (6, "recent releases of Node (server.keepAliveTimeout of 5 s and a buffer of 1 s)"),
    (10, "Bun"),
    (20, "Tomcat as it is shipped (connectionTimeout in server.xml)"),
    (30, "Jetty (idleTimeout)"),
    (60, "AWS application load balancers (idle timeout), and of Tomcat without a setting (keepAliveTimeout)"),
    (65, "Puma (persistent_timeout)"),
    (75, "nginx (keepalive_timeout) and aiohttp's run_app (keepalive_timeout)"),
    (90, "Heroku's router"),
    (120, "IIS (connectionTimeout) and waitress (channel_timeout)"),
    (180, "Traefik (idleTimeout of the entry point)"),
    (300, "Caddy (idle_timeout)"),
    (3600, "Envoy (idle_timeout)"),
)
"""Seconds after which servers close an idle connection by default, and whose default that is."""

POOLS = (
    Advice("client", "^Go-http-client", "Go: http.Transport.IdleConnTimeout (90 s by default)."),
    Advice("client", "curl", "libcurl: CURLOPT_MAXAGE_CONN (118 s by default)."),
    Advice("client", "okhttp", "OkHttp: the keepAliveDuration of its ConnectionPool (5 minutes by default)."),
    Advice("client", "undici|^node$", "Node's fetch: the keepAliveTimeout of undici's Agent (4 s by default)."),
    Advice("client", "axios|node-fetch|superagent", "Node: an http.Agent whose timeout is shorter drops idle sockets in time."),
    Advice("client", "Apache-HttpClient", "Apache HttpClient 5: RequestConfig.setConnectionKeepAlive (3 minutes by default)."),
    Advice("client", "Java-http-client", "Java's HttpClient: the system property jdk.httpclient.keepalive.timeout."),
    Advice("client", "python-httpx", "httpx: Limits(keepalive_expiry=...), 5 s by default."),
    Advice("client", "aiohttp", "aiohttp: TCPConnector(keepalive_timeout=...), 15 s by default."),
    Advice("client", "python-requests|urllib3", "requests and urllib3: an adapter with urllib3's Retry repeats what was lost."),
    Advice(
        "client",
        r"^$|\.NET|MS Web Services|WinHttp",
        "If the client is .NET, which sends no User-Agent by itself: SocketsHttpHandler.PooledConnectionIdleTimeout, in the .NET "
        "Framework ServicePoint.MaxIdleTime; KeepAlive = false is the last resort.",
    ),
)
"""Where the idle limit of a client's pool is set."""


def usual(limit: pl.Expr) -> pl.Expr:
    """Whose default this idle limit (ns) is: "; 5 s is the default of Apache httpd, ...", or "" where it is nobody's."""
    return limit.map_batches(_usual, return_dtype=pl.String, is_elementwise=True)


def _usual(limits: pl.Series) -> pl.Series:
    return pl.Series(limits.name, [_default(n) for n in limits.cast(pl.Int64).to_list()], dtype=pl.String)


def _default(limit: int | None) -> str:
    """Timers fire late; they seem to fire early where the end of the response was still in the server's buffers."""
    if limit is None:
        return ""
    near = [(s, whose) for s, whose in _IDLE_LIMITS if abs(limit - s * SECOND) <= max(s / 50, min(s / 10, 0.5)) * SECOND]
    return "".join(f"; {s} s is the default of {whose}" for s, whose in near[:1])


def patience(at_least: int) -> pl.Expr:
    """Nanoseconds in which something that was on its way may still be seen: `at_least`, or two round trips."""
    c = pl.col
    return pl.max_horizontal(pl.lit(at_least), 2 * (c("rtt_client").fill_null(0) + c("rtt_server").fill_null(0)))


def undecided(since: str, at_least: int) -> pl.Expr:
    """The capture ended before the patience since the time in that column was over."""
    c = pl.col
    return c("at_capture_end") & (c("said_at") - c(since) < patience(at_least))


def rest() -> pl.Expr:
    """How long the client had left the connection alone before its request: the same at every capture point, because the
    answer before it was on its way to the client, and the request on its way back. Null for the first exchange."""
    c = pl.col
    return c("request_start") - c("previous_end") - c("rtt_client").fill_null(0)


def closed_against_request() -> pl.Expr:
    """The server's FIN, or RST with ACK flag, acknowledges nothing of the request: it had closed before that came."""
    before = (pl.col("server_close_ack") <= pl.col("request_offset")).fill_null(False)
    return before & ~pl.col("server_close_contradicted")


def request_taken() -> pl.Expr:
    """The server's FIN, or RST with ACK flag, acknowledges all of the request: it had come."""
    return (pl.col("server_close_ack") >= pl.col("request_end_offset")).fill_null(False)
