"""Sort a file whose packets are far out of time order, like reordercap(1), but in bounded memory.

The packets are divided into as few lanes as possible. A lane is a list of runs of consecutive packets, and is in time order.
Usually there is one lane for each appended part, or for each interface whose packets were written late. The lanes are merged by
time, as chain.py merges the files of a capture.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from heapq import heapify
from typing import Final

from mypy_extensions import i64

from wiredoctor import limits
from wiredoctor.capture.clock_steps import Step
from wiredoctor.capture.drops import Drops
from wiredoctor.core.capture.chain import ChainFile, ChainRecords, Files, shift_count
from wiredoctor.core.capture.file_formats import open_records
from wiredoctor.core.capture.file_order import FileOrder
from wiredoctor.core.capture.packet import Packet
from wiredoctor.core.capture.records import LATEST, LEAST, Records, Source

NONE: Final = -1


class Lanes:
    """The lanes of a file: disjoint lists of its packets. The packets of a lane are in time order.

    Lanes are numbered in the order of their first packets. `set_back`: the frames before which a clock was set back, ascending.
    Packets before and after such a point are not sorted together.
    """

    def __init__(self, records: Records, set_back: list[int]) -> None:
        self.records: Records = records
        self.set_back: list[int] = set_back
        self.packet: Packet = Packet()
        self.order: FileOrder = FileOrder()
        self.starts: array[int] = array("q")
        """The offset in the file of each run: consecutive packets that belong to one lane (a part of the file in time order)."""
        self.frames: array[int] = array("q")
        """The first frame of each run."""
        self.counts: array[int] = array("q")
        """The number of packets in each run."""
        self.following: array[int] = array("q")
        """For each run (consecutive packets of one lane), the next run of the same lane; NONE for the last one."""
        self.first_runs: list[int] = []
        """The first run (consecutive packets) of each lane."""
        self.first_times: list[int] = []
        """The time of the first packet in each lane, in ns since the first packet of the file."""
        self.sections: list[int] = []
        """The number of the section to which each lane belongs. A new section begins where a clock was set back."""
        self.states: list[tuple[int, int, bool]] = []
        self.state_frames: list[int] = []
        """The first frame for which each of `states` (see Records.state) is valid."""
        self.late: i64 = 0
        """The number of packets whose time is more than 1 ms earlier than that of a packet before them in the file."""
        self.worst: i64 = 0
        """The largest time in ns by which a packet in `late` is earlier than a packet before it in the file."""
        self.limit: limits.Limit | None = None
        """The limit that was reached while the file was divided into lanes (parts in time order); None if no limit was reached.

        It is the limit on lanes, or the limit on runs (consecutive packets of a lane).
        """
        self.section: i64 = 0
        self.tails: list[int] = []
        """The time of the last packet in each lane of the current section (see `sections`), ascending."""
        self.open: list[int] = []
        """The lanes (parts of the file in time order) of the current section, in the order of `tails`."""
        self.last_runs: list[int] = []
        """The last run (consecutive packets) of each lane."""
        self.current: i64 = NONE
        """The index of the newest packet's lane in `open`."""
        self.tail: i64 = 0
        """The time of the newest packet."""
        self.next_tail: i64 = 0
        """The next packet belongs to the current lane if its time is at least `tail` and less than `next_tail`."""
        self.end: i64 = records.begin
        """The offset after the newest packet."""
        self.count: i64 = 0
        """The number of packets in the current run."""
        self.highest: i64 = -LATEST

    def read(self, most: i64) -> i64:
        """Read at most `most` packets; return how many were read, or 0 if there are too many lanes or runs."""
        records, packet = self.records, self.packet
        most_runs: i64 = limits.SORTED_RUNS.value
        most_lanes: i64 = limits.SORTED_LANES.value
        count: i64 = 0
        while count < most:
            self.end = records.begin + records.at
            if not records.next(packet):
                break
            count += 1
            self.order.add(packet)
            time = packet.time
            start = max(self.end, records.after_blocks)
            if self.set_back and packet.frame == self.set_back[0]:
                del self.set_back[0]
                self.begin_section()
            if start > self.end or not self.states:
                self.note_state(packet.frame)
            if start == self.end and self.current >= 0 and self.tail <= time < self.next_tail:
                self.count += 1
                self.tail = time
            else:
                if len(self.starts) >= most_runs or len(self.first_runs) >= most_lanes:
                    self.limit = limits.SORTED_RUNS if len(self.starts) >= most_runs else limits.SORTED_LANES
                    return 0
                self.begin_run(packet.frame, start, time)
            if time > self.highest:
                self.highest = time
            elif self.highest - time > LEAST:
                self.late += 1
                self.worst = max(self.worst, self.highest - time)
        return count

    def begin_section(self) -> None:
        """Begin new lanes for the following packets, because a clock was set back."""
        self.end_run()
        self.section += 1
        self.tails, self.open, self.current = [], [], NONE
        self.highest = -LATEST

    def end_run(self) -> None:
        """Store the length of the current run, and the time of its last packet."""
        if self.current >= 0:
            self.counts[len(self.counts) - 1] = self.count
            self.tails[self.current] = self.tail

    def begin_run(self, frame: i64, start: i64, time: i64) -> None:
        """Begin a run with the packet captured at `time` (ns).

        The run belongs to the lane whose last packet precedes this time most closely, or to a new lane if there is none.
        """
        self.end_run()
        run = len(self.starts)
        self.starts.append(start)
        self.frames.append(frame)
        self.counts.append(1)
        self.following.append(NONE)
        at: i64 = bisect_right(self.tails, time) - 1
        if at < 0:
            at = 0
            self.tails.insert(0, time)
            self.open.insert(0, len(self.first_runs))
            self.first_runs.append(run)
            self.last_runs.append(run)
            self.first_times.append(time)
            self.sections.append(self.section)
        else:
            lane = self.open[at]
            self.following[self.last_runs[lane]] = run
            self.last_runs[lane] = run
        self.current, self.count, self.tail = at, 1, time
        self.next_tail = self.tails[at + 1] if at + 1 < len(self.tails) else LATEST + 1

    def note_state(self, frame: i64) -> None:
        """Store the state of the file's records (see Records.state) if it has changed."""
        state = self.records.state()
        if not self.states or self.states[len(self.states) - 1] != state:
            self.states.append(state)
            self.state_frames.append(frame)

    def state_at(self, frame: i64) -> tuple[int, int, bool]:
        """Return the stored state of the file's records (see Records.state) at a frame."""
        return self.states[bisect_right(self.state_frames, frame) - 1]

    def finish(self) -> None:
        """Complete the lanes when all packets were read."""
        self.end_run()
        self.order.finish()
        self.records.end()

    @property
    def first_time(self) -> int | None:
        """The time of the earliest packet in ns since 1970; None if no packet has a timestamp."""
        first = self.records.times.first
        return None if first is None else first + min(self.first_times)


class LaneRecords(Records):
    """The records of one lane (a part of the file that is in time order). `inner`: a reader that is only used for this lane."""

    def __init__(self, inner: Records, lanes: Lanes, lane: i64) -> None:
        super().__init__(inner.source)
        self.inner: Records = inner
        self.lanes: Lanes = lanes
        self.times = inner.times
        self.interfaces = inner.interfaces = lanes.records.interfaces
        self.left: i64 = 0
        """The number of packets left in the current run."""
        self.run: i64 = lanes.first_runs[lane]
        """The next run (consecutive packets) of the lane."""

    def next(self, packet: Packet) -> bool:
        """Fill the packet from the next record of the lane. Return False after the last one."""
        inner = self.inner
        if self.left == 0:
            if self.run < 0:
                return False
            self.begin_run()
        if not inner.next(packet):
            self.left, self.run = 0, NONE
            return False
        self.left -= 1
        self.frame, self.snap_length = inner.frame, inner.snap_length
        return True

    def begin_run(self) -> None:
        """Continue at the next run (consecutive packets) of the lane."""
        inner, lanes = self.inner, self.lanes
        start, frame = lanes.starts[self.run], lanes.frames[self.run]
        inner.block_size = self.block_size
        inner.restore(lanes.state_at(frame))
        if inner.begin <= start < inner.begin + inner.size:
            inner.at = start - inner.begin
        else:
            inner.go_on_at(start)
        inner.frame = frame - 1
        self.left, self.run = lanes.counts[self.run], lanes.following[self.run]

    def end(self) -> None:
        """Do nothing: damage was found when the file was divided into lanes."""


class LaneFiles(Files):
    """Presents the lanes of a file (its parts that are in time order) to ChainRecords as if they were separate files.

    If packets have equal times, the one that comes first in the file is returned first.
    """

    def __init__(self, source: Source, name: str, lanes: Lanes) -> None:
        super().__init__()
        self.source: Source = source
        self.name: str = name
        self.lanes: Lanes = lanes

    def open(self, number: i64) -> Records | None:
        """Return the records of a lane. Lanes are numbered backward, because a chain begins with its last file."""
        inner = open_records(self.source, self.name)
        return LaneRecords(inner, self.lanes, len(self.lanes.first_runs) - 1 - number)

    def close(self, number: i64, records: Records | None) -> str | None:
        """Return None: damage was found when the file was divided into lanes."""
        del number, records
        return None

    def size(self, number: i64) -> i64:
        """Return 0, because SortedRecords computes the position itself."""
        del number
        return 0


class SortedRecords(ChainRecords):
    """The records of a file, sorted by time. Frame numbers follow this order, as if reordercap(1) had sorted the file.

    Connection ids follow the order of the file (file_order.py).
    """

    def __init__(self, source: Source, name: str, lanes: Lanes) -> None:
        first, own = lanes.first_time, lanes.records
        start = own.times.first or 0
        numbers = [*range(len(lanes.first_runs) - 1, -1, -1)]
        super().__init__(source, LaneFiles(source, name, lanes), [start + lanes.first_times[lane] for lane in numbers], False)
        self.lanes: Lanes = lanes
        self.format = own.format
        self.interfaces = own.interfaces
        self.later: list[list[tuple[int, int]]] = [[] for _ in range(lanes.section + 1)]
        """For each section after the current one: a heap of its lanes. Between two sections, a clock was set back."""
        for entry in self.due:
            self.later[lanes.sections[len(numbers) - 1 + entry[1]]].append(entry)
        for entries in self.later:
            heapify(entries)
        self.due = self.later.pop(0)
        self.total: i64 = own.frame
        self.file_size: i64 = own.begin + own.at
        self.own_frame: i64 = 0
        """The number that the newest packet has in the file."""
        self.drops = shifted(own.drops, 0 if first is None else start - first)
        shuffled = self.times.shuffled
        shuffled.count, shuffled.worst = int(lanes.late), int(lanes.worst)

    @property
    def position(self) -> int:
        """The number of bytes that the packets read so far would occupy in the file if all packets had the same size."""
        return int(self.frame) * int(self.file_size) // max(int(self.total), 1)

    def activate(self) -> ChainFile | None:
        """Continue with the lane (a part in time order) whose next packet is the earliest. Return None if no lane is left."""
        file = super().activate()
        while file is None and self.later:
            self.due = self.later.pop(0)
            file = super().activate()
        return file

    def hand_out(self, packet: Packet, file: ChainFile) -> None:
        """Set the packet's frame number and time. Record that it was moved if it precedes the previous one in the file."""
        if file.records.frame < self.own_frame:
            self.moved = self.frame + 1
            self.times.shuffled.keep(Step(self.frame, self.times.last, self.moved, packet.time))
        self.own_frame = file.records.frame
        super().hand_out(packet, file)

    def number_of(self, file: ChainFile, own: i64) -> i64:
        """Return the interface number `own` unchanged, because all lanes are from one file."""
        del file
        return own

    def locate(self, frame: i64) -> tuple[int, int] | None:
        """Return None: there is only one file."""
        del frame
        return None

    def end(self) -> None:
        """Report the damage of the file."""
        self.damage = self.lanes.records.damage


def shifted(drops: Drops, by: int) -> Drops:
    """Return counts of dropped packets with `by` ns added to their times."""
    made = Drops()
    for one in drops.counts:
        made.add(shift_count(one, by, one.interface))
    return made
