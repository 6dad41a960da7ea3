"""Store candidates until the end of the capture: a few in memory, many in temporary Arrow files."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl

from wiredoctor import limits
from wiredoctor.rule_engine.summary_columns import Rows, as_frame
from wiredoctor.storage.replacement import room_needed
from wiredoctor.storage.spill import LOOSE, Folder

Candidates = dict[str, pl.DataFrame]
"""The candidates of a batch: rule name -> rows."""


class Slice(NamedTuple):
    """Candidates of one rule that are stored in a file: `height` rows, beginning with row `first`."""

    path: Path
    first: int
    height: int

    def load(self) -> pl.DataFrame:
        """Return these rows."""
        return self.scan().collect()

    def scan(self) -> pl.LazyFrame:
        """Return these rows as a lazy frame, which reads only the columns that a query uses."""
        return pl.scan_ipc(self.path).slice(self.first, self.height)


Batch = dict[str, pl.DataFrame | Slice]


@dataclass(eq=False, repr=False)
class CandidateStore:
    """The candidates of all batches, in order. If `apart` is false, candidates of several batches are joined to save memory."""

    folder: Folder
    apart: bool = True
    _batches: list[Batch] = field(default_factory=list[Batch])
    _written: int = 0
    _joined: int = 0
    _held: int = 0

    def append(self, found: Candidates) -> None:
        """Add the candidates of the next batch."""
        self._batches.append({**found})
        self._held += sum(rows.height for rows in found.values())
        most = limits.CANDIDATES_HELD if self.apart else limits.LIVE_CANDIDATES_HELD
        if self._held >= most.value:
            self.write()
        elif not self.apart and len(self._batches) - self._joined >= LOOSE:
            self._join()

    def _join(self) -> None:
        """Join the batches in memory, rule by rule: a live capture adds many batches that contain only a few rows."""
        loose, joined = self._batches[self._written :], Candidates()
        for name, having, frames in _by_rule(loose):
            joined[name] = pl.concat(frames, rechunk=True)
            for batch in having:
                del batch[name]
        self._batches[self._written :] = [{**joined}, *(batch for batch in loose if batch)]
        self._joined = len(self._batches)

    def write(self) -> None:
        """Write the candidates that are in memory to files, one per rule."""
        held, self._held = self._batches[self._written :], 0
        joined: Batch = {}
        for name, having, frames in _by_rule(held):
            path = self.folder.new_file("candidates")
            with room_needed(path.parent.parent):
                pl.concat(frames).write_ipc(path)
            if self.apart:
                first = 0
                for batch, rows in zip(having, frames, strict=True):
                    batch[name] = Slice(path, first, rows.height)
                    first += rows.height
                continue
            joined[name] = Slice(path, 0, sum(rows.height for rows in frames))
            for batch in having:
                del batch[name]
        if not self.apart:
            self._batches[-len(held) :] = [joined, *(batch for batch in held if batch)]
        self._written = self._joined = len(self._batches)

    def forget(self, most: int) -> int:
        """Delete the files with the oldest candidates until at most `most` candidates are in files. Return the number deleted."""
        stored = [rows for batch in self._batches for rows in batch.values() if isinstance(rows, Slice)]
        excess, deleted = sum(rows.height for rows in stored) - most, 0
        for rows in stored:
            if excess <= deleted:
                break
            deleted += rows.height
            rows.path.unlink(missing_ok=True)
            for batch in self._batches:
                for name in [name for name, one in batch.items() if one is rows]:
                    del batch[name]
        gone = [number for number, batch in enumerate(self._batches) if not batch]
        self._written -= sum(number < self._written for number in gone)
        self._joined -= sum(number < self._joined for number in gone)
        self._batches = [batch for batch in self._batches if batch]
        return deleted

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[Candidates]:
        """Yield the candidates batch by batch. Each batch is read from its files only at its turn."""
        for batch in self._batches:
            yield {name: rows.load() if isinstance(rows, Slice) else rows for name, rows in batch.items()}

    def of_rules(self) -> dict[str, list[pl.DataFrame | Slice]]:
        """Return for each rule name its candidates of all batches, in order."""
        parts: dict[str, list[pl.DataFrame | Slice]] = {}
        for batch in self._batches:
            for name, rows in batch.items():
                parts.setdefault(name, []).append(rows)
        return parts


def _by_rule(batches: list[Batch]) -> Iterator[tuple[str, list[Batch], list[pl.DataFrame]]]:
    """Yield for each rule its name, the batches in which it has candidates, and these candidates, which are in memory.

    A rule of another package whose columns changed is left out; `together` reports it.
    """
    for name in dict.fromkeys(name for batch in batches for name in batch):
        having = [batch for batch in batches if name in batch]
        frames = [rows for batch in having if isinstance(rows := batch[name], pl.DataFrame)]
        if _alike(frames):
            yield name, having, frames


def _alike(frames: list[pl.DataFrame]) -> bool:
    """Return whether these data frames have equal columns, of types that can be written to a file."""
    schema = frames[0].schema
    return not any(dtype == pl.Object for dtype in schema.dtypes()) and all(rows.schema == schema for rows in frames)


def together(parts: list[pl.DataFrame | Slice]) -> pl.DataFrame | StoredCandidates:
    """Return all candidates of a rule, which are stored in `parts`. Raise a PolarsError if their columns differ."""
    frames = [rows for rows in parts if isinstance(rows, pl.DataFrame)]
    return pl.concat(frames) if len(frames) == len(parts) else StoredCandidates(_join_neighbors(parts))


def _join_neighbors(parts: list[pl.DataFrame | Slice]) -> list[pl.DataFrame | Slice]:
    """Return the parts with adjacent slices of a file merged, so they are read together."""
    whole: list[pl.DataFrame | Slice] = []
    for rows in parts:
        last = whole[-1] if whole else None
        if isinstance(rows, Slice) and isinstance(last, Slice) and last.path == rows.path:
            whole[-1] = Slice(last.path, last.first, last.height + rows.height)
        else:
            whole.append(rows)
    return whole


class StoredCandidates:
    """The candidates of a rule, some of them in files.

    This class has the methods and properties of a data frame that `resolve` needs.
    """

    def __init__(self, parts: list[pl.DataFrame | Slice]) -> None:
        self._parts = parts
        heads = [rows.head(0) if isinstance(rows, pl.DataFrame) else rows._replace(height=0).load() for rows in parts]
        self.schema = pl.concat(heads).schema  # raises an error if the columns differ

    @property
    def height(self) -> int:
        """The number of candidates."""
        return sum(rows.height for rows in self._parts)

    def iter_slices(self, n_rows: int) -> Generator[pl.DataFrame]:
        """Yield the candidates in order, at most `n_rows` at a time."""
        for rows in self._parts:
            for first in range(0, rows.height, n_rows):
                height = min(n_rows, rows.height - first)
                if isinstance(rows, Slice):
                    yield Slice(rows.path, rows.first + first, height).load()
                else:
                    yield rows.slice(first, height)

    def select(self, *columns: str | pl.Expr) -> pl.DataFrame:
        """Return some columns of all candidates, in memory."""
        lazy = [rows.lazy() if isinstance(rows, pl.DataFrame) else rows.scan() for rows in self._parts]
        return pl.concat([self.schema.to_frame().select(columns), *(rows.select(columns).collect() for rows in lazy)])

    def __getitem__(self, rows: pl.Series) -> pl.DataFrame:
        """Return the rows with these numbers, in the order of the numbers given."""
        wanted = rows.to_numpy()
        order = np.argsort(wanted, kind="stable")
        ordered, first = wanted[order], 0
        frames = [self.schema.to_frame()]
        for part in self._parts:
            begin, end = np.searchsorted(ordered, [first, first + part.height])
            if begin < end:
                loaded = part.load() if isinstance(part, Slice) else part
                frames.append(loaded[pl.Series(ordered[begin:end] - first)])
            first += part.height
        back = np.empty(len(order), dtype=np.int64)
        back[order] = np.arange(len(order))
        return pl.concat(frames)[pl.Series(back)]


def change(
    rows: Rows, change_some: Callable[[pl.DataFrame], pl.DataFrame], folder: Folder | None = None, *, order: Sequence[str] = ()
) -> Rows:
    """Return candidates as changed by `change_some`, which is called with a limited number of them at a time.

    The columns that it returns must not depend on the rows. If there are many candidates, they go to files in `folder`, in the
    order of the columns `order` if they are given.
    """
    if rows.height <= limits.CANDIDATES_AT_ONCE.value:
        return change_some(as_frame(rows))
    if order:
        rows = as_frame(rows).sort(order, maintain_order=True)
    changed = map(change_some, rows.iter_slices(limits.CANDIDATES_AT_ONCE.value))
    return pl.concat(changed) if folder is None else _stored(changed, folder)


def _stored(parts: Iterable[pl.DataFrame], folder: Folder) -> Rows:
    store = CandidateStore(folder)
    for some in parts:
        store.append({_ONE: some})
    store.write()  # in memory, a few candidates would keep the texts of many
    return together(store.of_rules()[_ONE])


_ONE = ""
"""The name of the only rule in a store."""


def select(rows: Rows, *columns: str | pl.Expr) -> pl.DataFrame:
    """Return some columns of all candidates, in memory."""
    return rows.select(*columns) if isinstance(rows, StoredCandidates) else as_frame(rows).select(columns)
