"""Build expressions that the rules about the lifetime of connections share: about closes and idle times."""

from __future__ import annotations

import polars as pl

from wiredoctor.findings import Advice, Threshold, cached_for_thresholds
from wiredoctor.tables import MILLISECOND, NOTHING, SECOND, UNANSWERED_PROBES, WITH_FIN
from wiredoctor.world.products import advice, default

c = pl.col

IDLE = Threshold(
    "997 ms",
    "the minimum idle time before a close by an idle timeout; no common server has a shorter timeout than 1 s, whose timer may "
    "be 3 ms early, and an earlier close is due to the response",
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
    *("missing-framing", "excess-body/", "conflicting-framing", "invalid-chunk/", "body-not-allowed/"),
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

OPEN_STREAMS = ("GET", "HEAD")
"""The methods of clients that open a stream without an end. A stream that answers another method is the answer to a call."""


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


def answer_due() -> pl.Expr:
    """Return whether the client of a response waits for its end.

    Nobody waits for that of a stream that a GET opened, because its client comes back, and of one whose last events contain the
    mark with which its API ends an answer (protocols/http1/end_marks.py).
    """
    return ~streams() | (~c("request_method").is_in(OPEN_STREAMS) & ~c("response_end_mark"))


_DOTNET = default(".NET", "SocketsHttpHandler.PooledConnectionIdleTimeout")
UPSTREAM_KEPT = default("nginx", "keepalive_timeout in upstream")
POOLS = (
    *advice("idle", "client", "pool_limit"),
    Advice(
        "client",
        r"\.NET|MS Web Services|WinHttp",
        f".NET: SocketsHttpHandler.PooledConnectionIdleTimeout ({_DOTNET}). .NET Framework: ServicePoint.MaxIdleTime "
        f"({default('.NET Framework', 'ServicePoint.MaxIdleTime')}). KeepAlive = false is the last resort.",
        "pool_limit",
    ),
    Advice(
        "client",
        "^$",
        "If the client is .NET, Node or Rust (they send no User-Agent by default), set "
        f"SocketsHttpHandler.PooledConnectionIdleTimeout (by default {_DOTNET}), the timeout of the http.Agent "
        f"({default('Node', 'the timeout of the http.Agent')}), or pool_idle_timeout of hyper and reqwest "
        f"({default('reqwest', 'ClientBuilder::pool_idle_timeout')}).",
        "pool_limit",
    ),
    Advice("client", "^excon", "Excon: there is no idle timeout, but its option idempotent repeats lost requests.", "pool_limit"),
    Advice(
        "client",
        "python-requests|urllib3",
        "requests or urllib3: there is no idle timeout, but an adapter with urllib3's Retry repeats lost requests.",
    ),
    Advice(
        "gateway",
        "^$",
        f"This client is a gateway. nginx: keepalive_timeout in upstream ({UPSTREAM_KEPT} by default); haproxy: "
        "pool-purge-delay, or http-reuse never; Apache httpd: ttl of ProxyPass.",
        "pool_limit",
    ),
    Advice("gateway", "^httpd$", "This client is a gateway (Apache httpd): ttl of ProxyPass.", "pool_limit"),
)
"""The settings for the idle timeouts of client pools, shown with findings about the idle timeout of a server."""


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


@cached_for_thresholds
def server_closed_first() -> pl.Expr:
    """Return an expression for rows of `closes`: true if the server closed before the client (see engine/ends.py).

    It is false if a device on the path closed in the server's name, or if the client or the path was already gone.
    """
    return c("closed_first") == "server"


def may_have_closed_first() -> pl.Expr:
    """Return an expression that is true for all rows for which `server_closed_first` is true, and cheaper to evaluate."""
    return c("server_close_frame").is_not_null() & (c("client_close_frame").is_null() | (c("server_end_arrived") == WITH_FIN))


def is_client_gone() -> pl.Expr:
    """Return an expression for rows of `closes`: true if the server reset the connection because its probes were not answered.

    A system resets a connection after several unanswered keep-alive probes. A single probe may have been lost.
    """
    return c("server_unanswered_probes") >= UNANSWERED_PROBES


@cached_for_thresholds
def client_knew_of_fin() -> pl.Expr:
    """Return whether the client closed after it had received the server's FIN: its own FIN or RST acknowledges that FIN."""
    return (c("server_end_arrived") == WITH_FIN).fill_null(False)
