"""Give rules what took place near their candidates in a live capture, without reading all rows.

What rules need to know of earlier exchanges is remembered by the indexes that they ask (see world.Index.remember).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

import polars as pl

from wiredoctor import limits
from wiredoctor.core.tcp.connection import Connection
from wiredoctor.engine import open_exchanges
from wiredoctor.engine.live import LiveAnalysis
from wiredoctor.rule_engine import RuleModule
from wiredoctor.storage import spill
from wiredoctor.tables import AT_ITS_END, AT_THE_CLOSE, CLIENT_COLUMNS, SECOND
from wiredoctor.world import CaptureTables, Index

MARGIN = 10 * SECOND
"""The time (ns) before a candidate from which rows are read: rules compare what took place up to 5 s before another event."""

_COLUMNS = tuple(dict.fromkeys((*AT_THE_CLOSE.columns.values(), *CLIENT_COLUMNS)))
_FINISHED = tuple(AT_ITS_END.columns.values())


class Nearby:
    """Reads the newest rows of a live capture, and keeps what indexes remember of all rows."""

    def __init__(self, analysis: LiveAnalysis, modules: Mapping[str, RuleModule]) -> None:
        self._analysis = analysis
        asked = {index: None for module in modules.values() if not module.rule.summary for index in module.asks}
        self._indexes = [index for index in asked if index.remember.__func__ is not Index.remember.__func__]
        self._remembered: dict[type[Index], Any] = {}
        self._new: list[pl.DataFrame] = []
        self._new_since: int | None = None
        """The time (ns) of the first row in `_new`, or an earlier one; None if everything is remembered."""

    def see(self, exchanges: pl.DataFrame, connections: pl.DataFrame) -> None:
        """Take new rows of exchanges, which the next call of `tables` remembers; connections are read when they are needed."""
        if not self._indexes:
            return
        if self._new_since is None:
            ends = [rows["final_at"].min() for rows in (exchanges, connections)]
            self._new_since = min((end for end in ends if isinstance(end, int)), default=0) - MARGIN
        if exchanges.height:
            self._new.append(exchanges)
        if sum(rows.height for rows in self._new) >= spill.MIN_WRITTEN:
            self._remember(self._connections(self._new_since, ())[0])

    def tables(
        self, since: int, own: Collection[int], gateways: Callable[[], Collection[int]], *, compared: bool = False
    ) -> tuple[CaptureTables, int]:
        """Return what rules need about candidates at `since` (ns) or later on the connections `own` (ids).

        The second value is `since`, or a later time if there are too many rows: from then on, nothing is left out.

        `compared`: `exchanges` has finished exchanges with all columns, and those of `own` whose response has begun.
        """
        a, since = self._analysis, since - MARGIN
        connections, active, begun = self._connections(since if self._new_since is None else min(since, self._new_since), own)
        self._remember(connections)
        near = a.exchanges.since(since, limits.LIVE_NEAR.value, own, _FINISHED if compared else _COLUMNS)
        stored = near.rows  # columns are chosen here, since a query takes time for each that it chooses

        def requests() -> pl.LazyFrame:
            return pl.concat([stored.select(CLIENT_COLUMNS), open_exchanges.open_requests(active)]).lazy()

        def finished() -> pl.LazyFrame:
            answered = open_exchanges.answered_exchanges(one for one in active if one.id in own)
            return pl.concat([AT_ITS_END.of(stored), answered], how="diagonal").lazy()

        def half_closed() -> pl.LazyFrame:
            some = open_exchanges.closed_by_client(active)
            rows = open_exchanges.exchanges_as_of(some) if some else a.exchanges.table.empty()
            return AT_THE_CLOSE.of(rows).lazy()

        closed = pl.LazyFrame() if compared else AT_THE_CLOSE.of(stored).lazy()
        tables = CaptureTables(
            closed, connections.lazy(), finished if compared else requests, gateways,
            half_closed, remembered=self._remembered,
        )  # fmt: skip
        return tables, max(near.begun, begun) + MARGIN

    def _connections(self, since: int, own: Collection[int]) -> tuple[pl.DataFrame, list[Connection], int]:
        """Return the connections with packets since `since` (ns) and those in `own` (ids): their rows, and the open ones. The
        third value is the time since which none are left out.
        """
        a, most = self._analysis, limits.LIVE_NEAR.value
        active, begun = a.active.since(since), since
        if len(active) > most:
            begun = sorted(one.last_clock for one in active)[-most]
            active = [one for one in active if one.last_clock >= begun]
        known = {one.id for one in active}
        active = [*active, *(one for one in a.active.of_ids(own) if one.id not in known)]
        stored = a.connections.since(since, limits.LIVE_NEAR.value, own)
        return pl.concat([stored.rows, open_exchanges.rows_as_of(active, a.latest)]), active, max(begun, stored.begun)

    def _remember(self, connections: pl.DataFrame) -> None:
        """Let the indexes remember the new rows. `connections`: the connections of these rows."""
        rows = pl.concat(self._new) if self._new else self._analysis.exchanges.table.empty()
        self._new, self._new_since = [], None
        tables = CaptureTables(AT_THE_CLOSE.of(rows).lazy(), connections.lazy(), lambda: AT_ITS_END.of(rows).lazy())
        for index in self._indexes:
            self._remembered[index] = index.remember(self._remembered.get(index), tables)
