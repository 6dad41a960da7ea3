"""Format numbers in the same way for every rule."""

from __future__ import annotations

from collections.abc import Callable

import polars as pl

DURATION = pl.Duration("ns")
"""The type of columns that templates show as durations."""


def map_numbers(numbers: pl.Expr, convert: Callable[[int], object], dtype: pl.DataType) -> pl.Expr:
    """Return the results of a Python function for a column of integers or durations (ns). Null stays null."""

    def converted(values: pl.Series) -> pl.Series:
        results = [None if n is None else convert(n) for n in values.cast(pl.Int64).to_list()]
        return pl.Series(values.name, results, dtype=dtype)

    return numbers.map_batches(converted, return_dtype=dtype, is_elementwise=True)


def other_connections(number: int) -> str:
    """Return "another connection" for 1, otherwise the number, as in "3 other connections"."""
    return "another connection" if number == 1 else f"{number:,} other connections"
