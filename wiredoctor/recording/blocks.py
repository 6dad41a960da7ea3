"""Split a stream of pcapng blocks (draft-ietf-opsawg-pcapng) into complete blocks. The input arrives in pieces of any size."""

from __future__ import annotations

import struct
import sys
from typing import NamedTuple

SECTION, INTERFACE, STATISTICS, ENHANCED = 0x0A0D0D0A, 1, 5, 6

_SECTION_BYTES = b"\n\r\r\n"
"""The type of a section header, which is the same in both byte orders."""

_ORDERS = {b"\x4d\x3c\x2b\x1a": "<", b"\x1a\x2b\x3c\x4d": ">"}
_LEAST = {SECTION: 28, INTERFACE: 20, STATISTICS: 24, ENHANCED: 32}
"""The minimum size in bytes of each type of block."""

LARGEST = 16 << 20
"""The maximum size of a block in bytes. A larger size means that the boundaries between blocks were lost."""

_ROOM = 1 << 20
"""The number of bytes that are read at once, and kept free in the buffer. This is the capacity of a pipe."""

_ISB_DROPPED, _ISB_OS_DROPPED = 5, 7
"""The options isb_ifdrop and isb_osdrop of an Interface Statistics Block: packets dropped by the interface and by the system.

Packets dropped by the system are libpcap's ps_drop; dumpcap writes their number as isb_ifdrop.
"""


class StreamError(Exception):
    """The stream is not valid pcapng. The text is one line."""


class Piece(NamedTuple):
    """Consecutive complete blocks, and the number of packets in them. `data` is valid until the next read."""

    data: memoryview
    packets: int


class Blocks:
    """Collects the bytes of a pcapng stream and returns complete blocks."""

    def __init__(self) -> None:
        self._buffer = bytearray(2 * _ROOM)
        self._start = self._end = 0
        self._order = ""
        self.preamble = b""
        """The section header and interface descriptions of the current section, as blocks."""
        self.dropped: dict[int, int] = {}
        """The number of dropped packets by interface number, according to the statistics blocks of the current section."""
        self.dropped_before: dict[int, int] = {}
        """The number of dropped packets that the backend will not report, by interface number.

        This number is added to the number in the next statistics block of the interface.
        """

    def restart(self) -> None:
        """Drop the incomplete block and everything known about the section, because a new stream begins with its own section."""
        self._start = self._end = 0
        self._order, self.preamble, self.dropped, self.dropped_before = "", b"", {}, {}

    def space(self) -> memoryview:
        """Return the buffer for the next bytes of the stream; call `mark_filled` with the number of bytes written to it."""
        self._make_room(_ROOM)
        return memoryview(self._buffer)[self._end :]

    def mark_filled(self, count: int) -> None:
        """Record that `count` bytes were written to the part of the buffer that `space` returned."""
        self._end += count

    def add(self, data: bytes) -> None:
        """Append the next bytes of the stream."""
        self._make_room(len(data))
        self._buffer[self._end : self._end + len(data)] = data
        self._end += len(data)

    def _make_room(self, needed: int) -> None:
        if self._start == self._end:
            self._start = self._end = 0
        if len(self._buffer) - self._end >= needed:
            return
        left = self._buffer[self._start : self._end]
        if len(left) + needed > len(self._buffer):  # the buffer is never resized, because a memoryview of the buffer may exist
            self._buffer = bytearray(2 * (len(left) + needed))
        self._buffer[: len(left)] = left
        self._start, self._end = 0, len(left)

    @property
    def at_hand(self) -> bool:
        """True if the next block is complete and valid."""
        left = self._end - self._start
        if left < 12:
            return False
        wrong, _, length = self._damage(self._start, left)
        return not wrong and length <= left

    def take(self, packets: int, room: int) -> Piece:
        """Return the next complete blocks, with at most `packets` packets and `room` bytes.

        Raise StreamError if the next block is invalid.
        """
        at, count = self._start, 0
        while True:
            at, found = self._packets(at, packets - count, self._start + room)
            count += found
            length = self._other_block_length(at, self._start + room)
            if not length:
                break
            at += length
        piece = Piece(memoryview(self._buffer)[self._start : at], count)
        self._start = at
        return piece

    def skip_packets(self) -> None:
        """Drop the complete packet blocks that come next."""
        self._start, _ = self._packets(self._start, LARGEST, self._end)

    def _packets(self, at: int, most: int, stop: int) -> tuple[int, int]:
        """Find up to `most` complete Enhanced Packet Blocks between the offsets `at` and `stop`.

        Return the offset after the last of these blocks, and their number. The loop runs once per packet, so it must be short.
        """
        if not self._order:
            return at, 0
        buffer, end, count = self._buffer, min(self._end, stop), 0
        last = end - 32
        head, tail = struct.Struct(self._order + "II").unpack_from, struct.Struct(self._order + "I").unpack_from
        while at <= last and count < most:
            kind, length = head(buffer, at)
            behind = at + length
            if kind != ENHANCED or length < 32 or behind > end or tail(buffer, behind - 4)[0] != length or length & 3:
                break
            at = behind
            count += 1
        return at, count

    def _other_block_length(self, at: int, stop: int) -> int:
        """Return the size of the block at `at`, or 0 if this method does not accept the block.

        It accepts a complete, valid block that is not a packet and ends at `stop` or before. Raise StreamError if the block is
        invalid and nothing valid precedes it.
        """
        left = self._end - at
        if left < 12:
            return 0
        wrong, kind, length = self._damage(at, left)
        if wrong:
            if at == self._start:
                raise StreamError(wrong)
            return 0
        if kind == ENHANCED or length > left or at + length > stop:
            return 0
        if kind == STATISTICS and self.dropped_before:
            self._add_drops(at, length)
        self._remember(kind, bytes(memoryview(self._buffer)[at : at + length]))
        return length

    def _damage(self, at: int, left: int) -> tuple[str, int, int]:
        """Return three facts about the block at `at`: a description of its damage, its type, and its size in bytes.

        `left`: the number of bytes from `at` on that have arrived. The description is empty if these bytes show no damage.
        """
        order = self._order
        if self._buffer.startswith(_SECTION_BYTES, at):
            order = _ORDERS.get(bytes(self._buffer[at + 8 : at + 12]), "")
        if not order:
            return "the stream does not begin with a section header", 0, 0
        kind, length = struct.unpack_from(order + "II", self._buffer, at)
        if length & 3 or not _LEAST.get(kind, 12) <= length <= LARGEST:
            return f"a block of type {kind} with an impossible length of {length} bytes", kind, length
        if length <= left and struct.unpack_from(order + "I", self._buffer, at + length - 4)[0] != length:
            return f"a block of type {kind} whose two lengths differ", kind, length
        return "", kind, length

    def _add_drops(self, at: int, length: int) -> None:
        """Add the drops from `dropped_before` to a statistics block, which begins at index `at` and has `length` bytes.

        Then remove the drops of the block's interface from `dropped_before`, so they are added only once.
        """
        block = bytes(memoryview(self._buffer)[at : at + length])
        (interface,) = struct.unpack_from(self._order + "I", block, 8)
        places = _drop_options(block, self._order)
        if places and (more := self.dropped_before.pop(interface, 0)):
            form = struct.Struct(self._order + "Q")
            (count,) = form.unpack_from(block, places[0])
            form.pack_into(self._buffer, at + places[0], min(count + more, (1 << 64) - 1))

    def _remember(self, kind: int, block: bytes) -> None:
        if kind == SECTION:
            self._order, self.preamble, self.dropped = _ORDERS[block[8:12]], block, {}
        elif kind == INTERFACE:
            self.preamble += block
        elif kind == STATISTICS:
            (interface,) = struct.unpack_from(self._order + "I", block, 8)
            counts = [struct.unpack_from(self._order + "Q", block, place)[0] for place in _drop_options(block, self._order)]
            if counts:
                dropped = sum(counts)
                self.dropped[interface] = max(dropped, self.dropped.get(interface, 0))


def complete_blocks(piece: Piece, size: int, order: str = sys.byteorder) -> Piece:
    """Return the blocks of a piece that end within its first `size` bytes."""
    head = struct.Struct(("<" if order == "little" else ">") + "II").unpack_from
    at = count = 0
    while at < len(piece.data):
        kind, length = head(piece.data, at)
        if at + length > size:
            break
        at += length
        count += kind == ENHANCED
    return Piece(piece.data[:at], count)


def _drop_options(block: bytes, order: str) -> list[int]:
    """Return the offsets of the 64-bit drop counters in an Interface Statistics Block."""
    found: list[int] = []
    at = 20
    while at + 4 <= len(block) - 4:
        code, length = struct.unpack_from(order + "HH", block, at)
        if code in (_ISB_DROPPED, _ISB_OS_DROPPED) and length == 8 and at + 12 <= len(block):
            found.append(at + 4)
        at += 4 + (length + 3 & ~3)
    return found


def user_application(preamble: bytes) -> str:
    """Return the program named in a section header; empty if it names none."""
    order = _ORDERS.get(preamble[8:12], "<")
    end = struct.unpack_from(order + "I", preamble, 4)[0] if len(preamble) >= 28 else 0
    at = 24
    while at + 4 <= min(end, len(preamble)) - 4:
        code, length = struct.unpack_from(order + "HH", preamble, at)
        if code == 4:
            return preamble[at + 4 : at + 4 + length].split(b"\0")[0].decode("utf-8", "replace")
        at += 4 + (length + 3 & ~3)
    return ""
