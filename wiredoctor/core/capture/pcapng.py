"""Read the records of pcapng files (draft-ietf-opsawg-pcapng).

A file consists of sections of blocks; each section has its own byte order and interfaces.
"""

from __future__ import annotations

import struct
from typing import Final

from mypy_extensions import i64

from wiredoctor import limits
from wiredoctor.capture import damage as words
from wiredoctor.capture import drops
from wiredoctor.capture.formats import section_order
from wiredoctor.capture.model import Interface
from wiredoctor.capture.pcapng import blocks
from wiredoctor.core.capture.packet import NO_PACKET, Packet
from wiredoctor.core.capture.records import LATEST, Records, Source
from wiredoctor.core.unsigned import u32, u32_little

SECOND: Final = 1_000_000_000
SECTION: Final = 0x0A0D0D0A
INTERFACE: Final = 1
PACKET: Final = 2
SIMPLE: Final = 3
STATISTICS: Final = 5
ENHANCED: Final = 6
SMALLEST: Final = 12
"""The size in bytes of a block without content."""
ENHANCED_FIXED: Final = 32
"""The size in bytes of an Enhanced Packet Block with neither packet data nor options."""
SIMPLE_FIXED: Final = 16
SECTION_FIXED: Final = 28
FAR: Final = 9_000_000_000
"""A bound on times in seconds. It is longer than LATEST (73 years), but in nanoseconds it still fits in 64 bits."""
UNSIGNED: Final = 1 << 31


class InterfaceClock:
    """Converts the timestamps of an interface to ns since the first packet."""

    def __init__(self, interface: Interface, first: int) -> None:
        self.link_type: i64 = interface.link_type
        self.ticks: int = interface.ticks
        """The number of ticks per second."""
        self.small: i64 = interface.ticks if interface.ticks <= SECOND else 0
        """The number of ticks per second if nanoseconds can be computed in 64 bits; otherwise 0."""
        self.base: i64 = min(max(first // SECOND - interface.seconds, -FAR), LATEST)
        """The time of the capture's first packet in whole seconds, by the clock of this interface."""
        self.rest: i64 = first % SECOND

    def time(self, high: i64, low: i64) -> i64:
        """Return the time in ns since the first packet for a timestamp, given as its upper and lower 32 bits."""
        seconds: i64 = 0
        fraction: i64 = 0
        if high < UNSIGNED and self.small > 0:
            ticks = high << 32 | low
            seconds = min(ticks // self.small, LATEST)
            fraction = ticks % self.small * SECOND // self.small
        else:
            seconds, fraction = self.split(int(high) << 32 | int(low))
        return min(max(seconds - self.base, -FAR), FAR) * SECOND + fraction - self.rest

    def split(self, ticks: int) -> tuple[int, int]:
        """Return the whole seconds and the remaining nanoseconds of a timestamp, which may have more than 63 bits."""
        seconds, fraction = divmod(ticks, self.ticks)
        return min(seconds, LATEST), fraction * SECOND // self.ticks


class PcapngRecords(Records):
    """The packets of a pcapng file, and its other blocks that Wireshark counts as frames."""

    format: str = "pcapng"

    def __init__(self, source: Source, is_continued: bool = False) -> None:
        super().__init__(source)
        self.is_continued: bool = is_continued
        """True if sections continue each other: interfaces with equal descriptions are then the same interface."""
        self.order: str = "<"
        self.base: i64 = 0
        """The index of the section's first interface in `interfaces`."""
        self.known: i64 = 0
        """The number of interfaces described in the section."""
        self.longest_block: i64 = limits.BLOCK.value
        self.same: dict[Interface, Interface] = {}
        """One shared object for all equal interfaces, because a malicious file may describe millions of them."""
        self.clocks: dict[int, InterfaceClock] = {}
        self.clock: InterfaceClock = InterfaceClock(Interface(NO_PACKET), 0)
        """The clock of the newest packet's interface, which has the number `clock_of`."""
        self.clock_of: i64 = -1

    def next(self, packet: Packet) -> bool:
        """Fill the packet from the next block that counts as a frame. Return False if it is missing, incomplete or invalid."""
        while self.damage is None and self.has(SMALLEST):
            at = self.at
            kind, length = self.u32(at), self.u32(at + 4)
            if kind == ENHANCED or kind in blocks.FRAME_BLOCKS:
                return self.is_frame(kind, length) and self.frame_block(packet, kind, length)
            if kind in (SECTION, INTERFACE):
                if not self.describe(kind, length):
                    return False
            elif not self.is_whole(length):
                return False
            else:
                if kind == STATISTICS:
                    self.count_drops(length)
                self.at += (length + 3) & ~3
            self.after_blocks = self.begin + self.at
        return False

    def state(self) -> tuple[int, int, bool]:
        """Return the index of the section's first interface, the number of its interfaces, and whether the section is
        big-endian.
        """
        return int(self.base), int(self.known), self.big

    def restore(self, state: tuple[int, int, bool]) -> None:
        """Restore a state that `state` returned."""
        super().restore(state)
        self.base, self.known = state[0], state[1]

    def is_whole(self, length: i64) -> bool:
        """Return whether the block at `at` is complete and its lengths are valid. Report invalid lengths as damage."""
        if length < SMALLEST or length > self.longest_block:
            self.damage = words.impossible_block(self.position, length)
            return False
        size = (length + 3) & ~3
        if not self.has(size):
            return False
        again = self.u32(self.at + size - 4)
        if (again + 3) & ~3 != size:  # the same comparison as in Wireshark
            self.damage = words.unequal_lengths(self.position, length, again)
            return False
        return True

    def is_frame(self, kind: i64, length: i64) -> bool:
        """Return whether the block at `at`, which counts as a frame, is complete and long enough for its type.

        Report invalid lengths as damage.
        """
        if self.is_whole(length):
            least: i64 = ENHANCED_FIXED
            if kind != ENHANCED:
                least = blocks.PACKET_KINDS[kind]
            if (length + 3) & ~3 >= least:
                return True
            self.damage = words.short_block(self.position)
        if self.damage is not None:
            self.damage = f"packet {self.frame + 1}: {self.damage}"
        return False

    def frame_block(self, packet: Packet, kind: i64, length: i64) -> bool:
        """Fill the packet from the block at `at`; return False if its packet is invalid."""
        size = (length + 3) & ~3
        if kind in (ENHANCED, PACKET):
            good = self.read_packet(packet, kind, size)
        elif kind == SIMPLE:
            good = self.simple(packet, size)
        else:
            packet.interface, packet.link_type = self.base, NO_PACKET
            self.fill(packet, 0, 0, 0)
            self.times.add(packet, self.times.last)
            good = True
        if good:
            self.at += size
        return good

    def read_packet(self, packet: Packet, kind: i64, size: i64) -> bool:
        """Fill the packet from an Enhanced Packet Block or a Packet Block; return False if it is invalid."""
        at, block = self.at, self.block
        if self.big:
            interface, high, low = u32(block, at + 8), u32(block, at + 12), u32(block, at + 16)
            captured, length = u32(block, at + 20), u32(block, at + 24)
        else:
            interface, high, low = u32_little(block, at + 8), u32_little(block, at + 12), u32_little(block, at + 16)
            captured, length = u32_little(block, at + 20), u32_little(block, at + 24)
        if kind == PACKET:
            interface = interface >> 16 if self.big else interface & 0xFFFF
        if not self.is_sound(interface, captured, size - ENHANCED_FIXED):
            return False
        interface += self.base
        if interface != self.clock_of:
            self.change_clock(interface, high, low)
        packet.interface, packet.link_type = interface, self.clock.link_type
        self.fill(packet, ENHANCED_FIXED - 4, captured, length)
        self.times.add(packet, self.clock.time(high, low))
        self.times.watch(packet)
        return True

    def simple(self, packet: Packet, size: i64) -> bool:
        """Fill the packet from a Simple Packet Block; return False if it is invalid.

        The packet belongs to the first interface of the section, and gets the time of the previous packet.
        """
        length = self.u32(self.at + 8)
        captured = length
        if self.base < self.known:
            described = self.interfaces[self.base]
            if 0 < described.snaplen < captured:
                captured = described.snaplen
            packet.link_type = described.link_type
        if not self.is_sound(0, captured, size - SIMPLE_FIXED):
            return False
        packet.interface = self.base
        self.fill(packet, SIMPLE_FIXED - 4, captured, length)
        self.times.add(packet, self.times.last)
        return True

    def is_sound(self, interface: i64, captured: i64, room: i64) -> bool:
        """Return whether the lengths and interface number of a packet in a block are valid; if not, report that as damage.

        `room`: the number of bytes that the block has for the packet.
        """
        if self.base + interface < self.known and captured <= self.longest and captured <= room:
            return True
        if self.base + interface >= self.known:
            damage = words.unknown_interface(self.position, interface)
        elif captured > self.longest:
            damage = words.too_long_in_block(self.position, captured)
        else:
            damage = words.longer_than_block(self.position, captured)
        self.damage = f"packet {self.frame + 1}: {damage}"
        return False

    def change_clock(self, interface: i64, high: i64, low: i64) -> None:
        """Set `clock` to the clock of an interface.

        `high` and `low`: the upper and lower 32 bits of a packet's timestamp. If no earlier packet had a timestamp, this one
        becomes the time of the first packet.
        """
        described = self.interfaces[interface]
        if self.times.first is None:
            self.times.first = blocks.nanoseconds(int(high) << 32 | int(low), described)
        clock = self.clocks.get(interface)
        if clock is None:
            clock = self.clocks[interface] = InterfaceClock(described, self.times.first)
        self.clock, self.clock_of = clock, interface

    def describe(self, kind: i64, length: i64) -> bool:
        """Read a section header or an interface description. Return False if reading cannot continue after it."""
        at = self.at
        if kind == SECTION:
            order = section_order(self.block[at : at + SMALLEST])
            if order is None:
                self.damage = words.no_byte_order(self.position)
                return False
            self.order, self.big = order, order == ">"
            length = self.u32(at + 4)
        if not self.is_whole(length):
            return False
        size = (length + 3) & ~3
        block = self.block[self.at : self.at + size]
        if kind == SECTION:
            self.damage = self.section_damage(block)
            if self.is_continued:
                self.known = self.base
            else:
                self.base = self.known
        else:
            interface = blocks.describe_interface(block, self.order)
            if interface is None:
                self.damage = words.bad_interface(self.position)
            else:
                self.add_interface(self.same.setdefault(interface, interface))
        if self.damage is not None:
            return False
        self.at += size
        return True

    def add_interface(self, interface: Interface) -> None:
        """Add an interface to the section. If it continues an interface of the previous section, the number stays the same."""
        if self.known < len(self.interfaces):
            if self.interfaces[self.known] == interface:
                self.known += 1
                return
            continued = self.interfaces[self.base : self.known]
            self.base = len(self.interfaces)
            self.interfaces += continued
        self.interfaces.append(interface)
        self.known = len(self.interfaces)

    def count_drops(self, length: i64) -> None:
        """Read the number of dropped packets from the Interface Statistics Block at `at`."""
        said = drops.read_statistics(self.block[self.at : self.at + ((length + 3) & ~3)], self.order)
        if said is None or self.base + said.interface >= self.known:
            return
        first = self.times.first
        since = None if said.since is None or first is None else min(max(said.since - first, -LATEST), LATEST)
        until = int(self.times.latest)
        if said.until is not None and first is not None:
            until = max(until, min(said.until - first, LATEST))
        self.drops.add(drops.Count(int(self.base + said.interface), since, until, said.total, said.received))

    def section_damage(self, block: bytes) -> str | None:
        """Return a sentence that describes the damage of a section header, or None if the header is valid."""
        if len(block) < SECTION_FIXED:
            return words.short_section(self.position, len(block))
        major, minor = struct.unpack_from(self.order + "HH", block, 12)
        if major != 1 or minor not in (0, 2):
            return words.unsupported_section(self.position, major, minor)
        if blocks.read_options(block[24:-4], self.order) is None:
            return words.bad_section_options(self.position)
        return None

    def end(self) -> None:
        """Report an incomplete block at the end of the file as damage."""
        if self.damage is not None or not self.size - self.at:
            return
        left = self.size - self.at
        if left < SMALLEST:
            self.damage = words.cut_block_header(self.position, SMALLEST, left)
            return
        self.damage = words.cut_block(self.position, self.u32(self.at + 4), left)
        if self.u32(self.at) in blocks.FRAME_BLOCKS or self.u32(self.at) == ENHANCED:
            self.damage = f"packet {self.frame + 1}: {self.damage}"
