"""Finished rows of a long capture: kept in memory while they are few, in temporary Arrow files when they are many."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from wiredoctor.tables import MESSAGE_BITS, Table

HELD = 40_000
"""Rows of a table that wait in memory before they are written: about 20 MB of the widest table."""


@dataclass
class Folder:
    """A temporary folder that exists once it is asked for, and goes when nobody holds it any more."""

    _folder: tempfile.TemporaryDirectory[str] | None = None
    _count: int = 0

    def make(self) -> None:
        """Makes the folder now, so that processes that are forked after this share it."""
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="wiredoctor-", ignore_cleanup_errors=True)

    def remove(self) -> None:
        """Removes the folder and what is in it, whoever may still hold it."""
        if self._folder is not None:
            self._folder.cleanup()

    def new_file(self, name: str) -> Path:
        """A path for a new file, its own in each process."""
        self.make()
        self._count += 1
        return Path(self._folder.name if self._folder else "") / f"{name}-{os.getpid()}-{self._count}.arrow"


@dataclass
class Spill:
    """The rows of one table, in the order in which they were added."""

    table: Table
    folder: Folder
    rows: int = 0
    files: list[Path] = field(default_factory=list[Path])
    _held: list[pl.DataFrame] = field(default_factory=list[pl.DataFrame])
    _held_rows: int = 0

    def add(self, frame: pl.DataFrame) -> None:
        """Adds finished rows."""
        if not frame.height:
            return
        self.rows += frame.height
        self._held.append(frame)
        self._held_rows += frame.height
        if self._held_rows >= HELD:
            self.write()

    def write(self) -> None:
        """Writes what waits in memory."""
        if self._held:
            path = self.folder.new_file(self.table.name)
            pl.concat(self._held).write_ipc(path)
            self.files.append(path)
            self._held, self._held_rows = [], 0

    def scan(self) -> pl.LazyFrame:
        """All rows, read when they are needed."""
        parts = [pl.scan_ipc(path) for path in self.files]
        parts += [frame.lazy() for frame in self._held]
        return pl.concat(parts) if parts else self.table.empty().lazy()


@dataclass
class Joined:
    """Rows of several shares, read when they are needed; takes the place of a Spill."""

    parts: list[pl.LazyFrame]
    rows: int

    def scan(self) -> pl.LazyFrame:
        """All rows."""
        return pl.concat(self.parts)


def renumbered(rows: pl.LazyFrame, number: pl.Series, names: list[str]) -> pl.LazyFrame:
    """Rows of a share with the ids of the whole capture, in the column `connection` and in the ids of messages."""
    ids = pl.lit(number)
    fresh = [ids.gather(pl.col("connection")).alias("connection")] if "connection" in names else []
    for name in ("request_message", "response_message"):
        if name in names:
            message, low = pl.col(name), 1 << MESSAGE_BITS
            fresh.append((ids.gather(message // low) * low + message % low).alias(name))
    return rows.with_columns(fresh)
