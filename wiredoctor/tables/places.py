"""Select rows by connection, exchange or protocol with filters, which Polars applies while it reads the rows.

A join would first create all columns of all rows.
"""

from __future__ import annotations

from functools import lru_cache

import polars as pl

from wiredoctor.tables.connection_tables import PROTOCOLS
from wiredoctor.tables.table import Table

_EXCHANGES = 1 << 31
"""A number larger than the number of exchanges on any connection."""


def of_connections(rows: pl.LazyFrame, places: pl.DataFrame) -> pl.LazyFrame:
    """Return the rows whose `connection` also occurs in `places`."""
    return rows.filter(pl.col("connection").is_in(places["connection"].drop_nulls().unique().implode()))


def of_exchanges(rows: pl.LazyFrame, places: pl.DataFrame) -> pl.LazyFrame:
    """Return the rows whose `connection` and `exchange` also occur together in a row of `places`."""
    number = pl.col("connection").cast(pl.Int64) * _EXCHANGES + pl.col("exchange")
    return rows.filter(number.is_in(places.select(number.unique().drop_nulls().alias("number"))["number"].implode()))


@lru_cache(maxsize=256)
def of_protocols(table: Table, protocols: tuple[str, ...]) -> pl.Expr | None:
    """Return an expression that is true for rows of connections with these protocols; None if all rows may be.

    All exchanges are HTTP. A segment does not tell what its connection carries later, so rules get all rows about segments.
    """
    if {*PROTOCOLS} <= {*protocols}:
        return None
    if "protocol" in table.schema:
        return pl.col("protocol").is_in(protocols)
    if table.subject == "exchanges":
        return None if "http" in protocols else pl.lit(value=False)
    return None
