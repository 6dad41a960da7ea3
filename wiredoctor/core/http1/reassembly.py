"""Put the bytes of each direction in order for its sink. Bytes may have to wait for missing bytes or for the other direction.

Bytes after a gap wait in `Stream.waiting` until the gap is filled or skipped. A gap is skipped after a grace period
(`Stream.gap_ends_at`), at a limit (`add_range`), or because no more bytes are expected (`flush`). Bytes in order wait in
`Stream.held` while their sink `waits`: a response waits for its request, and data after an upgrade request waits for the
response.
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64

from wiredoctor import limits
from wiredoctor.core.capture.packet import Packet
from wiredoctor.core.http1.conversation import Conversation
from wiredoctor.core.http1.pairing import may_answer
from wiredoctor.core.http1.stream import CUT, GAP, GRACE_PERIOD, Piece, Range, Stream
from wiredoctor.core.tcp.connection import Side
from wiredoctor.core.tcp.segment import NEVER, Segment

NO_PIECES: Final[list[Piece]] = []


def read_new_bytes(conversation: Conversation, stream: Stream, own: Side, packet: Packet, segment: Segment) -> bool:
    """Pass the new bytes of a packet to their sink in stream order. Return whether all bytes before them were available."""
    begin = segment.new_start
    if stream.reached == NEVER:
        stream.reached = begin
        if own.syn is not None:
            stream.reached = 0
    if segment.pieces is not None:
        in_order = True
        for piece in segment.pieces:
            in_order = add_bytes(conversation, stream, packet, segment, piece.start, piece.end) and in_order
        return in_order
    return add_bytes(conversation, stream, packet, segment, begin, begin + segment.new_bytes)


def add_bytes(conversation: Conversation, stream: Stream, packet: Packet, segment: Segment, start: i64, end: i64) -> bool:
    """Add the new bytes [start, end) of a packet to its stream; the snap length may have cut off some.

    Return whether all bytes before them were available.
    """
    there = segment.offset + packet.captured
    in_order = True
    if start < there < end:
        in_order = add_range(conversation, stream, packet, segment, start, there, True)
        start = there
    return add_range(conversation, stream, packet, segment, start, end, end <= there) and in_order


def add_range(
    conversation: Conversation, stream: Stream, packet: Packet, segment: Segment, start: i64, end: i64, is_captured: bool
) -> bool:  # fmt: skip
    """Pass the new bytes [start, end) of a packet to their sink, or store them if earlier bytes are missing.

    `is_captured`: all of these bytes were captured; otherwise none was. Return whether all bytes before them were available.
    """
    found = conversation.http.range
    if start < stream.reached:
        start = stream.reached
        if start >= end:
            return False
    point(found, packet, segment, start, end)
    if not is_captured:
        found.at = CUT
    if start == stream.reached:
        stream.reached = end
        hand_on(conversation, stream, found)
        if stream.waiting is not None:
            drain(conversation, stream)
        return True
    piece = Piece(found, start, end, not stream.sink.jumps_to(end))
    stream.insert(piece, conversation.side_of(1 - stream.direction).acknowledged, conversation.clock)
    conversation.http.keeping.add(conversation, len(piece.data))
    limit = stream.limit_of_gap()
    if limit is not None:
        if not stream.sink.is_off():
            conversation.http.met.add(limit)
        skip_gap(conversation, stream)
    wake_for_gap(conversation, stream)
    return False


def point(found: Range, packet: Packet, segment: Segment, start: i64, end: i64) -> None:
    """Set a range to the bytes [start, end) of a packet."""
    found.block = packet.block
    found.at = packet.payload + start - segment.offset
    found.start = found.wire_start = start
    found.end = found.wire_end = end
    found.frame = packet.frame
    found.time = packet.time
    found.ack = segment.ack
    found.rtt_own = segment.rtt_own
    found.rtt_peer = segment.rtt_peer


def hand_on(conversation: Conversation, stream: Stream, found: Range) -> None:
    """Pass an in-order range to its sink, or hold it while the sink waits."""
    if stream.sink.waits or stream.held is not None:
        hold(conversation, stream, found, found.start)
        return
    stream.sink.take(found)
    if stream.sink.waits and stream.sink.pos < found.end:
        hold(conversation, stream, found, max(stream.sink.pos, found.start))


def hold(conversation: Conversation, stream: Stream, found: Range, start: i64) -> None:
    """Store a range, without its bytes before offset `start`, until its sink continues."""
    stream.hold(found, start)
    conversation.http.keeping.add(conversation, found.end - start if found.at >= 0 else 0)


def drain(conversation: Conversation, stream: Stream) -> None:
    """Read the stored bytes that are in order now, because a gap before them was filled or skipped."""
    found = conversation.http.range
    while stream.waiting is not None and stream.next_piece(found):
        hand_on(conversation, stream, found)


def skip_gap(conversation: Conversation, stream: Stream) -> None:
    """Skip the first gap of a direction, and read the bytes after it."""
    found = conversation.http.range
    stream.skip_gap(found)
    hand_on(conversation, stream, found)
    drain(conversation, stream)


def skip_gaps_before(conversation: Conversation, stream: Stream, offset: i64) -> None:
    """Skip gaps of a direction until all stored bytes below `offset` have been read."""
    while stream.has_before(offset):
        skip_gap(conversation, stream)


def wake_for_gap(conversation: Conversation, stream: Stream) -> None:
    """Schedule a wake-up for the time at which the first gap is skipped unless it was filled before."""
    waiting = stream.waiting
    if waiting is not None:
        since = waiting.acknowledged_at()
        if since != NEVER:
            conversation.wake_at(since + GRACE_PERIOD)


def resume(conversation: Conversation) -> None:
    """Let waiting sinks continue as far as possible, the client's first."""
    client = conversation.stream_of(max(conversation.client, 0))
    server = conversation.stream_of(1 - client.direction)
    goes_on = True
    while goes_on:
        goes_on = not client.sink.waits and read_held(conversation, client)
        if server.held is not None and may_go_on(conversation, server) and read_held(conversation, server):
            goes_on = True


def may_go_on(conversation: Conversation, server: Stream) -> bool:
    """Return whether the response that waits for its request can be read now. If so, end the wait of its reader.

    If the stored bytes exceed a limit, skip the missing bytes for which the response waits.
    """
    held, reader = server.held, conversation.reader_of(server.direction)
    if held is not None and (len(held) > limits.WAITING.value or server.held_bytes > limits.AHEAD.value):
        skip_gaps_before(conversation, conversation.stream_of(1 - server.direction), reader.waits_ack)
        conversation.is_forced = True
    if not may_answer(conversation, reader.waits_ack, reader.waits_time):
        return False
    reader.waits = False
    return True


def read_held(conversation: Conversation, stream: Stream) -> bool:
    """Pass the held bytes of a stream to its sink until that waits again. Return whether it advanced."""
    held = stream.held
    if held is None:
        return False
    count: i64 = len(held)
    done: i64 = 0
    begin = stream.sink.pos
    while done < count and not stream.sink.waits:
        piece = held[done]
        read_piece(conversation, stream, piece)
        if stream.sink.waits and stream.sink.pos < piece.end:
            break
        stream.held_bytes -= piece.end - piece.start
        done += 1
    if stream.sink.is_off() or done == count:
        stream.held = None
        stream.held_bytes = 0
    elif done > 0:
        stream.held = held[done:]
    conversation.is_forced = False
    return done > 0 or stream.sink.pos != begin


def read_piece(conversation: Conversation, stream: Stream, piece: Piece) -> None:
    """Pass a stored range to its sink, except the bytes that the sink has already read."""
    found = conversation.http.range
    piece.fill(found, max(piece.start, stream.sink.pos) if stream.sink.pos < piece.end else piece.start)
    stream.sink.take(found)


def flush(conversation: Conversation) -> None:
    """Skip all gaps and read everything held, because no more bytes are expected."""
    first, second = take_pieces(conversation, conversation.first_stream), take_pieces(conversation, conversation.second_stream)
    conversation.is_forced = True
    i: i64 = 0
    j: i64 = 0
    while i < len(first) or j < len(second):
        if j == len(second) or (i < len(first) and comes_first(conversation, first[i], second[j])):
            read_piece(conversation, conversation.first_stream, first[i])
            i += 1
        else:
            read_piece(conversation, conversation.second_stream, second[j])
            j += 1


def take_pieces(conversation: Conversation, stream: Stream) -> list[Piece]:
    """Remove and return all ranges that a sink has not read, including gaps, in stream order."""
    stream.sink.waits = True
    while stream.waiting is not None:
        skip_gap(conversation, stream)
    stream.sink.waits = False
    held = stream.held
    stream.held = None
    stream.held_bytes = 0
    return NO_PIECES if held is None else held


def comes_first(conversation: Conversation, first: Piece, second: Piece) -> bool:
    """Return whether the range of direction 0 is to be read before the range of direction 1.

    Ranges are read in capture order, except that the bytes that a response acknowledges come before the response.
    """
    if conversation.client == 0:
        return first.frame < second.frame or second.ack == NEVER or first.wire_start < second.ack
    if conversation.client == 1:
        return first.frame < second.frame and first.ack != NEVER and first.ack <= second.wire_start
    return first.frame < second.frame


def skip_tail(conversation: Conversation, direction: i64) -> None:
    """Skip the missing bytes of a direction between the last captured byte and the FIN."""
    stream, message = conversation.stream_of(direction), conversation.reader_of(direction).message
    close = conversation.side_of(direction).close
    reached = conversation.reached_offset(direction)
    if close is None or reached == NEVER or reached >= close.fin_offset or stream.sink.is_off():
        return
    found = conversation.http.range
    found.at = GAP
    found.start = found.wire_start = reached
    found.end = found.wire_end = close.fin_offset
    found.frame = found.time = 0
    if message is not None:
        found.frame, found.time = message.last_frame, message.end_time
    found.ack = NEVER
    stream.reached = close.fin_offset
    stream.sink.take(found)
