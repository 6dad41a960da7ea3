"""Several files in memory, one behind the other in a single range of addresses."""

from __future__ import annotations

import ctypes
import mmap
import os
from typing import TYPE_CHECKING

from wiredoctor.capture.model import CaptureError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import BinaryIO

_MAP_FIXED = 0x10
"""mmap(2), the same on Linux and macOS; Python does not name it."""


def map_files(files: Sequence[BinaryIO]) -> tuple[mmap.mmap, list[range]]:
    """All files as one buffer, and where in it each lies. Each begins at the start of a page; between them are zeros.

    Nothing is copied: the pages of the files are mapped over a range of addresses that is reserved first, and that the
    buffer gives back as a whole (POSIX mmap(2), MAP_FIXED). Raises CaptureError where there is no such call.
    """
    if os.name != "posix":
        raise CaptureError("several files cannot be read as one capture on this system")
    places: list[range] = []
    end = 0
    for file in files:
        size = os.fstat(file.fileno()).st_size
        places.append(range(end, end + size))
        end += -(-size // mmap.PAGESIZE) * mmap.PAGESIZE
    whole = mmap.mmap(-1, end, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, prot=mmap.PROT_READ)
    base = _address(whole)
    for file, place in zip(files, places, strict=True):
        _map_over(base + place.start, len(place), file.fileno())
    return whole, places


def _address(buffer: mmap.mmap) -> int:
    """Where a buffer that may not be written to begins."""
    import numpy as np

    return int(np.frombuffer(buffer, np.uint8).ctypes.data)


def _map_over(address: int, size: int, descriptor: int) -> None:
    call = ctypes.CDLL(None, use_errno=True).mmap
    call.restype = ctypes.c_void_p
    call.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
    if call(address, size, mmap.PROT_READ, mmap.MAP_SHARED | _MAP_FIXED, descriptor, 0) != address:
        error = ctypes.get_errno()
        raise CaptureError(f"several files cannot be mapped as one: {os.strerror(error).lower()}")
