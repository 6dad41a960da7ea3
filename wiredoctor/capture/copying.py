"""A capture is copied as pcapng, with comments on some of its packets: all of it, or some packets only.

What is pcapng already stays as it is, block by block (name resolution, decryption secrets, statistics, custom blocks), in its
own byte order. Other formats become an interface for each of theirs, whose time stamps count nanoseconds; so do pcapng files
that are woven together, of which names and secrets are kept.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from wiredoctor.capture import making
from wiredoctor.capture.blocks import ENHANCED, ENHANCED_FIXED, FRAME_BLOCKS, SECTION, block_damage, section_order
from wiredoctor.capture.companions import companions
from wiredoctor.capture.model import NO_PACKET
from wiredoctor.tables import SECOND

if TYPE_CHECKING:
    from wiredoctor.capture.capture import Capture
    from wiredoctor.capture.model import Interface
    from wiredoctor.tables import Array

PIECE = 4 << 20
"""Bytes that are copied at once."""

_EPOCH = 20_000
"""Packets."""

_FCS_PRESENT = 0x04000000
"""Of the link type in the header of a pcap file: its upper four bits are 16-bit words of a frame check sequence."""

Comments = Iterable[tuple[int, Sequence[str]]]
"""Frame -> its comments, frames ascending."""


class _Notes:
    """Comments by frame, asked for in the order of frames."""

    def __init__(self, comments: Comments) -> None:
        self._rest = iter(comments)
        self._next = next(self._rest, None)

    @property
    def frame(self) -> int:
        """The next frame that has comments; beyond all others where there is none."""
        return self._next[0] if self._next is not None else 1 << 62

    def of(self, frame: int) -> Sequence[str]:
        """The comments of a frame."""
        texts: list[str] = []
        while self._next is not None and self._next[0] <= frame:
            if self._next[0] == frame:
                texts += self._next[1]
            self._next = next(self._rest, None)
        return texts


def copy(capture: Capture, frames: int, out: BinaryIO, about: str, comments: Comments, only: Array | None, program: str) -> None:
    """Writes the first `frames` packets, as many as can be read, of a capture that stands at its beginning.

    about: a comment on the whole file; none where it is empty. only: ascending frames that are wanted; None for all, whose
    numbers stay as they are.
    """
    notes = _Notes(comments)
    several = len(capture.parts) > 1
    if _all_blocks(capture) and (not several or _one_behind_the_other(capture)):
        first = 1
        for number, part in enumerate(capture.parts):
            count = min(part.packets, frames + 1 - first) if several else frames
            _Blocks(capture, number, first, count, notes, only).write(out, [about] if about and first == 1 else [])
            first += count
    else:
        _made_anew(capture, out, about, notes, only, program)


def _all_blocks(capture: Capture) -> bool:
    return all(part.format == "pcapng" for part in capture.parts)


def _one_behind_the_other(capture: Capture) -> bool:
    """Whether the packets of several files come file after file, so that their sections can be put together as they are."""
    last = -1
    for records in capture.epochs():
        offsets = records.columns["offset"]
        if offsets[0] < last or (np.diff(offsets) < 0).any():
            return False
        last = int(offsets[-1])
        capture.release(records.ends, for_good=False)
    return True


class _Blocks:
    """The blocks of a pcapng file."""

    def __init__(self, capture: Capture, number: int, first: int, frames: int, notes: _Notes, only: Array | None) -> None:
        part = capture.parts[number]
        self._capture, self._number = capture, number
        self._read = [part.begin for part in capture.parts]
        self._begin, self._data = part.begin, capture.data[part.begin : part.end]
        self._frame, self._frames = first - 1, first - 1 + frames
        self._notes, self._only = notes, only
        self._order = "<"
        self._at = 0

    def write(self, out: BinaryIO, about: Sequence[str]) -> None:
        """Pieces of the file as they are, and between them the blocks that are given comments."""
        copied = 0
        for start, end, block in self._changed(about):
            self._copy(out, copied, start)
            out.write(block)
            copied = end
        self._copy(out, copied, self._at)

    def _copy(self, out: BinaryIO, start: int, end: int) -> None:
        for at in range(start, end, PIECE):
            stop = min(at + PIECE, end)
            out.write(self._data[at:stop].data)
            self._read[self._number] = self._begin + stop
            self._capture.release(tuple(self._read))

    def _changed(self, about: Sequence[str]) -> Iterator[tuple[int, int, bytes]]:
        """Where blocks begin and end that are not to be as they were, and what stands there instead."""
        buffer, last, told = self._data.data, self._data.size - 12, 0
        head = struct.Struct(self._order + "II").unpack_from
        while self._at <= last:
            at = self._at
            kind, length = head(buffer, at)
            end = at + (length + 3 & ~3)
            if kind == ENHANCED or kind in FRAME_BLOCKS:
                if self._frame >= self._frames:
                    return
                self._frame += 1
                if self._only is not None and not self._wanted():
                    yield at, end, b""
                elif self._frame == self._notes.frame:
                    yield at, end, self._with_comments(at, end, kind, self._notes.of(self._frame))
            else:
                if kind == SECTION:
                    order = section_order(self._data, at)
                    if order is None:
                        return
                    self._order = order
                    head = struct.Struct(order + "II").unpack_from
                    end = at + (head(buffer, at)[1] + 3 & ~3)
                if block_damage(self._data, at, end - at, self._order) is not None:
                    return
                if kind == SECTION:
                    yield at, end, making.with_unknown_length(self._with_comments(at, end, kind, about), self._order)
                    about = ()
            self._at = end
            if end - told > PIECE:
                # what was walked over stays in memory until it is copied
                yield end, end, b""
                told = end

    def _wanted(self) -> bool:
        only = self._only
        assert only is not None
        place = int(np.searchsorted(only, self._frame))
        return place < len(only) and int(only[place]) == self._frame

    def _with_comments(self, at: int, end: int, kind: int, texts: Sequence[str]) -> bytes:
        return making.with_comments(self._data[at:end].tobytes(), self._order, kind, texts)


def _made_anew(capture: Capture, out: BinaryIO, about: str, notes: _Notes, only: Array | None, program: str) -> None:
    out.write(making.section(program, [about] if about else []))
    for block in companions(capture):
        out.write(block)
    described, fcs, blocks_of_their_own = 0, _fcs_bits(capture), _all_blocks(capture)
    seconds = 0
    for records in capture.epochs(_EPOCH):
        seconds = min([seconds, *(one.seconds for one in capture.interfaces)]) if not described else seconds
        for one in capture.interfaces[described:]:
            out.write(making.interface(_with_packets(one), seconds, fcs))
        described = len(capture.interfaces)
        columns, frames = records.columns, np.arange(records.first_frame, records.first_frame + len(records.columns["time"]))
        rows = np.flatnonzero(np.isin(frames, only, assume_unique=True)) if only is not None else np.arange(len(frames))
        ticks = columns["time"][rows].astype(object) + ((capture.first_time or 0) - seconds * SECOND)
        names = ("interface", "offset", "captured", "length")
        blocks: list[bytes] = []
        for row, tick, number, offset, captured, length in zip(
            rows.tolist(), ticks, *(columns[name][rows].tolist() for name in names), strict=True
        ):
            frame = records.first_frame + row
            data = capture.buffer[offset : offset + captured]
            options = _own_options(capture, offset, captured) if blocks_of_their_own else b""
            if frame == notes.frame:
                options = _joined(options, making.comments_alone(notes.of(frame)))
            blocks.append(making.packet(number, min(max(tick, 0), (1 << 64) - 1), data, length, options))
        out.write(b"".join(blocks))
        capture.release(records.ends)


def _with_packets(one: Interface) -> Interface:
    """LINKTYPE_USER0 for what has no link type, as nobody can read it."""
    return one._replace(link_type=147) if one.link_type == NO_PACKET else one


def _own_options(capture: Capture, offset: int, captured: int) -> bytes:
    """The options that a packet has in a pcapng file of the usual byte order."""
    head = capture.buffer[offset - 28 : offset - 20]
    kind, length = struct.unpack("<II", head)
    begin, end = offset + (captured + 3 & ~3), offset - 32 + length
    sound = kind == ENHANCED and length >= ENHANCED_FIXED and length & 3 == 0 and begin <= end
    return capture.buffer[begin:end] if sound and capture.buffer[end : end + 4] == head[4:] else b""


def _joined(options: bytes, more: bytes) -> bytes:
    """Options, and further ones behind them."""
    return options[:-4] + more if options.endswith(bytes(4)) else options + more


def _fcs_bits(capture: Capture) -> int | None:
    """Bits of the frame check sequences, where the header of a pcap file has them."""
    if len(capture.parts) > 1 or capture.format != "pcap":
        return None
    head = capture.buffer[:24]
    order = "<" if head[0] in (0xD4, 0x4D, 0xAC, 0xAB, 0x34) else ">"
    (network,) = struct.unpack_from(order + "I", head, 20)
    return (network >> 28) * 16 if network & _FCS_PRESENT else None
