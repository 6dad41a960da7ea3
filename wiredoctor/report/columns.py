"""Polars expressions that reports share: seconds, escaped text, and batches of a lazy table."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import polars as pl

from wiredoctor.findings import printable

BATCH = 1 << 14
"""Rows: enough for Polars to be quick, few enough for a batch and its JSON to stay below 20 MB."""

Scan = Callable[[], pl.LazyFrame]


@runtime_checkable
class Sliceable(Protocol):
    """A scan that knows a better way to some of its rows than to read all before them."""

    def slice(self, first: int, count: int) -> pl.LazyFrame:
        """Return `count` rows from `first` on."""
        ...


_NANOSECONDS = "_nanoseconds_per_second"


@dataclass(frozen=True)
class Filtered:
    """A scan of which only some rows are wanted. The parts are kept apart so that batches are cut before they are filtered:
    a slice of a filtered table would have to filter all that lies before it again."""

    base: Scan
    keep: Callable[[pl.LazyFrame], pl.LazyFrame]

    def __call__(self) -> pl.LazyFrame:
        """The wanted rows."""
        return self.keep(self.base())


def batches(scan: Scan | None, columns: list[str]) -> Iterator[pl.DataFrame]:
    """The wanted columns of a lazy table, some ten thousand rows at a time, ready for `seconds`."""
    if scan is None:
        return
    filtered = scan if isinstance(scan, Filtered) else Filtered(scan, lambda table: table)
    rows = filtered.base().select(pl.len()).collect().item()
    for start in range(0, rows, BATCH):
        base = filtered.base
        some = base.slice(start, BATCH) if isinstance(base, Sliceable) else base().slice(start, BATCH)
        batch = filtered.keep(some).select(columns).collect()
        if batch.height:
            yield with_divisor(batch)


def with_divisor(frame: pl.DataFrame) -> pl.DataFrame:
    """Adds the column that `seconds` divides by."""
    return frame.with_columns(pl.Series(_NANOSECONDS, np.full(frame.height, 1e9)))


def seconds(column: str) -> pl.Expr:
    """Nanoseconds -> seconds, as near as a double can be, so that it prints with its nine decimals and no more.

    Polars multiplies by the reciprocal when the divisor is a literal, which is off by one unit in the last place in two
    cases of five (0.044123456000000005); so the divisor is a column.
    """
    return pl.col(column).cast(pl.Float64) / pl.col(_NANOSECONDS)


def escaped(column: str) -> pl.Expr:
    """`findings.printable` of a column."""
    return pl.col(column).map_batches(printable_texts, return_dtype=pl.String)


def _needs_escape(text: pl.Series) -> pl.Series:
    return text.str.contains(r"[^\x20-\x7e]").fill_null(value=False)


def printable_texts(text: pl.Series) -> pl.Series:
    """`findings.printable` of each text."""
    return _patch(text, text, _needs_escape(text), printable)


def _patch(text: pl.Series, result: pl.Series, where: pl.Series, repair: Callable[[str], str]) -> pl.Series:
    """`result`, but repair(text) where it is asked for."""
    if not where.any():
        return result
    repaired = pl.Series(result.name, [repair(t) for t in text.filter(where).to_list()], dtype=pl.String)
    return result.clone().scatter(where.arg_true(), repaired)
