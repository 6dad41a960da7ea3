"""Convert the core's rows about packets and segments to data frames with the columns of wiredoctor.tables."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from wiredoctor.core.rows.cells import Rows
from wiredoctor.core.rows.recorder import RECORDS, PacketRecorder
from wiredoctor.core.rows.segment_rows import PIECES, SegmentRecorder
from wiredoctor.tables import Array, Table

SEGMENTS_AT_ONCE = 32_768
"""The number of packets whose rows are collected before they are converted to a data frame.

Before the conversion, a row of `segments` takes 800 bytes of memory.
"""


def take_packet_tables(recorder: PacketRecorder, tables: dict[str, Table]) -> dict[str, pl.DataFrame]:
    """Take the rows of `records` and `packets` from the core, and return them as data frames with the columns of `tables`."""
    taken: dict[str, pl.DataFrame] = {}
    if recorder.records is not None:
        taken["records"] = _frame(tables["records"], recorder.records, RECORDS)
    if recorder.packets is not None:
        taken["packets"] = _frame(tables["packets"], recorder.packets, recorder.names)
    return taken


def take_segment_tables(recorder: SegmentRecorder, tables: dict[str, Table]) -> dict[str, pl.DataFrame]:
    """Take the rows of `segments` and `pieces` from the core, and return them as data frames with the columns of `tables`."""
    taken: dict[str, pl.DataFrame] = {}
    if recorder.rows is not None:
        taken["segments"] = _frame(tables["segments"], recorder.rows, recorder.names)
    if recorder.pieces is not None:
        taken["pieces"] = _frame(tables["pieces"], recorder.pieces, PIECES)
    return taken


def _frame(table: Table, rows: Rows, names: Sequence[str]) -> pl.DataFrame:
    """Take the rows of a table from the core, and return them as a data frame, in which the sentinels are null.

    `names`: the names of the values in each row.
    """
    if not rows.count:
        return table.empty()
    cells = np.frombuffer(b"".join(rows.take()), dtype="<i8").reshape(-1, rows.width)
    places = {name: place for place, name in enumerate(names)}
    series: list[pl.Series] = []
    nulls: list[pl.Expr] = []
    for column in table.columns:
        if column.name == "options_hash":
            values = _hash_options(cells[:, places["options_size"] :])
        else:
            values = np.ascontiguousarray(cells[:, places[column.name]])
        one = pl.Series(column.name, values.view(np.uint64) if column.dtype == pl.UInt64() else values)
        sentinel = column.sentinel
        value = pl.col(column.name)
        if sentinel is not None and one.len() and (one == sentinel).any():
            value = pl.when(value != sentinel).then(value)
        if one.dtype != column.dtype:
            value = value != 0 if column.dtype == pl.Boolean else value.cast(column.dtype, strict=False)
        series.append(one)
        nulls.append(value.alias(column.name))
    return pl.DataFrame(series).select(nulls)


def _hash_options(cells: Array) -> Array:
    """Return a hash of each packet's TCP options. A row of `cells` has the number of option bytes, and the bytes in 5 words."""
    size, words = cells[:, 0], cells.view(np.uint64)
    state = words[:, 0]
    for number in range(5):
        # words after the first two are only hashed if the options are that long
        state = np.where((number < 2) | (size > 16), _mix(state, words[:, 1 + number]), state)
    return np.where(size > 0, np.maximum(state, np.uint64(1)), np.uint64(0))


def _mix(state: Array, word: Array) -> Array:
    """Return the result of core.hashes.mix for each element of two arrays."""
    x = (state ^ word) + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
