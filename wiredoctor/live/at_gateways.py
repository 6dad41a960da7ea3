"""Decide which failures at gateways are final during a live capture.

In this module, a front is an exchange of a client with a gateway. A try is an exchange in which the gateway forwards a front's
request to a server.

Fronts and tries are paired as if the capture ended now; only the newest exchanges are searched, including open ones. An open
exchange may still get a response, be repeated or be given up, so its findings may change. Exchanges that may be paired with one
another, directly or through other exchanges, form a group. A finished exchange is final when all exchanges of its group are
finished. A request that began after all fronts of a group had their responses does not belong to that group.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import polars as pl

from wiredoctor import gateways, limits, rule_engine
from wiredoctor.core.segment import FOREVER
from wiredoctor.engine import open_exchanges
from wiredoctor.engine.live import LiveAnalysis
from wiredoctor.gateways import LATE, Gateways, Place
from wiredoctor.live.gateway_groups import MEMORY, WHOLE, Group, Pairing, Until
from wiredoctor.rule_engine import RuleModule
from wiredoctor.rule_engine.across_tries import fronts_of, tries_of
from wiredoctor.tables import FINISHED_AT, SECOND, closes, finished_exchanges

RULE = "gateway-error"

SEARCH_INTERVAL = SECOND // 20
"""The minimum time in ns between two searches, in capture time."""
PER_EXCHANGE = 100_000
"""The minimum time in ns between two searches, for each exchange that the first of them examined.

A search itself takes about a tenth of this time per exchange.
"""

HELD = 30 * SECOND
"""The maximum time in ns that a failure waits for a decision. After that, the failure is left to the final report.

A decision takes this long if a server still works on a request that its gateway gave up, or if requests are too similar to be
distinguished.
"""

UNORDERED = 256
"""The number of stored exchanges, oldest first, whose ends are read. All dropped exchanges ended before the latest of these ends.

The end of the oldest stored exchange alone is not a safe limit, because rows are stored only roughly in order of their ends.
"""


def is_left_to_report(time: int, clock: int) -> bool:
    """Return whether an undecided failure or candidate has waited so long that it is left to the final report.

    `time`: when the failure or candidate occurred. `clock`: the current capture time. Both are in ns. The wait is too long if
    they are more than HELD apart. `time` may be later than `clock` if the clock was set back; the wait might then last hours.
    """
    return abs(clock - time) > HELD


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


_CLOSED = pl.col("client_close_time").is_not_null() | pl.col("server_close_time").is_not_null()
_FAILED = pl.col("has_request") & _CLOSED & ~WHOLE.fill_null(value=False)


class AtGateways:
    """Keeps the failed exchanges until `search` has decided which of them failed at a gateway."""

    def __init__(self, analysis: LiveAnalysis, modules: Mapping[str, RuleModule]) -> None:
        self._analysis, self._module = analysis, modules.get(RULE)
        self._waiting: dict[Place, int] = {}
        """The time (ns) at which each undecided failure was recorded, by connection and exchange."""
        self._reported: dict[Place, None] = {}
        self._searched: int | None = None
        self._apart = SEARCH_INTERVAL

    def note(self, exchanges: pl.DataFrame, clock: int) -> None:
        """Record the failed exchanges in new rows of tables.STORED_EXCHANGES. `clock`: the current capture time (ns)."""
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
        # if the current time is before the last search, the clock was set back
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
        known = gateways.find(exchanges, connections, possible=True, gaps=a.gaps)
        self._searched, self._apart = clock, max(SEARCH_INTERVAL, (stored.height + now.height) * PER_EXCHANGE)
        servers = dict(ends.select("connection", "server").iter_rows())
        if not known.fronts:
            return GatewaySearch(known, exchanges, connections, servers, {}, pl.DataFrame(), whole or Gateways())
        endpoints = [*known.fronts, *(one for behind in known.fronts.values() for one in behind)]
        theirs = {*ends.filter(pl.any_horizontal(pl.col("client", "server").is_in(endpoints)))["connection"]}
        behind = {one for some in known.fronts.values() for one in some}
        unread = min(
            (
                open_exchanges.unread_since(one, from_gateway=servers.get(one.id) not in known.fronts.keys() - behind)
                for one in open_ones
                if one.id in theirs
            ),
            default=FOREVER,
        )
        half = {one.id for one in open_ones if open_exchanges.is_in_response_head(one)}
        pairing = Pairing(known, pl.concat([stored, now]), now, ends, servers, half)
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
        found = rule_engine.decide_batch(modules, summaries, {}, live=True)
        found = rule_engine.unsure_across(found, modules, self._analysis.doubtful_frames)
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
