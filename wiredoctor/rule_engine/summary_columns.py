"""Select and change columns of candidates, and drop candidates beyond the memory limits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
import polars as pl

from wiredoctor import limits
from wiredoctor.limits import Limit, LimitsReached

_CORE = {
    "connection": pl.Int64(),
    "exchange": pl.Int32(),
    "kind": pl.String(),
    "frame": pl.Int64(),
    "start": pl.Int64(),
    "end": pl.Int64(),
    "delay": pl.Int64(),
    "direction": pl.Int8(),
    "client": pl.String(),
    "server": pl.String(),
    "silent": pl.Boolean(),
    "until_end": pl.Boolean(),
    "user_agent": pl.String(),
}
"""The columns that `resolve` reads; the last six may be missing in candidates."""


class Rows(Protocol):
    """The candidates of a rule: a data frame, or an object that stores some of them in files."""

    @property
    def schema(self) -> pl.Schema:
        """The columns with their types."""
        ...

    @property
    def height(self) -> int:
        """The number of candidates."""
        ...

    def iter_slices(self, n_rows: int) -> Iterator[pl.DataFrame]:
        """Yield the candidates in order, at most `n_rows` at a time."""
        ...

    def __getitem__(self, rows: pl.Series, /) -> pl.DataFrame:
        """Return the rows with these numbers, in the order of the numbers given."""
        ...


def as_frame(rows: Rows) -> pl.DataFrame:
    """Return the candidates of a rule as a data frame, in memory."""
    return rows if isinstance(rows, pl.DataFrame) else pl.concat([*rows.iter_slices(max(rows.height, 1))])


def with_changes(rows: pl.DataFrame, changes: Mapping[int, Mapping[str, Any]], schema: Mapping[str, pl.DataType]) -> pl.DataFrame:
    """Return `rows` with changed values; `changes` maps row number -> column -> value. Missing columns are added."""
    made = rows.with_columns(pl.lit(None, dtype).alias(name) for name, dtype in schema.items() if name not in rows.columns)
    for name in schema:
        if values := {number: change[name] for number, change in changes.items() if name in change}:
            before = made[name]
            fresh = pl.Series(name, [*values.values()], before.to_physical().dtype)  # a Duration takes no nanoseconds
            places = np.arange(made.height)
            places[[*values]] = made.height + np.arange(len(values))
            made = made.with_columns(pl.concat([before, fresh.cast(before.dtype)]).gather(places))
    return made


def candidate_frame(candidates: Mapping[str, Rows], met: LimitsReached | None) -> pl.DataFrame:
    """Return the candidates of all rules in one data frame.

    Its columns are `rule`, `row` (the row number among the candidates of that rule), a unique `id`, and those of _CORE. If
    there are too many candidates, some are left out and counted in `met`. Which candidates are left out depends only on their
    values, not on their order.
    """
    most, kept = limits.CANDIDATES.value, pl.DataFrame()
    for rule, rows in sorted(candidates.items()):
        frames: list[pl.DataFrame] = []
        first = held = 0
        for some in rows.iter_slices(limits.CANDIDATES_AT_ONCE.value):
            frames.append(_common_columns(rule, first, some))
            first += some.height
            held += some.height
            if held > 2 * most:
                frames = [_longest(pl.concat(frames), most)]
                held = most
        if frames:
            own = pl.concat(frames)
            kept = _longest(pl.concat([kept, own]) if kept.height else own, most)
    everything = sum(rows.height for rows in candidates.values())
    if met is not None and everything > kept.height:
        met.counts[limits.CANDIDATES.name] = everything - kept.height
    return kept.sort("rule", "row").with_row_index("id") if kept.height else kept


def _common_columns(rule: str, first: int, rows: pl.DataFrame) -> pl.DataFrame:
    return rows.select(
        pl.lit(rule).alias("rule"),
        pl.int_range(first, first + rows.height, dtype=pl.Int64).alias("row"),
        *_columns_of_core(frozenset(_CORE.keys() & rows.columns)),
    )


@lru_cache(maxsize=256)
def _columns_of_core(present: frozenset[str]) -> list[pl.Expr]:
    return [(pl.col(n) if n in present else pl.lit(None)).cast(t).alias(n) for n, t in _CORE.items()]


_ORDER = ("frame", "connection", "exchange", "start", "end", "row")


def _longest(core: pl.DataFrame, most: int) -> pl.DataFrame:
    """Return at most `most` candidates: those with the longest delays and, if delays are equal, the earliest.

    Every rule has an equal share of `most`. What one rule does not use is left to the others.
    """
    if core.height <= most:
        return core
    order = core.with_row_index("at").sort(
        "rule", "delay", *_ORDER, descending=[False, True, *(False for _ in _ORDER)], nulls_last=True
    )
    places = order.select("at", "rule", pl.int_range(pl.len()).over("rule").alias("place"))
    return core[places.sort("place", "rule")["at"].head(most).sort()]


def without_too_many(core: pl.DataFrame, limit: Limit, met: LimitsReached | None) -> pl.DataFrame:
    """Return at most `limit` candidates, which become findings: those with the longest delays. Count the others in `met`."""
    if core.height > limit.value and met is not None:
        met.counts[limit.name] = core.height - limit.value
    return _longest(core, limit.value)
