"""The response body ends only when the connection closes, as announced.

What it means
    The response has a body, but neither Content-Length nor Transfer-Encoding. The response or its request announces that the
    connection will close, and the close is the end of the body (RFC 9112 section 6.3, rule 8). This is valid, and the oldest
    way to end a response.

Why it hurts
    A truncated body looks like a complete one: clients and caches may keep half a file without noticing. Every response also
    costs a connection: the next request needs a new handshake and slow start.

How it is proved
    The heads of request and response show all this. Statuses and methods without a body are left out. The finding names what
    announces the close: a field, or HTTP/1.0 without keep-alive.

What it is not
    If the response claims to keep the connection open, missing-framing reports it. 204, 304, and responses to HEAD and
    CONNECT have no body. An RST is no end of such a body: truncated-response reports it. If there is a transfer coding and
    the final one is not chunked, unfinished-transfer-coding reports it. Endless media (column endless of the table
    exchanges), such as the pictures of a camera, are left out: they have no length that the server could announce. A response
    of 400 or above is left out, too, if it announces the close although its request did not. The server then closes because
    of the error, not because the length is missing (Node's 431, Go's 400).

What to do
    Have the server announce the length of the body (Content-Length), or send it in chunks (Transfer-Encoding: chunked). A client
    of HTTP/1.0 cannot read chunks.

References
    RFC 9112 sections 6.3, 8 and 9.3.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import polars as pl

from wiredoctor.findings import Advice, Reference, Rule
from wiredoctor.rules.shared.evidence import CANDIDATE, candidate, confidence
from wiredoctor.rules.shared.words import fin_or_rst, packets, sender_of_close, whose_close, with_doubt
from wiredoctor.world.connection_close import is_delimited_by_close

c = pl.col

RULE = Rule(
    symptom="a connection per request",
    severity="note",
    title="The {status} ends only when the connection closes; truncation would go unnoticed",
    message="The {response_version} response ({status}) to {request} has neither Content-Length nor Transfer-Encoding, and "
    "{announced}. So its body ({body_bytes:,} bytes captured) ends with the connection. That is legal, but a truncated body "
    "looks the same, and each such response costs a connection.",
    remedy="Have the server send Content-Length with the response{if_unknown}",
    references=(
        Reference("RFC 9112 section 6.3, message body length", "https://www.rfc-editor.org/rfc/rfc9112.html#section-6.3"),
        Reference("RFC 9112 section 8, incomplete messages", "https://www.rfc-editor.org/rfc/rfc9112.html#section-8"),
        Reference("RFC 9112 section 9.3, persistence", "https://www.rfc-editor.org/rfc/rfc9112.html#section-9.3"),
    ),
    explained_by=(("unchunked-streaming", "exchange"), ("truncated-response", "exchange")),
    caused_by=(("keep-alive-disabled", "endpoint"), ("http10-downgrade", "endpoint")),
    advice=(
        Advice("server", "IIS|Microsoft", 'IIS: turn "Enable HTTP keep-alive" on; without it IIS does not send chunks.'),
        Advice(
            "server",
            "Python/",
            "Python's http.server: protocol_version is HTTP/1.0 by default; set HTTP/1.1 and send Content-Length.",
        ),
        Advice(
            "server",
            "nginx",
            "nginx: proxy_http_version 1.1 toward the application; with 1.0 the application cannot send chunks.",
        ),
    ),
)

_CHUNKS = ", or Transfer-Encoding: chunked if the length is not known in advance. Then the connection can stay open, too."
_NO_CHUNKS = (
    ". If the length is not known in advance, have the client send HTTP/1.1, so that the server can answer in chunks: this "
    "request uses HTTP/1.0, and such a client cannot read Transfer-Encoding: chunked."
)


def may_match() -> pl.Expr:
    """Return a cheap condition: if no row of a batch meets it, the batch has no candidate findings."""
    return pl.col("response_framing") == "close-delimited"


class Facts(NamedTuple):
    """What is known of a response that ends with its connection. Times are in ns."""

    frame: int
    start: int
    request_version: str
    request_connection_close: bool
    response_version: str
    response_connection_close: bool
    response_connection_keep_alive: bool
    server_close_frame: int | None
    server_close_time: int | None
    server_close_rst: int | None
    server_close_origin: str


def find(closes: pl.LazyFrame) -> pl.LazyFrame:
    """Return a row for each response whose end is the close of its connection, as the response or its request had announced."""
    by_choice = ~c("persistent") & ~c("response_endless") & ~_closes_because_of_error()
    return closes.filter(is_delimited_by_close() & by_choice).select(
        *candidate("server", confidence(), "response_frame", "response_start", "response_end"),
        c("response_body_bytes").fill_null(0).alias("body_bytes"),
        *(name for name in Facts._fields if name not in CANDIDATE),
    )


def _closes_because_of_error() -> pl.Expr:
    """Return whether the response is an error (400 or above), and the client had not asked for the close."""
    wanted = c("request_connection_close") | (c("request_version") < "HTTP/1.1")
    return ((c("response_status") >= 400) & ~wanted).fill_null(value=False)


def words(x: Facts) -> dict[str, Any]:
    """Return the words about the close: who announced it, and who sent it."""
    close = whose_close("server", x.server_close_origin, fin_or_rst(x.server_close_rst))
    return {
        "announced": _announcement(x),
        "if_unknown": _NO_CHUNKS if x.request_version < "HTTP/1.1" else _CHUNKS,
        "origin": sender_of_close(x.server_close_origin),
        "evidence": packets(
            (x.frame, x.start, f"the head: no Content-Length, no Transfer-Encoding; {_announcement(x)}"),
            (x.server_close_frame, x.server_close_time, with_doubt(x.server_close_origin, f"{close}: the end of the body")),
        ),
    }


def _announcement(x: Facts) -> str:
    """Return the text that states how the close was announced."""
    if x.response_connection_close:
        return "it says Connection: close"
    if x.request_connection_close:
        return "the request said Connection: close"
    if x.response_version < "HTTP/1.1" and not x.response_connection_keep_alive:
        return "it is HTTP/1.0, and no field asks to keep the connection open"
    return "the request was HTTP/1.0 without keep-alive"
