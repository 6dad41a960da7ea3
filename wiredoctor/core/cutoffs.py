"""The least demanding thresholds of the rules that run: no event row is written beyond them.

The fields are those of wiredoctor.cutoffs.Cutoffs, with the values that tables.SEGMENTS describes.
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64

from wiredoctor.core.segment import MILLISECOND

UNREACHABLE = (1 << 63) - 1
"""As a minimum (and its negative as a maximum): no rule needs these rows."""


BURST_GAP: Final = 10 * MILLISECOND


class Cutoffs:
    """Minimums and maximums; times are in nanoseconds."""

    def __init__(self) -> None:
        self.min_ack_delay: i64 = UNREACHABLE
        """Delay of the ACK that a segment waited for."""
        self.max_ack_delay: i64 = 510 * MILLISECOND
        """The same; also the time, besides round trips, after which a probe is no longer taken for one."""
        self.max_quick_ack: i64 = -UNREACHABLE
        """Delay of an ACK that counts as prompt."""
        self.min_lateness: i64 = UNREACHABLE
        """Time from which on the end of a message counts as late by itself, although the ACK was prompt."""
        self.min_probe_wait: i64 = 200 * MILLISECOND
        """Time after which a segment may have been sent by a tail loss probe."""
        self.min_cork_wait: i64 = UNREACHABLE
        """Time between the ACK of full segments and the small end of their message, less round trips."""
        self.max_cork_wait: i64 = -UNREACHABLE
        """The same; a quarter of a round trip is allowed besides."""
        self.min_stall: i64 = UNREACHABLE
        """Time without progress before the retransmission that ended it."""
        self.min_retransmission_delay: i64 = 50 * MILLISECOND
        """Time without progress from which on retransmissions are counted."""
        self.min_copies: i64 = UNREACHABLE
        """Copies of data that is not acknowledged."""
        self.min_closed_window: i64 = 20 * MILLISECOND
        """How long a window was closed."""
        self.min_run: i64 = UNREACHABLE
        """Segments of a run of small ones; of a run that another message continues, 2 are enough."""
        self.max_run: i64 = -UNREACHABLE
        self.max_run_interval: i64 = 20 * MILLISECOND
        """Time between two segments of a run."""
        self.min_flush_gap: i64 = 5 * MILLISECOND
        """Time between two small pieces from which on the first was flushed on purpose."""
        self.min_pause: i64 = 50 * MILLISECOND
        """Pauses of the application within a body that are counted."""
        self.min_event_pause: i64 = 500 * MILLISECOND
        """The same before a burst of held-back events."""
        self.min_held_events: i64 = 3
        """Events of such a burst."""

        self.min_transfer: i64 = 1000 * MILLISECOND
        """How long a body takes of which it is told what limited it."""

    def burst_gap(self) -> i64:
        """Return the shortest pause between two bursts, unless two round trips are longer."""
        return min(BURST_GAP, self.min_pause)
