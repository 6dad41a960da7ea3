"""Write the tables of `-o tables/` for other programs, one file per table; each file begins with the column `capture`."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from typing import Any

import polars as pl

from wiredoctor.findings import Finding, Report, printable
from wiredoctor.findings.keys import FINDINGS
from wiredoctor.report.columns import Filtered, endpoints, printable_texts
from wiredoctor.report.exchange_times import CaptureEnds, capture_ends, duration, response_wait
from wiredoctor.report.words import clean
from wiredoctor.tables import DERIVED, OLD_NAMES, READ_AGAIN, TEXT, Column

TABLES = {**READ_AGAIN, "findings": FINDINGS}
"""The exported tables by name."""

_KEPT = ("connections", "exchanges")
"""The tables that can be written even if the capture cannot be read again."""

_CAPTURE = Column("capture", TEXT, "", "the file name as given")

_WITHHELD = {"credentials_user": "a checksum with which names could be guessed"}
"""Columns that no report contains (docs/pages/secrets.md), each with the reason."""


def columns(name: str) -> list[Column]:
    """Return the columns of the file for this table.

    Columns that no report may contain are left out. Columns that were renamed appear under both names.
    """
    declared = (*TABLES[name].columns, *DERIVED.get(name, ()))
    own = [c for c in declared if not any(c.name.endswith(withheld) for withheld in _WITHHELD)]
    old = OLD_NAMES.get(name, {})
    own += [replace(c, name=old[c.name], meaning=f"earlier name of `{c.name}`") for c in own if c.name in old]
    return own if any(c.name == _CAPTURE.name for c in own) else [_CAPTURE, *own]


@cache
def schema(name: str) -> pl.Schema:
    """Return the columns of the file for this table, with their Polars types."""
    return pl.Schema({c.name: c.dtype for c in columns(name)})


def metadata(name: str, report: Report) -> dict[str, str]:
    """Return the metadata of a Parquet file: version, name of the table, meaning of a row, unit and meaning of each column, and
    whether secrets are shown.
    """
    described = [{"name": c.name, "unit": c.unit, "meaning": c.meaning, "nullable": c.nullable} for c in columns(name)]
    return {
        "wiredoctor.version": report.version,
        "wiredoctor.table": name,
        "wiredoctor.row": TABLES[name].row,
        "wiredoctor.columns": json.dumps(described),
        "wiredoctor.secrets": json.dumps(report.secrets),
    }


def written(report: Report) -> list[str]:
    """Return the names of the tables that can be written. Most tables can only be written if the captures can be read again."""
    whole = all(c.file in report.packets for c in report.captures)
    return [name for name in TABLES if whole or name in (*_KEPT, "captures", "findings")]


def portions(report: Report) -> Iterator[tuple[str, pl.DataFrame]]:
    """Yield the rows of every table that `written` returns, in portions that fit in memory, as pairs of a table name and rows."""
    names, times = written(report), capture_ends(report)
    captures = report.scan_captures().collect()
    if captures.height:
        yield "captures", _safe("captures", None, captures)
    if report.findings:
        yield "findings", findings(report.findings)
    if "packets" not in names:
        ends = endpoints(report)
        for name, scan in (("connections", report.scan_connections), ("exchanges", report.scan_exchanges)):
            yield name, _safe(name, None, _with_derived(name, scan().collect(), ends, times))
        return
    ends = endpoints(report)
    of_packets = [name for name in names if name not in ("captures", "findings")]
    for capture, access in report.packets.items():
        wanted = _RowFilter(report, capture)
        for portion in access.portions(of_packets, wanted.connections):
            for name, rows in portion.tables.items():
                kept = wanted.of(name, rows)
                if kept.height:
                    yield name, _safe(name, capture, _with_derived(name, kept, ends, times, capture))


class _RowFilter:
    """Selects the rows of a capture that belong to the report: all rows, or those that passed the report's filter.

    `connections`: ids of the connections, or None for all.
    """

    def __init__(self, report: Report, capture: str) -> None:
        self.connections: list[int] | None = None
        self._exchanges: pl.DataFrame | None = None
        if isinstance(report.scan_connections, Filtered):
            here = pl.col("capture") == capture
            ids = report.scan_connections().filter(here).select("connection").collect().get_column("connection")
            self._exchanges = report.scan_exchanges().filter(here).select("connection", "exchange").collect()
            ids = pl.concat([ids, self._exchanges.get_column("connection")])
            self.connections = ids.unique().sort().to_list()

    def of(self, name: str, rows: pl.DataFrame) -> pl.DataFrame:
        """Return the rows of table `name` that belong to the report. `rows` contains only connections of the report."""
        if name == "exchanges" and self._exchanges is not None:
            return rows.join(self._exchanges, on=["connection", "exchange"], how="semi", maintain_order="left")
        return rows


def _with_derived(
    name: str, rows: pl.DataFrame, ends: pl.DataFrame, times: CaptureEnds, capture: str | None = None
) -> pl.DataFrame:
    """Return the rows with the columns that DERIVED declares for this table.

    `ends`: the result of `columns.endpoints`. `times`: the result of `capture_ends`. `capture`: the name of the capture, if the
    rows do not contain it.
    """
    if name not in DERIVED:
        return rows
    if name == "connections":
        return rows.with_columns(duration("connections").alias("duration"))
    if capture is not None:
        rows = rows.with_columns(capture=pl.lit(capture))
    joined = rows.join(ends, on=["capture", "connection"], how="left", maintain_order="left")
    return joined.with_columns(duration("exchanges").alias("duration"), response_wait(times).alias("response_wait"))


def _safe(name: str, capture: str | None, rows: pl.DataFrame) -> pl.DataFrame:
    """Return the columns of a file in order, with text escaped as in JSON.

    `capture`: the name of the capture if the rows do not contain it, otherwise None.
    """
    # column by column, because for a small capture, a Polars query would take most of the time
    made: list[pl.Series] = []
    current = {old: new for new, old in OLD_NAMES.get(name, {}).items()}
    for column, dtype in schema(name).items():
        if column == _CAPTURE.name and capture is not None:
            made.append(pl.Series(column, [capture], dtype=dtype).new_from_index(0, rows.height))
            continue
        values = rows.get_column(current.get(column, column)).alias(column)
        if dtype == TEXT and column != _CAPTURE.name:
            values = printable_texts(values)
        made.append(values if values.dtype == dtype else values.cast(dtype))
    return pl.DataFrame(made)


def findings(some: list[Finding]) -> pl.DataFrame:
    """Return findings as rows of the table `findings`."""
    return pl.DataFrame([_row(one) for one in some], schema=FINDINGS.schema, orient="row")


def _row(one: Finding) -> tuple[Any, ...]:
    made: dict[str, Any] = {
        "evidence": [step._asdict() | {"note": clean(step.note)} for step in one.evidence],
        "references": [{"title": clean(r.title), "url": clean(r.url)} for r in one.references],
        "caused_by": [
            cause._asdict() | {"rule": clean(cause.rule), "kind": None if cause.kind is None else clean(cause.kind)}
            for cause in one.caused_by
        ],
        "measures": [
            {"name": clean(name), "value": float(value)} for name, value in one.measures.items() if math.isfinite(value)
        ],
        "request": None if one.request is None else printable(one.request),
    }
    values = {c.name: made.get(c.name, getattr(one, c.name)) for c in FINDINGS.columns}
    return tuple(clean(v) if isinstance(v, str) and name not in ("capture", "request") else v for name, v in values.items())


def empty(name: str) -> pl.DataFrame:
    """Return the table of a file with its columns, but without rows."""
    return pl.DataFrame(schema=schema(name))
