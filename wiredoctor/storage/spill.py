"""Store the finished rows of a long capture: in memory while they are few, in temporary files when there are many.

Data frames are written to compressed Arrow files, because most columns of ordinary traffic are null or nearly constant. A
compressed file takes a seventh of the space of an uncompressed one, and is written faster. A `BatchSpill` writes its arrays
uncompressed (see `batches.store`).
"""

from __future__ import annotations

import os
import tempfile
from bisect import bisect_left
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

import polars as pl

from wiredoctor import limits
from wiredoctor.storage.batches import MAX_ROWS, Batch, OfCapture, Part, Renumbered, View, join, store
from wiredoctor.storage.replacement import room_needed
from wiredoctor.tables import MESSAGE_BITS, SMALL, Table

MIN_WRITTEN = 4_096
"""The minimum number of rows in each write to a file, except for the last one.

Smaller data frames are joined before they are written. Larger ones are written one by one, because joining them needs twice the
memory.
"""

LOOSE = 16
"""The number of added data frames after which they are joined with the smaller ones before them.

A live capture adds a few rows at a time. In a data frame of few rows and a hundred columns, a row takes twenty times as much
memory as in a data frame of many rows.
"""


_FEW = 16
"""The number of data frames in memory above which they are joined before they are read: reading takes time for each."""


@dataclass(eq=False, repr=False)
class Folder:
    """A temporary folder that is created on first use and removed with the last reference to this object.

    `inside`: its parent folder, or None for the system's temporary folder.
    """

    inside: str | None = None
    _folder: tempfile.TemporaryDirectory[str] | None = None
    _count: int = 0

    def make(self) -> None:
        """Create the folder now, so processes that are forked later share it."""
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="wiredoctor-", dir=self.inside, ignore_cleanup_errors=True)

    def remove(self) -> None:
        """Remove the folder and its contents, even if this object is still referenced."""
        if self._folder is not None:
            self._folder.cleanup()

    def new_file(self, name: str) -> Path:
        """Return a path for a new file, different in each process."""
        self.make()
        self._count += 1
        return Path(self._folder.name if self._folder else "") / f"{name}-{os.getpid()}-{self._count}.arrow"

    def new_unnamed_file(self) -> tuple[Path, BinaryIO]:
        """Return the folder, and a new open file in it that disappears with this process, however that ends."""
        folder = self.new_file("unnamed").parent
        return folder, cast("BinaryIO", tempfile.TemporaryFile(dir=folder))


@dataclass(eq=False, repr=False)
class Spill:
    """The rows of one table in the order in which they were added."""

    table: Table
    folder: Folder
    rows: int = 0
    files: list[Path] = field(default_factory=list[Path])
    _held: list[pl.DataFrame] = field(default_factory=list[pl.DataFrame])
    _held_rows: int = 0
    _held_bytes: int | float = 0
    _loose: int = 0
    forgotten: int = 0
    """The number of rows that were dropped; `rows` includes them."""
    soon: int = 0
    """If not 0, rows are written as soon as there are MIN_WRITTEN / `soon`. A live capture should take no more memory after an
    hour than after some minutes.
    """

    def add(self, rows: pl.DataFrame | Batch) -> None:
        """Add finished rows. If there are many rows in memory now, write them to a file."""
        if not rows.height:
            return
        frame = rows if isinstance(rows, pl.DataFrame) else View([rows], self.table).all_columns()
        self.rows += frame.height
        self._held.append(frame)
        self._held_rows += frame.height
        self._held_bytes += frame.estimated_size()
        self._loose += 1
        if self._loose >= LOOSE:
            first = next((i for i in range(len(self._held), 0, -1) if self._held[i - 1].height >= MIN_WRITTEN), 0)
            self._held[first:] = [pl.concat(self._held[first:], rechunk=True)] if self._held[first:] else []
            self._loose = 0
        few = MIN_WRITTEN // max(self.soon, 1)
        many = self._held_rows >= (few if self.files or self.soon else limits.ROWS_HELD.value)
        if many or self._held_bytes >= limits.BYTES_HELD.value:
            self.write()

    def write(self) -> None:
        """Write the rows held in memory to a file."""
        held, self._held, self._held_rows, self._held_bytes, self._loose = self._held, [], 0, 0, 0
        run: list[pl.DataFrame] = []
        for i, frame in enumerate(held, start=1):
            run.append(frame)
            if i == len(held) or sum(f.height for f in run) >= MIN_WRITTEN:
                path = self.folder.new_file(self.table.name)
                self._store(path, run[0] if len(run) == 1 else pl.concat(run))
                run.clear()

    def _store(self, path: Path, rows: pl.DataFrame) -> None:
        with room_needed(path.parent.parent):
            rows.write_ipc(path, compression="lz4")
        self.files.append(path)

    def _in_memory(self) -> list[pl.DataFrame]:
        """Return the rows in memory, the oldest first."""
        return self._held

    def newest(self, count: int) -> pl.DataFrame:
        """Return the `count` rows that were added last, or all rows if there are fewer."""
        found: list[pl.DataFrame] = []
        rows = 0
        for part in (*reversed(self._in_memory()), *reversed(self.files)):
            if rows >= count:
                break
            found.append(part if isinstance(part, pl.DataFrame) else pl.read_ipc(part))
            rows += found[-1].height
        return pl.concat(found[::-1]).tail(count) if found else self.table.empty()

    def scan(self) -> pl.LazyFrame:
        """Return all rows as a lazy frame."""
        # one scan reads the files one after the other; joined scans would read all of them at the same time
        parts = [pl.scan_ipc(self.files)] if self.files else []
        parts += [frame.lazy() for frame in self._in_memory()]
        return pl.concat(parts) if parts else self.table.empty().lazy()


@dataclass(eq=False, repr=False)
class BatchSpill(Spill):
    """The rows of one table as written by the core; their columns are computed on demand."""

    renumbered: list[Renumbered] = field(default_factory=list[Renumbered])
    """The rows of those parts of the capture that other processes analyzed."""
    stored: list[Part] = field(default_factory=list[Part])
    _batches: list[Batch] = field(default_factory=list[Batch])
    _whole: pl.DataFrame | None = None
    """All columns of a table with few rows, kept from the first time they were read."""
    _shown: dict[Table, pl.DataFrame] = field(default_factory=dict[Table, pl.DataFrame])
    """The rows in `_whole` as rows of each table requested from `scan_as`. A table is always requested with the same `names`."""

    @property
    def batches(self) -> list[Part]:
        """All rows in the order in which they were added.

        Batches in memory are joined first, because a query takes some time for each batch.
        """
        if len(self._batches) > 1:
            runs: list[list[Batch]] = [[]]
            for batch in self._batches:
                if sum(one.height for one in runs[-1]) + batch.height > MAX_ROWS:
                    runs.append([])
                runs[-1].append(batch)
            self._batches, self._loose = [join(run) for run in runs if run], 0
        return [*self.renumbered, *self.stored, *self._batches]

    def add(self, rows: pl.DataFrame | Batch) -> None:
        """Add finished rows. If the rows in memory take much space now, write them to a file."""
        assert isinstance(rows, Batch)
        if not rows.height:
            return
        self.rows += rows.height
        self._batches.append(rows)
        self._held_bytes += rows.estimated_size()
        self._loose = self._loose + 1 if rows.height < MIN_WRITTEN else 0
        if self._loose >= LOOSE:
            self._batches[-LOOSE:] = [join(self._batches[-LOOSE:])]
            self._loose = 0
        if self._held_bytes >= limits.BYTES_HELD.value:
            self.write()

    def write(self) -> None:
        """Write the rows held in memory to a file."""
        if self._batches:
            path = self.folder.new_file(self.table.name)
            with room_needed(path.parent.parent):
                self.stored.append(store(self._batches, path))
        self._batches, self._held_bytes, self._loose = [], 0, 0

    def scan(self) -> pl.LazyFrame:
        """Return all rows as a lazy frame."""
        return self.scan_as(self.table)

    def scan_as(self, table: Table, names: Mapping[str, str] | None = None) -> pl.LazyFrame:
        """Return all rows as rows of the table `table`.

        `names`: for each column of `table`, the name of the stored column; None if the names are equal.
        """
        return self._small_table(table, names).lazy() if self.rows <= SMALL else View(self.batches, table, names).scan()

    def forget_columns(self) -> None:
        """Free the columns that were created and cached."""
        self._whole = None
        self._shown.clear()

    def _small_table(self, table: Table, names: Mapping[str, str] | None) -> pl.DataFrame:
        """Return all rows, which are few, as rows of the table `table`. `names` is as in `scan_as`.

        The columns are computed only once, because a hundred columns take milliseconds and are read a dozen times.
        """
        if self._whole is None or self._whole.height != self.rows:
            self._whole = View(self.batches, self.table).all_columns()
            self._shown.clear()
        if table not in self._shown:
            shown = View([], table, names).names
            self._shown[table] = self._whole[[*shown.values()]]
            self._shown[table].columns = [*shown]
        return self._shown[table]


@dataclass(eq=False, repr=False)
class SpillOfCaptures(BatchSpill):
    """The rows of one table in all captures read so far, with the column `capture`."""

    _loaded: tuple[Part, Batch] | None = None
    """The newest loaded part, as stored and as loaded. It is kept because the next slice usually begins in the same part."""

    def take(self, capture: str, rows: Spill) -> SpillOfCaptures:
        """Add the rows of a capture, and free the columns that were created for its rules. Return this object.

        The columns of the newest batch are kept, because the report reads them if no capture follows.
        """
        assert isinstance(rows, BatchSpill)
        for batch in self._batches[-1:]:
            batch.forget_columns()
        for part in rows.batches:
            if isinstance(part, Batch):
                part.set_capture(capture)
                self.add(part)
            else:
                self.write()  # keeps the rows in their order
                self.stored.append(OfCapture(part, capture, part.height))
                self.rows += part.height
        rows.forget_columns()
        return self

    def slice(self, table: Table, first: int, count: int) -> pl.LazyFrame:
        """Return `count` rows, beginning with row `first`, as rows of the table `table`."""
        if not first and count >= self.rows:
            return self.scan_as(table)
        if self.rows <= SMALL:
            return self.scan_as(table).slice(first, count)
        return View(self.batches, table).slice(first, count, self._load).scan()

    def _load(self, part: Part) -> Batch:
        if self._loaded is None or self._loaded[0] is not part:
            self._loaded = part, part.load()
        return self._loaded[1]


@dataclass(eq=False, repr=False)
class SpillWindow(Spill):
    """The newer rows of a growing capture; older rows are dropped. At least the newest MIN_WRITTEN / `soon` are in memory.

    `ended`: the column with the time (ns) at which the events of a row were over; rows are added roughly in its order. `tally`
    counts the dropped rows: its column `rows` has the number of rows for each combination of values of the expressions `kinds`.
    """

    ended: str = field(kw_only=True)
    kinds: tuple[pl.Expr, ...] = field(kw_only=True)
    tally: pl.DataFrame | None = None
    names: dict[int, str] = field(default_factory=dict[int, str])
    """The address and port of each endpoint in `tally`, by hash; at most limits.TALLIED."""
    _stored: dict[Path, _Stored] = field(default_factory=dict[Path, "_Stored"])
    _needed: list[pl.DataFrame] = field(default_factory=list[pl.DataFrame])
    _kept: dict[Path, int] = field(default_factory=dict[Path, int])
    """The files with needed rows only, and how many rows each of them has."""
    _block: pl.DataFrame | None = None
    """The rows that are written next."""

    def write(self) -> None:
        """Write the rows before the newest to a file. The newest remain in memory, because nearly every search reads them."""
        written, self._block = self._block, pl.concat(self._held, rechunk=True)
        self._held, self._held_rows, self._held_bytes, self._loose = [], 0, 0, 0
        if written is not None:
            self._store(self.folder.new_file(self.table.name), written)

    def _in_memory(self) -> list[pl.DataFrame]:
        return self._held if self._block is None else [self._block, *self._held]

    def _store(self, path: Path, rows: pl.DataFrame) -> None:
        super()._store(path, rows)
        ids = rows["connection"]
        self._stored[path] = _Stored(rows.height, _number(rows[self.ended].max()), _number(ids.min()), _number(ids.max()))

    def forget(self, most: int, needed: Collection[int]) -> None:
        """Drop the oldest files as long as at least `most` newer rows remain. Keep rows of the connections in `needed` (ids), but
        not more than limits.FOUND_ROWS.
        """
        newer = sum(rows.height for rows in self._in_memory()) + sum(part.rows for part in self._stored.values())
        ids = pl.Series(list(needed), dtype=pl.Int64).implode() if newer > most else pl.Series([], dtype=pl.Int64)
        for path, part in list(self._stored.items()):
            newer -= part.rows
            if newer < most:
                break
            wanted = pl.col("connection").is_in(ids)
            left = pl.scan_ipc(path).filter(wanted).collect()
            self._count(pl.scan_ipc(path).filter(~wanted))
            self.forgotten += part.rows - left.height
            self._needed += [left] if left.height else []
            del self._stored[path]
            self._remove(path)
        if sum(rows.height for rows in self._needed) >= MIN_WRITTEN:
            path, rows = self.folder.new_file(self.table.name), pl.concat(self._needed)
            super()._store(path, rows)
            self._kept[path] = rows.height
            self._needed.clear()
        elif len(self._needed) > _FEW:
            self._needed = [pl.concat(self._needed, rechunk=True)]
        while sum(self._kept.values()) > limits.FOUND_ROWS.value:
            path = next(iter(self._kept))
            self._count(pl.scan_ipc(path))
            self.forgotten += self._kept.pop(path)
            self._remove(path)

    def _remove(self, path: Path) -> None:
        self.files.remove(path)
        path.unlink(missing_ok=True)

    def _count(self, rows: pl.LazyFrame) -> None:
        """Add rows that are dropped to `tally`. If it has too many combinations, the rarest count for no endpoint."""
        alike = rows.select(*self.kinds, pl.lit(1, pl.Int64).alias("rows"))
        if self.tally is not None:
            alike = pl.concat([self.tally.lazy(), alike])
        whole = alike.group_by(pl.exclude("rows")).agg(pl.col("rows").sum()).collect()
        if whole.height > limits.TALLIED.value and "endpoint" in whole.columns:
            whole = whole.sort("rows", descending=True)
            named, rest = whole.head(limits.TALLIED.value // 2), whole.tail(-(limits.TALLIED.value // 2))
            rest = rest.with_columns(pl.lit(None, rest.schema["endpoint"]).alias("endpoint"))
            whole = pl.concat([named, rest]).group_by(pl.exclude("rows")).agg(pl.col("rows").sum())
        self.tally = whole

    def scan(self) -> pl.LazyFrame:
        """Return all rows that have not been dropped, as a lazy frame."""
        return pl.concat([*(rows.lazy() for rows in self._needed), super().scan()])

    def scan_newest(self, most: int) -> pl.LazyFrame:
        """Return the rows that were added last, at least `most` of them, as a lazy frame."""
        newest = self._in_memory()
        paths, count = list[Path](), sum(rows.height for rows in newest)
        for path, part in reversed(self._stored.items()):
            if count >= most:
                break
            paths.append(path)
            count += part.rows
        stored = [pl.scan_ipc(paths[::-1])] if paths else []
        return pl.concat([*stored, self.table.empty().lazy(), *(rows.lazy() for rows in newest)])

    def since(
        self, time: int, most: int, connections: Collection[int] = (), columns: Sequence[str] | None = None
    ) -> NewRows:  # fmt: skip
        """Return the rows that were over at `time` (ns) or later, and older rows of `connections` (ids) stored beside them.

        Only the newest parts with at least `most` rows are read. `columns`: the columns to return; None for all.
        """
        return self._read(pl.col(self.ended) >= time, time, most, connections, columns)

    def newest_of(self, connections: Collection[int], most: int, columns: Sequence[str] | None = None) -> pl.DataFrame:
        """Return the rows of these connections (ids). `most`, `columns`: as in `since`."""
        return self._read(pl.lit(value=False), None, most, connections, columns).rows

    def _read(
        self, is_meant: pl.Expr, time: int | None, most: int, connections: Collection[int], columns: Sequence[str] | None
    ) -> NewRows:  # fmt: skip
        if connections:
            is_meant |= pl.col("connection").is_in(pl.Series([*connections], dtype=pl.Int64).implode())
        names = self.table.empty().columns if columns is None else columns
        read = list(dict.fromkeys((*names, self.ended, "connection")))
        if len(self._held) > _FEW:
            self._held, self._loose = [pl.concat(self._held, rechunk=True)], 0
        newest = [rows[read] for rows in (self.table.empty(), *self._in_memory())]
        found = [pl.concat(newest).lazy().filter(is_meant).select(names).collect()]
        count, begun, ids = sum(rows.height for rows in newest), time or 0, sorted(connections)
        for path, part in reversed(self._stored.items()):
            if time is not None and part.latest < time:
                break
            if count >= most:
                begun = part.latest + 1
                break
            count += part.rows
            if time is not None or part.may_have(ids):
                found.append(pl.scan_ipc(path).filter(is_meant).select(names).collect())
        return NewRows(pl.concat(found[::-1]), begun)


class NewRows(NamedTuple):
    """The newest rows of a table, and the time (ns) since which no row is left out."""

    rows: pl.DataFrame
    begun: int


class _Stored(NamedTuple):
    """A file of a SpillWindow: the number of its rows, the latest time (ns) at which one of them was over, and the lowest and the
    highest id of their connections.
    """

    rows: int
    latest: int
    lowest: int
    highest: int

    def may_have(self, ids: Sequence[int]) -> bool:
        """Return whether one of these connections, in ascending order, may have a row in the file."""
        place = bisect_left(ids, self.lowest)
        return place < len(ids) and ids[place] <= self.highest


def _number(value: object) -> int:
    return value if isinstance(value, int) else 0


def renumber(rows: pl.DataFrame, number: pl.Series) -> pl.DataFrame:
    """Return rows from a part of the capture with the connection ids and message ids of the complete capture.

    `number`: for each connection id in that part, the connection id in the complete capture.
    """
    ids = pl.lit(number)
    fresh = [ids.gather(pl.col("connection")).alias("connection")] if "connection" in rows.columns else []
    for name in ("request_message", "response_message"):
        if name in rows.columns:
            message, low = pl.col(name), 1 << MESSAGE_BITS
            fresh.append((ids.gather(message // low) * low + message % low).alias(name))
    return rows.with_columns(fresh)
