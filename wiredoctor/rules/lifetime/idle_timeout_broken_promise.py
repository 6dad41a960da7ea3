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

from typing import Any, NamedTuple

import polars as pl

from wiredoctor.findings import Advice, Reference, Rule, Threshold
from wiredoctor.rules.shared.evidence import candidate, confidence, has_doubtful_close
from wiredoctor.rules.shared.words import close_after_response, fin_or_rst, packets, sender_of_close, with_doubt
from wiredoctor.tables import SECOND
from wiredoctor.world import World
from wiredoctor.world.connection_close import IDLE, SELF_FRAMED, is_complete, server_closed_first
from wiredoctor.world.numbers import DURATION
from wiredoctor.world.server import TOGETHER, Servers

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


def may_match() -> pl.Expr:
    """Return a cheap condition: if no row of a batch meets it, the batch has no candidate findings."""
    return pl.col("server_close_frame").is_not_null() & pl.col("response_keep_alive_timeout").is_not_null()


class Facts(NamedTuple):
    """What is known of a close that came too early. Times and durations are in ns, `timeout` is in seconds."""

    connection: int
    endpoint: int
    kind: str | None
    confidence: str
    final_at: int
    response_frame: int
    response_start: int
    idle: int
    timeout: int
    most: int | None
    end: int
    server_close_frame: int
    server_close_rst: int
    server_close_origin: str | None


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
        most.alias("most"),
        *("endpoint", "final_at", "response_frame", "response_start"),
        *("server_close_frame", "server_close_rst", "server_close_origin"),
    )


ASKS = (Servers,)


def decide(x: Facts, world: World) -> Facts | None:
    """Drop closes that happened when a server process ended.

    If an endpoint closed too early at only one moment, a process may have ended then. In this case the kind is "once", with at
    most medium confidence.
    """
    server = world.of(Servers).at(x.endpoint, world.until(x.final_at + TOGETHER))
    if server.is_stopped(x.connection):
        return None
    if server.is_repeated(x.connection, x.end):
        return x
    return x._replace(kind="once", confidence="medium" if x.confidence == "high" else x.confidence)


def words(x: Facts) -> dict[str, Any]:
    """Return the words about the close."""
    return {
        "max_said": "" if x.most is None else f", max={x.most}",
        "close": fin_or_rst(x.server_close_rst),
        "origin": sender_of_close(x.server_close_origin),
        "evidence": packets(
            (x.response_frame, x.response_start, f"the response: Keep-Alive: timeout={x.timeout}"),
            (x.server_close_frame, x.end, with_doubt(x.server_close_origin, close_after_response(x.server_close_rst, x.idle))),
        ),
    }
