"""The client gave up before it had its response.

What it means
    The client closed the connection, or reset it, while the response was due or incomplete: a timeout ran out, the user
    left the page or pressed stop, or a program had seen enough.

Why it hurts
    What the server did was done for nobody, and is often asked for again: the load grows just when the server is slow.
    In the server's log it is a 499 (nginx), a "broken pipe" or a "client prematurely closed connection".

How it is proved
    An RST of the client that does not acknowledge the end of the response, or a FIN of the client after which the response was
    not completed. Where the client closed its socket for good (FIN), what comes after that is answered by an RST, and counts
    for nothing.

What it is not
    A half-close: a client may send FIN and still wait for the response, which then comes and is acknowledged; a FIN right
    behind the request that the server answers with its own and nothing else. A response that is shorter than it says, where the
    client closed on what it had just read and the server had nothing to add: the client was not impatient. A close that the
    server began. Event streams, multipart/x-mixed-replace and tunnels, which have no other end. A server that reset the
    connection first, or that had closed it before the request came: keep-alive-race.

What to do
    If the time is a round number, find the timeout that it belongs to, and ask why the server needs longer than that.

References
    RFC 9112 section 9.6, RFC 9293 section 3.6.
"""

from __future__ import annotations

import polars as pl

from wiredoctor.findings import Advice, Reference, Rule, Threshold
from wiredoctor.rules.closes import BROKEN_BEFORE, FRAMING_ERRORS, closed_against_request, patience
from wiredoctor.rules.proof import close_confidence, close_origin, close_word, evidence
from wiredoctor.rules.words import DURATION, duration
from wiredoctor.tables import SECOND

RULE = Rule(
    severity="warning",
    title="The client gave up {wait} after its request, before it had the response{timeout_named}",
    message="The client closed the connection with {close} {wait} after its request {request}. By then {had}.{timeout_means}",
    remedy="Ask first why the response took longer than the client was willing to wait; only then make the client's timeout "
    "longer. Let the server notice that the client is gone, and stop working for it; let clients wait longer before each "
    "repetition.{timeout_where}",
    display_filter="tcp.stream == {connection} && frame.number in {{{frames}}}",
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
    advice=(
        Advice("client", "curl", "curl: --max-time; libcurl: CURLOPT_TIMEOUT."),
        Advice("client", "^Go-http-client", "Go: http.Client.Timeout, or the deadline of the request's context."),
        Advice("client", "python-requests|urllib3", "requests or urllib3: the argument timeout."),
        Advice("client", "python-httpx", "httpx: the argument timeout (5 s by default)."),
        Advice("client", "aiohttp", "aiohttp: ClientTimeout(total=...), 5 minutes by default."),
        Advice("client", "axios", "axios: the option timeout."),
        Advice("client", "okhttp", "OkHttp: readTimeout (10 s by default) and callTimeout."),
        Advice("client", "Apache-HttpClient", "Apache HttpClient 5: RequestConfig.setResponseTimeout."),
        Advice(
            "client", r"\.NET|MS Web Services", ".NET: HttpClient.Timeout and HttpWebRequest.Timeout (both 100 s by default)."
        ),
        Advice(
            "gateway",
            "^$",
            "This client is a gateway. nginx: proxy_read_timeout (60 s by default); haproxy: timeout server; Apache httpd: "
            "ProxyTimeout.",
        ),
        Advice("gateway", "^httpd$", "This client is a gateway, Apache httpd: ProxyTimeout."),
    ),
    absence=True,
    ends=True,
)

HALF_CLOSE = Threshold("1 s", "who half-closes does so with the request; a FIN that comes later is an end of patience")
AT_ONCE = Threshold("50 ms", "who closes so soon after the request, or on a response that had just begun, was not impatient")
STILL_WAITING = Threshold("5 s", "a half-closed client still waits; who got nothing for so long after its FIN has gone")
REFUSED = Threshold("1 s", "an RST within that time (or two round trips) of the response answers the response")
TIMEOUT_SHARE = Threshold("2 %", "timers fire late by little; what lies nearer to a round number is no chance")
TIMEOUT_NEAR = Threshold("200 ms", "for long timeouts 2 % would be seconds")

_TIMEOUTS = (1, 2, 3, 5, 10, 15, 20, 30, 45, 60, 90, 100, 120, 180, 300, 600)
"""Seconds that people and libraries choose for timeouts."""

_ENDLESS = ("text/event-stream", "multipart/x-mixed-replace")


def screen() -> pl.Expr:
    """True on the rows that are candidates."""
    c = pl.col
    closed = (c("client_close_frame") > c("request_frame")) & c("has_request") & c("both_directions")
    taken = (c("client_close_ack") >= c("response_end_offset")).fill_null(False) & (c("response_end_reason") == "complete")
    itself = (c("client_close_origin") != "between") & (c("server_close_origin") != "between")
    return closed & ~taken & itself


def find(closes: pl.LazyFrame) -> pl.LazyFrame:
    """A row per exchange in which the client closed before it had acknowledged the whole response, or before that was whole.

    Most of them are nobody's fault: `judge` looks closer, which costs a batch without such rows nothing.
    """
    return closes.filter(screen()).with_columns(pl.col("request_frame").alias("frame"))


def judge(rows: pl.DataFrame, _: object) -> tuple[pl.DataFrame, None]:
    """The clients that gave up."""
    c = pl.col
    due = (_begun() | (c("request_end_reason") == "complete")) & ~_endless()
    wait = c("client_close_time") - c("request_start")
    late = c("client_rst_frame") != c("client_close_frame")
    return (
        rows.filter(due & _by_the_client() & (_reset() | _left()))
        .with_columns(
            pl.coalesce(_timeout(wait), _timeout(c("client_close_time") - c("request_end"))).alias("timeout"),
            pl.when(late).then("client_rst_frame").alias("late_frame"),
            wait.alias("wait"),
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
            *_timeout_texts(),
            evidence(
                ("request_frame", "request_start", "the request"),
                ("response_frame", "response_start", pl.format("the response begins: {}", "response_status")),
                ("client_close_frame", "client_close_time", _close_note()),
                ("late_frame", "client_rst_time", "the client's RST: its socket is closed, nobody takes the response"),
            ),
        )
    ), None


def _begun() -> pl.Expr:
    """Something of the final response was seen."""
    return pl.col("has_response") & (pl.col("response_status") >= 200).fill_null(False)


def _whole() -> pl.Expr:
    """The final response was captured to its end."""
    return _begun() & (pl.col("response_end_reason") == "complete")


def _endless() -> pl.Expr:
    """Nothing but a close ends it: a stream, a tunnel, a body that nobody framed (missing-framing)."""
    c = pl.col
    unframed = (c("response_framing") == "close-delimited") & c("persistent")
    return c("upgraded") | (c("response_framing") == "tunnel") | c("response_content_type").is_in(_ENDLESS) | unframed


def _by_the_client() -> pl.Expr:
    """The server had not closed before. Nothing acknowledges an RST: of two resets the one captured first counts."""
    c = pl.col
    reset = ((c("server_close_rst") == 1) & (c("server_close_frame") < c("client_close_frame"))).fill_null(False)
    knew = ((c("client_close_ack") > c("server_close_offset")) & (c("server_close_rst") == 0)).fill_null(False)
    return ~knew & ~closed_against_request() & ~reset


def _reset() -> pl.Expr:
    """An RST that does not acknowledge the end of the response; without ACK flag it says nothing of that."""
    c = pl.col
    short = (c("client_close_ack") < c("response_end_offset")) & (c("client_close_ack") >= c("request_ack"))
    return (c("client_close_rst") == 1) & (_unfinished() | (_whole() & short)).fill_null(False)


def _left() -> pl.Expr:
    """A FIN after which the response was not completed, or not taken.

    Over is over: the server has closed too, or the client's RST says that nobody listens. Until then a client whose FIN
    came with its request may wait.
    """
    c = pl.col
    over = c("server_close_frame").is_not_null() | c("client_rst_frame").is_not_null()
    late = c("client_close_time") - c("request_end") >= HALF_CLOSE.value
    alone = c("final_at") - c("client_close_time") >= STILL_WAITING.value
    gone = over | ((late | alone) & ~_goes_on())
    answers = (c("client_rst_time") >= c("response_start")) & (
        c("client_rst_time") <= c("response_end") + patience(REFUSED.value)
    )
    refused = (c("client_rst_ack").is_null() | (c("client_rst_ack") < c("response_end_offset"))) & answers
    before = c("client_close_ack").is_null() | (c("client_close_ack") < c("response_end_offset"))
    impatient = _unfinished() & gone & ~_at_once()
    return (c("client_close_rst") == 0) & (impatient | (_whole() & before & refused)).fill_null(False)


def _at_once() -> pl.Expr:
    """The FIN came with the request, or as the response began, and the server had no more to say, or nothing.

    Later in a response the time since its last byte says nothing: a timeout runs out between two pieces, too.
    """
    c = pl.col
    asked = c("client_close_time") - c("request_end")
    read = c("client_close_time") - c("response_start") - c("rtt_client").fill_null(0)
    since = pl.when(_begun()).then(read).otherwise(asked)
    # it acknowledges all that the server ever sent
    all_of_it = (c("client_close_ack") >= c("server_close_offset")) & (c("server_close_rst") == 0)
    nobody_sent = c("server_close_frame").is_null() & ~_begun()
    taken = (all_of_it | nobody_sent) & c("client_rst_frame").is_null()
    return (taken & (since <= AT_ONCE.value)).fill_null(False)


def _unfinished() -> pl.Expr:
    """The response was not seen to its end, and that is not the fault of the capture."""
    c = pl.col
    # what came, and is no response, is something else than nothing: another protocol, or bytes that the capture lacks
    known = pl.when(c("has_response")).then("response_end_offset").otherwise("request_ack")
    taken = (c("client_close_ack") > known).fill_null(False)
    sent = (c("server_close_offset") > known).fill_null(False)
    return ~taken & ((~_begun() & ~sent) | (_begun() & c("response_end_reason").is_in(["fin", "rst", "capture-end"])))


def _goes_on() -> pl.Expr:
    """Some of the response came after the client's FIN."""
    return (_begun() & (pl.col("response_end") > pl.col("client_close_time"))).fill_null(False)


def _may_wait() -> pl.Expr:
    """A FIN alone: nothing but its time says that the client does not listen any more."""
    c = pl.col
    return (c("client_close_rst") == 0) & c("server_close_frame").is_null() & c("client_rst_frame").is_null()


# words


def _had_nothing() -> pl.Expr:
    """Nothing of the response had come when the client closed."""
    return ~_begun() | (pl.col("response_start") > pl.col("client_close_time"))


def _had() -> pl.Expr:
    """What the client had by then."""
    part = pl.format("it had only a part of the {} ({} bytes of body were seen)", "response_status", "response_body_bytes")
    return (
        pl.when(_had_nothing())
        .then(pl.lit("it had nothing of the response"))
        .when(_whole())
        .then(pl.format("it had not acknowledged the whole of the {}, and never did", "response_status"))
        .otherwise(part)
    )


def _timeout(wait: pl.Expr) -> pl.Expr:
    """The timeout (seconds) that ran out after this wait, null where it is near none."""
    share, most = TIMEOUT_SHARE.value, TIMEOUT_NEAR.value

    def near(wait: int | None) -> int | None:
        if wait is None:
            return None
        return next((s for s in _TIMEOUTS if abs(wait - s * SECOND) <= min(s * SECOND * share // 100, most)), None)

    def all_near(waits: pl.Series) -> pl.Series:
        return pl.Series(waits.name, [near(wait) for wait in waits.cast(pl.Int64).to_list()], dtype=pl.Int64)

    return wait.map_batches(all_near, return_dtype=pl.Int64, is_elementwise=True)


def _timeout_texts() -> list[pl.Expr]:
    timeout = pl.col("timeout")
    nothing = pl.lit("")
    known = pl.when(timeout.is_not_null())
    # where the response was coming, the time may be a chance
    sure = pl.when(timeout.is_not_null() & _had_nothing())
    return [
        sure.then(pl.format(": a timeout of {} s", timeout)).otherwise(nothing).alias("timeout_named"),
        sure.then(pl.format(" That is close to {} s: a timeout of the client ran out.", timeout))
        .when(timeout.is_not_null())
        .then(pl.format(" That is close to {} s: a timeout for the whole of it may have run out.", timeout))
        .otherwise(nothing)
        .alias("timeout_means"),
        known.then(pl.format(" Look for a timeout of {} s in the client.", timeout)).otherwise(nothing).alias("timeout_where"),
    ]


def _close_note() -> pl.Expr:
    closer = close_word("client_close_rst")
    return pl.format("the client's {}, {} after the request began: {}", closer, duration(pl.col("wait")), "had")
