"""Find clients that closed before they had received their response, and collect the facts that the connection's packets show.

The code is shared by `client-abort` and `no-response`, which reports clients that only half-closed. abort_reasons.py decides why
the clients closed.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import polars as pl

from wiredoctor.findings import Threshold, cached_for_thresholds
from wiredoctor.tables import ALL_DATA, HEAD, MILLISECOND, NOTHING, SECOND, WHOLE
from wiredoctor.world.client_rows import WINDOW
from wiredoctor.world.connection_close import grace_period, is_reset_without_ack, round_trip
from wiredoctor.world.numbers import map_numbers
from wiredoctor.world.reading_pace import MEDIA
from wiredoctor.world.stream_closes import left_answer

c = pl.col

HALF_CLOSE = Threshold(
    "1 s", "the maximum time from the request to the FIN of a client that half-closes; a later FIN means that the client gave up"
)
AT_ONCE = Threshold(
    "50 ms", "a client that closes within this time after the request, or after the response began, did not time out"
)
READ_LATE = Threshold(
    "1 s",
    "the maximum time from the beginning of a response to the close of a client that wanted only its head, if the close was "
    "delayed on the path",
)
NOT_AWAITED = Threshold(
    "5 ms", "the maximum time from the end of the request to the FIN of a client that does not wait for a response"
)
CONTINUE = Threshold(
    "1 s", "the minimum time from a head with Expect: 100-continue to the close of a client that had waited for the 100"
)
STILL_WAITING = Threshold(
    "5 s", "the maximum time without data for which a half-closed client waits after its FIN; after that, it has given up"
)
REFUSED = Threshold(
    "1 s",
    "an RST that comes within this time after the response (or within two round trips, if longer) is a reaction to the response",
)
TIMEOUT_SHARE = Threshold(
    "2 %", "the tolerance for a usual timeout: timers do not expire later than this, and a match this exact is no coincidence"
)
TIMEOUT_NEAR = Threshold(
    "200 ms", "the maximum tolerance for a usual timeout (see TIMEOUT_SHARE); for long timeouts 2 % would be several seconds"
)

STOOD_STILL = Threshold(
    "5 s",
    "the minimum time without data before the close of a download that the client gave up; a client that only seeks closes "
    "sooner and requests another part",
)
STALLED = Threshold(
    "1500 ms",
    "the minimum time without data before the close of a download that the client then resumes where it had stopped; "
    "such a client did not seek",
)
GONE = Threshold("1 s", "the time within which a closed socket answers data with an RST; a half-closed socket accepts data")
SEGMENT = 1000
"""The size in bytes below which a chunk, or the amount of data in a round trip, counts as small.

The payload of a full segment is larger on any usual path. The size must be below 1,024, the largest value of the column
response_median_chunk.
"""
PIECES = Threshold(
    "20 chunks", "the minimum number of chunks of a stream without pauses; their median size is at most 1,000 bytes"
)
TRICKLED = Threshold(
    "2 s",
    "the minimum duration of a stream without pauses (see PIECES); in a shorter time, slow start sends "
    "little per round trip, too",
)
RECENT = Threshold(
    "1 s",
    "the maximum time from the last data of a stream without pauses (see PIECES) to the close; after a "
    "longer time, the stream had stopped",
)
PAUSES = Threshold("2 pauses", "the minimum number of pauses of the application: the response came in three pieces or more")

_STREAMS = (
    *("application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines", "application/json-seq"),
    *("application/stream+json", "application/x-json-stream"),
)
_LOGS = r"^application/vnd\.docker\..*-stream$"
"""A pattern for the media types of Docker's streams, such as container logs, whose parts come one by one."""

LONG_REQUEST = 100 * MILLISECOND
"""The minimum time (ns) that a request takes if a timeout may begin with its first or with its last byte."""

_TIMEOUTS = (1, 2, 3, 5, 10, 15, 20, 30, 45, 60, 90, 100, 120, 180, 300, 600)
"""Common timeouts of clients, in seconds."""


def may_match() -> pl.Expr:
    """Return a filter of `closes` that is true for every row that `early` may return."""
    closed = (c("client_close_frame") > c("request_frame")) & c("has_request") & c("both_directions")
    taken = (c("response_arrived") >= WHOLE).fill_null(False) & (c("response_end_reason") == "complete")
    itself = (c("client_close_origin") != "between") & (c("server_close_origin") != "between")
    return closed & ~taken & itself


class EarlyClose(NamedTuple):
    """What the packets of a connection show about a client that ended an exchange early. All times are in ns.

    `ended_at`: when the client closed.
    `waited`: the time since the first byte of its request. `since_end`: since the last byte, or `waited` if that had not come.
    `timeout`: the usual timeout (s) that the wait matches; null if it matches none.
    `half_closed`: the FIN came with the request, and the server closed without sending a byte.
    `uploading`: the request was not complete, no final response had begun, and the client was not waiting for a 100 Continue.
    `begun`: a final response had begun.
    `head_only`: the client closed at once after it had received the head.
    `flowing`: the client had acknowledged the head, and data came without a pause until it closed, at most READ_LATE later.
    `in_pieces`: the server streamed the body in pieces.
    `stood_still`: no data was sent in the last seconds before the close.
    `stalled_at`: the position in the resource up to which the client had received it when it closed; null if data had come within
    STALLED before that.
    `partial`: the client may have wanted only a part, because the request had a Range field, or a 200 or 206 had begun.
    `round_trip`: the round trip between client and server; 0 if unknown. `to_client`: the part between capture point and client.
    `media`: the response is audio or video.
    `opens`: this is the first exchange of a connection with a captured handshake.
    `unsized`: the length of the response is not known before its end.
    `received`: part of the response had come when the client closed.
    `crosses`: the response had begun, but the client closed before it received any of it.
    `at_end`: the FIN came with the end of the request, and acknowledges nothing of the response.
    `sending`: the request was not complete, and the response began only after the client had closed.
    `unknown`: the server no longer knew the connection when the client's FIN came.
    `cut`: the end of the request's head is missing in the capture.
    """

    connection: int
    exchange: int
    ended_at: int
    waited: int
    since_end: int
    timeout: int | None
    half_closed: bool
    uploading: bool
    begun: bool
    head_only: bool
    flowing: bool
    in_pieces: bool
    stood_still: bool
    stalled_at: int | None
    partial: bool
    round_trip: int
    to_client: int
    media: bool
    opens: bool
    unsized: bool
    received: bool
    crosses: bool
    at_end: bool
    sending: bool
    unknown: bool
    cut: bool


FACTS = (*EarlyClose._fields[2:], "due")
"""The columns of `early` that rules about clients need, in addition to `connection` and `exchange`."""


def early(rows: pl.LazyFrame, *, answers: bool = False) -> pl.LazyFrame:
    """Return the rows of `closes` in which the client ended an exchange early, with the columns FACTS and `since`.

    `answers`: also those in which it ended a stream for whose end it had waited.
    `due`: the time (ns) until which packets may still show why it closed. `since`: when the matching timeout
    began: with the "request", with the "end" of a long request, with the "syn", or with the last "byte".
    """
    return rows.filter((ended_early() | left_answer()) if answers else ended_early()).with_columns(_facts())


@cached_for_thresholds
def _facts() -> list[pl.Expr]:
    """Return the columns FACTS of exchanges that the client ended early."""
    wait, asked = c("client_close_time") - c("request_start"), c("client_close_time") - c("request_end")
    # a limit on the complete transfer, such as curl's --max-time, counts from the SYN
    opened = pl.when((c("exchange") == 0) & c("handshake")).then(c("accepted_time") - c("rtt_server"))
    connecting = c("client_close_time") - opened
    read = c("client_close_time") - c("response_end") - c("rtt_client").fill_null(0)
    cut = (c("request_end_reason") == "hole") & (c("request_framing") == "none")
    asked_all = (c("request_end_reason") == "complete") | cut
    read_timeout = pl.when(begun() & (c("response_end_reason") != "complete")).then(_timeout(read))
    flags = {
        "half_closed": _half_closed(),
        "uploading": ~asked_all & ~begun() & ~awaits_continue(),
        "begun": begun(),
        "head_only": _head_only(),
        "flowing": _flowing(),
        "in_pieces": _in_pieces(),
        "stood_still": c("client_close_time") - c("last_payload_time") >= STOOD_STILL.value,
        "partial": c("response_status").is_in([200, 206]) & begun() | c("request_range_start").is_not_null(),
        "media": c("response_content_type").cast(pl.String).str.contains(MEDIA),
        "opens": (c("exchange") == 0) & c("handshake"),
        "unsized": begun() & _unsized(),
        "received": _received(),
        "crosses": begun() & (c("response_arrived") <= NOTHING) & (c("response_start") <= c("client_close_time")),
        "at_end": _at_end(),
        "sending": ~asked_all & begun() & (c("response_start") > c("client_close_time")) & ~awaits_continue(),
        "unknown": unknown_to_server(),
        "cut": cut,
    }
    return [
        c("client_close_time").alias("ended_at"),
        wait.alias("waited"),
        pl.when(asked_all & (asked >= 0)).then(asked).otherwise(wait).alias("since_end"),
        pl.max_horizontal(c("client_close_time") + WINDOW, "final_at").alias("due"),
        pl.coalesce(_timeout(wait), _timeout(asked), _timeout(connecting), read_timeout).alias("timeout"),
        _timeout_start(wait, asked, connecting).alias("since"),
        _stalled_at().alias("stalled_at"),
        round_trip().alias("round_trip"),
        c("rtt_client").fill_null(0).alias("to_client"),
        *(flag.fill_null(value=False).alias(name) for name, flag in flags.items()),
    ]


@cached_for_thresholds
def ended_early() -> pl.Expr:
    """Return a filter of rows that pass `may_match`: it is true for those that `early` returns."""
    due = (begun() | (c("request_end_reason") == "complete") | (c("request_framing") != "none")) & ~_endless()
    left = _reset() | _left_early() | _half_closed() | awaits_continue()
    return due & (c("closed_first") == "client") & left & ~_may_be_foreign()


def unknown_to_server() -> pl.Expr:
    """Return whether the server answered the client's FIN like a segment of an unknown connection (RFC 9293 section 3.10.7.1)."""
    after = (c("client_close_rst") == 0) & (c("server_close_time") >= c("client_close_time"))
    return (after & c("server_rst_answers_close")).fill_null(value=False)


def _timeout_start(wait: pl.Expr, asked: pl.Expr, connecting: pl.Expr) -> pl.Expr:
    """Return when the matching timeout began: with the request, after a long request, at the SYN, or at the last byte."""
    of_both = _timeout(asked).is_not_null() & (wait - asked < LONG_REQUEST)
    starts = {
        "request": _timeout(wait).is_not_null() | of_both,
        "end": _timeout(asked).is_not_null(),
        "syn": _timeout(connecting).is_not_null(),
    }
    return pl.coalesce(*(pl.when(fits).then(pl.lit(start)) for start, fits in starts.items()), pl.lit("byte"))


def _half_closed() -> pl.Expr:
    """Return True if the client sent a FIN, and no RST, right after its request, and the server closed without sending a byte."""
    with_it = (c("client_close_rst") == 0) & (c("client_close_time") - c("request_end") <= AT_ONCE.value)
    alone = c("client_rst_time").is_null() | (c("client_rst_time") - c("client_close_time") > GONE.value)
    asked = (c("request_end_reason") == "complete") & ~c("has_response")
    return (with_it & alone & asked & c("server_close_frame").is_not_null() & _unfinished()).fill_null(value=False)


def _received() -> pl.Expr:
    """Return whether part of the response had reached the client when it closed.

    This is false if the client's FIN or RST acknowledges no part of it.
    """
    seen = (c("response_arrived") > NOTHING).fill_null(value=True)
    return begun() & seen & (c("response_start") <= c("client_close_time"))


def _at_end() -> pl.Expr:
    """Return whether the client sent its FIN with the end of the request, before it can have received any part of the
    response."""
    soon = (c("client_close_rst") == 0) & (c("client_close_time") - c("request_end") <= NOT_AWAITED.value)
    unseen = ~begun() | (c("response_arrived") <= NOTHING)
    return soon & unseen & (c("request_end_reason") == "complete")


def _stalled_at() -> pl.Expr:
    """Return the position in the resource at which a download had stopped before the client closed; null if it had not stopped.

    Chunked responses do not count: in these, ACK numbers do not show how much of the body the client had.
    """
    first = pl.when(c("response_status") == 200).then(0).when(c("response_status") == 206).then("request_range_start")
    had = c("client_close_ack") - c("response_offset") - c("response_head_bytes")
    stalled = begun() & (c("client_close_time") - c("last_payload_time") >= STALLED.value)
    return pl.when(stalled & (had > 0) & (c("response_framing") != "chunked")).then(first + had)


def _head_only() -> pl.Expr:
    """Return whether the client had acknowledged the head of the response, and closed immediately after it had received that
    head.
    """
    soon = c("client_close_time") - c("response_start") <= pl.max_horizontal(pl.lit(AT_ONCE.value), 4 * round_trip())
    return (_had_head() & soon).fill_null(value=False)


def _had_head() -> pl.Expr:
    """Return whether the client's close acknowledges the head of a response that has a body."""
    return begun() & (c("response_framing") != "none") & (c("response_arrived") >= HEAD)


def _flowing() -> pl.Expr:
    """Return whether the client had the head, and data kept coming until it closed, so it was not waiting for the server."""
    at_once = c("response_start") - c("request_end") <= grace_period(AT_ONCE.value)
    steady = (c("response_application_pauses").fill_null(0) == 0) & at_once
    coming = c("client_close_time") - c("response_last_body_time") <= grace_period(AT_ONCE.value)
    soon = c("client_close_time") - c("response_start") <= READ_LATE.value
    return _had_head() & steady & coming & soon


def _may_be_foreign() -> pl.Expr:
    """Return whether a device on the path may have sent the RST, and nothing else shows that the client closed.

    The RST ended a response that the client was receiving, and does not fit the client's other packets: its TTL, its IP
    identification or its time is one sign of a device. A client that stops reading right after the head would look the same.
    """
    doubted = c("client_close_origin").is_in(["doubtful", ""])
    return _head_only() & (c("client_close_rst") == 1).fill_null(value=False) & doubted.fill_null(value=False)


def _in_pieces() -> pl.Expr:
    """Return whether a response without a length was sent in pieces, or has a media type that is used for streams."""
    named = c("response_content_type").is_in(_STREAMS) | c("response_content_type").str.contains(_LOGS)
    paused = c("response_application_pauses") >= PAUSES.value
    return begun() & _unsized() & (named | paused | _trickled())


def _trickled() -> pl.Expr:
    """Return whether small chunks came until the client closed, less than a segment per round trip.

    If so, the program wrote slowly: a sender with more data would have sent more. With Nagle's algorithm on, the packets do not
    show the pauses of such a program, because the next chunk is already waiting for the ACK.
    """
    time = c("response_last_body_time") - c("response_start")
    slow = c("response_body_bytes") * round_trip() < SEGMENT * time
    small = (c("response_chunks") >= PIECES.value) & (c("response_median_chunk") <= SEGMENT)
    coming = c("client_close_time") - c("response_last_body_time") <= RECENT.value
    return small & slow & coming & (time >= TRICKLED.value)


def _unsized() -> pl.Expr:
    return ~pl.col("response_framing").is_in(["content-length", "none"])


@cached_for_thresholds
def begun() -> pl.Expr:
    """Return whether any part of the final response was captured."""
    return pl.col("has_response") & (pl.col("response_status") >= 200).fill_null(False)


def whole_response() -> pl.Expr:
    """Return whether the final response was captured to its end."""
    return begun() & (pl.col("response_end_reason") == "complete")


@cached_for_thresholds
def awaits_continue() -> pl.Expr:
    """Return whether the client closed while it waited for a 100 Continue.

    It had waited for at least CONTINUE, had sent no byte of its body, and had received no byte of the response. Clients that send
    the body without a 100 Continue do so after 1 s, or after 3 s at most.
    """
    no_body = (c("request_end_reason") != "complete") & (c("request_body_bytes").fill_null(0) == 0)
    nothing = (c("client_close_ack").is_null() | (c("arrived_since_request") <= NOTHING)).fill_null(value=False)
    waited = c("client_close_time") - c("request_end") >= CONTINUE.value
    return (c("request_expect_continue") & no_body & nothing & waited).fill_null(value=False)


def _endless() -> pl.Expr:
    """Return whether only a close can end the exchange: it is a stream, a tunnel, or a body without framing (missing-framing)."""
    unframed = (c("response_framing") == "close-delimited") & c("persistent")
    source = c("request_endless") & (c("request_framing") == "none") & ~c("request_method").is_in(["GET", "HEAD"])
    endless = (c("response_endless") | source) & c("has_response")
    return c("upgraded") | (c("response_framing") == "tunnel") | endless | unframed


def _reset() -> pl.Expr:
    """Return whether the client reset the connection without acknowledging the end of the response.

    An RST without ACK flag and without an earlier FIN does not count, because a program's close looks different. Such an RST is
    the reply to a segment of an unknown connection, for example by a restarted host, or by a router in the name of the host.
    """
    short = (c("response_arrived") < WHOLE) & (c("arrived_since_request") >= NOTHING)
    closed = (c("client_close_rst") == 1) & ~is_reset_without_ack("client")
    return closed & (_unfinished() | (whole_response() & short)).fill_null(False)


def _left_early() -> pl.Expr:
    """Return whether the client ended an exchange early with a FIN.

    After the FIN, the response was never completed, or the client rejected it with an RST. A FIN soon after the request may be
    only a half-close: then the server must have closed, the client must have sent an RST, or nothing must have followed for a
    long time. If the FIN does not acknowledge bytes that were sent long before, the response was waiting for a retransmission.
    In this case, a later RST shows that the client did not wait for the response. An RST that may answer the server's FIN does
    not count: a client that half-closed late may have received the rest in the meantime.
    """
    over = c("server_close_frame").is_not_null() | c("client_rst_frame").is_not_null()
    late = c("client_close_time") - c("request_end") >= HALF_CLOSE.value
    alone = c("final_at") - c("client_close_time") >= STILL_WAITING.value
    gone = over | ((late | alone) & ~_response_continues())
    answers = (c("client_rst_time") >= c("response_start")) & (
        c("client_rst_time") <= c("response_end") + grace_period(REFUSED.value)
    )
    at_fin = (c("server_close_frame") > c("client_close_frame")) & (c("server_close_frame") < c("client_rst_frame"))
    at_fin &= c("client_rst_time") - c("client_close_time") > GONE.value
    outstanding = c("client_close_time") - c("response_end") > grace_period(AT_ONCE.value)
    lost = late & outstanding & c("client_rst_frame").is_not_null() & ~at_fin.fill_null(value=False)
    refused = (c("response_arrived_at_rst").is_null() | (c("response_arrived_at_rst") < WHOLE)) & (answers | lost)
    before = c("response_arrived").is_null() | (c("response_arrived") < WHOLE)
    impatient = _unfinished() & gone & ~_fin_with_request()
    return (c("client_close_rst") == 0) & (impatient | (whole_response() & before & refused)).fill_null(False)


def _fin_with_request() -> pl.Expr:
    """Return whether the client closed only its own direction, because it had no more to send.

    Its FIN came with the request or when the response began, and it acknowledged everything that the server sent. A FIN later in
    a response may be due to a timeout that expired between two segments.
    """
    asked = c("client_close_time") - c("request_end")
    read = c("client_close_time") - c("response_start") - c("rtt_client").fill_null(0)
    since = pl.when(begun()).then(read).otherwise(asked)
    # the close acknowledges everything that the server ever sent
    all_of_it = c("server_end_arrived") >= ALL_DATA
    nobody_sent = c("server_close_frame").is_null() & ~begun()
    taken = (all_of_it | nobody_sent) & c("client_rst_frame").is_null()
    return (taken & (since <= AT_ONCE.value)).fill_null(False)


def _unfinished() -> pl.Expr:
    """Return whether the server did not send the end of the response.

    False if the server may have sent it in packets that are missing from the capture.
    """
    # bytes that are not a response count: another protocol, or a response with missing packets
    taken = (c("client_received_more") == 1).fill_null(False)
    sent = (c("server_sent_more") == 1).fill_null(False)
    return ~taken & ((~begun() & ~sent) | (begun() & c("response_end_reason").is_in(["fin", "rst", "capture-end"])))


def _response_continues() -> pl.Expr:
    """Return whether a part of the response came after the client's FIN."""
    return (begun() & (pl.col("response_end") > pl.col("client_close_time"))).fill_null(False)


def _timeout(wait: pl.Expr) -> pl.Expr:
    """Return the usual timeout, in seconds, that this wait matches; null if there is none."""
    share, most = TIMEOUT_SHARE.value, TIMEOUT_NEAR.value
    return map_numbers(wait, lambda ns: timeout_near(ns, share, most), pl.Int64())


@lru_cache(maxsize=1 << 14)  # a close is compared with each of the closes around it
def timeout_near(wait: int, share: int, most: int) -> int | None:
    """Return the usual timeout (s) near a wait (ns); None if none is near.

    They may differ by at most `share` % of the timeout, and by at most `most` ns.
    """
    return next((s for s in _TIMEOUTS if abs(wait - s * SECOND) <= min(s * SECOND * share // 100, most)), None)
