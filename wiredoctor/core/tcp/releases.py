"""Find segments that may have waited for an ACK or a timer, and write the rows of `releases`.

`find_release` decides whether a segment may have waited. A row may be held until later gaps between segments show whether the
program writes at regular times (pace.py). Segments that no rule could report (cutoffs.py) get no row. The rules decide which rows
are findings.
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64

from wiredoctor.core.capture.packet import NOT_CAPTURED, Packet
from wiredoctor.core.cutoffs import Cutoffs
from wiredoctor.core.hashes import hash_endpoint
from wiredoctor.core.rows.cells import Rows, pack_cells
from wiredoctor.core.rows.connection_rows import is_server_second, sender_role
from wiredoctor.core.tcp import clocks, pace, sizes
from wiredoctor.core.tcp.acks import whole_round_trip
from wiredoctor.core.tcp.broadcasts import Broadcasts
from wiredoctor.core.tcp.connection import NOTHING, SHRANK, Connection, Previous, Side
from wiredoctor.core.tcp.events import Events
from wiredoctor.core.tcp.segment import FOREVER, MILLISECOND, NEVER, Segment
from wiredoctor.core.tcp.waits import HeldRelease, Watch

WAITED: Final = 1
PROMPT: Final = 2
PROBE: Final = 3
ANSWERS_PROBE: Final = 4
CORKED: Final = 5
MAX_SLOW_ACK: Final = 50 * MILLISECOND
"""The upper bound in ns of the time by which delayed ACKs lengthen the smoothed round trip of a corked sender.

Linux delays an ACK by 40 ms and up to two ticks of its timer, if no data goes the other way.
"""
SORTS: Final = ("", "waited", "prompt", "probe", "answers_probe", "corked")
"""The names of the values of the column `sort`."""

RELEASES: Final = (
    *("connection", "direction", "role", "endpoint", "http", "exchange", "message", "handshake", "mss", "mss_announced"),
    *("first_frame", "nagle_disabled", "previous_data_frame", "previous_data_time", "previous_data_length", "previous_data_full"),
    *("previous_data_small", "previous_data_room", "previous_data_ends_head", "previous_data_ends_message"),
    *("previous_ack_frame", "previous_ack_time", "previous_ack_delay", "previous_ack_bytes", "previous_ack_interval"),
    "window_shrank",
    *("frame", "time", "length", "unread", "small_start", "full", "ends_message", "rtt_own", "rtt_peer"),
    *("event_stream", "nagle_seen", "usual_gap", "probe_frame", "sort", "final_frame", "pace_seen"),
)


class Releases:
    """Writes the table `releases`."""

    def __init__(self, cutoffs: Cutoffs) -> None:
        self.cutoffs: Cutoffs = cutoffs
        self.rows: Rows = Rows(len(RELEASES))
        self.held: list[HeldRelease] = []
        """Rows that are written or dropped once later gaps show whether the program writes regularly."""
        self.watches: list[Watch] = []
        """Recent delayed ACKs. The host that sent such an ACK may react to the acknowledged data on another connection.

        While there are watches, `note_payload` must be called for each packet with payload.
        """
        self.due: i64 = FOREVER
        """The watermark at which the first held row is written or dropped, even if no more gaps follow."""
        self.broadcasts: Broadcasts = Broadcasts()

    def write(self, connection: Connection, own: Side, peer: Side, packet: Packet, segment: Segment, events: Events) -> None:
        """Write or hold a row if a segment may have waited. `own`: the state of its sender before the segment."""
        sort: i64 = ANSWERS_PROBE if events.probe_frame else 0
        data = own.previous
        if segment.new_bytes > 0 and data is not None and data.last_in_flight and peer.payload_frame <= data.frame:
            found = self.find_release(own, peer, data, packet, segment, events)
            if found:
                sort = found
        if sort == WAITED and data is not None and sizes.judge_size(own, packet, segment)[3] and may_be_paced(data, segment):
            self.hold(connection, own, peer, packet, segment, events, data)
            pace.pace_of(own).waited_frame = packet.frame
        elif sort:
            cells = self.describe(connection, own, peer, packet, segment, events, sort)
            self.rows.add([*cells, packet.frame, True])
        if segment.small and segment.new_bytes > 0 and not is_http(segment) and not events.nagle_off:
            self.broadcasts.expect_ack(packet, segment, self.cutoffs.max_ack_delay)

    def find_release(
        self, own: Side, peer: Side, data: Previous, packet: Packet, segment: Segment, events: Events
    ) -> i64:  # fmt: skip
        """Return what a segment may have waited for: a delayed ACK (WAITED), a prompt ACK (PROMPT) or a timer (PROBE, CORKED).

        Otherwise return 0: for instance, if the sender had nothing left to send, the peer sent data, or something was
        retransmitted.
        """
        if segment.opens_gap:
            pace.note_loss(own)
        disturbed = own.retransmission_frame > data.frame or peer.retransmission_frame > data.frame
        if disturbed or segment.retransmission or segment.overlap or segment.fills_gap or segment.opens_gap:
            return 0
        if segment.rtt_own == NEVER or segment.rtt_peer == NEVER:
            return 0
        ack = peer.previous
        if ack is None or ack.ack_frame <= data.frame:
            return PROBE if self.may_be_probe(own, data, packet, segment, events) else 0
        part = segment.part
        is_next = own.last_frame < ack.ack_frame and ack.ack == data.end and ack.ack_delay != NEVER
        if not is_next or not (part.is_incomplete or part.unread or part.upgraded or not part.http):
            return 0
        if ack.ack_delay <= self.cutoffs.max_quick_ack:
            pace.note_gap(own, packet.time - data.time, packet.time - ack.ack_time - segment.rtt_own, segment)
            self.settle_held(own, packet.frame, False)
        judged = sizes.judge_size(own, packet, segment)
        full, small_start = judged[1], judged[3]
        if not small_start and not full:
            return 0
        # the ACK left no room for the segment: a later window update released it
        if full and peer.short_window_frame >= ack.ack_frame:
            return 0
        if small_start and self.may_be_corked(own, data, ack, packet, segment):
            return CORKED
        if ack.ack_delay <= self.cutoffs.max_quick_ack and self.shows_lateness(data, packet, segment, events, small_start):
            return PROMPT
        if self.cutoffs.min_ack_delay <= ack.ack_delay <= self.cutoffs.max_ack_delay and not was_sent_before(ack, packet):
            return WAITED
        return 0

    def may_be_probe(self, own: Side, data: Previous, packet: Packet, segment: Segment, events: Events) -> bool:
        """Return whether a small segment that follows an unacknowledged small one may be a tail loss probe."""
        if packet.time - data.time < self.cutoffs.min_probe_wait or events.nagle_off:
            return False
        if not sizes.is_small_data(data) or not sizes.judge_size(own, packet, segment)[3]:
            return False
        message = segment.part.message
        same_message = message == data.message if message != NEVER else is_unread(packet, segment)
        return same_message and (data.room == NEVER or data.room >= packet.length)

    def may_be_corked(self, own: Side, data: Previous, ack: Previous, packet: Packet, segment: Segment) -> bool:
        """Return whether a timer may have sent the short last segment of a message, long after an ACK of its full segments.

        Corked data is sent one retransmission timeout after the last ACK (tcp_check_probe_timer in include/net/tcp.h of Linux).
        This timeout contains the smoothed round trip (RFC 6298 section 2), and delayed ACKs lengthen that.
        """
        part, round_trip = segment.part, whole_round_trip(segment)
        if not part.http or not part.ends_message or part.message != data.message or not sizes.is_full_data(data):
            return False
        wait = packet.time - ack.ack_time - segment.rtt_own - round_trip
        if wait < self.cutoffs.min_cork_wait:
            return False
        longest = pace.note_slow_ack(own, min(ack.ack_delay, MAX_SLOW_ACK))
        return wait <= self.cutoffs.max_cork_wait + max(round_trip // 4, longest)

    def shows_lateness(
        self, data: Previous, packet: Packet, segment: Segment, events: Events, small_start: bool
    ) -> bool:  # fmt: skip
        """Return whether to write a row for a segment after a prompt ACK, so that rules can compare other rows with it.

        The row shows how late the program writes if no delayed ACK is involved. After a full segment, a row is only written if
        this segment ends its message and comes late. Otherwise, every download would cause many rows.
        """
        if not (segment.part.http or is_unread(packet, segment)) or not small_start or events.nagle_off:
            return False
        if sizes.is_small_data(data) or (data.ends_head and not data.ends_message):
            return True
        lateness = packet.time - data.time - whole_round_trip(segment)
        return sizes.is_full_data(data) and segment.part.ends_message and lateness >= self.cutoffs.min_lateness

    def hold(
        self, connection: Connection, own: Side, peer: Side, packet: Packet, segment: Segment, events: Events, data: Previous
    ) -> None:  # fmt: skip
        """Hold the row of a small segment that may have waited for the delayed ACK of another small one.

        Later gaps between segments may show that the program writes at regular times. No row is held if this is already known, if
        the receiver responded to the data on another connection, or if the program wrote the same data to several receivers.
        """
        gap = packet.time - data.time
        alike = pace.count_alike(own, gap)
        if alike >= pace.ALIKE:
            return
        if not is_http(segment) and (pace.was_answered(own) or self.broadcasts.has_copy(packet, segment)):
            return
        ack = peer.previous or NOTHING
        is_message = is_http(segment) and not segment.part.event_stream
        if not is_message and pace.may_be_chance(own, packet.time - ack.ack_time - segment.rtt_own, segment):
            return
        cells = pack_cells(self.describe(connection, own, peer, packet, segment, events, WAITED))
        held = HeldRelease(cells, data.time, gap, packet.clock + pace.LONGEST)
        held.alike = held.alike_before = alike
        held.is_message = is_message
        held.is_sure = not pace.pace_of(own).is_torn
        waiting = pace.pace_of(own).held
        if len(waiting) >= pace.MAX_HELD:
            self.write_held(waiting.pop(0), packet.frame)
        waiting.append(held)
        self.held.append(held)
        if not is_http(segment):
            self.broadcasts.watch(held, packet, segment)
        self.due = min(self.due, held.due)

    def watch_ack(self, sender: Side, packet: Packet, segment: Segment) -> None:
        """Begin to watch for a reaction on another connection if a packet is a delayed ACK of a small write of `sender`."""
        data = sender.previous
        if data is None or segment.ack != data.end or not sizes.is_small_data(data):
            return
        if self.cutoffs.min_ack_delay <= segment.ack_delay <= self.cutoffs.max_ack_delay:
            self.watches.append(pace.watch(sender, packet))

    def note_payload(self, packet: Packet) -> None:
        """Record if a packet with payload may be the response that one of `watches` waits for. Drop expired watches."""
        left: list[Watch] = []
        for watch in self.watches:
            if pace.is_answer(watch, packet):
                watch.is_answered = True
            elif packet.time <= watch.until and packet.clock - watch.until < pace.LONGEST:
                left.append(watch)
        self.watches = left

    def settle_held(self, own: Side, frame: i64, is_over: bool) -> None:
        """Write or drop each held row of a side if enough gaps between segments are known.

        A row is dropped if the program sent the segment at regular times. If `is_over` is true, every row is written or dropped
        now, because no more segments will come. `frame`: the number of the current packet.
        """
        if own.waits is None or own.waits.pace is None or not own.waits.pace.held:
            return
        left: list[HeldRelease] = []
        for held in own.waits.pace.held:
            if is_over or pace.is_decided(held):
                self.write_held(held, frame)
            elif not held.is_over:
                left.append(held)
        own.waits.pace.held = left

    def write_held(self, held: HeldRelease, frame: i64) -> None:
        """Write a row of `releases` that was held, unless the gaps show that the program sent the segment at regular times.

        `frame`: the number of the packet at which the row becomes final.
        """
        if not held.is_over and not pace.is_paced(held):
            self.rows.begin().write(held.cells + pack_cells([frame, held.is_sure]))
        held.is_over = True

    def pass_time(self, clock: i64, frame: i64) -> None:
        """Write or drop the held rows of `releases` that are due at the watermark `clock`. `frame`: the current frame."""
        left: list[HeldRelease] = []
        self.due = FOREVER
        for held in self.held:
            if held.due <= clock:
                self.write_held(held, frame)
            elif not held.is_over:
                left.append(held)
                self.due = min(self.due, held.due)
        self.held = left

    def end(self, connection: Connection, frame: i64) -> None:
        """Write or drop the rows held for a connection, because no more packets of it will come."""
        if not connection.closed:
            pace.note_end(connection.first)
            pace.note_end(connection.second)
        self.settle_held(connection.first, frame, True)
        self.settle_held(connection.second, frame, True)

    def describe(
        self, connection: Connection, own: Side, peer: Side, packet: Packet, segment: Segment, events: Events, sort: i64
    ) -> list[int]:  # fmt: skip
        """Return a row of `releases` without its last two cells, `final_frame` and `pace_seen`, which may be known only later."""
        part = segment.part
        mss, full, _, small_start = sizes.judge_size(own, packet, segment)
        syn = own.syn
        role = sender_role(connection, segment)
        is_second = segment.direction if role == 1 else 1 - segment.direction if role == 0 else is_server_second(connection)
        data = own.previous or NOTHING
        ack = peer.previous or NOTHING
        if data.frame == NEVER or ack.ack_frame <= data.frame:
            ack = NOTHING
        return [
            connection.id,
            segment.direction,
            role,
            hash_endpoint(connection.key, is_second == 0),
            is_http(segment),
            part.exchange,
            part.message,
            connection.has_both_syns,
            mss,
            syn is None or syn.mss > 0 or syn.mss == NOT_CAPTURED,
            connection.first_frame,
            events.nagle_off,
            data.frame,
            data.time,
            data.length if data.frame != NEVER else -1,
            sizes.is_full_data(data),
            sizes.is_small_data(data),
            data.room,
            data.ends_head,
            data.ends_message,
            ack.ack_frame,
            ack.ack_time,
            ack.ack_delay,
            ack.ack_bytes if ack.ack_frame != NEVER else NEVER,
            ack.ack_gap,
            peer.widest_window == SHRANK,
            packet.frame,
            packet.time,
            packet.length,
            is_unread(packet, segment),
            small_start,
            full,
            part.ends_message,
            segment.rtt_own,
            segment.rtt_peer,
            part.event_stream,
            pace.is_nagle_seen(own),
            NEVER if data.frame == NEVER else pace.usual_gap(own, packet.time - data.time),
            events.probe_frame,
            sort,
        ]


def was_sent_before(ack: Previous, packet: Packet) -> bool:
    """Return whether a segment was sent before its sender had received a delayed ACK.

    The timestamp that the segment echoes shows this.
    """
    if ack.ack_stamp == NEVER:
        return False
    echo = clocks.echo_of(packet)
    return echo != NEVER and clocks.ticks(ack.ack_stamp, echo) < 0


def may_be_paced(data: Previous, segment: Segment) -> bool:
    """Return whether a segment may follow a small write merely because the program writes at regular times.

    Return False if the small write is the head of a message and the segment completes its body: the program had both ready.
    """
    whole = data.ends_head and not data.ends_message and segment.part.ends_message
    return sizes.is_small_data(data) and not whole


def is_http(segment: Segment) -> bool:
    """Return whether a segment belongs to a connection whose HTTP messages are read."""
    part = segment.part
    return part.http and not part.unread and not part.upgraded


def is_unread(packet: Packet, segment: Segment) -> bool:
    """Return whether the snap length cut off bytes that show to which message a segment belongs and where the message ends."""
    return segment.part.unread or (not segment.part.http and packet.captured < packet.length)
