"""Hold candidates of a live capture until other events that may change them are known.

These events are closes of other connections by the same server at about the same time, and activity of the same client on other
connections.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import partial
from typing import Any, Protocol

import polars as pl

from wiredoctor import rule_engine
from wiredoctor.engine import open_exchanges
from wiredoctor.engine.live import LiveAnalysis
from wiredoctor.rule_engine import RuleModule
from wiredoctor.rule_engine.candidates import Candidates
from wiredoctor.tables import ASKED, SECOND, closes
from wiredoctor.world import CaptureTables

_UNTIL = "held_until"
"""The column with the time (ns) at which a held candidate can be decided."""


class Clients(Protocol):
    """A function that returns the ids of the connections whose client is a gateway.

    With `at_end`, the capture has ended, and the result is complete. Otherwise, it contains only connections known so far.
    """

    def __call__(self, *, at_end: bool) -> Collection[int]: ...


class HeldCandidates:
    """The candidates that wait for a decision. All are from rules about idle timeouts or about clients.

    Each candidate is decided once. If its rule is about idle timeouts, the connection must have closed. If its rule is about
    clients, all exchanges and connections that the client began before the connection closed must have ended, too. Later events
    do not change the decision.
    """

    def __init__(
        self, analysis: LiveAnalysis, modules: Mapping[str, RuleModule], clients: Clients
    ) -> None:  # fmt: skip
        self._analysis = analysis
        self._modules = modules
        self._clients = clients
        self._held: Candidates = {}
        self._memory: dict[str, Any] = {}

    @property
    def due(self) -> int | None:
        """The time (ns since the first packet) at which the next held candidate can be decided, or None."""
        times = [rows[_UNTIL].min() for rows in self._held.values()]
        return min((time + 1 for time in times if isinstance(time, int)), default=None)

    @property
    def connections(self) -> frozenset[int]:
        """The ids of the connections of all held candidates; these candidates may explain other candidates."""
        return self.connections_of(self._held)

    def connections_of(self, rules: Collection[str]) -> frozenset[int]:
        """Return the ids of the connections that have a held candidate of one of these rules."""
        held = (rows for name, rows in self._held.items() if name in rules)
        return frozenset(number for rows in held for number in rows["connection"].to_list())

    def keep(self, found: Candidates) -> Candidates:
        """Hold the candidates of rules about idle timeouts or about clients; return the other candidates.

        Candidates of summary rules are never held.
        """
        passed: Candidates = {}
        for name, rows in found.items():
            module = self._modules[name]
            if not module.is_held or module.rule.summary:
                passed[name] = rows
            elif rows.height:
                self._hold(name, rows.with_columns(_due(rows).alias(_UNTIL)))
        return passed

    def _hold(self, name: str, rows: pl.DataFrame) -> None:
        before = self._held.get(name)
        self._held[name] = rows if before is None else pl.concat([before, rows])

    def take(self, clock: int | None) -> Candidates:
        """Let the rules judge the held candidates that are due at `clock` (ns), or all of them if `clock` is None.

        Return the candidates that the rules keep and that can no longer change.
        """
        if not self._held:
            return {}
        over = pl.lit(value=True) if clock is None else pl.col(_UNTIL) < clock
        ready = {name: rows.filter(over).drop(_UNTIL) for name, rows in self._held.items()}
        left = {name: rows.filter(~over) for name, rows in self._held.items()}
        self._held = {name: rows for name, rows in left.items() if rows.height}
        ready = {name: rows for name, rows in ready.items() if rows.height}
        if not ready:
            return {}
        a = self._analysis
        stored = a.exchanges.scan()
        open_ones = [] if clock is None else a.core.flows.open_connections()  # at the end, all rows are written
        connections = pl.concat([a.connections.scan(), open_exchanges.rows_as_of(open_ones, a.latest).lazy()])
        followed = closes(stored)
        assert isinstance(followed, pl.LazyFrame)

        def requests() -> pl.LazyFrame:
            return pl.concat([stored.select(ASKED), open_exchanges.open_requests(open_ones).lazy()])

        def half_closed() -> pl.LazyFrame:
            return closes(open_exchanges.exchanges_as_of(open_exchanges.closed_by_client(open_ones))).lazy()

        tables = CaptureTables(followed, connections, requests, partial(self._clients, at_end=clock is None), half_closed)
        decided, waiting = rule_engine.decide(self._modules, ready, tables, live=True, clock=clock, memory=self._memory)
        for name, rows in waiting.items():
            # the event may come earlier, so decide again in a second
            until = rows["wait_until"].clip(upper_bound=(clock or 0) + SECOND)
            self._hold(name, rows.drop("wait_until").with_columns(until.alias(_UNTIL)))
        return {name: rows for name, rows in decided.items() if isinstance(rows, pl.DataFrame)}


def _due(rows: pl.DataFrame) -> pl.Expr:
    """Return an expression for the time (ns) at which each candidate can be decided."""
    due = [pl.col("due")] if "due" in rows.columns else []
    return pl.max_horizontal(*due, *([pl.col("final_at") + rule_engine.TOGETHER] if "final_at" in rows.columns else []))
