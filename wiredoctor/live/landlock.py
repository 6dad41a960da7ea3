"""Confine a process to some folders with Landlock (landlock(7)). This needs Linux 5.13 or later, but no privileges."""

from __future__ import annotations

import ctypes
import os
import stat
import sys
from collections.abc import Iterable

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
"""The numbers of the system calls, the same on all architectures."""

_VERSION, _PATH_BENEATH = 1, 1

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_REMOVE_DIR, _REMOVE_FILE, _MAKE_DIR, _MAKE_FILE = 1 << 4, 1 << 5, 1 << 7, 1 << 8
_TRUNCATE = 1 << 14

_RIGHTS_OF_ABI = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}
"""The number of file access rights that the kernel knows, by version of the Landlock interface (linux/landlock.h)."""

_TCP = 0b11
"""The access rights for binding and connecting TCP sockets, which have existed since version 4 of Landlock's interface."""

_SCOPES = 0b11
"""The scopes that forbid connections to abstract sockets of other processes, and signals to them.

They have existed since version 6 of Landlock's interface.
"""

_READ = _READ_FILE | _READ_DIR
_WRITE = _READ | _WRITE_FILE | _REMOVE_DIR | _REMOVE_FILE | _MAKE_DIR | _MAKE_FILE | _TRUNCATE
_OF_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE


class _Ruleset(ctypes.Structure):
    _fields_ = [("files", ctypes.c_uint64), ("network", ctypes.c_uint64), ("scoped", ctypes.c_uint64)]


class _Beneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = [("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32)]


class Confinement:
    """The rules that `enforce` applies to the calling thread and everything it starts.

    `readable`: files that may be read, and folders with everything below them. Paths that cannot be opened are omitted.
    `writable`: descriptors of files that may also be written, and of folders in which files may be created, changed and removed.
    Descriptors that are already open are not affected. The constructor raises OSError if the kernel has no Landlock.
    """

    def __init__(self, readable: Iterable[str], writable: Iterable[int]) -> None:
        if sys.platform != "linux":
            raise OSError("Landlock is for Linux only")
        self._libc = ctypes.CDLL(None, use_errno=True)
        version = self._call(_CREATE_RULESET, None, 0, _VERSION)
        self._rights = (1 << _RIGHTS_OF_ABI.get(version, 16)) - 1
        rules = _Ruleset(self._rights, _TCP if version >= 4 else 0, _SCOPES if version >= 6 else 0)
        size = 24 if version >= 6 else 16 if version >= 4 else 8
        self._ruleset = self._call(_CREATE_RULESET, ctypes.byref(rules), ctypes.c_size_t(size), 0)
        for path in readable:
            try:
                place = os.open(path, os.O_PATH | os.O_CLOEXEC)
            except OSError:
                continue
            self._allow(place, _READ)
            os.close(place)
        for place in writable:
            self._allow(place, _WRITE)

    def enforce(self) -> None:
        """Apply the rules permanently to the calling thread, which must have no_new_privs. Raise OSError if that fails."""
        self._call(_RESTRICT_SELF, self._ruleset, 0)
        os.close(self._ruleset)

    def _allow(self, place: int, rights: int) -> None:
        if not stat.S_ISDIR(os.fstat(place).st_mode):
            rights &= _OF_FILES
        rule = _Beneath(rights & self._rights, place)
        self._call(_ADD_RULE, self._ruleset, _PATH_BENEATH, ctypes.byref(rule), 0)

    def _call(self, number: int, *words: object) -> int:
        result = self._libc.syscall(number, *words)
        if result < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        return result
