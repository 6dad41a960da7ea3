"""snoop (RFC 1761), as Solaris writes it: big-endian records of a fixed header, the packet and padding."""

from __future__ import annotations

from struct import Struct

import numpy as np

from wiredoctor import limits
from wiredoctor.capture import damage as words
from wiredoctor.capture.formats import SNOOP_HEADER, describe_snoop
from wiredoctor.capture.model import MAX_TIME
from wiredoctor.tables import SECOND, Array, Columns

_RECORD = Struct(">6I")


class SnoopReader:
    """Reads the records of a snoop file one by one."""

    format = "snoop"

    def __init__(self, data: Array, name: str) -> None:
        self.interfaces = [describe_snoop(data[:SNOOP_HEADER].tobytes(), name)]
        self._data = data
        self.position = SNOOP_HEADER
        self.packets = 0
        self.damage: str | None = None
        self.first_time: int | None = None

    @property
    def done(self) -> bool:
        """Nothing more can be read: the end, or damage."""
        return self.damage is not None or self.position >= self._data.size

    def read(self, packets: int) -> Columns:
        """tables.RECORDS columns of at most so many next packets, at least one unless the file is damaged there."""
        rows: list[tuple[int, int, int, int]] = []
        while len(rows) < packets and not self.done:
            row = self._record(self.packets + len(rows) + 1)
            if row is not None:
                rows.append(row)
        self.packets += len(rows)
        time, offset, captured, length = np.array(rows, np.int64).reshape(-1, 4).T
        if self.first_time is None and rows:
            self.first_time = int(time[0])
        return {
            "time": np.clip(time - (self.first_time or 0), -MAX_TIME, MAX_TIME),
            "interface": np.zeros(len(rows), np.int32),
            "link_type": np.full(len(rows), self.interfaces[0].link_type, np.int32),
            "offset": offset.copy(),
            "captured": captured.copy(),
            "length": length.copy(),
        }

    def _record(self, number: int) -> tuple[int, int, int, int] | None:
        """Time in ns, offset, captured length and length of the next packet; None where it cannot be read, which is damage."""
        at, size = self.position, self._data.size
        if at + _RECORD.size > size:
            self.damage = words.snoop_cut_header(number, at)
            return None
        length, captured, record, _, seconds, fraction = _RECORD.unpack_from(self._data.data, at)
        if captured > limits.PACKET.value:
            self.damage = words.too_long(number, at, captured)
        elif record < _RECORD.size + captured:
            self.damage = words.snoop_short_record(number, at, record)
        elif at + _RECORD.size + captured > size:
            left = size - at - _RECORD.size
            self.damage = words.cut_packet(number, at, captured, left)
        if self.damage is not None:
            return None
        self.position = min(at + record, size)
        return seconds * SECOND + fraction * 1_000, at + _RECORD.size, captured, length
