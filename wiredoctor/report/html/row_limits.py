"""Which exchanges and connections a page holds: all, or of too many those that findings speak of and the slowest or largest."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

import polars as pl

from wiredoctor.report import limited
from wiredoctor.report.columns import batches

if TYPE_CHECKING:
    from wiredoctor.findings import Finding, Report
    from wiredoctor.report.columns import Scan

MOST_EXCHANGES = 100_000
MOST_CONNECTIONS = 50_000

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
    *limited.COLUMNS,
]
CONNECTION = [
    *("capture", "connection", "client", "server", "packets", "client_bytes", "server_bytes", "first_frame", "last_frame"),
    *("start", "end", "rtt_client", "rtt_server", "protocol", "history", "closed_by", "close", "exchanges", "client_direction"),
    *("syn_time", "newest_answer_time"),
]
_BADNESS = "_badness"


class Kept(NamedTuple):
    """Rows, in order of captures and of time, and how many there are in the report."""

    rows: pl.DataFrame
    of: int


def exchanges(report: Report, most: int = MOST_EXCHANGES) -> Kept:
    """The columns EXCHANGE of the exchanges that are kept, with `start`: when the first of their bytes was seen."""
    told = _told(report.findings, ["connection", "exchange"])
    length = pl.max_horizontal("response_end", "request_end") - _start()
    rows = _worst(report.scan_exchanges, EXCHANGE, told, length, most)
    return Kept(
        _ordered(report, rows.with_columns(_start().alias("start")), ["start", "connection", "exchange"]), report.exchange_count
    )


def connections(report: Report, most: int = MOST_CONNECTIONS) -> Kept:
    """The columns CONNECTION of the connections that are kept."""
    told = _told(report.findings, ["connection"])
    rows = _worst(report.scan_connections, CONNECTION, told, pl.col("client_bytes") + pl.col("server_bytes"), most)
    return Kept(_ordered(report, rows, ["start", "connection"]), report.connection_count)


def _start() -> pl.Expr:
    return pl.min_horizontal("request_start", "response_start").fill_null(0)


def _told(findings: Iterable[Finding], keys: list[str]) -> pl.DataFrame:
    """What findings speak of, by capture and keys."""
    places = {(f.capture, *(getattr(f, key) for key in keys)) for f in findings}
    rows = sorted(place for place in places if None not in place)
    types = {"connection": pl.Int64, "exchange": pl.Int32}
    return pl.DataFrame(rows, {"capture": pl.String, **{key: types[key] for key in keys}}, orient="row")


def _worst(scan: Scan | None, columns: list[str], told: pl.DataFrame, size: pl.Expr, most: int) -> pl.DataFrame:
    """At most so many rows: first those that findings speak of, then the largest."""
    keys = told.columns
    told = told.with_columns(pl.lit(value=True).alias("_told"))
    kept: list[pl.DataFrame] = []
    held = 0
    for batch in batches(scan, columns):
        joined = batch.select(columns).join(told, on=keys, how="left")
        badness = pl.when(pl.col("_told").is_not_null()).then(1 << 62).otherwise(size.fill_null(0).clip(0, 1 << 61))
        kept.append(joined.with_columns(badness.alias(_BADNESS)).drop("_told"))
        held += batch.height
        if held > 2 * most:
            kept = [pl.concat(kept).top_k(most, by=_BADNESS)]
            held = most
    if not kept:
        from wiredoctor.tables import TABLES

        table = TABLES["exchanges" if "exchange" in columns else "connections"]
        return pl.DataFrame(schema={"capture": pl.String, **table.schema}).select(columns)
    rows = pl.concat(kept)
    return (rows.top_k(most, by=_BADNESS) if rows.height > most else rows).drop(_BADNESS)


def _ordered(report: Report, rows: pl.DataFrame, keys: list[str]) -> pl.DataFrame:
    """By capture in the order of the report, whose number takes the place of its name."""
    places = {name: place for place, name in enumerate(dict.fromkeys(c.file for c in report.captures))}
    place = pl.col("capture").replace_strict(places, default=len(places), return_dtype=pl.Int32)
    return rows.with_columns(place.alias("capture")).sort("capture", *keys, nulls_last=True)
