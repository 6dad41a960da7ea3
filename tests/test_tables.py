"""Small tables are handed to Polars in another way than large ones: that must not be seen."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import wiredoctor
from wiredoctor.core.rows.segment_rows import COLUMNS as SEGMENT_CELLS
from wiredoctor.tables import (
    EVENT_TABLES,
    NEVER,
    NONE,
    OLD_NAMES,
    RULE_TABLES,
    SECOND,
    SMALL,
    TABLES,
    Array,
    Column,
    Table,
)
from wiredoctor.text import durations

PACKAGE = Path(wiredoctor.__file__).parent

TABLE = Table(
    "things",
    "a thing",
    (
        Column("frame", pl.Int64(), "", ""),
        Column("time", pl.Int64(), "", "", nullable=True),
        Column("status", pl.Int32(), "", "", nullable=True),
        Column("port", pl.UInt16(), "", ""),
        Column("high", pl.UInt64(), "", ""),
        Column("name", pl.String(), "", "", nullable=True),
        Column("seen", pl.Boolean(), "", ""),
        Column("times", pl.List(pl.Int64()), "", ""),
    ),
)

ARRAYS: dict[str, Array] = {
    "frame": np.array([1, 2, NEVER], np.int64),  # not nullable: a number like others
    "time": np.array([NEVER, 0, -1], np.int64),
    "status": np.array([200, NONE, 0], np.int32),
    "port": np.array([0, 65_535, 80], np.uint16),
    "high": np.array([0, 2**64 - 1, 2**63], np.uint64),
    "seen": np.array([True, False, True]),
}

LISTS: dict[str, list[Any]] = {
    "name": ["", None, "\u00e4"],
    "times": [[], [1, 2], [NEVER]],
}

EXPECTED: dict[str, list[Any]] = {
    "frame": [1, 2, NEVER],
    "time": [None, 0, -1],
    "status": [200, None, 0],
    "port": [0, 65_535, 80],
    "high": [0, 2**64 - 1, 2**63],
    "name": ["", None, "\u00e4"],
    "seen": [True, False, True],
    "times": [[], [1, 2], [NEVER]],
}


@pytest.mark.parametrize("times", [1, SMALL], ids=["small", "large"])
@pytest.mark.parametrize("listed", [False, True], ids=["arrays", "lists"])
@pytest.mark.parametrize("lazily", [False, True], ids=["frame", "lazy"])
def test_values_and_types(times: int, listed: bool, lazily: bool) -> None:
    arrays = {name: np.tile(array, times) for name, array in ARRAYS.items()}
    columns = {name: array.tolist() if listed else array for name, array in arrays.items()}
    columns |= {name: values * times for name, values in LISTS.items()}
    frame = TABLE.lazy(columns).collect() if lazily else TABLE.frame(columns)
    assert frame.schema == TABLE.schema
    assert frame.to_dict(as_series=False) == {name: values * times for name, values in EXPECTED.items()}


@pytest.mark.parametrize("name", RULE_TABLES)
def test_a_table_without_rows(name: str) -> None:
    table = RULE_TABLES[name]
    empty = table.empty()
    assert empty.height == 0
    assert empty.schema == table.schema
    assert table.frame({c.name: [] for c in table.columns}).schema == table.schema


def test_nobody_else_sees_what_is_done_to_an_empty_table() -> None:
    TABLE.empty().insert_column(0, pl.Series("more", [], pl.Int64))
    assert TABLE.empty().schema == TABLE.schema


@pytest.mark.parametrize("table", [*TABLES.values(), *EVENT_TABLES.values()], ids=lambda table: table.name)
def test_the_writer_of_a_table_exists(table: Table) -> None:
    file, _, path = table.writer.partition(":")
    names: list[ast.stmt] = [*ast.parse((PACKAGE / file).read_text("utf-8")).body] if file else []
    for name in path.split(".") if path else ():
        [found] = [one for one in names if isinstance(one, ast.ClassDef | ast.FunctionDef) and one.name == name]
        names = found.body


def test_event_tables_name_their_writers() -> None:
    assert all(table.writer for table in EVENT_TABLES.values())


def test_renamed_columns_exist_and_their_earlier_names_are_free() -> None:
    for table, names in OLD_NAMES.items():
        present = {*TABLES[table].schema, *RULE_TABLES[table].schema} if table in RULE_TABLES else {*TABLES[table].schema}
        assert set(names) <= present
        assert not set(names.values()) & present, table
        assert len(set(names.values())) == len(names)


def test_every_cell_of_the_core_is_a_column_of_segments() -> None:
    assert len(set(SEGMENT_CELLS)) == len(SEGMENT_CELLS)
    assert set(SEGMENT_CELLS) <= set(TABLES["segments"].schema)


def test_a_second_has_the_same_length_in_modules_that_start_without_polars() -> None:
    assert durations.SECOND == SECOND


def test_a_unit_is_none_of_the_meanings() -> None:
    units = {column.unit for table in (RULE_TABLES | EVENT_TABLES).values() for column in table.columns}
    assert units == {"", "ns", "s", "bytes"}
