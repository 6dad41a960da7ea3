"""Determine which segments are full or small, the bytes in flight, and the room left in the receiver's window.

A segment smaller than the MSS may still be full, if the path carries no larger segments. A size counts as full after three
segments of that size, each of which meets three conditions. It was the largest segment of its sender so far, it did not end a
head, and more data of the same message followed immediately. The size no longer counts after a larger segment, unless the larger
size is a multiple of it. Segments of a program that writes blocks look the same. Therefore multiples of 256 bytes are ignored,
because they are typical sizes of buffers rather than of paths. Loopback and jumbo frames are ignored too, because their paths
carry large segments.
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64

from wiredoctor.core.capture.packet import Packet
from wiredoctor.core.tcp.connection import Connection, Previous, Side
from wiredoctor.core.tcp.handshake import DEFAULT_MSS, DEFAULT_MSS_IPV6, accepted_size, segment_size
from wiredoctor.core.tcp.segment import ACK, FIN, MILLISECOND, NEVER, RST, SYN, Segment

AT_ONCE: Final = MILLISECOND
"""If a segment comes within this many ns after the previous one, its data was already waiting when the previous one was sent.

In that case, a size limit ended the previous segment.
"""
OCCURRENCES: Final = 3
LARGEST_PATH: Final = 9_000
"""The size in bytes of a jumbo frame. A host that announces a larger MSS is not on a physical network."""
BLOCK: Final = 256
"""The sizes of typical program buffers are multiples of this many bytes."""


def measure_flight(own: Side, peer: Side, packet: Packet, segment: Segment) -> None:
    """Set the bytes in flight before a packet, the room in the peer's newest window, and the window that the packet announces.

    Only packets that have passed the capture point count as in flight. The announced window is scaled.
    """
    before, start = segment.highest_before, segment.offset
    segment.in_flight_before = 0
    segment.window_room = NEVER
    segment.window = NEVER
    if before != NEVER:
        start = before
        acknowledged = peer.acknowledged
        if acknowledged == NEVER:
            acknowledged = min(segment.offset, 0)
        segment.in_flight_before = max(before - acknowledged, 0)
    if peer.window_edge != NEVER:
        segment.window_room = max(peer.window_edge - start, 0)
    if packet.flags & SYN:
        segment.window = packet.window
    elif packet.flags & ACK and own.syn is not None and own.syn.scale >= 0:
        segment.window = packet.window << own.syn.scale


def measure_size(connection: Connection, own: Side, peer: Side, packet: Packet, segment: Segment) -> None:
    """Set whether a segment is full, small or a pure ACK. A segment that fills the receiver's window does not count as small."""
    length = packet.length
    mss = segment_size(own.mss, connection, packet)
    segment.mss = mss
    segment.peer_mss = mss
    if peer.mss != own.mss:
        segment.peer_mss = segment_size(peer.mss, connection, packet)
    segment.full = length >= mss
    segment.is_even = True
    segment.small_start = segment.small = False
    segment.pure_ack = length == 0 and packet.flags & (SYN | FIN | RST | ACK) == ACK and not segment.keep_alive_probe
    if length == 0:
        return
    if length > mss:
        # a segment that the receiver accepts is no super-segment: the sender may send more than the MSS that it announced
        limit = segment_size(accepted_size(connection, peer), connection, packet)
        segment.is_even = length <= limit or length % mss == 0
    has_room = segment.window_room == NEVER or length < segment.window_room
    # if a device beyond the capture point removed the window scale option, the sender does not scale the window field
    has_room &= segment.in_flight_before + length != peer.window
    if segment.new_bytes > 0 and has_room:
        segment.small_start = length < mss
        segment.small = segment.small_start or not segment.is_even


def learn_path_mss(connection: Connection, own: Side, packet: Packet, segment: Segment) -> None:
    """Count how often the path seems to limit a side's longest segment, to learn the largest segment that the path carries.

    Call this after the segment's message was determined.
    """
    # every host accepts segments of the default MSS, so no path needs smaller ones
    least: i64 = DEFAULT_MSS
    if len(connection.key) > 12:
        least = DEFAULT_MSS_IPV6
    data = own.previous
    if data is None:
        own.previous = data = Previous()
    if packet.length > data.longest:
        data.longest = packet.length
        data.longest_occurred = 0
    if data.path_mss:
        if data.path_mss < packet.length <= segment.mss and packet.length % data.path_mss != 0:
            data.path_mss = 0
        return
    if data.length != data.longest or not least <= data.length < segment.mss:
        return
    same_message = segment.part.message != NEVER and segment.part.message == data.message and not data.ends_head
    if packet.captured < packet.length and segment.part.message == NEVER:
        # the snap length cut off the message, so assume the same message if the peer has not yet acknowledged the earlier data
        same_message = segment.in_flight_before > 0
    if same_message and packet.time - data.time < AT_ONCE:
        data.longest_occurred += 1
        if data.longest_occurred == OCCURRENCES and data.longest % BLOCK != 0 and may_be_narrow(connection, segment):
            data.path_mss = data.longest


def may_be_narrow(connection: Connection, segment: Segment) -> bool:
    """Return whether the path may be limited to segments that are smaller than both hosts accept.

    This is impossible on loopback, and assumed to be impossible with jumbo frames.
    """
    key = connection.key
    is_loopback = key[0] == 127 if len(key) == 12 else key[:16] == key[16:32]
    return not is_loopback and segment.mss <= LARGEST_PATH


def judge_size(own: Side, packet: Packet, segment: Segment) -> tuple[i64, bool, bool, bool]:
    """Return the MSS for a segment, and three facts: whether it is full, whether it is small, and whether it is below the MSS.

    A super-segment (several segments in one packet, by offloading) with a short remainder counts as small, too. If the path
    carries less than the MSS, the size that it carries is used instead of the MSS.
    """
    if own.previous is None or not own.previous.path_mss:
        return segment.mss, segment.full, segment.small, segment.small_start
    size, length = own.previous.path_mss, packet.length
    small = segment.small and (length < size or length % size != 0)
    return size, length >= size, small, segment.small_start and length < size


def is_full_data(data: Previous) -> bool:
    """Return whether the previous data of a side was a full segment.

    If the path is known to carry only segments smaller than the MSS, the largest of these count as full.
    """
    size = data.path_mss
    if not size:
        return data.full
    return data.length >= size and data.length % size == 0


def is_small_data(data: Previous) -> bool:
    """Return whether the previous data of a side was a small segment.

    If the path is known to carry only segments smaller than the MSS, the largest of these do not count as small.
    """
    size = data.path_mss
    return data.small and (not size or data.length < size or data.length % size != 0)
