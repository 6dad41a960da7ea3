"""The server closed an idle connection sooner than it had announced.

What it means
    With Keep-Alive: timeout=30 a server tells its clients how long it keeps an idle connection, so that they can close it
    first. Here the server closed more than a second before the announced time.

    Kind once: it did so at one moment only, so a restart or a reload may have closed the connection.

Why it hurts
    Clients that use the announcement (Node's fetch, Apache HttpClient, browsers) rely on it. They may send a request on a
    connection that is gone, and lose that request (keep-alive-race). Other clients are not affected.

How it is proved
    The last response on the connection is complete, leaves it open and says Keep-Alive: timeout=N. The server's FIN or RST
    came more than a second after the end of that response and less than N - 1 seconds after its beginning. No request came
    in between, and the client had not closed. The time counts from the beginning of the response, because the server starts its
    timer when it has handed the response to the kernel, which may send it much later.

    An early close counts as a habit if the server closed too soon twice after similar idle times, or three times.
    Otherwise the kind is once.

What it is not
    idle-close reports a close after the announced time, and premature-close reports a close within a second of the response. The
    parameter max in Keep-Alive is a number of requests: with max=0 the server announces that it accepts no further request, so a
    close is not reported. A close by the client does not count. If a process of the server ended and so closed all its idle
    connections, idle-close reports it as kind stop.

What to do
    Make the announcement match the server's behavior. Look for other devices that may close: a balancer or a firewall in
    front of the server. Kind once: check whether the server was restarted or reloaded at that time; then nothing has to change.

References
    RFC 9112 section 9.5, RFC 2068 section 19.7.1.1, Apache's KeepAliveTimeout, Node's server.keepAliveTimeout.
"""

from __future__ import annotations

import polars as pl

from wiredoctor.findings import Advice, Reference, Rule, Threshold
from wiredoctor.rules.shared.connection_close import IDLE, SELF_FRAMED, is_complete
from wiredoctor.rules.shared.evidence import (
    candidate,
    close_after_response,
    close_origin,
    confidence,
    evidence,
    fin_or_rst,
    has_doubtful_close,
    server_closed_first,
    with_doubt,
)
from wiredoctor.rules.shared.idle_times import IdleTimes
from wiredoctor.rules.shared.numbers import DURATION
from wiredoctor.tables import SECOND

_CLOSED = (
    "In its response to {request} the server announced that it keeps an idle connection for {announced} "
    "(Keep-Alive: timeout={timeout}{max_said}). It closed this connection ({close}) after {idle} idle."
)

RULE = Rule(
    symptom="lost requests, although the client respects the announced idle timeout",
    severity={None: "warning", "once": "note"},
    title="The server closed an idle connection after {idle}, although it had announced a timeout of {announced}",
    message={
        None: _CLOSED + " A client that relies on the announcement sends its next request on a connection that is gone.",
        "once": _CLOSED + " The capture shows no second close of this kind, so the cause may be a restart or a reload of the "
        "server: both close idle connections early.",
    },
    remedy={
        None: "Announce the idle timeout that the server really has. If that timeout is as announced, something in front of the "
        "server closes sooner (a balancer, a reverse proxy, a firewall). Then give the server a longer timeout than the "
        "device in front of it, and have that device announce its own timeout.",
        "once": "If the server was restarted or reloaded at this time, nothing has to change. Otherwise capture for longer, and "
        "if the server closes early again, announce the idle timeout that the server really has.",
    },
    references=(
        Reference("RFC 9112 section 9.5, failures and timeouts", "https://www.rfc-editor.org/rfc/rfc9112.html#section-9.5"),
        Reference("RFC 2068 section 19.7.1.1, Keep-Alive", "https://www.rfc-editor.org/rfc/rfc2068.html#section-19.7.1.1"),
        Reference("Apache httpd, KeepAliveTimeout", "https://httpd.apache.org/docs/2.4/mod/core.html#keepalivetimeout"),
        Reference("Node, server.keepAliveTimeout", "https://nodejs.org/api/http.html#serverkeepalivetimeout"),
    ),
    explained_by=(("auth-connection-closed", "connection"),),
    advice=(
        Advice("server", "nginx", "nginx: the first value of keepalive_timeout is the timeout, the second is the announcement."),
        Advice(
            "server",
            "Apache/|Apache$",
            "Apache httpd: KeepAliveTimeout sets the timeout and the announcement; look for a device in front of httpd.",
        ),
        Advice(
            "server",
            "^$",
            "If the server is Node: server.keepAliveTimeout sets the timeout and the announcement; look for a "
            "device in front of Node.",
        ),
    ),
    absence=True,
    ends=True,
)

EARLY = Threshold(
    "1 s", "the tolerance for an early close: servers announce whole seconds, and servers check their timers only now and then"
)


def screen() -> pl.Expr:
    """Return a cheap condition: if no row of a batch meets it, the batch has no candidate findings."""
    return pl.col("server_close_frame").is_not_null() & pl.col("response_keep_alive_timeout").is_not_null()


def find(closes: pl.LazyFrame) -> pl.LazyFrame:
    """Return a row for each connection that the server closed sooner than announced."""
    c = pl.col
    idle = c("server_close_time") - c("response_end")
    promised = c("response_keep_alive_timeout").cast(pl.Int64) * SECOND
    # the server counts from passing the last byte to its kernel, possibly long before that byte was sent
    longest = c("server_close_time") - c("response_start")
    early = (idle > IDLE.value) & (longest < promised - EARLY.value) & c("last_on_connection")
    left_open = c("persistent") & ~c("upgraded") & c("response_framing").is_in(SELF_FRAMED) & c("has_request")
    most = c("response_keep_alive_max")
    another = most.is_null() | (most > 0)
    return closes.filter(early & is_complete() & left_open & another & server_closed_first()).select(
        *candidate("server", confidence(has_doubtful_close("server")), "response_frame", "response_end", "server_close_time"),
        idle.cast(DURATION).alias("idle"),
        promised.cast(DURATION).alias("announced"),
        c("response_keep_alive_timeout").alias("timeout"),
        pl.when(most.is_not_null()).then(pl.format(", max={}", most)).otherwise(pl.lit("")).alias("max_said"),
        fin_or_rst("server_close_rst").alias("close"),
        close_origin("server"),
        *("endpoint", "final_at"),
        evidence(
            (
                "response_frame",
                "response_start",
                pl.format("the response: Keep-Alive: timeout={}", "response_keep_alive_timeout"),
            ),
            ("server_close_frame", "server_close_time", with_doubt(has_doubtful_close("server"), close_after_response(idle))),
        ),
    )


def by_limits(rows: pl.DataFrame, rests: IdleTimes, *, live: bool) -> pl.DataFrame:
    """Drop closes that happened when a server process ended.

    If an endpoint closed too early at only one moment, a process may have ended then. In this case the kind is "once", with at
    most medium confidence.
    """
    return rests.with_single_closes(rests.without_stopped(rows, live=live), pl.lit(value=True), live=live)
