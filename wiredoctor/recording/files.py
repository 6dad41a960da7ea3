"""Write the output: one file with a given name, or a ring, whose oldest file is removed when it is full."""

from __future__ import annotations

import errno
import os
import stat
import time
from typing import TYPE_CHECKING, NamedTuple, Protocol

from wiredoctor.recording.blocks import Piece
from wiredoctor.storage.replacement import FULL, Target, resolve

if TYPE_CHECKING:
    from wiredoctor.recording.events import Events
    from wiredoctor.recording.request import Request, Ring

ENDLESS = 1 << 62
"""A number of bytes or packets that is never reached."""

_NUMBERS = 99_999
"""The highest number in the file names of a ring. The numbers have five digits, and then restart at 1."""

_MAX_INCOMPLETE = 1000
"""The number in the name of an incomplete capture is less than this."""

_CLOSES_WITHIN, _NAP = 1.0, 0.02
"""The maximum time in seconds to wait for the analysis to close a removed file, and the time between two checks.

The file system frees the space of a removed file only when it is closed.
"""


class FullError(Exception):
    """The file system is full, and no file can be removed."""


class Output(Protocol):
    """An output for complete blocks. `written`: the number of bytes written to all of its files together."""

    written: int

    @property
    def room(self) -> int:
        """The number of bytes that can still be written to the current file."""
        ...

    @property
    def fresh(self) -> bool:
        """True if the current file of a ring has no packets yet. A packet is then written even if it is larger than `room`."""
        ...

    def begin(self) -> None:
        """Send the event that names the first file. Call this when the backend has begun to capture."""
        ...

    def write(self, piece: Piece) -> int:
        """Write complete blocks, and return the number of bytes for which there was space.

        If there was not enough space for all blocks, none of them count as written, and a regular file is truncated to its
        previous size.
        """
        ...

    def next_file(self, preamble: bytes) -> None:
        """Continue in another file, which begins with the blocks `preamble`. Raise FullError or OSError if that fails."""
        ...

    def free_space(self) -> None:
        """Remove the oldest file of a ring to free space. Raise FullError if there is no file to remove."""
        ...

    def close(self, *, used: bool) -> None:
        """Close the output. If the output was not `used`, remove the file that was created for it."""
        ...


def open_output(request: Request, events: Events) -> Output:
    """Return the output of a request. The first file is opened here, so an error in its name is reported at once.

    Raise OSError if the file cannot be opened.
    """
    if request.ring is None:
        assert request.file is not None
        return Single(request.file, events)
    if request.file is None:
        return RingFiles(os.path.join(request.folder, "live.pcapng"), request.ring, events, has_names=False)
    return RingFiles(request.file, request.ring, events, has_names=True)


def _open_for_reading(target: Target, name: str, written: int) -> int:
    """Open for reading a file that was just opened for writing (descriptor `written`), and return the new descriptor.

    Raise OSError if that fails, or if the name now belongs to another file.
    """
    file = os.open(name, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=target.folder)
    if not os.path.samestat(os.fstat(file), os.fstat(written)):
        os.close(file)
        raise OSError(errno.EAGAIN, "was replaced while it was opened", target.path)
    return file


def _write(file: int, data: memoryview) -> int:
    """Write the data. Return the number of bytes written, which is smaller than requested if the file system is full.

    Raise OSError for other errors.
    """
    done = 0
    while done < len(data):
        try:
            done += os.write(file, data[done:])
        except OSError as error:
            if error.errno not in FULL:
                raise
            break
    return done


class Single:
    """Writes one file, at exactly the given path. An existing file keeps its content until capturing begins."""

    def __init__(self, path: str, events: Events) -> None:
        self.written = 0
        self.room = ENDLESS
        self.fresh = False
        self._path = path
        self._events = events
        self._target = target = resolve(path)
        # do not wait for the reader of a pipe, because a stop request would not be noticed until then
        flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            self._file = os.open(target.name, flags, dir_fd=target.folder)
            self._new = False
        except FileNotFoundError:
            self._file = os.open(target.name, flags | os.O_CREAT | os.O_EXCL, 0o666, dir_fd=target.folder)
            self._new = True
        try:
            target.check_owner(os.fstat(self._file))  # check the opened file, because it may have been replaced a moment ago
        except OSError:
            os.close(self._file)
            raise
        self._regular = stat.S_ISREG(os.fstat(self._file).st_mode)

    def begin(self) -> None:
        reader = None
        if self._regular:
            reader = _open_for_reading(self._target, self._target.name, self._file)
            os.ftruncate(self._file, 0)
        self._events.send_event("file", descriptor=reader, path=self._path, begin=0)

    def write(self, piece: Piece) -> int:
        done = _write(self._file, piece.data)
        if done == len(piece.data):
            self.written += done
        elif self._regular:
            os.ftruncate(self._file, self.written)
            os.lseek(self._file, self.written, os.SEEK_SET)
        return done

    def next_file(self, preamble: bytes) -> None:
        raise NotImplementedError  # a single file always has room

    def free_space(self) -> None:
        if not (self._regular and (kept := self._rename())):
            raise FullError(f"no space left for -w {self._path}")
        self._events.send_event("renamed", path=kept)
        raise FullError(f"no space left for -w {self._path}; the packets up to then are in {kept}")

    def _rename(self) -> str:
        """Rename the file to STEM.incomplete.SUFFIX: under its own name, it would be taken for a complete capture.

        Return the new path; "" if that is impossible.
        """
        folder, (stem, suffix) = os.path.dirname(self._path), os.path.splitext(self._target.name)
        for number in range(1, _MAX_INCOMPLETE):
            name = f"{stem}.incomplete{f'-{number}' if number > 1 else ''}{suffix}"
            try:
                os.link(self._target.name, name, src_dir_fd=self._target.folder, dst_dir_fd=self._target.folder)
                os.unlink(self._target.name, dir_fd=self._target.folder)
            except FileExistsError:
                continue
            except OSError:
                break
            return os.path.join(folder, name)
        return ""

    def close(self, *, used: bool) -> None:
        os.close(self._file)
        if self._new and not used:
            os.unlink(self._target.name, dir_fd=self._target.folder)
        self._target.close()


class _Member(NamedTuple):
    name: str
    end: int


class RingFiles:
    """Writes a ring of at most `ring.files` files of at most `ring.bytes` bytes each.

    With `has_names`, the files are called STEM_00001_YYYYmmddHHMMSS.pcapng and so on, as in dumpcap. Otherwise the name of each
    file is removed as soon as the file is open.
    """

    def __init__(self, path: str, ring: Ring, events: Events, *, has_names: bool) -> None:
        self.written = 0
        self._target = resolve(path)
        self._stem, self._suffix = os.path.splitext(self._target.name)
        self._folder = os.path.dirname(path)
        self._ring = ring
        self._events = events
        self._has_names = has_names
        self._number = 0
        self._older: list[_Member] = []
        self._size = self._packets = self._packets_before = 0
        self._reported_full = False
        self._name, self._file, self._reader = self._open()

    @property
    def room(self) -> int:
        return max(0, self._ring.bytes - self._size)

    @property
    def fresh(self) -> bool:
        return not self._packets

    def _open(self, tries: int = 100) -> tuple[str, int, int]:
        """Create the next file; return its name, and its descriptors for writing and for reading.

        If the name is taken, try up to `tries` more names. Raise OSError if that fails.
        """
        self._number = self._number % _NUMBERS + 1
        name = f"{self._stem}_{self._number:05}_{time.strftime('%Y%m%d%H%M%S')}{self._suffix}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            file = os.open(name, flags, 0o666 if self._has_names else 0o600, dir_fd=self._target.folder)
        except FileExistsError:
            if not tries:
                raise
            return self._open(tries - 1)  # in a folder like /tmp, another user may have guessed the name
        try:
            return name, file, _open_for_reading(self._target, name, file)
        except OSError:
            os.close(file)
            raise
        finally:
            if not self._has_names:
                os.unlink(name, dir_fd=self._target.folder)

    def begin(self) -> None:
        self._events.send_event("file", descriptor=self._reader, path=self._path(self._name), begin=0, packets=0)

    def _path(self, name: str) -> str:
        return os.path.join(self._folder, name)

    def write(self, piece: Piece) -> int:
        done = _write(self._file, piece.data)
        if done < len(piece.data):
            os.ftruncate(self._file, self._size)
            os.lseek(self._file, self._size, os.SEEK_SET)
        else:
            self._size += done
            self._packets += piece.packets
            self.written += done
        return done

    def next_file(self, preamble: bytes) -> None:
        while True:
            try:
                name, file, reader = self._open()
                break
            except OSError as error:
                if error.errno not in FULL:
                    raise
                self.free_space()
        os.close(self._file)
        self._older.append(_Member(self._name, self.written))
        self._packets_before += self._packets
        self._name, self._file, self._reader, self._size, self._packets = name, file, reader, 0, 0
        while len(self._older) >= self._ring.files:
            self._remove()
        self._events.send_event(
            "file", descriptor=reader, path=self._path(name), begin=self.written, packets=self._packets_before
        )  # fmt: skip
        while self.write(Piece(memoryview(preamble), 0)) < len(preamble):
            self.free_space()

    def free_space(self) -> None:
        if not self._older:
            option = "-w " if self._has_names else ""
            raise FullError(f"no space left for {option}{self._path(self._name)}, and no older file of the ring to remove")
        if not self._reported_full:
            self._events.send_event(
                "note", text=f"no space left in {self._folder or '.'}: removing the oldest files of the ring early"
            )
            self._reported_full = True
        before = self._free_blocks()
        self._remove()
        end = time.monotonic() + _CLOSES_WITHIN
        while self._free_blocks() <= before and time.monotonic() < end:
            self._events.send()
            time.sleep(_NAP)

    def _free_blocks(self) -> int:
        return os.fstatvfs(self._file).f_bfree

    def _remove(self) -> None:
        member = self._older.pop(0)
        if self._has_names:
            try:
                os.unlink(member.name, dir_fd=self._target.folder)
            except OSError as error:
                text = f"{self._path(member.name)} cannot be removed: {(error.strerror or str(error)).lower()}"
                self._events.send_event("note", text=text)
        self._events.send_event("removed", path=self._path(member.name), end=member.end)

    def close(self, *, used: bool) -> None:
        os.close(self._file)
        if self._has_names and (not used or not self._size):
            os.unlink(self._name, dir_fd=self._target.folder)
        self._target.close()
