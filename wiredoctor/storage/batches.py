"""Store the rows of a table as the arrays that the core has written, and create columns only when they are read.

Such an array is called a cell: it has one number per row, and columns are computed from cells. Rules and reports read only some
of the hundred columns of a table, so columns are not stored. If all numbers of a cell are equal, the number is stored once. Other
cells are stored in as few bytes as their numbers need.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import polars as pl
from polars.io.plugins import register_io_source

from wiredoctor.core.rows.cells import Rows
from wiredoctor.tables import MESSAGE_BITS, SMALL, Array, Column, Table

Cells = dict[str, Array]
"""The arrays of a table by cell name. An array has one number per row, or a single number if it is the same for all rows."""


def take_cells(rows: Rows, names: Sequence[str]) -> Cells:
    """Take the rows of a table out of `rows`, and return their cells by name."""
    return to_cells(rows.take(), names)


def to_cells(written: Sequence[bytes], names: Sequence[str]) -> Cells:
    """Return the cells of rows that the core has written. `names`: the names of the values in each row."""
    parts = [np.frombuffer(part, dtype="<i8").reshape(-1, len(names)) for part in written if part]
    count = sum(map(len, parts))
    if not count:
        return {name: np.empty(0, np.int64) for name in names}
    lowest = np.min([part.min(axis=0) for part in parts], axis=0).tolist()
    highest = np.max([part.max(axis=0) for part in parts], axis=0).tolist()
    cells: Cells = {}
    varying: list[tuple[int, Array]] = []
    for i, (name, low, high) in enumerate(zip(names, lowest, highest, strict=True)):
        if low == high:
            cells[name] = np.array([low], np.int64)
        else:
            cells[name] = np.empty(count, _smallest(low, high))
            varying.append((i, cells[name]))
    first = 0
    for part in parts:  # one part fits in the processor's cache, the same column of all parts does not
        for i, values in varying:
            values[first : first + len(part)] = part[:, i]
        first += len(part)
    return cells


def _smallest(low: int, high: int) -> type[np.signedinteger[Any]]:
    """Return the smallest integer type that can hold both values."""
    for dtype in (np.int8, np.int16, np.int32):
        if np.iinfo(dtype).min <= low and high <= np.iinfo(dtype).max:
            return dtype
    return np.int64


def series(values: Array) -> pl.Series:
    """Convert an array to a series without importing numpy.ma.

    pl.Series would import it for the first array, which takes 5 ms.
    """
    make = _CONSTRUCTORS.get(values.dtype)
    return pl.Series(values) if make is None else _SERIES._from_pyseries(make("", np.ascontiguousarray(values), True))


def _find_constructors() -> dict[np.dtype[Any], Callable[[str, Array, bool], Any]]:
    """Return the functions with which pl.Series converts arrays, by array type.

    They are not public, so another version of Polars may lack them.
    """
    native: Any = getattr(pl.Series(), "_s", None)
    names = {np.bool_: "bool", np.int8: "i8", np.int16: "i16", np.int32: "i32", np.int64: "i64", np.uint32: "u32"}
    found = {np.dtype(kind): getattr(native, f"new_{name}", None) for kind, name in names.items()}
    return {kind: make for kind, make in found.items() if make is not None and hasattr(pl.Series, "_from_pyseries")}


_SERIES: Any = pl.Series
_CONSTRUCTORS = _find_constructors()


@lru_cache(maxsize=1024)
def _one_value(dtype: pl.DataType, value: int | None) -> pl.Series:
    """Return a series of one value; it is cached, because the same few values fill hundreds of columns of a small capture."""
    return pl.Series([value], dtype=dtype, strict=False)


Maker = Callable[["Batch"], "pl.Series | Array"]


class Texts(NamedTuple):
    """A column of texts, each of which is determined by the numbers in a few cells.

    `cells`: the names of these cells. `make`: a function that returns the text for their numbers. `spare`: those of these cells
    from which nothing else is computed.
    """

    cells: tuple[str, ...]
    make: Callable[..., str]
    spare: tuple[str, ...]


class Kind(NamedTuple):
    """A kind of table: its columns, and how they are computed from the arrays (cells) that the core writes."""

    columns: Mapping[str, Column]
    makers: Mapping[str, Maker]
    """The functions that compute columns, by column name. A column without a function equals the cell of the same name."""
    places: Mapping[str, str]
    """For each cell that refers to the rows of another data frame (in Batch.parts), the name of that data frame.

    The numbers in such a cell begin at -1, which refers to the first row of the data frame and means "no value".
    """
    texts: Mapping[str, Texts]
    """The columns that `with_texts` replaces, by column name."""

    @classmethod
    def of(
        cls, table: Table, makers: Mapping[str, Maker], places: Mapping[str, str], texts: Mapping[str, Texts] | None = None,
        others: Mapping[str, Maker] | None = None,
    ) -> None:  # fmt: skip
        """Create the Kind of a table, and register it in KINDS.

        `others`: the functions that compute columns of batches from `with_texts`, if these functions are different.
        """
        of_capture: Maker = partial(Batch.of_part, part="captures", name="capture", cell="capture")
        columns = {column.name: column for column in table.columns}
        makers, places = {**makers, "capture": of_capture}, {**places, "capture": "captures"}
        KINDS[table.name] = cls(columns, makers, places, texts or {})
        if texts:
            of_texts: dict[str, Maker] = {name: partial(Batch.of_part, part=name, name=name, cell=name) for name in texts}
            places = places | {name: name for name in texts}
            KINDS[table.name + _WITH_TEXTS] = cls(columns, makers | of_texts | dict(others or {}), places, {})


KINDS: dict[str, Kind] = {}
_WITH_TEXTS = " with texts"
"""The end of the name of a kind whose batches were returned by `with_texts`."""


class Batch:
    """Rows of one table, stored as cells: for each name, an array with one number per row, or a single number for all rows.

    `kind`: the name of the table. `texts`: columns that are not numbers, with one value per row. `parts`: data frames with
    values that several rows share; the first row of each means "no value".
    """

    def __init__(self, kind: str, height: int, cells: Cells, texts: dict[str, pl.Series], parts: dict[str, pl.DataFrame]) -> None:
        self.kind = kind
        self.height = height
        self.cells = cells
        self.texts = texts
        self.parts = parts
        self._places: dict[str, pl.Series] = {}
        """For each cell that refers to rows of `parts`, by name: the indexes of those rows.

        They are cached, because many columns use the same cell.
        """
        self._gathered: dict[str, pl.DataFrame] = {}
        """For each of these cells, the rows, if the batch has few rows."""
        self._made: dict[str, pl.Series] = {}
        """The columns created so far. They are kept only if the batch has few rows: creating them then takes most of the time."""

    def cell(self, name: str) -> Array:
        """Return the numbers that the core wrote into the cell `name`, one for each row."""
        return np.broadcast_to(self.cells[name].astype(np.int64, copy=False), self.height)

    def column(self, name: str) -> pl.Series:
        """Return a column, with null in place of the values that mean "unknown".

        The column is cached only if the batch has few rows, because columns take more memory than cells.
        """
        if (made := self._made.get(name)) is not None:
            return made
        kind = KINDS[self.kind]
        values = kind.makers[name](self) if name in kind.makers else self.cells[name]
        made = values if isinstance(values, pl.Series) else self._series(kind.columns[name], values)
        if self.height <= SMALL:
            self._made[name] = made
        return made

    def _series(self, column: Column, values: Array) -> pl.Series:
        sentinel = column.sentinel
        if len(values) == 1:
            value = values.item()
            one = None if value == sentinel else bool(value) if column.dtype == pl.Boolean else value
            return _one_value(column.dtype, one).new_from_index(0, self.height)
        if column.dtype == pl.Boolean:
            return series(values != 0)
        made = series(values)
        if made.dtype != column.dtype:
            made = made.cast(column.dtype, strict=False)
        if sentinel is not None and np.count_nonzero(known := values != sentinel) < len(values):
            made = made.zip_with(series(known), _one_value(column.dtype, None))
        return made

    def gather(self, values: pl.Series, cell: str) -> pl.Series:
        """Return, for each row, the element of `values` whose index is in the cell `cell`."""
        numbers = self.cells[cell]
        if len(numbers) == 1:
            return values.new_from_index(numbers.item(), self.height)
        return values[series(numbers.astype(np.uint32))]

    def of_part(self, part: str, name: str, cell: str) -> pl.Series:
        """Look up column `name` of the data frame `part`. Return one value per row of this batch.

        `cell` contains the numbers of the rows to look up. They begin at -1, which refers to the first row of the data frame and
        means "no value".
        """
        if self.height > SMALL:
            return self.of_rows(self.parts[part][name], cell)
        if cell not in self._gathered:  # one call for all columns takes less time than one for each
            places = series(np.broadcast_to(self.cells[cell], self.height).astype(np.uint32) + np.uint32(1))
            self._gathered[cell] = self.parts[part][places]
        return self._gathered[cell].get_column(name)

    def of_rows(self, values: pl.Series, cell: str) -> pl.Series:
        """Return one of `values` for each row of this batch.

        `cell`: the name of the cell that says which value each row gets; -1 stands for the first value, 0 for the second (see
        `of_part`).
        """
        numbers = self.cells[cell]
        if len(numbers) == 1:
            return values.new_from_index(numbers.item() + 1, self.height)
        if cell not in self._places:
            self._places[cell] = series(numbers.astype(np.uint32) + np.uint32(1))  # -1 + 1 wraps around to 0
        return values[self._places[cell]]

    def set_capture(self, name: str) -> None:
        """Give all rows the name of their capture, in the column `capture`."""
        self.cells["capture"] = _FIRST
        self.parts["captures"] = pl.DataFrame([pl.Series("capture", ["", name])])

    def forget_columns(self) -> None:
        """Free the columns that were created and cached."""
        self._places.clear()
        self._gathered.clear()
        self._made.clear()

    def estimated_size(self) -> int:
        """Return the memory that the batch takes, in bytes."""
        texts = sum(int(text.estimated_size()) for text in self.texts.values())
        frames = sum(int(part.estimated_size()) for part in self.parts.values())
        return sum(one.nbytes for one in self.cells.values()) + texts + frames

    def load(self) -> Batch:
        """Return the batch itself, because its rows are in memory."""
        return self

    def slice(self, first: int, height: int) -> Batch:
        """Return `height` rows, starting with row `first`."""
        cells = _Unread(lambda name: values[first : first + height] if len(values := self.cells[name]) > 1 else values)
        texts = _Unread(lambda name: self.texts[name].slice(first, height))
        return Batch(self.kind, height, cells, texts, self.parts)

    def pick(self, rows: pl.Series) -> Batch:
        """Return the rows with the indexes in `rows`."""
        places = rows.to_numpy()
        cells = _Unread(lambda name: values[places] if len(values := self.cells[name]) > 1 else values)
        texts = _Unread(lambda name: self.texts[name].gather(rows))
        return Batch(self.kind, len(rows), cells, texts, self.parts)


_FIRST = np.zeros(1, np.int64)
_TEXTS, _PARTS = ".texts", ".parts"
Value = TypeVar("Value")


class _Unread(dict[str, Value]):
    """A dictionary that reads each value when it is first requested."""

    def __init__(self, read: Callable[[str], Value]) -> None:
        super().__init__()
        self.read = read

    def __missing__(self, name: str) -> Value:
        self[name] = value = self.read(name)
        return value


class StoredBatch(NamedTuple):
    """The rows of one table, stored in files.

    `places`: for each cell, the byte offset of its values in the file, their type, and their number.
    """

    path: Path
    kind: str
    height: int
    places: dict[str, tuple[int, str, int]]

    def load(self) -> Batch:
        """Return the rows as a Batch whose values are read on demand."""
        mapped = np.memmap(self.path, mode="r")

        def cell(name: str) -> Array:
            at, dtype, count = self.places[name]
            return np.frombuffer(mapped, dtype, count, at)

        return Batch(self.kind, self.height, _Unread(cell), _Unread(self._text), _Unread(self._part))

    def _text(self, name: str) -> pl.Series:
        return pl.read_ipc(self.path.with_suffix(_TEXTS), columns=[name])[name]

    def _part(self, name: str) -> pl.DataFrame:
        return pl.read_ipc(self.path.with_suffix(_PARTS), columns=[name])[name].explode().struct.unnest()


class Renumbered(NamedTuple):
    """Rows from one part of a capture, with the connection ids and message ids of the complete capture.

    `ids`: for each connection id in the part, the connection id in the complete capture.
    """

    batch: Part
    ids: pl.Series
    height: int

    def load(self) -> Batch:
        """Return the rows as a Batch."""
        batch, ids = self.batch.load(), self.ids.to_numpy()

        def cell(name: str) -> Array:
            values = batch.cells[name]
            if name == "connection":
                return ids[values]
            if name not in ("request_message", "response_message"):
                return values
            message = values.astype(np.int64)
            own = ids[np.maximum(message, 0) >> MESSAGE_BITS] << MESSAGE_BITS | message & (1 << MESSAGE_BITS) - 1
            return np.where(message < 0, message, own)

        return Batch(batch.kind, self.height, _Unread(cell), batch.texts, batch.parts)


class OfCapture(NamedTuple):
    """Rows with the name of their capture in the column `capture`."""

    batch: Part
    capture: str
    height: int

    def load(self) -> Batch:
        """Return the rows as a Batch."""
        loaded = self.batch.load()
        loaded.set_capture(self.capture)
        return loaded


_KEPT = "is this row kept?"
"""The name of a temporary column that says whether a row passes a filter; no column of a table has this name."""

MAX_ROWS = 1 << 15
"""The maximum number of rows that a query gets at once; larger blocks of rows need more memory and save no time."""

FEW_OF = 4
"""If a filter keeps fewer than 1/FEW_OF of the rows, the columns that it does not need are created for these rows only."""

Part = Batch | StoredBatch | Renumbered | OfCapture


class _BatchSlice(NamedTuple):
    """`height` rows of a batch, starting with row `first`."""

    batch: Part
    first: int
    height: int

    def load(self) -> Batch:
        """Return these rows as a Batch."""
        return self.batch.load().slice(self.first, self.height)


def with_texts(batch: Batch) -> Batch:
    """Return the batch with a data frame of distinct texts in place of the cells from which the column of texts is made.

    A column is created faster from such a data frame, and each of the texts takes memory only once.
    """
    kind = KINDS[batch.kind]
    if not kind.texts:
        return batch
    cells, parts = {**batch.cells}, {**batch.parts}
    for name, (needed, make, _) in kind.texts.items():
        if batch.cells.keys() >= {*needed}:
            texts, numbers = make_texts(batch, needed, make)
            parts[name] = pl.DataFrame([pl.Series(name, ["", *texts], dtype=pl.String)])
            cells[name] = numbers.astype(_smallest(0, len(texts)))
    for spare in {spare for texts in kind.texts.values() for spare in texts.spare} - kind.texts.keys():
        cells.pop(spare, None)
    return Batch(batch.kind + _WITH_TEXTS, batch.height, cells, batch.texts, parts)


def make_texts(batch: Batch, names: Sequence[str], make: Callable[..., str]) -> tuple[list[str], Array]:
    """Return the distinct texts of a column, and the index of each row's text, or a single index if all rows have the same.

    `make` is called with the values of the cells `names`, once for each distinct combination, and returns the text.
    """
    numbers: Array | None = None
    for name in names:
        if len(batch.cells[name]) > 1:
            values, places = np.unique(batch.cells[name], return_inverse=True)
            if numbers is not None:  # numbered again each time, because products of more than two counts may not fit in 64 bits
                places = np.unique(numbers * len(values) + places, return_inverse=True)[1]
            numbers = places
    if numbers is None:
        return [make(*(batch.cells[name].item() for name in names))], np.zeros(1, np.int64)
    one_of_each = np.zeros(numbers.max() + 1, np.int64)
    one_of_each[numbers] = np.arange(batch.height)
    known = zip(*(batch.cell(name)[one_of_each].tolist() for name in names), strict=True)
    return [make(*one) for one in known], numbers


def join(batches: Sequence[Batch]) -> Batch:
    """Return the rows of several batches of one table as one batch."""
    if len(batches) == 1:
        return batches[0]
    batches = _of_one_kind(batches)
    texts, parts = dict(_join_texts(batches)), dict(_join_parts(batches))
    joined = Batch(batches[0].kind, _height(batches), dict(_join_cells(batches)), texts, parts)
    return with_texts(joined) if joined.height > SMALL else joined


def store(batches: Sequence[Batch], path: Path) -> StoredBatch:
    """Write the rows of several batches of one table to files, and return them as stored rows.

    The cells are written to `path`, texts and parts to Arrow files next to it. Only one joined cell is in memory at a time.
    """
    places: dict[str, tuple[int, str, int]] = {}
    batches = _of_one_kind(batches)
    with path.open("wb") as file:
        for name, values in _join_cells(batches):
            places[name] = (file.tell(), values.dtype.str, len(values))
            file.write(np.ascontiguousarray(values).data)
            file.write(bytes(-file.tell() % 8))
    pl.DataFrame(dict(_join_texts(batches))).write_ipc(path.with_suffix(_TEXTS))
    parts = {name: part.to_struct().implode() for name, part in _join_parts(batches)}
    pl.DataFrame(parts).write_ipc(path.with_suffix(_PARTS))
    return StoredBatch(path, batches[0].kind, _height(batches), places)


def _of_one_kind(batches: Sequence[Batch]) -> Sequence[Batch]:
    """Return batches of one table. If some of them are from `with_texts`, apply it to the others, too."""
    return batches if len({batch.kind for batch in batches}) == 1 else [*map(with_texts, batches)]


def _height(batches: Sequence[Batch]) -> int:
    return sum(batch.height for batch in batches)


def _join_cells(batches: Sequence[Batch]) -> Iterator[tuple[str, Array]]:
    places = KINDS[batches[0].kind].places
    for name in batches[0].cells:
        arrays = [batch.cells[name] for batch in batches]
        if (part := places.get(name)) is not None:
            begin = 0
            for number, batch in enumerate(batches):
                numbers = arrays[number].astype(np.int64)
                arrays[number] = np.where(numbers < 0, numbers, numbers + begin)
                begin += batch.parts[part].height - 1
        if any(len(array) != 1 or array[0] != arrays[0][0] for array in arrays):
            pairs = zip(arrays, batches, strict=True)
            yield name, np.concatenate([a if len(a) == batch.height else np.repeat(a, batch.height) for a, batch in pairs])
        else:
            yield name, arrays[0]


def _join_texts(batches: Sequence[Batch]) -> Iterator[tuple[str, pl.Series]]:
    for name in batches[0].texts:
        yield name, pl.concat([batch.texts[name] for batch in batches], rechunk=True)


def _join_parts(batches: Sequence[Batch]) -> Iterator[tuple[str, pl.DataFrame]]:
    for name, part in batches[0].parts.items():
        yield name, pl.concat([part, *(batch.parts[name][1:] for batch in batches[1:])], rechunk=True)


class View:
    """The rows of batches as a table. It has only the methods of a data frame that rules use.

    `names` maps the columns of the table to the columns of the batches.
    """

    def __init__(self, batches: Sequence[Part | _BatchSlice], table: Table, names: Mapping[str, str] | None = None) -> None:
        self.batches = batches
        self.table = table
        self.names: Mapping[str, str] = {column.name: column.name for column in table.columns} if names is None else names
        self.height = sum(batch.height for batch in batches)

    def select(self, names: Sequence[str]) -> pl.DataFrame:
        """Return a data frame with these columns."""
        if not self.height:
            return self.table.empty().select(names)
        parts = [self._columns(batch.load(), names) for batch in self.batches]
        return parts[0] if len(parts) == 1 else pl.concat(parts, rechunk=self.height <= SMALL)

    def all_columns(self) -> pl.DataFrame:
        """Return a data frame with all columns."""
        return self.select([*self.names]).rechunk() if self.height else self.table.empty()

    def slice(self, first: int, height: int, load: Callable[[Part], Batch]) -> View:
        """Return `height` rows, starting with row `first`. Columns are created for these rows only.

        `load` returns all rows of a part; it is called for each part that has some of the requested rows.
        """
        cut: list[_BatchSlice] = []
        begin = 0
        for batch in self.batches:
            low, high = max(first - begin, 0), min(first + height - begin, batch.height)
            if low < high:
                whole, before = (batch.batch, batch.first) if isinstance(batch, _BatchSlice) else (batch, 0)
                cut.append(_BatchSlice(load(whole), before + low, high - low))
            begin += batch.height
        return View(cut, self.table, self.names)

    def _columns(self, loaded: Batch, names: Sequence[str]) -> pl.DataFrame:
        return pl.DataFrame([loaded.column(self.names[name]).alias(name) for name in names])

    def _filter(self, loaded: Batch, names: Sequence[str], predicate: pl.Expr) -> pl.DataFrame | None:
        """Return the rows for which the predicate is true, with the columns `names`; None if there are no such rows.

        If few rows pass, the columns that the predicate does not need are created for these rows only.
        """
        asked = [*dict.fromkeys(predicate.meta.root_names())] or [*self.names][:1]
        tested = self._columns(loaded, asked)
        kept = tested.with_columns(predicate.alias(_KEPT))[_KEPT]  # also works for a constant predicate
        passed = int(kept.sum())
        if not passed:
            return None
        if passed * FEW_OF < loaded.height:
            return self._columns(loaded.pick(kept.arg_true()), names)
        rest = self._columns(loaded, [name for name in names if name not in asked])
        rows = pl.DataFrame([*tested, *rest]).select(names)
        return rows if passed == loaded.height else rows.filter(kept)

    def lazy(self) -> pl.LazyFrame:
        """Return all rows as a lazy frame. If there are few rows, all columns are created now; otherwise see `scan`."""
        return self.all_columns().lazy() if self.height <= SMALL else self.scan()

    def scan(self) -> pl.LazyFrame:
        """Return all rows as a lazy frame that creates only the columns that a query uses."""
        everything = [*self.names]

        def read(
            columns: list[str] | None, predicate: pl.Expr | None, rows: int | None, _size: int | None
        ) -> Iterator[pl.DataFrame]:
            left = self.height if rows is None else rows
            names = columns or (everything if columns is None else everything[:1])
            none = self.table.empty().select(names)
            for batch in self.batches:
                if left <= 0:
                    break
                loaded = batch.load()
                if loaded.height > left:
                    loaded = loaded.slice(0, left)
                left -= loaded.height
                for first in range(0, loaded.height, MAX_ROWS):
                    part = loaded if loaded.height <= MAX_ROWS else loaded.slice(first, min(MAX_ROWS, loaded.height - first))
                    found = self._columns(part, names) if predicate is None else self._filter(part, names, predicate)
                    yield none if found is None else found

        return register_io_source(read, schema=self.table.schema, is_pure=True)
