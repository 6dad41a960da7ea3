"""Shared by the rules about the lifetime of connections: how they end, and how long they may be idle."""

from __future__ import annotations

import polars as pl

from wiredoctor.findings import Advice
from wiredoctor.tables import MILLISECOND, SECOND

FRAMING_ERRORS = (
    *("missing-framing", "excess-body", "conflicting-framing", "invalid-chunk", "body-not-allowed/"),
    *("chunked-to-http10", "unframed-request-body", "unfinished-transfer-coding"),
    "malformed-head/no-status-line",
)
"""Rules that report an unknown end of a message, and so explain later events on the connection. "rule/kind" means one kind of a
rule, and "rule/" findings without a kind."""

BROKEN_BEFORE = tuple((name, "previous") for name in FRAMING_ERRORS if name != "missing-framing")
"""The same for the previous exchange, for `explained_by`: if its end is unknown, later bytes look like garbage."""

SELF_FRAMED = ("none", "content-length", "chunked")
"""Framings by which a message marks its own end, RFC 9112 section 6.3."""

ENDLESS = ("text/event-stream", "application/x-ndjson", "multipart/x-mixed-replace")
"""Media types of streams, whose parts come one by one with idle times between them."""


def streams() -> pl.Expr:
    """Return whether the response is a stream of such a type, or another endless medium (column `endless`)."""
    return pl.col("response_endless") | pl.col("response_content_type").is_in(ENDLESS)


POOLS = (
    Advice(
        "client",
        "^Go-http-client",
        "Go: http.Transport.IdleConnTimeout (90 s in http.DefaultTransport, no limit in other Transports).",
        "pool_limit",
    ),
    Advice("client", "curl", "libcurl: CURLOPT_MAXAGE_CONN (118 s by default).", "pool_limit"),
    Advice("client", "okhttp", "OkHttp: the keepAliveDuration of its ConnectionPool (5 minutes by default).", "pool_limit"),
    Advice("client", "undici|^node$", "Node's fetch: the keepAliveTimeout of undici's Agent (4 s by default).", "pool_limit"),
    Advice(
        "client",
        "axios|node-fetch|superagent",
        "Node: the timeout of the http.Agent (5 s in the http.globalAgent of Node 20, no limit in other Agents).",
        "pool_limit",
    ),
    Advice(
        "client",
        "Apache-Http(Async)?Client/5",
        "Apache HttpClient 5: RequestConfig.setConnectionKeepAlive (3 minutes by default).",
        "pool_limit",
    ),
    Advice(
        "client",
        "Apache-Http(Async)?Client/4",
        "Apache HttpClient 4: HttpClientBuilder.evictIdleConnections (no limit by default).",
        "pool_limit",
    ),
    Advice(
        "client",
        "Java-http-client",
        "Java's HttpClient: the system property jdk.httpclient.keepalive.timeout (30 s by default; 20 minutes in Java 17).",
        "pool_limit",
    ),
    Advice(
        "client",
        "^Java/",
        "Java's HttpURLConnection: the system property http.keepAlive.time.server (5 s by default).",
        "pool_limit",
    ),
    Advice("client", "python-httpx", "httpx: Limits(keepalive_expiry=...), 5 s by default.", "pool_limit"),
    Advice("client", "aiohttp", "aiohttp: TCPConnector(keepalive_timeout=...), 15 s by default.", "pool_limit"),
    Advice(
        "client",
        "python-requests|urllib3",
        "requests and urllib3 have no idle timeout: an adapter with urllib3's Retry repeats lost requests.",
    ),
    Advice(
        "client",
        r"^$|\.NET|MS Web Services|WinHttp",
        "If the client is .NET, which sends no User-Agent by itself: SocketsHttpHandler.PooledConnectionIdleTimeout (1 minute, 2 "
        "before .NET 6), in the .NET Framework ServicePoint.MaxIdleTime (100 s); KeepAlive = false is the last resort.",
        "pool_limit",
    ),
    Advice(
        "gateway",
        "^$",
        "This client is a gateway. nginx: keepalive_timeout in upstream (60 s by default); haproxy: pool-purge-delay, or "
        "http-reuse never; Apache httpd: ttl of ProxyPass.",
        "pool_limit",
    ),
    Advice("gateway", "^httpd$", "This client is a gateway (Apache httpd): ttl of ProxyPass.", "pool_limit"),
)
"""Where the idle timeout of a client's pool is set. Shown if a request met an idle timeout.

Sources of the defaults: net/http transport.go; curl lib/url.c; okhttp ConnectionPool.kt; undici lib/dispatcher/client.js;
http.globalAgent.options and new http.Agent().options in Node 20; httpclient5 RequestConfig; httpclient 4.5.14
DefaultConnectionKeepAliveStrategy; java.net.http module-info.java; ConnectionPool and KeepAliveCache of JDK 17; httpx _config.py;
aiohttp connector.py; urllib3 connectionpool.py; Microsoft's pages on SocketsHttpHandler.PooledConnectionIdleTimeout and
ServicePointManager.MaxServicePointIdleTime.
"""


def patience(at_least: int) -> pl.Expr:
    """Return the grace period (ns) for packets that are under way: `at_least`, or two round trips."""
    c = pl.col
    return pl.max_horizontal(pl.lit(at_least), 2 * (c("rtt_client").fill_null(0) + c("rtt_server").fill_null(0)))


def undecided(since: str, at_least: int) -> pl.Expr:
    """Return whether the capture ended within the grace period after the time in column `since`."""
    c = pl.col
    return c("at_capture_end") & (c("final_at") - c(since) < patience(at_least))


def kept_its_word() -> pl.Expr:
    """Return whether the server closed no sooner than announced with Keep-Alive: timeout=N, within the accuracy of timers."""
    c = pl.col
    announced = c("response_keep_alive_timeout").cast(pl.Int64) * SECOND
    early = 20 * MILLISECOND + announced // 100
    return (c("server_close_time") - c("response_end") >= announced - early).fill_null(value=False)


def rest() -> pl.Expr:
    """Return the idle time that the client saw before its request (ns), null for the first exchange.

    It is the same at every capture point, because a round trip to the client is subtracted."""
    c = pl.col
    return c("request_start") - c("previous_end") - c("rtt_client").fill_null(0)


def closed_against_request() -> pl.Expr:
    """Return whether the server had closed before the request came: its FIN or RST acknowledges no byte of it."""
    before = (pl.col("server_close_ack") <= pl.col("request_offset")).fill_null(False)
    return before & ~pl.col("server_close_contradicted")


def request_taken() -> pl.Expr:
    """Return whether the request had arrived: the server's FIN, or RST with ACK flag, acknowledges all of it."""
    return (pl.col("server_close_ack") >= pl.col("request_end_offset")).fill_null(False)
