"""Decide which failures at gateways are final during a live capture.

A front is an exchange of a client with a gateway. A try is an exchange in which the gateway forwards a front's request to a
server.

Fronts and tries are paired as if the capture ended now; only the newest exchanges are searched, including open ones. An open
exchange may still get a response, be repeated or be given up, so its findings may change. Exchanges that may be paired with one
another, directly or through other exchanges, form a group. A finished exchange is final when all exchanges of its group are
finished. A request that began after all fronts of a group had their responses does not belong to that group.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import polars as pl

from wiredoctor import gateways, limits, rule_engine
from wiredoctor.core.segment import FOREVER
from wiredoctor.engine import open_exchanges
from wiredoctor.engine.live import LiveAnalysis
from wiredoctor.gateways import LATE, Gateways, Place
from wiredoctor.rule_engine import RuleModule
from wiredoctor.rule_engine.across_tries import fronts_of, tries_of
from wiredoctor.tables import FINISHED_AT, MILLISECOND, SECOND, closes, finished_exchanges

RULE = "gateway-error"

SLACK = MILLISECOND
"""The maximum time in ns by which packets of different connections may be captured out of order.

Only events that are older than this are final.
"""

SEARCH_INTERVAL = SECOND // 20
"""The minimum time in ns between two searches, in capture time."""
PER_EXCHANGE = 100_000
"""The time in ns per examined exchange that must pass between two searches.

A search takes about a tenth of this time per exchange.
"""

LATE_ANSWER = 3 * SECOND
"""The time in ns for which a SYN of a gateway may still be answered after the gateway gave up that connection attempt."""

HELD = 30 * SECOND
"""The maximum time in ns that a failure waits for a decision. After that, the failure is left to the final report.

The decision may take so long because a server still works on a request that its gateway gave up, or because requests are too
similar to be distinguished.
"""

MEMORY = 10 * SECOND
"""The maximum time in ns for which an earlier failure makes a gateway fail requests without forwarding them.

The rule gateway-error uses the same value.
"""

PROVEN = 2
"""The minimum number of nested pairs of exchanges that prove that one endpoint is a gateway for another.

If a response of the gateway to a client has a status in GATEWAY, this response alone is enough.
"""

GATEWAY = (502, 503, 504)
"""The status codes with which a gateway reports that the server behind it failed."""

UNORDERED = 256
"""The number of stored exchanges, oldest first, that are examined to find when the last dropped exchange ended.

All dropped exchanges ended before the latest end of the examined exchanges. The end of the oldest one alone is not a safe limit,
because rows are stored only nearly in order of their end.
"""

_UNKNOWN = -LATE, LATE, None

Places = set[tuple[int, int | None]]
"""Exchanges, each given as connection id and index in the connection. The index is None for a connection without a request."""


def is_left_to_report(time: int, clock: int) -> bool:
    """Return whether an undecided failure or candidate has waited too long, so it is left to the final report.

    `time`: when the failure or candidate occurred. `clock`: the current capture time. Both are in ns. The wait is too long if
    they are more than HELD apart. `time` may be later than `clock` if the clock was set back; the wait might then last hours.
    """
    return abs(clock - time) > HELD


@dataclass
class Group:
    """Exchanges that may be paired with one another.

    `places`: all exchanges of the group. `fronts`: the exchanges of clients with gateways. `start`: the earliest start in ns.
    `end`: the latest time in ns at which a front was answered or given up, or at which a gateway's own request or connection
    attempt began. `servers`: pairs of a gateway's endpoint and the endpoint of a server behind it.
    """

    places: Places
    fronts: set[Place]
    start: int
    end: int
    servers: set[tuple[str, str]] = field(default_factory=set[tuple[str, str]])

    def add(self, place: tuple[int, int | None], start: int, end: int, *, front: bool) -> None:
        """Add an exchange that started at `start` (ns). `front`: true if it is an exchange of a client with a gateway.

        `end` (ns): if `front` is true, the time at which the response began or the exchange was given up; otherwise `start`.
        """
        self.places.add(place)
        if front and place[1] is not None:
            self.fronts.add((place[0], place[1]))
        self.start, self.end = min(self.start, start), max(self.end, end)

    @cached_property
    def connections(self) -> frozenset[int]:
        """The ids of the exchanges' connections."""
        return frozenset(connection for connection, _ in self.places)


class Until(NamedTuple):
    """The limits of what is known when a search begins, as times in ns.

    `read`: all packets before this time were read. `clock`: the current capture time. `complete_from`: all exchanges that were
    open at this time or later are stored.
    """

    read: int
    clock: int
    complete_from: int


@dataclass(frozen=True)
class GatewaySearch:
    """The result of a search for gateways among the newest exchanges.

    `groups`: for each exchange in a final group, that group. `failures`: the new candidates of the rule gateway-error in these
    groups. `servers`: the server's endpoint by connection id.
    """

    known: Gateways
    exchanges: pl.LazyFrame
    connections: pl.LazyFrame
    servers: Mapping[int, str]
    groups: Mapping[tuple[int, int | None], Group]
    failures: pl.DataFrame
    whole: Gateways = field(default_factory=Gateways)
    """The gateways found among all exchanges; empty if the search itself covered all exchanges."""

    @cached_property
    def tries(self) -> pl.DataFrame:
        """The exchanges of gateways with servers that the search found, as rows of tables.TRIES."""
        return tries_of(self.known)

    @cached_property
    def _endpoints(self) -> frozenset[str]:
        fronts = [*self.known.fronts.items(), *self.whole.fronts.items()]
        return frozenset((*(front for front, _ in fronts), *(one for _, behind in fronts for one in behind)))

    def is_at_gateway(self, connection: int) -> bool:
        """Return whether a connection leads to a gateway, or from a gateway to a server."""
        clients = self.known.clients, self.whole.clients
        return self.servers.get(connection) in self._endpoints or any(connection in some for some in clients)


class _Pairing:
    """The newest exchanges of a capture, and the possible pairs of a front and a try among them.

    A front is an exchange of a client with a gateway. A try is an exchange in which the gateway forwards the front's request to
    a server.
    """

    def __init__(
        self, known: Gateways, exchanges: pl.DataFrame, now: pl.DataFrame, ends: pl.DataFrame, servers: Mapping[int, str]
    ) -> None:
        """Index the exchanges.

        `exchanges`: all exchanges. `now`: the exchanges without a stored row, because their connection is still open. `ends`:
        rows of tables.CONNECTIONS. `servers`: the server's endpoint by connection id.
        """
        c = pl.col
        self._known, self._servers = known, servers
        answered = pl.when(c("response_status") >= 200).then("response_start")
        closed = pl.min_horizontal("client_close_time", "server_close_time")
        ends_of = exchanges.select(
            *("connection", "exchange", "request_start"), pl.coalesce(answered, closed, LATE), c("response_status").cast(pl.Int64)
        )
        self._times = {(row[0], row[1]): (row[2], row[3], row[4]) for row in ends_of.drop_nulls("request_start").iter_rows()}
        """For each exchange: its start; the start of its response or, without a response, the time of the close; and its status.

        Times are in ns, and LATE means that neither a response nor a close was captured.
        """
        paired = {*known.tries.filter("certain").select("connection", "exchange").iter_rows()}
        behind = {one for some in known.fronts.values() for one in some}
        self._unpaired = sorted(
            (start, servers[place[0]])
            for place, (start, _, _) in self._times.items()
            if servers.get(place[0]) in behind and place not in paired
        )
        whole = _WHOLE & (c("request_end_reason") == "complete")
        undone = now.filter(~whole.fill_null(value=False))
        self._open: set[Place] = {*undone.select("connection", "exchange").iter_rows()}
        # the gateway closed without waiting, so data that the server still sends does not reach the client
        first = c("server_close_time").is_null() | (c("client_close_time") < c("server_close_time"))
        given_up = c("client_close_time").is_not_null() & first & (c("request_end_reason") == "complete") & ~c("has_response")
        read = (c("client_unacknowledged") == 0) & ~c("history").str.contains("w", literal=True)
        late = undone.filter(given_up.fill_null(value=False)).join(ends.filter(read), on="connection", how="semi")
        self._given_up: set[Place] = {*late.select("connection", "exchange").iter_rows()}
        vain = c("refused_frame").is_not_null() | c("first_answer_frame").is_null()
        self._attempts: list[tuple[int, bool]] = sorted(
            ends.filter(c("syn_time").is_not_null() & (c("exchanges") == 0) & (c("client_bytes") == 0) & vain)
            .select("syn_time", c("refused_frame").is_not_null())
            .iter_rows()
        )
        self._tries: dict[Place, list[tuple[int, int | None]]] = {}
        self._proofs: Counter[tuple[str, str]] = Counter()
        sure: Place
        for *front, connection, exchange, certain, _ in known.tries.iter_rows():
            sure = (front[0], front[1])
            self._tries.setdefault(sure, []).append((connection, exchange))
            if certain:
                self._proofs[servers[front[0]], servers[connection]] += 1
        silent = undone.filter(~(c("has_response") & (c("response_status") >= 200)).fill_null(value=False))
        self._unanswered = [
            start
            for connection, exchange, start in silent.select("connection", "exchange", "request_start").iter_rows()
            if servers.get(connection) in known.fronts and self._open.isdisjoint(self._tries.get((connection, exchange), ()))
        ]
        """The start times (ns) of requests to gateways without a final response, if no request to a server is open for them.
        A gateway may still be trying to connect to a server for one of these requests.
        """

    def final_groups(
        self, of: Collection[tuple[int, int | None]], until: Until, whole: Gateways | None
    ) -> dict[tuple[int, int | None], Group]:
        """Return the groups of the exchanges `of`, except groups that may still change or are not certain to be at a gateway.

        The result maps each exchange of these groups to its group. `whole`: the gateways found among all exchanges; None if
        the search covered all exchanges.
        """
        found: dict[tuple[int, int | None], Group] = {}
        for group in self._groups(of):
            if self._is_final(group, until) and self._is_proven(group, whole):
                found |= dict.fromkeys(group.places, group)
        return found

    def _groups(self, of: Collection[tuple[int, int | None]]) -> list[Group]:
        """Return the groups of exchanges that may be paired with one another and include one of the exchanges `of`."""
        up: dict[tuple[int, int | None], tuple[int, int | None]] = {}

        def root(place: tuple[int, int | None]) -> tuple[int, int | None]:
            while (above := up.setdefault(place, place)) != place:
                up[place] = up.setdefault(above, above)
                place = above
            return place

        for row in self._known.possible.iter_rows():
            up[root((row[0], row[1]))] = root((row[4], row[5]))
        for front, tries in self._tries.items():
            for one in tries:
                up[root(front)] = root(one)
        whole = {connection for connection, exchange in of if exchange is None}
        of = {*of, *(place for place in up if place[0] in whole)}
        single = {place for place in of if place not in up and self._servers.get(place[0]) in self._known.fronts}
        wanted = {root(place) for place in of if place in up or place in single}
        groups = {place: Group(set(), set(), LATE, -LATE) for place in wanted}
        for row in self._known.possible.iter_rows():
            if (group := groups.get(root((row[0], row[1])))) is not None:
                group.add((row[0], row[1]), row[2], row[3], front=True)
                group.add((row[4], row[5]), row[6], row[6], front=False)
        for front_connection, front_exchange, *one, _, started in self._known.tries.iter_rows():
            front = (front_connection, front_exchange)
            if (group := groups.get(root(front))) is not None:
                if front not in group.fronts:
                    group.add(front, *self._times.get(front, _UNKNOWN)[:2], front=True)
                group.add((one[0], one[1]), started, started, front=False)
                group.servers.add((self._servers[front[0]], self._servers[one[0]]))
        for place in single:
            if place[1] is not None:
                groups[place].add(place, *self._times.get((place[0], place[1]), _UNKNOWN)[:2], front=True)
        return [*groups.values()]

    def _is_final(self, group: Group, until: Until) -> bool:
        """Return whether no later packet can change how the exchanges of a group are paired."""
        if group.end + SLACK >= until.read or group.start - SLACK <= until.complete_from:
            return False
        if any(place in self._known.crowded for place in group.places) or not self._is_over(group):
            return False
        first = bisect_left(self._attempts, (group.start - SLACK,))
        for time, refused in self._attempts[first:]:
            if time > group.end + SLACK:
                break
            if not refused and until.clock < group.end + LATE_ANSWER:
                return False
            if any(start <= time + SLACK for start in self._unanswered):
                return False
        return all(front in self._tries or self._made_no_try(front, group, until) for front in group.fronts)

    def _is_over(self, group: Group) -> bool:
        """Return whether all exchanges of a group are over.

        One exception: if the group has only one front, the gateway's last exchange with a server may still be open, provided
        that the gateway gave that exchange up.
        """
        left = {place for place in group.places if place in self._open}
        if not left:
            return True
        [front, *others] = group.fronts
        if others or len(left) > 1 or any(exchange is None for _, exchange in group.places):
            return False
        [place] = left
        last = self._tries.get(front, [None])[-1] == place
        return last and place in self._given_up and self._servers[place[0]] not in self._known.fronts

    def _made_no_try(self, front: Place, group: Group, until: Until) -> bool:
        """Return whether the gateway certainly sent no request to a server for the client's request `front`.

        If the result is false, the gateway may have sent a request that cannot be assigned to a single request of a client.
        """
        if group.start - MEMORY <= until.complete_from:
            return False
        behind = self._known.fronts.get(self._servers[front[0]])
        if behind is None:  # no exchange shows yet that this server is a gateway
            return False
        first = bisect_left(self._unpaired, (group.start - SLACK, ""))
        last = bisect_left(self._unpaired, (group.end + SLACK, ""))
        return not any(server in behind for _, server in self._unpaired[first:last])

    def _is_proven(self, group: Group, whole: Gateways | None) -> bool:
        """Return whether it is certain that the endpoints of a group are a gateway and the servers behind it."""
        if whole is not None and any(behind not in whole.fronts.get(front, ()) for front, behind in group.servers):
            return False
        pairs = group.servers or {
            (server, behind)
            for server in (self._servers[connection] for connection, _ in group.fronts)
            for behind in self._known.fronts[server]
        }
        if all(self._proofs[pair] >= PROVEN for pair in pairs):
            return True
        return any(self._times.get(front, _UNKNOWN)[2] in GATEWAY for front in group.fronts)


_WHOLE = pl.col("has_response") & (pl.col("response_end_reason") == "complete") & (pl.col("response_status") >= 200)
_CLOSED = pl.col("client_close_time").is_not_null() | pl.col("server_close_time").is_not_null()
_FAILED = pl.col("has_request") & _CLOSED & ~_WHOLE.fill_null(value=False)


class AtGateways:
    """The failed exchanges that may have failed at a gateway. `search` decides which of them did."""

    def __init__(self, analysis: LiveAnalysis, modules: Mapping[str, RuleModule]) -> None:
        self._analysis, self._module = analysis, modules.get(RULE)
        self._waiting: dict[Place, int] = {}
        """The time (ns) at which each undecided failure was recorded, by connection and exchange."""
        self._reported: dict[Place, None] = {}
        self._searched: int | None = None
        self._apart = SEARCH_INTERVAL

    def note(self, exchanges: pl.DataFrame, clock: int) -> None:
        """Record the failed exchanges among newly finished rows of tables.STORED_EXCHANGES."""
        if self._module is None:
            return
        failed = exchanges.filter(_FAILED).select("connection", "exchange") if exchanges.height else exchanges
        self._add(failed.iter_rows(), clock)

    def take(self, clock: int) -> None:
        """Record the failures found by the analysis since the last call, and drop failures that have waited for too long."""
        self._add(self._analysis.failures if self._module is not None else (), clock)
        self._analysis.failures.clear()
        for place in [place for place, noted in self._waiting.items() if is_left_to_report(noted, clock)]:
            del self._waiting[place]

    def _add(self, places: Iterable[tuple[Any, ...]], clock: int) -> None:
        for connection, exchange in places:
            if (connection, exchange) not in self._reported:
                self._waiting.setdefault((connection, exchange), clock)
        for gone in [*self._waiting][: -limits.SETTLED_CANDIDATES.value]:
            del self._waiting[gone]

    def is_due(self, clock: int) -> bool:
        """Return whether enough capture time has passed since the last search."""
        # a clock before the last search means that the clock was set back since then
        return self._searched is None or not self._searched <= clock < self._searched + self._apart

    @property
    def due(self) -> int:
        """The earliest capture time (ns) of the next search; 0 before the first search."""
        return 0 if self._searched is None else self._searched + self._apart

    @property
    def waits(self) -> bool:
        """True if there are failed exchanges for which `search` has not decided yet whether they failed at a gateway."""
        return bool(self._waiting)

    def search(self, clock: int, whole: Gateways | None, of: Collection[tuple[int, int | None]]) -> GatewaySearch:
        """Pair the newest exchanges between clients and gateways with exchanges between gateways and servers; return the result.

        `clock`: the current capture time (ns). `whole`: the gateways found among all exchanges; None if this search itself
        covers all exchanges. `of`: exchanges to judge in addition to the failures that still wait for a decision.
        """
        a = self._analysis
        open_ones = a.core.flows.open_connections()
        stored = a.exchanges.newest(limits.LIVE_PAIRED.value)
        now = open_exchanges.exchanges_as_of(open_ones)
        ends = pl.concat([a.connections.newest(2 * limits.LIVE_PAIRED.value), open_exchanges.rows_as_of(open_ones, a.latest)])
        exchanges, connections = pl.concat([stored, now]).lazy(), ends.lazy()
        known = gateways.find(exchanges, connections, possible=True)
        self._searched, self._apart = clock, max(SEARCH_INTERVAL, (stored.height + now.height) * PER_EXCHANGE)
        servers = dict(ends.select("connection", "server").iter_rows())
        if not known.fronts:
            return GatewaySearch(known, exchanges, connections, servers, {}, pl.DataFrame(), whole or Gateways())
        endpoints = [*known.fronts, *(one for behind in known.fronts.values() for one in behind)]
        theirs = {*ends.filter(pl.any_horizontal(pl.col("client", "server").is_in(endpoints)))["connection"]}
        unread = min((open_exchanges.unread_since(one) for one in open_ones if one.id in theirs), default=FOREVER)
        pairing = _Pairing(known, pl.concat([stored, now]), now, ends, servers)
        until = Until(min(clock, unread), clock, self._complete_from(stored, ends))
        groups = pairing.final_groups({*of, *self._waiting}, until, whole)
        failures = pl.DataFrame()
        if self._module is not None and groups:
            failures = self._failures(known, exchanges, connections, groups)
        return GatewaySearch(known, exchanges, connections, servers, groups, failures, whole or Gateways())

    def _complete_from(self, stored: pl.DataFrame, ends: pl.DataFrame) -> int:
        """Return a time (ns) such that all exchanges that were open at that time or later are stored."""
        end = pl.max_horizontal(FINISHED_AT, "final_at").max()
        a = self._analysis
        complete = stored.height == a.exchanges.rows
        lost = [] if complete else [stored.head(UNORDERED).select(end).item()]
        if a.connections.rows > ends.height:
            lost.append(stored.join(ends, on="connection", how="anti").select(end).item())
        return max((time + MEMORY for time in lost if time is not None), default=-LATE)

    def _failures(
        self, known: Gateways, exchanges: pl.LazyFrame, connections: pl.LazyFrame, groups: Mapping[tuple[int, int | None], Group]
    ) -> pl.DataFrame:
        assert self._module is not None
        scans = {
            "closes": closes(exchanges), "exchanges": finished_exchanges(exchanges), "connections": connections,
            "tries": tries_of(known).lazy(), "fronts": fronts_of(known).lazy(),
        }  # fmt: skip
        modules = {RULE: self._module}
        [summaries] = rule_engine.find_summaries(modules, scans, few=True)
        found = rule_engine.judge(modules, summaries, {}, live=True)
        found = rule_engine.unsure_across(found, modules, sorted(self._analysis.shuffled.frames))
        if steps := sorted(self._analysis.steps.frames):
            found = rule_engine.drop_across_clock_steps(found, modules, steps)
        if RULE not in found:
            return pl.DataFrame()
        rows = found[RULE]
        mine = [place in groups and place not in self._reported for place in rows.select("connection", "exchange").iter_rows()]
        return rows.filter(pl.Series(mine, dtype=pl.Boolean))

    def mark_reported(self, groups: Iterable[Group]) -> None:
        """Record that the failures in these groups were reported, to avoid reporting them again."""
        for group in groups:
            for connection, exchange in group.places:
                if exchange is not None:
                    self._waiting.pop((connection, exchange), None)
                    self._reported[connection, exchange] = None
        for place in [*self._reported][: -limits.FINDINGS.value]:
            del self._reported[place]
