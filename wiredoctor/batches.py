"""Rows that the core wrote, kept as they are: a column is made only when it is read.

The core writes a number into each cell. Rules and reports read few of the hundred columns of a table, so the cells are kept:
those that are the same in all rows once, the others in as few bytes as they need.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import polars as pl
from polars.io.plugins import register_io_source

from wiredoctor.core.rows import Rows
from wiredoctor.tables import MESSAGE_BITS, SMALL, Array, Column, Table

Cells = dict[str, Array]
"""A cell of all rows by name; an array of one where all rows have the same."""


def take_cells(rows: Rows, names: Sequence[str]) -> Cells:
    """Take the rows of a table."""
    count = int(rows.count)
    columns = np.empty((len(names), count), dtype=np.int64)
    first = 0
    for part in rows.take():
        written = np.frombuffer(part, dtype="<i8").reshape(-1, len(names))
        columns[:, first : first + len(written)] = written.T
        first += len(written)
    if not count:
        return dict(zip(names, columns, strict=True))
    lowest, highest = columns.min(axis=1).tolist(), columns.max(axis=1).tolist()
    return {
        name: values[:1].copy() if low == high else values.astype(_smallest(low, high))
        for name, values, low, high in zip(names, columns, lowest, highest, strict=True)
    }


def _smallest(low: int, high: int) -> type[np.signedinteger[Any]]:
    """Return the smallest type that holds both."""
    for dtype in (np.int8, np.int16, np.int32):
        if np.iinfo(dtype).min <= low and high <= np.iinfo(dtype).max:
            return dtype
    return np.int64


def series(values: Array) -> pl.Series:
    """Return an array as a series; of few values without numpy.ma, which Polars loads with the first array that it is handed."""
    return pl.Series(values.tolist() if len(values) <= SMALL else values)


Maker = Callable[["Batch"], "pl.Series | Array"]


class Kind(NamedTuple):
    """How cells become the columns of a table."""

    columns: Mapping[str, Column]
    makers: Mapping[str, Maker]
    """Of columns that are not a cell of the same name."""
    places: Mapping[str, str]
    """Cells that are the number of a row in a part, less one: cell -> part."""

    @classmethod
    def of(cls, table: Table, makers: Mapping[str, Maker], places: Mapping[str, str]) -> Kind:
        """Return the kind of a table, and remember it for rows that are read from a file."""
        kind = KINDS[table.name] = cls({column.name: column for column in table.columns}, makers, places)
        return kind


KINDS: dict[str, Kind] = {}


class Batch:
    """Rows of a table. `texts` are a value per row, `parts` what many rows refer to; the first row of a part stands for none."""

    def __init__(self, kind: str, height: int, cells: Cells, texts: dict[str, pl.Series], parts: dict[str, pl.DataFrame]) -> None:
        self.kind = kind
        self.height = height
        self.cells = cells
        self.texts = texts
        self.parts = parts
        self._made: dict[str, pl.Series] = {}

    def cell(self, name: str) -> Array:
        """Return a cell of all rows."""
        return np.broadcast_to(self.cells[name].astype(np.int64), self.height)

    def column(self, name: str) -> pl.Series:
        """Return a column; sentinels are null."""
        made = self._made.get(name)
        if made is None:
            kind = KINDS[self.kind]
            values = kind.makers[name](self) if name in kind.makers else self.cells[name]
            made = values if isinstance(values, pl.Series) else self._series(kind.columns[name], values)
            made = self._made[name] = made.alias(name)
        return made

    def _series(self, column: Column, values: Array) -> pl.Series:
        sentinel = column.sentinel
        if len(values) == 1:
            value = values.item()
            one = None if value == sentinel else bool(value) if column.dtype == pl.Boolean else value
            return pl.Series([one], dtype=column.dtype, strict=False).new_from_index(0, self.height)
        if column.dtype == pl.Boolean:
            return series(values != 0)
        made = series(values)
        if sentinel is not None and (none := values == sentinel).any():
            made = made.set(series(none), None)
        return made if made.dtype == column.dtype else made.cast(column.dtype, strict=False)

    def gather(self, values: pl.Series, cell: str, first: int = 0) -> pl.Series:
        """Return for each row the value whose number is in a cell, counted from `first`."""
        numbers = self.cells[cell]
        if len(numbers) == 1:
            return values.new_from_index(numbers.item() - first, self.height)
        return values[series(numbers.astype(np.int64) - first).cast(pl.UInt32)]

    def of_part(self, part: str, name: str, cell: str) -> pl.Series:
        """Return for each row the value of the row of a part to which a cell refers."""
        return self.gather(self.parts[part][name], cell, -1)

    def estimated_size(self) -> int:
        """Return how many bytes of memory it takes."""
        series = [*self.texts.values(), *self._made.values()]
        frames = sum(int(part.estimated_size()) for part in self.parts.values())
        return sum(one.nbytes for one in self.cells.values()) + sum(int(one.estimated_size()) for one in series) + frames

    def load(self) -> Batch:
        """Return itself: its rows are in memory."""
        return self

    def slice(self, first: int, height: int) -> Batch:
        """Return some of the rows."""
        cells = {name: values[first : first + height] if len(values) > 1 else values for name, values in self.cells.items()}
        whole = self.texts
        texts = _Unread(lambda: {name: values.slice(first, height) for name, values in _read_all(whole).items()})
        return Batch(self.kind, height, cells, texts, self.parts)

    def store(self, path: Path) -> StoredBatch:
        """Write the rows: cells one column after the other, texts and parts each as Arrow files."""
        places: dict[str, tuple[int, str, int]] = {}
        with path.open("wb") as file:
            for name, values in self.cells.items():
                places[name] = (file.tell(), values.dtype.str, len(values))
                file.write(np.ascontiguousarray(values).data)
                file.write(bytes(-file.tell() % 8))
        pl.DataFrame(self.texts).write_ipc(path.with_suffix(_TEXTS), compression="lz4")
        parts = {name: part.to_struct().implode() for name, part in self.parts.items()}
        pl.DataFrame(parts).write_ipc(path.with_suffix(_PARTS), compression="lz4")
        return StoredBatch(path, self.kind, self.height, places)


_TEXTS, _PARTS = ".texts", ".parts"
Value = TypeVar("Value")


class _Unread(dict[str, Value]):
    """Values by name that are read from a file, all at once, when the first is used."""

    def __init__(self, read: Callable[[], dict[str, Value]]) -> None:
        super().__init__()
        self.read = read

    def __missing__(self, name: str) -> Value:
        self.update(self.read())
        return self[name]


def _read_all(values: dict[str, Value]) -> dict[str, Value]:
    """Return all values; read them first if that is still to be done."""
    return values.read() if isinstance(values, _Unread) else values


class StoredBatch(NamedTuple):
    """Rows in files. `places`: where the values of a cell begin, their type, and how many they are."""

    path: Path
    kind: str
    height: int
    places: dict[str, tuple[int, str, int]]

    def load(self) -> Batch:
        """Return the rows; what is not asked for is not read."""
        mapped = np.memmap(self.path, mode="r")
        cells = {name: np.frombuffer(mapped, dtype, count, at) for name, (at, dtype, count) in self.places.items()}
        return Batch(self.kind, self.height, cells, _Unread(self._texts), _Unread(self._parts))

    def _texts(self) -> dict[str, pl.Series]:
        return pl.read_ipc(self.path.with_suffix(_TEXTS)).to_dict()

    def _parts(self) -> dict[str, pl.DataFrame]:
        parts = pl.read_ipc(self.path.with_suffix(_PARTS)).to_dict()
        return {name: part.explode().struct.unnest() for name, part in parts.items()}


class Renumbered(NamedTuple):
    """Rows of a share of a capture with the ids that connections have in the whole."""

    batch: Part
    ids: pl.Series
    height: int

    def load(self) -> Batch:
        """Return the rows."""
        batch, ids = self.batch.load(), self.ids.to_numpy()
        cells = {**batch.cells, "connection": ids[batch.cells["connection"]]}
        for name in ("request_message", "response_message"):
            if name in cells:
                message = cells[name].astype(np.int64)
                own = ids[np.maximum(message, 0) >> MESSAGE_BITS] << MESSAGE_BITS | message & (1 << MESSAGE_BITS) - 1
                cells[name] = np.where(message < 0, message, own)
        return Batch(batch.kind, self.height, cells, batch.texts, batch.parts)


Part = Batch | StoredBatch | Renumbered


class _Cut(NamedTuple):
    """Some rows of a batch, from `first` on."""

    batch: Part
    first: int
    height: int

    def load(self) -> Batch:
        """Return the rows."""
        return self.batch.load().slice(self.first, self.height)


def join(batches: Sequence[Batch]) -> Batch:
    """Return the rows of batches of one kind together."""
    if len(batches) == 1:
        return batches[0]
    first = batches[0]
    places = KINDS[first.kind].places
    cells: Cells = {}
    for name in first.cells:
        arrays = [batch.cells[name] for batch in batches]
        if (part := places.get(name)) is not None:
            begin = 0
            for number, batch in enumerate(batches):
                numbers = arrays[number].astype(np.int64)
                arrays[number] = np.where(numbers < 0, numbers, numbers + begin)
                begin += batch.parts[part].height - 1
        if any(len(array) != 1 or array[0] != arrays[0][0] for array in arrays):
            sizes = [batch.height for batch in batches]
            cells[name] = np.concatenate([np.broadcast_to(array, size) for array, size in zip(arrays, sizes, strict=True)])
        else:
            cells[name] = arrays[0]
    texts = {name: pl.concat([batch.texts[name] for batch in batches], rechunk=True) for name in first.texts}
    parts = {
        name: pl.concat([part, *(batch.parts[name][1:] for batch in batches[1:])], rechunk=True)
        for name, part in first.parts.items()
    }
    return Batch(first.kind, sum(batch.height for batch in batches), cells, texts, parts)


class View:
    """Rows of batches as rows of a table, with the methods of a data frame that rules use. `names`: column of the table ->
    column of the batches."""

    def __init__(self, batches: Sequence[Part | _Cut], table: Table, names: Mapping[str, str] | None = None) -> None:
        self.batches = batches
        self.table = table
        self.names: Mapping[str, str] = {column.name: column.name for column in table.columns} if names is None else names
        self.height = sum(batch.height for batch in batches)

    def select(self, names: Sequence[str]) -> pl.DataFrame:
        """Return some columns."""
        return pl.concat([self._of_batch(batch, names) for batch in self.batches])

    def whole(self) -> pl.DataFrame:
        """Return all columns."""
        return self.select([*self.names]).rechunk() if self.height else self.table.empty()

    def slice(self, first: int, height: int) -> View:
        """Return some rows, of which alone columns are made."""
        cut: list[_Cut] = []
        begin = 0
        for batch in self.batches:
            low, high = max(first - begin, 0), min(first + height - begin, batch.height)
            if low < high:
                whole, before = (batch.batch, batch.first) if isinstance(batch, _Cut) else (batch, 0)
                cut.append(_Cut(whole, before + low, high - low))
            begin += batch.height
        return View(cut, self.table, self.names)

    def _of_batch(self, batch: Part | _Cut, names: Sequence[str]) -> pl.DataFrame:
        return self._columns(batch.load(), names)

    def _columns(self, loaded: Batch, names: Sequence[str]) -> pl.DataFrame:
        return pl.DataFrame([loaded.column(self.names[name]).alias(name) for name in names])

    def _kept(self, loaded: Batch, names: Sequence[str], predicate: pl.Expr) -> pl.DataFrame:
        """Return the rows of which the predicate is true: where it is of none, no other columns are made."""
        asked = [*dict.fromkeys(predicate.meta.root_names())]
        tested = self._columns(loaded, asked)
        kept = tested.select(predicate).to_series()
        if not kept.any():
            return self.table.empty().select(names)
        rest = self._columns(loaded, [name for name in names if name not in asked])
        return pl.DataFrame([*tested, *rest]).select(names).filter(kept)

    def lazy(self) -> pl.LazyFrame:
        """Return all columns, of which only those are made that are asked for."""
        everything = [*self.names]

        def read(
            columns: list[str] | None, predicate: pl.Expr | None, rows: int | None, _size: int | None
        ) -> Iterator[pl.DataFrame]:
            left = self.height if rows is None else rows
            names = columns or (everything if columns is None else everything[:1])
            for batch in self.batches:
                if left <= 0:
                    break
                loaded = batch.load()
                if loaded.height > left:
                    loaded = loaded.slice(0, left)
                left -= loaded.height
                yield self._columns(loaded, names) if predicate is None else self._kept(loaded, names, predicate)

        return register_io_source(read, schema=self.table.schema, is_pure=True)
