"""Open the files of captures, only a few of them at a time.

A compressed file is unpacked into a temporary file, and unpacked again if it is read after that temporary file was deleted.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
from collections import OrderedDict
from collections.abc import Sequence
from typing import BinaryIO, NamedTuple
from weakref import ref

from wiredoctor import system
from wiredoctor.capture.budget import Budget
from wiredoctor.capture.end_of_capture import LONGEST, ending
from wiredoctor.capture.formats import detect_format, is_capture
from wiredoctor.capture.model import CaptureError, Ending, NoRoom, TooManyFiles
from wiredoctor.capture.spool import Spooled, compression, decompressed_head, not_a_capture, spool

STANDARD_INPUT = "-"
HEAD = 64
"""The number of first bytes by which a format is recognized."""
_LEAST = 24
"""The size in bytes of a pcap file header."""
_SPARE = 32
"""The number of file descriptors left for the rest of the program, which uses 16 for tables, processes and outputs."""
OPEN = 8
"""The maximum number of capture files that stay open.

At most this many temporary files are kept, too, in case they are read again.
"""
_KEPT = 64 << 20
"""The maximum total size in bytes of the temporary files that are kept, not counting the two newest."""


class FileState(NamedTuple):
    """The device, inode and size in bytes of a file, to check that a reopened file is the same one."""

    device: int
    number: int
    size: int

    @classmethod
    def of(cls, file: BinaryIO) -> FileState:
        """Return the state of an open file."""
        status = os.fstat(file.fileno())
        return cls(status.st_dev, status.st_ino, status.st_size)


class OpenFiles:
    """The files that are open, for all captures together; the least recently used ones are closed."""

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self._plain: OrderedDict[object, BinaryIO] = OrderedDict()
        self._spools: OrderedDict[object, Spooled] = OrderedDict()

    def plain(self, one: CaptureFile) -> BinaryIO:
        """Return the file opened for reading its raw bytes, which may be compressed.

        Raise OSError if it cannot be opened or was replaced.
        """
        found = self._plain.get(one.key)
        if found is None:
            found = one.reopen()
            while len(self._plain) >= OPEN:
                self._plain.popitem(last=False)[1].close()
            self._plain[one.key] = found
        self._plain.move_to_end(one.key)
        return found

    def spool(self, one: CaptureFile) -> Spooled:
        """Return a temporary file with the unpacked content of a compressed file.

        The temporary file is deleted when it is no longer referenced.
        """
        found = self._spools.get(one.key)
        if found is None:
            found = self._make_spool(one)
            if found.cut is not None and self._spools:
                # files kept for another read must not take the space of files that were not read yet
                del found
                self._spools.clear()
                found = self._make_spool(one)
            _check_descriptors(found.file.fileno(), one.name)
            self._spools[one.key] = found
            while len(self._spools) > OPEN or (len(self._spools) > 2 and self._kept_bytes() > _KEPT):
                self._spools.popitem(last=False)
        self._spools.move_to_end(one.key)
        return found

    def forget(self, files: Sequence[CaptureFile]) -> None:
        """Close these files, and stop keeping their temporary files."""
        for one in files:
            if (file := self._plain.pop(one.key, None)) is not None:
                file.close()
            self._spools.pop(one.key, None)

    def _make_spool(self, one: CaptureFile) -> Spooled:
        with one.reopen() as source:
            return spool(source, one.name, is_capture, self.budget)

    def _kept_bytes(self) -> int:
        return sum(spooled.size for spooled in self._spools.values())


class CaptureFile:
    """A capture file.

    `size`: its size on disk in bytes, which is the compressed size of a compressed file. `lost`: a description of the data that
    could not be read, with the reason; None if all of it was read. `cut`: a sentence for the top of the report if a limit or a
    full disk cut the data off.
    """

    def __init__(self, name: str, opened: OpenFiles) -> None:
        self.name = name
        self.size = 0
        self.lost: str | None = None
        self.cut: str | None = None
        self.compression: str | None = None
        self.state: FileState | None = None
        """The state of a file that can be reopened; None for other files."""
        self.key = object()
        """The key of this file among the open files.

        The key is used instead of the file itself, because a reference cycle would keep the file open longer.
        """
        self._opened = opened
        self._content: Content | None = None
        """The content of a file that cannot be reopened; None for other files."""
        self._unpacked: ref[Content] | None = None
        """The unpacked content, as long as something reads it: there may be no space to unpack it a second time."""

    def open(self) -> Content:
        """Return the content of the file, unpacked if it is compressed. Raise CaptureError if it cannot be read."""
        if self._content is not None:
            return self._content
        if self.compression is None:
            return Content(self, self.size, None)
        unpacked = None if self._unpacked is None else self._unpacked()
        if unpacked is not None:
            return unpacked
        try:
            spooled = self._opened.spool(self)
        except OSError as error:
            raise CaptureError(f"{self.name}: {reason(error)}") from None
        self.lost, self.cut = spooled.lost, spooled.cut
        self._check_room(spooled)
        unpacked = Content(self, spooled.size, spooled.file)
        self._unpacked = ref(unpacked)
        return unpacked

    def reopen(self) -> BinaryIO:
        """Open the file again. Raise OSError if that fails, or if the file was replaced or became shorter."""
        file = open(self.name, "rb", buffering=0)  # noqa: SIM115 - the caller closes it
        state = FileState.of(file)
        if self.state is not None and (state[:2] != self.state[:2] or state.size < self.size):
            file.close()
            raise OSError(errno.ESTALE, "the file was replaced or truncated while it was read")
        return file

    def read_plain(self, offset: int, size: int) -> bytes:
        """Return `size` bytes of the file at `offset` without unpacking it."""
        return system.read_at(self._opened.plain(self).fileno(), size, offset)

    def head(self, size: int) -> tuple[bytes, str | None]:
        """Return the first `size` unpacked bytes, or a few more, and a description of damage in them (or None)."""
        with self.reopen() as file:
            return decompressed_head(file, size)

    def keep(self, file: BinaryIO, size: int) -> None:
        """From now on, read from `file`, which is open and has `size` bytes, instead of opening the file by name."""
        self._content = Content(self, size, file)

    def spool_now(self, source: BinaryIO) -> None:
        """Copy `source`, a pipe, to a temporary file that is kept.

        Raise CaptureError if it is not a capture, and NoRoom if there is not enough space.
        """
        spooled = spool(source, self.name, is_capture, self._opened.budget)
        self.lost, self.cut = spooled.lost, spooled.cut
        self._check_room(spooled)
        self.keep(spooled.file, spooled.size)
        self.size = spooled.size

    def _check_room(self, spooled: Spooled) -> None:
        if spooled.lost is not None and spooled.size < _LEAST:
            text = f"{self.name}: no packet can be read: {spooled.lost}"
            raise NoRoom(text, [spooled.cut]) if spooled.cut is not None else CaptureError(text)


class Content:
    """The content of a capture file, unpacked if it is compressed."""

    def __init__(self, owner: CaptureFile, size: int, file: BinaryIO | None) -> None:
        self.size = size
        self._owner = owner
        self._file = file

    def read(self, offset: int, size: int) -> bytes:
        """Return `size` bytes at `offset`; fewer at the end, or after a read error, which is recorded in the CaptureFile."""
        size = min(size, self.size - offset)
        if size <= 0:
            return b""
        try:
            if self._file is not None:
                return system.read_at(self._file.fileno(), size, offset)
            return self._owner.read_plain(offset, size)
        except OSError as error:
            self._owner.lost = reason(error)
            return b""

    def ending(self) -> Ending | None:
        """Return the time at which capturing ended; None if the file does not contain that time."""
        if detect_format(self.read(0, HEAD)) != "pcapng":
            return None
        return ending(self.read(max(self.size - LONGEST, 0), LONGEST))


def find_file(name: str, opened: OpenFiles) -> CaptureFile:
    """Return the capture file with this name; "-" is standard input. Raise CaptureError if it is not a readable capture."""
    found = CaptureFile(name, opened)
    try:
        if name == STANDARD_INPUT:
            if sys.stdin is None:  # a shell started the program with <&-
                raise CaptureError(f"{name}: standard input is closed")
            found.spool_now(sys.stdin.buffer)
            return found
        system.check_name(name)
        with open(name, "rb", buffering=0) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                found.spool_now(file)
                return found
            found.state = FileState.of(file)
            head = file.read(HEAD)
    except OSError as error:
        raise CaptureError(f"{name}: {reason(error)}") from None
    except ValueError:  # the name contains a NUL
        raise CaptureError(f"{name!r}: no such file") from None
    found.size = found.state.size
    if not head:
        raise CaptureError(f"{name}: empty")
    if not is_capture(head):
        found.compression = compression(head)
        if found.compression is None:
            raise CaptureError(not_a_capture(name, head))
    return found


def find_descriptor(descriptor: int, name: str, opened: OpenFiles) -> CaptureFile:
    """Return a capture file for an open descriptor of an uncompressed file. The descriptor is duplicated.

    Raise CaptureError if it cannot be read.
    """
    found = CaptureFile(name, opened)
    try:
        file = os.fdopen(os.dup(descriptor), "rb", buffering=0)
        found.size = FileState.of(file).size
    except OSError as error:
        raise CaptureError(f"{name}: {reason(error)}") from None
    found.keep(file, found.size)
    return found


def reason(error: OSError) -> str:
    """Return why a file cannot be read, as text for reports."""
    if isinstance(error, FileNotFoundError):
        return system.explain_missing(os.fsdecode(error.filename or ""))
    if isinstance(error, IsADirectoryError):
        return "a directory, not a capture file"
    if isinstance(error, PermissionError):
        return system.explain_refused()
    return (error.strerror or str(error)).lower()


def _check_descriptors(newest: int, name: str) -> None:
    """Raise TooManyFiles if few descriptors are left. `newest`: the newest descriptor, whose number shows how many are in use."""
    allowed = system.open_file_limit()
    if allowed is not None and newest >= max(allowed - _SPARE, _SPARE // 2):
        raise TooManyFiles(name, allowed)
