"""Analyze a packet within its connection, in a fixed order of steps.

`follow` sets the facts about a packet that depend on its connection. Then http.py reads the new bytes and records the message to
which they belong. `write_events` writes the events that end with the packet, and stores what later packets need.
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64

from wiredoctor import limits
from wiredoctor.core.capture.checksums import Checksums
from wiredoctor.core.capture.packet import Packet
from wiredoctor.core.capture.places import Places
from wiredoctor.core.cutoffs import Cutoffs
from wiredoctor.core.rows.segment_rows import SegmentRecorder
from wiredoctor.core.rows.stall_rows import StallRows
from wiredoctor.core.tcp import (
    acks,
    clocks,
    closed_windows,
    closes,
    conflicts,
    damage,
    delivery,
    flight,
    handshake,
    history,
    nagle,
    numbers,
    origins,
    recent,
    retransmission_stalls,
    runs,
    sizes,
)
from wiredoctor.core.tcp.connection import Connection, Flight, Previous, Side
from wiredoctor.core.tcp.events import Events
from wiredoctor.core.tcp.releases import Releases
from wiredoctor.core.tcp.segment import ACK, FIN, MILLISECOND, NEVER, PSH, RST, SYN, Segment
from wiredoctor.core.tcp.unacknowledged import Repetitions
from wiredoctor.core.tcp.window_stalls import WindowStalls
from wiredoctor.limits import LimitsReached

SHORTEST_PAUSE: Final = 1_000 * MILLISECOND
"""A side was idle if it sent no new data for at least this many ns."""
FORGET_EVERY: Final = 1 << 16
"""The number of packets between two calls of `forget`. Each call drops segments that were first captured long ago."""


class TcpAnalysis:
    """Analyzes packets within their connections. `segment` and `events` belong to the current packet."""

    def __init__(self, cutoffs: Cutoffs, met: LimitsReached) -> None:
        self.cutoffs: Cutoffs = cutoffs
        self.met: LimitsReached = met
        self.segment: Segment = Segment()
        self.events: Events = Events()
        self.releases: Releases = Releases(cutoffs)
        self.stall_rows: StallRows = StallRows(cutoffs)
        self.repetitions: Repetitions = Repetitions(cutoffs)
        self.window_stalls: WindowStalls = WindowStalls(cutoffs)
        self.most_unacknowledged: i64 = limits.UNACKNOWLEDGED.value
        self.recorder: SegmentRecorder | None = None
        self.places: Places | None = None
        """Reads bytes of earlier packets; None if repeated bytes are not compared."""
        self.checksums: Checksums | None = None
        """Verifies checksums; None if they are not verified."""
        self.flights: list[Flight] = []
        """The `Flight` objects from which `forget` drops segments that are too old to be compared with retransmissions."""
        self.new_flights: list[Flight] = []
        """The `Flight` objects created since `forget` was last called. The next call skips them: they have no old segments."""
        self.next_forgetting: i64 = FORGET_EVERY

    def follow(self, connection: Connection, packet: Packet) -> None:
        """Set the facts about a packet that depend on its connection. Each field of `segment` is set by exactly one step.

        The steps are: `number` (stream offset and acknowledged offset), `read_handshake` (SYNs), `deliver` (new bytes), `learn`
        (the clock of the sender's timestamps), `see_acknowledged` (acknowledged bytes that were not captured), `acknowledge`
        (newly acknowledged data and its delay), `measure_flight` (bytes in flight and the window), `recognize_retransmission`,
        `measure_size` (full, small, or a pure ACK), `announce_window` (window update or duplicate ACK), and `close` (FIN or RST).
        """
        if packet.frame > self.next_forgetting:
            self.forget(packet.frame)
        segment = self.segment
        if packet.is_turned == connection.is_turned:
            segment.direction = 0
            own, peer = connection.first, connection.second
        else:
            segment.direction = 1
            if connection.second_frame == NEVER:
                connection.second_frame = packet.frame
            own, peer = connection.second, connection.first
        if connection.first_frame == NEVER:
            connection.first_frame = packet.frame
            connection.start = packet.time
        # frame numbers do not ascend if records were sorted by time
        if packet.frame < connection.first_frame:
            connection.first_frame = packet.frame
        if packet.frame > connection.last_frame:
            connection.last_frame = packet.frame
        connection.last_clock = packet.clock
        if packet.flags & (SYN | ACK) == SYN and own.syn is not None:
            handshake.forget_former(connection, own, peer)
        numbers.number(own, peer, packet, segment)
        if packet.flags & (SYN | RST):
            handshake.read_handshake(connection, own, packet, segment)
        delivery.deliver(connection, own, packet, segment, self.met)
        if segment.new_bytes > 0 and (own.previous is None or packet.time >= own.previous.clock_due):
            clocks.learn(own, packet.time, packet.stamp)
        delivery.see_acknowledged(connection, own, peer, packet, segment, self.met)
        acks.acknowledge(connection, own, peer, packet, segment, self.most_unacknowledged)
        sizes.measure_flight(own, peer, packet, segment)
        delivery.recognize_retransmission(own, packet, segment)
        sizes.measure_size(connection, own, peer, packet, segment)
        acks.announce_window(own, peer, packet, segment)
        if self.checksums is not None and (own.letters & damage.SETTLED == 0 or packet.flags & SYN):
            damage.note_checksum(connection, own, packet, self.checksums)
        if connection.closed:
            origins.go_on(connection, own, peer, packet, segment)
        if packet.flags & (FIN | RST):
            closes.close(connection, own, packet, segment)
            if packet.flags & RST:
                if packet.flags & ACK == 0:
                    self.repetitions.note_reset(connection, own, peer, packet, segment)
                if self.repetitions.is_early:
                    self.repetitions.close(connection, packet.clock)

    def forget(self, frame: i64) -> None:
        """Drop segments from `flights` that were first captured too long ago to be compared (see flight.forget_old).

        Their age is measured from the last multiple of FORGET_EVERY before `frame`, so every process drops the same segments.
        """
        newest = (frame - 1) // FORGET_EVERY * FORGET_EVERY
        self.flights = flight.forget_old(self.flights, newest) + self.new_flights
        self.new_flights = []
        self.next_forgetting = newest + FORGET_EVERY

    def drop_ended(self) -> None:
        """Drop the flights of ended connections, because small objects that stay keep the memory around them from being freed."""
        self.flights = [one for one in self.flights if one.side is not None]
        self.new_flights = [one for one in self.new_flights if one.side is not None]

    def write_events(self, connection: Connection, packet: Packet) -> None:
        """Write the events that end with a packet, and store what later packets need.

        `prove` finds evidence about Nagle's algorithm, and tail loss probes. `find_stalls` finds ended stalls, closed windows and
        runs of small segments. `count` updates the totals of packets and bytes. `compare_copies` finds retransmissions with
        different bytes. `learn_path_mss` learns the size of full segments. `releases` and `stall_rows` write the rows of
        segments that waited and of stalls, and `recorder` those of `segments` and `pieces`, if they were requested.
        """
        segment = self.segment
        own, peer = connection.sides(segment.direction)
        self.prove(own, peer, packet)
        self.find_stalls(connection, own, peer, packet)
        history.count(connection, own, packet, segment)
        if segment.new_bytes < packet.length and own.flight is not None and self.places is not None:
            conflicts.compare_copies(connection, own.flight, packet, segment, self.places)
        if segment.new_bytes > 0:
            sizes.learn_path_mss(connection, own, packet, segment)
        if packet.length > segment.mss:
            history.note_super_segment(connection, peer, packet)
        self.releases.write(connection, own, peer, packet, segment, self.events)
        self.stall_rows.write(connection, own, peer, packet, segment, self.events)
        if self.recorder is not None:
            self.recorder.write(connection, own, peer, packet, segment, self.events)
        self.remember(own, peer, packet)

    def prove(self, own: Side, peer: Side, packet: Packet) -> None:
        """Update the states of both sides with what a packet proves about Nagle's algorithm and tail loss probes."""
        segment, events, cutoffs, clock = self.segment, self.events, self.cutoffs, packet.clock
        events.nagle_off = False
        events.probe_frame = 0
        if own.waits is None and peer.waits is None and not segment.small_start:
            return
        if peer.waits is not None and peer.waits.nagle is not None:
            nagle.settle_claims(peer.waits.nagle, own.acknowledged, clock)
            events.probe_frame = nagle.answer_probe(peer.waits.nagle, own.acknowledged, segment)
        if own.waits is not None and own.waits.nagle is not None:
            nagle.settle_claims(own.waits.nagle, peer.acknowledged, clock)
            nagle.answer_probe(own.waits.nagle, peer.acknowledged, segment)
        if segment.small_start:
            nagle.claim_nagle_off(own, peer, packet, segment, clock)
            nagle.watch_probe(own, peer, packet, segment, cutoffs.min_probe_wait, cutoffs.max_ack_delay)
        if own.waits is not None and own.waits.nagle is not None:
            events.nagle_off = nagle.is_off(own.waits.nagle, clock)

    def find_stalls(self, connection: Connection, own: Side, peer: Side, packet: Packet) -> None:
        """Set in `events` which stall and which closed window end with a packet, and which run of small segments it continues."""
        segment, events, cutoffs = self.segment, self.events, self.cutoffs
        events.stall = events.unheard = None
        if peer.waits is not None:
            if segment.acked_bytes > 0:
                events.stall = retransmission_stalls.take_recovery(peer.waits)
            if peer.waits.repetition is not None:
                self.repetitions.note_peer_packet(connection, peer, peer.waits.repetition, packet, segment)
            if peer.waits.probing is not None:
                self.repetitions.answer_probes(connection, peer, peer.waits.probing, packet, segment)
        if segment.retransmission or segment.fills_gap:
            waits = peer.waits
            if waits is None or not self.window_stalls.take_copy(connection, own, waits, packet, segment):
                least = cutoffs.min_retransmission_delay
                retransmission_stalls.try_again(connection, own, peer, packet, segment, least, self.places)
        elif segment.full and segment.new_bytes > 0:
            if segment.opens_gap:
                retransmission_stalls.note_jump(own, peer, packet, segment)
            retransmission_stalls.note_lone(connection, own, peer, packet, segment, cutoffs.min_stall)
        if segment.keep_alive_probe:
            self.repetitions.note_probe(connection, own, peer, packet, segment)
        elif segment.retransmission or segment.overlap:
            if self.checksums is not None:
                damage.note_copy(self.checksums, own, peer, packet, segment)
            self.repetitions.note_copy(connection, own, peer, packet, segment)
            if segment.retransmission:
                least = cutoffs.min_retransmission_delay
                retransmission_stalls.note_unheard(connection, own, peer, packet, segment, least)
        if segment.new_bytes > 0 and own.waits is not None and own.waits.unheard is not None:
            events.unheard = retransmission_stalls.take_unheard(connection, own.waits, peer, packet, segment)
        is_ahead = segment.offset > segment.highest_before and segment.highest_before != NEVER
        if is_ahead or (own.waits is not None and own.waits.missing is not None):
            self.repetitions.note_missing(connection, own, peer, packet, segment)
        options: i64 = -1
        if segment.pure_ack:
            options = recent.checksum(packet)
            retransmission_stalls.count_duplicate_acks(connection, own, packet, segment, options)
        elif own.waits is not None and segment.acked_bytes > 0:
            own.waits.duplicate_acks = 0
        retransmission_stalls.note_progress(connection, packet, segment)
        connection.last_packet = packet.ip_id << 1 | segment.direction
        connection.last_options = options
        if packet.time - connection.end >= origins.REST:
            origins.note_rest(own, packet.time, packet.time - connection.end)
        connection.end = packet.time
        events.closure = None
        if own.waits is None and peer.waits is None and packet.window > 0:
            closed_windows.follow_window(own, packet, segment, cutoffs.min_closed_window)
        else:
            self.follow_windows(connection, own, peer, packet)
        events.run = None
        if segment.small_start:
            events.run = runs.continue_run(own, peer, packet, segment, cutoffs)

    def follow_windows(self, connection: Connection, own: Side, peer: Side, packet: Packet) -> None:
        """Set `events.closure` if a closed window ends with a packet. Update the closed windows of its sender and of the peer."""
        segment, events, stalls = self.segment, self.events, self.window_stalls
        waits = peer.waits
        if waits is not None:
            events.closure = closed_windows.take_closed_window(own, waits, packet, segment)
            closed_windows.count_window_probe(waits, packet, segment)
            if segment.new_bytes > 0 and (
                waits.short_window is not None or waits.refused_end != NEVER or waits.window_stall is not None
            ):
                stalls.note_new_data(connection, own, waits, packet, segment)
        if own.waits is not None and own.waits.refused_end != NEVER and segment.acked_bytes > 0:
            stalls.end_refusal(connection, own.waits, packet, segment)
        closed_windows.follow_window(own, packet, segment, self.cutoffs.min_closed_window)
        if packet.window == 0 and own.waits is not None and packet.flags & (ACK | RST) == ACK:
            stalls.note_refusal(own, peer, segment)
        if packet.flags & (FIN | RST):
            stalls.close(connection, packet)

    def end(self, connection: Connection, frame: i64, clock: i64) -> None:
        """Write the rows of an ended connection that were held back, in `releases`, `unacknowledged` and `window_stalls`."""
        if connection.first.waits is None and connection.second.waits is None:
            return
        self.releases.end(connection, frame)
        self.repetitions.end(connection, clock)
        self.window_stalls.end(connection)

    def remember(self, own: Side, peer: Side, packet: Packet) -> None:
        """Store the facts about a packet that later packets need."""
        segment = self.segment
        if packet.flags & (FIN | RST) == 0:
            ip = origins.pack_ip(packet)
            if 0 <= ip - own.ip <= origins.NEAR:
                own.ip = ip
            else:
                origins.note_change(own, packet, ip)
        own.last_frame = packet.frame
        if packet.length > 0 and not segment.keep_alive_probe:
            own.payload_frame = packet.frame
        if segment.retransmission:
            own.retransmission_frame = packet.frame
            if own.previous is not None:
                own.previous.repeated_time = packet.time
        if segment.new_bytes > 0:
            self.remember_data(own, packet)
            flight.remember_sent(own, packet, segment, self.new_flights)
        elif segment.pure_ack and segment.acked_bytes > 0 and not segment.widens_window:
            self.remember_ack(own, peer, packet)
            self.releases.watch_ack(peer, packet, segment)

    def remember_data(self, own: Side, packet: Packet) -> None:
        """Store the facts about a segment with new data, because the side's next segment may wait for the ACK of this segment."""
        segment, part = self.segment, self.segment.part
        data = own.previous
        if data is None:
            own.previous = data = Previous()
        if packet.time - data.time >= SHORTEST_PAUSE:
            data.pause_start, data.pause_end, data.pause_frame = data.time, packet.time, packet.frame
        data.stamp = packet.stamp
        data.frame = packet.frame
        data.time = packet.time
        data.end = segment.offset + packet.length
        data.length = packet.length
        data.room = NEVER
        if segment.window_room != NEVER:
            data.room = segment.window_room - packet.length
        data.message = part.last_message
        data.full = segment.full and segment.is_even
        data.small = segment.small
        data.push = packet.flags & PSH != 0
        data.last_in_flight = data.end == own.highest
        data.ends_head = part.ends_head
        data.is_chunked = part.is_chunked
        data.ends_message = part.ends_message
        if segment.acked_bytes > 0:
            data.advance_time = packet.time

    def remember_ack(self, own: Side, peer: Side, packet: Packet) -> None:
        """Store the facts about a pure ACK, because a segment of the peer may have waited for it."""
        segment = self.segment
        ack = own.previous
        if ack is None:
            own.previous = ack = Previous()
        if ack.ack_frame != NEVER:
            ack.ack_gap = packet.time - ack.ack_time
        ack.ack_frame = packet.frame
        ack.ack_time = packet.time
        ack.ack = segment.ack
        ack.advance_time = packet.time
        ack.ack_delay = segment.ack_delay
        ack.ack_bytes = segment.acked_bytes
        # a host echoes a packet's timestamp if it has acknowledged everything before that packet (RFC 7323 section 4.3)
        is_echoed = segment.ack_delay >= self.cutoffs.min_ack_delay and segment.offset <= peer.acknowledged
        ack.ack_stamp = packet.stamp if is_echoed else i64(NEVER)
