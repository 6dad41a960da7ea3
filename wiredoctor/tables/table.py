"""The classes `Table` and `Column`, which describe tables and convert their rows to Polars frames."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import Any, Literal, TypeVar

import numpy as np
import polars as pl

from wiredoctor.tables.constants import NEVER, NONE

Rows = TypeVar("Rows", pl.DataFrame, pl.LazyFrame)

Array = np.ndarray[Any, Any]
Columns = dict[str, Array]
"""The columns of a table by name, as arrays of equal length."""


@dataclass(frozen=True)
class Column:
    """A column: its name, type, unit (empty if it has none) and meaning.

    In `nullable` columns, "no value" is NEVER (64 bits) or NONE (fewer bits) in `Columns`, and null in Polars.
    """

    name: str
    dtype: pl.DataType
    unit: str
    meaning: str
    nullable: bool = False

    @cached_property
    def sentinel(self) -> int | None:
        """The sentinel for "no value" in `Columns`; None if the column always has a value."""
        if not self.nullable or not self.dtype.is_integer():
            return None
        return NEVER if self.dtype == pl.Int64 else NONE


SMALL = 256
"""The maximum number of rows for which passing lists to Polars is faster than passing arrays."""


PLAN_OF_FEW = pl.QueryOptFlags.none(comm_subexpr_elim=True)
"""The plan for a query of few rows: optimizing it takes longer than running it, but common expressions are computed only once."""


FEW = 64
"""The maximum number of rows for which passing rows to Polars is faster than passing columns. A table may have a hundred
columns.
"""


Subject = Literal["exchanges", "segments", "connections", "captures"]
"""The things that the rows of a table describe. If a capture has no such things, rules that read the table have nothing
to check.
"""


@cache
def _without_rows(dtype: pl.DataType) -> pl.Series:
    """Return an empty Series of this type."""
    return pl.Series(dtype=dtype)


@dataclass(frozen=True, eq=False, repr=False)
class Table:
    """A table: its name, the meaning of a row, and its columns in order.

    `at_packet`: a row is final as soon as its packet has been read; later events of its exchange do not change it.
    `exchange_by_time`: if a row names no exchange, a finding from it belongs to the exchange that was waiting at the row's time.
    `writer`: the function that decides which events become rows, or whose docstring explains this; with its path below
    wiredoctor/, such as "core/tcp/releases.py:Releases.describe".
    """

    name: str
    row: str
    columns: tuple[Column, ...]
    subject: Subject = "exchanges"
    at_packet: bool = False
    exchange_by_time: bool = False
    writer: str = ""

    @cached_property
    def schema(self) -> pl.Schema:
        """The Polars type of each column."""
        return pl.Schema({c.name: c.dtype for c in self.columns})

    def only(self, names: Collection[str]) -> Table:
        """Return the table with only these columns. Raise KeyError for an unknown column."""
        if unknown := set(names) - {c.name for c in self.columns}:
            raise KeyError(f"{self.name} has no such column: {', '.join(sorted(unknown))}")
        return replace(self, columns=tuple(c for c in self.columns if c.name in names))

    def pick(self, *names: str) -> tuple[Column, ...]:
        """Return the columns with these names, for another table that has them too."""
        columns = {c.name: c for c in self.columns}
        return tuple(map(columns.__getitem__, names))

    @cached_property
    def _empty(self) -> pl.DataFrame:
        # three times as fast as creating it from a schema, which matters for small captures
        return pl.DataFrame([_without_rows(dtype).alias(name) for name, dtype in self.schema.items()])

    def empty(self) -> pl.DataFrame:
        """Return a data frame with the columns of the table and no rows."""
        return self._empty.clone()

    def frame(self, columns: Mapping[str, Any]) -> pl.DataFrame:
        """Convert `Columns` (or lists) to a Polars frame with exactly the columns of this table; sentinels become null."""
        if all(len(values) <= SMALL for values in columns.values()):
            return self._small(columns)
        # columns without a sentinel need no conversion
        free = {
            c.name
            for c in self.columns
            if c.sentinel is not None and isinstance(array := columns[c.name], np.ndarray) and not (array == c.sentinel).any()
        }
        return self.lazy(columns, free).collect()

    def _small(self, columns: Mapping[str, Any]) -> pl.DataFrame:
        """Convert a few rows to a frame without query plans and without numpy.ma, which Polars imports if it gets arrays.

        For a small capture, these would take most of the time.
        """
        lists: list[list[Any]] = []
        for c in self.columns:
            values = columns[c.name]
            listed: list[Any] = values.tolist() if isinstance(values, np.ndarray) else values
            if c.sentinel is not None and c.sentinel in listed:
                listed = [None if value == c.sentinel else value for value in listed]
            lists.append(listed)
        height = len(lists[0])
        if not height:
            return self.empty()
        if height <= FEW:
            # a number out of its column's range is an error here, and null below
            with suppress(pl.exceptions.ComputeError):
                return pl.DataFrame([*zip(*lists, strict=True)], self.schema, orient="row", strict=False)
        series = [pl.Series(c.name, listed, c.dtype, strict=False) for c, listed in zip(self.columns, lists, strict=True)]
        return pl.DataFrame(series)

    def lazy(self, columns: Mapping[str, Any], whole: Collection[str] = ()) -> pl.LazyFrame:
        """Return a lazy frame that converts columns on demand. `whole`: the columns that contain no sentinel."""
        series: list[pl.Series] = []
        fix: list[pl.Expr] = []
        for c in self.columns:
            s = pl.Series(c.name, columns[c.name])
            series.append(s)
            nullable = c.sentinel is not None and c.name not in whole
            other = s.dtype != c.dtype
            if nullable or other:
                value = pl.col(c.name)
                if nullable:
                    value = pl.when(value != c.sentinel).then(value)
                if other:
                    value = value.cast(c.dtype, strict=False)
                fix.append(value.alias(c.name))
        return pl.DataFrame(series).lazy().with_columns(fix)


I8, I16, I32, I64 = pl.Int8(), pl.Int16(), pl.Int32(), pl.Int64()
U8, U16, U32, U64 = pl.UInt8(), pl.UInt16(), pl.UInt32(), pl.UInt64()
BOOL, TEXT, STATUSES = pl.Boolean(), pl.String(), pl.List(pl.UInt16())
LIST64 = pl.List(pl.Int64())


Unit = Literal["", "ns", "s", "bytes"]


def required(name: str, dtype: pl.DataType, meaning: str, unit: Unit = "") -> Column:
    return Column(name, dtype, unit, meaning)


def nullable(name: str, dtype: pl.DataType, meaning: str, unit: Unit = "") -> Column:
    return Column(name, dtype, unit, meaning, nullable=True)


def flag(name: str, meaning: str) -> Column:
    return Column(name, BOOL, "", meaning)
