"""The server ended the connection before its response was complete.

What it means
    The response says how long it is (Content-Length), or that a last chunk will end it, or its head was still being sent; the
    server's FIN or RST came before that.

    Kinds: stream, an event stream or another medium without an end of its own, whose last chunk is missing. So ends every stream
    when its server stops or is deployed: a note, one for all that end within 50 ms.

Why it hurts
    The client has half an answer. Good clients report an error ("transfer closed with outstanding read data remaining",
    IncompleteRead, "unexpected end of stream"); others store or show what came, as if it were all. Clients of streams come again.

How it is proved
    The bytes between the head of the response and the server's FIN or RST are fewer than its Content-Length, or the last
    chunk (size 0) is not among them. The client had not closed before: acknowledgement numbers say so.

    Where the client had not read for a second or more until shortly before that (zero-window-stall), the server may have given
    it up: that is named, with medium confidence.

What it is not
    A capture that ended, or lost packets, before the response did. A client that gave up: client-abort. A body without any
    announced end, which cannot be told from a whole one: close-delimited. The answers to HEAD, and 204 and 304.

What to do
    Look into the server's log at that time; where a program states Content-Length, let it count bytes.

References
    RFC 9112 sections 8 and 6.3.
"""

from __future__ import annotations

from collections import deque

import polars as pl

from wiredoctor.durations import duration_text
from wiredoctor.findings import Advice, Reference, Rule, Threshold
from wiredoctor.rules.closes import BROKEN_BEFORE, streams
from wiredoctor.rules.memory import Recent
from wiredoctor.rules.proof import close_confidence, close_origin, close_word, evidence, server_closed_first
from wiredoctor.rules.rests import TOGETHER, Rests
from wiredoctor.rules.words import DURATION, duration

_REMEDY = (
    "Look into the server's log at that time: a crash, a worker or a script that was killed for taking too long, or, where a "
    "proxy stands before the application, an upstream that closed. If the program states Content-Length by itself, let it count "
    "bytes and not characters, after compression and not before.{cut}"
)
_STREAM = (
    "Where the server was stopped on purpose, nothing. Else look into its log at that time. A server that ends a stream in order "
    "sends the last chunk before it closes: then a client can tell its end from a failure."
)

RULE = Rule(
    severity={None: "error", "stream": "note"},
    title={
        None: "The response broke off: the server closed the connection before the end of the {status}",
        "stream": "The server ended a stream without a last chunk",
    },
    message={
        None: "{announced}{due}{unit}; {came} {came_unit} came before the server's {close}. The client had not closed before: "
        "what is missing of the {status} to {request} was never sent, or was thrown away by the server.",
        "stream": "The stream in answer to {request} ended {lasted} after it began with the server's {close}, without the last "
        "chunk (size 0).{together} So end streams when their server stops or is deployed; their clients come again.",
    },
    remedy={None: _REMEDY, "stream": _STREAM},
    display_filter="tcp.stream == {connection} && frame.number in {{{frames}}}",
    references=(
        Reference("RFC 9112 section 8, incomplete messages", "https://www.rfc-editor.org/rfc/rfc9112.html#section-8"),
        Reference("RFC 9112 section 6.3, message body length", "https://www.rfc-editor.org/rfc/rfc9112.html#section-6.3"),
    ),
    explained_by=(
        ("invalid-chunk", "exchange"),
        ("conflicting-framing", "exchange"),
        ("unfinished-transfer-coding", "exchange"),
        ("reset-destroys-response", "exchange"),
        ("unanswered", "exchange"),
        ("idle-cut", "exchange"),
        ("gateway-error", "exchange"),
        *BROKEN_BEFORE,
    ),
    caused_by=(("zero-window-stall/", "until"),),
    advice=(
        Advice(
            "server",
            "nginx",
            'nginx as a proxy: look for "upstream prematurely closed connection" and "upstream timed out" (proxy_read_timeout, '
            "60 s by default) in its error log.",
        ),
        Advice("server", "gunicorn", "gunicorn: a worker that is silent for longer than --timeout (30 s by default) is killed."),
        Advice("server", "IIS|Microsoft", "IIS: look for recycled application pools in the system's event log."),
    ),
    timeless=True,
    absence=True,
    ends=True,
)


ENDPOINTS = Threshold("10000 endpoints", "whose streams that ended last are remembered")
REMEMBERED = Threshold("16 closes", "of an endpoint that ended streams: they come in the order in which they are decided")


def screen() -> pl.Expr:
    """Return an expression that is true on at least one row if there is a candidate."""
    c = pl.col
    cut = c("response_end_reason").is_in(["fin", "rst"]) & c("server_close_frame").is_not_null()
    return c("has_request") & c("has_response") & ~c("upgraded") & cut & server_closed_first()


def find(closes: pl.LazyFrame) -> pl.LazyFrame:
    """A row per response that was cut off by its sender."""
    c = pl.col
    rows = closes.filter(screen())
    # how far the server had sent: the close says so, whatever the capture lacks of it
    sent = c("server_close_offset") - c("response_offset")
    head, sized = c("response_framing") == "none", c("response_framing") == "content-length"
    body = (sent - c("response_head_bytes")).clip(0)
    missing = pl.when(sized).then(body < c("response_body_due")).otherwise(~c("response_has_gap"))
    known = c("response_framing").is_in(["none", "content-length", "chunked"]) & (c("server_close_time") >= c("response_start"))
    came = pl.when(head).then(sent).when(sized).then(body).otherwise("response_body_bytes")
    of_head = pl.lit("bytes of it")
    return rows.filter(known & missing).select(
        "connection",
        "exchange",
        pl.when(streams() & (c("response_framing") == "chunked")).then(pl.lit("stream")).alias("kind"),
        pl.lit("server").alias("side"),
        close_confidence().alias("confidence"),
        c("response_frame").alias("frame"),
        c("request_start").alias("start"),
        c("server_close_time").alias("end"),
        pl.lit(None, pl.Int64).alias("delay"),
        pl.when(head)
        .then(pl.lit("The head of the response was not complete"))
        .when(sized)
        .then(pl.lit("The response announced "))
        .otherwise(pl.lit("The body of the response comes in chunks, and the last one (size 0) is missing"))
        .alias("announced"),
        pl.when(sized).then("response_body_due").alias("due"),
        pl.when(sized).then(pl.lit(" bytes of body (Content-Length)")).otherwise(pl.lit("")).alias("unit"),
        came.alias("came"),
        pl.when(head).then(of_head).otherwise(pl.lit("bytes of the body")).alias("came_unit"),
        close_word("server_close_rst").alias("close"),
        close_origin("server"),
        _cut().alias("cut"),
        (c("server_close_time") - c("response_start")).cast(DURATION).alias("lasted"),
        *("endpoint", "server_close_time", "final_at"),
        evidence(
            ("request_frame", "request_start", "the request"),
            ("response_frame", "response_start", _head_note(sized, head)),
            ("server_close_frame", "server_close_time", _close_note(came)),
        ),
    )


def judge(rows: pl.DataFrame, state: Recent[deque[int]] | None) -> tuple[pl.DataFrame, Recent[deque[int]]]:
    """Of the streams of an endpoint that ended at one moment the first is told, the others are silent."""
    memory = Recent(lambda: deque[int](maxlen=REMEMBERED.value), ENDPOINTS.value) if state is None else state
    rows = rows.sort("final_at", "server_close_time", "connection", "exchange")
    silent = [_is_told(memory, *one) for one in rows.select("kind", "endpoint", "server_close_time").iter_rows()]
    return rows.with_columns(pl.Series("silent", silent, pl.Boolean)), memory


def _is_told(memory: Recent[deque[int]], kind: str | None, endpoint: int, time: int) -> bool:
    """Whether another stream speaks for this one; else it is remembered."""
    if kind is None:
        return False
    closes = memory[endpoint]
    if any(abs(time - close) <= TOGETHER for close in closes):
        return True
    closes.append(time)
    return False


def by_limits(rows: pl.DataFrame, rests: Rests, *, live: bool) -> pl.DataFrame:
    """The candidates, with what else the server closed at that moment."""
    texts: list[str] = []
    for endpoint, connection, time, final_at in rows.select(
        "endpoint", "connection", "server_close_time", "final_at"
    ).iter_rows():
        others = len(rests.others(endpoint, connection, time, final_at + TOGETHER if live else None))
        which = "another connection" if others == 1 else f"{others:,} other connections"
        texts.append(f" With it, within {duration_text(TOGETHER)}, the server closed {which}." if others else "")
    return rows.with_columns(pl.Series("together", texts, pl.String))


def _cut() -> pl.Expr:
    reset = " The RST says that the connection was given up: a program that thought itself done would have sent a FIN."
    return pl.when(pl.col("server_close_rst") == 1).then(pl.lit(reset)).otherwise(pl.lit(""))


def _head_note(sized: pl.Expr, head: pl.Expr) -> pl.Expr:
    c = pl.col
    return (
        pl.when(sized)
        .then(pl.format("the response, {}: Content-Length {}", c("response_status"), c("response_body_due")))
        .when(head)
        .then(pl.lit("the response begins"))
        .otherwise(pl.format("the response, {}: Transfer-Encoding chunked", c("response_status")))
    )


def _close_note(came: pl.Expr) -> pl.Expr:
    c = pl.col
    after = duration((c("server_close_time") - c("response_start")).clip(0))
    return pl.format(
        "the server's {}, {} after the beginning of the response, behind {} bytes", close_word("server_close_rst"), after, came
    )
