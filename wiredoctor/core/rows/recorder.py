"""Write the tables `records` and `packets`, which have rows for every packet, if they were requested."""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64

from wiredoctor.core.capture.packet import IPV6, Packet, key_of, place_of_payload
from wiredoctor.core.octets import BytesWriter, read_i64_be, write_i64_le
from wiredoctor.core.rows.cells import Rows
from wiredoctor.core.tcp.identity import Identity
from wiredoctor.core.tcp.segment import NEVER
from wiredoctor.core.unsigned import u16, u32

RECORDS: Final = ("frame", "connection", "time", "interface", "link_type", "offset", "captured", "length")
PACKETS: Final = (
    *("connection", "frame", "time", "interface", "ip_version", "source_high", "source_low", "destination_high"),
    *("destination_low", "source_port", "destination_port", "ip_id", "ttl", "seq", "ack", "flags", "window", "length"),
    *("captured", "payload", "mss", "window_shift", "has_timestamps", "sack", "dsack", "quoted"),
)
"""The names of the columns that a row of `packets` contains."""

OPTIONS: Final = ("options_size", "options_0", "options_8", "options_16", "options_24", "options_32")
"""The names of the optional cells for TCP options: the number of captured bytes, and the bytes.

In a row, they follow the cells of PACKETS.
"""

HASHES: Final = ("link_hash", "encapsulation")
"""The names of the optional cells for hashes of outer headers. In a row, they follow the other cells."""

MAX_OPTIONS: Final = 40
"""The maximum size of TCP options in bytes."""


class Extras:
    """Writes the optional cells of a packet (OPTIONS and HASHES).

    They double the time for writing a row, so they are only written if one of the requested `columns` needs them.
    """

    def __init__(self, columns: list[str]) -> None:
        self.options: bool = "options_hash" in columns
        self.hashes: bool = overlap(HASHES, columns)
        self.identity: Identity = Identity()

    def names(self) -> list[str]:
        """Return the names of the optional cells that are written, in order."""
        names: list[str] = []
        if self.options:
            names += OPTIONS
        if self.hashes:
            names += HASHES
        return names

    def write(self, out: BytesWriter, packet: Packet) -> None:
        """Write the optional cells of a packet."""
        if self.options:
            options = self.identity.options(packet)[:MAX_OPTIONS]
            write_i64_le(out, len(options))
            out.write(options.ljust(MAX_OPTIONS, b"\0"))
        if self.hashes:
            link_hash, encapsulation = self.identity.of_packet(packet)
            write_i64_le(out, to_signed(link_hash))
            write_i64_le(out, to_signed(encapsulation))


class Selection:
    """The connections (by id) and the single frames for which rows are written."""

    def __init__(self, connections: set[int], frames: set[int]) -> None:
        self.connections: set[int] = connections
        self.frames: set[int] = frames

    def has(self, connection: i64, frame: i64) -> bool:
        """Return whether the rows of this packet are selected."""
        return connection in self.connections or frame in self.frames


class PacketRecorder:
    """Writes rows for all packets, or only for those in `selection`.

    `columns`: the requested columns of `packets`. `names`: the cells that are written; the engine computes the columns from the
    cells. `records` and `packets` are None if the table was not requested.
    """

    def __init__(self, selection: Selection | None, with_records: bool, columns: list[str]) -> None:
        self.selection: Selection | None = selection
        self.extras: Extras = Extras(columns)
        self.names: list[str] = [*PACKETS, *self.extras.names()]
        self.records: Rows | None = Rows(len(RECORDS)) if with_records else None
        self.packets: Rows | None = Rows(len(self.names)) if columns else None
        self.place: i64 = 0
        self.captured: i64 = 0

    def begin(self, packet: Packet) -> None:
        """Record the position of the current record, before its headers are read."""
        self.place = packet.block_place + packet.at
        self.captured = packet.end - packet.at

    def write(self, packet: Packet, connection: i64, is_segment: bool = True) -> None:
        """Write the rows of a packet. `connection` is the id of its connection, or NEVER if it belongs to none."""
        if self.selection is not None and not self.selection.has(connection, packet.frame):
            return
        if self.records is not None:
            self.write_record(self.records, packet, connection)
        if self.packets is not None and connection != NEVER and is_segment:
            self.write_packet(self.packets, packet, connection)

    def write_record(self, rows: Rows, packet: Packet, connection: i64) -> None:
        """Write a row of `records`."""
        out = rows.begin()
        write_i64_le(out, packet.frame)
        write_i64_le(out, connection)
        write_i64_le(out, packet.time)
        write_i64_le(out, packet.interface)
        write_i64_le(out, packet.link_type)
        write_i64_le(out, self.place)
        write_i64_le(out, self.captured)
        write_i64_le(out, packet.wire_length)

    def write_packet(self, rows: Rows, packet: Packet, connection: i64) -> None:
        """Write a row of `packets`."""
        out = rows.begin()
        write_i64_le(out, connection)
        write_i64_le(out, packet.frame)
        write_i64_le(out, packet.time)
        write_i64_le(out, packet.interface)
        write_i64_le(out, 6 if packet.ports >= IPV6 else 4)
        write_addresses(out, key_of(packet))
        write_i64_le(out, packet.ip_id)
        write_i64_le(out, packet.ttl)
        write_i64_le(out, packet.sequence)
        write_i64_le(out, packet.acknowledgment)
        write_i64_le(out, packet.flags)
        write_i64_le(out, packet.window)
        write_i64_le(out, packet.length)
        write_i64_le(out, packet.captured)
        write_i64_le(out, place_of_payload(packet))
        write_i64_le(out, packet.mss)
        write_i64_le(out, packet.window_shift)
        write_i64_le(out, i64(packet.has_timestamps))
        write_i64_le(out, i64(packet.sack))
        write_i64_le(out, i64(packet.dsack))
        write_i64_le(out, i64(packet.is_quoted))
        self.extras.write(out, packet)


def write_addresses(out: BytesWriter, key: bytes) -> None:
    """Write the source and destination address, each in two halves of 64 bits, and both ports."""
    if len(key) == 12:
        write_i64_le(out, 0)
        write_i64_le(out, u32(key, 0))
        write_i64_le(out, 0)
        write_i64_le(out, u32(key, 4))
        write_i64_le(out, u16(key, 8))
        write_i64_le(out, u16(key, 10))
        return
    write_i64_le(out, read_i64_be(key, 0))
    write_i64_le(out, read_i64_be(key, 8))
    write_i64_le(out, read_i64_be(key, 16))
    write_i64_le(out, read_i64_be(key, 24))
    write_i64_le(out, u16(key, 32))
    write_i64_le(out, u16(key, 34))


def overlap(names: tuple[str, ...], columns: list[str]) -> bool:
    """Return whether any of the names is among the columns."""
    return not set(columns).isdisjoint(names)


def to_signed(number: int) -> i64:
    """Return the signed number with the same 64 bits as an unsigned one."""
    return i64(number - (1 << 64) if number >> 63 else number)
