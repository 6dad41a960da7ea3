"""Pair the exchanges of gateways' clients with the requests that the gateways made for them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import polars as pl

from wiredoctor.gateways.assignment import Assigned, Pair, assign, with_pairs, without_certainty
from wiredoctor.gateways.attempts import FailedConnection, Gateway, other_addresses, owners
from wiredoctor.gateways.edges import Allowed, Edges, ForwardedFor, Fronts, edges, possible
from wiredoctor.gateways.exchange_columns import NO_STATUS, Rows, Totals, groups, places_of, read
from wiredoctor.gateways.known import FIRST, POSSIBLE, SERVER_ERROR, SLACK, TRIES, Doubt, Gateways, Place
from wiredoctor.gateways.loopback_clocks import NEARLY_ALL, with_own_clocks
from wiredoctor.gateways.nested import StoredExchanges
from wiredoctor.gateways.order import Evidence, Order, order
from wiredoctor.gateways.rewriting import fronts_by_target
from wiredoctor.tables import Array

c = pl.col

STORM = 3
"""The minimum number of a host's requests that prove, if each lies within an exchange of its own, that the host is a gateway."""


def pairs(
    asked: pl.LazyFrame, connections: pl.LazyFrame, tried: list[FailedConnection], clients: frozenset[int], begun: int, *,
    possible: bool = False, gaps: Sequence[tuple[int, int]] = (), corrections: Sequence[int] = (),
    evidence: Evidence | None = None,
) -> Gateways:  # fmt: skip
    """Pair the exchanges of gateways' clients with the requests that the gateways made for them, in a capture with one clock.

    `asked`: rows of tables.EXCHANGES with a request. `connections`: rows of tables.CONNECTIONS. `tried`: the failed connections
    that may belong to a gateway (see `attempts`). `clients`: the connections whose requests show that the client is a gateway.
    `begun`: the time (ns) by which the first FIRST exchanges had begun.
    `possible`: also return every pair that nothing contradicts. `gaps`, `corrections`, `evidence`: as
    in `finding.find`.
    """
    whole = totals = None
    if evidence is None:
        # the filter comes first, because only the columns of the result are then created
        rows = with_own_clocks(read(asked.filter(pl.col("request_start") <= begun), connections, FIRST), corrections)
        before = order(rows)
    else:
        rows = read(asked, connections)
        before, totals = evidence.add(rows), evidence.totals
    if not before and not tried:
        return Gateways(clients=clients)
    if evidence is None and len(rows) == FIRST:
        whole = StoredExchanges(asked, connections)
        nested = whole.nested(np.array([one.time for one in tried], np.int64))
        rows, totals = with_own_clocks(nested, corrections), whole.totals()
        before = order(rows, totals)
    here = {*np.unique(rows.server).tolist()}
    before = {pair: hosts for pair, hosts in before.items() if here.issuperset(pair)}
    assigned, alike = pair_rows(asked, rows, before, whole) if before else _nothing()
    cut = _cut(rows, gaps)
    if corrections:
        cut |= _of_one_clock(rows, connections, 2 * max(corrections))
        assigned = without_certainty(assigned, cut | _by_chance(rows, assigned))
    else:
        assigned = without_certainty(assigned, cut)
    made = _found(connections, rows, assigned, tried, clients, totals or Totals.of(rows), cut)
    made = made._replace(behind=_connections_behind(connections, rows, assigned))
    return made._replace(possible=_possible(rows, alike), crowded=_crowded(rows, alike)) if possible else made


def _nothing() -> tuple[Assigned, Edges]:
    none = np.zeros(0, np.int64)
    return Assigned(none, none, none.astype(bool), []), Edges(none, none, none, none.astype(bool))


def _found(
    connections: pl.LazyFrame,
    rows: Rows,
    assigned: Assigned,
    tried: list[FailedConnection],
    clients: frozenset[int],
    totals: Totals,
    cut: Array,
) -> Gateways:
    """Return the gateways that the pairs and the failed attempts show.

    `totals`: the facts about all exchanges. `cut`: for each row, whether packets are missing while its exchange was open.
    """
    of = _owners(rows, assigned, tried, totals) if tried else {}
    made = _tries(rows, assigned, [(tried[place], row) for place, row in of.items()], cut)
    behind = _distinct(rows.server[assigned.front], rows.server[assigned.back])
    behind |= {(int(rows.server[row]), tried[place].server) for place, row in of.items()}
    return Gateways(
        made,
        _names(connections, behind),
        tuple(_doubt(rows, *one) for one in assigned.doubts),
        clients | frozenset(made["connection"].unique().to_list()) - _strangers(rows, assigned),
    )


def _connections_behind(connections: pl.LazyFrame, rows: Rows, assigned: Assigned) -> frozenset[int]:
    """Return the connections of the gateways in certain pairs to the servers behind them.

    A gateway may make several requests for one request of its client (nginx: auth_request), of which only one is paired. If the
    gateway's host also sends requests to the gateway, as on a single host, only the paired connections are known.
    """
    front, back = assigned.front[assigned.certain], assigned.back[assigned.certain]
    asked = groups(np.append(rows.server, rows.server[front]), np.append(rows.client_host, rows.client_host[back]))
    alone = back[~np.isin(asked[len(rows) :], asked[: len(rows)])]
    places = {*zip(rows.server[alone].tolist(), rows.client_host[alone].tolist(), strict=True)}
    found = rows.connection[back]
    if places:
        servers, hosts = (pl.Series([*some], dtype=pl.Int64).implode() for some in zip(*places, strict=True))
        known = places_of(connections).select("connection", *(c(n).reinterpret(signed=True) for n in ("server", "client_host")))
        near = known.filter(c("server").is_in(servers) & c("client_host").is_in(hosts)).collect()
        mine = [one for one, *place in near.iter_rows() if (*place,) in places]
        found = np.append(found, np.array(mine, np.int64))
    return frozenset(found.tolist())


def _cut(rows: Rows, gaps: Sequence[tuple[int, int]]) -> Array:
    """Return, for each row, whether the exchange waited for its response in one of the gaps."""
    if not gaps:
        return np.zeros(len(rows), bool)
    since, until = (np.array(some, np.int64) for some in zip(*sorted(gaps), strict=True))
    place = np.searchsorted(until, rows.start, side="right")
    return (place < len(until)) & (since[np.minimum(place, len(until) - 1)] < rows.answered)


def _of_one_clock(rows: Rows, connections: pl.LazyFrame, until: int) -> Array:
    """Return, for each row, whether its connection was open when the capture began, and its exchange began before `until` (ns).

    Packets of two hosts' captures are missing at the beginning for different times, so some packets have the times of the clock
    that was not corrected.
    """
    opened_before = connections.filter(c("syn_time").is_null()).select("connection").collect()["connection"].to_numpy()
    return np.isin(rows.connection, opened_before) & (rows.start < until)


def _by_chance(rows: Rows, assigned: Assigned) -> Array:
    """Return, for each row, whether its pairs may fit only by chance: a connection of a host to itself may have wrong times.

    With wrong times, some requests still lie within others for the same target. With correct times, nearly all of them do.
    """
    itself = rows.server_host == rows.client_host
    front, back = assigned.front, assigned.back
    at = groups(rows.server[front], rows.server[back])
    asked = np.bincount(np.unique(rows.server, return_inverse=True)[1])
    first = np.unique(np.column_stack([at, front]), axis=0)
    paired = np.bincount(first[:, 0], minlength=int(at.max(initial=-1)) + 1)
    of = asked[np.searchsorted(np.unique(rows.server), rows.server[front])]
    made = np.zeros(len(rows), bool)
    made[front[(itself[front] | itself[back]) & (paired[at] < NEARLY_ALL * of)]] = True
    return made


def _strangers(rows: Rows, assigned: Assigned) -> frozenset[int]:
    """Return the connections that are in uncertain pairs only, and whose client host is in none of the certain pairs.

    It is doubtful that this host is a gateway: if a request gets no response, its exchange stays open, so each later request
    with the same target seems to lie within that exchange. But if all requests of the host there, at least STORM, have fronts of
    their own, the host is a gateway: only which front belongs to which of these requests is unknown.
    """
    back, certain = assigned.back, assigned.certain
    at, of = groups(rows.server, rows.client_host), rows.client_host[back]
    sent, paired = np.bincount(at), np.bincount(at[back], minlength=int(at.max(initial=0)) + 1)
    own = (np.bincount(assigned.front, minlength=len(rows)) == 1)[assigned.front]
    whole = (sent == paired)[at[back]] & (sent[at[back]] >= STORM)
    shared = np.isin(at[back], at[back[~own]])
    known = np.isin(of, of[certain | (whole & ~shared)])
    return frozenset(rows.connection[back[~known]].tolist())


def _possible(rows: Rows, alike: Edges) -> pl.DataFrame:
    f, b = alike.front, alike.back
    front = [rows.connection[f], rows.exchange[f], rows.start[f], rows.answered[f]]
    return pl.DataFrame([*front, rows.connection[b], rows.exchange[b], rows.start[b]], POSSIBLE)


def _crowded(rows: Rows, alike: Edges) -> frozenset[Place]:
    return frozenset(_exchange_place(rows, row) for row in (*alike.crowded.tolist(), *np.flatnonzero(alike.doubted).tolist()))


def _distinct(one: Array, other: Array) -> set[tuple[int, int]]:
    number = np.unique(groups(one, other), return_index=True)[1]
    return set(zip(one[number].tolist(), other[number].tolist(), strict=True))


def _owners(rows: Rows, assigned: Assigned, tried: list[FailedConnection], totals: Totals) -> dict[int, int]:
    """Return, for each failed attempt, the client's exchange for which a gateway made the attempt (see `attempts.owners`).

    `assigned`: the pairs found so far, which show the gateways and their addresses.
    """
    hosts: dict[int, set[int]] = {}
    for server, host in _distinct(rows.server[assigned.front], rows.client_host[assigned.back]):
        hosts.setdefault(server, set()).add(host)
    tries: dict[int, list[int]] = {}
    for front, back in zip(assigned.front.tolist(), assigned.back.tolist(), strict=True):
        tries.setdefault(front, []).append(back)
    for server, some in other_addresses(tried, rows, tries, totals.addresses).items():
        hosts.setdefault(server, set()).update(some)
    # a server whose host made failed attempts may be a gateway that never got a response
    trying = np.array([one.client_host for one in tried], np.int64)
    own = np.isin(rows.server, np.array([*hosts], np.int64))
    # except a server behind a gateway on the same host: the attempts were made by the gateway
    own |= np.isin(rows.server_host, trying) & ~np.isin(rows.server, rows.server[assigned.back])
    known = {server: frozenset(some) for server, some in hosts.items()}
    return owners(tried, rows, Gateway(np.flatnonzero(own), known, tries))


def pair_rows(
    asked: pl.LazyFrame, rows: Rows, before: Order, whole: StoredExchanges | None = None, *, least: int = 1
) -> tuple[Assigned, Edges]:
    """Return the pairs of exchanges at the endpoints in `before`, and all possible pairs.

    `least`: the minimum number of different targets that one rewriting of paths explains.
    """
    front, back = (np.flatnonzero(np.isin(rows.server, np.array(some))) for some in zip(*before, strict=True))
    allowed, named = Allowed(before), ForwardedFor(rows)
    fronts = fronts_by_target(rows, asked, front, back, before, whole and whole.targets, least=least)
    found = edges(rows, fronts, rows.target[back], back, allowed, named)
    assigned = assign(rows, found)
    if not len(found.crowded):
        return assigned, found
    crowd, doubts = _crowd(rows, fronts, found, allowed, named, set(assigned.front.tolist()))
    assigned.doubts.extend(doubts)
    return with_pairs(assigned, crowd), found


def _crowd(
    rows: Rows, fronts: Fronts, found: Edges, allowed: Allowed, named: ForwardedFor, taken: set[int]
) -> tuple[list[Pair], list[tuple[list[int], list[int]]]]:
    """Pair backs that have too many possible fronts: in order of time, each back gets the front that has waited longest.

    A back is a gateway's request, a front its client's exchange. `taken`: the fronts that are paired already. Return the pairs,
    and the sets (fronts, backs) that remain in doubt.
    """
    back = np.sort(found.crowded)
    first, stop = fronts.around(rows, rows.target[back], back)
    over, front = rows.answered.tolist(), fronts.front.tolist()
    start = rows.start.tolist()
    at: dict[int, int] = {}
    chosen: list[tuple[int, int]] = []
    for b, code, low, high in zip(back.tolist(), rows.target[back].tolist(), first.tolist(), stop.tolist(), strict=True):
        place = max(at.get(code, 0), low)
        while place < high and (front[place] in taken or over[front[place]] < start[b] - SLACK):
            place += 1
        if place < high:
            chosen.append((front[place], b))
            place += 1
        at[code] = place
    pairs: list[Pair] = []
    if chosen:
        f, b = (np.array(some, np.int64) for some in zip(*chosen, strict=True))
        good = allowed.among(rows, b, f) & possible(rows, b, f) & ~named.contradicts(b, f)
        pairs = [Pair(one, other, certain=False) for one, other in zip(f[good].tolist(), b[good].tolist(), strict=True)]
    # report only failed fronts as doubts: there are too many other pairs to list
    lost = found.doubted & ((rows.status == NO_STATUS) | (rows.status >= SERVER_ERROR))
    return pairs, [([row], []) for row in np.flatnonzero(lost).tolist()]


def _tries(rows: Rows, assigned: Assigned, tried: list[tuple[FailedConnection, int]], cut: Array) -> pl.DataFrame:
    f, b = assigned.front, assigned.back
    of = np.array([row for _, row in tried], np.int64)
    exchanges = pl.DataFrame(
        [rows.connection[f], rows.exchange[f], rows.connection[b], rows.exchange[b], assigned.certain, rows.start[b]], TRIES
    )
    alone = pl.DataFrame(
        [
            *(rows.connection[of], rows.exchange[of], [one.connection for one, _ in tried], [None] * len(tried)),
            *(~cut[of], [one.time for one, _ in tried]),
        ],
        TRIES,
    )  # fmt: skip
    return pl.concat([exchanges, alone]).sort("front_connection", "front_exchange", "started", "connection", "exchange")


def _names(connections: pl.LazyFrame, behind: Iterable[tuple[int, int]]) -> dict[str, tuple[str, ...]]:
    pairs = [*behind]
    wanted = pl.Series([number for pair in pairs for number in pair], dtype=pl.Int64).unique().implode()
    number = pl.col("server").hash().reinterpret(signed=True)
    named = connections.select("server", number.alias("number")).filter(pl.col("number").is_in(wanted)).unique().collect()
    names = {number: server for server, number in named.iter_rows()}
    made: dict[str, set[str]] = {}
    for one, other in pairs:
        made.setdefault(names[one], set()).add(names[other])
    return {one: tuple(sorted(made[one])) for one in sorted(made)}


def _doubt(rows: Rows, front: list[int], back: list[int]) -> Doubt:
    return Doubt(*(tuple(_exchange_place(rows, row) for row in some) for some in (front, back)))


def _exchange_place(rows: Rows, row: int) -> Place:
    return int(rows.connection[row]), int(rows.exchange[row])
