"""Packets that only one of two recordings has: lost between the points, not recorded, injected, or outside the other
recording."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from wiredoctor.compare.two_points.byte_times import Streams
from wiredoctor.compare.two_points.matching import NOBODY
from wiredoctor.compare.two_points.result import OneSidedKind
from wiredoctor.tables import RST, SECOND, Array

if TYPE_CHECKING:
    from wiredoctor.compare.two_points.matched_packets import Wire

MOST_JUDGED = 200_000
"""Packets of a recording that are judged one by one; the rest of them count as "lost-or-not-recorded"."""

HOPS_APART = 2
"""By how much the time to live of an injected packet differs from that of the others at least: routes change by one."""

LEAST_OTHERS = 3


class Verdict(NamedTuple):
    """What became of a packet. `row`: in the Rows of its recording."""

    row: int
    kind: OneSidedKind
    why: str


def only_at(wire: Wire, near: Streams, far: Streams, second: bool) -> list[Verdict]:
    """The packets that only one recording has (`second`: the second one), in the order in which they were captured.

    near, far: the streams at its point, and at that of the other.
    """
    rows = wire.b if second else wire.a
    # what goes forward passes the first point first
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
            made.append(Verdict(row, "outside", "the other recording had not begun" if early else "the other recording was over"))
        elif part[row]:
            made.append(Verdict(row, "lost", "some of its bytes did not come with the rest"))
        elif number >= MOST_JUDGED:
            made.append(Verdict(row, "lost-or-not-recorded", "too many to be judged one by one"))
        else:
            made.append(judge.sent(row, at) if sent else judge.received(row))
    return made


MARGIN = SECOND // 100
"""By how much longer than twice the longest delay that was seen a packet may have been under way (ns)."""


def _beyond(wire: Wire, second: bool, chosen: Array, moment: Array) -> tuple[Array, Array]:
    """Which packets may have passed the other point before its recording began, or when it was over: no packet of their direction
    that passed earlier, or later, is there, and the time that is left is no longer than packets take.

    moment: when they passed this point, by the clock of the other.
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
    """Asks what followed. near: where the packet was seen; far: where it was not."""

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

    def sent(self, row: int, expected: float) -> Verdict:
        """A packet on its way to the other point, where it should have come at about `expected` (ns of that clock)."""
        group, start, end = int(self.near.group[row]), int(self.near.start[row]), int(self.near.end[row])
        if end <= start:
            return Verdict(row, "lost-or-not-recorded", "nothing that followed tells which")
        came = self.far.first_with(group, end - 1)
        acknowledged = self.far.first_acknowledging(group, end)
        if acknowledged is not None and (came is None or acknowledged < came):
            return Verdict(row, "not-recorded", "its receiver acknowledged it before the other recording has it")
        if came is None and self.near.first_acknowledging(group, end) is not None:
            return Verdict(row, "not-recorded", "its receiver acknowledged it, as its sender's point has it")
        if came is None and group >> 1 in self.reset:
            return Verdict(row, "lost-or-not-recorded", "its connection was reset, and nobody acknowledges anything then")
        if came is None and not self._answered_since(group, row):
            return Verdict(row, "lost-or-not-recorded", "nothing that followed tells which")
        if came is None:
            return Verdict(row, "lost", "it was never acknowledged, and never sent again with success")
        if came <= expected:
            return Verdict(row, "lost-or-not-recorded", "it repeats what had arrived, so that nothing that followed tells which")
        return Verdict(row, "lost", "it came only when it was sent again")

    def _answered_since(self, group: int, row: int) -> bool:
        """Whether its receiver sent something afterwards that could have acknowledged it."""
        theirs = self.near.rows_in(group ^ 1)
        return bool((self.rows.time[theirs] > self.rows.time[row] + self.trip).any())

    def received(self, row: int) -> Verdict:
        """A packet that comes from the other point, where it was not seen."""
        group = int(self.near.group[row])
        ttl, count, last = self._others(group)
        continued = int(self.rows.time[row]) < last
        strange = count >= LEAST_OTHERS and abs(int(self.ttl[row]) - ttl) >= HOPS_APART
        if strange:
            what = f"its time to live is {int(self.ttl[row])}, that of its sender's others {ttl}"
            return Verdict(row, "injected", what + (", and its sender went on" if continued else ""))
        if self.flags[row] & RST and continued and self._sends_later(group, row):
            return Verdict(row, "injected", "its sender went on as if it had not sent it")
        if self.flags[row] & RST and count >= LEAST_OTHERS and self._has_all_others(group):
            return Verdict(row, "injected", "its sender's recording has all other packets of the connection")
        return Verdict(row, "not-recorded", "it must have passed the other point, whose recording lacks it")

    def _others(self, group: int) -> tuple[int, int, int]:
        """The usual time to live of the group's packets that both recordings have, how many, and when the last came."""
        if group not in self._usual:
            rows = self.near.rows_in(group)
            rows = rows[self.matched[rows]]
            counts = np.bincount(self.ttl[rows], minlength=1)
            last = int(self.rows.time[rows].max()) if len(rows) else 0
            self._usual[group] = int(counts.argmax()), len(rows), last
        return self._usual[group]

    def _has_all_others(self, group: int) -> bool:
        """Whether both recordings have all packets of the group but for resets."""
        rows = self.near.rows_in(group)
        return bool(self.matched[rows[(self.flags[rows] & RST) == 0]].all())

    def _sends_later(self, group: int, row: int) -> bool:
        rows = self.near.rows_in(group)
        later = rows[(self.rows.time[rows] > self.rows.time[row]) & self.matched[rows]]
        return bool(((self.flags[later] & RST) == 0).any())


def _reset(streams: Streams, flags: Array) -> set[int]:
    """Pairs of which one of the sides sent a reset."""
    return set(np.unique(streams.rows.pair[(flags & RST) != 0]).tolist())


class Repeats(NamedTuple):
    """Retransmissions of payload that left a point, and why those were needless whose receiver had acknowledged the payload."""

    rows: Array
    needless: Array
    ack_lost: int
    ack_late: int
    ack_not_sent: int
    ack_beyond: int


def retransmissions(wire: Wire, near: Streams, far: Streams, forward: bool) -> Repeats:
    """Return the retransmissions of one direction. near: the point that it passes first; far: the other point."""
    rows = near.rows
    second = not forward
    point = wire.two if second else wire.one
    p = point.packets
    here = rows.row
    wanted = p["retransmission"][here] & (p["length"][here] > 0) & ~p["keep_alive_probe"][here] & (rows.forward == forward)
    chosen = np.flatnonzero(wanted)[:MOST_JUDGED]
    delay = wire.typical[0] if forward else wire.typical[1]
    arrives = (wire.on_first if second else wire.on_second)(rows.time[chosen]) + delay
    to_near = wire.on_second if second else wire.on_first
    needless: list[int] = []
    reasons = [0, 0, 0, 0]
    for row, expected in zip(chosen.tolist(), arrives.tolist(), strict=True):
        group, end = int(near.group[row]), int(near.end[row])
        # that it passed the far point does not say that it came to its receiver: only an ACK does that is older than this
        left = far.first_acknowledging(group, end)
        own = _own_arrival(wire, row, second)
        if left is None or left >= (own if own is not None else expected - delay):
            continue
        needless.append(row)
        came = near.first_acknowledging(group, end)
        sent = int(rows.time[row])
        if float(to_near(np.array([left]))[0]) > sent:
            reasons[2] += 1
        elif came is None or _lost(wire, far, group, end, left, second):
            reasons[0] += 1
        elif came <= sent:  # it passed this point in time, and nothing is known of what lies beyond
            reasons[3] += 1
        else:
            reasons[1] += 1
    return Repeats(chosen, np.array(needless, np.int64), *reasons)


def _own_arrival(wire: Wire, row: int, second: bool) -> int | None:
    """When this very packet came to the other point (ns of that clock)."""
    other = int((wire.back if second else wire.partner)[row])
    return None if other == NOBODY else int((wire.a if second else wire.b).time[other])


def _lost(wire: Wire, far: Streams, group: int, end: int, left: int, second: bool) -> bool:
    """Whether the first ACK of this, which passed the far point at `left`, did not come to the near one."""
    rows = far.rows_in(group ^ 1)
    first = rows[(far.rows.time[rows] == left) & (far.ack[rows] >= end)]
    partner = wire.partner if second else wire.back
    return bool(len(first)) and bool((partner[first] == NOBODY).all())
