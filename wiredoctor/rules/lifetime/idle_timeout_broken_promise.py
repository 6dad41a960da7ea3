"""The server closed an idle connection sooner than it had announced.

What it means
    With Keep-Alive: timeout=30 a server tells its clients how long it keeps an idle connection, so that they can give it up
    before it does. Here it closed earlier than that by more than a second.

Why it hurts
    Clients that heed the announcement (Node's fetch, Apache HttpClient, the browsers) are deceived by it: they send a request on
    a connection that is gone, and lose it (keep-alive-race). Those that know nothing of it are no worse off.

How it is proved
    The last response on the connection is complete, leaves it open and says Keep-Alive: timeout=N; the server's FIN or RST came
    more than a second after its end, less than N - 1 seconds after its beginning, with no request in between, and before any of
    the client. (A server counts from when it has written the response, and that may wait in its buffers.)

What it is not
    A close after the announced time: idle-close. A close within a second: premature-close. A server that counts requests: max=0
    says that there will be no other; any other max is an upper bound. A client that closes first. A process of the server that
    ended, and all its idle connections with it: idle-close, kind stop.

What to do
    Let the announcement say what the server does, and look for what else may close: a balancer or a firewall before it.

References
    RFC 9112 section 9.5, RFC 2068 section 19.7.1.1, Apache's KeepAliveTimeout, Node's server.keepAliveTimeout.
"""

from __future__ import annotations

import polars as pl

from wiredoctor.findings import Advice, Reference, Rule, Threshold
from wiredoctor.rules.closes import SELF_FRAMED
from wiredoctor.rules.proof import close_confidence, close_origin, close_word, evidence, server_closed_first
from wiredoctor.rules.rests import Rests
from wiredoctor.rules.words import DURATION, duration
from wiredoctor.tables import SECOND

RULE = Rule(
    severity="warning",
    title="The server closed an idle connection after {idle}, though it had announced {announced}",
    message="The server announced with its response to {request} that it keeps an idle connection for {announced} "
    "(Keep-Alive: timeout={timeout}{max_said}), and closed this one with {close} when it had been idle for {idle}. A client "
    "that relies on the announcement sends its next request on a connection that is gone.",
    remedy="Let the announcement and the idle limit be the same. Where the server's own limit is as it says, something before it "
    "closes sooner (a balancer, a reverse proxy, a firewall): the longer limit belongs nearer to the server, and whoever talks "
    "to the client has to announce its own. A restart or a reload closes idle connections early, too; one connection alone does "
    "not show it.",
    display_filter="tcp.stream == {connection} && frame.number in {{{frames}}}",
    references=(
        Reference("RFC 9112 section 9.5, failures and timeouts", "https://www.rfc-editor.org/rfc/rfc9112.html#section-9.5"),
        Reference("RFC 2068 section 19.7.1.1, Keep-Alive", "https://www.rfc-editor.org/rfc/rfc2068.html#section-19.7.1.1"),
        Reference("Apache httpd, KeepAliveTimeout", "https://httpd.apache.org/docs/2.4/mod/core.html#keepalivetimeout"),
        Reference("Node, server.keepAliveTimeout", "https://nodejs.org/api/http.html#serverkeepalivetimeout"),
    ),
    explained_by=(("auth-connection-closed", "connection"),),
    advice=(
        Advice(
            "server", "nginx", "nginx: the second value of keepalive_timeout is what it announces, the first is what it does."
        ),
        Advice("server", "Apache/|Apache$", "Apache httpd: KeepAliveTimeout is both; look before it."),
        Advice("server", "^$", "If it is Node: server.keepAliveTimeout is both; look before it."),
    ),
    absence=True,
    ends=True,
)

IDLE = Threshold("1 s", "no common server has an idle limit so short; what closes sooner was decided with the response")
EARLY = Threshold("1 s", "announcements are whole seconds, and timers are looked at once in a while")


def screen() -> pl.Expr:
    """Return an expression that is true on at least one row if there is a candidate."""
    return pl.col("server_close_frame").is_not_null() & pl.col("response_keep_alive_timeout").is_not_null()


def find(closes: pl.LazyFrame) -> pl.LazyFrame:
    """A row per connection that the server closed sooner than it had said."""
    c = pl.col
    idle = c("server_close_time") - c("response_end")
    promised = c("response_keep_alive_timeout").cast(pl.Int64) * SECOND
    # the server may have handed its last byte to its kernel long before that was on the wire, and counts from then
    longest = c("server_close_time") - c("response_start")
    early = (idle > IDLE.value) & (longest < promised - EARLY.value) & c("last_on_connection")
    whole = (c("request_end_reason") == "complete") & (c("response_end_reason") == "complete") & (c("response_status") >= 200)
    left_open = c("persistent") & ~c("upgraded") & c("response_framing").is_in(SELF_FRAMED) & c("has_request")
    most = c("response_keep_alive_max")
    another = most.is_null() | (most > 0)
    return closes.filter(early & whole & left_open & another & server_closed_first()).select(
        "connection",
        "exchange",
        pl.lit(None, pl.String).alias("kind"),
        pl.lit("server").alias("side"),
        close_confidence().alias("confidence"),
        c("response_frame").alias("frame"),
        c("response_end").alias("start"),
        c("server_close_time").alias("end"),
        pl.lit(None, pl.Int64).alias("delay"),
        idle.cast(DURATION).alias("idle"),
        promised.cast(DURATION).alias("announced"),
        c("response_keep_alive_timeout").alias("timeout"),
        pl.when(most.is_not_null()).then(pl.format(", max={}", most)).otherwise(pl.lit("")).alias("max_said"),
        close_word("server_close_rst").alias("close"),
        close_origin("server"),
        *("endpoint", "final_at"),
        evidence(
            (
                "response_frame",
                "response_start",
                pl.format("the response: Keep-Alive: timeout={}", "response_keep_alive_timeout"),
            ),
            ("server_close_frame", "server_close_time", _close_note(idle)),
        ),
    )


def by_limits(rows: pl.DataFrame, rests: Rests, *, live: bool) -> pl.DataFrame:
    """The same, without what ended with a process of the server."""
    return rests.without_stopped(rows, live=live)


def _close_note(idle: pl.Expr) -> pl.Expr:
    return pl.format("the server's {}, {} after the end of the response", close_word("server_close_rst"), duration(idle))
