"""The packet blocks of pcapng, many at once: Enhanced, Simple and the obsolete Packet Block."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from wiredoctor import limits
from wiredoctor.capture import damage as words
from wiredoctor.capture.blocks import ENHANCED, ENHANCED_FIXED, PACKET, PACKET_KINDS, SIMPLE, block_damage
from wiredoctor.capture.gather import gather
from wiredoctor.capture.model import NO_PACKET, UNSTAMPED
from wiredoctor.capture.timestamps import of_each

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wiredoctor.capture.model import Interface
    from wiredoctor.capture.timestamps import Clock
    from wiredoctor.tables import Array, Columns

_ENHANCED_HEADER = ("interface", "high", "low", "captured", "length")
_OBSOLETE_HEADER = ("high", "low", "captured", "length")


class Places(NamedTuple):
    """Among which of the `interfaces` of a file the blocks of a run count: from `base` on, below `known`; for each of the
    blocks, or for all of them. Where a section has none yet the two are equal."""

    interfaces: Sequence[Interface]
    base: Array | int
    known: Array | int

    def first(self, count: int) -> Places:
        """Of the first blocks only."""
        if isinstance(self.base, int) or isinstance(self.known, int):
            return self
        return Places(self.interfaces, self.base[:count], self.known[:count])


def packet_columns(
    data: Array, offsets: Array, kinds: dict[int, int], order: str, places: Places, clock: Clock
) -> tuple[Columns, str | None]:
    """tables.RECORDS columns of the blocks at these offsets, up to the first that cannot be read, and what is wrong there.

    kinds: index -> block type, for all that are not Enhanced.
    The blocks themselves must lie within the file.
    """
    kind = np.full(len(offsets), ENHANCED, np.int64)
    if kinds:
        kind[np.fromiter(kinds.keys(), np.int64)] = np.fromiter(kinds.values(), np.int64)
    every = offsets
    size, sound = _frames(data, offsets, kind, order)
    offsets, kind = offsets[:sound], kind[:sound]
    places = places.first(sound)
    columns = _enhanced(data, offsets, order)
    room = (size[:sound] + 3 & ~3) - ENHANCED_FIXED
    if kinds:
        _obsolete(columns, data, offsets, np.flatnonzero(kind == PACKET), order)
        _simple(columns, data, offsets, np.flatnonzero(kind == SIMPLE), order, places)
        room[kind == SIMPLE] += 16
    frames, damage = _readable(columns, offsets, kind, room, places)
    if damage is None and sound < len(size):
        at = int(every[sound])
        damage = block_damage(data, at, int(size[sound]), order) or words.short_block(at)
    columns = {name: column[:frames] for name, column in columns.items()}
    kind, places = kind[:frames], places.first(frames)
    stamped = (kind == ENHANCED) | (kind == PACKET)
    no_packet = ~stamped & (kind != SIMPLE)
    columns["interface"][no_packet] = 0
    columns["interface"] += places.base
    ticks = (columns.pop("high").astype(np.uint64) << np.uint64(32)) | columns.pop("low").astype(np.uint64)
    columns["time"] = clock.times(ticks, columns["interface"], stamped, places.interfaces)
    columns["link_type"] = np.full(frames, NO_PACKET, np.int32)
    described = slice(None) if not no_packet.any() else ~no_packet
    link_types = of_each(columns["interface"][described], lambda index: places.interfaces[index].link_type)
    columns["link_type"][described] = link_types
    columns["interface"] = columns["interface"].astype(np.int32)
    for name in ("captured", "length"):
        columns[name][no_packet] = 0
    # a block may be shorter than the header of a packet
    columns["offset"][no_packet] = offsets[:frames][no_packet]
    if kinds:
        columns[UNSTAMPED] = ~stamped
    return columns, damage


def _frames(data: Array, offsets: Array, kind: Array, order: str) -> tuple[Array, int]:
    """The length that each block announces, and how many blocks, from the first on, lie whole in the file."""
    word = np.dtype([("value", order + "u4")])
    announced = gather(data, offsets + 4, word)["value"].astype(np.int64)
    size = announced + 3 & ~3
    least = np.full(len(kind), ENHANCED_FIXED, np.int64)
    for other in np.unique(kind[kind != ENHANCED]).tolist():
        least[kind == other] = PACKET_KINDS[other]
    end = offsets + size
    good = (size >= least) & (announced <= limits.BLOCK.value) & (end <= data.size)
    again = gather(data, np.where(good, end - 4, offsets + 4), word)["value"].astype(np.int64)
    good &= again + 3 & ~3 == size
    return announced, int(good.argmin()) if not good.all() else len(good)


def _enhanced(data: Array, offsets: Array, order: str) -> Columns:
    # The last block of a file may be shorter than an Enhanced Packet Block when it is of another type.
    layout = np.dtype([(name, order + "u4") for name in _ENHANCED_HEADER])
    at = np.minimum(offsets + 8, max(data.size - layout.itemsize, 0))
    header = gather(data, at, layout)
    columns: Columns = {name: header[name].astype(np.int64) for name in _ENHANCED_HEADER}
    columns["offset"] = offsets + 28
    return columns


def _obsolete(columns: Columns, data: Array, offsets: Array, rows: Array, order: str) -> None:
    layout = np.dtype([("interface", order + "u2"), ("drops", order + "u2"), *((n, order + "u4") for n in _OBSOLETE_HEADER)])
    header = gather(data, offsets[rows] + 8, layout)
    for name in ("interface", *_OBSOLETE_HEADER):
        columns[name][rows] = header[name]


def _simple(columns: Columns, data: Array, offsets: Array, rows: Array, order: str, places: Places) -> None:
    layout = np.dtype([("size", order + "u4"), ("length", order + "u4")])
    header = gather(data, offsets[rows] + 4, layout)
    length = header["length"].astype(np.int64)
    known = np.broadcast_to(places.base < places.known, len(offsets))[rows]
    base = np.where(known, np.broadcast_to(places.base, len(offsets))[rows], -1)
    snaplen = of_each(base, lambda index: places.interfaces[index].snaplen if index >= 0 else 0)
    columns["interface"][rows] = 0
    columns["length"][rows] = length
    columns["captured"][rows] = np.where(snaplen > 0, np.minimum(length, snaplen), length)
    columns["offset"][rows] = offsets[rows] + 12


def _readable(columns: Columns, offsets: Array, kind: Array, room: Array, places: Places) -> tuple[int, str | None]:
    """How many blocks, from the first on, are sound, and what is wrong with the next one."""
    packet = (kind == ENHANCED) | (kind == PACKET) | (kind == SIMPLE)
    nowhere = packet & (columns["interface"] + places.base >= places.known)
    absurd = packet & (columns["captured"] > limits.PACKET.value)
    outside = packet & (columns["captured"] > room)
    bad = nowhere | absurd | outside
    if not bad.any():
        return len(kind), None
    row = int(bad.argmax())
    size, at = int(columns["captured"][row]), int(offsets[row])
    if nowhere[row]:
        return row, words.unknown_interface(at, int(columns["interface"][row]))
    if absurd[row]:
        return row, words.too_long_in_block(at, size)
    return row, words.longer_than_block(at, size)
