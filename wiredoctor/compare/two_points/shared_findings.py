"""Find which findings both captures of a network path have, and divide their time among the parts of the path."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from wiredoctor.compare.two_points.matching import NOBODY
from wiredoctor.compare.two_points.result import Shares, SideFinding
from wiredoctor.findings import SEVERITIES, Finding
from wiredoctor.tables import SECOND

if TYPE_CHECKING:
    from wiredoctor.compare.two_points.losses import Verdict
    from wiredoctor.compare.two_points.wire import Wire

NEAR = SECOND // 100
"""The tolerance in ns between the start times of one finding in two captures, besides a round trip and the finding's delay."""


class Shared:
    """Matches the findings of two captures by rule, kind, connection and time."""

    def __init__(self, wire: Wire, one: list[Finding], two: list[Finding], lost: list[tuple[int, int, int]]) -> None:
        """Prepare to match the findings `one` and `two`.

        `lost`: the lost packets, each as (index of its pair of connections, time by the first clock in ns, frame in its own
        capture).
        """
        self.wire, self.findings = wire, (one, two)
        self.lost: dict[int, list[tuple[int, int]]] = {}
        for pair, time, frame in lost:
            self.lost.setdefault(pair, []).append((time, frame))
        self.pair_of = (dict(zip(wire.pairs.one.tolist(), range(len(wire.pairs)), strict=True)),
                        dict(zip(wire.pairs.two.tolist(), range(len(wire.pairs)), strict=True)))  # fmt: skip
        self.frames = (wire.one.packets["frame"][wire.a.row], wire.two.packets["frame"][wire.b.row])
        trip = max((line.gap for line in wire.lines if line.gap == line.gap), default=0.0)
        self.near = NEAR + int(max(trip, 0.0, sum(wire.typical)))

    def findings_of_sides(self) -> list[SideFinding]:
        """Return the findings of both captures by severity (worst first), then by delay (longest first)."""
        made = [*self._findings_of_sides()]
        return sorted(made, key=lambda f: (SEVERITIES.index(f.severity), -(f.delay or 0.0), f.rule, f.connection or 0, f.frames))

    def _findings_of_sides(self) -> Iterator[SideFinding]:
        free: dict[tuple[str, str | None, int], list[Finding]] = {}
        for finding in self.findings[1]:
            if (pair := self._pair(finding, 1)) is not None:
                free.setdefault((finding.rule, finding.kind, pair), []).append(finding)
        for finding in self.findings[0]:
            pair = self._pair(finding, 0)
            others = free.get((finding.rule, finding.kind, pair), []) if pair is not None else []
            other = self._nearest(finding, others)
            if other is not None:
                others.remove(other)
            yield self._side(finding, other, second=False)
        kept = {id(one) for rest in free.values() for one in rest}
        for finding in self.findings[1]:
            if id(finding) in kept or self._pair(finding, 1) is None:
                yield self._side(finding, None, second=True)

    def _pair(self, finding: Finding, side: int) -> int | None:
        return None if finding.connection is None else self.pair_of[side].get(finding.connection)

    def _start(self, finding: Finding, side: int) -> float:
        """Return when a finding starts (ns of the first clock). `side`: 0 if the first capture has it, 1 for the second."""
        time = np.array([finding.elapsed * SECOND])
        return float((self.wire.on_first(time.astype(np.int64)) if side else time)[0])

    def _nearest(self, finding: Finding, others: list[Finding]) -> Finding | None:
        begin = self._start(finding, 0)
        near = [(abs(self._start(other, 1) - begin), n) for n, other in enumerate(others)]
        within = [one for one in near if one[0] <= self.near + (finding.delay or 0) * SECOND]
        return others[min(within)[1]] if within else None

    def _side(self, finding: Finding, other: Finding | None, *, second: bool) -> SideFinding:
        pair = self._pair(finding, int(second))
        shares = self._shares(finding, second=second) if pair is not None else None
        lost = self._lost_within(finding, pair, int(second)) if pair is not None else []
        seen = "both" if other is not None else "server" if second else "client"
        return SideFinding(
            finding.rule, finding.kind, finding.severity, finding.title, finding.request, seen, finding.connection,
            finding.exchange, [e.frame for e in finding.evidence], finding.delay, other.delay if other else None, shares, lost,
            "" if pair is not None or finding.connection is None else "the other capture does not have this connection",
        )  # fmt: skip

    def _lost_within(self, finding: Finding, pair: int, side: int) -> list[int]:
        """Return the frame numbers of packets that the finding's connection lost while the finding lasted.

        `pair`: the index of the connection in Pairs. `side`: 0 if the first capture has the finding, 1 for the second.
        """
        begin = self._start(finding, side)
        span = max([finding.delay or 0.0, *(e.elapsed - finding.elapsed for e in finding.evidence)])
        end = begin + span * SECOND + self.near
        return [frame for time, frame in self.lost.get(pair, ()) if begin - self.near <= time <= end]

    def _shares(self, finding: Finding, *, second: bool) -> Shares | None:
        """Return how the time from the first to the last packet of the evidence is divided among the parts of the path.

        The time between two packets of one sender counts for the side of that sender. Between packets of different senders, the
        first packet was in transit, and then its receiver took time to send the next one. The transit of the last packet also
        counts if that packet came from the other end of the path. Return None if a capture lacks one of the packets, or if there
        are fewer than two. `second`: whether the finding is from the second capture.
        """
        if len(finding.evidence) < 2:
            return None
        path = [self._times_at_points(e.frame, second=second) for e in finding.evidence]
        known = [p for p in path if p is not None]
        if len(known) < len(path):
            return None
        passed = {"client": 0.0, "between": 0.0, "server": 0.0}
        for (forward, left, came), (turned, then, _) in pairwise(known):
            here, there = ("client", "server") if forward else ("server", "client")
            if turned == forward:
                passed[here] += then - left
            else:
                passed["between"] += came - left
                passed[there] += then - came
        forward, left, came = known[-1]
        if forward == second:  # the last packet came from the other point to this one
            passed["between"] += came - left
        first = known[0]
        if first[0] == second:  # the transit time of the first packet is not part of the wait
            passed["between"] -= first[2] - first[1]
        return Shares(*(max(0.0, round(passed[name] / SECOND, 9)) for name in ("client", "between", "server")))

    def _times_at_points(self, frame: int, *, second: bool) -> tuple[bool, float, float] | None:
        """Return whether a packet passed the first point first, its time at the sender's point, and its time at the other point.

        The times are in ns of the first clock. Return None if only one capture has the packet. `frame`: the packet's frame number
        in the first capture or, with `second`, in the second.
        """
        frames = self.frames[int(second)]
        row = int(np.searchsorted(frames, frame))
        if row >= len(frames) or frames[row] != frame:
            return None
        a, b = (int(self.wire.back[row]), row) if second else (row, int(self.wire.partner[row]))
        if NOBODY in (a, b):
            return None
        here = float(self.wire.a.time[a])
        there = float(self.wire.on_first(self.wire.b.time[b : b + 1])[0])
        forward = bool(self.wire.a.forward[a])
        return (True, here, there) if forward else (False, there, here)


def lost_packets(wire: Wire, verdicts: tuple[list[Verdict], list[Verdict]]) -> list[tuple[int, int, int]]:
    """Return the lost packets as (index of the pair of connections, time by the first clock in ns, frame in its own capture)."""
    made: list[tuple[int, int, int]] = []
    for second, some in enumerate(verdicts):
        rows, point = (wire.b, wire.two) if second else (wire.a, wire.one)
        lost = np.array([v.row for v in some if v.kind == "lost"], np.int64)
        times = wire.on_first(rows.time[lost]) if second else rows.time[lost].astype(np.float64)
        frames = point.packets["frame"][rows.row[lost]]
        made += zip(rows.pair[lost].tolist(), times.astype(np.int64).tolist(), frames.tolist(), strict=True)
    return made
