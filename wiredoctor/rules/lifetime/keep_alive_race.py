"""A request was sent on a connection that the server had closed.

What it means
    A kept-alive connection has two owners, and either may close it when it has been idle for long enough. Here the server did,
    and the client sent its next request on it all the same. The server never took that request; nobody answers it.

    Kinds: race, the FIN was still on its way when the request left, so that the client could not know; stale-pool, the FIN
    had arrived, but the client's pool did not look before it used the connection again; forgotten, the server, or a balancer,
    NAT or firewall before it, had dropped the connection without a FIN, and answered the request with an RST.

Why it hurts
    The request is lost: "connection reset by peer", "the server closed the connection unexpectedly", "a connection that was
    expected to be kept alive was closed by the server", or a 502 from a proxy whose upstream it was. It comes and goes, most
    often where requests are about as far apart as the server's idle limit.

How it is proved
    The server's FIN (or RST with ACK flag) acknowledges nothing of the request, and the request was never answered. The
    acknowledgement number of the request says what the client knew: whether it covers the FIN. Both hold wherever the capture
    was taken. A forgotten connection: the first request after a second or more of rest is answered by an RST without
    ACK flag, with the sequence number that the request asked for, and no FIN came before or soon after.

What it is not
    A server that had received the request and closed without an answer: that is no-response. A connection that was closed
    while idle and not used again: idle-close. A request that was pipelined before the client could know that the response
    before it announced the close: it has to be repeated on another connection. Where the client did know, it is told so.

What to do
    Let the client's pool give up idle connections sooner than the server does, and repeat requests that are safe to repeat.

References
    RFC 9112 sections 9.3.1 and 9.6, RFC 9110 section 9.2.2, Microsoft WebExceptionStatus.
"""

from __future__ import annotations

import polars as pl

from wiredoctor.findings import Reference, Rule, Threshold
from wiredoctor.rules.closes import POOLS, closed_against_request, rest, undecided
from wiredoctor.rules.proof import close_confidence, close_origin, close_word, evidence
from wiredoctor.rules.words import DURATION, duration

_IDLE = "The connection had been idle for {idle}{idle_unknown}."
_CLOSED = " {closed_after}{limit}{limit_means}{usual}{stop}"
_SHORTER = (
    "Make the idle limit of the client's pool shorter than that of the server{}; where the client is a proxy or a "
    "balancer, make the limit of the server behind it the longer one (AWS application load balancers and nginx's upstream "
    "keepalive_timeout keep connections for 60 s). "
)
_REPEAT = "Let the client repeat requests that are idempotent when a connection that it used again is closed without an answer."

RULE = Rule(
    severity="error",
    title={
        "race": "A request was lost: the server had closed the connection while it was on its way",
        "stale-pool": "A request was lost: the client used a connection that it knew to be closed",
        "forgotten": "A request was lost: the server no longer knew the idle connection",
    },
    message={
        "race": "{request} was sent on a connection that the server had closed: its {close} acknowledges nothing of that "
        "request, {unaware}. Nobody answered it. " + _IDLE + _CLOSED,
        "stale-pool": "{request} was sent {known_for} after the server's FIN, on the same connection, and acknowledges "
        "that FIN: the client's kernel had received it, but its pool did not look before it used the connection again. Nobody "
        "answered it. " + _IDLE + _CLOSED,
        "forgotten": "{request} was answered by an RST that belongs to no connection (it has no ACK flag, and the sequence "
        "number that the request asked for). No FIN was seen: the server, or a balancer, NAT or firewall before it, had "
        "forgotten the connection without saying so. " + _IDLE + " The limit that it met is at most that long.{elsewhere}",
    },
    remedy={
        "race": "{shorter}" + _REPEAT,
        "stale-pool": "Let the pool look at a connection before it uses it again: one that is readable while idle has ended. "
        "{shorter}" + _REPEAT,
        "forgotten": "Make the idle limit of the client's pool shorter than that of the server and of everything between them "
        "(balancer, NAT, firewall), or let the client send TCP keep-alive probes (SO_KEEPALIVE with TCP_KEEPIDLE; the "
        "system's default of two hours is too long). " + _REPEAT,
    },
    display_filter="tcp.stream == {connection} && frame.number in {{{frames}}}",
    references=(
        Reference("RFC 9112 section 9.3.1, retrying requests", "https://www.rfc-editor.org/rfc/rfc9112.html#section-9.3.1"),
        Reference("RFC 9112 section 9.6, tear-down", "https://www.rfc-editor.org/rfc/rfc9112.html#section-9.6"),
        Reference("RFC 9110 section 9.2.2, idempotent methods", "https://www.rfc-editor.org/rfc/rfc9110.html#section-9.2.2"),
        Reference(
            "Microsoft, WebExceptionStatus: KeepAliveFailure",
            "https://learn.microsoft.com/en-us/dotnet/api/system.net.webexceptionstatus",
        ),
    ),
    explained_by=(("auth-connection-closed", "connection"), ("unanswered", "exchange"), ("gateway-error", "exchange")),
    caused_by=(("premature-close", "connection"), ("idle-timeout-broken-promise", "connection")),
    advice=POOLS,
    timeless=True,
    absence=True,
    ends=True,
)

REST = Threshold("1 s", "a connection that is forgotten was idle for longer than any round trip; sooner it was cut")
DECIDED = Threshold("1 s", "so long (or two round trips) a FIN may be captured after the RST that makes it a race")
IMMEDIATE = Threshold("1 s", "no common server has an idle limit so short; what closes sooner was decided with the response")


def screen() -> pl.Expr:
    """True on the rows that are candidates."""
    c = pl.col
    lost = c("has_request") & ~c("has_response") & ~c("upgraded") & c("server_close_frame").is_not_null()
    # with holes, a request far behind what the close acknowledges may belong to another connection on the same port
    lost = lost & ~(c("gap_before") & (c("server_close_ack") < c("request_offset"))).fill_null(False)
    # pipelined behind a response that announced the close: the server has not broken a promise, nor has the client known
    lost = lost & ~(c("previous_announced_close") & (rest() < 0).fill_null(False))
    return lost & ((closed_against_request() & (c("server_close_origin") != "between")) | _forgotten())


def find(closes: pl.LazyFrame, foreign_closes: pl.LazyFrame) -> pl.LazyFrame:
    """A row per request that met a closed connection."""
    c = pl.col
    covers = ((c("request_ack") > c("server_close_offset")) & (c("server_close_rst") == 0)).fill_null(False)
    kind = pl.when(closed_against_request()).then(pl.when(covers).then(pl.lit("stale-pool")).otherwise(pl.lit("race")))
    rows = (
        closes.filter(screen())
        .with_columns(
            kind.otherwise(pl.lit("forgotten")).alias("kind"),
            rest().clip(0).alias("idle"),
            (c("server_close_time") - c("previous_end")).clip(0).alias("limit"),
            close_word("server_close_rst").alias("close"),
        )
        .with_columns(pl.when(c("kind") != "forgotten").then("limit").alias("limit"))
    )
    ttls = foreign_closes.filter(c("sender") == "server").select("connection", "exchange", "ttl", "lowest_ttl", "highest_ttl")
    rows = rows.join(ttls, on=["connection", "exchange"], how="left", maintain_order="left")
    reset = pl.when(c("server_rst_frame") != c("server_close_frame")).then("server_rst_frame").alias("reset_frame")
    forgotten = c("kind") == "forgotten"
    return rows.with_columns(reset).select(
        "connection",
        "exchange",
        "kind",
        pl.lit("client").alias("side"),
        close_confidence(forgotten & undecided("server_close_time", DECIDED.value)).alias("confidence"),
        c("request_frame").alias("frame"),
        c("request_start").alias("start"),
        pl.max_horizontal("request_end", "server_close_time").alias("end"),
        pl.lit(None, pl.Int64).alias("delay"),
        "close",
        close_origin("server"),
        c("idle").cast(DURATION),
        (c("request_start") - c("server_close_time")).clip(0).cast(DURATION).alias("known_for"),
        *_texts(),
        _elsewhere().alias("elsewhere"),
        evidence(
            ("server_close_frame", "server_close_time", _close_note()),
            ("request_frame", "request_start", _request_note()),
            ("reset_frame", "server_rst_time", "the server's RST: the request came to a connection that was gone"),
        ),
    )


def _elsewhere() -> pl.Expr:
    """That the reset did not come from the server, where packets show it."""
    c = pl.col
    ttl = pl.format(
        " It was not the server: the RST has TTL {}, and the server's packets have {}.",
        "ttl",
        _range("lowest_ttl", "highest_ttl"),
    )
    other = pl.lit(" It was not the server that sent the RST: its packets look different.")
    return pl.when(c("server_close_origin") == "between").then(pl.coalesce(ttl, other)).otherwise(pl.lit(""))


def _range(lowest: str, highest: str) -> pl.Expr:
    one = pl.format("{}", lowest)
    return pl.when(pl.col(lowest) == pl.col(highest)).then(one).otherwise(pl.format("{} to {}", lowest, highest))


def _forgotten() -> pl.Expr:
    """The first request after a rest is answered by the RST of somebody who does not know the connection."""
    c = pl.col
    alone = (c("server_close_rst") == 1) & c("server_close_ack").is_null() & (c("server_close_offset") == c("request_ack"))
    answers = (c("server_close_frame") > c("request_frame")) & (rest() >= REST.value)
    first = c("client_close_frame").is_null() | (c("client_close_frame") > c("server_close_frame"))
    return (alone & answers & first & ~c("previous_announced_close")).fill_null(False)


def _texts() -> list[pl.Expr]:
    """What the message says only where it is known: how long the connection rested, and what that means."""
    c = pl.col
    soon = c("limit") <= IMMEDIATE.value
    # a FIN in the last segment of the response
    together = c("limit") == 0
    behind = pl.when(together).then(pl.lit("together with")).otherwise(pl.lit(" after")) + pl.lit(" the response before")
    means = (
        pl.when("previous_announced_close")
        .then(behind + pl.lit(", which had announced that (Connection: close, or what means the same)"))
        .when(soon)
        .then(behind + pl.lit(": that is no idle limit, but a close that nothing announced (premature-close)"))
        .when(c("limit").is_not_null())
        .then(pl.lit(" of rest, which seems to be its idle limit"))
        .otherwise(pl.lit(""))
    )
    known = c("limit").is_not_null()
    idle = ~soon.fill_null(False) & ~c("previous_announced_close")
    first = pl.when("handshake").then(pl.lit("it had not been used before")).otherwise(pl.lit("the capture began later"))
    named = pl.when(known & ~soon).then(pl.format(" (here {})", duration(c("limit")))).otherwise(pl.lit(""))
    return [
        pl.when(c("idle").is_null()).then(pl.format("a time that is not known: {}", first)).alias("idle_unknown"),
        (
            pl.when(c("server_close_rst") == 0).then(pl.lit(_FIN_UNSEEN)).otherwise(pl.lit(_RST_UNSEEN))
            + pl.when("previous_announced_close").then(pl.lit(_WARNED)).otherwise(pl.lit(", so the client could not know"))
        ).alias("unaware"),
        pl.when(known & (soon | c("previous_announced_close")))
        .then(pl.lit("The server closed it "))
        .when(known)
        .then(pl.lit("The server closed it after "))
        .otherwise(pl.lit(""))
        .alias("closed_after"),
        pl.when(~together).then("limit").cast(DURATION).alias("limit"),
        means.alias("limit_means"),
        pl.when(known).then(pl.lit(".")).otherwise(pl.lit("")).alias("stop"),
        pl.when(idle).then("limit").alias("idle_limit"),
        idle.alias("pool_limit"),
        pl.when("previous_announced_close")
        .then(pl.lit(_HEED))
        .when(idle)
        .then(pl.format(_SHORTER, named))
        .otherwise(pl.lit(_ANNOUNCE))
        .alias("shorter"),
    ]


_FIN_UNSEEN = "and the request does not acknowledge the FIN"
_RST_UNSEEN = "and where an RST has arrived, no request is sent any more"
_WARNED = "; but the response before it, which the client had, announced the close"
_ANNOUNCE = "Let the server say Connection: close with the response after which it closes. "
_HEED = "Let the client give up a connection whose response says Connection: close. "


def _close_note() -> pl.Expr:
    c = pl.col
    asked = pl.lit("the server's RST without ACK flag, with the sequence number that the request asks for")
    closed = pl.format("the server's {}: acknowledges nothing of the request", "close")
    return pl.when(c("kind") == "forgotten").then(asked).otherwise(closed)


def _request_note() -> pl.Expr:
    c = pl.col
    rest = pl.format("the request, after a rest of {}", duration(c("idle")))
    return (
        pl.coalesce(rest, pl.lit("the request"))
        + pl.when((c("kind") == "race") & (c("server_close_rst") == 0))
        .then(pl.lit(": does not acknowledge the FIN"))
        .otherwise(pl.lit(""))
        + pl.when(c("kind") == "stale-pool").then(pl.lit(": acknowledges the FIN")).otherwise(pl.lit(""))
    )
