"""Learn the idle timeout of a server from its closes."""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from operator import attrgetter
from typing import NamedTuple

from wiredoctor.tables import MILLISECOND, SECOND
from wiredoctor.text.durations import duration_text

TOGETHER = 50 * MILLISECOND
"""The maximum time in ns between closes of one host that count as a single event: the end of a process."""
DECIDED_ONCE = 20 * MILLISECOND
"""The maximum time in ns between closes after similar idle times that count as one close, because one process made them together.
"""
EARLIEST = 950 * MILLISECOND
"""The shortest idle time in ns that is used to learn a timeout. Shorter idle times come from workers that end."""
NO_IDLE_TIME = 20 * MILLISECOND
"""The maximum time in ns from the end of a response to a close that follows it immediately, without idle time."""
NEAR = 20 * MILLISECOND
"""The tolerance in ns for late timers on a busy machine; a fraction of the timer's duration is added."""
LATE = 300 * MILLISECOND
"""The maximum time in ns from the expiry of a timeout to the close: a process may check its connections only now and then."""
LONG_WAIT = 5 * MILLISECOND
"""If the median time from a request to the reset is at least this many ns, the handlers of the requests gave up.

If the median is shorter, the resets may be due to an idle timeout that expired as requests arrived.
"""
AS_IT_EXPIRED = 100 * MILLISECOND
"""The maximum time in ns from a request to its reset, if the expired timeout is known only from such resets."""
MAX_CLOSES = 4096
"""The maximum number of closes from which an endpoint's timeout is learned. Older closes may be due to another configuration."""


class Limit(NamedTuple):
    """An idle timeout of an endpoint: a range from `low` to `high` (ns), and the number of `closes` that show it.

    `said`: the announced time (s). `how`: the source, one of
    soon: the server closes right after its responses;
    sharp: it closes exactly at the timeout;
    coarse: it checks its connections only now and then;
    single: learned from one close;
    met: learned from requests that arrived at the timeout;
    announced: announced by the server;
    usual: a common default.
    """

    how: str
    low: int
    high: int
    closes: int = 0
    said: int | None = None

    @property
    def tolerance(self) -> int:
        """Return the greatest difference (ns) between this timeout and an idle time that matches it."""
        return NEAR + self.low // 100

    @property
    def explained(self) -> tuple[int, int]:
        """The shortest and the longest idle time (ns) before a close that this timeout explains."""
        return self.low - self.tolerance, self.high + self.tolerance + LATE

    def has(self, rest: int) -> bool:
        """Return whether this timeout explains a close after this idle time (ns)."""
        first, last = self.explained
        return first <= rest <= last

    def as_text(self) -> str:
        """Return the timeout as text: "5 s", "5 s to 5.1 s"."""
        low, high = duration_text(self.low), duration_text(self.high)
        return low if low == high else f"{low} to {high}"

    def origin(self) -> str:
        """Return a text that says where the timeout comes from: announced, learned from closes, or assumed."""
        if self.how == "announced":
            beyond = "" if self.low == (self.said or 0) * SECOND else "; the server closes a second after that, as Node does"
            return f"announced: Keep-Alive: timeout={self.said}{beyond}"
        if self.how == "usual":
            return "a common default; the capture does not show the actual value"
        if self.how == "met":
            return f"learned from {self.closes:,} requests that arrived as it expired"
        learned = "as the close of another connection suggests" if self.closes == 1 else f"learned from {self.closes:,} closes"
        return learned + ("; the server checks for idle connections only now and then" if self.how == "coarse" else "")


class ServerClose(NamedTuple):
    """A close by the server. Times are in ns.

    `rest`: the idle time before the close, or before the first request if that was not answered; None if it is unknown.
    `known`: when the row became final.
    `teaches`: a timeout can be learned from the close, because the server had answered everything that the close acknowledges.
    `reset`: the close is an RST that acknowledges an unanswered request, which is not the first on its connection.
    `waited`: how long the unanswered request had been at the server.
    `said`: the idle timeout (s) that the last response announced.
    `frame`: the FIN or RST.
    `begun`: when the last response began, if it was complete and no request was unanswered.

    `sort` is one of
    idle: no request was unanswered;
    unaware: the close acknowledges no byte of an unanswered request;
    met: it acknowledges an unanswered request;
    broken: it cut off a response;
    open: it ended a tunnel or an endless stream.
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
    begun: int | None = None

    def is_early(self) -> bool:
        """Return whether the server closed after at most a second of idle time, or more than a second before the announced
        timeout.
        """
        return self.rest is not None and (self.rest <= SECOND or (self.said is not None and self.rest < (self.said - 1) * SECOND))


class Use(NamedTuple):
    """A request that was answered after an idle time. Times are in ns.

    `rest`: the idle time. `time`: when the request arrived. `known`: when the row of the exchange became final.
    """

    rest: int
    time: int
    known: int


def learn(ends: list[ServerClose], uses: Sequence[Use] = ()) -> Limit | None:
    """Return the idle timeout of one endpoint, learned from its closes in time order; None if they show no timeout.

    `uses`: the requests that the endpoint answered after an idle time, in ascending order of that time. They decide only whether
    the endpoint closes exactly at the timeout, or checks its connections now and then.
    """
    ends = _decisions(ends)
    rests = idle_times_of(ends)
    if soon := _count_immediate(ends, rests):
        return Limit("soon", 0, NO_IDLE_TIME, soon)
    long = rests[bisect_left(rests, EARLIEST) :]
    after = partial(_answered_after, uses=uses)
    met = _learned_from_lost(ends, after)
    if not long:
        return met
    alike = _near_median(long)
    spans = len(long) > 2 and len(long) == len(rests) and long[-1] <= 2 * long[0] + NEAR
    coarse = Limit("coarse", long[0], long[-1], len(long)) if spans else None
    if len(alike) > 1 and 2 * len(alike) >= len(rests):
        sharp = Limit("sharp", alike[0], alike[-1], len(alike))
        if coarse is None or not _explains_more(coarse, sharp, ends, after):
            return sharp
    if coarse:
        return coarse
    if len(long) == 1 and len(rests) <= 2:
        return met or Limit("single", long[0], long[0], 1)
    return met


def _explains_more(coarse: Limit, sharp: Limit, ends: list[ServerClose], after: Callable[[int], Sequence[Use]]) -> bool:
    """Return whether the server checks its connections now and then, although many closes seem to show an exact timeout.

    There are three conditions. At least one close and one request came after an idle time that the exact timeout excludes. The
    closes and requests that contradict the exact timeout are at least as many as those that support it. And each check closed all
    connections that had been idle for long enough: none was used later. `after` returns the requests that were answered after a
    longer idle time than a given time (ns).
    """
    other, outlived = coarse.closes - sharp.closes, after(sharp.low + sharp.tolerance)
    if not (other and outlived) or other + len(outlived) < sharp.closes or outlived[-1].rest <= sharp.high + sharp.tolerance:
        return False
    checks = [end.time for end in ends if end.teaches]
    due = coarse.low + coarse.tolerance
    return not any(is_between(checks, use.time - use.rest + due, use.time - TOGETHER) for use in after(due))


def is_between(times: Sequence[int], first: int, last: int) -> bool:
    """Return whether one of the times (ns) is between `first` and `last`. The times are in ascending order."""
    return bisect_left(times, first) < bisect_right(times, last)


def _answered_after(rest: int, uses: Sequence[Use]) -> Sequence[Use]:
    """Return the requests in `uses` that were answered after a longer idle time than `rest` (ns)."""
    return uses[bisect_right(uses, rest, key=attrgetter("rest")) :]


def idle_times_of(ends: Iterable[ServerClose]) -> list[int]:
    """Return the idle times (ns), in ascending order, of those closes from which a timeout can be learned."""
    return sorted(end.rest for end in ends if end.teaches and end.rest is not None)


def closes_soon(ends: list[ServerClose]) -> bool:
    """Return whether the server closes right after its responses."""
    ends = _decisions(ends)
    return bool(_count_immediate(ends, idle_times_of(ends)))


def follow_requests(ends: list[ServerClose]) -> bool:
    """Return whether closes followed their requests after about the same time, while the idle times varied more.

    In that case a handler gave up each time. The idle times may be similar only because the client sends requests at a regular
    interval.
    """
    reset = [(end.waited, end.rest) for end in _decisions(ends) if end.reset and end.waited is not None and end.rest is not None]
    if len(reset) < 3:
        return False
    wait, spread = _median_and_deviation([waited for waited, _ in reset])
    return wait >= LONG_WAIT and spread <= wait // 8 and 2 * spread < _median_and_deviation([rest for _, rest in reset])[1]


def _count_immediate(ends: list[ServerClose], rests: list[int]) -> int:
    """Return the number of closes immediately after a response; 0 if fewer than half of all closes were immediate.

    `rests`: the sorted idle times from which a timeout can be learned.
    """
    soon = sum(end.rest is not None and end.rest <= NO_IDLE_TIME for end in ends)
    return soon if bisect_right(rests, NO_IDLE_TIME) > 1 and 2 * soon >= len(ends) else 0


def _learned_from_lost(ends: list[ServerClose], after: Callable[[int], Sequence[Use]]) -> Limit | None:
    """Return the idle timeout of a server that resets requests because they arrive just as the timeout expires; None if unclear.

    At least half of all closes must be resets of this kind: at most AS_IT_EXPIRED after the request, and after similar idle
    times. If a request waited unread for longer, the server did not read it for another reason. If as many requests or more were
    answered after longer idle times, the idle time is not the reason for the resets. `after` returns the requests that were
    answered after a longer idle time than a given time (ns).
    """
    reset = [(end.rest, end.waited or 0) for end in ends if end.reset and end.rest is not None]
    lost = [(rest, waited) for rest, waited in reset if rest >= EARLIEST and waited <= AS_IT_EXPIRED]
    rests = sorted(rest for rest, _ in lost)
    if len(rests) < 3 or 2 * len(rests) < len(ends) or len(_near_median(rests)) < len(rests):
        return None
    arrived = sorted(rest - waited for rest, waited in lost)
    if len(after(arrived[len(arrived) // 2])) >= len(rests):
        return None
    return Limit("met", rests[0], rests[-1], len(rests))


def _median_and_deviation(times: list[int]) -> tuple[int, int]:
    """Return the median and the median absolute deviation."""
    median = sorted(times)[len(times) // 2]
    return median, sorted(abs(time - median) for time in times)[len(times) // 2]


def _near_median(rests: list[int]) -> list[int]:
    """Return the idle times that are similar to their median. `rests`: all idle times, in ascending order."""
    median = rests[len(rests) // 2]
    return [rest for rest in rests if is_similar(median, rest)]


def is_similar(rest: int, other: int) -> bool:
    """Return whether two idle times (ns) are so close that one timeout may have ended both.

    They may differ by at most `similar_within(rest)`.
    """
    return abs(rest - other) <= similar_within(rest)


def similar_within(rest: int) -> int:
    """Return the greatest difference (ns) between `rest` and a similar idle time: 5 % of it, plus NEAR."""
    return rest * 5 // 100 + NEAR


def _decisions(ends: list[ServerClose]) -> list[ServerClose]:
    """Return the newest closes. Of closes that came together after similar idle times, only the first is returned."""
    return without_repetitions(ends[-MAX_CLOSES:], DECIDED_ONCE, _is_again)


def without_repetitions(
    ends: Iterable[ServerClose], within: int, is_again: Callable[[ServerClose, ServerClose], bool]
) -> list[ServerClose]:
    """Return the closes, except those that repeat an earlier close (`is_again`) at most `within` ns before them."""
    kept: list[ServerClose] = []
    for end in ends:
        since = end.time - within
        for other in reversed(kept):
            if other.time < since:
                kept.append(end)
                break
            if is_again(end, other):
                break
        else:
            kept.append(end)
    return kept


def _is_again(end: ServerClose, other: ServerClose) -> bool:
    if end.rest is None or other.rest is None or end.teaches != other.teaches:
        return False
    return is_similar(min(end.rest, other.rest), max(end.rest, other.rest))
