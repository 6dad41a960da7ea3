"""Tables as files of a folder (-o tables/): Parquet or Arrow, one for each table, whole or not at all.

Rows wait in a temporary folder beside the files, epoch by epoch, and are then written in one go: memory holds some ten thousand.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from wiredoctor.cli.exits import say

if TYPE_CHECKING:
    import polars as pl

    from wiredoctor import Report

HIDDEN = ".wiredoctor-"
"""What the names of temporary folders begin with."""

TOGETHER = 65_536
"""Rows that are at least put into a file that waits; of some tables an epoch brings few."""


class _Waiting:
    """Rows of a table that are not in their file yet."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder, self._name = folder, name
        self._held: list[pl.DataFrame] = []
        self.files: list[Path] = []

    def add(self, rows: pl.DataFrame) -> None:
        self._held.append(rows)
        if sum(held.height for held in self._held) >= TOGETHER:
            self.flush()

    def flush(self) -> None:
        import polars as pl

        if self._held:
            path = self._folder / f"{self._name}-{len(self.files)}.waiting"
            pl.concat(self._held).write_ipc(path, compression="lz4")
            self.files.append(path)
            self._held.clear()


class Written(NamedTuple):
    """Which tables there are in the folder now, and which are not, as the packets were not kept."""

    tables: list[str]
    missing: list[str]


def write_tables(report: Report, folder: Path, form: str) -> Written:
    """Writes a file of `form` (parquet or arrow) for each table; those of before stay until all of them are whole."""
    from tempfile import mkdtemp

    from wiredoctor.report import exported

    folder.mkdir(exist_ok=True)
    hidden = Path(mkdtemp(prefix=HIDDEN, dir=folder))
    try:
        names = exported.written(report)
        waiting = {name: _Waiting(hidden, name) for name in names}
        for name, rows in exported.portions(report):
            waiting[name].add(rows)
        for name in names:
            waiting[name].flush()
            _write(report, name, waiting[name].files, hidden / f"{name}.{form}", form)
            for file in waiting[name].files:
                file.unlink()
        for name in names:
            os.replace(hidden / f"{name}.{form}", folder / f"{name}.{form}")
        missing = [name for name in exported.TABLES if name not in names]
        for name in missing:
            # what is left of another capture would be taken for this one's
            (folder / f"{name}.{form}").unlink(missing_ok=True)
    finally:
        shutil.rmtree(hidden, ignore_errors=True)
    return Written(names, missing)


def _write(report: Report, name: str, files: list[Path], path: Path, form: str) -> None:
    import polars as pl

    from wiredoctor.report import exported

    rows = pl.scan_ipc(files) if files else exported.empty(name).lazy()
    if form == "arrow":
        rows.sink_ipc(path, compression="zstd", compat_level=pl.CompatLevel.oldest())
    else:
        rows.sink_parquet(path, compression="zstd", metadata=exported.metadata(name, report))


def tell(written: Written) -> None:
    """Says what is not there."""
    if written.missing:
        say(f"the packets were not kept: there is no {', '.join(written.missing)}")
