"""What capture hands out: interfaces, records, and the error of a file that is no capture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

from wiredoctor.tables import NEVER

if TYPE_CHECKING:
    from typing import BinaryIO, Literal

    from wiredoctor.tables import Columns

MAX_PACKET = 262_144
"""Bytes. A record that announces more is damage: Wireshark's WTAP_MAX_PACKET_SIZE_STANDARD, libpcap's MAXIMUM_SNAPLEN."""

MAX_TIME = (1 << 62) - 1
"""ns. Times are clipped to +-146 years from the first packet, so that the difference of two times still fits 64 bits."""

NO_PACKET = -1
"""Link type of a record that counts as a frame and holds no packet (journal entries, system calls)."""


class CaptureError(Exception):
    """The input cannot be read as a capture at all; the text is one line that says what and where."""


class Interface(NamedTuple):
    """Where packets were captured. `ticks` per second and `seconds` added are those of the file's time stamps."""

    link_type: int
    name: str = ""
    snaplen: int = 0
    ticks: int = 1_000_000
    seconds: int = 0


class Source(NamedTuple):
    """A capture file that is open and can be mapped. `size`: bytes as given; `lost`: what is missing at its end, and why."""

    file: BinaryIO
    name: str
    size: int
    lost: str | None = None


@dataclass
class Records:
    """An epoch of packet records: tables.RECORDS columns; their frame numbers are first_frame, first_frame + 1, ..."""

    first_frame: int
    columns: Columns


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
    def format(self) -> Literal["pcap", "pcapng"]:
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


def longest_cut(records: Records) -> int:
    """Bytes that were captured of the packets that are in the file in part only: the most; NEVER where all are whole."""
    captured = records.columns["captured"]
    cut = captured < records.columns["length"]
    return int(captured[cut].max()) if cut.any() else NEVER
