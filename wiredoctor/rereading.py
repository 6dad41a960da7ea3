"""A capture once more: the rows that a report does not keep, made again for what draws, exports or copies packets.

The stages run without the rules. They say the same as the first time: ids, frames and rows are those of the report.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import BinaryIO, cast

import numpy as np
import polars as pl

from wiredoctor import __version__
from wiredoctor.capture import Capture
from wiredoctor.cutoffs import Cutoffs
from wiredoctor.decode.sack import sack_blocks
from wiredoctor.findings import Names, Portion
from wiredoctor.masked import masked
from wiredoctor.masking import showing
from wiredoctor.reader import End, Reader, Wanted
from wiredoctor.tables import NEVER, READ_AGAIN, Table


class Rereading:
    """A capture that stays open (findings.Again).

    `connections` gives the rows of tables.CONNECTIONS: nothing is read behind the last packet of those asked for.
    `cutoffs`: those of the first time; `secrets`: as in the report, nothing is masked.
    """

    def __init__(self, capture: Capture, connections: Callable[[], pl.LazyFrame], cutoffs: Cutoffs, *, secrets: bool) -> None:
        self._capture, self._connections, self._cutoffs, self._secrets = capture, connections, cutoffs, secrets

    def tables(
        self, names: Names, connections: Collection[int] | None = None, frames: Collection[int] | None = None
    ) -> dict[str, pl.DataFrame]:
        """The rows of these tables, as a whole."""
        parts: dict[str, list[pl.DataFrame]] = {name: [table.empty()] for name, table in _tables(names).items()}
        for portion in self.portions(names, connections, frames):
            for name, rows in portion.tables.items():
                if rows.height:
                    parts[name].append(rows)
        return {name: pl.concat(frames, rechunk=True) for name, frames in parts.items()}

    def portions(
        self, names: Names, connections: Collection[int] | None = None, frames: Collection[int] | None = None
    ) -> Iterator[Portion]:
        """The rows of these tables, epoch by epoch; of some connections and of some frames, or of all.

        What belongs to no connection (oddities) comes with any of them. Raises KeyError where there is no such table or column,
        ValueError where of frames more is asked for than TCP tells alone.
        """
        wanted = Wanted.of(_tables(names), connections, frames)
        reader = Reader(self._capture.again(), wanted, self._cutoffs)
        steps = reader.steps(self._end(connections or (), frames) if wanted.some else None)
        while True:
            # no context may be left open while somebody else works with the portion
            with showing(self._secrets):
                rows = next(steps, None)
                if rows is None:
                    return
                said = {
                    name: self._told(table, rows[name]) if name in rows else table.empty()
                    for name, table in wanted.tables.items()
                }
            read = reader.analysis.payload
            yield Portion(said, read, partial(sack_blocks, read))

    def copy(
        self,
        out: BinaryIO,
        packets: int,
        about: str,
        comments: Iterable[tuple[int, Sequence[str]]],
        only: Sequence[int] | None = None,
    ) -> None:
        """Writes the capture as pcapng, with comments on some of its frames; all packets, or those of the frames `only`."""
        from wiredoctor.capture.copying import copy

        frames = None if only is None else np.asarray(only, np.int64)
        copy(self._capture.again(), packets, out, about, comments, frames, f"wiredoctor {__version__}")

    def _end(self, connections: Collection[int], frames: Collection[int] | None) -> End | None:
        """Where the last of these connections ends, and the last of these frames is; None where a connection has no row."""
        last = max(frames or (), default=0)
        if not connections:
            return End(last, NEVER)
        chosen = pl.col("connection").is_in([*connections])
        row = self._connections().filter(chosen).select(pl.len(), pl.max("last_frame"), pl.max("end")).collect().row(0)
        return End(max(row[1], last), row[2]) if row[0] == len(set(connections)) else None

    def _told(self, table: Table, rows: pl.DataFrame) -> pl.DataFrame:
        if not self._secrets and table.name in ("messages", "exchanges"):
            rows = masked(table.name, rows.lazy()).collect()
        return rows.select(table.schema.names())


def _tables(names: Names) -> dict[str, Table]:
    if unknown := set(names) - READ_AGAIN.keys():
        raise KeyError(f"no such table: {', '.join(sorted(unknown))}")
    if isinstance(names, Mapping):
        columns = cast(Mapping[str, Collection[str]], names)
        return {name: READ_AGAIN[name].only(columns[name]) for name in columns}
    return {name: READ_AGAIN[name] for name in names}
