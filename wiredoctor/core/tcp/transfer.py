"""Determine what limited the throughput of a long message body.

The time of the body is divided among the receiver's window, the sender's buffer, loss, the applications and the path. These are
the classes of Zhang et al., "On the Characteristics and Origins of Internet Flow Rates" (SIGCOMM 2002). The unit is the round
trip: it begins with a segment, and ends with the first segment sent after the ACK of that segment. Each round trip counts
completely for one class. The sender's reaction to an ACK is captured one round trip (between capture point and sender) after the
ACK, so this round trip is added to the times of ACKs.
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64, mypyc_attr

from wiredoctor.core.capture.packet import Packet
from wiredoctor.core.tcp import clocks
from wiredoctor.core.tcp.acks import add_round_trips
from wiredoctor.core.tcp.connection import SHRANK, Previous, Side
from wiredoctor.core.tcp.known_window import KnownWindow
from wiredoctor.core.tcp.segment import MILLISECOND, NEVER, Segment

MAX_ROUNDS: Final = 1024
"""The maximum number of round trips whose bytes in flight are stored.

If there are more round trips, only every second (fourth, eighth, ...) of them is stored.
"""
FEWEST_ROUNDS: Final = 10
SELDOM: Final = 4
"""A sender may exceed its send buffer a little in one of this many round trips, because kernels count memory, not bytes."""
SHORTEST_GAP: Final = MILLISECOND // 2
"""If a segment comes at least this many ns after the previous one, something triggered it: an ACK, or new data to send."""
SHORTEST_PAUSE: Final = 10 * MILLISECOND
LONGEST: Final = 1 << 40
"""The maximum round trip in ns, so that its products with numbers of bytes fit in 64 bits."""


@mypyc_attr(acyclic=True)
class Round:
    """The current round trip of a body, and what may have limited the sender in it."""

    def __init__(self) -> None:
        self.start: i64 = NEVER
        self.mark: i64 = NEVER
        """The offset whose ACK ends the round trip."""
        self.acked: i64 = NEVER
        """The time at which the ACK of `mark` reached the sender."""
        self.flight: i64 = 0
        """The maximum number of bytes in flight."""
        self.room: i64 = NEVER
        """The minimum room left in the window, in bytes, or NEVER if unknown."""
        self.is_filled: bool = False
        """True if the receiver's window was full."""
        self.is_unread: bool = False
        """True if the window was full and smaller than before: the receiving application did not read."""
        self.has_closed: bool = False
        """True if the window closed and the sender waited for it to open."""
        self.has_loss: bool = False
        self.has_pause: bool = False
        """True if the sending application paused."""
        self.bursts: i64 = 0
        """The number of bursts: groups of segments that follow each other without a gap."""
        self.released: i64 = 0
        """The number of bursts that were sent when an ACK arrived."""
        self.ends: i64 = 0
        """The number of bursts that followed a lack of data: the segment before them was small and left room in the window.

        Bursts in `released` are not counted.
        """
        self.gap: i64 = 0
        """The longest time in ns without a segment."""

    def begin(self, start: i64, mark: i64) -> None:
        """Begin the next round trip at time `start`; it ends with the ACK of offset `mark`."""
        self.start = start
        self.mark = mark
        self.acked = NEVER
        self.flight = 0
        self.room = NEVER
        self.is_filled = self.is_unread = self.has_closed = self.has_loss = self.has_pause = False
        self.bursts = self.released = self.ends = self.gap = 0


@mypyc_attr(acyclic=True)
class Transfer:
    """A long body, and the times in ns during which each limit (window, buffer, loss, application, path) determined its rate.

    `close` sets the times `send_buffer` and `path`; the other times are updated at the end of each round trip.
    """

    def __init__(self) -> None:
        self.known: KnownWindow = KnownWindow()
        self.round: Round = Round()
        self.flights: list[int] = []
        """The bytes in flight, for each round trip in which no limit was apparent."""
        self.stride: i64 = 1
        """The distance between round trips in `flights`: 1 if all are stored, 2 if every second one is, then 4, 8, ..."""
        self.skipped: i64 = 0
        self.steady: i64 = 0
        """The total time in ns of the round trips without an apparent limit."""
        self.bursts: i64 = 0
        """The number of bursts in the round trips without an apparent limit."""
        self.released: i64 = 0
        """The number of `bursts` that were sent when an ACK arrived."""
        self.receive_window: i64 = 0
        self.send_buffer: i64 = 0
        self.ceiling: i64 = 0
        """The median of the bytes in flight in the round trips without an apparent limit."""
        self.loss: i64 = 0
        self.application: i64 = 0
        self.not_read: i64 = 0
        """The part of `application` (ns) during which the receiving application did not read."""
        self.path: i64 = NEVER
        """The time in ns during which the path limited the transfer rate; NEVER until the body has ended."""
        self.way: i64 = 0
        """The round trip in ns from the capture point to the sender."""
        self.longest_way: i64 = LONGEST
        """The upper bound of `way` in ns: the shortest time from an ACK to data for which this ACK first made room."""
        self.has_doubt: bool = False
        """True if `longest_way` was ever more than a tenth below the measured round trip to the sender.

        Then it is uncertain which ACKs had reached the sender.
        """
        self.rtt: i64 = 0
        """The round trip in ns between both ends."""
        self.mss: i64 = 0
        self.is_first: bool = True
        """True during the first tracked period: it began with the body, and may consist of several round trips."""
        self.gap_time: i64 = NEVER
        self.stops: bool = False
        """True if the newest segment was small and left room in the window."""
        self.largest: i64 = 0
        """The largest window in bytes that the sender knew."""
        self.flight: i64 = 0
        self.flight_frame: i64 = NEVER
        self.flight_time: i64 = NEVER
        self.window: i64 = NEVER
        """The largest window in bytes that was full for a round trip."""
        self.window_frame: i64 = NEVER
        self.window_time: i64 = NEVER
        self.filled_frame: i64 = NEVER
        self.filled_time: i64 = NEVER

    def acknowledges(self, own: Side, packet: Packet, segment: Segment) -> None:
        """Record a packet from the receiver; `own` is the receiver's side."""
        if segment.acked_bytes > 0 and self.round.acked == NEVER and own.acknowledged >= self.round.mark:
            self.round.acked = packet.time + self.way
        if segment.acked_bytes > 0 or own.window_edge != self.known.edge:
            self.known.passes(packet.frame, packet.time, own.acknowledged, own.window_edge, self.way)

    def sends(self, own: Side, peer: Side, packet: Packet, segment: Segment) -> None:
        """Record a packet with payload from the sender; `own` is the sender's side."""
        known, now, previous = self.known, self.round, own.previous
        if known.last is not None:
            known.wait(packet.time, self.way)
        end = segment.offset + packet.length
        if segment.new_bytes == 0:
            # a retransmission without room probes a closed window
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
        if known.edge != NEVER and end > max(known.edge, segment.highest_before):
            self.allow(end, packet, segment)
        if known.ack >= now.mark:
            self.end_round(packet.time)
            self.measure(segment)
            now.begin(packet.time, end)
        if end > segment.highest_before:
            self.fill(packet, segment, end)

    def allow(self, end: i64, packet: Packet, segment: Segment) -> None:
        """Record that a segment up to offset `end` exceeds the window of the ACKs that were expected to have reached the sender.

        So a later ACK has reached it, too: the round trip to the sender is shorter than measured.
        """
        way = self.known.allow(end, packet.time)
        if way >= 0:
            self.longest_way = min(way, self.longest_way)
            if way * 10 < min(segment.rtt_own, LONGEST) * 9:
                self.has_doubt = True

    def measure(self, segment: Segment) -> None:
        """Set `way` and `rtt` to the current round trips of the connection."""
        if segment.rtt_own != NEVER and segment.rtt_peer != NEVER:
            self.way = min(max(segment.rtt_own, 0), self.longest_way)
            self.rtt = min(add_round_trips(self.way, segment.rtt_peer), LONGEST)

    def wait(self, previous: Previous, own: Side, peer: Side, packet: Packet, segment: Segment) -> None:
        """Record why a segment did not follow the previous one at once: it waited for an ACK, or the application paused."""
        known, now = self.known, self.round
        now.bursts += 1
        gap = packet.time - previous.time
        now.gap = max(gap, now.gap)
        if self.gap_time != NEVER:
            return
        # a window that always has the same size has no room because of the data in flight, not because of unread data
        is_short = peer.short_window_frame > previous.frame and peer.widest_window == SHRANK
        if is_short and gap > max(SHORTEST_PAUSE, self.rtt // 2):
            now.has_closed = True
        if known.releases(packet.time, self.way):
            now.released += 1
        elif self.stops:
            now.ends += 1
            if packet.time - previous.time > self.rtt // 4:
                now.has_pause = True
        elif packet.time - max(previous.time, known.reached) > max(SHORTEST_PAUSE, self.rtt // 2):
            # after a full segment without PSH the sender had more data ready: later data was lost before the capture point
            had_room = known.edge == NEVER or known.edge - segment.highest_before >= self.mss
            if had_room and (previous.push or previous.small) and clocks.has_waited(own, packet, gap, self.rtt):
                now.has_pause = True

    def fill(self, packet: Packet, segment: Segment, end: i64) -> None:
        """Record the bytes in flight after a segment that ends at offset `end`, and whether they fill the receiver's window."""
        known, now = self.known, self.round
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
        """Return by how many bytes the measured use of the window may be wrong, because the travel times of ACKs vary."""
        varies = min(self.way, max(MILLISECOND, self.way // 10))
        return min(window * (varies // 1000) // max(self.rtt // 1000, 1), window // 4)

    def end_round(self, end: i64) -> None:
        """Count the time of the round trip that ends at `end` (ns) for the limit that slowed the sender, such as loss.

        If no limit is apparent, store the bytes in flight instead.
        """
        now = self.round
        time = max(end - now.start, 0)
        # while queues are full, a larger window or buffer would only make them longer
        longest = self.rtt + self.rtt // 4 + 2 * MILLISECOND
        is_queued = time > longest and not self.is_first
        is_late = now.acked == NEVER or now.acked - now.start > longest
        # segments that come out of a queue follow each other continuously; if there was a pause, the receiver was late
        if is_queued and now.is_filled and (is_late or now.is_unread) and now.gap > max(SHORTEST_PAUSE, self.rtt // 2):
            now.is_filled, now.is_unread = False, True
        self.is_first = False
        if now.has_loss:
            self.loss += time
        elif now.has_pause or now.ends * 2 > now.bursts:
            self.application += time
        elif now.has_closed or (now.is_unread and not now.is_filled):
            self.application += time
            self.not_read += time
        elif is_queued and now.is_filled and not now.is_unread and now.gap >= self.rtt // 4:
            # the round trip varies, but a queue would send segments all the time
            self.receive_window += time
        elif is_queued and (now.is_filled or is_late):
            # after an early ACK, the sender waited for something else: Linux refills a send buffer when a third of it is free
            return
        elif now.is_filled:
            self.receive_window += time
        elif now.room >= 2 * self.mss + self.blur(self.largest) and self.has_rest(now):
            self.steady += time
            self.bursts += now.bursts
            self.released += now.released
            self.keep_flight(now.flight)

    def has_rest(self, now: Round) -> bool:
        """Return whether no segment passed for a considerable part of the round trip `now`.

        If segments passed all the time, the path may have a standing queue, even if the round-trip times do not grow.
        """
        return now.gap >= max(self.rtt // 8, 4 * self.rtt // max(now.flight // self.mss, 1))

    def keep_flight(self, flight: i64) -> None:
        """Store the bytes in flight in a round trip.

        If there are many round trips, only every second (fourth, eighth, ...) of them is stored.
        """
        self.skipped += 1
        if self.skipped < self.stride:
            return
        self.skipped = 0
        self.flights.append(flight)
        if len(self.flights) > MAX_ROUNDS:
            self.flights = self.flights[::2]
            self.stride *= 2

    def close(self, end: i64, whole: i64) -> bool:
        """Finish a body that ended at the time `end` and took `whole` ns to transfer.

        Return False if the limits together take longer than the body, so it is uncertain what limited the transfer rate.
        """
        self.end_round(end)
        self.path = whole - self.receive_window - self.loss - self.application
        self.send_buffer = min(self.time_at_ceiling(whole), max(self.path, 0))
        self.path -= self.send_buffer
        return self.path >= 0

    def time_at_ceiling(self, whole: i64) -> i64:
        """Return the time in ns during which a send buffer seems to have limited the bytes in flight; 0 if no buffer did.

        `whole`: the duration of the body in ns.
        """
        flights = self.flights
        count = len(flights)
        # after losses, the congestion window is the ceiling
        if count < FEWEST_ROUNDS or self.loss * 20 > whole:
            return 0
        middle = self.ceiling = sorted(flights)[count // 2]
        near = max(middle // 20, 2 * self.mss)
        i: i64 = 0
        while flights[i] < middle - near:
            i += 1
        there = flights[i:]
        half = len(there) // 2
        # a congestion window that is not full grows with each round trip, even if slowly
        if half < FEWEST_ROUNDS // 2 or abs(sorted(there[:half])[half // 2] - sorted(there[half:])[half // 2]) > 2 * self.mss:
            return 0
        if not self.is_clocked(count) and not self.is_capped(middle):
            return 0
        kept = len([flight for flight in flights if abs(flight - middle) <= near])
        if kept * 10 < count * 6:
            return 0
        return self.steady // count * kept

    def is_clocked(self, count: i64) -> bool:
        """Return whether ACKs triggered most of the data. If not, the application may have written it at regular times.

        `count`: the number of round trips without an apparent limit.
        """
        return self.bursts >= count and self.released * 5 >= self.bursts * 4

    def is_capped(self, middle: i64) -> bool:
        """Return True if the bytes in flight grew to their median, `middle`, and seldom exceeded it.

        If an application writes at regular times, the bytes in flight often exceed their median: the application falls behind
        while the congestion window is small, and catches up later.
        """
        above = len([flight for flight in self.flights if flight * 10 > middle * 11])
        few = above * SELDOM <= len(self.flights) and max(self.flights) * 4 <= middle * 5
        return min(self.flights[:3]) * 10 <= middle * 7 and few
