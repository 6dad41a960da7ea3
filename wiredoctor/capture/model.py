"""Data types: the properties of a capture, its interfaces, and errors for captures that cannot be read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from wiredoctor.text.regex import Regex

NO_PACKET = -1
"""The link type of a record that counts as a frame but contains no packet (journal entries, system calls)."""


class CaptureError(Exception):
    """The input cannot be read as a capture. The text is one line with the reason and, if known, the position."""


class NoRoom(CaptureError):
    """There is no disk space to unpack any part of the input. `sentences`: texts about this for reports on the other inputs."""

    def __init__(self, text: str, sentences: Sequence[str]) -> None:
        super().__init__(text)
        self.sentences = [*sentences]


class TooManyFiles(CaptureError):
    """No file descriptor is left for another capture. `allowed`: the number of files that may be open."""

    def __init__(self, name: str, allowed: int) -> None:
        super().__init__(
            f"{name}: this capture and those after it are not read: only {allowed:,} files can be open at a time; raise "
            "the limit (ulimit -n) or name fewer captures"
        )
        self.allowed = allowed


class Ending(NamedTuple):
    """The time at which capturing ended (ns since 1970), and the number of packets captured by then."""

    time: int
    packets: int


class Captured(Protocol):
    """The facts about a capture that the analysis needs in addition to its packets."""

    @property
    def file(self) -> str:
        """The name of the capture in reports."""
        ...

    @property
    def files(self) -> tuple[str, ...]:
        """The names of the files; empty if there is only one."""
        ...

    @property
    def size(self) -> int:
        """The total size of all files in bytes; of compressed files, the compressed size."""
        ...

    @property
    def first_time(self) -> int | None:
        """The time of the first packet with a timestamp, in ns since 1970; None until such a packet was read."""
        ...

    @property
    def ending(self) -> Ending | None:
        """When capturing ended, according to the last block; None if the last file does not contain it."""
        ...

    @property
    def is_growing(self) -> bool:
        """True if the capture is still being written."""
        ...

    @property
    def clock_corrections(self) -> Sequence[int]:
        """The times (ns) by which the clocks of the hosts were corrected whose captures were merged; empty if no clock was.

        The times of all packets are then those of one clock.
        """
        ...

    @property
    def is_shuffled(self) -> bool:
        """True if the records may be slightly out of order. The reader then sorts them by time."""
        ...

    @property
    def is_disorder_proved(self) -> bool:
        """True if connections have already shown that packets are slightly out of order, so this need not be checked again."""
        ...

    @property
    def is_order_known(self) -> bool:
        """True if it is already known whether the records are out of order."""
        ...

    @property
    def are_clocks_known(self) -> bool:
        """True if it is already known whether the capture was merged from captures of hosts with different clocks."""
        ...

    @property
    def is_sorted(self) -> bool:
        """True if the reader sorts the records by time; frame numbers then differ from those in the file."""
        ...

    @property
    def lost(self) -> str | None:
        """A description of the data that could not be read from the input when it was opened.

        None if nothing is missing, or if the capture has several files.
        """
        ...

    def locate(self, frame: int) -> tuple[str, int] | None:
        """Return the name of the file that contains a frame, and the frame number in that file; None if there is only one file.

        The name is one of `files`.
        """
        ...


_SURROGATE = Regex("[\ud800-\udfff]")


def readable(name: str) -> str:
    r"""Return a file name as text that can be encoded: bytes that are not UTF-8 (lone surrogates in Python) become \xNN."""
    return name if name.isascii() else _SURROGATE.sub(lambda sign: f"\\x{ord(sign[0]) & 0xFF:02x}", name)


class Interface(NamedTuple):
    """An interface on which packets were captured.

    `ticks`: the number of timestamp units per second. `seconds`: the offset in seconds that is added to each timestamp.
    """

    link_type: int
    name: str = ""
    snaplen: int = 0
    ticks: int = 1_000_000
    seconds: int = 0
