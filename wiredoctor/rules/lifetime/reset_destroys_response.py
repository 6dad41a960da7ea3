"""The server answered an upload that it had not read, and its reset may have destroyed the answer.

What it means
    The server had its answer before it had read the whole request: a 413, a 401, or a program that does not care for the body.
    Then it closed its socket. Bytes that nobody has read, or that still come, make the kernel send an RST instead of a FIN, and
    an RST lets the receiver throw away what it has not read yet: the answer.

Why it hurts
    The client sees "connection reset by peer" or "broken pipe" instead of the status that says what is wrong, and tries again. It
    depends on chance, on the client's system and on the distance whether the answer gets through. No setting needs to be wrong:
    Python's http.server does it, and so did gunicorn's sync worker for long.

How it is proved
    The packet with the head of the response does not acknowledge the whole request, or the request was never whole; the server's
    RST follows at once, before any FIN or RST of the client, and does not acknowledge the whole request either.

What it is not
    A server that answers early and reads on, or that sends its FIN and waits for the client's (a lingering close). A client that
    stops by itself when it has seen the answer. A reset that cuts a response to a request that was whole: truncated-response.

What to do
    Let the server read the rest, up to a limit, before it closes. Let clients announce large uploads with Expect: 100-continue.

References
    RFC 9112 section 9.6, RFC 9110 section 10.1.1, RFC 9293 section 3.6, nginx's lingering_close.
"""

from __future__ import annotations

import polars as pl

from wiredoctor.findings import Advice, Reference, Rule, Threshold
from wiredoctor.rules.closes import patience
from wiredoctor.rules.proof import close_confidence, close_origin, evidence
from wiredoctor.rules.words import DURATION, duration

RULE = Rule(
    severity="error",
    title="The {status} to an upload may be lost: the server reset the connection before it had read the request",
    message="The server answered {request} with {status} when it had received {received}{due} bytes of its body, and reset the "
    "connection {gap} later, while the client was still sending. A reset lets the client's system throw away what the client "
    'has not read yet: it may see "connection reset by peer" or "broken pipe" instead of the {status}.',
    remedy="Let the server read and throw away the rest of the request, up to a limit in bytes and seconds, before it closes: "
    "shut down its sending side first, read, then close (RFC 9112 section 9.6); a reverse proxy that takes in requests whole "
    "does it for the server. Let clients send Expect: 100-continue with large bodies, so that they are refused before they are "
    "sent, and read while they send.",
    display_filter="tcp.stream == {connection} && frame.number in {{{frames}}}",
    references=(
        Reference("RFC 9112 section 9.6, tear-down", "https://www.rfc-editor.org/rfc/rfc9112.html#section-9.6"),
        Reference("RFC 9110 section 10.1.1, Expect", "https://www.rfc-editor.org/rfc/rfc9110.html#section-10.1.1"),
        Reference("RFC 9293 section 3.6, closing a connection", "https://www.rfc-editor.org/rfc/rfc9293.html#section-3.6"),
        Reference("nginx, lingering_close", "https://nginx.org/en/docs/http/ngx_http_core_module.html#lingering_close"),
    ),
    advice=(
        Advice(
            "server",
            "gunicorn",
            "gunicorn: the sync worker closes when the application has answered (recent releases read up to 64 kB before); let "
            "the application read wsgi.input, or put nginx before it, which buffers requests.",
        ),
        Advice(
            "server", "nginx", "nginx: lingering_close on (the default), with a longer lingering_time where uploads are slow."
        ),
        Advice("server", "Werkzeug|Python/", "Python: read the body (rfile, or wsgi.input) before the answer is sent."),
    ),
    ends=True,
)

AT_ONCE = Threshold("1 s", "what is reset later (or after two round trips) had read on for a while, as it should")


def screen() -> pl.Expr:
    """Return an expression that is true on at least one row if there is a candidate."""
    return pl.col("server_rst_frame").is_not_null() & (pl.col("request_body_bytes") > 0)


def find(closes: pl.LazyFrame) -> pl.LazyFrame:
    """A row per answer that a reset ran after while its request was still coming."""
    c = pl.col
    answered = c("has_request") & c("has_response") & (c("response_status") >= 200) & ~c("upgraded")
    body = (
        (c("request_body_bytes") > 0) & c("server_rst_frame").is_not_null() & c("request_end_reason").is_in(["complete", "rst"])
    )
    gap = c("server_rst_time") - pl.max_horizontal("response_end", c("server_close_time").fill_null(0))
    at_once = (c("server_rst_frame") >= c("response_frame")) & (gap <= patience(AT_ONCE.value))
    # nothing that comes behind a FIN of the client is a request; an RST of its own answers what it did not expect any more
    alone = c("client_close_frame").is_null() | ((c("client_close_rst") == 1) & (c("client_close_frame") > c("server_rst_frame")))
    itself = c("server_close_origin") != "between"
    rows = closes.filter(answered & body & at_once & alone & itself & _unread("response_ack") & _unread("server_close_ack"))
    received = pl.min_horizontal(
        (c("response_ack") - c("request_offset") - c("request_head_bytes")).clip(0), "request_body_bytes"
    )
    due = pl.when(c("request_body_due").is_not_null()).then(pl.format(" of {}", "request_body_due")).otherwise(pl.lit(""))
    fin = pl.when(c("server_close_rst") == 0).then("server_close_frame").alias("fin_frame")
    return rows.with_columns(fin).select(
        "connection",
        "exchange",
        pl.lit(None, pl.String).alias("kind"),
        pl.lit("server").alias("side"),
        close_confidence().alias("confidence"),
        c("request_frame").alias("frame"),
        c("request_start").alias("start"),
        c("server_rst_time").alias("end"),
        pl.lit(None, pl.Int64).alias("delay"),
        close_origin("server"),
        received.fill_null(0).alias("received"),
        due.alias("due"),
        (c("server_rst_time") - c("response_start")).clip(0).cast(DURATION).alias("gap"),
        evidence(
            ("request_frame", "request_start", "the request"),
            ("response_frame", "response_start", _answer_note()),
            ("fin_frame", "server_close_time", "the server's FIN: does not acknowledge the whole request"),
            ("server_rst_frame", "server_rst_time", _reset_note()),
        ),
    )


def _unread(ack: str) -> pl.Expr:
    """This acknowledgement number does not cover the request, or the request was never whole."""
    c = pl.col
    return (c("request_end_reason") == "rst") | (c(ack) < c("request_end_offset")).fill_null(False)


def _answer_note() -> pl.Expr:
    head = pl.format("the response, {}: does not acknowledge the whole request", "response_status")
    never = pl.format("the response, {}: the request is not whole, and never will be", "response_status")
    return pl.when(pl.col("request_end_reason") == "complete").then(head).otherwise(never)


def _reset_note() -> pl.Expr:
    gap = (pl.col("server_rst_time") - pl.col("response_start")).clip(0)
    return pl.format("the server's RST, {} after the beginning of the response", duration(gap))
