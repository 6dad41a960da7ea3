"""Remember what the searches of a live capture have shown about gateways, in bounded memory."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from typing import Any, TypeVar

import polars as pl

from wiredoctor import limits, rule_engine
from wiredoctor.gateways import Gateways
from wiredoctor.gateways.order import Evidence
from wiredoctor.live.gateway_groups import PROVEN
from wiredoctor.tables import AT_ITS_END

c = pl.col

T = TypeVar("T")

_PAIR = ("front_connection", "connection", "exchange")

Proof = tuple[str, str]
"""The endpoint of a gateway, and the endpoint of a server behind it."""


class KnownGateways:
    """The gateways of a live capture, as far as they are known.

    `evidence`: decides which endpoints are gateways. `proofs`: the number of certain pairs of exchanges, by endpoints. `fronts`:
    the endpoints behind each gateway. `passed`: the Server fields that gateways forwarded (see rule_engine.passed_on).
    """

    def __init__(self) -> None:
        self.evidence = Evidence(limits.GATEWAY_EVIDENCE.value)
        self.proofs: Counter[Proof] = Counter()
        self.fronts: dict[str, tuple[str, ...]] = {}
        self.passed: pl.DataFrame | None = None
        self._proved: dict[tuple[int, int | None], None] = {}
        """The exchanges with servers that are in `proofs`, the newest last."""
        self._clients: dict[int, None] = {}
        self._agents: dict[int, str] = {}
        self._codes: dict[str, int] = {}
        self._endpoints: frozenset[str] = frozenset()
        self.endpoints: set[int] = set()
        """The gateways and the servers behind them, as in the column `endpoint` of tables.EXCHANGES."""

    @property
    def clients(self) -> Collection[int]:
        """The ids of the connections whose client is a gateway."""
        return self._clients.keys()

    @property
    def proven(self) -> int:
        """The number of pairs of a gateway and a server behind it of which there are enough proofs."""
        return sum(number >= PROVEN for number in self.proofs.values())

    def is_at_gateway(self, connection: int, server: str | None) -> bool:
        """Return whether a connection to `server` leads to a gateway, or from a gateway to a server."""
        return connection in self._clients or server in self._endpoints

    def add(
        self, found: Gateways, servers: Mapping[int, str], exchanges: pl.LazyFrame, connections: pl.LazyFrame
    ) -> None:  # fmt: skip
        """Add the result of a search of some exchanges.

        `servers`: the server's endpoint by connection id. `exchanges`, `connections`: the rows that were searched.
        """
        for front, behind, exchange in found.tries.filter("certain").select(_PAIR).iter_rows():
            if (behind, exchange) not in self._proved:
                self._proved[behind, exchange] = None
                self.proofs[servers[front], servers[behind]] += 1
        fronts: dict[str, set[str]] = {front: {*behind} for front, behind in found.fronts.items()}
        for front, behind in self._credible():
            fronts.setdefault(front, set()).add(behind)
        self.fronts = {front: tuple(sorted(fronts[front])) for front in sorted(fronts)}
        self._endpoints = frozenset(self.fronts).union(*self.fronts.values())
        theirs = connections.filter(c("server").is_in([*self._endpoints])).select("connection")
        self.endpoints.update(
            exchanges.join(theirs, on="connection", how="semi").select(c("endpoint").unique()).collect()["endpoint"]
        )
        for number in sorted(found.clients | self._of_several_agents(exchanges)):
            self._clients.pop(number, None)
            self._clients[number] = None
        if found.fronts:
            more = rule_engine.passed_on(found, connections, AT_ITS_END.of(exchanges))
            self.passed = more if self.passed is None else pl.concat([self.passed, more]).unique(maintain_order=True)
        self._forget()

    def of(self, connections: Iterable[int]) -> Gateways:
        """Return the known gateways, and which of these connections have a gateway as client."""
        return Gateways(fronts=self.fronts, clients=frozenset(number for number in connections if number in self._clients))

    def _credible(self) -> list[Proof]:
        """Return the endpoints with certain pairs, unless all exchanges together show something else."""
        names = [name for name in {*(name for pair in self.proofs for name in pair)} if name not in self._codes]
        self._codes.update(zip(names, pl.Series(names, dtype=pl.String).hash().reinterpret(signed=True).to_list(), strict=True))
        asked = self.evidence.totals.hosts
        pairs = {pair: (self._codes[pair[0]], self._codes[pair[1]]) for pair in self.proofs}
        # a server that never answered got no request: attempts to connect show that it is behind the gateway
        return [pair for pair, codes in pairs.items() if codes in self.evidence.order or codes[1] not in asked]

    def _of_several_agents(self, exchanges: pl.LazyFrame) -> frozenset[int]:
        """Return the connections whose requests have another User-Agent than the first that was seen of them."""
        agent = c("request_user_agent")
        rows = exchanges.filter(agent != "").select("connection", agent).unique().collect()
        some = rows.iter_rows()
        # interned: most connections have one of a few texts
        return frozenset(number for number, text in some if self._agents.setdefault(number, sys.intern(text)) != text)

    def _forget(self) -> None:
        """Drop the oldest entries, and the endpoints with the fewest pairs, if there are too many."""
        most = limits.GATEWAY_EVIDENCE.value
        if len(self.proofs) > most:
            self.proofs = Counter(dict(self.proofs.most_common(most // 2)))
            self._codes.clear()
        if len(self.endpoints) > 2 * most:  # the next searches add those that are still used
            self.endpoints.clear()
        for known in (self._clients, self._agents):
            drop_oldest(known, limits.GATEWAY_CLIENTS.value)
        drop_oldest(self._proved, 2 * limits.LIVE_PAIRED.value)  # a search examines no earlier exchanges again
        if self.passed is not None:
            self.passed = self.passed.tail(most)


def drop_oldest(known: dict[T, Any], most: int) -> None:
    """Delete the entries that were added first until at most `most` are left."""
    while len(known) > most:
        del known[next(iter(known))]
