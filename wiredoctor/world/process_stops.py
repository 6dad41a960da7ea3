"""Find when a process of a server ended: it closed connections at one moment, and no idle timeout explains these closes.

All rules about closes share this code. The steps are: leave out closes right after responses if that is the server's habit; find
moments at which a process may have ended; learn idle timeouts from all other closes; and drop the moments that these timeouts
explain. No step changes the result of an earlier step.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from operator import attrgetter
from typing import NamedTuple

import polars as pl

from wiredoctor.tables import MILLISECOND, SECOND
from wiredoctor.world.learned_limits import (
    EARLIEST,
    NEAR,
    NO_IDLE_TIME,
    TOGETHER,
    Limit,
    ServerClose,
    Use,
    closes_soon,
    idle_times_of,
    learn,
)

c = pl.col

SPREAD = 100 * MILLISECOND
"""The maximum difference in ns between the idle times of connections that one timeout closes at the same moment.

The last requests on such connections were at about the same time.
"""
REFUSED = SECOND
"""The maximum time in ns from the end of a process to a SYN that is refused because no other process accepts connections."""
LAIN = 1_500 * MILLISECOND
"""The maximum time in ns from an unanswered request to the close, if an idle timeout may have expired as the request arrived."""
STRAGGLERS = 500 * MILLISECOND
"""The maximum time in ns between the end of a process and the closes by other processes of the server."""
DRAIN = 10 * SECOND
"""The maximum time in ns for which a process that has begun to end may still answer the requests that it has received."""
SAME_STOP = SECOND
"""The maximum time in ns between ends of processes that count as a single end."""
CLOSER = 4
"""The idle times of connections that were closed together must differ by more than CLOSER times the time between the closes.
Otherwise each close may have followed its response after the same time.
"""
MIN_DIFFERENCE = 5 * MILLISECOND
"""The minimum difference in ns between the idle times of connections that were closed together.

A smaller difference does not count, because a process may take a few milliseconds to close several connections.
"""


class Syn(NamedTuple):
    """A SYN to an endpoint. `time`, `answered`: when the SYN and its answer passed the capture point (ns). `refused`: the answer
    was an RST. `frame`: the answer.
    """

    time: int
    answered: int
    refused: bool
    frame: int


class Stop(NamedTuple):
    """The end of a process at an endpoint.

    `start`, `end`: the times of the first and last close (ns). `resting`: the closes of idle connections. `lost`: the number of
    lost requests. `cut`: the number of truncated responses and tunnels. `refused`: the refused SYNs. `form`: the proof, which is
    one of
    a: three or more idle times, of which the longest is more than twice the shortest;
    b: two or more idle times, and a SYN was refused within a second;
    c: one or more idle times, and an exchange was cut off at the same moment;
    d: one or more idle times, and the next SYN was refused;
    e: three or more idle times that are closer together, and no older connection is used again;
    f: two or more idle times, no older connection is used again, and neither a timeout nor the responses explain the closes.
    """

    form: str
    start: int
    end: int
    resting: tuple[ServerClose, ...]
    lost: int = 0
    cut: int = 0
    refused: tuple[Syn, ...] = ()


class Stops(NamedTuple):
    """The times at which processes ended at an endpoint, in order.

    `late`: the connections that the endpoint closed late because its process had been suspended.
    """

    stops: tuple[Stop, ...] = ()
    late: frozenset[int] = frozenset()

    def stop_at(self, time: int) -> Stop | None:
        """Return the end of a process that includes a close at this time (ns); None if there is none."""
        return next((stop for stop in self.stops if stop.start - TOGETHER <= time <= stop.end + TOGETHER), None)

    @property
    def connections(self) -> set[int]:
        """The idle connections that were closed in a way that says nothing about an idle timeout."""
        return {end.connection for stop in self.stops for end in stop.resting} | self.late


NONE = Stops()


def suspicious(ends: pl.DataFrame, syns: pl.DataFrame) -> set[int]:
    """Return the endpoints at which a process may have ended, by a cheap test. `ends` are sorted by `endpoint` and `time`."""
    if ends.is_empty():
        return set()
    apart = (c("endpoint") != c("endpoint").shift(1)) | (c("time") - c("time").shift(1) > TOGETHER)
    moments = (
        ends.select("endpoint", "time", "rest", "teaches", apart.fill_null(value=True).cum_sum().alias("moment"))
        .group_by("moment", maintain_order=True)
        .agg(
            c("endpoint").first(),
            c("time").first(),
            c("teaches").sum().alias("resting"),
            (~c("teaches")).any().alias("others"),
            (c("rest").filter("teaches").max() - c("rest").filter("teaches").min()).alias("spread"),
        )
        .filter(c("resting") > 0)
    )
    refused = moments.join(syns.filter("refused").select("endpoint", "answered"), on="endpoint").filter(
        c("answered") >= c("time")
    )
    several = moments.filter(((c("resting") > 2) & (c("spread") > SPREAD)) | (c("spread") > MIN_DIFFERENCE) | c("others"))
    return {*several["endpoint"], *refused["endpoint"]}


def stops_of(
    ends: Sequence[ServerClose],
    syns: Sequence[Syn],
    exchanges: Callable[[], pl.DataFrame] | None = None,
    uses: Sequence[Use] = (),
) -> Stops:
    """Return when processes ended at one endpoint, as shown by its closes (`ends`) and by the SYNs to it, both in time order.

    `exchanges` returns the endpoint's exchanges (see Server.exchanges). It is called only if closes and SYNs are not sufficient
    to decide. `uses` are passed to `learn`.
    """
    soon = closes_soon([end for end in ends if end.sort != "open" and not _is_last(end, syns)])
    counting = [end for end in ends if not (soon and end.rest is not None and end.rest <= NO_IDLE_TIME)]
    moments = _moments(counting)
    forms = [_form(moment, syns) for moment in moments]
    swept = [number for number, moment in enumerate(moments) if forms[number] is None and _fits_coarse_timeout(moment)]
    if len(swept) == 1 and exchanges is not None and _is_timeout_replaced(moments[swept[0]], exchanges()):
        forms[swept[0]] = "e"
    one = _only_closing_moment(moments)
    if one is not None and forms[one] is None and exchanges is not None and _is_unexplained(moments[one], exchanges()):
        forms[one] = "f"
    if not any(forms):
        return NONE
    inside = {end.connection for form, moment in zip(forms, moments, strict=True) if form for end in moment}
    limit = learn([end for end in ends if end.connection not in inside and end.sort != "open"], uses)
    stops: list[Stop] = []
    late: set[int] = set()
    for form, moment in zip(forms, moments, strict=True):
        if form is None:
            continue
        if not _is_due(form, moment, limit):
            stops.append(_stop(form, moment, syns))
        elif any(end.waited is not None and end.waited >= SECOND for end in moment):
            late |= {end.connection for end in moment}
    whole: list[Stop] = []
    for stop in stops:
        last = _refused_until(stop, syns)
        others = [end for end in ends if end.sort != "open" and not stop.start <= end.time <= last]
        if soon and not closes_soon(others):
            # only the process that ended closed right after its responses, so these closes are no habit of the server
            others = [end for end in others if end.connection not in inside]
            whole.append(_with_stragglers(stop, ends, last, inside, learn(others, uses)))
        else:
            whole.append(_with_stragglers(stop, counting, last, inside, limit))
    return Stops(tuple(_merge_stops(whole)), frozenset(late))


def _is_last(end: ServerClose, syns: Sequence[Syn]) -> bool:
    """Return whether the next SYN after a close was refused within REFUSED: then the process that closed had ended."""
    following = bisect_left(syns, end.time, key=attrgetter("answered"))
    return following < len(syns) and syns[following].refused and syns[following].answered <= end.time + REFUSED


def _moments(ends: Iterable[ServerClose]) -> list[list[ServerClose]]:
    """Return the closes in groups, called moments: the closes of a group follow one another immediately."""
    moments: list[list[ServerClose]] = []
    for end in ends:
        if not moments or end.time - moments[-1][-1].time > TOGETHER:
            moments.append([])
        moments[-1].append(end)
    return moments


def _form(moment: list[ServerClose], syns: Sequence[Syn]) -> str | None:
    """Return the form of the end of a process (see `Stop`), as shown by closes and SYNs; None if they do not show an end.

    `moment`: closes that followed one another immediately.
    """
    if len(moment) == 1 and not syns:
        return None  # nearly all closes of a server are such, and there may be many
    rests = idle_times_of(moment)
    if not rests:
        return None
    start, end = moment[0].time, moment[-1].time
    if len(rests) > 2 and rests[-1] - rests[0] > SPREAD and 2 * rests[0] < rests[-1]:
        return "a"
    first = bisect_left(syns, start, key=attrgetter("answered"))
    last = bisect_right(syns, end + REFUSED, key=attrgetter("answered"))
    if len(rests) > 1 and any(syn.refused for syn in syns[first:last]):
        return "b"
    if any(_is_under_way(one, rests[0]) for one in moment):
        return "c"
    return "d" if first < len(syns) and syns[first].refused else None


def _is_under_way(end: ServerClose, shortest: int) -> bool:
    """Return whether a close interrupted an exchange, so that an idle timeout cannot be its cause.

    Other connections were closed at the same moment, perhaps by an idle timeout. A request is ignored if it may have arrived just
    when that timeout expired. `shortest`: the shortest idle time (ns) of the other connections.
    """
    if end.sort in ("broken", "open"):
        return True
    if end.sort != "met" or end.waited is None:
        return False
    return end.waited > LAIN or end.rest is None or 2 * (end.rest - end.waited) < shortest


def _fits_coarse_timeout(moment: list[ServerClose]) -> bool:
    """Return whether these closes fit an idle timeout of a server that checks its connections only now and then."""
    if len(moment) < 3:
        return False
    rests = idle_times_of(moment)
    return len(rests) > 2 and rests[-1] - rests[0] > SPREAD and rests[-1] <= 2 * rests[0]


def _is_timeout_replaced(moment: list[ServerClose], exchanges: pl.DataFrame) -> bool:
    """Return whether the server no longer exchanges an idle timeout that would explain these closes.

    No connection from before the closes may have been used again. A newer connection must have been idle for at least their
    shortest idle time, and must then have been used successfully or stayed open.
    """
    if _is_used_again(moment, exchanges):
        return False
    newer = c("first") > moment[-1].time
    return not exchanges.filter(newer & _outlasted(idle_times_of(moment)[0])).is_empty()


def _is_used_again(moment: list[ServerClose], exchanges: pl.DataFrame) -> bool:
    """Return whether a connection from before these closes was used after them."""
    return not exchanges.filter((c("first") < moment[0].time) & (c("request_start") > moment[-1].time)).is_empty()


def _outlasted(rest: int) -> pl.Expr:
    """Return whether a connection was idle for at least `rest` ns, and then was used successfully or stayed open."""
    used = c("answered") & (c("request_start") - c("previous_end") >= rest)
    rests = ~c("closed") & (c("final_at") - c("response_end") >= rest)
    return (used | rests).fill_null(value=False)


def _only_closing_moment(moments: list[list[ServerClose]]) -> int | None:
    """Return the index of the moment at which the server closed idle connections, if there is only one; otherwise None.

    The responses on these connections must have ended at different times, much further apart than the closes.
    """
    closing = [*islice((number for number, moment in enumerate(moments) if idle_times_of(moment)), 2)]
    if len(closing) != 1:
        return None
    resting = sorted((end.rest, end.time) for end in moments[closing[0]] if end.teaches and end.rest is not None)
    (shortest, first), (longest, last) = resting[0], resting[-1]
    apart = longest - shortest > max(MIN_DIFFERENCE, CLOSER * abs(last - first))
    return closing[0] if apart and shortest > NO_IDLE_TIME else None


def _is_unexplained(moment: list[ServerClose], exchanges: pl.DataFrame) -> bool:
    """Return whether only the end of a process explains these closes.

    No older connection is used again, and the idle times match no timeout. They match none if the shortest is shorter than any
    timeout, if all are shorter than announced, or if another connection stayed open after a much longer idle time.
    """
    if _is_used_again(moment, exchanges):
        return False
    rested = idle_times_of(moment)
    if rested[0] < EARLIEST or all(end.said is not None and end.is_early() for end in moment if end.teaches):
        return True
    longest = max(2 * rested[0], rested[-1]) + NEAR
    return not exchanges.filter(_outlasted(longest + 1)).is_empty()


def _is_due(form: str, moment: list[ServerClose], limit: Limit | None) -> bool:
    """Return whether the closes are due to an idle timeout, because it had expired on all of these connections.

    If so, no process ended. `form`: the form of the end (see `Stop`). `limit`: the idle timeout learned from other closes.
    """
    said = max((end.said for end in moment if end.said is not None), default=None)
    known = [Limit("announced", said * SECOND, (said + 1) * SECOND, said=said)] if said is not None else []
    known += [limit] if limit is not None and limit.how in ("sharp", "coarse") else []
    rests = idle_times_of(moment) + [end.rest for end in moment if end.sort == "met" and end.rest is not None]
    if form in ("b", "d"):
        return any(all(one.has(rest) for rest in rests) for one in known)
    return any(one.how != "coarse" and all(rest >= one.low - one.tolerance for rest in rests) for one in known)


def _stop(form: str, moment: list[ServerClose], syns: Sequence[Syn]) -> Stop:
    start, end = moment[0].time, moment[-1].time
    return Stop(
        form,
        start,
        end,
        tuple(one for one in moment if one.teaches),
        sum(one.sort in ("met", "unaware") for one in moment),
        sum(one.sort in ("broken", "open") for one in moment),
        tuple(_refused_syns(syns[bisect_left(syns, start, key=attrgetter("answered")) :], end + REFUSED)),
    )


def _refused_syns(syns: Iterable[Syn], until: int) -> Iterator[Syn]:
    """Yield the refused SYNs that the end of a process explains.

    These are the SYNs that were refused by `until` (ns), and those refused later if no SYN was accepted before them.
    """
    accepted = False
    for syn in syns:
        if syn.refused and (not accepted or syn.answered <= until):
            yield syn
        accepted |= not syn.refused


def _refused_until(stop: Stop, syns: Sequence[Syn]) -> int:
    """Return the time (ns) until which the process answered its last requests, as the refused SYNs show.

    Up to this time, new connections were refused, because no other process took over. If no SYNs were refused, the result is the
    time of the last close.
    """
    until = stop.end
    for syn in syns[bisect_left(syns, stop.start, key=attrgetter("answered")) :]:
        if not syn.refused or syn.answered > stop.end + DRAIN:
            break
        until = max(until, syn.answered)
    return until


def _with_stragglers(stop: Stop, ends: Iterable[ServerClose], last: int, inside: set[int], limit: Limit | None) -> Stop:
    """Return the end of a process, extended by closes of idle connections that other processes of the server made shortly before
    or after. `last` (ns): the time until which the process answered its last requests, and closed their connections.
    """
    some = [
        end
        for end in ends
        if end.teaches
        and end.rest is not None
        and end.connection not in inside
        and stop.start - STRAGGLERS <= end.time <= last + STRAGGLERS
        and not (limit is not None and limit.has(end.rest))
        and not (end.said is not None and end.rest >= end.said * SECOND - NO_IDLE_TIME)
    ]
    inside |= {end.connection for end in some}
    resting = sorted((*stop.resting, *some), key=lambda end: end.time)
    lost = stop.lost + sum(end.sort == "unaware" for end in some)
    times = [stop.start, stop.end, *(end.time for end in some)]
    return stop._replace(start=min(times), end=max(times), resting=tuple(resting), lost=lost)


def _merge_stops(stops: Iterable[Stop]) -> list[Stop]:
    """Merge process ends that are close together, because the processes of a server end one after the other."""
    joined: list[Stop] = []
    for stop in sorted(stops, key=lambda one: one.start):
        before = joined[-1] if joined else None
        if before is None or stop.start - before.end > SAME_STOP:
            joined.append(stop)
            continue
        joined[-1] = before._replace(
            end=max(before.end, stop.end),
            resting=(*before.resting, *stop.resting),
            lost=before.lost + stop.lost,
            cut=before.cut + stop.cut,
            refused=(*before.refused, *(syn for syn in stop.refused if syn not in before.refused)),
        )
    return joined
