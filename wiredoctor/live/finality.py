"""Report the findings of a live capture as soon as they are final, which means that no later packet can change them.

A candidate is a possible finding of a rule. Until it is final, a later candidate of another rule may explain it, a response may
complete its exchange, or an earlier stall may turn out to overlap its time. All of this happens on one connection. Therefore a
candidate is compared with all other candidates of its connection. It is reported when no exchange or stall that overlaps its
time is still open on the connection.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import polars as pl

from wiredoctor import gateways, limits, rule_engine
from wiredoctor.core.connection import Connection
from wiredoctor.core.segment import FOREVER
from wiredoctor.engine import open_exchanges
from wiredoctor.engine.live import LiveAnalysis
from wiredoctor.engine.open_exchanges import ANSWERED
from wiredoctor.findings import Finding
from wiredoctor.live.at_gateways import RULE, AtGateways, GatewaySearch, is_left_to_report
from wiredoctor.live.gateway_groups import Group
from wiredoctor.live.nearby import Nearby
from wiredoctor.rule_engine import RuleModule
from wiredoctor.rule_engine.candidates import Candidates
from wiredoctor.rule_engine.summary_columns import Rows
from wiredoctor.tables import CONNECTIONS, EXCHANGES, RULE_TABLES, UNACKNOWLEDGED, closes, finished_exchanges

c = pl.col

_KEY = ("rule", "connection", "frame")

_GROWN = 1.05
"""The factor by which the number of finished exchanges and connections must grow before gateways are searched again."""

_KEY_SCHEMA = pl.Schema({"rule": pl.String(), "connection": pl.Int64(), "frame": pl.Int64()})

_PLACED = {**_KEY_SCHEMA, "exchange": pl.Int64(), "end": pl.Int64()}

_STATES = pl.Schema({
    "connection": pl.Int64(), "since": pl.Int64(), "unknown": pl.Int64(), "over": pl.Boolean(), "no_http": pl.Boolean(),
})  # fmt: skip
"""The schema for the states of connections.

`since`: the start (ns) of the oldest exchange or stall that is still open; nothing earlier can change. `unknown`: the start (ns)
of the oldest exchange without a response, or of an open stall; responses after this time cannot be paired with requests yet.
`over`: the connection is closed, and all its rows are written. `no_http`: the connection is over, or carries no HTTP.
"""


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
    _candidates: dict[str, pl.DataFrame] = field(default_factory=dict[str, pl.DataFrame])
    _exchanges: pl.DataFrame = field(default_factory=lambda: EXCHANGES.empty().select(ANSWERED))
    _connections: pl.DataFrame = field(default_factory=CONNECTIONS.empty)
    _known: dict[int, Connection | None] = field(default_factory=dict[int, Connection | None])
    """The connections of the candidates, by id; None for a connection that is over."""
    held_causes: frozenset[int] = frozenset()
    """The ids in `held_connections` for which the held candidate may be the cause of a failure at a gateway."""
    clock: int = 0
    """The capture time (ns) before which all packets were read. This value decreases if the system clock is set back."""
    _over: dict[int, int] = field(default_factory=dict[int, int])
    """The value of `clock` at which each connection was found to be over, by connection id."""
    _looked_at: int = 0
    _at_gateways: tuple[gateways.Gateways, pl.DataFrame | None] = (gateways.Gateways(), None)
    """The cached result of `_gateways`, computed when there were `_looked_at` rows of exchanges and connections."""
    _settled: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=_KEY_SCHEMA))
    _held: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=_KEY_SCHEMA))
    """The keys of candidates that wait until their connection is over, because they have no exchange yet."""

    def __post_init__(self) -> None:
        self._failed = AtGateways(self.analysis, self.modules)
        self.nearby = Nearby(self.analysis, self.modules)
        self._undecided = False
        rule = self.modules[RULE].rule if RULE in self.modules else None
        self.causes = frozenset[str]() if rule is None else frozenset(n for n, _ in (*rule.caused_by, *rule.explained_by))
        """The rules whose findings explain why a gateway failed."""

    @property
    def due(self) -> int | None:
        """The capture time (ns) at which a check is due even if no packet arrives; None if no decision depends on time."""
        return self._failed.due if self._failed.waits or self._undecided else None

    @property
    def pending_count(self) -> int:
        """The number of candidates that are not reported yet because they may still change."""
        return sum(rows.height for rows in self._candidates.values()) - self._settled.height

    def add(self, found: Candidates) -> None:
        """Add judged candidates, except candidates of summary rules and candidates without a connection."""
        events = {
            name: rows.filter(pl.col("connection").is_not_null())
            for name, rows in found.items()
            if not self.modules[name].rule.summary
        }
        for name, rows in events.items():
            if rows.height:
                before = self._candidates.get(name)
                self._candidates[name] = rows if before is None else pl.concat([before, rows], rechunk=True)
        self._watch({int(i) for rows in events.values() for i in rows["connection"].unique().to_list()} - self._known.keys())

    def finish(self, exchanges: pl.DataFrame, connections: pl.DataFrame) -> None:
        """Store finished rows of exchanges and connections if their connection has a candidate. Record failed exchanges."""
        self._failed.note(exchanges, self.analysis.analyzed_until)
        if not self._known:
            return
        ids = pl.Series(list(self._known), dtype=pl.Int64).implode()
        mine = exchanges.lazy().filter(pl.col("connection").is_in(ids)).select(ANSWERED).collect()
        if mine.height:
            self._exchanges = pl.concat([self._exchanges, mine], rechunk=True)
        over = connections.lazy().filter(pl.col("connection").is_in(ids)).collect()
        if over.height:
            self._connections = pl.concat([self._connections, over], rechunk=True)
            self._known.update(dict.fromkeys(over["connection"].to_list()))

    def _watch(self, fresh: set[int]) -> None:
        """Store the rows that the connections `fresh` already have; `finish` will store their later rows."""
        if not fresh:
            return
        a = self.analysis
        followed = {connection.id: connection for connection in a.core.flows.of_ids(fresh)}
        self._known.update({i: followed.get(i) for i in fresh})
        some = [i for i in fresh if i not in followed or open_exchanges.has_rows(followed[i])]
        if not some:
            return
        most = limits.LIVE_NEAR.value
        before = a.exchanges.newest_of(some, most, ANSWERED)
        self._exchanges = pl.concat([self._exchanges, before]).unique(["connection", "exchange"], maintain_order=True)
        over = a.connections.newest_of([i for i in some if i not in followed], most)
        self._connections = pl.concat([self._connections, over], rechunk=True).unique("connection", maintain_order=True)

    def take_final(self) -> list[Finding]:
        """Return the findings that became final since the last call."""
        self._failed.take(self.clock)
        if not self._candidates and not self._failed.waits:
            self._undecided = False
            return []
        a = self.analysis
        of = self._states([*self._known])
        ready = self._without_concurrent_requests(self._final_keys(of)) if self._candidates else pl.DataFrame(schema=_KEY_SCHEMA)
        ready, seen, groups = self._beside_gateways(ready)
        if ready.is_empty():
            return []
        of = pl.concat([of, self._states(self._known.keys() - {*of["connection"]})])
        theirs = [number for group in groups for number in group.connections]
        candidates = self._candidates_of(pl.concat([ready["connection"], pl.Series(theirs, dtype=pl.Int64)]).unique())
        some = [connection for i in self._ids(candidates).to_list() if (connection := self._known[i]) is not None]
        held: list[pl.DataFrame] = []

        def keep(core: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
            mine = core.join(ready, on=_KEY, how="semi", maintain_order="left").join(of, on="connection", how="left")
            # a candidate without an exchange may get one later
            sure = pl.col("over") | pl.col("no_http") | pl.col("exchange").is_not_null()
            held.append(mine.filter(~sure).select(_KEY))
            settled = core.join(self._settled, on=_KEY, how="semi", maintain_order="left")
            return mine.filter(sure).drop("since", "unknown", "over", "no_http"), settled

        candidates, tries = self._after_gateways_and_stalls(self._compare(candidates), seen, groups)
        known, passed = self._software(seen)
        findings = rule_engine.resolve(
            self.modules, candidates, self._connection_rows(some).lazy(),
            pl.concat([self._exchanges, open_exchanges.answered_exchanges(some)]).lazy(),
            file=a.capture.file, first_time=a.capture.first_time or 0, only=self.chosen, keep=keep, losses=a.losses(),
            tries=tries, known=known, passed=passed,
        )  # fmt: skip
        self._remember(tries, groups, ready)
        self._held = pl.concat([self._held.join(ready, on=_KEY, how="anti"), *held]).unique()
        self._settled = pl.concat([self._settled, ready.join(self._held, on=_KEY, how="anti")], rechunk=True)
        self._forget(of)
        return findings

    def _states(self, numbers: Iterable[int]) -> pl.DataFrame:
        """Return the states of these connections, with the schema _STATES."""
        states = [self._state(number, self._known[number]) for number in numbers]
        return pl.DataFrame(states, schema=_STATES, orient="row")

    def _after_gateways_and_stalls(
        self, candidates: Mapping[str, Rows], seen: GatewaySearch | None, groups: Collection[Group]
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
        sides = rule_engine.Sides(seen.known, tries, closes(seen.exchanges), finished_exchanges(seen.exchanges), seen.connections)
        return rule_engine.with_facts_of_others(self.modules, candidates, sides), tries

    def _software(self, seen: GatewaySearch | None) -> tuple[gateways.Gateways, pl.DataFrame | None]:
        """Return the gateways found by `_gateways` or by the search `seen`, and the Server fields that these gateways
        forwarded.
        """
        known, passed = self._gateways()
        if seen is None or not seen.known.fronts:
            return known, passed
        more = rule_engine.passed_on(seen.known, seen.connections, finished_exchanges(seen.exchanges))
        fronts = {**known.fronts, **seen.known.fronts}
        known = seen.known._replace(fronts=fronts, clients=known.clients | seen.known.clients)
        return known, more if passed is None else pl.concat([passed, more]).unique()

    def _remember(self, tries: pl.DataFrame | None, groups: Collection[Group], ready: pl.DataFrame) -> None:
        """Store the gateways' exchanges with servers, and the failures, on which the findings reported now are based.

        The final report uses the stored rows, so it agrees with these findings.
        """
        self._failed.mark_reported(groups)
        if tries is None:
            return
        a = self.analysis
        certain = tries.filter("certain").select(*gateways.TRIES)
        before = [] if a.reported_tries is None else [a.reported_tries]
        a.reported_tries = pl.concat([*before, certain]).unique(maintain_order=True).tail(limits.FINDINGS.value)
        if (rows := self._candidates.get(RULE)) is not None:
            a.found.append({RULE: rows.join(ready.filter(rule=RULE), on=["connection", "frame"], how="semi")})

    def _compare(self, candidates: Mapping[str, pl.DataFrame]) -> Mapping[str, Rows]:
        """Return the candidates that their rules keep after comparing them with all connections in their current state."""
        compared = {name: rows for name, rows in candidates.items() if rule_engine.is_compared(self.modules[name])}
        if not compared:
            return candidates
        since = min(int(rows.select(c("start").min()).item() or 0) for rows in compared.values())
        tables, _ = self.nearby.tables(since, {*self._ids(compared)}, tuple, compared=True)
        decided, _ = rule_engine.decide(self.modules, compared, tables, live=True)
        return {name: rows for name, rows in candidates.items() if name not in compared} | decided

    @staticmethod
    def _ids(candidates: Mapping[str, pl.DataFrame]) -> pl.Series:
        return pl.concat([rows["connection"] for rows in candidates.values()]).unique()

    def _connection_rows(self, connections: list[Connection]) -> pl.DataFrame:
        """Return the stored rows of ended connections, and rows of `connections` in their current state."""
        if not connections:
            return self._connections
        return pl.concat([self._connections, open_exchanges.rows_as_of(connections, self.analysis.latest)])

    def _state(self, number: int, connection: Connection | None) -> tuple[int, int, int, bool, bool]:
        """Return the state of the connection with the id `number`, as a row with the schema _STATES.

        `connection` is None if the connection is over.
        """
        if connection is None:
            return number, FOREVER, FOREVER, True, True
        since, unknown = open_exchanges.undecided_since(connection)
        no_http = open_exchanges.is_not_http(connection)
        if not (open_exchanges.client_is_known(connection) or no_http):
            since = unknown = -FOREVER
        shut = open_exchanges.window_closed_since(connection)
        since = min(since, open_exchanges.stalled_since(connection), open_exchanges.syn_repeated_since(connection))
        # a window that is still closed at the end is reported when the connection's row is written
        over = open_exchanges.is_over(connection) and shut == FOREVER
        return number, min(since, shut), min(unknown, shut), over, no_http

    def _final_keys(self, of: pl.DataFrame) -> pl.DataFrame:
        """Return the keys (rule, connection, frame) of candidates that are not resolved yet but can no longer change.

        Only changes on the candidate's own connection are considered. `of`: the states of the connections.
        """
        whole = [n for n, m in self.modules.items() if any(scope == "connection" for _, scope in m.rule.explained_by)]
        # these rules read packets, not finished exchanges: a stall may be final long before its response ends
        packets = [n for n, m in self.modules.items() if RULE_TABLES[m.tables[0]].at_packet and not rule_engine.is_compared(m)]
        repeated = [n for n, m in self.modules.items() if m.tables[0] == UNACKNOWLEDGED.name]
        since = pl.when(c("rule").is_in(repeated)).then(FOREVER).when(c("rule").is_in(packets)).then("unknown").otherwise("since")
        early = (pl.max_horizontal("start", "end").fill_null(0) < since) & ~c("rule").is_in(whole)
        core = pl.concat([
            rows.select(pl.lit(name).alias("rule"), *(c(n).cast(pl.Int64) for n in ("connection", "frame", "start", "end")))
            for name, rows in self._candidates.items()
            if name != RULE  # candidates of gateway-error are final when they are added
        ] or [pl.DataFrame(schema={**_KEY_SCHEMA, "start": pl.Int64(), "end": pl.Int64()})])  # fmt: skip
        here = core.filter(~c("connection").is_in([*self.held_connections])) if self.held_connections else core
        fresh = here.join(self._settled, on=_KEY, how="anti").join(of, on="connection", how="left")
        sure = fresh.filter(c("over") | early)
        return pl.concat([sure.filter("over").select(_KEY), sure.select(_KEY).join(self._held, on=_KEY, how="anti")]).unique()

    def _without_concurrent_requests(self, ready: pl.DataFrame) -> pl.DataFrame:
        """Return `ready`, keys of candidates, without slow responses during which a request to another server was open.

        The server may have waited for the response to that other request.
        """
        waits = ready.filter(pl.col("rule") == "slow-response")
        if waits.is_empty():
            return ready
        open_ones = self.analysis.core.flows.open_connections()
        places = self._candidates["slow-response"].join(waits, on=["connection", "frame"], how="semi")
        late = [
            (connection, frame)
            for connection, frame, start, end in places.select("connection", "frame", "start", "end").iter_rows()
            if open_exchanges.asked_between(open_ones, start, end, self._known.get(connection))
        ]
        gone = pl.DataFrame(late, schema={"connection": pl.Int64(), "frame": pl.Int64()}, orient="row")
        return pl.concat([
            ready.filter(pl.col("rule") != "slow-response"), waits.join(gone, on=["connection", "frame"], how="anti"),
        ])  # fmt: skip

    def _beside_gateways(self, ready: pl.DataFrame) -> tuple[pl.DataFrame, GatewaySearch | None, list[Group]]:
        """Search for gateways if candidates depend on them, and return what can be reported now.

        `ready`: the keys of candidates that are final on their own connection. Return three values. The first contains the keys
        of candidates that gateways can no longer change, including new failures at gateways. The second is the result of the
        search, or None without a search. The third contains the groups of exchanges that are reported now. Candidates that have
        waited for too long are left to the final report.
        """
        mine = ready.filter(pl.col("rule").is_in([*rule_engine.ACROSS_GATEWAYS]))
        self._undecided = False
        if mine.is_empty() and not self._failed.waits:
            return ready, None, []
        if not self._failed.is_due(self.clock):
            self._undecided = not mine.is_empty()
            return ready.join(mine, on=_KEY, how="anti"), None, []
        of = self._with_places(mine)
        places = {(connection, exchange) for _, connection, _, exchange, _ in of.iter_rows()}
        seen = self._failed.search(self.clock, self._gateways_of_all(), places)
        groups = self._complete(seen, ready)
        final = {place for group in groups for place in group.places}
        final |= {(number, None) for group in groups for number in group.connections}
        at: list[tuple[str, int, int]] = []
        late: list[tuple[str, int, int]] = []
        for rule, connection, frame, exchange, end in of.iter_rows():
            if seen.is_at_gateway(connection) and (connection, exchange) not in final:
                left = is_left_to_report(end, self.clock) or not seen.known.fronts
                (late if left else at).append((rule, connection, frame))
        self._undecided = bool(at)
        left = pl.DataFrame(late, schema=_KEY_SCHEMA, orient="row")
        self._settled = pl.concat([self._settled, left], rechunk=True)
        ready = ready.join(pl.DataFrame([*at, *late], schema=_KEY_SCHEMA, orient="row"), on=_KEY, how="anti")
        return pl.concat([ready, self._with_failures(seen, groups)]), seen, groups

    def _with_places(self, keys: pl.DataFrame) -> pl.DataFrame:
        """Return rule, connection, frame, exchange and end (ns) of candidates. `keys`: their rule, connection and frame."""
        return pl.concat([
            self._candidates[name]
            .join(part, on=["connection", "frame"], how="semi")
            .select(
                pl.lit(name).alias("rule"), *(c(n).cast(pl.Int64) for n in ("connection", "frame", "exchange")),
                pl.max_horizontal("start", "end").fill_null(0).alias("end"),
            )
            for (name,), part in keys.partition_by("rule", as_dict=True).items()
        ] or [pl.DataFrame(schema=_PLACED)])  # fmt: skip

    def _complete(self, seen: GatewaySearch, ready: pl.DataFrame) -> list[Group]:
        """Return the groups of a search for whose failures all causes are decided.

        A group is left out if one of its connections has an undecided candidate that may be the cause of a failure.
        """
        groups = {id(group): group for group in seen.groups.values()}
        if not groups:
            return []
        numbers = {number for group in groups.values() for number in group.connections}
        core = pl.concat([
            rows.filter(pl.col("connection").is_in([*numbers])).select(
                pl.lit(name).alias("rule"), *(pl.col(n).cast(pl.Int64) for n in ("connection", "frame", "exchange"))
            )
            for name, rows in self._candidates.items()
            if name in self.causes
        ] or [pl.DataFrame(schema=_PLACED).drop("end")])  # fmt: skip
        decided = pl.concat([ready, self._settled, self._held])
        pending = core.join(decided, on=_KEY, how="anti")
        left = {(connection, exchange) for connection, exchange in pending.select("connection", "exchange").iter_rows()}
        return [
            group
            for group in groups.values()
            if self.held_causes.isdisjoint(group.connections)
            and left.isdisjoint({*group.places, *((number, None) for number in group.connections)})
        ]

    def _with_failures(self, seen: GatewaySearch, groups: Collection[Group]) -> pl.DataFrame:
        """Add the failures that a search found in these groups to the candidates. Return the keys of the added candidates."""
        fronts = {front for group in groups for front in group.fronts}
        rows = seen.failures
        if rows.is_empty() or not fronts:
            return pl.DataFrame(schema=_KEY_SCHEMA)
        mine = [place in fronts for place in rows.select("connection", "exchange").iter_rows()]
        rows = rows.filter(pl.Series(mine, dtype=pl.Boolean))
        if rows.height:
            before = self._candidates.get(RULE)
            self._candidates[RULE] = rows if before is None else pl.concat([before, rows], rechunk=True)
            self._watch({int(number) for group in groups for number in group.connections} - self._known.keys())
        return rows.select(pl.lit(RULE).alias("rule"), "connection", "frame")

    def _gateways_of_all(self) -> gateways.Gateways | None:
        """Return the gateways found among all exchanges; None if a single search covers all exchanges anyway."""
        return self._gateways()[0] if self.analysis.exchanges.rows > limits.LIVE_PAIRED.value else None

    def _gateways(self, *, at_end: bool = False) -> tuple[gateways.Gateways, pl.DataFrame | None]:
        """Return the gateways found among all exchanges so far, including open ones, and the Server fields that the gateways
        forwarded.

        The second value is None if there are no gateways. The result is cached until the number of rows has grown by a few
        percent. With `at_end`, all exchanges have ended, and the search is repeated.
        """
        a = self.analysis
        rows = a.exchanges.rows + a.connections.rows
        if at_end or rows > self._looked_at * _GROWN:
            self._looked_at = rows
            exchanges, connections = a.exchanges.scan(), a.connections.scan()
            if not at_end:
                open_ones = a.core.flows.open_connections()
                exchanges = pl.concat([exchanges, open_exchanges.exchanges_as_of(open_ones).lazy()])
                connections = pl.concat([connections, open_exchanges.rows_as_of(open_ones, a.latest).lazy()])
            known = gateways.find(exchanges, connections, gaps=a.gaps)
            self._at_gateways = known, rule_engine.passed_on(known, connections, exchanges) if known.fronts else None
        return self._at_gateways

    def gateway_clients(self, *, at_end: bool) -> frozenset[int]:
        """Return the ids of the connections whose client is a gateway; without `at_end`, only those known so far."""
        return self._gateways(at_end=at_end)[0].clients

    def _candidates_of(self, connections: pl.Series) -> dict[str, pl.DataFrame]:
        """Return all candidates of these connections, by rule."""
        of_these = pl.col("connection").is_in(connections.implode())
        some = {name: rows.filter(of_these) for name, rows in self._candidates.items()}
        return {name: rows for name, rows in some.items() if rows.height}

    def _forget(self, of: pl.DataFrame) -> None:
        """Drop the resolved candidates of connections that ended a while ago (see `is_left_to_report`).

        If too many other resolved candidates are left, also drop the oldest of them. `of`: the states of the connections.
        """
        most = limits.SETTLED_CANDIDATES.value
        since = {number: self._over.get(number, self.clock) for number in of.filter("over")["connection"]}
        self._over = {number: time for number, time in since.items() if not is_left_to_report(time, self.clock)}
        # not dropped at once: a failure between a gateway and a server may explain what a client receives later
        over = pl.col("connection").is_in(pl.Series([*(since.keys() - self._over.keys())], dtype=pl.Int64).implode())
        gone = pl.concat([self._settled.filter(over), self._settled.filter(~over).head(-most)])
        self._settled = self._settled.filter(~over).tail(most)
        self._held = self._held.filter(~over)
        for name in list(self._candidates):
            mine = gone.filter(pl.col("rule") == name)
            rows = self._candidates[name].join(mine, on=["connection", "frame"], how="anti", maintain_order="left")
            self._candidates[name] = rows
            if rows.is_empty():
                del self._candidates[name]
        left = self._ids(self._candidates) if self._candidates else pl.Series([], dtype=pl.Int64)
        self._known = {i: self._known[i] for i in left.to_list()}
        self._exchanges = self._exchanges.filter(pl.col("connection").is_in(left.implode()))
        self._connections = self._connections.filter(pl.col("connection").is_in(left.implode()))
