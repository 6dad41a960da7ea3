"""Findings as soon as they are certain: candidates that nothing that may still come can change, settle before the end.

What one rule finds may be explained by what another finds later, gets its request and its answer only when these have been
captured, and loses the time that an earlier start of another stall covers. All that happens within one connection; so a
candidate is settled with all others of its connection, and told when nothing of its time is undecided there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import polars as pl

from wiredoctor import gateways, limits, rule_engine
from wiredoctor.core.connection import Connection
from wiredoctor.core.exchange_rows import FOREVER
from wiredoctor.engine import undecided
from wiredoctor.engine.live import LiveAnalysis
from wiredoctor.engine.undecided import ANSWERED
from wiredoctor.findings import Finding
from wiredoctor.rule_engine import RuleModule
from wiredoctor.rule_engine.candidates import Found
from wiredoctor.rule_engine.summary_columns import Rows
from wiredoctor.tables import CONNECTIONS, EXCHANGES, RULE_TABLES, UNACKNOWLEDGED, finished_exchanges

_KEY = ("rule", "connection", "frame")

_GROWN = 1.05
"""By so much more exchanges and connections must be over before gateways are looked for again."""

_TOLD = pl.Schema({"rule": pl.String(), "connection": pl.Int64(), "frame": pl.Int64()})

_STATES = pl.Schema({
    "connection": pl.Int64(), "since": pl.Int64(), "unknown": pl.Int64(), "over": pl.Boolean(), "no_http": pl.Boolean(),
})  # fmt: skip
"""Of a connection: from when on exchanges are not over, and from when on it is not even known what is answered (ns); whether it
is closed and all is said; whether it carries something that is not HTTP."""


@dataclass
class Certain:
    """The candidates of events that are not told yet, and those told before that may explain later ones.

    `modules` are the rules that run, `chosen` those that are reported.
    """

    analysis: LiveAnalysis
    modules: Mapping[str, RuleModule]
    chosen: Sequence[str]
    resting: frozenset[int] = frozenset()
    """Connections of candidates that are to come, and may explain those that are here."""
    _candidates: dict[str, pl.DataFrame] = field(default_factory=dict[str, pl.DataFrame])
    _exchanges: pl.DataFrame = field(default_factory=lambda: EXCHANGES.empty().select(ANSWERED))
    _connections: pl.DataFrame = field(default_factory=CONNECTIONS.empty)
    _known: dict[int, Connection | None] = field(default_factory=dict[int, Connection | None])
    """The connections of the candidates by id; None if one is over."""
    _looked_at: int = 0
    _at_gateways: tuple[gateways.Gateways, pl.DataFrame | None] = (gateways.Gateways(), None)
    """What `_gateways` returns, by so many exchanges and connections that are over."""
    _settled: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=_TOLD))
    _held: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=_TOLD))

    @property
    def waiting(self) -> int:
        """Candidates that are not told: they may still change."""
        return sum(rows.height for rows in self._candidates.values()) - self._settled.height

    def add(self, found: Found) -> None:
        """Candidates that were judged."""
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
        """Keep finished rows: of exchanges, and of connections that are over."""
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
        """Keep what comes of these connections from now on; and what came before."""
        if not fresh:
            return
        a = self.analysis
        followed = {connection.id: connection for connection in a.core.flows.of_ids(fresh)}
        self._known.update({i: followed.get(i) for i in fresh})
        some = [i for i in fresh if i not in followed or undecided.has_rows(followed[i])]
        if not some:
            return
        ids = pl.Series(some, dtype=pl.Int64).implode()
        before = a.exchanges.scan().filter(pl.col("connection").is_in(ids)).select(ANSWERED).collect()
        self._exchanges = pl.concat([self._exchanges, before]).unique(["connection", "exchange"], maintain_order=True)
        gone = pl.Series([i for i in some if i not in followed], dtype=pl.Int64).implode()
        over = a.connections.scan().filter(pl.col("connection").is_in(gone)).collect()
        self._connections = pl.concat([self._connections, over], rechunk=True).unique("connection", maintain_order=True)

    def tell(self) -> list[Finding]:
        """The findings that have become certain since it was last asked."""
        if not self._candidates:
            return []
        a = self.analysis
        states = [self._state(number, self._known[number]) for number in self._ids(self._candidates).to_list()]
        of = pl.DataFrame(states, schema=_STATES, orient="row")
        ready = self._beside_gateways(self._asked_once(self._ready(of)))
        if ready.is_empty():
            return []
        candidates = self._with_theirs(ready["connection"].unique())
        some = [connection for i in self._ids(candidates).to_list() if (connection := self._known[i]) is not None]
        held: list[pl.DataFrame] = []

        def keep(core: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
            mine = core.join(ready, on=_KEY, how="semi", maintain_order="left").join(of, on="connection", how="left")
            # whatever belongs to no exchange may be told more of by a later one
            sure = pl.col("over") | pl.col("no_http") | pl.col("exchange").is_not_null()
            held.append(mine.filter(~sure).select(_KEY))
            told = core.join(self._settled, on=_KEY, how="semi", maintain_order="left")
            return mine.filter(sure).drop("since", "unknown", "over", "no_http"), told

        candidates = rule_engine.after_stalls(self._concluded(candidates))
        known, passed = self._gateways()
        findings = rule_engine.settle(
            self.modules, candidates, self._rows_of(some).lazy(),
            pl.concat([self._exchanges, undecided.answered(some)]).lazy(),
            file=a.capture.file, first_time=a.capture.first_time or 0, only=self.chosen, keep=keep, losses=a.losses(),
            known=known, passed=passed,
        )  # fmt: skip
        self._held = pl.concat([self._held, *held]).unique()
        self._settled = pl.concat([self._settled, ready.join(self._held, on=_KEY, how="anti")], rechunk=True)
        self._forget(of)
        return findings

    def _concluded(self, candidates: Mapping[str, pl.DataFrame]) -> Mapping[str, Rows]:
        """Candidates after their rules have looked at all connections, as they are now."""
        if not any(self.modules[name].conclude for name in candidates):
            return candidates
        a = self.analysis
        now = undecided.rows_as_of(a.core.flows.open_connections(), a.latest)
        connections = pl.concat([a.connections.scan(), now.lazy()])
        answered = undecided.answered(connection for connection in self._known.values() if connection is not None)
        exchanges = pl.concat([finished_exchanges(a.exchanges.scan()), answered.lazy()], how="diagonal")
        return rule_engine.concluded(self.modules, candidates, connections, exchanges, live=True)

    @staticmethod
    def _ids(candidates: Mapping[str, pl.DataFrame]) -> pl.Series:
        return pl.concat([rows["connection"] for rows in candidates.values()]).unique()

    def _rows_of(self, connections: list[Connection]) -> pl.DataFrame:
        """The connections that are over, and these, as they are now."""
        if not connections:
            return self._connections
        return pl.concat([self._connections, undecided.rows_as_of(connections, self.analysis.latest)])

    def _state(self, number: int, connection: Connection | None) -> tuple[int, int, int, bool, bool]:
        """A row of _STATES."""
        if connection is None:
            return number, FOREVER, FOREVER, True, True
        since, unknown = undecided.undecided_since(connection)
        no_http = undecided.is_not_http(connection)
        if not (undecided.client_is_known(connection) or no_http):
            since = unknown = 0
        shut = undecided.window_closed_since(connection)
        since = min(since, undecided.stalled_since(connection))
        # a window that is closed at the end is told of with the connection's row
        over = undecided.is_over(connection) and shut == FOREVER
        return number, min(since, shut), min(unknown, shut), over, no_http

    def _ready(self, of: pl.DataFrame) -> pl.DataFrame:
        """Keys of the candidates that nothing of their connection can change any more, and that are not settled."""
        c = pl.col
        whole = [n for n, m in self.modules.items() if any(scope == "connection" for _, scope in m.rule.explained_by)]
        # they look at packets, not at finished exchanges: a stall in a response that takes hours is one
        packets = [n for n, m in self.modules.items() if RULE_TABLES[m.tables[0]].at_packet and m.conclude is None]
        told = [n for n, m in self.modules.items() if m.tables[0] == UNACKNOWLEDGED.name]
        since = pl.when(c("rule").is_in(told)).then(FOREVER).when(c("rule").is_in(packets)).then("unknown").otherwise("since")
        early = (pl.max_horizontal("start", "end").fill_null(0) < since) & ~c("rule").is_in(whole)
        core = pl.concat([
            rows.select(pl.lit(name).alias("rule"), *(c(n).cast(pl.Int64) for n in ("connection", "frame", "start", "end")))
            for name, rows in self._candidates.items()
        ])  # fmt: skip
        here = core.filter(~c("connection").is_in([*self.resting])) if self.resting else core
        fresh = here.join(self._settled, on=_KEY, how="anti").join(of, on="connection", how="left")
        sure = fresh.filter(c("over") | early)
        return pl.concat([sure.filter("over").select(_KEY), sure.select(_KEY).join(self._held, on=_KEY, how="anti")]).unique()

    def _asked_once(self, ready: pl.DataFrame) -> pl.DataFrame:
        """Without waits in which another server was asked for something that is not over: it may have been waited for."""
        waits = ready.filter(pl.col("rule") == "slow-response")
        if waits.is_empty():
            return ready
        open_ones = self.analysis.core.flows.open_connections()
        places = self._candidates["slow-response"].join(waits, on=["connection", "frame"], how="semi")
        late = [
            (connection, frame)
            for connection, frame, start, end in places.select("connection", "frame", "start", "end").iter_rows()
            if undecided.asked_between(open_ones, start, end, self._known.get(connection))
        ]
        gone = pl.DataFrame(late, schema={"connection": pl.Int64(), "frame": pl.Int64()}, orient="row")
        return pl.concat([
            ready.filter(pl.col("rule") != "slow-response"), waits.join(gone, on=["connection", "frame"], how="anti"),
        ])  # fmt: skip

    def _beside_gateways(self, ready: pl.DataFrame) -> pl.DataFrame:
        """Without the candidates that what a gateway did may still change: the report tells them."""
        mine = ready.filter(pl.col("rule").is_in([*rule_engine.ACROSS_GATEWAYS]))
        if mine.is_empty():
            return ready
        known, _ = self._gateways()
        if not known.fronts and not known.clients:
            return ready
        some = {*known.fronts, *(one for behind in known.fronts.values() for one in behind)}
        numbers = mine["connection"].unique().to_list()
        open_ones = [one for number in numbers if (one := self._known.get(number)) is not None]
        servers = self._rows_of(open_ones).select("connection", "server").unique("connection", keep="last")
        at_gateways = pl.col("server").is_in([*some]) | pl.col("connection").is_in([*known.clients])
        late = mine.join(servers.filter(at_gateways), on="connection", how="semi")
        self._settled = pl.concat([self._settled, late], rechunk=True)
        return ready.join(late, on=_KEY, how="anti")

    def _gateways(self, *, at_end: bool = False) -> tuple[gateways.Gateways, pl.DataFrame | None]:
        """The gateways, as far as exchanges that are over have shown them, and which Server fields they passed on."""
        a = self.analysis
        rows = a.exchanges.rows + a.connections.rows
        if at_end or rows > self._looked_at * _GROWN:
            self._looked_at = rows
            exchanges, connections = a.exchanges.scan(), a.connections.scan()
            if not at_end:
                now = undecided.rows_as_of(a.core.flows.open_connections(), a.latest)
                connections = pl.concat([connections, now.lazy()])
            known = gateways.find(exchanges, connections)
            self._at_gateways = known, rule_engine.passed_on(known, connections, exchanges) if known.fronts else None
        return self._at_gateways

    def gateway_clients(self, *, at_end: bool) -> frozenset[int]:
        """The connections whose client is a gateway, as far as exchanges that are over have shown them; `at_end`: all of them."""
        return self._gateways(at_end=at_end)[0].clients

    def _with_theirs(self, connections: pl.Series) -> dict[str, pl.DataFrame]:
        """Return all candidates of these connections."""
        of_these = pl.col("connection").is_in(connections.implode())
        some = {name: rows.filter(of_these) for name, rows in self._candidates.items()}
        return {name: rows for name, rows in some.items() if rows.height}

    def _forget(self, of: pl.DataFrame) -> None:
        """What is settled of connections that are over, and the oldest of what is settled of the others."""
        most = limits.SETTLED_CANDIDATES.value
        over = pl.col("connection").is_in(of.filter("over")["connection"].implode())
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
