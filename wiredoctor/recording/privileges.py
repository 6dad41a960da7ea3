"""Drop capabilities that a process does not need (capabilities(7), prctl(2), capset(2)); Linux only.

capset(2) and prctl(2) only change the calling thread, so call `keep_only` before starting a second thread.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
from collections.abc import Collection, Generator
from pathlib import Path
from typing import Any

CHOWN, DAC_OVERRIDE, FOWNER, KILL, SETGID, SETUID, NET_ADMIN, NET_RAW = 0, 1, 3, 5, 6, 7, 12, 13
"""The numbers of capabilities in linux/capability.h."""

_PDEATHSIG, _CAPBSET_READ, _CAPBSET_DROP, _NO_NEW_PRIVS, _AMBIENT = 1, 23, 24, 38, 47
_AMBIENT_IS_SET, _AMBIENT_LOWER = 1, 3
_VERSION_3 = 0x20080522


class _Header(ctypes.Structure):
    _fields_ = [("version", ctypes.c_uint32), ("pid", ctypes.c_int)]


class _Sets(ctypes.Structure):
    """The lower or upper 32 bits of each of the three capability sets, as capset(2) reads them."""

    _fields_ = [("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32)]


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def end_with_parent(signal: int) -> None:
    """Ask the kernel to send `signal` to the calling process when its parent dies."""
    if sys.platform == "linux":
        _libc().prctl(_PDEATHSIG, signal, 0, 0, 0)


def effective() -> int:
    """Return the effective capabilities of this process as a bit mask; 0 if the system does not report any."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        # as bytes, because a user who cannot read the installation cannot load an encoding either
        for line in Path("/proc/self/status").read_bytes().splitlines():
            if line.startswith(b"CapEff:"):
                return int(line.split()[1], 16)
    return 0


def has(capability: int) -> bool:
    """Return whether this process has a capability."""
    return bool(effective() >> capability & 1)


def keep_only(
    capabilities: Collection[int], *, gained: Collection[int] | None = None, no_new_privileges: bool = True
) -> list[str]:
    """Remove all capabilities except `capabilities` from the five capability sets of the calling thread.

    Return a phrase for each step that the kernel refused. The function never adds a capability. Ambient capabilities that are
    kept stay ambient, so executed programs have them too. `gained`: the capabilities that stay in the bounding set; the default
    is `capabilities`. With `no_new_privileges`, executed programs cannot gain other capabilities.
    """
    if sys.platform != "linux":
        return []
    libc = _libc()
    kept = sum(1 << capability for capability in capabilities) & effective()
    refused: list[str] = []
    bounding = kept if gained is None else sum(1 << capability for capability in gained)
    if _drop_bounding_set(libc, bounding) and os.geteuid() == 0:  # only root could gain capabilities from the bounding set
        refused.append("the bounding set of capabilities")
    ambient = _lower_ambient(libc, kept)
    if no_new_privileges and libc.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0):
        refused.append("the right to gain privileges (no_new_privs)")
    if not _set(libc, kept, kept, ambient):
        refused.append("capabilities")
    return refused


@contextlib.contextmanager
def only_effective(capabilities: Collection[int]) -> Generator[None]:
    """Within the context, keep only these capabilities effective.

    The others stay permitted, so the end of the context makes them effective again.
    """
    if sys.platform != "linux":
        yield
        return
    libc, bits = _libc(), effective()
    _set(libc, sum(1 << one for one in capabilities) & bits, bits, 0)
    try:
        yield
    finally:
        _set(libc, bits, bits, 0)


def _drop_bounding_set(libc: ctypes.CDLL, kept: int) -> bool:
    """Drop all capabilities except `kept` (bits) from the bounding set. Return whether the kernel refused."""
    for capability in range(64):
        surplus = not kept >> capability & 1 and libc.prctl(_CAPBSET_READ, capability, 0, 0, 0) == 1
        if surplus and libc.prctl(_CAPBSET_DROP, capability, 0, 0, 0):
            return True
    return False


def _lower_ambient(libc: ctypes.CDLL, kept: int) -> int:
    """Lower the ambient capabilities that are not in `kept` (bits); return the remaining ones as bits."""
    ambient = 0
    for capability in range(64):
        if libc.prctl(_AMBIENT, _AMBIENT_IS_SET, capability, 0, 0) == 1:
            if kept >> capability & 1:
                ambient |= 1 << capability
            else:
                libc.prctl(_AMBIENT, _AMBIENT_LOWER, capability, 0, 0)
    return ambient


def _set(libc: ctypes.CDLL, effective_bits: int, permitted: int, inheritable: int) -> bool:
    halves: Any = (_Sets * 2)()
    for half in range(2):
        shift, low = 32 * half, 0xFFFFFFFF
        halves[half] = _Sets(effective_bits >> shift & low, permitted >> shift & low, inheritable >> shift & low)
    return libc.capset(ctypes.byref(_Header(_VERSION_3, 0)), ctypes.byref(halves)) == 0
