"""Decide which candidates of `ack_release` are stalls, and whose. A single row cannot show it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from statistics import median, quantiles
from typing import Any, Literal

import polars as pl

from wiredoctor.rules.shared.ack_release import AT_ONCE
from wiredoctor.rules.shared.bounded_memory import Recent
from wiredoctor.rules.shared.held_segment_verdicts import Row, Verdict
from wiredoctor.tables import NEVER

Cause = Literal["nagle", "whole"]
"""Why a segment had to wait for the ACK: it was small, or whatever is sent must wait (buffer, congestion window, window)."""

FIRST_AT_ONCE = 600_000
"""Nanoseconds after K's arrival within which the first S leaves that shows what its side does, if no message says so."""
FEW = 2
"""Candidates of a side that may be chance: a program wrote just then. More of them show what its side does."""
CORKED_IN_A_ROW = 3
"""Small ends that leave with a timer: one alone may be a program that was as late."""
LATE_STARTS = 4
"""Candidates without a handshake, until which nothing is said where the round trip may hold thinking time."""

_KINDS = {"head": "head-body-split", "full": "tail", "small": "write-write-read"}


@dataclass
class _Side:
    """What is remembered of a side of a connection. `run`: the message in which whole segments had to wait for ACKs, and
    the last of them; `whole`: there was one."""

    narrow: bool = False
    released: int = 0
    prompt: bool = False
    run: tuple[int | None, int] = (None, NEVER)
    whole: bool = False
    short: deque[int] = field(default_factory=lambda: deque[int](maxlen=64))
    releases: deque[int] = field(default_factory=lambda: deque[int](maxlen=64))
    probes: dict[int, tuple[Row, dict[str, Any]]] = field(default_factory=dict[int, tuple[Row, dict[str, Any]]])
    corked: list[tuple[Row, dict[str, Any]]] = field(default_factory=list[tuple[Row, dict[str, Any]]])
    is_corked: bool = False
    late: deque[tuple[int, int]] = field(default_factory=lambda: deque[tuple[int, int]](maxlen=32))


@dataclass
class _Endpoint:
    """What is remembered of a side of an endpoint: how late it is by itself (exchange, frame, ns), how often it stalled and could
    have."""

    late: dict[str | None, list[tuple[tuple[int, int | None], int, int]]] = field(
        default_factory=dict[str | None, list[tuple[tuple[int, int | None], int, int]]]
    )
    at_once: bool = False
    stalls: int = 0
    opportunities: int = 0
    probes: int = 0


@dataclass(frozen=True)
class Limits:
    """Shortest ACK delay (ns) that counts by itself; shortest and longest lateness (ns) of what a probe sent; exchanges of
    counter-evidence; endpoint sides and connection sides that are remembered."""

    shortest: int
    probe: tuple[int, int]
    exchanges: int
    endpoints: int
    sides: int


def in_order(candidates: pl.DataFrame) -> pl.DataFrame:
    """Return candidates in the order in which they became final."""
    return candidates.sort("final_frame", "held_frame")


class Stalls:
    """The memory of a rule about held-back segments, bounded; rows must come in the order of `in_order`."""

    def __init__(self, cause: Cause, limits: Limits) -> None:
        self._cause = cause
        self._limits = limits
        self._endpoints = Recent(_Endpoint, limits.endpoints)
        self._sides = Recent(_Side, limits.sides)

    def judge(self, candidates: pl.DataFrame) -> list[Verdict]:
        """The stalls among these rows that this rule has to report."""
        return list(self._judge(candidates))

    def _judge(self, candidates: pl.DataFrame) -> Iterator[Verdict]:
        for index, values in enumerate(candidates.select(Row._fields).iter_rows()):
            row = Row(*values)
            if row.answers:
                asked = self._sides[(row.connection, 1 - row.direction)].probes.pop(row.answers, None)
                if asked is not None:
                    yield from self._probed(*asked, candidates.row(index, named=True))
            if row.corked and self._cause == "nagle":
                yield from self._corked(row, candidates.row(index, named=True))
            if row.probe and self._cause == "nagle":
                probes = self._sides[(row.connection, row.direction)].probes
                probes.clear()
                probes[row.held_frame] = (row, candidates.row(index, named=True))
            elif row.waited:
                verdict = self._waited(index, row)
                if verdict is not None:
                    yield verdict

    def _probed(self, row: Row, values: dict[str, Any], answer: dict[str, Any]) -> Iterator[Verdict]:
        """The verdict on a segment that a probe sent, and that was acknowledged by this answer."""
        endpoint = self._endpoints[(row.endpoint, row.role)]
        usual = self._usual(endpoint, row)
        shortest, longest = self._limits.probe
        if 2 * usual >= row.lateness or not shortest <= row.lateness <= longest:
            return
        endpoint.probes += 1
        # without pure ACKs, which a capture filter may leave out, an earlier ACK of the data would not be here
        confidence = "low" if endpoint.probes == 1 or answer["held_bytes"] else "medium"
        values |= {"answer_frame": answer["held_frame"], "answer_time": answer["end"]}
        yield Verdict(None, values, "probe-released", row.lateness - usual, confidence, prompt=False)

    def _corked(self, row: Row, values: dict[str, Any]) -> Iterator[Verdict]:
        """The verdicts on small ends that a cork held: the first ones once there are several in a row, later ones at once."""
        side = self._sides[(row.connection, row.direction)]
        if row.exchange is None:
            return
        if side.corked and row.exchange != (side.corked[-1][0].exchange or 0) + 1:
            side.corked.clear()
        side.corked.append((row, values | {"answer_frame": None, "answer_time": None}))
        side.is_corked |= len(side.corked) >= CORKED_IN_A_ROW
        if side.is_corked:
            for one, known in side.corked:
                yield Verdict(None, known, "corked", one.lateness, one.confidence, prompt=False)
            side.corked.clear()

    def _waited(self, index: int, row: Row) -> Verdict | None:
        """The verdict on a row, which is remembered whatever it is."""
        endpoint = self._endpoints[(row.endpoint, row.role)]
        side = self._sides[(row.connection, row.direction)]
        if row.prompt:
            side.prompt = True
            self._remember(endpoint, row)
            return None
        cause = _cause(row, side)
        pauses = row.event_stream and row.nagle_seen
        usual = self._usual(endpoint, row) if cause == "nagle" and not pauses else 0
        short = row.delay < self._limits.shortest
        late_start = cause == "nagle" and not row.handshake and _program_paces(row, side)
        stalled = cause is not None and _released(row, cause, side, endpoint) and 2 * usual < row.delay and not late_start
        if stalled:
            side.narrow |= row.narrow
            if cause == "whole":
                side.run, side.whole = (row.message, row.held_frame), True
        mine = stalled and cause == self._cause and _counts(row, side, short)
        if mine or not short:
            endpoint.opportunities += 1
        if not mine:
            return None
        endpoint.stalls += 1
        sure = endpoint.stalls > 1 and 2 * endpoint.stalls >= endpoint.opportunities
        cap = "low" if cause == "nagle" and (_may_be_chance(row, endpoint) or _alone(row)) else row.confidence
        confidence = cap if sure or cap == "low" else "medium"
        kind = _KINDS[row.part] if cause == "nagle" and row.part else None
        return Verdict(index, {}, kind, max(0, row.delay - usual), confidence, side.prompt)

    def _remember(self, endpoint: _Endpoint, row: Row) -> None:
        """An exchange counts once, with the latest of its segments."""
        late = endpoint.late.setdefault(row.part, [])
        exchange = (row.connection, row.frame if row.unread else row.exchange)
        for i, (known, frame, lateness) in enumerate(late):
            if known == exchange:
                late[i] = (known, frame, max(lateness, row.lateness))
                return
        late.append((exchange, row.held_frame, row.lateness))
        del late[: -2 * self._limits.exchanges]

    def _usual(self, endpoint: _Endpoint, row: Row) -> int:
        """How late such a segment is when nothing is delayed: the median in nanoseconds, 0 where nothing is known. What came
        after it says nothing of it, though it became final before."""
        late = endpoint.late.get(row.part, ()) if row.http or row.unread else ()
        before = [lateness for _, frame, lateness in late if frame < row.held_frame][-self._limits.exchanges :]
        return int(median(before)) if before else 0


def _cause(row: Row, side: _Side) -> Cause | None:
    """What can have held S back until K came."""
    few = row.in_flight <= 2 * row.mss
    message, last = side.run
    run = (message is not None and message == row.message) if row.http else last == row.frame
    if few and row.lone_ack and (row.full or (row.small and run)):
        return "whole"
    if not (row.small and row.nagle and row.room) or (side.whole and not row.http):
        return None
    if row.part == "full":
        return "nagle" if few and (row.ends or row.unread) else None
    return "nagle" if row.part else None


def _may_be_chance(row: Row, endpoint: _Endpoint) -> bool:
    """Return whether packets are missing that may show that a program wrote just then, and few such stalls were seen."""
    if row.nagle_seen or endpoint.stalls > FEW:
        return False
    if row.http:
        return row.part == "head" and not row.pace_seen
    return row.unread or not row.pace_seen


def _alone(row: Row) -> bool:
    """No small segment was in flight: Linux' TCP would not have held back the end of a message."""
    return row.part == "full" and (row.in_flight <= row.sent_bytes or row.in_flight % row.mss == 0)


def _released(row: Row, cause: Cause, side: _Side, endpoint: _Endpoint) -> bool:
    """K released S. Where no handshake told the round trip, that must have been so once more, and mostly, on this side.

    Full segments are so many, and leave at so many times, that a share of the round trip is too much to allow for.
    """
    near = row.sharp or not row.handshake
    if not (row.narrow and near if cause == "whole" else row.narrow or (row.wide and side.narrow)):
        return False
    if row.handshake:
        side.released += 1
        endpoint.at_once |= row.release <= max(FIRST_AT_ONCE, row.after // 10)
        shown = side.narrow or endpoint.at_once or side.released > FEW
        return row.http or cause == "whole" or shown
    side.releases.append(row.release)
    alike = sum(abs(release - row.release) <= AT_ONCE for release in side.releases)
    return alike > 1 and 2 * alike >= len(side.releases)


def _program_paces(row: Row, side: _Side) -> bool:
    """Without a handshake the round trip is a guess. Where S usually comes some time after K, the program may choose that time:
    then it comes more evenly after D than after K."""
    side.late.append((row.after, row.gap))
    after, gaps = [a for a, _ in side.late], [g for _, g in side.late]
    if median(after) <= AT_ONCE:
        return False
    return len(after) < LATE_STARTS or 2 * _spread(gaps) < _spread(after)


def _spread(values: list[int]) -> float:
    """From the first to the last decile."""
    deciles = quantiles(values, n=10, method="inclusive")
    return deciles[-1] - deciles[0]


def _counts(row: Row, side: _Side, short: bool) -> bool:
    """A delay too short for most timers counts from the fifth on, when five or more are alike."""
    if not short:
        return True
    side.short.append(row.delay)
    middle = median(side.short)
    return sum(abs(delay - middle) <= middle / 10 for delay in side.short) >= 5
