"""The packet records of a capture file, one after the other: what all file formats have in common."""

from __future__ import annotations

import os
from typing import Final

from mypy_extensions import i64, mypyc_attr

from wiredoctor import limits
from wiredoctor.capture.clock_steps import ClockSteps, Step
from wiredoctor.capture.drops import Drops
from wiredoctor.capture.model import Interface
from wiredoctor.core.packet import Packet
from wiredoctor.core.segment import NEVER
from wiredoctor.core.unsigned import u32, u32_little

BLOCK: Final = 1 << 18
"""Bytes of a file that are read at a time."""

LATEST: Final = (1 << 61) - 1
"""ns. No time is further than 73 years from the first packet, so that sums of three times fit 64 bits."""

LEAST: Final = 1_000_000
"""ns. A clock that was set back by more makes a step: packets of several processors or queues are recorded a little out of
order."""

SHUFFLED: Final = 50_000_000
"""ns. Threads of a capture write no later than this; a clock is rather slewed than set back by less."""

ACROSS: Final = 500_000_000
"""ns. dumpcap hands over the packets of each of several interfaces in blocks: measured were 190 ms of disorder."""


@mypyc_attr(allow_interpreted_subclasses=True)
class Source:
    """A capture file that is read in blocks by its descriptor. `place`: that of its first byte among the bytes of all files."""

    def __init__(self, descriptor: int, place: i64) -> None:
        self.descriptor: int = descriptor
        self.place: i64 = place

    def read(self, offset: i64, size: i64) -> bytes:
        """Return `size` bytes of the file from `offset` on, fewer only at its end."""
        block = os.pread(self.descriptor, size, offset)
        while 0 < len(block) < size:
            more = os.pread(self.descriptor, size - len(block), offset + len(block))
            if not more:
                break
            block += more
        return block


class Newest:
    """The newest packet with a time stamp of an interface."""

    def __init__(self) -> None:
        self.frame: i64 = 0
        self.time: i64 = 0


class Times:
    """The times of the records so far, and where a clock was set back."""

    def __init__(self) -> None:
        self.first: int | None = None
        """Nanoseconds since 1970 of the first packet with a time stamp."""
        self.last: i64 = 0
        """Of the newest packet."""
        self.earliest: i64 = LATEST
        self.latest: i64 = -LATEST
        self.steps: ClockSteps = ClockSteps()
        self.shuffled: ClockSteps = ClockSteps()
        """Packets that are out of order in the file, and were put in order."""
        self.is_ordered: bool = False
        """Whether ordering.py decides what a step means: it is `newest_step` then."""
        self.newest_step: Step | None = None
        self.is_shuffled: bool = False
        """Whether a step that was counted may be no step of the clock."""
        self.newest: dict[int, Newest] = {}
        self.interface: i64 = NEVER
        self.of_interface: Newest = Newest()
        """newest[interface]"""
        self.is_stamped: bool = False
        """Whether the newest packet has a time stamp."""

    def add(self, packet: Packet, time: i64) -> None:
        """Set the time of the packet and the watermark at it."""
        time = min(max(time, -LATEST), LATEST)
        self.last = time
        if time > self.latest:
            self.latest = time
        if time < self.earliest:
            self.earliest = time
        packet.time = time
        packet.clock = self.latest
        self.is_stamped = False

    def watch(self, packet: Packet) -> None:
        """Count a step if the clock of the interface of this packet, which has a time stamp, was set back."""
        if packet.interface != self.interface:
            self.change_interface(packet)
        self.is_stamped = True
        newest = self.of_interface
        if newest.time - packet.time > LEAST and newest.frame > 0:
            self.add_step(Step(packet.frame, packet.time, newest.frame, newest.time))
        newest.frame = packet.frame
        newest.time = packet.time

    def add_step(self, step: Step) -> None:
        """Count a step, or leave it to ordering.py."""
        if self.is_ordered:
            self.newest_step = step
            return
        self.steps.add(step)
        if step.time_before - step.time <= SHUFFLED:
            self.is_shuffled = True

    def change_interface(self, packet: Packet) -> None:
        """Set `of_interface` to that of the packet, which is of another interface than the one before."""
        interface = packet.interface
        behind = self.latest - packet.time
        if behind > LEAST and behind <= ACROSS and not self.is_ordered:
            self.is_shuffled = True
        newest = self.newest.get(interface)
        if newest is None:
            newest = self.newest[interface] = Newest()
        self.interface, self.of_interface = interface, newest


class Records:
    """The packet records of a file. `next` returns False at the end of what the file holds, and may be called again when it has
    grown; `end` notes what is missing if it does not grow any more."""

    format: str = ""

    def __init__(self, source: Source) -> None:
        self.source: Source = source
        self.block: bytes = b""
        self.block_size: i64 = BLOCK
        """Bytes that are read at a time; a longer record takes what it needs."""
        self.size: i64 = 0
        """Bytes of the block."""
        self.begin: i64 = 0
        """Where the block begins in the file."""
        self.at: i64 = 0
        """Where the next record begins in the block."""
        self.big: bool = False
        """Numbers are big-endian."""
        self.frame: i64 = 0
        self.longest: i64 = limits.PACKET.value
        self.snap_length: i64 = NEVER
        """The most that was captured of a packet that was cut; NEVER if all are whole."""
        self.interfaces: list[Interface] = []
        self.damage: str | None = None
        self.times: Times = Times()
        self.drops: Drops = Drops()

    @property
    def position(self) -> int:
        """Bytes of the file that are read."""
        return self.begin + self.at

    def next(self, packet: Packet) -> bool:
        """Fill the packet from the next record. Return False if none is there, or not all of it."""
        raise NotImplementedError

    def end(self) -> None:
        """Note as damage what is missing of a record at the end of the file."""
        raise NotImplementedError

    def locate(self, frame: i64) -> tuple[int, int] | None:
        """Return the number of the file that a frame lies in, and its number there; None if there is one file."""
        del frame
        return None

    def go_on_at(self, offset: i64) -> None:
        """Read the next record at another offset of the file."""
        self.begin, self.at = offset, 0
        self.block, self.size = b"", 0

    def has(self, size: i64) -> bool:
        """Return whether `size` bytes from `at` on are in the file, and read them into the block."""
        return self.at + size <= self.size or self.read_on(size)

    def read_on(self, size: i64) -> bool:
        """Read the block that begins at `at`; return whether it has `size` bytes."""
        self.begin += self.at
        self.at = 0
        most = self.block_size
        if size > most:
            most = size
        self.block = self.source.read(self.begin, most)
        self.size = len(self.block)
        return size <= self.size

    def u32(self, at: i64) -> i64:
        """Return the number at this index of the block, in the byte order of the file."""
        return u32(self.block, at) if self.big else u32_little(self.block, at)

    def fill(self, packet: Packet, header: i64, captured: i64, length: i64) -> None:
        """Take over a packet of `captured` bytes, whose record begins at `at` with a header of this size."""
        self.frame += 1
        packet.frame = self.frame
        packet.block = self.block
        packet.block_place = self.source.place + self.begin
        packet.at = self.at + header
        packet.end = packet.at + captured
        packet.wire_length = length if length > captured else captured
        if captured < length and captured > self.snap_length:
            self.snap_length = captured
