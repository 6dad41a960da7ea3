"""Find data that a side sends repeatedly because it is not acknowledged, or because the ACKs do not arrive.

Also find keep-alive probes without an answer, if their sender waits for the rest of a message; and data that was sent only once,
if the peer answered it with the RST of a host that does not know the connection.

If a side's lowest unacknowledged data was sent often enough, a row is written when the data is acknowledged after all, or when
the connection or the capture ends. State is created at the first retransmission of that data (repetition.py).

Data may also be lost before the capture point every time it is sent. Then the capture has no copy, but the sequence numbers of
other packets show that the data was sent. The row of such data has 0 copies.
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64

from wiredoctor.core.capture.packet import Packet
from wiredoctor.core.cutoffs import Cutoffs
from wiredoctor.core.rows.cells import Rows
from wiredoctor.core.tcp import damage
from wiredoctor.core.tcp.connection import Close, Connection, Side, waits_of
from wiredoctor.core.tcp.flight import find_first
from wiredoctor.core.tcp.origins import UNKNOWN, fin_origin, rst_origin
from wiredoctor.core.tcp.repetition import (
    begin,
    begin_missing,
    begin_probing,
    find_missing,
    is_answered_early,
    lacks_timestamps,
    silence_of,
)
from wiredoctor.core.tcp.segment import FIN, FOREVER, NEVER, RST, SYN, Segment
from wiredoctor.core.tcp.waits import DataError, Repetition

UNACKNOWLEDGED: Final = (
    *("connection", "direction", "role", "exchange", "http", "handshake", "rtt_own", "rtt_peer", "length", "fin"),
    *("keep_alive", "answers", "fin_follows"),
    *("acknowledged_before", "copies", "first_frame", "first_time", "second_frame", "second_time", "last_frame", "last_time"),
    *("acknowledged_frame", "smallest_unacknowledged", "largest_acknowledged", "sack_frame", "sack_time"),
    *("heard_frame", "heard_time", "peer_frame", "peer_time", "peer_unseen", "peer_repeats", "window_closed", "rest"),
    *("message_continued", "message_owed", "own_close_frame", "own_close_time", "own_close_rst", "own_close_origin"),
    *("peer_close_frame", "peer_close_time", "peer_close_rst", "peer_close_origin", "peer_rst_unknown"),
    *("icmp_frame", "icmp_time", "bare", "reset_mac"),
    *("address_bytes", "icmp_router_high", "icmp_router_low", "icmp_type", "icmp_code", "icmp_mtu"),
    *("damaged_copies", "wrong_checksum", "frame", "time"),
)
"""The names of the columns that a row of `unacknowledged` contains."""

WAITS_FOR_ACK: Final = 3_000_000_000
"""The time in ns for which an ACK is awaited before a row is written early (see EARLY_ROW_COPIES)."""
EARLY_ROW_COPIES: Final = 4
"""If data was sent this many times, its row may be written early: before it is known whether the data is acknowledged."""
REPEATS: Final = 3
"""If a side sends acknowledged data at least this many times, even small ACKs seem not to reach it.

Fewer repetitions do not show that, because one ACK may have been lost.
"""
NO_ERROR: Final = DataError(NEVER, NEVER, NEVER)


class Repetitions:
    """Tracks data that is sent repeatedly or is missing from the capture, in all connections.

    If `is_early` is true, a row about such data is written after a few seconds, even if the data may still be acknowledged.
    """

    def __init__(self, cutoffs: Cutoffs) -> None:
        self.cutoffs: Cutoffs = cutoffs
        self.rows: Rows = Rows(len(UNACKNOWLEDGED))
        self.is_early: bool = False
        self.pending: list[Pending] = []
        """The rows that are to be written before their connections end, in the order of the times at which they are due."""

    def note_copy(self, connection: Connection, own: Side, peer: Side, packet: Packet, segment: Segment) -> None:
        """Count a segment that repeats its side's lowest unacknowledged data, or data that was already acknowledged."""
        end = segment.offset + packet.length
        if packet.flags & FIN:
            end += 1
        acknowledged = peer.acknowledged
        if acknowledged == NEVER or acknowledged < segment.offset or packet.flags & (SYN | RST):
            return
        was_acknowledged = end <= acknowledged
        start = segment.offset if was_acknowledged else acknowledged
        waits = waits_of(own)
        repetition = waits.repetition
        if repetition is None or repetition.start != start or repetition.was_acknowledged != was_acknowledged:
            repetition = begin(connection, own, peer, packet, segment.mss, segment.direction, start, was_acknowledged)
            waits.repetition = repetition
        repetition.copies += 1
        repetition.bare += lacks_timestamps(connection, packet)
        repetition.last_frame, repetition.last_time = packet.frame, packet.time
        if repetition.copies == EARLY_ROW_COPIES and self.is_early:
            self.pending.append(Pending(packet.clock + WAITS_FOR_ACK, connection, repetition, segment.direction))

    def note_missing(self, connection: Connection, own: Side, peer: Side, packet: Packet, segment: Segment) -> None:
        """Record a packet whose sender must have sent earlier data that was not captured."""
        waits = waits_of(own)
        missing = waits.missing
        start, end = find_missing(own)
        if missing is not None and missing.start != start:
            self.withdraw(connection, segment.direction, missing, packet.frame, packet.clock)
        if start == NEVER or peer.acknowledged == NEVER or packet.flags & (SYN | RST):
            if start == NEVER:
                waits.missing = None
            return
        if missing is None or missing.start != start:
            waits.missing = missing = begin_missing(connection, packet, segment, start)
        missing.length = end - start
        missing.last_frame, missing.last_time = packet.frame, packet.time
        missing.is_answered_early = is_answered_early(connection, segment.direction)
        if missing.second_frame == NEVER and peer.close is not None:
            missing.second_frame, missing.second_time = packet.frame, packet.time
            if self.is_early:
                self.pending.append(Pending(packet.clock + WAITS_FOR_ACK, connection, missing, segment.direction))

    def note_probe(self, connection: Connection, own: Side, peer: Side, packet: Packet, segment: Segment) -> None:
        """Count a keep-alive probe that the peer has not answered yet (RFC 9293 section 3.8.4)."""
        waits = waits_of(own)
        probing = waits.probing
        if probing is None or probing.start != segment.offset:
            waits.probing = begin_probing(connection, peer, packet, segment)
            return
        if probing.copies == 1:
            probing.second_frame, probing.second_time = packet.frame, packet.time
        probing.copies += 1
        probing.bare += lacks_timestamps(connection, packet)
        probing.last_frame, probing.last_time = packet.frame, packet.time
        if probing.copies == EARLY_ROW_COPIES and probing.is_owed and self.is_early:
            self.pending.append(Pending(packet.clock + WAITS_FOR_ACK, connection, probing, segment.direction))

    def answer_probes(self, connection: Connection, side: Side, probing: Repetition, packet: Packet, segment: Segment) -> None:
        """Forget the keep-alive probes of a side, because the peer sent a packet. If a row was written early, withdraw it.

        If the side has reset the connection before, the packet comes too late, and the probes remain unanswered.
        """
        if side.waits is None or (side.close is not None and side.close.rst_frame != NEVER):
            return
        side.waits.probing = None
        if probing.has_early_row:
            self.put_row(connection, 1 - segment.direction, probing, packet.frame, packet.clock)

    def note_reset(self, connection: Connection, own: Side, peer: Side, packet: Packet, segment: Segment) -> None:
        """Record an RST if it answers the peer's unacknowledged data and comes from a host that does not know the connection."""
        close, acknowledged = own.close, own.acknowledged
        if close is None or close.rst_frame != packet.frame or acknowledged == NEVER or peer.flight is None:
            return
        sent = find_first(peer.flight, acknowledged)
        if sent is None or sent.length == 0:
            return
        waits = waits_of(peer)
        repetition = waits.repetition
        if repetition is None or repetition.start != acknowledged:
            direction = 1 - segment.direction
            repetition = begin(connection, peer, own, packet, segment.mss, direction, acknowledged, False)
            repetition.second_frame, repetition.second_time = sent.frame, sent.time
            repetition.last_frame, repetition.last_time = sent.frame, sent.time
        # a packet after the data, such as an answer to a keep-alive probe, would show that the path still knew the connection
        is_silent = own.last_frame <= max(repetition.heard_frame, repetition.peer_frame)
        if is_silent and is_reset_unknown(close, peer, repetition):
            repetition.was_reset = True
            waits.repetition = repetition

    def note_peer_packet(
        self, connection: Connection, side: Side, repetition: Repetition, packet: Packet, segment: Segment
    ) -> None:
        """Record a packet that the peer of a side sent while that side repeats data.

        If the packet acknowledges the data, write the row and forget the repetition. Do neither if the data had already been
        acknowledged before it was repeated.
        """
        repetition.peer_frame, repetition.peer_time = packet.frame, packet.time
        if packet.length == 0 and repetition.copies_before_ack == 0:
            repetition.copies_before_ack = repetition.copies
        if repetition.was_acknowledged or segment.acked_bytes <= 0 or segment.ack <= repetition.start:
            return
        self.write(connection, 1 - segment.direction, packet.frame, packet.clock)
        if side.waits is not None:
            side.waits.repetition = None

    def close(self, connection: Connection, clock: i64) -> None:
        """Make the rows about unacknowledged data of a reset connection due at once, because no ACK will follow."""
        for direction in range(2):
            side = connection.first if direction == 0 else connection.second
            if side.waits is not None and side.waits.repetition is not None:
                self.pending.insert(0, Pending(clock, connection, side.waits.repetition, direction))
            if side.waits is not None and side.waits.missing is not None:
                self.pending.insert(0, Pending(clock, connection, side.waits.missing, direction))
            if side.waits is not None and side.waits.probing is not None:
                self.pending.insert(0, Pending(clock, connection, side.waits.probing, direction))

    def end(self, connection: Connection, clock: i64) -> None:
        """Write the rows of an ended connection for data that was not acknowledged, and for probes that were not answered."""
        for direction in range(2):
            self.write(connection, direction, NEVER, clock)
            self.write_missing(connection, direction, clock)
            self.write_probes(connection, direction, clock)

    def due(self) -> i64:
        """Return the time at which the next row about still unacknowledged data is due, or the constant FOREVER if none is."""
        return self.pending[0].time if self.pending else FOREVER

    def pass_time(self, clock: i64) -> None:
        """Write the rows about still unacknowledged data that are due at the watermark `clock`, before the connection ends."""
        while self.pending and self.pending[0].time <= clock:
            pending = self.pending.pop(0)
            connection = pending.connection
            side = connection.first if pending.direction == 0 else connection.second
            if side.waits is not None and side.waits.repetition is pending.repetition:
                self.write(connection, pending.direction, NEVER, pending.time)
            elif side.waits is not None and side.waits.missing is pending.repetition:
                self.write_missing(connection, pending.direction, pending.time)
            elif side.waits is not None and side.waits.probing is pending.repetition:
                self.write_probes(connection, pending.direction, pending.time)

    def write(self, connection: Connection, direction: i64, frame: i64, clock: i64) -> None:
        """Write the row about data that a direction repeats, if the data was sent often enough or was answered with an RST.

        `frame`: the packet with the ACK that ends the repetition, or NEVER.
        """
        own = connection.first if direction == 0 else connection.second
        if own.waits is None or own.waits.repetition is None:
            return
        repetition = own.waits.repetition
        if repetition.copies < self.cutoffs.min_copies and not repetition.was_reset:
            return
        if repetition.was_acknowledged and has_gone_on(own, repetition):
            return
        self.put_row(connection, direction, repetition, frame, clock)

    def write_missing(self, connection: Connection, direction: i64, clock: i64) -> None:
        """Write a direction's row for data that was neither captured nor acknowledged by the peer."""
        own, peer = connection.sides(direction)
        if own.waits is None or own.waits.missing is None:
            return
        missing = own.waits.missing
        start, end = find_missing(own)
        if start != missing.start or peer.acknowledged > start:
            self.withdraw(connection, direction, missing, missing.last_frame, clock)
            return
        missing.has_early_row = self.is_early
        missing.length = end - start
        missing.rest = silence_of(connection, own, peer, missing)
        self.put_row(connection, direction, missing, NEVER, clock)

    def write_probes(self, connection: Connection, direction: i64, clock: i64) -> None:
        """Write a direction's row for unanswered keep-alive probes.

        The peer still had to send the rest of a message, or the side that sent the probes then reset the connection.
        """
        own = connection.first if direction == 0 else connection.second
        if own.waits is None or own.waits.probing is None:
            return
        probing = own.waits.probing
        has_given_up = own.close is not None and own.close.rst_frame > probing.last_frame
        if (probing.is_owed or has_given_up) and probing.copies >= self.cutoffs.min_copies:
            probing.has_early_row = self.is_early
            self.put_row(connection, direction, probing, NEVER, clock)

    def withdraw(self, connection: Connection, direction: i64, missing: Repetition, frame: i64, clock: i64) -> None:
        """Write a row that withdraws an earlier row about missing data, because the data arrived or was acknowledged after all.

        Do nothing if there is no earlier row. In the new row, `frame` is the packet that acknowledged the data or showed that it
        arrived. If there is none, `frame` is the last packet that showed that the data was missing.
        """
        if missing.has_early_row:
            missing.has_early_row = False
            self.put_row(connection, direction, missing, frame, clock)

    def put_row(self, connection: Connection, direction: i64, repetition: Repetition, frame: i64, clock: i64) -> None:
        """Write a row. `frame`: the ACK that ends the repetition, or NEVER. `clock`: the watermark (Packet.clock)."""
        own, peer = connection.sides(direction)
        error = None if own.waits is None else own.waits.error
        if error is None or error.offset < repetition.start:
            error = NO_ERROR
        self.rows.add(
            [
                connection.id,
                direction,
                role_of(connection, direction),
                repetition.exchange,
                repetition.is_http,
                connection.has_both_syns,
                own.rtt,
                peer.rtt,
                repetition.length,
                repetition.is_fin,
                repetition.is_probe,
                repetition.is_answer,
                is_before_fin(own, repetition),
                repetition.was_acknowledged,
                repetition.copies,
                repetition.first_frame,
                repetition.first_time,
                repetition.second_frame,
                repetition.second_time,
                repetition.last_frame,
                repetition.last_time,
                frame,
                *describe_sizes(own, peer, repetition),
                repetition.heard_frame,
                repetition.heard_time,
                repetition.peer_frame,
                repetition.peer_time,
                peer.unseen_bytes > repetition.unseen_bytes,
                repeats_too(peer),
                peer.window == 0,
                repetition.rest,
                repetition.is_continued,
                repetition.is_owed,
                *describe_close(own, peer),
                *describe_close(peer, own),
                is_reset_unknown(peer.close, own, repetition),
                error.frame,
                error.time,
                repetition.bare,
                NEVER if peer.close is None else peer.close.rst_mac,
                error.address_bytes,
                error.high,
                error.low,
                error.type,
                error.code,
                error.mtu,
                damage.count_all_damaged(own, repetition.start, repetition.copies),
                damage.wrong_checksum(own),
                repetition.last_frame if frame == NEVER else frame,
                clock,
            ]
        )


def describe_sizes(own: Side, peer: Side, repetition: Repetition) -> list[int]:
    """Return the lengths of two segments, and the frame and time of the peer's newest SACK.

    The segments are the shortest unacknowledged and the longest acknowledged one.
    """
    waits = peer.waits
    sack_frame: i64 = NEVER
    sack_time: i64 = NEVER
    sacked: list[int] = []
    if waits is not None and waits.sack_frame > repetition.first_frame and waits.sack_start > repetition.start:
        sack_frame, sack_time, sacked = waits.sack_frame, waits.sack_time, waits.sacked
    if repetition.copies == 0:
        smallest, largest = repetition.mss, longest_of(own)
    elif repetition.is_probe:
        smallest, largest = i64(0), longest_of(own)
    else:
        smallest, largest = segment_sizes(own, repetition, sacked)
    return [smallest, largest, sack_frame, sack_time]


def repeats_too(peer: Side) -> bool:
    """Return whether the peer repeats data that was acknowledged, so the ACKs do not reach it."""
    other = None if peer.waits is None else peer.waits.repetition
    return other is not None and misses_acks(other) and not has_gone_on(peer, other)


def describe_close(own: Side, peer: Side) -> list[int]:
    """Return four facts about a side's first FIN, or about its first RST if it sent no FIN.

    They are its frame, its time, whether it is an RST, and its origin: an index of origins.ORIGINS.
    """
    close = own.close
    if close is None:
        return [NEVER, NEVER, False, UNKNOWN]
    if close.fin_frame == NEVER and close.rst_frame != NEVER:
        return [close.rst_frame, close.rst_time, True, rst_origin(own, close)]
    return [close.fin_frame, close.fin_time, False, fin_origin(own, peer, close)]


class Pending:
    """A row about unacknowledged data that is written at the watermark `time` unless the data has been acknowledged by then."""

    def __init__(self, time: i64, connection: Connection, repetition: Repetition, direction: i64) -> None:
        self.time: i64 = time
        self.connection: Connection = connection
        self.repetition: Repetition = repetition
        self.direction: i64 = direction


def longest_of(own: Side) -> i64:
    """Return the payload size in bytes of the longest captured segment of a side."""
    return i64(0) if own.previous is None else own.previous.longest


def is_before_fin(own: Side, repetition: Repetition) -> bool:
    """Return whether a FIN of a side follows directly after the repeated data, in the same packet or a later one."""
    close = own.close
    if close is None or close.fin_offset == NEVER or repetition.length == 0:
        return False
    return close.fin_offset == repetition.start + repetition.length


def segment_sizes(own: Side, repetition: Repetition, sacked: list[int]) -> tuple[i64, i64]:
    """Return the payload sizes in bytes of the shortest unacknowledged and the longest acknowledged segment; 0 means none.

    Data in the ranges `sacked` (the start and end of each in turn) counts as acknowledged. An offload super-segment counts as
    several full segments and a remainder.
    """
    smallest: i64 = 0
    largest: i64 = 0
    if own.previous is not None:
        largest = own.previous.longest_forgotten
    if own.flight is None:
        return smallest, largest
    for sent in own.flight.segments:
        if sent.length <= 0:
            continue
        if sent.end <= repetition.start or is_within(sacked, sent.start, sent.end):
            largest = max(largest, min(sent.length, repetition.mss))
            continue
        least = sent.length
        if least > repetition.mss:
            least = least % repetition.mss
            if least == 0:
                least = repetition.mss
        if smallest == 0 or least < smallest:
            smallest = least
    return smallest, largest


def is_within(ranges: list[int], start: i64, end: i64) -> bool:
    """Return whether one of `ranges` (the start and end of each in turn) contains all bytes from `start` to `end`."""
    at: i64 = 0
    while at + 1 < len(ranges):
        if ranges[at] <= start and end <= ranges[at + 1]:
            return True
        at += 2
    return False


def misses_acks(repetition: Repetition) -> bool:
    """Return whether even small ACKs seem not to reach a side that repeats acknowledged data.

    The side must have sent the data at least REPEATS times, at least once after the peer's first ACK without data. If the peer
    has sent no such ACK, the side must have sent the data more than REPEATS times.
    """
    least = repetition.copies_before_ack if repetition.copies_before_ack else REPEATS
    return repetition.was_acknowledged and repetition.copies >= REPEATS and repetition.copies > least


def has_gone_on(own: Side, repetition: Repetition) -> bool:
    """Return whether packets of the peer have reached a side since it began to repeat data.

    That is the case if the side has sent new data since then, or has acknowledged more data of the peer.
    """
    data = own.previous
    has_sent = data is not None and data.frame > repetition.second_frame
    return has_sent or own.acknowledged > repetition.own_acknowledged


def role_of(connection: Connection, direction: i64) -> i64:
    """Return the role of the sender in a direction: 0 client, 1 server, -1 if only ports and packet order indicate it."""
    if connection.client_certainty <= 0:
        return -1
    return 0 if connection.client == direction else 1


def is_reset_unknown(close: Close | None, own: Side, repetition: Repetition) -> bool:
    """Return whether the peer answered the repeated data with the RST of a host that does not know the connection.

    Such an RST has no ACK flag, and its sequence number is the acknowledgment number of the repeated segments.
    """
    if close is None or close.rst_frame == NEVER or close.rst_frame < repetition.first_frame:
        return False
    return close.fin_frame == NEVER and close.rst_ack == NEVER and close.rst_offset == own.acknowledged
