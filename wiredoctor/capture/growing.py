"""A capture that is being written while it is read: pcapng, in one file or in files one behind the other."""

from __future__ import annotations

import os
import struct
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType

from wiredoctor.capture.capture import EPOCH, Capture
from wiredoctor.capture.ending import LONGEST, Ending, ending
from wiredoctor.capture.model import CaptureError, Records, readable
from wiredoctor.capture.pcapng import PcapngReader
from wiredoctor.capture.reserve import Reserve

AT_ONCE = 32 << 20
"""Bytes that are brought into memory at a time, when reading has fallen behind."""

KEPT = 8 << 20
"""Bytes behind the newest epoch that stay in memory: what waits for other packets is mostly that young."""

_LEAST_BLOCK = 12
"""Bytes: type, length, and length again."""


@dataclass
class _Part:
    """A file of the stream: where in it the file begins, and its descriptor."""

    begin: int
    file: int


class GrowingCapture(Capture):
    """Reads what has been written so far, epoch by epoch, and later what came after it.

    The stream is read in blocks and never mapped: a mapped file that somebody truncates would kill the process. `name` is
    what reports call it. What is known of the stream comes from `add` and `extend`.
    """

    def __init__(self, name: str) -> None:
        self.file = readable(name)
        self._reserve = Reserve()
        self.data = self._reserve.data
        self._sources = ()
        self._lost = None
        self.incomplete = []
        self._frames, self._usual, self._ahead = 0, 1.0, None
        self._pcapng = PcapngReader(self.data[:0], name)
        self._reader = self._pcapng
        self._readers = [(self._pcapng, 0)]
        self._parts: list[_Part] = []
        self._known = self._loaded = 0

    def add(self, descriptor: int, begin: int) -> None:
        """Continue the stream, from the place `begin` on, with this open file, which `close` closes."""
        self._parts.append(_Part(begin, descriptor))

    @property
    def first_descriptor(self) -> int | None:
        """The descriptor of the oldest file of the stream that is still open."""
        return self._parts[0].file if self._parts else None

    def extend(self, end: int) -> None:
        """The stream is written up to this place, which is the end of a block."""
        self._known = max(self._known, end)

    @property
    def size(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Bytes of the stream."""
        return self._known

    @property
    def behind(self) -> int:
        """Bytes that are written and not read yet. Behind damage nothing is ever read."""
        return self._known - self._pcapng.position if self._pcapng.damage is None else 0

    @property
    def files(self) -> tuple[str, ...]:
        """None: it is one capture, however many files it is in."""
        return ()

    @property
    def buffer(self) -> GrowingCapture:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Slices of it are bytes, also of what is not in memory any more."""
        return self

    @property
    def ending(self) -> Ending | None:
        """When capturing ended, where what was written says so."""
        return ending(self.data[max(self._loaded - LONGEST, 0) : self._loaded].tobytes())

    def __getitem__(self, place: slice) -> bytes:
        at, end = max(place.start or 0, 0), min(self._loaded, self._loaded if place.stop is None else place.stop)
        if at >= end:
            return b""
        return self.reread(at, end - at) if at < self._reserve.forgotten else self._reserve.bytes(at, end)

    def epochs(self, packets: int = EPOCH) -> Iterator[Records]:
        """The packets that are written and not read yet, at most so many at a time."""
        while self._pcapng.damage is None and self.behind:
            self._pcapng.extend(self.data[: self._whole_blocks()])
            yield from super().epochs(packets)

    def _whole_blocks(self) -> int:
        """Brings what comes next into memory; returns the end of its last block."""
        begin = self._pcapng.position
        self._load(min(self._known, begin + AT_ONCE))
        while self._loaded < self._known:
            end, data = begin, self.data[: self._loaded].data
            while end + 8 <= self._loaded:
                (length,) = struct.unpack_from("=I", data, end + 4)
                if length < _LEAST_BLOCK or end + (length + 3 & ~3) > self._loaded:
                    break
                end += length + 3 & ~3
            if end > begin:
                return end
            self._load(min(self._known, self._loaded + AT_ONCE))  # of a single block
        return self._known

    def _load(self, end: int) -> None:
        while self._loaded < end:
            i = self._part_at(self._loaded)
            stop = self._parts[i + 1].begin if i + 1 < len(self._parts) else self._known
            size = min(end, stop) - self._loaded
            part = self._parts[i]
            got = self._reserve.read(part.file, self._loaded - part.begin, self._loaded, size)
            self._loaded += got
            if got < size:
                raise CaptureError(f"{self.file}: the file has become shorter while it was read (offset {self._loaded})")

    def _part_at(self, place: int) -> int:
        return max(bisect_right(self._parts, place, key=lambda part: part.begin) - 1, 0)

    def release(self, ends: tuple[int, ...], *, for_good: bool = True) -> None:
        """What lies well before this place is not kept in memory."""
        if for_good:
            self._reserve.forget(max(ends[0] - KEPT, 0))

    @property
    def left_behind(self) -> int:
        """Whatever lies before this place is not in memory."""
        return self._reserve.forgotten

    def reread(self, at: int, length: int) -> bytes:
        """Bytes that may not be in memory any more. What is not in any file either is zeros."""
        pieces: list[bytes] = []
        while length > 0:
            piece = self._piece(at, length)
            pieces.append(piece)
            at, length = at + len(piece), length - len(piece)
        return b"".join(pieces)

    def _piece(self, at: int, length: int) -> bytes:
        """So many bytes of one file, or zeros; fewer where another begins."""
        i = self._part_at(at)
        if i >= len(self._parts) or at < self._parts[i].begin:
            begin = self._parts[i].begin if i < len(self._parts) else at + length
            return bytes(min(length, begin - at))
        stop = self._parts[i + 1].begin if i + 1 < len(self._parts) else at + length
        size = min(length, stop - at)
        return os.pread(self._parts[i].file, size, at - self._parts[i].begin).ljust(size, b"\0")

    def removed(self, end: int, needed: int) -> None:
        """The files of the stream before `end` are not kept any more, but for what is still read, or `needed` (a place)."""
        last = min(end, needed, self._pcapng.position)
        while len(self._parts) > 1 and self._parts[1].begin <= last:
            os.close(self._parts.pop(0).file)

    def skip(self, least: int) -> int:
        """Goes on with the first file that begins at this place or behind it; returns how many bytes nobody will have read."""
        place = min((part.begin for part in self._parts if part.begin >= least), default=0)
        passed = max(place - self._pcapng.position, 0)
        if passed:
            self._pcapng.extend(self.data[:place])
            self._pcapng.position = place
            self._loaded = max(self._loaded, place)
        return passed

    def close(self) -> None:
        """Closes the files."""
        while self._parts:
            os.close(self._parts.pop().file)

    def __enter__(self) -> GrowingCapture:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
