"""The files of captures: few are open at a time, however many there are. What a compressed file holds is in a temporary file,
which is made again if it is needed again."""

from __future__ import annotations

import errno
import os
import stat
import sys
from collections import OrderedDict
from collections.abc import Sequence
from typing import BinaryIO, NamedTuple

from wiredoctor.capture.budget import Budget
from wiredoctor.capture.end_of_capture import LONGEST, Ending, ending
from wiredoctor.capture.formats import format_of, is_capture
from wiredoctor.capture.model import CaptureError, NoRoom, TooManyFiles
from wiredoctor.capture.spool import Spooled, compression, decompressed_head, not_a_capture, spool

STANDARD_INPUT = "-"
HEAD = 64
"""Bytes by which a format is recognized."""
_LEAST = 24
"""Bytes of a pcap file header."""
_SPARE = 32
"""Descriptors that captures leave for the rest of the program: it uses 16 for its tables, processes and outputs."""
OPEN = 8
"""Files that stay open, and temporary files that are kept, because bytes of theirs may be read again."""
_KEPT = 64 << 20
"""Bytes of the temporary files that are kept because of that, besides the two newest."""


class FileState(NamedTuple):
    """The device and number of a file, by which it is recognized when it is opened again, and its size."""

    device: int
    number: int
    size: int

    @classmethod
    def of(cls, file: BinaryIO) -> FileState:
        """Return the state of an open file."""
        status = os.fstat(file.fileno())
        return cls(status.st_dev, status.st_ino, status.st_size)


class OpenFiles:
    """The files of captures that are open."""

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self._plain: OrderedDict[object, BinaryIO] = OrderedDict()
        self._spools: OrderedDict[object, Spooled] = OrderedDict()

    def plain(self, one: CaptureFile) -> BinaryIO:
        """Return a file as it is. Raise OSError, also if it is not the one that it was."""
        found = self._plain.get(one.key)
        if found is None:
            found = one.reopen()
            while len(self._plain) >= OPEN:
                self._plain.popitem(last=False)[1].close()
            self._plain[one.key] = found
        self._plain.move_to_end(one.key)
        return found

    def spool(self, one: CaptureFile) -> Spooled:
        """Return the temporary file with what a compressed file holds. It exists as long as something refers to it."""
        found = self._spools.get(one.key)
        if found is None:
            found = self._make_spool(one)
            if found.cut is not None and self._spools:
                # what is only kept in case it is read again must not cost what has not been read
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
        """Close these files."""
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
    """A capture file. `size`: bytes as given; `lost`: what of it could not be read, and why; `cut`: the sentence that a report
    begins with if a bound or a full disk is the reason."""

    def __init__(self, name: str, opened: OpenFiles) -> None:
        self.name = name
        self.size = 0
        self.lost: str | None = None
        self.cut: str | None = None
        self.compression: str | None = None
        self.state: FileState | None = None
        """Of a file that can be opened again."""
        self.key = object()
        """Names it among the open files: if those referred to it, which refers to them, they would stay open for a while."""
        self._opened = opened
        self._content: Content | None = None
        """Of a file that cannot."""

    def open(self) -> Content:
        """Return what is in the file, unpacked if it is compressed. Raise CaptureError if it cannot be read."""
        if self._content is not None:
            return self._content
        if self.compression is None:
            return Content(self, self.size, None)
        try:
            spooled = self._opened.spool(self)
        except OSError as error:
            raise CaptureError(f"{self.name}: {reason(error)}") from None
        self.lost, self.cut = spooled.lost, spooled.cut
        self._check_room(spooled)
        return Content(self, spooled.size, spooled.file)

    def reopen(self) -> BinaryIO:
        """Open the file. Raise OSError, also if it is another one than before, or shorter."""
        file = open(self.name, "rb", buffering=0)  # noqa: SIM115 - whoever reads it closes it
        state = FileState.of(file)
        if self.state is not None and (state[:2] != self.state[:2] or state.size < self.size):
            file.close()
            raise OSError(errno.ESTALE, "the file was replaced or cut short while it was read")
        return file

    def read_plain(self, offset: int, size: int) -> bytes:
        """Return bytes of the file as it is."""
        return os.pread(self.plain().fileno(), size, offset)

    def plain(self) -> BinaryIO:
        """Return the file as it is, open. Raise OSError, also if it is not the one that it was."""
        return self._opened.plain(self)

    def head(self, size: int) -> tuple[bytes, str | None]:
        """Return the first bytes of what is in the file, fewer than `size` if there are no more, and why if it is damaged."""
        with self.reopen() as file:
            return decompressed_head(file, size)

    def keep(self, file: BinaryIO, size: int) -> None:
        """Read this file, which stays open, instead of opening the one of that name."""
        self._content = Content(self, size, file)

    def spool_now(self, source: BinaryIO) -> None:
        """Read a pipe into a temporary file that is kept. Raise CaptureError if it is no capture, NoRoom if there is no room."""
        spooled = spool(source, self.name, is_capture, self._opened.budget)
        self.lost, self.cut = spooled.lost, spooled.cut
        self._check_room(spooled)
        self.keep(spooled.file, spooled.size)
        self.size = spooled.size

    def _check_room(self, spooled: Spooled) -> None:
        if spooled.lost is not None and spooled.size < _LEAST:
            text = f"{self.name}: not one packet can be read: {spooled.lost}"
            raise NoRoom(text, [spooled.cut]) if spooled.cut is not None else CaptureError(text)


class Content:
    """What is in a capture file, unpacked if it is compressed."""

    def __init__(self, owner: CaptureFile, size: int, file: BinaryIO | None) -> None:
        self.size = size
        self._owner = owner
        self._file = file

    def read(self, offset: int, size: int) -> bytes:
        """Return bytes, fewer at the end, or if they cannot be read, which is noted in the file."""
        size = min(size, self.size - offset)
        if size <= 0:
            return b""
        try:
            if self._file is not None:
                return os.pread(self._file.fileno(), size, offset)
            return self._owner.read_plain(offset, size)
        except OSError as error:
            self._owner.lost = reason(error)
            return b""

    def ending(self) -> Ending | None:
        """Return when capturing ended, if the end of the file says it."""
        if format_of(self.read(0, HEAD)) != "pcapng":
            return None
        return ending(self.read(max(self.size - LONGEST, 0), LONGEST))


def find_file(name: str, opened: OpenFiles) -> CaptureFile:
    """Return the file of this name, "-" for standard input. Raise CaptureError if it cannot be read or is no capture."""
    found = CaptureFile(name, opened)
    try:
        if name == STANDARD_INPUT:
            if sys.stdin is None:  # pyright: ignore[reportUnnecessaryComparison] - the shell's <&-
                raise CaptureError(f"{name}: standard input is closed")
            found.spool_now(sys.stdin.buffer)
            return found
        with open(name, "rb", buffering=0) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                found.spool_now(file)
                return found
            found.state = FileState.of(file)
            head = file.read(HEAD)
    except OSError as error:
        raise CaptureError(f"{name}: {reason(error)}") from None
    except ValueError:  # a NUL in the name
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
    """Return the plain capture file with this descriptor, which is duplicated. Raise CaptureError."""
    found = CaptureFile(name, opened)
    try:
        file = os.fdopen(os.dup(descriptor), "rb", buffering=0)
        found.size = FileState.of(file).size
    except OSError as error:
        raise CaptureError(f"{name}: {reason(error)}") from None
    found.keep(file, found.size)
    return found


def reason(error: OSError) -> str:
    """Return why a file cannot be read, in the words of a report."""
    if isinstance(error, FileNotFoundError):
        return "no such file"
    if isinstance(error, IsADirectoryError):
        return "a directory, not a capture file"
    if isinstance(error, PermissionError):
        return "no permission to read it"
    return (error.strerror or str(error)).lower()


def _check_descriptors(newest: int, name: str) -> None:
    """Raise TooManyFiles if few descriptors are left; the system always hands out the lowest free number."""
    try:
        import resource
    except ImportError:  # no such limit on this system
        return
    allowed = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if allowed != resource.RLIM_INFINITY and newest >= max(allowed - _SPARE, _SPARE // 2):
        raise TooManyFiles(name, allowed)
