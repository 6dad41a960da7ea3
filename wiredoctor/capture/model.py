"""A capture as a diagnosis sees it, its interfaces, and the errors of files that cannot be read."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wiredoctor.capture.end_of_capture import Ending

NO_PACKET = -1
"""Link type of a record that counts as a frame and holds no packet (journal entries, system calls)."""


class CaptureError(Exception):
    """The input cannot be read as a capture at all; the text is one line that says what and where."""


class NoRoom(CaptureError):
    """Nothing of the input can be read because there is no room to unpack it. `sentences` say so in a report on other inputs."""

    def __init__(self, text: str, sentences: Sequence[str]) -> None:
        super().__init__(text)
        self.sentences = [*sentences]


class TooManyFiles(CaptureError):
    """The captures that are open leave no descriptor for another one. `allowed`: how many files may be open."""

    def __init__(self, name: str, allowed: int) -> None:
        super().__init__(
            f"{name}: this capture and those after it are not read: only {allowed:,} files may be open at the same time; raise "
            "the limit (ulimit -n), or name fewer captures"
        )
        self.allowed = allowed


class Captured(Protocol):
    """What a diagnosis needs of a capture, besides its packets."""

    @property
    def file(self) -> str:
        """What reports call it."""
        ...

    @property
    def files(self) -> tuple[str, ...]:
        """The names of the files, if several are read as one."""
        ...

    @property
    def size(self) -> int:
        """Bytes, of all files."""
        ...

    @property
    def first_time(self) -> int | None:
        """Nanoseconds since 1970 of the first packet with a time stamp; None before it is read."""
        ...

    @property
    def ending(self) -> Ending | None:
        """When capturing ended, if the end of the (last) file says so."""
        ...

    @property
    def is_growing(self) -> bool:
        """Whether it is written while it is read."""
        ...

    @property
    def is_shuffled(self) -> bool:
        """Whether its records may be out of order, and are put in order."""
        ...

    @property
    def lost(self) -> str | None:
        """What was lost of a file before it could be read here; None if nothing was."""
        ...

    def locate(self, frame: int) -> tuple[str, int] | None:
        """Return the name of the file that a frame lies in, as in `files`, and its number there; None if there is one file."""
        ...


_SURROGATE = re.compile("[\ud800-\udfff]")


def readable(name: str) -> str:
    r"""A file's name as text that has an encoding: what is no UTF-8 in it, which Python keeps in lone surrogates, is \xNN."""
    return _SURROGATE.sub(lambda sign: f"\\x{ord(sign[0]) & 0xFF:02x}", name)


class Interface(NamedTuple):
    """Where packets were captured. `ticks` per second and `seconds` added are those of the file's time stamps."""

    link_type: int
    name: str = ""
    snaplen: int = 0
    ticks: int = 1_000_000
    seconds: int = 0
