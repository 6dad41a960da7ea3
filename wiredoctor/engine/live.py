"""Analyze a capture while it is being written, possibly for days, and drop old rows."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from ipaddress import ip_address

import polars as pl

from wiredoctor import limits, rule_engine, system
from wiredoctor.core.capture.records import LATEST
from wiredoctor.core.hashes import hash_endpoint
from wiredoctor.core.tcp.copies import WITHIN
from wiredoctor.core.tcp.segment import FOREVER
from wiredoctor.engine.active_connections import ActiveConnections
from wiredoctor.engine.growing import GrowingCapture
from wiredoctor.engine.run import Analysis
from wiredoctor.rule_engine import RuleModule
from wiredoctor.rule_engine.candidates import Candidates, CandidateStore
from wiredoctor.rule_engine.cutoffs import Cutoffs
from wiredoctor.rule_engine.told_findings import ToldFindings
from wiredoctor.storage.batches import Batch, View
from wiredoctor.storage.spill import Folder, Spill, SpillWindow
from wiredoctor.tables import CONNECTIONS, STORED_EXCHANGES

_FAILED = 500
"""The lowest status that means that a server or gateway has failed."""

_OF_CONNECTIONS = (
    *(pl.col(f"{side}_{what}").clip(0, 1) for side in ("client", "server") for what in ("packets", "unseen_bytes")),
    *(pl.col(name) for name in ("protocol", "handshake", "closed_by")),
)
_STATUS = pl.col("response_status")
_OF_EXCHANGES = (
    *(pl.col(name) for name in ("both_directions", "has_request", "has_response", "response_end_reason", "upgraded", "endpoint")),
    pl.when((_STATUS < 200) | (_STATUS >= 500)).then(_STATUS).otherwise(_STATUS // 100 * 100).alias("response_status"),
)
"""The columns by which reports count exchanges. The counts include rows that were dropped to save memory."""


class LiveAnalysis(Analysis):
    """Analyzes a growing capture step by step; each step analyzes packets written since the previous one.

    Each of `listeners` is called with each batch of finished exchanges and connections.
    """

    def __init__(
        self, capture: GrowingCapture, modules: Mapping[str, RuleModule], folder: Folder, cutoffs: Cutoffs
    ) -> None:  # fmt: skip
        super().__init__(capture, modules, folder, cutoffs, capture.records)
        self.core.copies.within = WITHIN  # one clock stamps all packets
        self.active = ActiveConnections(self.core.flows)
        self.found = CandidateStore(folder, apart=False)
        self.told = ToldFindings(folder)
        self.times_are_judged = True  # as soon as they are found, because findings are reported then
        self.connections = SpillWindow(CONNECTIONS, folder, ended="final_at", soon=2, kinds=_OF_CONNECTIONS)
        self.exchanges = SpillWindow(STORED_EXCHANGES, folder, ended="final_at", soon=1, kinds=_OF_EXCHANGES)
        self.listeners: list[Callable[[pl.DataFrame, pl.DataFrame], None]] = []
        self.failures: list[tuple[int, int, int]] = []
        """The exchanges with a status of 500 or above, as (connection, exchange, start of the request in ns).

        The caller that handles them empties the list.
        """
        self._growing = capture
        self.core.tcp.repetitions.is_early = True
        self._suspects = (Spill(STORED_EXCHANGES, folder, soon=4), Spill(CONNECTIONS, folder, soon=4))
        self._suspected: set[int] = set()
        """The ids of the open connections with an exchange that may have failed."""

    def step(self, most: int) -> Candidates:
        """Analyze at most `most` new packets, and return the candidates that all rules find in them."""
        while not self._growing.end_skip() and self.core.run(1):
            pass
        if not self.core.run(most) and self._growing.unread_bytes:
            self.records.end()
        self.core.tcp.repetitions.pass_time(self.clock)
        return self._find()

    def finish(self, judge: Callable[[Candidates], Candidates], parts: Sequence[Candidates] = ()) -> None:
        """Analyze the connections that are open when the capture ends, as in the analysis of a file."""
        self.records.drops.end_overwritten(int(self.records.times.latest))
        super().finish(judge, parts)
        self.active = ActiveConnections(self.core.flows)  # none is open any more

    def pass_time(self, clock: int) -> Candidates:
        """Return the candidates that became final because no packet arrived until `clock` (ns since the first packet).

        The call adds no packet to the counts, and the timestamps of later packets are not compared with `clock`.
        """
        self.release(clock)
        self.core.http.pass_time(clock)
        self.core.tcp.repetitions.pass_time(clock)
        self.core.tcp.releases.pass_time(clock, self.records.frame)
        return self._find()

    @property
    def deadline(self) -> int | None:
        """The time (ns since the first packet) at which a result becomes final without another packet; None if no result does."""
        tcp, ordering = self.core.tcp, self.core.ordering
        held = FOREVER if ordering is None or ordering.due_at() == LATEST else ordering.due_at()
        alarm = min(self.core.http.alarms.next, tcp.repetitions.due(), tcp.releases.due, held)
        return None if alarm == FOREVER else alarm

    @property
    def clock(self) -> int:
        """The time of the latest analyzed packet, in ns since the first packet."""
        ordering = self.core.ordering
        return self.latest if ordering is None or ordering.sleeps else ordering.clock

    @property
    def analyzed_until(self) -> int:
        """The time (ns) up to which all packets were analyzed: `clock`, or an earlier time if the clock of the capture was set
        back.
        """
        if not self.steps.count:
            return self.clock
        ordering = self.core.ordering
        held = 0 if ordering is None or ordering.sleeps else ordering.longest()
        return min(self.clock, self.records.times.last - held)

    def needed_from(self) -> int:
        """Return the offset in the stream of the first byte that may be read again."""
        ordering = self.core.ordering
        held = LATEST if ordering is None else ordering.first_place()
        return min(self.core.copies.first_place(self.core.packet), held)

    @property
    def open_connections(self) -> int:
        """The number of open connections."""
        return self.core.flows.count - self.core.flows.closed

    def forget(self, needed: Collection[int]) -> None:
        """Drop the oldest stored candidates and rows, except the rows of the connections in `needed`.

        The number of rows kept is twice the number that rules compare: rules compare the exchanges and connections that began
        last, but rows are stored in the order in which these ended.
        """
        for rows in (self.connections, self.exchanges):
            rows.forget(2 * limits.COMPARED_ROWS.value, needed)
        self.found.forget(limits.CANDIDATES.value)
        system.return_memory()  # what was read and joined leaves gaps

    def _keep(self, exchanges: Batch, connections: Batch) -> None:
        if not exchanges.height and not connections.height:
            return
        whole = View([exchanges], STORED_EXCHANGES).all_columns(), View([connections], CONNECTIONS).all_columns()
        self.exchanges.add(whole[0])
        self.connections.add(whole[1])
        self._keep_suspects(*whole)
        self._keep_names(whole[1])
        for listener in self.listeners:
            listener(*whole)

    def _see(self, exchanges: pl.DataFrame | View) -> None:
        if exchanges.height and (status := exchanges.select(["response_status"])["response_status"]).max() is not None:
            failed = status >= _FAILED
            if failed.any():
                del self.failures[: -limits.SETTLED_CANDIDATES.value]
                self.failures += exchanges.select(["connection", "exchange", "request_start"]).filter(failed).iter_rows()

    def _keep_names(self, connections: pl.DataFrame) -> None:
        """Store the endpoint of each server under the hash that identifies it in `exchanges`.

        The rows of the server's connections, which contain the endpoint, may be dropped before the rows of its exchanges.
        """
        names = self.exchanges.names
        for server in connections.filter(pl.col("protocol") == "http")["server"].unique():
            if len(names) < limits.TALLIED.value:
                host, _, port = server.rpartition(":")
                end = ip_address(host.strip("[]")).packed
                names[hash_endpoint(2 * end + 2 * int(port).to_bytes(2, "big"), True)] = server

    def _keep_suspects(self, exchanges: pl.DataFrame, connections: pl.DataFrame) -> None:
        """Copy the rows of exchanges that may have failed, and of their connections, to storage that `forget` does not touch."""
        kept_exchanges, kept_connections = self._suspects
        if exchanges.height and kept_exchanges.rows < limits.SUSPECTS.value:
            suspects = exchanges.filter(rule_engine.suspect_exchanges())
            kept_exchanges.add(suspects)
            self._suspected.update(suspects["connection"])
        if connections.height and kept_connections.rows < 2 * limits.SUSPECTS.value:
            known = connections["connection"].is_in(list(self._suspected)) if self._suspected else pl.lit(value=False)
            kept_connections.add(connections.filter(rule_engine.suspect_connections() | known))
            self._suspected.difference_update(connections["connection"])

    def suspects(self) -> tuple[pl.LazyFrame, pl.LazyFrame]:
        """Return the rows of the exchanges that may have failed, and the rows of their connections.

        These rows are stored separately, so they include rows that were dropped from `exchanges` and `connections`.
        """
        return self._suspects[0].scan(), self._suspects[1].scan()
