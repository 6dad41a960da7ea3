"""How much disk space captures may take while they are unpacked, and what a report says of those that needed more."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from typing import TYPE_CHECKING, NamedTuple

from wiredoctor import limits
from wiredoctor.capture.model import readable

if TYPE_CHECKING:
    from typing import BinaryIO

SHARE_OF_FREE_SPACE = 0.9
"""How much of the free space of the temporary directory a spooled capture may take: the tables of a long capture go there too."""


class Room(NamedTuple):
    """How many bytes may be spooled. `over`, `why` and `remedy` say what to do if more are needed."""

    bytes: int
    over: str
    why: str
    remedy: str

    def sentence(self, name: str, read: int) -> str:
        """Return what a report begins with if only `read` bytes of the input fit."""
        name = "standard input" if name == "-" else readable(name)
        what = f"Only the first {_size(read)} of {name} were read" if read else f"Nothing of {name} was read"
        return f"{what}: {self.why}. {self.remedy}"


def disk(bytes: int, why: str = "there is no room for more") -> Room:
    """Return the room of a disk that takes no more than so many bytes."""
    where = f"{why} in {tempfile.gettempdir()}"
    return Room(bytes, f"{where} (TMPDIR names another folder)", where, "TMPDIR names another folder.")


class Budget:
    """The disk space that the captures of one run may take while they are unpacked: for one of them as for all together.

    `most`: the bound that was requested; None: that of limits.UNPACKED, or half of the free space, whichever is less. A capture
    that comes through a pipe cannot be a bomb: only a requested bound applies to it, and only then does it count.
    """

    def __init__(self, most: int | None = None) -> None:
        self.most = most
        self.held = 0

    @classmethod
    def of(cls, most: int | Budget | None) -> Budget:
        """Return the budget, or one with this bound."""
        return most if isinstance(most, Budget) else cls(most)

    def counts(self, *, compressed: bool) -> bool:
        """Return whether the bound applies to an input."""
        return compressed or self.most is not None

    def room(self, *, compressed: bool) -> Room:
        """Return how many bytes the next input may take."""
        free = shutil.disk_usage(tempfile.gettempdir()).free
        most = disk(int(free * SHARE_OF_FREE_SPACE))
        if not self.counts(compressed=compressed):
            return most
        half = (free + self.held) // 2
        bound = self.most if self.most is not None else min(limits.UNPACKED.value, half)
        why = f"{'unpacked captures' if compressed else 'captures from a pipe'} may take {_size(bound)} at most"
        remedy = f"--max-spool {_size(max(10 * bound, 10**6), '')} raises this bound."
        if self.most is None and bound == half:
            why += f", half of what is free in {tempfile.gettempdir()}"
            remedy = f"TMPDIR names another folder, and {remedy}"
        bounded = Room(max(bound - self.held, 0), "the limit (--max-spool) allows no more", why, remedy)
        return min(bounded, most, key=lambda room: room.bytes)

    def hold(self, file: BinaryIO, size: int) -> None:
        """Count `size` bytes until `file` is garbage. Closing it is not enough: a capture that is mapped stays on disk."""
        self.held += size
        weakref.finalize(file, self._give_back, size)

    def _give_back(self, size: int) -> None:
        self.held -= size


def _size(number: int, gap: str = " ") -> str:
    for unit, name in ((10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if number >= unit:
            return f"{number * 1000 // unit / 1000:g}{gap}{name}"
    return f"{number} bytes"
