"""Choose the exchanges and connections that a page shows.

If there are too many, those with findings or failures come first, then the slowest exchanges and the largest connections.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from wiredoctor.findings import Finding, Report
from wiredoctor.report import exchange_times, transfer_limits
from wiredoctor.report.by_status import SERVER_ERROR
from wiredoctor.report.columns import Scan, batches
from wiredoctor.text.time_of_day import nanoseconds

MAX_EXCHANGES = 100_000
MAX_CONNECTIONS = 50_000
MAX_BARS = 2_400
"""The maximum number of time steps in the counts of exchanges over time, for a page that does not show all exchanges."""

EXCHANGE = [
    *(
        "capture",
        "connection",
        "exchange",
        "has_request",
        "has_response",
        "response_status",
        "response_bursts",
        "response_message",
        "interim",
    ),
    *("request_frame", "request_last_frame", "response_frame", "response_last_frame"),
    *("request_start", "request_end", "response_start", "response_end", "request_time", "server_time", "response_time"),
    *("request_method", "request_target", "request_host", "response_reason", "response_content_type", "response_framing"),
    *("request_body_bytes", "response_body_bytes", "response_end_reason"),
    *transfer_limits.COLUMNS,
]
CONNECTION = [
    *("capture", "connection", "client", "server", "packets", "client_bytes", "server_bytes", "first_frame", "last_frame"),
    *("start", "end", "rtt_client", "rtt_server", "protocol", "history", "closed_by", "close", "exchanges", "client_direction"),
    *("syn_time", "newest_answer_time"),
]
COMPLETE, CLOSED, WAITING, UNKNOWN = range(4)
"""How an exchange ended.

COMPLETE: with a response. CLOSED: the connection closed before the response was complete. WAITING: the client was still waiting
at the end of the capture. UNKNOWN: the end of the exchange was not captured.
"""

_BADNESS = "_badness"


class LimitedRows(NamedTuple):
    """The rows that fit on the page, sorted by capture, then by time. `of`: the number of all rows in the report."""

    rows: pl.DataFrame
    of: int


def exchanges(report: Report, most: int = MAX_EXCHANGES) -> LimitedRows:
    """Return at most `most` exchanges with the columns listed in EXCHANGE, and the columns `start`, `until` and `wait`.

    `start`: the time of the first byte, in ns since the first packet. `until`: ns from `start` to the last byte, or to the end
    of the wait if the response never came or broke off. `wait`: COMPLETE, CLOSED, WAITING or UNKNOWN.
    """
    told = _finding_keys(report.findings, ["connection", "exchange"])
    ends = exchange_times.capture_ends(report)
    wait = (
        pl.when(exchange_times.is_still_waiting(ends))
        .then(WAITING)
        .when(exchange_times.wait_end(ends).is_not_null())
        .then(CLOSED)
        .when(exchange_times.took_until(ends).is_null())
        .then(UNKNOWN)
        .otherwise(COMPLETE)
    )
    made = [
        exchange_times.exchange_start().alias("start"),
        (exchange_times.drawn_until(ends) - exchange_times.exchange_start()).alias("until"),
        wait.cast(pl.Int8).alias("wait"),
    ]
    failed = ~pl.col("has_response") | _failed()
    size = pl.col("until").clip(0, 1 << 60) + pl.when(failed).then(1 << 60).otherwise(0)
    rows = _worst(report.scan_exchanges, EXCHANGE, told, size, most, exchange_times.EXCHANGE_COLUMNS, made)
    return LimitedRows(_order_rows(report, rows, ["start", "connection", "exchange"]), report.exchange_count)


def connections(report: Report, most: int = MAX_CONNECTIONS) -> LimitedRows:
    """Return at most `most` connections with the columns listed in CONNECTION."""
    told = _finding_keys(report.findings, ["connection"])
    rows = _worst(report.scan_connections, CONNECTION, told, pl.col("client_bytes") + pl.col("server_bytes"), most)
    return LimitedRows(_order_rows(report, rows, ["start", "connection"]), report.connection_count)


def exchanges_over_time(report: Report) -> dict[str, Any]:
    """Count all exchanges, and the exchanges with status 5xx, by the time of their first byte.

    Return `step`, the length of a time step in ns, and the counts in each step: `sent` for all exchanges, and `failed`.
    """
    spans = [(nanoseconds(c.last_time) or 0) - (nanoseconds(c.first_time) or 0) for c in report.captures]
    step = max(spans, default=0) // MAX_BARS + 1
    counts = np.zeros((2, MAX_BARS), np.int64)
    for batch in batches(report.scan_exchanges, ["request_start", "response_start", "response_status"]):
        at = batch.select((exchange_times.exchange_start() // step).clip(0, MAX_BARS - 1)).to_series().to_numpy()
        failed = batch.select(_failed()).to_series().to_numpy()
        counts[0] += np.bincount(at, minlength=MAX_BARS)
        counts[1] += np.bincount(at[failed], minlength=MAX_BARS)
    return {"step": step, "sent": counts[0].tolist(), "failed": counts[1].tolist()}


def _failed() -> pl.Expr:
    return (pl.col("response_status") >= SERVER_ERROR).fill_null(value=False)


def _finding_keys(findings: Iterable[Finding], keys: list[str]) -> pl.DataFrame:
    """Return the keys of the rows that have findings: the column `capture` and the columns in `keys`."""
    places = {(f.capture, *(getattr(f, key) for key in keys)) for f in findings}
    rows = sorted(place for place in places if None not in place)
    types = {"connection": pl.Int64, "exchange": pl.Int32}
    return pl.DataFrame(rows, {"capture": pl.String, **{key: types[key] for key in keys}}, orient="row")


def _worst(
    scan: Scan, columns: list[str], told: pl.DataFrame, size: pl.Expr, most: int,
    needed: Sequence[str] = (), made: Sequence[pl.Expr] = (),
) -> pl.DataFrame:  # fmt: skip
    """Return at most `most` rows: first those with findings, then those with the largest `size`.

    `told`: the keys of the rows with findings. `columns`: the columns of the result. `made`: expressions that
    compute other columns of the result. `needed`: the columns of the table that `made` uses.
    """
    keys = told.columns
    told = told.with_columns(pl.lit(value=True).alias("_told"))
    kept: list[pl.DataFrame] = []
    held = 0
    for batch in batches(scan, [*dict.fromkeys((*columns, *needed))]):
        joined = batch.select(*columns, *made).join(told, on=keys, how="left")
        badness = pl.when(pl.col("_told").is_not_null()).then(1 << 62).otherwise(size.fill_null(0).clip(0, 1 << 61))
        kept.append(joined.with_columns(badness.alias(_BADNESS)).drop("_told"))
        held += batch.height
        if held > 2 * most:
            kept = [pl.concat(kept).top_k(most, by=_BADNESS)]
            held = most
    if not kept:
        return scan().head(0).select(*columns, *made).collect()
    rows = pl.concat(kept)
    return (rows.top_k(most, by=_BADNESS) if rows.height > most else rows).drop(_BADNESS)


def _order_rows(report: Report, rows: pl.DataFrame, keys: list[str]) -> pl.DataFrame:
    """Sort the rows by capture, in the order of the report, then by `keys`; replace the name of the capture with its index."""
    places = {name: place for place, name in enumerate(dict.fromkeys(c.file for c in report.captures))}
    place = pl.col("capture").replace_strict(places, default=len(places), return_dtype=pl.Int32)
    return rows.with_columns(place.alias("capture")).sort("capture", *keys, nulls_last=True)
