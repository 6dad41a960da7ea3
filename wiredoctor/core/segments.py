"""The recorder of tables.SEGMENTS: the full row of each segment, for what asks for it."""

from __future__ import annotations

from typing import Final

from wiredoctor.core import sizes
from wiredoctor.core.connection import Closure, Connection, PreviousAck, PreviousData, Run, Side, Stall
from wiredoctor.core.connections import sender_role
from wiredoctor.core.events import Events
from wiredoctor.core.packet import NOT_CAPTURED, Packet
from wiredoctor.core.segment import NEVER, RST, SYN, Segment

COLUMNS: Final = (
    *("frame", "time", "interface", "connection", "direction", "role", "flags", "offset", "length", "captured", "ack", "window"),
    *("ip_id", "ttl", "has_timestamps", "sack", "dsack", "new_bytes", "retransmission", "fills_hole", "opens_hole", "overlap"),
    *("keep_alive_probe", "pure_ack", "window_update", "duplicate_ack", "acked_bytes", "acks_unseen", "ack_delay"),
    *("zero_window", "handshake", "nagle_off", "probe_frame", "rtt_own", "rtt_other"),
    *("mss", "mss_announced", "full", "small", "small_start", "in_flight_before", "in_flight", "window_room"),
    *("data_before_frame", "data_before_time", "data_before_end", "data_before_length", "data_before_full", "data_before_small"),
    *("data_before_push", "data_before_last_in_flight", "data_before_room", "data_before_message", "data_before_ends_head"),
    *("data_before_ends_message", "ack_before_frame", "ack_before_time", "ack_before_ack", "ack_before_delay"),
    *("ack_before_bytes", "ack_before_gap", "quiet_since_ack", "other_data_since", "retransmission_since", "window_short_since"),
    *("ends_stall", "stall_frame", "stall_time", "stall_tries", "stall_duplicate_acks", "first_try_frame", "first_try_time"),
    *("resent_frame", "resent_time", "resent_bytes", "resent_late"),
    *("after_closed_window", "closed_frame", "closed_time", "closed_window", "window_probes", "window_probe_frame"),
    *("window_probe_time", "opened_frame", "opened_time"),
    *("small_run", "small_run_bytes", "small_run_frame", "small_run_time"),
    *("event_stream", "http", "message", "exchange", "in_body", "ends_head", "ends_message", "owes"),
)
"""Columns in the order in which values are written. All values are integers; NEVER, or -1 in narrow columns, is no value."""

NO_DATA: Final = PreviousData()
NO_ACK: Final = PreviousAck()
NO_STALL: Final = Stall()
NO_CLOSURE: Final = Closure()
NO_RUN: Final = Run()


class SegmentRecorder:
    """Rows of segments, value after value."""

    def __init__(self) -> None:
        self.values: list[int] = []

    def write(
        self, connection: Connection, own: Side, peer: Side, packet: Packet, segment: Segment, events: Events
    ) -> None:  # fmt: skip
        """Write the row of a segment, before it changes what is kept of its side."""
        self.write_packet(connection, packet, segment)
        self.write_kind(connection, packet, segment, events)
        self.write_sizes(own, peer, packet, segment)
        self.write_data(own)
        self.write_ack(own, peer)
        self.write_events(events)
        self.write_part(segment)

    def write_packet(self, connection: Connection, packet: Packet, segment: Segment) -> None:
        """Write what the headers say."""
        role = sender_role(connection, segment)
        self.values += [packet.frame, packet.time, packet.interface, connection.id, segment.direction, role, packet.flags]
        self.values += [segment.offset, packet.length, packet.captured, segment.ack, segment.window, packet.ip_id, packet.ttl]
        self.values += [packet.has_timestamps, packet.sack, packet.dsack]

    def write_kind(self, connection: Connection, packet: Packet, segment: Segment, events: Events) -> None:
        """Write what kind of segment it is."""
        is_zero = packet.window == 0 and packet.flags & (SYN | RST) == 0
        self.values += [segment.new_bytes, segment.retransmission, segment.fills_gap, segment.opens_gap, segment.overlap]
        self.values += [segment.keep_alive_probe, segment.pure_ack, segment.window_update, segment.duplicate_ack]
        self.values += [segment.acked_bytes, segment.acked_unseen, segment.ack_delay, is_zero, connection.has_both_syns]
        self.values += [events.nagle_off, events.probe_frame, segment.rtt_own, segment.rtt_peer]

    def write_sizes(self, own: Side, peer: Side, packet: Packet, segment: Segment) -> None:
        """Write sizes, and what is in flight."""
        syn = own.syn
        announced = syn is None or syn.mss > 0 or syn.mss == NOT_CAPTURED
        acknowledged = peer.acknowledged if peer.acknowledged != NEVER else min(segment.offset, 0)
        in_flight = max(own.highest - acknowledged, 0) if own.highest != NEVER else 0
        mss, full, small, small_start = sizes.judge_size(own, packet, segment)
        self.values += [mss, announced, full, small, small_start]
        self.values += [segment.in_flight_before, in_flight, segment.window_room]

    def write_data(self, own: Side) -> None:
        """Write the data segment of this side before it."""
        data = own.previous_data
        if data is None:
            data = NO_DATA
        length = data.length if data.frame != NEVER else -1
        self.values += [data.frame, data.time, data.end, length, sizes.is_full_data(own, data), sizes.is_small_data(own, data)]
        self.values += [data.push, data.last_in_flight, data.room, data.message, data.ends_head, data.ends_message]

    def write_ack(self, own: Side, peer: Side) -> None:
        """Write the pure ACK of the peer since that data, and what else happened since."""
        since = own.previous_data.frame if own.previous_data is not None else NEVER
        ack = peer.previous_ack
        if ack is None or since == NEVER or ack.frame <= since:
            ack = NO_ACK
        count = ack.bytes if ack.frame != NEVER else NEVER
        self.values += [ack.frame, ack.time, ack.ack, ack.delay, count, ack.gap, ack.frame > own.last_frame]
        self.values += [peer.payload_frame > since, max(own.retransmission_frame, peer.retransmission_frame) > since]
        self.values += [peer.short_window_frame > since]

    def write_events(self, events: Events) -> None:
        """Write the events that it ends."""
        stall, closure, run = events.stall, events.closure, events.run
        self.values.append(stall is not None)
        if stall is None:
            stall = NO_STALL
        self.values += [stall.progress_frame, stall.progress_time, stall.tries, stall.duplicate_acks, stall.first_frame]
        self.values += [stall.first_time, stall.retransmission_frame, stall.retransmission_time, stall.retransmission_bytes]
        self.values += [stall.is_first_copy, closure is not None]
        if closure is None:
            closure = NO_CLOSURE
        window = closure.closed_window if closure.closed_frame != NEVER else NEVER
        self.values += [closure.closed_frame, closure.closed_time, window, closure.probes, closure.probe_frame]
        self.values += [closure.probe_time, closure.opened_frame, closure.opened_time]
        if run is None:
            run = NO_RUN
        self.values += [run.segments, run.bytes, run.frame, run.time]

    def write_part(self, segment: Segment) -> None:
        """Write which message it carries."""
        part = segment.part
        self.values += [part.event_stream, part.http, part.message, part.exchange, part.in_body, part.ends_head]
        self.values += [part.ends_message, part.is_incomplete]
