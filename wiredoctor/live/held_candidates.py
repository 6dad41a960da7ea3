"""Hold candidates of a live capture until other events that may change them are known.

These events are closes of other connections by the same server at about the same time, and activity of the same client on other
connections.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import partial
from typing import Any, Protocol

import polars as pl

from wiredoctor import limits, rule_engine
from wiredoctor.core.tcp.connection import Connection
from wiredoctor.engine.live import LiveAnalysis
from wiredoctor.live.nearby import Nearby
from wiredoctor.live.quota import PART, Quota, Stages, cpu_time
from wiredoctor.rule_engine import RuleModule
from wiredoctor.rule_engine.candidates import Candidates, CandidateStore, together
from wiredoctor.rule_engine.summary_columns import as_frame
from wiredoctor.tables import AT_THE_CLOSE, CLIENT_COLUMNS, SECOND
from wiredoctor.world import CaptureTables

APART = SECOND // 2
"""The minimum time (ns) between two decisions, because many candidates are decided together as fast as one."""

DECIDED_AT_ONCE = 1_024
"""The maximum number of candidates, the oldest first, that are decided at a time."""

_UNTIL = "held_until"
"""The column with the time (ns) at which a held candidate can be decided."""

_ON = "held_on"
"""The column with the ids of the connections whose next packet makes a decision possible before that time."""

_SINCE = "held_since"
"""The column with the earliest time (ns) that matters for a held candidate."""


class Clients(Protocol):
    """A function that returns the ids of the connections whose client is a gateway.

    With `at_end`, the capture has ended, and the result is complete. Otherwise, it contains only connections known so far.
    """

    def __call__(self, *, at_end: bool) -> Collection[int]: ...


class HeldCandidates:
    """The candidates that wait for a decision. All are from rules about idle timeouts or about clients.

    Each candidate is decided once. If its rule is about idle timeouts, the connection must have closed. If its rule is about
    clients, all exchanges and connections that the client began before the connection closed must have ended, too. Later events
    do not change the decision. If too much took place near a candidate, it is decided at the end of the capture.
    """

    def __init__(
        self, analysis: LiveAnalysis, modules: Mapping[str, RuleModule], clients: Clients, nearby: Nearby
    ) -> None:  # fmt: skip
        self._analysis = analysis
        self._modules = modules
        self._clients = clients
        self._nearby = nearby
        self._held: Candidates = {}
        self._left = CandidateStore(analysis.folder, apart=False)
        """The candidates that are decided at the end of the capture."""
        self._memory: dict[str, Any] = {}
        self._decided_at: int | None = None
        self.is_behind = False
        """Whether candidates were due that the last decision left."""
        self._quota = Quota(DECIDED_AT_ONCE // 4, DECIDED_AT_ONCE, 2 * PART)
        self._watched: dict[int, tuple[Connection, int]] = {}
        """The connections on which candidates wait, with the frame number of the newest packet at the last decision."""

    @property
    def due(self) -> int | None:
        """The time (ns since the first packet) at which the next held candidate can be decided, or None."""
        times = [rows[_UNTIL].min() for rows in self._held.values()]
        due = min((time + 1 for time in times if isinstance(time, int)), default=None)
        return due if due is None or self._decided_at is None else max(due, self._decided_at + APART)

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
                self._hold(name, rows, _due(rows), pl.lit([], pl.List(pl.Int64)))
        return passed

    def _hold(self, name: str, rows: pl.DataFrame, until: pl.Expr, on: pl.Expr) -> None:
        """Hold candidates until the time `until` (ns), or until a packet on one of the connections `on` (ids)."""
        since = _since(rows, self._modules[name])
        rows = rows.with_columns(until.alias(_UNTIL), since.alias(_SINCE), on.alias(_ON))
        before = self._held.get(name)
        self._held[name] = rows if before is None else pl.concat([before, rows])
        if excess := max(self._held[name].height - limits.LIVE_WAITING.value, 0):
            self._leave(name, self._held[name].head(excess))
            self._held[name] = self._held[name].tail(-excess)

    def _leave(self, name: str, rows: pl.DataFrame) -> None:
        """Leave candidates to the end of the capture, but not more than can be decided then in a few seconds."""
        if rows.height:
            self._left.append({name: _as_found(rows)})
            self._analysis.met.add(limits.LIVE_LEFT, self._left.forget(limits.LIVE_LEFT.value))

    def take(self, clock: int) -> Stages[Candidates]:
        """Let the rules judge the held candidates that are due at `clock` (ns).

        Return the candidates that the rules keep and that can no longer change.
        """
        if not self._held or (self._decided_at is not None and self._decided_at <= clock < self._decided_at + APART):
            return {}
        if not (ready := self._pop(clock)):
            return {}
        self.is_behind = any((rows[_UNTIL] < clock).any() for rows in self._held.values())
        self._decided_at = None if self.is_behind else clock
        ready, tables = self._with_nearby(ready)
        yield
        begun, count = cpu_time(), sum(rows.height for rows in ready.values())
        found = self._decide(ready, tables, clock)
        self._quota.learn(count, begun)
        yield
        return found

    def _with_nearby(self, ready: Candidates) -> tuple[Candidates, CaptureTables]:
        """Return candidates, and what took place near them. Those near which too much did are left to the end."""
        since, own = _earliest(ready), _connections(ready)
        tables, begun = self._nearby.tables(since, own, partial(self._clients, at_end=False))
        if begun > since:
            for name, rows in list(ready.items()):
                self._leave(name, rows.filter(pl.col(_SINCE) < begun))
                ready[name] = rows.filter(pl.col(_SINCE) >= begun)
        return {name: _as_found(rows) for name, rows in ready.items() if rows.height}, tables

    def _pop(self, clock: int) -> Candidates:
        """Remove and return the candidates that can be decided at `clock` (ns), the oldest if they are many."""
        clock = self._until(clock)
        awake = {number for number, (one, frame) in self._watched.items() if one.last_frame != frame}
        ready: Candidates = {}
        for name, rows in list(self._held.items()):
            over = rows[_UNTIL] < clock
            if awake:
                over |= pl.Series([not awake.isdisjoint(on) for on in rows[_ON].to_list()], dtype=pl.Boolean)
            if over.all():
                ready[name] = self._held.pop(name)
            elif over.any():
                ready[name], self._held[name] = rows.filter(over), rows.filter(~over)
        return ready

    def _until(self, clock: int) -> int:
        """Return `clock`, or an earlier time, so that not more candidates are due then than are decided in a look."""
        due = pl.concat([pl.Series(dtype=pl.Int64), *(rows[_UNTIL].cast(pl.Int64) for rows in self._held.values())])
        due = due.filter(due < clock)
        return clock if len(due) <= self._quota.size else int(due.sort()[self._quota.size]) + 1

    def take_all(self) -> Candidates:
        """Decide all candidates at the end of the capture: with all rows if these are few, or if some need them."""
        held, self._held = self._held, {}
        ready = {name: _as_found(rows) for name, rows in held.items()}
        for name, parts in self._left.of_rules().items():
            ready[name] = pl.concat([as_frame(together(parts)), *([ready[name]] if name in ready else [])])
        if not ready:
            return {}
        a, since = self._analysis, _earliest(held)
        are_few = a.exchanges.rows <= limits.LIVE_NEAR.value
        gateways = partial(self._clients, at_end=are_few)  # a search among many takes seconds, and little is new
        if are_few or len(self._left):
            stored = a.exchanges.scan()
            tables = CaptureTables(AT_THE_CLOSE.of(stored), a.connections.scan(), lambda: stored.select(CLIENT_COLUMNS), gateways)
        else:
            tables, _ = self._nearby.tables(since, _connections(held), gateways)
        return self._decide(ready, tables, None)

    def _decide(self, ready: Candidates, tables: CaptureTables, clock: int | None) -> Candidates:
        decided, waiting = rule_engine.decide(self._modules, ready, tables, live=True, clock=clock, memory=self._memory)
        for name, rows in waiting.items():
            self._hold(name, rows.drop("wait_until", "wait_on"), pl.lit(rows["wait_until"]), pl.lit(rows["wait_on"]))
        self._watch()
        return {name: rows for name, rows in decided.items() if isinstance(rows, pl.DataFrame)}

    def _watch(self) -> None:
        """Remember the newest packets of the connections on which candidates wait."""
        ids = {number for rows in self._held.values() for numbers in rows[_ON] for number in numbers}
        fresh = self._analysis.active.of_ids(ids - self._watched.keys())
        known = {number: one for number, (one, _) in self._watched.items() if number in ids} | {one.id: one for one in fresh}
        self._watched = {number: (one, one.last_frame) for number, one in known.items()}


def _as_found(rows: pl.DataFrame) -> pl.DataFrame:
    """Return held candidates with only the columns with which they were found."""
    return rows[[name for name in rows.columns if name not in (_UNTIL, _SINCE, _ON)]]


def _earliest(held: Candidates) -> int:
    """Return the earliest time (ns) that matters for these candidates."""
    times = (rows[_SINCE].min() for rows in held.values())
    return min((time for time in times if isinstance(time, int)), default=0)


def _connections(held: Candidates) -> set[int]:
    return {number for rows in held.values() for number in rows["connection"].to_list()}


def _due(rows: pl.DataFrame) -> pl.Expr:
    """Return an expression for the time (ns) at which each candidate can be decided."""
    due = [pl.col("due")] if "due" in rows.columns else []
    return pl.max_horizontal(*due, *([pl.col("final_at") + rule_engine.TOGETHER] if "final_at" in rows.columns else []))


def _since(rows: pl.DataFrame, module: RuleModule) -> pl.Expr:
    """Return an expression for the earliest time (ns) that matters for each candidate: that of its close.

    A client that waited is compared with what it did meanwhile. What rules of other packages need is unknown.
    """
    closed = [name for name in ("ended_at", "server_close_time") if name in rows.columns]
    begins = ["start"] if module.plugin is not None or "waited" in rows.columns else []
    return pl.min_horizontal(pl.max_horizontal("start", "end"), *closed, *begins).fill_null(0)
