"""Distinguish the idle timeout of a server from the request interval of a client.

Processes of a server may end just when a client sends a request. If the client sends a request every two seconds, all these
closes come after two seconds of idle time. That is the interval of the client, not a timeout of the server.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import NamedTuple

from wiredoctor.tables import MILLISECOND, SECOND
from wiredoctor.world.learned_limits import (
    MAX_CLOSES,
    TOGETHER,
    Limit,
    ServerClose,
    Use,
    is_between,
    is_similar,
    similar_within,
    without_repetitions,
)

FEW = 3
"""The closes are compared with requests that were answered after similar idle times if there are at least FEW such requests."""
FEW_SHARE = 4
"""At least one request that was answered after a similar idle time is needed for every FEW_SHARE closes."""
OUTLIVED, OUTLIVED_COARSE = 40, 50
"""The minimum share (%) of pairs in which the request came after a longer idle time than the close.

Each pair is a close, and a request that was answered after a similar idle time. If the share is reached, the idle time is not the
reason for the closes. The second number is for servers that check their connections only now and then (coarse timers).

Measured shares: ends of processes had at least 54 % (42 % for one that looked like a coarse timeout). Exact timeouts had at most
30 %, and coarse timeouts at most 43 %. On a very busy machine, exact timeouts had up to 65 %, but their shortest idle time was a
whole number of seconds (see TARDY).
"""
EXACT = 5 * MILLISECOND
EXACT_SHARE = 200
"""A timer is exact if it closes more than half of all connections within EXACT (ns) of one another.

For long idle times, the tolerance is 1/EXACT_SHARE of the idle time if that is longer than EXACT. In recordings of ending
processes, three or more closes were spread over 22 ms or more.
"""
EARLY, TARDY = 2 * MILLISECOND, 10 * MILLISECOND
"""The tolerances in ns below (EARLY) and above (TARDY) a whole number of seconds for the shortest idle time before a close.

Timers may be late, but are hardly ever early. If processes ended, the shortest idle time may have any length.
"""
DELAYED_SHARE = 20
"""One in DELAYED_SHARE closes may come after less than the timeout, because the response before it was delayed on its way.

A recording of a busy path has 2 such closes of 120; the shortest idle time was 70 ms too short.
"""
LOST = 5
"""At least LOST requests must have been lost to compare how much idle times vary (see `_vary_less`).

If requests and closes are independent, the idle times vary less by chance in at most 10 % of servers with 5 lost requests, and in
6 % with 7.
"""
ASKED_SHARE = 67
"""If at least this share (%) of closes came just as a client sent a request, the interval between its requests may explain the
idle times."""


class Doubt(NamedTuple):
    """Why the closes of an endpoint may not show an idle timeout, although their idle times are similar.

    `low`, `high`: the shortest and the longest of these idle times (ns). `answered`: the number of requests, answered after
    similar idle times, that refute the timeout; 0 if the timeout is neither refuted nor shown.
    """

    low: int
    high: int
    answered: int

    def has(self, rest: int) -> bool:
        """Return whether a close after an idle time of `rest` ns is one of the doubtful closes."""
        return _shortest(self.low) <= rest <= _longest(self.high)


def doubt_about(
    limit: Limit, ends: Sequence[ServerClose], uses: Sequence[Use], requests: Callable[[], Sequence[int]]
) -> Doubt | None:  # fmt: skip
    """Return why an idle timeout that was learned from closes may not exist; None if there is no reason to doubt it.

    `ends`: the closes of the endpoint in time order. `uses`: the requests that the endpoint answered after an idle time, in
    ascending order of that time. `requests` returns the times (ns) at which requests arrived at the endpoint, in order; it is
    called only if needed.
    """
    low, high = _shortest(limit.low), _longest(limit.high)
    lost_or_idle = (end for end in ends[-MAX_CLOSES:] if end.sort in ("idle", "unaware", "met"))
    near = (end for end in lost_or_idle if end.rest is not None and low <= end.rest <= high)
    closes = without_repetitions(near, TOGETHER, _are_similar)
    if not closes:
        return None
    rests = sorted(end.rest or 0 for end in closes)
    delayed = len(rests) // DELAYED_SHARE
    if limit.how not in ("coarse", "met") and (_is_whole(limit.low) or (delayed and _is_whole(rests[delayed]))):
        return None
    alike = uses[bisect_left(uses, low, key=attrgetter("rest")) : bisect_right(uses, high, key=attrgetter("rest"))]
    answered = [use.rest for use in alike]
    if len(answered) >= FEW and FEW_SHARE * len(answered) >= len(closes):
        # if a connection was closed on a request, its idle time had ended when the request arrived
        lost = sorted((end.rest or 0) - (end.waited or 0) for end in closes)
        later = sum(bisect_left(lost, rest) for rest in answered)
        least = OUTLIVED_COARSE if limit.how == "coarse" else OUTLIVED
        return Doubt(rests[0], rests[-1], len(answered)) if 100 * later >= least * len(answered) * len(lost) else None
    if len(closes) == 1 or (limit.how != "coarse" and _are_exact(rests)):
        return None
    if limit.how == "met" and not any(rest > rests[0] for rest in answered) and _vary_less(closes):
        return None
    times = requests()
    within = [(end.time, similar_within(end.rest or 0)) for end in closes]
    if times:  # a live capture may have forgotten earlier requests
        within = [(time, slack) for time, slack in within if time + slack >= times[0]]
    asked = sum(is_between(times, time - slack, time + slack) for time, slack in within)
    return Doubt(rests[0], rests[-1], 0) if within and 100 * asked >= ASKED_SHARE * len(within) else None


def _shortest(low: int) -> int:
    return low - similar_within(low)


def _longest(high: int) -> int:
    return high + similar_within(high)


def _are_similar(first: ServerClose, second: ServerClose) -> bool:
    shortest, longest = sorted((first.rest or 0, second.rest or 0))
    return is_similar(longest, shortest)


def _are_exact(rests: list[int]) -> bool:
    """Return whether more than half of these idle times are as close together as an exact timer would make them.

    `rests` are in ascending order.
    """
    most = len(rests) // 2 + 1
    spans = (last - first for first, last in zip(rests, rests[most - 1 :], strict=False))
    return min(spans) <= max(EXACT, rests[0] // EXACT_SHARE)


def _vary_less(closes: Sequence[ServerClose]) -> bool:
    """Return whether the idle times vary less than the times of the requests, and than the times from request to close.

    A timer of the server closed then: what ends at the end of a process, or when a handler gives up, varies at least as much as
    one of them.
    """
    lost = [(end.rest or 0, end.waited) for end in closes if end.waited is not None]
    if len(lost) < LOST:
        return False
    asked, waited = _range([rest - waited for rest, waited in lost]), _range([waited for _, waited in lost])
    return _range([end.rest or 0 for end in closes]) < min(asked, waited)


def _range(times: Sequence[int]) -> int:
    return max(times) - min(times)


def _is_whole(low: int) -> bool:
    """Return whether an idle time (ns) is a whole number of seconds, or slightly longer."""
    return (low + EARLY) % SECOND <= EARLY + TARDY
