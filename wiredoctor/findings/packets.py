"""Access to the packets of a capture that was kept open for a second pass."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple, Protocol

if TYPE_CHECKING:
    import polars as pl


class Portion(NamedTuple):
    """Rows of some tables, from one batch of a capture.

    `read(place, length)` returns bytes of the capture. `place` is a position in the capture, such as a value of the columns
    packets.payload or records.offset. `sack_blocks(row)` returns the blocks of a packet's SACK option as sequence numbers; `row`
    is a row of the table `packets`. Both functions may only be called until the next portion is requested.
    """

    tables: dict[str, pl.DataFrame]
    read: Callable[[int, int], bytes]
    sack_blocks: Callable[[Mapping[str, Any]], list[tuple[int, int]]]


Names = Iterable[str] | Mapping[str, Collection[str]]
"""The requested tables: their names, or a mapping from each name to the requested columns."""


class PacketAccess(Protocol):
    """An analyzed capture that can be read again, by code that draws, exports or copies packets."""

    def portions(
        self, names: Names, connections: Collection[int] | None = None, frames: Collection[int] | None = None
    ) -> Iterator[Portion]:
        """Yield the rows of the tables `names` (from tables.READ_AGAIN), batch by batch.

        `connections` and `frames` restrict the rows; if both are None, all rows are read. `frames` applies to the tables records,
        packets, segments and pieces, provided that no column in tables.HTTP_COLUMNS is requested. Reading is many times faster
        if no requested column needs HTTP. Ids and frame numbers are those of the report, and texts are masked as in the report.
        """
        ...

    def tables(
        self, names: Names, connections: Collection[int] | None = None, frames: Collection[int] | None = None
    ) -> dict[str, pl.DataFrame]:
        """Return one data frame per table, with all rows that `portions` would yield.

        All rows are in memory, so only call this method for few connections.
        """
        ...

    def copy(
        self,
        out: BinaryIO,
        packets: int,
        about: str,
        comments: Iterable[tuple[int, Sequence[str]]],
        only: Sequence[int] | None = None,
    ) -> None:
        """Write the first `packets` readable packets of the capture as pcapng.

        `only`: the numbers of the frames to write, in ascending order; None writes all of them. `comments`: pairs of a frame
        number and the comments on this frame, in ascending order. `about`: a comment on the file. Packet bytes are not changed.
        """
        ...

    def drops(self) -> Sequence[tuple[int | None, int, int]] | None:
        """Return (start, end, count) for each time span in which packets were dropped; None if drops were not counted.

        The times are in ns since the first packet. The start is None if the drops may have begun with the capture.
        """
        ...

    def close(self) -> None:
        """Close the files of the capture. They are opened again by name if the capture is read afterwards."""
        ...
