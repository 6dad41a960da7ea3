"""The files that are written: one of a given name, or a ring of which the oldest is removed."""

from __future__ import annotations

import errno
import os
import stat
import time
from typing import TYPE_CHECKING, NamedTuple, Protocol

from wiredoctor.recording.blocks import Piece

if TYPE_CHECKING:
    from wiredoctor.recording.events import Events
    from wiredoctor.recording.request import Request, Ring

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
"""No more can be written: the file system, the user's share of it, or the longest file that is allowed."""

ENDLESS = 1 << 62
"""Bytes that are never reached."""

_NUMBERS = 99_999
"""The numbers in the names of a ring have five digits, and begin again at 1."""


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
        return RingFiles(os.path.join(request.folder, "live.pcapng"), request.ring, events, private=True)
    return RingFiles(request.file, request.ring, events, private=False)


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
        self._new = not os.path.lexists(path)
        # a pipe that nobody reads is told, and not waited for: nothing would hear of the sign to stop meanwhile
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC, 0o666)
        self._regular = stat.S_ISREG(os.fstat(self._file).st_mode)

    def begin(self) -> None:
        if self._regular:
            os.ftruncate(self._file, 0)
        self._events.tell("file", path=self._path, begin=0)

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
            os.unlink(self._path)


class _Member(NamedTuple):
    path: str
    end: int


class RingFiles:
    """STEM_00001_YYYYmmddHHMMSS.pcapng and so on, as dumpcap names them: at most `ring.files`, of at most `ring.bytes` each."""

    def __init__(self, path: str, ring: Ring, events: Events, *, private: bool) -> None:
        self.written = 0
        self._stem, self._suffix = os.path.splitext(path)
        self._ring = ring
        self._events = events
        self._private = private
        self._number = 0
        self._older: list[_Member] = []
        self._size = self._packets = 0
        self._told_full = False
        self._path, self._file = self._open()

    @property
    def room(self) -> int:
        return max(0, self._ring.bytes - self._size)

    @property
    def fresh(self) -> bool:
        return not self._packets

    def _open(self) -> tuple[str, int]:
        self._number = self._number % _NUMBERS + 1
        path = f"{self._stem}_{self._number:05}_{time.strftime('%Y%m%d%H%M%S')}{self._suffix}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        return path, os.open(path, flags, 0o600 if self._private else 0o666)

    def begin(self) -> None:
        self._events.tell("file", path=self._path, begin=0)

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
                path, file = self._open()
                break
            except OSError as error:
                if error.errno not in FULL:
                    raise
                self.free_space()
        os.close(self._file)
        self._older.append(_Member(self._path, self.written))
        self._path, self._file, self._size, self._packets = path, file, 0, 0
        while len(self._older) >= self._ring.files:
            self._remove()
        self._events.tell("file", path=path, begin=self.written)
        while self.write(Piece(memoryview(preamble), 0)) < len(preamble):
            self.free_space()

    def free_space(self) -> None:
        if not self._older:
            raise FullError(f"no space left for {self._path}, and no older file of the ring to remove")
        if not self._told_full:
            folder = os.path.dirname(self._path) or "."
            self._events.tell("note", text=f"no space left in {folder}: the oldest files of the ring are removed earlier")
            self._told_full = True
        self._remove()

    def _remove(self) -> None:
        member = self._older.pop(0)
        try:
            os.unlink(member.path)
        except OSError as error:
            self._events.tell("note", text=f"{member.path} cannot be removed: {(error.strerror or str(error)).lower()}")
        self._events.tell("removed", path=member.path, end=member.end)

    def close(self, *, used: bool) -> None:
        os.close(self._file)
        if not used or not self._size:
            os.unlink(self._path)
