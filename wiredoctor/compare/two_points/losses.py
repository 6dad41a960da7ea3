"""Judge packets that only one of two captures has.

Such a packet was lost between the points, was injected, or was not captured at the other point. Or the other capture does not
cover its time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from wiredoctor.compare.two_points.byte_times import Streams
from wiredoctor.compare.two_points.matching import NOBODY
from wiredoctor.compare.two_points.result import OneSidedKind
from wiredoctor.tables import RST, SECOND, Array

if TYPE_CHECKING:
    from wiredoctor.compare.two_points.wire import Wire

MAX_JUDGED = 200_000
"""The maximum number of packets per capture that are judged individually; the others count as "lost-or-not-recorded"."""

HOPS_APART = 2
"""The time to live of a packet is suspicious if it differs by at least this much from the usual value.

A difference of one hop may be due to another route.
"""

LEAST_OTHERS = 3


class Verdict(NamedTuple):
    """The verdict on a packet that only one capture has.

    `row`: the packet's row in the Rows of its capture. `kind`: the reason why the other capture lacks it. `why`: the facts that
    show this reason.
    """

    row: int
    kind: OneSidedKind
    why: str


def only_at(wire: Wire, near: Streams, far: Streams, second: bool) -> list[Verdict]:
    """Return verdicts on the packets that only one capture has, in capture order. `second`: True if only the second has them.

    `near`: the streams at the capture point of that capture. `far`: the streams at the other point.
    """
    rows = wire.b if second else wire.a
    # forward packets pass the first point first
    away = rows.forward != second
    part = wire.part_b if second else wire.part_a
    chosen = np.flatnonzero(((wire.back if second else wire.partner) == NOBODY) & ((part == 0) | ((part == 1) & away)))
    leaving = away[chosen]
    delay = np.where(rows.forward[chosen], wire.typical[0], wire.typical[1]) * np.where(leaving, 1, -1)
    there = (wire.on_first if second else wire.on_second)(rows.time[chosen]) + delay
    begun, over = _beyond(wire, second, chosen, there - delay)
    outside = begun | over
    judge = _Judge(wire, near, far, second)
    made: list[Verdict] = []
    for number, (row, sent, elsewhere, early, at) in enumerate(
        zip(chosen.tolist(), leaving.tolist(), outside.tolist(), begun.tolist(), there.tolist(), strict=True)
    ):
        if elsewhere:
            made.append(Verdict(row, "outside", "the other capture had not begun" if early else "the other capture had ended"))
        elif part[row]:
            made.append(Verdict(row, "lost", "some of its bytes did not arrive"))
        elif number >= MAX_JUDGED:
            made.append(Verdict(row, "lost-or-not-recorded", "too many packets to judge each of them"))
        else:
            made.append(judge.judge_sent(row, at) if sent else judge.judge_received(row))
    return made


MARGIN = SECOND // 100
"""The time in ns that is added to twice the longest observed delay to get the maximum transit time of a packet."""


def _beyond(wire: Wire, second: bool, chosen: Array, moment: Array) -> tuple[Array, Array]:
    """Return which packets may have passed the other point before its capture began, and which after its capture ended.

    The result is two Boolean arrays. An element is true if the other capture has no earlier (or no later) packet of the same
    direction, and if the packet may have passed then, judging by the observed delays. `chosen`: the rows of the packets.
    `second`: True if they are in the second capture. `moment`: the times at which they were captured, by the clock of the other
    capture.
    """
    rows, other = (wire.b, wire.one) if second else (wire.a, wire.two)
    matched = (wire.back if second else wire.partner) != NOBODY
    begun, over = np.zeros(len(chosen), bool), np.zeros(len(chosen), bool)
    for forward in (True, False):
        mine = rows.forward[chosen] == forward
        delays = wire.delays(forward)
        least, most = (max(0.0, float(delays.min())), 2 * float(delays.max()) + MARGIN) if len(delays) else (0.0, float(MARGIN))
        early, late = (least, most) if forward != second else (-most, -least)
        passed = rows.time[matched & (rows.forward == forward)]
        first, last = (int(passed.min()), int(passed.max())) if len(passed) else (np.iinfo(np.int64).max, -1)
        times = rows.time[chosen]
        begun |= mine & (times < first) & (moment + early < 0)
        over |= mine & (times > last) & (moment + late > other.last)
    return begun, over


class _Judge:
    """Judges a packet that only one capture has. `near`: the point that captured it; `far`: the point that did not."""

    def __init__(self, wire: Wire, near: Streams, far: Streams, second: bool) -> None:
        self.wire, self.near, self.far = wire, near, far
        point = wire.two if second else wire.one
        self.rows = near.rows
        self.flags = point.packets["flags"][self.rows.row]
        self.ttl = point.packets["ttl"][self.rows.row]
        self.matched = (wire.back if second else wire.partner) != NOBODY
        self.trip = max(0.0, sum(wire.typical))
        self.reset = _reset(near, self.flags) | _reset(far, (wire.one if second else wire.two).packets["flags"][far.rows.row])
        self._usual: dict[int, tuple[int, int, int]] = {}

    def judge_sent(self, row: int, expected: float) -> Verdict:
        """Return the verdict on a packet that was sent toward the other point.

        `expected`: when the packet was due at the other point (ns of the clock there).
        """
        group, start, end = int(self.near.group[row]), int(self.near.start[row]), int(self.near.end[row])
        if end <= start:
            return Verdict(row, "lost-or-not-recorded", "later packets do not show whether it arrived")
        came = self.far.first_with(group, end - 1)
        acknowledged = self.far.first_acknowledging(group, end)
        if acknowledged is not None and (came is None or acknowledged < came):
            return Verdict(row, "not-recorded", "the other capture has its acknowledgment, but no earlier copy of the packet")
        if came is None and self.near.first_acknowledging(group, end) is not None:
            return Verdict(row, "not-recorded", "the receiver acknowledged the packet, as the capture at the sender shows")
        if came is None and group >> 1 in self.reset:
            return Verdict(row, "lost-or-not-recorded", "its connection was reset, so it could not be acknowledged")
        if came is None and not self._answered_since(group, row):
            return Verdict(row, "lost-or-not-recorded", "later packets do not show whether it arrived")
        if came is None:
            return Verdict(row, "lost", "neither the packet nor a retransmission was acknowledged")
        if came <= expected:
            return Verdict(row, "lost-or-not-recorded", "it repeats data that had arrived; later packets cannot show its loss")
        return Verdict(row, "lost", "only its retransmission arrived")

    def _answered_since(self, group: int, row: int) -> bool:
        """Return whether the receiver later sent a packet that could have acknowledged the packet in `row`.

        `group`: the direction of a connection to which the packet belongs.
        """
        theirs = self.near.rows_in(group ^ 1)
        return bool((self.rows.time[theirs] > self.rows.time[row] + self.trip).any())

    def judge_received(self, row: int) -> Verdict:
        """Return the verdict on a packet that is missing at the other point although it should have passed that point first."""
        group = int(self.near.group[row])
        ttl, count, last = self._usual_ttl(group)
        continued = int(self.rows.time[row]) < last
        strange = count >= LEAST_OTHERS and abs(int(self.ttl[row]) - ttl) >= HOPS_APART
        if strange:
            what = f"its time to live is {int(self.ttl[row])}, but {ttl} in the sender's other packets"
            return Verdict(row, "injected", what + (", and its sender continued" if continued else ""))
        if self.flags[row] & RST and continued and self._sends_later(group, row):
            return Verdict(row, "injected", "its sender continued as if it had not sent the packet")
        if self.flags[row] & RST and count >= LEAST_OTHERS and self._has_all_others(group):
            return Verdict(row, "injected", "the capture at its sender has all other packets of the connection")
        return Verdict(row, "not-recorded", "it must have passed the other point, but the capture made there does not have it")

    def _usual_ttl(self, group: int) -> tuple[int, int, int]:
        """Return the usual time to live of a group's packets at this point, their number, and the time of the last packet (ns).

        Only packets that are in both captures count. A group is one direction of a connection.
        """
        if group not in self._usual:
            rows = self.near.rows_in(group)
            rows = rows[self.matched[rows]]
            counts = np.bincount(self.ttl[rows], minlength=1)
            last = int(self.rows.time[rows].max()) if len(rows) else 0
            self._usual[group] = int(counts.argmax()), len(rows), last
        return self._usual[group]

    def _has_all_others(self, group: int) -> bool:
        """Return whether both captures have all packets of the group except resets. A group is one direction of a connection."""
        rows = self.near.rows_in(group)
        return bool(self.matched[rows[(self.flags[rows] & RST) == 0]].all())

    def _sends_later(self, group: int, row: int) -> bool:
        rows = self.near.rows_in(group)
        later = rows[(self.rows.time[rows] > self.rows.time[row]) & self.matched[rows]]
        return bool(((self.flags[later] & RST) == 0).any())


def _reset(streams: Streams, flags: Array) -> set[int]:
    """Return the indexes of the paired connections with a reset. `flags`: the TCP flags of the packets in `streams`."""
    return set(np.unique(streams.rows.pair[(flags & RST) != 0]).tolist())


class Repeats(NamedTuple):
    """The retransmitted segments with payload that one point captured on their way to the other point.

    `rows`: their rows in the Rows of the capture. `needless`: the rows of segments that arrived after the receiver had
    acknowledged their payload. The other four fields count the needless segments by reason (see Way).
    """

    rows: Array
    needless: Array
    ack_lost: int
    ack_late: int
    ack_not_sent: int
    ack_beyond: int


def retransmissions(wire: Wire, near: Streams, far: Streams, forward: bool) -> Repeats:
    """Return the retransmissions of one direction. `near`: the point that the packets pass first; `far`: the other point."""
    rows = near.rows
    second = not forward
    point = wire.two if second else wire.one
    p = point.packets
    here = rows.row
    wanted = p["retransmission"][here] & (p["length"][here] > 0) & ~p["keep_alive_probe"][here] & (rows.forward == forward)
    chosen = np.flatnonzero(wanted)[:MAX_JUDGED]
    delay = wire.typical[0] if forward else wire.typical[1]
    arrives = (wire.on_first if second else wire.on_second)(rows.time[chosen]) + delay
    to_near = wire.on_second if second else wire.on_first
    needless: list[int] = []
    reasons = [0, 0, 0, 0]
    for row, expected in zip(chosen.tolist(), arrives.tolist(), strict=True):
        group, end = int(near.group[row]), int(near.end[row])
        # passing the far point does not prove arrival at the receiver; only an ACK older than this packet does
        left = far.first_acknowledging(group, end)
        own = _own_arrival(wire, row, second)
        if left is None or left >= (own if own is not None else expected - delay):
            continue
        needless.append(row)
        came = near.first_acknowledging(group, end)
        sent = int(rows.time[row])
        if float(to_near(np.array([left]))[0]) > sent:
            reasons[2] += 1
        elif came is None or _is_first_ack_lost(wire, far, group, end, left, second):
            reasons[0] += 1
        elif came <= sent:  # the packet passed this point in time; what happened after that is unknown
            reasons[3] += 1
        else:
            reasons[1] += 1
    return Repeats(chosen, np.array(needless, np.int64), *reasons)


def _own_arrival(wire: Wire, row: int, second: bool) -> int | None:
    """Return when a packet passed the other point (ns of the clock there); None if it was not captured there.

    `row`: the row of the packet in its capture. `second`: True if that is the second capture.
    """
    other = int((wire.back if second else wire.partner)[row])
    return None if other == NOBODY else int((wire.a if second else wire.b).time[other])


def _is_first_ack_lost(wire: Wire, far: Streams, group: int, end: int, left: int, second: bool) -> bool:
    """Return whether the first ACK that covers all bytes before `end` was lost on its way from the far point to the near point.

    `left`: the time at which that ACK passed the far point (ns of the clock there). `group`: the direction of the acknowledged
    bytes. `second`: True if the near point is that of the second capture.
    """
    rows = far.rows_in(group ^ 1)
    first = rows[(far.rows.time[rows] == left) & (far.ack[rows] >= end)]
    partner = wire.partner if second else wire.back
    return bool(len(first)) and bool((partner[first] == NOBODY).all())
