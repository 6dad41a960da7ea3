"""A body was streamed without Transfer-Encoding: chunked.

What it means
    The server sent a response whose body has neither a length nor chunks, so it ends when the connection closes. The
    server sent it in pieces and paused between them. The client spoke HTTP/1.1, so the server could have sent chunks.

Why it hurts
    An intermediary (balancer, proxy, cache) sees a body of unknown length. Many forward it only when the connection closes, so
    data that was flushed early arrives late. A client cannot tell a stream that broke off from a complete one. Every response
    costs a connection.

How it is proved
    The request was HTTP/1.1, and the response has neither Content-Length nor a transfer coding. Its body came in two or more
    bursts with a pause of the application of 50 ms or more between them. A single pause in a body of 64 kB or more must be at
    least 200 ms long. During the pause all earlier data was acknowledged, the receiver's window was open, and nothing was lost.
    If segments carry timestamps (RFC 7323), the server's clock must show the pause, too: the timestamps before and after it
    differ by at least half of the pause, less a round trip. Without timestamps, confidence is medium if the round trip between
    capture point and server is 1 ms or more, because a path that delays packets would look the same.

What it is not
    A pause that comes from a slow reader, a lost packet, a stalled path or the slow start of a connection is not a pause
    of the application. A response to HTTP/1.0 cannot be chunked. Endless media (column endless of the table exchanges),
    such as the pictures of a camera, are left out: their clients show each part as it comes, and need no complete body.

What to do
    Have the server use Transfer-Encoding: chunked. IIS stops using it when HTTP keep-alive is turned off.

References
    RFC 9112 sections 6.3, 7.1 and 9.3. RFC 7323 section 4.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import polars as pl

from wiredoctor.findings import Advice, Reference, Rule, Threshold
from wiredoctor.rules.shared.evidence import candidate, confidence, is_unwitnessed
from wiredoctor.rules.shared.words import packets, witness
from wiredoctor.text.durations import duration_text
from wiredoctor.world.numbers import DURATION

RULE = Rule(
    symptom="a stream that comes late, or breaks off unnoticed",
    severity="warning",
    title="The server streams its response without Transfer-Encoding: chunked",
    message="The body of the {status} to {request} ({body_bytes:,} bytes) came in {bursts:,} bursts ({pauses:,} pauses of the "
    "application, {paused} in all). The response has neither Content-Length nor Transfer-Encoding: chunked; its body ends when "
    "the connection closes. {says_close} An intermediary may hold back such a stream until it ends, and a stream that broke "
    "off looks complete.",
    remedy="Have the server send the response with Transfer-Encoding: chunked, which every HTTP/1.1 client understands, and keep "
    "the connection open.",
    references=(
        Reference("RFC 9112 section 6.3, message body length", "https://www.rfc-editor.org/rfc/rfc9112.html#section-6.3"),
        Reference("RFC 9112 section 7.1, chunked", "https://www.rfc-editor.org/rfc/rfc9112.html#section-7.1"),
    ),
    explained_by=(("stalls", "time"), ("unfinished-transfer-coding", "exchange")),
    caused_by=(("keep-alive-disabled", "endpoint"), ("http10-downgrade", "endpoint")),
    advice=(
        Advice(
            "server",
            "IIS|Microsoft|ASP",
            'IIS: turn "Enable HTTP keep-alive" on (HTTP response headers, common headers); while it is off, IIS adds '
            "Connection: close and does not chunk what Response.Flush() sends.",
        ),
        Advice("server", "nginx", "nginx: proxy_http_version 1.1 toward the application; with 1.0 the application cannot chunk."),
        Advice(
            "server", "Python/", "Python's http.server: protocol_version is HTTP/1.0 by default; set HTTP/1.1 and write chunks."
        ),
    ),
    absence=True,
)

MIN_BURSTS = Threshold("2 bursts", "the minimum number of bursts; one burst is an ordinary body, and two are a stream")
MIN_PAUSE = Threshold(
    "50 ms", "the minimum pause of the application: longer than a scheduling delay, shorter than a person notices"
)
LONE_PAUSE = Threshold(
    "200 ms",
    "the minimum length of a pause that is the only one in a large body: a busy server may pause once in the middle of a file",
)
LARGE_BODY = 64_000
"""The minimum size in bytes of a body that may be a file if it has a single pause.

For such a body, a longer pause (LONE_PAUSE) is required. The size is several times that of usual writes.
"""


def cutoffs() -> dict[str, int]:
    """Return the cutoff for the core (wiredoctor.core): the shortest pause of the application (ns) that the core counts."""
    return {"min_pause": MIN_PAUSE.value}


def may_match() -> pl.Expr:
    """Return a cheap condition: if no row of a batch meets it, the batch has no candidate findings."""
    return pl.col("response_application_pauses") > 0


class Facts(NamedTuple):
    """What is known of a pause in a streamed body. Times and durations are in ns.

    `before`: the last packet before the pause. `after`: the first one after it.
    """

    start: int
    end: int
    response_frame: int
    response_start: int
    response_connection_close: bool
    response_version: str
    before: int
    after: int
    by_clock: int | None
    rtt_server: int | None


def find(exchanges: pl.LazyFrame) -> pl.LazyFrame:
    """Return a row for each of the first three pauses of a streamed body.

    These rows become one finding, which is left out if stalls explain all of the pauses.
    """
    c = pl.col
    streamed = (c("response_bursts") >= MIN_BURSTS.value) & (c("response_application_pauses") > 0)
    unframed = (c("response_framing") == "close-delimited") & c("request_version").str.ends_with("1.1") & ~c("response_endless")
    # if a round trip is unknown, slow start can look like bursts
    known = c("rtt_client").is_not_null() & c("rtt_server").is_not_null()
    rows = exchanges.filter(c("has_request") & c("has_response") & ~c("upgraded") & unframed & streamed & known)
    pauses = rows.with_columns(
        c("response_pause_frames").list.gather_every(2).alias("before"),
        c("response_pause_frames").list.gather_every(2, 1).alias("after"),
        c("response_pause_times").list.gather_every(2).alias("pause_start"),
        c("response_pause_times").list.gather_every(2, 1).alias("pause_end"),
        c("response_pause_by_clock").alias("by_clock"),
    ).explode("before", "after", "pause_start", "pause_end", "by_clock")
    pause = c("pause_end") - c("pause_start")
    lone = (c("response_application_pauses") == 1) & (c("response_body_bytes") >= LARGE_BODY)
    return pauses.filter((pause >= MIN_PAUSE.value) & (~lone | (pause >= LONE_PAUSE.value))).select(
        *candidate("server", confidence(is_unwitnessed(c("by_clock"))), "response_frame", "pause_start", "pause_end"),
        c("response_body_bytes").alias("body_bytes"),
        c("response_bursts").alias("bursts"),
        c("response_application_pauses").alias("pauses"),
        c("response_pause_total").cast(DURATION).alias("paused"),
        *("response_frame", "response_start", "response_connection_close", "response_version"),
        *("before", "after", "by_clock", "rtt_server"),
    )


def words(x: Facts) -> dict[str, Any]:
    """Return the words about the pause, and about how the response announces its end."""
    next_burst = f"the next burst, {duration_text(x.end - x.start)} later{witness(x.by_clock, x.rtt_server)}"
    return {
        "says_close": _says_close(x),
        "evidence": packets(
            (x.response_frame, x.response_start, "the response's head: neither Content-Length nor Transfer-Encoding"),
            (x.before, x.start, "a burst of the body ends: all of it was acknowledged, and the window was open"),
            (x.after, x.end, next_burst),
        ),
    }


def _says_close(x: Facts) -> str:
    if x.response_connection_close:
        return "The response says Connection: close."
    if x.response_version == "HTTP/1.0":
        return "The server answers with HTTP/1.0, which has no chunks and closes by default."
    return "The response does not even say Connection: close."
