"""Who took a request that nobody answered, and that the server's close ended: exactly one answer for each close.

`keep-alive-race` and `no-response` divide these among them. Most of it is in the packets of the connection; whether the close was
that of an idle limit, other closes of the server tell (idle_times.py).
"""

from __future__ import annotations

import polars as pl

from wiredoctor.findings import Threshold
from wiredoctor.rules.shared.connection_close import closed_against_request, rest
from wiredoctor.rules.shared.same_client import AGAIN

REST = Threshold("1 s", "a connection that is forgotten was idle for longer than any round trip; sooner it was cut")
ACCEPTED = Threshold("1 s", "a relay whose target does not listen closes at once, a server waits for a first request longer")
UNAWARE = Threshold("1 s", "and a round trip: so long after the request a close may still be one that left before that came")
AT_ONCE = Threshold("10 ms", "and the round trip to the server: nothing was computed in so short a time")

FORGOTTEN, WARNED, ON_ARRIVAL, MET, NOT_READ, IMMEDIATE, AFTER_A_WHILE, IN_PART, HALF_CLOSED = range(9)
"""What took it: an RST of somebody who does not know the connection; a close that the response before had announced; a close
of a fresh connection; one before the request came; and of requests that the server's kernel acknowledged: an RST, so that nobody
read it; a close at once; a close later; a close that acknowledges a part, or that came before the request was whole. The last
stands for a close behind that of a client that had closed its half (left_early.py), which is none of these."""


def candidates() -> pl.Expr:
    """True on the rows of `closes` that may be a request without an answer: cheap."""
    c = pl.col
    return c("has_request") & _unanswered() & ~c("upgraded") & c("server_close_frame").is_not_null()


def screen() -> pl.Expr:
    """The same, cheaper: it is asked of every exchange."""
    c = pl.col
    return c("server_close_frame").is_not_null() & (
        ~c("has_response") | (c("response_status") < 200) | c("response_status").is_in([400, 408])
    )


def lost(closes: pl.LazyFrame) -> pl.LazyFrame:
    """The rows of `closes` of lost requests, the first of each close, with what took it.

    `took`: a number as above. `at_limit`: the close may be that of an idle limit. `idle`, `rested` (ns): rest when the request
    reached the server, and when the server closed; null for the first request of a connection. `later` (ns): from the request to
    the close, at the server; null where a round trip is unknown. `requests`: how many there are, with those behind it in the
    pipeline.
    """
    c = pl.col
    rows = (
        closes.filter(candidates())
        .with_columns(
            (c("request_start") + c("rtt_server").fill_null(0) - c("previous_end")).alias("idle"),
            (c("server_close_time") - c("previous_end")).alias("rested"),
            (c("server_close_time") - c("request_end") - c("rtt_server")).alias("later"),
        )
        .with_columns(_took().alias("took"))
        .filter(c("took").is_not_null())
    )
    place = ["connection", "final_at"]
    # of a pipeline all that was not answered is told with the first of it
    first = rows.with_columns(
        pl.len().cast(pl.Int64).over(place).alias("requests"), c("exchange").min().over(place).alias("first")
    )
    told = first.filter(c("exchange") == c("first")).drop("first")
    # a body that was not complete, or of which a part was acknowledged, counts from its first byte
    begun = pl.when(c("took") == IN_PART).then(c("server_close_time") - c("request_start") - c("rtt_server")).otherwise("later")
    used = (c("took") >= NOT_READ) & (c("idle") >= 0) & (c("server_close_ack") > c("request_offset"))
    return told.with_columns(begun.alias("later"), used.fill_null(value=False).alias("at_limit"))


def beside() -> list[pl.Expr]:
    """The columns that same_client.beside_repetitions needs: by `due` a repetition has begun, if there is one."""
    moment = pl.max_horizontal("server_close_time", "request_end")
    return [
        moment.alias("ended_at"),
        pl.max_horizontal(moment + AGAIN.value + 2 * _round_trip(), "final_at").alias("due"),
        _round_trip().alias("round_trip"),
    ]


def behind() -> pl.Expr:
    """Say what else was lost."""
    others = pl.col("requests") - 1
    return (
        pl.when(others > 0)
        .then(pl.format(" Lost with it, behind it in the pipeline: {} requests.", others))
        .otherwise(pl.lit(""))
        .alias("behind")
    )


def _took() -> pl.Expr:
    """What took a request; null where that is no matter of these rules."""
    c = pl.col
    against, client_first = closed_against_request(), _client_first()
    unaware = c("server_close_time") - c("request_start") <= UNAWARE.value + _round_trip()
    without_ack = (c("server_close_rst") == 1) & c("server_close_ack").is_null()
    one_segment = c("request_frame") == c("request_last_frame")
    # where the capture has holes, what is acknowledged behind the request may be a FIN that is not in it
    unseen = (c("gap_before") & (c("server_close_ack") > c("request_end_offset"))).fill_null(value=False)
    # with holes, a request far behind what the close acknowledges may belong to another connection on the same port
    far = (c("gap_before") & (c("server_close_ack") < c("request_offset"))).fill_null(value=False)
    # with holes, what ends behind all that the client had when it asked may be the response to this request
    answered = (c("gap_before") & (c("previous_end_offset") > c("request_ack"))).fill_null(value=False)
    whole = c("request_end_reason") == "complete"
    partly = ~whole | (c("server_close_ack") < c("request_end_offset")).fill_null(value=False)
    soon = (c("later") <= AT_ONCE.value).fill_null(value=False)
    return (
        pl.when(far | answered | (c("previous_announced_close") & ~_warned()))
        .then(None)
        .when(_forgotten())
        .then(FORGOTTEN)
        .when(c("server_close_origin") == "between")
        .then(None)
        .when(against & fresh() & ~c("previous_announced_close"))
        .then(ON_ARRIVAL)
        .when(against & (~client_first | unaware))
        .then(pl.when("previous_announced_close").then(WARNED).otherwise(MET))
        .when(against | client_first | unseen | _something_came() | c("server_close_contradicted"))
        .then(None)
        .when("previous_announced_close")
        .then(WARNED)
        # a head that never ended is no request
        .when(~whole & (c("request_framing") == "none"))
        .then(None)
        .when(partly)
        .then(IN_PART)
        .when(without_ack | ((c("server_close_rst") == 1) & one_segment))
        .then(NOT_READ)
        .when(soon)
        .then(IMMEDIATE)
        .otherwise(AFTER_A_WHILE)
    )


def _interim() -> pl.Expr:
    """All that came of a response is an interim one."""
    return pl.col("has_response") & (pl.col("response_status") < 200).fill_null(value=False)


def _given_up() -> pl.Expr:
    """A 408 or 400 that left before the request came: it acknowledges nothing of it."""
    c = pl.col
    unasked = c("response_status").is_in([400, 408]) & (c("response_ack") <= c("request_offset"))
    return (c("has_response") & unasked & (c("server_close_ack") <= c("request_offset"))).fill_null(value=False)


def _unanswered() -> pl.Expr:
    return ~pl.col("has_response") | _interim() | _given_up()


def _something_came() -> pl.Expr:
    """The server sent what is no response, behind what the client had when it asked, the responses before, or an interim one."""
    c = pl.col
    before = pl.max_horizontal("request_ack", "previous_end_offset")
    sent = pl.when(c("has_response")).then("response_end_offset").otherwise(before)
    return ~(c("server_close_offset") <= sent).fill_null(value=False)


def _warned() -> pl.Expr:
    """The client had the whole response before, when it asked."""
    c = pl.col
    return pl.coalesce(c("request_ack") >= c("previous_end_offset"), rest() >= 0).fill_null(value=True)


def _client_first() -> pl.Expr:
    """The client closed before it knew of the server's close. Nothing acknowledges an RST."""
    c = pl.col
    knew = ((c("client_close_ack") > c("server_close_offset")) & (c("server_close_rst") == 0)).fill_null(value=False)
    return c("client_close_frame").is_not_null() & ~knew


def _forgotten() -> pl.Expr:
    """The first request after a rest is answered by the RST of somebody who does not know the connection."""
    c = pl.col
    alone = (c("server_close_rst") == 1) & c("server_close_ack").is_null() & (c("server_close_offset") == c("request_ack"))
    answers = (c("server_close_frame") > c("request_frame")) & (rest() >= REST.value)
    first = c("client_close_frame").is_null() | (c("client_close_frame") > c("server_close_frame"))
    return (alone & answers & first & ~c("previous_announced_close")).fill_null(value=False)


def fresh() -> pl.Expr:
    """The first request of a connection that the server closed as soon as it had accepted it, whether or not it had come."""
    c = pl.col
    first = c("handshake") & (c("exchange") == 0) & c("previous_end").is_null()
    return (first & (c("server_close_time") - c("accepted_time") < ACCEPTED.value)).fill_null(value=False)


def _round_trip() -> pl.Expr:
    return pl.col("rtt_client").fill_null(0) + pl.col("rtt_server").fill_null(0)
