"""Convert a classic pcap stream (draft-ietf-opsawg-pcap), as written by tcpdump, to Enhanced Packet Blocks."""

from __future__ import annotations

import struct

from wiredoctor.recording.blocks import LARGEST, StreamError
from wiredoctor.recording.encode import packet

_FILE, _RECORD = 24, 16
"""The sizes in bytes of the file header and of a packet header."""

_FORMS = {
    b"\xd4\xc3\xb2\xa1": ("<", 1000),
    b"\xa1\xb2\xc3\xd4": (">", 1000),
    b"\x4d\x3c\xb2\xa1": ("<", 1),
    b"\xa1\xb2\x3c\x4d": (">", 1),
}
"""The byte order and the nanoseconds per unit of a timestamp's fraction, by magic number."""


def is_pcap(data: bytes) -> bool:
    """Return whether a stream that begins like this is a pcap file."""
    return data[:4] in _FORMS


class PcapStream:
    """Converts the pcap stream of one interface to pcapng blocks. `number`: the interface's number in the pcapng section."""

    def __init__(self, number: int) -> None:
        self.link_type: int | None = None
        """The link type, set as soon as the file header has arrived."""
        self.snaplen = 0
        self._number = number
        self._rest: bytes = b""
        self._order, self._tick = "<", 1

    @property
    def has_data(self) -> bool:
        """True if the stream contains the beginning of a header or packet that is still incomplete."""
        return bool(self._rest)

    def feed(self, data: bytes) -> bytes:
        """Add the next bytes of the stream, and return the blocks of all packets that are now complete.

        Raise StreamError if the stream is invalid.
        """
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
        self.link_type = link_type & 0xFFFF  # the upper bits describe frame check sequences
