"""A stream of classic pcap (draft-ietf-opsawg-pcap), which tcpdump writes, becomes Enhanced Packet Blocks."""

from __future__ import annotations

import struct

from wiredoctor.recording.blocks import LARGEST, StreamError
from wiredoctor.recording.encode import packet

_FILE, _RECORD = 24, 16
"""Bytes of the header of the file, and of each packet."""

_FORMS = {
    b"\xd4\xc3\xb2\xa1": ("<", 1000),
    b"\xa1\xb2\xc3\xd4": (">", 1000),
    b"\x4d\x3c\xb2\xa1": ("<", 1),
    b"\xa1\xb2\x3c\x4d": (">", 1),
}
"""Magic -> byte order, and nanoseconds of a tick."""


class PcapStream:
    """The packets of one interface, whose number in the section is given."""

    def __init__(self, number: int) -> None:
        self.link_type: int | None = None
        """Known as soon as the header has come."""
        self.snaplen = 0
        self._number = number
        self._rest: bytes = b""
        self._order, self._tick = "<", 1

    def feed(self, data: bytes) -> bytes:
        """The blocks of the packets that are whole by now. Raises StreamError."""
        data = self._rest + data
        at = 0
        if self.link_type is None:
            if len(data) < _FILE:
                self._rest = data
                return b""
            self._header(data)
            at = _FILE
        record = struct.Struct(self._order + "IIII").unpack_from
        number, tick, last = self._number, self._tick, len(data) - _RECORD
        blocks: list[bytes] = []
        while at <= last:
            seconds, ticks, captured, length = record(data, at)
            if captured > LARGEST:
                raise StreamError(f"a packet with an impossible length of {captured} bytes")
            begin = at + _RECORD
            if begin + captured > len(data):
                break
            at = begin + captured
            blocks.append(packet(number, seconds * 1_000_000_000 + ticks * tick, data[begin:at], length))
        self._rest = data[at:]
        return b"".join(blocks)

    def _header(self, data: bytes) -> None:
        form = _FORMS.get(data[:4])
        if form is None:
            raise StreamError("the stream does not begin with the header of a pcap file")
        self._order, self._tick = form
        self.snaplen, link_type = struct.unpack_from(self._order + "II", data, 16)
        self.link_type = link_type & 0xFFFF  # what is above says of frame check sequences
