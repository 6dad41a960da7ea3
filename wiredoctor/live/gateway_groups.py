"""Put clients' exchanges with gateways, and gateways' exchanges with servers, into groups, and decide which groups are final."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import polars as pl

from wiredoctor.gateways import GATEWAY_ERRORS, LATE, UNAVAILABLE, Gateways, Place
from wiredoctor.gateways.components import components
from wiredoctor.gateways.known import FRONT, KEY
from wiredoctor.tables import MILLISECOND, SECOND

SLACK = MILLISECOND
"""The maximum time in ns by which packets of different connections may be captured out of order.

Only events that are older than this are final.
"""

LATE_ANSWER = SECOND
"""The time in ns for which a SYN of a gateway may still be answered after the gateway gave up that connection attempt.

The gateway no longer repeats the SYN, and a server that answers a SYN needs much less than a second.
"""

HABIT = 2 * SECOND
"""The time in ns after a 503 for which the gateway made no try; until then, a decision waits for other requests.

They show whether the gateway limits the rate of requests, or answers some of them itself.
"""

MEMORY = 10 * SECOND
"""The maximum time in ns after a failure during which a gateway may fail requests without forwarding them.

The rule gateway-error uses the same value.
"""

PROVEN = 2
"""The minimum number of certainly forwarded exchanges that proves that one endpoint is a gateway for another.

A single response of the gateway to a client is also a proof if its status is in GATEWAY_ERRORS.
"""

Times = tuple[int, int, int | None]
"""The start of an exchange; the start of its response or, without a response, the time of the close; and its status.

Times are in ns, and LATE means that neither a response nor a close was captured.
"""

_UNKNOWN: Times = -LATE, LATE, None

Places = set[tuple[int, int | None]]
"""Exchanges, each given as connection id and index in the connection. The index is None for a connection without a request."""


@dataclass
class Group:
    """Exchanges that may be paired with one another.

    `places`: all exchanges of the group. `fronts`: the exchanges of clients with gateways. `start`: the earliest start in ns.
    `end`: the latest time in ns at which a front was answered or given up, or at which a gateway's own request or connection
    attempt began. `servers`: pairs of a gateway's endpoint and the endpoint of a server behind it.
    """

    places: Places
    fronts: set[Place]
    start: int
    end: int
    servers: set[tuple[str, str]] = field(default_factory=set[tuple[str, str]])

    def add(self, place: tuple[int, int | None], start: int, end: int, *, front: bool) -> None:
        """Add an exchange that started at `start` (ns). `front`: true if it is an exchange of a client with a gateway.

        `end` (ns): if `front` is true, the time at which the response began or the exchange was given up; otherwise `start`.
        """
        self.places.add(place)
        if front and place[1] is not None:
            self.fronts.add((place[0], place[1]))
        self.start, self.end = min(self.start, start), max(self.end, end)

    @cached_property
    def connections(self) -> frozenset[int]:
        """The ids of the exchanges' connections."""
        return frozenset(connection for connection, _ in self.places)


class Until(NamedTuple):
    """The limits of what is known when a search begins, as times in ns.

    `read`: all packets before this time were read. `clock`: the current capture time. `complete_from`: all exchanges that were
    open at this time or later are stored.
    """

    read: int
    clock: int
    complete_from: int


def times_of(exchanges: pl.DataFrame) -> dict[Place, Times]:
    """Return the times of these exchanges that have a request."""
    c = pl.col
    answered = pl.when(c("response_status") >= 200).then("response_start")
    closed = pl.min_horizontal("client_close_time", "server_close_time")
    ends = exchanges.select(
        *("connection", "exchange", "request_start"), pl.coalesce(answered, closed, LATE), c("response_status").cast(pl.Int64)
    )
    return {(row[0], row[1]): (row[2], row[3], row[4]) for row in ends.drop_nulls("request_start").iter_rows()}


def _number(connection: str, exchange: str) -> pl.Expr:
    """Return an exchange as one integer."""
    return pl.col(connection).cast(pl.Int64) * 2**32 + pl.col(exchange).cast(pl.Int64).fill_null(-1) + 1


def _place(number: int) -> tuple[int, int | None]:
    """Return the exchange with this number of `_number`."""
    exchange = (number & 0xFFFF_FFFF) - 1
    return number >> 32, None if exchange < 0 else exchange


class Pairing:
    """The newest exchanges of a capture, and the possible pairs of a front and a try among them.

    A front is an exchange of a client with a gateway. A try is an exchange in which the gateway forwards the front's request to
    a server.
    """

    def __init__(
        self,
        known: Gateways,
        times: Mapping[Place, Times],
        now: pl.DataFrame,
        ends: pl.DataFrame,
        servers: Mapping[int, str],
        half: Collection[int],
        proofs: Mapping[tuple[str, str], int],
    ) -> None:
        """Index the exchanges.

        `times`: of all exchanges. `now`: the exchanges without a stored row, because their connection is still open. `ends`:
        rows of tables.CONNECTIONS. `servers`: the server's endpoint by connection id. `half`: the ids of the connections on which
        only a part of a response's header section was captured so far. `proofs`: how many exchanges a gateway (the endpoint) has
        certainly forwarded to a server (the other endpoint).
        """
        c = pl.col
        self._known, self._servers, self._times, self._proofs = known, servers, times, proofs
        paired = {*known.tries.filter("certain").select("connection", "exchange").iter_rows()}
        behind = {one for some in known.fronts.values() for one in some}
        self._unpaired = sorted(
            (start, servers[place[0]])
            for place, (start, _, _) in self._times.items()
            if servers.get(place[0]) in behind and place not in paired
        )
        whole = WHOLE & (c("request_end_reason") == "complete")
        undone = now.filter(~whole.fill_null(value=False))
        self._open: set[Place] = {*undone.select("connection", "exchange").iter_rows()}
        # the gateway closed without waiting, so data that the server still sends does not reach the client
        first = c("server_close_time").is_null() | (c("client_close_time") < c("server_close_time"))
        given_up = c("client_close_time").is_not_null() & first & (c("request_end_reason") == "complete") & ~c("has_response")
        read = (c("client_unacknowledged") == 0) & ~c("history").str.contains("w", literal=True) & ~c("connection").is_in([*half])
        late = undone.filter(given_up.fill_null(value=False)).join(ends.filter(read), on="connection", how="semi")
        self._given_up: set[Place] = {*late.select("connection", "exchange").iter_rows()}
        vain = c("refused_frame").is_not_null() | c("first_answer_frame").is_null()
        self._attempts: list[tuple[int, bool]] = sorted(
            ends.filter(c("syn_time").is_not_null() & (c("exchanges") == 0) & (c("client_bytes") == 0) & vain)
            .select("syn_time", c("refused_frame").is_not_null())
            .iter_rows()
        )
        self._tries: dict[Place, list[tuple[int, int | None]]] = {}
        for *front, connection, exchange, _, _ in known.tries.iter_rows():
            self._tries.setdefault((front[0], front[1]), []).append((connection, exchange))
        silent = undone.filter(~(c("has_response") & (c("response_status") >= 200)).fill_null(value=False))
        self._unanswered = [
            start
            for connection, exchange, start in silent.select("connection", "exchange", "request_start").iter_rows()
            if servers.get(connection) in known.fronts and self._open.isdisjoint(self._tries.get((connection, exchange), ()))
        ]
        """The start times (ns) of requests to gateways without a final response, if no request to a server is open for them.
        A gateway may still be trying to connect to a server for one of these requests.
        """

    @property
    def is_without_attempts(self) -> bool:
        """True if no attempt to connect failed, or waits for an answer."""
        return not self._attempts

    def final_groups(
        self, of: Collection[tuple[int, int | None]], until: Until
    ) -> tuple[dict[tuple[int, int | None], Group], dict[tuple[int, int | None], int]]:
        """Return the groups of the exchanges `of`, except groups that may still change or are not certain to be at a gateway.

        The first result maps each exchange of these groups to its group. The second maps each exchange of the other groups to
        the time (ns) from which on everything must be stored to decide, if that is not the case.
        """
        found: dict[tuple[int, int | None], Group] = {}
        lacking: dict[tuple[int, int | None], int] = {}
        for group in self._groups(of):
            since = self._needed_from(group)
            if since <= until.complete_from:
                lacking |= dict.fromkeys(group.places, since)
            elif self._is_final(group, until) and self._is_proven(group):
                found |= dict.fromkeys(group.places, group)
        return found, lacking

    def _needed_from(self, group: Group) -> int:
        """Return the time (ns) from which on all exchanges must be known to decide about a group."""
        return group.start - (SLACK if all(front in self._tries for front in group.fronts) else MEMORY)

    def _groups(self, of: Collection[tuple[int, int | None]]) -> list[Group]:
        """Return the groups that include one of the exchanges `of`. The exchanges of a group may be paired with one another."""
        possible, tries = self._known.possible, self._known.tries
        pairs = pl.concat(
            [some.select(_number(*FRONT).alias("front"), _number(*KEY).alias("back")) for some in (possible, tries)]
        )
        nodes, parts = components(pairs["front"].to_numpy(), pairs["back"].to_numpy())
        part_of = dict(zip(map(_place, nodes.tolist()), parts.tolist(), strict=True))
        whole = {connection for connection, exchange in of if exchange is None}
        of = {*of, *(place for place in part_of if place[0] in whole)}
        groups = {part_of[place]: Group(set(), set(), LATE, -LATE) for place in of if place in part_of}
        for connection, exchange, *times in possible.select(*FRONT, "front_started", "front_answered").unique().iter_rows():
            if (group := groups.get(part_of[connection, exchange])) is not None:
                group.add((connection, exchange), *times, front=True)
        for connection, exchange, started in possible.select(*KEY, "started").unique().iter_rows():
            if (group := groups.get(part_of[connection, exchange])) is not None:
                group.add((connection, exchange), started, started, front=False)
        for front_connection, front_exchange, *one, _, started in tries.iter_rows():
            front = (front_connection, front_exchange)
            if (group := groups.get(part_of[front])) is not None:
                if front not in group.fronts:
                    group.add(front, *self._times.get(front, _UNKNOWN)[:2], front=True)
                group.add((one[0], one[1]), started, started, front=False)
                group.servers.add((self._servers[front[0]], self._servers[one[0]]))
        alone: list[Group] = []
        for place in of - part_of.keys():
            # others began after what was searched
            read = place[1] is None or place in self._times
            if read and self._servers.get(place[0]) in self._known.fronts:
                alone.append(Group({place}, set(), LATE, -LATE))
                if place[1] is not None:
                    alone[-1].add(place, *self._times.get((place[0], place[1]), _UNKNOWN)[:2], front=True)
        return [*groups.values(), *alone]

    def _is_final(self, group: Group, until: Until) -> bool:
        """Return whether no later packet can change how the exchanges of a group are paired."""
        if group.end + SLACK >= until.read:
            return False
        if any(place in self._known.crowded for place in group.places) or not self._is_over(group):
            return False
        if until.clock < group.end + HABIT and any(self._is_refused(front) for front in group.fronts):
            return False
        first = bisect_left(self._attempts, (group.start - SLACK,))
        for time, refused in self._attempts[first:]:
            if time > group.end + SLACK:
                break
            if not refused and until.clock < group.end + LATE_ANSWER:
                return False
            if any(start <= time + SLACK for start in self._unanswered):
                return False
        return all(front in self._tries or self._made_no_try(front, group) for front in group.fronts)

    def _is_over(self, group: Group) -> bool:
        """Return whether all exchanges of a group are over.

        The gateway's last exchange with a server may still be open if the gateway gave it up, and if the group has only one
        exchange with a client.
        """
        left = {place for place in group.places if place in self._open}
        if not left:
            return True
        [front, *others] = group.fronts
        if others or len(left) > 1 or any(exchange is None for _, exchange in group.places):
            return False
        [place] = left
        last = self._tries.get(front, [None])[-1] == place
        return last and place in self._given_up and self._servers[place[0]] not in self._known.fronts

    def _is_refused(self, front: Place) -> bool:
        return front not in self._tries and self._times.get(front, _UNKNOWN)[2] == UNAVAILABLE

    def _made_no_try(self, front: Place, group: Group) -> bool:
        """Return whether the gateway certainly sent no request to a server for the client's request `front`.

        If the result is false, the gateway may have sent a request that cannot be assigned to a single request of a client.
        """
        behind = self._known.fronts.get(self._servers[front[0]])
        if behind is None:  # no exchange shows yet that this server is a gateway
            return False
        first = bisect_left(self._unpaired, (group.start - SLACK, ""))
        last = bisect_left(self._unpaired, (group.end + SLACK, ""))
        return not any(server in behind for _, server in self._unpaired[first:last])

    def _is_proven(self, group: Group) -> bool:
        """Return whether the endpoints of a group are certainly a gateway and the servers behind it."""
        pairs = group.servers or {
            (server, behind)
            for server in (self._servers[connection] for connection, _ in group.fronts)
            for behind in self._known.fronts[server]
        }
        if all(self._proofs.get(pair, 0) >= PROVEN for pair in pairs):
            return True
        return any(self._times.get(front, _UNKNOWN)[2] in GATEWAY_ERRORS for front in group.fronts)


WHOLE = pl.col("has_response") & (pl.col("response_end_reason") == "complete") & (pl.col("response_status") >= 200)
