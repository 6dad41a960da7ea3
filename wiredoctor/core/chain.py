"""The records of several files as one capture: packets in order of time, as mergecap(1) writes them.

At each step the file goes on whose next packet is the earliest; of equal times, the file named last. A file is opened when its
first packet is due and closed after its last: of a rotation one file is open, at a cut two.
"""

from __future__ import annotations

from bisect import bisect_right
from heapq import heapify, heappop, heappush
from typing import Final

from mypy_extensions import i64, mypyc_attr

from wiredoctor import limits
from wiredoctor.capture.drops import Count
from wiredoctor.capture.model import Interface
from wiredoctor.core.packet import NO_PACKET, Packet
from wiredoctor.core.records import BLOCK, LATEST, Records, Source

NAMED_FILES: Final = 3
"""Damaged files that are named; the others are counted."""
LEAST_BLOCK: Final = 1 << 14
BLOCKS: Final = 1 << 24
"""Bytes that the blocks of all open files should not exceed by much."""


@mypyc_attr(allow_interpreted_subclasses=True)
class Files:
    """The files of a chain, by their number."""

    def open(self, number: i64) -> Records | None:
        """Return the records of a file; None if it cannot be read any more."""
        raise NotImplementedError(number)

    def close(self, number: i64, records: Records | None) -> str | None:
        """Close a file whose records have been read, and return what was lost of it, with its name; None if nothing."""
        raise NotImplementedError(number, records)

    def size(self, number: i64) -> i64:
        """Return the bytes of a file, for the progress."""
        raise NotImplementedError(number)


class FrameRuns:
    """Runs of consecutive frames of one file: one for each file of a rotation, more if files overlap in time."""

    def __init__(self) -> None:
        self.first_frames: list[int] = []
        self.files: list[int] = []
        self.first_own_frames: list[int] = []
        self.most: i64 = limits.FRAME_RUNS.value
        self.end: i64 = 0
        """No frame from here on has its run; 0 while all have."""

    def add(self, frame: i64, file: i64, own_frame: i64) -> None:
        """Begin a run at `frame`, which is `own_frame` of `file`."""
        if self.end:
            return
        if len(self.files) >= self.most:
            self.end = frame
            return
        self.first_frames.append(frame)
        self.files.append(file)
        self.first_own_frames.append(own_frame)

    def locate(self, frame: i64) -> tuple[int, int] | None:
        """Return the file that a frame lies in and its number there; None if the files alternate too often to remember it."""
        if not self.files or frame < 1 or 0 < self.end <= frame:
            return None
        run = bisect_right(self.first_frames, frame) - 1
        return self.files[run], self.first_own_frames[run] + frame - self.first_frames[run]


class ChainFile:
    """A file that is open, and its next packet while that waits for those of other files."""

    def __init__(self, number: i64, records: Records) -> None:
        self.number: i64 = number
        self.rank: i64 = -number
        """The lower goes first if times are equal."""
        self.records: Records = records
        self.kept: Packet | None = None
        """Holds the next packet if `is_waiting`."""
        self.is_waiting: bool = False
        self.shift: i64 = 0
        """ns between the first packets of the chain and of this file."""
        self.is_shifted: bool = False
        self.own_interface: i64 = -1
        """The number of the interface of the newest packet in the file."""
        self.interface: i64 = -1
        """And among those of the chain."""
        self.numbers: dict[int, int] = {}
        """Numbers among those of the chain of all interfaces of the file that were needed."""


class ChainRecords(Records):
    """The packet records of several files. `first_times`: nanoseconds since 1970 of the first packet of each file, or None.

    Interfaces of several files with equal numbers and descriptions are one if `one_interface` is true.
    """

    format: str = "pcap"

    def __init__(self, source: Source, files: Files, first_times: list[int | None], one_interface: bool) -> None:
        super().__init__(source)
        self.files: Files = files
        self.one_interface: bool = one_interface
        known = [time for time in first_times if time is not None]
        first = min(known) if known else None
        self.times.first = first
        self.due: list[tuple[int, int]] = []
        """(time of the next packet, rank) of each file that is not the active one, as a heap."""
        for number, own in enumerate(first_times):
            self.due.append((0 if own is None or first is None else clipped(own - first), -number))
        heapify(self.due)
        self.due_time: i64 = 0
        self.due_rank: i64 = 0
        """due[0]"""
        self.active: ChainFile | None = None
        self.waiting: dict[int, ChainFile] = {}
        self.damages: dict[int, str] = {}
        self.alike: dict[tuple[int, Interface], int] = {}
        """Numbers of the interfaces of a rotation."""
        self.runs: FrameRuns = FrameRuns()
        self.newest_file: i64 = -1
        self.done: i64 = 0
        """Bytes of the files that have been read."""

    @property
    def position(self) -> int:
        """Bytes of the files that are read; those of compressed files as they are."""
        position = int(self.done)
        for file in self.waiting.values():
            position += min(file.records.position, self.files.size(file.number))
        active = self.active
        return position if active is None else position + min(active.records.position, self.files.size(active.number))

    def next(self, packet: Packet) -> bool:
        """Fill the packet from the record that is the earliest. Return False if all files have been read."""
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
        """Do nothing: what is missing of a file is noted when its last packet has been read."""

    def locate(self, frame: i64) -> tuple[int, int] | None:
        """Return the number of the file that a frame lies in, and its number there; None if it is not remembered."""
        return self.runs.locate(frame) if frame <= self.frame else None

    def activate(self) -> ChainFile | None:
        """Go on with the file whose next packet is the earliest; return None if there is none."""
        while self.due:
            number = -heappop(self.due)[1]
            self.active = self.waiting.pop(number) if number in self.waiting else self.open(number)
            if self.active is not None:
                self.note_due()
                return self.active
        return None

    def note_due(self) -> None:
        """Note when another file has to go on."""
        if self.due:
            self.due_time, self.due_rank = self.due[0]
        else:
            self.due_time, self.due_rank = LATEST, 1

    def open(self, number: i64) -> ChainFile | None:
        """Open a file; return None, and note what is lost, if it cannot be read."""
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
        """Note how much later the file begins than the chain; before its first packet with a time stamp it is not known."""
        own = file.records.times.first
        if own is None:
            return
        first = self.times.first
        if first is None:
            first = self.times.first = own
        file.shift = clipped(own - first)
        file.is_shifted = True

    def hold(self, packet: Packet, file: ChainFile) -> None:
        """Keep a packet until it is the earliest."""
        if file.kept is None:
            file.kept = Packet()
        copy_record(packet, file.kept)
        file.is_waiting = True
        self.waiting[file.number] = file
        heappush(self.due, (packet.time, file.rank))
        self.active = None

    def hand_out(self, packet: Packet, file: ChainFile) -> None:
        """Number the packet, and note its time and interface among those of all files."""
        self.frame += 1
        packet.frame = self.frame
        records = file.records
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
        """Return the number among all interfaces of one of a file."""
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
        """Close the active file, of which nothing more can be read."""
        file.records.end()
        for count in file.records.drops.counts:
            self.drops.add(self.placed(count, file))
        self.note_damage(file.number, self.files.close(file.number, file.records))
        self.done += self.files.size(file.number)
        self.active = None

    def placed(self, count: Count, file: ChainFile) -> Count:
        """Return a count of a file with the number of its interface, and its times, in the chain."""
        since = None if count.since is None else clipped(count.since + int(file.shift))
        until = clipped(count.until + int(file.shift))
        return Count(int(self.number_of(file, count.interface)), since, until, count.total, count.received)

    def note_damage(self, number: i64, damage: str | None) -> None:
        """Note what was lost of a file."""
        if damage is not None:
            self.damages[number] = damage
            named = [self.damages[one] for one in sorted(self.damages)]
            if len(named) > NAMED_FILES:
                named[NAMED_FILES:] = [f"other damaged files: {len(named) - NAMED_FILES:,}"]
            self.damage = "; ".join(named)


def clipped(time: int) -> int:
    """Return a difference of times as no more than LATEST."""
    return min(max(time, -LATEST), LATEST)


def copy_record(packet: Packet, to: Packet) -> None:
    """Copy the record of a packet, without its frame number."""
    to.time, to.interface, to.link_type = packet.time, packet.interface, packet.link_type
    to.block, to.block_place = packet.block, packet.block_place
    to.at, to.end, to.wire_length = packet.at, packet.end, packet.wire_length
