"""Write the tables `segments` and `pieces`, which have rows for every segment, if they were requested."""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64

from wiredoctor.core.capture.packet import NOT_CAPTURED, Packet, place_of_payload
from wiredoctor.core.hashes import hash_endpoint
from wiredoctor.core.octets import BytesWriter, write_i64_le
from wiredoctor.core.rows.cells import Rows
from wiredoctor.core.rows.connection_rows import is_server_second, sender_role
from wiredoctor.core.rows.recorder import Extras, Selection, overlap
from wiredoctor.core.tcp import clocks, sizes
from wiredoctor.core.tcp.connection import NOTHING, Connection, Side
from wiredoctor.core.tcp.events import Events
from wiredoctor.core.tcp.segment import NEVER, RST, SYN, Segment
from wiredoctor.core.tcp.waits import ClosedWindow, Run, Stall

PACKET: Final = (
    *("frame", "time", "interface", "connection", "direction", "role", "endpoint", "flags", "offset", "length", "captured"),
    *("ack", "window", "ip_id", "ttl", "has_timestamps", "sack", "dsack"),
)
KIND: Final = (
    *("new_bytes", "retransmission", "fills_gap", "opens_gap", "overlap", "keep_alive_probe", "pure_ack", "window_update"),
    *("duplicate_ack", "acked_bytes", "acked_unseen", "ack_delay", "zero_window", "handshake", "nagle_disabled", "probe_frame"),
    *("rtt_own", "rtt_peer"),
)
SIZES: Final = ("mss", "mss_announced", "full", "small", "small_start", "in_flight_before", "in_flight", "window_room")
DATA: Final = (
    *("previous_data_frame", "previous_data_time", "previous_data_end", "previous_data_length", "previous_data_full"),
    *("previous_data_small", "previous_data_push", "previous_data_last_in_flight", "previous_data_room"),
    *("previous_data_message", "previous_data_ends_head", "previous_data_ends_message", "late"),
)
ACKS: Final = (
    *("previous_ack_frame", "previous_ack_time", "previous_ack_ack", "previous_ack_delay", "previous_ack_bytes"),
    *("previous_ack_interval", "nothing_sent_since_ack", "peer_data_since", "retransmission_since", "window_short_since"),
)
EVENTS: Final = (
    *("ends_stall", "stall_frame", "stall_time", "retransmission_count", "stall_duplicate_acks", "first_retransmission_frame"),
    *("first_retransmission_time", "retransmitted_frame", "retransmitted_time", "retransmitted_bytes", "retransmitted_late"),
    *("after_closed_window", "closed_frame", "closed_time", "closed_window", "window_probes", "window_probe_frame"),
    *("window_probe_time", "opened_frame", "opened_time"),
    *("small_run", "small_run_bytes", "small_run_frame", "small_run_time"),
)
PART: Final = ("event_stream", "http", "message", "exchange", "in_body", "ends_head", "ends_message", "message_incomplete")
"""The names of the cells about the segment's message. In a row of `segments`, only the cells of recorder.Extras come after them.

The value of an empty cell of `segments` is NEVER, or -1 in columns of fewer than 64 bits.
"""

COLUMNS: Final = PACKET + KIND + SIZES + DATA + ACKS + EVENTS + PART

NO_STALL: Final = Stall()
NO_CLOSED_WINDOW: Final = ClosedWindow()
NO_RUN: Final = Run()

PIECES: Final = ("connection", "direction", "role", "frame", "time", "offset", "length", "captured", "payload")
"""The names of the columns that a row of `pieces` contains."""

MAX_ENDPOINTS: Final = 65_536


class SegmentRecorder:
    """Writes rows for all segments, or only for those in `selection`.

    `columns`: the requested columns of `segments`. `names`: the cells that are written; the engine computes the columns from the
    cells. `rows` (for `segments`) and `pieces` are None if the table was not requested.
    """

    def __init__(self, selection: Selection | None, columns: list[str], with_pieces: bool) -> None:
        self.selection: Selection | None = selection
        self.kind: bool = overlap(KIND, columns)
        self.sizes: bool = overlap(SIZES, columns)
        self.data: bool = overlap(DATA, columns)
        self.acks: bool = overlap(ACKS, columns)
        self.events: bool = overlap(EVENTS, columns)
        self.part: bool = overlap(PART, columns)
        self.extras: Extras = Extras(columns)
        self.names: list[str] = [*PACKET]
        for names in (KIND, SIZES, DATA, ACKS, EVENTS, PART):
            if overlap(names, columns):
                self.names += names
        self.names += self.extras.names()
        self.rows: Rows | None = Rows(len(self.names)) if columns else None
        self.pieces: Rows | None = Rows(len(PIECES)) if with_pieces else None
        self.endpoints: dict[int, int] = {}
        """Hashes of the server's endpoint. The key is twice the connection id, plus 1 if the second side is the server."""

    def write(
        self, connection: Connection, own: Side, peer: Side, packet: Packet, segment: Segment, events: Events
    ) -> None:  # fmt: skip
        """Write the rows of a segment. `own`: the state of its sender before the segment."""
        if self.selection is not None and not self.selection.has(connection.id, packet.frame):
            return
        role = sender_role(connection, segment)
        if self.pieces is not None and segment.new_bytes > 0:
            self.write_pieces(self.pieces, connection, role, packet, segment)
        if self.rows is None:
            return
        out = self.rows.begin()
        self.write_packet(out, connection, role, packet, segment)
        if self.kind:
            write_kind(out, connection, packet, segment, events)
        if self.sizes:
            write_sizes(out, own, peer, packet, segment)
        if self.data:
            write_data(out, own)
            write_i64_le(out, clocks.lateness(own, packet))
        if self.acks:
            write_acks(out, own, peer)
        if self.events:
            write_events(out, events)
        if self.part:
            write_part(out, segment)
        self.extras.write(out, packet)

    def write_pieces(self, rows: Rows, connection: Connection, role: i64, packet: Packet, segment: Segment) -> None:
        """Write the rows of `pieces` for the new bytes of a segment. There are several if the segment fills several gaps."""
        if segment.pieces is None:
            write_piece(rows, connection, role, packet, segment, segment.new_start, segment.new_start + segment.new_bytes)
            return
        for piece in segment.pieces:
            write_piece(rows, connection, role, packet, segment, piece.start, piece.end)

    def write_packet(self, out: BytesWriter, connection: Connection, role: i64, packet: Packet, segment: Segment) -> None:
        """Write the cells that contain header fields."""
        write_i64_le(out, packet.frame)
        write_i64_le(out, packet.time)
        write_i64_le(out, packet.interface)
        write_i64_le(out, connection.id)
        write_i64_le(out, segment.direction)
        write_i64_le(out, role)
        write_i64_le(out, self.endpoint(connection, role, segment))
        write_i64_le(out, packet.flags)
        write_i64_le(out, segment.offset)
        write_i64_le(out, packet.length)
        write_i64_le(out, packet.captured)
        write_i64_le(out, segment.ack)
        write_i64_le(out, segment.window)
        write_i64_le(out, packet.ip_id)
        write_i64_le(out, packet.ttl)
        write_i64_le(out, i64(packet.has_timestamps))
        write_i64_le(out, i64(packet.sack))
        write_i64_le(out, i64(packet.dsack))

    def endpoint(self, connection: Connection, role: i64, segment: Segment) -> i64:
        """Return a hash of the server's address and port."""
        server = segment.direction
        if role == 0:
            server = 1 - server
        elif role < 0:
            server = is_server_second(connection)
        found = self.endpoints.get(2 * connection.id + server)
        if found is None:
            if len(self.endpoints) >= MAX_ENDPOINTS:
                self.endpoints.clear()
            found = self.endpoints[2 * connection.id + server] = hash_endpoint(connection.key, server == 0)
        return i64(found)


def write_kind(out: BytesWriter, connection: Connection, packet: Packet, segment: Segment, events: Events) -> None:
    """Write the cells that classify the segment: new data, retransmission, zero window and so on."""
    is_zero = packet.window == 0 and packet.flags & (SYN | RST) == 0
    write_i64_le(out, segment.new_bytes)
    write_i64_le(out, i64(segment.retransmission))
    write_i64_le(out, i64(segment.fills_gap))
    write_i64_le(out, i64(segment.opens_gap))
    write_i64_le(out, i64(segment.overlap))
    write_i64_le(out, i64(segment.keep_alive_probe))
    write_i64_le(out, i64(segment.pure_ack))
    write_i64_le(out, i64(segment.window_update))
    write_i64_le(out, i64(segment.duplicate_ack))
    write_i64_le(out, segment.acked_bytes)
    write_i64_le(out, segment.acked_unseen)
    write_i64_le(out, segment.ack_delay)
    write_i64_le(out, i64(is_zero))
    write_i64_le(out, i64(connection.has_both_syns))
    write_i64_le(out, i64(events.nagle_off))
    write_i64_le(out, events.probe_frame)
    write_i64_le(out, segment.rtt_own)
    write_i64_le(out, segment.rtt_peer)


def write_sizes(out: BytesWriter, own: Side, peer: Side, packet: Packet, segment: Segment) -> None:
    """Write the cells with sizes and bytes in flight."""
    syn = own.syn
    announced = syn is None or syn.mss > 0 or syn.mss == NOT_CAPTURED
    acknowledged: i64 = peer.acknowledged if peer.acknowledged != NEVER else min(segment.offset, 0)
    in_flight: i64 = max(own.highest - acknowledged, 0) if own.highest != NEVER else 0
    mss, full, small, small_start = sizes.judge_size(own, packet, segment)
    write_i64_le(out, mss)
    write_i64_le(out, i64(announced))
    write_i64_le(out, i64(full))
    write_i64_le(out, i64(small))
    write_i64_le(out, i64(small_start))
    write_i64_le(out, segment.in_flight_before)
    write_i64_le(out, in_flight)
    write_i64_le(out, segment.window_room)


def write_data(out: BytesWriter, own: Side) -> None:
    """Write the cells that describe the sender's previous segment with new data."""
    data = own.previous or NOTHING
    length: i64 = data.length if data.frame != NEVER else -1
    write_i64_le(out, data.frame)
    write_i64_le(out, data.time)
    write_i64_le(out, data.end)
    write_i64_le(out, length)
    write_i64_le(out, i64(sizes.is_full_data(data)))
    write_i64_le(out, i64(sizes.is_small_data(data)))
    write_i64_le(out, i64(data.push))
    write_i64_le(out, i64(data.last_in_flight))
    write_i64_le(out, data.room)
    write_i64_le(out, data.message)
    write_i64_le(out, i64(data.ends_head))
    write_i64_le(out, i64(data.ends_message))


def write_acks(out: BytesWriter, own: Side, peer: Side) -> None:
    """Write the cells that describe what happened since the sender's previous segment with new data.

    These are the cells about the peer's newest pure ACK, and flags for other events.
    """
    since = (own.previous or NOTHING).frame
    ack = peer.previous or NOTHING
    if since == NEVER or ack.ack_frame <= since:
        ack = NOTHING
    count: i64 = ack.ack_bytes if ack.ack_frame != NEVER else NEVER
    write_i64_le(out, ack.ack_frame)
    write_i64_le(out, ack.ack_time)
    write_i64_le(out, ack.ack)
    write_i64_le(out, ack.ack_delay)
    write_i64_le(out, count)
    write_i64_le(out, ack.ack_gap)
    write_i64_le(out, i64(ack.ack_frame > own.last_frame))
    write_i64_le(out, i64(peer.payload_frame > since))
    write_i64_le(out, i64(max(own.retransmission_frame, peer.retransmission_frame) > since))
    write_i64_le(out, i64(peer.short_window_frame > since))


def write_events(out: BytesWriter, events: Events) -> None:
    """Write the cells about the stall and the closed window that end with the segment, and about its run of small segments."""
    stall, closure, run = events.stall, events.closure, events.run
    write_i64_le(out, i64(stall is not None))
    if stall is None:
        stall = NO_STALL
    write_i64_le(out, stall.progress_frame)
    write_i64_le(out, stall.progress_time)
    write_i64_le(out, stall.tries)
    write_i64_le(out, stall.duplicate_acks)
    write_i64_le(out, stall.first_frame)
    write_i64_le(out, stall.first_time)
    write_i64_le(out, stall.retransmission_frame)
    write_i64_le(out, stall.retransmission_time)
    write_i64_le(out, stall.retransmission_bytes)
    write_i64_le(out, i64(stall.is_first_copy))
    write_i64_le(out, i64(closure is not None))
    if closure is None:
        closure = NO_CLOSED_WINDOW
    window: i64 = closure.closed_window if closure.closed_frame != NEVER else NEVER
    write_i64_le(out, closure.closed_frame)
    write_i64_le(out, closure.closed_time)
    write_i64_le(out, window)
    write_i64_le(out, closure.probes)
    write_i64_le(out, closure.probe_frame)
    write_i64_le(out, closure.probe_time)
    write_i64_le(out, closure.opened_frame)
    write_i64_le(out, closure.opened_time)
    if run is None:
        run = NO_RUN
    write_i64_le(out, run.segments)
    write_i64_le(out, run.bytes)
    write_i64_le(out, run.frame)
    write_i64_le(out, run.time)


def write_part(out: BytesWriter, segment: Segment) -> None:
    """Write the cells that describe the message to which the segment belongs."""
    part = segment.part
    write_i64_le(out, i64(part.event_stream))
    write_i64_le(out, i64(part.http))
    write_i64_le(out, part.message)
    write_i64_le(out, part.exchange)
    write_i64_le(out, i64(part.in_body))
    write_i64_le(out, i64(part.ends_head))
    write_i64_le(out, i64(part.ends_message))
    write_i64_le(out, i64(part.is_incomplete))


def write_piece(
    rows: Rows, connection: Connection, role: i64, packet: Packet, segment: Segment, start: i64, end: i64
) -> None:  # fmt: skip
    """Write a row of `pieces`: new bytes [start, end) of a stream."""
    into = start - segment.offset
    out = rows.begin()
    write_i64_le(out, connection.id)
    write_i64_le(out, segment.direction)
    write_i64_le(out, role)
    write_i64_le(out, packet.frame)
    write_i64_le(out, packet.time)
    write_i64_le(out, start)
    write_i64_le(out, end - start)
    write_i64_le(out, min(max(packet.captured - into, 0), end - start))
    write_i64_le(out, place_of_payload(packet) + into)
