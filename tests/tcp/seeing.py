"""What TCP analysis says about a ladder: its segments and connections, the same wherever epochs end."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from tests.core.flow_feed import differences
from tests.core.tcp_feed import compare
from tests.ladders import Packet, ladder_packets, to_pcap
from tests.pipeline.feeding import tables

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


def see(text: str, at: str | None = None, epochs: Sequence[int] = (1,)) -> Seen:
    """A ladder, analysed as one epoch and in epochs of so many packets: all must say the same.

    It need not be possible: captures reorder packets, and attackers send what they like.
    """
    with mock.patch("wiredoctor.testing.notation.reject_the_impossible"):
        packets = ladder_packets(text, at)
    return see_packets(packets, epochs)


def see_packets(packets: Sequence[Packet] | bytes, epochs: Sequence[int | Sequence[int]] = (1,)) -> Seen:
    """Packets (or a capture file) analysed as one epoch, as in `epochs`, and by the core: all must say the same."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ladder.pcap"
        path.write_bytes(packets if isinstance(packets, bytes) else to_pcap(packets))
        whole = seen(path)
        for cut in epochs:
            assert seen(path, cut) == whole, f"cut into {cut}"
        assert compare(path).differences() == []
        assert differences(path, 1) == []
    return whole


def seen(path: Path, epochs: int | Sequence[int] = 128_000) -> Seen:
    """A capture as TCP analysis sees it."""
    found = tables(path, epochs, messages=False)
    # rows of connections are said at the end of an epoch
    return Seen(found["segments"].to_dicts(), found["connections"].drop("said_at").to_dicts())
