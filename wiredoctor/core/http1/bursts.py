"""Track the bursts of a message body, and collect evidence about the cause of the pause before each burst.

A burst is a series of packets of one body without a long pause between them (Cutoffs.burst_gap).
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64

from wiredoctor.core.capture.packet import Packet
from wiredoctor.core.cutoffs import Cutoffs
from wiredoctor.core.http1.conversation import Conversation
from wiredoctor.core.http1.message import RESPONSE, Message, Pause, Pauses
from wiredoctor.core.http1.moments import Moments
from wiredoctor.core.http1.reader import Burst, Reader
from wiredoctor.core.tcp import clocks
from wiredoctor.core.tcp.acks import add_round_trips, whole_round_trip
from wiredoctor.core.tcp.connection import Previous, Side
from wiredoctor.core.tcp.lumps import DID_NOT_WAIT, MAY_HAVE_WAITED, Releases
from wiredoctor.core.tcp.segment import FOREVER, MILLISECOND, NEVER, Segment
from wiredoctor.core.tcp.sizes import is_small_data, judge_size
from wiredoctor.protocols.http1.pieces import Pieces

ACK_TIMER: Final = 510 * MILLISECOND
"""The longest pause in ns that a delayed ACK can cause (RFC 1122 section 4.2.3.2: a delay of less than 500 ms)."""

MAX_OPEN: Final = 64
"""The maximum number of undecided pauses of a body.

A pause is undecided while it may have been a delay in transit. This is decided when the sender's clock is known, or when the body
is complete.
"""

ACKNOWLEDGED: Final = 1
WINDOW_OPEN: Final = 2
CLEAN: Final = 4
EMPTIED: Final = 8
WAITED: Final = 16
APPLICATION: Final = 31
"""All bits from ACKNOWLEDGED to WAITED. Only together do they show that the application paused."""

COLUMNS: Final = (
    *("connection", "direction", "message", "exchange", "index", "first_frame", "last_frame", "start", "end", "bytes"),
    *("segments", "largest_segment", "pause", "pause_frame", "reasons", "pause_late", "span"),
)
"""The column names of the table `bursts`, in the order in which they are written."""


def describe_body(
    conversation: Conversation, reader: Reader, segment: Segment, previous: Previous | None, own: Side, peer: Side, packet: Packet
) -> None:
    """Record the body bytes of a packet sent by the side `own`, and the pause before the packet."""
    http, part = conversation.http, segment.part
    number = part.message
    message = http.parts.first
    overtakes = number == NEVER and previous is not None and overtakes_body(reader, segment, previous)
    if overtakes:
        number = reader.burst_message
        message = reader.message
    elif number == NEVER or not part.in_body:
        return
    pause: i64 = NEVER
    reasons: i64 = 0
    if number == reader.burst_message and previous is not None:
        pause = find_pause(packet, segment, previous, http.cutoffs.burst_gap())
        if pause != NEVER:
            reasons = explain_pause(pause, segment, previous, own, peer, packet)
            if reader.kind == RESPONSE and message is not None and message.id == number:
                note_pause(message, own, previous, packet, pause, whole_round_trip(segment), reasons, http.cutoffs)
    elif previous is not None and reader.kind == RESPONSE and previous.ends_head and previous.message == number:
        note_pause_after_head(message, segment, previous, own, peer, packet, http.cutoffs)
    reader.burst_message = number
    if message is not None and message.pieces is not None:
        if message.pieces.is_timed:
            moments = message.moments
            if moments is None:
                moments = message.moments = Moments()
            moments.note(own, peer, previous, packet, segment, message.body_bytes)
            join_flights(moments, message.pieces, previous, own, peer, packet, segment)
            message.pieces.count_lumps(http.cutoffs.min_held_events, clocks.unit_of(own))
        elif message.body_frame == packet.frame:
            note_ticks(message.pieces, previous, own, packet)
    if http.bursts is not None:
        size = segment.new_bytes if overtakes else part.body_bytes
        continue_burst(conversation, reader, segment, number, size, pause, reasons, previous, own, packet)


def join_flights(
    moments: Moments, pieces: Pieces, previous: Previous | None, own: Side, peer: Side, packet: Packet, segment: Segment
) -> None:  # fmt: skip
    """Record in `pieces` how far the sender's clock advanced since the sender's previous data, or since its SYN.

    If the sender was waiting for an ACK or for room in the window during that time, let `pieces` ignore the time.
    """
    releases = moments.releases
    if releases is None:
        moments.releases = Releases(peer.acknowledged, peer.window_edge)
    elif previous is not None:
        waited = releases.has_waited(previous, packet, segment)
        gap = packet.time - previous.time
        if waited != DID_NOT_WAIT and pieces.waited(gap, if_quick=waited == MAY_HAVE_WAITED):
            return
    note_ticks(pieces, previous, own, packet)


def note_ticks(pieces: Pieces, previous: Previous | None, own: Side, packet: Packet) -> None:
    """Record in `pieces` how far the sender's clock advanced since the sender's previous data, or since its SYN."""
    syn = own.syn
    time, before, stamp = i64(NEVER), i64(NEVER), packet.stamp
    if previous is not None and previous.frame != NEVER:
        time, before = previous.time, previous.stamp
    elif syn is not None:
        time, before = syn.time, syn.stamp
    if before != NEVER and stamp != NEVER:
        pieces.ticked(packet.frame, packet.time - time, clocks.ticks(before, stamp))


def overtakes_body(reader: Reader, segment: Segment, previous: Previous) -> bool:
    """Return whether a packet continues the body of the newest burst after a gap. If so, the pause before it is examined."""
    is_ahead = segment.opens_gap and previous.message != NEVER and not previous.ends_message
    return is_ahead and previous.message == reader.burst_message


def find_pause(packet: Packet, segment: Segment, previous: Previous, shortest: i64) -> i64:
    """Return the time (ns) since the sender's previous data; NEVER if it is below `shortest` (ns) or below two round trips."""
    pause = packet.time - previous.time
    if segment.rtt_own != NEVER and segment.rtt_peer != NEVER:
        shortest = max(shortest, 2 * add_round_trips(segment.rtt_own, segment.rtt_peer))
    if pause >= shortest:
        return pause
    return NEVER


def explain_pause(pause: i64, segment: Segment, previous: Previous, own: Side, peer: Side, packet: Packet) -> i64:
    """Return the evidence that the application paused for `pause` ns, as bits (ACKNOWLEDGED to WAITED)."""
    mss = judge_size(own, packet, segment)[0]
    reasons: i64 = 0
    flying = segment.in_flight_before
    if flying == 0 or (flying < 2 * mss and pause < ACK_TIMER):
        reasons |= ACKNOWLEDGED
    if peer.short_window_frame <= previous.frame and (previous.room == NEVER or previous.room >= mss):
        reasons |= WINDOW_OPEN
    if max(own.retransmission_frame, peer.retransmission_frame) <= previous.frame:
        reasons |= CLEAN
    # after a full segment without PSH the sender had more data ready; those packets were lost before the capture point
    if previous.push or is_small_data(previous):
        reasons |= EMPTIED
    if clocks.has_waited(own, packet, pause, whole_round_trip(segment)):
        reasons |= WAITED
    return reasons


def note_pause(
    message: Message, own: Side, previous: Previous, packet: Packet, pause: i64, rtt: i64, reasons: i64, cutoffs: Cutoffs
) -> None:  # fmt: skip
    """Count a burst (packets without a long pause between them) of a response body.

    Also record a long `pause` (ns) before the burst if `reasons`, the result of `explain_pause`, has all bits of APPLICATION.
    `rtt`: the round trip in ns.
    """
    pauses = message.noted_pauses()
    pauses.bursts += 1
    if reasons != APPLICATION:
        return
    if pause >= cutoffs.min_pause:
        stamp = packet.stamp
        pauses.open.append(Pause(previous.frame, previous.time, packet.frame, packet.time, rtt, previous.stamp, stamp))
        if len(pauses.open) == MAX_OPEN:
            settle_pauses(pauses, own)
    if pause >= cutoffs.min_event_pause and message.pieces is not None and message.pieces.is_timed:
        message.pieces.paused(packet.frame, (previous.frame, previous.time), rtt, emptied=previous.small)


def note_pause_after_head(
    message: Message | None, segment: Segment, previous: Previous, own: Side, peer: Side, packet: Packet, cutoffs: Cutoffs
) -> None:
    """Record a long pause between the head and the body of a response if all evidence shows that the application paused."""
    pause = packet.time - previous.time
    if message is None or pause < cutoffs.min_pause_after_head or message.id != previous.message:
        return
    if explain_pause(pause, segment, previous, own, peer, packet) != APPLICATION:
        return
    stamp, rtt = packet.stamp, whole_round_trip(segment)
    found = Pause(previous.frame, previous.time, packet.frame, packet.time, rtt, previous.stamp, stamp)
    found.after_head = True
    message.noted_pauses().open.append(found)


def settle_pauses(pauses: Pauses, own: Side) -> None:
    """Count the undecided pauses, except those that the sender's clock shows to be delays in transit."""
    for pause in pauses.open:
        length = pause.end - pause.time
        by_clock = clocks.elapsed(own, pause.stamp, pause.end_stamp)
        if not clocks.agrees(own, by_clock, length, pause.rtt):
            continue
        if not pause.after_head:
            pauses.application += 1
            pauses.total = min(pauses.total + length, FOREVER)
        if pauses.application <= 3:
            pauses.frames += [pause.frame, pause.end_frame]
            pauses.times += [pause.time, pause.end]
            is_shown = by_clock != NEVER and 2 * by_clock >= length - pause.rtt  # a coarse clock may not have advanced
            pauses.by_clock.append(by_clock if is_shown else NEVER)
    pauses.open = []


def continue_burst(
    conversation: Conversation, reader: Reader, segment: Segment, number: i64, size: i64, pause: i64, reasons: i64,
    previous: Previous | None, own: Side, packet: Packet,
) -> None:  # fmt: skip
    """Add a packet to the current burst of its direction, or begin a new burst."""
    burst = reader.burst
    if burst is None or burst.message != number or pause != NEVER:
        index: i64 = 0
        if burst is not None:
            write_burst(conversation, reader, burst, own)
            if burst.message == number:
                index = burst.index + 1
        part = segment.part
        exchange = part.exchange
        if part.message == NEVER and burst is not None:
            exchange = burst.exchange
        burst = reader.burst = Burst(number, exchange, index, packet)
        if pause != NEVER and previous is not None:
            burst.pause, burst.pause_frame, burst.reasons = pause, previous.frame, reasons
            burst.late = clocks.lateness(own, packet)
    burst.last_frame, burst.end, burst.last_stamp = packet.frame, packet.time, packet.stamp
    burst.bytes += size
    burst.segments += 1
    burst.largest = max(burst.largest, packet.length)
    if segment.part.ends_message:
        write_burst(conversation, reader, burst, own)
        reader.burst = None


def write_last(conversation: Conversation, reader: Reader) -> None:
    """Write the row of the last burst of a direction, if that row has not been written yet."""
    if reader.burst is not None:
        write_burst(conversation, reader, reader.burst, conversation.side_of(reader.direction))


def write_burst(conversation: Conversation, reader: Reader, burst: Burst, own: Side) -> None:
    """Write a row of `bursts` if that table was requested."""
    rows = conversation.http.bursts
    if rows is None:
        return
    rows.add(
        [
            conversation.number,
            reader.direction,
            burst.message,
            burst.exchange,
            burst.index,
            burst.first_frame,
            burst.last_frame,
            burst.start,
            burst.end,
            burst.bytes,
            burst.segments,
            burst.largest,
            burst.pause,
            burst.pause_frame,
            burst.reasons,
            burst.late,
            clocks.elapsed(own, burst.stamp, burst.last_stamp),
        ]
    )
