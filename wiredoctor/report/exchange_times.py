"""Polars expressions for the times of exchanges and connections: when they began and ended, and how long clients waited."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import polars as pl

from wiredoctor.report.by_status import is_final
from wiredoctor.report.row_choice import TableName
from wiredoctor.text.time_of_day import nanoseconds

if TYPE_CHECKING:
    from wiredoctor.findings import Report

c = pl.col

CaptureEnds = Mapping[str, int]
"""The time of the last packet of each capture, in ns since the first packet of the capture."""


def capture_ends(report: Report) -> CaptureEnds:
    """Return the time of the last packet of each capture that has timestamps, in ns since the first packet of the capture."""
    return {
        one.file: last - first
        for one in report.captures
        if (first := nanoseconds(one.first_time)) is not None and (last := nanoseconds(one.last_time)) is not None
    }


def exchange_start() -> pl.Expr:
    """Return an expression for the time of an exchange's first captured byte, in ns since the first packet."""
    return pl.min_horizontal("request_start", "response_start").fill_null(0)


def exchange_end() -> pl.Expr:
    """Return an expression for the time of an exchange's last captured byte, in ns since the first packet.

    For a request without a response, it is the time of the close that ended the client's wait.
    """
    last = (
        pl.when(~c("has_response"))
        .then(_close_after(c("request_end")))
        .fill_null(pl.max_horizontal("request_end", "response_end"))
    )
    return pl.max_horizontal(last, exchange_start())


def _close_after(time: pl.Expr) -> pl.Expr:
    """Return an expression for the time of the first FIN or RST of either side at or after `time`; null if there is none.

    The FIN of a client that half-closes after its request does not count, because the client still waits for the response.
    """
    half_closed = (c("client_close_time") - c("request_end") < _HALF_CLOSE).fill_null(value=False)
    closes = (pl.when(c(name) >= time).then(c(name)) for name in _CLOSES)
    return pl.min_horizontal(pl.when((c("client_close_time") >= time) & ~half_closed).then("client_close_time"), *closes)


def _last_byte() -> pl.Expr:
    return pl.max_horizontal("request_start", "request_end", "response_end")


_CLOSES = ("server_close_time", "client_rst_time", "server_rst_time")


_HALF_CLOSE = 10_000_000
"""The maximum time in ns from a request to the FIN of a client that half-closes the connection and waits for the response.

A client that gives up after a timeout sends its FIN later.
"""


EXCHANGE_COLUMNS = [
    *("has_request", "has_response", "response_status", "response_body_bytes", "upgraded", "both_directions", "pairing_assumed"),
    *("request_start", "request_end", "response_start", "response_end", "response_end_reason", "response_framing"),
    *("response_endless", "gap_before", "request_has_gap", "response_has_gap", "last_on_connection", "client_close_time"),
    *_CLOSES,
]
"""The columns of exchanges that the expressions of this module need."""


def wait_end(ends: CaptureEnds) -> pl.Expr:
    """Return an expression for the time (ns) until which a client waited for a response that never came or broke off.

    The wait ends with the first FIN or RST of either side after the last byte or, if the connection stayed open, with the
    capture. The value is null for all other exchanges, including tunnels and endless streams. It is also null if the capture is
    incomplete in one of two ways: only one direction was captured, so the response may be missing from the capture; or bytes are
    missing and no close was captured, so the close may be missing, too.
    """
    endless = c("upgraded") | c("response_endless") | (c("response_framing") == "tunnel")
    broke_off = c("response_end_reason").is_in(["fin", "rst", "capture-end"]) & ~endless.fill_null(value=False)
    waited = c("has_request") & (~is_final() | broke_off) & c("both_directions") & ~c("pairing_assumed")
    end = c("capture").replace_strict(ends, default=None, return_dtype=pl.Int64)
    captured = ~c("gap_before") & ~c("request_has_gap") & ~c("response_has_gap")
    at_end = pl.when(c("last_on_connection") & captured).then(end)
    return pl.when(waited).then(pl.coalesce(_close_after(_last_byte()), at_end))


def is_still_waiting(ends: CaptureEnds) -> pl.Expr:
    """Return an expression that is true if the client was still waiting for the response when the capture ended."""
    return wait_end(ends).is_not_null() & _close_after(_last_byte()).is_null()


def count_waiting(report: Report) -> int:
    """Return the number of exchanges whose client was still waiting when the capture ended."""
    waiting = is_still_waiting(capture_ends(report)).alias("waiting")
    return int(report.scan_exchanges().select(waiting).select(pl.col("waiting").sum()).collect().item())


def took_until(ends: CaptureEnds) -> pl.Expr:
    """Return an expression for the time (ns) at which an exchange was over.

    This is the time of the last byte or, if the response broke off or never came, the end of the client's wait. The time is null
    if neither is known.
    """
    return pl.coalesce(wait_end(ends), pl.when(is_final()).then(exchange_end()))


def drawn_until(ends: CaptureEnds) -> pl.Expr:
    """Return an expression for the time (ns) at which the bar of an exchange ends: `took_until` or, if that is null, the last
    byte.
    """
    return pl.coalesce(took_until(ends), pl.max_horizontal(_last_byte(), exchange_start()))


def response_wait(ends: CaptureEnds) -> pl.Expr:
    """Return an expression for the time in ns from an exchange's first byte to `wait_end`; null if `wait_end` is null."""
    return wait_end(ends) - exchange_start()


def duration(table: TableName) -> pl.Expr:
    """Return an expression for a duration in ns: from first to last byte of an exchange, or from start to end of a connection."""
    return exchange_end() - exchange_start() if table == "exchanges" else pl.col("end") - pl.col("start")


def time_taken(table: TableName, ends: CaptureEnds) -> pl.Expr:
    """Return an expression for the duration of exchanges or connections in ns. An exchange includes the wait for its response."""
    return took_until(ends) - exchange_start() if table == "exchanges" else duration(table)
