"""Build expressions that the rules about the lifetime of connections share: about closes and idle times."""

from __future__ import annotations

import polars as pl

from wiredoctor.findings import Advice, Threshold
from wiredoctor.tables import MILLISECOND, NOTHING, SECOND

c = pl.col

IDLE = Threshold(
    "1 s",
    "the minimum idle time before a close by an idle timeout; no common server has a shorter timeout, and an earlier close is "
    "due to the response",
)
DECIDED = Threshold(
    "1 s",
    "a packet that comes up to this time (or two round trips, if longer) after the close may show that the close lost a "
    "request (keep-alive-race); if the capture ends sooner, confidence is lower",
    most="1 s",
)
RECEIVED = Threshold(
    "95 %",
    "the minimum time between a response and the next SYN, as a share of the round trip to the client; a SYN that comes sooner "
    "was sent before the client had the response (the missing 5 % allow for rounded times)",
)
START = Threshold(
    "50 ms",
    "the maximum pause between an exchange and the next connection; after a longer pause, each connection may be from another "
    "process",
)
SEVERAL = Threshold(
    "10 exchanges",
    "if each exchange may come from a different process, fewer exchanges than this are only a note, because a user may have "
    "typed the commands",
)

FRAMING_ERRORS = (
    *("missing-framing", "excess-body", "conflicting-framing", "invalid-chunk", "body-not-allowed/"),
    *("chunked-to-http10", "unframed-request-body", "unfinished-transfer-coding"),
    *("malformed-head/no-status-line", "malformed-head/speaks-first"),
)
"""The rules that report a message whose end is unknown. Such a message explains later events on the connection.

"rule/kind" stands for one kind of a rule, and "rule/" for findings without a kind.
"""

BROKEN_BEFORE = tuple((name, "previous") for name in FRAMING_ERRORS if name != "missing-framing")
"""Entries for `explained_by`: the rules in FRAMING_ERRORS, when they report the previous exchange of the connection.

If the end of the previous exchange is unknown, later bytes look invalid.
"""

SELF_FRAMED = ("none", "content-length", "chunked")
"""The framings by which a message marks its own end (RFC 9112 section 6.3)."""

ENDLESS = ("text/event-stream", "application/x-ndjson", "multipart/x-mixed-replace")
"""The media types of streams, whose parts come one by one with idle times between them."""


def is_complete() -> pl.Expr:
    """Return whether request and response are complete, and the response is final and was not cut off after its last chunk."""
    complete = (c("request_end_reason") == "complete") & (c("response_end_reason") == "complete")
    return complete & ~c("response_in_trailer") & (c("response_status") >= 200)


def is_delimited_by_close() -> pl.Expr:
    """Return whether the body of a response has no other end than the close of its connection."""
    response = c("has_request") & c("has_response") & ~c("upgraded") & (c("request_method") != "CONNECT")
    return response & (c("response_framing") == "close-delimited") & ~c("response_has_transfer_encoding")


def streams() -> pl.Expr:
    """Return whether the response is an endless stream: its media type is in ENDLESS, or `response_endless` is true."""
    return pl.col("response_endless") | pl.col("response_content_type").is_in(ENDLESS)


_CLIENT_POOLS = (
    ("^Go-http-client", "Go: http.Transport.IdleConnTimeout (90 s in http.DefaultTransport, no limit in other Transports)."),
    ("curl|^GuzzleHttp", "libcurl: CURLOPT_MAXAGE_CONN (118 s by default)."),
    ("okhttp", "OkHttp: the keepAliveDuration of its ConnectionPool (5 minutes by default)."),
    ("undici|^node$", "Node's fetch: the keepAliveTimeout of undici's Agent (4 s by default)."),
    (
        "axios|node-fetch|superagent",
        "Node: the timeout of the http.Agent (5 s in the http.globalAgent of Node 20, no limit in other Agents).",
    ),
    ("Apache-Http(Async)?Client/5", "Apache HttpClient 5: RequestConfig.setConnectionKeepAlive (3 minutes by default)."),
    ("Apache-Http(Async)?Client/4", "Apache HttpClient 4: HttpClientBuilder.evictIdleConnections (no limit by default)."),
    (
        "Java-http-client",
        "Java's HttpClient: the system property jdk.httpclient.keepalive.timeout (30 s by default; 20 minutes in Java 17).",
    ),
    ("^Java/", "Java's HttpURLConnection: the system property http.keepAlive.time.server (5 s by default)."),
    ("ReactorNetty", "Reactor Netty: ConnectionProvider.builder(...).maxIdleTime(...) (no limit by default)."),
    ("^Vert[.]x", "Vert.x: HttpClientOptions.setKeepAliveTimeout (60 s by default)."),
    ("^AHC/", "AsyncHttpClient: setPooledConnectionIdleTimeout (60 s by default)."),
    ("reqwest", "reqwest: ClientBuilder::pool_idle_timeout (90 s by default)."),
    (
        "^Ruby$",
        "Ruby: Net::HTTP::Persistent's idle_timeout (5 s by default), or Net::HTTP's keep_alive_timeout (2 s).",
    ),
    ("^excon", "Excon: there is no idle timeout, but its option idempotent repeats lost requests."),
    ("^Dart/", "Dart: HttpClient.idleTimeout (15 s by default)."),
    ("python-httpx", "httpx: Limits(keepalive_expiry=...), 5 s by default."),
    ("aiohttp", "aiohttp: TCPConnector(keepalive_timeout=...), 15 s by default."),
    (
        r"\.NET|MS Web Services|WinHttp",
        ".NET: SocketsHttpHandler.PooledConnectionIdleTimeout (1 minute; 2 minutes before .NET 6). .NET "
        "Framework: ServicePoint.MaxIdleTime (100 s). KeepAlive = false is the last resort.",
    ),
    (
        "^$",
        "If the client is .NET, Node or Rust (they send no User-Agent by default), set "
        "SocketsHttpHandler.PooledConnectionIdleTimeout (by default 1 minute; 2 minutes before .NET 6), the timeout of the "
        "http.Agent (5 s in the http.globalAgent of Node 20, no limit in other Agents), or pool_idle_timeout of hyper and "
        "reqwest (90 s).",
    ),
)
_GATEWAY_POOLS = (
    (
        "^$",
        "This client is a gateway. nginx: keepalive_timeout in upstream (60 s by default); haproxy: pool-purge-delay, or "
        "http-reuse never; Apache httpd: ttl of ProxyPass.",
    ),
    ("^httpd$", "This client is a gateway (Apache httpd): ttl of ProxyPass."),
)
POOLS = (
    *(Advice("client", software, text, "pool_limit") for software, text in _CLIENT_POOLS),
    Advice(
        "client",
        "python-requests|urllib3",
        "requests or urllib3: there is no idle timeout, but an adapter with urllib3's Retry repeats lost requests.",
    ),
    *(Advice("gateway", software, text, "pool_limit") for software, text in _GATEWAY_POOLS),
)
"""The settings for the idle timeouts of client pools, shown with findings about the idle timeout of a server.

Sources of the defaults: net/http transport.go; curl lib/url.c; okhttp ConnectionPool.kt; undici lib/dispatcher/client.js;
http.globalAgent.options and new http.Agent().options in Node 20; httpclient5 RequestConfig; httpclient 4.5.14
DefaultConnectionKeepAliveStrategy; java.net.http module-info.java; ConnectionPool and KeepAliveCache of JDK 17; httpx _config.py;
aiohttp connector.py; urllib3 connectionpool.py; reqwest async_impl/client.rs; hyper client/builder; net-http-persistent
persistent.rb; Net::HTTP#keep_alive_timeout of Ruby 3; excon connection.rb; Vert.x HttpClientOptions.java; Reactor Netty's
reference guide; ahc-default.properties; dart:io HttpClient.idleTimeout; Microsoft's pages on
SocketsHttpHandler.PooledConnectionIdleTimeout and ServicePointManager.MaxServicePointIdleTime.
"""


def round_trip() -> pl.Expr:
    """Return the round-trip time (ns) between client and server.

    It is the sum of the parts on both sides of the capture point; an unknown part counts as 0.
    """
    return c("rtt_client").fill_null(0) + c("rtt_server").fill_null(0)


def time_to_receive(percent: int) -> pl.Expr:
    """Return the minimum time (ns) between the end of a response and a SYN that the client sends because it has the response.

    Seen from the capture point, this takes a round trip to the client. Only `percent` of it is required (see RECEIVED).
    """
    return c("rtt_client").fill_null(0).clip(0) * percent // 100


def grace_period(at_least: int) -> pl.Expr:
    """Return the grace period (ns) for packets in transit: `at_least` ns, or two round trips if that is longer."""
    return pl.max_horizontal(pl.lit(at_least), 2 * round_trip())


def ended_within_grace_period(at_least: int) -> pl.Expr:
    """Return True if the capture ended within the grace period after the server's close, so an expected packet may be missing.

    `at_least`: as in `grace_period`.
    """
    return c("at_capture_end") & (c("final_at") - c("server_close_time") < grace_period(at_least))


def closed_as_announced() -> pl.Expr:
    """Return whether the server kept the connection open for as long as it had announced with Keep-Alive: timeout=N.

    Timers are not exact, so a slightly earlier close counts, too. False if the response announced no timeout.
    """
    announced = c("response_keep_alive_timeout").cast(pl.Int64) * SECOND
    early = 20 * MILLISECOND + announced // 100
    return (c("server_close_time") - c("response_end") >= announced - early).fill_null(value=False)


def client_idle_time() -> pl.Expr:
    """Return the idle time (ns) before a request, as the client saw it; null for the first exchange.

    A round trip to the client is subtracted, so the result is the same at every capture point.
    """
    return c("request_start") - c("previous_end") - c("rtt_client").fill_null(0)


def closed_against_request() -> pl.Expr:
    """Return whether the server had closed before the request arrived: its FIN or RST acknowledges no byte of the request."""
    before = (pl.col("request_arrived") <= NOTHING).fill_null(False)
    return before & ~pl.col("server_close_contradicted")


def is_reset_without_ack(side: str) -> pl.Expr:
    """Return whether the close of a side is an RST without ACK flag, as a host sends that does not know the connection.

    `side`: "client" or "server".
    """
    return (c(f"{side}_close_rst") == 1) & c(f"{side}_close_ack").is_null()
