"""Open captures and their packet records, for the first and later passes."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from types import TracebackType

from wiredoctor.capture import CaptureError, Input, NoRoom, TooManyFiles
from wiredoctor.capture.files import CaptureFile, Content, OpenFiles, find_descriptor, find_file, reason
from wiredoctor.capture.formats import is_capture
from wiredoctor.capture.model import Ending, readable
from wiredoctor.capture.spool import not_a_capture
from wiredoctor.core.capture.chain import ChainRecords, Files
from wiredoctor.core.capture.file_formats import open_records
from wiredoctor.core.capture.packet import Packet
from wiredoctor.core.capture.records import Records, Source
from wiredoctor.core.capture.sorting import Lanes, SortedRecords
from wiredoctor.core.tcp.host_clocks import ClockShifts

_FIRST_BLOCK = 1 << 12
"""The number of bytes read from a file to find its first packet."""
_HEAD, _LONGEST_HEAD = 1 << 16, 1 << 20
"""The number of bytes unpacked from a compressed file to find its first packet.

_HEAD bytes are tried first, then _LONGEST_HEAD bytes, which is more than the longest packet.
"""
_LEAST = 24
"""The size in bytes of a pcap file header."""
_PAGE = 1 << 12
"""The number of unused positions between two files (see ChainSource).

They ensure that a position just before the start of a file is not in the previous file.
"""


class CaptureFiles:
    """An open capture: one file, or several that are read as one.

    `name` is the capture's name in reports. With `rotation`, one program wrote the files one after the other, so equal interfaces
    in different files count as one. Use the object as a context manager; its records can be read until the context ends.
    """

    def __init__(self, name: str, members: Sequence[CaptureFile], opened: OpenFiles, *, rotation: bool = False) -> None:
        self.file = readable(name)
        self.members = members
        self.rotation = rotation
        self.first_times: list[int | None] = [None] * len(members)
        """The time of the first packet in each file, in ns since 1970; None if unknown."""
        self.unread: list[str] = []
        """One sentence for each file that is missing from `members` because disk space did not suffice."""
        self.first_pass: Records | None = None
        """The records as read by the first pass."""
        self.is_order_known = False
        """True if a pass found timestamps that go backward, and `time_order.examine` has found out why."""
        self.is_shuffled = False
        """True if packets are slightly out of order, so they are sorted while they are read."""
        self.is_disorder_proved = False
        """True if TCP connections prove the disorder of every file whose packets are slightly out of order."""
        self.lanes: list[Lanes | None] = [None] * len(members)
        """For each file that must be sorted, its lanes: parts that are in time order (sorting.py). None for other files."""
        self.are_clocks_known = False
        """True if a pass found hosts with different clocks, and `time_order.compare_clocks` has compared them."""
        self.clock_shifts: ClockShifts | None = None
        """The differences of the clocks if captures of several hosts were merged."""
        self.origin: int | None = None
        """The time of the earliest packet in ns since 1970, once `time_order.examine` has found it; before that, None."""
        self._opened = opened

    @property
    def is_sorted(self) -> bool:
        """True if the reader sorts at least one file by time; frame numbers then differ from the order in that file."""
        return any(lanes is not None for lanes in self.lanes)

    @property
    def clock_corrections(self) -> Sequence[int]:
        """The times (ns) by which the clocks of hosts are corrected; empty if all clocks agree, or were not compared."""
        return () if self.clock_shifts is None else self.clock_shifts.of_hosts

    @property
    def is_growing(self) -> bool:
        """Always false: the files are complete."""
        return False

    @property
    def files(self) -> tuple[str, ...]:
        """The names of the files; empty if there is only one."""
        return tuple(readable(one.name) for one in self.members) if len(self.members) > 1 else ()

    @property
    def size(self) -> int:
        """The total size of all files in bytes; for a compressed file, its compressed size."""
        return sum(one.size for one in self.members)

    @property
    def first_time(self) -> int | None:
        """The time of the first packet with a timestamp, in ns since 1970; None until a first pass has read that packet."""
        return None if self.first_pass is None else self.first_pass.times.first

    @property
    def lost(self) -> str | None:
        """A description of the data that could not be read when the only file was opened.

        None if that file was undamaged, or if there are several files.
        """
        return self.members[0].lost if len(self.members) == 1 else None

    @property
    def incomplete(self) -> list[str]:
        """One sentence for each file that was read only in part, or not at all, because of a limit or a full disk."""
        return [*(one.cut for one in self.members if one.cut is not None), *self.unread]

    @property
    def ending(self) -> Ending | None:
        """The time at which capturing ended, and the number of packets, from the last block of the last file.

        None if that block does not contain them.
        """
        try:
            return self.members[-1].open().ending()
        except CaptureError:  # the file was removed in the meantime
            return None

    def locate(self, frame: int) -> tuple[str, int] | None:
        """Return the name of the file that contains a frame, and the frame's number in that file; None if there is only one file.

        The name is one of `files`.
        """
        found = None if self.first_pass is None else self.first_pass.locate(frame)
        return None if found is None else (readable(self.members[found[0]].name), found[1])

    def close(self) -> None:
        """Close the files."""
        self._opened.forget(self.members)

    def __enter__(self) -> CaptureFiles:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def open_capture_records(capture: CaptureFiles) -> Records:
    """Return the records of an open capture, beginning with its first packet. Raise CaptureError if the format is unknown."""
    if len(capture.members) > 1:
        source = ChainSource(capture)
        records = ChainRecords(source, _Members(capture, source), capture.first_times, capture.rotation, capture.origin)
    else:
        records = _open_file(ContentSource(capture.members[0].open(), 0), capture.file, capture.lanes[0])
        if capture.origin is not None and capture.lanes[0] is None:
            records.count_from(capture.origin)
    records.shifts = capture.clock_shifts
    if capture.first_pass is None:
        capture.first_pass = records
    return records


def _open_file(source: Source, name: str, lanes: Lanes | None) -> Records:
    """Return the records of a file. Raise CaptureError if the format is unknown.

    `lanes`: the parts of the file that are in time order, if it must be sorted by time; otherwise None.
    """
    return open_records(source, name) if lanes is None else SortedRecords(source, name, lanes)


def open_capture_files(what: Input, opened: OpenFiles, on_error: Callable[[str], None]) -> CaptureFiles:
    """Return an open capture of one or several files.

    If one of several files cannot be read, it is left out, and `on_error` is called with one line about it. Raise CaptureError if
    no file can be read; the error is NoRoom if there was not enough disk space for unpacking.
    """
    if len(what.files) == 1:
        return _one_file(find_file(what.files[0], opened), opened)
    members: list[CaptureFile] = []
    first_times: list[int | None] = []
    unread: list[str] = []
    for name in what.files:
        try:
            member = find_file(name, opened)
            first_times.append(_first_time(member))
            members.append(member)
        except NoRoom as error:
            unread += error.sentences
        except CaptureError as error:
            on_error(str(error))
    if not members:
        text = f"{what.name}: none of these files can be read"
        raise NoRoom(text, unread) if unread else CaptureError(text)
    capture = CaptureFiles(what.name, members, opened, rotation=what.rotation)
    capture.first_times, capture.unread = first_times, unread
    return capture


def open_descriptor(descriptor: int, name: str, opened: OpenFiles) -> CaptureFiles:
    """Return an open capture of the uncompressed file with this descriptor. The capture uses a duplicate of the descriptor.

    Raise CaptureError if the format is unknown.
    """
    return _one_file(find_descriptor(descriptor, name, opened), opened)


def _one_file(file: CaptureFile, opened: OpenFiles) -> CaptureFiles:
    capture = CaptureFiles(file.name, [file], opened)
    first = open_records(ContentSource(file.open(), 0), file.name)
    _check_first(first, file, file.lost)
    capture.first_times = [first.times.first]
    return capture


def _first_time(file: CaptureFile) -> int | None:
    """Return the time of a file's first packet in ns since 1970, or None if it has no timestamp.

    Raise CaptureError if the file is damaged before that packet.
    """
    if file.compression is None:
        first = open_records(ContentSource(file.open(), 0), file.name)
        _check_first(first, file, file.lost)
        return first.times.first
    first, damage = _unpacked_records(file, _HEAD)
    if first.damage is None and not first.next(Packet()):
        first, damage = _unpacked_records(file, _LONGEST_HEAD)
        _check_first(first, file, damage)
    return first.times.first


def _unpacked_records(file: CaptureFile, size: int) -> tuple[Records, str | None]:
    """Return the records in the first `size` unpacked bytes of a compressed file, and a description of the damage or None.

    Raise CaptureError if the format is unknown.
    """
    try:
        head, damage = file.head(size)
    except OSError as error:
        raise CaptureError(f"{file.name}: {reason(error)}") from None
    if damage is not None and len(head) < _LEAST:
        raise CaptureError(f"{file.name}: no packet can be read: {damage}")
    if not is_capture(head):
        raise CaptureError(not_a_capture(file.name, head, file.compression))
    return open_records(_Memory(head), file.name), damage


def _check_first(records: Records, file: CaptureFile, lost: str | None) -> None:
    """Read the first packet. Raise CaptureError if damage makes that impossible.

    `lost`: a description of the damage if it was found while unpacking, otherwise None.
    """
    if records.damage is not None:  # the header alone shows that no packet can be read
        return
    records.block_size = _FIRST_BLOCK
    if records.next(Packet()):
        return
    records.end()
    if records.damage is not None:
        text = f"{file.name}: no packet can be read: {lost or records.damage}"
        raise NoRoom(text, [file.cut]) if file.cut is not None else CaptureError(text)


class ContentSource(Source):
    """Reads the content of one capture file.

    `place`: the position of the file's first byte. Positions number the bytes of all files of a capture together.
    """

    def __init__(self, content: Content, place: int) -> None:
        super().__init__(-1, place)
        self._content = content

    def read(self, offset: int, size: int) -> bytes:
        """Return `size` bytes of the file, beginning at `offset`; fewer at its end, or if the file cannot be read."""
        return self._content.read(offset, size)


class _Memory(Source):
    """Reads the first bytes of a file from memory."""

    def __init__(self, head: bytes) -> None:
        super().__init__(-1, 0)
        self._head = head

    def read(self, offset: int, size: int) -> bytes:
        return self._head[offset : offset + size]


class ChainSource(Source):
    """Reads bytes of any file of a capture, including files that were already read completely.

    `add` assigns positions to the bytes of a file; `read` finds them by position.
    """

    def __init__(self, capture: CaptureFiles) -> None:
        super().__init__(-1, 0)
        self._members = capture.members
        self._places: list[int] = []
        self._numbers: list[int] = []
        self._end = 0

    def add(self, number: int, size: int) -> int:
        """Assign positions to `size` bytes of a file, and return the first position."""
        place = self._end
        self._places.append(place)
        self._numbers.append(number)
        self._end += size + _PAGE
        return place

    def read(self, offset: int, size: int) -> bytes:
        """Return `size` bytes at position `offset`; fewer at the end of the file, or if the file can no longer be read."""
        i = bisect_right(self._places, offset) - 1
        if i < 0:
            return b""
        try:
            return self._members[self._numbers[i]].open().read(offset - self._places[i], size)
        except CaptureError:
            return b""


class _Members(Files):
    """Opens the files of a capture for ChainRecords."""

    def __init__(self, capture: CaptureFiles, source: ChainSource) -> None:
        super().__init__()
        self._members, self._lanes = capture.members, capture.lanes
        self._source = source
        self._name = capture.file

    def open(self, number: int) -> Records | None:
        """Return the records of a file; None if it can no longer be read. Raise CaptureError if too many files would be open."""
        member = self._members[number]
        try:
            content = member.open()
            source = ContentSource(content, self._source.add(number, content.size))
            return _open_file(source, member.name, self._lanes[number])
        except TooManyFiles as error:
            raise CaptureError(
                f"{self._name}: too many compressed files overlap in time and must be unpacked together, but only "
                f"{error.allowed:,} files can be open: raise the limit (ulimit -n), or join the files in groups with mergecap"
            ) from None
        except CaptureError as error:
            member.lost = member.lost or str(error).removeprefix(f"{member.name}: ")
            if isinstance(error, NoRoom):
                [member.cut] = error.sentences
            return None

    def close(self, number: int, records: Records | None) -> str | None:
        """Close a file. Return a line that names the file and what could not be read; None if everything was read."""
        member = self._members[number]
        damage = member.lost or (None if records is None else records.damage)
        return None if damage is None else f"{member.name}: {damage}"

    def size(self, number: int) -> int:
        """Return the size of a file in bytes; for a compressed file, its compressed size."""
        return self._members[number].size
