"""Describe data when a side begins to repeat it, when packets show that it is missing, or at the first keep-alive probe.

Earlier packets are not read again, so facts about them come from state that is stored for all connections.
"""

from __future__ import annotations

from mypy_extensions import i64

from wiredoctor.core.capture.packet import Packet
from wiredoctor.core.http1.conversation import Conversation
from wiredoctor.core.tcp.connection import Connection, Flight, Previous, Side
from wiredoctor.core.tcp.delivery import count_acknowledged
from wiredoctor.core.tcp.flight import find_first
from wiredoctor.core.tcp.segment import NEVER, Segment
from wiredoctor.core.tcp.waits import Repetition


def begin(
    connection: Connection,
    own: Side,
    peer: Side,
    packet: Packet,
    mss: i64,
    direction: i64,
    start: i64,
    was_acknowledged: bool,
) -> Repetition:
    """Create and return the state of repeated data, when the data is captured for the second time.

    `direction` and `start`: the direction and the offset of the data. `was_acknowledged`: an ACK of the data had been captured by
    then.
    """
    repetition = Repetition(start, was_acknowledged)
    sent = None if own.flight is None else find_first(own.flight, start)
    repetition.mss = mss
    repetition.second_frame, repetition.second_time = packet.frame, packet.time
    close = own.close
    if sent is not None:
        repetition.first_frame, repetition.first_time, repetition.length = sent.frame, sent.time, sent.length
    elif packet.length == 0 and close is not None and close.fin_offset == start:
        repetition.is_fin = True
        repetition.first_frame, repetition.first_time = close.fin_frame, close.fin_time
    else:
        # the first copy was long ago, or was not captured
        repetition.copies = 0
        repetition.first_frame, repetition.first_time, repetition.length = packet.frame, packet.time, packet.length
    repetition.unseen_bytes = peer.unseen_bytes
    repetition.own_acknowledged = own.acknowledged
    note_earlier_peer_packet(connection, peer, repetition, direction)
    if own.previous is not None:
        first = first_of_flight(own.flight, repetition)
        repetition.rest = find_rest(connection, own.previous, peer.previous, repetition, first)
        repetition.is_answer = is_answer(own.previous, peer.previous, first)
    content = connection.http
    if content is not None:
        assert isinstance(content, Conversation)
        describe(content, repetition, direction)
    return repetition


def begin_probing(connection: Connection, peer: Side, packet: Packet, segment: Segment) -> Repetition:
    """Create and return the state of keep-alive probes, at the first probe since the peer's newest packet."""
    probing = Repetition(segment.offset, False)
    probing.is_probe = True
    probing.bare = lacks_timestamps(connection, packet)
    probing.mss = segment.mss
    probing.first_frame = probing.second_frame = probing.last_frame = packet.frame
    probing.first_time = probing.second_time = probing.last_time = packet.time
    probing.rest = max(packet.time - connection.end, 0)
    probing.unseen_bytes = peer.unseen_bytes
    note_earlier_peer_packet(connection, peer, probing, segment.direction)
    content = connection.http
    if content is not None:
        assert isinstance(content, Conversation)
        describe(content, probing, segment.direction)
    return probing


def lacks_timestamps(connection: Connection, packet: Packet) -> i64:
    """Return 1 if a segment lacks the timestamps option that both SYNs had, otherwise 0. RFC 7323 section 3.2 requires it."""
    return 1 if connection.timestamps > 0 and not packet.has_timestamps else 0


def find_missing(own: Side) -> tuple[i64, i64]:
    """Return the start and end offset of a side's first bytes that were neither captured nor acknowledged.

    Later packets of the side show that these bytes were sent. If there are none, both offsets are NEVER.
    """
    gaps = own.gaps
    if gaps is not None:
        first = count_acknowledged(gaps)
        if first < len(gaps):
            return gaps[first].start, gaps[first].end
    if own.highest == NEVER or own.reached <= own.highest:
        return NEVER, NEVER
    return own.highest, own.reached


def begin_missing(connection: Connection, packet: Packet, segment: Segment, start: i64) -> Repetition:
    """Create and return the state of missing data, at the first packet that shows that the data was sent."""
    missing = Repetition(start, False)
    missing.copies = 0
    missing.mss = segment.mss
    missing.first_frame, missing.first_time = packet.frame, packet.time
    content = connection.http
    if content is not None:
        assert isinstance(content, Conversation)
        missing.is_http = content.client >= 0
        exchange = content.queue.oldest
        while exchange is not None:
            is_over = exchange.request_done if segment.direction == content.client else exchange.response_done
            if not is_over:
                missing.exchange = exchange.index
                break
            exchange = exchange.next
    return missing


def silence_of(connection: Connection, own: Side, peer: Side, missing: Repetition) -> i64:
    """Return the time in ns from the newest data of either side to the close of the peer.

    If the peer has not closed, the time ends with the last packet that shows that data is missing. An early response, before the
    end of its request, does not count as data: the peer sends it because it waited too long for the request (408), or without
    waiting for the request (413).
    """
    end = missing.last_time
    if peer.close is not None:
        end = peer.close.rst_time if peer.close.fin_time == NEVER else peer.close.fin_time
    newest: i64 = connection.start
    if own.previous is not None:
        newest = max(newest, own.previous.time)
    if peer.previous is not None and not missing.is_answered_early:
        newest = max(newest, peer.previous.time)
    return max(end - newest, 0)


def is_answered_early(connection: Connection, direction: i64) -> bool:
    """Return whether a direction is the client's, and a response began before the client had sent its complete request."""
    content = connection.http
    if content is None:
        return False
    assert isinstance(content, Conversation)
    exchange = content.queue.newest
    if exchange is None or exchange.request_done or direction != content.client:
        return False
    return exchange.response is not None


def note_earlier_peer_packet(connection: Connection, peer: Side, repetition: Repetition, direction: i64) -> None:
    """Set the frame and time of the peer's newest known packet before the data was sent for the second time."""
    data = peer.previous
    if data is not None:
        repetition.heard_frame, repetition.heard_time = data.frame, data.time
        if data.ack_frame > data.frame:
            repetition.heard_frame, repetition.heard_time = data.ack_frame, data.ack_time
    if peer.syn is not None and repetition.heard_frame == NEVER:
        repetition.heard_frame, repetition.heard_time = peer.syn.frame, peer.syn.time
    if connection.last_packet & 1 != direction and peer.last_frame > repetition.heard_frame:
        repetition.heard_frame, repetition.heard_time = peer.last_frame, connection.end
    if repetition.heard_frame > repetition.first_frame:
        repetition.peer_frame, repetition.peer_time = repetition.heard_frame, repetition.heard_time


def first_of_flight(flight: Flight | None, repetition: Repetition) -> i64:
    """Return the frame number of a side's first unacknowledged segment, or of the repeated data if that came first.

    The two may differ if bytes that follow the repeated data in the stream were captured before it.
    """
    first = repetition.first_frame
    if flight is None or repetition.was_acknowledged or flight.unacknowledged >= len(flight.segments):
        return first
    return min(first, flight.segments[flight.unacknowledged].frame)


def find_rest(connection: Connection, own: Previous, peer: Previous | None, repetition: Repetition, first: i64) -> i64:
    """Return the idle time in ns before the repeated data: the longest time without payload from either side.

    The idle time ends when the data is first sent, or earlier, when the peer begins a message to which the data responds.
    `first`: the frame number of the first unacknowledged segment.
    """
    own_end = own.pause_start if own.pause_frame == first else own.time
    if own.pause_frame != first and own.frame >= first:
        own_end = repetition.first_time
    if peer is None or peer.frame == NEVER:
        return max(repetition.first_time - max(own_end, connection.start), 0)
    if peer.frame > first:
        return 0
    rest = repetition.first_time - max(own_end, peer.time)
    if peer.pause_frame != NEVER:
        rest = max(rest, peer.pause_end - max(own_end, peer.pause_start, connection.start))
    return max(rest, 0)


def is_answer(own: Previous, peer: Previous | None, first: i64) -> bool:
    """Return whether the peer sent the newest payload before the first transmission of repeated data.

    `first`: the frame number of the first unacknowledged segment.
    """
    if peer is None or peer.frame == NEVER:
        return False
    own_end = own.pause_start if own.pause_frame == first else own.time
    return peer.frame > first or peer.time > own_end


def describe(content: Conversation, repetition: Repetition, direction: i64) -> None:
    """Set the exchange to which repeated data belongs, and whether earlier data of its message had been acknowledged.

    For a FIN or a keep-alive probe, set the exchange that the peer had not finished.
    """
    repetition.is_http = content.client >= 0
    exchange = content.queue.oldest
    while exchange is not None:
        request, response = exchange.request, exchange.response
        message = request if direction == content.client else response
        if repetition.is_fin or repetition.is_probe:
            is_over = exchange.response_done if direction == content.client else exchange.request_done
            if not is_over and not repetition.is_owed:
                awaited = response if direction == content.client else request
                repetition.is_owed = True
                repetition.is_continued = repetition.is_fin or awaited is not None
                repetition.exchange = exchange.index
        elif message is not None and message.offset <= repetition.start:
            if message.end_offset == NEVER or repetition.start < message.end_offset:
                repetition.exchange = exchange.index
                repetition.is_continued = message.offset < repetition.start
        elif direction == content.client and response is not None and not exchange.response_done:
            repetition.is_continued = True
        exchange = exchange.next
