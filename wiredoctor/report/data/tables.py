"""The tables for other programs: what each file of `-o tables/` holds. The columns are those of tables.py, behind `capture`."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING, Any

import polars as pl

from wiredoctor.findings import printable
from wiredoctor.report.columns import Filtered, printable_texts
from wiredoctor.report.words import clean
from wiredoctor.tables import FINDINGS, READ_AGAIN, TEXT, Column

if TYPE_CHECKING:
    from wiredoctor.findings import Finding, Report

TABLES = {**READ_AGAIN, "findings": FINDINGS}
"""By name, what is exported."""

_KEPT = ("connections", "exchanges")
"""Tables that a report has, also where it cannot be read again."""

_CAPTURE = Column("capture", TEXT, "", "the file as it was named")

_WITHHELD = {"credentials_user": "a checksum, with which one could try names"}
"""Columns that leave in no report (docs/pages/secrets.md), and why."""


def columns(name: str) -> list[Column]:
    """The columns of a file."""
    own = [c for c in TABLES[name].columns if not any(c.name.endswith(withheld) for withheld in _WITHHELD)]
    return own if any(c.name == _CAPTURE.name for c in own) else [_CAPTURE, *own]


@cache
def schema(name: str) -> pl.Schema:
    """Column name -> Polars type."""
    return pl.Schema({c.name: c.dtype for c in columns(name)})


def metadata(name: str, report: Report) -> dict[str, str]:
    """What a Parquet file says of itself: which table it is, with a unit and a meaning of each column."""
    described = [{"name": c.name, "unit": c.unit, "meaning": c.meaning, "nullable": c.nullable} for c in columns(name)]
    return {
        "wiredoctor.version": report.version,
        "wiredoctor.table": name,
        "wiredoctor.row": TABLES[name].row,
        "wiredoctor.columns": json.dumps(described),
        "wiredoctor.secrets": json.dumps(report.secrets),
    }


def written(report: Report) -> list[str]:
    """The tables that can be written of this report."""
    whole = all(c.file in report.again for c in report.captures)
    return [name for name in TABLES if whole or name in (*_KEPT, "captures", "findings")]


def portions(report: Report) -> Iterator[tuple[str, pl.DataFrame]]:
    """Rows of each table that is `written`, in portions that memory can hold, each with all its columns."""
    names = written(report)
    if report.scan_captures is not None:
        yield "captures", _safe("captures", None, report.scan_captures().collect())
    if report.findings:
        yield "findings", findings(report.findings)
    if "packets" not in names:
        for name, scan in (("connections", report.scan_connections), ("exchanges", report.scan_exchanges)):
            if scan is not None:
                yield name, _safe(name, None, scan().collect())
        return
    of_packets = [name for name in names if name not in ("captures", "findings")]
    for capture, again in report.again.items():
        wanted = _Wanted(report, capture)
        for portion in again.portions(of_packets, wanted.connections):
            for name, rows in portion.tables.items():
                kept = wanted.of(name, rows)
                if kept.height:
                    yield name, _safe(name, capture, kept)


class _Wanted:
    """What of a capture the report is about: all of it, or the rows that it was narrowed to."""

    def __init__(self, report: Report, capture: str) -> None:
        self.connections: list[int] | None = None
        self._exchanges: pl.DataFrame | None = None
        if isinstance(report.scan_connections, Filtered):
            here = pl.col("capture") == capture
            ids = report.scan_connections().filter(here).select("connection").collect().get_column("connection")
            if report.scan_exchanges is not None:
                rows = report.scan_exchanges().filter(here).select("connection", "exchange").collect()
                self._exchanges = rows
                ids = pl.concat([ids, rows.get_column("connection")])
            self.connections = ids.unique().sort().to_list()

    def of(self, name: str, rows: pl.DataFrame) -> pl.DataFrame:
        """The rows of a portion that are wanted."""
        if name == "exchanges" and self._exchanges is not None:
            return rows.join(self._exchanges, on=["connection", "exchange"], how="semi", maintain_order="left")
        return rows


def _safe(name: str, capture: str | None, rows: pl.DataFrame) -> pl.DataFrame:
    r"""The columns of a file, in their order; of text what is not printable ASCII is \xNN, as in JSON. `capture`: the name of
    the capture, where the rows do not have it."""
    # column by column: of small captures a query takes longer than all its work
    made: list[pl.Series] = []
    for column, dtype in schema(name).items():
        if column == _CAPTURE.name and capture is not None:
            made.append(pl.Series(column, [capture], dtype=dtype).new_from_index(0, rows.height))
            continue
        values = rows.get_column(column)
        if dtype == TEXT and column != _CAPTURE.name:
            values = printable_texts(values)
        made.append(values if values.dtype == dtype else values.cast(dtype))
    return pl.DataFrame(made)


def findings(some: list[Finding]) -> pl.DataFrame:
    """Findings as rows of tables.FINDINGS."""
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
    """A file without rows."""
    return pl.DataFrame(schema=schema(name))
