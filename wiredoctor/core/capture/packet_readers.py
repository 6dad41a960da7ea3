"""What reads packets that are no TCP segments: an object per kind of packet (layers.py), with a table of its own."""

from __future__ import annotations

from mypy_extensions import i64

from wiredoctor.core.capture.packet import Packet
from wiredoctor.core.rows.cells import Rows


class PacketReader:
    """Reads the packets of one kind, and writes rows about them."""

    def __init__(self, width: i64) -> None:
        self.rows: Rows = Rows(width)

    def read(self, packet: Packet) -> i64:
        """Read a packet. Return the id of the connection that it is about, or NEVER if there is none."""
        raise NotImplementedError
