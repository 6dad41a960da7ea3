"""Format numbers in the same way for every rule."""

from __future__ import annotations

import polars as pl

from wiredoctor.text.durations import duration_text

DURATION = pl.Duration("ns")
"""The type of columns that templates show as durations."""


def duration(nanoseconds: pl.Expr) -> pl.Expr:
    """Format a column of nanoseconds with `duration_text`, for notes of evidence.

    This may be slow, because only findings need it.
    """
    return nanoseconds.map_batches(_texts, return_dtype=pl.String, is_elementwise=True)


def _texts(nanoseconds: pl.Series) -> pl.Series:
    texts = [None if n is None else duration_text(n) for n in nanoseconds.cast(pl.Int64).to_list()]
    return pl.Series(nanoseconds.name, texts, dtype=pl.String)


def grouped(numbers: pl.Expr) -> pl.Expr:
    """Format a column of integers as text, with commas between thousands."""
    return numbers.map_batches(_grouped, return_dtype=pl.String, is_elementwise=True)


def _grouped(numbers: pl.Series) -> pl.Series:
    texts = [None if n is None else f"{n:,}" for n in numbers.to_list()]
    return pl.Series(numbers.name, texts, dtype=pl.String)
