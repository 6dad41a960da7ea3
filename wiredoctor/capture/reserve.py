"""A range of addresses for a capture that grows: bytes come to their places as they are read, and go when nobody needs them.

Everything before a place that was given back, and everything that has not come yet, reads as zeros. So a stream of any
length has one array, in which a place stays the same, and only what is looked at is in memory.
"""

from __future__ import annotations

import ctypes
import mmap
import os
from typing import TYPE_CHECKING

import numpy as np

from wiredoctor.capture.model import CaptureError

if TYPE_CHECKING:
    from wiredoctor.tables import Array

CHUNK = 4 << 20
"""Bytes that become memory, or stop being it, at a time."""

_SIZES = tuple(1 << bits for bits in (46, 45, 44, 43, 42, 41, 40, 39, 38, 37, 36))
"""Bytes that are tried, the most that common processors can address first: 64 TiB are two weeks of 50 MB/s."""

_MAP_FIXED = 0x10
"""mmap(2), the same on Linux and macOS; Python does not name it."""


_Chunk = ctypes.c_ubyte * CHUNK
"""Of one size: each other size would be a type of its own, which stays until a collector of garbage comes."""


class Reserve:
    """The range: `data`, an array of unsigned bytes. Raises CaptureError where the system has no such thing."""

    def __init__(self) -> None:
        if os.name != "posix":
            raise CaptureError("a capture that grows cannot be read on this system")
        self._map = _reserved()
        self.data: Array = np.frombuffer(self._map, np.uint8)
        self._base = int(self.data.ctypes.data)
        self._call = ctypes.CDLL(None, use_errno=True).mmap
        self._call.restype = ctypes.c_void_p
        self._call.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
        self._begin = self._end = 0

    @property
    def size(self) -> int:
        """Bytes of the range."""
        return len(self._map)

    def bytes(self, at: int, end: int) -> bytes:
        """What lies in the range."""
        return self._map[at:end]

    def read(self, file: int, offset: int, at: int, size: int) -> int:
        """Brings at most `size` bytes of a file (its descriptor), from `offset` on, to the place `at`; returns how many.

        Raises OSError, and MemoryError behind the end of the range.
        """
        if at + size > self.size - CHUNK:
            raise MemoryError
        self._end = max(self._end, at - at % CHUNK)  # what was passed over never becomes memory
        while self._end < at + size:
            self._over(self._end, CHUNK, mmap.PROT_READ | mmap.PROT_WRITE)
            self._end += CHUNK
        done = 0
        while done < size:
            part = memoryview(_Chunk.from_address(self._base + at + done))
            got = os.preadv(file, [part[: min(size - done, CHUNK)]], offset + done)
            if not got:
                break
            done += got
        return done

    def forget(self, end: int) -> None:
        """Whatever lies before this place is not looked at any more."""
        end -= end % CHUNK
        if end > self._begin:
            # mapped anew, and not only emptied: tables of pages would stay, and grow with the stream
            self._over(self._begin, end - self._begin, mmap.PROT_READ)
            self._begin = end

    @property
    def forgotten(self) -> int:
        """The place before which everything was given back."""
        return self._begin

    def _over(self, at: int, size: int, protection: int) -> None:
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _MAP_FIXED
        if self._call(self._base + at, size, protection, flags, -1, 0) != self._base + at:
            raise MemoryError


def _reserved() -> mmap.mmap:
    for size in _SIZES:
        try:
            return mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, prot=mmap.PROT_READ)
        except (OSError, OverflowError, ValueError):
            continue
    raise CaptureError("there are no addresses left for a capture that grows (ulimit -v)")
