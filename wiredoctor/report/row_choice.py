"""Choose rows of the tables of exchanges and connections by status, duration and rank, and determine their order."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from enum import StrEnum
from typing import TYPE_CHECKING, Literal, NamedTuple

from wiredoctor.report.by_status import FINAL
from wiredoctor.text.regex import Regex
from wiredoctor.text.time_of_day import nanoseconds

if TYPE_CHECKING:
    import polars as pl

    from wiredoctor.findings import Report
    from wiredoctor.report.columns import Scan

_STATUS = Regex(r"[1-5](?:[0-9]{2}|xx)|any|none", re.IGNORECASE)
_AFTER_ALL = 1000
"""The number that stands for the status of a request without a response. It is above all status codes, so it is sorted first."""

_AFTER_KNOWN = 1 << 61
"""A number that is added to the sort value of exchanges without a known duration, to sort them last.

These exchanges were still waiting when the capture ended, so their durations depend on when it was stopped.
"""

TableName = Literal["connections", "exchanges"]

CaptureEnds = Mapping[str, int]
"""The time of the last packet of each capture, in ns since its first one."""


def capture_ends(report: Report) -> CaptureEnds:
    """Return the time of the last packet of each capture that has timestamps, in ns since its first packet."""
    return {
        c.file: last - first
        for c in report.captures
        if (first := nanoseconds(c.first_time)) is not None and (last := nanoseconds(c.last_time)) is not None
    }


class Order(StrEnum):
    """The order of lines: by time, or by another value in descending order. Order by status applies to exchanges only."""

    time = "time"
    duration = "duration"
    status = "status"
    size = "size"


class RowChoice(NamedTuple):
    """The choice of the rows to print, and their order.

    `statuses`: texts such as "502" and "5xx"; "any" stands for any final response, "none" for no final response. `slow`: the
    minimum duration in ns. `top`: the maximum number of rows.
    """

    statuses: tuple[str, ...] = ()
    slow: int | None = None
    top: int | None = None
    order: Order = Order.time


def parse_statuses(texts: list[str]) -> tuple[str, ...]:
    """Split comma-separated lists of "502", "5xx", "any" and "none"; raise ValueError with the first part that is something
    else.
    """
    parts = [part.strip().lower() for text in texts for part in text.split(",")]
    for part in parts:
        if not _STATUS.fullmatch(part):
            raise ValueError(part)
    return tuple(parts)


def exchange_start() -> pl.Expr:
    """Return an expression for the time of an exchange's first captured byte, in ns since the first packet."""
    import polars as pl

    return pl.min_horizontal("request_start", "response_start").fill_null(0)


def exchange_end() -> pl.Expr:
    """Return an expression for the time of an exchange's last captured byte, in ns since the first packet.

    For a request without a response, it is the time of the close that ended the client's wait.
    """
    import polars as pl

    c = pl.col
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
    import polars as pl

    c = pl.col
    half_closed = (c("client_close_time") - c("request_end") < _HALF_CLOSE).fill_null(value=False)
    closes = (pl.when(c(name) >= time).then(c(name)) for name in _CLOSES)
    return pl.min_horizontal(pl.when((c("client_close_time") >= time) & ~half_closed).then("client_close_time"), *closes)


def _last_byte() -> pl.Expr:
    import polars as pl

    return pl.max_horizontal("request_start", "request_end", "response_end")


_CLOSES = ("server_close_time", "client_rst_time", "server_rst_time")

_HALF_CLOSE = 10_000_000
"""The maximum time in ns from a request to the FIN of a client that half-closes the connection and waits for the response.

A client that gives up after a timeout sends its FIN later.
"""


EXCHANGE_COLUMNS = [
    *("has_request", "has_response", "response_status", "response_body_bytes", "upgraded", "both_directions", "pairing_assumed"),
    *("request_start", "request_end", "response_start", "response_end", "response_end_reason", "response_framing"),
    *(
        "response_endless",
        "gap_before",
        "request_has_gap",
        "response_has_gap",
        "last_on_connection",
        "client_close_time",
        *_CLOSES,
    ),
]
"""The columns of exchanges that the expressions of this module need."""


def is_final() -> pl.Expr:
    """Return an expression that is true for exchanges with a final response (RFC 9110 section 15) or an upgrade (101)."""
    import polars as pl

    return (pl.col("has_response") & ((pl.col("response_status") >= FINAL) | pl.col("upgraded"))).fill_null(value=False)


def wait_end(ends: CaptureEnds) -> pl.Expr:
    """Return an expression for the time (ns) until which a client waited for a response that never came or broke off.

    The wait ends with the first FIN or RST of either side after the last byte or, if the connection stayed open, with the
    capture. The value is null for all other exchanges, including tunnels and endless streams. It is also null if the capture is
    incomplete in one of two ways: only one direction was captured, so the response may be missing from the capture; or bytes are
    missing and no close was captured, so the close may be missing, too.
    """
    import polars as pl

    c = pl.col
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
    import polars as pl

    waiting = is_still_waiting(capture_ends(report)).alias("waiting")
    return int(report.scan_exchanges().select(waiting).select(pl.col("waiting").sum()).collect().item())


def took_until(ends: CaptureEnds) -> pl.Expr:
    """Return an expression for the time (ns) at which an exchange was over.

    This is the time of its last byte or, if the response never came or broke off, the end of the client's wait. It is null if
    neither is known.
    """
    import polars as pl

    return pl.coalesce(wait_end(ends), pl.when(is_final()).then(exchange_end()))


def drawn_until(ends: CaptureEnds) -> pl.Expr:
    """Return an expression for the time (ns) at which the bar of an exchange ends: `took_until` or, if that is null, the last
    byte.
    """
    import polars as pl

    return pl.coalesce(took_until(ends), pl.max_horizontal(_last_byte(), exchange_start()))


def response_wait(ends: CaptureEnds) -> pl.Expr:
    """Return an expression for the time in ns from an exchange's first byte to `wait_end`; null if `wait_end` is null."""
    return wait_end(ends) - exchange_start()


def duration(table: TableName) -> pl.Expr:
    """Return an expression for a duration in ns: from first to last byte of an exchange, or from start to end of a connection."""
    import polars as pl

    return exchange_end() - exchange_start() if table == "exchanges" else pl.col("end") - pl.col("start")


def time_taken(table: TableName, ends: CaptureEnds) -> pl.Expr:
    """Return an expression for the duration of exchanges or connections in ns. An exchange includes the wait for its response."""
    return took_until(ends) - exchange_start() if table == "exchanges" else duration(table)


def is_faulty(report: Report) -> pl.Expr:
    """Return an expression that is true for exchanges with a finding of severity error or warning."""
    import polars as pl

    keys = {"capture": pl.String(), "connection": pl.Int64(), "exchange": pl.Int64()}
    faulty = {(f.capture, f.connection, f.exchange) for f in report.findings if f.severity != "note" and f.exchange is not None}
    places = pl.DataFrame([*faulty], keys, orient="row").to_struct()
    return pl.struct(pl.col(name).cast(dtype) for name, dtype in keys.items()).is_in(places.implode())


def rank(table: TableName, order: Order, ends: CaptureEnds, faulty: pl.Expr | None = None) -> pl.Expr:
    """Return an expression for an integer by which rows are sorted in ascending order. Rows without a value come last.

    In order of duration, exchanges that were still waiting when the capture ended come after those with a known duration, because
    an idle long poll is not a fault. This does not apply to exchanges selected by `faulty`, because users search for requests
    that hang.
    """
    import polars as pl

    c = pl.col
    if order is Order.time:
        value = exchange_start() if table == "exchanges" else c("start")
    elif order is Order.duration:
        value = -time_taken(table, ends)
        if table == "exchanges":
            idle = is_still_waiting(ends) if faulty is None else is_still_waiting(ends) & ~faulty
            value = pl.when(idle).then(_AFTER_KNOWN + value).otherwise(value)
    elif order is Order.status and table == "exchanges":
        value = -pl.when(is_final()).then(c("response_status").cast(pl.Int64)).otherwise(_AFTER_ALL)
    else:
        size = c("response_body_bytes") if table == "exchanges" else c("client_bytes") + c("server_bytes")
        value = -size.cast(pl.Int64)
    return value.cast(pl.Int64).fill_null(1 << 62)


def choose_rows(report: Report, table: TableName, choice: RowChoice) -> Report:
    """Return the report, but with only the chosen rows of `table`."""
    import polars as pl

    from wiredoctor.report.columns import Filtered

    scan = report.scan_exchanges if table == "exchanges" else report.scan_connections
    if not (choice.statuses or choice.slow is not None or choice.top is not None):
        return report
    ends = capture_ends(report)
    keep = matches(table, choice, ends)
    chosen = _filtered(scan, lambda rows: rows.filter(keep))
    if choice.top is not None:
        keys = ["capture", "connection", *(["exchange"] if table == "exchanges" else [])]
        begins = {one.file: nanoseconds(one.first_time) or 0 for one in report.captures}
        begin = pl.col("capture").replace_strict(begins, default=0, return_dtype=pl.Int64)
        start = rank(table, Order.time, ends) + begin
        by = start if choice.order is Order.time else rank(table, choice.order, ends, is_faulty(report))
        ranked = chosen().select(*keys, by.alias("_rank"), start.alias("_start")).sort("_rank", "_start", *keys)
        best = ranked.head(choice.top).select(keys).collect()
        chosen = _filtered(chosen, lambda rows: rows.join(best.lazy(), on=keys, how="semi", maintain_order="left"))
    assert isinstance(chosen, Filtered)
    number = chosen().select(pl.len()).collect().item()
    if table == "exchanges":
        return replace(report, scan_exchanges=chosen, exchange_count=number)
    return replace(report, scan_connections=chosen, connection_count=number)


def _filtered(scan: Scan, keep: Callable[[pl.LazyFrame], pl.LazyFrame]) -> Scan:
    """Return a scan with one more filter. Its batches are still slices of the unfiltered table (see columns.Filtered)."""
    from wiredoctor.report.columns import Filtered

    if isinstance(scan, Filtered):
        before = scan.keep
        return Filtered(scan.base, lambda rows: keep(before(rows)))
    return Filtered(scan, keep)


def matches(table: TableName, choice: RowChoice, ends: CaptureEnds) -> pl.Expr:
    """Return an expression for whether a row has one of the statuses in `choice`, and lasted at least as long as `choice`
    requires.
    """
    import polars as pl

    wanted = pl.lit(value=True)
    if choice.statuses:
        wanted &= pl.any_horizontal(_has_status(one) for one in choice.statuses)
    if choice.slow is not None:
        wanted &= time_taken(table, ends) >= choice.slow
    return wanted


def _has_status(text: str) -> pl.Expr:
    import polars as pl

    status = pl.col("response_status").cast(pl.Int64)
    if text in ("any", "none"):
        return is_final() if text == "any" else pl.col("has_request") & ~is_final()
    same = status // 100 == int(text[0]) if text.endswith("xx") else status == int(text)
    return (pl.col("has_response") & same).fill_null(value=False)
