"""Write the rows of `recoveries`, `closures` and `runs`.

The events are detected elsewhere (retransmission_stalls.py, closed_windows.py, runs.py, nagle.py). Events that no rule could
report (cutoffs.py) get no row. The rules decide which rows are findings.
"""

from __future__ import annotations

from typing import Final

from wiredoctor.core.capture.packet import Packet
from wiredoctor.core.cutoffs import Cutoffs
from wiredoctor.core.rows.cells import Rows
from wiredoctor.core.rows.connection_rows import sender_role
from wiredoctor.core.tcp import damage, sizes
from wiredoctor.core.tcp.connection import NOTHING, Connection, Side
from wiredoctor.core.tcp.events import Events
from wiredoctor.core.tcp.retransmission_stalls import (
    answered_again,
    answers_retransmission,
    had_both_copies,
    has_lost_answer,
    is_spurious,
)
from wiredoctor.core.tcp.segment import NEVER, Segment
from wiredoctor.core.tcp.waits import Stall

RECOVERIES: Final = (
    *("connection", "direction", "role", "frame", "time", "http", "message_incomplete", "dsack", "new_bytes", "acked_unseen"),
    *("handshake", "opens_gap", "rtt_own", "rtt_peer", "stall_frame", "stall_time", "stall_duplicate_acks"),
    *("retransmission_count", "first_retransmission_frame", "first_retransmission_time", "retransmitted_frame"),
    *("retransmitted_time", "retransmitted_bytes", "retransmitted_late", "spurious", "answers_retransmission", "syn_ack_again"),
    *("lost_bytes", "answer_lost", "peer_message_incomplete", "acks_lost", "strange_sack_frame", "strange_sack_time"),
    *("damaged_copies", "wrong_checksum"),
)
CLOSURES: Final = (
    *("connection", "direction", "exchange", "frame", "time", "offset", "length", "handshake", "http"),
    *("previous_data_ends_message", "previous_data_last_in_flight", "peer_data_since", "opens_gap", "fills_gap", "rtt_own"),
    *("closed_frame", "closed_time", "closed_window", "window_probes", "unanswered_probes"),
    *("window_probe_frame", "window_probe_time", "opened_frame", "opened_time"),
)
RUNS: Final = (
    *("connection", "direction", "role", "exchange", "frame", "time", "length", "handshake", "mss", "message"),
    *("previous_data_message", "event_stream", "nagle_disabled", "in_flight_before", "rtt_own", "rtt_peer"),
    *("small_run", "small_run_bytes", "small_run_frame", "small_run_time", "small_run_flushes"),
)


class StallRows:
    """Writes the tables `recoveries`, `closures` and `runs`."""

    def __init__(self, cutoffs: Cutoffs) -> None:
        self.cutoffs: Cutoffs = cutoffs
        self.recoveries: Rows = Rows(len(RECOVERIES))
        self.closures: Rows = Rows(len(CLOSURES))
        self.runs: Rows = Rows(len(RUNS))

    def write(self, connection: Connection, own: Side, peer: Side, packet: Packet, segment: Segment, events: Events) -> None:
        """Write the rows of the events that end with a segment. `own`: the state of its sender before the segment."""
        if events.stall is not None:
            self.write_recovery(connection, own, peer, packet, segment, events.stall, False)
        if events.unheard is not None:
            self.write_recovery(connection, own, peer, packet, segment, events.unheard, True)
        if events.closure is not None:
            self.write_closure(connection, own, peer, packet, segment, events)
        if events.run is not None:
            self.write_run(connection, own, packet, segment, events)

    def write_recovery(
        self, connection: Connection, own: Side, peer: Side, packet: Packet, segment: Segment, stall: Stall, is_unheard: bool
    ) -> None:  # fmt: skip
        """Write a row of `recoveries`. `own`: the side that sent the ACK, or the data again if `is_unheard`."""
        part, other = segment.part, peer.previous or NOTHING
        if stall.retransmission_time - stall.progress_time < self.cutoffs.min_stall:
            return
        is_late = is_unheard or is_spurious(stall, packet) or had_both_copies(own, stall, packet, segment)
        self.recoveries.add(
            [
                connection.id,
                segment.direction,
                sender_role(connection, segment),
                packet.frame,
                packet.time,
                part.http,
                part.is_incomplete,
                packet.dsack,
                segment.new_bytes,
                segment.acked_unseen,
                connection.has_both_syns,
                segment.opens_gap,
                segment.rtt_own,
                segment.rtt_peer,
                stall.progress_frame,
                stall.progress_time,
                stall.duplicate_acks,
                stall.tries,
                stall.first_frame,
                stall.first_time,
                stall.retransmission_frame,
                stall.retransmission_time,
                stall.retransmission_bytes,
                stall.is_first_copy,
                is_late,
                answers_retransmission(stall, packet),
                answered_again(connection, stall),
                stall.lost_bytes,
                has_lost_answer(connection, own, segment),
                other.message != NEVER and not other.ends_message and other.last_in_flight,
                is_unheard,
                NEVER if own.waits is None else own.waits.strange_sack_frame,
                NEVER if own.waits is None else own.waits.strange_sack_time,
                0 if is_unheard else damage.count_damaged(peer, stall.retransmission_frame),
                damage.wrong_checksum(peer),
            ]
        )

    def write_closure(
        self, connection: Connection, own: Side, peer: Side, packet: Packet, segment: Segment, events: Events
    ) -> None:  # fmt: skip
        """Write a row of `closures`."""
        closure, part = events.closure, segment.part
        if closure is None or closure.opened_time - closure.closed_time < self.cutoffs.min_closed_window:
            return
        data = own.previous or NOTHING
        self.closures.add(
            [
                connection.id,
                segment.direction,
                part.exchange,
                packet.frame,
                packet.time,
                segment.offset,
                packet.length,
                connection.has_both_syns,
                part.http,
                data.ends_message,
                data.last_in_flight,
                peer.payload_frame > data.frame,
                segment.opens_gap,
                segment.fills_gap,
                segment.rtt_own,
                closure.closed_frame,
                closure.closed_time,
                closure.closed_window,
                closure.probes,
                closure.unanswered,
                closure.probe_frame,
                closure.probe_time,
                closure.opened_frame,
                closure.opened_time,
            ]
        )

    def write_run(self, connection: Connection, own: Side, packet: Packet, segment: Segment, events: Events) -> None:
        """Write a row of `runs` if the run is long, or if another message begins in it."""
        run, part, data = events.run, segment.part, own.previous
        if run is None or data is None or part.message == NEVER or run.segments > self.cutoffs.max_run:
            return
        if run.segments < self.cutoffs.min_run and part.message == data.message:
            return
        self.runs.add(
            [
                connection.id,
                segment.direction,
                sender_role(connection, segment),
                part.exchange,
                packet.frame,
                packet.time,
                packet.length,
                connection.has_both_syns,
                sizes.judge_size(own, packet, segment)[0],
                part.message,
                data.message,
                part.event_stream or part.is_flushed,
                events.nagle_off,
                segment.in_flight_before,
                segment.rtt_own,
                segment.rtt_peer,
                run.segments,
                run.bytes,
                run.frame,
                run.time,
                run.flushes,
            ]
        )
