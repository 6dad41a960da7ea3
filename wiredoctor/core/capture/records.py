"""Read the packet records of a capture file one by one: the common part of all file formats."""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64, mypyc_attr

from wiredoctor import limits
from wiredoctor.capture.clock_steps import ClockSteps, Step
from wiredoctor.capture.drops import Drops
from wiredoctor.capture.model import Interface
from wiredoctor.core.capture.packet import Packet
from wiredoctor.core.tcp.host_clocks import ClockShifts
from wiredoctor.core.tcp.segment import NEVER
from wiredoctor.core.unsigned import u32, u32_little
from wiredoctor.system import read_at

BLOCK: Final = 1 << 18
"""The number of bytes that are read from a file at a time."""

LATEST: Final = (1 << 61) - 1
"""The maximum time in ns (73 years) between a packet and the first one. With it, sums of three times fit in 64 bits."""

LEAST: Final = 1_000_000
"""If a packet's time is more than this many ns before the previous packet's time, this counts as a backward step of the clock.

Smaller disorder is normal with several processors or queues.
"""

SHUFFLED: Final = 50_000_000
"""Threads of a capture program write packets late by at most this many ns. If a time goes back further, the clock was set back.

Time services do not set a clock back by smaller amounts: they slow the clock down instead.
"""

AHEAD: Final = 86_400_000_000_000
"""The maximum time in ns (a day) by which one packet advances the watermark. A packet further ahead may have a wrong time."""

ACROSS: Final = 500_000_000
"""The maximum disorder in ns between the packets of different interfaces, which dumpcap delivers in blocks; 190 ms were measured.
"""


@mypyc_attr(allow_interpreted_subclasses=True)
class Source:
    """A capture file that is read through a file descriptor.

    `place`: the position of its first byte among the bytes of all files of the capture.
    """

    def __init__(self, descriptor: int, place: i64) -> None:
        self.descriptor: int = descriptor
        self.place: i64 = place

    def read(self, offset: i64, size: i64) -> bytes:
        """Return `size` bytes of the file, beginning at `offset`; fewer only at the end of the file."""
        block = read_at(self.descriptor, size, offset)
        while 0 < len(block) < size:
            more = read_at(self.descriptor, size - len(block), offset + len(block))
            if not more:
                break
            block += more
        return block


class Newest:
    """The frame number and time of an interface's newest packet with a timestamp."""

    def __init__(self) -> None:
        self.frame: i64 = 0
        self.time: i64 = 0


class Times:
    """The times of the records read so far, and the steps at which their clock went backward."""

    def __init__(self) -> None:
        self.first: int | None = None
        """The time of the first packet with a timestamp, in ns since 1970."""
        self.last: i64 = 0
        """The time of the newest packet."""
        self.earliest: i64 = LATEST
        self.latest: i64 = -LATEST
        """The watermark: the latest time so far. A single packet far ahead of all others is ignored."""
        self.ahead: i64 = 0
        """The time of the newest packet that was far ahead of `latest`."""
        self.ahead_frame: i64 = 0
        self.steps: ClockSteps = ClockSteps()
        self.shuffled: ClockSteps = ClockSteps()
        """The packets that were out of order in the file and were sorted."""
        self.is_ordered: bool = False
        """True if ordering.py decides why times go backward. In this case, `newest_step` is the newest backward step."""
        self.newest_step: Step | None = None
        self.is_shuffled: bool = False
        """True if packets may be out of order."""
        self.newest: dict[int, Newest] = {}
        self.interface: i64 = NEVER
        self.of_interface: Newest = Newest()
        """The entry of `newest` for the current interface."""
        self.is_stamped: bool = False
        """True if the newest packet has a timestamp."""

    def add(self, packet: Packet, time: i64) -> None:
        """Set the time of a packet, and its watermark: the latest time up to this packet."""
        time = min(max(time, -LATEST), LATEST)
        self.last = time
        if time > self.latest and (time - self.latest <= AHEAD or self.is_confirmed(packet.frame, time)):
            self.latest = time
        if time < self.earliest:
            self.earliest = time
        packet.time = time
        packet.clock = self.latest
        self.is_stamped = False

    def is_confirmed(self, frame: i64, time: i64) -> bool:
        """Return whether a timestamp that is far ahead of all earlier ones can be trusted.

        The first timestamp of a file is trusted. A later timestamp is trusted if the previous packet's timestamp is near it but
        not equal. Equal timestamps are no confirmation, because a packet without a timestamp gets the time of the previous
        packet.
        """
        apart = time - self.ahead
        is_similar = frame == self.ahead_frame + 1 and apart != 0 and -AHEAD <= apart <= AHEAD
        self.ahead, self.ahead_frame = time, frame
        return is_similar or self.earliest == LATEST

    def watch(self, packet: Packet) -> None:
        """Record a clock step if this packet's time is more than 1 ms before the previous time on the same interface."""
        if packet.interface != self.interface:
            self.change_interface(packet)
        self.is_stamped = True
        newest = self.of_interface
        if newest.time - packet.time > LEAST and newest.frame > 0:
            self.add_step(Step(packet.frame, packet.time, newest.frame, newest.time))
        newest.frame = packet.frame
        newest.time = packet.time

    def add_step(self, step: Step) -> None:
        """Count a step by which a clock went backward. If records are being sorted, keep it for ordering.py instead."""
        if self.is_ordered:
            self.newest_step = step
            return
        self.steps.add(step)
        self.is_shuffled = True

    def change_interface(self, packet: Packet) -> None:
        """Set `of_interface` for a packet whose interface differs from that of the previous packet."""
        interface = packet.interface
        if self.latest - packet.time > LEAST and not self.is_ordered:
            self.is_shuffled = True
        newest = self.newest.get(interface)
        if newest is None:
            newest = self.newest[interface] = Newest()
        self.interface, self.of_interface = interface, newest


class Records:
    """The packet records of a file.

    `next` returns False at the end of the available data, and may be called again after the file has grown. When the file no
    longer grows, `end` is called and reports an incomplete record.
    """

    format: str = ""

    def __init__(self, source: Source) -> None:
        self.source: Source = source
        self.block: bytes = b""
        self.block_size: i64 = BLOCK
        """The number of bytes that are read at a time; for a longer record, more are read."""
        self.size: i64 = 0
        """The size of the block in bytes."""
        self.begin: i64 = 0
        """The position of the block in the file."""
        self.at: i64 = 0
        """The position of the next record in the block."""
        self.big: bool = False
        """True if numbers are big-endian."""
        self.after_blocks: i64 = 0
        """The file offset after the newest pcapng block that contains no packet."""
        self.frame: i64 = 0
        self.moved: i64 = 0
        """The number of the newest frame that was moved ahead of other packets, because the file is not in time order."""
        self.longest: i64 = limits.PACKET.value
        self.snap_length: i64 = NEVER
        """The captured length in bytes of the longest truncated packet, or NEVER if no packet is truncated."""
        self.interfaces: list[Interface] = []
        self.damage: str | None = None
        self.times: Times = Times()
        self.drops: Drops = Drops()
        self.shifts: ClockShifts | None = None
        """The differences of the clocks if captures of several hosts were merged; None if they are not known yet."""

    @property
    def position(self) -> int:
        """The number of bytes read from the file."""
        return self.begin + self.at

    def next(self, packet: Packet) -> bool:
        """Fill the packet from the next record. Return False if there is none, or if it is incomplete or invalid."""
        raise NotImplementedError

    def end(self) -> None:
        """Report an incomplete record at the end of the file as damage."""
        raise NotImplementedError

    def locate(self, frame: i64) -> tuple[int, int] | None:
        """Return the number of the file with this frame, and the frame number in that file; None if there is only one file."""
        del frame
        return None

    def count_from(self, time: int) -> None:
        """Count times from `time` (ns since 1970), not from the first packet. Call this before the first record is read."""
        self.times.first = time

    def state(self) -> tuple[int, int, bool]:
        """Return the state that reading needs in order to continue at another offset.

        It consists of the index of the section's first interface, the number of the section's interfaces, and whether numbers are
        big-endian.
        """
        return 0, 0, self.big

    def restore(self, state: tuple[int, int, bool]) -> None:
        """Restore a state that `state` returned."""
        self.big = state[2]

    def go_on_at(self, offset: i64) -> None:
        """Continue with the record at another offset of the file."""
        self.begin, self.at = offset, 0
        self.block, self.size = b"", 0

    def has(self, size: i64) -> bool:
        """Return whether the file has `size` more bytes after `at`. If they are not in the current block, read a new block."""
        return self.at + size <= self.size or self.read_on(size)

    def read_on(self, size: i64) -> bool:
        """Read a new block from the file, beginning at the byte `at` of the current block. Return whether it has `size` bytes."""
        self.begin += self.at
        self.at = 0
        most = self.block_size
        if size > most:
            most = size
        self.block = self.source.read(self.begin, most)
        self.size = len(self.block)
        return size <= self.size

    def u32(self, at: i64) -> i64:
        """Return the unsigned 32-bit number at an index of the block, in the byte order of the file."""
        return u32(self.block, at) if self.big else u32_little(self.block, at)

    def fill(self, packet: Packet, header: i64, captured: i64, length: i64) -> None:
        """Fill the packet from the record at `at`.

        `header`: the size of the record header. `captured`: the number of captured bytes. `length`: the number of bytes on the
        network.
        """
        self.frame += 1
        packet.frame = self.frame
        packet.block = self.block
        packet.block_place = self.source.place + self.begin
        packet.at = self.at + header
        packet.end = packet.at + captured
        packet.wire_length = length if length > captured else captured
        if captured < length and captured > self.snap_length:
            self.snap_length = captured
