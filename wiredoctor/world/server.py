"""Find out about servers: their idle timeouts (learned from closes, announced, or common defaults), and when processes ended.

The rules about the end of connections share this code, so the closes of an endpoint are examined once for all of them.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from operator import attrgetter
from typing import Any, ClassVar, NamedTuple

import polars as pl

from wiredoctor.tables import MILLISECOND, SECOND
from wiredoctor.world.client_intervals import Doubt, doubt_about
from wiredoctor.world.idle_defaults import usual_limits
from wiredoctor.world.learned_limits import (
    EARLIEST,
    LATE,
    NEAR,
    TOGETHER,
    Limit,
    ServerClose,
    Use,
    follow_requests,
    idle_times_of,
    learn,
    similar_within,
)
from wiredoctor.world.process_stops import NONE, REFUSED, STRAGGLERS, Stop, Stops, Syn, stops_of, suspicious
from wiredoctor.world.server_history import (
    ServerHistory,
    add_to_history,
    announcements,
    answered_syns,
    request_arrivals,
    server_closes,
    used_idle_times,
)
from wiredoctor.world.world import CaptureTables, Index

c = pl.col

__all__ = ["LATE", "NEAR", "TOGETHER", "Limit", "Server", "Servers", "Stop", "Stops"]

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

    ends: list[ServerClose]
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


class _ServerRows(NamedTuple):
    """What servers share: no server refers to Servers, because live runs without the collector of reference cycles.

    `said`: for each connection, the idle timeout (s) that its last response announced, and its last Server field. `suspicious`:
    the endpoints at which a process may have ended. The other fields are explained at Servers.
    """

    ends: pl.DataFrame
    exchanges: pl.LazyFrame
    said: dict[int, tuple[int | None, str]]
    uses: dict[int, list[Use]]
    syns: dict[int, list[Syn]]
    suspicious: set[int]
    history: ServerHistory | None


class Servers(Index):
    """The servers of some candidates, as all closes of these endpoints, and the SYNs to them, show them."""

    NEEDS: ClassVar[tuple[str, ...]] = ("endpoint", "connection")
    HELD: ClassVar[bool] = True

    @classmethod
    def build(cls, wanted: Sequence[pl.DataFrame], tables: CaptureTables) -> Servers:
        """Return the candidates' servers (see world.Index)."""
        nothing = pl.DataFrame(schema=dict.fromkeys(cls.NEEDS, pl.Int64()))
        places = pl.concat([nothing, *(rows.select(cls.NEEDS) for rows in wanted)], how="vertical_relaxed").unique().drop_nulls()
        is_theirs = c("endpoint").is_in(places["endpoint"].unique().implode())
        said = announcements(tables.closes.filter(c("connection").is_in(places["connection"].unique().implode())))
        if tables.remembered is not None:
            history = tables.remembered[cls]
            assert isinstance(history, ServerHistory)
            known = answered_syns(history.syns.lazy(), places, tables.connections.select("connection", "server"))
            rows = pl.collect_all([said, known])
            return cls(history.ends.filter(is_theirs), rows[0], history.uses.filter(is_theirs), rows[1], tables.closes, history)
        theirs, syns = tables.closes.filter(is_theirs), answered_syns(tables.connections, places)
        frames = pl.collect_all([server_closes(theirs), said, used_idle_times(theirs), syns])
        return cls(*frames, exchanges=tables.closes)

    @classmethod
    def remember(cls, kept: Any, tables: CaptureTables) -> ServerHistory:
        """Return what all exchanges and connections so far have shown about servers."""
        assert kept is None or isinstance(kept, ServerHistory)
        return add_to_history(kept or ServerHistory(), tables.closes, tables.connections)

    def __init__(
        self, ends: pl.DataFrame, said: pl.DataFrame, used: pl.DataFrame, syns: pl.DataFrame, exchanges: pl.LazyFrame,
        history: ServerHistory | None = None,
    ) -> None:  # fmt: skip
        """`history`: in a live capture, what is remembered of exchanges that are not in `exchanges`."""
        ends = ends.sort("endpoint", "time", "connection")
        known = {connection: (timeout, server or "") for connection, timeout, server in said.iter_rows()}
        uses: dict[int, list[Use]] = {}
        for endpoint, *use in used.sort("rest").iter_rows():
            uses.setdefault(endpoint, []).append(Use(*use))
        answered: dict[int, list[Syn]] = {}
        for endpoint, *syn in syns.sort("answered").iter_rows():
            answered.setdefault(endpoint, []).append(Syn(*syn))
        self._seen = _ServerRows(ends, exchanges, known, uses, answered, suspicious(ends, syns), history)
        self._servers: dict[tuple[int, bool], Server] = {}

    def at(self, endpoint: int, until: int | None = None) -> Server:
        """Return the server at an endpoint. `until`: use only what was known at this time (ns); None for everything."""
        # because one candidate asks several times, the newest is kept, too
        kept = self._servers.get((endpoint, until is None))
        if kept is None or kept.until != until:
            whole = None if until is None else self.at(endpoint)
            kept = self._servers[endpoint, until is None] = Server(self._seen, endpoint, until, whole)
        return kept

    def all_stops(self) -> dict[int, Stops]:
        """Return for each endpoint the times at which its processes ended."""
        return {endpoint: stops for endpoint in sorted(self._seen.suspicious) if (stops := self.at(endpoint).stops) != NONE}


class Server:
    """What is known of a server at the time `until` (ns), or in the whole capture if that is None."""

    def __init__(self, seen: _ServerRows, endpoint: int, until: int | None, whole: Server | None) -> None:
        """`whole`: the server in the whole capture; None if this is it."""
        self._seen, self._endpoint, self.until, self._whole = seen, endpoint, until, whole

    @cached_property
    def closes(self) -> list[ServerClose]:
        """Its closes, in time order."""
        if self._whole is not None and self.until is not None:
            return [end for end in self._whole.closes if end.known <= self.until]
        rows = self._seen.ends.filter(c("endpoint") == self._endpoint).drop("endpoint")
        return [ServerClose(*end) for end in rows.iter_rows()]

    @cached_property
    def uses(self) -> list[Use]:
        """The requests that it answered after an idle time, in ascending order of that time."""
        uses = self._seen.uses.get(self._endpoint, [])
        return uses if self.until is None else [use for use in uses if use.known <= self.until]

    @cached_property
    def syns(self) -> list[Syn]:
        """The SYNs to it, in the order of their answers."""
        syns = self._seen.syns.get(self._endpoint, [])
        return syns if self.until is None else [syn for syn in syns if syn.answered <= self.until]

    def exchanges(self) -> pl.DataFrame:
        """Return its exchanges, with some columns of tables.AT_THE_CLOSE and three more.

        `answered`: a final response was captured. `closed`: the server closed. `first`: when the first request of the connection
        began (ns). `final_at` (ns) is the time until which the exchange was observed.
        """
        rows = self._seen.exchanges.filter((c("endpoint") == self._endpoint) & c("has_request")).select(
            *("connection", "request_start", "request_end", "response_start", "response_end", "previous_end", "final_at"),
            *("server_close_time", _answered().alias("answered"), c("server_close_frame").is_not_null().alias("closed")),
            c("request_start").min().over("connection").alias("first"),
        )
        return rows.filter(self._is_known()).collect()

    def _is_known(self) -> pl.Expr:
        return pl.lit(value=True) if self.until is None else c("final_at") <= self.until

    def announced_timeout(self, connection: int) -> int | None:
        """Return the idle timeout (s) that the last response on a connection announced; None if there is none."""
        return self._seen.said.get(connection, (None, ""))[0]

    def software(self, connection: int) -> str:
        """Return the last Server field on a connection; "" if there is none."""
        return self._seen.said.get(connection, (None, ""))[1]

    def limits(self, connection: int) -> list[Limit]:
        """Return its idle timeouts from the best source that has any; empty if no source has any.

        The best source is its closes, then its announcement on this connection, then the defaults of its software.
        """
        learned, said = self.learned_timeout, self.announced_timeout(connection)
        if (learned is None or learned.how == "met") and self._closes_follow_requests:
            return []
        if self.doubt(connection) is not None:
            return []
        if learned is not None:
            limits = [learned]
        elif said is not None:
            limits = _announced(said)
        else:
            limits = [Limit("usual", n * SECOND, n * SECOND) for n in usual_limits(self.software(connection))]
        return [limit for limit in limits if not self._is_refuted(limit)]

    def _is_refuted(self, limit: Limit) -> bool:
        """Return whether the server cannot have this timeout, because it answered too many requests after longer idle times.

        The closes may have another reason, such as a client that sends a request at regular intervals, or `limit` may be the
        default of other servers.
        """
        if limit.how == "soon":
            return False
        learned = limit.how in ("sharp", "coarse")
        longest = (limit.high if learned else limit.low) + limit.tolerance
        answered = self._count_answered(longest)
        if learned:
            return answered > LEARNED_SHARE * limit.closes
        if limit.how == "usual" and self._closes_earlier(limit):
            return True
        return answered >= SURVIVED and SURVIVED_SHARE * answered >= limit.closes

    def is_survived(self, limit: Limit, rest: int) -> bool:
        """Return whether, of the requests that came when this timeout had expired, the server answered more than it lost.

        `rest`: the idle time (ns) of a lost request.
        """
        since = min(rest, limit.low) - ALMOST
        answered = self._count_answered(since)
        if answered < SURVIVED:
            return False
        lost = self._ordinary_closes.lost
        return answered > len(lost) - bisect_left(lost, since)

    def _count_answered(self, rest: int) -> int:
        """Return how many requests the server answered after a longer idle time than `rest` (ns)."""
        return len(self.uses) - bisect_right(self.uses, rest, key=attrgetter("rest"))

    def _closes_earlier(self, limit: Limit) -> bool:
        """Return whether most closes came after idle times that are too short for this timeout."""
        rests = self._ordinary_closes.taught
        earlier = _count_between(rests, EARLIEST, limit.low - limit.tolerance - 1)
        return earlier >= MANY and earlier > _count_between(rests, *limit.explained)

    def doubt(self, connection: int) -> Doubt | None:
        """Return why the closes of the server show no idle timeout although their idle times are similar.

        Return None if they show a timeout, or if the idle times are not similar. `connection`: as in `limits`.
        """
        limit, said = self.learned_timeout, self.announced_timeout(connection)
        if limit is None or limit.how == "soon":
            return None
        return None if said is not None and any(one.has(limit.low) for one in _announced(said)) else self._doubt

    @cached_property
    def _doubt(self) -> Doubt | None:
        """The same, whatever was announced."""
        limit = self.learned_timeout
        return None if limit is None else doubt_about(limit, self._ordinary_closes.ends, self.uses, self._request_times)

    def _request_times(self) -> list[int]:
        """Return when requests arrived at the server (ns), in order."""
        history = self._seen.history
        arrivals = request_arrivals(self._seen.exchanges) if history is None else history.requests.lazy()
        known = pl.lit(value=True) if self.until is None else c("known") <= self.until
        return arrivals.filter((c("endpoint") == self._endpoint) & known).select(c("time").sort()).collect()["time"].to_list()

    def outlived(self, rest: int) -> int:
        """Return how many requests the server answered after an idle time longer than `rest` (ns).

        Return 0 if they are too few to show that no idle timeout of this length exists.
        """
        limit = Limit("single", rest, rest, 1)
        return self._count_answered(rest + limit.tolerance) if self._is_refuted(limit) else 0

    @cached_property
    def learned_timeout(self) -> Limit | None:
        """The timeout that the closes of the server show, or None."""
        return learn(self._ordinary_closes.ends, self.uses)

    @cached_property
    def _closes_follow_requests(self) -> bool:
        return follow_requests(self._ordinary_closes.ends)

    @cached_property
    def _ordinary_closes(self) -> _OrdinaryCloses:
        """The closes of the server, except closes of tunnels and closes due to the end of a process."""
        ends = [end for end in self.closes if end.sort != "open" and not self.is_stopped(end.connection)]
        lost = sorted(end.rest or 0 for end in ends if end.sort in ("met", "unaware"))
        return _OrdinaryCloses(ends, idle_times_of(ends), lost)

    @cached_property
    def stops(self) -> Stops:
        """The times at which processes of the server ended."""
        if self._endpoint not in self._seen.suspicious:
            return NONE
        return stops_of(self.closes, self.syns, self.exchanges if self.until is None else None, self.uses)

    @cached_property
    def _stopped(self) -> set[int]:
        return self.stops.connections

    def is_stopped(self, connection: int) -> bool:
        """Return whether a connection was closed because a process of the server ended, or late because it had been suspended."""
        return connection in self._stopped

    @cached_property
    def may_have_stopped(self) -> bool:
        """True if the server may have been told to stop while it sent its responses: every response before an early close began
        before the first early close.
        """
        early = [end for end in self.closes if end.teaches and end.is_early()]
        return bool(early) and all(end.begun is not None and end.begun < early[0].time for end in early)

    def is_repeated(self, connection: int, time: int) -> bool:
        """Return whether the server seems to close like this regularly.

        It closed after a similar idle time at another moment, too, or it closed early at MANY moments.
        """
        moments = self._close_moments
        return moments.early >= MANY or moments.is_repeated(connection, time)

    @cached_property
    def _close_moments(self) -> _CloseMoments:
        """The moments at which the server closed idle connections, except when a process ended."""
        moments: list[_CloseMoment] = []
        for end in self.closes:
            if not end.teaches or end.rest is None or self.is_stopped(end.connection):
                continue
            if not moments or end.time - moments[-1].start > STRAGGLERS:
                moments.append(_CloseMoment(end.time, {}))
            moments[-1].rests[end.connection] = end.rest
            moments[-1].has_early |= end.is_early()
        return _CloseMoments(moments)

    def is_refused(self, time: int) -> bool:
        """Return whether the server refused the first SYN that it answered after this time (ns), within a second."""
        first = bisect_left(self.syns, time, key=attrgetter("answered"))
        return first < len(self.syns) and self.syns[first].refused and self.syns[first].answered <= time + REFUSED

    @cached_property
    def answers_again(self) -> bool:
        """True if the server answered a second request on a connection."""
        if (history := self._seen.history) is not None:
            known = history.reused.filter(c("endpoint") == self._endpoint)["known"]
            return any(self.until is None or time <= self.until for time in known)
        again = (c("endpoint") == self._endpoint) & c("has_request") & c("previous_end").is_not_null() & _answered()
        return self._seen.exchanges.filter(again & self._is_known()).select(pl.len()).collect().item() > 0

    def closed_together(self, connection: int, time: int, since: int = 0) -> list[int]:
        """Return the idle times (ns) of other connections that the server closed at about `time` (ns).

        An idle time is 0 if a response, or the first request, was in progress. Connections do not count if they were last used
        after `time`, or closed before `since` (ns), the start of `connection`.
        """
        first = bisect_left(self.closes, max(time - TOGETHER, since), key=attrgetter("time"))
        last = bisect_right(self.closes, time + TOGETHER, key=attrgetter("time"))
        near = (end for end in self.closes[first:last] if end.connection != connection and end.sort != "open")
        return [end.rest or 0 for end in near if end.time - max(end.rest or 0, end.waited or 0) <= time]


def _announced(said: int) -> list[Limit]:
    """Return the idle timeouts that fit an announced one (s)."""
    return [Limit("announced", n * SECOND, n * SECOND, said=said) for n in (said, said + 1)]


def _answered() -> pl.Expr:
    """Return whether a final response was captured."""
    return (c("has_response") & (c("response_status") >= 200)).fill_null(value=False)


def _count_between(times: list[int], first: int, last: int) -> int:
    """Return how many of the times, in ascending order, are between `first` and `last`."""
    return max(bisect_right(times, last) - bisect_left(times, first), 0)
