"""Select rows by connection or exchange with filters, which Polars applies while it reads the rows.

A join would first create all columns of all rows.
"""

from __future__ import annotations

import polars as pl

_EXCHANGES = 1 << 31
"""A number larger than the number of exchanges on any connection."""


def of_connections(rows: pl.LazyFrame, places: pl.DataFrame) -> pl.LazyFrame:
    """Return the rows whose `connection` also occurs in `places`."""
    return rows.filter(pl.col("connection").is_in(places["connection"].drop_nulls().unique().implode()))


def of_exchanges(rows: pl.LazyFrame, places: pl.DataFrame) -> pl.LazyFrame:
    """Return the rows whose `connection` and `exchange` also occur together in a row of `places`."""
    number = pl.col("connection").cast(pl.Int64) * _EXCHANGES + pl.col("exchange")
    return rows.filter(number.is_in(places.select(number.unique().drop_nulls().alias("number"))["number"].implode()))
