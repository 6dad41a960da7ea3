"""pcapng (draft-ietf-opsawg-pcapng): sections of blocks, each section with its own byte order and interfaces."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import numpy as np

from wiredoctor.capture.blocks import (
    ENHANCED,
    ENHANCED_FIXED,
    FRAME_BLOCKS,
    INTERFACE,
    PACKET_KINDS,
    SECTION,
    SECTION_FIXED,
    describe_interface,
    section_order,
)
from wiredoctor.capture.packets import packet_columns
from wiredoctor.capture.timestamps import Clock

if TYPE_CHECKING:
    from wiredoctor.capture.model import Interface
    from wiredoctor.tables import Array, Columns

MAX_BLOCK = 16 * 1024 * 1024
"""Bytes. A longer block is damage, as in Wireshark: no packet needs it, and a broken length looks like this."""

_MIN_BLOCK = 12


class PcapngReader:
    """Reads the packets of a pcapng file in runs. Blocks that are neither packets nor frames are passed over."""

    format = "pcapng"

    def __init__(self, data: Array, name: str) -> None:  # noqa: ARG002 - readers are made alike
        self._data = data
        self._order = "<"
        self._base = 0  # index of the section's first interface in `interfaces`
        self._clock = Clock()
        self.position = 0
        self.packets = 0
        self.damage: str | None = None
        self.interfaces: list[Interface] = []

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
        offsets, kinds = self._walk(packets)
        interfaces = self.interfaces[self._base :]
        columns, damage = packet_columns(self._data, np.array(offsets, np.int64), kinds, self._order, interfaces, self._clock)
        frames = len(columns["time"])
        if damage is not None:
            self.damage = f"packet {self.packets + frames + 1}: {damage} (offset {offsets[frames]})"
            self.position = offsets[frames]
        self.packets += frames
        columns["interface"] += self._base
        return columns

    def _walk(self, packets: int) -> tuple[list[int], dict[int, int]]:
        """Offsets of the next blocks that are frames, and the types of those that are not Enhanced Packet Blocks.

        Stops in front of a block that changes how packets are read (a new section, a new interface), which is
        then read by the next call, so that every packet of a run is read in one way.
        """
        buffer, position, size = self._data.data, self.position, self._data.size
        head, tail = struct.Struct(self._order + "II").unpack_from, struct.Struct(self._order + "I").unpack_from
        offsets: list[int] = []
        kinds: dict[int, int] = {}
        append = offsets.append
        while len(offsets) < packets and position + _MIN_BLOCK <= size:
            kind, length = head(buffer, position)
            if kind in (SECTION, INTERFACE):
                if offsets:
                    break
                position = self._define(kind, position, length)
                if self.damage is not None:
                    break
                head, tail = struct.Struct(self._order + "II").unpack_from, struct.Struct(self._order + "I").unpack_from
                continue
            step = (length + 3) & ~3
            end = position + step
            if not _MIN_BLOCK <= step <= MAX_BLOCK or end > size or tail(buffer, end - 4)[0] != length:
                self._broken(position, length)
                break
            if kind == ENHANCED:
                if step < ENHANCED_FIXED:
                    self._broken(position, length)
                    break
                append(position)
            elif kind in FRAME_BLOCKS:
                if step < PACKET_KINDS.get(kind, _MIN_BLOCK):
                    self._broken(position, length)
                    break
                kinds[len(offsets)] = kind
                append(position)
            position = end
        else:
            if size - position and len(offsets) < packets:
                self._broken(position, None)
        self.position = position
        return offsets, kinds

    def _define(self, kind: int, position: int, length: int) -> int:
        """Reads a Section Header or Interface Description Block; returns where the next block begins."""
        if kind == SECTION:
            order = section_order(self._data, position)
            if order is None:
                self.damage = f"a section without a byte-order mark (offset {position})"
                return position
            self._order = order
            (length,) = struct.unpack_from(order + "I", self._data.data, position + 4)
        step = (length + 3) & ~3
        end = position + step
        if not 20 <= step <= MAX_BLOCK or end > self._data.size:
            self._broken(position, length)
            return position
        if struct.unpack_from(self._order + "I", self._data.data, end - 4)[0] != length:
            self._broken(position, length)
            return position
        block = self._data[position:end].tobytes()
        if kind == SECTION:
            return self._section(block, position, end)
        interface = describe_interface(block, self._order)
        if interface is None:
            self.damage = f"an interface whose time stamps have an impossible resolution (offset {position})"
            return position
        self.interfaces.append(interface)
        return end

    def _section(self, block: bytes, position: int, end: int) -> int:
        if len(block) < SECTION_FIXED:
            self._broken(position, len(block))
            return position
        major, minor = struct.unpack_from(self._order + "HH", block, 12)
        if major != 1 or minor not in (0, 2):
            self.damage = f"a section of pcapng version {major}.{minor}, which is not supported (offset {position})"
            return position
        self._base = len(self.interfaces)
        return end

    def _broken(self, position: int, length: int | None) -> None:
        left = self._data.size - position
        if length is None:
            what = f"the file ends inside the header of a block (offset {position}: {_MIN_BLOCK} bytes expected, {left} there)"
        elif _MIN_BLOCK <= length <= MAX_BLOCK and position + length > self._data.size:
            what = f"the file ends inside the block after packet {self.packets} or later (offset {position}: {length} bytes announced, {left} there)"
        else:
            what = f"a block with an impossible length of {length} bytes (offset {position})"
        self.damage = what
