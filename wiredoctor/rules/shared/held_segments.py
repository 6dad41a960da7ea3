"""Decide which candidates of `delayed_acks` are stalls and which rule reports them. Each decision needs several rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import polars as pl

from wiredoctor.rules.shared.bounded_memory import BoundedMap
from wiredoctor.rules.shared.delayed_acks import MAX_KERNEL_RESPONSE
from wiredoctor.rules.shared.held_segment_verdicts import Row, Verdict, stalls_with_verdicts
from wiredoctor.tables import MILLISECOND, NEVER

Cause = Literal["nagle", "whole"]
"""The reason why a segment had to wait for the ACK.

Either it was small (nagle), or every segment had to wait for a buffer, congestion window or receive window (whole).
"""

FIRST_AT_ONCE = 600_000
"""The maximum time in ns from an ACK to the next segment, if this segment is to prove that ACKs release segments.

The limit is used if the payload is not HTTP.
"""
FEW = 2
"""The maximum number of stalls that may be coincidences, in which the program happened to write just as the ACK arrived."""
CORKED_IN_A_ROW = 3
"""The number of successive messages that prove TCP_CORK: in each of them, the small last segment was sent late. In a single
message, the program itself may have been late.
"""
LATE_STARTS = 4
"""If the handshake was not captured, and the segments of a side usually come later than MAX_KERNEL_RESPONSE after their ACKs, no
stall is reported before this many segments are known.

Without the handshake, the measured round trip may include the server's computing time.
"""

_KINDS = {"head": "head-body-split", "full": "tail", "small": "write-write-read"}


_RECENT = 64
"""The number of the last releases and short ACK delays of a side that are compared, and half of it of its last pauses."""


@dataclass(eq=False, repr=False, slots=True)
class _Side:
    """The state of one direction of a connection. Times are in nanoseconds.

    Thousands are kept, most of which never hold a segment: an empty list takes a tenth of the memory of an empty deque.

    `narrow`: an ACK has released a segment whose column `narrow` is true. `released`: the number of segments that ACKs released.
    `prompt`: an earlier segment did not have to wait, because the previous data was acknowledged promptly.
    `run`: the message and frame of the last full segment that waited for an ACK. `whole`: a full segment has waited for an ACK.
    `short`: ACK delays that are too short to count on their own. `releases`: the times from ACKs to the segments after them.
    `probes`: the segments that tail loss probes may have sent, by frame.
    `corked`: the small last segments of successive messages that were sent late. `is_corked`: there were CORKED_IN_A_ROW such
    segments.
    `late`: the values of `after` and `gap` of the last segments.
    """

    narrow: bool = False
    released: int = 0
    prompt: bool = False
    run: tuple[int | None, int] = (None, NEVER)
    whole: bool = False
    short: list[int] = field(default_factory=list[int])
    releases: list[int] = field(default_factory=list[int])
    probes: dict[int, tuple[Row, dict[str, Any]]] = field(default_factory=dict[int, tuple[Row, dict[str, Any]]])
    corked: list[tuple[Row, dict[str, Any]]] = field(default_factory=list[tuple[Row, dict[str, Any]]])
    is_corked: bool = False
    late: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])


@dataclass(eq=False, repr=False)
class _Endpoint:
    """The state that is kept for an endpoint. The server and its clients have one state each.

    `late`: segments that did not wait for a delayed ACK, each with its exchange, its frame and its lateness. The lateness is the
    time (ns) from the previous data to the segment, minus round trips. The keys are the kinds of the previous data ("head",
    "small" or "full").
    `at_once`: a segment followed its ACK so soon that the ACK surely released it.
    `first`: the first stalls that may be coincidences. They are kept until another stall shows that they were not.
    `stalls`, `opportunities`: the numbers of stalls, and of segments that might have stalled.
    `probes`: the number of segments that tail loss probes released.
    """

    late: dict[str | None, list[tuple[tuple[int, int | None], int, int]]] = field(
        default_factory=dict[str | None, list[tuple[tuple[int, int | None], int, int]]]
    )
    at_once: bool = False
    stalls: int = 0
    opportunities: int = 0
    probes: int = 0
    first: list[Verdict] = field(default_factory=list[Verdict])


class Limits(NamedTuple):
    """The limits of a rule about held-back segments.

    `shortest`: the shortest ACK delay (ns) that counts even if it occurs once.
    `probe`: the shortest and longest time (ns) between the first write and a segment sent as a tail loss probe, less the round
    trips.
    `exchanges`: the number of exchanges from which the usual lateness of a program is computed.
    `endpoints`: the number of endpoints whose state is kept; the server and the clients of an endpoint count separately.
    `sides`: the number of directions of connections whose state is kept.
    """

    shortest: int
    probe: tuple[int, int]
    exchanges: int
    endpoints: int
    sides: int


class Stalls:
    """The bounded state of a rule about held-back segments."""

    def __init__(self, cause: Cause, limits: Limits) -> None:
        self._cause = cause
        self._limits = limits
        self._endpoints = BoundedMap(_Endpoint, limits.endpoints)
        self._sides = BoundedMap(_Side, limits.sides)

    def judge(self, candidates: pl.DataFrame) -> pl.DataFrame:
        """Return the stalls among these candidates that this rule has to report, with the columns of `stalls_with_verdicts`."""
        candidates = candidates.sort("final_frame", "held_frame")  # the order in which they became final
        return stalls_with_verdicts(candidates, [*self._judge(candidates)])

    def _judge(self, candidates: pl.DataFrame) -> Iterator[Verdict]:
        for index, values in enumerate(candidates.select(Row._fields).iter_rows()):
            row = Row(*values)
            if row.answers:
                asked = self._sides[(row.connection, 1 - row.direction)].probes.pop(row.answers, None)
                if asked is not None:
                    yield from self._judge_probe(*asked, candidates.row(index, named=True))
            if row.corked and self._cause == "nagle":
                yield from self._judge_corked(row, candidates.row(index, named=True))
            if row.probe and self._cause == "nagle":
                probes = self._sides[(row.connection, row.direction)].probes
                probes.clear()
                probes[row.held_frame] = (row, candidates.row(index, named=True))
            elif row.waited:
                verdict = self._judge_waiting(index, row)
                if verdict is not None:
                    yield from self._with_first(row, verdict, candidates)

    def _with_first(self, row: Row, verdict: Verdict, candidates: pl.DataFrame) -> Iterator[Verdict]:
        """Yield `verdict`, or keep it until another stall at this endpoint shows that it was no coincidence.

        The first stall between head and body is kept, because the program may just have been busy before it wrote the body. If
        the payload is not HTTP, any stall may be between head and body, or between two messages. The second stall is kept,
        too, if no segment followed its ACK at once.
        """
        endpoint = self._endpoints[(row.endpoint, row.role)]
        is_after_head = row.part == "head" and row.sent_bytes < row.mss
        may_be_chance = row.room and (is_after_head or not row.http)
        if may_be_chance and endpoint.stalls <= (1 if endpoint.at_once else FEW) and self._cause == "whole":
            values = candidates.row(verdict.row or 0, named=True) | {"answer_frame": None, "answer_time": None}
            endpoint.first.append(verdict._replace(row=None, values=values))
            return
        yield from endpoint.first
        endpoint.first.clear()
        yield verdict

    def _judge_probe(self, row: Row, values: dict[str, Any], answer: dict[str, Any]) -> Iterator[Verdict]:
        """Yield a verdict if a tail loss probe released a held-back segment later than the program usually writes.

        `row`, `values`: the row of the segment. `answer`: the row of the ACK for the segment.
        """
        endpoint = self._endpoints[(row.endpoint, row.role)]
        usual = self._usual_delay(endpoint, row)
        shortest, longest = self._limits.probe
        if 2 * usual >= row.lateness or not shortest <= row.lateness <= longest:
            return
        endpoint.probes += 1
        # if a capture filter dropped pure ACKs, an earlier ACK of the data is missing
        confidence = "low" if endpoint.probes == 1 or answer["held_bytes"] else "medium"
        values |= {"answer_frame": answer["held_frame"], "answer_time": answer["end"]}
        yield Verdict(None, values, "probe-released", row.lateness - usual, confidence, prompt=False)

    def _judge_corked(self, row: Row, values: dict[str, Any]) -> Iterator[Verdict]:
        """Yield verdicts on the small last segments of messages, if a cork (TCP_CORK) held them back.

        The first verdicts are kept until CORKED_IN_A_ROW successive exchanges had such a segment. From then on, verdicts are
        yielded immediately.
        """
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

    def _judge_waiting(self, index: int, row: Row) -> Verdict | None:
        """Record a row. Return the verdict if the row is a stall that this rule reports; otherwise None."""
        endpoint = self._endpoints[(row.endpoint, row.role)]
        side = self._sides[(row.connection, row.direction)]
        if row.prompt:
            side.prompt = True
            self._remember(endpoint, row)
            return None
        cause = _cause(row, side)
        pauses = row.event_stream and row.nagle_seen
        usual = self._usual_delay(endpoint, row) if cause == "nagle" and not pauses else 0
        if row.nagle_seen and row.part == "small" and 2 * usual >= row.delay:
            # the program pauses between its writes; that does not show how late a released segment would have been
            usual = 0
        short = row.delay < self._limits.shortest
        late_start = cause == "nagle" and not row.handshake and _program_paces(row, side)
        stalled = cause is not None and _is_released(row, cause, side, endpoint) and 2 * usual < row.delay and not late_start
        if stalled:
            side.narrow |= row.narrow
            if cause == "whole":
                side.run, side.whole = (row.message, row.held_frame), True
        mine = stalled and cause == self._cause and _is_counted(row, side, short)
        if mine or not short:
            endpoint.opportunities += 1
        if not mine:
            return None
        endpoint.stalls += 1
        sure = endpoint.stalls > 1 and 2 * endpoint.stalls >= endpoint.opportunities
        cap = "low" if cause == "nagle" and (_may_be_chance(row, endpoint) or _no_small_in_flight(row)) else row.confidence
        confidence = cap if sure or cap == "low" else "medium"
        kind = _KINDS[row.part] if cause == "nagle" and row.part else None
        if cause == "nagle" and not row.http and not row.unread and row.usual is not None:
            # which writes belong together is unknown, so this time only shows how long the segment waited, not whether it did
            usual = row.usual
        return Verdict(index, {}, kind, max(0, row.delay - usual), confidence, side.prompt)

    def _remember(self, endpoint: _Endpoint, row: Row) -> None:
        """Record the lateness of a segment. Each exchange counts once, with the greatest lateness of its segments."""
        late = endpoint.late.setdefault(row.part, [])
        exchange = (row.connection, row.frame if row.unread else row.exchange)
        for i, (known, frame, lateness) in enumerate(late):
            if known == exchange:
                late[i] = (known, frame, max(lateness, row.lateness))
                return
        late.append((exchange, row.held_frame, row.lateness))
        del late[: -2 * self._limits.exchanges]

    def _usual_delay(self, endpoint: _Endpoint, row: Row) -> int:
        """Return how late (ns) such segments usually are without a delayed ACK: the median of earlier ones; 0 if unknown.

        Segments after that of `row` do not count, even if their rows became final earlier.
        """
        late = endpoint.late.get(row.part, ()) if row.http or row.unread else ()
        before = [lateness for _, frame, lateness in late if frame < row.held_frame][-self._limits.exchanges :]
        return int(_median(before)) if before else 0


def _median(values: Iterable[int]) -> float:
    from statistics import median  # loads ten modules, and few captures need it

    return median(values)


def _cause(row: Row, side: _Side) -> Cause | None:
    """Return why the segment may have been held back until the ACK arrived; None if there is no possible reason."""
    few = row.in_flight <= 2 * row.mss
    message, last = side.run
    run = (message is not None and message == row.message) if row.http else last == row.frame
    # a pipelined response may begin late because the server computes it
    if few and row.lone_ack and not row.begins and (row.full or (row.small and run)):
        return "whole"
    if not (row.small and row.nagle and row.room) or (side.whole and not row.http):
        return None
    if row.part == "full":
        return "nagle" if few and (row.ends or row.unread) else None
    return "nagle" if row.part else None


def _may_be_chance(row: Row, endpoint: _Endpoint) -> bool:
    """Return whether the program may have written the segment just when the ACK arrived, by chance.

    Chance is excluded if the endpoint had more than FEW stalls, or if the sender is known to use Nagle's algorithm.
    """
    if row.nagle_seen or endpoint.stalls > FEW:
        return False
    if row.http:
        return row.part == "head" and not row.pace_seen
    return row.unread or not row.pace_seen


def _no_small_in_flight(row: Row) -> bool:
    """Return whether no small segment was in flight. In that case, Linux sends the end of a message at once."""
    return row.part == "full" and (row.in_flight <= row.sent_bytes or row.in_flight % row.mss == 0)


def _is_released(row: Row, cause: Cause, side: _Side, endpoint: _Endpoint) -> bool:
    """Return whether the ACK released the held-back segment.

    If the handshake was not captured, at least half of this direction's recent held-back segments must have followed their ACKs
    equally soon. For full segments the tolerance is small: they are numerous and are sent at any time.
    """
    near = row.sharp or not row.handshake
    if not (row.narrow and near if cause == "whole" else row.narrow or (row.wide and side.narrow)):
        return False
    if row.handshake:
        side.released += 1
        endpoint.at_once |= row.release <= max(FIRST_AT_ONCE, row.after // 10) + _clock_error(row)
        shown = side.narrow or endpoint.at_once or side.released > FEW
        return row.http or cause == "whole" or shown
    side.releases[:] = *side.releases[1 - _RECENT :], row.release
    alike = sum(abs(release - row.release) <= MAX_KERNEL_RESPONSE for release in side.releases)
    return alike > 1 and 2 * alike >= len(side.releases)


def _clock_error(row: Row) -> int:
    """Return the possible error (ns) of the time from an ACK to the segment that it released.

    The error is 1 ms if all times are whole milliseconds, otherwise 0.
    """
    return MILLISECOND if all(time % MILLISECOND == 0 for time in (row.after, row.gap, row.release)) else 0


def _program_paces(row: Row, side: _Side) -> bool:
    """Return whether the program, and not the ACK, may determine when the held-back segment S is sent.

    This is only called for connections without a captured handshake. If S usually comes some time after the ACK, the program may
    choose that time. In that case the time from the previous data to S varies less than the time from the ACK to S.
    """
    side.late[:] = *side.late[1 - _RECENT // 2 :], (row.after, row.gap)
    after, gaps = [a for a, _ in side.late], [g for _, g in side.late]
    if _median(after) <= MAX_KERNEL_RESPONSE:
        return False
    return len(after) < LATE_STARTS or 2 * _spread(gaps) < _spread(after)


def _spread(values: list[int]) -> float:
    """Return the difference between the last and the first decile of these values."""
    from statistics import quantiles

    deciles = quantiles(values, n=10, method="inclusive")
    return deciles[-1] - deciles[0]


def _is_counted(row: Row, side: _Side, short: bool) -> bool:
    """Return whether a stall counts.

    If the ACK's delay is too short for most delayed-ACK timers, the stall counts only if at least five delays are similar.
    """
    if not short:
        return True
    side.short[:] = *side.short[1 - _RECENT :], row.delay
    middle = _median(side.short)
    return sum(abs(delay - middle) <= middle / 10 for delay in side.short) >= 5
