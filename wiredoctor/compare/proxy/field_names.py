"""Read the names of header fields from the packets, without storing any value."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from wiredoctor.text.redact import field_name

if TYPE_CHECKING:
    from wiredoctor.findings import PacketAccess

LONGEST = 1 << 16
"""The maximum number of bytes of a header section that are read."""

OTHER = "a field of another name"

_PIECE = ("connection", "direction", "offset", "captured", "payload")


class Head(NamedTuple):
    """The position of a header section: connection, direction, offset of its first byte in the stream, and length in bytes."""

    connection: int
    direction: int
    offset: int
    length: int


def names_of_heads(access: PacketAccess, heads: Iterable[Head]) -> dict[Head, tuple[str, ...]]:
    """Return the field names of each header section that was captured completely, in lower case and in the order in which they
    were sent.
    """
    wanted: dict[tuple[int, int], list[Head]] = {}
    for head in heads:
        wanted.setdefault((head.connection, head.direction), []).append(head)
    read = {head: bytearray(min(head.length, LONGEST)) for some in wanted.values() for head in some}
    left = {head: len(data) for head, data in read.items()}
    if not wanted:
        return {}
    for portion in access.portions({"pieces": _PIECE}, sorted({connection for connection, _ in wanted})):
        rows = portion.tables["pieces"]
        for (connection, direction), some in wanted.items():
            own = rows.filter((rows["connection"] == connection) & (rows["direction"] == direction))
            if not own.height:
                continue
            starts, lengths, places = (own[name].to_numpy() for name in ("offset", "captured", "payload"))
            for head in some:
                end = head.offset + len(read[head])
                for n in np.flatnonzero((starts < end) & (starts + lengths > head.offset)).tolist():
                    begin, stop = max(int(starts[n]), head.offset), min(int(starts[n] + lengths[n]), end)
                    data = portion.read(int(places[n]) + begin - int(starts[n]), stop - begin)
                    read[head][begin - head.offset : stop - head.offset] = data
                    left[head] -= stop - begin
    return {head: _names(bytes(data)) for head, data in read.items() if not left[head]}


def _names(head: bytes) -> tuple[str, ...]:
    lines = head.decode("latin-1").split("\n")[1:]
    found = [line.partition(":")[0].strip() for line in lines if ":" in line and not line[:1].isspace()]
    return tuple((field_name(name) or OTHER).lower() for name in found)
