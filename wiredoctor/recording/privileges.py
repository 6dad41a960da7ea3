"""What root can do and this program does not need is given up (capabilities(7), prctl(2), capset(2)); Linux only."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
from pathlib import Path

DAC_OVERRIDE, KILL, SETGID, SETUID, NET_ADMIN, NET_RAW = 1, 5, 6, 7, 12, 13
"""Capabilities by their numbers in linux/capability.h."""

_PDEATHSIG, _NO_NEW_PRIVS = 1, 38
_VERSION_3 = 0x20080522


class _Header(ctypes.Structure):
    _fields_ = [("version", ctypes.c_uint32), ("pid", ctypes.c_int)]


class _Sets(ctypes.Structure):
    """One half of the three sets, 32 capabilities each."""

    _fields_ = [("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32)]


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def end_with_parent(signal: int) -> None:
    """To be called in a child: it gets this signal when its parent is gone."""
    if sys.platform == "linux":
        _libc().prctl(_PDEATHSIG, signal, 0, 0, 0)


def effective() -> int:
    """The effective capabilities of this process as bits; 0 where the system has none."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/self/status").read_text("ascii", "replace").splitlines():
            if line.startswith("CapEff:"):
                return int(line.split()[1], 16)
    return 0


def has(capability: int) -> bool:
    """Whether this process has a capability."""
    return bool(effective() >> capability & 1)


def give_up(keep: set[int], folder: str) -> None:
    """As root, keeps only these capabilities, for this process and all that it executes, and no way to get others.

    Where `folder` (in which files have to be made and removed) is only open to who may pass over permissions, that right is kept
    as well. A user who is not root has nothing to give up; what is executed may then have capabilities in its file.
    """
    if sys.platform != "linux" or os.geteuid() != 0:
        return
    libc = _libc()
    kept = sum(1 << capability for capability in keep) & effective()
    override = 1 << DAC_OVERRIDE & effective()
    _set(libc, kept, kept | override)
    if folder and not os.access(folder, os.W_OK | os.X_OK, effective_ids=True):
        kept |= override
    libc.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0)
    _set(libc, kept, kept)


def _set(libc: ctypes.CDLL, effective_bits: int, permitted: int) -> None:
    halves = (_Sets * 2)()
    for half in range(2):
        shift, low = 32 * half, 0xFFFFFFFF
        halves[half] = _Sets(effective_bits >> shift & low, permitted >> shift & low, 0)
    libc.capset(ctypes.byref(_Header(_VERSION_3, 0)), ctypes.byref(halves))
