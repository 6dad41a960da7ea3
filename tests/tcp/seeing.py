"""Return the segments and connections that the core writes for a ladder; they do not depend on the number of packets per read."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from tests.core.feeding import WHOLE, tables
from tests.ladders import Packet, ladder_packets, to_pcap

HANDSHAKE = """
0.000 > S 0:0 win 60000 mss 1460
0.010 < S. 0:0 ack 1 win 60000 mss 1460
0.020 > . ack 1
"""
"""Three packets; the capture is in the middle, 10 ms to and fro either side. Offset 0 is sequence number 1 of a ladder."""

MS = 1_000_000


@dataclass(frozen=True)
class Seen:
    """Rows of tables.SEGMENTS in the order of frames, and of tables.CONNECTIONS in that of ids."""

    segments: list[dict[str, Any]]
    connections: list[dict[str, Any]]

    def column(self, name: str) -> list[Any]:
        """A column of the segments."""
        return [row[name] for row in self.segments]

    def last(self, *names: str) -> list[Any]:
        """These columns of the last segment."""
        return [self.segments[-1][name] for name in names]

    def frames(self, name: str) -> list[int]:
        """The frames whose column is true (or not 0)."""
        return [row["frame"] for row in self.segments if row[name]]

    @property
    def connection(self) -> dict[str, Any]:
        """The only connection."""
        (only,) = self.connections
        return only


def see(text: str, at: str | None = None) -> Seen:
    """Return what the core writes of a ladder, which need not be possible: captures reorder packets, and attackers send what
    they like."""
    with mock.patch("wiredoctor.testing.notation.reject_the_impossible"):
        packets = ladder_packets(text, at)
    return see_packets(packets)


def see_packets(packets: Sequence[Packet] | bytes) -> Seen:
    """Return what the core writes of packets, or of a capture file; it is the same however many packets are read at a time."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ladder.pcap"
        path.write_bytes(packets if isinstance(packets, bytes) else to_pcap(packets))
        whole = seen(path)
        for most in (1, 7):
            assert seen(path, most) == whole, f"{most} at a time"
    return whole


def seen(path: Path, most: int = WHOLE) -> Seen:
    """Return what the core writes of a capture that is read this many packets at a time."""
    found = tables(path, most)
    return Seen(found["segments"].to_dicts(), found["connections"].sort("connection").to_dicts())
