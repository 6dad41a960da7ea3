"""The server took a request and closed the connection without any answer.

What it means
    The request had arrived, whole: the server's own FIN or RST acknowledges it. Then the server, or the program behind it, ended
    the connection without a single byte of a response.

Why it hurts
    The client cannot know whether the request was carried out: a browser shows an empty page ("ERR_EMPTY_RESPONSE"), curl says
    "Empty reply from server", a proxy answers 502. What was not idempotent cannot be repeated safely.

How it is proved
    The acknowledgement number of the server's FIN or RST covers the last byte of the request, the server sent nothing behind
    what the client had when it asked, and the client had not closed before.

What it is not
    A request that met a closed connection: keep-alive-race. A response that broke off: truncated-response. A client
    that gave up first: client-abort. A request behind an answer that had announced the close, be it pipelined or not.

What to do
    Look into the server's log at that time: a crash, a worker that was killed, a limit that was exceeded.

References
    RFC 9110 section 15.6, RFC 9112 section 9.6.
"""

from __future__ import annotations

import polars as pl

from wiredoctor.findings import Advice, Reference, Rule
from wiredoctor.rules.closes import request_taken
from wiredoctor.rules.proof import close_confidence, close_origin, close_word, evidence, server_closed_first
from wiredoctor.rules.words import DURATION, duration

RULE = Rule(
    severity="error",
    title="The server closed the connection without an answer, {wait} after the request",
    message="The server received {request} whole (its {close} acknowledges the last byte) and closed the connection {wait} "
    "later without a byte of a response{interim_only}.{behind} The client cannot know whether the request was carried out.",
    remedy="Look into the server's log at that time, and into that of the program behind it: a crash, a worker that was killed "
    "for taking too long or too much memory, or a rule that drops requests on purpose. A server that cannot answer should say so "
    "with a status (500, 503, 504) before it closes.",
    display_filter="tcp.stream == {connection} && frame.number in {{{frames}}}",
    references=(
        Reference("RFC 9110 section 15.6, server errors", "https://www.rfc-editor.org/rfc/rfc9110.html#section-15.6"),
        Reference("RFC 9112 section 9.6, tear-down", "https://www.rfc-editor.org/rfc/rfc9112.html#section-9.6"),
    ),
    explained_by=(("reset-destroys-response", "connection"), ("unanswered", "exchange"), ("gateway-error", "exchange")),
    caused_by=(("framing", "exchange"),),
    advice=(
        Advice("server", "nginx", "nginx: return 444 closes without an answer on purpose."),
        Advice("server", "gunicorn", "gunicorn: a worker that is silent for longer than --timeout (30 s by default) is killed."),
        Advice("server", "IIS|Microsoft", "IIS: http.sys writes what it dropped to %SystemRoot%\\System32\\LogFiles\\HTTPERR."),
        Advice("server", "Apache", 'Apache httpd: a child that crashed leaves "exit signal" in the error log.'),
    ),
    timeless=True,
    absence=True,
    ends=True,
)


def screen() -> pl.Expr:
    """True on the rows that are candidates."""
    c = pl.col
    asked = c("has_request") & (c("request_end_reason") == "complete") & c("server_close_frame").is_not_null() & ~c("upgraded")
    # of a final response nothing was sent, behind the responses before it, what the client had when it asked, or an interim one
    before = pl.max_horizontal("request_ack", "previous_end_offset")
    sent = pl.when(c("has_response")).then("response_end_offset").otherwise(before)
    nothing = (~c("has_response") | _is_interim()) & (c("server_close_offset") <= sent)
    # who asks behind an answer that announced the close has to repeat it on another connection
    promised = ~c("previous_announced_close")
    return asked & nothing & promised & request_taken() & server_closed_first()


def _is_interim() -> pl.Expr:
    """Whether all that came of a response is an interim one."""
    return pl.col("has_response") & (pl.col("response_status") < 200)


def find(closes: pl.LazyFrame) -> pl.LazyFrame:
    """A row per request that was received and not answered."""
    c = pl.col
    wait = (c("server_close_time") - c("request_end")).clip(0)
    said = pl.when(_is_interim()).then(pl.format(" (but for an interim {})", "response_status")).otherwise(pl.lit(""))
    lost = closes.filter(screen())
    # of a pipeline all that was not answered is told with the first of it
    together = lost.with_columns(
        pl.len().over("connection").alias("requests"), c("exchange").min().over("connection").alias("first")
    )
    others = c("requests") - 1
    behind = pl.when(others > 0).then(pl.format(" Lost with it, behind it in the pipeline: {} requests.", others))
    return together.filter(c("exchange") == c("first")).select(
        "connection",
        "exchange",
        pl.lit(None, pl.String).alias("kind"),
        pl.lit("server").alias("side"),
        close_confidence().alias("confidence"),
        c("request_frame").alias("frame"),
        c("request_start").alias("start"),
        c("server_close_time").alias("end"),
        pl.lit(None, pl.Int64).alias("delay"),
        wait.cast(DURATION).alias("wait"),
        close_word("server_close_rst").alias("close"),
        close_origin("server"),
        said.alias("interim_only"),
        behind.otherwise(pl.lit("")).alias("behind"),
        "requests",
        evidence(
            ("request_last_frame", "request_end", "the request ends"),
            ("server_close_frame", "server_close_time", _close_note(wait)),
        ),
    )


def _close_note(wait: pl.Expr) -> pl.Expr:
    closer = close_word("server_close_rst")
    return pl.format(
        "the server's {}: acknowledges the request, {} after its end, and nothing came before", closer, duration(wait)
    )
