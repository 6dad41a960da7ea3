"""The least demanding thresholds of the rules that run: the engine writes no event row beyond them.

Thresholds are declared in the files of rules. A rule returns from its function `cutoffs` the values by which the engine may leave
out rows; `rules.cutoffs` collects them. What lies within a cutoff is judged by each rule with its own thresholds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace

from wiredoctor.tables import MILLISECOND, SECOND

UNREACHABLE = (1 << 63) - 1
"""As a minimum (and its negative as a maximum): no rule needs these rows, and none is written."""

_BURST_GAP = 10 * MILLISECOND


@dataclass(frozen=True)
class Cutoffs:
    """Minimums are named min_..., maximums max_...; times are in nanoseconds."""

    min_ack_delay: int = UNREACHABLE
    """`releases`: delay of the ACK that a segment waited for."""
    max_ack_delay: int = -UNREACHABLE
    """`releases`: the same; also the time, besides round trips, after which a probe is no longer taken for one."""
    max_quick_ack: int = -UNREACHABLE
    """`releases`: delay of an ACK that counts as prompt."""
    min_lateness: int = UNREACHABLE
    """`releases`: time between first write and held-back segment, without round trips, from which on the end of a message counts
    as late by itself, although the ACK was prompt."""
    min_probe_wait: int = UNREACHABLE
    """`releases`: time after which a segment may have been sent by a tail loss probe."""
    min_cork_wait: int = UNREACHABLE
    """`releases`: time between the ACK of full segments and the small end of their message, less round trips."""
    max_cork_wait: int = -UNREACHABLE
    """`releases`: the same; a quarter of a round trip is allowed besides."""
    min_stall: int = UNREACHABLE
    """`recoveries`: time without progress before the retransmission that ended it."""
    min_retransmission_delay: int = UNREACHABLE
    """`recoveries`: time without progress from which on retransmissions are counted."""
    min_copies: int = UNREACHABLE
    """`unacknowledged`: how often the data was sent."""
    min_closed_window: int = UNREACHABLE
    """`closures`: how long the window was closed."""
    min_run: int = UNREACHABLE
    """`runs`: segments of a run of small segments; of a run that another message continues, 2 are enough."""
    max_run: int = -UNREACHABLE
    """`runs`: the same."""
    max_run_interval: int = -UNREACHABLE
    """`runs`: time between two segments of a run."""
    min_flush_gap: int = 5 * MILLISECOND
    """Columns of `runs` and `exchanges`: time between two small pieces from which on the first was flushed on purpose."""
    min_pause: int = 50 * MILLISECOND
    """Columns of `exchanges`: pauses of the application within a body that are counted. At most the default: several rules count
    on it."""
    min_event_pause: int = 500 * MILLISECOND
    """Columns of `exchanges`: the same before a burst of held-back events."""
    min_held_events: int = 3
    """Columns of `exchanges`: events of such a burst."""
    min_transfer: int = SECOND
    """`transfers`, and columns of `exchanges`: how long a body takes of which it is told what limited it."""

    @property
    def min_burst_gap(self) -> int:
        """The shortest pause between two bursts, unless two round trips are longer."""
        return min(_BURST_GAP, self.min_pause)

    def widened(self, others: Iterable[Mapping[str, int]]) -> Cutoffs:
        """Return cutoffs that leave out no row that these cutoffs or any of `others` (field -> value) include."""
        wide = {field.name: getattr(self, field.name) for field in fields(self)}
        for other in others:
            for name, value in other.items():
                wide[name] = (max if name.startswith("max_") else min)(wide[name], value)
        return Cutoffs(**wide)

    def of_all_segments(self) -> Cutoffs:
        """Return these cutoffs, widened to what the columns of `segments` describe whatever rules run."""
        return self.widened([_SEGMENTS])


_SEGMENTS = {
    "max_ack_delay": 510 * MILLISECOND,
    "min_probe_wait": 200 * MILLISECOND,
    "min_retransmission_delay": 50 * MILLISECOND,
    "min_closed_window": 20 * MILLISECOND,
    "max_run_interval": 20 * MILLISECOND,
}

ALL_SEGMENTS = Cutoffs().of_all_segments()
"""What applies if no rule runs."""

_OF_ONE_RULE = ("min_event_pause", "min_held_events", "min_flush_gap")
"""Fields whose default holds only if no rule declares them: a column that counts cannot be filtered afterwards."""


def least_demanding(declared: Sequence[Mapping[str, int]]) -> Cutoffs:
    """Return the cutoffs that leave out no row that one of these declarations (field -> value) needs."""
    own = {name: UNREACHABLE for name in _OF_ONE_RULE if any(name in one for one in declared)}
    return replace(Cutoffs(), **own).widened(declared)
