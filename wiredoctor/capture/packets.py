"""The packet blocks of pcapng, many at once: Enhanced, Simple and the obsolete Packet Block."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from wiredoctor.capture.blocks import ENHANCED, ENHANCED_FIXED, MAX_BLOCK, PACKET, PACKET_KINDS, SIMPLE, block_damage
from wiredoctor.capture.gather import gather
from wiredoctor.capture.model import MAX_PACKET, NO_PACKET
from wiredoctor.capture.timestamps import distinct

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wiredoctor.capture.model import Interface
    from wiredoctor.capture.timestamps import Clock
    from wiredoctor.tables import Array, Columns

_ENHANCED_HEADER = ("interface", "high", "low", "captured", "length")
_OBSOLETE_HEADER = ("high", "low", "captured", "length")


def packet_columns(
    data: Array, offsets: Array, kinds: dict[int, int], order: str, interfaces: Sequence[Interface], clock: Clock
) -> tuple[Columns, str | None]:
    """tables.RECORDS columns of the blocks at these offsets, up to the first that cannot be read, and what is wrong there.

    kinds: index -> block type, for all that are not Enhanced. `interface` counts from 0 in the section.
    The blocks themselves must lie within the file.
    """
    kind = np.full(len(offsets), ENHANCED, np.int64)
    if kinds:
        kind[np.fromiter(kinds.keys(), np.int64)] = np.fromiter(kinds.values(), np.int64)
    every = offsets
    size, sound = _frames(data, offsets, kind, order)
    offsets, kind = offsets[:sound], kind[:sound]
    columns = _enhanced(data, offsets, order)
    room = (size[:sound] + 3 & ~3) - ENHANCED_FIXED
    if kinds:
        _obsolete(columns, data, offsets, np.flatnonzero(kind == PACKET), order)
        _simple(columns, data, offsets, np.flatnonzero(kind == SIMPLE), order, interfaces)
        room[kind == SIMPLE] += 16
    frames, damage = _readable(columns, offsets, kind, room, interfaces)
    if damage is None and sound < len(size):
        at = int(every[sound])
        damage = block_damage(data, at, int(size[sound]), order) or f"a block too short for what it is (offset {at})"
    columns = {name: column[:frames] for name, column in columns.items()}
    kind = kind[:frames]
    stamped = (kind == ENHANCED) | (kind == PACKET)
    no_packet = ~stamped & (kind != SIMPLE)
    ticks = (columns.pop("high").astype(np.uint64) << np.uint64(32)) | columns.pop("low").astype(np.uint64)
    columns["time"] = clock.times(ticks, columns["interface"], stamped, interfaces)
    columns["interface"][no_packet] = 0
    columns["link_type"] = np.full(frames, NO_PACKET, np.int32)
    for index in distinct(columns["interface"][~no_packet] if no_packet.any() else columns["interface"]):
        columns["link_type"][(columns["interface"] == index) & ~no_packet] = interfaces[index].link_type
    columns["interface"] = columns["interface"].astype(np.int32)
    columns["captured"][no_packet] = 0
    columns["length"][no_packet] = 0
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
    good = (size >= least) & (announced <= MAX_BLOCK) & (end <= data.size)
    again = gather(data, np.where(good, end - 4, offsets + 4), word)["value"]
    good &= again == announced
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


def _simple(columns: Columns, data: Array, offsets: Array, rows: Array, order: str, interfaces: Sequence[Interface]) -> None:
    layout = np.dtype([("size", order + "u4"), ("length", order + "u4")])
    header = gather(data, offsets[rows] + 4, layout)
    length = header["length"].astype(np.int64)
    snaplen = interfaces[0].snaplen if interfaces else 0
    columns["interface"][rows] = 0
    columns["length"][rows] = length
    columns["captured"][rows] = np.minimum(length, snaplen) if snaplen else length
    columns["offset"][rows] = offsets[rows] + 12


def _readable(
    columns: Columns, offsets: Array, kind: Array, room: Array, interfaces: Sequence[Interface]
) -> tuple[int, str | None]:
    """How many blocks, from the first on, are sound, and what is wrong with the next one."""
    packet = (kind == ENHANCED) | (kind == PACKET) | (kind == SIMPLE)
    nowhere = packet & (columns["interface"] >= len(interfaces))
    absurd = packet & (columns["captured"] > MAX_PACKET)
    outside = packet & (columns["captured"] > room)
    bad = nowhere | absurd | outside
    if not bad.any():
        return len(kind), None
    row = int(bad.argmax())
    size, at = int(columns["captured"][row]), f"(offset {int(offsets[row])})"
    if nowhere[row]:
        return row, f"interface {int(columns['interface'][row])} was never described {at}"
    if absurd[row]:
        return row, f"announces {size} bytes, more than the {MAX_PACKET} of any packet {at}"
    return row, f"announces {size} bytes, more than its block holds {at}"
