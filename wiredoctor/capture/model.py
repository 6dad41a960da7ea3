"""What capture hands out: interfaces, records, and the error of a file that is no capture."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

from wiredoctor.tables import NEVER

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import BinaryIO

    from wiredoctor.capture.ending import Ending
    from wiredoctor.tables import Columns

MAX_TIME = (1 << 62) - 1
"""ns. Times are clipped to +-146 years from the first packet, so that the difference of two times still fits 64 bits."""

NO_PACKET = -1
"""Link type of a record that counts as a frame and holds no packet (journal entries, system calls)."""

UNSTAMPED = "unstamped"
"""A column beside those of tables.RECORDS, where a capture has such packets: whether the file gives this one no time
stamp (its time is then that of the packet before it, of whatever interface)."""


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


class Source(NamedTuple):
    """A capture file that is open and can be mapped. `size`: bytes as given; `lost`: what is missing at its end, and why; `cut`:
    the sentence that a report begins with if a bound or a full disk is the reason."""

    file: BinaryIO
    name: str
    size: int
    lost: str | None = None
    cut: str | None = None


@dataclass
class Records:
    """An epoch of packet records: tables.RECORDS columns; their frame numbers are first_frame, first_frame + 1, ...

    ends: where reading stood behind them, a place in the data for each file of the capture.
    """

    first_frame: int
    columns: Columns
    ends: tuple[int, ...] = ()


class Reader(Protocol):
    """A file format: where reading stands, and the next packets from there."""

    @property
    def position(self) -> int:
        """Bytes that have been read."""
        ...

    @property
    def packets(self) -> int:
        """Packets that have been read."""
        ...

    @property
    def damage(self) -> str | None:
        """What could not be read and where; None while all could."""
        ...

    @property
    def interfaces(self) -> list[Interface]:
        """Where packets were captured; grows while a pcapng file is being read."""
        ...

    @property
    def format(self) -> str:
        """The file format."""
        ...

    @property
    def first_time(self) -> int | None:
        """Nanoseconds since 1970 of the first packet with a time stamp; None before it is read."""
        ...

    @property
    def done(self) -> bool:
        """Nothing more can be read: the end, or damage."""
        ...

    def read(self, packets: int) -> Columns:
        """tables.RECORDS columns of at most so many next packets."""
        ...


def together(runs: Sequence[Columns]) -> Columns:
    """Runs of packets one behind the other."""
    if len(runs) == 1:
        return runs[0]
    names = dict.fromkeys(name for run in runs for name in run)
    return {
        name: np.concatenate([run[name] if name in run else np.zeros(len(run["time"]), bool) for run in runs]) for name in names
    }


def longest_cut(records: Records) -> int:
    """Bytes that were captured of the packets that are in the file in part only: the most; NEVER where all are whole."""
    captured = records.columns["captured"]
    cut = captured < records.columns["length"]
    return int(captured[cut].max()) if cut.any() else NEVER
