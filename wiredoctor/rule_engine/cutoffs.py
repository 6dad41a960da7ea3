"""The cutoffs of the selected rules: limits beyond which the engine writes no event rows, because no rule needs them.

Rule files declare thresholds. The function `cutoffs` of a rule returns the limits beyond which the engine may omit rows, and
`RuleSet.cutoffs` combines them. Each rule then applies its own thresholds to the rows within the cutoffs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from wiredoctor.tables import MILLISECOND, SECOND

UNREACHABLE = (1 << 63) - 1
"""A minimum (or, negated, a maximum) that no row reaches, so no row is written: used if no rule needs the rows."""


class Cutoffs(NamedTuple):
    """The limits beyond which no event row is written. Minimums are named min_..., maximums max_...; times are in nanoseconds."""

    min_ack_delay: int = UNREACHABLE
    """`releases`: the minimum delay of the ACK for which a segment waited."""
    max_ack_delay: int = -UNREACHABLE
    """`releases`: the maximum delay of an ACK that a segment waited for, and the maximum wait (without the round trip) of a
    segment that may be a tail loss probe.
    """
    max_quick_ack: int = -UNREACHABLE
    """`releases`: the maximum delay of an ACK that counts as prompt."""
    min_lateness: int = UNREACHABLE
    """`releases`: the minimum time after which the end of a message counts as late although the ACK was prompt.

    It is the time between the first write and the held-back segment, without round trips.
    """
    min_probe_wait: int = UNREACHABLE
    """`releases`: the minimum wait of a segment that a tail loss probe may have sent."""
    min_cork_wait: int = UNREACHABLE
    """`releases`: the minimum time between the ACK of full segments and the small end of their message, minus round trips."""
    max_cork_wait: int = -UNREACHABLE
    """`releases`: the maximum of the time that `min_cork_wait` limits; a quarter of a round trip is added as tolerance."""
    min_stall: int = UNREACHABLE
    """`recoveries`: the minimum time without progress before the retransmission that ended it."""
    min_retransmission_delay: int = UNREACHABLE
    """`recoveries`: the minimum time without progress after which retransmissions are counted."""
    min_copies: int = UNREACHABLE
    """`unacknowledged`: the minimum number of times that the data was sent."""
    min_closed_window: int = UNREACHABLE
    """`closures`: the minimum time for which the window was closed."""
    min_window_wait: int = UNREACHABLE
    """`window_stalls`: the minimum time that a sender waited because its data was refused, or for its override timer."""
    min_run: int = UNREACHABLE
    """`runs`: the minimum number of segments in a run of small segments; 2 suffice if another message continues the run."""
    max_run: int = -UNREACHABLE
    """`runs`: the maximum number of segments in a run."""
    max_run_interval: int = -UNREACHABLE
    """`runs`: the maximum time between two segments of a run."""
    min_flush_gap: int = 5 * MILLISECOND
    """`runs`, `exchanges`: the minimum time between two small pieces after which the first one counts as flushed on purpose."""
    min_pause: int = 50 * MILLISECOND
    """`exchanges`: the minimum length of a pause of the application within a body, for the pause to be counted.

    A rule may only lower the default, because several rules rely on it.
    """
    min_pause_after_head: int = SECOND
    """`exchanges`: the minimum length of a pause between the head and the body of a response, for the pause to be recorded."""
    min_event_pause: int = 500 * MILLISECOND
    """`exchanges`: the minimum length of a pause before a burst of held-back events."""
    min_held_events: int = 3
    """`exchanges`: the minimum number of events in a burst of held-back events."""
    min_transfer: int = SECOND
    """`transfers`, `exchanges`: the minimum duration of a body whose limiting factors are determined."""

    def widened(self, others: Iterable[Mapping[str, int]]) -> Cutoffs:
        """Return cutoffs that admit all rows that these cutoffs, or any of `others` (field -> value), admit."""
        wide = self._asdict()
        for other in others:
            for name, value in other.items():
                wide[name] = (max if name.startswith("max_") else min)(wide[name], value)
        return Cutoffs(**wide)

    def of_all_segments(self) -> Cutoffs:
        """Return cutoffs that are wide enough for the columns of `segments` to contain all their events, whichever rules run."""
        return self.widened([_SEGMENTS])


_SEGMENTS = {
    "max_ack_delay": 510 * MILLISECOND,
    "min_probe_wait": 200 * MILLISECOND,
    "min_retransmission_delay": 50 * MILLISECOND,
    "min_closed_window": 20 * MILLISECOND,
    "max_run_interval": 20 * MILLISECOND,
}

_OF_ONE_RULE = ("min_event_pause", "min_held_events", "min_flush_gap")
"""The fields whose default applies only if no rule declares them. They decide what a column counts, so a default could add to the
count of the rule that declares another value.
"""


def least_demanding(declared: Sequence[Mapping[str, int]]) -> Cutoffs:
    """Return cutoffs that admit all rows that any of these declarations (field -> value) needs."""
    own = {name: UNREACHABLE for name in _OF_ONE_RULE if any(name in one for one in declared)}
    return Cutoffs()._replace(**own).widened(declared)
