"""The client expected a close after the response, but the connection stayed open.

What it means
    A response with Connection: close is the last one on its connection, and the server closes after sending it. Here the
    connection stayed open for more than five seconds.

    Kind close-delimited: the close is also the end of the body, so the client could not know earlier that the body was complete.

    Kind http10: the request uses HTTP/1.0, where a connection ends with the response unless the response says Connection:
    keep-alive. It did not, but the server left the connection open, usually until its idle timeout.

Why it hurts
    The connection can no longer be used, but occupies a socket on both sides, a port, and often a worker. Clients that wait
    for the close (HTTP/1.0 clients, some proxies) lose that time. If the close ends the body, every client and its user wait.

How it is proved
    The response is complete, marks its own end (Content-Length or chunked) and says Connection: close. Neither side sent a
    FIN or RST within five seconds after its end, or after the end of the request if that came later. Kind close-delimited:
    the server's close came five seconds or more after the last byte of the body, and the client had not closed before. Kind
    http10: so did the server's close after a response that is complete without it.

What it is not
    If the response leaves the connection open, idle-close reports the close. missing-framing reports a response that neither
    marks its end nor announces the close. Event streams and tunnels are not judged, because they are idle between two events. If
    the capture ends before the five seconds are over, or if packets were dropped in that time, the close may be missing from the
    capture. A server that answered before an upload was complete may read the rest first, so that no reset destroys its response.

What to do
    Have the server close at once: shut down the sending side, read what still arrives, then close. Kind close-delimited: also
    have it send Content-Length or Transfer-Encoding: chunked, so that no client has to wait for the close. Kind http10: have it
    close after the response, or answer Connection: keep-alive if the client asked for it; or have the client use HTTP/1.1.

References
    RFC 9112 section 9.6, RFC 9112 section 6.3, RFC 9112 appendix C.2.2.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import polars as pl

from wiredoctor.findings import Advice, Reference, Rule, Threshold
from wiredoctor.rules.shared.evidence import candidate, confidence
from wiredoctor.rules.shared.words import fin_or_rst, packets, sender_of_close, whose_close, with_doubt
from wiredoctor.tables import MORE
from wiredoctor.text.durations import duration_text
from wiredoctor.world.connection_close import FRAMING_ERRORS, SELF_FRAMED, is_complete, server_closed_first, streams
from wiredoctor.world.numbers import DURATION

c = pl.col

RULE = Rule(
    symptom="connections that pile up; a client that keeps waiting although its page is complete",
    severity={None: "warning", "close-delimited": "warning", "http10": "warning"},
    title={
        None: "The server sent Connection: close but left the connection open for {waited}",
        "close-delimited": "The client waited {waited} for the close that ends the {status}",
        "http10": "The server kept an HTTP/1.0 connection open for {waited} without announcing it",
    },
    message={
        None: "The {status} to {request} is complete and says Connection: close, but the connection stayed open for {waited} "
        "after it, until {until}. In that time the connection could not be used, and it held resources on both sides.",
        "close-delimited": "The {status} to {request} ends when its connection closes, and the server closed it {waited} after "
        "the last of {body_bytes:,} body bytes. In that time the client could not know that the response was complete.",
        "http10": "The {status} to {request} is complete, but the server did not close the connection until {waited} later. The "
        "request uses HTTP/1.0, and the response does not say Connection: keep-alive, so the client may have waited for the "
        "close all that time.",
    },
    remedy={
        None: "Have the server close right after the response: shut down its sending side, read what still arrives for a short "
        "time, then close. Find out what keeps the socket open: a worker that waits for the client to close first, or a child "
        "process that has inherited it (close-on-exec).",
        "close-delimited": "Have the server send Content-Length, or Transfer-Encoding: chunked, so that no client has to wait "
        "for the close. Have it close when it has written the last byte. Find out what keeps the socket open: work that is done "
        "after the last write, or a child process that has inherited it (close-on-exec).",
        "http10": "Have the server close HTTP/1.0 connections right after the response, or send Connection: keep-alive if the "
        "request asked for it. Otherwise, have the client use HTTP/1.1, with which connections stay open by default.",
    },
    references=(
        Reference("RFC 9112 section 9.6, tear-down", "https://www.rfc-editor.org/rfc/rfc9112.html#section-9.6"),
        Reference("RFC 9112 section 6.3, message body length", "https://www.rfc-editor.org/rfc/rfc9112.html#section-6.3"),
        Reference("RFC 9112 appendix C.2.2, keep-alive", "https://www.rfc-editor.org/rfc/rfc9112.html#appendix-C.2.2"),
    ),
    explained_by=tuple((name, "connection") for name in FRAMING_ERRORS),
    advice=(
        Advice("server", "IIS|Microsoft", "IIS: look for ISAPI extensions and modules that go on working after the last write."),
        Advice("server", "PHP", "PHP: fastcgi_finish_request() ends the response before later work begins."),
    ),
    absence=True,
)

LINGERS = Threshold(
    "5 s",
    "the minimum time from the end of the response to the close; no round trip takes this long, and no server needs this long to "
    "learn that the client has received everything",
)


def may_match() -> pl.Expr:
    """Return a cheap condition: if no row of a batch meets it, the batch has no candidate findings."""
    late = pl.col("final_at") - pl.coalesce("response_last_body_time", "response_start") >= LINGERS.value
    return late & (~pl.col("persistent") | (pl.col("request_version") == "HTTP/1.0"))


class Facts(NamedTuple):
    """What is known of a connection that stayed open. Times and durations are in ns.

    `closer`: the side that closed, with its close. `end_frame`: the last packet of the response, or of the request if `uploaded`.
    """

    kind: str | None
    frame: int
    start: int
    waited: int
    response_start: int
    uploaded: bool | None
    end_frame: int | None
    closer: str | None
    closed_at: int
    close_frame: int | None
    close_rst: int | None
    close_origin: str | None


def find(closes: pl.LazyFrame) -> pl.LazyFrame:
    """Return a row for each connection that the server should have closed after a response, but left open for a long time."""
    answered = c("has_request") & c("has_response") & ~c("upgraded") & c("last_on_connection") & c("both_directions")
    left = c("client_close_time").is_null() | (c("client_close_time") - c("over") - _client_round_trip() > LINGERS.value)
    announced = c("response_connection_close") & c("response_framing").is_in(SELF_FRAMED)
    # the client acknowledges a FIN that was not captured
    unseen = c("server_close_frame").is_null() & (c("response_arrived") == MORE).fill_null(value=False)
    lingers = announced & left & ~unseen & (c("closed_at") - c("over") > LINGERS.value)
    delimited = (c("response_framing") == "close-delimited") & ~c("response_has_transfer_encoding") & server_closed_first()
    waited = delimited & ~streams() & (c("server_close_time") - c("last_byte") >= LINGERS.value)
    unkept = _is_unkept_http10() & server_closed_first() & (c("server_close_time") - c("over") >= LINGERS.value)
    first = pl.min_horizontal("server_close_time", "client_close_time")
    rows = closes.filter(answered & is_complete()).with_columns(
        pl.coalesce(first, "final_at").alias("closed_at"),
        pl.max_horizontal("response_end", "request_end").alias("over"),
        # a server that answers before an upload is complete reads the rest of it
        pl.max_horizontal(pl.coalesce("response_last_body_time", "response_start"), "request_end").alias("last_byte"),
    )
    return _candidate_columns(rows.filter(((lingers | waited) & ~c("persistent")) | unkept))


def _is_unkept_http10() -> pl.Expr:
    """Return whether an HTTP/1.0 client must expect its connection to end with the response (RFC 9112 appendix C.2.2).

    A client that sent a second request on the connection knew that it stays open.
    """
    kept = c("response_connection_keep_alive") | c("response_keep_alive_timeout").is_not_null()
    old = (c("request_version") == "HTTP/1.0") & ~c("response_connection_close") & c("previous_end").is_null()
    return old & ~kept & c("response_framing").is_in(SELF_FRAMED)


def _client_round_trip() -> pl.Expr:
    """Return the time (ns) that a packet to the client and the client's reply take; 0 if it is unknown."""
    return pl.col("rtt_client").fill_null(0)


def _candidate_columns(rows: pl.LazyFrame) -> pl.LazyFrame:
    """Return a candidate for each row."""
    delimited = c("response_framing") == "close-delimited"
    uploaded = c("request_end") > c("response_end")
    by_server = (c("server_close_time") == c("closed_at")).fill_null(False) | delimited
    by_client = (c("client_close_time") == c("closed_at")).fill_null(False)

    def of_closer(server: pl.Expr, client: pl.Expr) -> pl.Expr:
        return pl.when(by_server).then(server).when(by_client).then(client)

    rows = rows.with_columns(
        pl.when(delimited).then("last_byte").otherwise("over").alias("start"),
        pl.when(delimited).then("server_close_time").otherwise("closed_at").alias("end"),
        of_closer(pl.lit("server"), pl.lit("client")).alias("closer"),
        *(of_closer(c(f"server_{n}"), c(f"client_{n}")).alias(n) for n in ("close_frame", "close_rst", "close_origin")),
    )
    waited, doubted = c("end") - c("start"), (c("close_origin") == "doubtful").fill_null(value=False)
    kind = pl.when(delimited).then(pl.lit("close-delimited")).when(_is_unkept_http10()).then(pl.lit("http10"))
    delay = pl.when(delimited).then(waited)
    return rows.select(
        *candidate("server", confidence(doubted), "response_frame", "start", "end", kind=kind, delay=delay),
        waited.cast(DURATION).alias("waited"),
        c("response_body_bytes").fill_null(0).alias("body_bytes"),
        *("response_start", "closer", "closed_at", "close_frame", "close_rst", "close_origin"),
        uploaded.alias("uploaded"),
        pl.when(uploaded).then("request_last_frame").when(~delimited).then("response_last_frame").alias("end_frame"),
        c("close_frame").is_null().alias("until_end"),
    )


def words(x: Facts) -> dict[str, Any]:
    """Return the words about the response, and about the close if it came before the end of the capture."""
    until = "the end of the capture"
    if x.closer is not None:
        until = whose_close(x.closer, x.close_origin, fin_or_rst(x.close_rst))
    closed = with_doubt(x.close_origin, f"{until}, {duration_text(x.waited)} later")
    return {
        "until": until,
        "origin": sender_of_close(x.close_origin),
        "evidence": packets(
            (x.frame, x.response_start, _HEAD[x.kind]),
            (x.end_frame, x.start, f"the {'request' if x.uploaded else 'response'} ends here"),
            (x.close_frame, x.closed_at, closed),
        ),
    }


_HEAD = {
    None: "the head: Connection: close",
    "close-delimited": "the head: no Content-Length, no Transfer-Encoding; the body ends when the connection closes",
    "http10": "the head, without Connection: keep-alive",
}
