"""Classic pcap: micro- and nanosecond, both byte orders, and the variants with longer record headers."""

from __future__ import annotations

import contextlib
import struct
from typing import TYPE_CHECKING, Literal

import numpy as np

from wiredoctor import limits
from wiredoctor.capture import damage as words
from wiredoctor.capture import lanes
from wiredoctor.capture.formats import describe_pcap
from wiredoctor.capture.gather import gather
from wiredoctor.capture.model import MAX_TIME
from wiredoctor.tables import SECOND, Array, Columns

if TYPE_CHECKING:
    from collections.abc import Callable


class PcapReader:
    """Reads the records of a classic pcap file in runs."""

    format: Literal["pcap"] = "pcap"

    def __init__(self, data: Array, name: str) -> None:
        header = describe_pcap(lambda at, size: data[at : at + size].tobytes(), name)
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
        return np.clip(times - (self.first_time or 0), -MAX_TIME, MAX_TIME)
