"""Candidates that wait for the end of the capture: in memory while they are few, in temporary Arrow files when they are many."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl

from wiredoctor import limits
from wiredoctor.replacement import room_needed
from wiredoctor.spill import LOOSE, Folder

Found = dict[str, pl.DataFrame]
"""Candidates of a batch: rule name -> rows."""


class Slice(NamedTuple):
    """Rows in a file."""

    path: Path
    first: int
    height: int

    def load(self, columns: Sequence[str] | None = None) -> pl.DataFrame:
        """The rows, of all columns or of these."""
        rows = pl.scan_ipc(self.path).slice(self.first, self.height)
        return (rows if columns is None else rows.select(columns)).collect()


@dataclass
class Waiting:
    """The candidates of each batch, in order. `apart`: what comes of it must be told batch by batch; else many are joined."""

    folder: Folder
    apart: bool = True
    _batches: list[dict[str, pl.DataFrame | Slice]] = field(default_factory=list[dict[str, pl.DataFrame | Slice]])
    _written: int = 0
    _joined: int = 0
    _held: int = 0

    def append(self, found: Found) -> None:
        """Adds those of the next batch."""
        self._batches.append({**found})
        self._held += sum(rows.height for rows in found.values())
        most = limits.CANDIDATES_HELD if self.apart else limits.LIVE_CANDIDATES_HELD
        if self._held >= most.value:
            self._write()
        elif not self.apart and len(self._batches) - self._joined >= LOOSE:
            self._join()

    def _join(self) -> None:
        """Makes one of the last batches, of each rule: a live capture adds a few rows at a time."""
        loose, joined = self._batches[self._joined :], Found()
        for name in dict.fromkeys(name for batch in loose for name in batch):
            having = [batch for batch in loose if name in batch]
            frames = [rows for batch in having if isinstance(rows := batch[name], pl.DataFrame)]
            if _alike(frames):
                joined[name] = pl.concat(frames, rechunk=True)
                for batch in having:
                    del batch[name]
        self._batches[self._joined :] = [{**joined}, *(batch for batch in loose if batch)]
        self._joined = len(self._batches)

    def _write(self) -> None:
        """Writes what waits in memory, a file for each rule."""
        held, self._held = self._batches[self._written :], 0
        joined: dict[str, pl.DataFrame | Slice] = {}
        for name in dict.fromkeys(name for batch in held for name in batch):
            having = [batch for batch in held if name in batch]
            frames = [rows for batch in having if isinstance(rows := batch[name], pl.DataFrame)]
            if not _alike(frames):
                continue  # of a rule that is not ours, which is found out when they are joined
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

    def forget(self, most: int) -> None:
        """Forgets the oldest of those that were written, of each rule, where there are more."""
        stored = [rows for batch in self._batches for rows in batch.values() if isinstance(rows, Slice)]
        excess = sum(rows.height for rows in stored) - most
        for rows in stored:
            if excess <= 0:
                break
            excess -= rows.height
            rows.path.unlink(missing_ok=True)
            for batch in self._batches:
                for name in [name for name, one in batch.items() if one is rows]:
                    del batch[name]
        gone = [number for number, batch in enumerate(self._batches) if not batch]
        self._written -= sum(number < self._written for number in gone)
        self._joined -= sum(number < self._joined for number in gone)
        self._batches = [batch for batch in self._batches if batch]

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[Found]:
        """Batch by batch, read when it is asked for."""
        for batch in self._batches:
            yield {name: rows.load() if isinstance(rows, Slice) else rows for name, rows in batch.items()}

    def of_rules(self) -> dict[str, list[pl.DataFrame | Slice]]:
        """Rule -> its candidates of all batches."""
        parts: dict[str, list[pl.DataFrame | Slice]] = {}
        for batch in self._batches:
            for name, rows in batch.items():
                parts.setdefault(name, []).append(rows)
        return parts


def _alike(frames: list[pl.DataFrame]) -> bool:
    """Whether these can be one file."""
    schema = frames[0].schema
    return not any(dtype == pl.Object for dtype in schema.dtypes()) and all(rows.schema == schema for rows in frames)


def together(parts: list[pl.DataFrame | Slice]) -> pl.DataFrame | Stored:
    """All candidates of a rule. Raises what Polars raises where their columns differ."""
    frames = [rows for rows in parts if isinstance(rows, pl.DataFrame)]
    return pl.concat(frames) if len(frames) == len(parts) else Stored(_whole(parts))


def _whole(parts: list[pl.DataFrame | Slice]) -> list[pl.DataFrame | Slice]:
    """Neighbours in a file are read at once."""
    whole: list[pl.DataFrame | Slice] = []
    for rows in parts:
        last = whole[-1] if whole else None
        if isinstance(rows, Slice) and isinstance(last, Slice) and last.path == rows.path:
            whole[-1] = Slice(last.path, last.first, last.height + rows.height)
        else:
            whole.append(rows)
    return whole


class Stored:
    """Candidates of a rule of which not all are in memory; has of a data frame what settling asks of it."""

    def __init__(self, parts: list[pl.DataFrame | Slice]) -> None:
        self._parts = parts
        heads = [rows.head(0) if isinstance(rows, pl.DataFrame) else rows._replace(height=0).load() for rows in parts]
        self.schema = pl.concat(heads).schema  # raises where they differ

    @property
    def columns(self) -> list[str]:
        """Names of the columns."""
        return self.schema.names()

    @property
    def height(self) -> int:
        """How many there are."""
        return sum(rows.height for rows in self._parts)

    def iter_slices(self, n_rows: int) -> Generator[pl.DataFrame]:
        """About so many rows at once, in order."""
        for rows in self._parts:
            for first in range(0, rows.height, n_rows):
                height = min(n_rows, rows.height - first)
                if isinstance(rows, Slice):
                    yield Slice(rows.path, rows.first + first, height).load()
                else:
                    yield rows.slice(first, height)

    def __getitem__(self, rows: pl.Series) -> pl.DataFrame:
        """The rows of these numbers, in that order."""
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
