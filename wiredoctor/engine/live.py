"""A capture that is written while it is analyzed, perhaps for days: what comes is analyzed, and what is old is forgotten."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from ipaddress import ip_address

import polars as pl

from wiredoctor import limits, rule_engine
from wiredoctor.batches import Batch, View
from wiredoctor.core.connection_rows import hash_endpoint
from wiredoctor.core.exchange_rows import FOREVER
from wiredoctor.core.records import LATEST
from wiredoctor.cutoffs import Cutoffs
from wiredoctor.engine.growing import GrowingCapture
from wiredoctor.engine.run import Analysis
from wiredoctor.rule_engine import RuleModule
from wiredoctor.rule_engine.candidates import Found, Waiting
from wiredoctor.spill import Folder, Spill, Window
from wiredoctor.tables import CONNECTIONS, STORED_EXCHANGES

_ALL = 1 << 62

_OF_CONNECTIONS = (
    *(pl.col(f"{side}_{what}").clip(0, 1) for side in ("client", "server") for what in ("packets", "unseen_bytes")),
    *(pl.col(name) for name in ("protocol", "handshake", "closed_by")),
)
_STATUS = pl.col("response_status")
_OF_EXCHANGES = (
    *(pl.col(name) for name in ("both_directions", "has_request", "has_response", "response_end_reason", "upgraded", "endpoint")),
    pl.when((_STATUS < 200) | (_STATUS >= 500)).then(_STATUS).otherwise(_STATUS // 100 * 100).alias("response_status"),
)
"""What a report counts of all rows, also of those that are not kept."""


class LiveAnalysis(Analysis):
    """An analysis of what has been written so far. `listener` is called with finished rows of exchanges and connections."""

    def __init__(
        self, capture: GrowingCapture, modules: Mapping[str, RuleModule], folder: Folder, cutoffs: Cutoffs
    ) -> None:  # fmt: skip
        super().__init__(capture, modules, folder, cutoffs, capture.records)
        begun = pl.coalesce("request_start", "response_start")
        self.found = Waiting(folder, apart=False)
        self.connections = Window(CONNECTIONS, folder, time=pl.col("end"), kinds=_OF_CONNECTIONS)
        self.exchanges = Window(STORED_EXCHANGES, folder, time=begun, kinds=_OF_EXCHANGES)
        self.listener: Callable[[pl.DataFrame, pl.DataFrame], None] | None = None
        self._growing = capture
        self.core.story.repetitions.is_early = True
        self._suspects = (Spill(STORED_EXCHANGES, folder), Spill(CONNECTIONS, folder))
        self._suspected: set[int] = set()
        """Open connections with such an exchange."""

    def step(self, most: int) -> Found:
        """Analyze at most this many packets of those that have come, and return the candidates of all rules."""
        if not self.core.run(most) and self._growing.behind:
            self.records.end()
        self.core.story.repetitions.pass_time(self.clock)
        return self._find()

    def pass_time(self, clock: int) -> Found:
        """Return the candidates of what is decided because nothing came until `clock` (ns since the first packet).

        What counts packets, or compares their times, does not change by this.
        """
        self.release(clock)
        self.core.http.pass_time(clock)
        self.core.story.repetitions.pass_time(clock)
        self.core.story.stalls.pass_time(clock, self.records.frame)
        return self._find()

    @property
    def deadline(self) -> int | None:
        """When the time decides something without any packet (ns since the first); None if nothing waits for that."""
        story, ordering = self.core.story, self.core.ordering
        held = FOREVER if ordering is None or ordering.due_at() == LATEST else ordering.due_at()
        alarm = min(self.core.http.alarms.next, story.repetitions.due(), story.stalls.due, held)
        return None if alarm == FOREVER else alarm

    @property
    def clock(self) -> int:
        """Time of the latest packet that was analyzed."""
        ordering = self.core.ordering
        return self.latest if ordering is None or ordering.sleeps else ordering.clock

    def needed_from(self) -> int:
        """Return the first offset of the capture that may be read again."""
        ordering = self.core.ordering
        held = LATEST if ordering is None else ordering.first_place()
        return min(self.core.copies.first_place(), held)

    @property
    def open_connections(self) -> int:
        """How many connections are not closed."""
        return self.core.flows.count - self.core.flows.closed

    def forget(self, needed: Collection[int]) -> None:
        """Forget rows that no rule will look at, and the oldest candidates, but not the rows of connections that are `needed`.

        Twice as many exchanges stay as are compared: the order of their ends is not that of their starts.
        """
        before = self.latest - limits.COMPARED_TIME.value
        self.connections.forget(before, _ALL, needed)
        self.exchanges.forget(before, 2 * limits.COMPARED_EXCHANGES.value, needed)
        self.found.forget(limits.CANDIDATES.value)

    def _keep(self, exchanges: Batch, connections: Batch) -> None:
        super()._keep(exchanges, connections)
        whole = View([exchanges], STORED_EXCHANGES).whole(), View([connections], CONNECTIONS).whole()
        self._keep_suspects(*whole)
        self._keep_names(whole[1])
        if self.listener is not None:
            self.listener(*whole)

    def _keep_names(self, connections: pl.DataFrame) -> None:
        """Keep the names of servers, which rows of exchanges have as hashes: their connections may be forgotten sooner."""
        names = self.exchanges.names
        for server in connections.filter(pl.col("protocol") == "http")["server"].unique():
            if len(names) < limits.SUSPECTS.value:
                host, _, port = server.rpartition(":")
                end = ip_address(host.strip("[]")).packed
                names[hash_endpoint(2 * end + 2 * int(port).to_bytes(2, "big"), True)] = server

    def _keep_suspects(self, exchanges: pl.DataFrame, connections: pl.DataFrame) -> None:
        """Keep the rows of what may have ended badly, and of the connections of such exchanges."""
        kept_exchanges, kept_connections = self._suspects
        if exchanges.height and kept_exchanges.rows < limits.SUSPECTS.value:
            suspects = exchanges.filter(rule_engine.suspect_exchanges())
            kept_exchanges.add(suspects)
            self._suspected.update(suspects["connection"])
        if connections.height and kept_connections.rows < 2 * limits.SUSPECTS.value:
            known = connections["connection"].is_in(list(self._suspected)) if self._suspected else pl.lit(value=False)
            kept_connections.add(connections.filter(rule_engine.suspect_connections() | known))
            self._suspected.difference_update(connections["connection"])

    def suspects(self, exchanges: Spill, connections: Spill) -> tuple[pl.LazyFrame, pl.LazyFrame]:
        """Return the rows that may have ended badly, also old ones: those are forgotten elsewhere."""
        del exchanges, connections
        return self._suspects[0].scan(), self._suspects[1].scan()
