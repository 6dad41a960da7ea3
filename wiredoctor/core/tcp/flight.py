"""Keep segments with new data until they are acknowledged.

The newest segments are kept longer, because retransmissions are compared with them.
"""

from __future__ import annotations

from mypy_extensions import i64

from wiredoctor import limits
from wiredoctor.core.capture.packet import Packet, place_of_payload
from wiredoctor.core.tcp.connection import FirstCopy, Flight, Previous, Side
from wiredoctor.core.tcp.segment import SYN, Segment


def remember_sent(own: Side, packet: Packet, segment: Segment, new_flights: list[Flight]) -> None:
    """Store a segment with new bytes for later comparisons.

    Create the side's `Flight` if it has none, and add it to `new_flights`.
    """
    flight = own.flight
    if flight is None:
        own.flight = flight = Flight(own)
        new_flights.append(flight)
    sent = FirstCopy(packet.frame, packet.time, segment.new_start, segment.new_start + segment.new_bytes, own.highest)
    sent.offset = segment.offset
    sent.length = packet.length
    sent.captured = packet.captured
    # a segment that fills several gaps has no single range to compare
    if segment.pieces is None and packet.flags & SYN == 0:
        sent.place = place_of_payload(packet)
    if own.highest > segment.highest_before:
        flight.segments.append(sent)
        return
    late = flight.late
    if late is None:
        flight.late = late = []
    late.insert(find_sent(late, sent.start), sent)
    if len(late) > limits.UNACKNOWLEDGED.value:
        del late[0]


def find_sent(sent: list[FirstCopy], start: i64) -> i64:
    """Return the index of the first segment in `sent` that begins after `start`; `sent` is in stream order."""
    low: i64 = 0
    high: i64 = len(sent)
    while low < high:
        middle = (low + high) // 2
        if sent[middle].start <= start:
            low = middle + 1
        else:
            high = middle
    return low


def find_first(flight: Flight, start: i64) -> FirstCopy | None:
    """Return the segment that first contained the byte at offset `start`; None if it was dropped or not captured."""
    at = find_sent(flight.segments, start) - 1
    if at >= 0 and start < flight.segments[at].end:
        return flight.segments[at]
    late = flight.late
    if late is None:
        return None
    at = find_sent(late, start) - 1
    return late[at] if at >= 0 and start < late[at].end else None


def forget_old(flights: list[Flight], frame: i64) -> list[Flight]:
    """Drop segments that were first captured more than limits.FIRST_COPIES frames ago; return the flights with segments left.

    Segments that an ACK may still acknowledge are kept.
    """
    oldest = frame - limits.FIRST_COPIES.value
    most: i64 = limits.UNACKNOWLEDGED.value
    left: list[Flight] = []
    for flight in flights:
        side = flight.side
        if side is None:
            continue
        segments = flight.segments
        settled = max(flight.unacknowledged, len(segments) - most)
        count: i64 = 0
        while count < settled and segments[count].frame <= oldest:
            count += 1
        late = flight.late
        if late is not None:
            flight.late = late = [sent for sent in late if sent.frame > oldest] or None
        if count and side.previous is not None:
            note_longest(side.previous, segments, min(count, flight.unacknowledged))
        if late is None and count == len(segments):
            side.flight = None
            continue
        left.append(flight)
        if count:
            del segments[:count]
            flight.unacknowledged = max(flight.unacknowledged - count, 0)
    return left


def note_longest(data: Previous, segments: list[FirstCopy], count: i64) -> None:
    """Record in `data` the length of the longest of the first `count` segments, which are acknowledged and will be dropped."""
    for sent in segments[:count]:
        data.longest_forgotten = max(data.longest_forgotten, sent.length)
