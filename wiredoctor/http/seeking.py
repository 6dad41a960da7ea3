"""Where the next message begins is not known: looks for it, packet by packet."""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING

from wiredoctor import limits
from wiredoctor.http.head import KNOWN_METHODS
from wiredoctor.http.items import CUT, Items
from wiredoctor.http.message import IN_HOLE
from wiredoctor.http.modes import HEAD, OFF, SEEK
from wiredoctor.http.payload import Payload
from wiredoctor.tables import SCRATCH

if TYPE_CHECKING:
    from wiredoctor.http.reader import Reader

STARTS = frozenset((method + b" ")[:4] for method in KNOWN_METHODS) | {b"HTTP"}
"""First bytes of a head with a known method, or of a status line."""


def hole_in_head(reader: Reader, items: Items, i: int) -> int:
    """Bytes are missing where a head is, or is expected."""
    hole_in_framing(reader, items, i, expected=bool(reader.partial is not None or reader.count or reader.conversation.awaiting))
    if reader.partial is not None:
        reader.cut_head(IN_HOLE)
    lose(reader)
    reader.pos = items.end[i]
    return i + 1


def hole_in_framing(reader: Reader, items: Items, i: int, *, expected: bool = True) -> None:
    """A head, or chunk framing, lies in what is not there; tells it where the snap length is why."""
    reader.conversation.lacks(items.time[i])
    partial = reader.partial
    known = reader.conversation.client >= 0 or (partial is not None and partial.start[:4] in STARTS)
    if items.at[i] == CUT and expected and known:
        reader.conversation.cut_short(items.frame[i], items.time[i])


def seek(reader: Reader, items: Items, i: int, stop: int, read: Payload) -> int:
    """Looks for a packet that begins like a head; returns it, or the item that comes next."""
    if items.start[i] < reader.pos:
        return i + 1  # its beginning was read: what is left of it is behind what could not be read
    heads = heads_of(items)
    if heads is not None:
        i = next_head(heads, i, stop)
        if i == stop:
            reader.pos = items.end[stop - 1]
            return stop
    elif items.at[i] < 0 or (items.at[i] < SCRATCH and read(items.at[i], 4) not in STARTS):
        return i + 1
    reader.pos, reader.mode, reader.seeking = items.start[i], HEAD, True
    return i


def heads_of(items: Items) -> list[int] | None:
    """Positions that begin like a head, in order; None: any may."""
    if items.heads is None and items.look_for_heads is not None:
        items.heads = items.look_for_heads()
    return items.heads


def next_head(heads: list[int], i: int, stop: int) -> int:
    """The first of these positions in i..stop, or `stop`."""
    k = bisect_left(heads, i)
    return stop if k == len(heads) else min(heads[k], stop)


def tls(reader: Reader, items: Items, i: int, read: Payload) -> int:
    """Hands the next bytes of a TLS handshake on."""
    start, end, at, pos = items.start[i], items.end[i], items.at[i], reader.pos
    there = at >= 0 and start <= pos < end
    reader.conversation.go_on_with_tls(
        reader.direction, read(at + pos - start, min(end - pos, limits.HEAD.value)) if there else b""
    )
    reader.pos = end
    return i + 1


def lose(reader: Reader) -> None:
    """Where the next message begins is not known any more."""
    if reader.mode == OFF:
        return
    reader.mode, reader.seeking, reader.partial = SEEK, True, None
    reader.strayed = min(reader.strayed, reader.pos)
    reader.lost = True
