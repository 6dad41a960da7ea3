"""Manage the private folder of a live capture, which holds rows that do not fit into memory.

Packets are in files whose names were removed. The folder belongs to the user who started the capture, and only that user may
enter it. The subfolder `rows` is also open to the user that the analysis runs as. The analysis reaches the subfolder through a
descriptor; other processes of that user cannot, because the folder is closed to them.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import stat
import tempfile
import time
import weakref

PREFIX = "wiredoctor-live-"

_NAME = re.compile(r"wiredoctor-(?P<new>live-)?[a-z0-9_]{8}")
"""A pattern for the names of private folders, which tempfile.mkdtemp makes from the prefixes of this and older versions."""

_RING_FILE = re.compile(r"live_\d{5}_\d{14}\.pcapng")

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

_AT_MOST = 10.0
"""The maximum time in seconds for removing a folder. A process that keeps creating files in it could prolong this forever."""


class PrivateFolder:
    """A temporary folder that is removed with this object. The constructor raises OSError if the folder cannot be created.

    `gid`: the group of the user that the analysis runs as; None if the user does not change. `path`: the path of the folder.
    `lock`: a descriptor of the folder; the folder is locked while a process has this descriptor open. `rows`: a descriptor of the
    subfolder for rows. `rows_path`: a path to the subfolder that this process can use even after it has changed its user.
    """

    def __init__(self, gid: int | None = None) -> None:
        self.path, self.lock = _locked_folder()
        inner = os.path.join(self.path, "rows")
        os.mkdir(inner, 0o700)
        self.rows = os.open(inner, _FOLDER)
        if gid is not None:
            with contextlib.suppress(OSError):  # a container without CHOWN does not permit the change of user either
                os.fchown(self.rows, -1, gid)
                os.fchmod(self.rows, 0o770)
        by_descriptor = f"/proc/self/fd/{self.rows}"
        self.rows_path = by_descriptor if os.path.isdir(by_descriptor) else inner
        weakref.finalize(self, _remove, self.path, self.rows, self.lock)


def _locked_folder() -> tuple[str, int]:
    while True:
        path = tempfile.mkdtemp(prefix=PREFIX)
        descriptor = os.open(path, _FOLDER)
        # until the folder is locked, another process that starts may take it for abandoned and remove it
        if _lock(descriptor, fcntl.LOCK_SH) and os.path.exists(path) and os.path.samestat(os.stat(path), os.fstat(descriptor)):
            return path, descriptor
        os.close(descriptor)


def keep(path: str) -> None:
    """Protect a private folder from `remove_abandoned` until this process ends, even if its creator unlocks the folder."""
    with contextlib.suppress(OSError):
        _lock(os.open(path, _FOLDER), fcntl.LOCK_SH)


def _lock(folder: int, how: int) -> bool:
    try:
        fcntl.flock(folder, how | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _remove(path: str, rows: int, lock: int) -> None:
    with contextlib.suppress(OSError):  # after a change of user, the path is inaccessible
        for name in os.listdir(rows):
            with contextlib.suppress(OSError):
                os.unlink(name, dir_fd=rows)
    remove_tree(path)
    os.close(rows)
    os.close(lock)


def remove_tree(path: str) -> None:
    """Remove as much of a folder and its contents as possible, without following links.

    Another process may have nested folders very deeply, so the contents of each subfolder are moved to the top before the
    subfolder is removed.
    """
    with contextlib.suppress(OSError):
        top = os.open(path, _FOLDER)
        try:
            _empty(top)
        finally:
            os.close(top)
        os.rmdir(path)


def _empty(top: int) -> None:
    names, end = os.listdir(top), time.monotonic() + _AT_MOST
    while names and time.monotonic() < end:
        name = names.pop()
        with contextlib.suppress(OSError):
            if not stat.S_ISDIR(os.stat(name, dir_fd=top, follow_symlinks=False).st_mode):
                os.unlink(name, dir_fd=top)
                continue
            folder = os.open(name, _FOLDER, dir_fd=top)
            try:
                for inner in os.listdir(folder):
                    moved = f".{os.urandom(8).hex()}"
                    os.rename(inner, moved, src_dir_fd=folder, dst_dir_fd=top)
                    names.append(moved)
            finally:
                os.close(folder)
            os.rmdir(name, dir_fd=top)


def remove_abandoned(place: str) -> None:
    """Remove abandoned capture folders, including those of older versions, from the folder `place`.

    A folder is abandoned if all processes that used it were killed. Remove nothing if another user could rename entries of
    `place`.
    """
    with contextlib.suppress(OSError):
        status = os.stat(place)
        others_write = status.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and not status.st_mode & stat.S_ISVTX
        if others_write or status.st_uid not in (0, os.geteuid()):
            return
        for name in os.listdir(place):
            if match := _NAME.fullmatch(name):
                with contextlib.suppress(OSError):
                    _remove_if_abandoned(os.path.join(place, name), is_old=not match["new"])


def _remove_if_abandoned(path: str, *, is_old: bool) -> None:
    descriptor = os.open(path, _FOLDER)
    try:
        status = os.fstat(descriptor)
        is_mine = status.st_uid == os.geteuid() and stat.S_IMODE(status.st_mode) == 0o700
        if is_mine and _lock(descriptor, fcntl.LOCK_EX) and (_is_old_ring(descriptor) if is_old else _is_private(descriptor)):
            _empty(descriptor)
            os.rmdir(path)
    finally:
        os.close(descriptor)


def _is_private(folder: int) -> bool:
    return set(os.listdir(folder)) <= {"rows"}


def _is_old_ring(folder: int) -> bool:
    """Return whether a folder that an older version of wiredoctor made is abandoned.

    It is abandoned if it has packet files and no process has any of them open. Apart from these files, it may contain only
    temporary folders.
    """
    names = os.listdir(folder)
    files = [*filter(_RING_FILE.fullmatch, names)]
    rest = set(names) - set(files)
    return bool(files) and all(map(_NAME.fullmatch, rest)) and not any(_is_open(folder, name) for name in files)


def _is_open(folder: int, name: str) -> bool:
    """Return whether a process has the file open. If none has, the kernel grants a lease for writing (fcntl(2)).

    The caller must ignore SIGIO, which the kernel sends to the holder of a lease when another process opens the file.
    """
    file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    try:
        fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_WRLCK)
    except (OSError, AttributeError):
        return True
    finally:
        os.close(file)
    return False
