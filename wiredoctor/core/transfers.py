"""What limited a long message body. Its time is divided by round trips among the receiver's window, the sender's buffer, loss,
the applications and the path: the classes of Zhang et al., "On the Characteristics and Origins of Internet Flow Rates" (SIGCOMM
2002).

Everything is seen as the sender saw it, wherever the capture was taken: an ACK counts from when it had passed the way from the
capture point to the sender and back. A round trip begins with a segment and ends with the first one that the sender
could send after the ACK of that. It counts as a whole, for one class.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mypy_extensions import i64, mypyc_attr

from wiredoctor.core import clocks
from wiredoctor.core.acks import add_round_trips
from wiredoctor.core.connection import Previous, Side, Syn
from wiredoctor.core.packet import NOT_CAPTURED, Packet
from wiredoctor.core.rows import Rows
from wiredoctor.core.segment import MILLISECOND, NEVER, Segment

if TYPE_CHECKING:
    from wiredoctor.core.message import Message
    from wiredoctor.core.pairing import HttpConnection

BEGINS: Final = 10
"""Segments, and parts of the time of a long body, after which a body is watched. So many segments leave without an ACK
(RFC 6928). What is over sooner takes no state; what was before counts as the first round trip that is watched."""
LEAST: Final = 40
"""Segments from which on a body counts as long. A smaller one ends in slow start."""
NO_WAY: Final = 200_000
"""Nanoseconds. An ACK reaches a sender that is nearer at once."""
FINENESS: Final = 256
"""Parts of a round trip in which the ACKs that are on their way count as one."""
MOST_ROUNDS: Final = 1024
"""Round trips whose bytes in flight are compared; of more, every second, fourth, ... one."""
FEWEST_ROUNDS: Final = 10
SHORTEST_GAP: Final = MILLISECOND // 2
"""What comes that much later than the data before it was sent for a reason of its own: an ACK, or something to send."""
SHORTEST_PAUSE: Final = 10 * MILLISECOND
LONGEST: Final = 1 << 40
"""Microseconds, and nanoseconds of a round trip: products with bytes must fit 64 bits."""

TRANSFERS: Final = (
    *("connection", "direction", "role", "exchange", "frame", "time", "length", "first_frame", "start"),
    *("handshake", "has_gap", "receive_window", "send_buffer", "loss", "application", "path"),
    *("rtt", "ceiling", "in_flight", "in_flight_frame", "in_flight_time"),
    *("largest_window", "window", "window_frame", "window_time", "filled_frame", "filled_time"),
    *("scaling_own", "scaling_peer", "syn_own_frame", "syn_own_time", "syn_peer_frame", "syn_peer_time"),
)
"""Cells of a row of `transfers`."""


@mypyc_attr(acyclic=True)
class Ack:
    """What an ACK says; `time` is that of the first of several that count as one."""

    def __init__(self, frame: i64, time: i64, ack: i64, edge: i64) -> None:
        self.frame: i64 = frame
        self.time: i64 = time
        self.ack: i64 = ack
        self.edge: i64 = edge


@mypyc_attr(acyclic=True)
class Known:
    """What a sender knows of its receiver: the newest ACK that has reached it, and those on their way to it."""

    def __init__(self) -> None:
        self.ack: i64 = NEVER
        self.edge: i64 = NEVER
        """Offset after the window that it announced; NEVER while the scale of windows is unknown."""
        self.frame: i64 = NEVER
        self.time: i64 = NEVER
        self.reached: i64 = NEVER
        """When it reached the sender and what that sent then passed the capture point."""
        self.coming: list[Ack] = []
        self.first: i64 = 0
        """Index of the first of these that is on its way."""
        self.last: Ack | None = None
        """The last one of them."""

    def passes(self, frame: i64, time: i64, ack: i64, edge: i64, way: i64) -> None:
        """Note an ACK that takes `way` to the sender and back to the capture point."""
        last = self.last
        if last is not None and time - last.time < way // FINENESS:
            last.frame = frame
            last.ack = ack
            last.edge = edge
        elif way <= NO_WAY:
            self.frame = frame
            self.time = time
            self.ack = max(ack, self.ack)
            self.edge = edge
            self.reached = time + way
        else:
            self.last = last = Ack(frame, time, ack, edge)
            self.coming.append(last)

    def wait(self, now: i64, way: i64) -> None:
        """Let the ACKs reach the sender that have had the time for it."""
        coming = self.coming
        i, count = self.first, i64(len(coming))
        while i < count and coming[i].time + way <= now:
            i += 1
        self.take(i, way)

    def take(self, count: i64, way: i64) -> None:
        """Let the first ACKs reach the sender, up to the one before this index."""
        if count == self.first:
            return
        coming = self.coming
        newest = coming[count - 1]
        self.frame = newest.frame
        self.time = newest.time
        self.ack = max(newest.ack, self.ack)
        self.edge = newest.edge
        self.reached = newest.time + way
        self.first = count
        if count == len(coming):
            self.coming = []
            self.first = 0
            self.last = None
        elif count > FINENESS:
            self.coming = coming[count:]
            self.first = 0

    def allow(self, end: i64, now: i64) -> i64:
        """Let the first ACK reach the sender now that allows it to send up to `end`; return how long it took, NEVER if there
        is none."""
        coming = self.coming
        i, count = self.first, i64(len(coming))
        while i < count and coming[i].edge < end:
            i += 1
        if i == count:
            return NEVER
        way = now - coming[i].time
        self.take(i + 1, way)
        return way

    def releases(self, now: i64, way: i64) -> bool:
        """Return whether an ACK reached the sender just before it sent what passes now."""
        near = max(MILLISECOND, way // 64)
        if now - self.reached <= near:
            return True
        return self.first < len(self.coming) and self.coming[self.first].time + way - now <= near


@mypyc_attr(acyclic=True)
class Round:
    """A round trip of a body so far."""

    def __init__(self) -> None:
        self.start: i64 = NEVER
        self.mark: i64 = NEVER
        """The ACK of this offset ends it."""
        self.flight: i64 = 0
        """The most bytes that were in flight."""
        self.room: i64 = NEVER
        """The room in the window that these left; NEVER if it is unknown."""
        self.is_filled: bool = False
        """The receiver's window was full."""
        self.is_unread: bool = False
        """It was full, and smaller than before: the receiver's application had not read."""
        self.has_closed: bool = False
        """It closed, and the sender waited for that."""
        self.has_loss: bool = False
        self.has_pause: bool = False
        """The sender's application let it wait."""
        self.bursts: i64 = 0
        """Runs of segments without a gap."""
        self.released: i64 = 0
        """Those that an ACK released."""
        self.ends: i64 = 0
        """Those that none released, after a small segment that left room: the sender had nothing more to send."""
        self.gap: i64 = 0
        """The longest time without a segment."""

    def begin(self, start: i64, mark: i64) -> None:
        """Begin the next one."""
        self.start = start
        self.mark = mark
        self.flight = 0
        self.room = NEVER
        self.is_filled = self.is_unread = self.has_closed = self.has_loss = self.has_pause = False
        self.bursts = self.released = self.ends = self.gap = 0


@mypyc_attr(acyclic=True)
class Transfer:
    """A body that is watched: where the time of its round trips went, in nanoseconds. `close` adds `send_buffer` and `path`."""

    def __init__(self) -> None:
        self.known: Known = Known()
        self.round: Round = Round()
        self.flights: list[int] = []
        """Bytes in flight in round trips that nothing seemed to limit."""
        self.stride: i64 = 1
        """These are every first, second, fourth, ... of them."""
        self.skipped: i64 = 0
        self.steady: i64 = 0
        """The time of these round trips."""
        self.bursts: i64 = 0
        """Runs of segments in them."""
        self.released: i64 = 0
        """Those that an ACK released."""
        self.receive_window: i64 = 0
        self.send_buffer: i64 = 0
        self.ceiling: i64 = 0
        """What was in flight in that time."""
        self.loss: i64 = 0
        self.application: i64 = 0
        self.not_read: i64 = 0
        """Of the applications' time, the receiver's."""
        self.path: i64 = NEVER
        """NEVER until the body is closed."""
        self.way: i64 = 0
        """Round trip from the capture point to the sender."""
        self.longest_way: i64 = LONGEST
        """Not longer than this: within it the sender knew of an ACK that it needed."""
        self.has_doubt: bool = False
        """That was much less than any round trip that was measured: nobody knows what the sender knew."""
        self.rtt: i64 = 0
        """The whole round trip."""
        self.mss: i64 = 0
        self.is_first: bool = True
        """The first round trip began with the body, and may be several."""
        self.gap_time: i64 = NEVER
        self.stops: bool = False
        """The newest segment was small, and left room."""
        self.largest: i64 = 0
        """The largest window that reached the sender."""
        self.flight: i64 = 0
        self.flight_frame: i64 = NEVER
        self.flight_time: i64 = NEVER
        self.window: i64 = NEVER
        """The largest window that was full for a round trip."""
        self.window_frame: i64 = NEVER
        self.window_time: i64 = NEVER
        self.filled_frame: i64 = NEVER
        self.filled_time: i64 = NEVER

    def acknowledges(self, own: Side, packet: Packet, segment: Segment) -> None:
        """Note a packet of the receiver."""
        if segment.acked_bytes > 0 or own.window_edge != self.known.edge:
            self.known.passes(packet.frame, packet.time, own.acknowledged, own.window_edge, self.way)

    def sends(self, own: Side, peer: Side, packet: Packet, segment: Segment) -> None:
        """Note a packet of the sender with payload."""
        known, now, previous = self.known, self.round, own.previous
        if known.last is not None:
            known.wait(packet.time, self.way)
        end = segment.offset + packet.length
        if segment.new_bytes == 0:
            # a copy for which there was no room probes a closed window
            if segment.retransmission and packet.length > 1 and (known.edge == NEVER or end <= known.edge):
                now.has_loss = True
            return
        if segment.opens_gap and self.gap_time == NEVER:
            self.gap_time = packet.time
        elif segment.fills_gap and self.gap_time != NEVER:
            if packet.time - self.gap_time >= self.rtt // 2:
                now.has_loss = True
            if own.gaps is None:
                self.gap_time = NEVER
        if previous is not None and packet.time - previous.time >= SHORTEST_GAP:
            self.wait(previous, own, peer, packet, segment)
        if known.ack >= now.mark:
            self.end_round(packet.time)
            self.measure(segment)
            now.begin(packet.time, end)
        if end > segment.highest_before:
            self.fill(packet, segment, end)

    def measure(self, segment: Segment) -> None:
        """Take note of shorter round trips."""
        if segment.rtt_own != NEVER and segment.rtt_peer != NEVER:
            self.way = min(max(segment.rtt_own, 0), self.longest_way)
            self.rtt = min(add_round_trips(self.way, segment.rtt_peer), LONGEST)

    def wait(self, previous: Previous, own: Side, peer: Side, packet: Packet, segment: Segment) -> None:
        """Note why a segment came later than the one before it: for an ACK, or because there was nothing to send."""
        known, now = self.known, self.round
        now.bursts += 1
        gap = packet.time - previous.time
        now.gap = max(gap, now.gap)
        if self.gap_time != NEVER:
            return
        if peer.short_window_frame > previous.frame and gap > max(SHORTEST_PAUSE, self.rtt // 2):
            now.has_closed = True
        if known.releases(packet.time, self.way):
            now.released += 1
        elif self.stops:
            now.ends += 1
            if packet.time - previous.time > self.rtt // 4:
                now.has_pause = True
        elif packet.time - max(previous.time, known.reached) > max(SHORTEST_PAUSE, self.rtt // 2):
            # after a full segment without PSH there was more to send: what followed it was lost before the capture point
            had_room = known.edge == NEVER or known.edge - segment.highest_before >= self.mss
            if had_room and (previous.push or previous.small) and clocks.has_waited(own, packet, gap, self.rtt):
                now.has_pause = True

    def fill(self, packet: Packet, segment: Segment, end: i64) -> None:
        """Note what is in flight with a segment that ends at `end`, and what room it leaves."""
        known, now = self.known, self.round
        if known.edge != NEVER and end > known.edge:
            way = known.allow(end, packet.time)
            if way >= 0:
                self.longest_way = min(way, self.longest_way)
                if way * 10 < min(segment.rtt_own, LONGEST) * 9:
                    self.has_doubt = True
        flight = end - known.ack
        if flight > now.flight:
            now.flight = flight
        if flight > self.flight:
            self.flight, self.flight_frame, self.flight_time = flight, packet.frame, packet.time
        self.stops = False
        if known.edge == NEVER:
            return
        window = known.edge - known.ack
        if window > self.largest:
            self.largest = window
        room = known.edge - end
        if now.room == NEVER or room < now.room:
            now.room = room
        if room > self.mss + window // 4 and not segment.small:
            return
        blur = self.mss + self.blur(window)
        self.stops = segment.small and room >= self.mss + blur
        if room > blur:
            return
        if window < self.largest - self.largest // 8:
            now.is_unread = True
            return
        now.is_filled = True
        if window > self.window:
            self.window, self.window_frame, self.window_time = window, known.frame, known.time
            self.filled_frame, self.filled_time = packet.frame, packet.time

    def blur(self, window: i64) -> i64:
        """Return how many bytes of a window the time of its ACK's way to the sender leaves open: round trips vary."""
        varies = min(self.way, max(MILLISECOND, self.way // 10))
        return min(window * (varies // 1000) // max(self.rtt // 1000, 1), window // 4)

    def end_round(self, end: i64) -> None:
        """Count a round trip for what limited it."""
        now = self.round
        time = max(end - now.start, 0)
        # while queues are full a larger window or buffer would only make them longer
        is_queued = time > self.rtt + self.rtt // 4 + 2 * MILLISECOND and not self.is_first
        # but behind a queue segments follow each other all the time: after a rest it was the receiver that was late
        if is_queued and now.is_filled and now.gap > max(SHORTEST_PAUSE, self.rtt // 2):
            now.is_filled, now.is_unread = False, True
        self.is_first = False
        if now.has_loss:
            self.loss += time
        elif now.has_pause or now.ends * 2 > now.bursts:
            self.application += time
        elif now.has_closed or (now.is_unread and not now.is_filled):
            self.application += time
            self.not_read += time
        elif is_queued:
            return
        elif now.is_filled:
            self.receive_window += time
        elif now.room >= 2 * self.mss + self.blur(self.largest) and self.has_rest(now):
            self.steady += time
            self.bursts += now.bursts
            self.released += now.released
            self.keep_flight(now.flight)

    def has_rest(self, now: Round) -> bool:
        """Return whether nothing passed for a part of a round trip. Behind a queue that is never empty segments follow each other
        all the time, and the capture may not show that the queue grows."""
        return now.gap >= max(self.rtt // 8, 4 * self.rtt // max(now.flight // self.mss, 1))

    def keep_flight(self, flight: i64) -> None:
        """Keep what was in flight in a round trip."""
        self.skipped += 1
        if self.skipped < self.stride:
            return
        self.skipped = 0
        self.flights.append(flight)
        if len(self.flights) > MOST_ROUNDS:
            self.flights = self.flights[::2]
            self.stride *= 2

    def close(self, end: i64, whole: i64) -> bool:
        """End the body, which took the time `whole`; return False if nothing can be said: round trips are unknown, or time went
        back."""
        self.end_round(end)
        self.path = whole - self.receive_window - self.loss - self.application
        self.send_buffer = min(self.time_at_ceiling(whole), max(self.path, 0))
        self.path -= self.send_buffer
        return self.path >= 0 and not self.has_doubt

    def time_at_ceiling(self, whole: i64) -> i64:
        """Return the time in which what was in flight kept to a ceiling below the window, as a send buffer sets it."""
        flights = self.flights
        count = len(flights)
        # after losses it is the congestion window
        if count < FEWEST_ROUNDS or self.loss * 20 > whole:
            return 0
        middle = self.ceiling = sorted(flights)[count // 2]
        near = max(middle // 20, 2 * self.mss)
        i: i64 = 0
        while flights[i] < middle - near:
            i += 1
        there = flights[i:]
        half = len(there) // 2
        # a congestion window that is not full grows with each round trip, if slowly
        if half < FEWEST_ROUNDS // 2 or abs(sorted(there[:half])[half // 2] - sorted(there[half:])[half // 2]) > 2 * self.mss:
            return 0
        if not self.is_clocked(count) and not self.is_capped(middle):
            return 0
        kept = 0
        for flight in flights:
            if abs(flight - middle) <= near:
                kept += 1
        if kept * 10 < count * 6:
            return 0
        return self.steady // count * kept

    def is_clocked(self, count: i64) -> bool:
        """Return whether ACKs released what was sent: it did not come by a clock of the application's."""
        return self.bursts >= count and self.released * 5 >= self.bursts * 4

    def is_capped(self, middle: i64) -> bool:
        """Return whether what was in flight grew to its ceiling and was never above it. An application that writes by a clock
        falls behind while the congestion window is small, and catches up then."""
        return min(self.flights[:3]) * 10 <= middle * 7 and max(self.flights) * 10 <= middle * 11


def watch(message: Message, own: Side, peer: Side, packet: Packet, segment: Segment, least: i64) -> None:
    """Begin to watch a body that has lasted for a part of `least` and is no small one, if round trips are known."""
    if message.body_bytes < BEGINS * segment.mss:
        return
    if peer.acknowledged == NEVER or packet.time - message.body_time < least // BEGINS:
        return
    if segment.rtt_own == NEVER or segment.rtt_peer == NEVER:
        return
    transfer = message.transfer = Transfer()
    transfer.measure(segment)
    transfer.mss = segment.mss
    if own.previous is not None and own.previous.path_mss:
        transfer.mss = own.previous.path_mss
    transfer.known.passes(NEVER, message.body_time, peer.acknowledged, peer.window_edge, 0)
    now = transfer.round
    now.begin(message.body_time, segment.highest_before)
    # less than a segment per round trip, and room for more
    trips = (packet.time - message.body_time) // max(transfer.rtt, SHORTEST_PAUSE)
    had_room = peer.window_edge == NEVER or peer.window_edge - peer.acknowledged >= 2 * transfer.mss
    now.has_pause = had_room and message.body_bytes < trips * transfer.mss
    if own.previous is not None:
        transfer.wait(own.previous, own, peer, packet, segment)


def write(rows: Rows, talk: HttpConnection, message: Message, direction: i64, least: i64) -> None:
    """Write a row of `transfers` for a body that has ended, if it was long; else forget what was watched."""
    transfer = message.transfer
    if transfer is None:
        return
    whole = message.last_body_time - message.body_time
    if whole < least or message.body_bytes < LEAST * transfer.mss or not transfer.close(message.last_body_time, whole):
        message.transfer = None
        return
    connection = talk.connection
    own, peer = (connection.first, connection.second) if direction == 0 else (connection.second, connection.first)
    rows.begin()
    rows.put(connection.id)
    rows.put(direction)
    rows.put(1 if message.head.status >= 0 else 0)
    rows.put(message.exchange)
    rows.put(message.last_frame)
    rows.put(message.last_body_time)
    rows.put(message.body_bytes)
    rows.put(message.body_frame)
    rows.put(message.body_time)
    rows.put(1 if connection.has_both_syns else 0)
    rows.put(1 if message.has_gap else 0)
    rows.put(transfer.receive_window)
    rows.put(transfer.send_buffer)
    rows.put(transfer.loss)
    rows.put(transfer.application)
    rows.put(transfer.path)
    write_sizes(rows, transfer)
    write_scaling(rows, own.syn, peer.syn)
    rows.put(NEVER if own.syn is None else own.syn.frame)
    rows.put(NEVER if own.syn is None else own.syn.time)
    rows.put(NEVER if peer.syn is None else peer.syn.frame)
    rows.put(NEVER if peer.syn is None else peer.syn.time)


def write_sizes(rows: Rows, transfer: Transfer) -> None:
    """Write what was in flight, the window, and the packets that show both."""
    rows.put(transfer.rtt)
    rows.put(transfer.ceiling if transfer.send_buffer > 0 else i64(NEVER))
    rows.put(transfer.flight)
    rows.put(transfer.flight_frame)
    rows.put(transfer.flight_time)
    rows.put(transfer.largest if transfer.largest > 0 else i64(NEVER))
    rows.put(transfer.window)
    rows.put(transfer.window_frame)
    rows.put(transfer.window_time)
    rows.put(transfer.filled_frame)
    rows.put(transfer.filled_time)


def write_scaling(rows: Rows, own: Syn | None, peer: Syn | None) -> None:
    """Write whether the SYN of the sender and that of the receiver offered to scale windows (RFC 7323); -1 if it is unknown."""
    rows.put(i64(-1) if own is None or own.window_shift == NOT_CAPTURED else i64(1) if own.window_shift >= 0 else i64(0))
    rows.put(i64(-1) if peer is None or peer.window_shift == NOT_CAPTURED else i64(1) if peer.window_shift >= 0 else i64(0))
