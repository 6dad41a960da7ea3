"""A capture that is open: the file mapped into memory, and its packets epoch by epoch."""

from __future__ import annotations

import contextlib
import mmap
import os
from bisect import bisect_right
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from wiredoctor.capture import pcap
from wiredoctor.capture.formats import format_of
from wiredoctor.capture.linktypes import link_type_name
from wiredoctor.capture.model import CaptureError, Interface, NoRoom, Reader, Records, Source, readable, together
from wiredoctor.tables import Array, Columns

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import TracebackType

    from wiredoctor.capture.ending import Ending
    from wiredoctor.capture.frame_files import FrameFiles
    from wiredoctor.capture.merging import MergedReader
EPOCH = 100_000
"""Packets. A million rows of the later tables are 0.5-1.2 GB; with this many a process stays below 400 MB."""

EPOCH_BYTES = 64 << 20
"""Bytes of the file, or little more: the pages of an epoch are in memory as long as it is looked at, and full packets have
1.5 kB each, super-segments 64."""

READ_AT_ONCE = 32_768
"""Packets. How many make so many bytes is guessed from those before them, and traffic may change."""


class Part(NamedTuple):
    """A file of a capture: its format, from where to where it lies in the data, and its packets that were read so far."""

    format: str
    begin: int
    end: int
    packets: int


class Capture:
    """A capture file that is open, or several as one. Use it as a context manager; `data` stays valid as long as anything
    refers to it.

    `name` is what reports call it. `incomplete`: a sentence for each file that a bound or a full disk cut off. In a `rotation`,
    interfaces with equal descriptions are one. Raises CaptureError where not one packet can be read.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        name: str,
        mapped: tuple[mmap.mmap, list[range]] | None = None,
        *,
        rotation: bool = False,
    ) -> None:
        self.file = readable(name)
        self._rotation = rotation
        self.size = sum(source.size for source in sources)
        self._sources = sources
        self._mapped = mapped or _mapped(sources)
        self._map, places = self._mapped
        self.data: Array = np.frombuffer(self._map, np.uint8)
        self._lost = sources[0].lost if len(sources) == 1 else None
        self.incomplete = [source.cut for source in sources if source.cut is not None]
        self._frames = 0
        self._usual = 1.0
        readers = [
            _reader(self.data[place.start : place.stop], source.name) for place, source in zip(places, sources, strict=True)
        ]
        self._readers = list(zip(readers, (place.start for place in places), strict=True))
        self._released = [place.start for place in places]
        self._begins = list(self._released)
        self._ends = [place.stop for place in places]
        self._reader: Reader = readers[0]
        self._frame_files: FrameFiles | None = None
        if len(readers) > 1:
            self._reader = merged = _merged(self._readers, sources, rotation=rotation)
            self._frame_files = merged.frame_files
        self._ahead: Columns | None = None
        if not self._reader.done:
            self._ahead = self._next(1)
            if self._reader.damage is not None and not self._reader.packets:
                text = f"{name}: not one packet can be read: {self._lost or self._reader.damage}"
                raise NoRoom(text, self.incomplete) if self.incomplete else CaptureError(text)

    @property
    def files(self) -> tuple[str, ...]:
        """The names of the files, where several are read as one."""
        return tuple(readable(source.name) for source in self._sources) if len(self._sources) > 1 else ()

    def locate(self, frame: int) -> tuple[str, int] | None:
        """Return the name of the file that a frame lies in, as in `files`, and its number there; None if there is one file."""
        found = self._frame_files.locate(frame) if self._frame_files is not None else None
        return None if found is None else (readable(self._sources[found.file].name), found.frame)

    @property
    def parts(self) -> list[Part]:
        """Its files, in order."""
        files = zip(self._readers, self._ends, strict=True)
        return [Part(reader.format, begin, end, reader.packets) for (reader, begin), end in files]

    @property
    def buffer(self) -> mmap.mmap:
        """The file as a buffer whose slices are bytes."""
        return self._map

    @property
    def format(self) -> str:
        """The file format, whatever the file was compressed with."""
        return self._reader.format

    @property
    def interfaces(self) -> list[Interface]:
        """Where packets were captured, in order of their description; grows while a pcapng file is being read."""
        return self._reader.interfaces

    @property
    def link_types(self) -> list[str]:
        """Names of the interfaces' link types, without LINKTYPE_, in order of first appearance."""
        return list(dict.fromkeys(link_type_name(i.link_type) for i in self.interfaces))

    @property
    def first_time(self) -> int | None:
        """Nanoseconds since 1970 of the first packet with a time stamp; None before it is read."""
        return self._reader.first_time

    @property
    def damage(self) -> str | None:
        """What could not be read and where; None while all could."""
        if self._lost is not None and self._reader.done:
            return self._lost
        return self._reader.damage

    @property
    def ending(self) -> Ending | None:
        """When capturing ended, where the end of the (last) file says so."""
        if self.format != "pcapng":
            return None
        from wiredoctor.capture.ending import LONGEST, ending

        return ending(self.data[-LONGEST:].tobytes())

    @property
    def descriptor(self) -> int:
        """The descriptor of the (first) file."""
        return self._sources[0].file.fileno()

    @property
    def lost(self) -> str | None:
        """What was lost of a file before it could be read here; None if nothing."""
        return self._lost

    @property
    def position(self) -> int:
        """Offset in `data` up to which epochs have been read."""
        return self._reader.position

    @property
    def packets(self) -> int:
        """Frames in the epochs handed out so far."""
        return self._frames

    def epochs(self, packets: int = EPOCH) -> Iterator[Records]:
        """The packets, at most so many at a time. Whoever has done with an epoch should `release` it."""
        while self._ahead is not None or not self._reader.done:
            columns = self._next(packets)
            frames = len(columns["time"])
            if frames:
                self._frames += frames
                ends = tuple(begin + reader.position for reader, begin in self._readers)
                yield Records(self._frames - frames + 1, columns, ends)
                del columns

    def _next(self, packets: int) -> Columns:
        """At most so many next packets; fewer at the end, or where they are long."""
        runs = [self._ahead] if self._ahead is not None else []
        self._ahead = None
        missing, room = packets - sum(len(run["time"]) for run in runs), EPOCH_BYTES
        while missing > 0 and room > EPOCH_BYTES // 16 and not self._reader.done:
            asked = min(missing, READ_AT_ONCE, int(room // self._usual) + 1)
            runs.append(self._reader.read(asked))
            if got := len(runs[-1]["time"]):
                size = int(runs[-1]["captured"].sum())
                self._usual = max(size / got, 1.0)
                missing -= got
                room -= size
        return together(runs)

    def release(self, ends: tuple[int, ...], *, for_good: bool = True) -> None:
        """Gives back the memory of what lies before these places (Records.ends): it counts as resident until then.

        for_good=False: some of it will be looked at again, later.
        """
        if not hasattr(mmap, "MADV_DONTNEED"):
            return
        for i, place in enumerate(ends):
            end = place - place % mmap.PAGESIZE
            if end > self._released[i]:
                with contextlib.suppress(OSError, ValueError):
                    self._map.madvise(mmap.MADV_DONTNEED, self._released[i], end - self._released[i])
                if for_good:
                    self._released[i] = end

    @property
    def left_behind(self) -> int:
        """Whatever lies before this place of the data was released, at least in one of the files."""
        return max(self._released)

    def reread(self, at: int, length: int) -> bytes:
        """Bytes of the data that may have been released: read without making them resident again, with all around them."""
        i = max(bisect_right(self._begins, at) - 1, 0)
        try:
            return os.pread(self._sources[i].file.fileno(), length, at - self._begins[i])
        except (OSError, AttributeError, ValueError):  # no such call on this system
            return bytes(self._map[at : at + length])

    def again(self) -> Capture:
        """The same file from its beginning, once more. It must not be closed, and lives as long as this one is open."""
        # a mapping of its own would take a descriptor
        return Capture(self._sources, self.file, self._mapped, rotation=self._rotation)

    def close(self) -> None:
        """Closes the file. The memory stays mapped while arrays refer to it."""
        for source in self._sources:
            source.file.close()

    def __enter__(self) -> Capture:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def _mapped(sources: Sequence[Source]) -> tuple[mmap.mmap, list[range]]:
    """The files as a buffer, and where in it each lies."""
    if len(sources) == 1:
        whole = mmap.mmap(sources[0].file.fileno(), 0, access=mmap.ACCESS_READ)
        return whole, [range(len(whole))]
    from wiredoctor.capture.mapping import map_files

    return map_files([source.file for source in sources])


def _merged(readers: Sequence[tuple[Reader, int]], sources: Sequence[Source], *, rotation: bool) -> MergedReader:
    from wiredoctor.capture.merging import MergedReader, Part

    parts = zip(readers, sources, strict=True)
    files = [Part(reader, begin, source.name, source.lost) for (reader, begin), source in parts]
    return MergedReader(files, one_interface=rotation)


def _reader(data: Array, name: str) -> Reader:
    """The reader of the file's format; what the other formats need is not loaded."""
    head = data[:64].tobytes()
    format_ = format_of(head)
    if format_ == "pcap":
        return pcap.PcapReader(data, name)
    if format_ == "pcapng":
        from wiredoctor.capture import pcapng

        return pcapng.PcapngReader(data, name)
    if format_ == "snoop":
        from wiredoctor.capture import snoop

        return snoop.SnoopReader(data, name)
    from wiredoctor.capture.spool import not_a_capture

    raise CaptureError(not_a_capture(name, head))
