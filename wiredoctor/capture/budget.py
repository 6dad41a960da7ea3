"""Limit the disk space for unpacking captures, and describe which data did not fit."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from typing import BinaryIO, NamedTuple

from wiredoctor import limits
from wiredoctor.capture.model import readable

SHARE_OF_FREE_SPACE = 0.9
"""The maximum fraction of the temporary folder's free space for unpacked captures: the tables of a long capture need space,
too.
"""


class Room(NamedTuple):
    """The number of bytes that may still be unpacked, with texts for an input that needs more.

    `over`: the reason why no more bytes were stored. `why`: the limit that applies. `remedy`: how to raise it.
    """

    bytes: int
    over: str
    why: str
    remedy: str

    def sentence(self, name: str, read: int) -> str:
        """Return a sentence for the top of a report: only `read` bytes of the input `name` could be unpacked."""
        name = "standard input" if name == "-" else readable(name)
        what = f"Only the first {_size(read)} of {name} were read" if read else f"Nothing of {name} was read"
        return f"{what}: {self.why}. {self.remedy}"


def disk(bytes: int, why: str = "there is no more space") -> Room:
    """Return the limit for a disk with `bytes` bytes available. `why`: the beginning of the text that describes this limit."""
    where = f"{why} in {tempfile.gettempdir()}"
    return Room(bytes, f"{where} (set TMPDIR to use another folder)", where, "Set TMPDIR to use another folder.")


class Budget:
    """The disk space that all captures of one run together may use for unpacking.

    `most`: the requested limit in bytes. If it is None, compressed captures may use limits.UNPACKED or half of the free space,
    whichever is less. Captures from a pipe are then limited only by the free space, because a pipe cannot be a decompression
    bomb.
    """

    def __init__(self, most: int | None = None) -> None:
        self.most = most
        self.held = 0

    def counts(self, *, compressed: bool) -> bool:
        """Return whether this budget limits an input. `compressed`: the input is a compressed file; otherwise it is a pipe."""
        return compressed or self.most is not None

    def room(self, *, compressed: bool) -> Room:
        """Return how many more bytes an input may use on disk, with texts about the limit that applies.

        `compressed`: whether the input is a compressed file. Otherwise it is a pipe.
        """
        free = shutil.disk_usage(tempfile.gettempdir()).free
        most = disk(int(free * SHARE_OF_FREE_SPACE))
        if not self.counts(compressed=compressed):
            return most
        half = (free + self.held) // 2
        bound = self.most if self.most is not None else min(limits.UNPACKED.value, half)
        why = f"{'unpacked captures' if compressed else 'captures from a pipe'} may use {_size(bound)} at most"
        remedy = f"--max-spool {_size(max(10 * bound, 10**6), '')} raises this limit."
        if self.most is None and bound == half:
            why += f", half of the free space in {tempfile.gettempdir()}"
            remedy = f"Set TMPDIR to use another folder. {remedy}"
        bounded = Room(max(bound - self.held, 0), "the limit (--max-spool) allows no more", why, remedy)
        return min(bounded, most, key=lambda room: room.bytes)

    def hold(self, file: BinaryIO, size: int) -> None:
        """Count `size` bytes as used until `file` is garbage-collected.

        A mapped file uses disk space even after it is closed.
        """
        self.held += size
        weakref.finalize(file, self._give_back, size)

    def _give_back(self, size: int) -> None:
        self.held -= size


def _size(number: int, gap: str = " ") -> str:
    for unit, name in ((10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if number >= unit:
            return f"{number * 1000 // unit / 1000:g}{gap}{name}"
    return f"{number} bytes"
