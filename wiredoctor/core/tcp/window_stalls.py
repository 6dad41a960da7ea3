"""Find window stalls: a receiver's small or closed window stops the sender for longer than necessary, or for good.

A stall is longer than necessary if the sender continues only when one of its timers expires. SORTS lists the kinds. Consecutive
stalls of one kind share a row, which is written when the sender continues without a stall, or when the message, the connection or
the capture ends.
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64

from wiredoctor.core.capture.packet import Packet
from wiredoctor.core.cutoffs import Cutoffs
from wiredoctor.core.http1.conversation import Conversation
from wiredoctor.core.rows.cells import Rows
from wiredoctor.core.tcp.acks import whole_round_trip
from wiredoctor.core.tcp.connection import Close, Connection, Previous, Side, Syn
from wiredoctor.core.tcp.segment import MILLISECOND, NEVER, Segment
from wiredoctor.core.tcp.waits import ClosedWindow, Waits, WindowStall

REFUSED: Final = 1
"""The kind of stall in which the receiver discards data and announces a window of 0.

The stall lasts until a retransmission is acknowledged.
"""
TIMER: Final = 2
"""The kind of stall in which the window has no room for a full segment, until a timer of the sender sends a smaller one.

See RFC 9293 section 3.8.6.2.1.
"""
NEVER_OPENED: Final = 3
"""The kind of stall in which the window is still 0 when the connection or the capture ends."""
SORTS: Final = ("", "refused", "timer", "never_opened")
"""The names of the values of the column `sort`."""

WINDOW_STALLS: Final = (
    *("connection", "direction", "frame", "http", "handshake", "sort", "count", "waited", "closed"),
    *("start_frame", "start_time", "window", "window_probes", "window_probe_frame", "window_probe_time"),
    *("copies", "copy_frame", "copy_time", "opened_frame", "opened_time", "sent_frame", "sent_time", "sent_bytes"),
    *("end_frame", "end_time", "message_complete", "sender_close_frame", "sender_close_time", "sender_close_rst"),
    *("unscaled_window", "first_window", "unscaled_flight"),
)
"""The names of the columns that a row of `window_stalls` contains."""

ANSWER: Final = 50 * MILLISECOND
"""The maximum time in ns from a segment that fits in the opened window to its ACK; a round trip is added.

If the ACK comes later, the segment was lost. In this case, the window stall ended when the segment was sent.
"""
IN_A_ROW: Final = 1_000 * MILLISECOND
"""The maximum time in ns between two consecutive stalls that are combined in one row."""
LARGE_WINDOW: Final = 2
"""A receive buffer is not small if its window has room for this many full segments (see the rule zero-window-stall)."""
LONGEST_TIMER: Final = 1_000 * MILLISECOND
"""The maximum of the sender's override timer in ns; two round trips are added.

The timer is 0.1 to 1 s (RFC 9293 section 3.8.6.2.1); Linux uses the retransmission timer.
"""
NOT_CLOSED: Final = Close()
NO_WINDOW: Final = ClosedWindow()


class WindowStalls:
    """Tracks receive windows that are closed or have no room for a full segment, in all connections."""

    def __init__(self, cutoffs: Cutoffs) -> None:
        self.cutoffs: Cutoffs = cutoffs
        self.rows: Rows = Rows(len(WINDOW_STALLS))

    def take_copy(self, connection: Connection, own: Side, waits: Waits, packet: Packet, segment: Segment) -> bool:
        """Record a retransmission if the peer's window caused it. Return False if it may be due to a loss.

        The window caused it if the peer's window (in `waits`) is 0, or if it was 0 when this data was first sent and has room
        now.
        """
        window = waits.zero_window
        if window is not None and window.is_closed:
            if packet.length > 1:
                window.copies += 1
                if window.copies == 1:
                    window.copy_frame, window.copy_time = packet.frame, packet.time
            return True
        end = segment.offset + packet.length
        if segment.offset >= waits.refused_end or end <= waits.resumed_end:
            return False
        waits.resumed_end = end
        if window is not None and window.is_refusing and window.resumed_frame == NEVER:
            window.resumed_frame, window.resumed_time = packet.frame, packet.time
        # a stall that a loss causes begins here at the earliest
        connection.progress_frame, connection.progress_time = packet.frame, packet.time
        waits.duplicate_acks = 0
        if own.waits is not None:
            own.waits.stall = None
        return True

    def note_new_data(self, connection: Connection, own: Side, waits: Waits, packet: Packet, segment: Segment) -> None:
        """Record new data that exceeds the peer's window, or that a timer of the sender sent to fill a small window.

        Also write the current row if no stall can continue it, or drop it if the window has become large. `waits`: the peer's
        state.
        """
        if waits.refused_end != NEVER and segment.window_room < packet.length:
            waits.refused_end = max(waits.refused_end, own.highest)
        short, data = waits.short_window, own.previous
        if short is not None and short.is_closed and data is not None:
            self.add_timer(connection, data, waits, short, packet, segment)
        stall = waits.window_stall
        if stall is None:
            return
        if stall.sort == TIMER and segment.window_room >= LARGE_WINDOW * segment.mss:
            # the window is large now, so the receive buffer was full before, but is not small
            waits.window_stall = None
        elif segment.part.ends_message or packet.time - stall.end_time > IN_A_ROW:
            self.write(connection, 1 - segment.direction, packet.frame)

    def add_timer(
        self, connection: Connection, data: Previous, waits: Waits, short: ClosedWindow, packet: Packet, segment: Segment
    ) -> None:  # fmt: skip
        """Add the wait of a segment to a row if the segment was sent by a timer, to fill a window too small for a full segment.

        The wait counts only under two conditions: nothing was in flight, and the previous data had also filled the window. Then
        the sender had more to send all the time.
        """
        fills = segment.window_room == packet.length and packet.length < segment.mss and data.room <= 0
        if not fills or packet.length <= 1 or segment.in_flight_before != 0 or segment.fills_gap or data.ends_message:
            return
        start = short.announced_time
        waited = packet.time - start - max(segment.rtt_own, 0)
        if waited < self.cutoffs.min_window_wait:
            short.prompt += 1
            return
        short.timers += 1
        # a sender that uses half of its peer's largest window as segment size does not wait
        if short.timers <= short.prompt or waited > LONGEST_TIMER + 2 * whole_round_trip(segment):
            return
        stall = self.find_stall(connection, waits, TIMER, 1 - segment.direction, start, packet.frame)
        if stall.count == 0:
            stall.start_frame, stall.start_time = short.announced_frame, start
            stall.sent_frame, stall.sent_time, stall.sent_bytes = packet.frame, packet.time, packet.length
        stall.window = max(stall.window, packet.length)
        add(stall, waited, 0, packet.frame, packet.time)

    def note_refusal(self, own: Side, peer: Side, segment: Segment) -> None:
        """Record that a side announces a window of 0 without acknowledging data in flight. It probably discards that data."""
        waits = own.waits
        if waits is None or waits.zero_window is None or not waits.zero_window.is_closed:
            return
        if segment.ack != own.acknowledged or peer.highest - own.acknowledged <= 1:
            return
        waits.zero_window.is_refusing = True
        waits.zero_window.refused = max(waits.zero_window.refused, peer.highest - own.acknowledged)
        waits.refused_end = max(waits.refused_end, peer.highest)
        waits.resumed_end = own.acknowledged

    def end_refusal(self, connection: Connection, waits: Waits, packet: Packet, segment: Segment) -> None:
        """Add a stall to a row if it ends now, because a side acknowledges data that it had discarded before.

        The stall began when the side closed its window. `waits`: the state of that side.
        """
        if segment.ack >= waits.refused_end:
            waits.refused_end = waits.resumed_end = NEVER
        window = waits.zero_window
        if window is None or not window.is_refusing:
            return
        if window.copies == 0 and window.resumed_frame == NEVER:
            # the unacknowledged data came after the ACK, and was accepted
            window.is_refusing = False
            waits.refused_end = waits.resumed_end = NEVER
            return
        waits.zero_window = None
        if waits.short_window is not None and not waits.short_window.is_closed:
            waits.short_window = None
        end_frame, end = packet.frame, packet.time
        if window.resumed_frame != NEVER and end - window.resumed_time > whole_round_trip(segment) + ANSWER:
            end_frame, end = window.resumed_frame, window.resumed_time
        if end - window.closed_time < self.cutoffs.min_window_wait:
            return
        opened = packet.time if window.is_closed else window.opened_time
        stall = self.find_stall(connection, waits, REFUSED, segment.direction, window.closed_time, packet.frame)
        if stall.count == 0:
            stall.start_frame, stall.start_time = window.closed_frame, window.closed_time
            stall.copy_frame, stall.copy_time = window.copy_frame, window.copy_time
            stall.opened_frame, stall.opened_time = window.opened_frame, window.opened_time
            stall.sent_frame, stall.sent_time = window.resumed_frame, window.resumed_time
        stall.copies += window.copies
        stall.refused = max(stall.refused, window.refused)
        add(stall, end - window.closed_time, opened - window.closed_time, end_frame, end)

    def find_stall(self, connection: Connection, waits: Waits, sort: i64, receiver: i64, start: i64, frame: i64) -> WindowStall:
        """Return the row for a stall that began at time `start` (ns): the current row if the stall continues it, or a new row.

        Before a new row begins, the current row is written. `sort`: the kind of stall. `receiver`: the direction whose window
        stalled the sender.
        """
        stall = waits.window_stall
        if stall is not None and (stall.sort != sort or start - stall.end_time > IN_A_ROW):
            self.write(connection, receiver, frame)
            stall = None
        if stall is None:
            waits.window_stall = stall = WindowStall(sort)
        return stall

    def close(self, connection: Connection, packet: Packet) -> None:
        """Write the rows of both directions, because a FIN or RST ends their stalls."""
        self.write(connection, 0, packet.frame)
        self.write(connection, 1, packet.frame)

    def end(self, connection: Connection) -> None:
        """Write the rows of an ended connection: those of current stalls, and one for each probed window that is still 0."""
        for receiver in range(2):
            self.write(connection, receiver, connection.last_frame)
            own = connection.first if receiver == 0 else connection.second
            if own.waits is None or own.waits.zero_window is None or not own.waits.zero_window.is_closed:
                continue
            window = own.waits.zero_window
            if window.probes + window.copies == 0:
                continue
            stall = WindowStall(NEVER_OPENED)
            stall.start_frame, stall.start_time = window.closed_frame, window.closed_time
            stall.copies, stall.copy_frame, stall.copy_time = window.copies, window.copy_frame, window.copy_time
            waited = connection.end - window.closed_time
            add(stall, waited, waited, connection.last_frame, connection.end)
            own.waits.window_stall = stall
            self.write(connection, receiver, connection.last_frame, window)

    def write(self, connection: Connection, receiver: i64, frame: i64, window: ClosedWindow = NO_WINDOW) -> None:
        """Write and drop the row about the windows of direction `receiver`, if there is one.

        `frame`: the packet that ends the row. `window`: the state of that direction's window, if it was still closed at the end.
        """
        peer, own = connection.sides(receiver)
        if peer.waits is None or peer.waits.window_stall is None:
            return
        stall, data = peer.waits.window_stall, own.previous
        peer.waits.window_stall = None
        unscaled = only_one_scales(own.syn, peer.syn)
        self.rows.add(
            [
                connection.id,
                1 - receiver,
                frame,
                is_http(connection),
                connection.has_both_syns,
                stall.sort,
                stall.count,
                stall.waited,
                stall.shut,
                stall.start_frame,
                stall.start_time,
                stall.window,
                window.probes,
                window.probe_frame,
                window.probe_time,
                stall.copies,
                stall.copy_frame,
                stall.copy_time,
                stall.opened_frame,
                stall.opened_time,
                stall.sent_frame,
                stall.sent_time,
                stall.sent_bytes,
                stall.end_frame,
                stall.end_time,
                data is not None and data.ends_message,
                *describe_close(own.close or NOT_CLOSED, stall.start_frame),
                peer.syn.window if unscaled and peer.syn is not None else NEVER,
                peer.syn.first_window if unscaled and peer.syn is not None else NEVER,
                stall.refused if stall.refused > 0 and only_one_scales(peer.syn, own.syn) else NEVER,
            ]
        )


def only_one_scales(one: Syn | None, other: Syn | None) -> bool:
    """Return whether the SYN `one` offers window scaling, and the SYN `other` of the other side does not."""
    return one is not None and one.window_shift >= 0 and other is not None and other.window_shift == -1


def describe_close(close: Close, since: i64) -> list[int]:
    """Return the frame and time of a side's first FIN or RST since frame `since`, and whether it is an RST."""
    has_rst = close.rst_frame >= since and close.rst_frame != NEVER
    has_fin = close.fin_frame >= since and close.fin_frame != NEVER
    if has_rst and not (has_fin and close.fin_frame <= close.rst_frame):
        return [close.rst_frame, close.rst_time, True]
    return [close.fin_frame, close.fin_time, False] if has_fin else [NEVER, NEVER, False]


def add(stall: WindowStall, waited: i64, shut: i64, frame: i64, time: i64) -> None:
    """Add a stall that ended at packet `frame` to its row.

    `waited`: the length of the stall in ns. `shut`: the part of it, in ns, during which the window was 0.
    """
    stall.count += 1
    stall.waited += waited
    stall.shut += shut
    stall.end_frame, stall.end_time = frame, time


def is_http(connection: Connection) -> bool:
    """Return whether a connection has carried HTTP messages."""
    content = connection.http
    return isinstance(content, Conversation) and content.client >= 0
