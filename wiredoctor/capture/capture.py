"""A capture that is open: the file mapped into memory, and its packets epoch by epoch."""

from __future__ import annotations

import contextlib
import mmap
import os
from typing import TYPE_CHECKING

import numpy as np

from wiredoctor.capture import pcap
from wiredoctor.capture.linktypes import link_type_name
from wiredoctor.capture.model import CaptureError, Interface, Reader, Records, Source
from wiredoctor.tables import Array, Columns

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import TracebackType
    from typing import Literal

EPOCH = 100_000
"""Packets. A million rows of the later tables are 0.5-1.2 GB; with this many a process stays below 450 MB."""


_PCAPNG = b"\x0a\x0d\x0d\x0a"
"""Type of a section header block, with which a pcapng file begins; the same in both byte orders."""


class Capture:
    """A capture file that is open, or several as one. Use it as a context manager; `data` stays valid as long as anything
    refers to it.

    `name` is what reports call it. Raises CaptureError where not one packet can be read.
    """

    def __init__(self, sources: Sequence[Source], name: str) -> None:
        self.file = name
        self.size = sum(source.size for source in sources)
        self._sources = sources
        self._map, places = _mapped(sources)
        self.data: Array = np.frombuffer(self._map, np.uint8)
        self._lost = sources[0].lost if len(sources) == 1 else None
        self._frames = 0
        readers = [
            _reader(self.data[place.start : place.stop], source.name) for place, source in zip(places, sources, strict=True)
        ]
        self._readers = list(zip(readers, (place.start for place in places), strict=True))
        self._released = [place.start for place in places]
        self._reader = readers[0] if len(readers) == 1 else _merged(self._readers, sources)
        self._ahead: Columns | None = None
        if not self._reader.done:
            self._ahead = self._next(1)
            if self._reader.damage is not None and not self._reader.packets:
                raise CaptureError(f"{name}: not one packet can be read: {self._lost or self._reader.damage}")

    @property
    def files(self) -> tuple[str, ...]:
        """The names of the files, where several are read as one."""
        return tuple(source.name for source in self._sources) if len(self._sources) > 1 else ()

    @property
    def buffer(self) -> mmap.mmap:
        """The file as a buffer whose slices are bytes."""
        return self._map

    @property
    def reopens(self) -> bool:
        """Whether opening the name again gives the same packets: not for what was spooled from a pipe."""
        return all(source.lost is None and os.path.isfile(source.name) for source in self._sources)

    @property
    def format(self) -> Literal["pcap", "pcapng"]:
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
    def position(self) -> int:
        """Offset in `data` up to which epochs have been read."""
        return self._reader.position

    @property
    def packets(self) -> int:
        """Frames in the epochs handed out so far."""
        return self._frames

    def epochs(self, packets: int = EPOCH) -> Iterator[Records]:
        """The packets, at most so many at a time. Asking for the next epoch gives back the memory of the one before."""
        while self._ahead is not None or not self._reader.done:
            columns = self._next(packets)
            frames = len(columns["time"])
            if frames:
                self._frames += frames
                yield Records(self._frames - frames + 1, columns)
                del columns
            self._release()

    def _next(self, packets: int) -> Columns:
        """At most so many next packets; fewer only at the end."""
        runs = [self._ahead] if self._ahead is not None else []
        self._ahead = None
        missing = packets - sum(len(run["time"]) for run in runs)
        while missing > 0 and not self._reader.done:
            runs.append(self._reader.read(missing))
            missing -= len(runs[-1]["time"])
        if len(runs) == 1:
            return runs[0]
        return {name: np.concatenate([run[name] for run in runs]) for name in runs[0]}

    def _release(self) -> None:
        """Pages behind the epoch count as resident memory until they are given back."""
        if not hasattr(mmap, "MADV_DONTNEED"):
            return
        for i, (reader, begin) in enumerate(self._readers):
            end = begin + reader.position - reader.position % mmap.PAGESIZE
            if end > self._released[i]:
                with contextlib.suppress(OSError, ValueError):
                    self._map.madvise(mmap.MADV_DONTNEED, self._released[i], end - self._released[i])
                self._released[i] = end

    def close(self) -> None:
        """Closes the file. The memory stays mapped while arrays refer to it."""
        for source in self._sources:
            source.file.close()

    def __enter__(self) -> Capture:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def is_capture(head: bytes) -> bool:
    """Whether a file that begins like this is pcap or pcapng."""
    return pcap.byte_order(head) is not None or _is_pcapng(head)


def _is_pcapng(head: bytes) -> bool:
    if not head.startswith(_PCAPNG):
        return False
    from wiredoctor.capture import pcapng

    return pcapng.section_order(np.frombuffer(head[:12], np.uint8), 0) is not None


def _mapped(sources: Sequence[Source]) -> tuple[mmap.mmap, list[range]]:
    """The files as a buffer, and where in it each lies."""
    if len(sources) == 1:
        whole = mmap.mmap(sources[0].file.fileno(), 0, access=mmap.ACCESS_READ)
        return whole, [range(len(whole))]
    from wiredoctor.capture.mapping import map_files

    return map_files([source.file for source in sources])


def _merged(readers: Sequence[tuple[Reader, int]], sources: Sequence[Source]) -> Reader:
    from wiredoctor.capture.merging import MergedReader, Part

    parts = zip(readers, sources, strict=True)
    return MergedReader([Part(reader, begin, source.name, source.lost) for (reader, begin), source in parts])


def _reader(data: Array, name: str) -> Reader:
    """The reader of the file's format; what the other formats need is not loaded."""
    head = data[:64].tobytes()
    if pcap.byte_order(head) is not None:
        return pcap.PcapReader(data, name)
    if _is_pcapng(head):
        from wiredoctor.capture import pcapng

        return pcapng.PcapngReader(data, name)
    from wiredoctor.capture.spool import not_a_capture

    raise CaptureError(not_a_capture(name, head))
