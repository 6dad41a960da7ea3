"""pcapng (draft-ietf-opsawg-pcapng): sections of blocks, each section with its own byte order and interfaces."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Literal

import numpy as np

from wiredoctor.capture import damage as words
from wiredoctor.capture.blocks import (
    ENHANCED,
    FRAME_BLOCKS,
    INTERFACE,
    SECTION,
    SECTION_FIXED,
    block_damage,
    describe_interface,
    read_options,
    section_order,
)
from wiredoctor.capture.packets import Places, packet_columns
from wiredoctor.capture.timestamps import Clock

if TYPE_CHECKING:
    from wiredoctor.capture.model import Interface
    from wiredoctor.tables import Array, Columns

_MIN_BLOCK = 12


class PcapngReader:
    """Reads the packets of a pcapng file in runs. Blocks that are neither packets nor frames are passed over."""

    format: Literal["pcapng"] = "pcapng"

    def __init__(self, data: Array, name: str) -> None:  # noqa: ARG002 - readers are made alike
        self._data = data
        self._order = "<"
        self._base = 0  # index of the section's first interface in `interfaces`
        self._changes: list[tuple[int, int, int]] = []
        self._seen: dict[Interface, Interface] = {}
        self._clock = Clock()
        self.position = 0
        self.packets = 0
        self.damage: str | None = None
        self.interfaces: list[Interface] = []

    def extend(self, data: Array) -> None:
        """The file has grown: `data` is all of it, up to the end of a block."""
        self._data = data

    @property
    def first_time(self) -> int | None:
        """Nanoseconds since 1970 of the first packet with a time stamp."""
        return self._clock.first_time

    @property
    def done(self) -> bool:
        """Nothing more can be read: the end, or damage."""
        return self.damage is not None or self.position >= self._data.size

    def read(self, packets: int) -> Columns:
        """tables.RECORDS columns of at most so many next packets; fewer, even none, where sections and interfaces begin."""
        self._changes = [(0, self._base, len(self.interfaces))]
        offsets, kinds = self._walk(packets)
        at, places = np.array(offsets, np.int64), self._places(len(offsets))
        columns, damage = packet_columns(self._data, at, kinds, self._order, places, self._clock)
        frames = len(columns["time"])
        if damage is not None:  # nearer than what the walk behind it may have met
            self.damage = f"packet {self.packets + frames + 1}: {damage}"
            self.position = offsets[frames]
            del self.interfaces[int(np.broadcast_to(places.known, len(offsets))[frames]) :]
        self.packets += frames
        return columns

    def _places(self, frames: int) -> Places:
        """Where the interfaces of so many frames are found: what was described before each of them."""
        if len(self._changes) == 1:
            (_, base, known), *_ = self._changes
            return Places(self.interfaces, base, known)
        first, base, known = np.array(self._changes, np.int64).T
        counts = np.diff(np.append(first, frames))
        return Places(self.interfaces, np.repeat(base, counts), np.repeat(known, counts))

    def _walk(self, packets: int) -> tuple[list[int], dict[int, int]]:
        """Offsets of the next blocks that are frames, and the types of those that are not Enhanced Packet Blocks.

        Stops in front of a section in the other byte order, which is then read by the next call, so that every packet of a
        run is read in one way. Frames are checked afterwards.
        """
        buffer, position, last = self._data.data, self.position, self._data.size - _MIN_BLOCK
        head = struct.Struct(self._order + "II").unpack_from
        offsets: list[int] = []
        kinds: dict[int, int] = {}
        append = offsets.append
        while packets and position <= last:
            kind, length = head(buffer, position)
            if kind == ENHANCED:
                append(position)
                position += length + 3 & ~3
                packets -= 1
            elif kind in (SECTION, INTERFACE):
                if offsets and kind == SECTION and section_order(self._data, position) != self._order:
                    break
                position = self._define(kind, position, length)
                while self._changes and self._changes[-1][0] == len(offsets):
                    self._changes.pop()
                self._changes.append((len(offsets), self._base, len(self.interfaces)))
                head = struct.Struct(self._order + "II").unpack_from
            else:
                if kind in FRAME_BLOCKS:
                    kinds[len(offsets)] = kind
                    append(position)
                    packets -= 1
                elif not self._whole(position, length):
                    break
                position += length + 3 & ~3
            if self.damage is not None:
                break
        if last < position < self._data.size and self.damage is None:
            left = self._data.size - position
            self.damage = words.cut_block_header(position, _MIN_BLOCK, left)
        self.position = position
        return offsets, kinds

    def _whole(self, position: int, length: int) -> bool:
        """Whether the block at `position` is sound; else that is the damage."""
        self.damage = block_damage(self._data, position, length, self._order)
        return self.damage is None

    def _define(self, kind: int, position: int, length: int) -> int:
        """Reads a Section Header or Interface Description Block; returns where the next block begins."""
        if kind == SECTION:
            order = section_order(self._data, position)
            if order is None:
                self.damage = words.no_byte_order(position)
                return position
            self._order = order
            (length,) = struct.unpack_from(order + "I", self._data.data, position + 4)
        if not self._whole(position, length):
            return position
        end = position + (length + 3 & ~3)
        block = self._data[position:end].tobytes()
        if kind == SECTION:
            return self._section(block, position, end)
        interface = describe_interface(block, self._order)
        if interface is None:
            self.damage = words.bad_interface(position)
            return position
        interface = self._seen.setdefault(interface, interface)  # a hostile file has millions of one kind
        self.interfaces.append(interface)
        return end

    def _section(self, block: bytes, position: int, end: int) -> int:
        if len(block) < SECTION_FIXED:
            self.damage = words.short_section(position, len(block))
            return position
        major, minor = struct.unpack_from(self._order + "HH", block, 12)
        if major != 1 or minor not in (0, 2):
            self.damage = words.unsupported_section(position, major, minor)
            return position
        if read_options(block[24:-4], self._order) is None:
            self.damage = words.bad_section_options(position)
            return position
        self._base = len(self.interfaces)
        return end
