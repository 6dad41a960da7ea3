"""The server closed a connection without any answer to a request.

What it means
    The server, or what stands for it, ended the connection without a single byte of a response, though the client was waiting.
    Why, packets do not show: a process that ended, was restarted or killed, and one that decided to close, look alike. But they
    show how far the request had come.

    Kinds: on-arrival, a fresh connection was closed as soon as it was accepted, before the request had come; unread, an RST that
    says that nobody read the request; at-once, closed within milliseconds of the request; later, something had the request for a
    while.

Why it hurts
    The client sees an empty page ("ERR_EMPTY_RESPONSE"), curl says "Empty reply from server" or "Connection reset by peer", a
    proxy answers 502. Unless nobody read the request, the client cannot know whether it was carried out: what is not idempotent
    cannot be repeated safely.

How it is proved
    The acknowledgement number of the server's FIN or RST covers the last byte of the request, the server sent nothing behind
    what the client had when it asked, and the client had not closed before. A system sends an RST in place of a FIN when a
    process closes, or ends, without having read all that came (RFC 1122): the request was not read. An RST without ACK flag says
    that nothing there knew the connection. On arrival: the close acknowledges nothing of the first request, and came less than a
    second after the SYN-ACK.

What it is not
    A request on a connection used before that met the server's close, at its idle limit or not: keep-alive-race. A response
    that broke off: truncated-response. A client that gave up first: client-abort. A request behind an answer that had announced
    the close, be it pipelined or not.

What to do
    Look into the server's log at that time, and at what restarts its processes. On arrival: look what listens behind the port.

References
    RFC 9110 section 15.6, RFC 9112 section 9.6, RFC 1122 section 4.2.2.13.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from wiredoctor.durations import duration_text
from wiredoctor.findings import Advice, Reference, Rule
from wiredoctor.rules.closes import BROKEN_BEFORE
from wiredoctor.rules.lost import AFTER_A_WHILE, IMMEDIATE, NOT_READ, ON_ARRIVAL, behind, fresh, lost
from wiredoctor.rules.lost import screen as may_be_lost
from wiredoctor.rules.proof import close_confidence, close_origin, close_word, evidence
from wiredoctor.rules.rests import TOGETHER, Rests
from wiredoctor.rules.words import DURATION, duration
from wiredoctor.tables import SECOND

_TAKEN = "{request} arrived (the server's {close} acknowledges its last byte), and "
_RELAYS = (
    "a relay of TCP with nobody behind it does (docker-proxy, ssh -L, kubectl port-forward, a balancer of layer 4), and a server "
    "at its limit of connections"
)
_LISTEN = (
    "Look whether a program listens where the relay connects to, on that address and not only on 127.0.0.1, and whether the "
    "server is at its limit of connections. "
)
_LOG = "Look into the server's log at that time, and into that of the program behind it: "
_SAY = "A server that cannot answer should say so with a status (500, 503, 504) before it closes."

RULE = Rule(
    severity="error",
    title={
        "on-arrival": "The server closed a fresh connection as soon as it had accepted it, and answered nothing",
        "unread": "The server reset the connection without having read the request",
        "at-once": "The server closed the connection without an answer, at once",
        "later": "The server closed the connection without an answer, {wait} after the request",
    },
    message={
        "on-arrival": "The server's {close} came {accepted} after its SYN-ACK, before it had sent anything, and acknowledges "
        "nothing of {request}, the first request of the connection.{behind} That is what "
        + _RELAYS
        + ". The request was never taken: "
        "it may be repeated.",
        "unread": "{lead}{request}{unread_how}{interim_only}.{behind}{first_use}{ended} So ends a worker that was recycled, "
        "restarted, stopped or killed, or that was busy until then; an application that resets on purpose, and a firewall, look "
        "the same. What nobody read may be repeated, whatever its method.",
        "at-once": _TAKEN + "the server closed the connection {wait}{moment} without a byte of a response{interim_only}.{behind}"
        "{first_use}{ended} In so short a time it was closed on purpose (nginx: return 444; a rule of a firewall; an aborted "
        "handler), or a process ended as it took the request{used_before}. The client cannot know whether it was carried out.",
        "later": _TAKEN + "the server closed the connection {wait}{moment} without a byte of a response{interim_only}.{behind}"
        "{ended} A process had the request, and ended or gave it up.{worker_limit} The client cannot know whether it was "
        "carried out.",
    },
    remedy={
        "on-arrival": _LISTEN + _SAY,
        "unread": "{listen}"
        + _LOG
        + "what ends or restarts its processes (a limit of requests per worker, a reload, memory that ran "
        "out)? Let a process that ends answer what it has accepted. Let the client repeat such requests.",
        "at-once": "{listen}" + _LOG + "a rule that drops requests on purpose, or a process that ended? " + _SAY,
        "later": _LOG + "a process that ended, a worker that was killed for taking too long or too much memory, a handler that "
        "closed? " + _SAY,
    },
    display_filter="tcp.stream == {connection} && frame.number in {{{frames}}}",
    references=(
        Reference("RFC 9110 section 15.6, server errors", "https://www.rfc-editor.org/rfc/rfc9110.html#section-15.6"),
        Reference("RFC 9112 section 9.6, tear-down", "https://www.rfc-editor.org/rfc/rfc9112.html#section-9.6"),
        Reference("RFC 1122 section 4.2.2.13, closing a connection", "https://www.rfc-editor.org/rfc/rfc1122.html#page-87"),
    ),
    explained_by=(
        ("reset-destroys-response", "connection"),
        ("unanswered", "exchange"),
        ("gateway-error", "exchange"),
        ("keep-alive-race", "exchange"),
        *BROKEN_BEFORE,
    ),
    caused_by=(("framing", "exchange"),),
    advice=(
        Advice("server", "nginx", "nginx: return 444 closes without an answer on purpose."),
        Advice("server", "gunicorn", "gunicorn: a worker that is silent for longer than --timeout (30 s by default) is killed."),
        Advice("server", "gunicorn", "gunicorn: --max-requests ends a worker after so many.", "not_read"),
        Advice("server", "IIS|Microsoft", "IIS: http.sys writes what it dropped to %SystemRoot%\\System32\\LogFiles\\HTTPERR."),
        Advice("server", "Apache", 'Apache httpd: a child that ended by a signal leaves "exit signal" in the error log.'),
    ),
    timeless=("unread", "at-once", "later"),
    absence=True,
    ends=True,
)

_KINDS = {ON_ARRIVAL: "on-arrival", NOT_READ: "unread", IMMEDIATE: "at-once", AFTER_A_WHILE: "later"}


def screen() -> pl.Expr:
    """True on the rows that are candidates."""
    return may_be_lost()


def find(closes: pl.LazyFrame) -> pl.LazyFrame:
    """A row per request that nobody answered, and that met no close of an idle connection as far as its own packets tell."""
    c = pl.col
    rows = lost(closes).filter(c("took").is_in([*_KINDS]))
    wait = (c("server_close_time") - c("request_end")).clip(0)
    no_ack = c("server_close_ack").is_null() & (c("server_close_rst") == 1)
    asked = (c("server_close_offset") == c("request_ack")).fill_null(value=False)
    kind = c("took").replace_strict(_KINDS, return_dtype=pl.String)
    # what was read of it is inferred, and where the round trip is unknown, how soon it was
    inferred = (c("took") == NOT_READ) | ((c("took") == AFTER_A_WHILE) & c("later").is_null())
    sure = close_confidence(inferred)
    interim = c("has_response") & (c("response_status") < 200).fill_null(value=False)
    said = pl.when(interim).then(pl.format(" (but for an interim {})", "response_status")).otherwise(pl.lit(""))
    early = fresh()
    rows = rows.with_columns(pl.when(c("took") == ON_ARRIVAL).then("accepted_frame").alias("syn_ack_frame"))
    return rows.select(
        "connection",
        "exchange",
        kind.alias("kind"),
        pl.lit("server").alias("side"),
        pl.when(no_ack & ~asked).then(pl.lit("low")).otherwise(sure).alias("confidence"),
        c("request_frame").alias("frame"),
        c("request_start").alias("start"),
        pl.max_horizontal("request_end", "server_close_time").alias("end"),
        pl.lit(None, pl.Int64).alias("delay"),
        pl.when(wait > 0).then(wait).cast(DURATION).alias("wait"),
        _moment(wait).alias("moment"),
        pl.when(early).then(c("server_close_time") - c("accepted_time")).clip(0).cast(DURATION).alias("accepted"),
        close_word("server_close_rst").alias("close"),
        close_origin("server"),
        said.alias("interim_only"),
        behind(),
        "requests",
        pl.when(no_ack).then(pl.lit("")).otherwise(pl.lit("The RST acknowledges the last byte of ")).alias("lead"),
        pl.when(no_ack).then(pl.lit(_UNKNOWN)).otherwise(pl.lit(_NOT_READ)).alias("unread_how"),
        pl.when(early).then(pl.lit(f" It was the first request of a fresh connection: that is also what {_RELAYS}."))
        .otherwise(pl.lit("")).alias("first_use"),
        pl.when(early).then(pl.lit(_LISTEN)).otherwise(pl.lit("")).alias("listen"),
        pl.when(c("rested") > 0).then(_met(c("idle"))).otherwise(pl.lit("")).alias("used_before"),
        (c("took") == NOT_READ).alias("not_read"),
        evidence(
            ("syn_ack_frame", "accepted_time", "the server's SYN-ACK"),
            ("request_last_frame", "request_end", "the request ends"),
            ("server_close_frame", "server_close_time", _close_note(wait, no_ack)),
        ),
        *("endpoint", "server_close_time", "final_at"),
        wait.alias("wait_ns"),
    )  # fmt: skip


def by_limits(rows: pl.DataFrame, rests: Rests, *, live: bool) -> pl.DataFrame:
    """The same, with what other connections of the server show."""
    ended = [_ended(row, rests, live=live) for row in rows.iter_rows(named=True)]
    workers = [_worker_limit(wait) for wait in rows["wait_ns"]]
    return rows.with_columns(pl.Series("ended", ended, pl.String), pl.Series("worker_limit", workers, pl.String))


def _ended(row: Mapping[str, Any], rests: Rests, *, live: bool) -> str:
    """That a process ended, where the server closed other connections at the same moment."""
    until = row["final_at"] + TOGETHER if live else None
    others = len(rests.others(row["endpoint"], row["connection"], row["server_close_time"], until))
    if row["kind"] == "on-arrival":
        return ""
    if not others:
        stop = rests.stops(row["endpoint"], until).at(row["server_close_time"])
        refused = 0 if stop is None else len(stop.refused)
        return (
            f" {'A SYN was' if refused == 1 else f'{refused:,} SYNs were'} refused after that: a process of it ended."
            if refused
            else ""
        )
    which = "another connection" if others == 1 else f"{others:,} other connections"
    return f" Within {duration_text(TOGETHER)} the server closed {which}: a process of it ended."


_WORKERS = ((30, "gunicorn (--timeout)"), (60, "Puma (worker_timeout) and Unicorn (timeout)"))
"""Seconds after which servers kill a worker that is busy, by default."""

_SEEN_LATE = 2 * SECOND
"""They look every second or so."""


def _worker_limit(wait: int) -> str:
    """Say whose limit for workers the time fits."""
    whose = next(((s, name) for s, name in _WORKERS if 0 <= wait - s * SECOND <= _SEEN_LATE), None)
    return f" {whose[0]} s is the default after which {whose[1]} end a worker that is busy." if whose else ""


def _moment(wait: pl.Expr) -> pl.Expr:
    return pl.when(wait > 0).then(pl.lit(" later")).otherwise(pl.lit("at the same moment"))


_UNKNOWN = " was answered by an RST without ACK flag: nothing there knew the connection any more, and nobody answered"
_NOT_READ = (
    ": the server's kernel had taken it. But a system sends an RST in place of a FIN when something is left unread (RFC 1122), "
    "so that no process had read it. Nobody answered"
)


def _met(rest: pl.Expr) -> pl.Expr:
    return pl.format(", or the request met a close of the connection, which had rested for {}", duration(rest))


def _close_note(wait: pl.Expr, no_ack: pl.Expr) -> pl.Expr:
    c = pl.col
    closer = close_word("server_close_rst")
    taken = pl.format(
        "the server's {}: acknowledges the request, {} after its end, and nothing came before", closer, duration(wait)
    )
    nothing = pl.format("the server's {}: acknowledges nothing of the request", closer)
    without = pl.format("the server's RST without ACK flag, {} after the end of the request", duration(wait))
    return pl.when(c("took") == ON_ARRIVAL).then(nothing).when(no_ack).then(without).otherwise(taken)
