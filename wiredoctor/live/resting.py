"""Candidates of a live capture that wait until it is known what else happened when their connection was closed: what else its
server closed, and what its client did on other connections."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Protocol

import polars as pl

from wiredoctor import rule_engine
from wiredoctor.engine import undecided
from wiredoctor.engine.live import LiveAnalysis
from wiredoctor.rule_engine import RuleModule
from wiredoctor.rule_engine.candidates import Found
from wiredoctor.tables import ASKED, SECOND, closes

_PENDING = "pending_until"
"""Up to when (ns) a candidate may still change that was compared with others; null or missing where it cannot."""

_PLACE = ("connection", "exchange")


class Clients(Protocol):
    """Returns the connections whose client is a gateway, as far as that is known; at the end all of them."""

    def __call__(self, *, at_end: bool) -> Collection[int]: ...


class Resting:
    """The candidates of rules about idle limits, or about clients. What they say is decided once, soon after the close, or when
    what their clients began by then has ended: as of that time it holds, whatever is learned later."""

    def __init__(
        self, analysis: LiveAnalysis, modules: Mapping[str, RuleModule], clients: Clients
    ) -> None:  # fmt: skip
        self._analysis = analysis
        self._modules = modules
        self._clients = clients
        self._held: Found = {}

    @property
    def due(self) -> int | None:
        """When the next of them can be told (ns since the first packet); None if none waits."""
        times = [rows.select(_due(rows).min()).item() for rows in self._held.values()]
        return min((time + 1 for time in times if isinstance(time, int)), default=None)

    @property
    def connections(self) -> frozenset[int]:
        """The connections of those that wait: they may explain others."""
        return frozenset(number for rows in self._held.values() for number in rows["connection"].to_list())

    def keep(self, found: Found) -> Found:
        """Keep those that wait; return the others."""
        passed: Found = {}
        for name, rows in found.items():
            module = self._modules[name]
            if (module.by_limits is None and module.by_clients is None) or module.rule.summary:
                passed[name] = rows
            elif rows.height:
                before = self._held.get(name)
                self._held[name] = rows if before is None else pl.concat([before, rows])
        return passed

    def take(self, clock: int | None) -> Found:
        """Return those that can be told, once everything up to this time has come; all where there is no later one."""
        if not self._held:
            return {}
        over = {name: pl.lit(value=True) if clock is None else _due(rows) < clock for name, rows in self._held.items()}
        ready = {name: rows.filter(over[name]) for name, rows in self._held.items()}
        left = {name: rows.filter(~over[name]) for name, rows in self._held.items()}
        self._held = {name: rows for name, rows in left.items() if rows.height}
        ready = {name: rows for name, rows in ready.items() if rows.height}
        if not ready:
            return {}
        a = self._analysis
        stored = a.exchanges.scan()
        open_ones = [] if clock is None else a.core.flows.open_connections()  # at the end all rows are written
        connections = pl.concat([a.connections.scan(), undecided.rows_as_of(open_ones, a.latest).lazy()])
        followed = closes(stored)
        assert isinstance(followed, pl.LazyFrame)
        told = rule_engine.limited(self._modules, ready, followed, connections, live=True)
        if any(self._modules[name].by_clients for name in told):
            asked = pl.concat([stored.select(ASKED), undecided.asked(open_ones).lazy()])
            told = rule_engine.beside_others(
                self._modules, told, followed, asked, connections, self._clients(at_end=clock is None)
            )
        frames = {name: rows for name, rows in told.items() if isinstance(rows, pl.DataFrame)}
        return frames if clock is None else self._put_back(frames, ready, clock)

    def _put_back(self, told: Found, ready: Found, clock: int) -> Found:
        """Keep what is not decided yet, as it was before it was compared, and return the others."""
        sure: Found = {}
        for name, rows in told.items():
            waits = (pl.col(_PENDING) >= clock).fill_null(value=False) if _PENDING in rows.columns else pl.lit(value=False)
            pending = rows.filter(waits)
            if pending.height:
                # what it waits for may come sooner
                due = pending.select(*_PLACE, pl.min_horizontal(_PENDING, clock + SECOND).alias("due"))
                self.keep({name: ready[name].drop("due").join(due, on=_PLACE, maintain_order="left").select(ready[name].columns)})
            if pending.height < rows.height:
                sure[name] = rows.filter(~waits)
        return sure


def _due(rows: pl.DataFrame) -> pl.Expr:
    """When all that counts for a candidate has come."""
    due = [pl.col("due")] if "due" in rows.columns else []
    return pl.max_horizontal(*due, *([pl.col("final_at") + rule_engine.TOGETHER] if "final_at" in rows.columns else []))
