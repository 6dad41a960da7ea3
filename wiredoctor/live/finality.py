"""Report the findings of a live capture as soon as they are final, which means that no later packet can change them.

A candidate is a possible finding of a rule. Until it is final, a later candidate of another rule may explain it, a response may
complete its exchange, or an earlier stall may turn out to overlap its time. All of this happens on one connection. Therefore a
candidate is compared with all other candidates of its connection. It is reported when no exchange or stall that overlaps its
time is still open on the connection.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from functools import partial
from typing import NamedTuple

import polars as pl

from wiredoctor import gateways, limits, rule_engine
from wiredoctor.core.tcp.connection import Connection
from wiredoctor.core.tcp.segment import FOREVER
from wiredoctor.engine import open_exchanges
from wiredoctor.engine.live import LiveAnalysis
from wiredoctor.engine.open_exchanges import ANSWERED
from wiredoctor.findings import Finding
from wiredoctor.live.at_gateways import RULE, AtGateways, GatewaySearch, is_left_to_report
from wiredoctor.live.gateway_groups import Group
from wiredoctor.live.nearby import Nearby
from wiredoctor.live.quota import Quota, Stages, cpu_time
from wiredoctor.rule_engine import RuleModule
from wiredoctor.rule_engine.candidates import Candidates, select, together
from wiredoctor.rule_engine.summary_columns import Rows
from wiredoctor.storage.spill import LOOSE
from wiredoctor.tables import AT_ITS_END, AT_THE_CLOSE, CONNECTIONS, EXCHANGES, RULE_TABLES, UNACKNOWLEDGED

c = pl.col

_KEY = ("rule", "connection", "frame")
_KEY_SCHEMA = pl.Schema({"rule": pl.String(), "connection": pl.Int64(), "frame": pl.Int64()})
_SLOW = "slow-response"

REPORTED_AT_ONCE = 512
"""The maximum number of candidates, the oldest first, that are reported at a time, beside those at gateways."""


class _State(Enum):
    """What a candidate waits for.

    OPEN: later packets of its connection may change it. CONNECTION: it has no exchange, and waits until its connection is over.
    GATEWAY: it can no longer change on its own connection, and waits until the other side of a gateway is known. TOLD: it was
    reported, is explained by another one, or is left to the final report; it may still explain later candidates.
    """

    OPEN = auto()
    CONNECTION = auto()
    GATEWAY = auto()
    TOLD = auto()


@dataclass(eq=False)
class _Candidate:
    """A candidate, by the columns that decide when it is final. `last`: the later one of its start and end (ns).

    `told`: a number that is larger for candidates that were reported later.
    """

    rule: str
    connection: int
    frame: int
    exchange: int | None
    start: int | None
    last: int
    state: _State = _State.OPEN
    told: int = 0

    @property
    def key(self) -> tuple[str, int, int]:
        """The values of the columns _KEY."""
        return self.rule, self.connection, self.frame

    @property
    def place(self) -> tuple[int, int | None]:
        """The connection and exchange."""
        return self.connection, self.exchange


class _Progress(NamedTuple):
    """What may still change on a connection.

    `since`: the start (ns) of the oldest exchange or stall that is still open; nothing earlier can change. `unknown`: the start
    (ns) of the oldest exchange without a response, or of an open stall; responses after this time cannot be paired with requests
    yet. `over`: the connection is closed, and all its rows are written. `no_http`: the connection is over, or carries no HTTP.
    """

    since: int = FOREVER
    unknown: int = FOREVER
    over: bool = True
    no_http: bool = True


class _Final(NamedTuple):
    """What can be reported.

    `ready`: the candidates that gateways can no longer change, including new failures at gateways. `seen`: the result of the
    search, or None without a search. `groups`: the groups of exchanges that are reported now.
    """

    ready: list[_Candidate]
    seen: GatewaySearch | None
    groups: list[Group]


def _when(one: _Candidate) -> int:
    return one.last


@dataclass(eq=False)
class _OfConnection:
    """The candidates of a connection, by rule and frame. `connection`: None for a connection that is over.

    `over_at`: the value of `PendingFindings.clock` at which the connection was found to be over; None if it goes on.
    """

    connection: Connection | None
    candidates: dict[tuple[str, int], _Candidate] = field(default_factory=dict[tuple[str, int], _Candidate])
    over_at: int | None = None

    def progress(self) -> _Progress:
        """Return what may still change."""
        connection = self.connection
        if connection is None:
            return _Progress()
        since, unknown = open_exchanges.undecided_since(connection)
        no_http = open_exchanges.is_not_http(connection)
        if not (open_exchanges.client_is_known(connection) or no_http):
            since = unknown = -FOREVER
        shut = open_exchanges.window_closed_since(connection)
        since = min(since, open_exchanges.stalled_since(connection), open_exchanges.syn_repeated_since(connection))
        # a window that is still closed at the end is reported when the connection's row is written
        over = open_exchanges.is_over(connection) and shut == FOREVER
        return _Progress(min(since, shut), min(unknown, shut), over, no_http)


@dataclass
class PendingFindings:
    """The candidates that are still needed, from all rules except summary rules.

    Summary rules are excluded because they read the tables of the complete capture. A candidate is needed until it is reported,
    and afterwards while it may explain later candidates. `modules`: the rules that run. `chosen`: the rules whose findings are
    reported.
    """

    analysis: LiveAnalysis
    modules: Mapping[str, RuleModule]
    chosen: Sequence[str]
    held_connections: frozenset[int] = frozenset()
    """The ids of the connections with a candidate in HeldCandidates. That candidate may explain candidates in this object."""
    held_causes: frozenset[int] = frozenset()
    """The ids in `held_connections` for which the held candidate may be the cause of a failure at a gateway."""
    clock: int = 0
    """The capture time (ns) before which all packets were read. This value decreases if the system clock is set back."""
    _table: dict[int, _OfConnection] = field(default_factory=dict[int, _OfConnection])
    """All candidates, by connection id."""
    _rows: dict[str, pl.DataFrame] = field(default_factory=dict[str, pl.DataFrame])
    """The rows of all candidates, by rule."""
    _exchanges: pl.DataFrame = field(default_factory=lambda: EXCHANGES.empty().select(ANSWERED))
    _connections: pl.DataFrame = field(default_factory=CONNECTIONS.empty)
    _count_told: int = 0

    def __post_init__(self) -> None:
        self._failed = AtGateways(self.analysis, self.modules)
        self._quota = Quota(REPORTED_AT_ONCE // 2, REPORTED_AT_ONCE)
        self.nearby = Nearby(self.analysis, self.modules)
        rule = self.modules[RULE].rule if RULE in self.modules else None
        self.causes = frozenset[str]() if rule is None else frozenset(n for n, _ in (*rule.caused_by, *rule.explained_by))
        """The rules whose findings explain why a gateway failed."""
        whole = {n for n, m in self.modules.items() if any(scope == "connection" for _, scope in m.rule.explained_by)}
        self._at_end = frozenset({*whole, RULE})
        """The rules whose candidates are final when the connection is over, or, for RULE, when they are added."""
        # these rules read packets, not finished exchanges: a stall may be final long before its response ends
        self._at_packet = frozenset(
            n for n, m in self.modules.items() if RULE_TABLES[m.tables[0]].at_packet and not rule_engine.is_compared(m)
        )
        self._at_once = frozenset(n for n, m in self.modules.items() if m.tables[0] == UNACKNOWLEDGED.name)

    @property
    def due(self) -> int | None:
        """The capture time (ns) at which a check is due even if no packet arrives; None if no decision depends on time."""
        return self._failed.due

    @property
    def pending_count(self) -> int:
        """The number of candidates that are not reported yet because they may still change."""
        return sum(1 for _ in self._pending())

    def _all(self) -> Iterator[_Candidate]:
        return (one for of in self._table.values() for one in of.candidates.values())

    def _pending(self) -> Iterator[_Candidate]:
        return (one for one in self._all() if one.state is not _State.TOLD)

    def add(self, found: Candidates) -> None:
        """Add judged candidates, except candidates of summary rules and candidates without a connection."""
        for name, rows in found.items():
            if not self.modules[name].rule.summary:
                self._add(name, rows.filter(c("connection").is_not_null()))
        pending = [*self._pending()]
        self._leave(pending[: -limits.LIVE_PENDING.value])

    def _add(self, name: str, rows: pl.DataFrame) -> list[_Candidate]:
        """Add candidates of one rule, and return those that are new."""
        if rows.is_empty():
            return []
        before = self._rows.get(name)
        self._rows[name] = rows if before is None else pl.concat([before, rows], rechunk=True)
        columns = rows.select(
            c("connection", "frame", "exchange", "start").cast(pl.Int64), last=pl.max_horizontal("start", "end").fill_null(0)
        )
        fresh = [_Candidate(name, *row) for row in columns.iter_rows()]
        self._watch({one.connection for one in fresh} - self._table.keys())
        for one in fresh:
            known = self._table[one.connection].candidates.setdefault((name, one.frame), one)
            known.last = min(known.last, one.last)
        return fresh

    def finish(self, exchanges: pl.DataFrame, connections: pl.DataFrame) -> None:
        """Store finished rows of exchanges and connections if their connection has a candidate. Record failed exchanges."""
        self._failed.note(exchanges, self.analysis.analyzed_until)
        if not self._table:
            return
        ids = pl.Series(list(self._table), dtype=pl.Int64).implode()
        mine = exchanges.lazy().filter(c("connection").is_in(ids)).select(ANSWERED).collect()
        if mine.height:
            rows = pl.concat([self._exchanges, mine])
            self._exchanges = rows.rechunk() if rows.n_chunks() > LOOSE else rows  # not every time: that copies all rows
        over = connections.lazy().filter(c("connection").is_in(ids)).collect()
        if over.height:
            self._connections = pl.concat([self._connections, over], rechunk=True)
            for number in over["connection"]:
                self._table[number].connection = None

    def _watch(self, fresh: set[int]) -> None:
        """Store the rows that the connections `fresh` already have; `finish` will store their later rows."""
        if not fresh:
            return
        a = self.analysis
        followed = {connection.id: connection for connection in a.active.of_ids(fresh)}
        self._table |= {i: _OfConnection(followed.get(i)) for i in fresh}
        some = [i for i in fresh if i not in followed or open_exchanges.has_rows(followed[i])]
        if not some:
            return
        most = limits.LIVE_NEAR.value
        before = a.exchanges.newest_of(some, most, ANSWERED)
        self._exchanges = pl.concat([self._exchanges, before]).unique(["connection", "exchange"], maintain_order=True)
        over = a.connections.newest_of([i for i in some if i not in followed], most)
        self._connections = pl.concat([self._connections, over], rechunk=True).unique("connection", maintain_order=True)

    def take_final(self) -> Stages[list[Finding]]:
        """Return the findings that became final since the last call."""
        self._failed.take(self.clock)
        if not self._table and self._failed.due is None:
            self._failed.learn_from_many(self.clock)
            return []
        final = yield from self._past_gateways(self._final_on_their_connections())
        if final.seen is None:  # a search learns, too
            self._failed.learn_from_many(self.clock)
        yield
        return self._report_at_once(final) if final.ready else []

    def _report_at_once(self, final: _Final) -> list[Finding]:
        begun = cpu_time()
        findings = self._report(*final)
        self._quota.learn(len(final.ready), begun)
        self._failed.at_once.learn(len(final.groups), begun)
        return findings

    def _final_on_their_connections(self) -> list[_Candidate]:
        """Return the candidates that are not reported yet, but that nothing on their own connection can change."""
        ready: list[_Candidate] = []
        for number, of in self._table.items():
            if number in self.held_connections:
                continue
            pending = [one for one in of.candidates.values() if one.state is not _State.TOLD]
            waiting = [one for one in pending if one.state is not _State.GATEWAY]
            progress = of.progress() if waiting else _Progress()
            ready += (one for one in pending if one.state is _State.GATEWAY or self._is_final(one, progress))
        return ready

    def _is_final(self, one: _Candidate, progress: _Progress) -> bool:
        if progress.over or one.state is _State.CONNECTION or one.rule in self._at_end:
            return progress.over
        if one.rule in self._at_once:
            return one.last < FOREVER
        return one.last < (progress.unknown if one.rule in self._at_packet else progress.since)

    def _past_gateways(self, ready: list[_Candidate]) -> Stages[_Final]:
        """Search for gateways if candidates depend on them, and return what can be reported now.

        `ready`: the candidates that are final on their own connection. Candidates that have waited for too long are left to the
        final report.
        """
        mine = [one for one in ready if one.rule in rule_engine.ACROSS_GATEWAYS]
        past = [one for one in ready if one.rule not in rule_engine.ACROSS_GATEWAYS]
        past = sorted(past, key=_when)[: self._quota.size] if len(past) > self._quota.size else past
        mine = self._without_concurrent_requests(mine)
        fresh = [one.place for one in mine if one.state is not _State.GATEWAY]
        for one in mine:
            one.state = _State.GATEWAY
        self._failed.wait_for(((*one.place, one.start) for one in mine), self.clock)
        self._failed.wake(fresh, self.clock)
        if not self._failed.is_due(self.clock):
            return _Final(past, None, [])
        final = {id(one) for one in (*past, *mine)}
        seen = self._failed.search(self.clock, partial(self._complete, ready=final))
        groups = [*{id(group): group for group in seen.groups.values()}.values()]
        places = {place for group in groups for place in group.places}
        places |= {(number, None) for group in groups for number in group.connections}
        late: list[_Candidate] = []
        for one in mine:
            if one.place in places or self._is_elsewhere(one, seen):
                past.append(one)
            elif one.place in seen.searched and (is_left_to_report(one.last, self.clock) or not self._failed.known.fronts):
                late.append(one)
        self._failed.leave(one.place for one in (*past, *late))
        self._leave(late)
        yield
        failures = self._failed.failures(seen) if groups else pl.DataFrame()
        return _Final([*past, *self._add_failures(failures, groups)], seen, groups)

    def _is_elsewhere(self, one: _Candidate, seen: GatewaySearch) -> bool:
        """Return whether a search has shown that a candidate is not at a gateway."""
        if one.place not in seen.searched or one.connection not in seen.servers:
            return False
        return not self._failed.known.is_at_gateway(one.connection, seen.servers[one.connection])

    def _without_concurrent_requests(self, mine: list[_Candidate]) -> list[_Candidate]:
        """Return `mine` without slow responses during which a request to another server was open.

        The server may have waited for the response to that other request.
        """
        asked = [
            one
            for one in mine
            if one.rule == _SLOW and not (one.state is _State.GATEWAY and self._failed.is_put_off(one.place, self.clock))
        ]
        if not asked:
            return mine
        owing = open_exchanges.Owing(self.analysis.active.busy())
        gone = {id(one) for one in asked if owing.asked_between(one.start or 0, one.last, self._table[one.connection].connection)}
        return [one for one in mine if id(one) not in gone]

    def _complete(self, groups: Iterable[Group], ready: Collection[int]) -> list[Group]:
        """Return those of these groups for whose failures all causes are decided.

        A group is left out if one of its connections has an undecided candidate that may be the cause of a failure. `ready`: the
        `id` of each candidate that is final.
        """
        decided = _State.TOLD, _State.CONNECTION

        def is_undecided(one: _Candidate, group: Group) -> bool:
            if one.rule not in self.causes or one.state in decided or id(one) in ready:
                return False
            return one.exchange is None or one.place in group.places

        return [
            group
            for group in {id(group): group for group in groups}.values()
            if self.held_causes.isdisjoint(group.connections)
            and not any(
                is_undecided(one, group)
                for number in group.connections
                if number in self._table
                for one in self._table[number].candidates.values()
            )
        ]

    def _add_failures(self, rows: pl.DataFrame, groups: Collection[Group]) -> list[_Candidate]:
        """Add the failures in these groups to the candidates, and return them."""
        fronts = {front for group in groups for front in group.fronts}
        if rows.is_empty() or not fronts:
            return []
        mine = [place in fronts for place in rows.select("connection", "exchange").iter_rows()]
        added = self._add(RULE, rows.filter(pl.Series(mine, dtype=pl.Boolean)))
        if added:
            self._watch({number for group in groups for number in group.connections} - self._table.keys())
        return added

    def _report(self, ready: list[_Candidate], seen: GatewaySearch | None, groups: list[Group]) -> list[Finding]:
        """Return the findings of candidates that are final, and change their states."""
        a = self.analysis
        keys = pl.DataFrame([one.key for one in ready], _KEY_SCHEMA, orient="row")
        numbers = {one.connection for one in ready}
        of = {number: self._table[number].progress() for number in numbers}
        # a candidate without an exchange may get one later
        sure = pl.Series([number for number, one in of.items() if one.over or one.no_http], dtype=pl.Int64).implode()
        numbers |= {number for group in groups for number in group.connections}
        told = [one.key for number in numbers for one in self._candidates_at(number) if one.state is _State.TOLD]
        before = pl.DataFrame(told, _KEY_SCHEMA, orient="row")
        some = [one for number in numbers if (one := self._connection(number)) is not None]
        held: list[tuple[str, int, int]] = []

        def keep(core: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
            mine = core.join(keys, on=_KEY, how="semi", maintain_order="left")
            is_sure = c("connection").is_in(sure) | c("exchange").is_not_null()
            held.extend(mine.filter(~is_sure).select(_KEY).iter_rows())
            return mine.filter(is_sure), core.join(before, on=_KEY, how="semi", maintain_order="left")

        self._failed.learn(self.clock, apart=False)
        known = self._failed.known.of(numbers)
        candidates, tries = self._after_gateways_and_stalls(self._compare(self._rows_of(numbers)), seen, groups, known)
        findings = rule_engine.resolve(
            self.modules, candidates, self._connection_rows(some).lazy(),
            pl.concat([self._exchanges, open_exchanges.answered_exchanges(some)]).lazy(),
            file=a.capture.file, first_time=a.capture.first_time or 0, only=self.chosen, keep=keep, losses=a.losses(),
            tries=tries, known=known, passed=self._failed.known.passed, kept=a.told,
        )  # fmt: skip
        self._remember(tries, groups, keys.filter(rule=RULE))
        waiting = {*held}
        for one in ready:
            if one.key in waiting:
                one.state = _State.CONNECTION
        self._leave(one for one in ready if one.key not in waiting)
        self._forget()
        return findings

    def _leave(self, some: Iterable[_Candidate]) -> None:
        """Mark candidates as reported, or as left to the final report."""
        for one in some:
            self._count_told += 1
            one.state, one.told = _State.TOLD, self._count_told

    def _candidates_at(self, number: int) -> Iterable[_Candidate]:
        return self._table[number].candidates.values() if number in self._table else ()

    def _connection(self, number: int) -> Connection | None:
        return self._table[number].connection if number in self._table else None

    def _after_gateways_and_stalls(
        self, candidates: Mapping[str, Rows], seen: GatewaySearch | None, groups: Collection[Group], known: gateways.Gateways
    ) -> tuple[Mapping[str, Rows], pl.DataFrame | None]:
        """Return the candidates, changed if a gateway or a stall explains them, and rows of tables.TRIES.

        The rows describe the requests in `groups` that gateways forwarded. Without groups, only stalls change candidates,
        and the second value is None.
        """
        if seen is None or not groups:
            return rule_engine.with_facts_of_others(self.modules, candidates, None), None
        places = {place for group in groups for place in group.places}
        fronts = {front for group in groups for front in group.fronts}
        mine = [
            (row[2], row[3]) in places or (row[0], row[1]) in fronts
            for row in seen.tries.select("front_connection", "front_exchange", "connection", "exchange").iter_rows()
        ]
        tries = seen.tries.filter(pl.Series(mine, dtype=pl.Boolean))
        found = seen.found._replace(clients=known.clients)
        sides = rule_engine.Sides(found, tries, AT_THE_CLOSE.of(seen.exchanges), AT_ITS_END.of(seen.exchanges), seen.connections)
        return rule_engine.with_facts_of_others(self.modules, candidates, sides), tries

    def _remember(self, tries: pl.DataFrame | None, groups: Collection[Group], failures: pl.DataFrame) -> None:
        """Store the gateways' exchanges with servers, and the failures, on which the findings reported now are based.

        The final report uses the stored rows, so it agrees with these findings. `failures`: the keys of the candidates of RULE.
        """
        self._failed.mark_reported(groups)
        if tries is None:
            return
        a = self.analysis
        certain = tries.filter("certain").select(*gateways.TRIES)
        before = [] if a.reported_tries is None else [a.reported_tries]
        a.reported_tries = pl.concat([*before, certain]).unique(maintain_order=True).tail(limits.FINDINGS.value)
        if (rows := self._rows.get(RULE)) is not None:
            a.found.append({RULE: rows.join(failures, on=["connection", "frame"], how="semi")})

    def without_reported(self, found: Candidates) -> Candidates:
        """Return candidates without the failures at gateways that were reported: the analysis has these already."""
        stored = self.analysis.found.of_rules().get(RULE)
        if RULE not in found or stored is None:
            return found
        key = "connection", "frame"
        return {**found, RULE: found[RULE].join(select(together(stored), *key), on=key, how="anti", maintain_order="left")}

    def _compare(self, candidates: Mapping[str, pl.DataFrame]) -> Mapping[str, Rows]:
        """Return the candidates that their rules keep after comparing them with all connections in their current state."""
        compared = {name: rows for name, rows in candidates.items() if rule_engine.is_compared(self.modules[name])}
        if not compared:
            return candidates
        since = min(int(rows.select(c("start").min()).item() or 0) for rows in compared.values())
        tables, _ = self.nearby.tables(
            since, {number for rows in compared.values() for number in rows["connection"]}, tuple, compared=True
        )
        decided, _ = rule_engine.decide(self.modules, compared, tables, live=True)
        return {name: rows for name, rows in candidates.items() if name not in compared} | decided

    def _connection_rows(self, connections: list[Connection]) -> pl.DataFrame:
        """Return the stored rows of ended connections, and rows of `connections` in their current state."""
        if not connections:
            return self._connections
        return pl.concat([self._connections, open_exchanges.rows_as_of(connections, self.analysis.latest)])

    def gateway_clients(self, *, at_end: bool) -> Collection[int]:
        """Return the ids of the connections whose client is a gateway; without `at_end`, only those known so far."""
        if at_end:
            a = self.analysis
            return gateways.find(a.exchanges.scan(), a.connections.scan(), gaps=a.gaps).clients
        self._failed.learn(self.clock)
        return self._failed.known.clients

    def _rows_of(self, connections: Collection[int]) -> dict[str, pl.DataFrame]:
        """Return the rows of all candidates of these connections, by rule."""
        of_these = c("connection").is_in(pl.Series([*connections], dtype=pl.Int64).implode())
        some = {name: rows.filter(of_these) for name, rows in self._rows.items()}
        return {name: rows for name, rows in some.items() if rows.height}

    def _forget(self) -> None:
        """Drop the reported candidates of connections that ended a while ago (see `is_left_to_report`).

        If too many other reported candidates are left, also drop the oldest of them.
        """
        told: list[_Candidate] = []
        gone: list[_Candidate] = []
        for of in self._table.values():
            own = [one for one in of.candidates.values() if one.state is _State.TOLD]
            if of.over_at is None and of.progress().over:
                of.over_at = self.clock
            # not dropped at once: a failure between a gateway and a server may explain what a client receives later
            (gone if of.over_at is not None and is_left_to_report(of.over_at, self.clock) else told).extend(own)
        gone += sorted(told, key=lambda one: one.told)[: -limits.SETTLED_CANDIDATES.value]
        for one in gone:
            del self._table[one.connection].candidates[one.rule, one.frame]
        keys = pl.DataFrame([one.key for one in gone], _KEY_SCHEMA, orient="row")
        for (name,), mine in keys.partition_by("rule", as_dict=True).items():
            rows = self._rows[str(name)].join(mine, on=["connection", "frame"], how="anti", maintain_order="left")
            self._rows[str(name)] = rows
            if rows.is_empty():
                del self._rows[str(name)]
        if left := [number for number, of in self._table.items() if not of.candidates]:
            for number in left:
                del self._table[number]
            ids = pl.Series([*self._table], dtype=pl.Int64).implode()
            self._exchanges = self._exchanges.filter(c("connection").is_in(ids))
            self._connections = self._connections.filter(c("connection").is_in(ids))
