"""Classic pcap: micro- and nanosecond, both byte orders, and the variants with longer record headers."""

from __future__ import annotations

import contextlib
import struct
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from wiredoctor import limits
from wiredoctor.capture import damage as words
from wiredoctor.capture import lanes
from wiredoctor.capture.gather import gather
from wiredoctor.capture.linktypes import is_known
from wiredoctor.capture.model import CaptureError, Interface
from wiredoctor.capture.variants import MODIFIED, NOKIA, OLDER_MODIFIED, PLAIN, record_header
from wiredoctor.tables import SECOND, Array, Columns

if TYPE_CHECKING:
    from collections.abc import Callable

_STANDARD, _NANOSECOND, _MODIFIED, _IXIA_NS, _IXIA_US = 0xA1B2C3D4, 0xA1B23C4D, 0xA1B2CD34, 0x1C0001AC, 0x1C0001AB

_VARIANTS = {  # magic number -> (bytes between the file header and the first record, nanoseconds per tick)
    _STANDARD: (0, 1_000),
    _NANOSECOND: (0, 1),
    _MODIFIED: (0, 1_000),
    _IXIA_NS: (4, 1),
    _IXIA_US: (4, 1_000),
}
_HEADERS = {_STANDARD: (PLAIN, MODIFIED, NOKIA), _MODIFIED: (MODIFIED, OLDER_MODIFIED)}
"""Record headers that go with a magic number, the likelier first; PLAIN with all others."""

_FILE_HEADER = 24
_RESERVED, _FCS = 0x03FF0000, 0xFC000000
"""Bits of the link type: none of these may be set; these tell the length of the frame check sequence."""


def byte_order(head: bytes) -> str | None:
    """ "<" or ">" for a file that begins with a pcap magic number, None for any other."""
    for order in "<>":
        if len(head) >= 4 and struct.unpack_from(order + "I", head)[0] in _VARIANTS:
            return order
    return None


class FileHeader(NamedTuple):
    """What the header of a pcap file says of its records: their byte order, nanoseconds per tick of the fraction of a second,
    the size of a record header, where the first record begins, and whether the two lengths are exchanged, or may be."""

    order: str
    tick: int
    record_header: int
    first_record: int
    exchanged: bool
    perhaps_exchanged: bool
    interface: Interface
    damage: str | None


def describe(data: Array, name: str) -> FileHeader:
    """Parse the header of a pcap file; `data` begins with it and holds three records at least. Raises CaptureError."""
    head = data[: _FILE_HEADER + 4].tobytes()
    order = byte_order(head) or "<"
    if len(head) < _FILE_HEADER:
        raise CaptureError(f"{name}: the file ends inside its header ({len(head)} bytes of {_FILE_HEADER})")
    magic, major, minor, _, _, snaplen, network = struct.unpack_from(order + "IHHIIII", head)
    if major < 2:
        raise CaptureError(f"{name}: pcap version {major}.{minor} is not supported")
    more, tick = _VARIANTS[magic]
    size = PLAIN
    if magic in _HEADERS and not (major == 2 and minor < 4) and major != 543:
        size = record_header(data, _FILE_HEADER, order, snaplen, _HEADERS[magic])
    # Before version 2.3 the two lengths stood the other way round; in 2.3 writers disagreed.
    exchanged = (major, minor) < (2, 3) or major == 543
    damage = None
    if not is_known(network & 0xFFFF) or network & _RESERVED:
        damage = words.unknown_link_type(network & ~_FCS)
    interface = Interface(network & 0xFFFF, snaplen=snaplen)
    return FileHeader(order, tick, size, _FILE_HEADER + more, exchanged, (major, minor) == (2, 3), interface, damage)


class PcapReader:
    """Reads the records of a classic pcap file in runs."""

    format: Literal["pcap"] = "pcap"

    def __init__(self, data: Array, name: str) -> None:
        header = describe(data, name)
        self._order, self._tick, self._record_header = header.order, header.tick, header.record_header
        self._data = data
        self._exchanged, self._perhaps_exchanged = header.exchanged, header.perhaps_exchanged
        self.position = header.first_record
        self.packets = 0
        self.damage: str | None = header.damage
        self.first_time: int | None = None
        self.interfaces = [header.interface]
        self._record = np.dtype([(name, header.order + "u4") for name in ("seconds", "fraction", "captured", "length")])

    @property
    def done(self) -> bool:
        """Nothing more can be read: the end, or damage."""
        return self.damage is not None or self.position >= self._data.size

    def read(self, packets: int) -> Columns:
        """tables.RECORDS columns of at most so many next packets, at least one unless the file is damaged there."""
        offsets, end = self._walk(packets)
        records = gather(self._data, offsets, self._record)
        captured, length = records["captured"].astype(np.int64), records["length"].astype(np.int64)
        if self._perhaps_exchanged:
            swap = captured > length
            captured, length = np.where(swap, length, captured), np.where(swap, captured, length)
        elif self._exchanged:
            captured, length = length, captured
        good = self._readable(offsets, captured)
        if good == len(offsets):
            self.position = end
        else:
            self.position = int(offsets[good])
        records, captured, length = records[:good], captured[:good], length[:good]
        self.packets += good
        return {
            "time": self._times(records),
            "interface": np.zeros(good, np.int32),
            "link_type": np.full(good, self.interfaces[0].link_type, np.int32),
            "offset": offsets[:good] + self._record_header,
            "captured": captured,
            "length": length,
        }

    def _walk(self, packets: int) -> tuple[Array, int]:
        """Offsets of the next record headers, and where the last of them ends. Lengths are checked afterwards."""
        position, missing, last = self.position, packets, self._data.size - self._record_header
        layout = lanes.Layout(self._order, self._record_header)
        parts: list[Array] = []
        together = missing >= lanes.FROM and not self._exchanged and not self._perhaps_exchanged
        while missing and position <= last:
            if together and position > self.position:
                # a little more than is likely to be needed, so that little is left to follow one by one
                average = (position - self.position) * 103 // (100 * (packets - missing)) + 1
                offsets, end = lanes.follow(self._data, position, missing, average, layout)
                together = missing >= len(offsets) + lanes.FROM and 4 * len(offsets) > missing
            else:
                offsets, end = self._one_by_one(position, lanes.LANES if together else missing)
            if len(offsets) > missing:
                offsets, end = offsets[:missing], int(offsets[missing])
            parts.append(offsets)
            missing -= len(offsets)
            position = end
        if not parts:
            left = self._data.size - position
            self.damage = words.cut_header(self.packets + 1, position, self._record_header, left)
            return np.empty(0, np.int64), position
        return np.concatenate(parts), position

    def _one_by_one(self, position: int, packets: int) -> tuple[Array, int]:
        """At least one offset of a record header, and where the record of the last one ends."""
        buffer, header, length_at = self._data.data, self._record_header, self._length_at()
        start, last = position, self._data.size - self._record_header
        offsets = [last + 1]
        with contextlib.suppress(struct.error):
            ends = [position := position + header + length_at(buffer, position + 8)[0] for _ in range(packets)]
            offsets = [start, *ends[:-1]]
        if offsets[-1] > last:  # the file ends within these packets
            offsets.clear()
            position = start
            while position <= last and len(offsets) < packets:
                offsets.append(position)
                position += header + length_at(buffer, position + 8)[0]
        return np.array(offsets, np.int64), position

    def _length_at(self) -> Callable[..., tuple[int, ...]]:
        if self._perhaps_exchanged:
            both = struct.Struct(self._order + "II").unpack_from

            def smaller(buffer: memoryview, at: int) -> tuple[int]:
                return (min(both(buffer, at)),)

            return smaller
        if self._exchanged:
            return struct.Struct(self._order + "4xI").unpack_from
        return struct.Struct(self._order + "I").unpack_from

    def _readable(self, offsets: Array, captured: Array) -> int:
        """How many of the records, from the first on, are sound and wholly there; notes the damage behind them."""
        bad = (captured > limits.PACKET.value) | (offsets + self._record_header + captured > self._data.size)
        if not bad.any():
            return len(offsets)
        first = int(bad.argmax())
        number, at, size = self.packets + first + 1, int(offsets[first]), int(captured[first])
        if size > limits.PACKET.value:
            self.damage = words.too_long(number, at, size)
        else:
            left = self._data.size - at - self._record_header
            self.damage = words.cut_packet(number, at, size, left)
        return first

    def _times(self, records: Array) -> Array:
        """Nanoseconds since the first packet. 32 bits of seconds always fit."""
        times = records["seconds"].astype(np.int64) * SECOND + records["fraction"].astype(np.int64) * self._tick
        if self.first_time is None and len(times):
            self.first_time = int(times[0])
        return times - (self.first_time or 0)
