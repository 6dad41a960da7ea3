"""A response does not say where it ends, although the client has to know.

What it means
    The response has a body, but neither Content-Length nor Transfer-Encoding, so it ends when the connection closes (RFC
    9112 section 6.3, rule 8). At the same time it says, or lets the client assume, that the connection stays open for the
    next request. That is a contradiction.

    Kind left-waiting: the connection stayed open, and the client waited for an end that did not come. Kind closed: the server
    closed at once, so the client got its response but lost the promised connection.

    Kind final-crlf: the response is sent in chunks, and its last chunk (size 0) came, but not the empty line that must follow
    (RFC 9112 section 7.1). Nearly all clients wait for this line, because trailer fields may come before it.

Why it hurts
    A client that is left waiting shows nothing until the server's idle timeout, the client's timeout, or the user ends the wait.
    A truncated body looks like a complete one. If the final empty line is missing, curl, Node.js and Go report an incomplete
    transfer when the server closes; some other clients accept the response.

How it is proved
    The heads of request and response show the contradiction. Statuses and methods without a body are left out. The time from
    the last byte of the body to the close of the connection (or to the end of the capture) decides the kind.

    Kind final-crlf: no byte is missing from the capture, and the connection was closed after the last chunk: by the server, or by
    a client that had waited for a second or more. If the client closed earlier, it accepted the response, and nothing is
    reported.

What it is not
    204, 304, and responses to HEAD and CONNECT have no body. A response with Connection: close, or an HTTP/1.0 response without
    keep-alive, may end with the connection. Endless media (column endless of the table exchanges) end only with a close.

What to do
    Have the server announce the length of the body (Content-Length), or send it in chunks (Transfer-Encoding: chunked). Or have
    it send Connection: close, and close. Kind final-crlf: have the program that writes the chunks end the body with 0, CRLF,
    CRLF.

References
    RFC 9112 sections 6.3, 7.1 and 9.3, Microsoft Q240146.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import polars as pl

from wiredoctor.findings import Advice, Reference, Rule, Threshold
from wiredoctor.rules.shared.evidence import candidate, confidence
from wiredoctor.rules.shared.words import fin_or_rst, packets, sender_of_close, with_doubt
from wiredoctor.text.durations import duration_text
from wiredoctor.world.connection_close import is_delimited_by_close, server_closed_first, streams
from wiredoctor.world.numbers import DURATION

c = pl.col

_UNFRAMED = (
    "The {status} to {request} ({response_version}) has neither Content-Length nor Transfer-Encoding, so its body "
    "({body_bytes:,} bytes captured) ends only when the connection closes. But nothing announces that it will close. "
)

_ANNOUNCE = (
    "Have the server send Content-Length with the response, or Transfer-Encoding: chunked if the length is not known in advance. "
    "If it has to end the response by closing, have it send Connection: close and close at once."
)

RULE = Rule(
    symptom="a client that waits although it has received everything",
    severity={"left-waiting": "error", "closed": "warning", "final-crlf": "error"},
    title={
        "left-waiting": "The {status} does not say where it ends: the client waited {waited} for the close",
        "closed": "The {status} does not say where it ends, on a connection that it claims to keep open",
        "final-crlf": "The chunked {status} lacks the empty line that ends it",
    },
    message={
        "left-waiting": _UNFRAMED
        + "The connection stayed open for {waited} after the last byte, until {until}. In that time the "
        "client could not know that it had the complete response.",
        "closed": _UNFRAMED + "The connection was closed {waited} after the last byte by {until}. The response got through, "
        "but the connection could not be used again, and a truncated response would have looked the same.",
        "final-crlf": "The {status} to {request} is sent in chunks. Its last chunk (size 0) came, but not the empty line that "
        "must follow. The connection was closed {waited} after the last byte by {until}. Most clients wait until the close: "
        "they report a timeout, or an incomplete transfer when the server closes.",
    },
    remedy={
        **dict.fromkeys(("left-waiting", "closed"), _ANNOUNCE),
        "final-crlf": "Leave the chunks to the server, the framework or the HTTP library. If a program writes them itself, have "
        "it end the body with 0, CRLF, CRLF: trailer fields may follow the last chunk, and only the empty line ends them.",
    },
    references=(
        Reference("RFC 9112 section 6.3, message body length", "https://www.rfc-editor.org/rfc/rfc9112.html#section-6.3"),
        Reference("RFC 9112 section 7.1, chunked", "https://www.rfc-editor.org/rfc/rfc9112.html#section-7.1"),
        Reference("RFC 9112 section 9.3, persistence", "https://www.rfc-editor.org/rfc/rfc9112.html#section-9.3"),
        Reference(
            "Microsoft Q240146, on ISAPI, keep-alive and Content-Length",
            "https://ftp.zx.net.nz/pub/archive/ftp.microsoft.com/MISC/KB/en-us/240/146.HTM",
        ),
    ),
    explained_by=(("unchunked-streaming", "exchange"), ("truncated-response", "exchange")),
    advice=(
        Advice(
            "server", "IIS|Microsoft", "ISAPI: send Content-Length with the head; without it IIS cannot keep the connection open."
        ),
        Advice("server", "Python/", "Python's http.server with protocol_version HTTP/1.1: every response needs Content-Length."),
    ),
    ends=True,
)

WAITING = Threshold(
    "1 s",
    "the minimum time from the last byte to the close for kind left-waiting; a server that ends a response by closing does so at "
    "once",
)


def may_match() -> pl.Expr:
    """Return a cheap condition: if no row of a batch meets it, the batch has no candidate findings."""
    return (pl.col("response_framing") == "close-delimited") | pl.col("response_in_trailer")


class Facts(NamedTuple):
    """What is known of a response whose end is missing. Times and durations are in ns; see also `_with_close`."""

    kind: str
    frame: int
    end: int
    waited: int
    closer: str | None
    close_frame: int | None
    close_rst: int | None
    close_origin: str | None
    response_start: int
    response_end: int | None
    last_chunk_frame: int | None


def find(closes: pl.LazyFrame) -> pl.LazyFrame:
    """Return a row for each response without framing on a connection that claims to be persistent, and for each chunked response
    without its final empty line.
    """
    left_open = c("server_close_frame").is_null() & c("client_close_frame").is_null()
    waited = (c("waited") >= WAITING.value) & ~streams()
    left_waiting = waited & (left_open | c("closer").is_not_null())
    closed = (c("waited") < WAITING.value) & (c("closer") == "server") & ~c("response_endless")
    after = c("closed_at") >= c("response_start")
    lacks_line = c("response_in_trailer")
    kind = (
        pl.when(lacks_line).then(pl.lit("final-crlf")).when(left_waiting).then(pl.lit("left-waiting")).otherwise(pl.lit("closed"))
    )
    unframed = is_delimited_by_close() & c("persistent")
    rows = _with_close(closes.filter((unframed | (lacks_line & c("has_request"))) & c("last_on_connection")))
    return rows.filter(after & (left_waiting | closed)).select(
        *candidate(
            "server", confidence(), "response_frame", "last_byte", "closed_at", kind=kind,
            delay=pl.when(left_waiting).then("waited"),
        ),
        c("response_body_bytes").fill_null(0).alias("body_bytes"),
        c("waited").cast(DURATION),
        *("response_version", "response_start", "response_end"),
        *("closer", "close_frame", "close_rst", "close_origin", "last_chunk_frame"),
    )  # fmt: skip


def _with_close(closes: pl.LazyFrame) -> pl.LazyFrame:
    """Add `closer` (server or client), its `close_frame`, `close_rst` and `close_origin`, and `waited`: the time (ns) from the
    last body byte to the close.

    If neither side closed, all but `waited` are null, and `waited` ends at `final_at`. A close that a device on the path sent
    does not count: foreign-reset reports it.
    """
    server = server_closed_first()
    client = c("client_close_time").is_not_null() & (c("client_close_origin") != "between")
    close = ("frame", "time", "rst", "origin")
    closed_at = pl.coalesce("close_time", "final_at")
    return closes.with_columns(
        pl.when(server).then(pl.lit("server")).when(client).then(pl.lit("client")).alias("closer"),
        *(pl.when(server).then(f"server_close_{n}").when(client).then(f"client_close_{n}").alias(f"close_{n}") for n in close),
        pl.when("response_in_trailer")
        .then("response_end")
        .otherwise(pl.coalesce("response_last_body_time", "response_start"))
        .alias("last_byte"),
        pl.when("response_in_trailer").then("response_last_frame").alias("last_chunk_frame"),
    ).with_columns(closed_at.alias("closed_at"), (closed_at - c("last_byte")).clip(0).alias("waited"))


_CHUNKED = "the head: Transfer-Encoding: chunked"
_NO_END = "the head: no Content-Length, no Transfer-Encoding, no Connection: close"


def words(x: Facts) -> dict[str, Any]:
    """Return the words about what ended the wait for the close."""
    until = f"the {x.closer}'s {fin_or_rst(x.close_rst)}" if x.closer else "the end of the capture"
    closed = f"{until}, {duration_text(x.waited)} after the last byte of the body"
    return {
        "until": until,
        "origin": sender_of_close(x.close_origin),
        "evidence": packets(
            (x.frame, x.response_start, _CHUNKED if x.kind == "final-crlf" else _NO_END),
            (x.last_chunk_frame, x.response_end, "the last chunk, without the empty line"),
            (x.close_frame, x.end, with_doubt(x.close_origin, closed)),
        ),
    }
