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
    """The limits beyond which no event row is written. Minimums are named min_..., maximums max_...; times are in nanoseconds.

    The description of each field begins with the tables whose rows it limits. In `releases`, a row is about a segment that may
    have waited for an ACK; the data segment before it on the same side is called the first write.
    """

    min_ack_delay: int = UNREACHABLE
    """For the table `releases`: the minimum delay of an ACK that a segment waited for."""
    max_ack_delay: int = -UNREACHABLE
    """`releases`: the maximum delay of an ACK that a segment waited for, and the maximum wait (without the round trip) of a
    segment that may be a tail loss probe.
    """
    max_quick_ack: int = -UNREACHABLE
    """`releases`: the maximum delay of an ACK that counts as prompt."""
    min_lateness: int = UNREACHABLE
    """`releases`: the minimum time from the first write to the last segment of the message, minus round trips, if the ACK was
    prompt.

    If the ACK was prompt, waiting for it cannot explain a delay this long: the program wrote the segment late.
    """
    min_probe_wait: int = UNREACHABLE
    """`releases`: the minimum time from the first write to the next segment, if that segment may be a tail loss probe."""
    min_cork_wait: int = UNREACHABLE
    """`releases`: the minimum time from the ACK of a full segment to the small last segment of the same message, minus round
    trips.

    TCP_CORK holds back such a segment for at least this long.
    """
    max_cork_wait: int = -UNREACHABLE
    """`releases`: the maximum wait of a segment that TCP_CORK held back, measured as for `min_cork_wait`.

    A quarter of a round trip is added as tolerance.
    """
    min_stall: int = UNREACHABLE
    """`recoveries`: the minimum time without progress before the retransmission that ended it."""
    min_retransmission_delay: int = UNREACHABLE
    """`recoveries`: the minimum time without progress after which retransmissions are counted."""
    min_copies: int = UNREACHABLE
    """`unacknowledged`: the minimum number of copies of the data, including the first."""
    min_closed_window: int = UNREACHABLE
    """`closures`: the minimum time for which the window was closed."""
    min_window_wait: int = UNREACHABLE
    """`window_stalls`: the minimum time that a sender waited, either because the receiver discarded data for lack of buffer
    space, or until the sender's override timer expired (RFC 9293 section 3.8.6.2.1).
    """
    min_run: int = UNREACHABLE
    """`runs`: the minimum number of segments in a run of small segments. Two segments are enough if the run continues in the next
    message.
    """
    max_run: int = -UNREACHABLE
    """`runs`: the maximum number of segments in a run."""
    max_run_interval: int = -UNREACHABLE
    """`runs`: the maximum time between two segments of a run."""
    min_flush_gap: int = 5 * MILLISECOND
    """`runs`, `exchanges`: the minimum time between two small segments or chunks, if the program flushed the first one on
    purpose.
    """
    min_chunk_gap: int = 3 * MILLISECOND // 2
    """`runs`, `exchanges`: the same for the chunks of a body that is not an HTML page."""
    min_pause: int = 50 * MILLISECOND
    """`exchanges`: the minimum length of a pause of the application within a body. Shorter pauses are not counted.

    A rule may only lower the default, because several rules rely on it.
    """
    min_pause_after_head: int = SECOND
    """`exchanges`: the minimum length of a pause between the head and the body of a response. Shorter pauses are not recorded."""
    min_event_pause: int = 500 * MILLISECOND
    """`exchanges`: the minimum length of a pause in an event stream before several events arrive together, because something held
    them back.
    """
    min_held_events: int = 3
    """`exchanges`: the minimum number of events that arrive together after a pause of at least `min_event_pause`."""
    min_transfer: int = SECOND
    """`transfers`, `exchanges`: the minimum duration of the transfer of a body. For a shorter transfer, the cause that limited
    its speed is not determined.
    """

    def widened(self, others: Iterable[Mapping[str, int]]) -> Cutoffs:
        """Return cutoffs that admit all rows that these cutoffs, or any of `others` (field -> value), admit."""
        wide = self._asdict()
        for other in others:
            for name, value in other.items():
                wide[name] = (max if name.startswith("max_") else min)(wide[name], value)
        return Cutoffs(**wide)

    def of_all_segments(self) -> Cutoffs:
        """Return cutoffs that admit every event for which the table `segments` has a column, whichever rules run."""
        return self.widened([_SEGMENTS])


_SEGMENTS = {
    "max_ack_delay": 510 * MILLISECOND,
    "min_probe_wait": 200 * MILLISECOND,
    "min_retransmission_delay": 50 * MILLISECOND,
    "min_closed_window": 20 * MILLISECOND,
    "max_run_interval": 20 * MILLISECOND,
}

_OF_ONE_RULE = ("min_event_pause", "min_held_events", "min_flush_gap", "min_chunk_gap")
"""The fields whose default applies only if no enabled rule declares a value.

These fields decide what a column counts. If the default were less strict than the declared value, the column would count more
than the rule expects.
"""


def least_demanding(declared: Sequence[Mapping[str, int]]) -> Cutoffs:
    """Return cutoffs that admit all rows that any of these declarations (field -> value) needs."""
    own = {name: UNREACHABLE for name in _OF_ONE_RULE if any(name in one for one in declared)}
    return Cutoffs()._replace(**own).widened(declared)
