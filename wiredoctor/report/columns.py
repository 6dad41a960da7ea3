"""Polars expressions that several reports use: seconds, escaped text, and batches of a lazy table."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import polars as pl

from wiredoctor.findings import Report, printable

BATCH = 1 << 14
"""The number of rows per batch. Polars is fast with this many, and a batch with its JSON takes less than 20 MB."""

Scan = Callable[[], pl.LazyFrame]


@runtime_checkable
class Sliceable(Protocol):
    """A scan that can return a slice of its rows without reading all earlier rows."""

    def slice(self, first: int, count: int) -> pl.LazyFrame:
        """Return `count` rows, beginning with row `first`."""
        ...


_NANOSECONDS = "_nanoseconds_per_second"


@dataclass(frozen=True)
class Filtered:
    """A filtered scan. Batches are slices of the unfiltered table, which are filtered afterwards.

    Slicing the filtered table instead would filter all previous rows again for each batch.
    """

    base: Scan
    keep: Callable[[pl.LazyFrame], pl.LazyFrame]

    def __call__(self) -> pl.LazyFrame:
        """Return the rows that pass the filter."""
        return self.keep(self.base())


def endpoints(report: Report) -> pl.DataFrame:
    """Return capture, id, client and server of every connection, including connections that a filter of the report excludes."""
    names = ["capture", "connection", "client", "server"]
    scan = report.scan_connections
    return (scan.base if isinstance(scan, Filtered) else scan)().select(names).collect()


def batches(scan: Scan, columns: list[str]) -> Iterator[pl.DataFrame]:
    """Yield the `columns` of a lazy table in batches, together with the column that `seconds` needs."""
    filtered = scan if isinstance(scan, Filtered) else Filtered(scan, lambda table: table)
    rows = filtered.base().select(pl.len()).collect().item()
    for start in range(0, rows, BATCH):
        base = filtered.base
        some = base.slice(start, BATCH) if isinstance(base, Sliceable) else base().slice(start, BATCH)
        batch = filtered.keep(some).select(columns).collect()
        if batch.height:
            yield with_divisor(batch)


def with_divisor(frame: pl.DataFrame) -> pl.DataFrame:
    """Return the table with the column that `seconds` needs: 1e9 in every row."""
    return frame.with_columns(pl.repeat(1e9, frame.height, eager=True).alias(_NANOSECONDS))


def seconds(value: str | pl.Expr) -> pl.Expr:
    """Return an expression that converts ns (a column or an expression) to seconds, as the nearest double.

    The result prints with at most nine decimals. The divisor is a column, because Polars would replace a literal divisor by its
    reciprocal. Two of five results would then be off by one unit in the last place (0.044123456000000005).
    """
    return (pl.col(value) if isinstance(value, str) else value).cast(pl.Float64) / pl.col(_NANOSECONDS)


def escape_column(column: str) -> pl.Expr:
    """Return an expression that escapes the texts of a column as `text.printable` does."""
    return pl.col(column).map_batches(printable_texts, return_dtype=pl.String)


def printable_texts(text: pl.Series) -> pl.Series:
    """Escape each text as `text.printable` does."""
    return _patch(text, text, text.str.contains(r"[^\x20-\x7e]").fill_null(value=False), printable)


def _patch(text: pl.Series, result: pl.Series, where: pl.Series, repair: Callable[[str], str]) -> pl.Series:
    """Return `result`, but with repair(text) in the rows in which `where` is true."""
    if not where.any():
        return result
    repaired = pl.Series(result.name, [repair(t) for t in text.filter(where).to_list()], dtype=pl.String)
    return result.clone().scatter(where.arg_true(), repaired)
