"""Write connections and exchanges as CSV with Polars, in batches because there may be a million rows."""

from __future__ import annotations

from typing import Any

import polars as pl

from wiredoctor.findings import Report
from wiredoctor.report.data import json_rows
from wiredoctor.report.data.csv import FORMULA, harmless
from wiredoctor.report.row_order import Sink, Spool, in_memory

_LIST = "; "


def write(report: Report, out: Sink, table: str, spool: Spool = in_memory) -> None:
    """Write the column names, then one line per row in order of capture and id."""
    empty = pl.DataFrame(schema=json_rows.schema(table))
    out.write(empty.select(_flat(empty)).write_csv(line_terminator="\r\n").encode())
    json_rows.write_as(report, out, table, _lines, spool)


def _lines(batch: pl.DataFrame) -> bytes:
    return batch.select(_flat(batch)).write_csv(include_header=False, line_terminator="\r\n").encode("utf-8", "replace")


def _flat(batch: pl.DataFrame) -> list[pl.Expr]:
    """Return an expression for each column of the CSV file: the JSON columns, with request.method as request_method etc."""
    made: list[pl.Expr] = []
    for name, dtype in batch.schema.items():
        if isinstance(dtype, pl.Struct):
            made += [_cell(pl.col(name).struct.field(inner.name), inner.dtype, f"{name}_{inner.name}") for inner in dtype.fields]
        else:
            made.append(_cell(pl.col(name), dtype, name))
    return made


def _cell(value: pl.Expr, dtype: Any, name: str) -> pl.Expr:
    if dtype == pl.String:
        return value.map_batches(_harmless, return_dtype=pl.String).alias(name)
    if isinstance(dtype, pl.List):
        return value.list.eval(_one(dtype.inner)).list.join(_LIST).alias(name)
    if isinstance(dtype, pl.Struct):
        return _join_fields(value, dtype).alias(name)
    return value.alias(name)


def _one(dtype: Any) -> pl.Expr:
    """Return an expression that formats an element of a list as text, such as "rule: 0.2" for a rule and a delay."""
    return _join_fields(pl.element(), dtype) if isinstance(dtype, pl.Struct) else pl.element().cast(pl.String)


def _join_fields(value: pl.Expr, dtype: pl.Struct) -> pl.Expr:
    """Return an expression that joins all fields of a struct except null, as in "3: 0" for a connection and its exchange."""
    fields = [value.struct.field(field.name).cast(pl.String) for field in dtype.fields]
    return pl.when(value.is_not_null()).then(pl.concat_str(fields, separator=": ", ignore_nulls=True))


def _harmless(texts: pl.Series) -> pl.Series:
    """Apply `csv.harmless` to the texts that begin like a formula, or that are not printable ASCII."""
    signs = "".join(f"\\x{ord(sign):02x}" for sign in FORMULA)
    needs = texts.str.contains(rf"^[{signs}]|[^\x20-\x7e]").fill_null(value=False)
    if not needs.any():
        return texts
    changed = pl.Series(texts.name, [harmless(t) for t in texts.filter(needs).to_list()], dtype=pl.String)
    return texts.clone().scatter(needs.arg_true(), changed)
