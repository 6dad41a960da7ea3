"""Determine what happened to a request without a response on a connection that the server closed: one cause for each close.

Each cause belongs either to `keep-alive-race` or to `no-response`. Most facts are in the packets of the connection; other closes
of the server show whether an idle timeout caused the close (world/server.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from wiredoctor.findings import Threshold, cached_for_thresholds
from wiredoctor.gateways.tries import RETRY
from wiredoctor.tables import BEFORE, CLIENT, MORE, NOTHING, WHOLE
from wiredoctor.text.durations import duration_text
from wiredoctor.world.clients import AGAIN, REPETITION, Repetition
from wiredoctor.world.connection_close import (
    client_idle_time,
    client_knew_of_fin,
    closed_against_request,
    is_client_gone,
    is_reset_without_ack,
    round_trip,
)

c = pl.col

REST = Threshold(
    "1 s", "the minimum idle time of a forgotten connection; a connection that was idle for less time was cut off while in use"
)
ACCEPTED = Threshold(
    "1 s", "the maximum time until a relay closes if its target does not listen; a server waits longer for a first request"
)
UNAWARE = Threshold(
    "1 s",
    "if a close comes within this time (plus a round trip) after the request, the server may have closed before the request "
    "arrived",
)
AT_ONCE = Threshold(
    "10 ms",
    "the maximum time (plus the round trip to the server) from a request to a close that counts as immediate; in this time, a "
    "server cannot have computed anything",
)

FORGOTTEN, WARNED, ON_ARRIVAL, MET, NOT_READ, IMMEDIATE, AFTER_A_WHILE, IN_PART, HALF_CLOSED = range(9)
"""The causes of a lost request.

FORGOTTEN: an RST from a host that does not know the connection.
WARNED: a close that the previous response had announced.
ON_ARRIVAL: a close right after the handshake.
MET: a close before the request arrived.

In the remaining cases, the server's kernel acknowledged the request:
NOT_READ: an RST shows that the request was not read.
IMMEDIATE, AFTER_A_WHILE: a close at once, or later.
IN_PART: a close that acknowledges only a part of the request, or came before the request was complete.
HALF_CLOSED: a close after the client had closed only its own direction (left_early.py).
"""


@cached_for_thresholds
def candidates() -> pl.Expr:
    """Return a cheap filter that is true for every row of `closes` that `find_lost` may return."""
    return c("has_request") & _unanswered() & ~c("upgraded") & c("server_close_frame").is_not_null()


def may_match() -> pl.Expr:
    """Return a cheap filter that is true for every row that `find_lost` may return; it is used to skip batches without
    candidates.
    """
    return c("server_close_frame").is_not_null() & (
        ~c("has_response") | (c("response_status") < 200) | c("response_status").is_in([400, 408])
    )


def find_lost(closes: pl.LazyFrame) -> pl.LazyFrame:
    """Return the rows of `closes` with a lost request. Of several lost requests in a pipeline, only the first is returned.

    `took`: the cause, such as FORGOTTEN.
    `at_limit`: the close may be due to an idle timeout.
    `idle`: how long (ns) the connection had been idle when the request reached the server; null for the first request.
    `rested`: how long (ns) it had been idle when the server closed; null for the first request, and if the previous one
        was sent after the close, too.
    `later`: the time (ns) from the request to the close, as seen by the server; null if the round trip to the server is unknown.
    `requests`: the number of lost requests, including the later ones in the pipeline.
    """
    rested = c("server_close_time") - c("previous_end")
    rows = (
        closes.filter(candidates())
        .with_columns(
            (c("request_start") + c("rtt_server").fill_null(0) - c("previous_end")).alias("idle"),
            pl.when(rested >= 0).then(rested).alias("rested"),
            (c("server_close_time") - c("request_end") - c("rtt_server")).alias("later"),
        )
        .with_columns(_cause().alias("took"))
        .filter(c("took").is_not_null())
    )
    place = ["connection", "final_at"]
    # the first request without a response represents the pipeline
    first = rows.with_columns(
        pl.len().cast(pl.Int64).over(place).alias("requests"), c("exchange").min().over(place).alias("first")
    )
    told = first.filter(c("exchange") == c("first")).drop("first")
    # an incomplete or partly acknowledged body counts from its first byte
    begun = pl.when(c("took") == IN_PART).then(c("server_close_time") - c("request_start") - c("rtt_server")).otherwise("later")
    used = (c("took") >= NOT_READ) & (c("idle") >= 0) & (c("request_arrived") > NOTHING)
    return told.with_columns(begun.alias("later"), used.fill_null(value=False).alias("at_limit"))


@cached_for_thresholds
def repetition_columns() -> list[pl.Expr]:
    """Return the columns that Clients.repetition needs, and null columns for its answer: `again` (a Repetition), `severity`.

    `due`: the time (ns) until which a repetition may be sent. `retry`: null, too; a gateway may have repeated the request.
    """
    moment = pl.max_horizontal("server_close_time", "request_end")
    return [
        moment.alias("ended_at"),
        pl.max_horizontal(moment + AGAIN.value + 2 * round_trip(), "final_at").alias("due"),
        round_trip().alias("round_trip"),
        c("rtt_client").fill_null(0).clip(0).alias("to_client"),
        pl.lit(None, pl.Int64).alias("waited"),
        pl.lit(None, REPETITION).alias("again"),
        pl.lit(None, pl.String).alias("severity"),
        pl.lit(None, RETRY).alias("retry"),
    ]


def repetition_words(facts: Mapping[str, Any] | None, lost: int) -> tuple[str | None, tuple[int | None, int | None, str]]:
    """Return the sentence about the repetition of a lost request, and its packet for the evidence.

    The sentence and the packet's frame are None if there is no repetition. `facts`: those of a Repetition. `lost`: when the
    request was lost (ns).
    """
    again = Repetition(**facts or {})
    if again.start is None:
        return None, (None, None, "")
    after = f"{duration_text(max(again.start - lost, 0))} later on another connection"
    note = "the same request again"
    if again.unsafe:
        result = "it has no response in this capture" if again.status is None else "got {}"
        sentence = (
            f"The client sent a request with the same method and target again {after}, and {result}. Such a request is not "
            "idempotent: if it is the same one, and the server had carried out the first, it was carried out twice."
        )
    elif again.severity == "note":
        sentence = f"The request only asks what the server supports. The client sent its next request {after}, and got {{}}."
        note = "the client's next request"
    elif again.severity is None:
        sentence = (
            f"The same request came {after}, and got {{}}. It may be a repetition of the lost request, but this client also "
            "sends the same request that soon, or concurrently, if no request was lost."
        )
    else:
        sentence = f"The client sent the same request again {after}, and got {{}}."
    return sentence.format(again.status), (again.frame, again.start, note)


def also_lost(requests: int) -> str:
    """Return the words about further lost requests in the pipeline; "" if there are none."""
    return f" Also lost, later in the same pipeline: {requests - 1} requests." if requests > 1 else ""


@cached_for_thresholds
def _cause() -> pl.Expr:
    """Return the cause of a lost request; null if neither `keep-alive-race` nor `no-response` reports it."""
    against, client_first = closed_against_request(), _client_first()
    unaware = c("server_close_time") - c("request_start") <= UNAWARE.value + round_trip()
    one_segment = c("request_frame") == c("request_last_frame")
    # after a gap, bytes acknowledged after the request may be a FIN that was not captured
    unseen = (c("gap_before") & (c("request_arrived") == MORE)).fill_null(value=False)
    # after a gap, a request far beyond the close's ACK number may belong to another connection on the same port
    far = (c("gap_before") & (c("request_arrived") == BEFORE)).fill_null(value=False)
    whole = c("request_end_reason") == "complete"
    partly = ~whole | (c("request_arrived") < WHOLE).fill_null(value=False)
    soon = (c("later") <= AT_ONCE.value).fill_null(value=False)
    return (
        pl.when(far | c("pairing_assumed") | (c("previous_announced_close") & ~_had_previous_response()))
        .then(None)
        .when(_forgotten())
        .then(FORGOTTEN)
        .when((c("server_close_origin") == "between") | is_client_gone())
        .then(None)
        .when(against & fresh() & ~c("previous_announced_close"))
        .then(ON_ARRIVAL)
        .when(against & (~client_first | unaware))
        .then(pl.when("previous_announced_close").then(WARNED).otherwise(MET))
        .when(against | client_first | unseen | _server_sent_other_bytes() | c("server_close_contradicted"))
        .then(None)
        .when("previous_announced_close")
        .then(WARNED)
        # a head that never ended is not a request
        .when(~whole & (c("request_framing") == "none"))
        .then(None)
        .when(partly)
        .then(IN_PART)
        .when(is_reset_without_ack("server") | ((c("server_close_rst") == 1) & one_segment))
        .then(NOT_READ)
        .when(soon)
        .then(IMMEDIATE)
        .otherwise(AFTER_A_WHILE)
    )


def only_interim() -> pl.Expr:
    """Return whether only interim responses were captured."""
    return pl.col("has_response") & (pl.col("response_status") < 200).fill_null(value=False)


def _error_sent_before() -> pl.Expr:
    """Return whether the server had sent a 408 or 400 and closed before the request arrived.

    Such a 408 or 400 is not a response to the request. Neither it nor the close acknowledges any byte of the request.
    """
    unasked = c("response_status").is_in([400, 408]) & (c("request_arrived_at_response") <= NOTHING)
    return (c("has_response") & unasked & (c("request_arrived") <= NOTHING)).fill_null(value=False)


def _unanswered() -> pl.Expr:
    return ~pl.col("has_response") | only_interim() | _error_sent_before()


def _server_sent_other_bytes() -> pl.Expr:
    """Return whether the server, after the last captured response, sent bytes that are not a response."""
    return (c("server_sent_more") == 1).fill_null(value=True)


def _had_previous_response() -> pl.Expr:
    """Return whether the client had received the complete previous response when it sent the request."""
    return pl.coalesce(c("previous_response_arrived") == 1, client_idle_time() >= 0).fill_null(value=True)


def _client_first() -> pl.Expr:
    """Return whether the client closed before it knew of the server's close.

    No ACK shows whether the client received an RST. So if the server sent an RST, the client counts as first even if it closed
    later. One case is excluded: a client's RST without ACK flag after the server's RST. The client had already dropped the
    connection then.
    """
    reset = (c("server_close_rst") == 1) & (c("server_close_frame") < c("client_close_frame"))
    dropped = (reset & is_reset_without_ack("client")).fill_null(value=False)
    return c("client_close_frame").is_not_null() & ~client_knew_of_fin() & ~dropped


def _forgotten() -> pl.Expr:
    """Return whether the server's host no longer knew the idle connection: an RST without ACK flag answered the request."""
    answers = (c("server_close_frame") > c("request_frame")) & (client_idle_time() >= REST.value)
    first = c("client_close_frame").is_null() | (c("client_close_frame") > c("server_close_frame"))
    # a host that has acknowledged the request knew the connection
    acknowledged = (c("last_payload_role") == CLIENT) & (c("last_payload_frame") >= c("request_frame"))
    known = c("previous_announced_close") | acknowledged.fill_null(value=False)
    return (c("server_rst_answers_request") & answers & first & ~known).fill_null(value=False)


def fresh() -> pl.Expr:
    """Return whether this is the first request of a connection that the server closed right after the handshake."""
    first = c("handshake") & (c("exchange") == 0) & c("previous_end").is_null()
    return (first & (c("server_close_time") - c("accepted_time") < ACCEPTED.value)).fill_null(value=False)
