"""The client closed the connection before it had its response.

What it means
    The client closed the connection, or reset it, while the response was due or incomplete. Most clients that do so are not
    impatient: a program ends, a page is left, the next question replaces this one. The packets around the close tell.

    Kinds, the first that fits: stopped, a program, a test or a tab of the client ended, and closed several connections at once;
    unread, the client had the head of the response, and did not want the body; superseded, the next question replaced it, as in
    search as you type; left, the user went on while a page was loading, or had waited longer for the same before; seek, another
    part of the same resource was asked for, as players and download managers do; stream, a response that came in pieces and has
    no end of its own; timeout, a time-out of the client ran out; gave-up, anything else.

Why it hurts
    What the server did was done for nobody, and is often asked for again: the load grows just when the server is slow.
    In the server's log it is a 499 (nginx), a "broken pipe" or a "client prematurely closed connection".

How it is proved
    An RST of the client that does not acknowledge the end of the response, or a FIN of the client after which the response was
    not completed. Where the client closed its socket for good (FIN), what comes after that is answered by an RST, and counts
    for nothing.

    stopped: within 50 ms the same host closed three or more connections on which it waited, for different times; or two to one
    server, which it asked nothing more. unread: the close acknowledges the head of the response, and came as soon as the client
    may have seen it. superseded: at that moment the same client (host and User-Agent) asked for the same path with another query.
    left: within half a second it asked for a page, or got one; or it had waited longer for such an answer before, which nobody
    does who has a time-out. seek: within five seconds it asked for another range of the same resource. stream: no Content-Length,
    and pauses of the application, or a type that streams. timeout: the wait since the request, or since the last byte, is a time
    that people and libraries choose.

What it is not
    A half-close: a client may send FIN and still wait for the response, which then comes and is acknowledged; a FIN right
    behind the request, which the server takes for an abort: no-response, half-closed. A response that is shorter than it says,
    where the client closed on what it had just read and the server had nothing to add. A close that the server began. Event
    streams, other endless media and tunnels, which have no other end. A server that reset the connection first, or that had
    closed it before the request came: keep-alive-race.

What to do
    If it was a time-out, find where it is set, and ask why the server needs longer than that. A health check that does not read
    the body can ask for less.

References
    RFC 9112 section 9.6, RFC 9293 section 3.6.
"""

from __future__ import annotations

from typing import Any

import polars as pl

from wiredoctor import masking
from wiredoctor.durations import duration_text
from wiredoctor.findings import Advice, Reference, Rule, printable, shorten
from wiredoctor.rules.closes import BROKEN_BEFORE, FRAMING_ERRORS
from wiredoctor.rules.left_early import (
    AT_ONCE,
    FACTS,
    GONE,
    HALF_CLOSE,
    LONGER,
    MOVED,
    PAIR,
    PAUSES,
    REFUSED,
    REPLACED,
    SEVERAL,
    SHORT,
    STILL_WAITING,
    STOOD_STILL,
    TIMEOUT_NEAR,
    TIMEOUT_SHARE,
    TOGETHER,
    Ended,
    begun,
    decide,
    early,
    whole_response,
)
from wiredoctor.rules.left_early import screen as may_be_early
from wiredoctor.rules.proof import EVIDENCE, close_confidence, close_origin, close_word, evidence
from wiredoctor.rules.same_client import Clients
from wiredoctor.rules.words import DURATION, duration

_CLOSED = "The client closed the connection with {close} {wait} after its request {request}. By then {had}."
_NOTHING = "Nothing has to change: nobody was kept waiting. "
_NOTICE = "Let the server notice that the client is gone, and stop working for it."
_PATIENCE = (
    "Ask first why the response took longer than the client was willing to wait; only then make the client's timeout "
    "longer. " + _NOTICE[:-1] + "; let clients wait longer before each repetition."
)

_TIMEOUTS = (
    Advice("client", "curl", "curl: --max-time; libcurl: CURLOPT_TIMEOUT."),
    Advice("client", "^Go-http-client", "Go: http.Client.Timeout, or the deadline of the request's context."),
    Advice("client", "python-requests|urllib3", "requests or urllib3: the argument timeout."),
    Advice("client", "python-httpx", "httpx: the argument timeout (5 s by default)."),
    Advice("client", "aiohttp", "aiohttp: ClientTimeout(total=...), 5 minutes by default."),
    Advice("client", "axios", "axios: the option timeout."),
    Advice("client", "okhttp", "OkHttp: readTimeout (10 s by default) and callTimeout."),
    Advice("client", "Apache-HttpClient", "Apache HttpClient 5: RequestConfig.setResponseTimeout."),
    Advice("client", r"\.NET|MS Web Services", ".NET: HttpClient.Timeout and HttpWebRequest.Timeout (both 100 s by default)."),
    Advice(
        "gateway",
        "^$",
        "This client is a gateway. nginx: proxy_read_timeout (60 s by default); haproxy: timeout server; Apache httpd: "
        "ProxyTimeout.",
    ),
    Advice("gateway", "^httpd$", "This client is a gateway, Apache httpd: ProxyTimeout."),
)
"""Where the time-outs of clients are set."""

RULE = Rule(
    severity={
        **dict.fromkeys(("stopped", "unread", "superseded", "left", "seek", "stream"), "note"),
        "timeout": "warning",
        "gave-up": "warning",
    },
    title={
        "stopped": "A program of the client ended while it waited: it closed {closed} connections at once",
        "unread": "The client closed the connection on the head of the {status}: it did not want the body",
        "superseded": "The client asked something else {wait} after its request, which that replaced",
        "left": "The user left {wait} after the request, before the response had come",
        "seek": "The client asked for another part, and gave this one up",
        "stream": "The client ended a stream after {wait}",
        "timeout": "The client gave up {wait} after its request, before it had the response{timeout_named}",
        "gave-up": "The client gave up {wait} after its request, before it had the response",
    },
    message={
        "stopped": _CLOSED + " Within {within} it closed {closed} connections{waits}: a program, a test or a tab ended there.",
        "unread": _CLOSED + " That was {read} after the response began, whose head it had: that was what it wanted.",
        "superseded": _CLOSED + " Within {apart} it asked for {instead} in its place.",
        "left": _CLOSED + "{left_means}",
        "seek": _CLOSED + " It asked for {instead} then.",
        "stream": _CLOSED + " The response has no length, and came piece by piece: who has seen enough of it can end it in no "
        "other way.",
        "timeout": _CLOSED + "{timeout_means}",
        "gave-up": _CLOSED,
    },
    remedy={
        "stopped": _NOTHING + "Let a program that ends wait for its answers first, where they matter. " + _NOTICE,
        "unread": "A check that looks at the status only: let it ask with HEAD, or for a small page. A client that wants to use "
        "its connection again: let it read the body to its end before it closes it (Go: io.Copy(io.Discard, response.Body)).",
        "superseded": _NOTHING + "A client that waits for a pause in typing before it asks spares the server the others.",
        "left": _NOTHING + _NOTICE,
        "seek": _NOTHING,
        "stream": _NOTHING,
        "timeout": _PATIENCE + "{timeout_where}",
        "gave-up": _PATIENCE,
    },
    display_filter="{filter}frame.number in {{{frames}}}",
    references=(
        Reference("RFC 9112 section 9.6, tear-down", "https://www.rfc-editor.org/rfc/rfc9112.html#section-9.6"),
        Reference("RFC 9293 section 3.6, half-closed connections", "https://www.rfc-editor.org/rfc/rfc9293.html#section-3.6"),
    ),
    explained_by=(
        ("reset-destroys-response", "connection"),
        ("unanswered", "exchange"),
        ("idle-cut", "exchange"),
        ("gateway-error", "exchange"),
        ("gateway-error", "front"),
        ("client-abort", "front"),
        *((name, "exchange") for name in FRAMING_ERRORS),
        *BROKEN_BEFORE,
    ),
    caused_by=(("slow-response", "exchange"), ("retransmission-stall", "exchange"), ("zero-window-stall/", "exchange")),
    advice=tuple(one._replace(where="impatient") for one in _TIMEOUTS),
    absence=True,
    ends=True,
)


def screen() -> pl.Expr:
    """Return an expression that is true on the rows that are candidates."""
    return may_be_early()


def find(closes: pl.LazyFrame) -> pl.LazyFrame:
    """A row per exchange in which the client closed before it had acknowledged the whole response, or before that was whole.

    Most of them are nobody's fault: `judge` looks closer, which costs a batch without such rows nothing.
    """
    return closes.filter(screen()).with_columns(pl.col("request_frame").alias("frame"))


def judge(rows: pl.DataFrame, _: object) -> tuple[pl.DataFrame, None]:
    """The clients that closed early, as their own connection shows them."""
    c = pl.col
    late = c("client_rst_frame") != c("client_close_frame")
    return (
        early(rows.lazy())
        .collect()
        .with_columns(
            pl.when(late).then("client_rst_frame").alias("late_frame"),
            c("waited").alias("wait"),
            _had().alias("had"),
        )
        .select(
            "connection",
            "exchange",
            pl.lit(None, pl.String).alias("kind"),
            pl.lit("client").alias("side"),
            close_confidence(_may_wait()).alias("confidence"),
            "frame",
            c("request_start").alias("start"),
            c("client_close_time").alias("end"),
            pl.lit(None, pl.Int64).alias("delay"),
            c("wait").cast(DURATION),
            close_word("client_close_rst").alias("close"),
            close_origin("client"),
            "had",
            (c("client_close_time") - c("response_start")).clip(0).cast(DURATION).alias("read"),
            *_timeout_texts(),
            evidence(
                ("request_frame", "request_start", "the request"),
                ("response_frame", "response_start", pl.format("the response begins: {}", "response_status")),
                ("client_close_frame", "client_close_time", _close_note()),
                ("late_frame", "client_rst_time", "the client's RST: its socket is closed, nobody takes the response"),
            ),
            *FACTS,
        )
    ), None


__all__ = [
    "AT_ONCE",
    "GONE",
    "HALF_CLOSE",
    "LONGER",
    "MOVED",
    "PAIR",
    "PAUSES",
    "REFUSED",
    "REPLACED",
    "SEVERAL",
    "SHORT",
    "STILL_WAITING",
    "STOOD_STILL",
    "TIMEOUT_NEAR",
    "TIMEOUT_SHARE",
    "TOGETHER",
]
"""The thresholds, which are those of this rule."""

_WORDS = ("waits", "instead", "left_means", "filter")


def by_clients(rows: pl.DataFrame, clients: Clients) -> pl.DataFrame:
    """The candidates with their kinds, as the other connections of their clients show them."""
    ended = [decide(row, clients) for row in rows.iter_rows(named=True)]
    told = [_told(one, *place) for one, place in zip(ended, rows.select("evidence", "connection").rows(), strict=True)]
    moments = rows["ended_at"].to_list()
    apart = [0 if one.other is None else abs(one.other.start - at) for one, at in zip(ended, moments, strict=True)]
    made = rows.with_columns(
        pl.Series("kind", [one.kind for one in ended], pl.String),
        pl.Series("silent", [one.silent for one in ended], pl.Boolean),
        pl.Series("closed", [len(one.others) for one in ended], pl.Int64),
        pl.Series("evidence", [one.pop("evidence") for one in told], EVIDENCE),
        pl.Series("impatient", [one.kind in ("timeout", "gave-up") for one in ended], pl.Boolean),
        pl.Series("apart", apart, pl.Int64).cast(DURATION),
        pl.lit(TOGETHER.value).cast(DURATION).alias("within"),
        *(pl.Series(name, [one[name] for one in told], pl.String) for name in _WORDS),
    )
    return made.filter(pl.col("kind").is_not_null() & (pl.col("kind") != "half-closed"))


def _told(one: Ended, proof: list[dict[str, Any]], connection: int) -> dict[str, Any]:
    """Columns that say what the other connections show: _WORDS and `evidence`."""
    own = f"tcp.stream == {connection} && "
    told: dict[str, Any] = {**dict.fromkeys(_WORDS, ""), "filter": own, "evidence": proof}
    if one.other is not None:
        asked = shorten(printable(f"{masking.method(one.other.method)} {masking.target(one.other.target)}"), MOST_REQUEST)
        part = "" if one.other.range_start is None else f" from byte {one.other.range_start:,} on"
        told["instead"] = f"{asked}{part}"
        told["left_means"] = f" The same client asked for a page then: {asked}."
        note = f"the same client asks for {asked}{part}"
        told |= {"filter": "", "evidence": [*proof, _packet(one.other.frame, one.other.start, note)]}
    elif one.longest:
        told["left_means"] = (
            f" It had waited {duration_text(one.longest)} for such an answer before: no time-out is shorter than that."
        )
    waits = sorted(close.waited for close in one.others if close.waited is not None)
    if one.others:
        span = f" ({duration_text(waits[0])} to {duration_text(waits[-1])})" if len(waits) > 1 else ""
        told["waits"] = (
            f", on {len(waits):,} of which it waited{span}"
            if len(waits) < len(one.others)
            else f", on all of which it waited{span}"
        )
        more = [close for close in one.others if close.connection != connection][:_SHOWN]
        notes = [_packet(close.frame, close.time, f"the client closes connection {close.connection}") for close in more]
        told |= {"filter": "", "evidence": [*proof, *notes]}
    return told


MOST_REQUEST = 100
"""Characters of another request in a text."""

_SHOWN = 3
"""Of the other connections that were closed at the same moment."""


def _packet(frame: int, time: int, note: str) -> dict[str, Any]:
    return {"frame": frame, "time": time, "note": note}


def _may_wait() -> pl.Expr:
    """A FIN alone: nothing but its time says that the client does not listen any more."""
    c = pl.col
    return (c("client_close_rst") == 0) & c("server_close_frame").is_null() & c("client_rst_frame").is_null()


# words


def _had_nothing() -> pl.Expr:
    """Nothing of the response had come when the client closed."""
    return ~begun() | (pl.col("response_start") > pl.col("client_close_time"))


def _had() -> pl.Expr:
    """What the client had by then."""
    part = pl.format("it had only a part of the {} ({} bytes of body were seen)", "response_status", "response_body_bytes")
    return (
        pl.when(_had_nothing())
        .then(pl.lit("it had nothing of the response"))
        .when(whole_response())
        .then(pl.format("it had not acknowledged the whole of the {}, and never did", "response_status"))
        .otherwise(part)
    )


def _timeout_texts() -> list[pl.Expr]:
    timeout = pl.col("timeout")
    nothing = pl.lit("")
    known = pl.when(timeout.is_not_null())
    # where the response was coming, the time may be a chance
    sure = pl.when(timeout.is_not_null() & _had_nothing())
    return [
        sure.then(pl.format(": a timeout of {} s", timeout)).otherwise(nothing).alias("timeout_named"),
        sure.then(pl.format(" That is close to {} s{}: a timeout of the client ran out.", timeout, "since"))
        .when(timeout.is_not_null())
        .then(pl.format(" That is close to {} s{}: a timeout may have run out.", timeout, "since"))
        .otherwise(nothing)
        .alias("timeout_means"),
        known.then(pl.format(" Look for a timeout of {} s in the client.", timeout)).otherwise(nothing).alias("timeout_where"),
    ]


def _close_note() -> pl.Expr:
    closer = close_word("client_close_rst")
    return pl.format("the client's {}, {} after the request began: {}", closer, duration(pl.col("wait")), "had")
