"""The server ended the connection before its response was complete.

What it means
    The response says how long it is (Content-Length), or that a last chunk will end it, or its head was still being sent; the
    server's FIN or RST came before that.

Why it hurts
    The client has half an answer. Good clients report an error ("transfer closed with outstanding read data remaining",
    IncompleteRead, "unexpected end of stream"); others store or show what came, as if it were all.

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

import polars as pl

from wiredoctor.findings import Advice, Reference, Rule
from wiredoctor.rules.closes import BROKEN_BEFORE
from wiredoctor.rules.proof import close_confidence, close_origin, close_word, evidence, server_closed_first
from wiredoctor.rules.words import duration

RULE = Rule(
    severity="error",
    title="The response broke off: the server closed the connection before the end of the {status}",
    message="{announced}{due}{unit}; {came} {came_unit} came before the server's {close}. The client had not closed before: "
    "what is missing of the {status} to {request} was never sent, or was thrown away by the server.",
    remedy="Look into the server's log at that time: a crash, a worker or a script that was killed for taking too long, or, "
    "where a proxy stands before the application, an upstream that closed. If the program states Content-Length by itself, "
    "let it count bytes and not characters, after compression and not before.{cut}",
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


def screen() -> pl.Expr:
    """True on some row wherever there is a candidate."""
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
        pl.lit(None, pl.String).alias("kind"),
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
        evidence(
            ("request_frame", "request_start", "the request"),
            ("response_frame", "response_start", _head_note(sized, head)),
            ("server_close_frame", "server_close_time", _close_note(came)),
        ),
    )


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
