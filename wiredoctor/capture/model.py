"""What capture hands out: interfaces, records, and the error of a file that is no capture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
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


@dataclass
class Records:
    """An epoch of packet records: tables.RECORDS columns; their frame numbers are first_frame, first_frame + 1, ..."""

    first_frame: int
    columns: Columns
