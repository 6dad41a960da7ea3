"""Decide which failures at gateways are final during a live capture.

In this module, a front is an exchange of a client with a gateway. A try is an exchange in which the gateway forwards a front's
request to a server.

Fronts and tries are paired as if the capture ended now; only exchanges near those that wait are searched, including open ones. An
open exchange may still get a response, be repeated or be given up, so its findings may change. Exchanges that may be paired with
one another, directly or through other exchanges, form a group. A finished exchange is final when all exchanges of its group are
finished. A request that began after all fronts of a group had their responses does not belong to that group.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from typing import NamedTuple

import polars as pl

from wiredoctor import gateways, limits, rule_engine
from wiredoctor.core.tcp.connection import Connection
from wiredoctor.core.tcp.segment import FOREVER
from wiredoctor.engine import open_exchanges
from wiredoctor.engine.live import LiveAnalysis
from wiredoctor.gateways import LATE, Gateways, Place
from wiredoctor.live.gateway_groups import MEMORY, WHOLE, Group, Pairing, Times, Until, times_of
from wiredoctor.live.known_gateways import KnownGateways, drop_oldest
from wiredoctor.live.quota import Quota, cpu_time
from wiredoctor.rule_engine import TOLD_LIVE, RuleModule
from wiredoctor.rule_engine.across_tries import fronts_of, tries_of
from wiredoctor.tables import AT_ITS_END, AT_THE_CLOSE, SECOND

RULE = TOLD_LIVE

SEARCH_INTERVAL = SECOND // 20
"""The minimum time in ns between two searches, in capture time."""

PER_EXCHANGE = 100_000
"""The minimum time in ns between two searches, for each exchange that the first of them examined.

A search itself takes about 20,000 ns of CPU time per exchange, and 40 ms.
"""

LEAST = 1_024
"""The number of newest exchanges that each search examines even if they are not near the exchanges that wait.

They show how the gateway rewrites targets, and to which servers it sends requests.
"""

NEAR = SECOND
"""The time in ns before the exchanges that are needed from which on others are examined, because they may overlap with them."""

PATIENCE = 8
"""An exchange that remains undecided is searched again after the PATIENCEth part of the time for which it has waited."""

DUE_AT_ONCE = 1_024
"""The maximum number of exchanges that are due, those first that have been due for the longest time, which a search examines."""

DECIDED_AT_ONCE = 256
"""The maximum number of groups of exchanges, the oldest first, that are decided at a time; each takes about a millisecond."""

SEARCHED = 0.25
"""The processor time (s) that a search should take at most. With few exchanges, it takes 40 ms."""

TURNS = 4
"""If a search cannot reach all exchanges that are due, every TURNSth examines those that need the oldest exchanges."""

HELD = 30 * SECOND
"""The maximum time in ns that a failure waits for a decision. After that, the failure is left to the final report.

A decision takes this long if a server still works on a request that its gateway gave up, or if requests are too similar to be
distinguished.
"""


def is_left_to_report(time: int, clock: int) -> bool:
    """Return whether an undecided failure or candidate has waited so long that it is left to the final report.

    `time`: when the failure or candidate occurred. `clock`: the current capture time. Both are in ns. The wait is too long if
    they are more than HELD apart. `time` may be later than `clock` if the clock was set back; the wait might then last hours.
    """
    return abs(clock - time) > HELD


@dataclass(frozen=True)
class GatewaySearch:
    """The result of a search for gateways among exchanges near those that wait.

    `found`: what these exchanges show. `exchanges`, `connections`: all rows that were searched. `searched`: the exchanges that
    waited for the search. `groups`: for each exchange in a group that is decided now, that group. `servers`: the server's
    endpoint by connection id. `is_without_attempts`: no attempt to connect failed, so the failures outside of the groups do not
    matter.
    """

    found: Gateways
    exchanges: pl.LazyFrame
    connections: pl.LazyFrame
    servers: Mapping[int, str]
    searched: frozenset[tuple[int, int | None]]
    groups: Mapping[tuple[int, int | None], Group] = field(default_factory=dict[tuple[int, int | None], Group])
    is_without_attempts: bool = False

    @cached_property
    def tries(self) -> pl.DataFrame:
        """The exchanges of gateways with servers that the search found, as rows of tables.TRIES."""
        return tries_of(self.found)


Complete = Callable[[Iterable[Group]], Iterable[Group]]

_CLOSED = pl.col("client_close_time").is_not_null() | pl.col("server_close_time").is_not_null()
_FAILED = pl.col("has_request") & _CLOSED & ~WHOLE.fill_null(value=False)


@dataclass
class _Wait:
    """An exchange that waits for a decision.

    `noted`: since when. `since`: the exchanges that were open at this time or later are searched. `due`: when to search next. All
    are capture times in ns.
    """

    noted: int
    since: int
    due: int


class _Stored(NamedTuple):
    """The numbers of stored exchanges and connections at a capture time (ns): none of later rows had ended before."""

    clock: int
    exchanges: int
    connections: int

    def fits(self, before: _Stored, most: int) -> bool:
        """Return whether at most `most` exchanges, and twice as many connections, were stored since `before`."""
        return self.exchanges - before.exchanges <= most and self.connections - before.connections <= 2 * most


_EVERY = _Stored(-LATE, 0, 0)
"""Before the first row."""


class _Window(NamedTuple):
    """Exchanges that are searched together: stored ones, and open ones.

    `exchanges`, `now`: all of them, and the open ones. `ends`: rows of tables.CONNECTIONS. `open_ones`: the connections that may
    have open exchanges. `complete_from`: all exchanges that were open between this time (ns) and `until` are included. `until`:
    the time (ns) before which the exchanges began; LATE if all later ones are included, too. `counted`: the number of exchanges
    that had been stored until then.
    """

    exchanges: pl.DataFrame
    now: pl.DataFrame
    ends: pl.DataFrame
    open_ones: list[Connection]
    complete_from: int
    until: int
    counted: int


def _next(waiting: tuple[tuple[int, int | None], _Wait]) -> int:
    return waiting[1].due


def _start(group: Group) -> int:
    return group.start


def _last_packet(connection: Connection) -> int:
    return connection.last_clock


def _number(connection: Connection) -> int:
    return connection.id


def _clock(stored: _Stored) -> int:
    return stored.clock


class AtGateways:
    """Keeps failed exchanges, and others with candidates, until `search` has decided whether they failed at a gateway."""

    def __init__(self, analysis: LiveAnalysis, modules: Mapping[str, RuleModule]) -> None:
        self._analysis, self._module = analysis, modules.get(RULE)
        self.known = KnownGateways()
        self._waiting: dict[tuple[int, int | None], _Wait] = {}
        self._reported: dict[Place, None] = {}
        self._stored: list[_Stored] = []
        self._searched: int | None = None
        self._learned: int | None = None
        """The capture time (ns) of the last search, with or without exchanges that waited for it."""
        self._apart = SEARCH_INTERVAL
        self._quota = Quota(limits.LIVE_PAIRED.value // 2, limits.LIVE_PAIRED.value, SEARCHED)
        self.at_once = Quota(DECIDED_AT_ONCE // 2, DECIDED_AT_ONCE)
        self._turn = 0
        """The number of searches that examined the newest exchanges while older ones were due, modulo TURNS."""
        self._counted = 0
        """The number of exchanges that were stored at the last search."""

    def note(self, exchanges: pl.DataFrame, clock: int) -> None:
        """Record the failed exchanges in new rows of tables.STORED_EXCHANGES. `clock`: the current capture time (ns)."""
        a, stored = self._analysis, self._stored
        if stored and stored[-1].clock > clock:  # the clock was set back
            stored.clear()
        if not stored or stored[-1].exchanges < a.exchanges.rows or stored[-1].connections < a.connections.rows:
            stored.append(_Stored(clock, a.exchanges.rows, a.connections.rows))
        while len(stored) > 1 and not self._now.fits(stored[0], limits.LIVE_PAIRED.value):
            del stored[0]
        if self._module is not None and exchanges.height:
            self._add(exchanges.filter(_FAILED).select("connection", "exchange", "request_start").iter_rows(), clock)

    @property
    def _now(self) -> _Stored:
        """The numbers of all rows; later ones are stored at an unknown time."""
        return _Stored(LATE, self._analysis.exchanges.rows, self._analysis.connections.rows)

    def take(self, clock: int) -> None:
        """Record the failures found by the analysis since the last call, and drop failures that have waited for too long."""
        self._add(self._analysis.failures if self._module is not None else (), clock)
        self._analysis.failures.clear()
        self.leave(place for place, wait in [*self._waiting.items()] if is_left_to_report(wait.noted, clock))

    def _add(self, failed: Iterable[tuple[int, int, int | None]], clock: int) -> None:
        self.wait_for((one for one in failed if one[:2] not in self._reported), clock)

    def wait_for(self, places: Iterable[tuple[int, int | None, int | None]], clock: int) -> None:
        """Let exchanges (connection, exchange, start in ns) wait for a decision; those that already do are left as they are."""
        for connection, exchange, start in places:
            if (connection, exchange) not in self._waiting:
                since = (clock if start is None else min(start, clock)) - NEAR
                self._waiting[connection, exchange] = _Wait(clock, since, clock)
        for gone in [*self._waiting][: -limits.SETTLED_CANDIDATES.value]:
            del self._waiting[gone]

    def wake(self, places: Iterable[tuple[int, int | None]], clock: int) -> None:
        """Search these exchanges as soon as possible, because a candidate waits for them from now on."""
        for place in places:
            if place in self._waiting:
                self._waiting[place].due = clock

    def leave(self, places: Iterable[tuple[int, int | None]]) -> None:
        """Do not search these exchanges any more."""
        for place in [*places]:
            self._waiting.pop(place, None)

    def is_put_off(self, place: tuple[int, int | None], clock: int) -> bool:
        """Return whether an exchange already waits for a search that is not due."""
        return place in self._waiting and clock < self._waiting[place].due <= clock + HELD

    def _due(self, clock: int) -> dict[tuple[int, int | None], _Wait]:
        """Return the exchanges whose next search is due, if they are many those that have been due for the longest time.

        A wait that seems long is due: the clock was set back.
        """
        due = [(place, wait) for place, wait in self._waiting.items() if not clock < wait.due <= clock + HELD]
        return dict(due if len(due) <= DUE_AT_ONCE else sorted(due, key=_next)[:DUE_AT_ONCE])

    def is_due(self, clock: int) -> bool:
        """Return whether enough capture time has passed since the last search, and an exchange waits for the next."""
        return self._has_passed(self._searched, clock) and bool(self._due(clock))

    def _has_passed(self, last: int | None, clock: int) -> bool:
        """Return whether a search is due, the last of which was at `last` (ns). If that is later, the clock was set back."""
        return last is None or not last <= clock < last + self._apart

    @property
    def due(self) -> int | None:
        """The earliest capture time (ns) of the next search; None if no exchange waits for it."""
        if not self._waiting:
            return None
        soonest = min(wait.due for wait in self._waiting.values())
        return soonest if self._searched is None else max(soonest, self._searched + self._apart)

    def learn(self, clock: int, *, apart: bool = True) -> None:
        """Search the exchanges since the last search, only to learn about gateways. With `apart`, not too often."""
        if clock not in (self._learned, self._searched) and (not apart or self._has_passed(self._learned, clock)):
            self._find(self._window(self._uncounted_since(clock), 0, *self._unfinished()), clock)

    def learn_from_many(self, clock: int) -> None:
        """Learn if there are many new exchanges, which later searches might not reach."""
        if self._analysis.exchanges.rows - self._counted >= LEAST:
            self.learn(clock)

    def search(self, clock: int, complete: Complete) -> GatewaySearch:
        """Pair exchanges between clients and gateways with exchanges between gateways and servers; return the result.

        Of the exchanges that wait, those that are due are decided if possible. `clock`: the current capture time (ns).
        `complete`: returns those of some final groups for whose failures all causes are decided.
        """
        begun, unfinished = cpu_time(), self._unfinished()
        newest = self._newest_since(self._quota.size - len(unfinished[0]))
        due = self._in_turn(self._due(clock), newest)
        since = min(wait.since for wait in due.values())
        if since - MEMORY >= newest:  # most failures without a request to a server need it
            since -= MEMORY
        window = self._window(min(since, self._uncounted_since(clock)), LEAST, *unfinished)
        due = {place: wait for place, wait in due.items() if wait.since < window.until}
        found = self._search(due, window, clock, complete)
        self._quota.learn(window.exchanges.height, begun)
        return found

    def _search(
        self, due: dict[tuple[int, int | None], _Wait], window: _Window, clock: int, complete: Complete
    ) -> GatewaySearch:  # fmt: skip
        proven = self.known.proven
        found, servers, times = self._find(window, clock)
        self._searched, self._apart = clock, max(SEARCH_INTERVAL, window.exchanges.height * PER_EXCHANGE)
        if self.known.proven != proven:  # of earlier failures, it was unknown that they are those of a gateway
            due = {place: self._waiting[place] for place in [*self._waiting][:DUE_AT_ONCE]}
        exchanges, connections = window.exchanges.lazy(), window.ends.lazy()
        groups, lacking, alone = dict[tuple[int, int | None], Group](), dict[tuple[int, int | None], int](), False
        if self.known.fronts:
            until = Until(min(clock, window.until, self._unread_since(window, servers)), clock, window.complete_from)
            half = {one.id for one in window.open_ones if open_exchanges.is_in_response_head(one)}
            pairing = Pairing(found, times, window.now, window.ends, servers, half, self.known.proofs)
            groups, lacking = pairing.final_groups(due.keys(), until)
            alone = pairing.is_without_attempts
        for place, wait in due.items():
            is_new = (since := lacking.get(place, LATE) - NEAR) < wait.since
            wait.since = min(wait.since, since)
            wait.due = clock if is_new else clock + max(self._apart, (clock - wait.noted) // PATIENCE)
        groups = self._first(complete(groups.values()), clock)
        return GatewaySearch(found, exchanges, connections, servers, frozenset(due), groups, alone)

    def _first(self, groups: Iterable[Group], clock: int) -> dict[tuple[int, int | None], Group]:
        """Return the oldest of these groups, by exchange; the next search decides the others."""
        ordered = sorted(groups, key=_start)
        for group in ordered[self.at_once.size :]:
            self.wake(group.places, clock)
            self._apart = SEARCH_INTERVAL
        return {place: group for group in ordered[: self.at_once.size] for place in group.places}

    def _uncounted_since(self, clock: int) -> int:
        """Return the time (ns) from which on exchanges are searched to learn about gateways."""
        return -LATE if self._learned is None else min(self._learned, clock) - NEAR

    def _newest_since(self, most: int) -> int:
        """Return the time (ns) since which at most `most` exchanges, and twice as many connections, have ended."""
        return next((one.clock for one in (_EVERY, *self._stored) if self._now.fits(one, most)), LATE)

    def _in_turn(self, due: dict[tuple[int, int | None], _Wait], newest: int) -> dict[tuple[int, int | None], _Wait]:
        """Return those of the exchanges that are due which need no exchanges before `newest` (ns), and now and then the rest.

        The rest may be undecided for long, so it must not keep a search from the newest exchanges.
        """
        recent = {place: wait for place, wait in due.items() if wait.since >= newest}
        if not 0 < len(recent) < len(due):
            return due
        self._turn = (self._turn + 1) % TURNS
        return recent if self._turn else {place: wait for place, wait in due.items() if place not in recent}

    def _unfinished(self) -> tuple[list[Connection], int]:
        """Return the connections with an open exchange, not too many for a search, and the time (ns) from which on they are all.

        The time is LATE if some are left out, and -LATE otherwise.
        """
        most = self._quota.size // 2
        unfinished = open_exchanges.unfinished(self._analysis.active.busy())
        if len(unfinished) > most:  # only those with known gateways, and with servers behind them, can be paired
            unfinished = open_exchanges.at_endpoints(unfinished, self.known.endpoints)
        if len(unfinished) > most:
            return sorted(unfinished, key=_last_packet)[-most:], LATE
        return unfinished, -LATE

    def _window(self, since: int, least: int, unfinished: list[Connection], complete_from: int) -> _Window:
        """Return the exchanges that were open at `since` (ns) or later, and at least the `least` newest ones.

        If they are too many for one search, only those are returned that began first. `unfinished`, `complete_from`: the result
        of `_unfinished`.
        """
        a, most = self._analysis, self._quota.size
        most -= len(unfinished)
        mine = {one.id for one in unfinished}
        others = [*islice((one for one in a.active.newest() if one.id not in mine), 2 * most + 1)][::-1]
        begin, end = self._slice(max(since, others[1].last_clock + 1 if len(others) > 2 * most else -LATE), least, most)
        complete_from = max(complete_from, begin.clock)
        recent = [one for one in others if one.last_clock >= begin.clock]
        if len(recent) > 2 * most:
            complete_from = max(complete_from, recent[-2 * most].last_clock)
        active = sorted([*unfinished, *recent[-2 * most :]], key=_number)
        now = open_exchanges.exchanges_as_of(active)
        rows = pl.concat([a.exchanges.newest(a.exchanges.rows - begin.exchanges), now])
        ends = a.connections.newest(a.connections.rows - begin.connections)
        ends = pl.concat([ends, open_exchanges.rows_as_of(active, a.latest)])
        if end.clock < LATE:
            rows, now = (some.filter((pl.col("request_start") < end.clock).fill_null(value=True)) for some in (rows, now))
            ends = ends.filter((pl.col("start") < end.clock).fill_null(value=True))
        return _Window(rows, now, ends, active, complete_from, end.clock, end.exchanges)

    def _slice(self, since: int, least: int, most: int) -> tuple[_Stored, _Stored]:
        """Return the numbers of stored rows before and after those that are searched.

        They are those since `since` (ns), at least `least` of them, and at most about `most`.
        """
        places = [*([_EVERY] if self._now.fits(_EVERY, limits.LIVE_PAIRED.value) else []), *self._stored[:-1], self._now]
        first = max(bisect_right(places, since, hi=len(places) - 1, key=_clock) - 1, 0)
        last = first + 1
        while last < len(places) - 1 and places[last + 1].fits(places[first], most):
            last += 1
        last = min(last, len(places) - 1)
        while first > 0 and places[last].exchanges - places[first].exchanges < least:
            first -= 1
        return places[first], places[last]

    def _find(self, window: _Window, clock: int) -> tuple[Gateways, dict[int, str], dict[Place, Times]]:
        """Return the gateways that these exchanges show, with all that are known; servers by connection id; and times."""
        evidence = self.known.evidence
        evidence.clock = clock
        exchanges, connections = window.exchanges.lazy(), window.ends.lazy()
        found = gateways.find(exchanges, connections, possible=True, gaps=self._analysis.gaps, evidence=evidence)
        learned = min(clock, window.until)
        self._learned = learned if self._learned is None or self._learned > clock else max(self._learned, learned)
        self._counted = max(self._counted, window.counted)
        servers = dict(window.ends.select("connection", "server").iter_rows())
        times = times_of(window.exchanges)
        self.known.add(found, servers, exchanges, connections)
        return found._replace(fronts=self.known.fronts), servers, times

    def _unread_since(self, window: _Window, servers: Mapping[int, str]) -> int:
        """Return the time (ns) of the oldest bytes at gateways that cannot be parsed yet; FOREVER if there are none."""
        fronts = self.known.fronts
        behind = {one for some in fronts.values() for one in some}
        at = pl.any_horizontal(pl.col("client", "server").is_in([*fronts, *behind]))
        theirs = {*window.ends.filter(at)["connection"]}
        return min(
            (
                open_exchanges.unread_since(one, from_gateway=servers.get(one.id) not in fronts.keys() - behind)
                for one in window.open_ones
                if one.id in theirs
            ),
            default=FOREVER,
        )

    def failures(self, seen: GatewaySearch) -> pl.DataFrame:
        """Return the candidates of the rule gateway-error in the groups of a search that were not reported before."""
        if self._module is None:
            return pl.DataFrame()
        groups, closes = seen.groups, seen.exchanges
        if seen.is_without_attempts:
            closes = closes.filter(~self._of_others(seen.connections, groups))
        scans = {
            "closes": AT_THE_CLOSE.of(closes), "exchanges": AT_ITS_END.of(seen.exchanges), "connections": seen.connections,
            "tries": tries_of(seen.found).lazy(), "fronts": fronts_of(seen.found).lazy(),
        }  # fmt: skip
        modules = {RULE: self._module}
        [summaries] = rule_engine.find_summaries(modules, scans, few=True)
        found = rule_engine.decide_batch(modules, summaries, {}, live=True)
        found = rule_engine.unsure_across(found, modules, self._analysis.doubtful_frames)
        if steps := sorted(self._analysis.steps.frames):
            found = rule_engine.drop_across_clock_steps(found, modules, steps)
        if RULE not in found:
            return pl.DataFrame()
        rows = found[RULE]
        mine = [place in groups and place not in self._reported for place in rows.select("connection", "exchange").iter_rows()]
        return rows.filter(pl.Series(mine, dtype=pl.Boolean))

    def _of_others(self, ends: pl.LazyFrame, groups: Mapping[tuple[int, int | None], Group]) -> pl.Expr:
        """Return whether an exchange is one of a client with a gateway, and in none of these groups."""
        fronts = self.known.fronts
        is_outer = pl.col("server").is_in([*fronts.keys() - {one for some in fronts.values() for one in some}])
        outer = ends.filter(is_outer).collect()
        inside = {number for group in groups.values() for number in group.connections}
        others = {*outer["connection"]} - inside - {*self.known.clients}
        return pl.col("connection").is_in(pl.Series([*others], dtype=pl.Int64).implode())

    def mark_reported(self, groups: Iterable[Group]) -> None:
        """Record that the failures in these groups were reported, to avoid reporting them again."""
        for group in groups:
            for connection, exchange in group.places:
                self._waiting.pop((connection, exchange), None)
                if exchange is not None:
                    self._reported[connection, exchange] = None
        drop_oldest(self._reported, 2 * limits.LIVE_PAIRED.value)  # a search examines no earlier exchanges again
