"""Sort the rows of the tables of exchanges and connections, and keep those that the user chose."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import polars as pl

from wiredoctor.findings import Report
from wiredoctor.report.by_status import is_final
from wiredoctor.report.columns import Filtered, Scan
from wiredoctor.report.exchange_times import CaptureEnds, capture_ends, exchange_start, is_still_waiting, time_taken
from wiredoctor.report.row_choice import Order, RowChoice, TableName
from wiredoctor.report.stream_times import is_stream
from wiredoctor.text.time_of_day import nanoseconds

_AFTER_ALL = 1000
"""The sort value of a request without a response, which has no status to sort by.

This value is higher than all status codes, so these requests come first when rows are sorted by descending status.
"""

_AFTER_KNOWN = 1 << 61
"""A number that is added to the sort value of exchanges without a known duration, to sort them last.

These exchanges were still waiting when the capture ended, so their durations depend on when the capture was stopped.
"""


def is_faulty(report: Report) -> pl.Expr:
    """Return an expression that is true for exchanges with a finding of severity error or warning."""
    keys = {"capture": pl.String(), "connection": pl.Int64(), "exchange": pl.Int64()}
    faulty = {(f.capture, f.connection, f.exchange) for f in report.findings if f.severity != "note" and f.exchange is not None}
    places = pl.DataFrame([*faulty], keys, orient="row").to_struct()
    return pl.struct(pl.col(name).cast(dtype) for name, dtype in keys.items()).is_in(places.implode())


def rank(table: TableName, order: Order, ends: CaptureEnds, faulty: pl.Expr | None = None) -> pl.Expr:
    """Return an expression for the integer by which rows are sorted in ascending order. Rows without a value come last.

    If `order` is duration, exchanges that were still waiting when the capture ended come after all others, because an idle long
    poll is not a fault. Exchanges for which `faulty` is true are an exception, because users search for requests that hang.
    """
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
    """Return a copy of the report in which `table` has only the chosen rows."""
    scan = report.scan_exchanges if table == "exchanges" else report.scan_connections
    if not (choice.statuses or choice.slow is not None or choice.top is not None or choice.streams):
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
    if isinstance(scan, Filtered):
        before = scan.keep
        return Filtered(scan.base, lambda rows: keep(before(rows)))
    return Filtered(scan, keep)


def matches(table: TableName, choice: RowChoice, ends: CaptureEnds) -> pl.Expr:
    """Return an expression that is true for rows that meet the conditions in `choice`: status, minimum duration, and streams."""
    wanted = pl.lit(value=True)
    if choice.statuses:
        wanted &= pl.any_horizontal(_has_status(one) for one in choice.statuses)
    if choice.slow is not None:
        wanted &= time_taken(table, ends) >= choice.slow
    if choice.streams:
        wanted &= is_stream()
    return wanted


def _has_status(text: str) -> pl.Expr:
    status = pl.col("response_status").cast(pl.Int64)
    if text in ("any", "none"):
        return is_final() if text == "any" else pl.col("has_request") & ~is_final()
    same = status // 100 == int(text[0]) if text.endswith("xx") else status == int(text)
    return (pl.col("has_response") & same).fill_null(value=False)
