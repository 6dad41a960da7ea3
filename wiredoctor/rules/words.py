"""How rules write numbers, the same in every rule."""

from __future__ import annotations

import polars as pl

from wiredoctor.tables import MILLISECOND, SECOND

DURATION = pl.Duration("ns")
"""Type of the columns that templates write as durations."""


def duration_text(nanoseconds: int) -> str:
    """Nanoseconds -> "44.1 ms", "200 ms", "1.2 s"."""
    size = abs(nanoseconds)
    if size >= SECOND:
        return f"{round(nanoseconds / SECOND, 1)} s"
    if size >= 100 * MILLISECOND:
        return f"{round(nanoseconds / MILLISECOND)} ms"
    return f"{round(nanoseconds / MILLISECOND, 1 if size >= 10 * MILLISECOND else 2)} ms"


def duration(nanoseconds: pl.Expr) -> pl.Expr:
    """The same for a column of nanoseconds: a column of text, for the notes of evidence."""
    size = nanoseconds.abs()
    milliseconds = nanoseconds / MILLISECOND
    return (
        pl.when(size >= SECOND)
        .then(pl.format("{} s", (nanoseconds / SECOND).round(1)))
        .when(size >= 100 * MILLISECOND)
        .then(pl.format("{} ms", milliseconds.round(0).cast(pl.Int64)))
        .when(size >= 10 * MILLISECOND)
        .then(pl.format("{} ms", milliseconds.round(1)))
        .otherwise(pl.format("{} ms", milliseconds.round(2)))
    )
