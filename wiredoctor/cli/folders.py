"""Write tables as files in a folder (-o tables/): Parquet or Arrow, one file per table, completely or not at all.

The rows of a table first go to temporary files, and are then written in one pass. Memory therefore holds only about MIN_ROWS rows
of each table.
"""

from __future__ import annotations

import errno
import os
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import BinaryIO, NamedTuple

import polars as pl

from wiredoctor import Report
from wiredoctor.cli.exit_codes import print_message
from wiredoctor.cli.outputs import DIRECT, FileAccess
from wiredoctor.storage.replacement import is_full, room_needed

MIN_ROWS = 65_536
"""The minimum number of rows per temporary file, because batches of some tables have few rows."""


class _Waiting:
    """Collects the rows of a table in temporary files until the table is complete."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder, self._name = folder, name
        self._held: list[pl.DataFrame] = []
        self.files: list[Path] = []

    def add(self, rows: pl.DataFrame) -> None:
        self._held.append(rows)
        if sum(held.height for held in self._held) >= MIN_ROWS:
            self.flush()

    def flush(self) -> None:
        if self._held:
            path = self._folder / f"{self._name}-{len(self.files)}.waiting"
            with room_needed(self._folder.parent):
                pl.concat(self._held).write_ipc(path, compression="lz4")
            self.files.append(path)
            self._held.clear()


class Written(NamedTuple):
    """The names of the tables in the folder, and of the tables that are missing because the packets were not kept."""

    tables: list[str]
    missing: list[str]


def write_tables(report: Report, folder: Path, form: str, access: FileAccess = DIRECT) -> Written:
    """Write a file for each table. `form`: parquet or arrow.

    Earlier files are replaced only when all new ones are complete. Earlier files of tables that this report lacks are removed.
    """
    from tempfile import TemporaryDirectory

    from wiredoctor.report.data import table_folder as exported

    access.make_folder(folder)
    names = exported.written(report)
    # the files move to `folder` when the block ends without an exception
    with TemporaryDirectory(prefix="wiredoctor-", ignore_cleanup_errors=True) as hidden, ExitStack() as files:
        waiting = {name: _Waiting(Path(hidden), name) for name in names}
        for name, rows in exported.portions(report):
            waiting[name].add(rows)
        for name in names:
            waiting[name].flush()
            path = folder / f"{name}.{form}"
            _write(report, name, waiting[name].files, files.enter_context(access.replacing(path)), path)
            for file in waiting[name].files:
                with suppress(PermissionError):  # Windows removes no file that a library has mapped
                    file.unlink()
    missing = [name for name in exported.TABLES if name not in names]
    for name in missing:
        # remove files of an earlier capture, which would look like tables of this one
        access.remove(folder / f"{name}.{form}")
    return Written(names, missing)


def _write(report: Report, name: str, files: list[Path], out: BinaryIO, path: Path) -> None:
    from wiredoctor.report.data import table_folder as exported

    rows = pl.scan_ipc(files) if files else exported.empty(name).lazy()
    try:
        if path.suffix == ".arrow":
            rows.sink_ipc(out, compression="zstd", compat_level=pl.CompatLevel.oldest())
        else:
            rows.sink_parquet(out, compression="zstd", metadata=exported.metadata(name, report))
    except Exception as error:
        if is_full(error):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from None
        raise


def report_missing(written: Written) -> None:
    """Print a line that names the missing tables, if there are any."""
    if written.missing:
        print_message(f"the packets were not kept, so these tables are missing: {', '.join(written.missing)}")
