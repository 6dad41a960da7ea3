"""Choose rows of the tables of exchanges and connections by status, duration and rank, and decide their order."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from enum import StrEnum
from typing import TYPE_CHECKING, Literal, NamedTuple

from wiredoctor.report.by_status import FINAL

if TYPE_CHECKING:
    import polars as pl

    from wiredoctor.findings import Report
    from wiredoctor.report.columns import Scan

_STATUS = re.compile(r"[1-5](?:[0-9]{2}|xx)|none", re.IGNORECASE)
_AFTER_ALL = 1000
"""Sorts requests without a response before all status codes, which are sorted in descending order."""

TableName = Literal["connections", "exchanges"]


class Order(StrEnum):
    """The order of lines: by time, or the largest first. Connections have no status."""

    time = "time"
    duration = "duration"
    status = "status"
    size = "size"


class RowChoice(NamedTuple):
    """The rows to print. `statuses`: "502", "5xx" or "none" (no final response). `slow`: the minimum duration in ns."""

    statuses: tuple[str, ...] = ()
    slow: int | None = None
    top: int | None = None
    order: Order = Order.time


def parse_statuses(texts: list[str]) -> tuple[str, ...]:
    """Split a comma-separated list of "502", "5xx" and "none"; raise ValueError with the first other part."""
    parts = [part.strip().lower() for text in texts for part in text.split(",")]
    for part in parts:
        if not _STATUS.fullmatch(part):
            raise ValueError(part)
    return tuple(parts)


def exchange_start() -> pl.Expr:
    """Return the time of an exchange's first captured byte."""
    import polars as pl

    return pl.min_horizontal("request_start", "response_start").fill_null(0)


def exchange_end() -> pl.Expr:
    """Return the time of an exchange's last captured byte or, without a response, the close that the request waited for."""
    import polars as pl

    c = pl.col
    closed = pl.min_horizontal(*(pl.when(c(name) >= c("request_end")).then(c(name)) for name in _CLOSES))
    last = pl.when(~c("has_response")).then(closed).fill_null(pl.max_horizontal("request_end", "response_end"))
    return pl.max_horizontal(last, exchange_start())


_CLOSES = ("client_close_time", "server_close_time", "client_rst_time", "server_rst_time")

EXCHANGE_COLUMNS = [
    *("has_request", "has_response", "response_status", "response_body_bytes", "upgraded"),
    *("request_start", "request_end", "response_start", "response_end", *_CLOSES),
]
"""The columns of exchanges that the expressions of this module need."""


def duration(table: TableName) -> pl.Expr:
    """Return the ns that an exchange took, or that a connection lasted."""
    import polars as pl

    return exchange_end() - exchange_start() if table == "exchanges" else pl.col("end") - pl.col("start")


def rank(table: TableName, order: Order) -> pl.Expr:
    """Return an integer by which rows are sorted in ascending order; rows without a value come last."""
    import polars as pl

    c = pl.col
    if order is Order.time:
        value = exchange_start() if table == "exchanges" else c("start")
    elif order is Order.duration:
        value = -duration(table)
    elif order is Order.status and table == "exchanges":
        value = -pl.when(c("has_response")).then(c("response_status").cast(pl.Int64)).otherwise(_AFTER_ALL)
    else:
        size = c("response_body_bytes") if table == "exchanges" else c("client_bytes") + c("server_bytes")
        value = -size.cast(pl.Int64)
    return value.cast(pl.Int64).fill_null(1 << 62)


def choose_rows(report: Report, table: TableName, choice: RowChoice) -> Report:
    """Return the report with only the chosen rows of a table; everything else is unchanged."""
    import polars as pl

    from wiredoctor.report.columns import Filtered

    scan = report.scan_exchanges if table == "exchanges" else report.scan_connections
    if scan is None or not (choice.statuses or choice.slow is not None or choice.top is not None):
        return report
    keep = _matches(table, choice)
    chosen = _filtered(scan, lambda rows: rows.filter(keep))
    if choice.top is not None:
        keys = ["capture", "connection", *(["exchange"] if table == "exchanges" else [])]
        ranked = chosen().select(*keys, rank(table, choice.order).alias("_rank"), _start(table).alias("_start"))
        best = ranked.sort("_rank", "_start", *keys).head(choice.top).select(keys).collect()
        chosen = _filtered(chosen, lambda rows: rows.join(best.lazy(), on=keys, how="semi", maintain_order="left"))
    assert isinstance(chosen, Filtered)
    number = chosen().select(pl.len()).collect().item()
    if table == "exchanges":
        return replace(report, scan_exchanges=chosen, exchange_count=number)
    return replace(report, scan_connections=chosen, connection_count=number)


def _start(table: TableName) -> pl.Expr:
    return rank(table, Order.time)


def _filtered(scan: Scan, keep: Callable[[pl.LazyFrame], pl.LazyFrame]) -> Scan:
    """Return a scan with one more filter; batches are still cut from its unfiltered base."""
    from wiredoctor.report.columns import Filtered

    if isinstance(scan, Filtered):
        before = scan.keep
        return Filtered(scan.base, lambda rows: keep(before(rows)))
    return Filtered(scan, keep)


def _matches(table: TableName, choice: RowChoice) -> pl.Expr:
    import polars as pl

    wanted = pl.lit(value=True)
    if choice.statuses:
        wanted &= pl.any_horizontal(_has_status(one) for one in choice.statuses)
    if choice.slow is not None:
        wanted &= duration(table) >= choice.slow
    return wanted


def _has_status(text: str) -> pl.Expr:
    import polars as pl

    status = pl.col("response_status").cast(pl.Int64)
    final = (pl.col("has_response") & ((status >= FINAL) | pl.col("upgraded"))).fill_null(value=False)
    if text == "none":
        return pl.col("has_request") & ~final
    same = status // 100 == int(text[0]) if text.endswith("xx") else status == int(text)
    return (pl.col("has_response") & same).fill_null(value=False)
