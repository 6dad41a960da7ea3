"""Learn the idle timeout of a server from its closes. A timeout may also be announced, or be only a common default."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from typing import NamedTuple

from wiredoctor.tables import MILLISECOND, SECOND
from wiredoctor.text.durations import duration_text

TOGETHER = 50 * MILLISECOND
"""Closes that one host begins within this time (ns) are one event: a process ended."""
DECIDED_ONCE = 20 * MILLISECOND
"""Closes within this time (ns) after similar idle times count once: one process decided once."""
EARLIEST = 950 * MILLISECOND
"""Shorter idle times (ns) teach no timeout: they come from workers that end."""
AT_ONCE = 20 * MILLISECOND
"""A close this soon after a response (ns) belongs to that response."""
NEAR = 20 * MILLISECOND
"""Timers are this late (ns) on a busy machine, plus a share of their time."""
LATE = 300 * MILLISECOND
"""A process may check its connections this much (ns) after their timeout."""
MOST = 4096
"""The newest closes of an endpoint from which its timeout is learned; older ones may stem from another configuration."""


class Limit(NamedTuple):
    """An idle timeout of an endpoint, from `low` to `high` (ns): how it is known, and the number of `closes` it is learned from.

    `how`: soon (it closes after its responses), sharp, coarse (it checks its connections only now and then), single (from one
    close), met (from requests that met it), announced, usual (a common default). `said`: the announced time (s).
    """

    how: str
    low: int
    high: int
    closes: int = 0
    said: int | None = None

    @property
    def tolerance(self) -> int:
        """How much (ns) an idle time may differ from it."""
        return NEAR + self.low // 100

    def has(self, rest: int) -> bool:
        """Return whether it explains a close after this idle time (ns)."""
        return self.low - self.tolerance <= rest <= self.high + self.tolerance + LATE

    def words(self) -> str:
        """Format it: "5 s", "5 s to 5.1 s"."""
        low, high = duration_text(self.low), duration_text(self.high)
        return low if low == high else f"{low} to {high}"

    def origin(self) -> str:
        """Say how it is known."""
        closes = "one close" if self.closes == 1 else f"{self.closes:,} closes"
        if self.how == "announced":
            beyond = "" if self.low == (self.said or 0) * SECOND else "; it closes a second after that, as Node does"
            return f"announced: Keep-Alive: timeout={self.said}{beyond}"
        if self.how == "usual":
            return "a common default that the capture does not show"
        if self.how == "met":
            return f"learned from {self.closes:,} requests that met it"
        return f"learned from {closes}" + ("; it checks for idle connections only now and then" if self.how == "coarse" else "")


class End(NamedTuple):
    """A close of the server: its time, the idle time before it (ns; None if there is none), its connection, when it is known.

    `teaches`: everything that it acknowledges was answered. `reset`: an RST with ACK flag that met a request. `sort`: idle,
    unaware (it acknowledges no byte of an unanswered request), met (it acknowledges that request), broken (it cut off a
    response), open (a tunnel, or a stream without an end). `waited` (ns): time since the request that it met came. `said`: the
    time (s) that its last response announced. `frame`: its packet.
    """

    time: int
    rest: int | None
    connection: int
    known: int
    teaches: bool
    reset: bool
    sort: str = "idle"
    waited: int | None = None
    said: int | None = None
    frame: int = 0


def learn(ends: list[End]) -> Limit | None:
    """Return the idle timeout of one endpoint, learned from its closes in order; None if they show none."""
    ends = _once(ends[-MOST:])
    rests = sorted(end.rest for end in ends if end.teaches and end.rest is not None)
    if soon := _soon(ends, rests):
        return Limit("soon", 0, AT_ONCE, soon)
    long = rests[bisect_left(rests, EARLIEST) :]
    met = _met(ends)
    if not long:
        return met
    alike = _alike(long)
    if len(alike) > 1 and 2 * len(alike) >= len(rests):
        return Limit("sharp", alike[0], alike[-1], len(alike))
    if len(long) > 2 and len(long) == len(rests) and long[-1] <= 2 * long[0] + NEAR:
        return Limit("coarse", long[0], long[-1], len(long))
    if len(long) == 1 and len(rests) <= 2:
        return met or Limit("single", long[0], long[0], 1)
    return met


def closes_soon(ends: list[End]) -> bool:
    """Return whether the server closes after its responses."""
    ends = _once(ends[-MOST:])
    return bool(_soon(ends, sorted(end.rest for end in ends if end.teaches and end.rest is not None)))


def _soon(ends: list[End], rests: list[int]) -> int:
    """Count the closes that followed a response at once; 0 if that is no habit.

    `rests`: the sorted idle times of closes that teach."""
    soon = sum(end.rest is not None and end.rest <= AT_ONCE for end in ends)
    return soon if bisect_right(rests, AT_ONCE) > 1 and 2 * soon >= len(ends) else 0


def _met(ends: list[End]) -> Limit | None:
    """Return the timeout that requests met, if most closes met a request and nothing else can show it."""
    rests = sorted(end.rest for end in ends if end.reset and end.rest is not None and end.rest >= EARLIEST)
    if len(rests) < 3 or 2 * len(rests) < len(ends) or len(_alike(rests)) < len(rests):
        return None
    return Limit("met", rests[0], rests[-1], len(rests))


def _alike(rests: list[int]) -> list[int]:
    """Return those of the sorted idle times that are near their median."""
    median = rests[len(rests) // 2]
    return [rest for rest in rests if abs(rest - median) <= _same(median)]


def _same(rest: int) -> int:
    return rest * 5 // 100 + NEAR


def _once(ends: list[End]) -> list[End]:
    """Keep one of the closes that came together after similar idle times."""
    kept: list[End] = []
    for end in ends:
        if not any(_is_again(end, other) for other in _newest(kept, end.time)):
            kept.append(end)
    return kept


def _newest(kept: list[End], time: int) -> Iterable[End]:
    for end in reversed(kept):
        if time - end.time > DECIDED_ONCE:
            return
        yield end


def _is_again(end: End, other: End) -> bool:
    if end.rest is None or other.rest is None or end.teaches != other.teaches:
        return False
    return abs(end.rest - other.rest) <= _same(min(end.rest, other.rest))
