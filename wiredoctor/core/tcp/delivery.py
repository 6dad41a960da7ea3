"""Determine which bytes of a stream are new, missing or retransmitted.

A gap in this module concerns sequence numbers only: late bytes may fill it at any time. stream.py decides how long HTTP waits for
missing bytes.
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64

from wiredoctor import limits
from wiredoctor.core.capture.packet import Packet
from wiredoctor.core.tcp.connection import Connection, Gap, Side, oddities_of
from wiredoctor.core.tcp.numbers import JUMP
from wiredoctor.core.tcp.reuse import is_of_former
from wiredoctor.core.tcp.segment import ACK, FIN, NEVER, RST, SYN, Piece, Segment
from wiredoctor.limits import LimitsReached

BURST: Final = 1 << 20
"""The number of bytes that may be sent within one unit of the capture's clock, which may be coarse."""
LONGEST_SYN: Final = 1 << 16
"""The maximum number of bytes that the reply to a SYN acknowledges: the data in the packet with the SYN (RFC 7413)."""
LONGEST_GAP: Final = 1 << 32
"""The time in ns after which the maximum size of a gap no longer grows.

In this time, a link with 10 Gbit/s can use every sequence number, so the size of the gap is ambiguous.
"""


def deliver(connection: Connection, own: Side, packet: Packet, segment: Segment, met: LimitsReached) -> None:
    """Set which bytes of a segment are new. All are new if the side has not sent any byte at these or at higher offsets."""
    segment.highest_before = own.highest
    segment.new_start = segment.offset
    segment.new_bytes = 0
    segment.pieces = None
    segment.fills_gap = segment.opens_gap = segment.overlap = False
    if packet.flags & RST:
        return
    end = segment.offset + packet.length
    if packet.flags & FIN:
        end += 1
    if end > segment.offset:
        segment.new_bytes = packet.length
        if segment.offset != own.highest and own.highest != NEVER:
            if segment.offset > own.highest:
                open_gap(connection, own, packet, segment, met)
            else:
                fill_gaps(own, segment, end, segment.offset + packet.length, met)
        if end > own.highest:
            own.highest = end
    elif own.reached == NEVER or (packet.flags & SYN and own.payload_frame == NEVER):
        # the stream begins here; a SYN may follow a challenge ACK (RFC 5961 section 4) or packets of an earlier connection
        own.highest = max(own.highest, end)
    elif own.unseen_bytes > 0 and segment.offset == own.reached and own.reached < own.highest - 1:
        note_unsent(connection, own, packet)
    own.reached = max(own.reached, end)


def note_unsent(connection: Connection, own: Side, packet: Packet) -> None:
    """Record that a side never sent the bytes that its peer acknowledged. `packet`: the side's ACK that shows this.

    The sequence number of an ACK is that of the next byte to send. If an ACK captured more than a round trip after the peer's
    acknowledgment still has a sequence number below these bytes, the side has not sent them. Then a host between the capture
    point and the peer sent them under the address of the side, and they are not missing from the capture.
    """
    oddities = connection.oddities
    peer = connection.second if own is connection.first else connection.first
    if oddities is None or oddities.unseen_places != 1 or own.rtt == NEVER or peer.rtt == NEVER:
        return
    if own.highest - own.reached != own.unseen_bytes:
        return
    if packet.time - oddities.unseen_time <= max(own.rtt, 0) + max(peer.rtt, 0):
        return
    oddities.unsent_bytes = own.highest - own.reached
    oddities.unsent_frame, oddities.unsent_time = oddities.unseen_frame, oddities.unseen_time
    oddities.unsent_later_frame, oddities.unsent_later_time = packet.frame, packet.time
    oddities.unseen_places = 0
    oddities.unseen_frame = oddities.unseen_time = NEVER
    own.unseen_bytes = 0


def open_gap(connection: Connection, own: Side, packet: Packet, segment: Segment, met: LimitsReached) -> None:
    """Open a gap between the highest byte of a side and a segment that begins later."""
    segment.opens_gap = True
    add_gap(own, Gap(own.highest, segment.offset, False, most_since(connection, own, packet)), met)


def most_since(connection: Connection, sender: Side, packet: Packet) -> i64:
    """Return the maximum number of bytes that a side can have sent at 1.25 GB/s since its newest captured data."""
    data = sender.previous
    since = connection.start if data is None or data.time == NEVER else data.time
    time = min(max(packet.time - since, 0), LONGEST_GAP)
    return max(time + time // 4, BURST)


def add_gap(own: Side, gap: Gap, met: LimitsReached) -> None:
    """Append a gap that lies after all other gaps of the stream."""
    gaps = own.gaps
    if gaps is None:
        own.gaps = gaps = []
    gaps.append(gap)
    forget_gaps(gaps, met)


def forget_gaps(gaps: list[Gap], met: LimitsReached) -> None:
    """Drop the first gaps of a side if it has more than limits.HOLES gaps."""
    excess: i64 = len(gaps) - limits.HOLES.value
    if excess > 0:
        del gaps[:excess]
        met.add(limits.HOLES, excess)


def fill_gaps(own: Side, segment: Segment, end: i64, payload_end: i64, met: LimitsReached) -> None:
    """Remove the bytes of a segment from the gaps that they fill, and set which of its bytes are new.

    The other bytes are retransmitted. There is no deadline: if HTTP has already skipped the gap (stream.py), HTTP ignores the
    late bytes.
    """
    pieces: list[Piece] = []
    if own.gaps is not None:
        take_from_gaps(own, own.gaps, segment.offset, end, payload_end, pieces)
        forget_gaps(own.gaps, met)
        if not own.gaps:
            own.gaps = None
    is_late = bool(pieces)
    if payload_end > own.highest:
        pieces.append(Piece(own.highest, payload_end))
    new: i64 = 0
    for piece in pieces:
        new += piece.end - piece.start
    segment.fills_gap = is_late
    segment.overlap = 0 < new < payload_end - segment.offset
    segment.new_bytes = new
    if pieces:
        segment.new_start = pieces[0].start
        if len(pieces) > 1:
            segment.pieces = pieces


def take_from_gaps(own: Side, gaps: list[Gap], start: i64, end: i64, payload_end: i64, pieces: list[Piece]) -> None:
    """Remove the bytes [start, end) from the gaps of a side. Append the removed bytes below `payload_end` to `pieces`."""
    first = max(count_gaps_from(gaps, start) - 1, 0)
    last = first
    left: list[Gap] = []
    while last < len(gaps) and gaps[last].start < end:
        gap = gaps[last]
        low, high = max(gap.start, start), min(gap.end, end)
        last += 1
        if low >= high:
            left.append(gap)
            continue
        if gap.acknowledged:
            own.unseen_bytes = max(own.unseen_bytes - (high - low), 0)
        if gap.start < low:
            left.append(Gap(gap.start, low, gap.acknowledged, gap.most))
        if high < gap.end:
            left.append(Gap(high, gap.end, gap.acknowledged, gap.most))
        if low < payload_end:
            pieces.append(Piece(low, min(high, payload_end)))
    gaps[first:last] = left


def count_gaps_from(gaps: list[Gap], start: i64) -> i64:
    """Return how many gaps begin at or before offset `start`. The gaps are in stream order."""
    low: i64 = 0
    high: i64 = len(gaps)
    while low < high:
        middle = (low + high) // 2
        if gaps[middle].start <= start:
            low = middle + 1
        else:
            high = middle
    return low


def recognize_retransmission(own: Side, packet: Packet, segment: Segment) -> None:
    """Set whether a segment is a retransmission.

    A segment is a retransmission if its payload, SYN or FIN was captured before, unless it is a keep-alive probe. A probe has 0
    or 1 byte just below the highest sequence number (RFC 9293 section 3.8.4).
    """
    flags, length, before = packet.flags, packet.length, segment.highest_before
    segment.keep_alive_probe = (
        length <= 1
        and flags & (SYN | FIN | RST | ACK) == ACK
        and segment.new_bytes == 0
        and segment.offset == before - 1
        and (length == 0 or segment.in_flight_before == 0)
    )
    if length > 0:
        again = segment.new_bytes == 0 and not segment.keep_alive_probe and flags & RST == 0
    else:
        again = flags & FIN != 0 and segment.offset < before
    syn = own.syn
    segment.retransmission = again or (flags & SYN != 0 and syn is not None and syn.repeated)


def see_acknowledged(
    connection: Connection, own: Side, peer: Side, packet: Packet, segment: Segment, met: LimitsReached
) -> None:  # fmt: skip
    """Count the bytes of the peer that a packet acknowledges although they were not captured.

    An ACK beyond the peer's highest captured byte shows that the peer has sent more. Two kinds of ACKs are ignored: an ACK that
    is ahead by more than any window, and an ACK that a host sends in reply to a SYN because it still remembers an earlier
    connection on these ports.
    """
    segment.acked_unseen = 0
    ack = segment.ack
    if ack == NEVER or packet.flags & RST or peer.reached == NEVER:
        return
    if own.syn is None and peer.syn is not None and is_challenge(connection, own, peer, packet, ack):
        return
    if ack > peer.highest:
        if ack - peer.reached > JUMP or (own.syn is None and peer.payload_frame == NEVER and is_of_former(connection, packet)):
            return
        acknowledge_gaps(peer, peer.highest, segment, met)
        extend_gap(peer, ack, segment, most_since(connection, peer, packet), met)
    elif peer.gaps is not None:
        acknowledge_gaps(peer, ack, segment, met)
    if segment.acked_unseen > 0:
        peer.unseen_bytes += segment.acked_unseen
        note_unseen(connection, packet)


def is_challenge(connection: Connection, own: Side, peer: Side, packet: Packet, ack: i64) -> bool:
    """Return whether an ACK answers a SYN of the peer with the numbers of an earlier connection. If so, record the first of them.

    A host that still knows that connection sends such an ACK (a challenge ACK, RFC 5961 section 4). It does not acknowledge the
    SYN, nor data that came with it. The peer has sent nothing but SYNs, and no SYN-ACK has come.
    """
    is_bare = packet.length == 0 and packet.flags & (SYN | FIN | ACK) == ACK
    if not is_bare or 0 <= ack <= LONGEST_SYN or peer.acknowledged != NEVER:
        return False
    if own.payload_frame != NEVER or peer.payload_frame != NEVER:
        return False
    oddities = oddities_of(connection)
    if oddities.challenge_frame == NEVER:
        oddities.challenge_frame = packet.frame
        oddities.challenge_time = packet.time
    return True


def acknowledge_gaps(peer: Side, ack: i64, segment: Segment, met: LimitsReached) -> None:
    """Mark the gaps below an ACK as acknowledged. A gap that is only partly acknowledged is divided."""
    gaps = peer.gaps
    if gaps is None:
        return
    i = count_acknowledged(gaps)
    while i < len(gaps) and gaps[i].start < ack:
        gap = gaps[i]
        segment.acked_unseen += min(gap.end - gap.start, ack - gap.start, gap.most)
        if gap.end <= ack:
            gap.acknowledged = True
            i += 1
            continue
        if i > 0 and gaps[i - 1].end == gap.start:
            gaps[i - 1].end = ack
        else:
            gaps.insert(i, Gap(gap.start, ack, True, gap.most))
            forget_gaps(gaps, met)
        gap.start = ack
        break


def count_acknowledged(gaps: list[Gap]) -> i64:
    """Return how many gaps are acknowledged. In stream order, the acknowledged gaps come first."""
    low: i64 = 0
    high: i64 = len(gaps)
    while low < high:
        middle = (low + high) // 2
        if gaps[middle].acknowledged:
            low = middle + 1
        else:
            high = middle
    return low


def extend_gap(peer: Side, ack: i64, segment: Segment, most: i64, met: LimitsReached) -> None:
    """Record that the peer's bytes up to offset `ack` were sent but not captured.

    `most`: the maximum number of bytes that the peer can have sent since its newest captured data.
    """
    segment.acked_unseen += min(ack - peer.highest, most)
    gaps = peer.gaps
    if gaps is not None and gaps[len(gaps) - 1].end == peer.highest and gaps[len(gaps) - 1].acknowledged:
        gaps[len(gaps) - 1].end = ack
    else:
        add_gap(peer, Gap(peer.highest, ack, True, most), met)
    peer.highest = ack


def note_unseen(connection: Connection, packet: Packet) -> None:
    """Count an ACK of bytes that were not captured as an abnormal observation."""
    oddities = oddities_of(connection)
    if oddities.unseen_places == 0:
        oddities.unseen_frame = packet.frame
        oddities.unseen_time = packet.time
    oddities.unseen_places += 1
