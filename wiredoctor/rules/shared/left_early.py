"""Find clients that closed before they had their response, and the reason as far as packets show it.

Shared by `client-abort` and `no-response`, which reports clients that only half-closed. Most facts come from the packets of the
connection. The other connections of the client show what else it did at that moment (same_client.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import polars as pl

from wiredoctor.findings import Threshold
from wiredoctor.rules.shared.connection_close import closed_against_request, patience
from wiredoctor.rules.shared.same_client import WINDOW, Clients, Close, Request
from wiredoctor.tables import MILLISECOND, SECOND

HALF_CLOSE = Threshold("1 s", "a client half-closes together with its request; a later FIN means that it gave up")
AT_ONCE = Threshold(
    "50 ms", "a client that closes this soon after the request, or after the response began, has not lost patience"
)
STILL_WAITING = Threshold("5 s", "a half-closed client still waits; if nothing came for this long after its FIN, it is gone")
REFUSED = Threshold("1 s", "or two round trips; an RST this soon after the response answers the response")
TIMEOUT_SHARE = Threshold("2 %", "timers are late by less; a time this close to a common timeout is no coincidence")
TIMEOUT_NEAR = Threshold("200 ms", "for long timeouts 2 % would be seconds")

STOOD_STILL = Threshold("5 s", "a client requests another part sooner; a download without data for this long was given up")
GONE = Threshold("1 s", "a closed socket answers data with an RST within this time; a half-closed one accepts the data")
PAUSES = Threshold("2 pauses", "of the application, so the response came in three pieces or more")
TOGETHER = Threshold("50 ms", "closes that one host begins within this time are one event: a program ended")
SEVERAL = Threshold("3 connections", "with different waits; timeouts would not close these at the same moment")
PAIR = Threshold("2 connections", "are enough if the client then requests nothing more from that server")
REPLACED = Threshold("50 ms", "and two round trips; a program replaces one request by the next in one step")
MOVED = Threshold("500 ms", "and two round trips; a browser requests the next page and cancels the requests of the last one")
SHORT = Threshold("4 s", "a user leaves a loading page sooner than any common timeout expires")
LONGER = Threshold("110 %", "of this wait; a client that has waited this long for the same before has no shorter timeout")

_STREAMS = (
    *("application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines", "application/json-seq"),
    *("application/stream+json", "application/x-json-stream"),
)
_LOGS = r"^application/vnd\.docker\..*-stream$"
"""Media types whose parts come one by one: JSON lines, RFC 7464, and container logs."""

_TIMEOUTS = (1, 2, 3, 5, 10, 15, 20, 30, 45, 60, 90, 100, 120, 180, 300, 600)
"""Common timeouts of clients, in seconds."""


def screen() -> pl.Expr:
    """Return an expression that is true on the rows that are candidates."""
    c = pl.col
    closed = (c("client_close_frame") > c("request_frame")) & c("has_request") & c("both_directions")
    taken = (c("client_close_ack") >= c("response_end_offset")).fill_null(False) & (c("response_end_reason") == "complete")
    itself = (c("client_close_origin") != "between") & (c("server_close_origin") != "between")
    return closed & ~taken & itself


FACTS = (
    *("ended_at", "waited", "due", "timeout", "half_closed", "uploading", "begun", "head_only", "in_pieces", "stood_still"),
    *("partial", "round_trip"),
)
"""Columns of `early` that `decide` needs."""


def early(rows: pl.LazyFrame) -> pl.LazyFrame:
    """Return the rows of `closes` in which the client ended an exchange early, with the columns FACTS.

    `ended_at`: when it closed. `waited`: the time since the first byte of its request. `due`: until when other packets can show
    the reason (all ns). `timeout`: the common timeout (s) that the wait matches. `half_closed`: its FIN came with the request,
    and the server closed without sending a byte. `uploading`: the request was not complete. `begun`: a final response had begun.
    `head_only`: it had the head and closed at once. `in_pieces`: the response streams. `stood_still`: no data came for seconds.
    `partial`: the request asked for a range, or a 200 or 206 was coming. `round_trip` (ns): 0 if it is unknown.
    """
    c = pl.col
    wait, asked = c("client_close_time") - c("request_start"), c("client_close_time") - c("request_end")
    # a limit on the complete transfer, such as curl's --max-time, counts from the SYN
    opened = pl.when((c("exchange") == 0) & c("handshake")).then(c("accepted_time") - c("rtt_server"))
    connecting = c("client_close_time") - opened
    read = c("client_close_time") - c("response_end") - c("rtt_client").fill_null(0)
    asked_all = c("request_end_reason") == "complete"
    due = (begun() | asked_all | (c("request_framing") != "none")) & ~_endless()
    read_timeout = pl.when(begun() & (c("response_end_reason") != "complete")).then(_timeout(read))
    return rows.filter(due & _by_the_client() & (_reset() | _left() | _half_closed())).with_columns(
        c("client_close_time").alias("ended_at"),
        wait.alias("waited"),
        pl.max_horizontal(c("client_close_time") + WINDOW, "final_at").alias("due"),
        pl.coalesce(_timeout(wait), _timeout(asked), _timeout(connecting), read_timeout).alias("timeout"),
        _since(wait, asked, connecting).alias("since"),
        _half_closed().alias("half_closed"),
        (~asked_all & ~begun()).alias("uploading"),
        begun().alias("begun"),
        _head_only().alias("head_only"),
        _in_pieces().alias("in_pieces"),
        (c("client_close_time") - c("last_payload_time") >= STOOD_STILL.value).fill_null(value=False).alias("stood_still"),
        (c("response_status").is_in([200, 206]) & begun() | c("request_range_start").is_not_null())
        .fill_null(value=False)
        .alias("partial"),
        _round_trip().alias("round_trip"),
    )


def _since(wait: pl.Expr, asked: pl.Expr, connecting: pl.Expr) -> pl.Expr:
    """Say from which moment the matching timeout counts, if not from the request."""
    soon = pl.coalesce(_timeout(wait), _timeout(asked)).is_not_null()
    opened = pl.when(_timeout(connecting).is_not_null()).then(pl.lit(" from its SYN on"))
    return pl.when(soon).then(pl.lit("")).otherwise(opened.otherwise(pl.lit(" from the last byte on")))


def _half_closed() -> pl.Expr:
    """Return whether the client sent only a FIN, with its request, and the server closed without sending a byte."""
    c = pl.col
    with_it = (c("client_close_rst") == 0) & (c("client_close_time") - c("request_end") <= AT_ONCE.value)
    alone = c("client_rst_time").is_null() | (c("client_rst_time") - c("client_close_time") > GONE.value)
    asked = (c("request_end_reason") == "complete") & ~c("has_response")
    return (with_it & alone & asked & c("server_close_frame").is_not_null() & _unfinished()).fill_null(value=False)


def _head_only() -> pl.Expr:
    """Return whether the client had acknowledged the head and closed as soon as it can have seen it."""
    c = pl.col
    had = c("client_close_ack") >= c("response_offset") + c("response_head_bytes")
    soon = c("client_close_time") - c("response_start") <= pl.max_horizontal(pl.lit(AT_ONCE.value), 4 * _round_trip())
    return (begun() & (c("response_framing") != "none") & had & soon).fill_null(value=False)


def _in_pieces() -> pl.Expr:
    """Return whether a response without a length came piece by piece, or has a media type that does."""
    c = pl.col
    named = c("response_content_type").is_in(_STREAMS) | c("response_content_type").str.contains(_LOGS)
    unsized = ~c("response_framing").is_in(["content-length", "none"])
    return (begun() & unsized & (named | (c("response_application_pauses") >= PAUSES.value))).fill_null(value=False)


def _round_trip() -> pl.Expr:
    return pl.col("rtt_client").fill_null(0) + pl.col("rtt_server").fill_null(0)


def begun() -> pl.Expr:
    """Return whether some part of the final response was captured."""
    return pl.col("has_response") & (pl.col("response_status") >= 200).fill_null(False)


def whole_response() -> pl.Expr:
    """Return whether the final response was captured to its end."""
    return begun() & (pl.col("response_end_reason") == "complete")


def _endless() -> pl.Expr:
    """Return whether only a close can end the response: a stream, a tunnel, or a body without framing (missing-framing)."""
    c = pl.col
    unframed = (c("response_framing") == "close-delimited") & c("persistent")
    return c("upgraded") | (c("response_framing") == "tunnel") | (c("response_endless") & c("has_response")) | unframed


def _by_the_client() -> pl.Expr:
    """Return whether the server had not closed before. RSTs are never acknowledged, so the one captured first counts."""
    c = pl.col
    reset = ((c("server_close_rst") == 1) & (c("server_close_frame") < c("client_close_frame"))).fill_null(False)
    knew = ((c("client_close_ack") > c("server_close_offset")) & (c("server_close_rst") == 0)).fill_null(False)
    return ~knew & ~closed_against_request() & ~reset


def _reset() -> pl.Expr:
    """Return whether an RST does not acknowledge the end of the response. An RST without ACK flag cannot tell."""
    c = pl.col
    short = (c("client_close_ack") < c("response_end_offset")) & (c("client_close_ack") >= c("request_ack"))
    return (c("client_close_rst") == 1) & (_unfinished() | (whole_response() & short)).fill_null(False)


def _left() -> pl.Expr:
    """Return whether the response was not completed after a FIN, or not accepted.

    The exchange is over if the server has closed too, or the client has sent an RST. Until then a client whose FIN came with its
    request may still wait.
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
    return (c("client_close_rst") == 0) & (impatient | (whole_response() & before & refused)).fill_null(False)


def _at_once() -> pl.Expr:
    """Return whether the FIN came with the request or as the response began, and the client took all that the server sent.

    Later in a response this time proves nothing, because a timeout can also expire between two pieces.
    """
    c = pl.col
    asked = c("client_close_time") - c("request_end")
    read = c("client_close_time") - c("response_start") - c("rtt_client").fill_null(0)
    since = pl.when(begun()).then(read).otherwise(asked)
    # the close acknowledges everything that the server ever sent
    all_of_it = (c("client_close_ack") >= c("server_close_offset")) & (c("server_close_rst") == 0)
    nobody_sent = c("server_close_frame").is_null() & ~begun()
    taken = (all_of_it | nobody_sent) & c("client_rst_frame").is_null()
    return (taken & (since <= AT_ONCE.value)).fill_null(False)


def _unfinished() -> pl.Expr:
    """Return whether the end of the response is missing, and not only from the capture."""
    c = pl.col
    # bytes that are no response are not nothing: another protocol, or a response with missing packets
    known = pl.when(c("has_response")).then("response_end_offset").otherwise("request_ack")
    taken = (c("client_close_ack") > known).fill_null(False)
    sent = (c("server_close_offset") > known).fill_null(False)
    return ~taken & ((~begun() & ~sent) | (begun() & c("response_end_reason").is_in(["fin", "rst", "capture-end"])))


def _goes_on() -> pl.Expr:
    """Return whether a part of the response came after the client's FIN."""
    return (begun() & (pl.col("response_end") > pl.col("client_close_time"))).fill_null(False)


def _timeout(wait: pl.Expr) -> pl.Expr:
    """Return the common timeout (s) that this wait matches, null if there is none."""
    share, most = TIMEOUT_SHARE.value, TIMEOUT_NEAR.value

    def near(wait: int | None) -> int | None:
        if wait is None:
            return None
        return timeout_near(wait, share, most)

    def all_near(waits: pl.Series) -> pl.Series:
        return pl.Series(waits.name, [near(wait) for wait in waits.cast(pl.Int64).to_list()], dtype=pl.Int64)

    return wait.map_batches(all_near, return_dtype=pl.Int64, is_elementwise=True)


def timeout_near(wait: int, share: int, most: int) -> int | None:
    """Return the common timeout (s) that a wait (ns) matches, within `share` (%) of it and `most` (ns)."""
    return next((s for s in _TIMEOUTS if abs(wait - s * SECOND) <= min(s * SECOND * share // 100, most)), None)


# what other connections show


class Ended(NamedTuple):
    """Why an exchange was ended early: a kind of client-abort, "half-closed", or None if the packets do not show it.

    `other`: the request that replaced it. `others`: the connections that the same client closed at that moment. `silent`: the
    finding of another of these covers it. `longest` (ns): how long the client had waited for the same before.
    """

    kind: str | None
    other: Request | None = None
    others: tuple[Close, ...] = ()
    silent: bool = False
    longest: int = 0


def decide(row: Mapping[str, Any], clients: Clients) -> Ended:
    """Return the first kind that fits a candidate with the columns FACTS."""
    own = clients.request(row["connection"], row["exchange"])
    if group := _stopped(row["connection"], row["ended_at"], row["timeout"], clients):
        first = _first(group)
        speaks = first is not None and first.connection != row["connection"]
        silent = speaks and first is not None and bool(_stopped(first.connection, first.time, None, clients))
        return Ended("stopped", others=group, silent=silent)
    if row["head_only"]:
        return Ended("unread")
    if own is not None:
        if (other := _next_question(own, row, clients)) is not None:
            return Ended("superseded", other)
        if (other := _next_page(own, row, clients)) is not None:
            return Ended("left", other)
        longest = 0 if row["begun"] or row["uploading"] else clients.longest_wait(own, row["ended_at"])
        if 100 * longest >= LONGER.value * row["waited"] > 0:
            return Ended("left", longest=longest)
    if row["uploading"]:
        return Ended(None)
    if own is not None and row["partial"] and not row["stood_still"] and (other := _other_part(own, row, clients)) is not None:
        return Ended("seek", other)
    if row["in_pieces"]:
        return Ended("stream")
    if row["timeout"] is not None:
        return Ended("timeout")
    return Ended("half-closed" if row["half_closed"] else "gave-up")


def _stopped(connection: int, moment: int, timeout: int | None, clients: Clients) -> tuple[Close, ...]:
    """Return the connections that a program closed when it ended; none if it did not end."""
    near = clients.closes(connection, moment - TOGETHER.value, moment + TOGETHER.value)
    waits = [close.waited for close in near if close.waited is not None]
    if len(waits) >= SEVERAL.value and max(waits) - min(waits) > max(waits) // 10 + 20 * MILLISECOND:
        return tuple(near)
    server = next((close.server for close in near if close.connection == connection), None)
    same = [close for close in near if close.server == server]
    fits = timeout is not None or any(_is_timeout(wait) for wait in waits)
    if len(same) < PAIR.value or fits or clients.went_on(connection, moment + 1, moment + WINDOW):
        return ()
    return tuple(same)


def _is_timeout(wait: int) -> bool:
    return timeout_near(wait, TIMEOUT_SHARE.value, TIMEOUT_NEAR.value) is not None


def _first(group: tuple[Close, ...]) -> Close | None:
    """Return the close whose finding covers the group: the first on which the client was waiting."""
    return next((close for close in group if close.waited is not None), None)


def _next_question(own: Request, row: Mapping[str, Any], clients: Clients) -> Request | None:
    """Return the request with another query that replaced this one, if any."""
    until = row["ended_at"] + REPLACED.value + 2 * row["round_trip"]
    since = max(row["ended_at"] - REPLACED.value, own.start + 1)
    for other in clients.others(own, since, until):
        same = (other.method, other.host, other.path) == (own.method, own.host, own.path)
        if same and other.target != own.target:
            return other
    return None


def _next_page(own: Request, row: Mapping[str, Any], clients: Clients) -> Request | None:
    """Return the page for which the user left this one, if any."""
    if row["waited"] >= SHORT.value or own.navigation:
        return None
    moment, slack = row["ended_at"], MOVED.value + 2 * row["round_trip"]
    for other in clients.others(own, own.start + 1, moment + slack):
        begun = other.answered is not None and moment - slack <= other.answered <= moment
        if other.navigation and (other.start >= moment - slack or begun):
            return other
    return None


def _other_part(own: Request, row: Mapping[str, Any], clients: Clients) -> Request | None:
    """Return the request for another part of the same resource, if any."""
    since, until = min(own.start, row["ended_at"] - WINDOW), row["ended_at"] + WINDOW
    for other in clients.others(own, since, until):
        if other.asks_the_same(own) and other.range_start is not None and other.range_start != own.range_start:
            return other
    return None
