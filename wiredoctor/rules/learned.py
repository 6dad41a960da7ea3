"""What the closes of a server teach of its idle limit, and what is a limit: learned, announced, or only usual."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from typing import NamedTuple

from wiredoctor.durations import duration_text
from wiredoctor.tables import MILLISECOND, SECOND

TOGETHER = 50 * MILLISECOND
"""Closes that one host sends of its own accord within this time are one event: a process ended."""
DECIDED_ONCE = 20 * MILLISECOND
"""Closes within this time of one another, of rests that are alike, count once: one process decided once."""
EARLIEST = 950 * MILLISECOND
"""Rests from here on teach a limit; shorter ones come from workers that end."""
AT_ONCE = 20 * MILLISECOND
"""A close so soon after a response belongs to that response."""
NEAR = 20 * MILLISECOND
"""Timers fire so late on a machine that is not idle; and by a share of their time."""
LATE = 300 * MILLISECOND
"""A process may look for connections whose limit has passed so much later."""
MOST = 4096
"""Closes of an endpoint from which its limit is learned, the newest: older ones tell of another configuration."""


class Limit(NamedTuple):
    """An idle limit of an endpoint, from `low` to `high` (ns): how it is known, and from how many `closes`, where it is learned.

    `how`: soon (it closes after its answers), sharp, coarse (it looks after its connections now and then), single (from one
    close), met (from requests that met it), announced, usual. `said`: the seconds that were announced.
    """

    how: str
    low: int
    high: int
    closes: int = 0
    said: int | None = None

    @property
    def tolerance(self) -> int:
        """How much (ns) a rest may be beside it."""
        return NEAR + self.low // 100

    def has(self, rest: int) -> bool:
        """Whether a close after this rest (ns) is explained by it."""
        return self.low - self.tolerance <= rest <= self.high + self.tolerance + LATE

    def words(self) -> str:
        """How long it is: "5 s", "5 s to 5.1 s"."""
        low, high = duration_text(self.low), duration_text(self.high)
        return low if low == high else f"{low} to {high}"

    def origin(self) -> str:
        """How it is known."""
        closes = "one close" if self.closes == 1 else f"{self.closes:,} closes"
        if self.how == "announced":
            beyond = "" if self.low == (self.said or 0) * SECOND else "; it closes a second after that, as Node does"
            return f"announced: Keep-Alive: timeout={self.said}{beyond}"
        if self.how == "usual":
            return "only usual: nothing in the capture shows it"
        if self.how == "met":
            return f"learned from {self.closes:,} requests that met it"
        return f"learned from {closes}" + (": it looks for idle connections only now and then" if self.how == "coarse" else "")


class End(NamedTuple):
    """A close of the server: when, after what rest (ns; None where there was none), of which connection, and when it is known.

    `teaches`: nothing that it acknowledges was unanswered. `reset`: an RST with ACK flag that met a request. `sort`: idle,
    unaware (it acknowledges nothing of a request that nobody answered), met (it acknowledges that), broken (it cut a response
    off), open (a tunnel, or a stream without an end). `waited` (ns): since the request that it met came. `said`: the seconds that
    its last response announced. `frame`: its packet.
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
    """What the closes of one endpoint, in their order, teach of its idle limit; None where that is nothing."""
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
    """Whether the server closes after its answers."""
    ends = _once(ends[-MOST:])
    return bool(_soon(ends, sorted(end.rest for end in ends if end.teaches and end.rest is not None)))


def _soon(ends: list[End], rests: list[int]) -> int:
    """How many of these closes followed an answer at once; 0 where that is no habit. `rests`: those that teach, sorted."""
    soon = sum(end.rest is not None and end.rest <= AT_ONCE for end in ends)
    return soon if bisect_right(rests, AT_ONCE) > 1 and 2 * soon >= len(ends) else 0


def _met(ends: list[End]) -> Limit | None:
    """The limit that requests met, where most closes met one: nothing else can show it."""
    rests = sorted(end.rest for end in ends if end.reset and end.rest is not None and end.rest >= EARLIEST)
    if len(rests) < 3 or 2 * len(rests) < len(ends) or len(_alike(rests)) < len(rests):
        return None
    return Limit("met", rests[0], rests[-1], len(rests))


def _alike(rests: list[int]) -> list[int]:
    """Of sorted rests those that are near their median."""
    median = rests[len(rests) // 2]
    return [rest for rest in rests if abs(rest - median) <= _same(median)]


def _same(rest: int) -> int:
    return rest * 5 // 100 + NEAR


def _once(ends: list[End]) -> list[End]:
    """Of closes at one moment, after rests that are alike, one."""
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
