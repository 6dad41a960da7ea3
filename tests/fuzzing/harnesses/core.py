"""Any bytes as a capture file through the core alone, without rules and reports."""

from __future__ import annotations

import zlib

import polars as pl

from tests.fuzzing.guard import must
from wiredoctor.capture import CaptureError
from wiredoctor.core.capture.file_formats import open_records
from wiredoctor.core.capture.records import LATEST, Source
from wiredoctor.core.cutoffs import Cutoffs
from wiredoctor.core.loop import Core
from wiredoctor.engine.row_tables import take_tables
from wiredoctor.limits import LimitsReached
from wiredoctor.storage.batches import View
from wiredoctor.tables import STORED_EXCHANGES

AT_ONCE = 1 << 20
"""Records; more than a mutant has."""


class Memory(Source):
    """The bytes of a file."""

    def __init__(self, content: bytes) -> None:
        super().__init__(-1, 0)
        self.content = content

    def read(self, offset: int, size: int) -> bytes:
        return self.content[offset : offset + size]


def run(data: bytes) -> None:
    """Read the bytes as a capture; of some also compare the tables that come of them with those of other steps."""
    choice = zlib.crc32(data)
    try:
        core = analyze(data, AT_ONCE)
    except CaptureError as error:
        must(str(error).isprintable(), "a file that cannot be read is reported in a line", str(error))
        return
    must(core.http.exchanges.rows.count == core.http.closes.rows.count, "each exchange is followed by something")
    must(core.records.times.earliest >= -LATEST, "times fit", core.records.times.earliest)
    if choice % 16 == 0:
        tables = whole_tables(core)
        others = whole_tables(analyze(data, (1, 2, 7, 50)[choice // 16 % 4]))
        for name, table in tables.items():
            must(same_rows(table, others[name]), "tables do not depend on steps", name)


def analyze(data: bytes, step: int) -> Core:
    """Return the core after these bytes, of which so many records were read at a time."""
    records = open_records(Memory(data), "x")
    core = Core(records, Cutoffs(), LimitsReached(), True, True)
    while core.run(step):
        pass
    records.end()
    core.finish(core.flows.open_connections(), records.times.latest)
    return core


def whole_tables(core: Core) -> dict[str, pl.DataFrame]:
    """Return all that the core has written."""
    tables, exchanges, _ = take_tables(core)
    whole = {name: rows if isinstance(rows, pl.DataFrame) else rows.all_columns() for name, rows in tables.items()}
    return {**whole, "stored": View([exchanges], STORED_EXCHANGES).all_columns()}


def same_rows(one: pl.DataFrame, other: pl.DataFrame) -> bool:
    """Return whether two tables have the same rows in the same order."""
    objects = [name for name, kind in one.schema.items() if kind == pl.Object]
    return one.drop(objects).equals(other.drop(objects))
