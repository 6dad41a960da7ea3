"""Candidates of a live capture that wait until it is known what else happened when a server closed their connection."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from wiredoctor import rules
from wiredoctor.engine import undecided
from wiredoctor.engine.live import LiveAnalysis
from wiredoctor.rules import RuleModule
from wiredoctor.tables import closes
from wiredoctor.waiting import Found


class Resting:
    """The candidates of rules about idle limits. What they say is decided once, soon after the close: as of that time it holds,
    whatever is learned later."""

    def __init__(self, analysis: LiveAnalysis, modules: Mapping[str, RuleModule]) -> None:
        self._analysis = analysis
        self._modules = modules
        self._held: Found = {}

    @property
    def due(self) -> int | None:
        """When the next of them can be told (ns since the first packet); None if none waits."""
        times = [rows["final_at"].min() for rows in self._held.values()]
        return min((time + rules.TOGETHER + 1 for time in times if isinstance(time, int)), default=None)

    def keep(self, found: Found) -> Found:
        """Keep those that wait; return the others."""
        passed: Found = {}
        for name, rows in found.items():
            if self._modules[name].by_limits is None or self._modules[name].rule.summary:
                passed[name] = rows
            elif rows.height:
                before = self._held.get(name)
                self._held[name] = rows if before is None else pl.concat([before, rows])
        return passed

    def take(self, clock: int | None) -> Found:
        """Return those that can be told, once everything up to this time has come; all where there is no later one."""
        if not self._held:
            return {}
        over = pl.lit(value=True) if clock is None else pl.col("final_at") + rules.TOGETHER < clock
        ready = {name: rows.filter(over) for name, rows in self._held.items()}
        left = {name: rows.filter(~over) for name, rows in self._held.items()}
        self._held = {name: rows for name, rows in left.items() if rows.height}
        ready = {name: rows for name, rows in ready.items() if rows.height}
        if not ready:
            return {}
        stored = closes(self._analysis.exchanges.scan())
        assert isinstance(stored, pl.LazyFrame)
        flows = self._analysis.core.flows
        now = undecided.rows_as_of(flows.open_connections(), self._analysis.latest)
        connections = pl.concat([self._analysis.connections.scan(), now.lazy()])
        told = rules.limited(self._modules, ready, stored, connections, live=True)
        return {name: rows for name, rows in told.items() if isinstance(rows, pl.DataFrame)}
