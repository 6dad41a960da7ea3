"""What a capture gives that was kept to be read again."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple, Protocol

if TYPE_CHECKING:
    import polars as pl


class Portion(NamedTuple):
    """Rows of some tables, from a batch of a capture. `read(place, length)` gives bytes of packets by their place
    (packets.payload, records.offset) until the next portion is asked for; `sack_blocks(row)` the blocks of the SACK option of a
    row of packets, as sequence numbers."""

    tables: dict[str, pl.DataFrame]
    read: Callable[[int, int], bytes]
    sack_blocks: Callable[[Mapping[str, Any]], list[tuple[int, int]]]


Names = Iterable[str] | Mapping[str, Collection[str]]
"""Tables; or, of each that is named, the columns that are wanted."""


class Again(Protocol):
    """A capture that was analysed and can be read again: for what draws, exports or copies packets."""

    def portions(
        self,
        names: Names,
        connections: Collection[int] | None = None,
        frames: Collection[int] | None = None,
    ) -> Iterator[Portion]:
        """The rows of these tables of tables.READ_AGAIN, batch by batch: of some connections, of some frames (of records,
        packets, segments and pieces), of both, or where neither is given all.

        What TCP tells alone (no column of tables.HEARD) comes many times as fast, and of frames there is nothing else. Ids and
        frames are those of the report, and texts are masked as in it.
        """
        ...

    def tables(
        self,
        names: Names,
        connections: Collection[int] | None = None,
        frames: Collection[int] | None = None,
    ) -> dict[str, pl.DataFrame]:
        """The same in memory, as a whole: for few connections."""
        ...

    def copy(
        self,
        out: BinaryIO,
        packets: int,
        about: str,
        comments: Iterable[tuple[int, Sequence[str]]],
        only: Sequence[int] | None = None,
    ) -> None:
        """Writes the capture as pcapng: its first `packets`, as many as can be read, or of these the frames `only` (ascending).

        comments: of frames, ascending; about: of the file as a whole. Bytes are copied as they are.
        """
        ...
