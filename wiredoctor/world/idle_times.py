"""Determine the idle timeouts of servers: learned from their closes, announced, or common defaults.

The rules about the end of connections share this code, so the closes of an endpoint are examined once for all of them.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from operator import attrgetter
from typing import Any, ClassVar, NamedTuple, TypeVar

import polars as pl

from wiredoctor.tables import CLOSES, MILLISECOND, SECOND
from wiredoctor.world.client_intervals import Doubt, doubt_about
from wiredoctor.world.idle_defaults import usual_limits
from wiredoctor.world.idle_time_rows import (
    ENDS,
    SYNS,
    announcements,
    answered_syns,
    request_arrivals,
    server_closes,
    used_idle_times,
)
from wiredoctor.world.learned_limits import (
    EARLIEST,
    LATE,
    NEAR,
    TOGETHER,
    End,
    Limit,
    Use,
    answered_after,
    follow_requests,
    idle_times_of,
    learn,
    similar_within,
)
from wiredoctor.world.process_stops import NONE, REFUSED, STRAGGLERS, Stop, Stops, Syn, stops_of, suspicious
from wiredoctor.world.server_history import ServerHistory, add_to_history
from wiredoctor.world.world import CaptureTables, Index

c = pl.col

T = TypeVar("T")

__all__ = ["LATE", "NEAR", "TOGETHER", "End", "IdleTimes", "Limit", "Stop", "Stops", "known_rests", "learn", "nothing_known"]

SURVIVED = 2
SURVIVED_SHARE = 4
"""To refute a timeout, at least one answered request per SURVIVED_SHARE closes is needed, and at least SURVIVED in all.

Only requests after an idle time longer than the timeout count.
"""
ALMOST = 3 * MILLISECOND
"""A request counts as answered after a timeout even if its idle time was up to this much (ns) shorter: timers are not exact."""
LEARNED_SHARE = 2
"""A timeout that was learned from closes is refuted by more than this many answered requests per close.

Only requests after an idle time longer than the timeout count. If a timeout is refuted, the closes came from processes that
ended, and the idle times are similar only because the client sends at a regular interval. A recording of such closes has 22 of
these requests per close. Recordings of 46 real timeouts have at most 1.
"""
MANY = 3
"""If early closes came at this many moments or more, closing early is a habit, even if the idle times differ.

Early closes at fewer moments may be restarts.
"""


class _OrdinaryCloses(NamedTuple):
    """The closes of an endpoint from which idle timeouts are learned, in time order, with sorted idle times (ns).

    `taught`: those of closes from which a timeout can be learned. `lost`: those before a request that the server lost.
    """

    ends: list[End]
    taught: list[int]
    lost: list[int]


@dataclass(eq=False, repr=False)
class _CloseMoment:
    """Closes that came at most STRAGGLERS (ns) after the first of them.

    `start`: the time of the first (ns). `rests`: the idle times (ns) by connection. `has_early`: at least one close was early.
    """

    start: int
    rests: dict[int, int]
    has_early: bool = False

    @cached_property
    def sorted_rests(self) -> list[int]:
        """The idle times (ns) in ascending order."""
        return sorted(self.rests.values())


class _CloseMoments:
    """The moments at which an endpoint closed idle connections, in time order."""

    def __init__(self, moments: list[_CloseMoment]) -> None:
        self._moments = moments
        self._rests = sorted(rest for moment in moments for rest in moment.rests.values())
        self.early = sum(moment.has_early for moment in moments)
        """The number of moments with an early close."""

    def is_repeated(self, connection: int, time: int) -> bool:
        """Return whether a close of `connection` at `time` (ns) came after a similar idle time as one at another moment."""
        place = bisect_right(self._moments, time, key=attrgetter("start")) - 1
        own = self._moments[place] if place >= 0 else None
        rest = own.rests.get(connection) if own is not None and time <= own.start + STRAGGLERS else None
        if own is None or rest is None:
            return False
        near = (rest - similar_within(rest), rest + similar_within(rest))
        return _count_between(self._rests, *near) > _count_between(own.sorted_rests, *near)


def _once_per_endpoint(find: Callable[[IdleTimes, int, int | None], T]):
    """Let a method (endpoint, until) compute its result only once per endpoint if `until` is None.

    Otherwise, keep the newest result, because one candidate asks several times.
    """

    def found(times: IdleTimes, endpoint: int, until: int | None = None) -> T:
        key = (find.__name__, endpoint)
        kept = times.results.get(key if until is None else (*key, "until"))
        if kept is None or kept[0] != until:
            kept = until, find(times, endpoint, until)
            times.results[key if until is None else (*key, "until")] = kept
        return kept[1]

    return found


class IdleTimes(Index):
    """The idle timeouts of servers, and the times at which their processes ended, as shown by the closes of the servers.

    `known_rests` creates the object for the servers of some candidates.
    """

    NEEDS: ClassVar[tuple[str, ...]] = ("endpoint", "connection")
    HELD: ClassVar[bool] = True

    @classmethod
    def build(cls, wanted: Sequence[pl.DataFrame], tables: CaptureTables) -> IdleTimes:
        """Return the idle timeouts of the candidates' servers (see world.Index)."""
        if tables.remembered is None:
            return known_rests(tables.closes, wanted, tables.connections)
        history = tables.remembered[cls]
        assert isinstance(history, ServerHistory)
        return _from_history(history, tables, pl.concat([rows.select(cls.NEEDS) for rows in wanted]).unique().drop_nulls())

    @classmethod
    def remember(cls, kept: Any, tables: CaptureTables) -> ServerHistory:
        """Return what all exchanges and connections so far have shown about servers."""
        assert kept is None or isinstance(kept, ServerHistory)
        return add_to_history(kept or ServerHistory(), tables.closes, tables.connections)

    def __init__(
        self, ends: pl.DataFrame, said: pl.DataFrame, used: pl.DataFrame, syns: pl.DataFrame, exchanges: pl.LazyFrame,
        history: ServerHistory | None = None,
    ) -> None:  # fmt: skip
        ends = ends.sort("endpoint", "time", "connection")
        self._ends = ends
        self._known: dict[int, list[End]] = {}
        self._said: dict[int, tuple[int | None, str]] = {
            number: (most, server or "") for number, most, server in said.iter_rows()
        }
        self._used: dict[int, list[Use]] = {}
        for endpoint, *use in used.sort("rest").iter_rows():
            self._used.setdefault(endpoint, []).append(Use(*use))
        self._doubts: dict[int, Doubt | None] = {}
        self._suspicious = suspicious(ends, syns)
        self._syns: dict[int, list[Syn]] = {}
        for endpoint, *syn in syns.sort("answered").iter_rows():
            self._syns.setdefault(endpoint, []).append(Syn(*syn))
        self._exchanges, self._history = exchanges, history
        self.results: dict[tuple[str | int, ...], tuple[int | None, Any]] = {}
        """The results of methods with `_once_per_endpoint`: (name of the method, endpoint) -> (until, result)."""

    def limits(self, endpoint: int, connection: int, until: int | None = None) -> list[Limit]:
        """Return the idle timeouts of an endpoint from the best source that has any; empty if no source has any.

        The best source is its closes, then its announcement on this connection, then the defaults of its software. `until`: use
        only what was known at this time (ns); None for everything.
        """
        learned = self.learned_timeout(endpoint, until)
        said, server = self._said.get(connection, (None, ""))
        if (learned is None or learned.how == "met") and self._closes_follow_requests(endpoint, until):
            return []
        if self.doubt(endpoint, connection, until) is not None:
            return []
        if learned is not None:
            limits = [learned]
        elif said is not None:
            limits = [Limit("announced", n * SECOND, n * SECOND, said=said) for n in (said, said + 1)]
        else:
            limits = [Limit("usual", n * SECOND, n * SECOND) for n in usual_limits(server)]
        return [limit for limit in limits if not self._is_refuted(limit, endpoint, until)]

    def _is_refuted(self, limit: Limit, endpoint: int, until: int | None) -> bool:
        """Return whether the endpoint cannot have this timeout, because it answered too many requests after longer idle times.

        The closes may have another reason, such as a client that sends a request at regular intervals, or `limit` may be the
        default of other servers.
        """
        if limit.how == "soon":
            return False
        learned = limit.how in ("sharp", "coarse")
        longest = (limit.high if learned else limit.low) + limit.tolerance
        answered = self._count_answered(longest, endpoint, until)
        if learned:
            return answered > LEARNED_SHARE * limit.closes
        if limit.how == "usual" and self._closes_earlier(limit, endpoint, until):
            return True
        return answered >= SURVIVED and SURVIVED_SHARE * answered >= limit.closes

    def is_survived(self, limit: Limit, endpoint: int, rest: int, until: int | None = None) -> bool:
        """Return whether, of the requests that came when this timeout had expired, the endpoint answered more than it lost.

        `rest`: the idle time (ns) of a lost request. `until`: as in `limits`.
        """
        since = min(rest, limit.low) - ALMOST
        answered = self._count_answered(since, endpoint, until)
        if answered < SURVIVED:
            return False
        lost = self._ordinary_closes(endpoint, until).lost
        return answered > len(lost) - bisect_left(lost, since)

    def _count_answered(self, rest: int, endpoint: int, until: int | None) -> int:
        """Return how many requests the endpoint answered after a longer idle time than `rest` (ns); `until`: as in `limits`."""
        uses = self._used.get(endpoint, [])
        if until is None:
            return len(uses) - bisect_right(uses, rest, key=attrgetter("rest"))
        return len(answered_after(rest, uses, until))

    def _closes_earlier(self, limit: Limit, endpoint: int, until: int | None) -> bool:
        """Return whether most closes came after idle times that are too short for this timeout."""
        rests = self._ordinary_closes(endpoint, until).taught
        earlier = _count_between(rests, EARLIEST, limit.low - limit.tolerance - 1)
        return earlier >= MANY and earlier > _count_between(rests, *limit.explained)

    def doubt(self, endpoint: int, connection: int, until: int | None = None) -> Doubt | None:
        """Return why the closes of an endpoint show no idle timeout although their idle times are similar.

        Return None if they show a timeout, or if the idle times are not similar. `connection`, `until`: as in `limits`.
        """
        limit = self.learned_timeout(endpoint, until)
        if limit is None or limit.how == "soon":
            return None
        said = self.announced_timeout(connection)
        if said is not None and any(Limit("announced", n * SECOND, n * SECOND).has(limit.low) for n in (said, said + 1)):
            return None
        if until is None and endpoint in self._doubts:
            return self._doubts[endpoint]
        requests = partial(self._request_times, endpoint, until)
        ends, used = self._ordinary_closes(endpoint, until).ends, self._used.get(endpoint, [])
        doubt = doubt_about(limit, ends, used, requests, until)
        if until is None:
            self._doubts[endpoint] = doubt
        return doubt

    def _request_times(self, endpoint: int, until: int | None) -> list[int]:
        """Return when requests arrived at an endpoint (ns), in order, as far as known at `until`."""
        arrivals = request_arrivals(self._exchanges) if self._history is None else self._history.requests.lazy()
        known = pl.lit(value=True) if until is None else c("known") <= until
        return arrivals.filter((c("endpoint") == endpoint) & known).select(c("time").sort()).collect()["time"].to_list()

    def outlived(self, endpoint: int, rest: int, until: int | None = None) -> int:
        """Return how many requests the endpoint answered after an idle time longer than `rest` (ns).

        Return 0 if they are too few to show that no idle timeout of this length exists. `until`: as in `limits`.
        """
        limit = Limit("single", rest, rest, 1)
        longer = self._count_answered(rest + limit.tolerance, endpoint, until)
        return longer if self._is_refuted(limit, endpoint, until) else 0

    @_once_per_endpoint
    def learned_timeout(self, endpoint: int, until: int | None) -> Limit | None:
        """Return the timeout that the closes of an endpoint show, or None; `until` as in `limits`."""
        return learn(self._ordinary_closes(endpoint, until).ends, self._used.get(endpoint, []), until)

    @_once_per_endpoint
    def _closes_follow_requests(self, endpoint: int, until: int | None) -> bool:
        return follow_requests(self._ordinary_closes(endpoint, until).ends)

    @_once_per_endpoint
    def _ordinary_closes(self, endpoint: int, until: int | None) -> _OrdinaryCloses:
        """Return the closes of an endpoint, except closes of tunnels and closes due to the end of a process.

        `until` is as in `limits`.
        """
        nothing = self._stopped(endpoint, until)
        ends = [
            end
            for end in self._closes_of(endpoint)
            if end.sort != "open" and end.connection not in nothing and (until is None or end.known <= until)
        ]
        lost = sorted(end.rest or 0 for end in ends if end.sort in ("met", "unaware"))
        return _OrdinaryCloses(ends, idle_times_of(ends), lost)

    @_once_per_endpoint
    def _stopped(self, endpoint: int, until: int | None) -> set[int]:
        """Return the connections that were closed because a process ended, or late. `until` is as in `limits`."""
        return self.stops(endpoint, until).connections

    @_once_per_endpoint
    def stops(self, endpoint: int, until: int | None) -> Stops:
        """Return when processes at an endpoint ended; `until` is as in `limits`."""
        if endpoint not in self._suspicious:
            return NONE
        ends = [end for end in self._closes_of(endpoint) if until is None or end.known <= until]
        syns = [syn for syn in self._syns.get(endpoint, []) if until is None or syn.answered <= until]
        uses = partial(self.uses, endpoint) if until is None else None
        return stops_of(ends, syns, uses, self._used.get(endpoint, []), until)

    def all_stops(self) -> dict[int, Stops]:
        """Return for each endpoint the times at which its processes ended."""
        return {endpoint: stops for endpoint in sorted(self._suspicious) if (stops := self.stops(endpoint)) != NONE}

    def is_stopped(self, endpoint: int, connection: int, until: int | None) -> bool:
        """Return whether a connection was closed because a process of the server ended, or late because it had been suspended.

        `until` is as in `limits`.
        """
        return connection in self._stopped(endpoint, until)

    @_once_per_endpoint
    def may_have_stopped(self, endpoint: int, until: int | None) -> bool:
        """Return whether the server may have been told to stop while it sent its responses: every response before an early close
        began before the first early close. `until` is as in `limits`.
        """
        early = [end for end in self._closes_of(endpoint) if end.teaches and end.is_early()]
        early = [end for end in early if until is None or end.known <= until]
        return bool(early) and all(end.begun is not None and end.begun < early[0].time for end in early)

    def is_repeated(self, endpoint: int, connection: int, time: int, until: int | None) -> bool:
        """Return whether the server seems to close like this regularly.

        It closed after a similar idle time at another moment, too, or it closed early at MANY moments. `until` is as in `limits`.
        """
        moments = self._close_moments(endpoint, until)
        return moments.early >= MANY or moments.is_repeated(connection, time)

    @_once_per_endpoint
    def _close_moments(self, endpoint: int, until: int | None) -> _CloseMoments:
        """Return the moments at which the endpoint closed idle connections, except when a process ended. `until` is as in
        `limits`.
        """
        stopped = self._stopped(endpoint, until)
        moments: list[_CloseMoment] = []
        for end in self._closes_of(endpoint):
            if not end.teaches or end.rest is None or end.connection in stopped or (until is not None and end.known > until):
                continue
            if not moments or end.time - moments[-1].start > STRAGGLERS:
                moments.append(_CloseMoment(end.time, {}))
            moments[-1].rests[end.connection] = end.rest
            moments[-1].has_early |= end.is_early()
        return _CloseMoments(moments)

    def is_refused(self, endpoint: int, time: int, until: int | None = None) -> bool:
        """Return whether the endpoint refused the first SYN that it answered after this time (ns), within a second.

        `until`: use only what was known at this time (ns); None for everything.
        """
        last = time + REFUSED if until is None else min(until, time + REFUSED)
        syns = self._syns.get(endpoint, [])
        first = bisect_left(syns, time, key=attrgetter("answered"))
        return first < len(syns) and syns[first].refused and syns[first].answered <= last

    def uses(self, endpoint: int) -> pl.DataFrame:
        """Return the exchanges of the endpoint, with some columns of tables.CLOSES and three more.

        `answered`: a final response was captured. `closed`: the server closed. `first`: when the first request of the connection
        began (ns). `final_at` (ns) is the time until which the exchange was observed.
        """
        rows = self._exchanges.filter((c("endpoint") == endpoint) & c("has_request")).select(
            *("connection", "request_start", "request_end", "response_start", "response_end", "previous_end", "final_at"),
            "server_close_time",
            (c("has_response") & (c("response_status") >= 200)).fill_null(value=False).alias("answered"),
            c("server_close_frame").is_not_null().alias("closed"),
            c("request_start").min().over("connection").alias("first"),
        )
        return rows.collect()

    @_once_per_endpoint
    def answers_again(self, endpoint: int, until: int | None) -> bool:
        """Return whether the endpoint answered a second request on a connection, as far as known at `until`."""
        if self._history is not None:
            known = self._history.reused.filter(c("endpoint") == endpoint)["known"]
            return any(until is None or at <= until for at in known)
        rows = self._exchanges.filter((c("endpoint") == endpoint) & c("has_request") & c("previous_end").is_not_null())
        known = pl.lit(value=True) if until is None else c("final_at") <= until
        answered = (c("has_response") & (c("response_status") >= 200)).fill_null(value=False)
        return rows.filter(answered & known).select(pl.len()).collect().item() > 0

    def _closes_of(self, endpoint: int) -> list[End]:
        """Return the closes of the endpoint in time order."""
        if endpoint not in self._known:
            rows = self._ends.filter(pl.col("endpoint") == endpoint).drop("endpoint")
            self._known[endpoint] = [End(*end) for end in rows.iter_rows()]
        return self._known[endpoint]

    def announced_timeout(self, connection: int) -> int | None:
        """Return the idle timeout (s) that the last response on a connection announced; None if there is none."""
        return self._said.get(connection, (None, ""))[0]

    def server(self, connection: int) -> str:
        """Return the last Server field on a connection; "" if there is none."""
        return self._said.get(connection, (None, ""))[1]

    def closed_together(self, endpoint: int, connection: int, time: int, until: int | None = None, since: int = 0) -> list[int]:
        """Return the idle times (ns) of other connections that the server at this endpoint closed at about `time` (ns).

        An idle time is 0 if a response, or the first request, was in progress. Connections do not count if they were last used
        after `time`, or closed before `since` (ns), the start of `connection`. `until` is as in `limits`.
        """
        ends = self._closes_of(endpoint)
        first = bisect_left(ends, max(time - TOGETHER, since), key=attrgetter("time"))
        last = bisect_right(ends, time + TOGETHER, key=attrgetter("time"))
        near = (
            end
            for end in ends[first:last]
            if end.connection != connection and end.sort != "open" and end.time - max(end.rest or 0, end.waited or 0) <= time
        )
        return [end.rest or 0 for end in near if until is None or end.known <= until]


def _count_between(times: list[int], first: int, last: int) -> int:
    """Return how many of the times, in ascending order, are between `first` and `last`."""
    return max(bisect_right(times, last) - bisect_left(times, first), 0)


def nothing_known() -> IdleTimes:
    """Return an IdleTimes without closes. It is created only when needed, because Polars must not run before a process forks."""
    ends = pl.DataFrame(schema=ENDS)
    said = pl.DataFrame(schema={"connection": pl.Int64(), "said": pl.Int32(), "software": pl.String()})
    used = pl.DataFrame(schema=dict.fromkeys(("endpoint", *Use._fields), pl.Int64()))
    return IdleTimes(ends, said, used, pl.DataFrame(schema=SYNS), CLOSES.empty().lazy())


def known_rests(
    closes: pl.LazyFrame, candidates: Iterable[pl.DataFrame], connections: pl.LazyFrame | None = None
) -> IdleTimes:  # fmt: skip
    """Return the idle timeouts of the candidates' endpoints, as shown by all closes of these endpoints and by the SYNs to them.

    `candidates` have the columns NEEDS. Without `connections`, no SYNs are used.
    """
    frames = [rows.select(IdleTimes.NEEDS) for rows in candidates]
    if not frames:
        return nothing_known()
    wanted = pl.concat(frames).unique().drop_nulls()
    theirs = closes.filter(pl.col("endpoint").is_in(wanted["endpoint"].unique().implode()))
    said = announcements(closes.filter(pl.col("connection").is_in(wanted["connection"].unique().implode())))
    syns = pl.LazyFrame(schema=SYNS) if connections is None else answered_syns(connections, wanted)
    return IdleTimes(*pl.collect_all([server_closes(theirs), said, used_idle_times(theirs), syns]), exchanges=closes)


def _from_history(history: ServerHistory, tables: CaptureTables, wanted: pl.DataFrame) -> IdleTimes:
    """Return the idle timeouts of endpoints in a live capture. `wanted`: the endpoints and connections of the candidates."""
    theirs = pl.col("endpoint").is_in(wanted["endpoint"].unique().implode())
    own = pl.col("connection").is_in(wanted["connection"].unique().implode())
    names = tables.connections.select("connection", "server")
    queries = announcements(tables.closes.filter(own)), answered_syns(history.syns.lazy(), wanted, names)
    said, syns = pl.collect_all(queries)
    return IdleTimes(history.ends.filter(theirs), said, history.uses.filter(theirs), syns, tables.closes, history)
