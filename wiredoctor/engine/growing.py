"""Read a pcapng capture while it is being written, in one file or in consecutive files."""

from __future__ import annotations

import os
from bisect import bisect_right
from dataclasses import dataclass
from types import TracebackType

from wiredoctor.capture.end_of_capture import LONGEST, ending
from wiredoctor.capture.model import CaptureError, Ending, readable
from wiredoctor.core.capture.pcapng import PcapngRecords
from wiredoctor.core.capture.records import Source
from wiredoctor.system import read_at


@dataclass
class _Part:
    """A file that is part of the stream: the offset in the stream at which it begins, its descriptor, and the number of packets
    before it.
    """

    begin: int
    file: int
    packets: int = 0


class Stream(Source):
    """Reads consecutive files as one stream, as far as they have been written.

    The files are never mapped into memory, because truncating a mapped file would kill the process.
    """

    def __init__(self, name: str) -> None:
        super().__init__(-1, 0)
        self.name = name
        self.end = 0
        """The number of bytes written so far."""
        self.is_cut = False
        """True if a file was truncated; nothing is read from then on."""
        self.parts: list[_Part] = []

    def read(self, offset: int, size: int) -> bytes:
        """Return `size` bytes, beginning at `offset`; fewer at the end of the stream.

        Zeros replace the bytes of files that were removed. Raise CaptureError if a file became shorter; from then on, the stream
        ends where that file ends.
        """
        pieces: list[bytes] = []
        end = min(offset + size, self.end)
        while offset < end:
            piece = self._piece(offset, end)
            pieces.append(piece)
            offset += len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _piece(self, offset: int, end: int) -> bytes:
        """Return the bytes from `offset` to `end`, or only to the start of the next file.

        Zeros replace bytes that no open file contains.
        """
        i = bisect_right(self.parts, offset, key=lambda part: part.begin)
        stop = min(end, self.parts[i].begin) if i < len(self.parts) else end
        if i == 0:
            return bytes(stop - offset)
        part = self.parts[i - 1]
        piece = read_at(part.file, stop - offset, offset - part.begin)
        if not piece:
            self.end, self.is_cut = offset, True
            raise CaptureError(f"{self.name}: the file became shorter while it was read (offset {offset})")
        return piece


class GrowingCapture:
    """A capture that is still being written: the packet records so far, and the records that will follow."""

    lost = None
    is_growing = True
    is_order_known = True
    """Always True, so no separate pass examines the order of the packets: the capture cannot be read again."""
    are_clocks_known = True
    """Always True: one host captures."""
    clock_corrections = ()
    is_sorted = False
    is_disorder_proved = False
    is_shuffled = True
    """Always True: packets may be out of order, and this only becomes known while they are read."""
    files: tuple[str, ...] = ()
    """Always empty, because reports show a growing capture as a single file."""

    def __init__(self, name: str) -> None:
        self.file = readable(name)
        self._stream = Stream(self.file)
        self.records = PcapngRecords(self._stream, is_continued=True)

    def add(self, descriptor: int, begin: int, packets: int = 0) -> None:
        """Append an open file, which begins at offset `begin` of the stream, after `packets` packets. `close` will close it."""
        self._stream.parts.append(_Part(begin, descriptor, packets))

    def rename(self, name: str) -> None:
        """Give the capture another name in reports."""
        self.file = readable(name)

    @property
    def first_descriptor(self) -> int | None:
        """The descriptor of the oldest file of the stream that is still open; None if no file is open."""
        return self._stream.parts[0].file if self._stream.parts else None

    def extend(self, end: int) -> None:
        """Set the offset at which the stream ends now; a pcapng block must end there."""
        if not self._stream.is_cut:
            self._stream.end = max(self._stream.end, end)

    @property
    def size(self) -> int:
        """The number of bytes in the stream so far."""
        return self._stream.end

    @property
    def unread_bytes(self) -> int:
        """The number of bytes that were written but not read yet. It is 0 after damage, because reading stops there."""
        return self.size - self.records.position if self.records.damage is None else 0

    @property
    def first_time(self) -> int | None:
        """The time of the first packet with a timestamp, in ns since 1970; None until that packet was read."""
        return self.records.times.first

    @property
    def ending(self) -> Ending | None:
        """The time at which capturing ended and the number of packets, as stated in the last block; None until it is written."""
        try:
            tail = self._stream.read(max(self.size - LONGEST, 0), LONGEST)
        except CaptureError:  # the bytes no longer exist
            return None
        return ending(tail)

    def locate(self, frame: int) -> None:
        """Return None: reports show a growing capture as a single file."""

    def close_before(self, end: int, needed: int) -> None:
        """Close the files that end at or before offset `end`.

        Files with unread bytes stay open, and so do files with bytes at or after offset `needed`, which may be read again.
        """
        parts = self._stream.parts
        last = min(end, needed, self.records.position)
        while len(parts) > 1 and parts[1].begin <= last:
            os.close(parts.pop(0).file)

    def skip(self, least: int) -> None:
        """Continue with the first file that begins at offset `least` or later. Record the packets before it as overwritten."""
        part = next((part for part in self._stream.parts if part.begin >= least), None)
        records = self.records
        if part is None or part.begin <= records.position:
            return
        frame, drops = int(records.frame), records.drops
        packets = max(part.packets - frame - sum(one.packets for one in drops.overwritten), 0)
        drops.overwrite(frame + 1, int(records.times.last) if frame else None, packets, part.begin - records.position)
        records.go_on_at(part.begin)

    def end_skip(self) -> bool:
        """Return whether a packet was read after the newest skipped packets, or none were skipped. Its time ends the loss."""
        drops = self.records.drops
        if drops.lasts and self.records.frame >= drops.first_kept:
            drops.end_overwritten(int(self.records.times.last))
        return not drops.lasts

    def close(self) -> None:
        """Close the files."""
        while self._stream.parts:
            os.close(self._stream.parts.pop().file)

    def __enter__(self) -> GrowingCapture:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
