"""Copy a capture, or some of its packets, as pcapng with comments on packets.

A pcapng file is copied block by block in its own byte order, including name resolution, decryption secrets, statistics and custom
blocks. For other formats, interface blocks are written with timestamps in nanoseconds. Merged pcapng files with
interleaved packets are written like other formats, but their names and secrets are kept.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import BinaryIO

import numpy as np

from wiredoctor.capture.drops import read_statistics
from wiredoctor.capture.files import Content
from wiredoctor.capture.formats import detect_format
from wiredoctor.capture.model import NO_PACKET, Interface
from wiredoctor.capture.pcapng import write as making
from wiredoctor.capture.pcapng.blocks import ENHANCED, ENHANCED_FIXED, FRAME_BLOCKS, SECTION, STATISTICS
from wiredoctor.capture.pcapng.metadata import Blocks, companions
from wiredoctor.core.capture.chain import ChainRecords
from wiredoctor.core.capture.packet import Packet
from wiredoctor.core.capture.records import Records
from wiredoctor.engine.opening import CaptureFiles, open_capture_records
from wiredoctor.tables import SECOND, Array

PIECE = 4 << 20
"""The number of bytes copied at a time."""

_PACKETS_AT_ONCE = 1_000
"""The number of packets written at a time."""

_FCS_PRESENT = 0x04000000
"""The bit of the link type field in a pcap header that is set if each packet ends with a frame check sequence.

The upper four bits of the field are the length of the sequence in 16-bit words.
"""

Comments = Iterable[tuple[int, Sequence[str]]]
"""Pairs of a frame number and its comments, in ascending order."""


class _Notes:
    """The comments on frames. They must be requested in ascending order of frame numbers."""

    def __init__(self, comments: Comments) -> None:
        self._rest = iter(comments)
        self._next = next(self._rest, None)

    @property
    def frame(self) -> int:
        """The number of the next frame that has comments. If no frame is left, it is larger than any frame number."""
        return self._next[0] if self._next is not None else 1 << 62

    def of(self, frame: int) -> Sequence[str]:
        """Return the comments of a frame, and drop the comments of earlier frames."""
        texts: list[str] = []
        while self._next is not None and self._next[0] <= frame:
            if self._next[0] == frame:
                texts += self._next[1]
            self._next = next(self._rest, None)
        return texts


class _Selection:
    """The frames to be copied. `only`: the frame numbers in ascending order; None means all frames."""

    def __init__(self, only: Array | None) -> None:
        self._only = only

    @property
    def is_partial(self) -> bool:
        """True if frames may be left out."""
        return self._only is not None

    def has(self, frame: int) -> bool:
        """Return whether a frame is copied."""
        if self._only is None:
            return True
        place = int(np.searchsorted(self._only, frame))
        return place < len(self._only) and int(self._only[place]) == frame


def copy(
    capture: CaptureFiles, frames: int, out: BinaryIO, about: str, comments: Comments, only: Array | None, program: str
) -> None:
    """Write the first `frames` packets of a capture, or as many as can be read, to `out`.

    `about` is a comment on the file; none is written if it is empty. `comments`: the comments on frames. `only`: the ascending
    numbers of the frames to copy; None copies all of them, so frame numbers stay the same. `program`: the name of the
    writing program, which is stored in the file.
    """
    notes, selection = _Notes(comments), _Selection(only)
    contents = [member.open() for member in capture.members]
    are_blocks = [detect_format(content.read(0, 64)) == "pcapng" for content in contents]
    interfaces: Sequence[Interface] = ()
    if len(contents) == 1 and are_blocks[0] and not capture.is_sorted:
        _BlockCopy(contents[0], 1, frames, notes, selection).write(out, [about] if about else [])
        return
    if any(are_blocks):
        counts, interfaces = _packets_of_files(capture)
        if all(are_blocks) and counts is not None:
            first = 1
            for content, packets in zip(contents, counts, strict=True):
                count = min(packets, frames + 1 - first)
                _BlockCopy(content, first, count, notes, selection).write(out, [about] if about and first == 1 else [])
                first += count
            return
    out.write(making.section(program, [about] if about else []))
    for content, is_blocks in zip(contents, are_blocks, strict=True):
        for block in companions(content) if is_blocks else ():
            out.write(block)
    seconds = min([0, *(one.seconds for one in interfaces)])
    fcs = _fcs_bits(contents[0]) if len(contents) == 1 else None
    _copy_packets(capture, out, notes, selection, seconds, fcs, own_options=all(are_blocks))


def _packets_of_files(capture: CaptureFiles) -> tuple[list[int] | None, Sequence[Interface]]:
    """Return the number of packets in each file, and the interfaces of all files.

    The numbers are None if the packets of the files interleave.
    """
    records, packet = open_capture_records(capture), Packet()
    while records.next(packet):
        pass
    assert isinstance(records, ChainRecords)
    runs = records.runs
    if capture.is_sorted or runs.end or any(one >= other for one, other in pairwise(runs.files)):
        return None, records.interfaces
    counts = [0] * len(capture.members)
    for file, (first, end) in zip(runs.files, pairwise([*runs.first_frames, records.frame + 1]), strict=True):
        counts[file] = end - first
    return counts, records.interfaces


class _BlockCopy:
    """Copies the first `frames` packets of a pcapng file block by block.

    `first`: the frame number that the file's first packet has in the capture.
    """

    def __init__(self, content: Content, first: int, frames: int, notes: _Notes, selection: _Selection) -> None:
        self._content = content
        self._blocks = Blocks(content)
        self._frame, self._frames = first - 1, first - 1 + frames
        self._notes, self._selection = notes, selection

    def write(self, out: BinaryIO, about: Sequence[str]) -> None:
        """Write the unchanged parts of the file and the changed blocks between them."""
        copied = 0
        for start, end, block in self._changed_blocks(about):
            self._copy(out, copied, start)
            out.write(block)
            copied = end
        self._copy(out, copied, self._blocks.at)

    def _copy(self, out: BinaryIO, start: int, end: int) -> None:
        for at in range(start, end, PIECE):
            out.write(self._content.read(at, min(PIECE, end - at)))

    def _changed_blocks(self, about: Sequence[str]) -> Iterator[tuple[int, int, bytes]]:
        """Yield each block to be changed: its start and end offsets, and the bytes that replace it (empty to drop the block).

        `about`: the comments on the file.
        """
        blocks = self._blocks
        while blocks.next():
            at, end, kind = blocks.at, blocks.end, blocks.kind
            if kind == ENHANCED or kind in FRAME_BLOCKS:
                if self._frame >= self._frames:
                    return
                self._frame += 1
                if not self._selection.has(self._frame):
                    yield at, end, b""
                elif self._frame == self._notes.frame:
                    yield at, end, self._with_comments(self._notes.of(self._frame))
            elif not blocks.is_sound():
                return
            elif kind == STATISTICS and self._selection.is_partial and read_statistics(blocks.block(), blocks.order) is None:
                yield at, end, b""  # other statistics count packets that are not in the copy
            elif kind == SECTION:
                yield at, end, making.with_unknown_length(self._with_comments(about), blocks.order)
                about = ()
            blocks.pass_on()

    def _with_comments(self, texts: Sequence[str]) -> bytes:
        blocks = self._blocks
        return making.with_comments(blocks.block(), blocks.order, blocks.kind, texts)


def _copy_packets(
    capture: CaptureFiles, out: BinaryIO, notes: _Notes, selection: _Selection, seconds: int, fcs: int | None, *,
    own_options: bool,
) -> None:  # fmt: skip
    """Write the interfaces and packets of a capture as new blocks.

    `seconds`: the option if_tsoffset of each interface description: seconds that a reader adds to the timestamps of its packets.
    `fcs`: the length in bits of the frame check sequences; None if unknown. `own_options`: copy the options of the packets, all
    of which come from pcapng files.
    """
    records, packet = open_capture_records(capture), Packet()
    described = counted = 0
    blocks: list[bytes] = []
    while records.next(packet):
        for one in records.interfaces[described:]:
            blocks.append(making.interface(_with_packets(one), seconds, fcs))
        described = len(records.interfaces)
        blocks += _statistics(records, counted, seconds)
        counted = len(records.drops.counts)
        if selection.has(packet.frame):
            options = _own_options(packet) if own_options else b""
            if packet.frame == notes.frame:
                options = _join_options(options, making.comments_alone(notes.of(packet.frame)))
            ticks = packet.time + (records.times.first or 0) - seconds * SECOND
            data = packet.block[packet.at : packet.end]
            blocks.append(making.packet(packet.interface, min(max(ticks, 0), (1 << 64) - 1), data, packet.wire_length, options))
        if len(blocks) >= _PACKETS_AT_ONCE:
            out.write(b"".join(blocks))
            blocks.clear()
    blocks += _statistics(records, counted, seconds)
    out.write(b"".join(blocks))


def _statistics(records: Records, counted: int, seconds: int) -> Iterator[bytes]:
    """Yield an Interface Statistics Block for each count of dropped packets in `records`, except the first `counted` of them.

    `seconds`: the offset that is subtracted from all times, because the interface descriptions contain it.
    """
    first = records.times.first or 0
    for one in records.drops.counts[counted:]:
        since, until = None if one.since is None else max(one.since + first, 0), max(one.until + first, 0)
        yield making.statistics(one.interface, max(until - seconds * SECOND, 0), one.total, one.received, since, until)


def _with_packets(one: Interface) -> Interface:
    """Return an interface with LINKTYPE_USER0 if it has no link type, otherwise unchanged.

    Programs cannot read packets without a link type.
    """
    return one._replace(link_type=147) if one.link_type == NO_PACKET else one


def _own_options(packet: Packet) -> bytes:
    """Return the encoded options of the pcapng block that contains a packet; empty if there are none."""
    block, at = packet.block, packet.at
    head = block[max(at - 28, 0) : max(at - 20, 0)]
    if len(head) < 8:
        return b""
    kind, length = struct.unpack("<II", head)
    begin, end = at + (packet.end - at + 3 & ~3), at - 32 + length
    sound = kind == ENHANCED and length >= ENHANCED_FIXED and length & 3 == 0 and begin <= end
    return block[begin:end] if sound and block[end : end + 4] == head[4:] else b""


def _join_options(options: bytes, more: bytes) -> bytes:
    """Join two lists of encoded options."""
    return options[:-4] + more if options.endswith(bytes(4)) else options + more


def _fcs_bits(content: Content) -> int | None:
    """Return the length of the frame check sequences in bits, as recorded in the header of a pcap file; None if it is not
    recorded.
    """
    head = content.read(0, 24)
    if detect_format(head) != "pcap":
        return None
    order = "<" if head[0] in (0xD4, 0x4D, 0xAC, 0xAB, 0x34) else ">"
    (network,) = struct.unpack_from(order + "I", head, 20)
    return (network >> 28) * 16 if network & _FCS_PRESENT else None
