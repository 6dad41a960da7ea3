"""The files that are written: one of a given name, or a ring of which the oldest is removed."""

from __future__ import annotations

import errno
import os
import stat
import time
from typing import TYPE_CHECKING, NamedTuple, Protocol

from wiredoctor.recording.blocks import Piece
from wiredoctor.replacement import FULL, Target, resolve

if TYPE_CHECKING:
    from wiredoctor.recording.events import Events
    from wiredoctor.recording.request import Request, Ring

ENDLESS = 1 << 62
"""Bytes that are never reached."""

_NUMBERS = 99_999
"""The numbers in the names of a ring have five digits, and begin again at 1."""


_CLOSES_WITHIN, _NAP = 1.0, 0.02
"""Seconds in which the analysis closes a file that was removed: only then there is room. How often it is looked for."""


class FullError(Exception):
    """There is no room for more, and nothing that could make room."""


class Output(Protocol):
    """Where whole blocks go. `written` counts the bytes of all files, one behind the other."""

    written: int

    @property
    def room(self) -> int:
        """Bytes that the file still takes."""
        ...

    @property
    def fresh(self) -> bool:
        """Whether the file holds no packets yet: then it takes one of any size."""
        ...

    def begin(self) -> None:
        """Tells of the first file: there are packets to come."""
        ...

    def write(self, piece: Piece) -> int:
        """Writes whole blocks. Fewer bytes than given mean that no space was left: then none of them count, or are kept."""
        ...

    def next_file(self, preamble: bytes) -> None:
        """Goes on in another file, which begins with these blocks. Raises FullError or OSError."""
        ...

    def free_space(self) -> None:
        """Makes space in the file system. Raises FullError."""
        ...

    def close(self, *, used: bool) -> None:
        """Nothing more comes; what was made for nothing is removed."""
        ...


def open_output(request: Request, events: Events) -> Output:
    """Opens the first file, so that a name that cannot be written is told at once. Raises OSError."""
    if request.ring is None:
        assert request.file is not None
        return Single(request.file, events)
    if request.file is None:
        return RingFiles(os.path.join(request.folder, "live.pcapng"), request.ring, events, has_names=False)
    return RingFiles(request.file, request.ring, events, has_names=True)


def _open_for_reading(target: Target, name: str, written: int) -> int:
    """Return a second descriptor of a file that was just opened for writing. Raises OSError."""
    file = os.open(name, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=target.folder)
    if not os.path.samestat(os.fstat(file), os.fstat(written)):
        os.close(file)
        raise OSError(errno.EAGAIN, "was replaced while it was opened", target.path)
    return file


def _write(file: int, data: memoryview) -> int:
    """How many bytes could be written: fewer when the file system is full. Raises OSError for all other reasons."""
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
    """One file of exactly this name. What is in it is kept until there is something to replace it."""

    def __init__(self, path: str, events: Events) -> None:
        self.written = 0
        self.room = ENDLESS
        self.fresh = False
        self._path = path
        self._events = events
        self._target = target = resolve(path)
        # a pipe that nobody reads is told, and not waited for: nothing would hear of the sign to stop meanwhile
        flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            self._file = os.open(target.name, flags, dir_fd=target.folder)
            self._new = False
        except FileNotFoundError:
            self._file = os.open(target.name, flags | os.O_CREAT | os.O_EXCL, 0o666, dir_fd=target.folder)
            self._new = True
        try:
            target.check_owner(os.fstat(self._file))  # of what was opened: it may have been put there a moment ago
        except OSError:
            os.close(self._file)
            raise
        self._regular = stat.S_ISREG(os.fstat(self._file).st_mode)

    def begin(self) -> None:
        reader = None
        if self._regular:
            reader = _open_for_reading(self._target, self._target.name, self._file)
            os.ftruncate(self._file, 0)
        self._events.tell("file", descriptor=reader, path=self._path, begin=0)

    def write(self, piece: Piece) -> int:
        done = _write(self._file, piece.data)
        if done == len(piece.data):
            self.written += done
        elif self._regular:
            os.ftruncate(self._file, self.written)
            os.lseek(self._file, self.written, os.SEEK_SET)
        return done

    def next_file(self, preamble: bytes) -> None:
        raise NotImplementedError  # there is always room in this one

    def free_space(self) -> None:
        raise FullError(f"no space left for {self._path}")

    def close(self, *, used: bool) -> None:
        os.close(self._file)
        if self._new and not used:
            os.unlink(self._target.name, dir_fd=self._target.folder)
        self._target.close()


class _Member(NamedTuple):
    name: str
    end: int


class RingFiles:
    """Files whose names are removed at once, or which keep them (`has_names`):
    STEM_00001_YYYYmmddHHMMSS.pcapng and so on, as dumpcap names them: at most `ring.files`, of at most `ring.bytes` each."""

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
        self._size = self._packets = 0
        self._told_full = False
        self._name, self._file, self._reader = self._open()

    @property
    def room(self) -> int:
        return max(0, self._ring.bytes - self._size)

    @property
    def fresh(self) -> bool:
        return not self._packets

    def _open(self, tries: int = 100) -> tuple[str, int, int]:
        """Return the name of the next file, and its descriptors for writing and for reading."""
        self._number = self._number % _NUMBERS + 1
        name = f"{self._stem}_{self._number:05}_{time.strftime('%Y%m%d%H%M%S')}{self._suffix}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            file = os.open(name, flags, 0o666 if self._has_names else 0o600, dir_fd=self._target.folder)
        except FileExistsError:
            if not tries:
                raise
            return self._open(tries - 1)  # in a folder like /tmp, another user may have foreseen the name
        try:
            return name, file, _open_for_reading(self._target, name, file)
        except OSError:
            os.close(file)
            raise
        finally:
            if not self._has_names:
                os.unlink(name, dir_fd=self._target.folder)

    def begin(self) -> None:
        self._events.tell("file", descriptor=self._reader, path=self._path(self._name), begin=0)

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
        self._name, self._file, self._reader, self._size, self._packets = name, file, reader, 0, 0
        while len(self._older) >= self._ring.files:
            self._remove()
        self._events.tell("file", descriptor=reader, path=self._path(name), begin=self.written)
        while self.write(Piece(memoryview(preamble), 0)) < len(preamble):
            self.free_space()

    def free_space(self) -> None:
        if not self._older:
            raise FullError(f"no space left for {self._path(self._name)}, and no older file of the ring to remove")
        if not self._told_full:
            self._events.tell(
                "note", text=f"no space left in {self._folder or '.'}: the oldest files of the ring are removed earlier"
            )
            self._told_full = True
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
                self._events.tell("note", text=text)
        self._events.tell("removed", path=self._path(member.name), end=member.end)

    def close(self, *, used: bool) -> None:
        os.close(self._file)
        if self._has_names and (not used or not self._size):
            os.unlink(self._name, dir_fd=self._target.folder)
        self._target.close()
