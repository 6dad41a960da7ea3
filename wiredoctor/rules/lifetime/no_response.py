"""The server closed a connection without any answer to a request.

What it means
    The server, or what stands for it, ended the connection without a single byte of a response, though the client was waiting.
    Why, packets do not show: a process that ended, was restarted or killed, and one that decided to close, look alike. But they
    show how far the request had come.

    Kinds: on-arrival, a fresh connection was closed as soon as it was accepted, before the request had come; mid-request, closed
    when a part of the request had come, in the middle of an upload; unread, an RST that says that nobody read the request;
    at-once, the close came within milliseconds of the request; later, it came after the server had had the request for a while;
    half-closed, the client had closed its sending side behind the request, and the server took that for the end of the client.

Why it hurts
    The client sees an empty page ("ERR_EMPTY_RESPONSE"), curl says "Empty reply from server" or "Connection reset by peer", a
    proxy answers 502. Unless nobody read the request, the client cannot know whether it was carried out: what is not idempotent
    cannot be repeated safely.

How it is proved
    The acknowledgement number of the server's FIN or RST covers the last byte of the request, the server sent nothing behind
    what the client had when it asked, and the client had not closed before. A system sends an RST in place of a FIN when a
    process closes, or ends, without having read all that came (RFC 1122): the request was not read. An RST without ACK flag
    comes from a host that does not know the connection. On arrival: the close acknowledges nothing of the first request, and
    came less than a second after the SYN-ACK. Mid-request: the close acknowledges the beginning of the request, and its body was
    not complete by then, whatever the client went on to send.

What it is not
    A request on a connection used before that met the server's close, at its idle limit or not: keep-alive-race. A response
    that broke off: truncated-response. A client that gave up first: client-abort. A GET that the client repeats at once, and
    that is answered then: a warning. A request behind an answer that had announced the close, be it pipelined or not. An
    upload that the client itself broke off. One that was answered before its body was complete, and reset then: reset-
    destroys-response.

What to do
    Look into the server's log at that time, and at what restarts its processes. On arrival: look what listens behind the port.
    mid-request: where no byte of the body had come for a while, look at what the client waited for, and at the server's limit on
    bodies.

References
    RFC 9110 section 15.6, RFC 9112 section 9.6, RFC 1122 section 4.2.2.13, nginx client_body_timeout.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from wiredoctor.durations import duration_text
from wiredoctor.findings import Advice, Reference, Rule, Threshold
from wiredoctor.rules.closes import BROKEN_BEFORE
from wiredoctor.rules.left_early import FACTS, decide, early
from wiredoctor.rules.left_early import screen as may_be_early
from wiredoctor.rules.lost import (
    AFTER_A_WHILE,
    HALF_CLOSED,
    IMMEDIATE,
    IN_PART,
    NOT_READ,
    ON_ARRIVAL,
    behind,
    beside,
    fresh,
    lost,
)
from wiredoctor.rules.lost import screen as may_be_lost
from wiredoctor.rules.proof import close_confidence, close_origin, close_word, evidence
from wiredoctor.rules.rests import NEAR, TOGETHER, Rests
from wiredoctor.rules.same_client import Clients, beside_repetitions
from wiredoctor.rules.words import DURATION, duration
from wiredoctor.tables import CLIENT, SECOND

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
    severity={
        **dict.fromkeys(("on-arrival", "mid-request", "unread", "at-once", "later"), "error"),
        "half-closed": "warning",
    },
    title={
        "on-arrival": "The server closed a fresh connection as soon as it had accepted it, and answered nothing",
        "mid-request": "The server closed the connection in the middle of a request, and answered nothing",
        "unread": "The server reset the connection without having read the request",
        "at-once": "The server closed the connection without an answer, at once",
        "later": "The server closed the connection without an answer, {wait} after the request",
        "half-closed": "The server closed the connection without an answer when the client had closed its half",
    },
    message={
        "on-arrival": "The server's {close} came {accepted} after its SYN-ACK, before it had sent anything, and acknowledges "
        "nothing of {request}, the first request of the connection.{behind} That is what "
        + _RELAYS
        + ". The request was never taken: "
        "it may be repeated.",
        "mid-request": "When the server closed the connection with {close}, {came} {of_due} of {request} had come; no byte of a "
        "response was sent{interim_only}.{behind}{paused}{ended}{body_limit}",
        "unread": "{lead}{request}{unread_how}{interim_only}.{behind}{first_use}{ended} So ends a worker that was recycled, "
        "restarted, stopped or killed, or that was busy until then; an application that resets on purpose, and a firewall, look "
        "the same. What nobody read may be repeated, whatever its method.",
        "at-once": _TAKEN + "the server closed the connection {wait}{moment} without a byte of a response{interim_only}.{behind}"
        "{first_use}{ended} In so short a time it was closed on purpose (nginx: return 444; a rule of a firewall; an aborted "
        "handler), or a process ended as it took the request{used_before}. The client cannot know whether it was carried out.",
        "later": _TAKEN + "the server closed the connection {wait}{moment} without a byte of a response{interim_only}.{behind}"
        "{ended} A process had the request, and ended or gave it up.{worker_limit} The client cannot know whether it was "
        "carried out.",
        "half-closed": "The client sent its FIN {closed_after} after {request}, which is legal: it has no more to say, and waits "
        "for the answer. {wait} after the request the server closed the connection with {close}, without a byte of a response: "
        "it took the FIN for that of a client that has gone. (Such a client sends the same FIN.)",
    },
    remedy={
        "on-arrival": _LISTEN + _SAY,
        "mid-request": "{body_remedy}",
        "unread": "{listen}"
        + _LOG
        + "what ends or restarts its processes (a limit of requests per worker, a reload, memory that ran "
        "out)? Let a process that ends answer what it has accepted. Let the client repeat such requests.",
        "at-once": "{listen}" + _LOG + "a rule that drops requests on purpose, or a process that ended? " + _SAY,
        "half-closed": "Let the client keep its side of the connection open until it has its answer (nc without -N; no "
        "shutdown(SHUT_WR) behind a request). Or let the server go on when the client half-closes: nginx "
        "proxy_ignore_client_abort on, haproxy no option abortonclose.",
        "later": _LOG + "a process that ended, a worker that was killed for taking too long or too much memory, a handler that "
        "closed? " + _SAY,
    },
    display_filter="tcp.stream == {connection} && frame.number in {{{frames}}}",
    references=(
        Reference("RFC 9110 section 15.6, server errors", "https://www.rfc-editor.org/rfc/rfc9110.html#section-15.6"),
        Reference("RFC 9112 section 9.6, tear-down", "https://www.rfc-editor.org/rfc/rfc9112.html#section-9.6"),
        Reference("RFC 1122 section 4.2.2.13, closing a connection", "https://www.rfc-editor.org/rfc/rfc1122.html#page-87"),
        Reference("nginx, client_body_timeout", "https://nginx.org/en/docs/http/ngx_http_core_module.html#client_body_timeout"),
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
    timeless=("mid-request", "unread", "at-once", "later"),
    absence=True,
    ends=True,
)

PAUSE = Threshold("1 s", "who sends goes on sooner: after so long the client, or the path, had stood still")

_KINDS = {
    **{ON_ARRIVAL: "on-arrival", IN_PART: "mid-request", NOT_READ: "unread", IMMEDIATE: "at-once", AFTER_A_WHILE: "later"},
    HALF_CLOSED: "half-closed",
}


def screen() -> pl.Expr:
    """True on the rows that are candidates."""
    # a half-closed client is answered by the server's close alone
    return may_be_lost() | (may_be_early() & ~pl.col("has_response"))


def find(closes: pl.LazyFrame) -> pl.LazyFrame:
    """A row per request that nobody answered, and that met no close of an idle connection as far as its own packets tell."""
    c = pl.col
    unanswered = lost(closes).filter(c("took").is_in([*_KINDS])).with_columns(*beside(), pl.lit(None, pl.Int64).alias("waited"))
    rows = pl.concat([unanswered, _half_closed(closes)], how="diagonal_relaxed")
    half = c("took") == HALF_CLOSED
    wait = (c("server_close_time") - c("request_end")).clip(0)
    no_ack = c("server_close_ack").is_null() & (c("server_close_rst") == 1)
    asked = (c("server_close_offset") == c("request_ack")).fill_null(value=False)
    kind = c("took").replace_strict(_KINDS, return_dtype=pl.String)
    # what was read of it is inferred, and where the round trip is unknown, how soon it was
    inferred = half | (c("took") == NOT_READ) | ((c("took") == AFTER_A_WHILE) & c("later").is_null())
    sure = close_confidence(inferred)
    interim = c("has_response") & (c("response_status") < 200).fill_null(value=False)
    said = pl.when(interim).then(pl.format(" (but for an interim {})", "response_status")).otherwise(pl.lit(""))
    early = fresh()
    quiet = _quiet()
    stood_still = (c("took") == IN_PART) & (quiet >= PAUSE.value) & ~_awaits_continue()
    # what is sent into the close is no evidence
    in_time = (c("took") != IN_PART) | (c("request_end") <= c("server_close_time"))
    rows = rows.with_columns(
        pl.when(c("took") == ON_ARRIVAL).then("accepted_frame").alias("syn_ack_frame"),
        pl.when(c("took") == IN_PART).then("request_frame").alias("begun_frame"),
        pl.when(in_time).then("request_last_frame").alias("ended_frame"),
        pl.when(half).then("client_close_frame").alias("half_frame"),
    )
    return rows.select(
        "connection",
        "exchange",
        kind.alias("kind"),
        pl.when(stood_still).then(None).otherwise(pl.lit("server")).alias("side"),
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
        pl.when(half).then((c("client_close_time") - c("request_end")).clip(0)).cast(DURATION).alias("closed_after"),
        _came().alias("came"),
        _of_due().alias("of_due"),
        _paused(quiet).alias("paused"),
        pl.when(stood_still).then(pl.lit(_STILL)).when(_awaits_continue()).then(pl.lit(_CONTINUE)).otherwise(pl.lit(_LOG_OF_BODY))
        .alias("body_remedy"),
        pl.when(stood_still).then(quiet).alias("quiet_ns"),
        evidence(
            ("syn_ack_frame", "accepted_time", "the server's SYN-ACK"),
            ("begun_frame", "request_start", "the request begins"),
            ("ended_frame", "request_end", _end_note()),
            ("half_frame", "client_close_time", "the client's FIN: it has no more to say"),
            ("server_close_frame", "server_close_time", _close_note(wait, no_ack)),
        ),
        *("endpoint", "server_close_time", "final_at"),
        wait.alias("wait_ns"),
        *FACTS,
    )  # fmt: skip


def _half_closed(closes: pl.LazyFrame) -> pl.LazyFrame:
    """Rows of `closes` as `lost` has them, of clients that had closed their half, and FACTS."""
    nothing = [pl.lit(None, pl.Int64).alias(name) for name in ("idle", "rested", "later")]
    rows = early(closes.filter(may_be_early() & ~pl.col("has_response"))).filter("half_closed")
    return rows.with_columns(
        pl.lit(HALF_CLOSED).alias("took"), pl.lit(1, pl.Int64).alias("requests"), pl.lit(value=False).alias("at_limit"), *nothing
    )


def by_clients(rows: pl.DataFrame, clients: Clients) -> pl.DataFrame:
    """The candidates, and which of them came again; of the half-closed ones those that are nothing else."""
    kept = [row["kind"] != "half-closed" or decide(row, clients).kind == "half-closed" for row in rows.iter_rows(named=True)]
    return beside_repetitions(rows.filter(pl.Series(kept, dtype=pl.Boolean)), clients)


def by_limits(rows: pl.DataFrame, rests: Rests, *, live: bool) -> pl.DataFrame:
    """The same, with what other connections of the server show."""
    ended = [_ended(row, rests, live=live) for row in rows.iter_rows(named=True)]
    workers = [_worker_limit(wait) for wait in rows["wait_ns"]]
    bodies = [_body_limit(quiet) for quiet in rows["quiet_ns"]]
    said = {"ended": ended, "worker_limit": workers, "body_limit": bodies}
    return rows.with_columns(pl.Series(name, texts, pl.String) for name, texts in said.items())


def _ended(row: Mapping[str, Any], rests: Rests, *, live: bool) -> str:
    """That a process ended, where the server closed other connections at the same moment."""
    until = row["final_at"] + TOGETHER if live else None
    since = row["start"] if row["exchange"] == 0 else 0
    others = len(rests.others(row["endpoint"], row["connection"], row["server_close_time"], until, since))
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


_BODIES = (
    (20, "Apache httpd (RequestReadTimeout) and Tomcat (connectionTimeout)"),
    (30, "Jetty (idleTimeout)"),
    (60, "nginx (client_body_timeout) and lighttpd (server.max-read-idle)"),
    (120, "IIS (connectionTimeout)"),
)
"""Seconds without a byte of a body after which servers give up, by default."""


def _body_limit(quiet: int | None) -> str:
    """Say whose limit on bodies the time fits."""
    whose = next(((s, name) for s, name in _BODIES if quiet is not None and 0 <= quiet + NEAR - s * SECOND <= _SEEN_LATE), None)
    return f" {whose[0]} s is the default of {whose[1]}." if whose else ""


def _moment(wait: pl.Expr) -> pl.Expr:
    return pl.when(wait > 0).then(pl.lit(" later")).otherwise(pl.lit("at the same moment"))


_UNKNOWN = " was answered by an RST without ACK flag: nothing there knew the connection any more, and nobody answered"
_NOT_READ = (
    ": the server's kernel had taken it. But a system sends an RST in place of a FIN when something is left unread (RFC 1122), "
    "so that no process had read it. Nobody answered"
)


def _met(rest: pl.Expr) -> pl.Expr:
    return pl.format(", or the request met a close of the connection, which had rested for {}", duration(rest))


# in the middle of a request


def _quiet() -> pl.Expr:
    """How long no byte of the request had come when the server closed."""
    c = pl.col
    newest = pl.when(c("last_payload_role") == CLIENT).then("last_payload_time")
    last = pl.when(c("request_end") <= c("server_close_time")).then("request_end").otherwise(newest)
    return (c("server_close_time") - last).fill_null(0).clip(0)


def _awaits_continue() -> pl.Expr:
    """The client waited for leave to send its body, and got none."""
    c = pl.col
    return c("request_expect_continue") & ~c("has_response") & (c("request_body_bytes") == 0).fill_null(value=True)


def _came() -> pl.Expr:
    """Bytes of the body, else of the head, that the server's close acknowledges; where it cannot say, those that were seen."""
    c = pl.col
    taken = pl.coalesce("server_close_ack", "request_end_offset") - c("request_offset")
    body = (taken - c("request_head_bytes")).clip(0)
    seen = c("request_body_bytes").fill_null(0)
    sized = c("request_framing") == "content-length"
    return pl.when(_cut_head()).then(taken).when(sized).then(pl.min_horizontal(body, "request_body_due")).otherwise(seen)


def _cut_head() -> pl.Expr:
    """The close acknowledges a part of the head only."""
    c = pl.col
    return (c("server_close_ack") - c("request_offset") < c("request_head_bytes")).fill_null(value=False)


def _of_due() -> pl.Expr:
    c = pl.col
    sized = c("request_framing") == "content-length"
    return (
        pl.when(_cut_head())
        .then(pl.format("of the {} bytes of the head", "request_head_bytes"))
        .when(sized)
        .then(pl.format("of the {} bytes of the body", "request_body_due"))
        .otherwise(pl.lit("bytes of the body, which comes in chunks without the last one,"))
    )


def _paused(quiet: pl.Expr) -> pl.Expr:
    """What that says: a limit on bodies, or a process that ended."""
    still = pl.format(" None had come for {}: the client, or the path, had stood still, and the server gave up.", duration(quiet))
    waits = pl.format(" The client asked with Expect: 100-continue, and no 100 came within {}.", duration(quiet))
    busy = pl.lit(" The client was sending: a process of the server ended, or gave the request up.")
    return pl.when(_awaits_continue()).then(waits).when(quiet >= PAUSE.value).then(still).otherwise(busy)


_STILL = (
    "Look what the client waited for in the middle of its body (a slow source that it passes on, a suspended program, a path "
    "that was interrupted); where such pauses are right, make the server's limit on bodies longer than they are (nginx "
    "client_body_timeout, Apache httpd RequestReadTimeout, haproxy timeout client, Node server.requestTimeout)."
)
_CONTINUE = (
    "Let the server answer Expect: 100-continue at once, with 100 or with a final status; let the client send its body after a "
    "second without any."
)
_LOG_OF_BODY = (
    "Look into the server's log at that time, and into that of the program behind it: a process that ended, was restarted or "
    "killed, a limit on the size of bodies or on memory, a handler that closed without reading on? " + _SAY
)


def _end_note() -> pl.Expr:
    part = pl.col("took") == IN_PART
    return pl.when(part).then(pl.lit("the newest bytes of the request")).otherwise(pl.lit("the request ends"))


def _close_note(wait: pl.Expr, no_ack: pl.Expr) -> pl.Expr:
    c = pl.col
    half = pl.format(
        "the server's {}, {} after the request: no byte of a response came", close_word("server_close_rst"), duration(wait)
    )
    part = pl.format("the server's {}: by then {} {} had come", close_word("server_close_rst"), _came(), _of_due())
    closer = close_word("server_close_rst")
    taken = pl.format(
        "the server's {}: acknowledges the request, {} after its end, and nothing came before", closer, duration(wait)
    )
    nothing = pl.format("the server's {}: acknowledges nothing of the request", closer)
    without = pl.format("the server's RST without ACK flag, {} after the end of the request", duration(wait))
    first = pl.when(c("took") == ON_ARRIVAL).then(nothing).when(c("took") == IN_PART).then(part)
    first = first.when(c("took") == HALF_CLOSED).then(half)
    return first.when(no_ack).then(without).otherwise(taken)
