"""Read the records of classic pcap files and of snoop files.

In pcap files, timestamps are in microseconds or nanoseconds, numbers are in either byte order, and some variants have longer
record headers.
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64

from wiredoctor.capture import damage as words
from wiredoctor.capture.formats import SNOOP_HEADER as FILE_HEADER
from wiredoctor.capture.formats import describe_pcap, describe_snoop
from wiredoctor.core.capture.packet import WORD, Packet
from wiredoctor.core.capture.records import BLOCK, Records, Source
from wiredoctor.core.octets import read_i64_be, read_i64_le

SECOND: Final = 1_000_000_000
MICROSECOND: Final = 1_000
SNOOP_HEADER: Final = 24


class PcapRecords(Records):
    """The records of a pcap file. The constructor raises CaptureError if the file header is invalid."""

    format: str = "pcap"

    def __init__(self, source: Source, name: str) -> None:
        super().__init__(source)
        header = describe_pcap(source.read, name)
        self.big = header.order == ">"
        self.tick: i64 = header.tick
        self.header: i64 = header.record_header
        self.exchanged: bool = header.exchanged
        """True if each record header contains the original length before the captured length."""
        self.perhaps_exchanged: bool = header.perhaps_exchanged
        self.interfaces.append(header.interface)
        self.link_type: i64 = header.interface.link_type
        self.begin = header.first_record
        self.first_time: i64 = -1
        self.not_zero: i64 = -1
        """The offset of the first nonzero byte after an empty record; -1 until an empty record was read."""

    def count_from(self, time: int) -> None:
        """Count times from `time` (ns since 1970), not from the first packet."""
        super().count_from(time)
        self.first_time = time

    def next(self, packet: Packet) -> bool:
        """Fill the packet from the next record. Return False if there is none, or if it is incomplete or invalid."""
        if self.damage is not None or not self.has(self.header):
            return False
        at, block = self.at, self.block
        if self.big:
            stamp, lengths = read_i64_be(block, at), read_i64_be(block, at + 8)
            time = (stamp >> 32 & WORD) * SECOND + (stamp & WORD) * self.tick
            captured, length = lengths >> 32 & WORD, lengths & WORD
        else:
            stamp, lengths = read_i64_le(block, at), read_i64_le(block, at + 8)
            time = (stamp & WORD) * SECOND + (stamp >> 32 & WORD) * self.tick
            captured, length = lengths & WORD, lengths >> 32 & WORD
        if self.exchanged or (self.perhaps_exchanged and length < captured):
            captured, length = length, captured
        if captured > self.longest:
            self.damage = words.too_long(self.frame + 1, self.position, captured)
            return False
        if captured == 0 and length == 0 and time == 0 and self.ends_in_zeros():
            return False
        if not self.has(self.header + captured):
            return False
        packet.interface = 0
        packet.link_type = self.link_type
        self.fill(packet, self.header, captured, length)
        if self.first_time < 0:
            self.first_time = time
            self.times.first = time
        self.times.add(packet, time - self.first_time)
        self.times.watch(packet)
        self.at = packet.end
        return True

    def ends_in_zeros(self) -> bool:
        """Return whether the file contains only zeros after `at`: space that was never written, as after a power failure."""
        offset = self.begin + self.at
        if offset < self.not_zero:
            return False
        while True:
            block = self.source.read(offset, BLOCK)
            rest = block.lstrip(b"\0")
            if rest:
                self.not_zero = offset + len(block) - len(rest)
                return False
            if len(block) < BLOCK:
                return True
            offset += len(block)

    def captured_length(self) -> i64:
        """Return the captured length in the next record header, in bytes."""
        first = self.u32(self.at + 8)
        if not self.exchanged and not self.perhaps_exchanged:
            return first
        second = self.u32(self.at + 12)
        return second if self.exchanged or second < first else first

    def end(self) -> None:
        """Report an incomplete record at the end of the file as damage."""
        if self.damage is not None:
            return
        if not self.has(self.header):
            if self.size > self.at:
                self.damage = words.cut_header(self.frame + 1, self.position, self.header, self.size - self.at)
            return
        captured = self.captured_length()
        if not self.has(self.header + captured):
            self.damage = words.cut_packet(self.frame + 1, self.position, captured, self.size - self.at - self.header)
        elif captured == 0 and self.ends_in_zeros():
            self.damage = words.zeros(self.frame + 1, self.position)


class SnoopRecords(Records):
    """The records of a snoop file (RFC 1761). The constructor raises CaptureError if the file header is invalid."""

    format: str = "snoop"

    def __init__(self, source: Source, name: str) -> None:
        super().__init__(source)
        self.big = True
        self.interfaces.append(describe_snoop(source.read(0, FILE_HEADER), name))
        self.link_type: i64 = self.interfaces[0].link_type
        self.begin = FILE_HEADER
        self.first_time: i64 = -1

    def count_from(self, time: int) -> None:
        """Count times from `time` (ns since 1970), not from the first packet."""
        super().count_from(time)
        self.first_time = time

    def next(self, packet: Packet) -> bool:
        """Fill the packet from the next record. Return False if there is none, or if it is incomplete or invalid."""
        if self.damage is not None or not self.has(SNOOP_HEADER):
            return False
        captured, record = self.u32(self.at + 4), self.u32(self.at + 8)
        if captured > self.longest:
            self.damage = words.too_long(self.frame + 1, self.position, captured)
        elif record < SNOOP_HEADER + captured:
            self.damage = words.snoop_short_record(self.frame + 1, self.position, record)
        if self.damage is not None or not self.has(SNOOP_HEADER + captured):
            return False
        at = self.at
        time = self.u32(at + 16) * SECOND + self.u32(at + 20) * MICROSECOND
        packet.interface = 0
        packet.link_type = self.link_type
        self.fill(packet, SNOOP_HEADER, captured, self.u32(at))
        if self.first_time < 0:
            self.first_time = time
            self.times.first = time
        self.times.add(packet, time - self.first_time)
        self.times.watch(packet)
        self.at = at + record
        return True

    def end(self) -> None:
        """Report an incomplete record at the end of the file as damage."""
        if self.damage is not None:
            return
        if not self.has(SNOOP_HEADER):
            if self.size > self.at:
                self.damage = words.snoop_cut_header(self.frame + 1, self.position)
            return
        captured = self.u32(self.at + 4)
        if not self.has(SNOOP_HEADER + captured):
            self.damage = words.cut_packet(self.frame + 1, self.position, captured, self.size - self.at - SNOOP_HEADER)
