"""Expressions for responses that are event streams: when their events arrived, and how they ended."""

from __future__ import annotations

import polars as pl

from wiredoctor.report.columns import seconds

c = pl.col

MEDIA_TYPES = ("text/event-stream", "application/x-ndjson", "multipart/x-mixed-replace")
"""The media types of event streams; a response with a Content-Length is one only if its events were counted."""

ENDS = ("complete", "cut by client", "cut by server", "cut", "open", "unknown")
"""The ways in which a stream ends; "cut": it is not known who closed first, "unknown": the capture lacks the end."""

COLUMNS = (
    *("request_end", "server_time", "response_content_type", "response_framing", "response_events", "response_data_events"),
    *("response_first_data_time", "response_median_gap", "response_p95_gap", "response_longest_gap"),
    *("response_longest_gap_frame", "response_end_reason", "response_end_mark", "closed_first", "response_status"),
)
"""The columns of exchanges that the expressions of this module need."""


def is_stream() -> pl.Expr:
    """Return whether the response is an event stream, even if its events could not be counted."""
    typed = c("response_content_type").is_in(MEDIA_TYPES) & (c("response_framing") != "content-length")
    return c("response_events").is_not_null() | typed.fill_null(value=False)


def first_event() -> pl.Expr:
    """Return the time in ns from the end of the request to the end of the first event with data, at least 0."""
    return (c("response_first_data_time") - c("request_end")).clip(0)


def stream_end() -> pl.Expr:
    """Return how the stream ended: one of ENDS."""
    reason = c("response_end_reason")
    cut = pl.when(c("closed_first").is_in(["client", "server"])).then("cut by " + c("closed_first")).otherwise(pl.lit("cut"))
    return (
        pl.when(reason == "complete")
        .then(pl.lit("complete"))
        .when(reason.is_in(["fin", "rst"]))
        .then(cut)
        .otherwise(pl.when(reason == "capture-end").then(pl.lit("open")).otherwise(pl.lit("unknown")))
    )


def stream() -> pl.Expr:
    """Return the key `stream` of an exchange in JSON: a struct, or null if the response is not an event stream."""
    gaps = (seconds(f"response_{name}").alias(name) for name in ("median_gap", "p95_gap", "longest_gap"))
    return pl.when(is_stream()).then(
        pl.struct(
            c("response_data_events").alias("events"),
            seconds(first_event()).alias("first_event"),
            *gaps,
            c("response_longest_gap_frame").alias("longest_gap_frame"),
            stream_end().alias("end"),
            c("response_end_mark").alias("end_mark"),
        )
    )
