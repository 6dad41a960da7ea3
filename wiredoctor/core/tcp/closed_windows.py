"""Track closed receive windows from the announcement until the sender sends new data into the reopened window.

A window is closed while its receiver announces less than one MSS. A window of more than 0 bytes only counts as closed if a full
segment follows.
"""

from __future__ import annotations

from mypy_extensions import i64

from wiredoctor.core.capture.packet import Packet
from wiredoctor.core.tcp.connection import Side, waits_of
from wiredoctor.core.tcp.segment import ACK, NEVER, RST, SYN, Segment
from wiredoctor.core.tcp.waits import ClosedWindow, Waits


def follow_window(own: Side, packet: Packet, segment: Segment, least: i64) -> None:
    """Update the closed windows of the side `own` from the window that its packet announces.

    `least`: a window that opens after less than this many ns does not count; see `change_window`.
    """
    if packet.flags & (ACK | RST | SYN) != ACK or segment.ack < own.acknowledged:
        return
    is_zero = packet.window == 0
    is_short = is_zero or (segment.window < segment.peer_mss and segment.window != NEVER)
    waits = own.waits
    if not is_short and (waits is None or waits.short_window is None):
        return
    waits = waits_of(own)
    waits.zero_window = change_window(waits.zero_window, is_zero, packet, segment, least)
    waits.short_window = change_window(waits.short_window, is_short, packet, segment, least)


def change_window(
    window: ClosedWindow | None, is_closed: bool, packet: Packet, segment: Segment, least: i64
) -> ClosedWindow | None:
    """Return the newest closed window of a receiver that has just announced a window, or None.

    `window`: the closed window before the announcement, or None. `is_closed`: true if the announced window counts as closed. A
    window that was closed for less than `least` ns is forgotten, unless the receiver discarded data meanwhile. When a window
    closes again, a new object replaces `window`. The old object stays as long as the receiver has not accepted the data that it
    discarded.
    """
    if is_closed:
        if window is not None and window.is_refusing and not window.is_closed:
            close_again(window)
        if window is None or not window.is_closed:
            window = ClosedWindow()
            window.is_closed = True
            window.closed_frame = packet.frame
            window.closed_time = packet.time
            window.closed_window = 0 if packet.window == 0 else segment.window
        window.announced_frame, window.announced_time = packet.frame, packet.time
        window.unanswered = 0
        return window
    if window is None or not window.is_closed:
        return window
    if packet.time - window.closed_time < least and not window.is_refusing:
        return None
    window.is_closed = False
    window.opened_frame = packet.frame
    window.opened_time = packet.time
    return window


def close_again(window: ClosedWindow) -> None:
    """Mark a reopened window as closed again, because its receiver has not yet accepted any of the refused data."""
    window.is_closed = True
    window.opened_frame = window.opened_time = NEVER
    if window.resumed_frame != NEVER:
        window.copies += 1
        if window.copies == 1:
            window.copy_frame, window.copy_time = window.resumed_frame, window.resumed_time
        window.resumed_frame = window.resumed_time = NEVER


def count_window_probe(waits: Waits, packet: Packet, segment: Segment) -> None:
    """Count a probe of the peer's closed window: a keep-alive probe, or one byte of data."""
    if segment.keep_alive_probe or packet.length == 1:
        count_probe(waits.zero_window, packet)
        count_probe(waits.short_window, packet)


def count_probe(window: ClosedWindow | None, packet: Packet) -> None:
    """Count a window probe if the window is closed."""
    if window is None or not window.is_closed:
        return
    window.probes += 1
    window.unanswered += 1
    if window.probes == 1:
        window.probe_frame = packet.frame
        window.probe_time = packet.time


def take_closed_window(own: Side, waits: Waits, packet: Packet, segment: Segment) -> ClosedWindow | None:
    """Return the closed window of the peer if it delayed this segment, the first new data since the window reopened.

    Return None for any other segment. The window is forgotten at the first new data, even if it did not delay this data.
    """
    if segment.new_bytes <= 0 or packet.length <= 1:
        return None
    found: ClosedWindow | None = None
    zero, short = waits.zero_window, waits.short_window
    if zero is not None and zero.is_refusing and segment.in_flight_before > 1:
        return None
    if zero is not None and not zero.is_closed:
        waits.zero_window = None
        if has_waited(own, zero):
            found = zero
    if short is not None and not short.is_closed:
        waits.short_window = None
        if segment.full and has_waited(own, short):
            found = short
    return found


def has_waited(own: Side, window: ClosedWindow) -> bool:
    """Return whether a side has sent nothing but window probes since it learned that its peer had closed the window.

    Data captured within one round trip (from the capture point to the side) after the announcement does not count, because the
    side sent it before it knew of the closed window.
    """
    data = own.previous
    if data is None or data.frame < window.closed_frame or data.length <= 1:
        return True
    return own.rtt != NEVER and data.time - window.closed_time <= own.rtt
