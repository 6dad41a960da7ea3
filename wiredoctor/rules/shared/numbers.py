"""How rules write numbers, the same in every rule."""

from __future__ import annotations

import polars as pl

from wiredoctor.text.durations import duration_text

DURATION = pl.Duration("ns")
"""Type of the columns that templates write as durations."""


def duration(nanoseconds: pl.Expr) -> pl.Expr:
    """`duration_text` of a column: a column of text, for the notes of evidence. Only findings need it, so they are few."""
    return nanoseconds.map_batches(_texts, return_dtype=pl.String, is_elementwise=True)


def _texts(nanoseconds: pl.Series) -> pl.Series:
    texts = [None if n is None else duration_text(n) for n in nanoseconds.cast(pl.Int64).to_list()]
    return pl.Series(nanoseconds.name, texts, dtype=pl.String)
