"""Classic pcap: micro- and nanosecond, both byte orders, and the variants with longer record headers."""

from __future__ import annotations

import contextlib
import struct
from typing import TYPE_CHECKING, Literal

import numpy as np

from wiredoctor import limits
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


class PcapReader:
    """Reads the records of a classic pcap file in runs."""

    format: Literal["pcap"] = "pcap"

    def __init__(self, data: Array, name: str) -> None:
        head = data[: _FILE_HEADER + 4].tobytes()
        order = byte_order(head) or "<"
        if len(head) < _FILE_HEADER:
            raise CaptureError(f"{name}: the file ends inside its header ({len(head)} bytes of {_FILE_HEADER})")
        magic, major, minor, _, _, snaplen, network = struct.unpack_from(order + "IHHIIII", head)
        if major < 2:
            raise CaptureError(f"{name}: pcap version {major}.{minor} is not supported")
        more, self._tick = _VARIANTS[magic]
        self._order = order
        self._data = data
        self._record_header = PLAIN
        if magic in _HEADERS and not (major == 2 and minor < 4) and major != 543:
            self._record_header = record_header(data, _FILE_HEADER, order, snaplen, _HEADERS[magic])
        # Before version 2.3 the two lengths stood the other way round; in 2.3 writers disagreed.
        self._exchanged = (major, minor) < (2, 3) or major == 543
        self._perhaps_exchanged = (major, minor) == (2, 3)
        self.position = _FILE_HEADER + more
        self.packets = 0
        self.damage: str | None = None
        self.first_time: int | None = None
        self.interfaces = [Interface(network & 0xFFFF, snaplen=snaplen)]
        if not is_known(network & 0xFFFF) or network & _RESERVED:
            self.damage = f"packets of link type {network & ~_FCS} cannot be read (offset 20: unknown link type)"
        self._record = np.dtype(
            [("seconds", order + "u4"), ("fraction", order + "u4"), ("captured", order + "u4"), ("length", order + "u4")]
        )

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
            self.damage = (
                f"the file ends inside the header of packet {self.packets + 1} "
                f"(offset {position}: {self._record_header} bytes expected, {left} there)"
            )
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
            self.damage = (
                f"packet {number} announces {size} bytes, more than the {limits.PACKET.value} of any packet (offset {at})"
            )
        else:
            left = self._data.size - at - self._record_header
            self.damage = f"the file ends inside packet {number} (offset {at}: {size} bytes announced, {left} there)"
        return first

    def _times(self, records: Array) -> Array:
        """Nanoseconds since the first packet. 32 bits of seconds always fit."""
        times = records["seconds"].astype(np.int64) * SECOND + records["fraction"].astype(np.int64) * self._tick
        if self.first_time is None and len(times):
            self.first_time = int(times[0])
        return times - (self.first_time or 0)
