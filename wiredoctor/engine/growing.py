"""A capture that is being written while it is read: pcapng, in one file or in several that follow each other."""

from __future__ import annotations

import os
from bisect import bisect_right
from dataclasses import dataclass
from types import TracebackType

from wiredoctor.capture.end_of_capture import LONGEST, Ending, ending
from wiredoctor.capture.model import CaptureError, readable
from wiredoctor.core.pcapng import PcapngRecords
from wiredoctor.core.records import Source


@dataclass
class _Part:
    """A file of the stream: where in the stream it begins, and its descriptor."""

    begin: int
    file: int


class Stream(Source):
    """Files that follow each other, as far as they are written; offsets count on from file to file.

    The files are never mapped: a mapped file that somebody truncates would kill the process.
    """

    def __init__(self, name: str) -> None:
        super().__init__(-1, 0)
        self.name = name
        self.end = 0
        """Bytes that are written."""
        self.is_cut = False
        """Somebody has made a file shorter: nothing is read after that."""
        self.parts: list[_Part] = []

    def read(self, offset: int, size: int) -> bytes:
        """Return `size` bytes from `offset` on, fewer only at the end of what is written; those of removed files are zeros.

        Raise CaptureError when a file turns out to be shorter; then the stream ends there.
        """
        pieces: list[bytes] = []
        end = min(offset + size, self.end)
        while offset < end:
            piece = self._piece(offset, end)
            pieces.append(piece)
            offset += len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _piece(self, offset: int, end: int) -> bytes:
        """Return bytes of one file, or zeros, up to `end` or to where the next file begins."""
        i = bisect_right(self.parts, offset, key=lambda part: part.begin)
        stop = min(end, self.parts[i].begin) if i < len(self.parts) else end
        if i == 0:
            return bytes(stop - offset)
        part = self.parts[i - 1]
        piece = os.pread(part.file, stop - offset, offset - part.begin)
        if not piece:
            self.end, self.is_cut = offset, True
            raise CaptureError(f"{self.name}: the file has become shorter while it was read (offset {offset})")
        return piece


class GrowingCapture:
    """The packet records that have been written so far, and later those that come after them.

    `name` is what reports call it. What is known of the stream comes from `add` and `extend`.
    """

    lost = None
    is_growing = True
    is_shuffled = True
    """Whether its records are out of order is known when they have been read, and they are read once."""
    files: tuple[str, ...] = ()
    """No names: it is one capture, however many files it is in."""

    def __init__(self, name: str) -> None:
        self.file = readable(name)
        self._stream = Stream(self.file)
        self.records = PcapngRecords(self._stream, is_continued=True)

    def add(self, descriptor: int, begin: int) -> None:
        """Continue the stream, from the offset `begin` on, with this open file, which `close` closes."""
        self._stream.parts.append(_Part(begin, descriptor))

    @property
    def first_descriptor(self) -> int | None:
        """The descriptor of the oldest file of the stream that is still open."""
        return self._stream.parts[0].file if self._stream.parts else None

    def extend(self, end: int) -> None:
        """Note that the stream is written up to this offset, which is the end of a block."""
        if not self._stream.is_cut:
            self._stream.end = max(self._stream.end, end)

    @property
    def size(self) -> int:
        """Bytes of the stream."""
        return self._stream.end

    @property
    def behind(self) -> int:
        """Bytes that are written and not read yet. After damage nothing is read any more."""
        return self.size - self.records.position if self.records.damage is None else 0

    @property
    def first_time(self) -> int | None:
        """Nanoseconds since 1970 of the first packet with a time stamp; None before it is read."""
        return self.records.times.first

    @property
    def ending(self) -> Ending | None:
        """When capturing ended, if what was written says so."""
        try:
            tail = self._stream.read(max(self.size - LONGEST, 0), LONGEST)
        except CaptureError:  # it is not there any more
            return None
        return ending(tail)

    def locate(self, frame: int) -> None:
        """Return nothing: all frames are in one capture."""

    def removed(self, end: int, needed: int) -> None:
        """Close the files before `end`, except for those with something that is not read yet, or is `needed` (an offset)."""
        parts = self._stream.parts
        last = min(end, needed, self.records.position)
        while len(parts) > 1 and parts[1].begin <= last:
            os.close(parts.pop(0).file)

    def skip(self, least: int) -> int:
        """Go on with the first file that begins at this offset or after it; return the bytes skipped."""
        begin = min((part.begin for part in self._stream.parts if part.begin >= least), default=0)
        skipped = max(begin - self.records.position, 0)
        if skipped:
            self.records.go_on_at(begin)
        return skipped

    def close(self) -> None:
        """Close the files."""
        while self._stream.parts:
            os.close(self._stream.parts.pop().file)

    def __enter__(self) -> GrowingCapture:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
