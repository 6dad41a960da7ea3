"""Combine the packet records of several files into one capture, in time order like mergecap(1).

Each step continues with the file whose next packet is the earliest. If several files have a packet at that time, the file that
was named last goes first. A file is opened when its first packet is due and closed after its last packet. In a rotated capture,
one file is open at a time, or two at a boundary.
"""

from __future__ import annotations

from bisect import bisect_right
from heapq import heapify, heappop, heappush
from typing import Final

from mypy_extensions import i64, mypyc_attr

from wiredoctor import limits
from wiredoctor.capture.clock_steps import Step
from wiredoctor.capture.drops import Count
from wiredoctor.capture.model import Interface
from wiredoctor.core.capture.packet import NO_PACKET, Packet
from wiredoctor.core.capture.records import BLOCK, LATEST, Records, Source

NAMED_FILES: Final = 3
"""The maximum number of damaged files that are reported by name; any others are only counted."""
LEAST_BLOCK: Final = 1 << 14
BLOCKS: Final = 1 << 24
"""The memory in bytes for the read buffers (blocks) of all open files together; each has at least LEAST_BLOCK bytes."""


@mypyc_attr(allow_interpreted_subclasses=True)
class Files:
    """Opens and closes the files of a chain (a capture of several files). `number` is the index of a file in the chain."""

    def open(self, number: i64) -> Records | None:
        """Open a file. Return the reader of its records, or None if the file can no longer be read."""
        raise NotImplementedError(number)

    def close(self, number: i64, records: Records | None) -> str | None:
        """Close a file after reading its records.

        Return a message that names the file and describes the missing data, or None if no data is missing.
        """
        raise NotImplementedError(number, records)

    def size(self, number: i64) -> i64:
        """Return the size of a file in bytes, for the progress display."""
        raise NotImplementedError(number)


class FrameRuns:
    """Finds the file of each frame number. A run is a series of consecutive frames of one file.

    A rotated capture has one run per file; files that overlap in time have more runs.
    """

    def __init__(self) -> None:
        self.first_frames: list[int] = []
        self.files: list[int] = []
        self.first_own_frames: list[int] = []
        self.most: i64 = limits.FRAME_RUNS.value
        self.end: i64 = 0
        """The first frame number for which no run (frames of one file) is stored, because there were too many runs.

        It is 0 while all runs are stored.
        """

    def add(self, frame: i64, file: i64, own_frame: i64) -> None:
        """Begin a run of consecutive frames: frame `frame` of the capture is frame `own_frame` of `file`."""
        if self.end:
            return
        if len(self.files) >= self.most:
            self.end = frame
            return
        self.first_frames.append(frame)
        self.files.append(file)
        self.first_own_frames.append(own_frame)

    def locate(self, frame: i64) -> tuple[int, int] | None:
        """Return the number of the file that contains this frame, and the frame number in that file.

        Return None if no run was stored for this frame, because there were too many runs.
        """
        if not self.files or frame < 1 or 0 < self.end <= frame:
            return None
        run = bisect_right(self.first_frames, frame) - 1
        return self.files[run], self.first_own_frames[run] + frame - self.first_frames[run]


class ChainFile:
    """An open file of a chain. Its next packet is kept while other files have earlier packets."""

    def __init__(self, number: i64, records: Records) -> None:
        self.number: i64 = number
        self.rank: i64 = -number
        """The sort key for files whose next packets have equal times: the lower rank goes first."""
        self.records: Records = records
        self.kept: Packet | None = None
        """The next packet of this file while `is_waiting` is true."""
        self.is_waiting: bool = False
        self.shift: i64 = 0
        """The time in ns from the first packet of the chain to the first packet of this file."""
        self.is_shifted: bool = False
        self.own_interface: i64 = -1
        """The interface number of the newest packet, as in the file."""
        self.interface: i64 = -1
        """The interface number of the newest packet, as in the chain."""
        self.numbers: dict[int, int] = {}
        """Maps an interface number in this file to the number in the chain; contains only interfaces that have occurred."""


class ChainRecords(Records):
    """The packet records of several files.

    `first_times`: the time of each file's first packet in ns since 1970; None if that packet has no timestamp. If `one_interface`
    is true, interfaces of different files with equal numbers and descriptions count as one interface. `origin`: the time that
    counts as 0, in ns since 1970; None means the time of the first packet.
    """

    format: str = "pcap"

    def __init__(
        self, source: Source, files: Files, first_times: list[int | None], one_interface: bool, origin: int | None = None
    ) -> None:
        super().__init__(source)
        self.files: Files = files
        self.one_interface: bool = one_interface
        known = [time for time in first_times if time is not None]
        first = min(known) if known else None
        if origin is not None:
            first = origin
        self.times.first = first
        self.due: list[tuple[int, int]] = []
        """A heap with (time of the next packet, rank) of each file except the active one, which is being read."""
        for number, own in enumerate(first_times):
            self.due.append((0 if own is None or first is None else clip(own - first), -number))
        heapify(self.due)
        self.due_time: i64 = 0
        self.due_rank: i64 = 0
        """The rank in the first entry of `due`."""
        self.active: ChainFile | None = None
        self.waiting: dict[int, ChainFile] = {}
        self.damages: dict[int, str] = {}
        self.alike: dict[tuple[int, Interface], int] = {}
        """Maps the number and description of an interface in a file to its number in the chain, if `one_interface` is true."""
        self.runs: FrameRuns = FrameRuns()
        self.newest_file: i64 = -1
        self.done: i64 = 0
        """The total size in bytes of the files that were read completely."""

    @property
    def position(self) -> int:
        """The number of bytes read so far; for compressed files, the number of compressed bytes."""
        position = int(self.done)
        for file in self.waiting.values():
            position += min(file.records.position, self.files.size(file.number))
        active = self.active
        return position if active is None else position + min(active.records.position, self.files.size(active.number))

    def next(self, packet: Packet) -> bool:
        """Fill the packet from the record with the earliest time. Return False if all files were read."""
        while True:
            file = self.active
            if file is None:
                file = self.activate()
                if file is None:
                    return False
                if file.is_waiting:
                    assert file.kept is not None
                    copy_record(file.kept, packet)
                    file.is_waiting = False
                    self.hand_out(packet, file)
                    return True
            if not file.records.next(packet):
                self.finish(file)
                continue
            if not file.is_shifted:
                self.shift(file)
            packet.time = min(max(packet.time + file.shift, -LATEST), LATEST)
            if packet.time > self.due_time or (packet.time == self.due_time and file.rank > self.due_rank):
                self.hold(packet, file)
            else:
                self.hand_out(packet, file)
                return True

    def end(self) -> None:
        """Do nothing, because `finish` has recorded the damage of each file after its last packet."""

    def locate(self, frame: i64) -> tuple[int, int] | None:
        """Return the number of the file with this frame, and the frame number in that file; None if they are unknown."""
        return self.runs.locate(frame) if frame <= self.frame else None

    def activate(self) -> ChainFile | None:
        """Continue with the file whose next packet is the earliest. Return None if no file is left."""
        while self.due:
            number = -heappop(self.due)[1]
            self.active = self.waiting.pop(number) if number in self.waiting else self.open(number)
            if self.active is not None:
                self.note_due()
                return self.active
        return None

    def note_due(self) -> None:
        """Find the earliest packet in all files except the active one. Store its time and the rank of its file.

        At equal times, the file with the lower rank goes first.
        """
        if self.due:
            self.due_time, self.due_rank = self.due[0]
        else:
            self.due_time, self.due_rank = LATEST, 1

    def open(self, number: i64) -> ChainFile | None:
        """Open a file of the chain. If the file cannot be read, record this as damage and return None."""
        records = self.files.open(number)
        if records is None:
            self.note_damage(number, self.files.close(number, None))
            return None
        if records.format == "pcapng":
            self.format = "pcapng"
        size: i64 = BLOCKS // (len(self.waiting) + 1)
        records.block_size = min(max(size, LEAST_BLOCK), BLOCK)
        return ChainFile(number, records)

    def shift(self, file: ChainFile) -> None:
        """Set `file.shift` as soon as a packet of the file has a timestamp.

        `shift`: the time in ns from the first packet of the chain to the first packet of the file.
        """
        own = file.records.times.first
        if own is None:
            return
        first = self.times.first
        if first is None:
            first = self.times.first = own
        file.shift = clip(own - first)
        file.is_shifted = True

    def hold(self, packet: Packet, file: ChainFile) -> None:
        """Store the current packet of the active file until no other file has an earlier packet."""
        if file.kept is None:
            file.kept = Packet()
        copy_record(packet, file.kept)
        file.is_waiting = True
        self.waiting[file.number] = file
        heappush(self.due, (packet.time, file.rank))
        self.active = None

    def hand_out(self, packet: Packet, file: ChainFile) -> None:
        """Set the frame number, time and interface number that the packet has in the combined capture."""
        self.frame += 1
        packet.frame = self.frame
        records = file.records
        if records.moved == records.frame:
            self.times.shuffled.keep(Step(self.frame - 1, self.times.last, self.frame, packet.time))
        if file.number != self.newest_file:
            self.newest_file = file.number
            self.runs.add(self.frame, file.number, records.frame)
        if packet.interface != file.own_interface:
            file.own_interface = packet.interface
            file.interface = self.number_of(file, packet.interface)
        packet.interface = file.interface
        self.times.add(packet, packet.time)
        if records.times.is_stamped:
            self.times.watch(packet)
        if records.snap_length > self.snap_length:
            self.snap_length = records.snap_length

    def number_of(self, file: ChainFile, own: i64) -> i64:
        """Return the number, in the combined capture, of the interface that has number `own` in its file."""
        found = file.numbers.get(own)
        if found is not None:
            return found
        described = file.records.interfaces
        interface = described[own] if own < len(described) else Interface(NO_PACKET)
        number = self.alike.get((own, interface)) if self.one_interface else None
        if number is None:
            number = len(self.interfaces)
            self.interfaces.append(interface)
        file.numbers[own] = number
        if self.one_interface:
            self.alike[own, interface] = number
        return number

    def finish(self, file: ChainFile) -> None:
        """Close the active file after its last packet, and record its dropped packets and its damage."""
        file.records.end()
        for count in file.records.drops.counts:
            self.drops.add(shift_count(count, int(file.shift), int(self.number_of(file, count.interface))))
        own, shuffled = file.records.times.shuffled, self.times.shuffled
        shuffled.count += own.count
        shuffled.worst = max(shuffled.worst, own.worst)
        self.note_damage(file.number, self.files.close(file.number, file.records))
        self.done += self.files.size(file.number)
        self.active = None

    def note_damage(self, number: i64, damage: str | None) -> None:
        """Record the damage of a file, if any, and name the damaged files in `damage`."""
        if damage is not None:
            self.damages[number] = damage
            named = [self.damages[one] for one in sorted(self.damages)]
            if len(named) > NAMED_FILES:
                named[NAMED_FILES:] = [f"other damaged files: {len(named) - NAMED_FILES:,}"]
            self.damage = "; ".join(named)


def clip(time: int) -> int:
    """Return a time difference (ns), limited to -LATEST to LATEST."""
    return min(max(time, -LATEST), LATEST)


def shift_count(count: Count, by: int, interface: int) -> Count:
    """Return a copy of a count of dropped packets, with its times moved by `by` ns and with the interface number `interface`."""
    since = None if count.since is None else clip(count.since + by)
    return Count(interface, since, clip(count.until + by), count.total, count.received)


def copy_record(packet: Packet, to: Packet) -> None:
    """Copy the packet's record into another packet, except its frame number."""
    to.time, to.interface, to.link_type = packet.time, packet.interface, packet.link_type
    to.block, to.block_place = packet.block, packet.block_place
    to.at, to.end, to.wire_length = packet.at, packet.end, packet.wire_length
