"""A capture that is open: the file mapped into memory, and its packets epoch by epoch."""

from __future__ import annotations

import contextlib
import mmap
import os
from typing import TYPE_CHECKING, Protocol

import numpy as np

from wiredoctor.capture import pcap
from wiredoctor.capture.linktypes import link_type_name
from wiredoctor.capture.model import CaptureError, Interface, Records
from wiredoctor.tables import Array, Columns

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType
    from typing import BinaryIO, Literal

EPOCH = 100_000
"""Packets. A million rows of the later tables are 0.5-1.2 GB; with this many a process stays below 450 MB."""


_PCAPNG = b"\x0a\x0d\x0d\x0a"
"""Type of a section header block, with which a pcapng file begins; the same in both byte orders."""


class _Reader(Protocol):
    """A file format: where reading stands, and the next packets from there."""

    position: int
    packets: int
    damage: str | None
    interfaces: list[Interface]

    @property
    def format(self) -> Literal["pcap", "pcapng"]: ...

    @property
    def first_time(self) -> int | None: ...

    @property
    def done(self) -> bool: ...

    def read(self, packets: int) -> Columns: ...


class Capture:
    """An open capture file. Use it as a context manager; `data` stays valid as long as anything refers to it."""

    def __init__(self, file: BinaryIO, name: str, size: int, lost: str | None = None) -> None:
        self.file = name
        self.size = size
        self._file = file
        self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self.data: Array = np.frombuffer(self._map, np.uint8)
        self._lost = lost
        self._released = 0
        self._frames = 0
        self._reader = _reader(self.data, name)
        self._ahead: Columns | None = None
        if not self._reader.done:
            self._ahead = self._next(1)
            if self._reader.damage is not None and not self._reader.packets:
                raise CaptureError(f"{name}: not one packet can be read: {lost or self._reader.damage}")

    @property
    def buffer(self) -> mmap.mmap:
        """The file as a buffer whose slices are bytes."""
        return self._map

    @property
    def reopens(self) -> bool:
        """Whether opening the name again gives the same packets: not for what was spooled from a pipe."""
        return self._lost is None and os.path.isfile(self.file)

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
        end = self._reader.position - self._reader.position % mmap.PAGESIZE
        if hasattr(mmap, "MADV_DONTNEED") and end > self._released:
            with contextlib.suppress(OSError, ValueError):
                self._map.madvise(mmap.MADV_DONTNEED, self._released, end - self._released)
            self._released = end

    def close(self) -> None:
        """Closes the file. The memory stays mapped while arrays refer to it."""
        self._file.close()

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


def _reader(data: Array, name: str) -> _Reader:
    """The reader of the file's format; what the other formats need is not loaded."""
    head = data[:64].tobytes()
    if pcap.byte_order(head) is not None:
        return pcap.PcapReader(data, name)
    if _is_pcapng(head):
        from wiredoctor.capture import pcapng

        return pcapng.PcapngReader(data, name)
    from wiredoctor.capture.spool import not_a_capture

    raise CaptureError(not_a_capture(name, head))
