"""The least strict thresholds of the enabled rules. The core only writes event rows that meet them; no rule uses other rows.

The fields equal those of wiredoctor.rule_engine.cutoffs.Cutoffs.
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64

from wiredoctor.core.tcp.segment import MILLISECOND

UNREACHABLE = (1 << 63) - 1
"""A minimum that no row reaches, used if no rule needs the rows. Negated, it is a maximum that every row exceeds."""


BURST_GAP: Final = 10 * MILLISECOND


class Cutoffs:
    """The least strict thresholds of the enabled rules: minimums and maximums of columns of event tables. Times are in ns."""

    def __init__(self) -> None:
        self.min_ack_delay: i64 = UNREACHABLE
        """The minimum delay of the ACK that a segment waited for."""
        self.max_ack_delay: i64 = 510 * MILLISECOND
        """The maximum delay of the ACK that a segment waited for.

        It is also the maximum time, minus a round trip, between a small segment and its tail loss probe.
        """
        self.max_quick_ack: i64 = -UNREACHABLE
        """The maximum delay of an ACK that counts as prompt."""
        self.min_lateness: i64 = UNREACHABLE
        """The minimum time, minus a round trip, between a full segment and the last segment of its message.

        If the last segment comes later although the ACK was prompt, the sending program wrote it late.
        """
        self.min_probe_wait: i64 = 200 * MILLISECOND
        """The minimum time, minus a round trip, between a small segment and the next segment that may be its tail loss probe."""
        self.min_cork_wait: i64 = UNREACHABLE
        """The minimum time, minus round trips, from the ACK of a message's full segments to its short last segment."""
        self.max_cork_wait: i64 = -UNREACHABLE
        """The maximum time, minus round trips, from the ACK of a message's full segments to its short last segment.

        A quarter of a round trip is added as tolerance.
        """
        self.min_stall: i64 = UNREACHABLE
        """The minimum duration of a stall: the time without progress before the retransmission that ended the stall."""
        self.min_retransmission_delay: i64 = 50 * MILLISECOND
        """The minimum time without progress after which retransmissions are counted."""
        self.min_copies: i64 = UNREACHABLE
        """The minimum number of times that a side has sent the same unacknowledged data, including the first time."""
        self.min_closed_window: i64 = 20 * MILLISECOND
        """The minimum time for which a window was closed."""
        self.min_window_wait: i64 = UNREACHABLE
        """The minimum time that a sender lost because its data was refused, or because a small window made it wait for a timer.

        The timer is the override timer, after which a sender fills a window that is too small for a full segment.
        """
        self.min_run: i64 = UNREACHABLE
        """The minimum number of segments in a run of small segments; 2 are enough if the run continues in another message."""
        self.max_run: i64 = -UNREACHABLE
        self.max_run_interval: i64 = 20 * MILLISECOND
        """The maximum time between two segments of a run."""
        self.min_flush_gap: i64 = 5 * MILLISECOND
        """If at least this much time passes between two small segments, the first counts as flushed on purpose."""
        self.min_chunk_gap: i64 = 3 * MILLISECOND // 2
        """The same for the chunks of a body that is not an HTML page, and for the segments with them."""
        self.min_pause: i64 = 50 * MILLISECOND
        """The minimum length of a pause of the application within a body; shorter pauses are not counted."""
        self.min_pause_after_head: i64 = 1000 * MILLISECOND
        """The minimum length of a pause between the head and the body of a response; shorter pauses are not recorded."""
        self.min_event_pause: i64 = 500 * MILLISECOND
        """The minimum length of the pause before a burst of events that may have been held back."""
        self.min_held_events: i64 = 3
        """If at least this many events arrive together after a pause, they may have been held back."""

        self.min_transfer: i64 = 1000 * MILLISECOND
        """The minimum duration of a body for which the core determines what limited its transfer rate."""

    def burst_gap(self) -> i64:
        """Return the shortest pause (ns) that separates two bursts. Callers use two round trips instead if that is longer."""
        return min(BURST_GAP, self.min_pause)
