"""Find stalls: times without progress that a retransmission ended.

Progress is new data, a FIN, or an ACK of more bytes. A retransmission of the first bytes that the peer has not acknowledged may
end a stall; the next ACK of more bytes confirms that. If the first captured copy of these bytes comes late, it counts like a
retransmission, because an earlier copy was lost before the capture point.

If everything in flight was lost before the capture point, the retransmission looks like new data after a pause. `note_jump`
recognizes it by the next segment.
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64

from wiredoctor.core.capture.packet import Packet
from wiredoctor.core.capture.places import Places
from wiredoctor.core.http1.conversation import Conversation
from wiredoctor.core.http1.message import UNTIL_CLOSE
from wiredoctor.core.tcp import clocks
from wiredoctor.core.tcp.acks import add_round_trips
from wiredoctor.core.tcp.connection import Connection, Flight, Side, waits_of
from wiredoctor.core.tcp.flight import find_first
from wiredoctor.core.tcp.numbers import JUMP, wrap
from wiredoctor.core.tcp.segment import FIN, MILLISECOND, NEVER, RST, SYN, Segment
from wiredoctor.core.tcp.waits import Stall, Waits
from wiredoctor.core.unsigned import u32

DOUBLED: Final = MILLISECOND
"""The maximum time in ns between a packet and its duplicate from a mirror port."""
AT_ONCE: Final = 10 * MILLISECOND
"""The maximum time in ns from an ACK to the next segment that it allows; two round trips are added."""
SACK: Final = 5
"""The kind number of the TCP option with SACK blocks (RFC 2018 section 3)."""
WORD: Final = 0xFFFFFFFF
OUTSIDE: Final = 1 << 20
"""A SACK block is outside the stream if it lies at least this many bytes before its first byte or beyond the window."""
MAX_SACKED: Final = 16
"""The maximum number of ranges kept of a side's SACK blocks; the oldest are dropped."""


def take_recovery(waits: Waits) -> Stall | None:
    """Return the stall that ends because new bytes are acknowledged, and remove it from `waits`; None if there is none.

    `waits`: the state of the side whose bytes are acknowledged.
    """
    stall = waits.stall
    waits.stall = None
    return stall


def try_again(
    connection: Connection, own: Side, peer: Side, packet: Packet, segment: Segment, least: i64, places: Places | None
) -> None:  # fmt: skip
    """Record a segment with the first byte that the peer has not acknowledged: a retransmission, or a late first transmission.

    A FIN without data counts if it ends a body and the peer has not closed: then the peer waits for it.

    Only record the segment if there was no progress for at least `least` ns: no new data, no FIN, and no ACK of more bytes. A
    recorded stall may go on after that (see `goes_on`). `places`: reads the TSval of the first transmission from the capture;
    None if this is not possible.
    """
    waited_for = peer.acknowledged
    if segment.fills_gap:
        is_waited_for = segment.new_start == waited_for and packet.length > 0
    elif packet.length == 0:
        is_waited_for = segment.offset == waited_for and packet.flags & FIN != 0 and ends_body(connection, peer, segment)
    else:
        is_waited_for = waited_for == NEVER or segment.offset <= waited_for < segment.offset + packet.length
    if not is_waited_for or packet.flags & (SYN | RST):
        return
    stall = own.waits.stall if own.waits is not None else None
    if stall is not None and stall.progress_frame != connection.progress_frame and not goes_on(own, peer, stall, segment):
        stall = None
    if stall is None and (connection.progress_time == NEVER or packet.time - connection.progress_time < least):
        return
    if own.syn is not None and connection.progress_time < own.syn.time:
        return  # data of a retransmitted SYN (TCP Fast Open): the sender waited for the connection
    if stall is None:
        waits_of(own).stall = stall = Stall()
        stall.highest, stall.peer_highest = own.highest, peer.highest
        stall.progress_frame = connection.progress_frame
        stall.progress_time = connection.progress_time
        stall.first_frame = packet.frame
        stall.first_time = packet.time
        stall.first_stamp = packet.stamp
        if stall.first_stamp != NEVER and not segment.fills_gap and own.flight is not None and places is not None:
            stall.original_stamp = stamp_of_first(own.flight, waited_for, places)
    elif stall.retransmission_bytes <= segment.mss:
        stall.lost_bytes = max(stall.lost_bytes, stall.retransmission_bytes)
    stall.tries += 1
    stall.last_stamp = packet.stamp
    stall.retransmission_frame = packet.frame
    stall.retransmission_time = packet.time
    stall.retransmission_bytes = packet.length
    stall.is_first_copy = segment.fills_gap
    stall.duplicate_acks = peer.waits.duplicate_acks if peer.waits is not None else 0


def goes_on(own: Side, peer: Side, stall: Stall, segment: Segment) -> bool:
    """Return whether a recorded stall of a side goes on although the peer made a little progress by sending new data.

    The side's own data is still not acknowledged. Return False if the peer has sent a full segment or more, because the side may
    be waiting for that data.
    """
    if stall.highest != own.highest or stall.peer_highest == NEVER:
        return False
    return peer.highest - stall.peer_highest < segment.mss


def ends_body(connection: Connection, peer: Side, segment: Segment) -> bool:
    """Return whether a FIN ends the body of a response without an announced end, and the peer has not closed yet."""
    content = connection.http
    if content is None or peer.close is not None:
        return False
    assert isinstance(content, Conversation)
    reader = content.reader_of(segment.direction)
    exchange = reader.previous if reader.exchange is None else reader.exchange
    if exchange is None or segment.direction == content.client:
        return False
    response = exchange.response
    return response is not None and response.framing == UNTIL_CLOSE


def has_lost_answer(connection: Connection, own: Side, segment: Segment) -> bool:
    """Return whether a packet shows that earlier bytes of its sender, `own`, were not captured, and the peer has not closed."""
    peer = connection.second if own is connection.first else connection.first
    return segment.highest_before != NEVER and segment.offset > segment.highest_before and peer.close is None


def answered_again(connection: Connection, stall: Stall) -> bool:
    """Return whether the server sent its SYN-ACK again during a stall, although the client had acknowledged it before.

    Either the server had dropped the client's ACK and the data after it because its listen queue was full, or the
    path lost both.
    """
    oddities = connection.oddities
    return oddities is not None and oddities.late_answer_frame > stall.progress_frame


def note_lone(connection: Connection, own: Side, peer: Side, packet: Packet, segment: Segment, least: i64) -> None:
    """Record a full segment with new data if there was no progress for `least` ns before it, and nothing was in flight.

    Either the sender paused, or its timer sent the segment again and the first transmission was not captured. A timer sends only
    one segment, so a super-segment (several segments in one packet, by offloading) is not recorded. The peer must not have sent
    payload since the sender's previous data.
    """
    data = own.previous
    if packet.time - connection.progress_time < least or data is None or packet.length > segment.mss:
        return
    if segment.in_flight_before > 0 or segment.opens_gap:
        return
    echo = clocks.echo_of(packet)
    if data.frame <= peer.payload_frame or echo == NEVER:
        return
    lone = Stall()
    lone.progress_frame, lone.progress_time = connection.progress_frame, connection.progress_time
    lone.first_frame = lone.retransmission_frame = packet.frame
    lone.first_time = lone.retransmission_time = packet.time
    lone.first_stamp = lone.last_stamp = packet.stamp
    lone.retransmission_bytes, lone.tries, lone.is_first_copy = packet.length, 1, True
    lone.echo = echo
    waits_of(own).lone = lone


def note_jump(own: Side, peer: Side, packet: Packet, segment: Segment) -> None:
    """Record that the previous segment was a retransmission, because this segment leaves a gap after it.

    A sender whose timer expired sends one segment, waits for its ACK, and then continues with data that it had not sent before
    (RFC 5682). The bytes in the gap were sent before the pause and lost before the capture point. The timestamp echo of this
    segment shows that its sender had received the ACK.
    """
    waits, data, ack = own.waits, own.previous, peer.previous
    if waits is None or waits.lone is None or data is None or ack is None:
        return
    lone = waits.lone
    if lone.retransmission_frame != data.frame or peer.payload_frame > data.frame or segment.in_flight_before > 0:
        return
    echo = clocks.echo_of(packet)
    if echo == NEVER or clocks.ticks(lone.echo, echo) <= 0 or ack.ack != data.end:
        return
    if packet.time - ack.ack_time <= 2 * add_round_trips(segment.rtt_own, segment.rtt_peer) + AT_ONCE:
        waits.stall = lone


def note_unheard(connection: Connection, own: Side, peer: Side, packet: Packet, segment: Segment, least: i64) -> None:
    """Record a retransmission of data that the peer had acknowledged before: the sender has not received the ACK.

    Only record it if there was no progress for at least `least` ns before the first such retransmission.
    """
    echo = clocks.echo_of(packet)
    if packet.length <= 1 or packet.flags & (SYN | RST) or echo == NEVER or segment.offset + packet.length > peer.acknowledged:
        return
    waits = waits_of(own)
    stall = waits.unheard
    if stall is None or stall.progress_frame != connection.progress_frame:
        if connection.progress_time == NEVER or packet.time - connection.progress_time < least:
            return
        waits.unheard = stall = Stall()
        stall.progress_frame, stall.progress_time = connection.progress_frame, connection.progress_time
        stall.first_frame, stall.first_time = packet.frame, packet.time
    stall.tries += 1
    stall.retransmission_frame, stall.retransmission_time = packet.frame, packet.time
    stall.retransmission_bytes, stall.echo = packet.length, echo


def take_unheard(connection: Connection, waits: Waits, peer: Side, packet: Packet, segment: Segment) -> Stall | None:
    """Return the time without progress that ends with new data, because its sender had received no ACK until then.

    The new data follows at once after the peer's answer to the newest retransmission, or after its FIN, and the timestamp echo of
    the new data is newer than that of the retransmission: so the sender waited for this packet, and not for its program.
    `waits`: the state of the sender.
    """
    stall, close = waits.unheard, peer.close
    waits.unheard = None
    if stall is None or peer.payload_frame > stall.progress_frame or connection.last_packet & 1 == segment.direction:
        return None
    is_fin = close is not None and close.fin_frame == connection.progress_frame
    if stall.progress_frame != connection.progress_frame and not is_fin:
        return None
    echo = clocks.echo_of(packet)
    if echo == NEVER or clocks.ticks(stall.echo, echo) <= 0:
        return None
    since = max(stall.retransmission_time, connection.progress_time) if is_fin else stall.retransmission_time
    if packet.time - since > 2 * add_round_trips(segment.rtt_own, segment.rtt_peer) + AT_ONCE:
        return None
    return stall


def stamp_of_first(flight: Flight, offset: i64, places: Places) -> i64:
    """Return the TSval of the first copy of the byte at `offset`, or NEVER if it is unknown."""
    first = find_first(flight, offset)
    if first is None or first.place == NEVER:
        return NEVER
    return clocks.stamp_before(places.read(first.place - clocks.OPTION, clocks.OPTION))


def is_spurious(stall: Stall, packet: Packet) -> bool:
    """Return whether an ACK that ends a stall acknowledges the data as first sent, and not as retransmitted.

    Such an ACK echoes the timestamp of an earlier segment (RFC 3522 section 3.2): nothing was lost, only delayed.
    """
    echo = clocks.echo_of(packet)
    if echo == NEVER or stall.original_stamp == NEVER:
        return False
    return clocks.ticks(stall.original_stamp, echo) >= 0 and clocks.ticks(echo, stall.first_stamp) > 0


def had_both_copies(own: Side, stall: Stall, packet: Packet, segment: Segment) -> bool:
    """Return whether an ACK that ends a stall shows that no data was lost: its D-SACK reports the first retransmission.

    If there were several retransmissions, the ACK must echo the timestamp of the first: then the later ones had not arrived yet.
    The ACK must have no data, and its sequence number must show that its sender, `own`, has sent nothing that was lost before the
    capture point. In this case, `own` had not responded to the data earlier: the data was late, or the response was not ready.
    """
    answers_first = stall.tries == 1 or (stall.first_stamp != NEVER and clocks.echo_of(packet) == stall.first_stamp)
    is_doubled = packet.dsack and answers_first and not stall.is_first_copy
    return is_doubled and packet.length == 0 and segment.offset == own.highest


def answers_retransmission(stall: Stall, packet: Packet) -> bool:
    """Return whether an ACK was sent after the newest retransmission had arrived.

    The ACK's timestamp echo (TSecr) shows this: it is not older than the TSval of that retransmission.
    """
    echo = clocks.echo_of(packet)
    return echo != NEVER and stall.last_stamp != NEVER and clocks.ticks(stall.last_stamp, echo) >= 0


def count_duplicate_acks(connection: Connection, own: Side, packet: Packet, segment: Segment, options: i64) -> None:
    """Record the SACK blocks of a pure ACK, and count the ACK if it is a duplicate ACK.

    A copy made by a mirror port does not count: it equals the previous packet and follows it within 1 ms. An ACK with SACK blocks
    counts even if it changes the window, because Linux enlarges the window while data after a gap arrives (RFC 6675 section 2).
    `options`: the checksum of the packet's TCP options (recent.checksum).
    """
    waits = own.waits
    if packet.sack:
        waits = waits_of(own)
        if waits.strange_sack_frame == NEVER and connection.has_both_syns:
            note_strange_sack(own, waits, packet, segment)
        if not packet.dsack:
            note_sack(waits, packet, segment)
    if segment.acked_bytes > 0:
        if waits is not None:
            waits.duplicate_acks = 0
            if waits.sacked and not packet.sack:
                waits.sacked.clear()
        return
    if not segment.duplicate_ack and not (packet.sack and not packet.dsack and segment.pure_ack):
        return
    is_like_last = (
        connection.last_packet == packet.ip_id << 1 | segment.direction
        and connection.last_options == options
        and packet.time - connection.end <= DOUBLED
    )
    if is_like_last:
        return
    waits = waits_of(own)
    waits.duplicate_acks += 1


def note_sack(waits: Waits, packet: Packet, segment: Segment) -> None:
    """Record the SACK blocks of a packet: the data that its sender has received after a gap (RFC 2018 section 4).

    The first block contains the newest data. A packet has room for three or four blocks, so earlier ones are kept.
    """
    at = clocks.find_option(packet, SACK)
    if at < 0:
        return
    block, edge = packet.block, at + 2
    end = min(at + i64(block[at + 1]), packet.payload, packet.end)
    waits.sack_frame, waits.sack_time = packet.frame, packet.time
    waits.sack_start = segment.ack + (u32(block, edge) - packet.acknowledgment & WORD)
    while edge + 8 <= end:
        start = segment.ack + (u32(block, edge) - packet.acknowledgment & WORD)
        add_range(waits.sacked, start, segment.ack + (u32(block, edge + 4) - packet.acknowledgment & WORD))
        edge += 8
    if len(waits.sacked) > 2 * MAX_SACKED:
        del waits.sacked[: len(waits.sacked) - 2 * MAX_SACKED]


def note_strange_sack(own: Side, waits: Waits, packet: Packet, segment: Segment) -> None:
    """Record a packet whose first SACK block lies outside the peer's stream: before its first byte, or beyond the window.

    A device that changes sequence numbers, but not those in SACK blocks, makes such blocks.
    """
    at = clocks.find_option(packet, SACK)
    if at < 0 or at + 10 > packet.end:
        return
    start = segment.ack + wrap(u32(packet.block, at + 2) - packet.acknowledgment)
    end = segment.ack + wrap(u32(packet.block, at + 6) - packet.acknowledgment)
    most = own.window_edge if own.window_edge != NEVER else segment.ack + JUMP
    if start < -OUTSIDE or end > most + OUTSIDE:
        waits.strange_sack_frame, waits.strange_sack_time = packet.frame, packet.time


def add_range(ranges: list[int], start: i64, end: i64) -> None:
    """Add the range from `start` to `end` to `ranges`, and merge it with those that it overlaps or touches.

    `ranges`: the start and end of each range in turn.
    """
    at: i64 = len(ranges) - 2
    while at >= 0:
        low: i64 = ranges[at]
        high: i64 = ranges[at + 1]
        if low <= start and end <= high:
            return
        if low <= end and start <= high:
            start, end = min(start, low), max(end, high)
            del ranges[at : at + 2]
        at -= 2
    ranges.append(start)
    ranges.append(end)


def note_progress(connection: Connection, packet: Packet, segment: Segment) -> None:
    """Record the frame and time of a packet if it makes progress: new data, a FIN, or an ACK of more bytes."""
    if segment.new_bytes > 0 or segment.acked_bytes > 0 or (packet.flags & FIN and not segment.retransmission):
        connection.progress_frame = packet.frame
        connection.progress_time = packet.time
